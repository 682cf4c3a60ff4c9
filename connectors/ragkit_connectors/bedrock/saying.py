"""What Converse answers: text, thoughts, citations, and what Bedrock tells about the answer."""

from __future__ import annotations

from collections.abc import Sequence

from ragkit.types import Citation, ContextItem, Usage
from ragkit_connectors.support.gathering import Gathered
from ragkit_connectors.support.json_values import (
    Record,
    count,
    number,
    record,
    records,
    text,
    text_or_none,
)


class Said:
    """What has come of one answer; a stream's events are added one by one.

    Args:
        gathered: Where it goes.
        context: What was sent, with which the sources of citations are compared.
    """

    def __init__(self, gathered: Gathered, context: Sequence[ContextItem]) -> None:
        self._gathered = gathered
        self._context = context
        self._n_characters = 0
        self._spans: dict[int | None, tuple[int, int]] = {}
        self._cited: list[tuple[int | None, Record]] = []

    def whole(self, answer: Record) -> None:
        """Add a whole answer."""
        message = record(record(answer.get("output")).get("message"))
        for index, block in enumerate(records(message.get("content"))):
            cited = record(block.get("citationsContent"))
            texts = [block, *records(cited.get("content"))]
            reasoning = record(record(block.get("reasoningContent")).get("reasoningText"))
            self._add(index, "".join(text(part.get("text")) for part in texts), reasoning)
            self._cited += [(index, citation) for citation in records(cited.get("citations"))]
        self._gathered.stop_reason = text_or_none(answer.get("stopReason"))
        self._told(answer)

    def event(self, event: Record) -> str:
        """Add an event of a stream, and return its text."""
        block = record(event.get("contentBlockDelta"))
        delta, index = record(block.get("delta")), count(block.get("contentBlockIndex"))
        if "citation" in delta:
            self._cited.append((index, record(delta["citation"])))
        reason = text_or_none(record(event.get("messageStop")).get("stopReason"))
        self._gathered.stop_reason = reason or self._gathered.stop_reason
        if "metadata" in event:
            self._told(record(event["metadata"]))
        return self._add(index, text(delta.get("text")), record(delta.get("reasoningContent")))

    def end(self) -> None:
        """Add the citations whose sources stand in what was sent; of others nothing is known."""
        found = (self._citation(index, citation) for index, citation in self._cited)
        self._gathered.citations += [citation for citation in found if citation is not None]

    def _add(self, index: int | None, piece: str, reasoning: Record) -> str:
        end = self._n_characters + len(piece)
        start, _ = self._spans.get(index, (self._n_characters, 0))
        self._spans[index] = start, end
        self._n_characters = end
        return self._gathered.add(piece, text(reasoning.get("text")))

    def _told(self, about: Record) -> None:
        """Add what Bedrock tells about an answer."""
        self._gathered.usage = _usage(record(about.get("usage")))
        router = record(record(about.get("trace")).get("promptRouter"))
        milliseconds = number(record(about.get("metrics")).get("latencyMs"))
        self._gathered.told(
            model=router.get("invokedModelId"),
            tier=record(about.get("serviceTier")).get("type")
            or record(about.get("performanceConfig")).get("latency"),
            seconds=None if milliseconds is None else milliseconds / 1000.0,
        )

    def _citation(self, index: int | None, citation: Record) -> Citation | None:
        source = "".join(text(part.get("text")) for part in records(citation.get("sourceContent")))
        source = source.strip()
        start, end = self._spans.get(index, (0, 0))
        for item in self._context if source else ():
            at = item.text.find(source)
            if at >= 0:
                return Citation(
                    hit=item.hit,
                    start=item.start + at,
                    end=item.start + at + len(source),
                    text=source,
                    label=item.label,
                    answer_start=start if start < end else None,
                    answer_end=end if start < end else None,
                )
        return None


def _usage(counts: Record) -> Usage:
    if not counts:
        return Usage()
    # Bedrock counts what was read from or written to its cache apart.
    new, read, written = (
        count(counts.get(name))
        for name in ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
    )
    return Usage(
        input_tokens=None if new is None else new + (read or 0) + (written or 0),
        output_tokens=count(counts.get("outputTokens")),
        cached_tokens=read,
        exact=True,
        counter="bedrock",
    )
