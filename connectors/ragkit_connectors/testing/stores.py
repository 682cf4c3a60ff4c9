"""Contracts of stores and retrievers: classes of pytest tests to inherit.

The local store is the oracle: what it finds for a question, every store must find.

    class TestMyStore(StoreContract):
        def make(self, name):
            return MyStore(name)
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit import RAG, Document, Settings
from ragkit.errors import ConfigError, RagkitError, RemoteError
from ragkit.filters import compile_filter
from ragkit.storage import LocalStore, Store
from ragkit.types import Fusion, Hit, Json, Mode, Query, Retriever

if TYPE_CHECKING:
    from ragkit.types import Vector, Vectors

MODES: tuple[Mode, ...] = ("lexical", "dense", "hybrid")

WORDS_ONLY = Settings(embedder="none", ledger="off")
_DOCUMENTS = tuple(
    Document(id=f"d{i:02d}", text=text, title=title, source=f"https://example.org/{i}")
    for i, (title, text) in enumerate(
        [
            ("Badges", "A lost badge is reset at the front desk. Bring your passport."),
            ("Ferries", "The ferry to the island leaves at noon. Dogs travel free of charge."),
            ("Boiling", "Water boils at one hundred degrees. On a mountain it boils earlier."),
            ("Herons", "A heron stands in shallow water. It waits for fish without moving."),
            ("Passes", "The annual pass costs ninety pounds. Children pay half of the price."),
            ("Tides", "The tide turns every six hours. The harbour is deep enough at low tide."),
            ("Lanterns", "Each lantern burns oil for nine hours. The keeper trims the wick."),
            ("Refunds", "A refund is paid within ten days. Keep the ticket until then."),
            ("Hafen", "Der Hafen öffnet um sechs Uhr. Die Fähre fährt stündlich."),
            ("港口", "渡轮每小时开一次。港口六点开放。"),
        ]
    )
)
_QUESTIONS = (
    "Where is a badge reset?",
    "When does the ferry leave?",
    "How hot is boiling water?",
    "What does the annual pass cost?",
    "How long does a lantern burn?",
    "Wann öffnet der Hafen?",
    "渡轮",
)
_ODD_QUESTIONS = (
    "", " ", "?", '"', "AND OR NOT", "words:badge", "badge*", "(", "a\x00b", "-badge", "\\", "{}",
    "é" * 500, "NEAR(a b)", "<script>", "'; DROP TABLE chunk; --", "🙂", "/.*/", "badge~2 ^3",
)  # fmt: skip


class WordEmbedder:
    """Vectors that count words, by hash: no model, and equal texts have equal vectors."""

    def __init__(self, dim: int = 64) -> None:
        self.name = "words"
        self.dim = dim
        self.fingerprint = f"words/1 {dim}"

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors: float32, shape (n, dim)."""
        import numpy as np

        vectors = np.full((len(texts), self.dim), 1e-3, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text.lower()):
                digest = hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()
                vectors[row, int.from_bytes(digest[:4], "big") % self.dim] += 1.0
        scaled: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return scaled

    def embed_query(self, text: str) -> Vector:
        """Return a unit vector: float32, shape (dim,)."""
        vector: Vector = self.embed_documents([text])[0]
        return vector


class StoreContract:
    """What every store must do. `make` is called one or more times per test, with new names."""

    score_tolerance = 1e-2
    """Largest difference of a cosine from the local store's; vectors may be stored rounded."""

    def make(self, name: str) -> Store:
        """Return the store of this name, empty when the test has not written to it yet."""
        raise NotImplementedError

    def make_unreachable(self) -> Store | None:
        """Return a store whose server is down; None for stores without a server."""
        return None

    # --- content -----------------------------------------------------------------------------

    def test_what_is_stored_comes_back_exactly(self) -> None:
        """Text, title, metadata, groups and offsets survive, whatever characters they hold."""
        text = "Null \0 byte, lone \ud800 surrogate, \U0001f600 and\r\nline ends. שלום. End."
        metadata: Mapping[str, Json] = {"n": [1, {"x": None}], "deep": {"a": 1.5}, "ü": "\u2028"}
        document = Document(
            id="a/ü ?#.txt", text=text, title="T\u2028", metadata=metadata, groups=("g",),
            source="file:///a b",
        )  # fmt: skip
        with RAG(self.make("kb"), config=WORDS_ONLY) as rag:
            rag.ingest(document)
            shown = rag.show(document.id, groups=["g"])
            assert shown is not None
            assert (shown["text"], shown["title"], shown["metadata"]) == (text, "T\u2028", metadata)
            (hit,) = rag.search("surrogate", groups=["g"])
            assert text[hit.chunk.start : hit.chunk.end] == hit.chunk.text
            assert (hit.title, hit.metadata) == ("T\u2028", metadata)
            assert [s for s in hit.chunk.sentences if not text[slice(*s)].strip()] == []

    def test_a_changed_document_replaces_its_chunks(self) -> None:
        """Words of the old version are no longer found, and no old chunk stays."""
        with RAG(self.make("kb"), config=Settings(embedder="none", chunk_tokens=10)) as rag:
            rag.ingest(Document(id="a", text="The walrus sleeps on the ice. " * 9))
            report = rag.ingest(Document(id="a", text="The heron sleeps."))
            assert report.documents["changed"] == 1
            assert rag.search("walrus") == []
            assert [hit.chunk.document_id for hit in rag.search("heron")] == ["a"]
            assert rag.describe()["chunks"] == 1

    def test_an_unchanged_document_costs_nothing(self) -> None:
        """It is not embedded or written again, not even by another process."""
        with self._filled("kb") as rag:
            assert rag.describe()["documents"] == len(_DOCUMENTS)
        with RAG(self.make("kb"), embedder=WordEmbedder(), config=_SETTINGS) as rag:
            report = rag.ingest(*_DOCUMENTS)
            assert report.documents["unchanged"] == len(_DOCUMENTS)
            assert (report.embedded, report.chunks) == (0, 0)

    def test_a_removed_document_is_gone(self) -> None:
        """It is not listed, shown or found, and a second removal finds nothing."""
        with self._filled("kb") as rag:
            assert rag.rm("d00", "nowhere") == ["d00"]
            assert rag.rm("d00") == []
            assert rag.show("d00") is None
            assert "d00" not in [row.document_id for row in rag.list()]
            for mode in MODES:
                found = rag.search("Where is a badge reset?", k=20, mode=mode)
                assert "d00" not in [hit.chunk.document_id for hit in found]

    def test_many_documents_are_all_stored_listed_and_counted(self) -> None:
        """More than any page or batch holds: none is lost, none stands twice."""
        names = [f"n{i:04d}" for i in range(1_100)]
        with RAG(self.make("kb"), config=WORDS_ONLY) as rag:
            report = rag.ingest(*(Document(id=n, text=f"Number {n} swims.") for n in names))
            assert report.documents["added"] == len(names)
            rows = list(rag.list())
            assert [row.document_id for row in rows] == names
            assert {row.chunks for row in rows} == {1}
            assert rag.describe()["chunks"] == len(names)
            assert [hit.chunk.document_id for hit in rag.search("n0777", k=3)] == ["n0777"]

    def test_prune_removes_what_has_vanished(self, tmp_path: Path) -> None:
        """Files that are no longer in the folder go, others stay."""
        folder = tmp_path / "docs"
        folder.mkdir()
        for name in ("a", "b"):
            (folder / f"{name}.txt").write_text(f"Text of {name}.")
        with RAG(self.make("kb"), config=WORDS_ONLY) as rag:
            rag.ingest(folder)
            (folder / "b.txt").unlink()
            assert rag.ingest(folder, prune=True).documents["removed"] == 1
            assert [row.document_id for row in rag.list()] == ["a.txt"]

    def test_a_rebuild_keeps_every_document(self) -> None:
        """New chunks replace the old ones, and later ingests find the documents unchanged."""
        long = Document(id="long", text="The walrus sleeps on the ice. " * 9)
        with RAG(self.make("kb"), config=WORDS_ONLY) as rag:
            rag.ingest(long, *_DOCUMENTS)
        smaller = Settings(embedder="none", chunk_tokens=10, ledger="off")
        with RAG(self.make("kb"), config=smaller) as rag:
            rag.rebuild()
            rows = {row.document_id: row.chunks for row in rag.list()}
            assert len(rows) == 1 + len(_DOCUMENTS)
            assert rows["long"] > 1
            assert rag.ingest(long).documents["unchanged"] == 1
            assert rag.search("walrus", k=20)[0].chunk.document_id == "long"
            assert rag.doctor() == []

    def test_the_doctor_finds_nothing_in_a_sound_store(self) -> None:
        """No finding after writes, changes and removals."""
        with self._filled("kb") as rag:
            rag.ingest(Document(id="d01", text="Another text."))
            rag.rm("d02")
            assert rag.doctor() == []

    # --- settings ----------------------------------------------------------------------------

    def test_other_settings_are_refused(self) -> None:
        """An embedder of another dimension, or another chunk size, is named with the way out."""
        self._filled("kb").close()
        with RAG(self.make("kb"), embedder=WordEmbedder(32), config=_SETTINGS) as rag:
            _raises(ConfigError, lambda: rag.ingest(*_DOCUMENTS), "ragkit rebuild")
            _raises(ConfigError, lambda: rag.search("badge"), "words/1 64")
        other = Settings(chunk_tokens=33, ledger="off")
        with RAG(self.make("kb"), embedder=WordEmbedder(), config=other) as rag:
            _raises(ConfigError, lambda: rag.ingest(*_DOCUMENTS), "chunk_tokens 400")

    def test_a_question_of_another_dimension_is_refused(self) -> None:
        """The store itself does not answer a vector that it cannot compare."""
        with self._filled("kb"):
            vector = WordEmbedder(32).embed_query("badge")
            store = self.make("kb")
            _raises(
                (RagkitError, ValueError),
                lambda: store.search(Query(question="badge", vector=vector, mode="dense")),
            )

    # --- searching ---------------------------------------------------------------------------

    def test_vectors_rank_as_in_the_local_store(self, tmp_path: Path) -> None:
        """The same documents in the same order, with the same cosines."""
        with self._filled("kb") as rag, _oracle(tmp_path) as oracle:
            for question in _QUESTIONS:
                found = rag.search(question, k=5, mode="dense")
                expected = oracle.search(question, k=5, mode="dense")
                for hit, other in zip(found, expected, strict=True):
                    assert abs(hit.score - other.score) < self.score_tolerance, question
                assert _names(found)[0] == _names(expected)[0]

    def test_words_find_what_the_local_store_finds(self, tmp_path: Path) -> None:
        """The same documents for every question, in whatever script, and the same best one."""
        with self._filled("kb") as rag, _oracle(tmp_path) as oracle:
            for question in _QUESTIONS:
                found = _names(rag.search(question, k=20, mode="lexical"))
                expected = _names(oracle.search(question, k=20, mode="lexical"))
                assert sorted(found) == sorted(expected), question
                assert found[0] == expected[0], question

    def test_both_together_find_the_best(self, tmp_path: Path) -> None:
        """Hybrid search agrees with the local store's about the best, with either fusion."""
        fusions: tuple[Fusion, ...] = ("convex", "rrf")
        for fusion in fusions:
            settings = Settings(fusion=fusion, ledger="off")
            with (
                self._filled(f"kb-{fusion}", settings) as rag,
                _oracle(tmp_path / fusion, settings) as oracle,
            ):
                for question in _QUESTIONS:
                    found = rag.search(question, k=20, mode="hybrid")
                    expected = oracle.search(question, k=20, mode="hybrid")
                    assert _names(found)[0] == _names(expected)[0], (fusion, question)
                    assert len(found) == len({hit.chunk.id for hit in found})
                    scores = [hit.score for hit in found]
                    assert scores == sorted(scores, reverse=True)

    def test_equal_scores_are_ordered_by_chunk_id(self) -> None:
        """Ties never depend on the order of writing."""
        text = "The same words everywhere."
        with RAG(self.make("kb"), embedder=WordEmbedder(), config=_SETTINGS) as rag:
            rag.ingest(*(Document(id=f"{i}", text=text) for i in range(12)))
            for mode in MODES:
                found = rag.search("same words", k=5, mode=mode)
                names = [hit.chunk.id for hit in found]
                assert len(names) == 5
                assert names == sorted(names), mode

    def test_never_more_than_k_and_all_that_there_are(self) -> None:
        """`k` cuts, and a `k` above the number of chunks gives them all, ranked from 1."""
        with self._filled("kb") as rag:
            for mode in MODES:
                assert len(rag.search("water tide", k=1, mode=mode)) == 1
            everything = rag.search("water", k=500, mode="dense")
            assert sorted(_names(everything)) == [d.id for d in _DOCUMENTS]
            assert [hit.rank for hit in everything] == list(range(1, len(_DOCUMENTS) + 1))

    def test_no_question_breaks_a_search(self) -> None:
        """A question is data, whatever characters it holds."""
        with self._filled("kb") as rag:
            for question in _ODD_QUESTIONS:
                for mode in MODES:
                    assert len(rag.search(question, k=3, mode=mode)) <= 3

    def test_a_filter_restricts_before_ranking(self) -> None:
        """Whatever a filter lets pass is found, in every mode, and nothing else."""
        documents = [
            Document(id=f"m{i:02d}", text=f"The same words, number {i}.", metadata=metadata)
            for i, metadata in enumerate(_METADATA)
        ]
        with RAG(self.make("kb"), embedder=WordEmbedder(), config=_SETTINGS) as rag:
            rag.ingest(*documents)
            for filters in _FILTERS:
                passes = compile_filter(filters)
                expected = [d.id for d in documents if passes(d.metadata)]
                for mode in MODES:
                    found = rag.search("same words", k=50, mode=mode, filters=filters)
                    assert sorted(_names(found)) == expected, (mode, filters)
            few = rag.search("same words", k=2, filters={"year": {"$gte": 2019}}, mode="dense")
            assert len(few) == 2

    # --- access ------------------------------------------------------------------------------

    def test_groups_never_leak(self) -> None:
        """A reader finds, lists and sees the documents of shared groups and of `public` only."""
        readers = {
            "a1": ("a",), "a2": ("a", "b"), "b1": ("b",), "none": (), "open": ("c", "public"),
        }  # fmt: skip
        told: list[str] = []
        with RAG(
            self.make("kb"), embedder=WordEmbedder(), config=_SETTINGS, notify=told.append
        ) as rag:
            rag.ingest(
                *(Document(id=n, text="Secret words.", groups=g) for n, g in readers.items())
            )
            for groups in (["a"], ["b"], ["a", "b"], ["c"], []):
                shown_to = {*groups, "public"}
                expected = sorted(n for n, g in readers.items() if set(g) & shown_to)
                assert [row.document_id for row in rag.list(groups=groups)] == expected
                for mode in MODES:
                    found = rag.search("secret words", k=20, mode=mode, groups=groups)
                    assert sorted(_names(found)) == expected, (mode, groups)
                for name in readers:
                    shown = rag.show(name, groups=groups)
                    assert (shown is not None) == (name in expected)
            _raises(ConfigError, lambda: rag.search("secret words", groups="a"), "list of names")
            _raises(ConfigError, lambda: rag.search("secret words"), "must state its groups")
        assert sum("1 documents without groups are hidden" in text for text in told) == 1

    def test_the_first_group_protects_everything(self) -> None:
        """From then on a query must state its groups, to a store that is already open too."""
        told: list[str] = []
        with RAG(self.make("kb"), config=WORDS_ONLY, notify=told.append) as rag:
            rag.ingest(Document(id="open", text="Open words."))
            assert _names(rag.search("words")) == ["open"]
            rag.ingest(Document(id="shut", text="Shut words.", groups=("a",)))
            rag.ingest(Document(id="late", text="Late words."))
            assert [text for text in told if "hidden" in text] == told != []
            assert len(told) == 1
            _raises(ConfigError, lambda: rag.search("words"), "groups")
            _raises(ConfigError, lambda: list(rag.list()), "groups")
            assert _names(rag.search("words", groups=["a"])) == ["shut"]

    # --- threads and servers -----------------------------------------------------------------

    def test_readers_in_threads_are_never_disturbed(self) -> None:
        """Searches concurrent with a writer neither fail nor find a chunk twice."""
        errors: list[BaseException] = []
        done = threading.Event()
        with self._filled("kb") as rag:

            def read() -> None:
                try:
                    while not done.is_set():
                        found = rag.search("water tide badge", k=20, mode="lexical")
                        assert len(found) == len({hit.chunk.id for hit in found})
                except BaseException as error:
                    errors.append(error)
                    raise

            threads = [threading.Thread(target=read) for _ in range(3)]
            for thread in threads:
                thread.start()
            try:
                for i in range(3):
                    rag.ingest(Document(id="d00", text=f"Badge number {i}. " * (i + 1)))
            finally:
                done.set()
                for thread in threads:
                    thread.join()
        assert errors == []

    def test_a_server_that_is_down_is_a_remote_error(self) -> None:
        """Searching, reading and writing raise it; none waits forever."""
        store = self.make_unreachable()
        if store is None:
            return
        _raises(RemoteError, lambda: store.search(Query(question="badge")))
        _raises(RemoteError, lambda: store.stored(["d00"]))
        _raises(RemoteError, lambda: store.delete(["d00"]))
        store.close()

    def _filled(self, name: str, settings: Settings | None = None) -> RAG:
        rag = RAG(self.make(name), embedder=WordEmbedder(), config=settings or _SETTINGS)
        rag.ingest(*_DOCUMENTS)
        return rag


class RetrieverContract:
    """What every retriever over documents that ragkit does not store must do."""

    question = "badge"
    """A question that `make` has at least three passages for."""

    def make(self) -> Retriever:
        """Return a retriever that finds at least three passages for `question`."""
        raise NotImplementedError

    def make_empty(self) -> Retriever:
        """Return a retriever that finds nothing."""
        raise NotImplementedError

    def make_unreachable(self) -> Retriever:
        """Return a retriever whose server is down, and that does not try for long."""
        raise NotImplementedError

    def test_hits_are_ranked_and_whole(self) -> None:
        """Ranks run from 1, scores never rise, and every chunk is a span of its document."""
        hits = self.make().search(Query(question=self.question, k=3))
        assert [hit.rank for hit in hits] == [1, 2, 3]
        assert all(one.score >= next_.score for one, next_ in pairwise(hits))
        assert len({hit.chunk.id for hit in hits}) == 3
        for hit in hits:
            chunk = hit.chunk
            assert chunk.text.strip()
            assert chunk.end - chunk.start == len(chunk.text)
            assert chunk.n_tokens > 0
            assert all(chunk.start <= a < b <= chunk.end for a, b in chunk.sentences)

    def test_never_more_than_k(self) -> None:
        """`k` cuts."""
        assert len(self.make().search(Query(question=self.question, k=2))) == 2

    def test_the_same_question_gives_the_same_hits(self) -> None:
        """Ids and order last, from another instance too."""
        query = Query(question=self.question, k=3)
        first, again = self.make().search(query), self.make().search(query)
        assert [hit.chunk.id for hit in first] == [hit.chunk.id for hit in again]

    def test_nothing_found_is_no_hits(self) -> None:
        """An empty answer is an empty list."""
        assert list(self.make_empty().search(Query(question=self.question, k=3))) == []

    def test_a_pipeline_answers_from_them(self) -> None:
        """Hits can be trimmed, sent and cited; without hits there is no answer."""
        with RAG(self.make(), config=Settings(ledger="off", refuse_below="off")) as rag:
            answer = rag.ask(self.question, k=3)
            assert answer.text
            assert answer.citations
        with RAG(self.make_empty(), config=Settings(ledger="off")) as rag:
            assert rag.ask(self.question).reason == "no_hits"

    def test_a_server_that_is_down_is_a_remote_error(self) -> None:
        """It says so, and does not wait forever."""
        retriever = self.make_unreachable()
        _raises(RemoteError, lambda: retriever.search(Query(question=self.question)))


_SETTINGS = Settings(ledger="off")

_METADATA: tuple[Mapping[str, Json], ...] = (
    {"year": 2018, "lang": "en", "tags": ["a", "b"]},
    {"year": 2019, "lang": "de", "tags": []},
    {"year": 2020.5, "lang": "en", "draft": True},
    {"year": -3, "lang": "", "draft": False},
    {"year": "2019", "lang": None},
    {"author": {"name": "Ada", "born": 1815}, "tags": ["b", 7]},
    {"author.name": "Ada", "year": 0},
    {"year": 10**400, "lang": "é" * 2_000},
    {"year": 1e-9, "price": 0.1},
    {},
)

_FILTERS: tuple[Mapping[str, Json], ...] = (
    {}, {"year": 2019}, {"year": 2019.0}, {"year": "2019"}, {"lang": "en"}, {"lang": None},
    {"lang": ""}, {"lang": "é" * 2_000}, {"tags": "b"}, {"tags": 7}, {"draft": True},
    {"draft": False}, {"draft": 1}, {"author.name": "Ada"}, {"author.born": {"$lt": 1900}},
    {"year": {"$ne": 2019}}, {"year": {"$in": [2018, "2019"]}}, {"year": {"$nin": [2018, 0]}},
    {"year": {"$gt": 2018}}, {"year": {"$gte": 2018}}, {"year": {"$lt": 0}},
    {"year": {"$lte": 0}}, {"year": {"$gt": -4, "$lt": 1}}, {"year": {"$gt": "2"}},
    {"lang": {"$gte": "de", "$lt": "en"}}, {"year": {"$exists": True}},
    {"year": {"$exists": False}}, {"author": {"$exists": True}}, {"lang": "en", "year": 2018},
    {"price": {"$gt": 0.05}}, {"price": 0.1}, {"nothing": {"$ne": 1}}, {"year": {"$in": []}},
)  # fmt: skip


def _oracle(folder: Path, settings: Settings | None = None) -> RAG:
    rag = RAG(LocalStore(folder / "oracle", create=True), embedder=WordEmbedder(),
              config=settings or _SETTINGS)  # fmt: skip
    rag.ingest(*_DOCUMENTS)
    return rag


def _names(hits: Sequence[Hit]) -> list[str]:
    return [hit.chunk.document_id for hit in hits]


def _raises(
    kind: type[Exception] | tuple[type[Exception], ...], call: object, part: str = ""
) -> None:
    assert callable(call)
    try:
        call()
    except kind as error:
        if part not in str(error):
            raise AssertionError(f"{part!r} is not in: {error}") from error
        return
    raise AssertionError(f"no {kind}")
