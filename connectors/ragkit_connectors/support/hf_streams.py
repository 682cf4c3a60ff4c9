"""Answers that a model of the transformers library writes in another thread, token by token."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

_ENDED = ""
"""What a stream's queue gives at its end; pieces are never empty."""


class Tensor(Protocol):
    """What is used of `torch.Tensor`."""

    shape: Sequence[int]
    dtype: object
    device: object

    def __getitem__(self, index: int) -> Tensor: ...

    def to(self, dtype: object) -> Tensor:
        """Return it in another type of numbers."""
        ...

    def tolist(self) -> list[int]:
        """Return its numbers."""
        ...


class TextStreamer(Protocol):
    """What is used of `transformers.TextIteratorStreamer`."""

    def __iter__(self) -> Iterator[str]: ...

    def put(self, value: Tensor) -> None:
        """Take tokens."""
        ...

    def end(self) -> None:
        """Take the end of the text."""
        ...

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Pass text on."""
        ...


class Run:
    """An answer that is written in another thread, which puts its tokens here."""

    def __init__(
        self,
        streamer: TextStreamer,
        to_tensor: Callable[[list[int]], Tensor],
        hidden: frozenset[int],
        deadline: float,
    ) -> None:
        self.deadline = deadline
        self.is_over = False
        self.is_late = False
        self.tokens: list[int] = []
        self.error: Exception | None = None
        self._streamer = streamer
        self._to_tensor = to_tensor
        self._hidden = hidden
        self._has_begun = False

    def put(self, value: Tensor) -> None:
        """Take what the model read, and after that each token that it writes."""
        if self._has_begun:
            shown = [token for token in value.tolist() if token not in self._hidden]
            if shown:
                self._streamer.put(self._to_tensor(shown))
        self._has_begun = True

    def end(self) -> None:
        """Take the end of the answer."""
        self._streamer.end()

    def fail(self) -> None:
        """Take that no more will come."""
        self._streamer.on_finalized_text("", stream_end=True)

    def texts(self) -> Iterator[str]:
        """Yield pieces of text as they come."""
        return (text for text in self._streamer if text != _ENDED)
