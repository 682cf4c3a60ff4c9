"""Every error that ragkit raises on purpose.

RagkitError                     exit code
├── ConfigError(ValueError)         2   a wrong option, setting, file or question
│   └── TemplateError               2   a prompt template that cannot be used
├── MissingExtraError(ImportError)  2   an optional dependency is not installed
├── LoadError                       1   one document could not be read; carries a code word
├── StoreError                      6   the store cannot be used
│   ├── StoreMissingError           6
│   ├── StoreBusyError              6
│   ├── StoreDamagedError           6
│   ├── StoreClosedError            6
│   └── OutdatedStoreError          6
└── RemoteError                     7   a remote service or a model failed
    ├── RemoteTimeoutError          7   it did not answer in time
    ├── RateLimitedError            7   it asked for less traffic until the time was up
    ├── AccessDeniedError           7   it knows who asks, and refuses
    ├── PromptTooLongError          7   the prompt does not fit into the model's window
    └── DimensionMismatchError      7   vectors of another length than the index holds
"""

from __future__ import annotations

DISTRIBUTION = "ragkit-lean"
"""Name to install by; the import name `ragkit` belongs to an unrelated distribution."""


class RagkitError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class ConfigError(RagkitError, ValueError):
    """An option, a setting or an input cannot be used as given."""

    exit_code = 2


class TemplateError(ConfigError):
    """A prompt template is malformed, changed since it was locked, or lacks a variable."""


class MissingExtraError(RagkitError, ImportError):
    """A feature needs an optional dependency; the message holds the line that installs it."""

    exit_code = 2

    def __init__(self, feature: str, *, extra: str) -> None:
        self.extra = extra
        self.install_command = f"pip install '{DISTRIBUTION}[{extra}]'"
        super().__init__(f"{feature} is not installed. Run: {self.install_command}")


class LoadError(RagkitError):
    """One document could not be read.

    `code` is one of the documented words: `no_text` (nothing to extract), `password` (encrypted),
    `unsupported` (no loader, or its extra is missing), `broken` (malformed), `limit` (too large or
    too slow), `unreadable` (the file system refused), `encoding` (not text).
    """

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        self.detail = detail
        super().__init__(f"{code}: {detail}")


class StoreError(RagkitError):
    """The store cannot be used."""

    exit_code = 6


class StoreMissingError(StoreError):
    """There is no store at this place."""


class StoreBusyError(StoreError):
    """Another process is writing to the store."""


class StoreDamagedError(StoreError):
    """The store's content contradicts itself or cannot be read."""


class StoreClosedError(StoreError):
    """It was closed, by this program; open it again to go on."""


class OutdatedStoreError(StoreError):
    """The store was written by an older ragkit; `ragkit doctor --repair` brings it up to date."""


class RemoteError(RagkitError):
    """A remote service or a model failed or answered with something unusable."""

    exit_code = 7


class RemoteTimeoutError(RemoteError):
    """A remote service did not answer in time; whether it did the work is unknown."""


class RateLimitedError(RemoteError):
    """A remote service asked for less traffic, and went on asking until the time was up."""


class AccessDeniedError(RemoteError):
    """A remote service refuses the caller; the message says which permission to look at."""


class PromptTooLongError(RemoteError):
    """A prompt does not fit into the model's window; raised before sending where that is known."""


class DimensionMismatchError(RemoteError):
    """Vectors have another length than the index was made for."""
