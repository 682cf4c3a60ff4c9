"""What `ragkit doctor` reports."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ragkit.types import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that `ragkit doctor` found. `repaired` is None if no repair was tried."""

    check: str
    detail: str
    repairable: bool
    repaired: bool | None = None

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form."""
        return dict(asdict(self))
