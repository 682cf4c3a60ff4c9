"""Every error that ragkit raises on purpose, and the exit codes of the command line.

RagkitError                     exit code
├── ConfigError(ValueError)         2   a wrong option, setting, file or question
│   ├── TemplateError               2   a prompt template that cannot be used
│   └── IsolationError              2   files cannot be parsed in a process of their own
├── MissingExtraError(ImportError)  2   an optional dependency is not installed
├── LoadError                       1   one document could not be read; carries a code word
├── StoreError                      6   the store cannot be used
│   ├── StoreMissingError           6
│   ├── StoreBusyError              6
│   ├── StoreDamagedError           6
│   ├── StoreClosedError            6
│   └── OutdatedStoreError          6
├── StreamClosedError               1   an answer was stopped before its end
├── BusyError                       7   too many calls wait already
└── RemoteError                     7   a remote service or a model failed
    ├── RemoteTimeoutError          7   it did not answer in time
    ├── RateLimitedError            7   it throttled requests until the retry budget ran out
    ├── AccessDeniedError           7   the caller is authenticated but not authorised
    ├── PromptTooLongError          7   the prompt exceeds the model's context window
    ├── NoAnswerError               7   a model used its tokens up without a word of an answer
    └── DimensionMismatchError      7   the vectors' dimension is not that of the index
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ragkit.types import Generation

DISTRIBUTION = "ragkit-lean"
"""Name to install by; on package indexes, `ragkit` is an unrelated distribution."""


class ExitCode(IntEnum):
    """What the command line returns; scripts rely on the numbers."""

    DONE = 0
    SOME_FAILED = 1
    USAGE = 2
    REFUSED = 3
    GATE_FAILED = 4
    INCONCLUSIVE = 5
    STORE = 6
    REMOTE = 7
    INTERRUPTED = 130


class RagkitError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line returns."""

    exit_code: int = ExitCode.SOME_FAILED


class ConfigError(RagkitError, ValueError):
    """An option, a setting or an input cannot be used as given."""

    exit_code = ExitCode.USAGE


class TemplateError(ConfigError):
    """A prompt template is malformed, changed since it was locked, or lacks a variable."""


class IsolationError(ConfigError):
    """Files cannot be parsed in a process of their own; the message says why, and the way out."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"no process can be started to parse files in: {reason}. To parse them in this one, "
            "where a hostile file can stop it or fill its memory: isolate=False (--no-isolate)"
        )


class MissingExtraError(RagkitError, ImportError):
    """A feature needs an optional dependency; the message holds the command that installs it."""

    exit_code = ExitCode.USAGE

    def __init__(self, feature: str, *, extra: str) -> None:
        self.extra = extra
        self.install_command = f"pip install '{DISTRIBUTION}[{extra}]'"
        super().__init__(f"{feature} is not installed. Run: {self.install_command}")


class LoadError(RagkitError):
    """One document could not be read.

    `code` is one of the documented words: `no_text` (nothing to extract), `password` (encrypted),
    `unsupported` (no loader, or its extra is missing), `broken` (malformed), `limit` (too large or
    too slow), `unreadable` (the file system refused), `encoding` (not text). `may_pass` says that
    the machine may be at fault rather than the document.
    """

    def __init__(self, code: str, detail: str, *, may_pass: bool = False) -> None:
        self.code = code
        self.detail = detail
        self.may_pass = may_pass
        super().__init__(f"{code}: {detail}")


class StoreError(RagkitError):
    """The store cannot be used."""

    exit_code = ExitCode.STORE


class StoreMissingError(StoreError):
    """There is no store at this place."""


class StoreBusyError(StoreError):
    """Another process is writing to the store."""


class StoreDamagedError(StoreError):
    """The store's content is inconsistent or cannot be read."""


class StoreClosedError(StoreError):
    """This program has closed the store; open it again to continue."""


class OutdatedStoreError(StoreError):
    """The store was written by an older ragkit; `ragkit doctor --repair` upgrades it."""


class StreamClosedError(RagkitError):
    """An answer was stopped before its end, so that there is none."""


class BusyError(RagkitError):
    """Too many calls wait already; try again later."""

    exit_code = ExitCode.REMOTE


class RemoteError(RagkitError):
    """A remote service or a model failed, or returned something unusable.

    `generation` is what is known of an answer that failed under way: its text so far and the tokens
    that it has cost, where its server had told them. None where nothing is known.
    """

    exit_code = ExitCode.REMOTE
    generation: Generation | None = None


class RemoteTimeoutError(RemoteError):
    """A remote service did not respond in time; it may or may not have done the work."""


class RateLimitedError(RemoteError):
    """A remote service throttled requests until the retry budget ran out."""


class AccessDeniedError(RemoteError):
    """The caller is authenticated but not authorised; the message names the permission to check."""


class PromptTooLongError(RemoteError):
    """A prompt exceeds the model's context window; raised before sending where that is known."""


class NoAnswerError(RemoteError):
    """A model has used up its tokens and said nothing, or nothing but its thoughts.

    `reasoning` holds the thoughts, if there were any.
    """

    def __init__(self, message: str, *, reasoning: str | None = None) -> None:
        self.reasoning = reasoning
        super().__init__(message)


class DimensionMismatchError(RemoteError):
    """The vectors' dimension is not the one that the index was made for."""
