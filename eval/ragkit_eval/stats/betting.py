"""Tests that may be looked at after every document: capital staked against a hypothesis.

Capital starts at 1 and is staked on the mean's being above 0. If it is not, no strategy makes the
capital grow on average, so that it ever reaches 1 / alpha with a chance of at most alpha (Ville
1939; Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting",
section 4). It may therefore be read, and the sampling be stopped, at any time.

Where all that can come is a finite list in a random order, what is left of it must make up for what
came: the next value's mean, if that of the list is not above 0, is known, and it is staked against
that (sampling without replacement; Waudby-Smith and Ramdas 2020, "Confidence sequences for sampling
without replacement").
"""

from __future__ import annotations

import math

STAKE = 0.95
"""Largest share of the capital that one bet may lose."""

_PRIOR_MEAN, _PRIOR_VARIANCE = 0.05, 0.02
"""What one document before the first is taken to have shown; any values keep the test valid."""

_SURE = 1e-9
"""Sums are as exact as this: beyond it, what is left of a list can change nothing."""


class Wager:
    """Capital that is staked, document by document, on a mean's being above 0.

    The stakes are those that let capital grow fastest if what comes is as what came (aGRAPA,
    Waudby-Smith and Ramdas 2024, section B.3): the mean over the second moment, of earlier
    documents only.

    Args:
        least: The smallest value that can come, below 0.
        size: Of the list, in a random order, whose mean it is about; None where it is the mean of
            what values are drawn from.
    """

    def __init__(self, least: float, *, size: int | None = None) -> None:
        if not least < 0.0:
            raise ValueError(f"least {least}; allowed: below 0")
        # In units of the largest loss, so that the prior means the same for every measure.
        self._unit = -least
        self._size = size
        self._drawn, self._sum = 0, 0.0
        self._n, self._total, self._squares = 1, _PRIOR_MEAN, _PRIOR_VARIANCE
        self.log_capital = 0.0
        self.most_log_capital = 0.0

    def add(self, value: float) -> None:
        """Settle the stake on the next value.

        Raises:
            ValueError: the value is below the smallest that can come, or there are more values than
                the list has.
        """
        if self._drawn == self._size:
            raise ValueError(f"the list has {self._size} values")
        x = value / self._unit
        if x < -1.0 - 1e-9:
            raise ValueError(f"value {value} is below {-self._unit}")
        # The mean of what is left where that of the list is 0, and how far it can be below.
        due = 0.0 if self._size is None else -self._sum / (self._size - self._drawn)
        room = due + 1.0
        mean, variance = self._total / self._n - due, self._squares / self._n
        if room < -_SURE:
            self.log_capital = math.inf
        else:
            stake = min(STAKE / max(room, _SURE), max(0.0, mean / (variance + mean * mean)))
            self.log_capital += math.log1p(stake * (max(-1.0, x) - due))
        self.most_log_capital = max(self.most_log_capital, self.log_capital)
        self._drawn += 1
        self._sum += x
        self._n += 1
        self._total += x
        self._squares += (x - self._total / self._n) ** 2

    def has_won(self, alpha: float) -> bool:
        """Whether the capital has ever reached 1 / alpha: the mean is above 0."""
        return self.most_log_capital >= -math.log(alpha)

    @property
    def p_value(self) -> float:
        """The smallest alpha at which it has won; valid whenever one looks."""
        return math.exp(-self.most_log_capital)
