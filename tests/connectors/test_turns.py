"""Turns at a model that answers one question at a time."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.types import GenerationOptions
from ragkit_connectors.support.limits import BASE_STOP, limited
from ragkit_connectors.support.turns import Turns

WAIT_SECONDS = 20.0


def _waiting(turns: Turns, order: list[int], n: int, n_before: int) -> threading.Thread:
    """Return a thread that waits for its turn, once it does."""

    def serve() -> None:
        assert turns.take(WAIT_SECONDS)
        order.append(n)
        turns.give_back()

    thread = threading.Thread(target=serve)
    thread.start()
    while len(turns._waiting) <= n_before:  # pyright: ignore[reportPrivateUsage]
        pass
    return thread


def test_who_asks_first_is_served_first() -> None:
    """Whatever the threads' number."""
    turns, order = Turns(), list[int]()
    assert turns.take()
    threads = [_waiting(turns, order, n, n) for n in range(5)]
    turns.give_back()
    for thread in threads:
        thread.join()
    assert order == list(range(5))


def test_who_gives_up_leaves_the_queue() -> None:
    """The turn goes to the next one, and is free after that."""
    turns, order = Turns(), list[int]()
    assert turns.take()
    assert not turns.take(0.0)
    thread = _waiting(turns, order, 1, 0)
    assert not turns.take(0.01)
    turns.give_back()
    thread.join()
    assert turns.take(0.0)


def test_an_interrupted_wait_leaves_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is interrupted while it waits leaves nobody who would be given the turn."""
    turns = Turns()
    assert turns.take()

    def interrupted(_self: threading.Event, _seconds: float | None = None) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(threading.Event, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            turns.take()
    turns.give_back()
    assert turns.take(0.0)


@given(st.booleans(), st.integers(-5, 100_000), st.integers(1, 10_000))
def test_limits_are_only_those_not_asked_for(is_base: bool, n_left: int, n_asked: int) -> None:
    """A number of tokens that is given stays; else there is one that the window holds."""
    given_ = GenerationOptions(max_tokens=n_asked, stop=("x",))
    assert limited(given_, is_base=is_base, n_left=n_left) == given_
    found = limited(GenerationOptions(), is_base=is_base, n_left=n_left)
    assert found.max_tokens is not None
    assert 1 <= found.max_tokens <= max(1, n_left)
    assert found.stop == (BASE_STOP if is_base else ())
