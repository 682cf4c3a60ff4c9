"""Batches of texts and rows of length one, as every embedder behind a server needs them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ragkit.errors import DimensionMismatchError, RemoteError

if TYPE_CHECKING:
    from ragkit.types import Vectors


def batches(texts: Sequence[str], *, most_texts: int, most_bytes: int) -> Iterator[Sequence[str]]:
    """Cut texts into runs of so many at most; only a single text may be larger than a batch."""
    start = n_bytes = 0
    for i, text in enumerate(texts):
        size = len(text.encode("utf-8", "surrogatepass"))
        if i > start and (i - start == most_texts or n_bytes + size > most_bytes):
            yield texts[start:i]
            start, n_bytes = i, 0
        n_bytes += size
    if start < len(texts):
        yield texts[start:]


def unit_rows(rows: Sequence[object], *, dim: int | None, name: str) -> Vectors:
    """Return float32 rows of length 1, shape (n, dim); a row of zeros becomes the first axis.

    Args:
        rows: Vectors as a server gave them, or buffers of float32 in little-endian order.
        dim: Length that they must have; None: that of the first.
        name: Who gave them, for errors.

    Raises:
        DimensionMismatchError: a row has another length.
        RemoteError: a row is no vector, or has numbers that are not finite.
    """
    import numpy as np

    try:
        arrays = [
            np.frombuffer(row, "<f4") if isinstance(row, bytes) else np.asarray(row, np.float32)
            for row in rows
        ]
    except (TypeError, ValueError) as error:
        raise RemoteError(f"{name} gave something that is no vector") from error
    if any(array.ndim != 1 or not array.size for array in arrays):
        raise RemoteError(f"{name} gave something that is no vector")
    wanted = dim or arrays[0].size
    other = next((array.size for array in arrays if array.size != wanted), None)
    if other is not None:
        raise DimensionMismatchError(f"{name} gave a vector of {other} numbers, not {wanted}")
    vectors: Vectors = np.array(arrays, dtype=np.float32)
    if not np.isfinite(vectors).all():
        raise RemoteError(f"{name} gave vectors that are not finite")
    vectors[~vectors.any(axis=1), 0] = 1.0
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors
