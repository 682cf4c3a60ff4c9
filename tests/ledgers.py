"""Lines of ledgers, made for tests."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ragkit.types import Json


def bounds(mid: float) -> dict[str, Json]:
    """Return a range around a value."""
    return {"low": mid / 2.0, "mid": mid, "high": mid * 3.0, "grade": "modelled-remote",
            "source": "made up"}  # fmt: skip


def ask(
    *,
    day: str = "2026-03-02",
    time: str = "12:00:00",
    tokens: tuple[int, int] = (500, 80),
    baseline: int = 1500,
    joules: float | None = 40.0,
    saved: float = 60.0,
    carbon_g: float | None = None,
    refused: bool = False,
    seconds: float = 1.0,
    support: float | None = 0.8,
    **more: Json,
) -> dict[str, Json]:
    """Return the line of an answer or a refusal; `more` replaces keys of it or of its receipt."""
    calls = 0 if refused else 1
    receipt: dict[str, Json] = {
        "outcome": "refused" if refused else "answered", "seconds": seconds, "cpu_seconds": 0.1,
        "llm_calls": calls, "input_tokens": tokens[0], "baseline_tokens": baseline,
        "baseline_comparable": True, "joules": None if joules is None else bounds(joules),
        "baseline_joules": None if joules is None else bounds(joules + saved),
        "carbon_g": None if carbon_g is None else bounds(carbon_g),
        "stages": [{"name": "trim", "seconds": 0.02, "cpu_seconds": 0.02},
                   {"name": "generate", "seconds": seconds - 0.02, "cpu_seconds": 0.08}],
    }  # fmt: skip
    line: dict[str, Json] = {
        "schema": 1, "time": f"{day}T{time}Z", "kind": "ask", "dry_run": False, "refused": refused,
        "reason": "low_evidence" if refused else None, "generator": "openai:small-8b",
        "template": "default@2.0.0", "trim": {"name": "bundled/6"},
        "evidence": {"score": support, "threshold": 0.15, "calibrated": False},
        "usage": {"input_tokens": tokens[0], "output_tokens": None if refused else tokens[1]},
    }  # fmt: skip
    of_receipt = {"outcome", "answer_id", "served_model", "served_tier", "profile"}
    for name, value in more.items():
        (receipt if name in of_receipt else line)[name] = value
    return {**line, "receipt": receipt}


def before(kind: str, joules: float | None, *, day: str = "2026-03-01") -> dict[str, Json]:
    """Return the line of an ingest, or of an evaluation."""
    return {"schema": 1, "time": f"{day}T08:00:00Z", "kind": kind, "seconds": 10.0,
            "cpu_seconds": 9.0, "joules": None if joules is None else bounds(joules)}  # fmt: skip


def feedback(answer_id: str, *, good: bool, day: str = "2026-03-02") -> dict[str, Json]:
    """Return the line of what a user says of an answer."""
    return {"schema": 1, "time": f"{day}T13:00:00Z", "kind": "feedback", "answer_id": answer_id,
            "good": good}  # fmt: skip


def varied(n: int, *, seed: int, tokens: float = 500.0, refused: float = 0.02) -> list[
    dict[str, Json]
]:  # fmt: skip
    """Return so many answers of different costs."""
    rng = random.Random(seed)
    return [
        ask(
            tokens=(max(1, int(rng.gauss(tokens, 60.0))), rng.randint(20, 140)),
            seconds=rng.uniform(0.5, 2.0),
            joules=rng.uniform(20.0, 60.0),
            refused=rng.random() < refused,
            support=rng.betavariate(5.0, 2.0),
        )
        for _ in range(n)
    ]


def write(path: Path, lines: Iterable[Mapping[str, Json]]) -> Path:
    """Write a ledger."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def texts(lines: Sequence[Mapping[str, Json]], name: str) -> list[Json]:
    """Return one value of each line."""
    return [line.get(name) for line in lines]
