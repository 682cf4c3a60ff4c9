"""A real OpenSearch node for tests: started from the launcher that the environment names."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

VARIABLE = "RAGKIT_TEST_OPENSEARCH"
"""URL of a server to test against, or the path of a launcher: `LAUNCHER FOLDER PORT [SETTING…]`."""

_START_SECONDS = 120.0


def place() -> str | None:
    """Return what the environment names; None: nothing."""
    return os.environ.get(VARIABLE) or None


class Node:
    """One node, which can be killed and started again on the same data and port."""

    def __init__(self, launcher: str, folder: Path, *settings: str) -> None:
        self._launcher = launcher
        self._folder = folder
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = int(free.getsockname()[1])

    @property
    def url(self) -> str:
        """Address of the node."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start the node and wait until it answers."""
        if shutil.which("java") is None:
            raise RuntimeError(f"{VARIABLE} names a launcher, which needs java on the PATH")
        self._process = subprocess.Popen(
            [self._launcher, str(self._folder), str(self._port), *self._settings],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.kill()
                raise RuntimeError(f"{self._launcher} did not start")
            time.sleep(0.1)

    def kill(self) -> None:
        """End the node at once, as a crash would."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            path = "/_cluster/health?wait_for_status=yellow&timeout=1s"
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
