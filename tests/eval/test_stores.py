"""Stores that evaluations make and share."""

from __future__ import annotations

import threading
from pathlib import Path

from ragkit import Settings
from ragkit.storage import LocalStore
from ragkit_eval.data.datasets import load_dataset
from ragkit_eval.running.cache import Cache
from ragkit_eval.running.stores import OpenedRag

from .made import make_dataset

WORDS = Settings(embedder="none")


def test_two_evaluations_share_a_store(tmp_path: Path) -> None:
    """The second waits while the first makes the store, says so once, and finds it made."""
    dataset = load_dataset(make_dataset(tmp_path / "town"))
    with Cache(tmp_path / "cache") as cache:
        with OpenedRag(dataset, WORDS, cache) as opened:
            folder = Path(str(opened.rag.settings.store))
        notices: list[str] = []
        told = threading.Event()

        def notify(message: str) -> None:
            notices.append(message)
            told.set()

        store = LocalStore(folder)
        with store.exclusive():
            release = threading.Event()

            def second() -> None:
                with (
                    Cache(tmp_path / "cache") as own,
                    OpenedRag(dataset, WORDS, own, notify=notify) as waited,
                ):
                    found.append(len(list(waited.rag.list())))
                release.set()

            found: list[int] = []
            thread = threading.Thread(target=second)
            thread.start()
            assert told.wait(120)
            assert not release.is_set()
        thread.join()
        store.close()
    assert found == [5]
    assert len(notices) == 1
    assert "being written by another process" in notices[0]
