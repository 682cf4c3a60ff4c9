"""Cutting documents into chunks: spans of their text, with exact offsets by construction.

Every chunker splits a document into *atoms* (units such as sentences and table rows, or words),
which it never cuts, and packs atoms up to the token limit. An atom longer than the limit is cut at
white space, or anywhere if it has none. The work is linear in the length of the text.
"""

from __future__ import annotations

import itertools
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ragkit.errors import ConfigError
from ragkit.text.sentences import APART, SECTION, SENTENCE, refers_back
from ragkit.text.wordpiece import LONGEST_WORD, WordPiece
from ragkit.types import (
    CHUNKER_NAMES,
    Chunk,
    ChunkerName,
    Document,
    Mark,
    Need,
    Span,
    TokenCounter,
    Unit,
)

if TYPE_CHECKING:
    from ragkit.text.outline import Outline

DEFAULT_CHUNK_TOKENS = 400

_WIDEST_TOKEN = 6
"""Characters, white space included, that a token takes on average: hardly ever more."""

_LONGEST_REFERENT = 600
"""Characters of a sentence that another one needs; what is longer is none."""

UNITS_AT_ONCE = 4096
"""Units of a document that are packed at a time, if it has more."""

_UNSETTLED_CHUNKS = 3
"""Chunks that may end elsewhere when more units follow: a procedure that fits into one is not cut,
so that where the one before it ends depends on it, too."""

_BORDERS_KEPT = 20
"""Chunks that came before whose borders may divide what goes on: the longest code kept whole."""

_WORD = re.compile(r"\S+")


@dataclass(slots=True)
class _Atom:
    start: int
    end: int
    n_tokens: int
    strength: int
    is_joined: bool = False
    """Whether a cut before it would divide a procedure that fits into a chunk, or leave what
    introduces it behind."""
    is_of_cut_word: bool = False
    """Whether `n_tokens` is what it may have beside others, more than it has alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanChunker:
    """Packs a document's atoms into chunks of at most `max_tokens`.

    `recursive` cuts at the strongest boundary in a chunk's second half: a heading or page before
    a paragraph before a sentence, and never inside a procedure that fits into a chunk. `markdown`
    cuts before every heading as well. `sentence` fills chunks with whole sentences, `tokens` with
    whole words; `whole` makes one chunk per document, however long.

    With `units` the document's parts decide what an atom is; without them all text is cut as
    running text, as the first version did.
    """

    name: ChunkerName
    counter: TokenCounter = field(repr=False)
    max_tokens: int = DEFAULT_CHUNK_TOKENS
    overlap_tokens: int = 0
    units: bool = True

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
        version = 2 if self.units else 1
        if self.name == "whole":
            return f"whole/{version}"
        limits = f"{self.max_tokens} {self.overlap_tokens}"
        return f"{self.name}/{version} {limits} {self.counter.name}"

    def split(self, document: Document) -> Sequence[Chunk]:
        """Return chunks in order of `start`; together they hold all text but white space."""
        return list(self.stream(document))

    def stream(self, document: Document) -> Iterator[Chunk]:
        """Yield the same chunks; of a large document only some are held at a time."""
        from ragkit.text.outline import Outline  # asking needs no chunks

        outline = Outline(document, with_parts=self.units)
        units = outline.units()
        n_at_once = sys.maxsize if self.name == "whole" else UNITS_AT_ONCE
        held, done, n_before, is_last = list[Unit](), list[Span](), 0, False
        start = cut = 0
        while not is_last:
            more = list(itertools.islice(units, max(n_at_once, len(held))))
            held, is_last = held + more, len(more) < n_at_once
            spans = list(self._spans(outline, _from(start, held[n_before:]), cut))
            # How the last ones end depends on what follows.
            settled = len(spans) if is_last else max(0, len(spans) - _UNSETTLED_CHUNKS)
            borders = [*done, *((first, last) for first, last, _ in spans)]
            complete: Sequence[Unit] = held
            if outline.has_parts and len(borders) > 1:
                from ragkit.text.borders import across_borders

                complete = across_borders(document.text, held, borders)
            yield from self._chunks(document, outline, spans[:settled], complete)
            if settled < len(spans):
                # Packing goes on from here; what is cut by a border may begin some chunks before.
                start, cut = spans[settled][0], spans[settled - 1][1] if settled else cut
                done = borders[: len(done) + settled][-_BORDERS_KEPT:]
                kept = done[0][0] if done else start
                n_dropped = next(i for i, unit in enumerate(held) if unit.end > kept) - 1
                del held[: max(0, n_dropped)]
                n_before = next(i for i, unit in enumerate(held) if unit.end > start)

    def _spans(
        self, outline: Outline, units: Sequence[Unit], cut: int
    ) -> Iterator[tuple[int, int, int]]:
        """Yield start, end and number of tokens of each chunk; those before them end at `cut`."""
        if not units:
            return
        text, first, last = outline.text, units[0].start, units[-1].end
        if self.name == "whole":
            yield first, last, self.counter.count(text[first:last])
            return
        sentences = [(unit.start, unit.end) for unit in units]
        introduced = _introduced(units)
        bounds = outline.boundaries(first, last, introduced)
        apart = any(strength == APART for _, strength in bounds)
        if not apart and self._is_packed_by_sentence and self._may_be_one(text, sentences):
            # Packing would find out more slowly that all of it is one chunk.
            n_tokens = self.counter.count(text[first:last])
            if n_tokens <= self.max_tokens:
                yield first, last, n_tokens
                return
        atoms = list(self._atoms(text, sentences, self._counts(text, sentences), bounds))
        if self.name in {"recursive", "markdown"}:
            _join(atoms, units, introduced, self.max_tokens)
        packed = list(self._packed(text, atoms, cut))
        if isinstance(self.counter, WordPiece) and any(n > self.max_tokens for *_, n in packed):
            _weigh_cut_words(text, atoms, self.counter)
            packed = list(self._packed(text, atoms, cut))
        yield from packed

    def _packed(
        self, text: str, atoms: Sequence[_Atom], cut: int
    ) -> Iterator[tuple[int, int, int]]:
        for a, b in self._pack(atoms, sum(atom.end <= cut for atom in atoms)):
            pack = atoms[a:b]
            first, last, ends = pack[0].start, pack[-1].end, [atom.end for atom in pack[:-1]]
            if any(atom.is_of_cut_word for atom in pack):
                yield first, last, self.counter.count(text[first:last])
                continue
            n_tokens = sum(atom.n_tokens for atom in pack)
            yield first, last, self._total(text, first, last, ends, n_tokens)

    @property
    def _is_packed_by_sentence(self) -> bool:
        return self.name in {"recursive", "sentence"}

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
        self,
        text: str,
        sentences: Sequence[Span],
        counts: Sequence[int],
        strengths: Sequence[tuple[int, int]],
    ) -> Iterator[_Atom]:
        position = 0
        for (start, end), n_tokens in zip(sentences, counts, strict=True):
            strength = SENTENCE
            while position < len(strengths) and strengths[position][0] <= start:
                strength = max(strength, strengths[position][1])
                position += 1
            if self.name == "tokens":
                pieces = [m.span() for m in _WORD.finditer(text, start, end)]
            elif n_tokens <= self.max_tokens:
                yield _Atom(start, end, n_tokens, strength)
                continue
            else:
                pieces = [(start, end)]
            for piece in pieces:
                for a, b in self._cut(text, *piece):
                    yield _Atom(a, b, self.counter.count(text[a:b]), strength)
                    strength = SENTENCE

    def _cut(self, text: str, start: int, end: int) -> Iterator[Span]:
        """Cut a span that may exceed the limit into spans that do not."""
        while start < end:
            stop = self._longest_prefix(text, start, end)
            if stop < end:
                line = text.rfind("\n", start, stop) if self.units else -1
                middle = start + (stop - start) // 2
                stop = line if line > 0 else _last_space(text, middle, stop) or stop
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

    def _pack(self, atoms: Sequence[_Atom], cut: int) -> Iterator[tuple[int, int]]:
        """Yield ranges of atoms, one per chunk; those before `cut` were the last one's, too."""
        first, n_tokens, i = 0, 0, 0
        while i < len(atoms):
            always = SECTION if self.name == "markdown" else APART
            forced = atoms[i].strength >= always and i > first
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
        whole = stop
        while whole > first and atoms[whole].is_joined:
            whole -= 1
        stop = whole if whole > first else stop
        best, strength, n_tokens = stop, atoms[stop].strength, 0
        for i in range(stop - 1, first, -1):
            n_tokens += atoms[i].n_tokens
            if 2 * n_tokens > self.max_tokens or strength >= SECTION:
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
        outline: Outline,
        spans: Iterable[tuple[int, int, int]],
        units: Sequence[Unit],
    ) -> Iterator[Chunk]:
        text, first = document.text, 0
        for at, end, n_tokens in spans:
            while first < len(units) and units[first].end <= at:
                first += 1
            start = at
            if outline.has_parts:
                start = _line_start(text, at, outline.marks_of(at, at))
            last = first
            while last < len(units) and units[last].start < end:
                last += 1
            inside = [(unit.start, unit.end) for unit in units[first:last]]
            if inside:
                # Only a sentence that was cut reaches beyond its chunk.
                inside[0] = max(inside[0][0], start), inside[0][1]
                inside[-1] = inside[-1][0], min(inside[-1][1], end)
            its_units = _within(text, units[first:last], inside)
            before = units[first - 1] if first else None
            if self.units and inside and before is not None and before.kind == "sentence":
                its_units = _with_referent(text, (before.start, before.end), inside, its_units)
            yield Chunk(
                id=chunk_id(document.id, (start, end), text[start:end], self.fingerprint),
                document_id=document.id,
                start=start,
                end=end,
                text=text[start:end],
                n_tokens=n_tokens,
                sentences=tuple(inside),
                marks=tuple(outline.marks_of(at, end)),
                units=its_units,
            )


def _weigh_cut_words(text: str, atoms: Sequence[_Atom], counter: WordPiece) -> None:
    """Let the parts of a word count as much as they can together: a token for each letter.

    It may have more tokens than its parts, of which each may be one unknown token.
    """
    for before, atom in itertools.pairwise(atoms):
        n_letters = counter.letters_across(text, atom.start) if before.end == atom.start else 0
        if n_letters > LONGEST_WORD:
            for part in (before, atom):
                whole = len(unicodedata.normalize("NFD", text[part.start : part.end]))
                part.n_tokens = max(part.n_tokens, whole)
        elif n_letters:
            atom.n_tokens += n_letters
        if n_letters:
            before.is_of_cut_word = atom.is_of_cut_word = True


def _join(
    atoms: Sequence[_Atom], units: Sequence[Unit], introduced: set[int], max_tokens: int
) -> None:
    """Note which atoms belong into the same chunk as the one before them."""
    for atom in atoms:
        atom.is_joined = atom.start in introduced
    procedures = {unit.start: unit.procedure for unit in units if unit.procedure is not None}
    for procedure, some in itertools.groupby(atoms, key=lambda atom: procedures.get(atom.start)):
        together = list(some)
        if procedure is not None and sum(atom.n_tokens for atom in together) <= max_tokens:
            for atom in together[1:]:
                atom.is_joined = True


def _from(start: int, units: list[Unit]) -> list[Unit]:
    """Return units of which the first may be cut."""
    return [replace(units[0], start=max(start, units[0].start)), *units[1:]] if units else []


def _within(text: str, units: Sequence[Unit], spans: Sequence[Span]) -> tuple[Unit, ...]:
    """Return units with the spans that are left of them; none where all are plain sentences."""
    if all(u.kind == "sentence" and not u.needs and not u.procedure for u in units):
        return ()
    from ragkit.text.borders import part_of

    return tuple(part_of(text, unit, span) for unit, span in zip(units, spans, strict=True))


def _with_referent(
    text: str, before: Span, inside: Sequence[Span], units: tuple[Unit, ...]
) -> tuple[Unit, ...]:
    """Give a chunk's first sentence the one before it where it opens with a pronoun."""
    start, end = inside[0]
    first = units[0] if units else Unit(start=start, end=end)
    if first.kind != "sentence" or before[1] > start or not refers_back(text[start:end]):
        return units
    if text.count("\n", before[1], start) > 1 or before[1] - before[0] > _LONGEST_REFERENT:
        return units  # Another paragraph, or what is no sentence.
    need = Need(start=before[0], end=before[1], role="referent", text=text[slice(*before)])
    rest = units[1:] or [Unit(start=a, end=b) for a, b in inside[1:]]
    return (replace(first, needs=(need, *first.needs)), *rest)


def _line_start(text: str, start: int, marks: Sequence[Mark]) -> int:
    """Return where the line begins, if only its indentation, and no mark, stands before `start`.

    How deep code and nested items stand is part of what they say.
    """
    first = start
    while first and text[first - 1] in " \t":
        first -= 1
    is_indent = first == 0 or text[first - 1] == "\n"
    return first if is_indent and all(mark.start <= first for mark in marks) else start


def chunk_id(document_id: str, span: Span, text: str, chunker_fingerprint: str) -> str:
    """Return 32 hexadecimal digits of the SHA-256 over everything that identifies a chunk."""
    import hashlib
    from json.encoder import encode_basestring_ascii as quoted

    # As `json.dumps` writes the list of these values.
    parts = (quoted(document_id), *map(str, span), quoted(text), quoted(chunker_fingerprint))
    identity = f"[{', '.join(parts)}]"
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def _introduced(units: Sequence[Unit]) -> set[int]:
    """Return where units start that need the one before them, and where markup between starts."""
    found: set[int] = set()
    before: Unit | None = None
    between: list[int] = []
    for unit in units:
        if unit.kind == "markup":
            between.append(unit.start)
            continue
        if before is not None and any(need.end == before.end for need in unit.needs):
            found.update([*between, unit.start])
        before, between = unit, []
    return found


def _last_space(text: str, start: int, stop: int) -> int | None:
    for i in range(stop - 1, start, -1):
        if text[i].isspace():
            return i
    return None
