"""Vectors of sentences in an index: where they are written, when they are read, and where not."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Generator
from typing import Any

import pytest

from ragkit import RAG, Document, Settings
from ragkit.errors import ConfigError
from ragkit.storage import pack_sentences
from ragkit.text.words import index_terms
from ragkit_connectors.testing import OpenSearchServer, WordEmbedder

from .opening import opened, unused

_HARBOR = Document(
    id="harbor", text="The harbour opens at six. Ferries leave at noon. Dogs travel free."
)
_DESK = Document(id="desk", text="A badge is reset at the desk. It needs a passport.")
_QUESTION = "When do the ferries leave?"
_SETTINGS = Settings(ledger="off", refuse_below="off")


@pytest.fixture(params=["here", "real"])
def url(request: pytest.FixtureRequest) -> Generator[str, None, None]:
    """Yield the address of the server in this process, then that of a real one."""
    if request.param == "real":
        yield request.getfixturevalue("opensearch_url")
        return
    with OpenSearchServer() as server:
        yield server.url


def _call(method: str, url: str, body: object = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        found: dict[str, Any] = json.load(answer)
    return found


def _mapping(address: str, number: int = 1) -> dict[str, Any]:
    name = f"{address}-{number:06d}"
    found: dict[str, Any] = _call("GET", f"{name}/_mapping")[name.rpartition("/")[2]]["mappings"]
    return found


def _records(address: str, number: int = 1) -> list[Any]:
    path = f"{address}-{number:06d}/_search"
    body = {"query": {"term": {"kind": "chunk"}}, "size": 100, "_source": ["sentence_vectors"]}
    return [hit["_source"] for hit in _call("POST", path, body)["hits"]["hits"]]


def _remade(url: str, schema: int) -> str:
    """Return the address of an empty index with this schema, without vectors of sentences."""
    address = unused(url)
    without = Settings(ledger="off", sentence_vectors=False)
    with RAG(opened(address), embedder=WordEmbedder(), config=without) as rag:
        rag.ingest(_HARBOR)
    mapping = _mapping(address)
    mapping["_meta"]["ragkit"]["schema"] = schema
    if schema == 1:
        del mapping["properties"]["sentence_vectors"]
    _call("DELETE", f"{address}-000001")
    settings = {"index": {"knn": True, "number_of_replicas": 0}}
    aliases: dict[str, object] = {address.rpartition("/")[2]: {}}
    body = {"settings": settings, "mappings": mapping, "aliases": aliases}
    _call("PUT", f"{address}-000001", body)
    return address


def _open(address: str, told: list[str], settings: Settings = _SETTINGS) -> RAG:
    return RAG(opened(address), embedder=WordEmbedder(), config=settings, notify=told.append)


def test_a_record_holds_the_bytes_of_a_local_store(url: str) -> None:
    """One int8 per dimension for each sentence, in a field that is not searched."""
    address = unused(url)
    with _open(address, []) as rag:
        rag.ingest(_DESK)
    (fields,) = _records(address)
    texts = ["A badge is reset at the desk.", "It needs a passport."]
    expected = pack_sentences(WordEmbedder().embed_documents(texts))
    assert base64.b64decode(fields["sentence_vectors"]) == expected
    assert _mapping(address)["properties"]["sentence_vectors"]["type"] == "binary"


def test_an_older_index_goes_on_without_and_a_rebuild_adds_them(url: str) -> None:
    """Written and read as before, with a notice; also when its first groups are noted."""
    address, told = _remade(url, schema=1), list[str]()
    with _open(address, told) as rag:
        rag.ingest(_HARBOR, Document(id="shut", text="Shut words.", groups=("a",)))
        assert [text for text in told if "vectors of sentences" in text and "rebuild" in text]
        assert _mapping(address)["_meta"]["ragkit"]["schema"] == 1
        assert [fields for fields in _records(address) if fields] == []
        _, (first,) = rag.pool("Which words?", k=10, groups=["a"], mode="dense")
        assert (first.cosines, first.with_chunk) == (None, False)
        assert list(first.terms) == [index_terms("Shut words.", language=None)]
        assert rag.ask("Which words?", groups=["a"]).context
        rag.rebuild()
    with _open(address, told) as rag:
        assert _mapping(address, 2)["_meta"]["ragkit"]["schema"] == 2
        assert all(fields for fields in _records(address, 2))
        _, (first,) = rag.pool("Which words?", k=10, groups=["a"], mode="dense")
        assert (first.cosines is not None, first.with_chunk) == (True, True)
    assert opened(address).roll_back().endswith("-000001")
    with _open(address, told) as rag:
        _, (first,) = rag.pool("Which words?", k=10, groups=["a"], mode="dense")
        assert first.cosines is None


def test_an_older_index_is_told_from_what_is_asked() -> None:
    """Asking for vectors names the way to them; who wants none is told nothing."""
    with OpenSearchServer() as server:
        address, told = _remade(server.url, schema=1), list[str]()
        asked = Settings(ledger="off", sentence_vectors=True)
        with _open(address, told, asked) as rag:
            with pytest.raises(ConfigError, match=r"sentence_vectors False.*ragkit rebuild"):
                rag.ingest(_HARBOR)
        with _open(address, told, Settings(ledger="off", sentence_vectors=False)) as rag:
            rag.ingest(_HARBOR)
            rag.rebuild()
            assert [fields for fields in _records(address, 2) if fields] == []
        assert told == []


def test_an_index_of_a_newer_ragkit_is_refused() -> None:
    """It says which schema it has; nothing is written."""
    with OpenSearchServer() as server:
        address = _remade(server.url, schema=3)
        with _open(address, []) as rag, pytest.raises(ConfigError, match="has schema 3"):
            rag.ingest(_HARBOR)
        assert len(server.records(f"{address.rpartition('/')[2]}-000001")) == 0


def test_vectors_are_read_for_the_hits_that_are_trimmed() -> None:
    """Once per question, and never with a search."""
    with OpenSearchServer() as server, _open(f"{server.url}/kb", []) as rag:
        rag.ingest(_HARBOR, _DESK)
        n_before = len(server.requests)
        assert rag.ask(_QUESTION).context
        asked = [one for one in server.requests[n_before:] if b"sentence_vectors" in one.body]
        (body,) = (json.loads(one.body) for one in asked)
        (_, of_ids) = body["query"]["bool"]["filter"]
        assert len(of_ids["terms"]["chunk_id"]) == 2
        n_before = len(server.requests)
        assert rag.search(_QUESTION)
        assert not any(b"sentence_vectors" in one.body for one in server.requests[n_before:])
