"""The joules of an answer, from what was measured and from what is known of the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ragkit.costs.answer_energy import (
    AnswerEnergy,
    RunsOn,
    Work,
    elsewhere,
    measured,
    on_processors,
)
from ragkit.costs.cards import ModelCard, find_card
from ragkit.costs.energy import (
    POWER_USAGE_EFFECTIVENESS,
    ModelSize,
    Range,
    is_mixture,
    local_joules,
    model_size_billions,
)

if TYPE_CHECKING:
    from ragkit.pipeline.drafts import Draft
    from ragkit.pipeline.parts import Parts
    from ragkit.pipeline.receipts import Attempt
    from ragkit.types import Usage

_PUE = "x PUE 1.04/1.135/1.58"


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """The energy of an answer.

    `hosting` is what the settings book for it, `measured` what counters of whole devices tell.
    """

    energy: AnswerEnergy
    hosting: Range | None
    measured: Range | None


def costs_of(
    parts: Parts,
    attempt: Attempt,
    draft: Draft | None,
    usage: Usage,
    *,
    seconds: float,
    cpu_seconds: float,
    calls_llm: bool,
    served_model: str | None,
    reading_share: float | None = None,
) -> Costs:
    """Return the energy of an attempt that has taken so long."""
    processors, accelerators = attempt.processors.joules(), attempt.accelerator_joules
    local = local_joules(cpu_seconds)
    if processors is not None and attempt.processors.is_own():
        local = _counted(processors, "RAPL counters of all processors")
    energy = AnswerEnergy(joules=local, baseline=local)
    if calls_llm:
        work = Work(
            usage=usage,
            sent_tokens=None if draft is None else draft.input_tokens,
            baseline_tokens=None if draft is None else draft.baseline_tokens,
            reading_share=reading_share,
        )
        if runs_on(parts) == "cpu":
            energy = on_processors(local, _generation(local, attempt, cpu_seconds), work)
        else:
            energy = elsewhere(local, size_of(parts, served_model), work)
        if accelerators is not None:
            counted = _counted(accelerators, "NVML counters of the accelerators")
            energy = measured(energy, local, counted)
    hosting = _hosting(parts, seconds)
    if hosting is not None:
        energy = replace(
            energy,
            joules=None if energy.joules is None else energy.joules + hosting,
            baseline=None if energy.baseline is None else energy.baseline + hosting,
        )
    return Costs(energy=energy, hosting=hosting, measured=_measured(processors, accelerators))


def runs_on(parts: Parts) -> RunsOn | None:
    """Return where the generator says that its model runs; None: elsewhere, or it does not say."""
    value: object = getattr(parts.opened_generator, "runs_on", None)
    return next((place for place in get_args(RunsOn) if place == value), None)


def card_of(parts: Parts, served_model: str | None = None) -> ModelCard | None:
    """Return the card of the model that answered, or else of the one that was asked for."""
    own = None if parts.settings.model_cards is None else Path(parts.settings.model_cards)
    served = None if served_model is None else find_card(served_model, own)
    return served or find_card(parts.generator_name, own)


def size_of(parts: Parts, served_model: str | None = None) -> ModelSize | None:
    """Return the model's size: as set, from its card, or from its name; None where none tells."""
    name, billions = parts.generator_name, parts.settings.model_billions
    card = None if billions is not None else card_of(parts, served_model)
    if card is not None and card.size is not None:
        return card.size
    billions = billions or model_size_billions(served_model or "") or model_size_billions(name)
    if billions is None:
        return None
    return ModelSize.of(billions, is_mixture=is_mixture(name))


def _generation(local: Range, attempt: Attempt, cpu_seconds: float) -> Range:
    """Return the part of the local joules that was spent while the answer was generated."""
    stages = {stage.name: stage.cpu_seconds for stage in attempt.watch.stages}
    spent = stages.get("generate", 0.0)
    share = min(1.0, spent / cpu_seconds) if cpu_seconds > 0.0 else 0.0
    return local.times(share, share, share)


def _hosting(parts: Parts, seconds: float) -> Range | None:
    watts = parts.settings.hosting_watts
    if not watts:
        return None
    factor = parts.settings.hosting_share * seconds
    return Range(
        low=watts[0] * factor,
        mid=watts[len(watts) // 2] * factor,
        high=watts[-1] * factor,
        grade="modelled-local",
        source="hosting watts x share x seconds, as set",
    )


def _counted(joules: float, what: str) -> Range:
    low, mid, high = (joules * factor for factor in POWER_USAGE_EFFECTIVENESS)
    return Range(low=low, mid=mid, high=high, grade="measured", source=f"{what} {_PUE}")


def _measured(processors: float | None, accelerators: float | None) -> Range | None:
    """Return what counters tell, without the data centre's overhead."""
    told = {
        "RAPL counters of all processors, whoever used them": processors,
        "NVML counters of the accelerators while the answer was generated": accelerators,
    }
    known = {source: joules for source, joules in told.items() if joules is not None}
    if not known:
        return None
    total = sum(known.values())
    return Range(low=total, mid=total, high=total, grade="measured", source=" + ".join(known))
