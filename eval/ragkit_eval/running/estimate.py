"""What a run would cost, before it is paid for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ragkit.costs.cards import find_card
from ragkit.costs.energy import ModelSize, generation_joules, is_mixture, model_size_billions
from ragkit.pipeline import RAG
from ragkit.types import Json
from ragkit_eval.data.datasets import Question

SAMPLE = 50
"""Questions that go through everything but the generation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Calls, tokens and cost of the questions left; low and high bounds, None where unknown.

    `cost` is in the currency of the prices. Output is between one token and `max_tokens`.
    """

    n: int
    left: int
    sampled: int
    llm_calls: int
    input_tokens: int
    output_tokens: tuple[int, int] | None
    cost: tuple[float, float] | None
    joules: tuple[float, float] | None

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit eval run --dry-run`."""
        return {
            "schema": 1,
            "dry_run": True,
            "n": self.n,
            "left": self.left,
            "sampled": self.sampled,
            "llm_calls": self.llm_calls,
            "input_tokens": self.input_tokens,
            "output_tokens": _band(self.output_tokens),
            "cost": _band(self.cost),
            "joules": _band(self.joules),
        }


def _band(bounds: tuple[float, float] | None) -> Json:
    return None if bounds is None else {"low": bounds[0], "high": bounds[1]}


def estimate(
    rag: RAG,
    questions: Sequence[Question],
    *,
    calls_llm: bool,
    n: int,
    input_price: float | None = None,
    output_price: float | None = None,
    groups: Sequence[str] | None = None,
) -> Estimate:
    """Estimate what the questions left would cost, from an even sample of at most 50 of them.

    Args:
        rag: What would be asked.
        questions: Those left to ask.
        calls_llm: Whether an answer is a call of a language model.
        n: All questions of the run.
        input_price: Per million input tokens.
        output_price: Per million output tokens.
        groups: The reader's groups.
    """
    step = max(1, -(-len(questions) // SAMPLE))
    sample = questions[::step]
    answers = [
        rag.ask(question.text, groups=groups, history=question.history, dry_run=True)
        for question in sample
    ]
    sent = [a.usage.input_tokens or 0 for a in answers if not a.refused]
    share = len(questions) / len(sample) if sample else 0.0
    n_calls = round(share * len(sent)) if calls_llm else 0
    n_input = round(share * sum(sent)) if calls_llm else 0
    longest = rag.settings.max_tokens
    output = None if longest is None else (n_calls, n_calls * longest)
    if not calls_llm:
        output = (0, 0)
    cost = None
    if output is not None and input_price is not None and output_price is not None:
        low, high = (n_input * input_price + tokens * output_price for tokens in output)
        cost = (low / 1e6, high / 1e6)
    joules = None if output is None or not n_calls else _joules(rag, n_calls, n_input, output)
    return Estimate(
        n=n,
        left=len(questions),
        sampled=len(sample),
        llm_calls=n_calls,
        input_tokens=n_input,
        output_tokens=output,
        cost=cost,
        joules=joules,
    )


def _joules(
    rag: RAG, n_calls: int, n_input: int, output: tuple[int, int]
) -> tuple[float, float] | None:
    """Return bounds of the energy; None where the model's size is not known."""
    name, billions = str(rag.configuration()["generator"]), rag.settings.model_billions
    own = rag.settings.model_cards
    card = None if billions is not None else find_card(name, None if own is None else Path(own))
    size = None if card is None else card.size
    if size is None:
        billions = billions or model_size_billions(name)
        if billions is None:
            return None
        size = ModelSize.of(billions, is_mixture=is_mixture(name))
    low, high = (
        prefill + decode
        for prefill, decode in (
            generation_joules(
                size,
                input_tokens=n_input,
                cached_tokens=0,
                output_tokens=tokens,
                context_tokens=n_input // n_calls,
            )
            for tokens in output
        )
    )
    return low.low, high.high
