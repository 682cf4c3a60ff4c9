"""A cut that is measured is the context that is sent: the same texts and tokens, marks included."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit import RAG, Settings
from ragkit.text.passages import context_tokens
from ragkit.text.words import index_terms
from ragkit.trimming import PoolChunk, TrimPolicy, rank, select
from ragkit.types import ContextItem, TokenCounter
from ragkit_eval.calibration.needs import CUTS, measure_needs
from ragkit_eval.data.datasets import load_dataset
from ragkit_eval.data.rows import Passage, Row
from ragkit_eval.measuring.contexts import Cuts
from ragkit_eval.measuring.measures import parse_measure
from ragkit_eval.measuring.quality import quality_measure

from ..core.test_passages import COUNTER, POOLS, VALVE, CharacterCounter, document_of


def texts(context: Sequence[ContextItem]) -> list[tuple[str, int, int, str]]:
    """Return what a context sends."""
    return [(i.hit.chunk.document_id, i.start, i.end, i.text) for i in context]


def characters(passages: Sequence[Passage]) -> set[tuple[str, int]]:
    """Return the characters that passages hold."""
    return {(p.document_id, k) for p in passages for k in range(p.start, p.end)}


@settings(max_examples=150, deadline=None)
@given(POOLS, st.lists(st.floats(-14, 6), min_size=1, max_size=6), st.sampled_from([0, 1]),
       st.sampled_from([COUNTER, CharacterCounter()]))  # fmt: skip
def test_a_cut_is_the_context_that_is_sent(
    given: tuple[list[str], list[PoolChunk]],
    cuts: list[float],
    neighbours: int,
    counter: TokenCounter,
) -> None:
    """For every cut and budget; what a lower cut keeps holds what a higher one does."""
    _, pool = given
    policy = TrimPolicy(name="test", neighbours=neighbours)
    ranking = rank(VALVE, pool, policy)
    measured = Cuts(ranking, counter, lambda passages: passages)
    before: set[tuple[str, int]] = set()
    for cut in sorted(cuts, reverse=True):
        limits = TrimPolicy(name="cut", keep_above=cut, neighbours=neighbours)
        sent = select(ranking, policy=limits, counter=counter).context
        found = measured[measured.n_above(cut)]
        assert texts(sent) == [(p.document_id, p.start, p.end, p.text) for p in found.passages]
        assert found.n_tokens == context_tokens(sent, counter.count)
        assert before <= characters(found.passages)
        before = characters(found.passages)
        budget = max(1, found.n_tokens // 2)
        limits = TrimPolicy(name="budget", budget_tokens=budget, neighbours=neighbours)
        sent = select(ranking, policy=limits, counter=counter).context
        found = measured[measured.n_within(budget)]
        assert texts(sent) == [(p.document_id, p.start, p.end, p.text) for p in found.passages]


@pytest.fixture(scope="module")
def manuals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of manuals with lists, steps, tables and code, and questions about them."""
    folder = tmp_path_factory.mktemp("manuals")
    (folder / "docs").mkdir()
    rows: list[dict[str, object]] = []
    for seed in range(12):
        text = document_of(seed)
        (folder / "docs" / f"{seed}.rst").write_text(text, encoding="utf-8")
        lines = [line for line in text.splitlines() if len(line) > 20]
        needs = [[line.strip()] for line in lines[:: max(1, len(lines) // 2)]]
        if needs:
            words = " ".join(
                dict.fromkeys(
                    term for (need,) in needs for term in index_terms(need, language=None)
                )
            )
            rows.append({"_id": f"q{seed}", "text": words, "needs": needs, "docs": [f"{seed}.rst"]})
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_calibration_measures_what_is_sent(manuals: Path, tmp_path: Path) -> None:
    """At each cut of each question: needs held and tokens, without orphans, and never less."""
    dataset = load_dataset(manuals)
    name, quality = quality_measure("NeedsHeld")
    measure = parse_measure(name)
    config = Settings(embedder="none", chunk_tokens=40, refuse_below="off")
    with RAG(tmp_path / "kb", config=config, ledger="off") as rag:
        rag.ingest(manuals / "docs")
        needs = measure_needs(
            rag, dataset.questions, quality=quality, policy=TrimPolicy(name="test")
        )
        for i, cut in list(enumerate(CUTS))[::10]:
            trimmed = rag.trimmed_by(TrimPolicy(name="cut", pool=10, keep_above=cut))
            for need in needs:
                answer = trimmed.ask(need.question.text, dry_run=True)
                sent = tuple(
                    Passage(document_id=d, start=a, end=b, text=text)
                    for d, a, b, text in texts(answer.context)
                )
                row = Row(id=need.question.id, status="ok", context=sent)
                assert need.quality[i] == measure.value(need.question, row)
                assert need.kept_tokens[i] == answer.receipt.context_tokens
                assert answer.trim is not None
                assert answer.trim.orphans == 0
    assert all(list(need.quality) == sorted(need.quality, reverse=True) for need in needs)
    assert len({need.quality for need in needs}) > 1
