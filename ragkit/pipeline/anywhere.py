"""Trimming behind any retriever: passages in, the pieces to send out; no store, and no files.

    from ragkit import trim

    trimmed = trim(question, [passage.text for passage in found])

A passage is a text, or an object that has one (`text`, `page_content` or `content`), with an `id`,
a `score` and a `title` where there are such. With numpy (`local`), sentences are compared by the
vectors of the built-in embedder, as in a store; without it, by words.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias, Unpack, cast

from ragkit.brief import counted
from ragkit.chunking import SpanChunker
from ragkit.errors import ConfigError
from ragkit.pipeline.chunk_vectors import sentence_texts
from ragkit.pipeline.opening import has_numpy, open_counter
from ragkit.pipeline.options import TrimOptions, check_names
from ragkit.pipeline.understanding import questions_of
from ragkit.text.markdown import markdown_parts
from ragkit.text.words import detect_language, index_terms, query_terms
from ragkit.trimming import (
    PoolChunk,
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
from ragkit.types import Chunk, Document, Hit, Json, TokenCounter

if TYPE_CHECKING:
    from ragkit.embedding.builtin import BuiltinEmbedder
    from ragkit.types import Vectors

Passage: TypeAlias = object
"""A text, a mapping or an object with a text."""

MOST_CACHED_TEXTS = 20_000
"""Vectors that are kept for texts that come again: about 16 MB."""

_TEXT_NAMES = ("text", "page_content", "content")
_WRITTEN_AS_MARKDOWN = re.compile(
    r"(?:\A|\n) {0,3}(?:```|~~~|[-*+] \S|\d{1,9}[.)] \S|#{1,6} \S|\|[^|\n]{0,200}\|)"
)


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
    before = sum(map(counter.count, texts))
    if chosen is None:  # off
        hits = _hits(passages, texts, counter)
        whole = untrimmed(hits, counter=counter, max_context_tokens=max_tokens)
        return _result(whole, before, threshold=None)
    if not (isinstance(policy, str) and policy in BUNDLED):
        passages = passages[: chosen.pool]
    with_vectors = are_compared(options.get("vectors"))
    pools = pools_of(question, passages, counter=counter, vectors=with_vectors)
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

        embedded = f"{BuiltinEmbedder.fingerprint} {BuiltinEmbedder.sentence_fingerprint}"
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


def texts_of(passages: Sequence[Passage]) -> list[str]:
    """Return the text of each passage; raises `ConfigError` where one has none."""
    return [_text(passage, i) for i, passage in enumerate(passages)]


def _text(passage: Passage, number: int) -> str:
    if isinstance(passage, str):
        return passage
    found = next((value for name in _TEXT_NAMES if (value := _get(passage, name))), None)
    if found is None and (node := _get(passage, "node")) is not None:
        return _text(node, number)
    if not isinstance(found, str):
        raise ConfigError(
            f"passage {number} ({type(passage).__name__}) has no text; allowed: a text, or an "
            f"object with one of {' '.join(_TEXT_NAMES)}"
        )
    return found


def _get(passage: Passage, name: str) -> object:
    if isinstance(passage, Mapping):
        return cast("Mapping[object, object]", passage).get(name)
    found: object = getattr(passage, name, None)
    return found


def _title(passage: Passage) -> str:
    metadata = _get(passage, "metadata") or _get(passage, "meta")
    title = _get(passage, "title") or (metadata and _get(metadata, "title"))
    return title if isinstance(title, str) else ""


def _hits(passages: Sequence[Passage], texts: Sequence[str], counter: TokenCounter) -> list[Hit]:
    hits: list[Hit] = []
    for i, (passage, text) in enumerate(zip(passages, texts, strict=True)):
        score = _get(passage, "score")
        is_number = isinstance(score, int | float) and not isinstance(score, bool)
        chunk = _chunk(i, text, counter)
        if chunk is not None:
            # Scores of retrievers are on scales of their own, which a rank has not.
            rank_score = 1.0 / (10 + i)
            value = float(score) if is_number else rank_score  # type: ignore[arg-type]
            hits.append(Hit(rank=len(hits) + 1, score=value, chunk=chunk, title=_title(passage)))
    return hits


def _chunk(number: int, text: str, counter: TokenCounter) -> Chunk | None:
    """Return a passage as one chunk, with its units where it is written like Markdown."""
    parts = tuple(markdown_parts(text)) if _WRITTEN_AS_MARKDOWN.search(text) else ()
    document = Document(id=str(number), text=text, parts=parts)
    chunks = SpanChunker(name="whole", counter=counter).split(document)
    return chunks[0] if chunks else None


def pools_of(
    question: str, passages: Sequence[Passage], *, counter: TokenCounter, vectors: bool
) -> list[tuple[Sequence[str], Sequence[PoolChunk]]]:
    """Return a message's questions, each with its index terms and the passages to be trimmed.

    A passage is a document of its own, whose id is its number.
    """
    hits = _hits(passages, texts_of(passages), counter)
    return [_pool(text, hits, vectors=vectors) for text in questions_of(question)]


def _pool(
    question: str, hits: Sequence[Hit], *, vectors: bool
) -> tuple[Sequence[str], Sequence[PoolChunk]]:
    sample = "\n".join(hit.chunk.text[:500] for hit in hits[:5])
    language = detect_language(sample)
    terms = query_terms(question, language=language)
    by_sentence = [
        [index_terms(text, language=language) for text in sentence_texts(hit.chunk)] for hit in hits
    ]
    if not vectors or not hits:
        return terms, [PoolChunk(hit=h, terms=t) for h, t in zip(hits, by_sentence, strict=True)]
    from ragkit.storage.rows import pack_sentences, pack_vector, pool_chunk

    embedded = _embedded()
    of_chunks = embedded.vectors([hit.chunk.text for hit in hits])
    of_sentences = embedded.vectors(
        [text for hit in hits for text in sentence_texts(hit.chunk)], sentences=True
    )
    vector = embedded.embedder.embed_query(question)
    pool: list[PoolChunk] = []
    first = 0
    for hit, words, of_chunk in zip(hits, by_sentence, of_chunks, strict=True):
        rows = of_sentences[first : first + len(hit.chunk.sentences)]
        first += len(hit.chunk.sentences)
        pool.append(
            pool_chunk(
                hit,
                "\n".join(map(" ".join, words)),
                pack_sentences(rows),
                vector,
                of_chunk=pack_vector(of_chunk),
            )
        )
    return terms, pool


class _Embedded:
    """The built-in embedder with the vectors of texts that were embedded last."""

    def __init__(self, embedder: BuiltinEmbedder) -> None:
        self.embedder = embedder
        self._kept: OrderedDict[bytes, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    def vectors(self, texts: Sequence[str], *, sentences: bool = False) -> Vectors:
        """Return a row for each text."""
        from ragkit.storage.rows import join_vectors

        keys = [
            hashlib.sha256(f"{sentences}{t}".encode("utf-8", "replace")).digest() for t in texts
        ]
        with self._lock:
            known = {key: self._kept[key] for key in keys if key in self._kept}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            embed = self.embedder.embed_sentences if sentences else self.embedder.embed_documents
            rows = embed(list(missing.values()))
            known |= {key: rows[i : i + 1].copy() for i, key in enumerate(missing)}
        with self._lock:
            for key in keys:
                self._kept[key] = known[key]
                self._kept.move_to_end(key)
            while len(self._kept) > MOST_CACHED_TEXTS:
                self._kept.popitem(last=False)
        return join_vectors([known[key] for key in keys])


@lru_cache(maxsize=1)
def _embedded() -> _Embedded:
    from ragkit.embedding.builtin import BuiltinEmbedder

    return _Embedded(BuiltinEmbedder())
