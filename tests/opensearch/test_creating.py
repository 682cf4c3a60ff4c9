"""Several processes that make one new index: it is made once, and nothing in it is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from ragkit import RAG, Settings
from ragkit.errors import ConfigError
from ragkit_connectors.testing import Asked, OpenSearchServer, WordEmbedder

from .opening import WORDS_ONLY, numbered, opened, unused


def _once_before(
    is_it: Callable[[Asked], bool], act: Callable[[], None]
) -> Callable[[Asked], None]:
    """Do something, once, when the first such request has come and nothing was done about it."""
    lock, done = threading.Lock(), list[bool]()

    def script(asked: Asked) -> None:
        if is_it(asked):
            with lock:
                first = not done
                done.append(True)
            if first:
                act()

    return script


def _makes(asked: Asked) -> bool:
    return asked.method == "PUT" and asked.path == "/kb-000001"


def test_an_index_that_another_made_meanwhile_is_read_and_not_replaced() -> None:
    """Looked for, not found, made by another with a document: both documents are there."""
    with OpenSearchServer() as server:
        address = f"{server.url}/kb"

        def other() -> None:
            with RAG(opened(address), config=WORDS_ONLY) as rag:
                assert rag.ingest(*numbered(3)).documents["added"] == 3

        server.trouble = _once_before(_makes, other)
        with RAG(opened(address), config=WORDS_ONLY) as rag:
            assert rag.ingest(*numbered(3, prefix="m")).documents["added"] == 3
            assert len(list(rag.list())) == 6
            assert rag.doctor() == []
        assert server.indices() == ["kb-000001"]
        assert not [asked for asked in server.requests if asked.method == "DELETE"
                    and asked.path.startswith("/kb")]  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [Settings(embedder="none", chunk_tokens=50, ledger="off"), Settings(ledger="off")],
    ids=["chunks", "embedder"],
)
def test_settings_of_the_quicker_one_hold(settings: Settings) -> None:
    """The slower one writes nothing by other settings: it takes what was made, or says so."""
    with OpenSearchServer() as server:
        address = f"{server.url}/kb"
        made: list[str] = []

        def other() -> None:
            embedder = None if settings.embedder else WordEmbedder()
            with RAG(opened(address), embedder=embedder, config=settings) as rag:
                rag.ingest(*numbered(3))
                made.append(str(rag.configuration()["chunks_sha256"]))

        server.trouble = _once_before(_makes, other)
        asked = Settings(embedder="none", chunk_tokens=60, ledger="off")
        with RAG(opened(address), config=asked) as rag:
            with pytest.raises(ConfigError, match="ragkit rebuild"):
                rag.ingest(*numbered(3, prefix="m"))
            assert rag.configuration()["chunks_sha256"] == made[0]


def test_who_asked_for_nothing_takes_the_quicker_ones_settings() -> None:
    """Settings that were left open are the store's, whoever made it and when."""
    with OpenSearchServer() as server:
        address = f"{server.url}/kb"
        small = Settings(embedder="none", chunk_tokens=50, ledger="off")

        def other() -> None:
            with RAG(opened(address), config=small) as rag:
                rag.ingest(*numbered(3))

        server.trouble = _once_before(_makes, other)
        with RAG(opened(address), config=WORDS_ONLY) as rag:
            rag.ingest(*numbered(3, prefix="m"))
            assert rag.describe()["settings"]["chunk_tokens"] == 50  # type: ignore[index, call-overload]
            assert len(list(rag.list())) == 6


def _race(address: str, n_writers: int) -> list[str]:
    """Ingest from several pipelines at once and return the ids that were acknowledged."""
    together, lock = threading.Barrier(n_writers), threading.Lock()
    acknowledged: list[str] = []
    errors: list[Exception] = []

    def write(i: int) -> None:
        def on_progress(progress: object) -> None:
            with lock:
                acknowledged.append(getattr(progress, "document_id"))  # noqa: B009

        with RAG(opened(address), config=WORDS_ONLY) as rag:
            together.wait(120)
            try:
                rag.ingest(*numbered(5, prefix=f"w{i}n"), on_progress=on_progress)
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(n_writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    return acknowledged


def test_four_writers_at_once_lose_nothing() -> None:
    """Each document that was acknowledged is there, ten times over."""
    for _ in range(10):
        with OpenSearchServer() as server:
            acknowledged = _race(f"{server.url}/kb", 4)
            with RAG(opened(f"{server.url}/kb"), config=WORDS_ONLY) as rag:
                assert {row.document_id for row in rag.list()} == set(acknowledged)
                assert len(acknowledged) == 20
                assert rag.doctor() == []


def test_a_real_server_is_no_different(opensearch_url: str) -> None:
    """The same against OpenSearch itself."""
    for _ in range(3):
        address = unused(opensearch_url)
        acknowledged = _race(address, 3)
        with RAG(opened(address), config=WORDS_ONLY) as rag:
            assert {row.document_id for row in rag.list()} == set(acknowledged)
            assert len(acknowledged) == 15
            assert rag.doctor() == []
