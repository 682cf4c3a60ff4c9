"""Bulk questions by batch jobs: all are asked twice, before the job and after it.

The first round prepares every prompt and only notes it, the second gives the answers. Retrieval is
done twice, which costs little beside a generation, and nothing but the prompts waits for the job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol, runtime_checkable

from ragkit.cli import output
from ragkit.cli.questions import read_question
from ragkit.config import Settings
from ragkit.errors import ConfigError, RagkitError
from ragkit.types import Generator, Json

FOLDER = ".ragkit-batch"
"""Where the state of jobs and their answers are kept."""


class Batched(Generator, Protocol):
    """A generator that notes prompts until `answer_all`, and then answers them."""

    def answer_all(self) -> None:
        """Get answers to all that was asked so far. Raises `ConfigError`, `RemoteError`."""
        ...


@runtime_checkable
class _Batching(Protocol):
    def batched(self, folder: Path, *, notify: Callable[[str], None]) -> Batched: ...


def open_batched(settings: Settings, folder: Path | None = None) -> Batched | None:
    """Open the generator for batch jobs; None where it or the profile knows none.

    Args:
        settings: The settings.
        folder: Where the state of jobs is kept; None: in the store's folder.

    Raises:
        ConfigError: a setting that jobs need is missing, or one does not go with them.
    """
    if settings.profile != "batch":
        return None
    from ragkit.pipeline.opening import open_generator

    generator = open_generator(settings)
    if not isinstance(generator, _Batching):
        return None
    if settings.rewrite == "generator":
        raise ConfigError("profile batch cannot rewrite questions: leave out --rewrite generator")
    if folder is None:
        store = Path(settings.store)
        folder = (store if store.is_dir() else Path()) / FOLDER
    return generator.batched(folder, notify=output.tell)


def note_all(
    lines: Iterable[tuple[int, bytes]], ask: Callable[[Mapping[str, Json]], object]
) -> None:
    """Ask the lines of a file for the first time; what fails is reported the second time."""
    for _, line in lines:
        question, problem = read_question(line)
        if problem is None:
            with suppress(RagkitError):
                ask(question)
