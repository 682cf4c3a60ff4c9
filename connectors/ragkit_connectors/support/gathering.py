"""What has come of an answer so far, so that nothing of it is lost when it does not end well."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ragkit.errors import RemoteError, RemoteTimeoutError
from ragkit.types import Citation, Generation, Usage
from ragkit_connectors.support.json_values import one_line, text

_NAME_CHARACTERS = 200


@dataclass(slots=True)
class Gathered:
    """What a model has said so far, and what its server has told about it."""

    texts: list[str] = field(default_factory=list[str])
    thoughts: list[str] = field(default_factory=list[str])
    citations: list[Citation] = field(default_factory=list[Citation])
    usage: Usage = field(default_factory=Usage)
    stop_reason: str | None = None
    served_model: str | None = None
    served_tier: str | None = None
    server_seconds: float | None = None

    def add(self, piece: str, thoughts: str = "") -> str:
        """Add a piece of the text, and one of the thoughts; return the text."""
        if piece:
            self.texts.append(piece)
        if thoughts:
            self.thoughts.append(thoughts)
        return piece

    def told(
        self, *, model: object = None, tier: object = None, seconds: float | None = None
    ) -> None:
        """Note what the server says to have used, and how long it took; the rest stays.

        A name is one short line, and a time is one that can be.
        """
        self.served_model = one_line(text(model), _NAME_CHARACTERS) or self.served_model
        self.served_tier = one_line(text(tier), _NAME_CHARACTERS) or self.served_tier
        if seconds is not None and 0.0 <= seconds < float("inf"):
            self.server_seconds = seconds

    def generation(self, stop_reason: str | None = None) -> Generation:
        """Return all of it; a reason that is given stands in for the server's."""
        return Generation(
            text="".join(self.texts),
            usage=self.usage,
            citations=tuple(self.citations) or None,
            stop_reason=stop_reason or one_line(self.stop_reason or "", _NAME_CHARACTERS) or None,
            reasoning="".join(self.thoughts) or None,
            served_model=self.served_model,
            served_tier=self.served_tier,
            server_seconds=self.server_seconds,
        )

    def ended(self) -> Generation:
        """Return all of it, now that the answer has ended.

        Raises:
            RemoteError: the model said nothing, and the server does not say why.
        """
        if not (self.stop_reason or self.thoughts or "".join(self.texts).strip()):
            raise RemoteError("the server's answer holds no text, and no reason why it ends")
        return self.generation()

    @contextmanager
    def kept_on_error(self) -> Generator[None]:
        """Give a `RemoteError` what is known of the answer: it may have been billed."""
        try:
            yield
        except RemoteError as error:
            if error.generation is None and self != Gathered():
                error.generation = self.generation("error")
            raise

    def streamed(self, pieces: Iterable[str | Generation]) -> Iterator[str | Generation]:
        """Yield a stream, of which nothing is lost where it breaks off.

        Where time runs out after some text came, a `Generation` of it comes last, with the
        `stop_reason` `timeout`.

        Raises:
            RemoteTimeoutError: time ran out before there was text.
            RemoteError: the stream failed; `generation` is what is known of the answer.
        """
        try:
            with self.kept_on_error():
                yield from pieces
        except RemoteTimeoutError:
            if not "".join(self.texts).strip():
                raise
            yield self.generation("timeout")
