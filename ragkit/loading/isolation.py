"""Files are parsed in another process, so that a hostile one costs an error and nothing else.

This side opens files, keeps the clock and checks what comes back; `ragkit.loading.worker` is the
other side.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import SIGABRT, SIGILL, SIGKILL, SIGTRAP, SIGXCPU, Signals
from typing import TYPE_CHECKING, Protocol, TypeVar

from ragkit.errors import IsolationError, LoadError
from ragkit.loading.formats import Loader, load_bytes, members_of, pictures_of
from ragkit.loading.frames import (
    LENGTHS,
    FrameError,
    frame_head,
    header_of,
    unpacked,
    unpacked_members,
)
from ragkit.loading.loaded import LoadedText
from ragkit.loading.members import Member
from ragkit.types import Json

if TYPE_CHECKING:
    from select import poll
    from subprocess import Popen

_T = TypeVar("_T")

START_SECONDS = 60.0
"""Longer than a start takes on any machine that is of use."""

BLOCK_BYTES = 2**20

_AHEAD_BYTES = 2**15
"""Of a file that is sent before its turn; with its request it fits into a pipe of any system."""

_TEXT = frozenset(
    "text markdown rst csv json asciidoc org latex settings python subtitles mail notebook".split()
) | {"json lines"}
_WEAR_OF_TEXT = 0.05
"""What Python alone reads leaves nothing behind; to start a worker costs as much as a thousand."""

_OUT_OF_MEMORY = 3
_INTERPRETER = re.compile(r"python|pypy|graalpy", re.IGNORECASE)
_CODE = re.compile(r"[a-z_]{1,20}")
_MAX_DETAIL_CHARACTERS = 1_000
_BOOT = (
    "import json, sys; settings = json.loads(sys.stdin.buffer.readline()); "
    "sys.path[:] = settings.pop('path'); from ragkit.loading.worker import main; main(settings)"
)
_INHERITED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")
"""What an interpreter may need to start. Nothing else is passed on: variables hold secrets."""


@dataclass(frozen=True, slots=True)
class Content:
    """A file's bytes: their number, and a function that gives them in blocks.

    `blocks` raises `LoadError` if they are not those that were promised, `OSError` if they cannot
    be read.
    """

    n_bytes: int
    blocks: Callable[[], Iterator[bytes]]

    @classmethod
    def of(cls, data: bytes) -> Content:
        """Return bytes that are in memory."""
        return cls(len(data), lambda: iter((data,)))


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
        self._process: _Process | None = None
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
        read: Callable[[Mapping[str, Json], bytes], _T],
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
        read: Callable[[Mapping[str, Json], bytes], _T],
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
            header, text = process.receive(limits.answer_bytes, time.monotonic() + seconds)
            if "error" not in header:
                return read(header, text)
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
            self._process.receive(self._limits.answer_bytes, deadline)
        except (EOFError, FrameError, TimeoutError):
            self._end()

    def _send(self, process: _Process, request: Mapping[str, Json], content: Content) -> None:
        process.n_files += 1
        process.wear += _WEAR_OF_TEXT if request["loader"] in _TEXT else 1.0
        process.send(request, content, time.monotonic() + self._seconds(content))

    def _seconds(self, content: Content) -> float:
        """Return how long a file may take to be sent, and then to be parsed."""
        return self._limits.seconds + self._limits.seconds_per_mib * content.n_bytes / 2**20

    def _is_of_use(self, process: _Process) -> bool:
        return process.is_ours and process.wear < self._limits.files

    def _ready(self) -> _Process:
        process = self._process
        # What is begun counts among its files already, and is to be read from it.
        if process is not None and (self._is_of_use(process) or (self._begun and process.is_ours)):
            return process
        self._end()
        process = self._process = _start(self._limits)
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


class _Process:
    """A worker process: its pipes, its end, and then what it has cost."""

    def __init__(self, popen: Popen[bytes]) -> None:
        from select import POLLIN, POLLOUT, poll

        assert popen.stdin is not None  # noqa: S101 (both are pipes)
        assert popen.stdout is not None  # noqa: S101
        self.n_files = 0
        self.wear = 0.0
        self.status = 0
        self.cpu_seconds = 0.0
        self.pid = popen.pid
        self._popen = popen
        self._started_by = os.getpid()
        self._read_ahead = bytearray()
        self._requests, self._answers = popen.stdin.fileno(), popen.stdout.fileno()
        self._is_writable, self._is_readable = poll(), poll()
        self._is_writable.register(self._requests, POLLOUT)
        self._is_readable.register(self._answers, POLLIN)
        os.set_blocking(self._requests, False)

    @property
    def is_ours(self) -> bool:
        """Whether this process started it, rather than one that was forked since."""
        return self._started_by == os.getpid()

    def begin(self, settings: bytes, deadline: float) -> None:
        """Send what it starts with, and wait until it is ready; errors as for a file."""
        self._write(settings, deadline)
        self.receive(BLOCK_BYTES, deadline)

    def send(self, request: Mapping[str, Json], content: Content, deadline: float) -> None:
        """Send a file; raises `EOFError` if the process has ended, `TimeoutError` if it is late."""
        head = frame_head(request, content.n_bytes)
        for block in content.blocks():
            self._write(head + block if head else block, deadline)
            head = b""
        self._write(head, deadline)

    def _write(self, data: bytes, deadline: float) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._requests, left) :]
            except BlockingIOError:
                _wait(self._is_writable, deadline)
            except BrokenPipeError:
                raise EOFError from None

    def receive(self, most_bytes: int, deadline: float) -> tuple[dict[str, Json], bytes]:
        """Return the next frame; raises `FrameError` if it is none, and errors as `send` does."""
        n_text, n_bytes = LENGTHS.unpack(self._read(LENGTHS.size, deadline))
        if n_text > most_bytes or n_bytes > most_bytes:
            raise FrameError(f"it is longer than {most_bytes:,} bytes")
        header = header_of(self._read(n_text, deadline))
        return header, self._read(n_bytes, deadline)

    def _read(self, n_bytes: int, deadline: float) -> bytes:
        while len(self._read_ahead) < n_bytes:
            _wait(self._is_readable, deadline)
            block = os.read(self._answers, BLOCK_BYTES)
            if not block:
                raise EOFError
            self._read_ahead += block
        data = bytes(self._read_ahead[:n_bytes])
        del self._read_ahead[:n_bytes]
        return data

    def end(self) -> None:
        """Kill and reap it, and note what it has cost; a second call does nothing."""
        popen = self._popen
        for pipe in (popen.stdin, popen.stdout):
            if pipe is not None:
                pipe.close()
        if popen.returncode is not None:
            return
        popen.returncode = 0
        if not self.is_ours:
            return
        os.kill(self.pid, SIGKILL)  # until it is waited for, the number is that of no other
        try:
            _, status, usage = os.wait4(self.pid, 0)
        except ChildProcessError:
            return  # The program has its system reap for it.
        self.status = popen.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_seconds = usage.ru_utime + usage.ru_stime


def _wait(pipe: poll, deadline: float) -> None:
    milliseconds = (deadline - time.monotonic()) * 1000
    if milliseconds <= 0 or not pipe.poll(milliseconds):
        raise TimeoutError


def _start(limits: Limits) -> _Process:
    """Start a worker and wait until it has limited itself.

    Raises:
        IsolationError: with the reason why it cannot be started.
    """
    import subprocess

    _check_platform()
    settings = {
        "path": _search_path(),
        "memory_bytes": limits.memory_bytes,
        "cpu_seconds": limits.cpu_seconds,
    }
    try:
        popen = subprocess.Popen(  # noqa: S603 (it runs this interpreter and our own code)
            [sys.executable, "-I", "-c", _BOOT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=os.sep,
            env={name: os.environ[name] for name in _INHERITED if name in os.environ},
            # Ctrl-C is for this process, which ends the other one.
            start_new_session=True,
        )
    except OSError as error:
        raise IsolationError(str(error)) from error
    assert popen.stderr is not None  # noqa: S101 (it is a pipe)
    process = _Process(popen)
    try:
        process.begin(json.dumps(settings).encode() + b"\n", time.monotonic() + START_SECONDS)
    except TimeoutError:
        process.end()
        raise IsolationError(f"it was not ready within {START_SECONDS:.0f} s") from None
    except (EOFError, FrameError):
        process.end()
        said = popen.stderr.read().decode(errors="replace").strip().rpartition("\n")[2]
        raise IsolationError(said or f"it ended with status {process.status}") from None
    except BaseException:
        process.end()
        raise
    finally:
        popen.stderr.close()
    return process


def _check_platform() -> None:
    if importlib.util.find_spec("resource") is None:
        raise IsolationError("this system cannot limit what a process uses")
    name = os.path.basename(sys.executable or "")
    if getattr(sys, "frozen", False) or not _INTERPRETER.search(name):
        # To run it would start this program once more, not an interpreter.
        raise IsolationError("this program brings its own interpreter")


def _search_path() -> list[str]:
    """Return where modules are searched, without folders that depend on the current one."""
    paths = [path for path in sys.path if os.path.isabs(path)]
    ours = str(Path(__file__).parents[2])
    return paths if ours in paths else [*paths, ours]


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
