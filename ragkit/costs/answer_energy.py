"""The energy of one answer, and of the same answer from an untrimmed prompt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from ragkit.costs.energy import (
    CONTEXT_GROWTH,
    CPU_DECODE_RATIO,
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
    """

    usage: Usage
    sent_tokens: int | None
    baseline_tokens: int | None

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

    Its CPU seconds are all that it took, and they are in `local` already. How they divide is a
    model: an output token takes `CPU_DECODE_RATIO` times what a prompt token takes, a little more
    after a long prompt (`CONTEXT_GROWTH`); so does what the baseline's prompt would have added.

    Args:
        local: Energy spent on this machine, the model's included.
        generation: What of it the model took.
        work: Tokens.
    """
    n_input, n_output = work.usage.input_tokens, work.usage.output_tokens
    if n_input is None or n_output is None:
        return AnswerEnergy(joules=local, baseline=None)
    n_read = max(0, n_input - (work.usage.cached_tokens or 0))
    shares = [_prefill_share(n_read, n_output, n_input, i) for i in range(3)]
    # A share is highest where an output token costs least.
    high, mid, low = shares
    prefill = generation.times(low, mid, high)
    decode = generation.times(1.0 - high, 1.0 - mid, 1.0 - low)
    baseline, n_baseline = None, work.baseline_input
    if n_baseline is not None:
        n_more = n_baseline - n_input
        sent = [max(1.0, _work(n_read, n_output, n_input, i)) for i in range(3)]
        untrimmed = [_work(n_read + n_more, n_output, n_baseline, i) for i in range(3)]
        added = [more / less - 1.0 for more, less in zip(untrimmed, sent, strict=True)]
        low, mid, high = sorted(added)
        baseline = _never_negative(local + generation.times(low, mid, high))
    return AnswerEnergy(joules=local, baseline=baseline, prefill=prefill, decode=decode)


def _work(n_read: int, n_output: int, n_context: int, bound: int) -> float:
    """Return the work of a generation on processors, in that of a prompt token."""
    growth = 1.0 + n_context * CONTEXT_GROWTH[1]
    return max(0, n_read) + CPU_DECODE_RATIO[bound] * n_output * growth


def _prefill_share(n_read: int, n_output: int, n_context: int, bound: int) -> float:
    work = _work(n_read, n_output, n_context, bound)
    return n_read / work if work else 0.0


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
