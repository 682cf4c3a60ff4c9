"""A process that parses: its start, the pipes to it, its end and what it has cost."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL
from typing import TYPE_CHECKING

from ragkit.errors import IsolationError
from ragkit.loading.content import Content
from ragkit.loading.frames import LENGTHS, FrameError, Take, frame_head, header_of
from ragkit.loading.turns import wait_for_turn
from ragkit.types import Json

if TYPE_CHECKING:
    from select import poll
    from subprocess import Popen

START_SECONDS = 60.0
"""Longer than a start takes on any machine that is of use."""

BLOCK_BYTES = 2**20

_INTERPRETER = re.compile(r"python|pypy|graalpy", re.IGNORECASE)
_BOOT = (
    "import json, sys; settings = json.loads(sys.stdin.buffer.readline()); "
    "sys.path[:] = settings.pop('path'); from ragkit.loading.worker import main; main(settings)"
)
_INHERITED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")
"""What an interpreter may need to start. Nothing else is passed on: variables hold secrets."""


class ParserProcess:
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
        with self.answer(BLOCK_BYTES, deadline):
            pass

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

    @contextmanager
    def answer(
        self, most_bytes: int, deadline: float
    ) -> Generator[tuple[dict[str, Json], int, Take]]:
        """Give the next frame's object, the number of its bytes, and what returns the next of them.

        Those that the block does not take are dropped. Raises `FrameError` if it is no frame, and
        errors as `send` does.
        """
        n_text, n_left = LENGTHS.unpack(self._read(LENGTHS.size, deadline))
        if n_text > most_bytes or n_left > most_bytes:
            raise FrameError(f"it is longer than {most_bytes:,} bytes")
        # The object names places, of which a document may have as many as it has headings.
        deadline += wait_for_turn(n_text + n_left)
        header = header_of(self._read(n_text, deadline))

        def take(n_bytes: int) -> bytearray:
            nonlocal n_left
            if n_bytes > n_left:
                raise FrameError("it is shorter than it says")
            n_left -= n_bytes
            return self._read(n_bytes, deadline)

        yield header, n_left, take
        while n_left:
            take(min(n_left, BLOCK_BYTES))

    def _read(self, n_bytes: int, deadline: float) -> bytearray:
        data = bytearray(n_bytes)
        n_read = min(n_bytes, len(self._read_ahead))
        data[:n_read] = self._read_ahead[:n_read]
        del self._read_ahead[:n_read]
        with memoryview(data) as view:
            while n_read < n_bytes:
                _wait(self._is_readable, deadline)
                n_read += self._read_some(view[n_read:])
        return data

    def _read_some(self, wanted: memoryview) -> int:
        """Fill the start of what is wanted; keep what the pipe holds beyond a small one."""
        if len(wanted) >= BLOCK_BYTES:
            n_bytes = os.readv(self._answers, [wanted])
            if not n_bytes:
                raise EOFError
            return n_bytes
        block = os.read(self._answers, BLOCK_BYTES)
        if not block:
            raise EOFError
        n_bytes = min(len(block), len(wanted))
        wanted[:n_bytes] = block[:n_bytes]
        self._read_ahead += block[n_bytes:]
        return n_bytes

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


def start_process(memory_bytes: int, cpu_seconds: int) -> ParserProcess:
    """Start a worker and wait until it has limited itself to what a file may cost.

    Raises:
        IsolationError: with the reason why it cannot be started.
    """
    import subprocess

    _check_platform()
    settings = {
        "path": _search_path(),
        "memory_bytes": memory_bytes,
        "cpu_seconds": cpu_seconds,
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
    process = ParserProcess(popen)
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
