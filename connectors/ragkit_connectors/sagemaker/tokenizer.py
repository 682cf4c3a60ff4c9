"""Counting with the `tokenizer.json` of a model."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from ragkit.errors import ConfigError, MissingExtraError


class FileCounter:
    """The tokenizer of a `tokenizer.json`."""

    def __init__(self, path: str) -> None:
        import hashlib

        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise ConfigError(f"tokenizer {path} cannot be read: {error}") from error
        self._tokenizer = _open_tokenizer(path, data)
        self.name = f"tokenizer:{hashlib.sha256(data).hexdigest()[:12]}"

    def count(self, text: str) -> int:
        """Return the number of tokens in `text`, without special tokens."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def count_prompt(self, text: str) -> int:
        """Return the number of tokens, special tokens included."""
        return len(self._tokenizer.encode(text, add_special_tokens=True).ids)


class _Encoding(Protocol):
    ids: Sequence[int]


class _Tokenizer(Protocol):
    """What is used of `tokenizers.Tokenizer`."""

    def encode(self, sequence: str, *, add_special_tokens: bool) -> _Encoding: ...


def _open_tokenizer(path: str, data: bytes) -> _Tokenizer:
    if importlib.util.find_spec("tokenizers") is None:
        raise MissingExtraError("tokenizers", extra="tokenizers")
    library = importlib.import_module("tokenizers")
    read: Callable[[str], _Tokenizer] = library.Tokenizer.from_str
    try:
        return read(data.decode())
    except Exception as error:  # the library raises bare `Exception`
        raise ConfigError(f"tokenizer {path} is no tokenizer.json: {error}") from error
