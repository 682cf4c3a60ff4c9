"""The energy of one answer, and of the same answer from an untrimmed prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from ragkit.costs.energy import (
    CONTEXT_GROWTH,
    CPU_DECODE_RATIO,
    CPU_READING_GROWTH,
    ModelSize,
    Range,
    generation_joules,
)
from ragkit.types import Usage

RunsOn: TypeAlias = Literal["cpu", "gpu", "machine"]
"""Where a model runs, as a generator's `runs_on` says it: on the processors of this process, on
accelerators that this process uses, or in another process of this machine. Anything else, and
without that attribute, it runs elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What an answer took.

    Attributes:
        usage: Tokens as counted by the model's server.
        sent_tokens: Our count of the prompt's tokens.
        baseline_tokens: Our count of the baseline prompt's tokens.
        reading_share: Of the model's time, the part until its first token; None where unknown.
    """

    usage: Usage
    sent_tokens: int | None
    baseline_tokens: int | None
    reading_share: float | None = None

    @property
    def baseline_input(self) -> int | None:
        """The baseline's prompt tokens as the server would count them; None where unknown.

        The server's count may differ from ours, so only the difference of the prompts is ours.
        """
        n_input = self.usage.input_tokens
        if n_input is None or self.sent_tokens is None or self.baseline_tokens is None:
            return None
        return max(0, n_input + self.baseline_tokens - self.sent_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerEnergy:
    """The joules of an answer; `prefill` and `decode` are those of the model alone.

    Each is None where a count that it needs, or the model's size, is unknown.
    """

    joules: Range | None
    baseline: Range | None
    prefill: Range | None = None
    decode: Range | None = None


def on_processors(local: Range, generation: Range, work: Work) -> AnswerEnergy:
    """Return the energy of an answer whose model has run on this process's own processors.

    Its CPU seconds are all that it took, and they are in `local` already. How they divide is
    measured, or a model: an output token takes `CPU_DECODE_RATIO` times what a prompt token takes.
    What the baseline's prompt would have added follows from these: reading grows with the prompt,
    and a little more than that (`CPU_READING_GROWTH`), and writing after it a little
    (`CONTEXT_GROWTH`).

    Args:
        local: Energy spent on this machine, the model's included.
        generation: What of it the model took.
        work: Tokens.
    """
    n_input, n_output = work.usage.input_tokens, work.usage.output_tokens
    if n_input is None or n_output is None:
        return AnswerEnergy(joules=local, baseline=None)
    n_cached = min(n_input, work.usage.cached_tokens or 0)
    # A share is highest where an output token costs least.
    high, mid, low = _reading_shares(work, n_input - n_cached, n_input, n_output)
    prefill = generation.times(low, mid, high)
    decode = generation.times(1.0 - high, 1.0 - mid, 1.0 - low)
    baseline, n_baseline = None, work.baseline_input
    if n_baseline is not None:
        written = _growth(n_baseline) / _growth(n_input) - 1.0
        low, mid, high = sorted(
            share * _more_to_read(n_input, n_baseline, n_cached, growth) + (1.0 - share) * written
            for share, growth in zip((low, mid, high), CPU_READING_GROWTH, strict=True)
        )
        baseline = _never_negative(local + generation.times(low, mid, high))
    return AnswerEnergy(joules=local, baseline=baseline, prefill=prefill, decode=decode)


def _reading_shares(work: Work, n_read: int, n_input: int, n_output: int) -> Sequence[float]:
    """Return the part of reading, from where an output token costs least to where it costs most."""
    share = work.reading_share
    if share is not None and 0.0 <= share <= 1.0:
        return [share] * 3
    writing = [ratio * n_output * _growth(n_input) for ratio in CPU_DECODE_RATIO]
    return [n_read / (n_read + written) if n_read else 0.0 for written in writing]


def _more_to_read(n_input: int, n_baseline: int, n_cached: int, growth: float) -> float:
    """Return how much longer the baseline's prompt takes, relative to the one that was read."""

    def work(n_tokens: int) -> float:
        return n_tokens * (1.0 + n_tokens * growth)

    sent = work(n_input) - work(n_cached)
    untrimmed = max(0.0, work(n_baseline) - work(n_cached))
    return untrimmed / max(1.0, sent) - 1.0


def _growth(n_context: int) -> float:
    return 1.0 + n_context * CONTEXT_GROWTH[1]


def _never_negative(joules: Range) -> Range:
    return replace(joules, low=max(0.0, joules.low), mid=max(0.0, joules.mid))


def elsewhere(local: Range, size: ModelSize | None, work: Work) -> AnswerEnergy:
    """Return the energy of an answer whose model has run elsewhere, or on accelerators.

    Args:
        local: Energy spent on this machine.
        size: The model's; None where it is unknown.
        work: Tokens.
    """
    n_input, n_output = work.usage.input_tokens, work.usage.output_tokens
    if size is None or n_input is None or n_output is None:
        return AnswerEnergy(joules=None, baseline=None)
    known = size

    def joules(n_prompt: int, n_written: int) -> tuple[Range, Range]:
        return generation_joules(
            known,
            input_tokens=n_prompt,
            cached_tokens=work.usage.cached_tokens or 0,
            output_tokens=n_written,
        )

    prefill, decode = joules(n_input, n_output)
    baseline, n_baseline = None, work.baseline_input
    if n_baseline is not None:
        more, same = joules(n_baseline, n_output)
        baseline = local + more + same
    return AnswerEnergy(
        joules=local + prefill + decode, baseline=baseline, prefill=prefill, decode=decode
    )


def measured(answer: AnswerEnergy, local: Range, accelerators: Range) -> AnswerEnergy:
    """Return the energy of an answer whose accelerators were measured, instead of modelled.

    The model still says how the measured joules divide, and what the baseline would have added.

    Args:
        answer: As modelled.
        local: Energy spent on this machine's processors.
        accelerators: What was measured while the answer was generated.
    """
    whole = local + accelerators
    if answer.prefill is None or answer.decode is None or answer.joules is None:
        return AnswerEnergy(joules=whole, baseline=None)
    modelled = answer.prefill + answer.decode
    share = answer.prefill.mid / modelled.mid if modelled.mid else 0.0
    baseline = None
    if answer.baseline is not None and modelled.mid:
        factor = (answer.baseline.mid - local.mid) / modelled.mid
        baseline = local + accelerators.times(factor, factor, factor)
    return AnswerEnergy(
        joules=whole,
        baseline=baseline,
        prefill=accelerators.times(share, share, share),
        decode=accelerators.times(1.0 - share, 1.0 - share, 1.0 - share),
    )
