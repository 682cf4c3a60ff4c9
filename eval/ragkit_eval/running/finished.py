"""Finished runs: their scores, and reading one from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ragkit.brief import brief, counted
from ragkit.errors import ConfigError
from ragkit.text.jsontext import as_list, as_object
from ragkit.types import Json
from ragkit_eval.data.rows import Row, checked, numbers
from ragkit_eval.running.folder import read_object, read_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One question of a finished run: its labels and its value of every measure.

    A value is None where the measure says nothing of the question, or the row is an error.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    evidence: Json
    unanswerable: bool
    cluster: str
    metadata: Mapping[str, Json]
    status: str
    values: Mapping[str, float | None]
    needs: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run, read from its folder."""

    folder: Path
    manifest: Mapping[str, Json]
    summary: Mapping[str, Json]
    scores: tuple[Score, ...]

    def __repr__(self) -> str:
        """Return the run in short."""
        return f"<Run {brief(self.name)}, {counted(len(self.scores), 'score')}>"

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @property
    def dataset_sha256(self) -> str:
        """Digest of the questions and their labels."""
        return str(as_object(self.manifest["dataset"])["sha256"])

    @property
    def measures(self) -> Mapping[str, Mapping[str, Json]]:
        """Direction, definition and summary of each measure."""
        found = as_object(self.summary["measures"])
        return {name: as_object(described) for name, described in found.items()}

    def measure(self, name: str) -> Mapping[str, Json]:
        """Return direction, definition and summary of a measure.

        Raises:
            ConfigError: it was not computed.
        """
        known = self.measures
        if name not in known:
            raise ConfigError(f"run {self.name} has no measure {name!r}; it has {' '.join(known)}")
        return known[name]

    def rows(self) -> dict[str, Row]:
        """Return the rows by question."""
        return read_rows(self.folder / "rows.jsonl")


def load_run(folder: str | Path) -> Run:
    """Read a finished run.

    Raises:
        ConfigError: it is missing, unfinished or damaged.
    """
    place = Path(folder)
    if not (place / "summary.json").exists():
        state = "unfinished; run it again to go on" if place.exists() else "missing"
        raise ConfigError(f"run {place} is {state}")
    try:
        manifest = _with_parts(place / "manifest.json", "dataset", "configuration")
        summary = _with_parts(place / "summary.json", "measures")
        with (place / "scores.jsonl").open("rb") as lines:
            scores = tuple(_score(read_object(line)) for line in lines)
        run = Run(folder=place, manifest=manifest, summary=summary, scores=scores)
        # Whatever is no object shows here, where it is told as damage.
        _ = run.dataset_sha256, run.measures
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"run {place} is damaged: {error}") from error
    if len(scores) != summary.get("n"):
        raise ConfigError(f"run {place} is damaged: {len(scores)} scores of {summary.get('n')}")
    return run


def _with_parts(path: Path, *parts: str) -> Mapping[str, Json]:
    """Return a file's JSON object, of which these parts are objects too; raises `ValueError`."""
    data = read_object(path.read_bytes())
    if not all(isinstance(data.get(part), dict) for part in parts):
        raise ValueError(f"{path.name} needs an object with {', '.join(parts)}")
    return data


def _score(data: Mapping[str, Json]) -> Score:
    values = checked(Score, data)
    numbers(as_object(values["values"]))
    answers = tuple(map(str, as_list(values["answers"])))
    needs = tuple(tuple(map(str, as_list(need))) for need in as_list(values.get("needs") or []))
    return Score(**{**values, "answers": answers, "needs": needs})  # type: ignore[arg-type]
