"""The contract of stores, kept on a real server and on the one for tests without Java."""

from __future__ import annotations

import uuid
from collections.abc import Generator

import pytest

from ragkit_connectors.opensearch import OpenSearchStore
from ragkit_connectors.testing import OpenSearchServer, StoreContract, TrimmingContract

from .opening import opened


class TestRealServer(StoreContract, TrimmingContract):
    """A node of its own."""

    @pytest.fixture(autouse=True)
    def _server(self, opensearch_url: str) -> None:  # pyright: ignore[reportUnusedFunction]
        self.prefix = f"{opensearch_url}/t{uuid.uuid4().hex[:12]}"

    def make(self, name: str) -> OpenSearchStore:
        """Return the store behind an alias of this test's own."""
        return opened(f"{self.prefix}-{name}")

    def make_unreachable(self) -> OpenSearchStore:
        """Return a store at a port where nothing listens."""
        return opened("http://127.0.0.1:1/kb", retry_seconds=0.5)


class TestRealServerJoinedHere(TestRealServer):
    """Both rankings are requested and fused on the client."""

    def make(self, name: str) -> OpenSearchStore:
        """Return the store behind an alias of this test's own."""
        return opened(f"{self.prefix}-{name}", hybrid="client")


class TestRealServerOfBytes(TestRealServer):
    """Vectors are kept as bytes."""

    score_tolerance = 3e-2
    cosine_tolerance = 1e-2

    def make(self, name: str) -> OpenSearchStore:
        """Return the store behind an alias of this test's own."""
        return opened(f"{self.prefix}-{name}", vector_type="byte")


class TestServerInThisProcess(StoreContract, TrimmingContract):
    """The server for tests without Java."""

    @pytest.fixture(autouse=True)
    def _server(self) -> Generator[None, None, None]:  # pyright: ignore[reportUnusedFunction]
        with OpenSearchServer() as server:
            self.url = server.url
            yield

    def make(self, name: str) -> OpenSearchStore:
        """Return the store of this name."""
        return opened(f"{self.url}/{name}")


class TestServerlessInThisProcess(StoreContract, TrimmingContract):
    """A vector collection of OpenSearch Serverless: no ids, no refresh, late visibility."""

    @pytest.fixture(autouse=True)
    def _server(  # pyright: ignore[reportUnusedFunction]
        self, monkeypatch: pytest.MonkeyPatch
    ) -> Generator[None, None, None]:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        with OpenSearchServer(serverless=True, visible_after=1) as server:
            self.url = server.url
            yield

    def make(self, name: str) -> OpenSearchStore:
        """Return the store of this name."""
        return opened(f"{self.url}/{name}", aws_service="aoss", region="us-east-1", engine="lucene")
