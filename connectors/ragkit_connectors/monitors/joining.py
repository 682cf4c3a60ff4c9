"""Rows of monitors beside the lines of a ledger that were written at the same time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from ragkit.costs.ledger import BOUNDS, as_table, number_of
from ragkit.types import Json, token_count
from ragkit_connectors.monitors.rows import Sample

_MOST_IDS = 100


@dataclass(frozen=True, slots=True)
class _Line:
    end: float
    start: float
    input_tokens: int | None
    output_tokens: int | None
    joules: Mapping[str, Json]
    answer_id: str | None


def joined(
    samples: Iterable[Sample], records: Iterable[Mapping[str, Json]]
) -> Iterator[dict[str, Json]]:
    """Yield each row with `ledger`: the answers that were being made in its time.

    An answer lasts from its seconds before the time of its line to that second's end. A row
    without `seconds` is a moment. `ledger` is None for rows without a time.
    """
    lines = sorted(filter(None, map(_line, records)), key=lambda line: line.end)
    ends = [line.end for line in lines]
    longest = max((line.end - line.start for line in lines), default=0.0)
    for sample in samples:
        row = sample.to_dict()
        if sample.time is None:
            yield {**row, "ledger": None}
            continue
        start = sample.time.timestamp()
        end = start + (sample.seconds or 0.0)
        found: list[_Line] = []
        for i in range(bisect_left(ends, start), len(lines)):
            if ends[i] - longest > end:
                break
            if lines[i].start <= end:
                found.append(lines[i])
        yield {**row, "ledger": _sums(found)}


def _line(record: Mapping[str, Json]) -> _Line | None:
    time = read_time(record.get("time"))
    if time is None or record.get("kind") != "ask" or record.get("dry_run") is True:
        return None
    receipt, usage = as_table(record.get("receipt")), as_table(record.get("usage"))
    answer_id = receipt.get("answer_id")
    return _Line(
        end=time.timestamp() + 1.0,
        start=time.timestamp() - number_of(receipt, "seconds"),
        input_tokens=token_count(usage.get("input_tokens")),
        output_tokens=token_count(usage.get("output_tokens")),
        joules=as_table(receipt.get("joules")),
        answer_id=answer_id if isinstance(answer_id, str) else None,
    )


def read_time(value: Json) -> datetime | None:
    """Return the time of a ledger's line; None for anything else."""
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return time if time is not None and time.tzinfo is not None else None


def _sums(lines: list[_Line]) -> dict[str, Json]:
    known = [line.joules for line in lines if line.joules]
    joules: dict[str, Json] = {b: sum(number_of(j, b) for j in known) for b in BOUNDS}
    return {
        "answers": len(lines),
        "input_tokens": _total(line.input_tokens for line in lines),
        "output_tokens": _total(line.output_tokens for line in lines),
        "joules": joules if known else None,
        "answer_ids": [line.answer_id for line in lines if line.answer_id][:_MOST_IDS],
    }


def _total(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
