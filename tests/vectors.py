"""Vectors for tests that need no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ragkit.types import Vectors


def told_apart(texts: Sequence[str]) -> Vectors:
    """Return unit vectors of 8 dimensions that tell texts apart, and say nothing else of them."""
    rows = [np.random.default_rng(list(t.encode())).normal(size=8) for t in texts]
    vectors = np.array(rows, dtype=np.float32)
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
