"""Answers made of verbatim sentences of the context: no language model, nothing made up."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ragkit.generation.candidates import (
    Place,
    best_candidates,
    candidates,
    is_scored_by_units,
    unit_of,
    without_other_codes,
)
from ragkit.text.passages import indentation
from ragkit.types import (
    Citation,
    ContextItem,
    Generation,
    GenerationOptions,
    Prompt,
    ScoredSentence,
    Span,
    TokenCounter,
    Usage,
)

_MOST_SENTENCES = 2
"""Of running text."""

_CLOSE = 0.2
"""A second sentence is added if its score, a sum of z-scores, is this close to the best one's."""


class ExtractiveGenerator:
    """Answers with what the context says best, word for word, cited.

    In running text that is the best sentence, and a second one if its score comes close. In
    documents with structure it is up to `max_units` of what a reader would copy, each with what it
    cannot be read without: a sentence, code below its introduction, a whole list or procedure, a
    row below its header. The number in the fingerprint is increased when the same context gives a
    different answer than before.
    """

    name = "extractive"
    calls_llm = False

    def __init__(self, *, counter: TokenCounter, max_units: int = 3) -> None:
        self.counter: TokenCounter = counter
        self.fingerprint = f"{self.name}/3 units={max_units} counter={counter.name}"
        self._max_units = max_units

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Return the best units in document order; `options.max_tokens` is respected."""
        context = prompt.context
        own = [
            (sentence, item)
            for item in context
            for sentence in item.sentences
            if sentence.role == "unit" and unit_of(sentence, item).is_kept_alone
        ]
        found = [pair for pair in own if not pair[1].hit.chunk.is_heading(pair[0].start)] or own
        found = without_other_codes(prompt.question, found)
        if is_scored_by_units(context):
            best = best_candidates(prompt.question, found, self._max_units)
            chosen = [candidate.members for candidate in best]
        else:
            chosen = self._sentences(found)
        indexed = _Context(context)
        chosen = self._within(chosen, indexed, options.max_tokens)
        order = {id(sentence): k for k, (sentence, _) in enumerate(found)}
        chosen.sort(key=lambda members: order[id(members[0][0])])
        pieces = _pieces([place for members in chosen for place in members], indexed)
        text, citations = _joined(pieces)
        return Generation(
            text=text,
            citations=citations,
            usage=Usage(
                input_tokens=self.counter.count(prompt.text),
                output_tokens=self.counter.count(text),
                exact=True,
                counter=self.counter.name,
            ),
            stop_reason="end",
        )

    def _sentences(self, found: Sequence[Place]) -> list[Sequence[Place]]:
        """Return the best sentence, and a second one that comes close; of a list, all of it."""
        n = min(_MOST_SENTENCES, self._max_units)
        best = sorted(found, key=lambda pair: -pair[0].score)[:n]
        close = [sentence for sentence, _ in best if sentence.score >= best[0][0].score - _CLOSE]
        whole = {id(sentence): c.members for c in candidates(found) for sentence, _ in c.members}
        chosen = (whole.get(id(sentence), ()) for sentence in close)
        return list({id(members): members for members in chosen if members}.values())

    def stream(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str | Generation]:
        """Yield the answer in one piece, then the `Generation`."""
        generation = self.generate(prompt, options)
        yield generation.text
        yield generation

    def _within(
        self,
        chosen: Sequence[Sequence[Place]],
        found: _Context,
        max_tokens: int | None,
    ) -> list[Sequence[Place]]:
        """Return the first of what was chosen, without what does not fit; at least the first."""
        if max_tokens is None:
            return list(chosen)
        kept: list[Sequence[Place]] = []
        for members in chosen:
            pieces = _pieces([place for some in (*kept, members) for place in some], found)
            if kept and self.counter.count(_joined(pieces)[0]) > max_tokens:
                break
            kept.append(members)
        return kept


@dataclass(frozen=True, slots=True)
class _Piece:
    """A span of the answer; what is not running text stands on lines of its own."""

    citation: Citation
    on_its_own: bool


class _Context:
    """What a context has of procedures, of what sentences introduce, and of spans."""

    def __init__(self, context: Sequence[ContextItem]) -> None:
        self._procedures: dict[tuple[str, Span], list[Place]] = {}
        self._introduced: dict[tuple[str, int], list[Place]] = {}
        self._items: dict[str, list[ContextItem]] = {}
        for item in context:
            document_id = item.hit.chunk.document_id
            self._items.setdefault(document_id, []).append(item)
            for sentence in item.sentences:
                unit = unit_of(sentence, item)
                place = (sentence, item)
                if unit.procedure is not None and unit.is_kept_alone:
                    self._procedures.setdefault((document_id, unit.procedure), []).append(place)
                for need in unit.needs:
                    if need.role == "lead_in":
                        self._introduced.setdefault((document_id, need.start), []).append(place)
        for items in self._items.values():
            items.sort(key=_start)

    def steps(self, document_id: str, procedure: Span) -> Sequence[Place]:
        """Return all that there is of a procedure."""
        return self._procedures.get((document_id, procedure), ())

    def introduced(self, sentence: ScoredSentence, item: ContextItem) -> Sequence[Place]:
        """Return what a sentence with a colon at its end introduces."""
        if sentence.text[-1:] not in {":", "："}:
            return ()
        return self._introduced.get((item.hit.chunk.document_id, sentence.start), ())

    def holder(self, document_id: str, start: int, end: int) -> ContextItem | None:
        """Return the item that holds a span of a document."""
        items = self._items.get(document_id, [])
        k = bisect_right(items, start, key=_start) - 1
        return items[k] if k >= 0 and end <= items[k].end else None


def _start(item: ContextItem) -> int:
    return item.start


def _pieces(chosen: Sequence[Place], context: _Context) -> list[_Piece]:
    """Return each chosen sentence once, after what it needs of the context, except headings.

    What only introduces others is followed by them, and a step stands in its whole procedure.
    """
    pieces: dict[tuple[str, int], _Piece] = {}
    whole: set[tuple[str, Span]] = set()
    for sentence, item in chosen:
        document_id, procedure = item.hit.chunk.document_id, unit_of(sentence, item).procedure
        if procedure is None:
            for found in [(sentence, item), *context.introduced(sentence, item)]:
                _add(pieces, *found, context)
        elif (document_id, procedure) not in whole:
            whole.add((document_id, procedure))
            for found in context.steps(document_id, procedure) or [(sentence, item)]:
                _add(pieces, *found, context)
    return list(pieces.values())


def _add(
    pieces: dict[tuple[str, int], _Piece],
    sentence: ScoredSentence,
    item: ContextItem,
    context: _Context,
) -> None:
    unit, document_id = unit_of(sentence, item), item.hit.chunk.document_id
    for need in unit.needs:
        if need.role == "heading" or (document_id, need.start) in pieces:
            continue
        holds = context.holder(document_id, need.start, need.end)
        if holds is not None:
            cited = Citation(hit=holds.hit, start=need.start, end=need.end, text=need.text)
            pieces[document_id, need.start] = _Piece(cited, on_its_own=True)
    cited = Citation(hit=item.hit, start=sentence.start, end=sentence.end, text=sentence.text)
    is_text = unit.kind == "sentence" and not unit.needs
    pieces.setdefault((document_id, sentence.start), _Piece(cited, on_its_own=not is_text))


def _joined(pieces: Sequence[_Piece]) -> tuple[str, tuple[Citation, ...]]:
    """Return the answer's text, and the citations with where each stands in it."""
    text = ""
    citations: list[Citation] = []
    for before, piece in zip((None, *pieces), pieces, strict=False):
        if before is not None:
            text += "\n" if before.on_its_own or piece.on_its_own else " "
        cited = piece.citation
        # Further lines are indented as in the document, and the first is to fit them.
        is_block = piece.on_its_own and "\n" in cited.text
        text += indentation(cited.hit.chunk, cited.start) if is_block else ""
        start = len(text)
        text += cited.text
        placed = replace(cited, supported=True, answer_start=start, answer_end=len(text))
        citations.append(placed)
    return text, tuple(citations)
