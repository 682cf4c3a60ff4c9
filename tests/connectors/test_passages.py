"""Passages of other systems as hits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ragkit.text.wordpiece import load_wordpiece
from ragkit.trimming import PoolChunk, TrimPolicy, trim
from ragkit.types import Location
from ragkit_connectors.support.passages import FoundPassage, to_hits

PASSAGES = st.lists(
    st.builds(
        FoundPassage,
        text=st.text(max_size=80),
        document_id=st.sampled_from(["a", "b"]),
        id=st.sampled_from(["", "1"]),
        score=st.one_of(st.none(), st.floats(-2, 2)),
        page=st.one_of(st.none(), st.integers(1, 9)),
    ),
    max_size=8,
)


@given(passages=PASSAGES, k=st.integers(1, 8))
def test_hits_obey_what_the_pipeline_relies_on(passages: list[FoundPassage], k: int) -> None:
    """Spans match texts, chunks of a document never overlap, sentences lie inside, ranks count."""
    hits = to_hits(passages, k=k)
    assert len(hits) <= k
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True) or any(
        passage.score is None for passage in passages
    )
    assert len({hit.chunk.id for hit in hits}) == len(hits)
    last_end: dict[str, int] = {}
    for chunk in sorted((hit.chunk for hit in hits), key=lambda chunk: chunk.start):
        assert chunk.end - chunk.start == len(chunk.text)
        assert chunk.start > last_end.get(chunk.document_id, -1)
        last_end[chunk.document_id] = chunk.end
        bounds = [bound for span in chunk.sentences for bound in span]
        assert bounds == sorted(bounds)
        assert all(chunk.start <= bound <= chunk.end for bound in bounds)
        kept = "".join(chunk.text[a - chunk.start : b - chunk.start] for a, b in chunk.sentences)
        assert "".join(kept.split()) == "".join(chunk.text.split())
        assert chunk.n_tokens == load_wordpiece().count(chunk.text)


def test_scores_order_hits_and_ids_break_ties() -> None:
    """Higher scores come first; equal ones in order of chunk id."""
    passages = [
        FoundPassage(text="one", document_id="d", score=0.1),
        *(FoundPassage(text=word, document_id="d", score=0.5) for word in "two three four".split()),
    ]
    hits = to_hits(passages, k=9)
    assert [hit.score for hit in hits] == [0.5, 0.5, 0.5, 0.1]
    assert [hit.chunk.id for hit in hits[:3]] == sorted(hit.chunk.id for hit in hits[:3])


def test_without_scores_the_order_is_kept() -> None:
    """One missing score is enough: the order given is then all that is known."""
    passages = [
        FoundPassage(text="one", document_id="d"),
        FoundPassage(text="two", document_id="d", score=0.9),
        FoundPassage(text="three", document_id="d"),
    ]
    hits = to_hits(passages, k=2)
    assert [(hit.chunk.text, hit.score) for hit in hits] == [("one", 1.0), ("two", 0.5)]


def test_the_id_depends_on_the_passage_alone() -> None:
    """The same passage has the same id wherever it is ranked; another document's has another."""
    first = FoundPassage(text="The badge.", document_id="d")
    other = FoundPassage(text="The badge.", document_id="e")
    alone = to_hits([first], k=5)[0]
    later = to_hits([FoundPassage(text="x", document_id="d"), first, other, first], k=5)
    assert [hit.chunk.id for hit in later].count(alone.chunk.id) == 1
    assert len({hit.chunk.id for hit in later}) == 3


def test_a_known_page_is_where_the_passage_stands() -> None:
    """The page is the chunk's location; without one there is none."""
    paged, plain = to_hits(
        [FoundPassage(text="a", document_id="d", page=4), FoundPassage(text="b", document_id="d")],
        k=2,
    )
    assert paged.chunk.location() == Location(page=4)
    assert plain.chunk.location() == Location()


def test_two_passages_of_a_document_are_not_interleaved() -> None:
    """What the trimmer keeps of two passages reads as two runs, each in its own order."""
    texts = ("Red ships sail north. Red ships sail east.", "Red cars go up. Red cars go down.")
    hits = to_hits([FoundPassage(text=text, document_id="d") for text in texts], k=2)
    words = [[["red"] for _ in hit.chunk.sentences] for hit in hits]
    pool = [PoolChunk(hit=hit, terms=w) for hit, w in zip(hits, words, strict=True)]
    kept = trim(["red"], pool, policy=TrimPolicy(name="all"), counter=load_wordpiece(), level=1.0)
    assert tuple(item.text for item in kept.context) == texts
