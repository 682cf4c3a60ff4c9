"""Labels: where an answer cites passages by number, and which sentence each citation is for."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ragkit.text.languages import STOP_WORDS
from ragkit.text.sentences import sentence_spans, trimmed
from ragkit.types import Span

_ONE = r"\^?\d{1,6}"
_APART = r"\s{0,3}(?:[-–—,;&，、；]|and)\s{0,3}"
_CITED = re.compile(
    r"(?:<sup>)?\\?[\[【［] {0,2}(?:(?:[Ss]ources?|[Pp]assages?|[Dd]ocuments?)[ :]{1,2})?"
    rf"(?P<numbers>{_ONE}(?:{_APART}{_ONE}){{0,99}})(?:†[^\]】］]{{0,99}})? {{0,2}}\\?[\]】］]"
    r"(?:</sup>)?(?:\((?:https?:|[#/])[^()\s]{0,500}\))?"
)
_RANGE = re.compile(r"(\d+)(?:\s*[-–—]\s*\^?(\d+))?")
_RANGE_BETWEEN = re.compile(r"[ \t]?[-–—][ \t]?")
_SAME_CLAIM = re.compile(r"[^\S\n]*+(?:[,;，、；&–—-]|(?:and|und|et|y)\b)?[^\S\n]*+")
_CLAUSE_END = re.compile(r"[,;:，；、]")
_INLINE_CODE = re.compile(r"`[^`\n]*`")
_FENCE = re.compile(r"[ \t]*+(`{3,}|~{3,})")
_LINE = re.compile(r"[^\n]*\n?")
_WORD = re.compile(r"[^\W_]+")
_MOST_INDENTED = 20
_MOST_LEADING_WORDS = 3
_NAMES_A_SOURCE = frozenset(
    "according per see source passage document laut gemäß selon según secondo volgens".split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A sentence of an answer, or a clause of it: `text` is `answer[start:end]` without labels.

    `labels` are the numbers of the passages that it cites, in order.
    """

    start: int
    end: int
    text: str
    labels: tuple[int, ...]
    is_code: bool = False


@dataclass(frozen=True, slots=True)
class _Group:
    """Labels without words between them; they stand for the same claim."""

    start: int
    end: int
    labels: tuple[int, ...]


def claims_of(answer: str, labels: Collection[int], language: str | None) -> list[Claim]:
    """Return what an answer says with a label behind, before or within it, in order.

    Labels are `[1]`, `[1, 2]`, `[1-3]`, `[1]–[3]`, `[^1]`, `【1】`, `【1†source】`, `[Source 1]`,
    before the full stop or behind it. A number that is none of `labels` names nothing, and no list
    has a 0. What looks like a label in code is code.

    Args:
        answer: Any text.
        labels: The numbers of the prompt's passages.
        language: The answer's, as `detect_language` gives it.
    """
    named = sorted(labels)
    fences = _fences(answer)
    found = list(_labels(answer, named, fences))
    groups = list(_groups(answer, found, named))
    if not groups:
        return []
    # Labels are white space from here on: behind a full stop they hide that a sentence ends.
    bare = _without(answer, [(start, end) for start, end, _ in found])
    sentences = list(_sentences(bare, fences))
    claims: list[Claim] = []
    for i, cited in _by_sentence(groups, bare, sentences).items():
        if i is None:
            claims += (Claim(start=g.start, end=g.end, text="", labels=g.labels) for g in cited)
            continue
        start, end, is_code = sentences[i]
        spans = _clauses(bare, start, end, cited, language)
        claims += (
            Claim(start=a, end=b, text=bare[a:b], labels=group.labels, is_code=is_code)
            for (a, b), group in zip(spans, cited, strict=True)
        )
    return sorted(claims, key=lambda claim: claim.start)


def sentences_of(answer: str) -> list[tuple[int, int, bool]]:
    """Return the bounds of an answer's sentences, and whether they are code: a fence is one."""
    return list(_sentences(answer, _fences(answer)))


def _labels(
    answer: str, labels: Sequence[int], fences: Sequence[Span]
) -> Iterator[tuple[int, int, list[int]]]:
    """Yield the bounds of what looks like a label, and which passages it names."""
    inline = (match.span() for match in _INLINE_CODE.finditer(answer))
    code = sorted([*fences, *inline])
    starts = [start for start, _ in code]
    for match in _CITED.finditer(answer):
        start, end = match.span()
        i = bisect_right(starts, start) - 1
        if i >= 0 and start < code[i][1]:
            continue
        if answer[end : end + 1] == ":" and _begins_line(answer, start):
            # The note below a text, to which the label in the text leads.
            continue
        numbers = list(_numbers(match["numbers"], labels))
        is_index = start > 0 and (answer[start - 1].isalnum() or answer[start - 1] in "_)")
        if numbers or not is_index:
            yield start, end, numbers


def _begins_line(answer: str, start: int) -> bool:
    before = answer[max(0, start - _MOST_INDENTED) : start]
    margin = before[before.rfind("\n") + 1 :]
    return not margin.strip() and len(margin) < _MOST_INDENTED


def _numbers(listed: str, labels: Sequence[int]) -> Iterator[int]:
    ranges = [(int(first), int(to or first)) for first, to in _RANGE.findall(listed)]
    if not any(first == 0 for first, _ in ranges):
        for first, to in ranges:
            yield from labels[bisect_left(labels, first) : bisect_right(labels, to)]


def _groups(
    answer: str, found: Sequence[tuple[int, int, list[int]]], labels: Sequence[int]
) -> Iterator[_Group]:
    """Yield labels that have no words between them as one; `[1]–[3]` is a range."""
    first = last = 0
    group: dict[int, None] = {}
    for start, end, numbers in found:
        between = answer[last:start]
        if group and numbers and _RANGE_BETWEEN.fullmatch(between):
            inside = labels[bisect_right(labels, max(group)) : bisect_left(labels, numbers[0])]
            group.update(dict.fromkeys(inside))
        elif not last or not _SAME_CLAIM.fullmatch(between):
            if group:
                yield _Group(first, last, tuple(group))
            first, group = start, {}
        group.update(dict.fromkeys(numbers))
        last = end
    if group:
        yield _Group(first, last, tuple(group))


def _fences(answer: str) -> list[Span]:
    """Return the bounds of fenced code; what is not closed goes on to the end."""
    if "```" not in answer and "~~~" not in answer:
        return []
    found: list[Span] = []
    first, fence = 0, ""
    for line in _LINE.finditer(answer):
        mark = _FENCE.match(line[0])
        if not mark:
            continue
        if not fence:
            first, fence = line.start(), mark[1]
        elif mark[1].startswith(fence) and not line[0][mark.end() :].strip():
            found.append((first, line.end()))
            fence = ""
    return [*found, (first, len(answer))] if fence else found


def _without(answer: str, spans: Sequence[Span]) -> str:
    """Return the answer with white space in place of these spans, as long as before."""
    pieces: list[str] = []
    last = 0
    for start, end in spans:
        pieces += answer[last:start], " " * (end - start)
        last = end
    return "".join([*pieces, answer[last:]])


def _sentences(bare: str, fences: Sequence[Span]) -> Iterator[tuple[int, int, bool]]:
    """Yield the sentences, and fenced code as one each."""
    last = 0
    for start, end in [*fences, (len(bare), len(bare))]:
        yield from ((a, b, False) for a, b in sentence_spans(bare, start=last, end=start))
        if end > start:
            yield *trimmed(bare, start, end), True
        last = end


def _by_sentence(
    groups: Sequence[_Group], bare: str, sentences: Sequence[tuple[int, int, bool]]
) -> dict[int | None, list[_Group]]:
    """Return the labels of each sentence; those before it are one group, and those behind it."""
    starts = [start for start, _, _ in sentences]
    of_sentence: dict[int | None, list[_Group]] = {}
    for group in groups:
        i = _sentence_of(group, bare, sentences, starts)
        cited = of_sentence.setdefault(i, [])
        if i is not None and cited:
            start, end, _ = sentences[i]
            before = cited[-1]
            if group.end <= start or before.start >= end:
                labels = tuple(dict.fromkeys([*before.labels, *group.labels]))
                cited[-1] = _Group(before.start, group.end, labels)
                continue
        cited.append(group)
    return of_sentence


def _sentence_of(
    group: _Group, bare: str, sentences: Sequence[tuple[int, int, bool]], starts: Sequence[int]
) -> int | None:
    """Return which sentence a label is for; None if there is none.

    That which holds it, else the one before it; but the one behind it if that goes on in the same
    line, and the one before it does not stand there or this one goes on in small letters.
    """
    i = bisect_right(starts, group.start) - 1
    if i >= 0 and group.start < sentences[i][1]:
        return i
    behind = i + 1 if i + 1 < len(sentences) else None
    if behind is not None:
        start = starts[behind]
        # The newline that is nearest to the label comes first: each is searched for once.
        on_its_line = bare.find("\n", group.end, start) < 0
        opens_line = i < 0 or bare.rfind("\n", sentences[i][1], group.start) >= 0
        if on_its_line and (opens_line or bare[start].islower()):
            return behind
    return i if i >= 0 else behind


def _clauses(
    bare: str, start: int, end: int, cited: Sequence[_Group], language: str | None
) -> list[Span]:
    """Return what each of a sentence's labels is for.

    A sentence with one label is for that label as a whole. Otherwise a label is for what stands
    before it, and on to the end of the clause; or for what stands behind it, where the sentence
    begins with a label ("According to [1], …").
    """
    if len(cited) == 1:
        return [(start, end)]
    if _leads(bare[start : max(start, cited[0].start)], language):
        cuts = [max(start, group.start) for group in cited[1:]]
    else:
        cuts = [
            clause.end() if (clause := _CLAUSE_END.search(bare, group.end, after.start))
            else min(end, group.end)
            for group, after in pairwise(cited)
        ]  # fmt: skip
    clauses = [_trimmed_clause(bare, a, b) for a, b in pairwise([start, *cuts, end])]
    return [(a, b) if a < b else (start, end) for a, b in clauses]


def _leads(before: str, language: str | None) -> bool:
    """Whether what stands before a sentence's first label only leads to it."""
    words = _WORD.findall(before)
    if not words:
        return True
    stop_words = STOP_WORDS.get(language or "en", frozenset[str]())
    last = words[-1].casefold()
    return len(words) <= _MOST_LEADING_WORDS and (last in stop_words or last in _NAMES_A_SOURCE)


def _trimmed_clause(bare: str, start: int, end: int) -> Span:
    piece = bare[start:end].lstrip(" \t\n,;:，；、")
    start = end - len(piece)
    return start, start + len(piece.rstrip(" \t\n,;:，；、"))
