"""One list of options for every way of calling: a misspelt keyword is an error in each."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from ragkit import RAG, Document, Settings
from ragkit.pipeline import options

KEYWORDS_ONLY = Settings(embedder="none")


@pytest.fixture
def rag(tmp_path: Path) -> RAG:
    """Return a pipeline over one document."""
    pipeline = RAG(tmp_path / "kb", config=KEYWORDS_ONLY)
    pipeline.ingest(Document(id="ferry", text="The ferry leaves at noon from pier seven."))
    return pipeline


def test_a_misspelt_keyword_is_an_error(rag: RAG) -> None:
    """The type checkers refuse each line, and the call itself names what is allowed.

    An ignore that is not needed fails the type checkers.
    """

    async def pieces() -> list[str]:
        return [piece async for piece in rag.astream("ferry?", kk=3)]  # type: ignore[call-arg]

    calls: list[tuple[str, Callable[[], object]]] = [
        ("search", lambda: rag.search("ferry", kk=3)),  # type: ignore[call-arg]
        ("ask", lambda: rag.ask("ferry?", kk=3)),  # type: ignore[call-arg]
        ("stream", lambda: rag.stream("ferry?", kk=3)),  # type: ignore[call-arg]
        ("pool", lambda: rag.pool("ferry", k=3, kk=3)),  # type: ignore[call-arg]
        ("ingest", lambda: rag.ingest(".", kk=3)),  # type: ignore[call-arg]
        ("search", lambda: asyncio.run(_whole(rag.asearch("ferry", kk=3)))),  # type: ignore[call-arg]
        ("ask", lambda: asyncio.run(_whole(rag.aask("ferry?", kk=3)))),  # type: ignore[call-arg]
        ("ingest", lambda: asyncio.run(_whole(rag.aingest(".", kk=3)))),  # type: ignore[call-arg]
        ("stream", lambda: asyncio.run(pieces())),
    ]
    for name, call in calls:
        with pytest.raises(TypeError, match=rf"{name}\(\) got an unexpected .* 'kk'; allowed: "):
            call()


async def _whole(call: object) -> object:
    assert asyncio.iscoroutine(call)
    return await call


def test_every_option_has_a_line_that_says_what_it_does() -> None:
    """The lists are the documentation of all that take them."""
    kinds = [options.PoolOptions, options.RetrievalOptions, options.SearchOptions,
             options.StreamOptions, options.AskOptions, options.IngestOptions]  # fmt: skip
    described = "".join(kind.__doc__ or "" for kind in kinds)
    for name in {name for kind in kinds for name in kind.__annotations__}:
        assert f"\n        {name}: " in described, name
