"""What is computed from a store's file and kept in memory while the file stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from ragkit.storage.connections import FileState

if TYPE_CHECKING:
    from ragkit.storage.rows import StoredDocument
    from ragkit.storage.searching import SearchIndex
    from ragkit.storage.values import VectorCounts
    from ragkit.storage.visible import Readers

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Version:
    """One content of the file.

    Attributes:
        state: Which file, and how it was opened.
        revision: Number of committed writes.
        restored: The revision that a backup last took the place of all content at, or 0.
    """

    state: FileState
    revision: int
    restored: int = 0

    def follows(self, other: Version) -> bool:
        """Whether it is what later writes have made of the other."""
        same = (self.state, self.restored) == (other.state, other.restored)
        return same and self.revision > other.revision


class Kept(Generic[_T]):
    """A value of the newest version seen; threads share it, and may each make it at once."""

    def __init__(self) -> None:
        self._kept: tuple[Version, _T] | None = None

    @property
    def newest(self) -> _T | None:
        """The value that is kept."""
        kept = self._kept
        return None if kept is None else kept[1]

    def get(self, version: Version | None, make: Callable[[_T | None], _T]) -> _T:
        """Return the value of a version.

        Args:
            version: None is never kept.
            make: Makes the value, and gets the one of an earlier version of the same file.
        """
        kept = self._kept
        if version is None:
            return make(None)
        if kept is not None and kept[0] == version:
            return kept[1]
        older = kept is not None and version.follows(kept[0])
        value = make(kept[1] if kept is not None and older else None)
        kept = self._kept
        if kept is None or not kept[0].follows(version):  # a reader of an older snapshot
            self._kept = (version, value)
        return value


class Memory:
    """What a store's snapshots share: each made once per version, whichever thread comes first."""

    def __init__(self) -> None:
        self.index: Kept[SearchIndex] = Kept()
        self.documents: Kept[list[StoredDocument]] = Kept()
        self.language: Kept[str | None] = Kept()
        self.readers: Kept[Readers] = Kept()
        self.seal_checked: Kept[bool] = Kept()
        self.vector_counts: Kept[VectorCounts] = Kept()
