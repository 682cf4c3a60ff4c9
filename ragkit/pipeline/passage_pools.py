"""Passages of any retriever as pools to trim: read as one chunk each, compared with a question."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar, cast

from ragkit.chunking import SpanChunker
from ragkit.errors import ConfigError
from ragkit.pipeline.chunk_vectors import sentence_texts
from ragkit.pipeline.understanding import questions_of
from ragkit.text.markdown import markdown_parts
from ragkit.text.words import detect_language, query_terms, span_terms
from ragkit.trimming import BUILTIN_POLICY, PoolChunk, fused, measure
from ragkit.types import Chunk, Document, Hit, TokenCounter

if TYPE_CHECKING:
    from ragkit.embedding.builtin import BuiltinEmbedder

Passage: TypeAlias = object
"""A text, a mapping or an object with a text."""

MOST_KEPT_READINGS = 1_000
MOST_KEPT_CHARACTERS = 8_000
"""Texts that come again are not read again, unless they are longer. That is about 7 MB."""

MOST_CACHED_TEXTS = 20_000
"""Vectors that are kept for texts that come again: about 13 MB."""

EMBEDDED_PASSAGES = 5
"""So many passages of a question are embedded as a whole, which costs six times as much as their
sentences; the others have the mean of their sentences' vectors. At equal evidence or needs that
takes no more tokens than with all embedded, within the standard error (docs/anywhere.md)."""

_TEXT_NAMES = ("text", "page_content", "content")
# Of a text with a line break in front, so that a search skips from line to line.
_WRITTEN_AS_MARKDOWN = re.compile(
    r"\n {0,3}(?:```|~~~|[-*+] \S|\d{1,9}[.)] \S|#{1,6} \S|\|[^|\n]{0,200}\|)"
)

_V = TypeVar("_V")
_Pool: TypeAlias = tuple[Sequence[str], Sequence[PoolChunk]]
"""Index terms of a question, and passages prepared for trimming."""


class _Latest(Generic[_V]):
    """The values of the keys that were used last; safe to share between threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, _V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> _V | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Hashable, value: _V) -> None:
        with self._lock:
            self._kept[key] = value
            self._kept.move_to_end(key)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Reading:
    """A text as it is read: `n_tokens`, and one chunk unless it is blank.

    `counter` is what counted; it is held, so that no other one gets its identity. `terms` holds the
    index terms of the chunk's sentences, by language.
    """

    counter: TokenCounter
    n_tokens: int
    chunk: Chunk | None
    terms: dict[str | None, Sequence[Sequence[str]]] = field(
        default_factory=dict[str | None, Sequence[Sequence[str]]]
    )

    def terms_in(self, language: str | None) -> Sequence[Sequence[str]]:
        """Return the index terms of each sentence."""
        if self.chunk is None:
            return ()
        if language not in self.terms:
            first = self.chunk.start
            spans = [(a - first, b - first) for a, b in self.chunk.sentences]
            found = span_terms(self.chunk.text, spans, language=language)
            # Tuples of texts are no work for the garbage collector, as lists are.
            self.terms[language] = tuple(map(tuple, found))
        return self.terms[language]


_readings = _Latest[Reading](MOST_KEPT_READINGS)


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


def read_passage(text: str, counter: TokenCounter) -> Reading:
    """Return a text as it is read, with its units where it is written like Markdown."""
    key = text, id(counter)
    found = _readings.get(key)
    if found is None:
        found = _read(text, counter)
        if len(text) <= MOST_KEPT_CHARACTERS:
            _readings.put(key, found)
    return found


def _read(text: str, counter: TokenCounter) -> Reading:
    parts = tuple(markdown_parts(text)) if _WRITTEN_AS_MARKDOWN.search(f"\n{text}") else ()
    chunks = SpanChunker(name="whole", counter=counter).split(
        Document(id="", text=text, parts=parts)
    )
    if not chunks:
        return Reading(counter, counter.count(text), None)
    chunk = chunks[0]
    is_whole = chunk.sentences[0][0] == 0 and chunk.end == len(text)
    return Reading(counter, chunk.n_tokens if is_whole else counter.count(text), chunk)


def hits_of(passages: Sequence[Passage], readings: Sequence[Reading]) -> list[Hit]:
    """Return passages as hits; each is a document of its own, whose id is its number."""
    hits: list[Hit] = []
    for i, (passage, reading) in enumerate(zip(passages, readings, strict=True)):
        score = _get(passage, "score")
        is_number = isinstance(score, int | float) and not isinstance(score, bool)
        if reading.chunk is not None:
            # Scores of retrievers are on scales of their own, which a rank has not.
            rank_score = 1.0 / (10 + i)
            value = float(score) if is_number else rank_score  # type: ignore[arg-type]
            chunk = replace(reading.chunk, id=str(i), document_id=str(i))
            hits.append(Hit(rank=len(hits) + 1, score=value, chunk=chunk, title=_title(passage)))
    return hits


def pools_of(
    question: str, passages: Sequence[Passage], *, counter: TokenCounter, vectors: bool
) -> list[_Pool]:
    """Return a message's questions, each with its index terms and the passages to be trimmed."""
    readings = [read_passage(text, counter) for text in texts_of(passages)]
    return pools_of_readings(question, hits_of(passages, readings), readings, vectors=vectors)


def pools_of_readings(
    question: str, hits: Sequence[Hit], readings: Sequence[Reading], *, vectors: bool
) -> list[_Pool]:
    """Return the same of passages that were read."""
    sample = "\n".join(hit.chunk.text[:500] for hit in hits[:5])
    language = detect_language(sample)
    by_sentence = [r.terms_in(language) for r in readings if r.chunk is not None]
    pool = [PoolChunk(hit=h, terms=t) for h, t in zip(hits, by_sentence, strict=True)]
    pools: list[_Pool] = []
    for text in questions_of(question):
        terms = query_terms(text, language=language)
        pools.append((terms, _compared(text, terms, pool) if vectors and pool else pool))
    return pools


def _compared(
    question: str, terms: Sequence[str], pool: Sequence[PoolChunk]
) -> Sequence[PoolChunk]:
    """Return a pool with the cosines of its sentences.

    Which passages are embedded is decided by their best sentences, as far as these alone tell.
    """
    from ragkit.storage.vectors import compared, mean_vector, unpack_vector

    embedded = _embedded()
    texts = [sentence_texts(chunk.hit.chunk) for chunk in pool]
    packed = embedded.packed([text for some in texts for text in some], sentences=True)
    vector = embedded.embedder.embed_query(question)
    sentences: list[bytes] = []
    first = 0
    for some in texts:
        sentences.append(b"".join(packed[first : first + len(some)]))
        first += len(some)
    chosen = list(range(len(pool)))
    found = list(pool)
    if len(pool) > EMBEDDED_PASSAGES:
        for i, chunk in enumerate(pool):
            mean = mean_vector(sentences[i], list(map(len, texts[i])), len(vector))
            found[i] = compared(chunk.hit, chunk.terms, sentences[i], vector, of_chunk=mean)
        chosen = _best(terms, found)
    own = embedded.packed([pool[i].hit.chunk.text for i in chosen])
    for i, packed_whole in zip(chosen, own, strict=True):
        whole = unpack_vector(packed_whole)
        found[i] = compared(pool[i].hit, pool[i].terms, sentences[i], vector, of_chunk=whole)
    return found


def _best(terms: Sequence[str], pool: Sequence[PoolChunk]) -> list[int]:
    """Return the passages whose best sentences have the highest scores."""
    signals = measure(terms, pool)
    best: dict[int, float] = {}
    for place, score in zip(signals.sentences, fused(signals, BUILTIN_POLICY.weights), strict=True):
        best[place.chunk] = max(score, best.get(place.chunk, score))
    return sorted(best, key=lambda i: -best[i])[:EMBEDDED_PASSAGES]


class _Embedded:
    """The built-in embedder with the vectors of texts that were embedded last, as stored."""

    def __init__(self, embedder: BuiltinEmbedder) -> None:
        self.embedder = embedder
        self._kept = _Latest[bytes](MOST_CACHED_TEXTS)

    def packed(self, texts: Sequence[str], *, sentences: bool = False) -> list[bytes]:
        """Return the vector of each text."""
        from ragkit.storage.vectors import pack_sentences, pack_vector

        keys = [
            hashlib.sha256(f"{sentences}{t}".encode("utf-8", "replace")).digest() for t in texts
        ]
        known = {key: vector for key in keys if (vector := self._kept.get(key)) is not None}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            embed = self.embedder.embed_sentences if sentences else self.embedder.embed_documents
            rows = embed(list(missing.values()))
            pack = pack_sentences if sentences else pack_vector
            for i, key in enumerate(missing):
                known[key] = pack(rows[i : i + 1])
                self._kept.put(key, known[key])
        return [known[key] for key in keys]


@lru_cache(maxsize=1)
def _embedded() -> _Embedded:
    from ragkit.embedding.builtin import BuiltinEmbedder

    return _Embedded(BuiltinEmbedder())
