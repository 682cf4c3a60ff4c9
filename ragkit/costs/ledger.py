"""What an answer costs: measured time and memory, counted tokens, modelled energy.

Seconds, bytes and tokens are measured. Joules and grams are models of them and carry a range, a
grade and a source; what cannot be modelled is None.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, cast

from ragkit import private
from ragkit.text.jsontext import read_json
from ragkit.types import MOST_COUNTED, Json, Usage, token_count

Grade: TypeAlias = Literal["measured", "modelled-local", "modelled-remote"]
_BOUNDS = ("low", "mid", "high")
_GRADES: tuple[Grade, ...] = ("measured", "modelled-local", "modelled-remote")

WATTS_PER_CPU = (0.74, 1.69, 3.5)
"""Watts of one busy virtual CPU, low, mid, high: an average server at rest, a recent one at full
load, an average one at full load (Cloud Carbon Footprint, methodology, "Energy estimate
(watt-hours)")."""

POWER_USAGE_EFFECTIVENESS = (1.04, 1.135, 1.58)
"""Energy of a data centre per energy of its computers: best published site, Cloud Carbon
Footprint's for a large cloud, and the industry's average."""

PREFILL_JOULES = (2.0e9 * 650 / (0.65 * 989e12), 2.0e9 * 650 / (0.5 * 989e12),
                  2.0e9 * 650 / (0.35 * 989e12))  # fmt: skip
"""Joules per input token and billion parameters: 2 floating-point operations a parameter on an
H100 of 650 W, 989e12 operations a second (bfloat16), used to 65, 50 and 35 %."""

DECODE_JOULES = ((8.0, (0.070, 0.119, 0.455)), (70.0, (0.42, 0.80, 3.76)),
                 (405.0, (1.61, 3.08, 14.0)))  # fmt: skip
"""Joules per output token by billions of dense parameters, at 512, 64 and 8 answers at a time
(ML.ENERGY leaderboard, H100, vLLM; the first figure of 405 is scaled from 70)."""

MIXTURE_FACTOR = (3.8, 6.1, 4.8)
"""Joules per output token of a mixture of experts per those of a dense model of its active size:
Qwen3-30B-A3B (0.10, 0.27 and 0.82 J at 512, 64 and 8 answers at a time, same leaderboard)."""

CONTEXT_JOULES = (0.0, 38e-6, 121e-6)
"""Joules per output token and token of context: none for hybrid models, dense 8B, dense 32B
(derived from the ML.ENERGY leaderboard's long and short answers)."""

SERVICE_FACTOR = (1.7, 2.0, 2.4)
"""Energy of the whole service per energy of its accelerators (Google, arXiv 2508.15734)."""

_LOCAL_SOURCE = "CPU seconds x Cloud Carbon Footprint watts x PUE 1.04/1.135/1.58"
_REMOTE_SOURCE = "tokens x ML.ENERGY and H100 prefill model x service factor"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """What one stage took: wall and CPU seconds of this process."""

    name: str
    seconds: float
    cpu_seconds: float

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {"name": self.name, "seconds": self.seconds, "cpu_seconds": self.cpu_seconds}


class Stopwatch:
    """Measures stages; one that comes again adds up, one inside another counts for itself only.

    Args:
        cpu_clock: What tells a stage's CPU seconds: the process's, or only the calling thread's
            where others work beside it.
        clock: What tells wall seconds.
    """

    def __init__(
        self,
        cpu_clock: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._stages: dict[str, list[float]] = {}
        self._open: list[list[float]] = []
        self._cpu_clock = cpu_clock
        self._clock = clock
        self._began = (clock(), time.process_time())

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        """Measure what happens inside."""
        inner = [0.0, 0.0]
        self._open.append(inner)
        began = (self._clock(), self._cpu_clock())
        try:
            yield
        finally:
            took = (self._clock() - began[0], self._cpu_clock() - began[1])
            self._open.pop()
            if self._open:
                self._open[-1][0] += took[0]
                self._open[-1][1] += took[1]
            self.add(name, max(0.0, took[0] - inner[0]), max(0.0, took[1] - inner[1]))

    def add(self, name: str, seconds: float, cpu_seconds: float) -> None:
        """Add to a stage what was measured elsewhere."""
        total = self._stages.setdefault(name, [0.0, 0.0])
        total[0] += seconds
        total[1] += cpu_seconds

    @property
    def stages(self) -> tuple[StageCost, ...]:
        """The stages so far, in order of their first start."""
        return tuple(
            StageCost(name=name, seconds=wall, cpu_seconds=cpu)
            for name, (wall, cpu) in self._stages.items()
        )

    @property
    def seconds(self) -> float:
        """Wall seconds since the start."""
        return self._clock() - self._began[0]

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of this process since the start."""
        return time.process_time() - self._began[1]


def peak_rss_bytes() -> int | None:
    """Return the most memory that this process has held, in bytes; None where unknown."""
    try:
        # getrusage would also count the program that started this one, up to its exec (proc(5)).
        with Path("/proc/self/status").open(encoding="ascii", errors="replace") as lines:
            for line in lines:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        import resource
    except ImportError:
        return None
    import sys

    # The unit is KiB on Linux and bytes on macOS (getrusage(2) of either).
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """An estimate with its bounds, how it was had, and from what."""

    low: float
    mid: float
    high: float
    grade: Grade
    source: str

    def __add__(self, other: Range) -> Range:
        """Add two estimates; the sum has the weaker grade of both."""
        grade = _GRADES[max(_GRADES.index(self.grade), _GRADES.index(other.grade))]
        sources = [self.source] + [other.source] * (other.source != self.source)
        return Range(
            low=self.low + other.low,
            mid=self.mid + other.mid,
            high=self.high + other.high,
            grade=grade,
            source=" + ".join(sources),
        )

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "low": self.low,
            "mid": self.mid,
            "high": self.high,
            "grade": self.grade,
            "source": self.source,
        }


def local_joules(cpu_seconds: float) -> Range:
    """Return the energy of CPU time on this machine, its data centre included."""
    low, mid, high = (
        cpu_seconds * watts * factor
        for watts, factor in zip(WATTS_PER_CPU, POWER_USAGE_EFFECTIVENESS, strict=True)
    )
    return Range(low=low, mid=mid, high=high, grade="modelled-local", source=_LOCAL_SOURCE)


def llm_joules(
    *,
    input_tokens: int,
    cached_tokens: int,
    output_tokens: int,
    context_tokens: int,
    parameters_billions: float | None,
    mixture: bool = False,
) -> Range | None:
    """Return the energy of one generation: k [N_in e_in + N_out (e_out + N_context e_kv)].

    The figures are those of dense models. For a mixture of experts the output's share is scaled
    by one measured model, and the share of attention to the context is left out: a rough guide.

    Args:
        input_tokens: Of the prompt, cached ones included.
        cached_tokens: Those of them that the server had cached, which cost next to nothing.
        output_tokens: Of the answer.
        context_tokens: That each output token attends to.
        parameters_billions: Active parameters of the model; None when unknown.
        mixture: Whether it is a mixture of experts, as `is_mixture` reads from a name.

    Returns:
        The range over use of the accelerator, answers at a time and service; None when the
        model's size is unknown.
    """
    if parameters_billions is None:
        return None
    bounds: list[float] = []
    for i in range(3):
        # Some servers count cached tokens beside the input, not in it.
        n_prefilled = max(0, input_tokens - cached_tokens)
        prefill = n_prefilled * PREFILL_JOULES[i] * parameters_billions
        decode = _decode_joules(parameters_billions, i)
        if mixture:
            decode *= MIXTURE_FACTOR[i]
        else:
            decode += context_tokens * CONTEXT_JOULES[i]
        bounds.append(SERVICE_FACTOR[i] * (prefill + output_tokens * decode))
    low, mid, high = bounds
    source = f"{_REMOTE_SOURCE}, mixture of experts" if mixture else _REMOTE_SOURCE
    return Range(low=low, mid=mid, high=high, grade="modelled-remote", source=source)


def _decode_joules(billions: float, bound: int) -> float:
    """Interpolate between the measured sizes; outside them, energy is proportional to size."""
    points = [(size, joules[bound]) for size, joules in DECODE_JOULES]
    if billions <= points[0][0]:
        return points[0][1] * billions / points[0][0]
    for (size, joules), (larger, more) in itertools.pairwise(points):
        if billions <= larger:
            return joules + (more - joules) * (billions - size) / (larger - size)
    return points[-1][1] * billions / points[-1][0]


_SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)(m|b)(?![a-z0-9])", re.IGNORECASE)
_ACTIVE = re.compile(r"(?<![\w.])a(\d+(?:\.\d+)?)b(?![a-z0-9])", re.IGNORECASE)
_EXPERTS = re.compile(r"(?<![\w.])\d+(?:x\d+(?:\.\d+)?b|e)(?![a-z0-9])", re.IGNORECASE)


def model_size_billions(name: str) -> float | None:
    """Read a model's active parameters, in billions, from its name.

    `qwen2.5:0.5b` gives 0.5, and `qwen3-30b-a3b`, a mixture of experts, its active 3. A name such
    as `8x7b` does not say how many experts work at once, so the size is unknown. A name that hides
    a mixture is read as dense.
    """
    name = name.replace("_", "-")
    active = _ACTIVE.search(name)
    size = _SIZE.search(name)
    if active:
        billions = float(active[1])
    elif size:
        billions = float(size[1]) / (1000.0 if size[2].lower() == "m" else 1.0)
    else:
        return None
    return billions if math.isfinite(billions) else None


def is_mixture(name: str) -> bool:
    """Whether a model's name says that it is a mixture of experts: `30b-a3b`, `17b-16e`, `8x7b`."""
    name = name.replace("_", "-")
    return bool(_ACTIVE.search(name) or _EXPERTS.search(name))


def answer_joules(
    local: Range,
    usage: Usage,
    *,
    sent_tokens: int | None,
    baseline_tokens: int | None,
    model: str,
    parameters_billions: float | None,
) -> tuple[Range | None, Range | None]:
    """Return the energy of a whole answer, and of the same with the untrimmed baseline's prompt.

    Args:
        local: What this machine spent.
        usage: What the model's server counted.
        sent_tokens: Our count of the prompt.
        baseline_tokens: Our count of the baseline's prompt.
        model: The model's name, from which its size is read.
        parameters_billions: The size, where it is known better.

    Returns:
        Both None where a count or the model's size is unknown.
    """
    size = parameters_billions or model_size_billions(model)
    if usage.input_tokens is None or usage.output_tokens is None:
        return None, None
    cached, output = usage.cached_tokens or 0, usage.output_tokens

    def joules(input_tokens: int) -> Range | None:
        remote = llm_joules(
            input_tokens=input_tokens,
            cached_tokens=cached,
            output_tokens=output,
            context_tokens=input_tokens,
            parameters_billions=size,
            mixture=is_mixture(model),
        )
        return None if remote is None else local + remote

    whole = joules(usage.input_tokens)
    if baseline_tokens is None or sent_tokens is None:
        return whole, None
    # The server's own count may differ from ours: the difference of the prompts is ours.
    return whole, joules(max(0, usage.input_tokens + baseline_tokens - sent_tokens))


def carbon_grams(joules: Range, grid_g_per_kwh: tuple[float, float, float] | None) -> Range | None:
    """Return grams of CO2 equivalent on a grid of this intensity; None when it is unknown."""
    if grid_g_per_kwh is None:
        return None
    low, mid, high = grid_g_per_kwh
    return Range(
        low=joules.low * low / 3.6e6,
        mid=joules.mid * mid / 3.6e6,
        high=joules.high * high / 3.6e6,
        grade=joules.grade,
        source=f"{joules.source} x the given grid intensity",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What one answer cost.

    `baseline_tokens` is the whole prompt with the top 5 hits untrimmed, `input_tokens` the whole
    prompt as sent, `context_tokens` the kept text in it, `template_tokens` what is neither
    context, question nor history. `baseline_joules` is the same answer with the baseline's prompt.
    """

    seconds: float
    cpu_seconds: float
    stages: tuple[StageCost, ...]
    baseline_tokens: int | None
    baseline_comparable: bool
    context_tokens: int | None
    template_tokens: int | None
    input_tokens: int | None
    llm_calls: int
    peak_rss_bytes: int | None
    joules: Range | None
    baseline_joules: Range | None
    carbon_g: Range | None

    @property
    def saved_tokens(self) -> int | None:
        """Tokens that trimming took off the prompt; None where one of the two is unknown."""
        if self.baseline_tokens is None or self.input_tokens is None:
            return None
        return self.baseline_tokens - self.input_tokens

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit ask`."""
        return {
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "stages": [stage.to_dict() for stage in self.stages],
            "baseline_tokens": self.baseline_tokens,
            "baseline_comparable": self.baseline_comparable,
            "context_tokens": self.context_tokens,
            "template_tokens": self.template_tokens,
            "input_tokens": self.input_tokens,
            "saved_tokens": self.saved_tokens,
            "llm_calls": self.llm_calls,
            "peak_rss_bytes": self.peak_rss_bytes,
            "joules": _json(self.joules),
            "baseline_joules": _json(self.baseline_joules),
            "carbon_g": _json(self.carbon_g),
        }

    def __str__(self) -> str:
        """Return the receipt in one line."""
        joules = "unknown" if self.joules is None else f"about {self.joules.mid:.2g} J"
        return (
            f"{_shown(self.input_tokens)} prompt tokens (untrimmed {_shown(self.baseline_tokens)}),"
            f" {self.llm_calls} LLM calls, {self.seconds:.3f} s, {joules}"
        )


def _json(value: Range | None) -> Json:
    return None if value is None else value.to_dict()


def _shown(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"


class Ledger:
    """A file of receipts: one JSON line each, appended whole, holding no content.

    Only the owner may read the file. One that cannot be written turns the ledger off;
    `disabled_reason` then says why, and nothing is raised.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.disabled_reason: str | None = None

    def write(self, record: Mapping[str, Json]) -> None:
        """Append a record with its time; several processes may do so at once.

        What is called by the name of content (a question, an answer, a prompt ...) is left out.
        """
        if self.disabled_reason is not None:
            return
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        kept = cast("Mapping[str, Json]", _without_content(record))
        try:
            line = json.dumps({"schema": 1, "time": now, **kept}, allow_nan=False) + "\n"
            _append(self.path, line.encode())
        except OSError as error:
            self.disabled_reason = f"{self.path} cannot be written ({error.strerror})"
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            self.disabled_reason = f"a record is no JSON ({error})"


_CONTENT = frozenset(
    {"answer", "citations", "content", "context", "history", "prompt", "question", "text", "title"}
)


def _without_content(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {key: _without_content(v) for key, v in value.items() if key not in _CONTENT}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_without_content(v) for v in value]
    return value


def _append(path: Path, line: bytes) -> None:
    """Append in one write, which another process's write to the same file does not tear."""
    descriptor = private.opener(str(path), os.O_RDWR | os.O_APPEND | os.O_CREAT)
    try:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        if size:
            os.lseek(descriptor, size - 1, os.SEEK_SET)
            # A crash or a full disk may have left half a line: this one must not join it.
            line = line if os.read(descriptor, 1) == b"\n" else b"\n" + line
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def read_ledger(path: Path) -> Iterator[dict[str, Json]]:
    """Yield the records of a ledger; a line torn by a crash or a full disk comes as `{}`."""
    with path.open("rb") as lines:
        for line in lines:
            if not line.strip():
                continue
            try:
                record = read_json(line)
            except ValueError:
                yield {}
                continue
            yield cast("dict[str, Json]", record) if isinstance(record, dict) else {}


@dataclass(slots=True, kw_only=True)
class Summary:
    """Sums of receipts. What is unknown is counted apart and never added as nothing."""

    answers: int = 0
    refusals: int = 0
    ingests: int = 0
    unreadable_lines: int = 0
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
        """The same as a share of the baseline's."""
        saved = self.saved_tokens
        return None if saved is None or not self.baseline_tokens else saved / self.baseline_tokens

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit ledger report`."""
        return {
            "schema": 1,
            "answers": self.answers,
            "refusals": self.refusals,
            "ingests": self.ingests,
            "unreadable_lines": self.unreadable_lines,
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
            f"answers          {self.answers:>12,}   refusals {self.refusals:,}, "
            f"ingests {self.ingests:,}",
            f"LLM calls        {self.llm_calls:>12,}",
            f"prompt tokens    {self._tokens('input_tokens')}",
            f"answer tokens    {self._tokens('output_tokens')}",
            f"CPU seconds      {self.cpu_seconds:>12,.1f}",
            f"energy, J        {self._estimate('joules', self.joules)}",
            f"carbon, g        {self._estimate('carbon_g', self.carbon_g)}",
            f"saved tokens     {_shown(self.saved_tokens):>12}{share}   over "
            f"{self.comparable:,} comparable answers, against their untrimmed top 5",
        ]
        if self.compared_joules:
            lines.append(f"saved energy, J  {_span(self.saved_joules)}, of whole answers")
        if self.unreadable_lines:
            lines.append(f"unreadable lines {self.unreadable_lines:>12,}")
        return "\n".join(lines)

    def _knows(self, name: str) -> bool:
        """Whether at least one record said it, or none was there to say it."""
        asked = self.answers
        if name in {"joules", "carbon_g"}:
            asked += self.refusals + self.ingests
        return self.unknown[name] < asked or asked == 0

    def _tokens(self, name: Literal["input_tokens", "output_tokens"]) -> str:
        total = self.input_tokens if name == "input_tokens" else self.output_tokens
        return f"{_shown(total if self._knows(name) else None):>12}{self._not_known(name)}"

    def _estimate(self, name: str, bounds: Mapping[str, float]) -> str:
        value = _span(bounds) if self._knows(name) else f"{'unknown':>12}"
        return f"{value}{self._not_known(name)}"

    def _not_known(self, name: str) -> str:
        return f"   unknown for {self.unknown[name]:,}" if self.unknown[name] else ""


def _span(bounds: Mapping[str, float]) -> str:
    return f"{bounds['mid']:>12,.1f}   estimate, {bounds['low']:,.1f} to {bounds['high']:,.1f}"


def summarise(records: Iterable[Mapping[str, Json]]) -> Summary:
    """Sum the receipts of a ledger; dry runs are left out."""
    summary = Summary()
    for record in records:
        if record.get("kind") == "ingest":
            summary.ingests += 1
            _add_cost(summary, record)
        elif record.get("kind") == "ask":
            if record.get("dry_run") is not True:
                _add_answer(summary, record)
        else:
            summary.unreadable_lines += 1
    return summary


def _add_answer(summary: Summary, record: Mapping[str, Json]) -> None:
    receipt, usage = _object(record.get("receipt")), _object(record.get("usage"))
    refused = record.get("refused") is True
    summary.refusals += refused
    summary.answers += not refused
    summary.llm_calls += token_count(receipt.get("llm_calls")) or 0
    _add_cost(summary, receipt)
    if refused:
        return
    for name in ("input_tokens", "output_tokens"):
        tokens = token_count(usage.get(name))
        if tokens is None:
            summary.unknown[name] += 1
        else:
            setattr(summary, name, getattr(summary, name) + tokens)
    _add_saving(summary, receipt)


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
    # Nothing that is measured is below 0, or has more digits than a float can hold.
    if isinstance(value, int | float) and 0 <= value <= MOST_COUNTED:
        return float(value)
    return 0.0
