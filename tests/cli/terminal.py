"""A terminal for tests: a command runs in it, and is typed to."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

from ..processes import status_of
from .command import RAGKIT

_SECONDS = 60.0

# The terminal must be the one that controls the process, so that Ctrl-C reaches it.
_IN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """`ragkit` in a terminal of its own.

    Attributes:
        screen: All that has come so far.
    """

    def __init__(self, *arguments: str) -> None:
        self._master, slave = os.openpty()
        self.screen = ""
        self._seen = 0
        self._process = subprocess.Popen(
            [sys.executable, "-c", _IN_TERMINAL, RAGKIT, *arguments],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env={**os.environ, "TERM": "dumb", "PYTHONUTF8": "1"},
        )  # fmt: skip
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def types(self, text: str) -> None:
        """Type a text; what had come before is not waited for any more."""
        self._seen = len(self.screen)
        os.write(self._master, text.encode())

    def interrupts(self) -> None:
        """Press Ctrl-C once the command waits.

        Between the prompt and the wait for a key, `readline` takes note of the signal without
        acting on it before the next key: a person presses again, a test would wait for ever.
        """
        n_asleep, end = 0, time.monotonic() + _SECONDS
        while n_asleep < 5 and time.monotonic() < end:
            n_asleep = n_asleep + 1 if self._is_asleep() else 0
            time.sleep(0.01)
        self.types("\x03")

    def _is_asleep(self) -> bool:
        """Whether the command waits for something; where no `/proc` tells, it is said to."""
        status = status_of(self._process.pid)
        return status is None or status[0] == "S"

    def shows(self, text: str) -> None:
        """Wait until a text comes after what was typed last."""
        end = time.monotonic() + _SECONDS
        while text not in self.screen[self._seen :]:
            left = end - time.monotonic()
            if left <= 0 or not self._read(left):
                raise AssertionError(f"{text!r} did not come after {self.screen!r}")
        self._seen = self.screen.index(text, self._seen) + len(text)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        data = b""
        with contextlib.suppress(OSError):  # the command has ended, and with it its terminal
            data = os.read(self._master, 65536)
        self.screen += data.decode(errors="replace")
        return bool(data)

    def ends(self) -> int:
        """Wait for the end of the command, and return its exit code."""
        while self._read(_SECONDS):
            pass
        return self._process.wait(_SECONDS)
