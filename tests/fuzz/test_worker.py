"""Damaged files through the process that parses: no hang, no crash, and it still reads the next.

`make fuzz-files` draws a thousand of each format, new ones each time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.errors import LoadError
from ragkit.loading.content import Content
from ragkit.loading.formats import find_loader
from ragkit.loading.isolation import Limits, Worker

from .lane import CPU_SECONDS, FEWER
from .mutating import mutated
from .test_loaders import CODES, OFFICE, SEEDS, WORDS, check_loaded, damaged_package

N_FILES = int(os.environ.get("FUZZ_FILES", "0"))
LIMITS = Limits(cpu_seconds=int(CPU_SECONDS))
FILES = settings(FEWER, max_examples=N_FILES, derandomize=False) if N_FILES else FEWER


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """Give one worker to all tests, as an ingest has."""
    worker = Worker(LIMITS)
    yield worker
    worker.close()


def check(worker: Worker, data: bytes, suffix: str) -> None:
    """Load a file as ingest does; what comes back is sound, or a code word."""
    name = f"a{suffix}"
    started = worker.n_started
    try:
        check_loaded(worker.load(Content.of(data), name=name, loader=find_loader(name)))
    except LoadError as error:
        assert error.code in CODES
        # What others wrote may crash or take for ever; it is ended, and that is what counts.
        if suffix != ".pdf":
            assert "takes more than" not in error.detail
            assert "crashed" not in error.detail
    # One is started for the first file, and every so many files later.
    assert worker.n_started <= started + (2 if suffix == ".pdf" else 1)


@pytest.mark.parametrize("suffix", sorted(SEEDS))
@FILES
@given(data=st.data())
def test_damaged_files(worker: Worker, suffix: str, data: st.DataObject) -> None:
    """A damaged file of any format gives whole text or a documented code word."""
    check(worker, data.draw(mutated(SEEDS[suffix], WORDS.get(suffix, ()))), suffix)


@pytest.mark.parametrize("suffix", sorted(OFFICE))
@FILES
@given(data=st.data())
def test_damaged_parts_of_office_documents(
    worker: Worker, suffix: str, data: st.DataObject
) -> None:
    """The parts inside an office document may be damaged, missing or another's."""
    check(worker, data.draw(damaged_package(suffix)), suffix)
