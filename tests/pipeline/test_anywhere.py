"""Trimming of passages that any retriever has found."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit import RAG, Document, Settings, TrimPolicy, atrim, trim
from ragkit.costs.metering import Meter
from ragkit.errors import ConfigError
from ragkit.pipeline.passage_pools import EMBEDDED_PASSAGES
from ragkit.text.sentences import sentence_spans
from ragkit.text.wordpiece import load_wordpiece

FERRY = (
    "The ferry leaves at nine. A day pass costs fourteen euros. Dogs travel free of charge. "
    "The canteen serves soup on Fridays. The harbour is two hundred years old."
)
MUSEUM = "The museum opens at ten. Entry to the museum costs six euros. It has a quiet garden."
SETUP = """## Reset

To reset the badge, run:

```sh
badge --reset
```

Then wait.
"""
QUESTION = "What does a day pass cost?"


@dataclass
class Found:
    """A passage as frameworks have it."""

    page_content: str
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])


@pytest.mark.parametrize("vectors", [False, True])
def test_what_is_kept(vectors: bool) -> None:
    """Pieces say where they stand in the passages, and what they cost."""
    count = load_wordpiece().count
    trimmed = trim(QUESTION, [FERRY, MUSEUM], policy="tight", vectors=vectors)
    assert "fourteen euros" in trimmed.pieces[0].text
    for piece in trimmed.pieces:
        assert [FERRY, MUSEUM][piece.passage][piece.start : piece.end] == piece.text
        assert piece.n_tokens == count(piece.text)
    assert trimmed.n_tokens == sum(piece.n_tokens for piece in trimmed.pieces)
    assert trimmed.n_tokens < trimmed.n_tokens_before == count(FERRY) + count(MUSEUM)
    assert not trimmed.refused
    assert trim("Who won the chess final?", [FERRY, MUSEUM], vectors=vectors).refused


def test_passages_of_any_kind() -> None:
    """Texts, mappings and objects are the same passages; a score is used, and none is needed."""
    kinds: list[list[object]] = [
        [FERRY, MUSEUM],
        [{"text": FERRY, "id": "a"}, {"content": MUSEUM}],
        [Found(FERRY, {"title": "Ferry"}), Found(MUSEUM)],
    ]
    texts = {trim(QUESTION, kind, vectors=False).pieces[0].text for kind in kinds}
    assert len(texts) == 1
    assert trim(QUESTION, [{"text": MUSEUM, "score": 0.1}, {"text": FERRY, "score": 0.9}]).pieces
    assert trim(QUESTION, []).refused
    assert trim(QUESTION, ["", "  "]).pieces == ()


def test_structure_is_kept_together() -> None:
    """Of a passage in Markdown, code is not parted from its introduction."""
    trimmed = trim("How do I reset the badge?", [FERRY, SETUP], policy="tight", vectors=False)
    text = "\n".join(piece.text for piece in trimmed.pieces)
    assert "To reset the badge, run:" in text
    assert "badge --reset" in text


def test_a_limit_and_policies() -> None:
    """A hard limit holds, `off` keeps whole passages, and a policy of one's own is taken."""
    assert trim(QUESTION, [FERRY, MUSEUM], max_tokens=12, vectors=False).n_tokens <= 12
    off = trim(QUESTION, [FERRY, MUSEUM], policy="off")
    assert [piece.text for piece in off.pieces] == [FERRY, MUSEUM]
    assert (off.evidence, off.refused) == (None, False)
    own = TrimPolicy(name="own", budget_tokens=10)
    assert trim(QUESTION, [FERRY, MUSEUM], policy=own, vectors=False).n_tokens <= 10


@pytest.mark.parametrize(
    ("passages", "more", "fault"),
    [("a text", {}, "sequence"), ([3], {}, "passage 0"),
     ([FERRY], {"max_tokens": 0}, "max_tokens 0"), ([FERRY], {"policy": "none.json"}, "none.json")],
)  # fmt: skip
def test_what_cannot_be_trimmed(passages: list[object], more: dict[str, Any], fault: str) -> None:
    """The error names the value."""
    with pytest.raises(ConfigError, match=fault):
        trim(QUESTION, passages, **more)


def test_it_agrees_with_a_store(tmp_path: Path) -> None:
    """What is kept of passages is what `ask` keeps of a store that holds them."""
    texts = {"ferry": FERRY, "museum": MUSEUM}
    with RAG(tmp_path / "kb", config=Settings(refuse_below="off"), ledger="off") as rag:
        rag.ingest(*(Document(id=name, text=text) for name, text in texts.items()))
        for question in (QUESTION, "When does the museum open?", "Is the harbour old?"):
            asked = rag.ask(question, dry_run=True)
            found = [texts[hit.chunk.document_id] for hit in rag.search(question)]
            trimmed = trim(question, found)
            assert trimmed.pieces[0].text == asked.context[0].text


def test_threads_and_tasks_share_it() -> None:
    """Any number at once gives what one gives."""
    one = trim(QUESTION, [FERRY, MUSEUM]).to_dict()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(trim, QUESTION, [FERRY, MUSEUM]) for _ in range(16)]
        found = [future.result().to_dict() for future in asked]
    assert found == [one] * 16
    assert asyncio.run(atrim(QUESTION, [FERRY, MUSEUM])).to_dict() == one


class Counting:
    """The built-in counter, which notes what it counts."""

    name = load_wordpiece().name

    def __init__(self) -> None:
        self.counted: list[str] = []

    def count(self, text: str) -> int:
        """Count."""
        self.counted.append(text)
        return load_wordpiece().count(text)


def notices(n: int, name: str) -> list[str]:
    """Return passages of the same size that were not seen before."""
    return [
        f"{name} {i + 100} sells bread. It opens at seven, and shuts at noon." for i in range(n)
    ]


def test_each_passage_is_read_once() -> None:
    """However many questions a message asks, and none is read when it comes again."""
    passages, counter = notices(5, "Bakery"), Counting()
    one = TrimPolicy(name="one sentence", budget_tokens=1)
    message = "When does bakery 102 open? And what does bakery 104 sell to people?"
    first = trim(message, passages, policy=one, counter=counter, vectors=False)
    assert sorted(text for text in counter.counted if text in passages) == passages
    counter.counted.clear()
    again = trim(message, passages[::-1], policy=one, counter=counter, vectors=False)
    assert not set(passages) & set(counter.counted)
    assert again.n_tokens_before == first.n_tokens_before
    # Another counter has not counted them.
    other = Counting()
    trim(message, passages, policy=one, counter=other, vectors=False)
    assert set(passages) <= set(other.counted)


def test_few_passages_are_embedded_whole() -> None:
    """Sentences are embedded, and passages where it counts; what comes again is not."""
    passages, question = notices(8, "Kiosk"), "When does kiosk 107 open?"
    size = {text: len(load_wordpiece().encode(text)) for text in [question, *passages]}
    of_sentences = sum(
        len(load_wordpiece().encode(text[a:b]))
        for text in passages
        for a, b in sentence_spans(text)
    )
    # The second sentence is the same one in each passage.
    repeated = len(load_wordpiece().encode("It opens at seven, and shuts at noon."))
    of_sentences -= (len(passages) - 1) * repeated
    with (meter := Meter()).active():
        first = trim(question, passages, policy="tight", vectors=True)
    of_passages = EMBEDDED_PASSAGES * size[passages[0]]
    assert len({size[text] for text in passages}) == 1
    assert meter.embed_tokens == size[question] + of_sentences + of_passages
    assert first.pieces[0].passage == 7
    with (meter := Meter()).active():
        assert trim(question, passages, policy="tight", vectors=True) == first
    assert meter.embed_tokens == size[question]


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=80), st.lists(st.text(max_size=200), max_size=4))
def test_any_text_is_trimmed(question: str, passages: list[str]) -> None:
    """Whatever is asked of whatever, pieces are parts of the passages, in order, apart."""
    ends: dict[int, int] = {}
    for piece in trim(question, passages, vectors=False).pieces:
        assert piece.text == passages[piece.passage][piece.start : piece.end]
        assert piece.start >= ends.get(piece.passage, 0)
        ends[piece.passage] = piece.end
