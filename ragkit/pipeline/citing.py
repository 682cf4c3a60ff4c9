"""Citations: the spans of the context that an answer cites, and whether they support it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ragkit.generation.candidates import unit_of
from ragkit.pipeline.citation_support import (
    NEW_WORDS_OF_ANOTHER,
    Source,
    Statement,
    Verdict,
    joined,
    judge,
    read,
    statement,
)
from ragkit.pipeline.labels import Claim, claims_of, sentences_of
from ragkit.text.sentences import sentence_spans
from ragkit.text.words import detect_language
from ragkit.types import Citation, ContextItem, Generation, ScoredSentence

SUPPORT = 0.5
"""Share of an answer sentence's words that a context sentence must hold to be cited for it."""


_MOST_OF_NEED = 500
"""Characters of a header or lead-in that are read with each row or item below it."""


def cite(generation: Generation, context: Sequence[ContextItem]) -> tuple[Citation, ...]:
    """Return the spans of documents that an answer cites, sentence by sentence.

    A generator's own citations come first; then labels such as `[1]` or `[1, 3-5]`, where the
    context has them: of a passage the runs that support the sentence or clause with the label,
    else the run that comes closest, or all of them if none has a word of it. Otherwise each
    sentence of the answer is matched with the context sentence that holds most of its words, at
    least half of them.

    `supported` says whether the passage says what it is cited for
    (`ragkit.pipeline.citation_support`); a citation that does not hold is returned, and says so.
    """
    answer = generation.text
    if generation.citations is not None:
        return tuple(_checked(c, answer) for c in generation.citations if _stands(c))
    tongue = _tongue(answer, (item.text for item in context))
    labels = {item.label for item in context if item.label is not None}
    claims = claims_of(answer, labels, tongue.read_as) if labels else []
    if claims:
        return tuple(_by_label(claims, context, tongue))
    return tuple(_by_words(answer, context, tongue))


class _Tongue(NamedTuple):
    """An answer's language, None if it cannot be told, and the language that it is read as."""

    own: str | None
    read_as: str | None


def _tongue(answer: str, texts: Iterable[str]) -> _Tongue:
    own = detect_language(answer)
    return _Tongue(own, own or detect_language("\n".join(texts)))


def _stands(citation: Citation) -> bool:
    chunk = citation.hit.chunk
    if not chunk.start <= citation.start < citation.end <= chunk.end:
        return False
    return chunk.text[citation.start - chunk.start : citation.end - chunk.start] == citation.text


def _checked(citation: Citation, answer: str) -> Citation:
    """Return a generator's own citation, compared with the sentence that it is for."""
    start, end = citation.answer_start, citation.answer_end
    if start is None or end is None or not 0 <= start < end <= len(answer):
        return replace(citation, answer_start=None, answer_end=None)
    if citation.supported is not None:
        return citation
    tongue = _tongue(answer, [citation.text])
    source = _source([citation.text], _names([citation]), tongue.read_as)
    what = statement(answer[start:end], language=tongue.read_as, own=tongue.own)
    verdict = judge(what, source)
    return replace(citation, supported=verdict.supported)


@dataclass(frozen=True, slots=True)
class _Passage:
    """Items of a context, and what their sentences say; `places` is where each of these stands."""

    items: Sequence[ContextItem]
    source: Source
    places: Sequence[_Place]


class _Place(NamedTuple):
    item: int
    start: int
    end: int


def _passage(items: Sequence[ContextItem], language: str | None) -> _Passage:
    """Return items as one passage; what is only there for others belongs to all its sentences."""
    texts: list[str] = []
    places: list[_Place] = []
    for i, item in enumerate(items):
        if item.role == "unit":
            for sentence in item.sentences or _sentences(item):
                needs = unit_of(sentence, item).needs
                texts.append("\n".join([*(n.text[:_MOST_OF_NEED] for n in needs), sentence.text]))
                places.append(_Place(i, sentence.start, sentence.end))
    others = [item.text for item in items if item.role != "unit"]
    return _Passage(items, _source(texts, [*_names(items), *others], language), places)


def _sentences(item: ContextItem) -> list[ScoredSentence]:
    """Return the sentences of an item that has none, from an index that others filled."""
    return [
        ScoredSentence(
            start=item.start + a, end=item.start + b, text=item.text[a:b], score=0.0, n_tokens=0
        )
        for a, b in sentence_spans(item.text)
    ]


def _names(cited: Iterable[ContextItem | Citation]) -> list[str]:
    """Return the titles and headings above what is cited."""
    found: dict[str, None] = {}
    for one in cited:
        heading = one.hit.chunk.location(one.start, one.start).heading or ()
        found.update(dict.fromkeys((one.hit.title, *heading)))
    return list(found)


def _source(texts: Sequence[str], frame: Sequence[str], language: str | None) -> Source:
    own = detect_language("\n".join([*texts, *frame]))
    return Source(
        sentences=[read(text, language=language, own=own) for text in texts],
        frame=read("\n".join(frame), language=language, own=own),
        language=own,
    )


def _by_label(
    claims: Sequence[Claim], context: Sequence[ContextItem], tongue: _Tongue
) -> Iterator[Citation]:
    items: dict[int, list[ContextItem]] = {}
    for item in context:
        if item.label is not None:
            items.setdefault(item.label, []).append(item)
    named = {label for claim in claims for label in claim.labels}
    passages = {label: _passage(items[label], tongue.read_as) for label in sorted(named)}
    for claim in claims:
        cited = [passages[label] for label in claim.labels]
        what = statement(claim.text, language=tongue.read_as, own=tongue.own)
        verdicts = _verdicts(what, [passage.source for passage in cited])
        for label, passage, verdict in zip(claim.labels, cited, verdicts, strict=True):
            for item in _runs(passage, verdict):
                yield Citation(
                    hit=item.hit,
                    start=item.start,
                    end=item.end,
                    text=item.text,
                    label=label,
                    supported=None if claim.is_code else verdict.supported,
                    answer_start=claim.start,
                    answer_end=claim.end,
                )


def _verdicts(what: Statement, sources: Sequence[Source]) -> list[Verdict]:
    """Judge the passages that are cited for one statement; several may support it together."""
    if len(sources) == 1:
        return [judge(what, sources[0])]
    together = judge(what, joined(sources), new_words=NEW_WORDS_OF_ANOTHER)
    verdicts: list[Verdict] = []
    before = 0
    for source in sources:
        behind = before + len(source.sentences)
        verdict = judge(what, source, more=sources)
        part = [i - before for i in together.best if before <= i < behind]
        if together.supported and part and not verdict.supported:
            verdict = Verdict(True, part)
        verdicts.append(verdict)
        before = behind
    return verdicts


def _runs(passage: _Passage, verdict: Verdict) -> list[ContextItem]:
    """Return the items to cite: those that support it, else the closest one, else all."""
    best = verdict.best if verdict.supported else verdict.best[:1]
    runs = sorted({passage.places[i].item for i in best})
    units = [item for item in passage.items if item.role == "unit"]
    return [passage.items[i] for i in runs] or units or list(passage.items)


def _by_words(answer: str, context: Sequence[ContextItem], tongue: _Tongue) -> Iterator[Citation]:
    documents: dict[str, list[ContextItem]] = {}
    for item in context:
        documents.setdefault(item.hit.chunk.document_id, []).append(item)
    passages = [_passage(items, tongue.read_as) for items in documents.values()]
    places = [(passage, i) for passage in passages for i in range(len(passage.places))]
    for start, end, is_code in sentences_of(answer):
        what = statement(answer[start:end], language=tongue.read_as, own=tongue.own)
        if not what.words or not places:
            continue
        n_held = [len(what.words & passage.source.sentences[i].words) for passage, i in places]
        most = max(n_held)
        if most < SUPPORT * len(what.words):
            continue
        passage, closest = places[n_held.index(most)]
        verdict = judge(what, passage.source, more=[passage.source for passage in passages])
        for i in sorted(verdict.best) if verdict.supported else [closest]:
            place = passage.places[i]
            item = passage.items[place.item]
            yield Citation(
                hit=item.hit,
                start=place.start,
                end=place.end,
                text=item.text[place.start - item.start : place.end - item.start],
                supported=None if is_code else verdict.supported,
                answer_start=start,
                answer_end=end,
            )
