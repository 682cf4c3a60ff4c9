"""What an answer, or an ingest, uses of other machines: requests, bytes, tokens and texts.

A meter counts for the code that runs inside its `active()` block. Connectors find it by `meter()`,
and keep it where their work goes on in another thread, or after the block.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar


class Meter:
    """Counts what is used; safe to share between threads.

    Attributes:
        bytes_sent: Of the bodies of requests.
        bytes_received: Of the bodies of answers, as far as they were read.
        attempts: Requests to generate, those that were refused or failed included.
        embed_tokens: Tokens that embedding models read; None once an embedding has not told.
        embeds_remotely: Whether texts were sent elsewhere to be embedded.
        rerank_units: Texts that a reranker compared with a question.
        reranks_remotely: Whether texts were sent elsewhere to be reranked.
    """

    def __init__(self) -> None:
        self.bytes_sent = 0
        self.bytes_received = 0
        self.attempts = 0
        self.embed_tokens: int | None = 0
        self.embeds_remotely = False
        self.rerank_units = 0
        self.reranks_remotely = False
        self._n_told = 0
        self._lock = threading.Lock()

    def sent(self, n_bytes: int, *, generates: bool = False) -> None:
        """Count a request, and whether it is one to generate."""
        with self._lock:
            self.bytes_sent += n_bytes
            self.attempts += generates

    def received(self, n_bytes: int) -> None:
        """Count what came of an answer."""
        with self._lock:
            self.bytes_received += n_bytes

    def embedded(self, n_tokens: int | None) -> None:
        """Count the tokens of texts that were embedded; None: they are unknown."""
        with self._lock:
            self._n_told += 1
            known = self.embed_tokens
            self.embed_tokens = None if known is None or n_tokens is None else known + n_tokens

    @contextmanager
    def embedding(self) -> Generator[None]:
        """Embed in the body of the `with` statement; tokens that nobody tells are unknown."""
        n_told, n_bytes = self._n_told, self.bytes_sent
        try:
            yield
        finally:
            if self._n_told == n_told:
                self.embedded(None)
            self.embeds_remotely = self.embeds_remotely or self.bytes_sent > n_bytes

    @contextmanager
    def reranking(self, n_texts: int) -> Generator[None]:
        """Rerank so many texts in the body of the `with` statement."""
        n_bytes = self.bytes_sent
        self.rerank_units += n_texts
        try:
            yield
        finally:
            self.reranks_remotely = self.reranks_remotely or self.bytes_sent > n_bytes

    @contextmanager
    def active(self) -> Generator[None]:
        """Be what `meter()` returns in the body of the `with` statement."""
        token = _active.set(self)
        try:
            yield
        finally:
            _active.reset(token)


_active: ContextVar[Meter | None] = ContextVar("ragkit_meter", default=None)


def meter() -> Meter:
    """Return the meter that counts here; where there is none, one whose counts nobody reads."""
    return _active.get() or Meter()
