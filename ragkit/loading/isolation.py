"""Files are parsed in another process, so that a hostile one costs an error and nothing else.

This side opens files, keeps the clock and checks what comes back; `ragkit.loading.worker` is the
other side.
"""

from __future__ import annotations

import re
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from signal import SIGABRT, SIGILL, SIGKILL, SIGTRAP, SIGXCPU, Signals
from typing import Protocol, TypeVar

from ragkit.errors import LoadError
from ragkit.loading.content import Content
from ragkit.loading.formats import Loader, load_bytes, members_of, pictures_of
from ragkit.loading.frames import (
    FrameError,
    Take,
    unpacked,
    unpacked_members,
)
from ragkit.loading.loaded import LoadedText
from ragkit.loading.members import Member
from ragkit.loading.processes import ParserProcess, start_process
from ragkit.types import Json

_T = TypeVar("_T")

_AHEAD_BYTES = 2**15
"""Of a file that is sent before its turn; with its request it fits into a pipe of any system."""

_TEXT = frozenset(
    "text markdown rst csv json asciidoc org latex settings python subtitles mail notebook".split()
) | {"json lines"}
_WEAR_OF_TEXT = 0.05
"""What Python alone reads leaves nothing behind; to start a worker costs as much as a thousand."""

_OUT_OF_MEMORY = 3
_CODE = re.compile(r"[a-z_]{1,20}")
_MAX_DETAIL_CHARACTERS = 1_000


class Parser(Protocol):
    """Turns files into text."""

    cpu_seconds: float
    """What was used in other processes than this one; complete when closed."""

    def load(
        self, content: Content, *, name: str, loader: Loader, password: str | None = None
    ) -> LoadedText:
        """Return a file's text; raises `LoadError` whatever is wrong with the file."""
        ...

    def members(self, content: Content, *, loader: Loader) -> list[Member]:
        """Return the files inside of one; raises `LoadError` whatever is wrong with it."""
        ...

    def pictures(
        self, content: Content, *, first: int, password: str | None = None
    ) -> list[Member]:
        """Return the next pages of a PDF that hold only images (`page_pictures`)."""
        ...

    def close(self) -> None:
        """Let go of everything; it can be used again."""
        ...


class InProcess:
    """Parses in this process: a hostile file can stop it or fill its memory."""

    cpu_seconds = 0.0

    def load(
        self, content: Content, *, name: str, loader: Loader, password: str | None = None
    ) -> LoadedText:
        """Return a file's text."""
        data = b"".join(content.blocks())
        return load_bytes(data, name=name, password=password, loader=loader)

    def members(self, content: Content, *, loader: Loader) -> list[Member]:
        """Return the files inside of one."""
        return members_of(b"".join(content.blocks()), loader)

    def pictures(
        self, content: Content, *, first: int, password: str | None = None
    ) -> list[Member]:
        """Return the next pages of a PDF that hold only images."""
        return pictures_of(b"".join(content.blocks()), first=first, password=password)

    def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one file may cost.

    Attributes:
        memory_bytes: Address space of the worker.
        cpu_seconds: CPU seconds of one file.
        seconds: Wall seconds of one file; those that its bytes may take come on top.
        seconds_per_mib: What each MiB of a file adds to them.
        answer_bytes: Most bytes of an answer's text, and of its marks.
        files: A worker is replaced after so many; one of plain text counts for a twentieth.
    """

    memory_bytes: int = 2**30
    cpu_seconds: int = 60
    seconds: float = 240.0
    seconds_per_mib: float = 5.0
    answer_bytes: int = 2**28
    files: int = 500


class Worker:
    """Parses in a process of its own, which holds as little as it can and is started when needed.

    One that has crashed, or used up what a file may cost, is replaced, and so is one that has read
    many files. Threads take turns. After a fork, each process starts one of its own.

    Attributes:
        cpu_seconds: CPU seconds of all processes that have ended.
        n_started: How many were started.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.cpu_seconds = 0.0
        self.n_started = 0
        self._limits = limits or Limits()
        self._lock = threading.Lock()
        self._process: ParserProcess | None = None
        self._begun: tuple[Content, Mapping[str, Json]] | None = None
        self._finalizer: weakref.finalize[[], Worker] | None = None

    @property
    def pid(self) -> int | None:
        """The number of the process that parses; None while there is none."""
        return None if self._process is None else self._process.pid

    def load(
        self, content: Content, *, name: str, loader: Loader, password: str | None = None
    ) -> LoadedText:
        """Return a file's text.

        Raises:
            LoadError: whatever is wrong with the file: `limit` says what ran out.
            IsolationError: a process cannot be started.
            OSError: the file cannot be read.
        """
        return self._asked(_to_load(name, loader, password), content, unpacked)

    def begin(
        self, content: Content, *, name: str, loader: Loader, password: str | None = None
    ) -> None:
        """Send a small file that is to be loaded next, so that it is parsed meanwhile.

        Nothing is done where no process is running, or where it is at work already.
        """
        with self._lock:
            process = self._process
            if process is None or not self._is_of_use(process) or self._begun is not None:
                return
            if content.n_bytes > _AHEAD_BYTES:
                return
            request = _to_load(name, loader, password)
            try:
                self._send(process, request, content)
            except BaseException as error:
                self._end()
                if not isinstance(error, EOFError | TimeoutError):
                    raise
            else:
                self._begun = content, request

    def members(self, content: Content, *, loader: Loader) -> list[Member]:
        """Return the files inside of one; errors as `load` has them."""
        request: dict[str, Json] = {"members": True, "loader": loader.name}
        return self._asked(request, content, unpacked_members)

    def pictures(
        self, content: Content, *, first: int, password: str | None = None
    ) -> list[Member]:
        """Return the next pages of a PDF that hold only images; errors as `load` has them."""
        request: dict[str, Json] = {"pictures_from": first, "loader": "pdf", "password": password}
        return self._asked(request, content, unpacked_members)

    def _asked(
        self,
        request: Mapping[str, Json],
        content: Content,
        read: Callable[[Mapping[str, Json], int, Take], _T],
    ) -> _T:
        with self._lock:
            try:
                return self._answer(request, content, read)
            except _WornError:
                # What earlier files have left behind must not decide on this one.
                return self._answer(request, content, read)

    def close(self) -> None:
        """End the process, if there is one."""
        with self._lock:
            self._end()

    def _answer(
        self,
        request: Mapping[str, Json],
        content: Content,
        read: Callable[[Mapping[str, Json], int, Take], _T],
    ) -> _T:
        if self._begun != (content, request):
            self._drop_begun()
        process = self._ready()
        begun, self._begun = self._begun, None
        limits, is_fresh = self._limits, process.n_files == 0
        seconds = self._seconds(content)
        try:
            if begun is None:
                self._send(process, request, content)
            deadline = time.monotonic() + seconds
            with process.answer(limits.answer_bytes, deadline) as (header, n_bytes, take):
                if "error" not in header:
                    return read(header, n_bytes, take)
        except TimeoutError:
            self._end()
            detail = f"it takes more than {seconds:,.0f} s"
            raise LoadError("limit", detail, may_pass=True) from None
        except FrameError as error:
            self._end()
            raise LoadError("broken", f"its parser gave no answer of use: {error}") from None
        except EOFError:
            status = self._end()
            is_own = is_fresh or status == -SIGXCPU
            raise _cause(status, limits) if is_own else _WornError from None
        except BaseException:
            # An interruption, for example: what the pipes hold now is of use to nobody.
            self._end()
            raise
        code, detail = str(header["error"]), str(header.get("detail"))[:_MAX_DETAIL_CHARACTERS]
        if header.get("spent"):
            self._end()
            raise _out_of_memory(limits) if is_fresh else _WornError
        raise LoadError(code if _CODE.fullmatch(code) else "broken", detail)

    def _drop_begun(self) -> None:
        """Take the answer to a file that was passed over."""
        begun, self._begun = self._begun, None
        if begun is None or self._process is None or not self._process.is_ours:
            return
        try:
            deadline = time.monotonic() + self._limits.seconds
            with self._process.answer(self._limits.answer_bytes, deadline):
                pass
        except (EOFError, FrameError, TimeoutError):
            self._end()

    def _send(self, process: ParserProcess, request: Mapping[str, Json], content: Content) -> None:
        process.n_files += 1
        process.wear += _WEAR_OF_TEXT if request["loader"] in _TEXT else 1.0
        process.send(request, content, time.monotonic() + self._seconds(content))

    def _seconds(self, content: Content) -> float:
        """Return how long a file may take to be sent, and then to be parsed."""
        return self._limits.seconds + self._limits.seconds_per_mib * content.n_bytes / 2**20

    def _is_of_use(self, process: ParserProcess) -> bool:
        return process.is_ours and process.wear < self._limits.files

    def _ready(self) -> ParserProcess:
        process = self._process
        # What is begun counts among its files already, and is to be read from it.
        if process is not None and (self._is_of_use(process) or (self._begun and process.is_ours)):
            return process
        self._end()
        process = self._process = start_process(self._limits.memory_bytes, self._limits.cpu_seconds)
        # Where nobody closes it, it ends with this object, or with the program.
        self._finalizer = weakref.finalize(self, process.end)
        self.n_started += 1
        return process

    def _end(self) -> int:
        """End the process; return its status, 0 if there was none."""
        process, self._process, self._begun = self._process, None, None
        if process is None:
            return 0
        process.end()
        if self._finalizer is not None:
            self._finalizer.detach()
        self.cpu_seconds += process.cpu_seconds
        return process.status


def _to_load(name: str, loader: Loader, password: str | None) -> dict[str, Json]:
    return {"name": name, "loader": loader.name, "password": password}


class _WornError(Exception):
    """A failure that another process may not have."""


def _cause(status: int, limits: Limits) -> LoadError:
    """Return the error of a file at which a worker has ended itself."""
    if status == -SIGXCPU:
        return LoadError("limit", f"it takes more than {limits.cpu_seconds:,} CPU seconds")
    if status in {_OUT_OF_MEMORY, -SIGABRT, -SIGTRAP, -SIGILL}:
        return _out_of_memory(limits)  # PDFium aborts, or traps, where there is none left.
    if status == -SIGKILL:
        detail = "the system ended its parser, perhaps for want of memory"
        return LoadError("limit", detail, may_pass=True)
    try:
        what = Signals(-status).name if status < 0 else f"status {status}"
    except ValueError:
        what = f"signal {-status}"
    return LoadError("broken", f"its parser crashed: {what}")


def _out_of_memory(limits: Limits) -> LoadError:
    return LoadError("limit", f"it needs more than {limits.memory_bytes >> 20:,} MiB of memory")
