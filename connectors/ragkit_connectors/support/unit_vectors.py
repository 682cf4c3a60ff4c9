"""Batches of texts and rows of length one, as every embedder behind a server needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from ragkit.errors import DimensionMismatchError, RemoteError

if TYPE_CHECKING:
    from ragkit.types import Vectors


def rows_of(
    texts: Sequence[str],
    embed: Callable[[Sequence[str]], Vectors],
    dim: Callable[[], int],
    *,
    most_texts: int,
    most_bytes: int,
    n_threads: int = 1,
) -> Vectors:
    """Return a row for each text, embedded in batches; blank texts, not sent, get the first axis.

    Args:
        texts: What to embed, prompts included.
        embed: Gives the rows of a batch.
        dim: Gives the length of a row; called after `embed`.
        most_texts: Texts per batch.
        most_bytes: Bytes per batch; a single text may have more.
        n_threads: Batches at once. The first error is raised; batches not yet begun are dropped.
    """
    import numpy as np

    at = [i for i, text in enumerate(texts) if text.strip()]
    cut = _batches([texts[i] for i in at], most_texts=most_texts, most_bytes=most_bytes)
    parts = _in_threads(embed, list(cut), n_threads)
    vectors: Vectors = np.zeros((len(texts), dim()), dtype=np.float32)
    vectors[:, 0] = 1.0
    if parts:
        vectors[at] = np.concatenate(parts)
    return vectors


def _in_threads(
    embed: Callable[[Sequence[str]], Vectors], batches: Sequence[Sequence[str]], n_threads: int
) -> list[Vectors]:
    if n_threads == 1 or len(batches) < 2:
        return [embed(batch) for batch in batches]
    from concurrent.futures import ThreadPoolExecutor
    from contextvars import copy_context

    with ThreadPoolExecutor(min(n_threads, len(batches)), "ragkit-embed") as pool:
        contexts = [copy_context() for _ in batches]
        return list(pool.map(lambda context, batch: context.run(embed, batch), contexts, batches))


def _batches(texts: Sequence[str], *, most_texts: int, most_bytes: int) -> Iterator[Sequence[str]]:
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
    except (TypeError, ValueError, OverflowError) as error:
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
