"""What an ingest is expected to cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit import RAG
from ragkit.errors import LoadError
from ragkit.pipeline.estimating import WRITING, Forecast, Forecaster, Rate, measure_rate, sample
from ragkit.pipeline.report import Progress
from ragkit.types import Chunk, Document


class Clock:
    """A clock that stands still unless it is moved."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@given(st.lists(st.integers(1, 10**5), min_size=1, max_size=30), st.floats(1e-6, 1.0))
def test_a_steady_ingest_is_foretold(sizes: list[int], seconds: float) -> None:
    """With the right rate, what is left is right at every moment."""
    clock = Clock()
    files = {str(i): n for i, n in enumerate(sizes)}
    forecaster = Forecaster(files, Rate(chunks=0.01, seconds=seconds), clock)
    left = sum(sizes)
    for name, size in files.items():
        assert forecaster.forecast().seconds_left == pytest.approx(left * seconds)
        clock.now += size * seconds
        left -= size
        forecaster.note(name, "added")
    end = forecaster.forecast()
    assert (end.files_done, end.bytes_done) == (end.files_total, end.bytes_total)
    assert end.seconds_left == pytest.approx(0.0)


def test_a_wrong_rate_is_corrected() -> None:
    """After a tenth of the bytes, what was measured since counts alone."""
    clock = Clock()
    files = {str(i): 100 for i in range(100)}
    forecaster = Forecaster(files, Rate(chunks=0.01, seconds=0.01), clock)
    assert forecaster.forecast().seconds_left == pytest.approx(100.0)
    for i in range(10):
        clock.now += 3.0
        forecaster.note(str(i), "added")
    assert forecaster.forecast().seconds_left == pytest.approx(270.0)


def test_unchanged_files_are_no_work() -> None:
    """They leave less to do, and say nothing of how long the others take."""
    clock = Clock()
    files = {str(i): 100 for i in range(100)}
    forecaster = Forecaster(files, Rate(chunks=0.01, seconds=0.01), clock)
    for i in range(60):
        forecaster.note(str(i), "unchanged")
    assert forecaster.forecast().seconds_left == pytest.approx(40.0)


def test_without_a_rate_little_is_said() -> None:
    """Until a tenth of the bytes was worked on."""
    clock = Clock()
    forecaster = Forecaster({"a": 100, "b": 900}, None, clock)
    assert forecaster.forecast() == Forecast(
        files_done=0, files_total=2, bytes_done=0, bytes_total=1000, chunks=None, seconds_left=None
    )
    clock.now += 5.0
    forecaster.note("a", "added")
    assert forecaster.forecast().seconds_left == pytest.approx(45.0)


@given(st.lists(st.integers(0, 10**6), max_size=40), st.integers(1, 10))
def test_a_sample_is_small(sizes: list[int], n: int) -> None:
    """Distinct files, none of them large."""
    files = [(Path(f"{i}.{'md' if i % 2 else 'txt'}"), size) for i, size in enumerate(sizes)]
    paths = sample(files, n)
    assert len(paths) == len(set(paths)) <= n
    assert all(dict(files)[path] <= 256 * 1024 for path in paths)


def test_a_rate_is_measured() -> None:
    """Preparing costs by the byte, and writing with it; embedding costs by the token.

    Files that fail cost nothing.
    """
    clock = Clock()

    def load(path: Path) -> Document:
        if path.name == "bad.txt":
            raise LoadError("broken", "it is broken")
        return Document(id=path.name, text="one two. " * 100)

    def split(document: Document) -> Sequence[Chunk]:
        clock.now += 0.002
        text = document.text[:450]
        chunk = Chunk(id="c", document_id="d", start=0, end=450, text=text, n_tokens=150,
                      sentences=((0, 8), (9, 17)))  # fmt: skip
        return [chunk, chunk]

    calls: Iterator[float] = iter([9.0, *[0.01] * 8])

    def embed(_texts: Sequence[str]) -> None:
        clock.now += next(calls)

    files = [(Path(f"{i}.txt"), 900) for i in range(7)] + [(Path("bad.txt"), 900)]
    rate = measure_rate(files, load=load, split=split, embed=embed, clock=clock)
    assert rate is not None
    assert rate.chunks == pytest.approx(14 / 7200)
    seconds = 7 * 0.002 * (1 + WRITING) + 7 * 2 * 0.01
    assert rate.seconds == pytest.approx(seconds / 7200)


def test_nothing_to_measure() -> None:
    """No file can be read."""

    def load(_path: Path) -> Document:
        raise LoadError("broken", "it is broken")

    files = [(Path("a.txt"), 900)]
    assert measure_rate(files, load=load, split=lambda _: [], embed=None) is None


def test_an_ingest_tells_how_far_it_is(tmp_path: Path) -> None:
    """Files and bytes, first before any of them is read; a small ingest measures no rate."""
    folder = tmp_path / "notes"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.txt").write_text("One sentence. " * 10, encoding="utf-8")
    (folder / "picture.png").write_bytes(b"png")
    before: list[Forecast] = []
    after: list[Progress] = []
    with RAG(tmp_path / "kb", embedder="none") as rag:
        rag.ingest(folder, on_forecast=before.append, on_progress=after.append)
        rag.ingest(folder, on_forecast=before.append, dry_run=True)
    assert [(f.files_done, f.files_total, f.bytes_total, f.seconds_left) for f in before] == [
        (0, 3, 420, None)
    ] * 2
    last = [progress.forecast for progress in after][-1]
    assert last is not None
    assert (last.files_done, last.bytes_done) == (3, 420)
    assert last.seconds_left == pytest.approx(0.0)
