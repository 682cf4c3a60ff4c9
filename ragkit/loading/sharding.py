"""A share of the documents, for several machines that ingest the same ones into one store."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ragkit.errors import ConfigError
from ragkit.types import Failure, SourceItem

MOST_SHARDS = 1_000_000
_WRITTEN = re.compile(r"([0-9]{1,7})/([0-9]{1,7})")


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `n_shards` shares, which together hold each document once.

    A document belongs to a share by a hash of its id alone, so that every machine agrees, today
    and tomorrow. Shares are counted from 0 or from 1: number 0 and number `n_shards` are the same.
    """

    number: int
    n_shards: int

    def __post_init__(self) -> None:
        """Raise `ConfigError` for numbers that name no share."""
        if not (1 <= self.n_shards <= MOST_SHARDS and 0 <= self.number <= self.n_shards):
            raise ConfigError(
                f"shard {self.number}/{self.n_shards}; allowed: I/N with N of 1 to "
                f"{MOST_SHARDS:,} and I of 0 to N (0/N and N/N are the same share)"
            )

    @classmethod
    def of(cls, text: str) -> Shard:
        """Return the share that `I/N` names; raises `ConfigError` if it names none."""
        found = _WRITTEN.fullmatch(text)
        if found is None:
            raise ConfigError(f"shard {text!r}; allowed: I/N, such as 3/8")
        return cls(int(found[1]), int(found[2]))

    def owns(self, document_id: str) -> bool:
        """Whether a document belongs to this share."""
        if self.n_shards == 1:
            return True
        import hashlib

        digest = hashlib.sha256(document_id.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8]) % self.n_shards == self.number % self.n_shards

    def takes(self, item: SourceItem) -> bool:
        """Whether what a source yields is for this share: a failure is for one share alone."""
        return self.owns(item.source if isinstance(item, Failure) else item.id)
