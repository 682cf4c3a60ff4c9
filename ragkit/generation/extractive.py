"""Answers made of verbatim sentences of the context: no language model, nothing made up."""

from __future__ import annotations

from collections.abc import Iterator

from ragkit.types import (
    Citation,
    ContextItem,
    Generation,
    GenerationOptions,
    Prompt,
    ScoredSentence,
    TokenCounter,
    Usage,
)

_CLOSE = 0.2
"""A second sentence is added if its score, a sum of z-scores, is this close to the best one's."""


class ExtractiveGenerator:
    """Answers with the best supported sentences of the context, cited.

    It is the best sentence, and a second one if its score comes close. The number in the
    fingerprint is increased when the same context gives a different answer than before.
    """

    name = "extractive"
    calls_llm = False

    def __init__(self, *, counter: TokenCounter, max_sentences: int = 2) -> None:
        self.counter: TokenCounter = counter
        self.fingerprint = f"{self.name}/1 sentences={max_sentences} counter={counter.name}"
        self._max_sentences = max_sentences

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Return the best sentences in document order; `options.max_tokens` is respected."""
        found = [
            (sentence, item)
            for item in prompt.context
            for sentence in item.sentences
            if not item.hit.chunk.is_heading(sentence.start)
        ] or [(sentence, item) for item in prompt.context for sentence in item.sentences]
        best = sorted(found, key=lambda pair: -pair[0].score)[: self._max_sentences]
        chosen = [pair for pair in best if pair[0].score >= best[0][0].score - _CLOSE]
        chosen = self._within(chosen, options.max_tokens)
        chosen.sort(key=found.index)
        text = " ".join(sentence.text for sentence, _ in chosen)
        return Generation(
            text=text,
            citations=tuple(_citation(*pair) for pair in chosen),
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
        self, chosen: list[tuple[ScoredSentence, ContextItem]], max_tokens: int | None
    ) -> list[tuple[ScoredSentence, ContextItem]]:
        if max_tokens is None:
            return chosen
        kept: list[tuple[ScoredSentence, ContextItem]] = []
        for pair in chosen:
            texts = [sentence.text for sentence, _ in [*kept, pair]]
            if kept and self.counter.count(" ".join(texts)) > max_tokens:
                break
            kept.append(pair)
        return kept


def _citation(sentence: ScoredSentence, item: ContextItem) -> Citation:
    return Citation(hit=item.hit, start=sentence.start, end=sentence.end, text=sentence.text)
