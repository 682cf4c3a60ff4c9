"""Tests that may be looked at after every document: capital staked against a hypothesis.

Capital starts at 1 and is staked on the mean's being above 0. If it is not, no strategy makes the
capital grow on average, so that it ever reaches 1 / alpha with a chance of at most alpha (Ville
1939; Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting",
section 4). It may therefore be read, and the sampling be stopped, at any time.
"""

from __future__ import annotations

import math

STAKE = 0.95
"""Largest share of the capital that one bet may lose."""

_PRIOR_MEAN, _PRIOR_VARIANCE = 0.05, 0.02
"""What one document before the first is taken to have shown; any values keep the test valid."""


class Wager:
    """Capital that is staked, document by document, on a mean's being above 0.

    The stakes are those that let capital grow fastest if what comes is as what came (aGRAPA,
    Waudby-Smith and Ramdas 2024, section B.3): the mean over the second moment, of earlier
    documents only.

    Args:
        least: The smallest value that can come, below 0.
    """

    def __init__(self, least: float) -> None:
        if not least < 0.0:
            raise ValueError(f"least {least}; allowed: below 0")
        # In units of the largest loss, so that the prior means the same for every measure.
        self._unit = -least
        self._n, self._total, self._squares = 1, _PRIOR_MEAN, _PRIOR_VARIANCE
        self.log_capital = 0.0
        self.most_log_capital = 0.0

    def add(self, value: float) -> None:
        """Settle the stake on the next value.

        Raises:
            ValueError: the value is below the smallest that can come.
        """
        x = value / self._unit
        if x < -1.0 - 1e-9:
            raise ValueError(f"value {value} is below {-self._unit}")
        mean, variance = self._total / self._n, self._squares / self._n
        stake = min(STAKE, max(0.0, mean / (variance + mean * mean)))
        self.log_capital += math.log1p(stake * max(-1.0, x))
        self.most_log_capital = max(self.most_log_capital, self.log_capital)
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
