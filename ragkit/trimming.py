"""Trimming: the fewest tokens of a deep pool of chunks that a trim policy asks for.

Pure: no input or output, standard library only. The pool's sentences are scored against the
question, ranked, and kept from the best down until the policy's limit; the kept ones go back into
document order. For one pool the kept set only grows with the limit, so a policy is one number.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ragkit.errors import ConfigError
from ragkit.types import ContextItem, Hit, Json, RefusalReason, ScoredSentence, Span, TokenCounter

BASELINE_HITS = 5
"""What trimming is measured against: so many chunks, untrimmed."""

BM25_K1 = 0.9
BM25_B = 0.4
"""Robertson and Zaragoza 2009, eq. 3.15, with the constants usual for short passages."""


_SHORT_WORDS = 3
"""Words below which a sentence's length hardly counts: headings must not win by brevity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolChunk:
    """A retrieved chunk, prepared for trimming.

    `words` holds each sentence's index words. `cosines` and `window_cosines` hold the cosine of
    the question with each sentence and with each sentence among its neighbours, or None where the
    store has no sentence vectors.
    """

    hit: Hit
    words: Sequence[Sequence[str]]
    cosines: Sequence[float] | None = None
    window_cosines: Sequence[float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrimPolicy:
    """How to trim.

    `pool` chunks are retrieved; sentences are kept, first come first, while their tokens stay
    within `budget_tokens` and within `budget_share` of the tokens of the pool's first five chunks
    (None: no limit); at least one sentence is kept. A sentence's score is a sum of z-scores over
    the pool with the weights below; first comes what has a high score less `length_weight` times
    the logarithm of its length, since a long sentence takes the place of several short ones. Below
    `refuse_below` (an evidence score in [0, 1]) there is no answer. `certificate` is what was shown
    about the policy, made by `ragkit calibrate`.
    """

    name: str
    pool: int = 10
    budget_tokens: int | None = None
    budget_share: float | None = None
    refuse_below: float = 0.0
    cosine_weight: float = 1.0
    words_weight: float = 0.6
    window_cosine_weight: float = 0.5
    window_words_weight: float = 0.5
    chunk_weight: float = 0.5
    length_weight: float = 0.8
    certificate: Mapping[str, Json] | None = None

    def __post_init__(self) -> None:
        """Check the ranges; raises `ConfigError`."""
        if self.pool < 1:
            raise ConfigError(f"trim policy {self.name!r}: pool {self.pool}; allowed: 1 or more")
        if self.budget_tokens is not None and self.budget_tokens < 1:
            raise ConfigError(
                f"trim policy {self.name!r}: budget_tokens {self.budget_tokens}; allowed: 1 or more"
            )
        if self.budget_share is not None and not 0.0 < self.budget_share <= 1.0:
            raise ConfigError(
                f"trim policy {self.name!r}: budget_share {self.budget_share}; "
                "allowed: more than 0, up to 1"
            )
        if not 0.0 <= self.refuse_below <= 1.0:
            raise ConfigError(
                f"trim policy {self.name!r}: refuse_below {self.refuse_below}; allowed: 0 to 1"
            )

    def sha256(self) -> str:
        """Return a digest of the numbers that decide what is kept and refused."""
        import hashlib
        import json

        numbers = {**self.to_dict(), "name": None, "certificate": None}
        return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of a trim policy file."""
        data: dict[str, Json] = {
            "schema": 1,
            "name": self.name,
            "pool": self.pool,
            "budget_tokens": self.budget_tokens,
            "budget_share": self.budget_share,
            "refuse_below": self.refuse_below,
            "weights": {
                "cosine": self.cosine_weight,
                "words": self.words_weight,
                "window_cosine": self.window_cosine_weight,
                "window_words": self.window_words_weight,
                "chunk": self.chunk_weight,
                "length": self.length_weight,
            },
        }
        if self.certificate is not None:
            data["certificate"] = self.certificate
        return data


@dataclass(frozen=True, slots=True, kw_only=True)
class Trimmed:
    """What was kept. `evidence` in [0, 1] tells how well the pool supports an answer."""

    context: tuple[ContextItem, ...]
    evidence: float | None
    refusal: RefusalReason | None = None


@dataclass(slots=True)
class _Sentence:
    chunk: int
    position: int
    span: Span
    score: float = 0.0
    priority: float = 0.0
    n_tokens: int | None = None


_Count: TypeAlias = Callable[[_Sentence], int]


@dataclass(slots=True)
class _Scores:
    ranked: list[_Sentence] = field(default_factory=list["_Sentence"])
    evidence: float | None = None


def trim(
    question_words: Sequence[str],
    pool: Sequence[PoolChunk],
    *,
    policy: TrimPolicy,
    counter: TokenCounter,
    level: float | None = None,
    max_context_tokens: int | None = None,
) -> Trimmed:
    """Keep the best sentences of the pool within the policy's limit and under the hard cap.

    Args:
        question_words: Index words of the question, without stop words.
        pool: Best chunk first.
        policy: How much to keep.
        counter: Counts the tokens of what is kept.
        level: From 0 (the best sentence) to 1 (the whole pool); replaces the policy's limit.
        max_context_tokens: Never exceeded by the sum of the items' `n_tokens`.

    Returns:
        Items in document order, documents in order of their best chunk. Empty with `refusal` set
        to `no_hits`, or to `cap_too_small` when not even one sentence fits under the cap.
    """
    scores = _score(question_words, pool, policy)
    if not scores.ranked:
        return Trimmed(context=(), evidence=None, refusal="no_hits")
    ranked = _without_repeats(scores.ranked, pool)

    def count(sentence: _Sentence) -> int:
        # Counting costs more than ranking, and most of a pool is never kept.
        if sentence.n_tokens is None:
            sentence.n_tokens = counter.count(_text(sentence, pool))
        return sentence.n_tokens

    limit = _limit(policy, pool) if level is None else level * sum(map(count, ranked))
    kept = _keep(ranked, count, limit)
    context = _capped(kept, ranked, count, pool, counter=counter, cap=max_context_tokens)
    if not context:
        return Trimmed(context=(), evidence=scores.evidence, refusal="cap_too_small")
    return Trimmed(context=context, evidence=scores.evidence)


def untrimmed(
    hits: Sequence[Hit], *, counter: TokenCounter, max_context_tokens: int | None = None
) -> Trimmed:
    """Keep whole chunks, as retrieved; under a cap, those that fit, best first."""
    if not hits:
        return Trimmed(context=(), evidence=None, refusal="no_hits")
    items: list[ContextItem] = []
    n_tokens = 0
    for hit in hits:
        chunk = hit.chunk
        n_chunk = counter.count(chunk.text)
        if max_context_tokens is not None and n_tokens + n_chunk > max_context_tokens:
            continue
        n_tokens += n_chunk
        sentences = tuple(
            ScoredSentence(
                start=a,
                end=b,
                text=chunk.text[a - chunk.start : b - chunk.start],
                score=0.0,
                n_tokens=0,
            )
            for a, b in chunk.sentences
        )
        items.append(
            ContextItem(
                hit=hit,
                start=chunk.start,
                end=chunk.end,
                text=chunk.text,
                n_tokens=n_chunk,
                sentences=sentences,
            )
        )
    if not items:
        return Trimmed(context=(), evidence=None, refusal="cap_too_small")
    return Trimmed(context=tuple(items), evidence=None)


def rank_sentences(
    question_words: Sequence[str],
    pool: Sequence[PoolChunk],
    *,
    policy: TrimPolicy,
    counter: TokenCounter,
) -> list[tuple[Hit, ScoredSentence]]:
    """Return the pool's sentences in the order in which `trim` keeps them, repeats left out.

    For one pool every limit keeps a prefix of this list.
    """
    ranked = _without_repeats(_score(question_words, pool, policy).ranked, pool)
    return [
        (
            pool[sentence.chunk].hit,
            ScoredSentence(
                start=sentence.span[0],
                end=sentence.span[1],
                text=(text := _text(sentence, pool)),
                score=sentence.score,
                n_tokens=counter.count(text),
            ),
        )
        for sentence in ranked
    ]


def _score(question_words: Sequence[str], pool: Sequence[PoolChunk], policy: TrimPolicy) -> _Scores:
    sentences = [
        _Sentence(chunk=i, position=j, span=span)
        for i, chunk in enumerate(pool)
        for j, span in enumerate(chunk.hit.chunk.sentences)
    ]
    if not sentences:
        return _Scores()
    words = [pool[s.chunk].words[s.position] for s in sentences]
    windows = [_window(pool[s.chunk].words, s.position) for s in sentences]
    idf = _idf(question_words, words)
    parts = [
        (policy.words_weight, _bm25(idf, words)),
        (policy.window_words_weight, _bm25(idf, windows)),
        (policy.chunk_weight, [pool[s.chunk].hit.score for s in sentences]),
    ]
    cosines = _column(pool, sentences, lambda chunk: chunk.cosines)
    if cosines is not None:
        parts.append((policy.cosine_weight, cosines))
    near = _column(pool, sentences, lambda chunk: chunk.window_cosines)
    if near is not None:
        parts.append((policy.window_cosine_weight, near))
    for weight, values in parts:
        for sentence, z in zip(sentences, _z_scores(values), strict=True):
            sentence.score += weight * z
    for sentence, own in zip(sentences, words, strict=True):
        penalty = policy.length_weight * math.log(_SHORT_WORDS + len(own))
        sentence.priority = sentence.score - penalty
    best_cosine = max(near) if near is not None else None
    evidence = _evidence(_coverage(idf, windows), best_cosine)
    ranked = sorted(sentences, key=lambda s: (-s.priority, s.chunk, s.position))
    return _Scores(ranked=ranked, evidence=evidence)


def _column(
    pool: Sequence[PoolChunk],
    sentences: Sequence[_Sentence],
    of: Callable[[PoolChunk], Sequence[float] | None],
) -> list[float] | None:
    """Gather one number a sentence; None unless every chunk of the pool has it."""
    columns = [of(chunk) for chunk in pool]
    values: list[float] = []
    for sentence in sentences:
        column = columns[sentence.chunk]
        if column is None:
            return None
        values.append(column[sentence.position])
    return values


def _window(words: Sequence[Sequence[str]], position: int) -> list[str]:
    near = words[max(0, position - 1) : position + 2]
    return [word for sentence in near for word in sentence]


def _idf(question_words: Sequence[str], sentences: Sequence[Sequence[str]]) -> dict[str, float]:
    """Robertson and Sparck Jones weights of the question's words over the pool's sentences."""
    wanted = set(question_words)
    found = Counter[str]()
    for sentence in sentences:
        found.update(wanted.intersection(sentence))
    n = len(sentences)
    return {word: math.log(1.0 + (n - found[word] + 0.5) / (found[word] + 0.5)) for word in wanted}


def _bm25(idf: Mapping[str, float], texts: Sequence[Sequence[str]]) -> list[float]:
    mean = sum(map(len, texts)) / len(texts) or 1.0
    scores: list[float] = []
    for words in texts:
        frequencies = Counter(word for word in words if word in idf)
        norm = BM25_K1 * (1.0 - BM25_B + BM25_B * len(words) / mean)
        scores.append(sum(idf[word] * f / (f + norm) for word, f in frequencies.items()))
    return scores


def _z_scores(values: Sequence[float]) -> list[float]:
    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values))
    if deviation < 1e-9:
        return [0.0] * len(values)
    return [(v - mean) / deviation for v in values]


def _coverage(idf: Mapping[str, float], windows: Sequence[Sequence[str]]) -> float:
    """Return the largest share of the question's word weight that stands in one window."""
    total = math.fsum(idf.values())
    if total <= 0.0:
        return 0.0
    return max(math.fsum(idf[w] for w in set(window) if w in idf) for window in windows) / total


# Logistic regression of "is the question answered here" on the calibration halves of squad20 and
# hotpotqa_100, against questions of other collections (weight 1) and squad20's unanswerable ones
# (weight 1/2). It orders evidence; it is not yet a calibrated probability.
_EVIDENCE_WORDS, _EVIDENCE_COSINE, _EVIDENCE_OFFSET = 2.1, 10.2, -7.1
_EVIDENCE_WORDS_ALONE, _EVIDENCE_WORDS_ALONE_OFFSET = 4.6, -3.05

REFUSE_BELOW = 0.15
"""Bundled refusal threshold: on the calibration halves 2 % of answerable questions lie below."""


def _evidence(coverage: float, cosine: float | None) -> float:
    if cosine is None:
        logit = _EVIDENCE_WORDS_ALONE * coverage + _EVIDENCE_WORDS_ALONE_OFFSET
    else:
        logit = _EVIDENCE_WORDS * coverage + _EVIDENCE_COSINE * cosine + _EVIDENCE_OFFSET
    return 1.0 / (1.0 + math.exp(-logit))


def _without_repeats(ranked: Sequence[_Sentence], pool: Sequence[PoolChunk]) -> list[_Sentence]:
    """Drop a sentence whose words repeat a better one's, or whose span it overlaps."""
    seen_texts: set[str] = set()
    seen_spans: set[tuple[str, int, int]] = set()
    kept: list[_Sentence] = []
    for sentence in ranked:
        text = " ".join(_text(sentence, pool).casefold().split())
        span = (pool[sentence.chunk].hit.chunk.document_id, *sentence.span)
        if text in seen_texts or span in seen_spans:
            continue
        seen_texts.add(text)
        seen_spans.add(span)
        kept.append(sentence)
    return kept


def _text(sentence: _Sentence, pool: Sequence[PoolChunk]) -> str:
    chunk = pool[sentence.chunk].hit.chunk
    return chunk.text[sentence.span[0] - chunk.start : sentence.span[1] - chunk.start]


def _limit(policy: TrimPolicy, pool: Sequence[PoolChunk]) -> float:
    limits = [math.inf if policy.budget_tokens is None else policy.budget_tokens]
    if policy.budget_share is not None:
        untrimmed_tokens = sum(chunk.hit.chunk.n_tokens for chunk in pool[:BASELINE_HITS])
        limits.append(policy.budget_share * untrimmed_tokens)
    return min(limits)


def _keep(ranked: Sequence[_Sentence], count: _Count, limit: float) -> list[_Sentence]:
    """Return the longest prefix within the limit; never empty."""
    kept = [ranked[0]]
    n_tokens = count(ranked[0])
    for sentence in ranked[1:]:
        n_tokens += count(sentence)
        if n_tokens > limit:
            break
        kept.append(sentence)
    return kept


def _capped(
    kept: Sequence[_Sentence],
    ranked: Sequence[_Sentence],
    count: _Count,
    pool: Sequence[PoolChunk],
    *,
    counter: TokenCounter,
    cap: int | None,
) -> tuple[ContextItem, ...]:
    if cap is None:
        return _items(kept, pool, counter)
    fitting: list[_Sentence] = []
    n_tokens = 0
    for sentence in kept:
        if n_tokens + count(sentence) <= cap:
            fitting.append(sentence)
            n_tokens += count(sentence)
    if not fitting:
        fitting = [s for s in ranked if count(s) <= cap][:1]
    # Tokens of joined sentences may exceed the sum of their tokens, so the joined text is counted.
    while fitting:
        items = _items(fitting, pool, counter)
        if sum(item.n_tokens for item in items) <= cap:
            return items
        fitting.pop()
    return ()


def _items(
    kept: Sequence[_Sentence], pool: Sequence[PoolChunk], counter: TokenCounter
) -> tuple[ContextItem, ...]:
    """Join kept sentences into maximal runs, in document order."""
    order: dict[str, int] = {}
    for chunk in pool:
        order.setdefault(chunk.hit.chunk.document_id, len(order))
    ordered = sorted(
        kept, key=lambda s: (order[pool[s.chunk].hit.chunk.document_id], s.span, s.chunk)
    )
    runs: list[list[_Sentence]] = []
    for sentence in ordered:
        last = runs[-1][-1] if runs else None
        if (
            last is not None
            and last.chunk == sentence.chunk
            and last.position + 1 == sentence.position
        ):
            runs[-1].append(sentence)
        else:
            runs.append([sentence])
    return tuple(_item(run, pool, counter) for run in runs)


def _item(
    run: Sequence[_Sentence], pool: Sequence[PoolChunk], counter: TokenCounter
) -> ContextItem:
    hit = pool[run[0].chunk].hit
    start, end = run[0].span[0], run[-1].span[1]
    text = hit.chunk.text[start - hit.chunk.start : end - hit.chunk.start]
    return ContextItem(
        hit=hit,
        start=start,
        end=end,
        text=text,
        n_tokens=counter.count(text),
        sentences=tuple(
            ScoredSentence(
                start=s.span[0],
                end=s.span[1],
                text=_text(s, pool),
                score=s.score,
                n_tokens=s.n_tokens or 0,
            )
            for s in run
        ),
    )
