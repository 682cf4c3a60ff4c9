"""The dataset of a command, and a pipeline over its documents."""

from __future__ import annotations

import argparse
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.cli import output

if TYPE_CHECKING:
    from collections.abc import Generator

    from ragkit.config import Settings
    from ragkit.types import Generator as AnswerGenerator
    from ragkit_eval.data.datasets import Dataset
    from ragkit_eval.running.cache import Cache
    from ragkit_eval.running.stores import OpenedRag


def read_dataset(args: argparse.Namespace) -> Dataset:
    """Return the dataset that a command's arguments name."""
    from ragkit_eval.data.datasets import load_dataset

    dataset = load_dataset(args.dataset, split=args.split, needed=args.evidence)
    return dataset.limited(args.limit)


@contextmanager
def open_cache(args: argparse.Namespace) -> Generator[Cache]:
    """Open the cache that a command's arguments name."""
    from ragkit_eval.running.cache import Cache

    with Cache(args.cache) as cache:
        yield cache


@contextmanager
def open_over(
    dataset: Dataset,
    args: argparse.Namespace,
    settings: Settings,
    *,
    generator: AnswerGenerator | None = None,
) -> Generator[OpenedRag]:
    """Open a pipeline over the dataset's documents, or over the store that was named.

    `generator` takes the place of that of the settings.
    """
    from ragkit.cli.progress import Bar
    from ragkit_eval.running.stores import OpenedRag

    with open_cache(args) as cache:
        # Programs follow the questions; the progress of the ingest is for people only.
        with Bar("off" if args.progress == "json" else args.progress) as bar:
            opened = OpenedRag(
                dataset,
                settings,
                cache,
                store=args.store or _own_store(dataset, settings),
                generator=generator,
                notify=output.tell,
                on_progress=bar.advance,
            )
        with opened:
            yield opened


def with_documents(
    dataset: Dataset, args: argparse.Namespace, settings: Settings
) -> tuple[Dataset, Settings]:
    """Return a dataset over the documents of the store that was named, or of the user's own.

    Its embedder is the store's, unless the settings name another.
    """
    from dataclasses import replace

    from ragkit_eval.running.stores import stored_documents, stored_embedder

    store = args.store or _own_store(dataset, settings)
    if store is None:
        return dataset, settings
    documents = stored_documents(store)
    return (
        replace(dataset, corpus=None, documents=documents),
        replace(settings, embedder=settings.embedder or stored_embedder(Path(store))),
    )


def _own_store(dataset: Dataset, settings: Settings) -> str | None:
    """Return the user's store, if it exists, for labels that come without documents."""
    from ragkit.storage.database import has_store

    if dataset.corpus is not None or dataset.documents:
        return None
    return settings.store if has_store(Path(settings.store)) else None
