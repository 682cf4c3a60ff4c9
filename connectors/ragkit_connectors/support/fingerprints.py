"""Fingerprints of models: digests of all settings that can change their output.

Keys and credentials, time-outs, retries, batch sizes and logging are left out, because they change
no answer.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path

_WEIGHT_SUFFIXES = frozenset({".safetensors", ".json", ".txt", ".model"})
_GENERATOR_SUFFIXES = _WEIGHT_SUFFIXES | {".bin", ".jinja"}


def digest_of(**settings: object) -> str:
    """Return 16 hex digits over settings.

    None and False count as not given, so that a new setting leaves the digests of those who do not
    use it unchanged.
    """
    import hashlib  # loads OpenSSL, which is 4 MiB

    given = {key: value for key, value in settings.items() if value is not None}
    given = {key: value for key, value in given.items() if value is not False}
    text = json.dumps(given, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def fingerprint(name: str, **settings: object) -> str:
    """Return a name, for people, and the digest of name and settings."""
    return f"{name} {digest_of(name=name, **settings)}"


def file_digest(path: Path) -> str:
    """Return 16 hex digits over a file's content, the same on every machine."""
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def embedder_folder_digest(folder: Path) -> str:
    """Return 16 hex digits over names and content of the files that can change a vector."""
    return _folder_digest(folder, _WEIGHT_SUFFIXES)


def generator_folder_digest(folder: Path) -> str:
    """Return 16 hex digits over names and content of the files that can change an answer."""
    return _folder_digest(folder, _GENERATOR_SUFFIXES)


def _folder_digest(folder: Path, suffixes: Collection[str]) -> str:
    import hashlib

    digest = hashlib.sha256()
    for path in sorted(_files(folder, suffixes)):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:16]


def _files(folder: Path, suffixes: Collection[str]) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix in suffixes and path.is_file() and not hidden:
            yield path
