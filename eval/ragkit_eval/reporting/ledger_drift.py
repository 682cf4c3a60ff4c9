"""Whether what a ledger shows of its answers has changed over time: tokens, refusals, support."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ragkit.costs.ledger import as_table
from ragkit.types import Json, token_count
from ragkit_eval.stats.drift import LEARNING, Alarm, RankWatch, ShareWatch


@dataclass(slots=True, kw_only=True)
class Drift:
    """Watches on the proxies of quality, and the alarms so far with their times."""

    tokens: RankWatch = field(default_factory=RankWatch)
    refusals: ShareWatch = field(default_factory=ShareWatch)
    support: RankWatch = field(default_factory=RankWatch)
    alarms: list[dict[str, Json]] = field(default_factory=list[dict[str, Json]])

    def add(self, record: Mapping[str, Json]) -> None:
        """Add a line of a ledger; only answers and refusals count."""
        receipt = as_table(record.get("receipt"))
        is_attempt = record.get("kind") == "ask" and record.get("dry_run") is not True
        if not is_attempt or receipt.get("outcome") not in (None, "answered", "refused"):
            return
        is_refused = record.get("refused") is True
        self._note("refused", record, self.refusals.add(float(is_refused)))
        tokens = token_count(as_table(record.get("usage")).get("output_tokens"))
        if tokens is not None and not is_refused:
            self._note("output_tokens", record, self.tokens.add(float(tokens)))
        support = as_table(record.get("evidence")).get("score")
        if isinstance(support, float) and 0.0 <= support <= 1.0:
            self._note("support", record, self.support.add(support))

    def _note(self, proxy: str, record: Mapping[str, Json], alarm: Alarm | None) -> None:
        if alarm is None:
            return
        time = record.get("time")
        self.alarms.append(
            {
                "proxy": proxy,
                "direction": alarm.direction,
                "time": time if isinstance(time, str) else None,
                "n": alarm.n,
                "n_after": alarm.n_after,
                "before": alarm.before,
                "after": alarm.after,
            }
        )

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit ledger drift`."""
        seen = {
            "output_tokens": self.tokens.n, "refused": self.refusals.n, "support": self.support.n
        }  # fmt: skip
        return {
            "schema": 1,
            "values": {**seen},
            "watched": {name: n > LEARNING for name, n in seen.items()},
            "learning": LEARNING,
            "alarms": list(self.alarms),
        }


def drift(records: Iterable[Mapping[str, Json]]) -> Drift:
    """Watch the answers of a ledger, in its order."""
    found = Drift()
    for record in records:
        found.add(record)
    return found
