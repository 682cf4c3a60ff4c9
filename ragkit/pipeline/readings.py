"""What a question finds, read as what it may ask: alone, or with the turns before it.

Most questions that go on show it by a cue. One without any that finds too little alone is read with
the turns before it, too, where it is short and near to them in meaning ("How long is the trip?"),
or tells rather than asks ("I hit the page, but nothing shows up"). What is found with them counts
only if it supports the message's own words: words of earlier turns find something for any question.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from ragkit.costs.stopwatch import Stopwatch
from ragkit.pipeline.followups import Resolved, last_turns, otherwise, taken_on, tells
from ragkit.pipeline.retrieval import Found, Request
from ragkit.pipeline.searching import hits_of, pooled, retrieve_each
from ragkit.pipeline.substituting import NAMED
from ragkit.pipeline.understanding import changes_topic, questions_of
from ragkit.storage import Snapshots
from ragkit.text.words import detect_language, query_terms
from ragkit.trimming import (
    BUILTIN_POLICY,
    Trimmed,
    largest_share,
    rank,
    rank_together,
    refusal_threshold,
    select,
    support_score,
    untrimmed,
)
from ragkit.trimming.merging import merged
from ragkit.trimming.support import pool_language
from ragkit.types import Placement, Turn

if TYPE_CHECKING:
    from ragkit.pipeline.parts import Parts

_SEVERAL = 2
"""Of the own words of a question that goes on, so many without any in a chunk are not answered."""

_FEW, _MORE, _MANY = 3, 5, 9
"""Terms of a question, of one that must be nearer, and of a message that tells something, which may
lean on earlier turns: a longer one says itself what it is about."""

_LIKELY = {
    "offset": 0.4,
    "terms": -0.74,
    "named": -1.25,
    "taken_up": 2.02,
    "alone": -0.8,
    "after": 1.3,
    "least": 0.8,
}
"""Weights of a logistic regression of "goes on", for a question without a cue that takes up a word
of the last answer or is near to the last question: of its terms, of whether it has a name and
whether it takes up a word, and of the log odds of its support alone and with the turns before; and
the least sum, which 42 of 140 that go on reach, and one of 2,153 that stand alone, each after
another question and its answer."""

_NEARER, _SOME = 0.25, 4
"""Cosine of such a question with the last one, and its terms, if none stands in the answer."""

_MOST_TERMS, _WELL, _MOST_LOG_ODDS = 8, 2.0, 6.9
"""Terms that count; log odds with which the turns before may support a question at best; bound."""

_LEAST_NEAR = 0.2
"""Cosine of a question of a few words with the turns that it leans on. Of 20 on other things, each
asked after 12 conversations, 8 in 240 are read as leaning on these."""

_LEAST_NEAR_OF_MORE = 0.3
"""The same for a question of a few more words."""

_LEAST_NEAR_OF_TOLD = 0.17
"""The same for a message of any length that tells something ("My mate waited over two hours"). Of
1,900 messages that stand alone and find too little, each after a conversation on something else,
one reaches it; of 16 that go on without a cue, nine."""

_TOLD_MORE = 3.5
"""Times the odds of a message alone, what is found with the turns before supports its own words. Of
18 on other things, each sent after 12 conversations, 12 in 216 are read as going on with these, and
43 without this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a question, taken to ask `resolved`, has found, kept, and how well that supports it."""

    resolved: Resolved
    founds: Sequence[Found]
    trimmed: Trimmed
    support: float | None


def read(
    parts: Parts, request: Request, resolved: Resolved, history: Sequence[Turn], watch: Stopwatch
) -> Reading:
    """Search for what a question is taken to ask; for one of few words, also for what it may be."""
    reading = _read(parts, request, resolved, watch)
    if history and _is_judged(request.question, reading):
        if not resolved.standalone:
            reading = _first_enough(parts, request, reading, history, watch)
        elif (other := _going_on(parts, request, reading, history, watch)) is not None:
            reading = other
        elif not _is_enough(parts, reading):
            reading = _leaning(parts, request, reading, history, watch) or reading
    return _joined(parts, request, reading, watch)


def _first_enough(
    parts: Parts,
    request: Request,
    first: Reading,
    history: Sequence[Turn],
    watch: Stopwatch,
) -> Reading:
    """Return the first reading of a question that goes on which finds enough, else the first."""
    if _is_enough(parts, first) or first.resolved.by != "rule":
        return first
    for other in otherwise(request.question, history, first.resolved):
        reading = _read(parts, request, other, watch)
        if _is_enough(parts, reading):
            also = dict.fromkeys((*reading.resolved.also, first.resolved.question))
            return replace(reading, resolved=replace(reading.resolved, also=tuple(also)))
    return first


def _going_on(
    parts: Parts,
    request: Request,
    alone: Reading,
    history: Sequence[Turn],
    watch: Stopwatch,
) -> Reading | None:
    """Return how a question without a cue reads with the turns before, if it likely goes on.

    That is likely where it says little, names nothing, and is supported better with the turns than
    alone. Where no such support could show it, nothing more is searched for.
    """
    terms, question = alone.founds[0].terms, request.question
    if not terms or changes_topic(question):
        return None
    answered, asked = last_turns(history)
    takes_up = not set(terms).isdisjoint(query_terms(answered, language="en"))
    likely = (
        _LIKELY["offset"]
        + _LIKELY["terms"] * min(len(terms), _MOST_TERMS)
        + _LIKELY["named"] * bool(NAMED.search(question))
        + _LIKELY["taken_up"] * takes_up
        + _LIKELY["alone"] * _log_odds(alone.support)
    )
    if likely + _LIKELY["after"] * _WELL < _LIKELY["least"]:
        return None
    if not takes_up and (len(terms) > _SOME or _cosine(parts, alone, asked) < _NEARER):
        return None
    other = taken_on(question, history)
    if other is None:
        return None
    reading = _read(parts, request, other, watch)
    likely += _LIKELY["after"] * _log_odds(reading.support)
    return reading if likely >= _LIKELY["least"] and _is_enough(parts, reading) else None


def _leaning(
    parts: Parts,
    request: Request,
    alone: Reading,
    history: Sequence[Turn],
    watch: Stopwatch,
) -> Reading | None:
    """Return how a question without a cue reads with the turns before, if it leans on them."""
    terms, question = alone.founds[0].terms, request.question
    is_told = tells(question) and not changes_topic(question)
    if not (is_told or 0 < len(terms) <= _MORE):
        return None
    other = taken_on(question, history)
    if other is None:
        return None
    if is_told and _cosine(parts, alone, other.topic) >= _LEAST_NEAR_OF_TOLD:
        return _told_on(parts, request, other, watch)
    # What is told and not near by that is not near by the greater cosines of questions.
    is_near = not is_told and _is_near(parts, alone, other)
    if not is_near and not (is_told and len(terms) <= _MANY):
        return None
    first = _read(parts, request, other, watch)
    reading = _first_enough(parts, request, first, history, watch)
    if not _is_enough(parts, reading):
        return None
    with watch.stage("trim"):
        own = support_score(terms, reading.founds[0].pool, parts.policy or BUILTIN_POLICY)
    return reading if is_near or _odds(own) >= _TOLD_MORE * _odds(alone.support) else None


def _told_on(parts: Parts, request: Request, other: Resolved, watch: Stopwatch) -> Reading | None:
    """Return what a message that tells something finds with the turns before, if it is answered."""
    reading = _read(parts, request, other, watch)
    least = reader_threshold(parts, request.question, reading.founds[0])
    return reading if least is None or (reading.support or 0.0) >= least else None


def _read(parts: Parts, request: Request, resolved: Resolved, watch: Stopwatch) -> Reading:
    asked = [*questions_of(request.question)]
    if not resolved.standalone:
        # What else a message asks follows from its first question, if from anything.
        asked[0] = resolved.question if len(asked) == 1 else f"{resolved.topic}\n{asked[0]}".strip()
    founds = retrieve_each(parts, request, asked, watch)
    with watch.stage("trim"):
        trimmed = _trimmed(parts, founds, request.n_candidates)
    support = trimmed.support
    if not resolved.standalone:
        support = _best_support(parts, resolved, founds[0], trimmed)
    return Reading(resolved=resolved, founds=founds, trimmed=trimmed, support=support)


def _joined(parts: Parts, request: Request, reading: Reading, watch: Stopwatch) -> Reading:
    """Return a reading whose context is the best of all ways to search for its question.

    It has no more tokens than one of them would have. What is paid for is searched once.
    """
    found, also, policy = reading.founds[0], reading.resolved.also, parts.policy
    if len(reading.founds) > 1 or not also or policy is None or not _is_here(parts, found):
        return reading
    founds = [found, *retrieve_each(parts, request, also, watch)]
    alike = pooled(parts, request, founds, watch)
    with watch.stage("trim"):
        each = (_trimmed(parts, [one], request.n_candidates) for one in founds[1:])
        most = max(_n_tokens(kept) for kept in (reading.trimmed, *each))
        if not most:
            return reading
        trimmed = select(
            rank_together([(one.terms, one.pool) for one in alike], policy),
            policy=policy,
            counter=parts.counter,
            level=parts.settings.trim_level,
            max_context_tokens=most,
            placement=cast("Placement", parts.settings.placement),
        )
    whole = replace(found, hits=hits_of(founds), pool=alike[0].pool)
    return replace(reading, founds=[whole], trimmed=trimmed)


def _is_here(parts: Parts, found: Found) -> bool:
    """Whether a search asks no service, which costs money or time."""
    is_free = found.embedder in {"builtin", "none"} and parts.reranker is None
    return is_free and isinstance(parts.store(), Snapshots)


def _n_tokens(trimmed: Trimmed) -> int:
    return sum(item.n_tokens for item in trimmed.context)


def _is_judged(question: str, reading: Reading) -> bool:
    """Whether a question is one, and in English, so that the store's vectors can judge it."""
    found = reading.founds[0]
    return (
        len(reading.founds) == 1
        and found.embedder == "builtin"
        and any(chunk.cosines is not None for chunk in found.pool)
        and detect_language(question) in {None, "en"}
        and pool_language(found.pool) == "en"
    )


def _is_near(parts: Parts, alone: Reading, other: Resolved) -> bool:
    """Whether a question of few words is near to the turns before, and does not name them."""
    terms = alone.founds[0].terms
    if len(terms) > _MORE or not set(terms).isdisjoint(query_terms(other.topic, language="en")):
        return False
    return _cosine(parts, alone, other.topic) >= (
        _LEAST_NEAR if len(terms) <= _FEW else _LEAST_NEAR_OF_MORE
    )


def _cosine(parts: Parts, alone: Reading, other: str) -> float:
    """Return how near a question is to a text in meaning, from -1 to 1; 0 without an embedder."""
    embedder, vector = parts.embedder(), alone.founds[0].vector
    if embedder is None or vector is None:
        return 0.0
    return math.fsum(map(operator.mul, vector, embedder.embed_query(other)))


def _is_enough(parts: Parts, reading: Reading) -> bool:
    asked, policy = parts.settings.refuse_below, parts.policy or BUILTIN_POLICY
    least = policy.refuse_below if asked is None or asked == "off" else float(asked)
    return (reading.support or 0.0) >= (least or 0.0)


def reader_threshold(parts: Parts, question: str, found: Found) -> float | None:
    """Return the support below which a question is refused; None where none is."""
    asked = parts.settings.refuse_below
    if asked == "off":
        return None
    if asked is not None:
        return float(asked)
    policy = parts.policy or BUILTIN_POLICY
    return refusal_threshold(
        policy, question, found.pool, embedder=found.embedder, n_chunks=found.n_chunks
    )


def _log_odds(support: float | None) -> float:
    return max(-_MOST_LOG_ODDS, min(_MOST_LOG_ODDS, math.log(max(1e-9, _odds(support)))))


def _odds(support: float | None) -> float:
    return 0.0 if support is None else support / max(1e-9, 1.0 - support)


def _best_support(parts: Parts, resolved: Resolved, found: Found, trimmed: Trimmed) -> float | None:
    """Return the support of a question that goes on: the most with one thing that it may mean.

    Words of earlier turns must not lift it any further: what documents hold on these, they need
    not hold on the question. If its own words are several, one must stand in a chunk.
    """
    language = detect_language(f"{resolved.own} {' '.join(found.terms)}")
    known = set(found.terms)

    def terms(text: str) -> list[str]:
        return [term for term in query_terms(text, language=language) if term in known]

    own, policy = terms(resolved.own), parts.policy or BUILTIN_POLICY
    scores = [support_score(own, found.pool, policy) if own else trimmed.support]
    if not resolved.meant:
        scores.append(trimmed.support)
    elif len(own) < _SEVERAL or largest_share(own, found.pool):
        tried = {tuple(dict.fromkeys([*own, *terms(text)])) for text in resolved.meant}
        scores += [support_score(asked, found.pool, policy) for asked in tried if asked]
    return max((score for score in scores if score is not None), default=None)


def _trimmed(parts: Parts, founds: Sequence[Found], k: int) -> Trimmed:
    policy, settings, counter = parts.policy, parts.settings, parts.counter
    placement = cast("Placement", settings.placement)  # the settings have checked it
    rankings = [rank(found.terms, found.pool, policy or BUILTIN_POLICY) for found in founds]
    ranking = merged(rankings)
    if policy is None:
        return untrimmed(
            [chunk.hit for chunk in ranking.pool[:k]],
            counter=counter,
            max_context_tokens=settings.max_context_tokens,
            ranking=ranking,
            placement=placement,
        )
    return select(
        ranking,
        policy=policy,
        counter=counter,
        level=settings.trim_level,
        max_context_tokens=settings.max_context_tokens,
        placement=placement,
    )
