"""What the local store offers beyond `Store`: snapshots, and its own upkeep."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from ragkit import RAG, Document
from ragkit.errors import StoreClosedError, StoreError
from ragkit.storage import DerivedSizes, LocalStore, Maintained, Snapshots, Store
from ragkit.types import Query
from ragkit_connectors.testing.stores import WordEmbedder
from tests.counting import counted

QUESTION = "When does the ferry to the island leave?"
ONCE = ("read_manifest", "detect_language", "search_terms")


def boats(n: int, *, groups: tuple[str, ...] = ()) -> list[Document]:
    """Return documents that a question about ferries finds."""
    return [
        Document(id=f"d{i}", text=f"The ferry {i} leaves the island at noon.", groups=groups)
        for i in range(n)
    ]


@pytest.fixture(params=["small", "derived", "protected"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[LocalStore]:
    """Make a store with vectors: searched by itself, by derived files, or for groups only."""
    sizes = DerivedSizes(first=8, more=8) if request.param == "derived" else DerivedSizes()
    groups = ("crew",) if request.param == "protected" else ()
    with LocalStore(tmp_path / "kb", create=True, sizes=sizes) as made:
        with RAG(made.folder, embedder=WordEmbedder(), ledger="off") as rag:
            rag.ingest(*boats(12, groups=groups))
        made.derive()
        yield made


@pytest.mark.parametrize("mode", ["lexical", "hybrid"])
def test_a_question_reads_each_thing_once(store: LocalStore, mode: str) -> None:
    """Manifest, language and terms are read or computed once, however often they are used."""
    vector = WordEmbedder().embed_query(QUESTION)
    with counted(*ONCE) as counts, store.snapshot() as snapshot:
        assert snapshot.manifest().settings is not None
        assert snapshot.question_language(QUESTION, groups=("crew",)) == "en"
        terms = snapshot.terms(QUESTION, groups=("crew",))
        query = Query(question=QUESTION, vector=vector, mode=mode, k=5, groups=("crew",))  # type: ignore[arg-type]
        hits = snapshot.search(query)
        pool = snapshot.pool(hits, vector)
    assert terms == ["ferri", "island", "leav"]
    assert len(pool) == 5
    assert counts == dict.fromkeys(ONCE, 1)


def test_a_snapshot_stays_as_it_is(store: LocalStore) -> None:
    """What is written meanwhile is seen by the next snapshot, in nothing by this one."""
    query = Query(question=QUESTION, mode="lexical", k=100, groups=("crew",))
    with store.snapshot() as snapshot:
        before = snapshot.manifest()
        with LocalStore(store.folder) as writer:
            writer.delete(["d0"])
            assert len(writer.search(query)) == 11
        assert len(snapshot.search(query)) == 12
        assert snapshot.manifest() == before
    with store.snapshot() as snapshot:
        assert len(snapshot.search(query)) == 11
        assert snapshot.manifest() != before


def error_of(read: Callable[[], object]) -> str:
    """Return the error of a call in a thread of its own."""
    errors: list[str] = []

    def run() -> None:
        try:
            read()
        except StoreError as error:
            errors.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return errors[0] if errors else "none"


def test_a_snapshot_is_of_its_block_and_thread(store: LocalStore) -> None:
    """Elsewhere its connection may be in another state: a typed error."""
    with store.snapshot() as snapshot:
        assert error_of(snapshot.language).startswith("a snapshot is read outside")
        snapshot.language()
    with pytest.raises(StoreError, match="outside of its block"):
        snapshot.language()
    with store.snapshot() as snapshot:
        threading.Thread(target=lambda: store.close(seconds=0)).start()
        while error_of(store.manifest) == "none":
            pass
        with pytest.raises(StoreClosedError):
            snapshot.search(Query(question=QUESTION, mode="lexical", groups=("crew",)))


def test_the_local_store_has_every_ability(store: LocalStore) -> None:
    """What asks for an ability gets it, statically and at run time."""
    abilities: tuple[Store, Snapshots, Maintained] = (store, store, store)
    for ability, kind in zip(abilities, (Store, Snapshots, Maintained), strict=True):
        assert isinstance(ability, kind)


def test_settling_sweeps_what_earlier_calls_left(store: LocalStore) -> None:
    """A call that removes nothing itself still ends with no trace of what was removed."""
    notices: list[str] = []
    store.delete(["d1", "d2"])
    with store.settling(notices.append):
        pass
    assert not store.is_unswept
    assert notices == []
