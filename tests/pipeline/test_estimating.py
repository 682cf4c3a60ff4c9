"""What an ingest is expected to cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit import RAG
from ragkit.errors import LoadError
from ragkit.pipeline.estimating import (
    PROBED_BYTES,
    WRITING,
    Forecast,
    Forecaster,
    Rate,
    beginning,
    measure_rate,
    sample,
)
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
    """Distinct files, none of them large that cannot be read in part."""
    files = [(Path(f"{i}.{'md' if i % 2 else 'pdf'}"), size) for i, size in enumerate(sizes)]
    paths = sample(files, n)
    assert len(paths) == len(set(paths)) <= n
    assert all(dict(files)[path] <= PROBED_BYTES for path in paths if path.suffix == ".pdf")


def test_of_a_large_file_the_beginning_is_probed(tmp_path: Path) -> None:
    """It ends with a line; a small file is read whole."""
    lines = b"A line of twenty by\n" * 20_000
    (tmp_path / "large.txt").write_bytes(lines)
    part = beginning(tmp_path / "large.txt")
    assert lines.startswith(part)
    assert part.endswith(b"\n")
    assert PROBED_BYTES - 20 < len(part) <= PROBED_BYTES
    (tmp_path / "small.txt").write_bytes(b"No line")
    assert beginning(tmp_path / "small.txt") == b"No line"


def test_a_large_file_is_foretold_by_itself() -> None:
    """What is left of it follows from what was done since its first part, reading left out."""
    clock = Clock()
    forecaster = Forecaster({"a": 10, "large": 10_000}, None, clock)
    forecaster.begin("a")
    forecaster.note("a", "added")
    forecaster.begin("large")
    clock.now += 100.0  # reading and splitting it
    forecaster.advance("large", 0.01)
    for i in range(2, 30):
        clock.now += 3.0
        forecaster.advance("large", i / 100)
    forecast = forecaster.forecast()
    assert forecast.seconds_left == pytest.approx(71 * 3.0)
    assert (forecast.current, forecast.share) == ("large", 0.29)
    assert forecast.bytes_done == 10 + 2900


def test_of_a_file_of_records_bytes_are_done() -> None:
    """Each record's; the file is done with the last, or when all is over."""
    forecaster = Forecaster({"r": 100, "s": 50}, None, Clock(), of_records={"r"})
    forecaster.note("r", "added", 30)
    forecaster.note("r", "failed")
    forecaster.begin("r")
    forecaster.advance("r", 0.5)
    assert (forecaster.forecast().files_done, forecaster.forecast().bytes_done) == (0, 30)
    forecaster.note("r", "added", 90)
    assert (forecaster.forecast().files_done, forecaster.forecast().bytes_done) == (1, 100)
    forecaster.finish()
    assert (forecaster.forecast().files_done, forecaster.forecast().bytes_done) == (2, 150)


def test_failed_files_are_done_too(tmp_path: Path) -> None:
    """A file that cannot be read leaves nothing to do."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "bad.json").write_text("{")
    (tmp_path / "docs" / "empty.txt").write_text("")
    seen: list[Progress] = []
    with RAG(tmp_path / "kb", embedder="none") as rag:
        rag.ingest(tmp_path / "docs", on_progress=seen.append, on_forecast=lambda _: None)
    forecasts = [progress.forecast for progress in seen]
    assert [f and (f.files_done, f.bytes_done) for f in forecasts] == [(1, 1), (2, 1)]


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
