"""The dataset of a command, and a pipeline over its documents."""

from __future__ import annotations

import argparse
import time
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
        with opened, _recorded(args, settings, dataset, opened):
            yield opened


@contextmanager
def _recorded(
    args: argparse.Namespace, settings: Settings, dataset: Dataset, opened: OpenedRag
) -> Generator[None]:
    """Write what a calibration or an evaluation costs to the ledger of the store that is asked.

    What a language model spends on it is unknown here, and so is then the whole.
    """
    from ragkit.costs.energy import local_joules
    from ragkit.costs.ledger import Ledger

    began, cpu = time.perf_counter(), time.process_time()
    try:
        yield
    finally:
        store = args.store or _own_store(dataset, settings)
        place = settings.ledger
        if place is None and store is not None and Path(store).is_dir():
            place = str(Path(store) / "ledger.jsonl")
        if place not in (None, "off"):
            cpu_seconds = time.process_time() - cpu
            joules = None if "generate" in opened.caches else local_joules(cpu_seconds).to_dict()
            Ledger(Path(place), part_bytes=settings.ledger_part_bytes).write(
                {
                    "kind": "evaluation",
                    "command": getattr(args, "action", args.command),
                    "seconds": time.perf_counter() - began,
                    "cpu_seconds": cpu_seconds,
                    "joules": joules,
                }
            )


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
