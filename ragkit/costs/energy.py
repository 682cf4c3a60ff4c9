"""Modelled energy and carbon: ranges, each with a grade and a source; None where nothing is known.

Seconds and tokens are measured (`stopwatch`, `Usage`); joules and grams are models of them.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ragkit.types import Json, Usage

Grade: TypeAlias = Literal["measured", "modelled-local", "modelled-remote"]
_GRADES: tuple[Grade, ...] = ("measured", "modelled-local", "modelled-remote")

WATTS_PER_CPU = (0.74, 1.69, 3.5)
"""Watts per busy virtual CPU (low, mid, high): an average server when idle, a recent one at full
load, an average one at full load (Cloud Carbon Footprint, methodology, "Energy estimate
(watt-hours)")."""

POWER_USAGE_EFFECTIVENESS = (1.04, 1.135, 1.58)
"""Energy of a data centre per energy of its computers: the best published site, Cloud Carbon
Footprint's figure for a large cloud, and the industry average."""

PREFILL_JOULES = (2.0e9 * 650 / (0.65 * 989e12), 2.0e9 * 650 / (0.5 * 989e12),
                  2.0e9 * 650 / (0.35 * 989e12))  # fmt: skip
"""Joules per input token and billion parameters: 2 floating-point operations per parameter on a
650 W H100 that does 989e12 operations per second (bfloat16), at 65, 50 and 35 % utilisation."""

DECODE_JOULES = ((8.0, (0.070, 0.119, 0.455)), (70.0, (0.42, 0.80, 3.76)),
                 (405.0, (1.61, 3.08, 14.0)))  # fmt: skip
"""Joules per output token by billions of dense parameters, at batch sizes of 512, 64 and 8
(ML.ENERGY leaderboard, H100, vLLM; the first figure for 405 is scaled from the one for 70)."""

MIXTURE_FACTOR = (3.8, 6.1, 4.8)
"""Joules per output token of a mixture of experts, relative to a dense model of its active size:
Qwen3-30B-A3B (0.10, 0.27 and 0.82 J at batch sizes of 512, 64 and 8, same leaderboard)."""

CONTEXT_JOULES = (0.0, 38e-6, 121e-6)
"""Joules per output token and context token: 0 for hybrid models, then dense 8B and dense 32B
(derived from the ML.ENERGY leaderboard's long and short answers)."""

SERVICE_FACTOR = (1.7, 2.0, 2.4)
"""Energy of the whole service per energy of its accelerators (Google, arXiv 2508.15734)."""

_LOCAL_SOURCE = "CPU seconds x Cloud Carbon Footprint watts x PUE 1.04/1.135/1.58"
_REMOTE_SOURCE = "tokens x ML.ENERGY and H100 prefill model x service factor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """An estimate with its bounds, grade (how it was obtained) and source."""

    low: float
    mid: float
    high: float
    grade: Grade
    source: str

    def __add__(self, other: Range) -> Range:
        """Add two estimates; the sum has the weaker of the two grades."""
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
    """Return the energy of CPU time on this machine, including its data centre's overhead."""
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

    The constants come from dense models. For a mixture of experts, the output term is scaled by
    one measured model and the attention term is left out, which makes it a rough guide.

    Args:
        input_tokens: Tokens of the prompt, cached ones included.
        cached_tokens: The prompt tokens that the server had cached; they cost next to nothing.
        output_tokens: Tokens of the answer.
        context_tokens: Tokens that each output token attends to.
        parameters_billions: Active parameters of the model; None when unknown.
        mixture: Whether it is a mixture of experts, as `is_mixture` reads from a name.

    Returns:
        The range over accelerator utilisation, batch size and service overhead; None when the
        model's size is unknown.
    """
    if parameters_billions is None:
        return None
    bounds: list[float] = []
    for i in range(3):
        # Some servers report cached tokens in addition to the input, not as part of it.
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
    """Interpolate between the measured sizes; beyond them, energy is proportional to size."""
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

    `qwen2.5:0.5b` gives 0.5; `qwen3-30b-a3b`, a mixture of experts, gives its 3 active ones. A
    name such as `8x7b` does not say how many experts are active, so the size is unknown. A mixture
    whose name does not show it is taken for a dense model.
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
    """Return the energy of an answer, and of the same answer from the untrimmed baseline's prompt.

    Args:
        local: Energy spent on this machine.
        usage: Tokens as counted by the model's server.
        sent_tokens: Our count of the prompt's tokens.
        baseline_tokens: Our count of the baseline prompt's tokens.
        model: The model's name, from which its size is read.
        parameters_billions: The size, where it is known from elsewhere.

    Returns:
        Each is None where a count that it needs, or the model's size, is unknown.
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
    # The server's count may differ from ours, so only the difference of the prompts is ours.
    return whole, joules(max(0, usage.input_tokens + baseline_tokens - sent_tokens))


def carbon_grams(joules: Range, grid_g_per_kwh: tuple[float, float, float] | None) -> Range | None:
    """Return grams of CO2 equivalent at this grid intensity; None when it is unknown."""
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
