"""Managed or self-hosted: how many questions an hour it takes until an own instance wins.

A managed model costs by the question, money and energy alike. An own instance costs by the hour,
used or not. Money and energy are compared apart, for they often disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

from ragkit.advice.answers import Advice
from ragkit.types import Json

PUE = (1.04, 1.58)
"""Energy of a data centre per energy of its computers (low, high): the best published site, the
industry's average."""

_HOUR = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Managed:
    """A managed model: price and energy of one question; None if unknown.

    Attributes:
        price: Of one question, in any currency.
        joules: Of one question (low, high), the whole service.
        source: What the joules rest on.
    """

    price: float | None = None
    joules: tuple[float, float] | None = None
    source: str = "given"


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfHosted:
    """An instance of one's own, running all the time.

    Attributes:
        price_an_hour: In the same currency; None if unknown.
        idle_watts: (low, high); None if unknown.
        full_watts: (low, high); None if unknown.
        busy_seconds: How long one question keeps the instance at full load, that is the inverse of
            its throughput; more than 0.
        source: What the watts rest on.
    """

    price_an_hour: float | None = None
    idle_watts: tuple[float, float] | None = None
    full_watts: tuple[float, float] | None = None
    busy_seconds: float
    source: str = "given"

    @property
    def questions_an_hour(self) -> float:
        """The most that the instance can answer."""
        return _HOUR / self.busy_seconds


def advise_hosting(
    managed: Managed, own: SelfHosted, *, questions_an_hour: float | None = None
) -> Advice:
    """Return from how many questions an hour an own instance costs less, in money and in energy.

    Args:
        managed: The managed model.
        own: The instance.
        questions_an_hour: The load, on average over all hours that the instance runs; None: only
            the crossovers are returned.

    Returns:
        Advice without a value where neither prices nor energies are known on both sides, or where
        a load is given that lies within the range of the crossover of energy and no price decides.
    """
    money, energy = _money(managed, own), _energy(managed, own)
    if money is None and energy is None:
        reason = (
            "Nothing can be compared: it takes both prices, or the joules of a managed question "
            "and the watts of the instance, idle and full."
        )
        return Advice(advice=None, reason=reason, sources=_sources(managed, own))
    verdicts = {
        "money": _verdict(money, own, questions_an_hour),
        "energy": _verdict(energy, own, questions_an_hour),
    }
    advice: dict[str, Json] = {
        "questions_an_hour": questions_an_hour,
        "most_questions_an_hour": own.questions_an_hour,
        "money": None if money is None else {"from": money[0], "choose": verdicts["money"]},
        "energy": None
        if energy is None
        else {"from_low": energy[0], "from_high": energy[1], "choose": verdicts["energy"]},
    }
    is_silent = questions_an_hour is not None and not any(verdicts.values())
    return Advice(
        advice=None if is_silent else advice,
        reason=_reason(money, energy, own, verdicts, questions_an_hour),
        sources=_sources(managed, own),
        considered=[advice] if is_silent else (),
    )


_Crossover = tuple[float | None, float | None]
"""Questions an hour from which an own instance costs less at its best and at its worst; None where
it never does."""


def _money(managed: Managed, own: SelfHosted) -> _Crossover | None:
    if managed.price is None or own.price_an_hour is None:
        return None
    found = _within(own.price_an_hour, managed.price, own)
    return found, found


def _energy(managed: Managed, own: SelfHosted) -> _Crossover | None:
    """Return the crossover of energy, at the bounds that favour the own instance, and the others.

    The instance draws idle watts all the time, and the difference to full ones while it is busy.
    """
    if managed.joules is None or own.idle_watts is None or own.full_watts is None:
        return None
    bounds = zip(own.idle_watts, own.full_watts, PUE, reversed(managed.joules), strict=True)
    best, worst = (
        _within(idle * pue * _HOUR, joules - max(0.0, full - idle) * own.busy_seconds * pue, own)
        for idle, full, pue, joules in bounds
    )
    return best, worst


def _within(an_hour: float, saved_a_question: float, own: SelfHosted) -> float | None:
    if saved_a_question <= 0.0:
        return None
    found = an_hour / saved_a_question
    return found if found <= own.questions_an_hour else None


def _verdict(crossover: _Crossover | None, own: SelfHosted, load: float | None) -> str | None:
    if crossover is None or load is None or load > own.questions_an_hour:
        return None
    best, worst = crossover
    if best is None or load < best:
        return "managed"
    return "self-hosted" if worst is not None and load >= worst else None


def _reason(
    money: _Crossover | None,
    energy: _Crossover | None,
    own: SelfHosted,
    verdicts: dict[str, str | None],
    load: float | None,
) -> str:
    said: list[str] = []
    for name, crossover in (("money", money), ("energy", energy)):
        if crossover is None:
            said.append(f"In {name} nothing is known of one side.")
            continue
        word = verdicts[name]
        end = "" if load is None else f": {word}" if word else ": the sources do not decide"
        said.append(f"In {name} an own instance wins {_from(crossover, own)}{end}.")
    if load is not None and load > own.questions_an_hour:
        said.append(
            f"One instance answers at most {own.questions_an_hour:,.0f} questions an hour, fewer "
            f"than {load:,.0f}: compare with the price and watts of several."
        )
    return " ".join(said)


def _from(crossover: _Crossover, own: SelfHosted) -> str:
    best, worst = crossover
    if best is None:
        return (
            f"at no load that it can serve (up to {own.questions_an_hour:,.0f} questions an hour)"
        )
    if worst is None:
        return f"from {best:,.0f} questions an hour at best, at worst never"
    if round(best) == round(worst):
        return f"from {best:,.0f} questions an hour"
    return f"from {best:,.0f} to {worst:,.0f} questions an hour, by the source"


def _sources(managed: Managed, own: SelfHosted) -> list[dict[str, Json]]:
    return [
        {"name": "prices", "source": "given", "managed": managed.price, "own": own.price_an_hour},
        {
            "name": "managed energy",
            "source": managed.source,
            "joules_a_question": _pair(managed.joules),
        },
        {
            "name": "instance",
            "source": own.source,
            "idle_watts": _pair(own.idle_watts),
            "full_watts": _pair(own.full_watts),
        },
        {
            "name": "overhead",
            "source": "PUE of the best published site, and the industry's average",
            "pue": list(PUE),
        },
    ]


def _pair(bounds: tuple[float, float] | None) -> Json:
    return None if bounds is None else list(bounds)
