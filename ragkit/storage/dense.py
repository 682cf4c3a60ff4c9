"""Exact search over the stored vectors.

Candidates come from FAISS where it is installed and worth its import, from numpy otherwise; both
are scored again with one formula, so their results are equal.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ragkit.types import Vector, Vectors

FAISS_FROM = 10_000
"""Number of vectors from which FAISS is used: below, importing it costs more than all searches."""

_MARGIN = 64
"""Candidates beyond k: more than float rounding could reorder."""

_SAME_SCORE = 1e-6


class _Candidates(Protocol):
    def __call__(self, vector: Vector, k: int, allowed: NDArray[np.int64] | None) -> Sequence[int]:
        """Return positions of at least the k best vectors."""
        ...


class DenseIndex:
    """All vectors of a store at one generation, in order of chunk id.

    Args:
        rows: Row of each chunk, shape (n,).
        vectors: float32, shape (n, dim), unit rows.
        faiss_from: Number of vectors from which FAISS is used when installed.
    """

    def __init__(
        self, rows: Sequence[int], vectors: Vectors, *, faiss_from: int = FAISS_FROM
    ) -> None:
        self._rows = rows
        self._position = {row: position for position, row in enumerate(rows)}
        self._vectors = vectors
        self._candidates: _Candidates = self._by_numpy
        self.engine = "numpy"
        if len(rows) >= faiss_from:
            self._use_faiss()

    def search(
        self, vector: Vector, k: int, allowed: Collection[int] | None = None
    ) -> list[tuple[int, float]]:
        """Return (row, cosine) of the k best, best first, ties in order of chunk id.

        Args:
            vector: The question's unit vector.
            k: 1 or more.
            allowed: The only rows that may be found; None allows all.
        """
        import numpy as np

        positions = None
        if allowed is not None:
            positions = np.array(
                sorted(self._position[row] for row in allowed if row in self._position),
                dtype=np.int64,
            )
        n = len(self._rows) if positions is None else len(positions)
        if n == 0:
            return []
        found = self._candidates(vector, min(n, k + _MARGIN), positions)
        ranked = self._ranked(vector, found)
        if len(found) < n and ranked[min(k, len(ranked)) - 1][1] - ranked[-1][1] < _SAME_SCORE:
            everything = range(len(self._rows)) if positions is None else positions.tolist()
            ranked = self._ranked(vector, list(everything))
        return [(self._rows[position], score) for position, score in ranked[:k]]

    def scores(self, vector: Vector, rows: Collection[int]) -> dict[int, float]:
        """Return the cosine of the question with each of these rows."""
        positions = [self._position[row] for row in rows if row in self._position]
        return {self._rows[p]: score for p, score in self._ranked(vector, positions)}

    def _ranked(self, vector: Vector, positions: Sequence[int]) -> list[tuple[int, float]]:
        import numpy as np

        ordered = np.sort(np.asarray(positions, dtype=np.int64))
        products = self._vectors[ordered] * vector
        scores = products.sum(axis=1, dtype=np.float64).round(7)
        order = np.argsort(-scores, kind="stable")
        return list(zip(ordered[order].tolist(), scores[order].tolist(), strict=True))

    def _by_numpy(self, vector: Vector, k: int, allowed: NDArray[np.int64] | None) -> Sequence[int]:
        import numpy as np

        vectors = self._vectors if allowed is None else self._vectors[allowed]
        scores = vectors @ vector
        best = np.argpartition(-scores, k - 1)[:k]
        found: list[int] = (best if allowed is None else allowed[best]).tolist()
        return found

    def _use_faiss(self) -> None:
        try:
            import faiss  # its own types are incomplete
        except ImportError:
            return
        library: Any = faiss
        index = library.IndexFlatIP(self._vectors.shape[1])
        index.add(self._vectors)

        def by_faiss(vector: Vector, k: int, allowed: NDArray[np.int64] | None) -> Sequence[int]:
            parameters = None
            if allowed is not None:
                parameters = library.SearchParameters(sel=library.IDSelectorBatch(allowed))
            _, found = index.search(vector[None, :], k, params=parameters)
            positions: list[int] = found[0].tolist()
            return [position for position in positions if position >= 0]

        self._candidates = by_faiss
        self.engine = "faiss"
