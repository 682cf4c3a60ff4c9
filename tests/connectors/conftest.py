"""Fixtures of the connectors' tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ragkit_connectors.testing import ServedModel

from .aws_server import AwsServer, environment
from .tiny_models import encode, train_tokenizer


@pytest.fixture(scope="session")
def model() -> ServedModel:
    """Return a model with a real tokenizer and a window of 2,048 tokens."""
    tokenizer = train_tokenizer()
    return ServedModel(encode=lambda text: encode(tokenizer, text))


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsServer]:
    """Return a running fake AWS whose identity is that of the environment."""
    pytest.importorskip("botocore")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with AwsServer() as server:
        for name, value in environment().items():
            monkeypatch.setenv(name, value)
        yield server
