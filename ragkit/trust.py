"""Which settings of a file that was found in the working folder apply without the user's consent.

Whoever unpacks a stranger's folder and runs a command in it has not chosen the settings file in it.
A setting that reaches the network, names an environment variable, or reads or writes outside the
folder needs trust. So does every setting that is not known to be harmless, including those that
connectors will add in the future.

Trust is kept in the user's own folder, one record per settings file: a digest of the keys that need
trust, so that other keys may change freely.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ragkit.errors import ConfigError
from ragkit.narrowing import is_object
from ragkit.types import Json

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
"""The accepted spellings of this machine as a host."""

HARMLESS = frozenset(
    {
        "chunker", "chunk_tokens", "chunk_overlap", "embed_title", "sentence_vectors",
        "sentence_vector_kind", "k", "mode", "fusion", "trim_level", "refuse_below",
        "max_context_tokens", "placement", "rewrite",
        "max_history_tokens", "timeout", "total_timeout", "max_tokens", "temperature", "top_p",
        "top_k", "stop", "seed", "model_billions", "grid_g_per_kwh", "hosting_watts",
        "hosting_share", "region", "ingest_rules",
        "ledger_part_bytes",
    }
)  # fmt: skip
"""Settings that never need trust, whatever their value."""

_LIMITS = frozenset({"timeout_seconds", "total_timeout_seconds", "retry_seconds"})
HARMLESS_OPTIONS: Mapping[str, frozenset[str]] = {
    "store_options": _LIMITS | {
        "hybrid", "engine", "vector_type", "compression", "on_disk", "m", "ef_construction",
    },
    "embedder_options": _LIMITS | {
        "batch_size", "dimensions", "encoding", "document_prompt", "query_prompt", "keep_alive",
    },
    "generator_options": _LIMITS | {
        "context_window", "count_with", "num_ctx", "keep_alive", "think",
    },
}  # fmt: skip
"""Options of connectors that never need trust."""

_HARMLESS_VALUES = {
    "embedder": frozenset({"builtin", "none"}),
    "generator": frozenset({"extractive"}),
    "api_key_env": frozenset({""}),
}
_PATHS = frozenset({"store", "trim", "template", "ledger", "model_cards"})
_LOOPBACK_URL = re.compile(
    r"https?://(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?"
)
"""Stricter than the connectors' URL parsers, so that both agree on the host."""

_KINDS = frozenset({"openai", "ollama", "extractive", "builtin", "none"})
"""Kinds that send data only to `base_url`, and no credentials other than `api_key_env`."""

_DEFAULT_ADDRESS = {"ollama": "http://localhost:11434"}
_OWN = "make it yours alone, or name a settings file: --config FILE"
_STORE_CREDENTIALS = frozenset({"username_env", "password_env", "aws_service"})


@dataclass(frozen=True, slots=True)
class Sensitive:
    """The settings of a file that need trust.

    `keys` holds the values by name (`ledger`, `store.password_env`), `targets` the resolved paths
    of those that are paths.
    """

    keys: dict[str, object] = field(default_factory=dict[str, object])
    targets: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def sha256(self) -> str:
        """Digest of names, values and targets."""
        import hashlib

        text = json.dumps([self.keys, self.targets], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def sensitive(given: Mapping[str, object], folder: Path) -> Sensitive:
    """Return which of these settings need trust in at least some circumstances.

    Addresses on this machine do: a key that the user named elsewhere would be sent there.
    """
    found = Sensitive()
    for setting, value in given.items():
        if setting in HARMLESS:
            continue
        if is_object(value):
            harmless = HARMLESS_OPTIONS.get(setting, frozenset())
            part = setting.removesuffix("_options")
            found.keys.update({f"{part}.{k}": v for k, v in value.items() if k not in harmless})
        elif setting in _PATHS:
            if not _is_inside(setting, value, folder):
                found.keys[setting] = value
                found.targets[setting] = _target(value, folder)
        elif not (isinstance(value, str) and value in _HARMLESS_VALUES.get(setting, ())):
            found.keys[setting] = value
    return found


@dataclass(frozen=True, slots=True)
class Judgement:
    """The settings that do not apply, and replacements that keep API keys from being sent."""

    held_back: list[str]
    without_keys: dict[str, object]


def judge(given: Mapping[str, object], effective: Mapping[str, object], folder: Path) -> Judgement:
    """Return which settings of an untrusted file do not apply.

    Args:
        given: The file's settings, except those that the user has overridden.
        effective: The settings from all sources.
        folder: The folder that paths are relative to.
    """
    held = sensitive(given, folder).keys
    without: dict[str, object] = {}
    for part in ("generator", "embedder"):
        options = _options(effective, part)
        own: Mapping[str, object] = effective if part == "generator" else {}
        kind, _, model = str(effective[part]).partition(":")
        address = options.get("base_url", own.get("base_url")) or _DEFAULT_ADDRESS.get(kind)
        key = options.get("api_key_env", own.get("api_key_env"))
        # Ollama forwards requests for models with such a name to its own servers.
        is_local = kind in _KINDS and is_loopback_url(address) and not model.endswith("cloud")
        if is_local and not key:
            names = {part, f"{part}.base_url", *(("base_url",) if own else ())}
            if names - {part} & held.keys():
                without[f"{part}_options"] = {**options, "api_key_env": ""}
            held = {name: value for name, value in held.items() if name not in names}
    options = _options(effective, "store")
    kind, _, address = str(effective["store"]).partition(":")
    is_local = kind == "opensearch" and is_loopback_url(address)
    if "store" in held and is_local and not _STORE_CREDENTIALS & options.keys():
        del held["store"]
        without["store_options"] = {**options, "username_env": ""}
    return Judgement(list(held), without)


def _options(effective: Mapping[str, object], part: str) -> Mapping[str, object]:
    options = effective[f"{part}_options"]
    return options if is_object(options) else {}


def is_loopback_url(url: object) -> bool:
    """Whether a value is a plain URL of a server on this machine."""
    return isinstance(url, str) and _LOOPBACK_URL.fullmatch(url) is not None


def _is_inside(setting: str, value: object, folder: Path) -> bool:
    """Whether a path stays in the folder and is neither hidden nor a device."""
    if not isinstance(value, str) or (setting == "store" and ":" in os.path.splitdrive(value)[1]):
        return False
    # Merely resolving such a path makes Windows contact the server that it names.
    if not value or value.startswith("~") or value.replace("\\", "/").startswith("//"):
        return False
    try:
        base, target = folder.resolve(), (folder / value).resolve()
        is_ordinary = not target.exists() or target.is_file() or target.is_dir()
        links = [e.path for e in os.scandir(target) if e.is_symlink()] if target.is_dir() else []
        leads_out = any(not Path(link).resolve().is_relative_to(base) for link in links)
    except (OSError, RuntimeError, ValueError):
        return False
    if not is_ordinary or leads_out or not target.is_relative_to(base):
        return False
    return not any(part.startswith(".") for part in target.relative_to(base).parts)


def _target(value: object, folder: Path) -> str:
    try:
        return str((folder / str(value)).resolve())
    except (OSError, RuntimeError, ValueError):
        return ""


def user_folder() -> Path | None:
    """Return the user's own folder of settings, which need not exist; None without a home.

    `$XDG_CONFIG_HOME/ragkit` (XDG Base Directory Specification) or `~/.config/ragkit`, on macOS
    `~/Library/Application Support/ragkit`, on Windows `%APPDATA%/ragkit`.
    """
    if sys.platform == "win32":
        given = os.environ.get("APPDATA", "")
    else:
        given = os.environ.get("XDG_CONFIG_HOME", "")
    # A relative path would lie in the very folder that is not trusted.
    if os.path.isabs(given):
        return Path(given) / "ragkit"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    # Do not create a home that does not exist (`/nonexistent` of service accounts).
    if not home.is_absolute() or not home.is_dir():
        return None
    inner = "Library/Application Support" if sys.platform == "darwin" else ".config"
    return home / inner / "ragkit"


def check_owned(path: Path) -> None:
    """Raise `ConfigError` if anybody but the user could have written this path."""
    if sys.platform == "win32":
        return
    try:
        status = path.stat()
    except OSError:  # It cannot be read either.
        return
    if status.st_uid not in {os.geteuid(), 0}:
        raise ConfigError(f"{path} belongs to another user, so it does not count; {_OWN}")
    if status.st_mode & 0o002:
        raise ConfigError(f"{path} may be written by everybody, so it does not count; {_OWN}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Trust in a settings file for as long as its sensitive keys have this digest."""

    file: str
    sha256: str

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {"file": self.file, "sha256": self.sha256}


def place_of(file: Path) -> Path:
    """Return a settings file's path, with symbolic links of its folder resolved."""
    return file.absolute().parent.resolve() / file.name


def record_trust(file: Path, found: Sensitive) -> Record:
    """Record trust in the settings of a file; raises `ConfigError` if it cannot be recorded."""
    folder = _records_folder()
    record = Record(file=str(place_of(file)), sha256=found.sha256)
    if folder is None:
        raise ConfigError(
            "there is no home folder to keep trust in (HOME); name the settings file instead: "
            "--config FILE, or RAGKIT_CONFIG=FILE"
        )
    try:
        folder.parent.parent.mkdir(parents=True, exist_ok=True)
        for path in (folder.parent, folder):
            path.mkdir(exist_ok=True, mode=0o700)
            check_owned(path)
        kept = folder / _record_name(file)
        temporary = kept.with_suffix(f".{os.getpid()}.new")
        with open(os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as out:
            json.dump({"schema": 1, **record.to_dict()}, out)
        temporary.replace(kept)
    except OSError as error:
        raise ConfigError(
            f"trust cannot be kept in {folder}: {error.strerror}; name the settings file instead: "
            "--config FILE, or RAGKIT_CONFIG=FILE"
        ) from error
    return record


def is_trusted(file: Path, found: Sensitive) -> bool:
    """Whether the settings of a file are those that were trusted; raises `ConfigError`."""
    folder = _records_folder()
    record = None if folder is None else _read(folder / _record_name(file))
    return record == Record(file=str(place_of(file)), sha256=found.sha256)


def withdraw_trust(file: Path) -> bool:
    """Withdraw trust in a file; False if there was none. Raises `ConfigError`."""
    folder = _records_folder()
    if folder is None:
        return False
    kept = folder / _record_name(file)
    try:
        kept.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigError(f"{kept} cannot be removed: {error.strerror}") from error
    return True


def records() -> Iterator[Record]:
    """Yield all records, sorted by file; raises `ConfigError`."""
    folder = _records_folder()
    found = [] if folder is None else [_read(path) for path in folder.glob("*.json")]
    yield from sorted((r for r in found if r is not None), key=lambda record: record.file)


def _records_folder() -> Path | None:
    folder = user_folder()
    return None if folder is None else folder / "trusted"


def _record_name(file: Path) -> str:
    import hashlib

    return hashlib.sha256(os.fsencode(place_of(file))).hexdigest() + ".json"


def _read(path: Path) -> Record | None:
    for place in (path.parent.parent, path.parent, path):
        check_owned(place)
    try:
        data: object = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    record = data if is_object(data) else {}
    return Record(file=str(record.get("file")), sha256=str(record.get("sha256")))
