"""Which service level: the slowest one that is fast enough."""

from __future__ import annotations

from dataclasses import dataclass

from ragkit.advice.answers import Advice
from ragkit.advice.quantiles import Asked, quantile
from ragkit.types import Json

LEAST_BATCH_RECORDS = 100
"""The least records of a batch job, by Bedrock's default quota for most models."""

LEAST_LINES = 20
"""Answers in a ledger from which its times are looked at."""

_DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A service level: what it is on Bedrock and SageMaker, and how long it may take."""

    name: str
    bedrock: str
    sagemaker: str
    price: str
    wait: str

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "tier": self.name,
            "bedrock": self.bedrock,
            "sagemaker": self.sagemaker,
            "price": self.price,
            "wait": self.wait,
        }


TIERS = (
    Tier(
        name="realtime",
        bedrock='serviceTier "priority" (a choice of models); "reserved" by contract',
        sagemaker="real-time endpoint",
        price="above on-demand; an endpoint by the hour",
        wait="seconds; requests go before those of the other tiers",
    ),
    Tier(
        name="standard",
        bedrock='serviceTier "default"',
        sagemaker="serverless endpoint (without accelerators; starts cold), or real-time",
        price="on-demand; serverless by the use",
        wait="seconds, more under load",
    ),
    Tier(
        name="flex",
        bedrock='serviceTier "flex" (a choice of models)',
        sagemaker="asynchronous endpoint (queued, up to an hour, scales to none)",
        price="below on-demand; an endpoint by the hour while it runs",
        wait="minutes under load; may be throttled first",
    ),
    Tier(
        name="batch",
        bedrock="model invocation job (CreateModelInvocationJob, from and to S3)",
        sagemaker="batch transform",
        price="half of on-demand for many models; a transform by the hour while it runs",
        wait="hours, at least a day to be safe",
    ),
)

_SOURCES: tuple[dict[str, Json], ...] = (
    {
        "source": 'Amazon Bedrock user guide, "Service tiers for optimizing performance and cost" '
        'and "Process multiple prompts with batch inference"; quotas of batch inference',
        "year": 2026,
    },
    {
        "source": "botocore 1.44.8: ServiceTierType priority, default, flex, reserved; "
        "CreateModelInvocationJob, time-out 24 to 168 hours",
        "year": 2026,
    },
    {"source": 'SageMaker AI developer guide, "Inference options"', "year": 2026},
)


def advise_tier(
    asked: Asked,
    *,
    ledger: str | None,
    longest_wait_seconds: float | None,
    questions_a_day: float | None = None,
) -> Advice:
    """Return the slowest service level that is fast enough.

    Args:
        asked: What the ledger says; empty without one.
        ledger: Its name.
        longest_wait_seconds: How long an answer may take; None if that is not known, and then
            there is no advice: the need decides, not the past.
        questions_a_day: How many there are; None takes the ledger's busiest day.
    """
    sources = list(_SOURCES)
    volume = questions_a_day
    if ledger is not None:
        sources.append({"source": f"ledger {ledger}", "answers": len(asked.total_tokens)})
        volume = volume or max(asked.days.values(), default=None)
    table = [tier.to_dict() for tier in TIERS]
    if longest_wait_seconds is None:
        reason = "How long an answer may take decides the tier, and that is not known: --max-wait."
        return Advice(advice=None, reason=reason, sources=sources, considered=table)
    name, why = _tier(longest_wait_seconds, volume, asked)
    found = next(tier for tier in TIERS if tier.name == name)
    reason = (
        f"{why} A lower tier is a lower price; that it takes less energy is not known, so no "
        "saving of joules is claimed."
    )
    return Advice(
        advice={**found.to_dict(), "profile": name},
        reason=reason,
        sources=sources,
        considered=table,
    )


def _tier(wait: float, volume: float | None, asked: Asked) -> tuple[str, str]:
    if wait >= _DAY:
        if volume is not None and volume < LEAST_BATCH_RECORDS:
            return "flex", (
                f"A day is long enough for a batch, but {volume:,.0f} questions a day are fewer "
                f"than the {LEAST_BATCH_RECORDS} records that a job needs: flex."
            )
        return "batch", "An answer may take a day: batch, if a job gets enough questions together."
    if wait >= 300.0:
        return "flex", f"An answer may take {wait:,.0f} s, long enough for queued requests: flex."
    usual = quantile(asked.seconds, 0.95) if len(asked.seconds) >= LEAST_LINES else None
    if usual is not None:
        fits = usual <= wait
        return ("standard" if fits else "realtime"), (
            f"The ledger's 95th percentile of an answer is {usual:.1f} s, and {wait:g} s are "
            f"allowed: {'standard is enough' if fits else 'realtime'}."
        )
    if wait >= 10.0:
        return "standard", f"An answer may take {wait:g} s; without measured times: standard."
    return "realtime", f"An answer may take only {wait:g} s; without measured times: realtime."
