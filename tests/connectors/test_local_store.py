"""The local store keeps the contract of stores, of which it is the oracle."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragkit.storage import LocalStore
from ragkit_connectors.testing import StoreContract, TrimmingContract


class TestLocalStore(StoreContract, TrimmingContract):
    """A folder on this machine."""

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:  # pyright: ignore[reportUnusedFunction]
        self.folder = tmp_path

    def make(self, name: str) -> LocalStore:
        """Return the store in a folder of this name."""
        return LocalStore(self.folder / name, create=True)
