"""Trimming behind any retriever: passages in, the pieces to send out; no store, and no files.

    from ragkit import trim

    trimmed = trim(question, [passage.text for passage in found])

A passage is a text, or an object that has one (`text`, `page_content` or `content`), with an `id`,
a `score` and a `title` where there are such. With numpy (`local`), sentences are compared by the
vectors of the built-in embedder, as in a store; without it, by words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Unpack

from ragkit.brief import counted
from ragkit.chunking import SpanChunker
from ragkit.errors import ConfigError
from ragkit.pipeline.opening import has_numpy, open_counter
from ragkit.pipeline.options import TrimOptions, check_names
from ragkit.pipeline.passage_pools import (
    EMBEDDED_PASSAGES,
    Passage,
    hits_of,
    pools_of_readings,
    read_passage,
    texts_of,
)
from ragkit.trimming import (
    Trimmed,
    TrimPolicy,
    open_policy,
    rank,
    refusal_threshold,
    select,
    untrimmed,
)
from ragkit.trimming.certificate import (
    passage_fingerprints,
    why_stale_for_passages,
    why_void_for_passages,
)
from ragkit.trimming.merging import merged
from ragkit.trimming.policy import BUNDLED
from ragkit.types import Json, TokenCounter


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What is kept of a passage: the text of `passages[passage]` from `start` to `end`."""

    text: str
    passage: int
    start: int
    end: int
    n_tokens: int

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "text": self.text,
            "passage": self.passage,
            "start": self.start,
            "end": self.end,
            "n_tokens": self.n_tokens,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TrimmedPassages:
    """What trimming keeps of some passages.

    `pieces` are in the order of the passages that hold the best ones, in a passage in its order.
    `n_tokens` counts them and `n_tokens_before` all passages. `evidence` in [0, 1] says how well
    the passages support an answer; `refused` is true where it is below `threshold`, so that it is
    better not to answer. `threshold` is None where it is not known what it would refuse.
    `certified` says whether the policy's certificate holds for this retriever and these documents;
    `void_because` says why one does not, and `stale` that only the documents have changed since.
    """

    pieces: tuple[Piece, ...]
    n_tokens: int
    n_tokens_before: int
    evidence: float | None
    threshold: float | None
    refused: bool
    certified: bool = False
    stale: bool = False
    void_because: str | None = None

    def __repr__(self) -> str:
        """Return what is kept in short."""
        return (
            f"<TrimmedPassages {counted(len(self.pieces), 'piece')}, {self.n_tokens:,} of "
            f"{self.n_tokens_before:,} tokens, evidence {self.evidence}, refused {self.refused}>"
        )

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "pieces": [piece.to_dict() for piece in self.pieces],
            "n_tokens": self.n_tokens,
            "n_tokens_before": self.n_tokens_before,
            "evidence": self.evidence,
            "threshold": self.threshold,
            "refused": self.refused,
            "certified": self.certified,
            "stale": self.stale,
            "void_because": self.void_because,
        }


def trim(
    question: str, passages: Sequence[Passage], **options: Unpack[TrimOptions]
) -> TrimmedPassages:
    """Keep of passages what a question needs.

    Any thread may call this; texts that come again are not embedded again.

    Args:
        question: Data, whatever characters it holds.
        passages: Best first: texts, or objects that have one. Of these, a policy of your own reads
            as many as its `pool`, and those of ragkit all.
        options: See `TrimOptions`.

    Raises:
        ConfigError: a value is not allowed, or a passage has no text.
        MissingExtraError: `vectors` is true and numpy is not installed.
    """
    check_names("trim", TrimOptions, options)
    policy, max_tokens = options.get("policy", "bundled"), options.get("max_tokens")
    if isinstance(passages, str | Mapping):
        raise ConfigError("passages must be a sequence of texts or of objects with a text")
    if max_tokens is not None and max_tokens < 1:
        raise ConfigError(f"max_tokens {max_tokens}; allowed: 1 or more, or None")
    chosen = policy if isinstance(policy, TrimPolicy) else open_policy(policy)[0]
    counter = options.get("counter") or open_counter()
    texts = texts_of(passages)
    is_own = chosen is not None and not (isinstance(policy, str) and policy in BUNDLED)
    n_read = chosen.pool if chosen is not None and is_own else len(texts)
    readings = [read_passage(text, counter) for text in texts[:n_read]]
    passages = passages[:n_read]
    before = sum(r.n_tokens for r in readings) + sum(map(counter.count, texts[n_read:]))
    hits = hits_of(passages, readings)
    if chosen is None:  # off
        whole = untrimmed(hits, counter=counter, max_context_tokens=max_tokens)
        return _result(whole, before, threshold=None)
    with_vectors = are_compared(options.get("vectors"))
    pools = pools_of_readings(question, hits, readings, vectors=with_vectors)
    ranking = merged([rank(terms, pool, chosen) for terms, pool in pools])
    kept = select(ranking, policy=chosen, counter=counter, max_context_tokens=max_tokens)
    _, pool = pools[0]
    threshold = refusal_threshold(chosen, question, pool, embedder="builtin") if pool else None
    result = _result(kept, before, threshold=threshold)
    return _certified(result, chosen, len(passages), options, counter)


def _certified(
    result: TrimmedPassages,
    policy: TrimPolicy,
    n_passages: int,
    options: TrimOptions,
    counter: TokenCounter,
) -> TrimmedPassages:
    """Return a result that says whether the policy's certificate holds."""
    certificate = policy.certificate
    if certificate is None:
        return result
    today = passage_scope(
        policy,
        fingerprint=options.get("fingerprint"),
        counter=counter,
        vectors=are_compared(options.get("vectors")),
    )
    void = why_void_for_passages(
        certificate,
        today,
        policy,
        n_passages=n_passages,
        max_context_tokens=options.get("max_tokens"),
    )
    stale = why_stale_for_passages(certificate, options.get("corpus_version"))
    return replace(
        result,
        certified=void is None and stale is None and certificate.promise is None,
        stale=void is None and stale is not None,
        void_because=void or stale,
    )


def passage_scope(
    policy: TrimPolicy, *, fingerprint: str | None, counter: TokenCounter, vectors: bool
) -> dict[str, Json]:
    """Return what a certificate for passages of another retriever depends on here."""
    embedded = None
    if vectors:
        from ragkit.embedding.builtin import BuiltinEmbedder

        embedded = (
            f"{BuiltinEmbedder.fingerprint} {BuiltinEmbedder.sentence_fingerprint} "
            f"embedded passages={EMBEDDED_PASSAGES}"
        )
    return passage_fingerprints(
        policy,
        retriever=fingerprint,
        reading=SpanChunker(name="whole", counter=counter).fingerprint,
        vectors=embedded,
        counter=counter.name,
    )


def are_compared(vectors: bool | None) -> bool:
    """Whether sentences are compared by vectors: None where numpy is installed."""
    return has_numpy() if vectors is None else vectors


def _result(kept: Trimmed, n_tokens_before: int, *, threshold: float | None) -> TrimmedPassages:
    pieces = tuple(
        Piece(
            text=item.text,
            passage=int(item.hit.chunk.document_id),
            start=item.start,
            end=item.end,
            n_tokens=item.n_tokens,
        )
        for item in kept.context
    )
    is_low = threshold is not None and kept.support is not None and kept.support < threshold
    return TrimmedPassages(
        pieces=pieces,
        n_tokens=sum(piece.n_tokens for piece in pieces),
        n_tokens_before=n_tokens_before,
        evidence=kept.support,
        threshold=threshold,
        refused=not pieces or is_low,
    )


async def atrim(
    question: str, passages: Sequence[Passage], **options: Unpack[TrimOptions]
) -> TrimmedPassages:
    """Run `trim` in a thread; the arguments and errors are the same.

    Args:
        question: Data, whatever characters it holds.
        passages: Best first: texts, or objects that have one.
        options: See `TrimOptions`.
    """
    return await asyncio.to_thread(lambda: trim(question, passages, **options))
