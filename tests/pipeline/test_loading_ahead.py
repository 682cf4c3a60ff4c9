"""Documents that are loaded before their turn: small ones at once, large ones one at a time."""

from __future__ import annotations

import threading
import time
from functools import partial

from ragkit import Document
from ragkit.costs.stopwatch import Stopwatch
from ragkit.loading.turns import LARGE_BYTES, wait_for_turn
from ragkit.pipeline.loading_ahead import LoadingAhead
from ragkit.types import PendingDocument

N = 6


class Loading:
    """Notes which documents are held."""

    def __init__(self, n_bytes: int) -> None:
        self.n_bytes = n_bytes
        self.begun = [threading.Event() for _ in range(N)]
        self.held: list[int] = []

    def items(self) -> list[PendingDocument]:
        """Return documents that say when their text is held."""
        return [
            PendingDocument(id=str(k), source="", fingerprint="", load=partial(self.load, k))
            for k in range(N)
        ]

    def load(self, number: int) -> Document:
        """Return a document of so many bytes."""
        self.begun[number].set()
        wait_for_turn(self.n_bytes)
        self.held.append(number)
        return Document(id=str(number), text="Text.")


def test_large_documents_are_held_one_at_a_time() -> None:
    """Others are parsed meanwhile, and passed over ones let the next one go on."""
    loading, ahead = Loading(LARGE_BYTES), LoadingAhead(3, Stopwatch())
    items = loading.items()
    ahead.expect(items)
    for k in (0, 1, 3, 5):
        assert loading.begun[k].wait(60)
        assert all(number < k for number in loading.held)
        assert ahead.load(items[k]).id == str(k)
    ahead.close()


def test_small_documents_do_not_wait() -> None:
    """As many as there are threads, and one more, are held before the first is taken."""
    loading, ahead = Loading(LARGE_BYTES - 1), LoadingAhead(3, Stopwatch())
    items = loading.items()
    ahead.expect(items)
    until = time.monotonic() + 60
    while len(loading.held) < 4 and time.monotonic() < until:
        time.sleep(0.001)
    assert sorted(loading.held) == [0, 1, 2, 3]
    assert [ahead.load(item).id for item in items] == [str(k) for k in range(N)]
    ahead.close()


def test_closing_lets_all_go() -> None:
    """Nothing waits for ever behind a document that nobody takes."""
    loading, ahead = Loading(LARGE_BYTES), LoadingAhead(3, Stopwatch())
    ahead.expect(loading.items())
    for begun in loading.begun[:3]:
        assert begun.wait(60)
    ahead.close()
    assert len(loading.held) >= 3
