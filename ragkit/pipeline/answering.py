"""Answers: what was said, on what evidence, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ragkit.errors import ConfigError
from ragkit.prompts import item_labels
from ragkit.text.words import detect_language, query_terms
from ragkit.types import (
    Citation,
    ContextItem,
    Generation,
    Json,
    RefusalReason,
    StopReason,
    TokenCounter,
    Turn,
    Usage,
    token_count,
)

if TYPE_CHECKING:
    from ragkit.costs.receipt import Receipt

_STOP_REASONS: dict[str, StopReason] = {
    "end": "end",
    "end_turn": "end",
    "eos_token": "end",
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "content_filter": "filter",
    "content_filtered": "filter",
    "guardrail_intervened": "guardrail",
    "timeout": "timeout",
}
"""What OpenAI, Ollama, Bedrock and Text Generation Inference say, in the words of an answer."""

SUPPORT = 0.5
"""Share of an answer sentence's words that a context sentence must hold to be cited for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How well the retrieved text supports an answer, in [0, 1], against the refusal threshold."""

    score: float | None
    threshold: float | None
    calibrated: bool = False

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit ask`."""
        return {"score": self.score, "threshold": self.threshold, "calibrated": self.calibrated}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrimUse:
    """Which trim policy was applied."""

    name: str
    sha256: str | None = None
    certified: bool = False
    stale: bool = False
    void_because: str | None = None

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit ask`."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "certified": self.certified,
            "stale": self.stale,
            "void_because": self.void_because,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer, or a refusal: then `text` and `prompt` are None and `reason` says why.

    With a dry run `text` is None and `refused` is false. `prompt` is the exact text sent.
    `stop_reason` says why the text ends, `timeout` where it was cut; None: unknown, or no text.
    """

    id: str | None
    question: str
    text: str | None
    refused: bool
    reason: RefusalReason | None
    evidence: Evidence
    citations: tuple[Citation, ...]
    context: tuple[ContextItem, ...]
    usage: Usage
    prompt: str | None
    trim: TrimUse | None
    receipt: Receipt
    stop_reason: StopReason | None = None

    def to_dict(self, *, with_prompt: bool = True) -> dict[str, Json]:
        """Return the JSON form of `ragkit ask`."""
        data: dict[str, Json] = {
            "schema": 1,
            "id": self.id,
            "question": self.question,
            "text": self.text,
            "refused": self.refused,
            "reason": self.reason,
            "stop_reason": self.stop_reason,
            "evidence": self.evidence.to_dict(),
            "citations": [citation.to_dict() for citation in self.citations],
            "context": [item.to_dict() for item in self.context],
            "usage": self.usage.to_dict(),
            "trim": None if self.trim is None else self.trim.to_dict(),
            "receipt": self.receipt.to_dict(),
        }
        if with_prompt:
            data["prompt"] = self.prompt
        return data


def stop_reason(generation: Generation | None) -> StopReason | None:
    """Return why a text ends, in words that do not depend on the server; None: unknown."""
    return None if generation is None else _STOP_REASONS.get(generation.stop_reason or "")


def cite(
    generation: Generation,
    context: Sequence[ContextItem],
    *,
    labelled: bool,
    history: Sequence[Turn] = (),
) -> tuple[Citation, ...]:
    """Return the spans of documents that support an answer; only what can be checked.

    A generator's own citations come first; then labels such as `[1]`, where the template gave
    them; otherwise each sentence of the answer is matched with the context sentence that holds
    most of its words, at least half of them.
    """
    if generation.citations is not None:
        return tuple(c for c in generation.citations if _stands(c))
    if labelled:
        cited = _by_label(generation.text, context, history)
        if cited:
            return cited
    return _by_words(generation.text, context)


def _stands(citation: Citation) -> bool:
    chunk = citation.hit.chunk
    if not chunk.start <= citation.start < citation.end <= chunk.end:
        return False
    return chunk.text[citation.start - chunk.start : citation.end - chunk.start] == citation.text


def _by_label(
    answer: str, context: Sequence[ContextItem], history: Sequence[Turn]
) -> tuple[Citation, ...]:
    import re

    labelled = dict(zip(item_labels(context, history), context, strict=True))
    numbers = dict.fromkeys(int(n) for n in re.findall(r"\[(\d{1,6})\]", answer))
    items = [labelled[n] for n in numbers if n in labelled]
    return tuple(
        Citation(hit=item.hit, start=item.start, end=item.end, text=item.text) for item in items
    )


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


class AnswerStream:
    """Pieces of an answer as they come; `answer` is the whole once they are used up."""

    def __init__(
        self,
        pieces: Iterator[str | Generation],
        finish: Callable[[Generation | None], Answer],
    ) -> None:
        self._pieces = pieces
        self._finish = finish
        self._generation: Generation | None = None
        self._answer: Answer | None = None

    def __iter__(self) -> AnswerStream:
        return self

    def __next__(self) -> str:
        for piece in self._pieces:
            if isinstance(piece, str):
                return piece
            self._generation = piece
        if self._answer is None:
            self._answer = self._finish(self._generation)
        raise StopIteration

    @property
    def answer(self) -> Answer:
        """The whole answer; pieces not yet read are read first."""
        for _ in self:
            pass
        assert self._answer is not None  # noqa: S101 (set when the loop ends)
        return self._answer


def read_turns(history: Sequence[Turn | Mapping[str, str]]) -> list[Turn]:
    """Return earlier turns given as such or as `{"role", "content"}`; raises `ConfigError`."""
    turns: list[Turn] = []
    for turn in history:
        if isinstance(turn, Turn):
            turns.append(turn)
            continue
        role, content = turn.get("role"), turn.get("content")
        if role not in ("user", "assistant") or not isinstance(content, str):
            raise ConfigError(
                f"history turn {repr(dict(turn))[:200]}; allowed: an object with role (user or "
                "assistant) and content (text)"
            )
        turns.append(Turn(role="user" if role == "user" else "assistant", content=content))
    return turns


def newest_turns(
    history: Sequence[Turn],
    cap: int,
    counter: TokenCounter,
    render: Callable[[Sequence[Turn]], str],
) -> list[Turn]:
    """Return the newest turns that have at most `cap` tokens as they are sent, oldest first.

    A turn costs its role and separators too, and at least a token: turns without a word are not
    free, and a long history is not read to its end.
    """
    kept: list[Turn] = []
    n_tokens = 0
    for turn in reversed(history):
        n_tokens += max(1, counter.count(render([turn])))
        if n_tokens > cap:
            break
        kept.append(turn)
    kept.reverse()
    # Tokens of joined turns may exceed the sum of theirs, so what is sent is counted.
    while kept and counter.count(render(kept)) > cap:
        del kept[0]
    return kept


def sound_usage(usage: object) -> Usage:
    """Return what a generator says it used, each number that cannot be one as unknown."""
    if not isinstance(usage, Usage):
        return Usage()
    return replace(
        usage,
        input_tokens=token_count(usage.input_tokens),
        output_tokens=token_count(usage.output_tokens),
        cached_tokens=token_count(usage.cached_tokens),
    )
