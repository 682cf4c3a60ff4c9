"""Groups: names are checked wherever they are given, and scores say nothing of hidden documents."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ragkit import RAG, Document, Settings
from ragkit.errors import ConfigError
from ragkit.groups import MAX_GROUP_CHARACTERS, MAX_GROUPS, group_names, narrowed
from ragkit.ingest_rules import IngestRule
from ragkit.loading import Labels
from ragkit.storage import DerivedSizes, LocalStore
from ragkit.types import Fusion, Mode, Query
from ragkit_connectors.testing.stores import WordEmbedder

WORDS_ONLY = Settings(embedder="none", ledger="off")
NEVER, ALWAYS = DerivedSizes(first=10**9), DerivedSizes(first=20, more=10, file=25)

NO_LISTS: tuple[object, ...] = (
    "board", b"board", bytearray(b"board"), "", 7, {"board": True}, [b"board"], [7], [None],
    ["board", ["staff"]], iter(["board"]),
)  # fmt: skip


@pytest.mark.parametrize("groups", NO_LISTS, ids=lambda value: type(value).__name__)
def test_a_string_is_never_taken_for_a_list_of_names(tmp_path: Path, groups: object) -> None:
    """Every entry refuses what is no list of names, by one error that says what is."""
    (tmp_path / "x.txt").write_text("The ferry leaves at noon.")
    rag = RAG(tmp_path / "kb", config=WORDS_ONLY)
    rag.ingest(Document(id="a", text="The ferry leaves at noon.", groups=("b",)))
    store = LocalStore(tmp_path / "kb")
    given: dict[str, object] = {"groups": groups}
    entries: list[Callable[[], object]] = [
        lambda: rag.search("ferry", **given),  # type: ignore[arg-type]
        lambda: rag.ask("ferry?", **given),  # type: ignore[arg-type]
        lambda: rag.stream("ferry?", **given),  # type: ignore[arg-type]
        lambda: rag.pool("ferry", k=3, **given),  # type: ignore[arg-type]
        lambda: list(rag.list(**given)),  # type: ignore[arg-type]
        lambda: rag.show("a", **given),  # type: ignore[arg-type]
        lambda: rag.ingest(tmp_path / "x.txt", **given),  # type: ignore[arg-type]
        lambda: list(store.documents(**given)),  # type: ignore[arg-type]
        lambda: store.document("a", **given),  # type: ignore[arg-type]
        lambda: Document(id="a", text="x", **given),  # type: ignore[arg-type]
        lambda: Query(question="x", **given),  # type: ignore[arg-type]
        lambda: Labels(**given),  # type: ignore[arg-type]
        lambda: IngestRule(glob="**", **given),  # type: ignore[arg-type]
    ]
    for entry in entries:
        with pytest.raises(ConfigError, match="groups"):
            entry()
    assert [row.document_id for row in rag.list(groups=["b"])] == ["a"]
    store.close()
    rag.close()


def test_names_have_sensible_bounds(tmp_path: Path) -> None:
    """Empty, overlong and too many names are refused in queries, and fail a document alone."""
    assert group_names(["b", "a", "b"]) == ("b", "a")
    assert sorted(group_names({"a", "b"})) == ["a", "b"]
    assert len(group_names([f"g{i}" for i in range(MAX_GROUPS)])) == MAX_GROUPS
    wrong: Sequence[list[str]] = (
        [""], ["x" * (MAX_GROUP_CHARACTERS + 1)], [f"g{i}" for i in range(MAX_GROUPS + 1)],
        ["\ud800"],
    )  # fmt: skip
    with RAG(tmp_path / "kb", config=WORDS_ONLY) as rag:
        for groups in wrong:
            with pytest.raises(ConfigError, match="groups"):
                Query(question="x", groups=tuple(groups))
            report = rag.ingest(Document(id="a", text="Words.", groups=tuple(groups)))
            (failure,) = report.failures
            assert failure.code == "groups"
        assert list(rag.list()) == []


def test_a_statement_narrows_another_and_never_widens_it() -> None:
    """What both hold is left; no statement narrows nothing, and nothing left is still one."""
    assert narrowed(("a", "b"), ("b", "c")) == ("b",)
    assert narrowed(("a",), ("b",)) == ()
    assert narrowed(("a",), None) == ("a",)
    assert narrowed(None, ("b",)) == ("b",)
    assert narrowed(None, None) is None


def test_public_is_seen_by_every_query_that_states_groups(tmp_path: Path) -> None:
    """An empty list is a statement too; what is hidden from everybody is told once, in one line."""
    told: list[str] = []
    with RAG(tmp_path / "kb", config=WORDS_ONLY, notify=told.append) as rag:
        rag.ingest(*(Document(id=f"old{i}", text=f"Old words {i}.") for i in range(3)))
        assert told == []
        rag.ingest(
            Document(id="notice", text="Words for all.", groups=("public",)),
            Document(id="pay", text="Words on pay.", groups=("board",)),
            Document(id="new", text="New words."),
        )
        rag.ingest(Document(id="newer", text="Newer words."))
        assert len(told) == 1
        assert "4 documents without groups are hidden" in told[0]
        assert "--groups public" in told[0]
        assert "\n" not in told[0]
        for groups, seen in (([], ["notice"]), (["x"], ["notice"]), (["board"], ["notice", "pay"])):
            assert [row.document_id for row in rag.list(groups=groups)] == seen
            hits = rag.search("words", groups=groups)
            assert sorted(hit.chunk.document_id for hit in hits) == seen
            assert (rag.show("notice", groups=groups) or {})["document_id"] == "notice"
        with pytest.raises(ConfigError, match="must state its groups"):
            rag.search("words")


def test_nothing_is_told_where_nothing_is_hidden(tmp_path: Path) -> None:
    """A store whose documents all have groups from the start hides none from everybody."""
    told: list[str] = []
    with RAG(tmp_path / "kb", config=WORDS_ONLY, notify=told.append) as rag:
        rag.ingest(Document(id="pay", text="Words on pay.", groups=("board",)))
    assert told == []


# --- scores ----------------------------------------------------------------------------------

_ENGLISH = "the ferry harbour soup acme merger director is of and price crew winter".split()
_GERMAN = "die fähre hafen suppe ist und der preis winter nicht auf eine wird".split()
_QUESTIONS = (
    "acme", "What is the price of the merger?", "ferry soup winter", "fähre preis", "东", "東京都",
    "winter acme director crew", "the",
)  # fmt: skip


def _documents(rng: random.Random, n: int) -> list[Document]:
    """Return documents of which group a sees a quarter, in another language than most others."""
    documents: list[Document] = []
    for i in range(n):
        mine = i % 4 == 0
        words = _ENGLISH if mine else rng.choice((*[_GERMAN] * 5, _ENGLISH))
        text = " ".join(rng.choices(words, k=rng.randrange(4, 60)))
        text += rng.choice(("", " acme" * rng.randrange(1, 30), " 東京 京都 都東", "。東"))
        groups = rng.choice((("a",), ("a", "b"), ("public",))) if mine else rng.choice((("b",), ()))
        documents.append(
            Document(id=f"d{i:03}", text=f"{text}.", metadata={"third": i % 3}, groups=groups)
        )
    return documents


def _made(place: Path, documents: Sequence[Document], sizes: DerivedSizes) -> RAG:
    store = LocalStore(place, create=True, sizes=sizes)
    settings = Settings(ledger="off", chunk_tokens=40)
    rag = RAG(store, embedder=WordEmbedder(), config=settings, notify=lambda _: None)
    rag.ingest(*documents)
    return rag


@pytest.mark.parametrize("sizes", [NEVER, ALWAYS], ids=["without", "with derived files"])
@pytest.mark.parametrize("seed", [1, 2])
def test_scores_are_those_of_a_store_without_the_hidden_documents(
    tmp_path: Path, sizes: DerivedSizes, seed: int
) -> None:
    """Hits, scores, evidence and context are the same, in every mode, whatever is hidden."""
    documents = _documents(random.Random(seed), 80)
    seen = [d for d in documents if {"a", "public"} & set(d.groups)]
    whole = _made(tmp_path / "whole", documents, sizes)
    mine = _made(tmp_path / "mine", seen, sizes)
    assert (whole.describe()["language"], mine.describe()["language"]) == ("de", "en")
    ways: tuple[tuple[Mode, Fusion], ...] = (
        ("lexical", "convex"), ("dense", "convex"), ("hybrid", "convex"), ("hybrid", "rrf"),
    )  # fmt: skip
    n_hits = 0
    for question in _QUESTIONS:
        for mode, fusion in ways:
            for filters in (None, {"third": 1}):
                given = [
                    [
                        (hit.chunk.id, round(hit.score, 9))
                        for hit in _with(rag, fusion).search(
                            question, k=7, mode=mode, filters=filters, groups=["a"]
                        )
                    ]
                    for rag in (whole, mine)
                ]
                assert given[0] == given[1], (question, mode, fusion, filters)
                n_hits += len(given[0])
        answers = [rag.ask(question, groups=["a"], dry_run=True) for rag in (whole, mine)]
        assert answers[0].evidence == answers[1].evidence
        assert answers[0].prompt == answers[1].prompt
    assert n_hits > 100
    for rag in (whole, mine):
        rag.close()


def _with(rag: RAG, fusion: Fusion) -> RAG:
    rag.settings = Settings(ledger="off", chunk_tokens=40, fusion=fusion)
    return rag


def test_who_sees_everything_is_scored_as_without_protection(tmp_path: Path) -> None:
    """The scores of a protected store are FTS5's own, taken over what is seen."""
    documents = _documents(random.Random(3), 60)
    texts = [Document(id=d.id, text=d.text) for d in documents]
    shown = [Document(id=d.id, text=d.text, groups=("a",)) for d in documents]
    unprotected = _made(tmp_path / "open", texts, NEVER)
    protected = _made(tmp_path / "shut", shown, NEVER)
    n_hits = 0
    for question in _QUESTIONS:
        one = unprotected.search(question, k=9, mode="lexical")
        two = protected.search(question, k=9, mode="lexical", groups=["a"])
        assert [hit.chunk.id for hit in one] == [hit.chunk.id for hit in two], question
        assert [h.score for h in one] == pytest.approx([h.score for h in two], abs=1e-9)
        n_hits += len(one)
    assert n_hits > 40
    unprotected.close()
    protected.close()
