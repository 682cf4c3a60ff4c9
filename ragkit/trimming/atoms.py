"""Atoms: a unit of the pool together with all that it cannot be read without."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from ragkit.text.sentences import refers_back
from ragkit.trimming.policy import TrimPolicy
from ragkit.trimming.signals import PoolChunk
from ragkit.types import Chunk, Need, Unit, UnitKind

STRUCTURED_KINDS: tuple[UnitKind, ...] = ("item", "step", "row", "code", "definition", "option")
"""Kinds of units that running text does not have."""

PLAIN = Unit(start=0, end=0)
"""What is known of a sentence whose document's structure is unknown."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A unit of the pool, by the index of its chunk and its own in the chunk, or a borrowed need.

    `need` is what another unit needs it for; without `position` it stands in no chunk of the pool.
    """

    chunk: int
    position: int | None
    need: Need | None = None


class Atoms:
    """Finds what is kept together with each unit of a pool."""

    def __init__(self, pool: Sequence[PoolChunk], policy: TrimPolicy) -> None:
        self._chunks = [chunk.hit.chunk for chunk in pool]
        self._policy = policy
        self._at: dict[tuple[str, int], tuple[int, int]] = {}
        self._steps: dict[tuple[str, int, int], list[tuple[int, int]]] = {}
        self._introduced: dict[tuple[str, int], tuple[str, int, int]] = {}
        for i, chunk in enumerate(self._chunks):
            for j, unit in enumerate(chunk.units):
                self._at.setdefault((chunk.document_id, unit.start), (i, j))
                if unit.procedure is not None:
                    key = (chunk.document_id, *unit.procedure)
                    self._steps.setdefault(key, []).append((i, j))
                    self._introduced |= {
                        (chunk.document_id, need.start): key
                        for need in unit.needs
                        if need.role == "lead_in" and need.start < unit.procedure[0]
                    }
        for places in self._steps.values():
            places.sort(key=lambda place: self._chunks[place[0]].units[place[1]].start)

    def of(self, i: int, j: int, *, whole: bool = True) -> Iterator[Piece]:
        """Yield a unit and what it is kept with: first itself, then its procedure, then needs.

        What only introduces others is kept with the first of them. Unless it is to be `whole`, the
        rest of the procedure is left out.
        """
        wanted, known = [(i, j)], {(i, j)}
        for place in wanted:  # What is introduced may introduce something itself.
            yield from self._with_needs(*place, whole=whole)
            for member in (place, *(self.procedure(*place) if whole else ())):
                introduced = self._next_introduced(*member)
                if introduced is not None and introduced not in known:
                    known.add(introduced)
                    wanted.append(introduced)

    def _with_needs(self, i: int, j: int, *, whole: bool) -> Iterator[Piece]:
        chunk = self._chunks[i]
        together = [(i, j), *(self.procedure(i, j) if whole else ())]
        beside = _neighbours_and_heading(chunk, j, self._policy)
        yield from (Piece(*place) for place in together)
        for place in (*together, *((i, k) for k in beside)):
            yield from self._needs(*place)
        yield from (Piece(i, k) for k in beside)

    def _next_introduced(self, i: int, j: int) -> tuple[int, int] | None:
        """Return where the first is that a unit introduces, unless it is kept with it anyway."""
        units, k = self._chunks[i].units, _first_introduced(self._chunks[i], j)
        if k is None or (units[k].procedure and units[k].procedure == units[j].procedure):
            return None
        return i, k

    def is_alone(self, i: int, j: int) -> bool:
        """Whether a unit is kept with nothing else, as a sentence of prose is."""
        chunk = self._chunks[i]
        if self._policy.neighbours or self._policy.headings:
            return False
        if self._policy.units and j and _needs_the_one_before(chunk, j):
            return False
        if not chunk.units:
            return (chunk.document_id, chunk.sentences[j][0]) not in self._introduced
        brings = chunk.units[j].needs or self.procedure(i, j)
        return not brings and _first_introduced(chunk, j) is None

    def procedure(self, i: int, j: int) -> Sequence[tuple[int, int]]:
        """Return where in the pool the procedure is that a unit stands in, or introduces."""
        chunk = self._chunks[i]
        procedure = unit_of(chunk, j).procedure
        if procedure is None:
            key = self._introduced.get((chunk.document_id, chunk.sentences[j][0]))
        else:
            key = chunk.document_id, *procedure
        return () if key is None else self._steps[key]

    def span(self, piece: Piece) -> tuple[str, int, int]:
        """Return the document of a piece and where it stands there."""
        chunk = self._chunks[piece.chunk]
        if piece.position is not None:
            return chunk.document_id, *chunk.sentences[piece.position]
        assert piece.need is not None  # noqa: S101 (a piece without a position is a need)
        return chunk.document_id, piece.need.start, piece.need.end

    def _needs(self, i: int, j: int) -> Iterator[Piece]:
        chunk = self._chunks[i]
        if self._policy.units and j and _needs_the_one_before(chunk, j):
            start, end = chunk.sentences[j - 1]
            text = chunk.text[start - chunk.start : end - chunk.start]
            yield Piece(i, j - 1, Need(start=start, end=end, role="referent", text=text))
        for need in unit_of(chunk, j).needs:
            for piece in self._pieces_of(i, need):
                yield piece
                if piece.position is not None:
                    between = _markup_between(chunk, (piece.chunk, piece.position), (i, j))
                    yield from (Piece(i, k) for k in between)

    def _pieces_of(self, i: int, need: Need) -> Iterator[Piece]:
        """Yield where a need of a chunk's unit stands in the pool, and borrow the rest of it."""
        document_id = self._chunks[i].document_id
        while (place := self._at.get((document_id, need.start))) is not None:
            end = self._chunks[place[0]].units[place[1]].end
            if end > need.end:  # Of a long unit only the start is needed.
                break
            yield Piece(*place, need)
            if end == need.end:
                return
            # A border divides what is needed.
            rest = need.text[end - need.start :].lstrip()
            need = replace(need, start=need.end - len(rest), text=rest)
        yield Piece(i, None, need)


def is_structured(pool: Sequence[PoolChunk]) -> bool:
    """Whether the chunks of a pool are structured, without those that complete others."""
    return are_structured([chunk.hit.chunk for chunk in pool if not chunk.completes])


def are_structured(chunks: Collection[Chunk]) -> bool:
    """Whether at least half of some chunks hold code, lists, tables, definitions or options."""
    n_structured = sum(any(u.kind in STRUCTURED_KINDS for u in chunk.units) for chunk in chunks)
    return 2 * n_structured >= len(chunks) > 0


def unit_of(chunk: Chunk, position: int) -> Unit:
    """Return the unit at a position; where units are unknown, a plain sentence's properties."""
    return chunk.units[position] if chunk.units else PLAIN


def _needs_the_one_before(chunk: Chunk, position: int) -> bool:
    """Whether a sentence opens with a pronoun, and a sentence that may name its subject precedes.

    That costs 1 to 4 % more tokens for the same evidence on prose (SQuAD, HotpotQA, SciFact and
    Chroma's chunking evaluation), and what "It" stands for is told.
    """
    start, end = chunk.sentences[position]
    if not refers_back(chunk.text[start - chunk.start : end - chunk.start]):  # as most do not
        return False
    before = unit_of(chunk, position - 1)
    if before.kind != "sentence" or unit_of(chunk, position).kind != "sentence":
        return False
    return not chunk.is_heading(chunk.sentences[position - 1][0])


def _first_introduced(chunk: Chunk, position: int) -> int | None:
    """Return the position of the first unit that a unit with a colon at its end introduces."""
    end = chunk.sentences[position][1]
    if not chunk.units or chunk.text[end - 1 - chunk.start] not in ":：":
        return None
    start = chunk.units[position].start
    for k in range(position + 1, len(chunk.units)):
        if chunk.units[k].kind != "markup":
            is_needed = any(start <= need.start < end for need in chunk.units[k].needs)
            return k if is_needed else None
    return None


def _markup_between(chunk: Chunk, need: tuple[int, int], unit: tuple[int, int]) -> Sequence[int]:
    """Return the positions between a need and its unit where nothing but markup stands there.

    A directive says what the code after it is; a table's delimiter makes it one.
    """
    between = range(need[1] + 1, unit[1]) if need[0] == unit[0] else ()
    return between if all(chunk.units[k].kind == "markup" for k in between) else ()


def _neighbours_and_heading(chunk: Chunk, position: int, policy: TrimPolicy) -> list[int]:
    """Return the positions of a sentence's neighbours and of the heading above it."""
    first = max(0, position - policy.neighbours)
    last = min(len(chunk.sentences), position + policy.neighbours + 1)
    found = [k for k in range(first, last) if k != position]
    if policy.headings:
        above = range(position, -1, -1)
        found += [k for k in above if chunk.is_heading(chunk.sentences[k][0])][:1]
    return found
