"""Citations: the spans of the context that support an answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ragkit.text.words import detect_language, query_terms
from ragkit.types import Citation, ContextItem, Generation

SUPPORT = 0.5
"""Share of an answer sentence's words that a context sentence must hold to be cited for it."""


def cite(generation: Generation, context: Sequence[ContextItem]) -> tuple[Citation, ...]:
    """Return the spans of documents that support an answer; only what can be checked.

    A generator's own citations come first; then labels such as `[1]` or `[1, 3-5]`, where the
    context has them:
    of a passage the runs that hold at least half the words of what is said before its label, or
    all if none does. Otherwise each sentence of the answer is matched with the context sentence
    that holds most of its words, at least half of them.
    """
    if generation.citations is not None:
        return tuple(c for c in generation.citations if _stands(c))
    return _by_label(generation.text, context) or _by_words(generation.text, context)


def _stands(citation: Citation) -> bool:
    chunk = citation.hit.chunk
    if not chunk.start <= citation.start < citation.end <= chunk.end:
        return False
    return chunk.text[citation.start - chunk.start : citation.end - chunk.start] == citation.text


def _by_label(answer: str, context: Sequence[ContextItem]) -> tuple[Citation, ...]:
    passages: dict[int | None, dict[int, set[str]]] = {}
    language = detect_language(answer)
    for i, item in enumerate(context):
        if item.role == "unit":
            words = set(query_terms(item.text, language=language))
            passages.setdefault(item.label, {})[i] = words
    cited: dict[int, dict[int, None]] = {}
    said = set[str]()
    for claim, labels in _claims(answer, last=len(context)):
        # Labels without words between them stand for the same.
        said = set(query_terms(claim, language=language)) or said
        for label in labels:
            passage = passages.get(label, {})
            cited.setdefault(label, {}).update(
                (i, None) for i, words in passage.items() if _holds(words, said)
            )
    runs = [i for label, found in cited.items() for i in found or passages.get(label, {})]
    items = [context[i] for i in runs]
    return tuple(
        Citation(hit=item.hit, start=item.start, end=item.end, text=item.text) for item in items
    )


def _claims(answer: str, *, last: int) -> Iterator[tuple[str, list[int]]]:
    """Yield what stands before each label, or list of labels, and the numbers that it names.

    Models write `[1, 2]`, `[1-3]`, `[^1]`, `【1】` and `【1†source】` as well. No list has a 0, and
    numbers above `last` are no labels.
    """
    import re

    one = r"\^?\d{1,6}"
    apart = r"\s{0,3}[-–—,;，、]\s{0,3}"
    numbers_or_source = rf"({one}(?:{apart}{one}){{0,99}})(?:†[^\]】］]{{0,99}})?"
    claim, *rest = re.split(rf"[\[【［]{numbers_or_source}[\]】］]", answer)
    for named, after in zip(rest[::2], rest[1::2], strict=True):
        numbers: dict[int, None] = {}
        for first, to in re.findall(r"(\d+)(?:\s*[-–—]\s*\^?(\d+))?", named):
            until = min(int(to or first), last)
            numbers.update(dict.fromkeys(range(int(first), until + 1)))
        yield claim, [] if 0 in numbers else list(numbers)
        claim = after


def _holds(words: set[str], said: set[str]) -> bool:
    return len(words & said) >= SUPPORT * len(said)


def _by_words(answer: str, context: Sequence[ContextItem]) -> tuple[Citation, ...]:
    from ragkit.text.sentences import sentence_spans

    language = detect_language(answer)
    sentences = [(sentence, item) for item in context for sentence in item.sentences]
    words = [set(query_terms(s.text, language=language)) for s, _ in sentences]
    found: dict[int, None] = {}
    for start, end in sentence_spans(answer):
        wanted = set(query_terms(answer[start:end], language=language))
        if not wanted or not sentences:
            continue
        shares = [len(wanted & held) / len(wanted) for held in words]
        best = max(range(len(shares)), key=shares.__getitem__)
        if shares[best] >= SUPPORT:
            found[best] = None
    return tuple(
        Citation(hit=item.hit, start=sentence.start, end=sentence.end, text=sentence.text)
        for sentence, item in (sentences[i] for i in sorted(found))
    )
