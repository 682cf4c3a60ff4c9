"""What an answer from documents with structure can consist of, and which of it answers best.

A candidate is what a reader would copy: a sentence, a block of code with what introduces it, a
whole list or procedure, a row of a table with its header, a definition, an option.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TypeAlias

from ragkit.text.words import detect_language, index_terms, query_terms
from ragkit.trimming.atoms import PLAIN, are_structured
from ragkit.trimming.signals import inverse_frequencies
from ragkit.types import ContextItem, ScoredSentence, Unit

MOST_LIST_CHARACTERS = 2000
"""Of a longer list, each item is a candidate of its own."""

# All weights are logarithms of a probability. They were chosen on calibration questions about
# manuals, units scored by what was fitted on the questions about the other manuals.
_COVERED = 0.5
"""For a candidate that has all of the question's words, with its titles and needs."""

_NAMED = 1.0
_LISTED = 1.0
_CLOSE = 2.0
"""A further candidate is part of the answer if its score is this close to the best one's."""

_SAME_SECTION = 0.5
_NEXT = 0.5
_NEWLY_COVERED = 1.0

_MOST_ECHO = 0.75
"""Of a candidate's words; one with more of the question's repeats the question."""

_SHORTEST_ECHO = 4
"""Words: a code or a name may be an answer though the question holds it."""

_MOST_REPEATED = 0.75
"""Of a candidate's words; one with more of another one's says the same, for another shell."""

_CHARACTERS_PER_TOKEN = 4.0
_ASKS_FOR_LIST = re.compile(
    r"\b(?:steps?|list|ways|order|conditions|rules|methods|options|procedure|which|what are)\b",
    re.IGNORECASE,
)
_CODE_OR_VERSION = re.compile(
    r"(?<![\w.-])(?:([vV])(?=\d++\.\d)|([A-Za-z]{1,8}+-?+))?+(\d++(?:\.\d++)*+)(?![\w-])"
)
"""A code such as `E1230` or `ORA-00600`, or a version; also a plain number, which is neither."""
_NUMBER = re.compile(r"\d+")
_END_OF_LABEL = re.compile(r" ?\| ?|  | \(|: |\n")

Place: TypeAlias = tuple[ScoredSentence, ContextItem]
_Group: TypeAlias = tuple[str | int | tuple[int, int], ...]


@dataclass(slots=True, eq=False)
class Candidate:
    """Units of one document that are given together, in order; their needs come on top.

    `terms` are those of the question that it has, with its titles and needs.
    """

    members: Sequence[Place]
    log_probability: float = -math.inf
    words: AbstractSet[str] = field(default_factory=frozenset[str])
    terms: AbstractSet[str] = field(default_factory=frozenset[str])
    score: float = -math.inf
    is_echo: bool = False

    @property
    def unit(self) -> Unit:
        """The first unit."""
        return unit_of(*self.members[0])

    @property
    def document_id(self) -> str:
        """The document that its units stand in."""
        return self.members[0][1].hit.chunk.document_id

    @property
    def section(self) -> tuple[str, ...]:
        """The document, and the headings above the first unit."""
        sentence, item = self.members[0]
        headings = item.hit.chunk.location(sentence.start, sentence.start).heading
        return (self.document_id, *headings)

    @property
    def text(self) -> str:
        """Its units, without their needs."""
        return "\n".join(sentence.text for sentence, _ in self.members)


def unit_of(sentence: ScoredSentence, item: ContextItem) -> Unit:
    """Return the unit that a sentence of a context is; a plain one where structure is unknown."""
    units = item.hit.chunk.units
    k = bisect_left(units, sentence.start, key=lambda unit: unit.start)
    return units[k] if k < len(units) and units[k].start == sentence.start else PLAIN


def is_scored_by_units(context: Sequence[ContextItem]) -> bool:
    """Whether the scores of a context are logarithms of probabilities.

    They are so for pools in which at least half of the chunks have structure; other scores add up
    to 0 over a pool, so that the best one's is not below.
    """
    chunks = {item.hit.chunk.id: item.hit.chunk for item in context}
    is_below = all(s.score < 0.0 for item in context for s in item.sentences)
    return is_below and are_structured(chunks.values())


def without_other_codes(question: str, places: list[Place]) -> list[Place]:
    """Return what is not about other codes or versions than the question names.

    That is what has none of the question's in its text, its needs or the headings above, and has
    others of the same form there. All is returned if nothing would be left.
    """
    asked = set(_codes(question))
    if not asked:
        return places
    forms = {_NUMBER.sub("0", code) for code in asked}

    def is_other(sentence: ScoredSentence, item: ContextItem) -> bool:
        headings = item.hit.chunk.location(sentence.start, sentence.start).heading
        needs = (need.text for need in unit_of(sentence, item).needs)
        codes = set(_codes("\n".join([sentence.text, *headings, *needs])))
        return not codes & asked and any(_NUMBER.sub("0", code) in forms for code in codes)

    return [place for place in places if not is_other(*place)] or places


def _codes(text: str) -> Iterable[str]:
    for version, letters, numbers in _CODE_OR_VERSION.findall(text):
        if version or letters or numbers.count(".") > 1:
            yield (letters + numbers).lower()


def best_candidates(
    question: str, places: Sequence[Place], max_candidates: int
) -> Sequence[Candidate]:
    """Return the candidates that answer best, the best one first.

    Further ones are those whose scores come close, the more so if they stand in the same section,
    follow one that was chosen, or have words of the question that none had so far.

    Args:
        question: As asked.
        places: The sentences of a context that are kept for their own sake, in its order, scored by
            units.
        max_candidates: At least one is returned if there is any.
    """
    found = _without_introductions(candidates(places))
    share = _score(question, found)
    found = [candidate for candidate in found if not candidate.is_echo] or found
    chosen: list[Candidate] = []
    while found and len(chosen) < max_candidates:
        sections = {candidate.section for candidate in chosen}
        covered = frozenset[str]().union(*(candidate.terms for candidate in chosen))
        best: tuple[float, Candidate] | None = None
        before: Candidate | None = None
        for candidate in found:
            gain = candidate.score
            if chosen:
                is_near = candidate.section in sections
                gain += _SAME_SECTION * is_near + _NEXT * (is_near and before in chosen)
                gain += _NEWLY_COVERED * share(candidate.terms - covered)
            before = candidate
            if (best is None or gain > best[0]) and not _is_said(candidate, chosen):
                best = gain, candidate
        if best is None or (chosen and best[0] < chosen[0].score - _CLOSE):
            break
        chosen.append(best[1])
    return chosen


def candidates(places: Iterable[Place]) -> list[Candidate]:
    """Return all candidates of a context, in its order: a list and a procedure are one each."""
    groups: dict[_Group, list[Place]] = {}
    group_at: dict[tuple[str, int], _Group] = {}
    for sentence, item in places:
        if unit_of(sentence, item).kind == "caption":
            continue  # the title of a table or a note
        key = _group(sentence, item, group_at)
        group_at[item.hit.chunk.document_id, sentence.start] = key
        groups.setdefault(key, []).append((sentence, item))
    found: list[Candidate] = []
    for members in groups.values():
        n_characters = sum(sentence.end - sentence.start for sentence, _ in members)
        is_procedure = unit_of(*members[0]).procedure is not None
        if n_characters <= MOST_LIST_CHARACTERS or is_procedure:
            found.append(Candidate(members))
        else:
            found += (Candidate([member]) for member in members)
    return found


def _group(
    sentence: ScoredSentence, item: ContextItem, group_at: dict[tuple[str, int], _Group]
) -> _Group:
    """Return what a unit has in common with those that it is given together with.

    `group_at` has the groups of the units before it, by document and start.
    """
    unit, chunk = unit_of(sentence, item), item.hit.chunk
    if unit.procedure is not None:
        return chunk.document_id, unit.procedure
    for need in reversed(unit.needs):
        key = group_at.get((chunk.document_id, need.start))
        if key is not None and key[0] == "list":
            return key
    if unit.kind != "item":
        return chunk.document_id, sentence.start
    lead_ins = [need.start for need in unit.needs if need.role == "lead_in"]
    if lead_ins:
        return "list", chunk.document_id, lead_ins[-1]
    position = bisect_left(chunk.units, unit.start, key=lambda other: other.start)
    before = chunk.units[position - 1] if position else PLAIN
    key = group_at.get((chunk.document_id, before.start)) if before.kind == "item" else None
    return key or ("list", chunk.document_id, unit.start)


def _without_introductions(found: Sequence[Candidate]) -> list[Candidate]:
    """Note the probabilities of candidates, and return those that introduce no other one.

    One that does counts for the first that it introduces.
    """
    for candidate in found:
        candidate.log_probability = max(_log_probability(*place) for place in candidate.members)
    sentences = {
        (candidate.document_id, candidate.unit.start): candidate
        for candidate in found
        if candidate.unit.kind == "sentence" and len(candidate.members) == 1
    }
    spent: set[int] = set()
    for candidate in found:
        for need in candidate.unit.needs:
            other = sentences.get((candidate.document_id, need.start))
            if need.role == "lead_in" and other is not None and id(other) not in spent:
                spent.add(id(other))
                most = max(candidate.log_probability, other.log_probability)
                candidate.log_probability = most
    return [candidate for candidate in found if id(candidate) not in spent]


def _log_probability(sentence: ScoredSentence, item: ContextItem) -> float:
    """Return what the scorer of units found before it lowered it by the unit's length."""
    needs = unit_of(sentence, item).needs
    n_characters = sentence.end - sentence.start + sum(need.end - need.start for need in needs)
    return sentence.score + 0.5 * math.log(3.0 + n_characters / _CHARACTERS_PER_TOKEN)


def _score(question: str, found: Sequence[Candidate]) -> Callable[[Collection[str]], float]:
    """Score candidates; return what gives the share of the question's words that some terms are."""
    language = detect_language(question)
    asked = frozenset(query_terms(question, language=language))
    asks_for_list = bool(_ASKS_FOR_LIST.search(question))
    for candidate in found:
        words = index_terms(candidate.text, language=language)
        needs = (need.text for place in candidate.members for need in unit_of(*place).needs)
        above = [candidate.members[0][1].hit.title, *candidate.section[1:], *needs]
        terms = asked.intersection(index_terms("\n".join(above), language=language))
        candidate.words = frozenset(words)
        candidate.terms = terms.union(asked.intersection(words))
        candidate.score = candidate.log_probability
        candidate.is_echo = _is_echo(query_terms(candidate.text, language=language), asked)
        if asks_for_list and len(candidate.members) > 1:
            candidate.score += _LISTED
        if _is_named(candidate, asked, language):
            candidate.score += _NAMED
    weights = inverse_frequencies(asked, [candidate.terms for candidate in found])
    total = math.fsum(weights.values()) or 1.0

    def share(terms: Collection[str]) -> float:
        return math.fsum(weights[term] for term in terms) / total

    for candidate in found:
        candidate.score += _COVERED * share(candidate.terms)
    return share


def _is_echo(words: Sequence[str], asked: Collection[str]) -> bool:
    """Whether a text of these words but stop words repeats the question, as errors' titles do."""
    n_asked = sum(word in asked for word in words)
    return len(words) >= _SHORTEST_ECHO and n_asked > _MOST_ECHO * len(words)


def _is_named(candidate: Candidate, asked: AbstractSet[str], language: str | None) -> bool:
    """Whether the question names a row by its first cell, or a definition or option by its term."""
    if candidate.unit.kind not in {"row", "definition", "option"}:
        return False
    label = _END_OF_LABEL.split(candidate.text.lstrip(" |"), maxsplit=1)[0]
    words = query_terms(label, language=language)
    return bool(words) and all(word in asked for word in words)


def _is_said(candidate: Candidate, chosen: Sequence[Candidate]) -> bool:
    """Whether a candidate was chosen, or most of its words were."""
    most = _MOST_REPEATED * len(candidate.words)
    return any(candidate is other or len(candidate.words & other.words) > most for other in chosen)
