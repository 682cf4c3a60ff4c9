"""A file of receipts, and what they add up to."""

from __future__ import annotations

import json
import operator
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self

from ragkit.costs.feedback import KIND as FEEDBACK
from ragkit.costs.feedback import answer_id_of
from ragkit.costs.ledger_files import PART_BYTES, append, ledger_lines
from ragkit.costs.receipt import count_text
from ragkit.narrowing import is_object
from ragkit.types import MOST_COUNTED, Json, token_count

BOUNDS = ("low", "mid", "high")
_MOST_STAGES = 100


class Ledger:
    """A file of receipts: one line of JSON each, appended in one write, without any content.

    Content is what a user asks for: the text of questions, and notes of feedback.

    Only the owner may read the file. If it cannot be written, the ledger turns itself off and
    `disabled_reason` says why; nothing is raised.

    Args:
        path: The file that is appended to.
        part_bytes: Largest size of a file; one that would grow beyond is renamed to `NAME.1`,
            `NAME.2` and so on, which `read_ledger` reads, too. Nothing is deleted. 0: no limit.
    """

    def __init__(self, path: Path, *, part_bytes: int = PART_BYTES) -> None:
        self.path = path
        self.disabled_reason: str | None = None
        self._part_bytes = part_bytes

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
            append(self.path, line.encode(), self._part_bytes)
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


def read_ledger(path: Path, *, with_stages: bool = True) -> Iterator[dict[str, Json]]:
    """Yield the records of a ledger, those of its full parts first; parts may be gzip files.

    Without the stages, whose numbers are half of all in a line, reading takes two thirds as long.

    A line that a crash or a full disk has cut short is `{}`. Numbers are not checked: any may
    stand there, also such that are not finite.
    """
    read = _read_line if with_stages else _read_without_stages
    return map(read, filter(bytes.strip, ledger_lines(path)))


_STAGES = b'"stages": ['


def _read_without_stages(line: bytes) -> dict[str, Json]:
    # The key cannot stand inside a string: its closing quote would be escaped there. What a name
    # with a bracket leaves behind is no JSON, and is then read whole.
    before, found, after = line.partition(_STAGES)
    if found:
        try:
            record: object = json.loads(before + found + after[after.index(b"]") :])
        except (ValueError, RecursionError):
            return _read_line(line)
        if is_object(record):
            return record
    return _read_line(line)


def _read_line(line: bytes) -> dict[str, Json]:
    # The reader of text from outside takes half as long again, for checks that no sum needs.
    try:
        record: object = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if is_object(record) else {}


@dataclass(slots=True, kw_only=True)
class Summary:
    """Sums of receipts. Unknown values are counted separately, never added as 0.

    `feedback` holds, for each answer that was judged, whether it was last said to be good;
    `prepared_joules` is the part of `joules` spent before answering: ingests and evaluations.
    """

    answers: int = 0
    refusals: int = 0
    abstentions: int = 0
    failures: int = 0
    abandoned: int = 0
    ingests: int = 0
    embeds: int = 0
    evaluations: int = 0
    unreadable_lines: int = 0
    feedback: dict[str, bool] = field(default_factory=dict[str, bool])
    llm_calls: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    joules: dict[str, float] = field(default_factory=lambda: dict.fromkeys(BOUNDS, 0.0))
    carbon_g: dict[str, float] = field(default_factory=lambda: dict.fromkeys(BOUNDS, 0.0))
    unknown: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("input_tokens", "output_tokens", "joules", "carbon_g", "prepared"), 0
        )
    )
    comparable: int = 0
    baseline_tokens: int = 0
    compared_tokens: int = 0
    compared_joules: int = 0
    saved_joules: dict[str, float] = field(default_factory=lambda: dict.fromkeys(BOUNDS, 0.0))
    prepared_joules: dict[str, float] = field(default_factory=lambda: dict.fromkeys(BOUNDS, 0.0))
    stages: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    @property
    def attempts(self) -> int:
        """Questions asked, whatever came of them."""
        return self.answers + self.refusals + self.failures + self.abandoned

    @property
    def n_good(self) -> int:
        """Answers that were last said to be good."""
        return sum(self.feedback.values())

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
        data: dict[str, Json] = {
            "schema": 1,
            "answers": self.answers,
            "refusals": self.refusals,
            "abstentions": self.abstentions,
            "failures": self.failures,
            "abandoned": self.abandoned,
            "ingests": self.ingests,
            "embeds": self.embeds,
            "evaluations": self.evaluations,
            "feedback": {"good": self.n_good, "bad": len(self.feedback) - self.n_good},
            "unreadable_lines": self.unreadable_lines,
            "llm_calls": self.llm_calls,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "input_tokens": self.input_tokens if self._knows("input_tokens") else None,
            "output_tokens": self.output_tokens if self._knows("output_tokens") else None,
            "joules": dict(self.joules) if self._knows("joules") else None,
            "carbon_g": dict(self.carbon_g) if self._knows("carbon_g") else None,
            "unknown": {k: n for k, n in self.unknown.items() if k != "prepared"},
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
        if self.stages:
            data["stages"] = [
                {"name": name, "seconds": seconds, "cpu_seconds": cpu_seconds}
                for name, (seconds, cpu_seconds) in self.stages.items()
            ]
        return data

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
            n_good = self.n_good
            lines.append(f"good answers     {n_good:>12,}   bad {len(self.feedback) - n_good:,}, "
                         "of those with feedback")  # fmt: skip
        if self.unreadable_lines:
            lines.append(f"unreadable lines {self.unreadable_lines:>12,}")
        return "\n".join(lines)

    def __iadd__(self, other: Summary) -> Self:
        """Add the sums of other receipts."""
        for f in fields(self):
            mine: Any = getattr(self, f.name)
            more: Any = getattr(other, f.name)
            add: Callable[[Any, Any], Any] = (
                _added if str(f.type).startswith("dict") else operator.add
            )
            setattr(self, f.name, add(mine, more))
        return self

    def _apart(self) -> str:
        by_model = f" ({self.abstentions:,} by the model)" if self.abstentions else ""
        return (
            by_model
            + (f", failures {self.failures:,}" if self.failures else "")
            + (f", abandoned {self.abandoned:,}" if self.abandoned else "")
        )

    def _knows(self, name: str) -> bool:
        """Whether at least one record holds the value, or there are no records at all."""
        asked = self.answers
        if name in {"joules", "carbon_g"}:
            asked += self.refusals + self.failures + self.abandoned + self.ingests
            asked += self.embeds + self.evaluations
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
        add_record(summary, record)
    return summary


def add_record(summary: Summary, record: Mapping[str, Json]) -> None:
    """Add a line of a ledger; one that makes no sense is counted as unreadable."""
    kind = record.get("kind")
    if kind == "ask":
        if record.get("dry_run") is not True:
            _add_attempt(summary, record)
    elif kind in ("ingest", "embed", "evaluation"):  # anything may stand there, lists too
        summary.ingests += kind == "ingest"
        summary.embeds += kind == "embed"
        summary.evaluations += kind == "evaluation"
        _add_cost(summary, record)
        _add_bounds(summary.prepared_joules, record.get("joules"), summary.unknown, "prepared")
    elif kind == FEEDBACK and (answer_id := answer_id_of(record)) is not None:
        summary.feedback[answer_id] = record.get("good") is True
    else:
        summary.unreadable_lines += 1


def _add_attempt(summary: Summary, record: Mapping[str, Json]) -> None:
    receipt = as_table(record.get("receipt"))
    summary.llm_calls += token_count(receipt.get("llm_calls")) or 0
    _add_cost(summary, receipt)
    _add_stages(summary, receipt.get("stages"))
    outcome = receipt.get("outcome")
    if outcome == "failed":
        summary.failures += 1
    elif outcome == "abandoned":
        summary.abandoned += 1
    elif record.get("refused") is True:
        summary.refusals += 1
        summary.abstentions += record.get("reason") == "model_abstained"
    else:
        summary.answers += 1
        usage = as_table(record.get("usage"))
        summary.input_tokens += _known_tokens(summary, usage, "input_tokens")
        summary.output_tokens += _known_tokens(summary, usage, "output_tokens")
        _add_saving(summary, receipt)


def _add_stages(summary: Summary, stages: Json) -> None:
    if not isinstance(stages, list):
        return
    for stage in stages:
        name = stage.get("name") if is_object(stage) else None
        if not is_object(stage) or not isinstance(name, str):
            continue
        total = summary.stages.get(name)
        if total is None:
            if len(summary.stages) >= _MOST_STAGES:
                continue
            total = summary.stages.setdefault(name, [0.0, 0.0])
        total[0] += number_of(stage, "seconds")
        total[1] += number_of(stage, "cpu_seconds")


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
    joules, without = as_table(receipt.get("joules")), as_table(receipt.get("baseline_joules"))
    if joules and without:
        summary.compared_joules += 1
        saved = summary.saved_joules
        for bound in BOUNDS:
            saved[bound] += number_of(without, bound) - number_of(joules, bound)


def _add_cost(summary: Summary, record: Mapping[str, Json]) -> None:
    summary.seconds += number_of(record, "seconds")
    summary.cpu_seconds += number_of(record, "cpu_seconds")
    _add_bounds(summary.joules, record.get("joules"), summary.unknown, "joules")
    _add_bounds(summary.carbon_g, record.get("carbon_g"), summary.unknown, "carbon_g")


def _add_bounds(total: dict[str, float], value: Json, unknown: dict[str, int], name: str) -> None:
    if not is_object(value) or not value:
        unknown[name] += 1
        return
    for bound in BOUNDS:
        total[bound] += number_of(value, bound)


def as_table(value: Json) -> Mapping[str, Json]:
    """Return an object of a record; an empty one for anything else."""
    return value if is_object(value) else {}


def number_of(record: Mapping[str, Json], name: str) -> float:
    """Return a measured value for a sum: 0.0 if it is unknown."""
    return measured(record.get(name)) or 0.0


def known_number(record: Mapping[str, Json], name: str) -> float | None:
    """Return a measured value of a record; None (unknown) as `measured` has it."""
    return measured(record.get(name))


def measured(value: object) -> float | None:
    """Return a measured value; None for one that is negative, beyond a float, or none at all."""
    kind = type(value)
    if (kind is float or kind is int) and 0 <= value <= MOST_COUNTED:  # type: ignore[operator]
        return float(value)  # type: ignore[arg-type]
    return None


def _added(mine: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    total = dict(mine)
    for name, value in more.items():
        if isinstance(value, bool):
            total[name] = value  # the last one counts
        elif isinstance(value, list):
            seconds, cpu_seconds = total.get(name, (0.0, 0.0))
            total[name] = [seconds + value[0], cpu_seconds + value[1]]
        else:
            total[name] = total.get(name, 0) + value
    return total
