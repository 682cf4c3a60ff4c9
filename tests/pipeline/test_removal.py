"""What is removed or replaced leaves every file of the store at the end of the call."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ragkit import RAG, Document, Settings
from ragkit.storage import DerivedSizes, LocalStore

WORDS_ONLY = Settings(embedder="none")
SMALL = DerivedSizes(first=40, more=40, file=30)
LARGE = {
    "words": DerivedSizes(swept=10),
    "derived": DerivedSizes(first=40, more=40, file=30, rewritten=10),
}
SECRETS = ("zqxwort", "xjkmuon", "wvqtitle", "pqzmeta", "kgxgroup")


def secret(**changes: str) -> Document:
    """Return a document that holds all the secret words, but for those that are replaced."""
    words = dict.fromkeys(SECRETS) | changes
    title, meta, group = (words[name] or name for name in SECRETS[2:])
    text = "The {} hides the {}. ".format(*(words[name] or name for name in SECRETS[:2])) * 20
    return Document(
        id="secret", text=text, title=title, metadata={"note": meta}, groups=("all", group)
    )


def fill(rag: RAG, *more: Document) -> None:
    """Ingest documents beside which the secret one is one of many."""
    many = (
        Document(id=f"f{i}", text=f"Ferry {i} leaves at {i % 24}.", groups=("all",))
        for i in range(90)
    )
    rag.ingest(*more, *many)


def holding(place: Path, *words: str) -> list[str]:
    """Return the names of files in which one of these words stands."""
    return [
        path.name
        for path in sorted(place.rglob("*"))
        if path.is_file() and any(word.encode() in path.read_bytes() for word in words)
    ]


def n_segments(place: Path) -> int:
    """Return the number of parts that the words index is in: one after it was merged."""
    with closing(sqlite3.connect(place / "store.sqlite")) as connection:
        query = "SELECT count(DISTINCT id >> 37) FROM words_data WHERE id > 10"
        found: int = connection.execute(query).fetchone()[0]
        return found


def holding_removed(place: Path) -> list[str]:
    """Return the derived files that hold removed chunks."""
    with closing(sqlite3.connect(place / "store.sqlite")) as connection:
        query = "SELECT name FROM segment WHERE EXISTS (SELECT 1 FROM tombstone WHERE row <= last)"
        return [name for (name,) in connection.execute(query).fetchmany(1)]


WAYS: dict[str, tuple[Callable[[RAG], object], tuple[str, ...]]] = {
    "rm": (lambda rag: rag.rm("secret"), SECRETS),
    "text": (lambda rag: rag.ingest(secret(zqxwort="x", xjkmuon="y")), SECRETS[:2]),
    "title": (lambda rag: rag.ingest(secret(wvqtitle="x")), SECRETS[2:3]),
    "metadata": (lambda rag: rag.ingest(secret(pqzmeta="x")), SECRETS[3:4]),
    "groups": (lambda rag: rag.ingest(secret(kgxgroup="x")), SECRETS[4:]),
}


@pytest.mark.parametrize("sizes", [DerivedSizes(), SMALL], ids=["one file", "derived files"])
@pytest.mark.parametrize("way", WAYS)
def test_no_file_holds_what_was_removed(tmp_path: Path, way: str, sizes: DerivedSizes) -> None:
    """While the store is still open, whatever was removed stands in none of its files."""
    place = tmp_path / "kb"
    act, words = WAYS[way]
    with RAG(LocalStore(place, create=True, sizes=sizes), config=WORDS_ONLY) as rag:
        fill(rag, secret())
        assert any(place.glob("derived/*")) == (sizes == SMALL)
        assert holding(place, *words) == ["store.sqlite"]
        act(rag)
        assert holding(place, *words) == []
        assert rag.doctor() == []
    with closing(sqlite3.connect(place / "store.sqlite")) as connection:
        (n_live,) = connection.execute("SELECT count(*) FROM chunk").fetchone()
        if sizes == SMALL:
            (n_in_files,) = connection.execute("SELECT sum(n) FROM segment").fetchone()
            assert n_live - 40 < n_in_files <= n_live
        assert connection.execute("SELECT count(*) FROM tombstone").fetchone() == (0,)


def test_a_pruned_file_and_an_edited_one_leave_nothing(tmp_path: Path) -> None:
    """Files of a folder: one is edited, one deleted; then nothing of either is left."""
    folder, place = tmp_path / "docs", tmp_path / "kb"
    folder.mkdir()
    for name in ("kept", "edited", "deleted"):
        (folder / f"{name}.txt").write_text(f"The ferry {name} hides zqx{name}.")
    with RAG(place, config=WORDS_ONLY) as rag:
        rag.ingest(folder)
        (folder / "edited.txt").write_text("Nothing.")
        (folder / "deleted.txt").unlink()
        rag.ingest(folder, prune=True)
        assert holding(place, "zqxedited", "zqxdeleted") == []
        assert holding(place, "zqxkept") == ["store.sqlite"]


def test_vectors_that_no_chunk_uses_leave_too(tmp_path: Path) -> None:
    """The vectors of replaced text are gone, those of equal text elsewhere stay."""
    place = tmp_path / "kb"
    with RAG(place) as rag:
        rag.ingest(Document(id="a", text="The heron sleeps."), Document(id="b", text="A whale."))
        with closing(sqlite3.connect(place / "store.sqlite")) as connection:
            before = [
                [vector for (vector,) in connection.execute(query)]
                for query in ("SELECT vector FROM vector", "SELECT vector FROM sentence")
            ]
        rag.ingest(Document(id="a", text="A whale."), Document(id="b", text="A whale."))
    raw = (place / "store.sqlite").read_bytes()
    assert [[vector in raw for vector in some] for some in before] == [[False, True]] * 2


def test_what_removes_nothing_merges_nothing(tmp_path: Path) -> None:
    """Additions and an unchanged ingest leave the words index in its parts."""
    place = tmp_path / "kb"
    with RAG(place, config=WORDS_ONLY) as rag:
        for name in "abc":
            rag.ingest(Document(id=name, text=f"Ferry {name}."))
        assert n_segments(place) == 3
        generation = rag.describe()["generation"]
        rag.ingest(Document(id="c", text="Ferry c."))
        assert rag.describe()["generation"] == generation
        rag.rm("b")
        assert n_segments(place) == 1


@pytest.mark.parametrize("by", ["rm --secure", "ingest --secure", "compact"])
@pytest.mark.parametrize("what", LARGE)
def test_a_large_store_is_swept_when_told(tmp_path: Path, what: str, by: str) -> None:
    """Above the size up to which each call sweeps, one line says what does; and it does."""
    place, notices = tmp_path / "kb", list[str]()
    store = LocalStore(place, create=True, sizes=LARGE[what])
    with RAG(store, config=WORDS_ONLY, notify=notices.append) as rag:
        fill(rag, secret())
        assert notices == []
        rag.ingest(secret(zqxwort="x"))
        assert [("doctor --compact" in line, "\n" in line) for line in notices] == [(True, False)]
        assert bool(holding(place, "zqxwort")) == (what == "words")
        assert bool(holding_removed(place)) == (what == "derived")
        if by == "compact":
            rag.compact()
        elif by == "rm --secure":
            rag.rm("f1", secure=True)
        else:
            rag.ingest(Document(id="f1", text="Changed.", groups=("all",)), secure=True)
        assert holding(place, "zqxwort") == []
        assert holding_removed(place) == []
        assert len(notices) == 1


def test_a_call_that_was_cut_off_is_swept_by_the_next(tmp_path: Path) -> None:
    """An ingest that ends after its commit and before its sweep leaves the rest to the next."""
    place = tmp_path / "kb"

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with RAG(place, config=WORDS_ONLY) as rag:
        fill(rag, secret())
        with pytest.raises(KeyboardInterrupt):
            rag.ingest(secret(zqxwort="x"), on_progress=stop)
        assert holding(place, "zqxwort") != []
        report = rag.ingest(secret(zqxwort="x"))
        assert report.documents["unchanged"] == 1
        assert holding(place, "zqxwort") == []


def no_module(name: str) -> None:
    """Find no module of any name."""
    del name


def test_without_numpy_derived_files_that_hold_something_removed_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They cannot be written anew there; searches read the store itself until they can."""
    place = tmp_path / "kb"
    with RAG(LocalStore(place, create=True, sizes=SMALL), config=WORDS_ONLY) as rag:
        fill(rag, secret())
        monkeypatch.setattr("importlib.util.find_spec", no_module)
        rag.rm("f3")
        assert list(place.glob("derived/*")) == []
        assert rag.doctor() == []
        assert rag.search("ferry", k=200, groups=["all"])[0].chunk.document_id != "f3"
        assert len(rag.search("ferry", k=200, groups=["all"])) == 89
