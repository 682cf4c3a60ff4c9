"""Measures are values: they print, parse, and say what they mean."""

from __future__ import annotations

import pytest

from ragkit.errors import ConfigError
from ragkit_eval.data.datasets import Question
from ragkit_eval.data.rows import Passage, Row
from ragkit_eval.data.spans import GoldSpan
from ragkit_eval.measuring.measures import (
    all_measures,
    default_measures,
    measure_names,
    parse_measure,
)

GOLD = GoldSpan(document_id="d", start=4, end=8, text="nine")
QUESTION = Question(
    id="q", text="When?", answers=("nine",), relevance={"d": 1}, evidence=((GOLD,),)
)


def row(**values: object) -> Row:
    """Return a row of status ok."""
    return Row(**{"id": "q", "status": "ok", **values})  # type: ignore[arg-type]


def value(name: str, question: Question = QUESTION, **values: object) -> float | None:
    """Return a measure of a row."""
    return parse_measure(name).value(question, row(**values))


@pytest.mark.parametrize("measure", all_measures(), ids=str)
def test_every_measure_prints_and_parses(measure: object) -> None:
    """What a measure prints as gives the same measure again, and it explains itself."""
    again = parse_measure(str(measure))
    assert str(again) == str(measure)
    assert again.definition
    assert again.citation
    assert again.direction in {"higher", "lower"}


@pytest.mark.parametrize(
    ("written", "name"),
    [("ndcg@10", "nDCG@10"), ("recall@5", "R@5"), ("recall.5", "R@5"), ("rr", "MRR"),
     ("map", "MAP"), ("ndcg_cut.10", "nDCG@10"), ("em", "ExactMatch"), ("rouge-l", "ROUGE-L"),
     ("evidencerecall", "EvidenceRecall")],
)  # fmt: skip
def test_other_spellings_are_understood(written: str, name: str) -> None:
    """Names of trec_eval and lower case mean the same measure."""
    assert str(parse_measure(written)) == name


@pytest.mark.parametrize("wrong", ["nDCG@", "R", "F1@5", "R@0", "precision", "Quality", "", "@5"])
def test_unknown_measures_are_refused(wrong: str) -> None:
    """The message names the measure and what is allowed."""
    with pytest.raises(ConfigError, match="measure"):
        parse_measure(wrong)


def test_the_default_is_what_the_labels_allow() -> None:
    """Without evidence there is no measure of evidence; with unanswerable ones refusals count."""
    plain = {str(x) for x in default_measures([Question(id="q", text="?", answers=("a",))])}
    assert "AnswerInContext" in plain
    assert not plain & {"EvidenceRecall", "nDCG@10", "UnanswerableRefused"}
    full = default_measures([QUESTION, Question(id="n", text="?", unanswerable=True)])
    assert {"EvidenceRecall", "nDCG@10", "UnanswerableRefused"} <= {str(x) for x in full}
    assert len(measure_names()) == len(set(measure_names()))


def test_depth_is_of_the_hits_and_without_it_of_the_context() -> None:
    """The second hit holds the evidence: found at 2, not at 1, and not in the context."""
    hits = (
        Passage(document_id="e", start=0, end=9),
        Passage(document_id="d", start=0, end=9),
    )
    context = (Passage(document_id="e", start=0, end=9, text="something"),)
    assert value("EvidenceFound@1", hits=hits, context=context) == 0.0
    assert value("EvidenceFound@2", hits=hits, context=context) == 1.0
    assert value("EvidenceFound", hits=hits, context=context) == 0.0
    assert value("AnswerHit@1", answer_rank=2) == 0.0
    assert value("AnswerHit@2", answer_rank=2) == 1.0
    assert value("AnswerHit@2", answer_rank=0) == 0.0
    assert value("AnswerHit@2") is None


def test_evidence_that_stands_there_word_for_word_was_sent() -> None:
    """Evidence whose sentence stands elsewhere in the context counts as sent, and costs nothing."""
    kept = Passage(document_id="copy", start=0, end=8, text="at: nine", repeats=(("d", 0, 8),))
    assert value("EvidenceFound", context=(kept,)) == 1.0
    assert value("EvidenceRecall", context=(kept,)) == 1.0
    alone = Passage(document_id="copy", start=0, end=8, text="at: nine")
    assert value("EvidenceFound", context=(alone,)) == 0.0


def test_a_refusal_answers_nothing() -> None:
    """Of an answerable question a refusal scores 0; of an unanswerable one no answer is asked."""
    refused = Row(id="q", status="refused", context_tokens=0)
    assert parse_measure("F1").value(QUESTION, refused) == 0.0
    assert parse_measure("AnswerableKept").value(QUESTION, refused) == 0.0
    assert parse_measure("InputTokens").value(QUESTION, refused) == 0
    nobody = Question(id="n", text="?", unanswerable=True)
    assert parse_measure("UnanswerableRefused").value(nobody, refused) == 1.0
    assert parse_measure("F1").value(nobody, refused) is None
    assert parse_measure("AnswerableKept").value(nobody, refused) is None


def test_citations_are_checked_on_offsets() -> None:
    """Half of two citations touch the evidence; the whole of it is cited."""
    citations = (
        Passage(document_id="d", start=0, end=9),
        Passage(document_id="d", start=20, end=30),
    )
    assert value("CitationPrecision", citations=citations, text="nine") == 0.5
    assert value("CitationRecall", citations=citations, text="nine") == 1.0
    assert value("CitationPrecision", text="nine") is None


def test_unjudged_documents_are_counted() -> None:
    """One of the first two documents was judged; without a ranking nothing is known."""
    assert value("Judged@2", ranking={"d": 2.0, "other": 1.0}) == 0.5
    assert value("Judged@2") is None


def test_waste_is_measured_against_the_oracle() -> None:
    """Four times the tokens of the sentence that suffices."""
    assert value("WasteRatio", context_tokens=40, oracle_tokens=10) == 4.0
    assert value("WasteRatio", context_tokens=40) is None


def test_unknown_costs_are_none() -> None:
    """What was not measured has no value, never 0."""
    for name in ("Seconds", "CPUSeconds", "Joules", "OutputTokens", "ContextTokens"):
        assert value(name) is None
    assert value("Joules", joules=(1.0, 2.0, 3.0)) == 2.0


def test_token_measures_count_word_pieces() -> None:
    """One of four word pieces of the context is evidence."""
    context = (Passage(document_id="d", start=0, end=18, text="at: nine tomorrow"),)
    assert value("EvidenceTokenRecall", context=context) == 1.0
    assert value("EvidenceTokenPrecision", context=context) == 0.25
    assert value("EvidenceTokenIoU", context=context) == 0.25
    assert value("AnswerInContext", context=context) == 1.0
