"""What a calibrated context loses: each question, with what was cut of its passages."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ragkit.trimming import BASELINE_HITS, TrimPolicy, select
from ragkit.types import Chunk, Json, Span
from ragkit_eval.calibration.certify import Goal, asked_about
from ragkit_eval.calibration.choice import Kept
from ragkit_eval.calibration.needs import CUTS, Needs, mean_tokens
from ragkit_eval.calibration.untrimmed import Whole
from ragkit_eval.data.datasets import Question
from ragkit_eval.data.texts import holds_needs
from ragkit_eval.measuring.subjects import PassageSubject, Subject
from ragkit_eval.stats.inference import quantile


@dataclass(frozen=True, slots=True, kw_only=True)
class CutPassage:
    """A passage of the untrimmed top 5; `kept` and `gold` are spans of the document, in order.

    A passage of another retriever is a document of its own, and its name says which one it is.
    """

    document_id: str
    start: int
    text: str
    kept: tuple[Span, ...]
    gold: tuple[Span, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A question that the untrimmed top 5 serves better than the trimmed context does."""

    question: Question
    passages: tuple[CutPassage, ...]
    n_tokens: int
    n_full_tokens: int
    n_elsewhere_tokens: int
    """Tokens kept from passages beyond the top 5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfound:
    """A question of which the untrimmed top 5 does not hold all; each need, and whether it does."""

    question: Question
    needs: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """What the labels show of every cut, of untrimmed chunks, and of the questions that lose.

    Shares are of what the untrimmed top 5 gives the questions that the goal is about: of a strict
    one the share of them that keep all, of a ratio the share of the mean quality. Where the goal is
    absolute they are the mean quality itself.

    Attributes:
        n: Questions that the goal is about.
        cluster: By what questions are grouped, as in `calibrate`.
        n_clusters: Documents, or other clusters, of these.
        n_measured: Labelled questions that were measured.
        full_tokens: Mean tokens of the untrimmed top 5 as it is found, with near-identical chunks.
        curve: Cut, mean tokens and share, fewest tokens first.
        untrimmed: k, mean tokens and share of the first k chunks, whole, as policies send them: of
            near-identical ones one.
        shown: Mean tokens and share of what the losses are of; None if nothing keeps the share.
        shown_is: `certified`, `marginal`, or `uncertified`: the cut that just keeps the share of
            these very questions, and promises nothing.
        lost: The questions that lose by it; without it, those that every cut loses.
        unfound: The questions that the untrimmed top 5 does not serve: no trimming can lose them.
        samples: How the questions were chosen, where the labels say so.
    """

    cluster: str
    n: int
    n_clusters: int
    n_measured: int
    full_tokens: float
    curve: tuple[tuple[float, float, float], ...]
    untrimmed: tuple[tuple[int, float, float], ...]
    shown: tuple[float, float] | None
    shown_is: Literal["certified", "marginal", "uncertified"]
    lost: tuple[Loss, ...]
    unfound: tuple[Unfound, ...]
    samples: tuple[str, ...]

    def to_dict(self) -> dict[str, Json]:
        """Return the part of the JSON of `ragkit calibrate`."""
        return {
            "untrimmed": [{"k": k, "tokens": t, "share": s} for k, t, s in self.untrimmed],
            "lost": [{"id": o.question.id, "question": o.question.text} for o in self.lost],
            "unfound": [{"id": o.question.id, "question": o.question.text} for o in self.unfound],
        }


def losses(
    subject: Subject,
    needs: Sequence[Needs],
    goal: Goal,
    *,
    kept: Kept | None,
    base: TrimPolicy,
    cluster: str,
    measure: Callable[[Sequence[int]], Sequence[Whole]],
) -> Losses:
    """Return what is lost by what is certified, or by an uncertified cut where nothing is.

    Args:
        subject: What finds passages.
        needs: What the labelled questions need.
        goal: What was asked for.
        kept: What is certified; None where nothing is.
        base: The policy without limits.
        cluster: By what questions are grouped.
        measure: Measures the first k chunks, for each of several k.
    """
    at = asked_about(needs, goal)
    quality, tokens, policy = _shown(needs, at, goal, kept, base)
    lost = [i for i in at if quality[i] < needs[i].full]
    wholes = sorted(measure(range(1, BASELINE_HITS + 1)), key=lambda whole: whole.k)
    samples = (need.question.metadata.get("sample") for need in needs)
    return Losses(
        cluster=cluster,
        n=len(at),
        n_clusters=len({needs[i].cluster for i in at}),
        n_measured=len(needs),
        full_tokens=sum(need.full_tokens for need in needs) / len(needs),
        curve=tuple(
            (cut, mean_tokens(needs, cut), _share(needs, at, goal, [n.quality[j] for n in needs]))
            for j, cut in reversed(list(enumerate(CUTS)))
        ),
        untrimmed=tuple(
            (whole.k, whole.mean_tokens, _share(needs, at, goal, whole.quality)) for whole in wholes
        ),
        shown=None if tokens is None else (tokens, _share(needs, at, goal, quality)),
        shown_is=_kind(kept, goal),
        lost=tuple(_loss(subject, needs[i], policy) for i in lost),
        unfound=tuple(_unfound(subject, need, base) for need in needs if need.full < 1.0),
        samples=tuple(sorted({sample for sample in samples if isinstance(sample, str)})),
    )


def _shown(
    needs: Sequence[Needs],
    at: Sequence[int],
    goal: Goal,
    kept: Kept | None,
    base: TrimPolicy,
) -> tuple[Sequence[float], float | None, TrimPolicy]:
    """Return quality, mean tokens and policy of what the losses are of."""
    if kept is not None:
        return kept.quality, kept.mean_tokens, replace(kept.policy(base), refuse_below=0.0)
    cut = quantile([needs[i].lowest for i in at], 1.0 - goal.retain) if at else -math.inf
    above = max(CUTS[0], min(cut, CUTS[-1]))
    policy = replace(base, keep_above=above)
    quality = [need.quality_at(above) for need in needs]
    return quality, mean_tokens(needs, cut) if cut > -math.inf else None, policy


def _kind(kept: Kept | None, goal: Goal) -> Literal["certified", "marginal", "uncertified"]:
    if kept is None:
        return "uncertified"
    return "marginal" if goal.is_marginal else "certified"


def _share(
    needs: Sequence[Needs], at: Sequence[int], goal: Goal, quality: Sequence[float]
) -> float:
    if goal.mode in {"strict", "conformal"}:
        found, of = float(sum(quality[i] == 1.0 for i in at)), float(len(at))
    else:
        found = sum(quality[i] for i in at)
        of = sum(needs[i].full for i in at) if goal.mode == "ratio" else float(len(at))
    return found / of if of else 0.0


def _loss(subject: Subject, need: Needs, policy: TrimPolicy) -> Loss:
    question, is_foreign = need.question, isinstance(subject, PassageSubject)
    found = subject.retrieve(question, k=BASELINE_HITS, pools=(policy.pool,))
    ranking = found.ranked(policy.pool, policy)
    chosen = select(ranking, policy=policy, counter=subject.counter)
    chunks = [hit.chunk for hit in found.hits]
    spans: Mapping[str, list[Span]] = {chunk.document_id: [] for chunk in chunks}
    n_elsewhere = 0
    for item in chosen.context:
        name = item.hit.chunk.document_id
        if any(c.document_id == name and item.start < c.end and c.start < item.end for c in chunks):
            spans[name].append((item.start, item.end))
        else:
            n_elsewhere += item.n_tokens
    return Loss(
        question=question,
        passages=tuple(
            CutPassage(
                document_id=f"passage {int(chunk.document_id) + 1}"
                if is_foreign
                else chunk.document_id,
                start=chunk.start,
                text=chunk.text,
                kept=tuple(sorted(spans[chunk.document_id])),
                gold=tuple(_gold(question, chunk, by_text=is_foreign)),
            )
            for chunk in chunks
        ),
        n_tokens=sum(item.n_tokens for item in chosen.context),
        n_full_tokens=need.full_tokens,
        n_elsewhere_tokens=n_elsewhere,
    )


def _unfound(subject: Subject, need: Needs, base: TrimPolicy) -> Unfound:
    found = subject.retrieve(need.question, k=BASELINE_HITS, pools=(base.pool,))
    texts = [hit.chunk.text for hit in found.hits]
    return Unfound(
        question=need.question,
        needs=tuple(
            (" or ".join(words), holds_needs(texts, [words])) for words in _wanted(need.question)
        ),
    )


def _wanted(question: Question) -> Sequence[Sequence[str]]:
    """Return the texts of what is needed: those of spans as they are, of any one way."""
    if question.needs:
        return question.needs
    if question.evidence:
        return [[span.text] for span in question.evidence[0]]
    return [question.answers] if question.answers else []


def _gold(question: Question, chunk: Chunk, *, by_text: bool) -> list[Span]:
    """Return where a passage holds what is needed: spans of the document.

    Those of a question without spans are found by their letters, and so are all in a passage of
    another retriever, which has a place of its own in no document.
    """
    gold = [span for way in question.evidence for span in way]
    if gold and not by_text:
        return sorted({(o.start, o.end) for o in gold if o.document_id == chunk.document_id})
    wanted = [span.text for span in gold]
    if not gold:
        wanted = [words for need in question.needs for words in need] or list(question.answers)
    places = {(chunk.text.find(words), len(words)) for words in wanted if words}
    return sorted((chunk.start + at, chunk.start + at + n) for at, n in places if at >= 0)
