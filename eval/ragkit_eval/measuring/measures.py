"""Measures as values: they print, parse, say what they mean, and give one number per question.

`parse_measure("nDCG@10")` gives the measure that prints as `nDCG@10`. A measure of your own is a
`Measure` object; nothing needs to be registered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ragkit.errors import ConfigError
from ragkit.types import MOST_HITS
from ragkit_eval.data import spans, texts
from ragkit_eval.data.datasets import Question
from ragkit_eval.data.rows import Passage, Row
from ragkit_eval.measuring import ranking

Direction: TypeAlias = Literal["higher", "lower"]
Value: TypeAlias = Callable[[Question, Row], float | None]
OrderValue: TypeAlias = Callable[[Sequence[str], ranking.Judgements], float | None]
_Labels: TypeAlias = Literal["judgements", "evidence", "answers", "needs", "nothing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One number per question.

    `value` is called with a question and its row (never one of status `error`). It returns None if
    the measure has no value, for example because the question has no evidence. `bounds` are the
    smallest and largest possible values, if there are any. `k` is the number of chunks that must be
    retrieved. Rank measures have `of_order`, which computes the value from ranked documents and
    judgements.
    """

    name: str
    direction: Direction
    definition: str
    citation: str
    value: Value
    bounds: tuple[float, float] | None = (0.0, 1.0)
    k: int | None = None
    needs: _Labels = "nothing"
    of_order: OrderValue | None = None

    def __str__(self) -> str:
        return self.name


_TREC = "trec_eval 10, usnistgov"
_CHROMA = "Smith and Troynikov 2024, Evaluating Chunking Strategies for Retrieval"
_SQUAD = "Rajpurkar et al. 2016, SQuAD; evaluate-v2.0.py"
_OWN = "ragkit"


@dataclass(frozen=True, slots=True)
class _Family:
    """A measure, or with `depth` one for each k: `needed` must be given, `optional` may be."""

    make: Callable[[int | None], Measure]
    depth: Literal["none", "optional", "needed"] = "none"


def _ranked(
    name: str, score: Callable[..., float | None], definition: str, citation: str
) -> Callable[[int | None], Measure]:
    def make(k: int | None) -> Measure:
        def of_order(order: Sequence[str], relevance: ranking.Judgements) -> float | None:
            return score(order, relevance, k)

        def value(question: Question, row: Row) -> float | None:
            if row.ranking is None:
                return None
            return of_order(ranking.ranked(row.ranking), question.relevance)

        return Measure(
            name=name if k is None else f"{name}@{k}",
            direction="higher",
            definition=definition,
            citation=citation,
            value=value,
            k=k or 1000,
            needs="judgements",
            of_order=of_order,
        )

    return make


def _spans(
    name: str,
    score: Callable[[Question, tuple[Passage, ...]], float | None],
    definition: str,
    citation: str = _OWN,
) -> Callable[[int | None], Measure]:
    """Make a measure of what was sent, or with a k of the first k hits."""

    def make(k: int | None) -> Measure:
        def value(question: Question, row: Row) -> float | None:
            passages = row.context if k is None else row.hits[:k]
            return score(question, passages) if question.evidence else None

        where = "the context" if k is None else f"the first {k} hits"
        return Measure(
            name=name if k is None else f"{name}@{k}",
            direction="higher",
            definition=f"{definition} ({where})",
            citation=citation,
            value=value,
            k=k,
            needs="evidence",
        )

    return make


def _one(
    name: str,
    value: Value,
    definition: str,
    *,
    citation: str = _OWN,
    direction: Direction = "higher",
    bounds: tuple[float, float] | None = (0.0, 1.0),
    needs: _Labels = "nothing",
) -> _Family:
    measure = Measure(
        name=name,
        direction=direction,
        definition=definition,
        citation=citation,
        value=value,
        bounds=bounds,
        needs=needs,
    )
    return _Family(lambda _k: measure)


def _cost(name: str, value: Callable[[Row], float | None], definition: str) -> _Family:
    return _one(name, lambda _question, row: value(row), definition, direction="lower", bounds=None)


def _answered(score: Callable[[str, tuple[str, ...]], float]) -> Value:
    """Score answers to answerable questions; a refusal answers nothing."""

    def value(question: Question, row: Row) -> float | None:
        if not question.answers or question.unanswerable:
            return None
        return 0.0 if row.text is None else float(score(row.text, question.answers))

    return value


def _answer_in_context(question: Question, row: Row) -> float | None:
    if not question.answers:
        return None
    return float(
        any(texts.holds_answer(passage.text or "", question.answers) for passage in row.context)
    )


def _needs_held(question: Question, row: Row) -> float | None:
    if not question.needs:
        return None
    held = [passage.text or "" for passage in row.context]
    return float(texts.holds_needs(held, question.needs))


def _needs_in_answer(question: Question, row: Row) -> float | None:
    """Whether the answer meets the needs; a refusal answers nothing."""
    if not question.needs or question.unanswerable:
        return None
    return float(texts.holds_needs([row.text or ""], question.needs))


def _answer_hit(k: int | None) -> Measure:
    depth = k or 5

    def value(_question: Question, row: Row) -> float | None:
        return None if row.answer_rank is None else float(1 <= row.answer_rank <= depth)

    return Measure(
        name=f"AnswerHit@{depth}",
        direction="higher",
        definition=f"1 when one of the first {depth} hits holds an answer's words in a row",
        citation=f"{_OWN}; as retrieval_recall of FlashRAG, but on token boundaries",
        value=value,
        k=depth,
        needs="answers",
    )


def _citation_precision(question: Question, row: Row) -> float | None:
    if not question.evidence or not row.citations:
        return None
    holds = [
        spans.measure_overlap(question.evidence, [citation.place]).found > 0
        for citation in row.citations
    ]
    return sum(holds) / len(holds)


def _citation_recall(question: Question, row: Row) -> float | None:
    if row.text is None:
        return None
    return spans.evidence_recall(question.evidence, [c.place for c in row.citations])


def _precision_omega(question: Question, row: Row) -> float | None:
    if row.gold_chunks is None or not question.evidence:
        return None
    return spans.precision_omega(question.evidence, spans.grouped(c.place for c in row.gold_chunks))


def _waste(question: Question, row: Row) -> float | None:
    if not question.evidence or not row.oracle_tokens or row.status != "ok":
        return None
    return None if row.context_tokens is None else row.context_tokens / row.oracle_tokens


def _count(text: str) -> int:
    from ragkit.text.wordpiece import load_wordpiece

    return load_wordpiece().count(text)


def _characters(kind: Literal["recall", "precision", "iou"]) -> Callable[..., float | None]:
    def score(question: Question, passages: tuple[Passage, ...]) -> float | None:
        places = [passage.place for passage in passages]
        found: float | None = getattr(spans.measure_overlap(question.evidence, places), kind)
        return found

    return score


def _tokens(kind: Literal["recall", "precision", "iou"]) -> Value:
    def value(question: Question, row: Row) -> float | None:
        if not question.evidence:
            return None
        overlap = spans.measure_overlap(
            question.evidence,
            [passage.place for passage in row.context],
            texts=[passage.text or "" for passage in row.context],
            count=_count,
        )
        found: float | None = getattr(overlap, kind)
        return found

    return value


def _places(passages: Iterable[Passage]) -> list[spans.Place]:
    """Return the places of all that was sent, evidence that was sent as a repeat included."""
    return [place for passage in passages for place in (passage.place, *passage.repeats)]


_FAMILIES: Mapping[str, _Family] = {
    "nDCG": _Family(
        _ranked(
            "nDCG", ranking.ndcg, "discounted gain of documents over the ideal's, linear gain",
            f"Jarvelin and Kekalainen 2002; {_TREC}, m_ndcg_cut.c",
        ),
        "optional",
    ),
    "R": _Family(
        _ranked("R", ranking.recall, "share of the relevant documents found",
                f"{_TREC}, m_recall.c"),
        "needed",
    ),
    "P": _Family(
        _ranked("P", ranking.precision, "share of the first k places that are relevant",
                f"{_TREC}, m_P.c"),
        "needed",
    ),
    "MAP": _Family(
        _ranked("MAP", ranking.average_precision,
                "precision at each relevant document, over all relevant ones",
                f"{_TREC}, m_map.c"),
        "optional",
    ),
    "MRR": _Family(
        _ranked("MRR", ranking.reciprocal_rank, "1 over the rank of the first relevant document",
                f"{_TREC}, m_recip_rank.c"),
        "optional",
    ),
    "Success": _Family(
        _ranked("Success", ranking.success, "1 when a relevant document is among the first k",
                f"{_TREC}, m_success.c"),
        "needed",
    ),
    "Judged": _Family(
        _ranked("Judged", ranking.judged_share,
                "share of the first k documents that were judged at all", _OWN),
        "needed",
    ),
    "EvidenceRecall": _Family(
        _spans(
            "EvidenceRecall", lambda q, p: spans.evidence_recall(q.evidence, _places(p)),
            "share of the evidence's characters, of the best alternative",
        ),
        "optional",
    ),
    "EvidenceFound": _Family(
        _spans(
            "EvidenceFound", lambda q, p: spans.evidence_found(q.evidence, _places(p)),
            "1 when one alternative of the evidence stands there as a whole",
        ),
        "optional",
    ),
    "EvidencePrecision": _Family(
        _spans("EvidencePrecision", _characters("precision"),
               "share of characters that are evidence", _CHROMA),
        "optional",
    ),
    "EvidenceIoU": _Family(
        _spans("EvidenceIoU", _characters("iou"),
               "characters of evidence over those sent and those missed", _CHROMA),
        "optional",
    ),
    "EvidenceTokenRecall": _one(
        "EvidenceTokenRecall", _tokens("recall"),
        "share of all evidence's tokens in the context", needs="evidence",
    ),
    "EvidenceTokenPrecision": _one(
        "EvidenceTokenPrecision", _tokens("precision"),
        "share of the context's tokens that are evidence", citation=_CHROMA, needs="evidence",
    ),
    "EvidenceTokenIoU": _one(
        "EvidenceTokenIoU", _tokens("iou"),
        "tokens of evidence over those sent and those missed", citation=_CHROMA, needs="evidence",
    ),
    "PrecisionOmega": _one(
        "PrecisionOmega", _precision_omega,
        "precision of sending every chunk that touches the evidence", citation=_CHROMA,
        needs="evidence",
    ),
    "AnswerInContext": _one(
        "AnswerInContext", _answer_in_context,
        "1 when the context holds an answer's words in a row", needs="answers",
    ),
    "AnswerHit": _Family(_answer_hit, "needed"),
    "NeedsHeld": _one(
        "NeedsHeld", _needs_held,
        "1 when every needed text stands in the context, each in one passage", needs="needs",
    ),
    "NeedsInAnswer": _one(
        "NeedsInAnswer", _needs_in_answer, "1 when every needed text stands in the answer",
        needs="needs",
    ),
    "ExactMatch": _one(
        "ExactMatch", _answered(texts.exact_match), "answer equals a reference, normalised",
        citation=_SQUAD, needs="answers",
    ),
    "F1": _one(
        "F1", _answered(texts.token_f1), "F1 of words with the best reference",
        citation=_SQUAD, needs="answers",
    ),
    "ContentF1": _one(
        "ContentF1", _answered(texts.content_f1),
        "F1 of distinct stems without stop words with the best reference", needs="answers",
    ),
    "AnswerMatch": _one(
        "AnswerMatch", _answered(texts.holds_answer),
        "1 when the answer holds a reference's words in a row", needs="answers",
    ),
    "ROUGE-L": _one(
        "ROUGE-L", _answered(texts.rouge_l),
        "F1 of the longest common subsequence of words with the best reference",
        citation="Lin 2004, ROUGE, section 3", needs="answers",
    ),
    "Groundedness": _one(
        "Groundedness",
        lambda _q, row: None
        if row.text is None
        else texts.groundedness(row.text, [p.text or "" for p in row.context]),
        "share of the answer's content words and numbers that stand in the context",
    ),
    "CitationPrecision": _one(
        "CitationPrecision", _citation_precision,
        "share of citations that touch the evidence", needs="evidence",
    ),
    "CitationRecall": _one(
        "CitationRecall", _citation_recall,
        "share of the evidence that is cited, of the best alternative", needs="evidence",
    ),
    "AnswerableKept": _one(
        "AnswerableKept",
        lambda q, row: None if q.unanswerable else float(row.status == "ok"),
        "1 when an answerable question is not refused",
    ),
    "UnanswerableRefused": _one(
        "UnanswerableRefused",
        lambda q, row: float(row.status == "refused") if q.unanswerable else None,
        "1 when an unanswerable question is refused",
    ),
    "ModelAbstained": _one(
        "ModelAbstained",
        lambda _, row: float(row.reason == "model_abstained"),
        "1 when the model says that what it was sent does not answer", direction="lower",
    ),
    "CutShort": _one(
        "CutShort",
        lambda _, row: None
        if row.stop_reason is None
        else float(row.stop_reason not in ("end", "stop")),
        "1 when an answer has another end than the model's own", direction="lower",
    ),
    "ContextTokens": _cost(
        "ContextTokens", lambda row: row.context_tokens, "tokens of context sent"
    ),
    "InputTokens": _cost(
        "InputTokens", lambda row: row.input_tokens if row.llm_calls or row.status == "ok" else 0,
        "tokens of the whole prompt",
    ),
    "OutputTokens": _cost("OutputTokens", lambda row: row.output_tokens, "tokens of the answer"),
    "WasteRatio": _one(
        "WasteRatio", _waste,
        "context tokens over those of the sentences that the cheapest evidence needs",
        direction="lower", bounds=None, needs="evidence",
    ),
    "Orphans": _cost(
        "Orphans", lambda row: row.orphans,
        "kept parts without what they need: code without its introduction, items without their "
        "lead-in, rows without their header, steps without the others",
    ),
    "LLMCalls": _cost("LLMCalls", lambda row: row.llm_calls, "calls of a language model"),
    "Seconds": _cost("Seconds", lambda row: row.seconds, "wall seconds"),
    "CPUSeconds": _cost("CPUSeconds", lambda row: row.cpu_seconds, "CPU seconds of this process"),
    "Joules": _cost(
        "Joules", lambda row: None if row.joules is None else row.joules[1],
        "modelled energy, the middle of its range",
    ),
}  # fmt: skip

_ALIASES = {
    "recall": "R", "precision": "P", "ap": "MAP", "rr": "MRR", "ndcg_cut": "nDCG",
    "em": "ExactMatch",
    "rougel": "ROUGE-L", "hit": "Success", "recip_rank": "MRR", "map_cut": "MAP",
    "tokens": "ContextTokens",
}  # fmt: skip
_MEASURE_NAME = re.compile(r"([A-Za-z][A-Za-z0-9_-]*+)(?:[@.]([0-9]{1,9}))?")


def parse_measure(name: str) -> Measure:
    """Return the measure of a name such as `nDCG@10`, `recall@5`, `ContextTokens` or `F1`.

    Raises:
        ConfigError: there is no such measure; the message lists all.
    """
    match = _MEASURE_NAME.fullmatch(name.strip())
    lower = match[1].lower() if match else ""
    known = {key.lower(): key for key in _FAMILIES}
    key = known.get(lower) or _ALIASES.get(lower)
    if match is None or key is None:
        raise ConfigError(f"measure {name!r}; allowed: {' '.join(measure_names())}")
    family, k = _FAMILIES[key], None if match[2] is None else int(match[2])
    if k is None and family.depth == "needed":
        raise ConfigError(f"measure {name!r} needs a depth, for example {key}@10")
    if k is not None and (family.depth == "none" or not 1 <= k <= MOST_HITS):
        raise ConfigError(f"measure {name!r}; allowed: {_written(key, family)}")
    return family.make(k)


def measure_names() -> list[str]:
    """Return how each measure is written."""
    return [_written(key, family) for key, family in _FAMILIES.items()]


def _written(key: str, family: _Family) -> str:
    return {"none": key, "optional": f"{key}[@K]", "needed": f"{key}@K"}[family.depth]


def all_measures() -> list[Measure]:
    """Return every measure; those that can have a depth are also listed with a depth of 5."""
    return [
        family.make(k)
        for family in _FAMILIES.values()
        for k in {"none": (None,), "optional": (None, 5), "needed": (5,)}[family.depth]
    ]


def default_measures(questions: Iterable[Question]) -> list[Measure]:
    """Return the measures that the questions' labels allow."""
    kinds = list(questions)
    names: list[str] = []
    if any(question.needs for question in kinds):
        names += ["NeedsHeld", "NeedsInAnswer"]
    if any(question.relevance for question in kinds):
        names += ["nDCG@10", "R@5", "R@10"]
    if any(question.evidence for question in kinds):
        names += ["EvidenceRecall", "EvidenceFound", "EvidencePrecision", "WasteRatio",
                  "CitationPrecision"]  # fmt: skip
    if any(question.answers for question in kinds):
        names += ["AnswerInContext", "F1", "AnswerMatch"]
    names.append("AnswerableKept")
    if any(question.unanswerable for question in kinds):
        names.append("UnanswerableRefused")
    names += [
        "Groundedness",
        "Orphans",
        "ContextTokens",
        "InputTokens",
        "Seconds",
        "CPUSeconds",
        "Joules",
    ]
    return [parse_measure(name) for name in names]
