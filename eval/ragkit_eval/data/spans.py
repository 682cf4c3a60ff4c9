"""How much of the gold evidence a text holds, on true offsets.

Intervals are half-open offsets into one document. White space of the evidence counts for nothing:
chunks and kept sentences leave it out between them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ragkit.types import Span

Place: TypeAlias = tuple[str, int, int]
"""Document id, start, end."""

_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldSpan:
    """Evidence: `text` is the document's text at [start, end)."""

    document_id: str
    start: int
    end: int
    text: str

    def words(self) -> list[Span]:
        """Return its words as spans of the document: its parts without white space."""
        return [(self.start + m.start(), self.start + m.end()) for m in _WORD.finditer(self.text)]


Evidence: TypeAlias = Sequence[Sequence[GoldSpan]]
"""Alternatives, any one of which suffices; all spans of an alternative are needed together."""


def union(spans: Iterable[Span]) -> list[Span]:
    """Join spans that overlap or touch; in order."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def overlap(spans: Iterable[Span], others: Iterable[Span]) -> list[Span]:
    """Return the parts of joined spans that joined others cover."""
    found: list[Span] = []
    a, b = union(spans), union(others)
    i = j = 0
    while i < len(a) and j < len(b):
        start, end = max(a[i][0], b[j][0]), min(a[i][1], b[j][1])
        if start < end:
            found.append((start, end))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return found


def length(spans: Iterable[Span]) -> int:
    """Return the number of characters in spans that do not overlap."""
    return sum(end - start for start, end in spans)


def grouped(places: Iterable[Place]) -> dict[str, list[Span]]:
    """Return the spans of each document as they are."""
    found: dict[str, list[Span]] = {}
    for document_id, start, end in places:
        found.setdefault(document_id, []).append((start, end))
    return found


def by_document(places: Iterable[Place]) -> dict[str, list[Span]]:
    """Return the spans of each document, joined."""
    return {document_id: union(spans) for document_id, spans in grouped(places).items()}


def evidence_recall(evidence: Evidence, places: Iterable[Place]) -> float | None:
    """Return the share of the evidence's characters that the places hold, of the best alternative.

    None without evidence.
    """
    held = by_document(places)
    shares = [_held(spans, held) for spans in evidence if spans]
    return max((found / wanted for found, wanted in shares if wanted), default=None)


def evidence_found(evidence: Evidence, places: Iterable[Place]) -> float | None:
    """Return 1 when the places hold one whole alternative, else 0; None without evidence."""
    share = evidence_recall(evidence, places)
    return None if share is None else float(share == 1.0)


def _held(spans: Sequence[GoldSpan], held: Mapping[str, Sequence[Span]]) -> tuple[int, int]:
    found = wanted = 0
    for document_id, words in _words(spans).items():
        wanted += length(words)
        found += length(overlap(words, held.get(document_id, ())))
    return found, wanted


def _words(spans: Iterable[GoldSpan]) -> dict[str, list[Span]]:
    return by_document(
        (span.document_id, start, end) for span in spans for start, end in span.words()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Sizes of evidence and context in characters or tokens, evidence of all alternatives joined.

    `found` is their overlap, `missed` the evidence outside it; `sent` counts text that was sent
    twice twice.
    """

    found: float
    wanted: float
    sent: float
    missed: float

    @property
    def recall(self) -> float | None:
        """Share of the evidence that was sent."""
        return self.found / self.wanted if self.wanted else None

    @property
    def precision(self) -> float | None:
        """Share of what was sent that is evidence; 0 when nothing was sent."""
        return None if not self.wanted else self.found / self.sent if self.sent else 0.0

    @property
    def iou(self) -> float | None:
        """Evidence sent over what was sent and what was missed (Smith and Troynikov 2024)."""
        whole = self.sent + self.missed
        return self.found / whole if self.wanted and whole else None


def measure_overlap(
    evidence: Evidence,
    places: Sequence[Place],
    *,
    texts: Sequence[str] = (),
    count: Callable[[str], int] | None = None,
    compat: Literal["chroma"] | None = None,
) -> Overlap:
    """Compare what was sent with all of the evidence.

    Args:
        evidence: All alternatives count.
        places: What was sent, in order.
        texts: The text of each place, needed to count tokens.
        count: Counts tokens; None counts characters, without the evidence's white space.
        compat: `chroma` counts characters as Chroma's chunking_evaluation does: with white space,
            and evidence as often as it is given (`_scores_from_dataset_and_retrievals`).
    """
    sent = sum(end - start for _, start, end in places)
    if compat == "chroma":
        given = [span for alternative in evidence for span in alternative]
        whole = by_document((s.document_id, s.start, s.end) for s in given)
        kept = by_document(places)
        found = sum(length(overlap(parts, kept.get(name, ()))) for name, parts in whole.items())
        return Overlap(
            found=found,
            wanted=sum(span.end - span.start for span in given),
            sent=sent,
            missed=sum(map(length, whole.values())) - found,
        )
    spans = {(s.document_id, s.start, s.end): s for spans in evidence for s in spans}
    gold = _words(spans.values())
    held = by_document(places)
    covered = {name: overlap(words, held.get(name, ())) for name, words in gold.items()}

    def characters(parts: Mapping[str, Sequence[Span]]) -> int:
        return sum(map(length, parts.values()))

    def tokens(parts: Mapping[str, Sequence[Span]]) -> int:
        return sum(
            (count or len)(_text(spans.values(), name, *part))
            for name, of in parts.items()
            for part in of
        )

    size = characters if count is None else tokens
    found, wanted = size(covered), size(gold)
    if count is not None:
        sent = sum(map(count, texts))
    return Overlap(found=found, wanted=wanted, sent=sent, missed=wanted - found)


def _text(spans: Iterable[GoldSpan], document_id: str, start: int, end: int) -> str:
    """Return the characters of [start, end), which the gold spans cover."""
    pieces: list[str] = []
    at = start
    while at < end:
        span = max(
            (s for s in spans if s.document_id == document_id and s.start <= at < s.end),
            key=lambda s: s.end,
        )
        pieces.append(span.text[at - span.start : min(end, span.end) - span.start])
        at = min(end, span.end)
    return "".join(pieces)


def precision_omega(
    evidence: Evidence,
    chunks: Mapping[str, Sequence[Span]],
    *,
    compat: Literal["chroma"] | None = None,
) -> float | None:
    """Return the precision of sending every chunk that touches the evidence.

    The ceiling that a chunker sets (Smith and Troynikov 2024): evidence in those chunks, over
    those chunks and the evidence that none covers. White space counts here, as in the report.

    Args:
        evidence: All alternatives count.
        chunks: Spans of all chunks by document.
        compat: `chroma` has closed intervals: a chunk that only abuts the evidence touches it.
    """
    gold = by_document((s.document_id, s.start, s.end) for spans in evidence for s in spans)
    if not gold:
        return None
    found, whole = 0, 0
    for document_id, wanted in gold.items():
        touching = [
            c for c in chunks.get(document_id, ()) if _touches(c, wanted, closed=compat == "chroma")
        ]
        found += length(overlap(touching, wanted))
        whole += length(union([*touching, *wanted]))
    return found / whole


def _touches(chunk: Span, wanted: Sequence[Span], *, closed: bool) -> bool:
    if closed:
        return any(chunk[0] <= end and start <= chunk[1] for start, end in wanted)
    return any(chunk[0] < end and start < chunk[1] for start, end in wanted)
