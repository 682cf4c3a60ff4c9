"""Fixtures of the connectors' tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from .aws_server import AwsServer


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsServer]:
    """Return a running fake AWS whose identity is that of the environment."""
    pytest.importorskip("botocore")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with AwsServer() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server
