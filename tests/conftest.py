"""Shared fixtures: no network but loopback, no settings from the outside."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, settings

# As the command line does: matrix products in as many threads as cores, in each of several test
# processes, wait for each other most of the time. numpy reads this once, when it is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# A loaded machine is no fault of the code: time is measured by benchmarks, never by tests.
settings.register_profile("ragkit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ragkit")

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Refuse every connection that leaves this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        host = str(cast("tuple[object, ...]", address)[0]) if isinstance(address, tuple) else ""
        if self.family != socket.AF_UNIX and host not in _LOOPBACK:
            raise AssertionError(f"a test tried to reach {address!r}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def _clean_environment(  # pyright: ignore[reportUnusedFunction]
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Run in an empty folder, without settings in the environment or of the user who runs it."""
    for name in list(os.environ):
        if name.startswith("RAGKIT_") and not name.startswith("RAGKIT_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path.with_name(f"{tmp_path.name}-config")))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def test_data() -> Path:
    """Return the folder of evaluation data, or skip."""
    place = os.environ.get("RAGKIT_TEST_DATA")
    if not place:
        pytest.skip("RAGKIT_TEST_DATA names no folder of evaluation data")
    return Path(place)
