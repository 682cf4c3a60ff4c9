"""How to trim: the numbers of a trim policy."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from ragkit.errors import ConfigError
from ragkit.trimming.scorer import BEST_WEIGHT, FUSION_WEIGHTS, LENGTH_WEIGHT, Scorer
from ragkit.types import MOST_HITS, Json

BASELINE_HITS = 5
"""What trimming is measured against: so many chunks, untrimmed."""

REFUSE_BELOW = 0.15
"""Bundled refusal threshold: on the calibration halves 2 % of answerable questions lie below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrimPolicy:
    """How to trim.

    `pool` chunks are retrieved; sentences are kept from the best down, at least one, while all
    limits hold: their rank is at least `keep_above`, their tokens stay within `budget_tokens` and
    within `budget_share` of the tokens of the pool's first five chunks (None: no such limit).

    A sentence's score is a sum of z-scores over the pool with the weights below, or that of a
    fitted `scorer`. Its priority is the score less `length_weight` (the scorer's, where there is
    one) times the logarithm of its length, since a long sentence takes the place of several short
    ones; its rank is the priority less `best_weight` times the pool's best priority, so that a
    clear winner leaves less room for others. `second_hop` is the weight of what a sentence gains
    because other sentences lead to it (`second_hop.py`), beside 1 for its training-free
    score: for questions that take two documents to answer.

    A sentence is kept together with so many `neighbours` on either side in its chunk and, with
    `headings`, with the heading above it.

    Below `refuse_below` (an evidence score in [0, 1]) there is no answer. `certificate` is what was
    shown about the policy, made by `ragkit calibrate`.
    """

    name: str
    pool: int = 10
    keep_above: float | None = None
    budget_tokens: int | None = None
    budget_share: float | None = None
    second_hop: float = 0.0
    neighbours: int = 0
    headings: bool = False
    refuse_below: float = 0.0
    scorer: Scorer | None = None
    cosine_weight: float = FUSION_WEIGHTS["cosine"]
    words_weight: float = FUSION_WEIGHTS["words"]
    window_cosine_weight: float = FUSION_WEIGHTS["window_cosine"]
    window_words_weight: float = FUSION_WEIGHTS["window_words"]
    chunk_weight: float = FUSION_WEIGHTS["chunk"]
    length_weight: float = LENGTH_WEIGHT
    best_weight: float = BEST_WEIGHT
    certificate: Mapping[str, Json] | None = None

    def __post_init__(self) -> None:
        """Check the ranges; raises `ConfigError`."""
        if not 1 <= self.pool <= MOST_HITS:
            raise ConfigError(
                f"trim policy {self.name!r}: pool {self.pool}; allowed: 1 to {MOST_HITS:,}"
            )
        if self.budget_tokens is not None and self.budget_tokens < 1:
            raise ConfigError(
                f"trim policy {self.name!r}: budget_tokens {self.budget_tokens}; allowed: 1 or more"
            )
        if self.budget_share is not None and not 0.0 < self.budget_share <= 1.0:
            raise ConfigError(
                f"trim policy {self.name!r}: budget_share {self.budget_share}; "
                "allowed: more than 0, up to 1"
            )
        numbers = {"keep_above": self.keep_above, "second_hop": self.second_hop, **self._weights()}
        for name, value in numbers.items():
            if value is not None and not math.isfinite(value):
                raise ConfigError(
                    f"trim policy {self.name!r}: {name} {value}; allowed: a finite number"
                )
        for name in ("second_hop", "neighbours"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"trim policy {self.name!r}: {name} {getattr(self, name)}; allowed: 0 or more"
                )
        if not 0.0 <= self.refuse_below <= 1.0:
            raise ConfigError(
                f"trim policy {self.name!r}: refuse_below {self.refuse_below}; allowed: 0 to 1"
            )

    @property
    def weights(self) -> dict[str, float]:
        """Return the weight of each signal in the training-free score."""
        return {
            "cosine": self.cosine_weight,
            "words": self.words_weight,
            "window_cosine": self.window_cosine_weight,
            "window_words": self.window_words_weight,
            "chunk": self.chunk_weight,
        }

    def _weights(self) -> dict[str, float]:
        return {**self.weights, "length": self.length_weight, "best": self.best_weight}

    def sha256(self) -> str:
        """Return a digest of the numbers that decide what is kept and refused."""
        scorer = None if self.scorer is None else self.scorer.sha256()
        numbers = {**self.to_dict(), "name": None, "certificate": None, "scorer": scorer}
        import hashlib  # heavy: it loads OpenSSL

        return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of a trim policy file."""
        data: dict[str, Json] = {
            "schema": 1,
            "name": self.name,
            "pool": self.pool,
            "keep_above": self.keep_above,
            "budget_tokens": self.budget_tokens,
            "budget_share": self.budget_share,
            "second_hop": self.second_hop,
            "neighbours": self.neighbours,
            "headings": self.headings,
            "refuse_below": self.refuse_below,
            "scorer": None
            if self.scorer is None
            else {"name": self.scorer.name, "sha256": self.scorer.sha256()},
            "weights": self._weights(),
        }
        if self.certificate is not None:
            data["certificate"] = self.certificate
        return data
