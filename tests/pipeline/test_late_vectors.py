"""Searchable at once: chunks are stored without vectors, and get these later."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit import RAG, Document, Settings
from ragkit.embedding.builtin import BuiltinEmbedder
from ragkit.errors import ConfigError
from ragkit.pipeline.late_vectors import BATCH_CHUNKS
from ragkit.pipeline.report import EmbedProgress
from ragkit.storage import DerivedSizes, LocalStore
from ragkit.trimming import BUILTIN_POLICY, TrimPolicy
from ragkit.trimming.certificate import Certificate, fingerprints

from .test_derived_files import NEVER, SMALL, Hashed, documents, found

if TYPE_CHECKING:
    from ragkit.types import Vectors

MODES = ("dense", "lexical", "hybrid")


class Counting(Hashed):
    """Counts the texts that it embeds, and keeps them."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text."""
        self.texts += texts
        return super().embed_documents(texts)


class Unusable(Hashed):
    """The same embedder on a machine where its model cannot be loaded."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Fail."""
        raise AssertionError(f"embedded {texts}")


def opened(
    place: Path,
    sizes: DerivedSizes = NEVER,
    *,
    embedder: Hashed | None = None,
    config: Settings | None = None,
    trim: TrimPolicy | None = None,
    notify: Callable[[str], None] | None = None,
) -> RAG:
    """Open a pipeline over a store with files of these sizes, quietly."""
    store = LocalStore(place, create=True, sizes=sizes)
    embedder = embedder or Hashed()
    return RAG(
        store, embedder=embedder, config=config, trim=trim, notify=notify or list[str]().append
    )


def some(n: int, *, first: int = 0) -> list[Document]:
    """Return documents of two sentences, each in one chunk."""
    return [
        Document(id=f"d{i:03d}", text=f"alpha{i} and beta{i % 7} stand here. Tail{i} is last.")
        for i in range(first, first + n)
    ]


def one_batch(rag: RAG) -> None:
    """Make the vectors of one batch."""
    rag.embed(max_seconds=1e-9)


def test_words_are_searchable_before_any_model_is_opened(tmp_path: Path) -> None:
    """Neither the model nor its files are touched, and the store knows what embeds it later."""
    nowhere = BuiltinEmbedder(folder=tmp_path / "nowhere")
    with RAG(tmp_path / "kb", embedder=nowhere, notify=list[str]().append) as rag:
        report = rag.ingest(*some(3), vectors="later")
        assert (report.chunks, report.embedded, report.chunks_without_vectors) == (3, 0, 3)
        assert rag.search("alpha2")[0].chunk.document_id == "d002"
        assert rag.ask("Where does alpha2 stand?", dry_run=True).context
        assert rag.vector_share() == 0.0
        assert rag.describe()["vector_share"] == 0.0
    with (
        opened(tmp_path / "kb") as other,
        pytest.raises(ConfigError, match="built with embedder"),
    ):
        other.ingest(*some(3))


def test_vectors_made_later_are_those_made_at_once(tmp_path: Path) -> None:
    """Afterwards every search, pool and certificate is that of a store with vectors from the first.

    The same holds for the content of the store, of which `doctor` finds nothing wrong.
    """
    with opened(tmp_path / "now") as now, opened(tmp_path / "later") as later:
        now.ingest(*some(80))
        later.ingest(*some(80), vectors="later")
        report = later.embed()
        assert (report.chunks, report.embedded, report.remaining) == (80, 80, 0)
        assert later.vector_share() == now.vector_share() == 1.0
        assert later.configuration() == now.configuration()
        for question in ("alpha3 beta4", "tail70 stand", "beta1"):
            for mode in MODES:
                assert found(later, question, mode=mode) == found(now, question, mode=mode)
            terms, pool = later.pool(question, k=20)
            assert (terms, pool) == now.pool(question, k=20)
            assert all(chunk.cosines is not None for chunk in pool)
        assert later.doctor() == []


def test_the_newest_come_first_and_each_commit_is_told(tmp_path: Path) -> None:
    """Batches go from the newest chunk to the oldest; what is told of one is committed."""
    told: list[EmbedProgress] = []
    n = 2 * BATCH_CHUNKS + 5
    embedder = Counting()
    with opened(tmp_path / "kb", embedder=embedder) as rag:
        rag.ingest(*some(n), vectors="later")
        assert embedder.texts == []

        def note(progress: EmbedProgress) -> None:
            told.append(progress)
            with opened(tmp_path / "kb") as reader:
                assert reader.vector_share() == pytest.approx(1 - progress.remaining / n)

        rag.embed(on_progress=note)
    assert [(p.chunks, p.remaining) for p in told] == [
        (BATCH_CHUNKS, n - BATCH_CHUNKS), (BATCH_CHUNKS, 5), (5, 0)
    ]  # fmt: skip
    first = [text for text in embedder.texts if text.startswith(f"alpha{n - 1} ")]
    assert first
    assert embedder.texts.index(first[0]) < BATCH_CHUNKS


def test_interrupted_it_keeps_what_is_committed(tmp_path: Path) -> None:
    """An interruption loses no commit, and the next call embeds only the rest, each text once."""

    def interrupt(_: EmbedProgress) -> None:
        raise KeyboardInterrupt

    embedder = Counting()
    with opened(tmp_path / "kb", embedder=embedder) as rag:
        rag.ingest(*some(2 * BATCH_CHUNKS), vectors="later")
        with pytest.raises(KeyboardInterrupt):
            rag.embed(on_progress=interrupt)
        assert rag.vector_share() == 0.5
        assert rag.embed().chunks == BATCH_CHUNKS
        assert rag.embed().chunks == 0
    assert len(embedder.texts) == len(set(embedder.texts))


KILLED = """
import os, signal, sys
from tests.pipeline.test_late_vectors import opened
with opened(sys.argv[1]) as rag:
    rag.embed(on_progress=lambda _: os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.mark.slow
def test_killed_it_goes_on_where_it_was(tmp_path: Path) -> None:
    """After kill -9 the store is sound, and the next call makes the missing vectors."""
    n = 3 * BATCH_CHUNKS
    with opened(tmp_path / "kb") as rag:
        rag.ingest(*some(n), vectors="later")
    for remaining in (2, 1):
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, str(tmp_path / "kb")],
            check=False,
            cwd=Path(__file__).parents[2],
            timeout=120,
        )
        assert killed.returncode == -signal.SIGKILL
        with opened(tmp_path / "kb") as rag:
            assert rag.doctor() == []
            assert rag.vector_share() == pytest.approx(1 - remaining / 3)
    with opened(tmp_path / "kb") as rag, opened(tmp_path / "now") as now:
        assert rag.embed().chunks == BATCH_CHUNKS
        now.ingest(*some(n))
        assert found(rag, "alpha3 beta4") == found(now, "alpha3 beta4")


@pytest.mark.parametrize("mode", MODES)
def test_derived_files_notice_vectors_that_come_later(tmp_path: Path, mode: str) -> None:
    """With derived files or without, and for a reader that stays open, the same is found."""
    places = {tmp_path / "files": SMALL, tmp_path / "none": NEVER}
    for place, sizes in places.items():
        with opened(place, sizes) as rag:
            rag.ingest(*documents(110, seed=1), *documents(60, seed=2), vectors="later")
            rag.ingest(*documents(45, seed=3))
            rag.delete("2-5", "3-9")
    with opened(tmp_path / "files", SMALL) as kept, opened(tmp_path / "none") as plain:
        assert (tmp_path / "files" / "derived").is_dir()
        remaining = kept.describe()["chunks"]
        while remaining:
            for question in ("w1 w2", "w30 w77 w5"):
                with opened(tmp_path / "files", SMALL) as fresh:
                    expected = found(plain, question, mode=mode, k=40)
                    assert found(kept, question, mode=mode, k=40) == expected
                    assert found(fresh, question, mode=mode, k=40) == expected
            with opened(tmp_path / "none") as writer:
                one_batch(writer)
            with opened(tmp_path / "files", SMALL) as writer:
                remaining = writer.embed(max_seconds=1e-9).chunks
        assert kept.vector_share() == plain.vector_share() == 1.0


def test_dense_search_finds_what_has_a_vector(tmp_path: Path) -> None:
    """Chunks without vectors are left out of it, and found by words in hybrid search."""
    with opened(tmp_path / "kb") as rag:
        rag.ingest(*some(BATCH_CHUNKS), vectors="later")
        with pytest.raises(ConfigError, match="ragkit embed"):
            rag.search("alpha1", mode="dense")
        assert found(rag, "alpha1 beta2", mode="hybrid") != []
        assert found(rag, "alpha1 beta2") == found(rag, "alpha1 beta2", mode="lexical")
        rag.ingest(*some(3, first=BATCH_CHUNKS))
        dense = rag.search("alpha1", mode="dense", k=100)
        newest = {f"d{BATCH_CHUNKS + i:03d}" for i in range(3)}
        assert {hit.chunk.document_id for hit in dense} == newest
        best = rag.search("alpha1 beta1 stand", mode="hybrid", k=100)
        assert best[0].chunk.document_id == "d001"
        assert best[0].score == pytest.approx(1.0)
        assert {hit.chunk.document_id for hit in best} >= newest


@settings(max_examples=20, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=8), st.sampled_from(["rrf", "convex"]))
def test_where_no_chunk_has_a_vector_hybrid_search_ranks_by_words(
    tmp_path_factory: pytest.TempPathFactory, which: list[bool], fusion: str
) -> None:
    """Asked for by name it is the order of words, whatever the fusion."""
    texts = ["alpha beta here." if both else "alpha alone, not the other one." for both in which]
    given_documents = [Document(id=f"{i}", text=f"{text} x{i}") for i, text in enumerate(texts)]
    place = tmp_path_factory.mktemp("kb")
    with opened(place, config=Settings(fusion=fusion)) as rag:
        rag.ingest(*given_documents, vectors="later")
        hybrid = [name for name, _ in found(rag, "alpha beta", mode="hybrid")]
        assert hybrid == [name for name, _ in found(rag, "alpha beta", mode="lexical")]


def test_known_texts_are_not_embedded_again(tmp_path: Path) -> None:
    """Neither by `embed`, nor after a changed document lost its vectors to `later`."""
    embedder = Counting()
    first = Document(id="a", text="One alpha. Two beta.")
    with opened(tmp_path / "kb", embedder=embedder) as rag:
        rag.ingest(first)
        assert len(embedder.texts) == 3
        again = Document(id="a", text="One alpha. Two beta.", metadata={"changed": True})
        report = rag.ingest(again, Document(id="b", text="Two beta. Three gamma."), vectors="later")
        assert report.chunks_without_vectors == 1
        assert rag.embed().chunks == 1
        new = ["Two beta. Three gamma.", "Three gamma."]
        assert embedder.texts[3:] == new
        rag.ingest(Document(id="c", text="One alpha. Two beta."), vectors="later")
        assert rag.vector_share() == 1.0
        assert embedder.texts[5:] == []


def test_an_unchanged_file_is_not_written_and_a_changed_one_gets_vectors(tmp_path: Path) -> None:
    """A plain ingest afterwards leaves to `embed` what is unchanged."""
    with opened(tmp_path / "kb") as rag:
        rag.ingest(*some(5), vectors="later")
        generation = rag.describe()["generation"]
        report = rag.ingest(*some(5))
        assert (report.documents["unchanged"], report.chunks_without_vectors) == (5, 5)
        assert rag.describe()["generation"] == generation
        report = rag.ingest(Document(id="d000", text="Quite another text."))
        assert (report.embedded, report.chunks_without_vectors) == (1, 4)


def test_a_reader_is_told_only_of_what_it_may_see(tmp_path: Path) -> None:
    """The share of a group is that of its own chunks."""
    notices: list[str] = []
    with opened(tmp_path / "kb", notify=notices.append) as rag:
        rag.ingest(*(replace(document, groups=("a",)) for document in some(4)))
        later = [replace(document, groups=("b",)) for document in some(4, first=4)]
        rag.ingest(*later, vectors="later")
        assert rag.vector_share() == 0.5
        shares = [rag.vector_share(groups=groups) for groups in (["a"], ["b"], ["a", "b"], [])]
        assert shares == [1.0, 0.0, 0.5, 1.0]
        notices.clear()
        rag.search("alpha1", groups=["a"])
        assert notices == []
        assert rag.search("alpha5", groups=["b"])[0].chunk.document_id == "d005"
        rag.search("alpha1", groups=["a", "b"])
    assert [notice.split(" of ")[0] for notice in notices] == ["100 %", "50 %"]
    assert all("ragkit embed" in notice for notice in notices)


def test_maintenance_works_on_a_store_that_is_not_done(tmp_path: Path) -> None:
    """Backup, restore, removal, check and rebuild take it as it is."""
    with opened(tmp_path / "kb", SMALL) as rag:
        rag.ingest(*some(100), vectors="later")
        one_batch(rag)
        rag.backup(tmp_path / "copy")
        rag.delete("d099", "d000")
        assert rag.vector_share() == pytest.approx((BATCH_CHUNKS - 1) / 98)
        assert rag.doctor() == []
        rag.compact()
        assert rag.doctor(repair=True) == []
        rag.restore(tmp_path / "copy")
        assert rag.vector_share() == pytest.approx(BATCH_CHUNKS / 100)
        assert rag.embed().remaining == 0
        assert rag.doctor() == []
    with opened(tmp_path / "copy", SMALL) as copy:
        assert copy.embed().chunks == 100 - BATCH_CHUNKS
        with closing(sqlite3.connect(tmp_path / "copy" / "store.sqlite")) as file:
            assert file.execute("SELECT count(*) FROM segment").fetchone()[0] > 0
            copy.compact()
            assert file.execute("SELECT count(*) FROM late_vector").fetchone() == (0,)
    with opened(tmp_path / "again") as again:
        again.ingest(*some(3), vectors="later")
        again.rebuild()
        assert again.vector_share() == 1.0


def test_removed_documents_take_their_late_vectors_with_them(tmp_path: Path) -> None:
    """Vectors made later go with the last chunk that uses them."""
    with opened(tmp_path / "kb") as rag:
        rag.ingest(*some(3), vectors="later")
        rag.embed()
        assert int(str(rag.describe()["sentence_vector_bytes"])) > 0
        rag.delete("d000", "d001", "d002")
        assert rag.describe()["sentence_vector_bytes"] == 0
        assert rag.doctor() == []


def test_no_certificate_holds_while_vectors_are_missing(tmp_path: Path) -> None:
    """A certified policy says why not; one made meanwhile does not hold afterwards either."""
    place = tmp_path / "kb"
    with opened(place) as rag:
        rag.ingest(*some(40))
        certified = _certified(rag)
    with opened(place, trim=certified) as rag:
        trim: Any = rag.ask("alpha1", dry_run=True).to_dict()["trim"]
        assert trim["certified"]
    with opened(place, trim=certified) as rag:
        rag.ingest(*some(1, first=40), vectors="later")
        trim = rag.ask("alpha1", dry_run=True).to_dict()["trim"]
        assert not trim["certified"]
        assert "no vector yet" in trim["void_because"]
        meanwhile = _certified(rag)
        rag.embed()
        trim = rag.ask("alpha1", dry_run=True).to_dict()["trim"]
        assert trim["certified"]
    with opened(place, trim=meanwhile) as rag:
        trim = rag.ask("alpha1", dry_run=True).to_dict()["trim"]
        assert not trim["certified"]
        assert "chunks without vectors" in trim["void_because"]


def _certified(rag: RAG) -> TrimPolicy:
    """Return the bundled policy with a certificate for this pipeline."""
    made = fingerprints({**rag.configuration(), "mode": "hybrid"}, BUILTIN_POLICY)
    certificate = Certificate(fingerprints=made, corpus=rag.corpus_sketch())
    return replace(BUILTIN_POLICY, certificate=certificate)


def test_what_has_no_vectors_has_none_later(tmp_path: Path) -> None:
    """Without an embedder there is nothing to do later; the message says so."""
    with RAG(tmp_path / "kb", embedder="none") as rag:
        with pytest.raises(ConfigError, match="no vectors to make"):
            rag.ingest(*some(1), vectors="later")
        assert not (tmp_path / "kb").exists()
        assert rag.ingest(*some(1)).chunks_without_vectors is None
        assert rag.vector_share() is None
        with pytest.raises(ConfigError, match="no vectors to make"):
            rag.embed()


def test_wrong_values_are_named(tmp_path: Path) -> None:
    """Each is an error before anything is done."""
    with opened(tmp_path / "kb") as rag:
        with pytest.raises(ConfigError, match="'soon'; allowed: now later"):
            rag.ingest(*some(1), vectors="soon")  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="holds nothing yet"):
            rag.embed()
        rag.ingest(*some(1), vectors="later")
        for seconds in (0.0, -1.0, float("nan"), float("inf")):
            with pytest.raises(ConfigError, match="max_seconds"):
                rag.embed(max_seconds=seconds)
    with RAG(tmp_path / "kb", embedder="builtin") as rag, pytest.raises(ConfigError, match="built"):
        rag.embed()


def test_its_cost_is_in_the_ledger(tmp_path: Path) -> None:
    """What embedding later cost is summed with what ingesting cost."""
    from ragkit.costs.ledger import read_ledger, summarise

    with opened(tmp_path / "kb") as rag:
        rag.ingest(*some(2), vectors="later")
        report = rag.embed()
    lines = (tmp_path / "kb" / "ledger.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["ingest", "embed"]
    summary = summarise(read_ledger(tmp_path / "kb" / "ledger.jsonl"))
    assert (summary.ingests, summary.unreadable_lines) == (1, 0)
    assert summary.cpu_seconds >= report.cpu_seconds


def test_nothing_is_embedded_to_search_a_store_without_vectors(tmp_path: Path) -> None:
    """The question's vector would be of no use."""
    with opened(tmp_path / "kb", embedder=Unusable()) as rag:
        rag.ingest(*some(3), vectors="later")
        assert rag.search("alpha1")[0].chunk.document_id == "d001"
