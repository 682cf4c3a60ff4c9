"""Cutting documents into chunks: spans of their text, with exact offsets by construction.

Every chunker splits a document into *atoms* (sentences, table rows, words), which it never cuts,
and packs atoms up to the token limit. A sentence longer than the limit is cut at white space, or
anywhere if it has none. The work is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ragkit.errors import ConfigError
from ragkit.text.sentences import sentence_spans
from ragkit.text.wordpiece import WordPiece
from ragkit.types import (
    CHUNKER_NAMES,
    Chunk,
    ChunkerName,
    Document,
    Mark,
    Span,
    TokenCounter,
)

DEFAULT_CHUNK_TOKENS = 400

_WIDEST_TOKEN = 6
"""Characters, white space included, that a token takes on average: hardly ever more."""

_SENTENCE, _PARAGRAPH, _SECTION = 1, 2, 3
_WORD = re.compile(r"\S+")
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")


@dataclass(slots=True)
class _Atom:
    start: int
    end: int
    n_tokens: int
    strength: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanChunker:
    """Packs a document's atoms into chunks of at most `max_tokens`.

    `recursive` cuts at the strongest boundary in a chunk's second half: a heading or page before
    a paragraph before a sentence. `markdown` cuts before every heading as well. `sentence` fills
    chunks with whole sentences, `tokens` with whole words; `whole` makes one chunk per document,
    however long.
    """

    name: ChunkerName
    counter: TokenCounter = field(repr=False)
    max_tokens: int = DEFAULT_CHUNK_TOKENS
    overlap_tokens: int = 0

    def __post_init__(self) -> None:
        """Check the settings; raises `ConfigError`."""
        if self.name not in CHUNKER_NAMES:
            raise ConfigError(f"chunker {self.name!r}; allowed: {' '.join(CHUNKER_NAMES)}")
        if self.max_tokens < 1:
            raise ConfigError(f"chunk tokens {self.max_tokens}; allowed: 1 or more")
        if not 0 <= self.overlap_tokens <= self.max_tokens // 2:
            raise ConfigError(
                f"chunk overlap {self.overlap_tokens}; allowed: 0 to {self.max_tokens // 2}, "
                f"half of the {self.max_tokens} tokens of a chunk"
            )

    @property
    def fingerprint(self) -> str:
        """Name, limits and counter."""
        if self.name == "whole":
            return "whole/1"
        return f"{self.name}/1 {self.max_tokens} {self.overlap_tokens} {self.counter.name}"

    def split(self, document: Document) -> Sequence[Chunk]:
        """Return chunks in order of `start`; together they hold all text but white space."""
        sentences = _sentences(document)
        return self._chunks(document, list(self._spans(document, sentences)), sentences)

    def _spans(
        self, document: Document, sentences: Sequence[Span]
    ) -> Iterator[tuple[int, int, int]]:
        """Yield start, end and number of tokens of each chunk."""
        if not sentences:
            return
        text, first, last = document.text, sentences[0][0], sentences[-1][1]
        if self.name == "whole":
            yield first, last, self.counter.count(text[first:last])
            return
        if self.name in {"recursive", "sentence"} and self._may_be_one(text, sentences):
            # Packing would find out more slowly that all of it is one chunk.
            n_tokens = self.counter.count(text[first:last])
            if n_tokens <= self.max_tokens:
                yield first, last, n_tokens
                return
        atoms = list(self._atoms(document, sentences, self._counts(text, sentences)))
        for a, b in self._pack(atoms):
            pack = atoms[a:b]
            first, last, ends = pack[0].start, pack[-1].end, [atom.end for atom in pack[:-1]]
            n_tokens = sum(atom.n_tokens for atom in pack)
            yield first, last, self._total(text, first, last, ends, n_tokens)

    def _may_be_one(self, text: str, sentences: Sequence[Span]) -> bool:
        """Whether a text is short, and has as many tokens as its sentences together."""
        is_short = sentences[-1][1] - sentences[0][0] <= _WIDEST_TOKEN * self.max_tokens
        ends = [end for _, end in sentences[:-1]]
        return is_short and isinstance(self.counter, WordPiece) and self.counter.adds_up(text, ends)

    def _counts(self, text: str, spans: Sequence[Span]) -> Sequence[int]:
        if isinstance(self.counter, WordPiece):
            return self.counter.count_spans(text, spans)
        return [self.counter.count(text[a:b]) for a, b in spans]

    def _total(self, text: str, start: int, end: int, ends: Sequence[int], n_tokens: int) -> int:
        """Return the tokens of a chunk whose atoms have `n_tokens`, all but the last at `ends`."""
        if isinstance(self.counter, WordPiece) and self.counter.adds_up(text, ends):
            return n_tokens
        return self.counter.count(text[start:end])

    def _atoms(
        self, document: Document, sentences: Sequence[Span], counts: Sequence[int]
    ) -> Iterator[_Atom]:
        strengths = _boundaries(document)
        position = 0
        for (start, end), n_tokens in zip(sentences, counts, strict=True):
            strength = _SENTENCE
            while position < len(strengths) and strengths[position][0] <= start:
                strength = max(strength, strengths[position][1])
                position += 1
            if self.name == "tokens":
                pieces = [m.span() for m in _WORD.finditer(document.text, start, end)]
            elif n_tokens <= self.max_tokens:
                yield _Atom(start, end, n_tokens, strength)
                continue
            else:
                pieces = [(start, end)]
            for piece in pieces:
                for a, b in self._cut(document.text, *piece):
                    yield _Atom(a, b, self.counter.count(document.text[a:b]), strength)
                    strength = _SENTENCE

    def _cut(self, text: str, start: int, end: int) -> Iterator[Span]:
        """Cut a span that may exceed the limit into spans that do not."""
        while start < end:
            stop = self._longest_prefix(text, start, end)
            if stop < end:
                space = _last_space(text, start + (stop - start) // 2, stop)
                stop = space if space is not None else stop
            yield start, stop
            start = stop
            while start < end and text[start].isspace():
                start += 1

    def _longest_prefix(self, text: str, start: int, end: int) -> int:
        low, high = start + 1, end
        while low < high:
            middle = (low + high + 1) // 2
            if self.counter.count(text[start:middle]) <= self.max_tokens:
                low = middle
            else:
                high = middle - 1
        return low

    def _pack(self, atoms: Sequence[_Atom]) -> Iterator[tuple[int, int]]:
        """Yield ranges of atoms, one per chunk."""
        first, n_tokens, i, cut = 0, 0, 0, 0
        while i < len(atoms):
            forced = self.name == "markdown" and atoms[i].strength == _SECTION and i > first
            if i == first or (not forced and n_tokens + atoms[i].n_tokens <= self.max_tokens):
                n_tokens += atoms[i].n_tokens
                i += 1
                continue
            # With overlap a chunk begins before the last cut, and must end after it.
            cut = i if forced else self._best_cut(atoms, max(first, cut), i)
            yield first, cut
            first = cut if forced else self._step_back(atoms, first, cut)
            n_tokens = sum(atom.n_tokens for atom in atoms[first:i])
            while first < cut and n_tokens + atoms[i].n_tokens > self.max_tokens:
                n_tokens -= atoms[first].n_tokens
                first += 1
        if first < len(atoms):
            yield first, len(atoms)

    def _best_cut(self, atoms: Sequence[_Atom], first: int, stop: int) -> int:
        """Return where to end the chunk that starts at `first` and cannot hold `stop`."""
        if self.name in {"sentence", "tokens"}:
            return stop
        best, strength, n_tokens = stop, atoms[stop].strength, 0
        for i in range(stop - 1, first, -1):
            n_tokens += atoms[i].n_tokens
            if 2 * n_tokens > self.max_tokens or strength == _SECTION:
                break
            if atoms[i].strength > strength:
                best, strength = i, atoms[i].strength
        return best

    def _step_back(self, atoms: Sequence[_Atom], first: int, cut: int) -> int:
        if not self.overlap_tokens:
            # Atoms without tokens, such as U+FFFD, would fit into an overlap of zero.
            return cut
        n_tokens, start = 0, cut
        while start - 1 > first and n_tokens + atoms[start - 1].n_tokens <= self.overlap_tokens:
            start -= 1
            n_tokens += atoms[start].n_tokens
        return start

    def _chunks(
        self,
        document: Document,
        spans: Sequence[tuple[int, int, int]],
        sentences: Sequence[Span],
    ) -> list[Chunk]:
        chunks: list[Chunk] = []
        first, mark = 0, 0
        for start, end, n_tokens in spans:
            while first < len(sentences) and sentences[first][1] <= start:
                first += 1
            while mark < len(document.marks) and document.marks[mark].start <= start:
                mark += 1
            last_mark = mark
            while last_mark < len(document.marks) and document.marks[last_mark].start < end:
                last_mark += 1
            last = first
            while last < len(sentences) and sentences[last][0] < end:
                last += 1
            inside = list(sentences[first:last])
            if inside:
                # Only a sentence that was cut reaches beyond its chunk.
                inside[0] = max(inside[0][0], start), inside[0][1]
                inside[-1] = inside[-1][0], min(inside[-1][1], end)
            text = document.text[start:end]
            chunks.append(
                Chunk(
                    id=chunk_id(document.id, (start, end), text, self.fingerprint),
                    document_id=document.id,
                    start=start,
                    end=end,
                    text=text,
                    n_tokens=n_tokens,
                    sentences=tuple(inside),
                    marks=document.marks[max(0, mark - 1) : last_mark],
                )
            )
        return chunks


def chunk_id(document_id: str, span: Span, text: str, chunker_fingerprint: str) -> str:
    """Return 32 hexadecimal digits of the SHA-256 over everything that identifies a chunk."""
    import hashlib
    from json.encoder import encode_basestring_ascii as quoted

    # As `json.dumps` writes the list of these values.
    parts = (quoted(document_id), *map(str, span), quoted(text), quoted(chunker_fingerprint))
    identity = f"[{', '.join(parts)}]"
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def _sentences(document: Document) -> list[Span]:
    """Sentence spans that never cross a structural boundary; a table row is one sentence."""
    text, spans = document.text, list[Span]()
    edges = [mark.start for mark in document.marks if 0 < mark.start < len(text)]
    starts = [0, *edges]
    kinds = _kinds_at(document.marks, starts)
    for start, end, kind in zip(starts, [*edges, len(text)], kinds, strict=True):
        if kind == "row" and end - start <= 1000:
            trimmed = _trim(text, start, end)
            if trimmed is not None:
                spans.append(trimmed)
        else:
            spans.extend(sentence_spans(text, start=start, end=end))
    return spans


def _kinds_at(marks: Sequence[Mark], starts: Sequence[int]) -> list[str]:
    kinds = {mark.start: mark.kind for mark in marks}
    return [kinds.get(start, "text") for start in starts]


def _trim(text: str, start: int, end: int) -> Span | None:
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip())
    right = len(piece.rstrip())
    return (start + left, start + right) if left < right else None


def _boundaries(document: Document) -> list[tuple[int, int]]:
    """Return (offset, strength) of paragraph and section boundaries, in order."""
    found = [(match.end(), _PARAGRAPH) for match in _BLANK_LINE.finditer(document.text)]
    found += [
        (mark.start, _SECTION if mark.kind in {"heading", "page"} else _PARAGRAPH)
        for mark in document.marks
    ]
    return sorted(found)


def _last_space(text: str, start: int, stop: int) -> int | None:
    for i in range(stop - 1, start, -1):
        if text[i].isspace():
            return i
    return None
