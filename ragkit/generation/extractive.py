"""Answers made of verbatim sentences of the context: no language model, nothing made up."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ragkit.text.passages import indentation
from ragkit.types import (
    Citation,
    ContextItem,
    Generation,
    GenerationOptions,
    Prompt,
    ScoredSentence,
    TokenCounter,
    Unit,
    Usage,
)

_CLOSE = 0.2
"""A second sentence is added if its score, a sum of z-scores, is this close to the best one's."""


class ExtractiveGenerator:
    """Answers with the best supported sentences of the context, cited.

    It is the best sentence, and a second one if its score comes close; or a step, a table row, a
    block of code or the like, below what it cannot be read without. The number in the fingerprint
    is increased when the same context gives a different answer than before.
    """

    name = "extractive"
    calls_llm = False

    def __init__(self, *, counter: TokenCounter, max_sentences: int = 2) -> None:
        self.counter: TokenCounter = counter
        self.fingerprint = f"{self.name}/1 sentences={max_sentences} counter={counter.name}"
        self._max_sentences = max_sentences

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Return the best sentences in document order; `options.max_tokens` is respected."""
        context = prompt.context
        sentences = [(sentence, item) for item in context for sentence in item.sentences]
        own = [pair for pair in sentences if _is_kept_alone(*pair)]
        found = [pair for pair in own if not pair[1].hit.chunk.is_heading(pair[0].start)] or own
        best = sorted(found, key=lambda pair: -pair[0].score)[: self._max_sentences]
        chosen = [pair for pair in best if pair[0].score >= best[0][0].score - _CLOSE]
        chosen = self._within(chosen, context, options.max_tokens)
        chosen.sort(key=found.index)
        pieces = _pieces(chosen, context)
        text = _text(pieces)
        return Generation(
            text=text,
            citations=tuple(piece.citation for piece in pieces),
            usage=Usage(
                input_tokens=self.counter.count(prompt.text),
                output_tokens=self.counter.count(text),
                exact=True,
                counter=self.counter.name,
            ),
            stop_reason="end",
        )

    def stream(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str | Generation]:
        """Yield the answer in one piece, then the `Generation`."""
        generation = self.generate(prompt, options)
        yield generation.text
        yield generation

    def _within(
        self,
        chosen: list[tuple[ScoredSentence, ContextItem]],
        context: Sequence[ContextItem],
        max_tokens: int | None,
    ) -> list[tuple[ScoredSentence, ContextItem]]:
        if max_tokens is None:
            return chosen
        kept: list[tuple[ScoredSentence, ContextItem]] = []
        for pair in chosen:
            text = _text(_pieces([*kept, pair], context))
            if kept and self.counter.count(text) > max_tokens:
                break
            kept.append(pair)
        return kept


@dataclass(frozen=True, slots=True)
class _Piece:
    """A span of the answer; what is not running text stands on lines of its own."""

    citation: Citation
    on_its_own: bool


def _is_kept_alone(sentence: ScoredSentence, item: ContextItem) -> bool:
    """Whether a sentence says something, and is not there only for others."""
    unit = _unit(sentence, item)
    return sentence.role == "unit" and (unit is None or unit.is_kept_alone)


def _unit(sentence: ScoredSentence, item: ContextItem) -> Unit | None:
    units = item.hit.chunk.units
    k = bisect_left(units, sentence.start, key=lambda unit: unit.start)
    return units[k] if k < len(units) and units[k].start == sentence.start else None


def _pieces(
    chosen: Sequence[tuple[ScoredSentence, ContextItem]], context: Sequence[ContextItem]
) -> list[_Piece]:
    """Return each chosen sentence once, after what it needs of the context, except headings.

    What only introduces others is followed by them, and a step stands in its whole procedure.
    """
    pieces: dict[tuple[str, int], _Piece] = {}
    for sentence, item in chosen:
        steps = list(_procedure(sentence, item, context))
        for found in steps or [(sentence, item), *_introduced(sentence, item, context)]:
            _add(pieces, *found, context)
    return list(pieces.values())


def _procedure(
    sentence: ScoredSentence, item: ContextItem, context: Sequence[ContextItem]
) -> Iterator[tuple[ScoredSentence, ContextItem]]:
    """Yield all that the context has of the procedure that a sentence is a step of."""
    unit = _unit(sentence, item)
    if unit is None or unit.procedure is None:
        return
    for other in context:
        if other.hit.chunk.document_id == item.hit.chunk.document_id:
            for step in other.sentences:
                found = _unit(step, other)
                if found and found.is_kept_alone and found.procedure == unit.procedure:
                    yield step, other


def _introduced(
    sentence: ScoredSentence, item: ContextItem, context: Sequence[ContextItem]
) -> Iterator[tuple[ScoredSentence, ContextItem]]:
    """Yield what a sentence with a colon at its end introduces, as far as the context has it."""
    if sentence.text[-1:] not in {":", "："} or not item.hit.chunk.units:
        return
    document_id = item.hit.chunk.document_id
    for other in context:
        if other.hit.chunk.document_id != document_id:
            continue
        for introduced in other.sentences:
            unit = _unit(introduced, other)
            needs = () if unit is None else unit.needs
            if any(n.role == "lead_in" and n.start == sentence.start for n in needs):
                yield introduced, other


def _add(
    pieces: dict[tuple[str, int], _Piece],
    sentence: ScoredSentence,
    item: ContextItem,
    context: Sequence[ContextItem],
) -> None:
    unit, document_id = _unit(sentence, item), item.hit.chunk.document_id
    for need in () if unit is None else unit.needs:
        if need.role == "heading" or (document_id, need.start) in pieces:
            continue
        holds = _holder(context, document_id, need.start, need.end)
        if holds is not None:
            cited = Citation(hit=holds.hit, start=need.start, end=need.end, text=need.text)
            pieces[document_id, need.start] = _Piece(cited, on_its_own=True)
    cited = Citation(hit=item.hit, start=sentence.start, end=sentence.end, text=sentence.text)
    is_text = unit is None or (unit.kind == "sentence" and not unit.needs)
    pieces.setdefault((document_id, sentence.start), _Piece(cited, on_its_own=not is_text))


def _holder(
    context: Sequence[ContextItem], document_id: str, start: int, end: int
) -> ContextItem | None:
    """Return the item of the context that holds a span of a document."""
    for item in context:
        if item.hit.chunk.document_id == document_id and item.start <= start and end <= item.end:
            return item
    return None


def _text(pieces: Sequence[_Piece]) -> str:
    text = ""
    for before, piece in zip((None, *pieces), pieces, strict=False):
        if before is not None:
            text += "\n" if before.on_its_own or piece.on_its_own else " "
        cited = piece.citation
        # Further lines are indented as in the document, and the first is to fit them.
        is_block = piece.on_its_own and "\n" in cited.text
        text += indentation(cited.hit.chunk, cited.start) if is_block else ""
        text += cited.text
    return text
