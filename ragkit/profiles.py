"""Service profiles: how urgent answers are, and all that follows from it, in one table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a profile sets where nothing else is set.

    Attributes:
        service_tier: Of Amazon Bedrock.
        timeout_seconds: Longest wait for an answer, and for each part of a stream.
        total_timeout_seconds: Longest time for a whole generation, attempts and stream together.
        retry_seconds: Time after its start in which a call may be sent again, where nothing can
            have been generated yet.
        n_at_once: Questions that are answered at the same time: threads of the asynchronous methods
            and of `eval run`.
    """

    service_tier: str
    timeout_seconds: float
    total_timeout_seconds: float
    retry_seconds: float
    n_at_once: int

    def generator_options(self) -> dict[str, object]:
        """Return settings of generators, by name; most take only some of them."""
        return {
            "service_tier": self.service_tier,
            "timeout_seconds": self.timeout_seconds,
            "total_timeout_seconds": self.total_timeout_seconds,
            "retry_seconds": self.retry_seconds,
        }


_FLEX = Profile(
    service_tier="flex",
    timeout_seconds=300.0,
    total_timeout_seconds=900.0,
    retry_seconds=600.0,
    n_at_once=4,
)

PROFILES = {
    "realtime": Profile(
        service_tier="priority",
        timeout_seconds=15.0,
        total_timeout_seconds=30.0,
        retry_seconds=5.0,
        n_at_once=32,
    ),
    "standard": Profile(
        service_tier="default",
        timeout_seconds=60.0,
        total_timeout_seconds=120.0,
        retry_seconds=20.0,
        n_at_once=16,
    ),
    "flex": _FLEX,
    "batch": _FLEX,
}
"""`batch` is `flex` for what cannot wait for a job: a single question, a count of tokens."""
