"""Whether a stream of answers has changed: tests by betting, which may be looked at at any time.

A bettor starts with a capital of 1 and bets, before each value, that it will differ from those
before in one direction. While nothing changes, its capital shrinks, and it starts again at 1; after
a change it grows exponentially (Page 1954; e-detectors: Shin, Ramdas and Rinaldo 2023). An alarm is
a capital that steady streams hardly ever reach: the thresholds were chosen by simulation so that
the three proxies together raise a false alarm in at most 5 % of streams of 10,000 steady answers.

Streams are taken to be independent from answer to answer. A batch of alike questions is a change.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

Direction: TypeAlias = Literal["up", "down"]

LEARNING = 300
"""Values from which a bettor learns what is usual, before its first bet."""

HORIZON = 10_000
"""Steady answers over which false alarms are kept to their share."""

_MOST_REMEMBERED = 1_000
_MOST_BETS = 100
"""Longest run of bets on a share; the answers of an older one belong to what is usual."""

_ODDS_RATIO = 5.0
_STANDARD_ERRORS = 1.3
"""A bet on a share allows for this error of what was learned."""

_STAKE = 0.9
_SHARE_FACTOR: Mapping[Direction, float] = {"up": 8.0, "down": 30.0}
_RANK_CAPITAL = math.exp(13.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A change: `n` values were seen up to here, and the last `n_after` of them differ."""

    direction: Direction
    n: int
    n_after: int
    before: float
    after: float


@dataclass(slots=True)
class _Run:
    """The bets since the capital was last 1."""

    capital: float = 1.0
    n: int = 0
    total: float = 0.0

    def bet(self, factor: float, value: float) -> None:
        if self.capital <= 1.0:
            self.restart()
        self.capital *= factor
        self.n += 1
        self.total += value

    def restart(self) -> None:
        self.capital, self.n, self.total = 1.0, 0, 0.0


class Watch(Protocol):
    """Watches one stream of values."""

    def add(self, value: float) -> Alarm | None:
        """Add the next value; after an alarm, everything is learned anew."""
        ...


@dataclass(slots=True)
class ShareWatch:
    """Watches a share: values are 0 or 1."""

    n: int = 0
    _n: int = 0
    _total: float = 0.0
    _runs: dict[Direction, _Run] = field(default_factory=lambda: {"up": _Run(), "down": _Run()})

    def add(self, value: float) -> Alarm | None:
        """Add the next value; after an alarm, everything is learned anew."""
        self.n += 1
        alarm = None
        if self._n >= LEARNING:
            for direction, run in self._runs.items():
                alarm = alarm or self._bet(direction, run, value)
        if alarm is not None:
            self._n, self._total = 0, 0.0
            self._runs = {"up": _Run(), "down": _Run()}
            return alarm
        self._n += 1
        self._total += value
        return None

    def _bet(self, direction: Direction, run: _Run, value: float) -> Alarm | None:
        n = self._n - run.n
        share = (self._total - run.total + 0.5) / (n + 1.0)
        error = _STANDARD_ERRORS * math.sqrt(share * (1.0 - share) / (n + 1.0))
        usual = share + error if direction == "up" else share - error
        usual = min(1.0 - 1e-6, max(1e-6, usual))
        odds = usual / (1.0 - usual) * (_ODDS_RATIO if direction == "up" else 1.0 / _ODDS_RATIO)
        other = odds / (1.0 + odds)
        run.bet(other / usual if value else (1.0 - other) / (1.0 - usual), value)
        information = usual * math.log(usual / other)
        information += (1.0 - usual) * math.log((1.0 - usual) / (1.0 - other))
        factor = _SHARE_FACTOR[direction] * (1.0 + 2.0 * usual)
        wanted = max(factor * HORIZON * information, 20.0)
        if run.capital >= wanted:
            return Alarm(direction=direction, n=self.n, n_after=run.n, before=share,
                         after=run.total / run.n)  # fmt: skip
        if run.n >= _MOST_BETS:
            run.restart()
        return None


@dataclass(slots=True)
class RankWatch:
    """Watches values of any size by their rank among the first ones."""

    n: int = 0
    _usual: list[float] = field(default_factory=list[float])
    _runs: dict[Direction, _Run] = field(default_factory=lambda: {"up": _Run(), "down": _Run()})

    def add(self, value: float) -> Alarm | None:
        """Add the next value; after an alarm, everything is learned anew."""
        self.n += 1
        if len(self._usual) < LEARNING:
            insort(self._usual, value)
            return None
        m = len(self._usual)
        below = bisect_left(self._usual, value) + bisect_right(self._usual, value)
        rank = 2.0 * (below + 1.0) / (2.0 * m + 2.0) - 1.0
        for direction, run in self._runs.items():
            run.bet(1.0 + _STAKE * (rank if direction == "up" else -rank), value)
            if run.capital >= _RANK_CAPITAL:
                before = math.fsum(self._usual) / m
                alarm = Alarm(direction=direction, n=self.n, n_after=run.n, before=before,
                              after=run.total / run.n)  # fmt: skip
                self._usual = []
                self._runs = {"up": _Run(), "down": _Run()}
                return alarm
        # Also what is bet on at present: leaving it out would make what is usual too narrow.
        if m < _MOST_REMEMBERED:
            insort(self._usual, value)
        return None


def alarms(values: Sequence[float], make: Callable[[], Watch]) -> list[Alarm]:
    """Return all alarms of a stream."""
    watch = make()
    return [alarm for value in values if (alarm := watch.add(value)) is not None]
