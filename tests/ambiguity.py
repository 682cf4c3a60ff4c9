"""Whether a regular expression can take more time than its text is long.

A pattern becomes an automaton whose arrows count how many ways lead along them. Two ways round one
loop that read the same text double the work with each character (exponential ambiguity); two loops
that read the same text, one behind the other, square it (polynomial ambiguity), and so does a
search that begins anew inside what a loop has read. Weber and Seidl (1991), "On the degree of
ambiguity of finite automata", theorems 4.1 and 4.2.

Repeats above `_MANY` count as unbounded, bounded ones as three at most. What comes after an atomic
group or a possessive repeat never goes back into it. Back references read what their group reads.
"""

from __future__ import annotations

import importlib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

_PARSER: Any = importlib.import_module("re._parser")
_DOTALL, _IGNORECASE = int(re.DOTALL), int(re.IGNORECASE)
_MANY = 1000
_MOST_PARTS = 40

Item: TypeAlias = tuple[Any, Any]
_End: TypeAlias = tuple[int, int, bool]
"""A position, the characters that must have led to it, and whether nothing can fail from there."""

_SAMPLES = frozenset(map(chr, range(0x80))) | set(
    "äÄßſ\xa0\xad\u0300\u0301あ漢กก๑१\u2003\u2028가😀ﬀАאا"
)
_CATEGORIES = {
    "CATEGORY_DIGIT": r"\d", "CATEGORY_NOT_DIGIT": r"\D", "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S", "CATEGORY_WORD": r"\w", "CATEGORY_NOT_WORD": r"\W",
}  # fmt: skip


def ambiguities(
    pattern: re.Pattern[str] | re.Pattern[bytes], *, scans: bool, whole: bool
) -> set[str]:
    """Return what makes a pattern slow: `exponential`, `polynomial`, `restart`.

    Args:
        pattern: Compiled.
        scans: Whether it is searched for; else it is matched where a text begins.
        whole: Whether the whole text must match.
    """
    flags = int(pattern.flags)
    parsed = list(_PARSER.parse(pattern.pattern, flags))
    alphabet = _alphabet(parsed, flags)
    found: set[str] = set()
    todo: list[list[Item]] = [parsed]
    while todo:
        build = _Build(alphabet, flags, todo, goes_back=True)
        found |= build.of(todo.pop(), whole=whole).ambiguities()
    if scans:
        build = _Build(alphabet, flags, [], goes_back=False)
        found |= build.of(parsed, whole=whole, scans=True).restarts()
    return found


@dataclass
class _Automaton:
    """Positions with the classes of characters they read, as bits, and arrows between them."""

    labels: list[int] = field(default_factory=list[int])
    arrows: dict[int, list[tuple[int, int]]] = field(
        default_factory=lambda: defaultdict(list[tuple[int, int]])
    )
    sure: set[int] = field(default_factory=set[int])
    """Where a match has succeeded already, so that what fails later costs no more."""

    def add(self, label: int, ends: Sequence[_End]) -> int:
        self.labels.append(label)
        new = len(self.labels) - 1
        for position, guard, _ in ends:
            self.arrows[position].append((new, guard))
        return new

    def steps(self, position: int, last: int) -> Iterator[tuple[int, int]]:
        """Yield where a position that read a character of class `last` leads, and by what."""
        for target, guard in self.arrows[position]:
            if guard >> last & 1:
                for c in _bits(self.labels[target]):
                    yield target, c

    def moves(self, position: int, last: int) -> dict[int, list[int]]:
        """Return the targets by character; one that two ways lead to is there twice."""
        by_character: dict[int, list[int]] = defaultdict(list)
        for target, c in self.steps(position, last):
            by_character[c].append(target)
        return by_character

    def ambiguities(self) -> set[str]:
        loops = self.loops()
        found = {"exponential" for q, c in loops if self._splits_and_joins(q, c)}
        ends = {q for q, _ in loops if q not in self.sure}
        if any(p != q and q in ends and c == d and self._passes_on(p, q, c)
               for p, c in loops for q, d in loops):  # fmt: skip
            found.add("polynomial")
        return found

    def restarts(self) -> set[str]:
        """Position 0 stands for where a search may begin."""
        loops = [(q, c) for q, c in self.loops() if q and q not in self.sure]
        return {"restart" for q, c in loops if self._passes_on(0, q, c)}

    def loops(self) -> list[tuple[int, int]]:
        """Return positions that lead to themselves, with the character that they then read."""
        found: list[tuple[int, int]] = []
        for q, label in enumerate(self.labels):
            for c in _bits(label) if self._returns(q) else ():
                seen: set[tuple[int, int]] = set()
                todo = [(q, c)]
                while todo and (q, c) not in seen:
                    for reached in self.steps(*todo.pop()):
                        if reached not in seen:
                            seen.add(reached)
                            todo.append(reached)
                if (q, c) in seen:
                    found.append((q, c))
        return found

    def _returns(self, q: int) -> bool:
        """Whether arrows lead from a position to itself, whatever is read."""
        seen = {target for target, _ in self.arrows[q]}
        todo = list(seen)
        while todo and q not in seen:
            new = {target for target, _ in self.arrows[todo.pop()]} - seen
            seen |= new
            todo += new
        return q in seen

    def _splits_and_joins(self, q: int, c: int) -> bool:
        seen: set[tuple[int, int, int, bool]] = {(q, q, c, False)}
        todo = list(seen)
        while todo:
            a, b, last, apart = todo.pop()
            left, right = self.moves(a, last), self.moves(b, last)
            for d in left.keys() & right.keys():
                for i, x in enumerate(left[d]):
                    for j, y in enumerate(right[d]):
                        split = apart or x != y or (a == b and i != j)
                        new = (x, y, d, split)
                        if new == (q, q, c, True):
                            return True
                        if new not in seen:
                            seen.add(new)
                            todo.append(new)
        return False

    def _passes_on(self, p: int, q: int, c: int) -> bool:
        """Whether one text leads from p to p, from p to q and from q to q."""
        start = (p, p, q, c)
        seen = {start}
        todo = [start]
        while todo:
            a, b, z, last = todo.pop()
            first, second, third = (self.moves(state, last) for state in (a, b, z))
            for d in first.keys() & second.keys() & third.keys():
                ends = [k for k in third[d] if k not in self.sure]
                for new in {(i, j, k, d) for i in first[d] for j in second[d] for k in ends}:
                    if new == (p, q, q, c):
                        return True
                    if new not in seen:
                        seen.add(new)
                        todo.append(new)
        return False


class _Build:
    """Makes an automaton of a parsed pattern; `apart` takes what is to be looked at by itself."""

    def __init__(
        self, alphabet: list[str], flags: int, apart: list[list[Item]], *, goes_back: bool
    ) -> None:
        self._alphabet = alphabet
        self._flags = flags
        self._apart = apart
        self._goes_back = goes_back
        self._all = (1 << len(alphabet)) - 1
        self._groups: dict[int, list[Item]] = {}
        self._made = _Automaton()

    def of(self, items: list[Item], *, whole: bool, scans: bool = False) -> _Automaton:
        self._made = _Automaton()
        # Position 0 reads what comes before: for a search anything, else nothing that is repeated.
        start = self._made.add(self._all, ())
        if scans:
            self._made.arrows[start].append((start, self._all))
        ends = self._sequence(items, [(start, self._all, True)])
        if not whole:
            self._made.sure = {position for position, _, sure in ends if sure}
        return self._made

    def _sequence(self, items: Sequence[Item], ends: list[_End]) -> list[_End]:
        for item in items:
            ends = self._item(item, ends)
        return ends

    def _item(self, item: Item, ends: list[_End]) -> list[_End]:
        operator, value = item
        name = str(operator)
        if name in {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}:
            least, most, repeated = value
            return self._repeat(name, least, most, repeated, ends)
        make = getattr(self, f"_{name.lower()}", None)
        if make is not None:
            made: list[_End] = make(value, ends)
            return made
        label = _label(item, self._alphabet, self._flags)
        return [(self._made.add(label, ends), self._all, True)]

    def _subpattern(self, value: tuple[Any, ...], ends: list[_End]) -> list[_End]:
        group, _, _, items = value
        if group is not None:
            self._groups[group] = list(items)
        return self._sequence(items, ends)

    def _groupref(self, group: int, ends: list[_End]) -> list[_End]:
        return self._sequence(self._groups[group], ends)

    def _branch(self, value: tuple[Any, ...], ends: list[_End]) -> list[_End]:
        return [end for items in value[1] for end in self._sequence(items, ends)]

    def _atomic_group(self, items: Sequence[Item], ends: list[_End]) -> list[_End]:
        self._apart.append(list(items))
        return self._sequence(items, ends)

    def _at(self, where: object, ends: list[_End]) -> list[_End]:
        if "BEGINNING" in str(where):
            # After what was read there is no beginning; MULTILINE would be another matter.
            assert not self._flags & re.MULTILINE
            return [(position, 0, False) for position, _, _ in ends if position == 0]
        return [(position, guard, False) for position, guard, _ in ends]

    def _assert(self, value: tuple[Any, ...], ends: list[_End]) -> list[_End]:
        return self._look(value, ends, wanted=True)

    def _assert_not(self, value: tuple[Any, ...], ends: list[_End]) -> list[_End]:
        return self._look(value, ends, wanted=False)

    def _look(self, value: tuple[Any, ...], ends: list[_End], *, wanted: bool) -> list[_End]:
        direction, items = value
        self._apart.append(list(items))
        allowed = self._all
        if direction < 0 and len(items) == 1 and str(items[0][0]) in _SETS:
            label = _label(items[0], self._alphabet, self._flags)
            allowed = label if wanted else self._all & ~label
        return [(position, guard & allowed, False) for position, guard, _ in ends]

    def _repeat(
        self, name: str, least: int, most: int, items: Sequence[Item], ends: list[_End]
    ) -> list[_End]:
        if name == "POSSESSIVE_REPEAT":
            self._apart.append(list(items))
            if self._goes_back:
                # Once it has read, it gives nothing back: as good as read once.
                return [*self._sequence(items, ends), *(() if least else ends)]
        for _ in range(min(least, 2)):
            ends = self._sequence(items, ends)
        if most <= _MANY:
            given = list(ends)
            for _ in range(min(most - least, 3 - min(least, 2))):
                ends = [end for end in self._sequence(items, ends) if end not in ends]
                given += ends
            return given
        return self._loop(items, ends)

    def _loop(self, items: Sequence[Item], ends: list[_End]) -> list[_End]:
        inside = -1 - len(self._made.labels)
        exits = [
            end for end in self._sequence(items, [(inside, self._all, True)]) if end[0] != inside
        ]
        firsts = self._made.arrows.pop(inside, [])
        for position, guard, _ in (*ends, *exits):
            self._made.arrows[position] += [(first, guard & other) for first, other in firsts]
        return [*ends, *exits]


_SETS = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN"})


def _bits(mask: int) -> Iterator[int]:
    while mask:
        yield (mask & -mask).bit_length() - 1
        mask &= mask - 1


def _label(item: Item, alphabet: Sequence[str], flags: int) -> int:
    return sum(1 << i for i, c in enumerate(alphabet) if _reads(item, c, flags))


def _reads(item: Item, c: str, flags: int) -> bool:
    name, value = str(item[0]), item[1]
    if name == "ANY":
        return c != "\n" or bool(flags & _DOTALL)
    cases = {c, *(x for x in (c.lower(), c.upper()) if len(x) == 1 and flags & _IGNORECASE)}
    if name == "IN":
        negated = str(value[0][0]) == "NEGATE"
        return negated != any(_holds(part, x) for part in value for x in cases)
    return (name == "NOT_LITERAL") != any(ord(x) == value for x in cases)


def _holds(part: Item, c: str) -> bool:
    name, value = str(part[0]), part[1]
    if name == "RANGE":
        return bool(value[0] <= ord(c) <= value[1])
    if name == "CATEGORY":
        return re.match(_CATEGORIES[str(value)], c) is not None
    return name == "LITERAL" and ord(c) == value


def _alphabet(parsed: Sequence[Item], flags: int) -> list[str]:
    """Return one character of each class that no set of the pattern tells apart."""
    sets = list({str(item): item for item in _sets(parsed)}.values())
    edges = {chr(code) for item in sets for code in _edges(item)}
    classes: dict[tuple[bool, ...], str] = {}
    for c in sorted(_SAMPLES | edges):
        classes.setdefault(tuple(_reads(item, c, flags) for item in sets), c)
    return list(classes.values())


def _sets(found: object) -> Iterator[Item]:
    """Yield every item that reads one character, however deep it stands."""
    if isinstance(found, _PARSER.SubPattern):
        found = list(cast("Sequence[object]", found))
    if not isinstance(found, list | tuple):
        return
    parts = cast("Sequence[object]", found)
    if parts and str(parts[0]) in _SETS:
        yield parts[0], parts[1]
        return
    for part in parts:
        yield from _sets(part)


def _edges(item: Item) -> Iterator[int]:
    name, value = str(item[0]), item[1]
    # The samples stand for sets of hundreds of ranges.
    for part in value[:_MOST_PARTS] if name == "IN" else [item]:
        edges = part[1] if isinstance(part[1], tuple) else (part[1],)
        yield from (edge for edge in edges if isinstance(edge, int) and str(part[0]) != "CATEGORY")
