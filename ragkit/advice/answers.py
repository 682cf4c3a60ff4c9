"""What every piece of advice has: a value or none, a reason in a sentence, and sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ragkit.errors import ExitCode
from ragkit.types import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Advice, or the reason why there is none.

    Attributes:
        advice: What is advised; None where the sources disagree or do not suffice.
        reason: Why, in a sentence or two.
        sources: What the figures rest on; each has at least `source`.
        considered: What was compared, with the figures.
    """

    advice: Mapping[str, Json] | None
    reason: str
    sources: Sequence[Mapping[str, Json]]
    considered: Sequence[Mapping[str, Json]] = field(default=())

    @property
    def exit_code(self) -> ExitCode:
        """0 with advice, 5 without."""
        return ExitCode.DONE if self.advice is not None else ExitCode.INCONCLUSIVE

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit advise`."""
        return {
            "schema": 1,
            "advice": None if self.advice is None else dict(self.advice),
            "reason": self.reason,
            "sources": [dict(source) for source in self.sources],
            "considered": [dict(entry) for entry in self.considered],
        }
