"""A file of receipts, and what they add up to."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ragkit import private
from ragkit.costs.feedback import KIND as FEEDBACK
from ragkit.costs.feedback import answer_id_of
from ragkit.costs.receipt import count_text
from ragkit.narrowing import is_object
from ragkit.text.jsontext import read_json
from ragkit.types import MOST_COUNTED, Json, token_count

_BOUNDS = ("low", "mid", "high")


class Ledger:
    """A file of receipts: one line of JSON each, appended in one write, without any content.

    Only the owner may read the file. If it cannot be written, the ledger turns itself off and
    `disabled_reason` says why; nothing is raised.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.disabled_reason: str | None = None

    def write(self, record: Mapping[str, Json], kept: Mapping[str, Json] | None = None) -> None:
        """Append a record with the current time; several processes may do so concurrently.

        Keys that name content (a question, an answer, a prompt ...) are left out.

        Args:
            record: What to write.
            kept: Content that is to be kept nevertheless, since the user asked for it.
        """
        if self.disabled_reason is not None:
            return
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        data = {"schema": 1, "time": now, **_without_content(record)}
        try:
            line = json.dumps(data | ({"kept": kept} if kept else {}), allow_nan=False) + "\n"
            _append(self.path, line.encode())
        except OSError as error:
            self.disabled_reason = f"{self.path} cannot be written ({error.strerror})"
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            self.disabled_reason = f"a record is no JSON ({error})"


_CONTENT = frozenset(
    {
        "answer",
        "citations",
        "content",
        "context",
        "history",
        "messages",
        "prompt",
        "question",
        "reasoning",
        "text",
        "title",
    }
)


_PLAIN = frozenset({str, int, float, bool, type(None)})


def _without_content(record: Mapping[str, Json]) -> dict[str, Json]:
    return {key: _inner(value) for key, value in record.items() if key not in _CONTENT}


def _inner(value: Json) -> Json:
    if type(value) in _PLAIN:  # most values, and quickly told
        return value
    if isinstance(value, Mapping):
        return _without_content(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_inner(item) for item in value]
    return value


def _append(path: Path, line: bytes) -> None:
    """Append in a single write, so that writes of several processes do not interleave."""
    descriptor = private.opener(str(path), os.O_RDWR | os.O_APPEND | os.O_CREAT)
    try:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        if size:
            os.lseek(descriptor, size - 1, os.SEEK_SET)
            # A crash or a full disk may have left half a line; do not append to it.
            line = line if os.read(descriptor, 1) == b"\n" else b"\n" + line
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def read_ledger(path: Path) -> Iterator[dict[str, Json]]:
    """Yield the records of a ledger; a line cut short by a crash or a full disk is `{}`."""
    with path.open("rb") as lines:
        for line in lines:
            if not line.strip():
                continue
            try:
                record = read_json(line)
            except ValueError:
                yield {}
                continue
            yield record if is_object(record) else {}


@dataclass(slots=True, kw_only=True)
class Summary:
    """Sums of receipts. Unknown values are counted separately, never added as 0.

    `feedback` holds, for each answer that was judged, whether it was last said to be good.
    """

    answers: int = 0
    refusals: int = 0
    abstentions: int = 0
    failures: int = 0
    abandoned: int = 0
    ingests: int = 0
    unreadable_lines: int = 0
    feedback: dict[str, bool] = field(default_factory=dict[str, bool])
    llm_calls: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    joules: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_BOUNDS, 0.0))
    carbon_g: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_BOUNDS, 0.0))
    unknown: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("input_tokens", "output_tokens", "joules", "carbon_g"), 0
        )
    )
    comparable: int = 0
    baseline_tokens: int = 0
    compared_tokens: int = 0
    compared_joules: int = 0
    saved_joules: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_BOUNDS, 0.0))

    @property
    def saved_tokens(self) -> int | None:
        """Prompt tokens saved over the comparable answers; None when there are none."""
        return self.baseline_tokens - self.compared_tokens if self.comparable else None

    @property
    def saved_share(self) -> float | None:
        """The saved tokens as a share of the baseline's."""
        saved = self.saved_tokens
        return None if saved is None or not self.baseline_tokens else saved / self.baseline_tokens

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit ledger report`."""
        return {
            "schema": 1,
            "answers": self.answers,
            "refusals": self.refusals,
            "abstentions": self.abstentions,
            "failures": self.failures,
            "abandoned": self.abandoned,
            "ingests": self.ingests,
            "unreadable_lines": self.unreadable_lines,
            "feedback": {"good": self._n_good(), "bad": len(self.feedback) - self._n_good()},
            "llm_calls": self.llm_calls,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "input_tokens": self.input_tokens if self._knows("input_tokens") else None,
            "output_tokens": self.output_tokens if self._knows("output_tokens") else None,
            "joules": dict(self.joules) if self._knows("joules") else None,
            "carbon_g": dict(self.carbon_g) if self._knows("carbon_g") else None,
            "unknown": dict(self.unknown),
            "saving": {
                "answers": self.comparable,
                "baseline_tokens": self.baseline_tokens,
                "input_tokens": self.compared_tokens,
                "saved_tokens": self.saved_tokens,
                "saved_share": self.saved_share,
                "joules": dict(self.saved_joules) if self.compared_joules else None,
                "joules_answers": self.compared_joules,
            },
        }

    def to_text(self) -> str:
        """Return a table for people."""
        share = "" if self.saved_share is None else f" ({self.saved_share:.0%})"
        lines = [
            f"answers          {self.answers:>12,}   refusals {self.refusals:,}{self._apart()}, "
            f"ingests {self.ingests:,}",
            f"LLM calls        {self.llm_calls:>12,}",
            f"prompt tokens    {self._tokens('input_tokens')}",
            f"answer tokens    {self._tokens('output_tokens')}",
            f"CPU seconds      {self.cpu_seconds:>12,.1f}",
            f"energy, J        {self._estimate('joules', self.joules)}",
            f"carbon, g        {self._estimate('carbon_g', self.carbon_g)}",
            f"saved tokens     {count_text(self.saved_tokens):>12}{share}   over "
            f"{self.comparable:,} comparable answers, against their untrimmed top 5",
        ]
        if self.compared_joules:
            lines.append(f"saved energy, J  {_span(self.saved_joules)}, of whole answers")
        if self.feedback:
            n_good = self._n_good()
            lines.append(f"good answers     {n_good:>12,}   bad {len(self.feedback) - n_good:,}, "
                         "of those with feedback")  # fmt: skip
        if self.unreadable_lines:
            lines.append(f"unreadable lines {self.unreadable_lines:>12,}")
        return "\n".join(lines)

    def _n_good(self) -> int:
        return sum(self.feedback.values())

    def _apart(self) -> str:
        by_model = f" ({self.abstentions:,} by the model)" if self.abstentions else ""
        failures = f", failures {self.failures:,}" if self.failures else ""
        abandoned = f", abandoned {self.abandoned:,}" if self.abandoned else ""
        return by_model + failures + abandoned

    def _knows(self, name: str) -> bool:
        """Whether at least one record holds the value, or there are no records at all."""
        asked = self.answers
        if name in {"joules", "carbon_g"}:
            asked += self.refusals + self.failures + self.abandoned + self.ingests
        return self.unknown[name] < asked or asked == 0

    def _tokens(self, name: Literal["input_tokens", "output_tokens"]) -> str:
        total = self.input_tokens if name == "input_tokens" else self.output_tokens
        return f"{count_text(total if self._knows(name) else None):>12}{self._not_known(name)}"

    def _estimate(self, name: str, bounds: Mapping[str, float]) -> str:
        value = _span(bounds) if self._knows(name) else f"{'unknown':>12}"
        return f"{value}{self._not_known(name)}"

    def _not_known(self, name: str) -> str:
        return f"   unknown for {self.unknown[name]:,}" if self.unknown[name] else ""


def _span(bounds: Mapping[str, float]) -> str:
    return f"{bounds['mid']:>12,.1f}   estimate, {bounds['low']:,.1f} to {bounds['high']:,.1f}"


def summarise(records: Iterable[Mapping[str, Json]]) -> Summary:
    """Sum the receipts of a ledger, without dry runs."""
    summary = Summary()
    for record in records:
        if record.get("kind") in ("ingest", "embed"):  # anything may stand there, lists too
            summary.ingests += record.get("kind") == "ingest"
            _add_cost(summary, record)
        elif record.get("kind") == "ask":
            if record.get("dry_run") is not True:
                _add_answer(summary, record)
        elif record.get("kind") == FEEDBACK and (answer_id := answer_id_of(record)) is not None:
            summary.feedback[answer_id] = record.get("good") is True
        else:
            summary.unreadable_lines += 1
    return summary


def _add_answer(summary: Summary, record: Mapping[str, Json]) -> None:
    receipt, usage = _object(record.get("receipt")), _object(record.get("usage"))
    refused = record.get("refused") is True
    if receipt.get("outcome") in ("failed", "abandoned"):
        summary.failures += receipt.get("outcome") == "failed"
        summary.abandoned += receipt.get("outcome") == "abandoned"
        summary.llm_calls += token_count(receipt.get("llm_calls")) or 0
        _add_cost(summary, receipt)
        return
    summary.refusals += refused
    summary.abstentions += record.get("reason") == "model_abstained"
    summary.answers += not refused
    summary.llm_calls += token_count(receipt.get("llm_calls")) or 0
    _add_cost(summary, receipt)
    if refused:
        return
    summary.input_tokens += _known_tokens(summary, usage, "input_tokens")
    summary.output_tokens += _known_tokens(summary, usage, "output_tokens")
    _add_saving(summary, receipt)


def _known_tokens(summary: Summary, usage: Mapping[str, Json], name: str) -> int:
    """Return a count of tokens; one that is unknown is counted as such, and adds nothing."""
    tokens = token_count(usage.get(name))
    if tokens is None:
        summary.unknown[name] += 1
    return tokens or 0


def _add_saving(summary: Summary, receipt: Mapping[str, Json]) -> None:
    baseline, sent = (
        token_count(receipt.get("baseline_tokens")),
        token_count(receipt.get("input_tokens")),
    )
    if baseline is None or sent is None or receipt.get("baseline_comparable") is not True:
        return
    summary.comparable += 1
    summary.baseline_tokens += baseline
    summary.compared_tokens += sent
    joules, without = _object(receipt.get("joules")), _object(receipt.get("baseline_joules"))
    if joules and without:
        summary.compared_joules += 1
        for bound in _BOUNDS:
            summary.saved_joules[bound] += _number(without, bound) - _number(joules, bound)


def _add_cost(summary: Summary, record: Mapping[str, Json]) -> None:
    summary.seconds += _number(record, "seconds")
    summary.cpu_seconds += _number(record, "cpu_seconds")
    for name, total in (("joules", summary.joules), ("carbon_g", summary.carbon_g)):
        value = _object(record.get(name))
        if not value:
            summary.unknown[name] += 1
        for bound in _BOUNDS if value else ():
            total[bound] += _number(value, bound)


def _object(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}


def _number(record: Mapping[str, Json], name: str) -> float:
    value = record.get(name)
    # No measured value is negative or has more digits than a float can hold.
    if isinstance(value, int | float) and 0 <= value <= MOST_COUNTED:
        return float(value)
    return 0.0
