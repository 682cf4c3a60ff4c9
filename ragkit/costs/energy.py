"""Modelled energy and carbon: ranges, each with a grade and a source; None where nothing is known.

Seconds and tokens are measured (`stopwatch`, `Usage`); joules and grams are models of them.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from ragkit.types import Json

Grade: TypeAlias = Literal["measured", "modelled-local", "modelled-remote", "size estimated"]
"""How an estimate was obtained, best first; `size estimated` models a model whose size nobody has
published, from what others estimate."""
_GRADES: tuple[Grade, ...] = get_args(Grade)

WATTS_PER_CPU = (1.69, 2.53, 4.48)
"""Watts per busy virtual CPU: Graviton 2 to 4, Granite Rapids and Emerald Rapids at full load
(Cloud Carbon Footprint, `ccf-coefficients` of March 2026, SPECpower). The range leaves out its row
for EPYC of the 5th generation (8.96), whose idle power is above the others' full load, and
processors of before 2017."""

POWER_USAGE_EFFECTIVENESS = (1.04, 1.135, 1.58)
"""Energy of a data centre per energy of its computers: the best published site, Cloud Carbon
Footprint's figure for a large cloud, and the industry average."""

PREFILL_JOULES = (2.0e9 * 1000 / (0.65 * 2250e12), 2.0e9 * 650 / (0.5 * 989e12),
                  2.0e9 * 650 / (0.35 * 989e12))  # fmt: skip
"""Joules per input token and billion active parameters: 2 floating-point operations per parameter,
on a 1,000 W HGX B200 that does 2,250e12 of them per second (bfloat16, without sparsity) at 65 %
utilisation, and on an H100 that draws 650 W for 989e12, at 50 and 35 %."""

DECODE_JOULES = ((8.0, (0.055, 0.119, 0.455)), (32.0, (0.15, 0.37, 1.63)),
                 (70.0, (0.23, 0.80, 3.76)), (405.0, (0.89, 3.08, 14.0)))  # fmt: skip
"""Joules per output token by billions of dense parameters: a B200 at its largest batch, H100s at
batches of 64 and of 8 (ML.ENERGY leaderboard, version 3 of February 2026, vLLM: Llama 3.1 8B, 70B
and 405B, Qwen 3 32B; the first figure for 405 is scaled from the one for 70)."""

MIXTURE_FACTOR = (1.6, 3.7, 7.9)
"""Joules per output token of a mixture of experts, relative to a dense model of its active size.

Of the four that ML.ENERGY measured (gpt-oss 20B and 120B, Qwen 3 30B-A3B and 235B-A22B), the
smallest factor at the largest batch, the geometric mean at 64, and the largest at 8: all experts
stay in memory and most of them are read, however few each token uses."""

CONTEXT_GROWTH = (0.0, 0.09 / 1756, 38e-6 / 0.119)
"""Growth of an output token's joules per context token that it attends to.

0 for hybrid models; 9 % at 1,756 tokens, measured with Gemma 3 270M on CPUs (docs/ledger.md says
how); and 38 microjoules of 0.119 joules, derived from ML.ENERGY's long and short answers of
Qwen 3 8B at a batch of 64, about the same share as at 32B. A longer prompt raised the joules of
output tokens by 1.3 to 51.8 % for ten models of 3 to 7 billion (arXiv 2602.05712)."""

CPU_DECODE_RATIO = (4.4, 6.5, 8.2)
"""CPU seconds of an output token per CPU second of a prompt token, for a model that runs on CPUs,
where the generator has not measured it (SmolLM2 135M in a 4-bit format took 1.3 to 2.6).

Linear fits of CPU seconds to tokens: 58 to 8.9 ms for Gemma 3 270M (interval of the ratio 4.4 to
8.2), 146 to 24.7 ms, 5.9, for a model of 0.5 billion, both with llama.cpp on 2 cores."""

CPU_READING_GROWTH = (0.0, 1.1e-4, 1.6e-4)
"""Growth of the mean CPU seconds of a prompt token per token of the prompt, on CPUs.

0 for hybrid models; with llama.cpp on 2 cores of Zen 5, SmolLM2 135M took 4.2 ms a token of a
prompt of 150 tokens, 4.8 at 1,310 and 5.5 at 2,595, Gemma 3 270M 2.0, 2.15 at 1,254 and 2.6 at
2,516."""

SERVICE_FACTOR = (1.7, 2.0, 2.4)
"""Energy of the whole service per energy of its accelerators (Google, arXiv 2508.15734)."""

_LOCAL_SOURCE = "CPU seconds x Cloud Carbon Footprint watts of 2026 x PUE 1.04/1.135/1.58"
_REMOTE_SOURCE = "tokens x ML.ENERGY and prefill model on B200 to H100 x service factor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """An estimate with its bounds, grade (how it was obtained) and source."""

    low: float
    mid: float
    high: float
    grade: Grade
    source: str

    @property
    def size_estimated(self) -> bool:
        """Whether the size of a model in it is an estimate of others."""
        return self.grade == "size estimated"

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

    def times(self, low: float, mid: float, high: float) -> Range:
        """Return the estimate with each bound multiplied."""
        return Range(
            low=self.low * low,
            mid=self.mid * mid,
            high=self.high * high,
            grade=self.grade,
            source=self.source,
        )

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "low": self.low,
            "mid": self.mid,
            "high": self.high,
            "grade": self.grade,
            "source": self.source,
            "size_estimated": self.size_estimated,
        }


def local_joules(cpu_seconds: float) -> Range:
    """Return the energy of CPU time on this machine, including its data centre's overhead."""
    low, mid, high = (
        cpu_seconds * watts * factor
        for watts, factor in zip(WATTS_PER_CPU, POWER_USAGE_EFFECTIVENESS, strict=True)
    )
    return Range(low=low, mid=mid, high=high, grade="modelled-local", source=_LOCAL_SOURCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSize:
    """What of a model decides its energy: low, middle and high bounds.

    Attributes:
        active_billions: Parameters that each token uses.
        is_mixture: Whether it is a mixture of experts.
        is_estimated: Whether the size is an estimate of others, not published by its maker.
        decode_joules: Joules per output token of the accelerators, where they were measured.
    """

    active_billions: tuple[float, float, float]
    is_mixture: bool = False
    is_estimated: bool = False
    decode_joules: tuple[float, float, float] | None = None

    @classmethod
    def of(cls, billions: float, *, is_mixture: bool = False) -> ModelSize:
        """Return a size that is known."""
        return cls(active_billions=(billions, billions, billions), is_mixture=is_mixture)


def generation_joules(
    size: ModelSize,
    *,
    input_tokens: int,
    cached_tokens: int,
    output_tokens: int,
    context_tokens: int | None = None,
) -> tuple[Range, Range]:
    """Return the energy of a remote model for reading a prompt, and for writing the answer.

    These are k N_in e_in and k N_out e_out (1 + N_context g).

    Args:
        size: The model's.
        input_tokens: Tokens of the prompt, cached ones included.
        cached_tokens: The prompt tokens that the server had cached; they cost next to nothing.
        output_tokens: Tokens of the answer, thoughts included.
        context_tokens: Tokens that each output token attends to; None: those of the prompt.

    Returns:
        Ranges over hardware, its utilisation, batch size, service overhead, and the size.
    """
    # Some servers report cached tokens in addition to the input, not as part of it.
    n_prefilled = max(0, input_tokens - cached_tokens)
    n_context = input_tokens if context_tokens is None else context_tokens
    prefill: list[float] = []
    decode: list[float] = []
    for i, billions in enumerate(size.active_billions):
        prefill.append(SERVICE_FACTOR[i] * n_prefilled * PREFILL_JOULES[i] * billions)
        growth = 1.0 + n_context * CONTEXT_GROWTH[i]
        decode.append(SERVICE_FACTOR[i] * output_tokens * _output_joules(size, i) * growth)
    grade: Grade = "size estimated" if size.is_estimated else "modelled-remote"
    source = f"{_REMOTE_SOURCE}, mixture of experts" if size.is_mixture else _REMOTE_SOURCE
    return _range(prefill, grade, source), _range(decode, grade, source)


def _range(bounds: Sequence[float], grade: Grade, source: str) -> Range:
    low, mid, high = bounds
    return Range(low=low, mid=mid, high=high, grade=grade, source=source)


def _output_joules(size: ModelSize, bound: int) -> float:
    """Return a bound of the joules of one output token, of the accelerators alone."""
    if size.decode_joules is not None:
        return size.decode_joules[bound]
    joules = _decode_joules(size.active_billions[bound], bound)
    return joules * MIXTURE_FACTOR[bound] if size.is_mixture else joules


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
