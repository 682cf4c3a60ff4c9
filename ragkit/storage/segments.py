"""Segment files, derived from the store's SQLite file: what searches read of some thousand chunks.

A segment file holds a FAISS index of the chunks' vectors (where they have any), the postings of
their terms, and, last, a description with its length and a magic number. It is written beside its
final name, made durable, then renamed; the SQLite file names it together with its SHA-256, so a
file that is missing, cut short or changed is never used. Opening reads all of it once: that
verifies it and loads it into the page cache; otherwise the first search of a mapped file would wait
for each page.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ragkit import private
from ragkit.errors import StoreDamagedError
from ragkit.storage.database import sync_folder
from ragkit.storage.postings import Postings
from ragkit.storage.rows import MALFORMED, SegmentInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ragkit.types import Vector, Vectors

FORMAT = "ragkit-segment/1"
_MAGIC = b"RAGKITS1"
_ALIGNMENT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """The description at the end of a segment file.

    Attributes:
        generation: Number of committed writes of the store when it was made.
        fingerprint: Of the embedder; None if there are no vectors.
        dim: Length of a vector; None if there are none.
        scale: The factor that vectors were multiplied by before rounding to integers.
        arrays: Name, type, length and offset of each array.
        format: `FORMAT`.
    """

    generation: int
    fingerprint: str | None
    dim: int | None
    scale: float | None
    arrays: Sequence[tuple[str, str, int, int]]
    format: str = FORMAT


def faiss_library() -> Any:  # noqa: ANN401 (its own types are incomplete)
    """Return FAISS; None if it is not installed."""
    try:
        import faiss
    except ImportError:
        return None
    return faiss


class Segment:
    """A segment file, mapped and checked.

    Raises:
        StoreDamagedError: it is not the file that the store made.
    """

    def __init__(self, path: Path, info: SegmentInfo) -> None:
        self.info = info
        if not path.is_file():
            raise StoreDamagedError(f"segment {path} is missing")
        try:
            with path.open("rb") as file:
                raw = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise StoreDamagedError(f"segment {path} cannot be read: {error}") from error
        if hashlib.sha256(raw).hexdigest() != info.sha256:
            raise StoreDamagedError(f"segment {path} is damaged")
        try:
            self.description = _description(raw)
            arrays = {
                name: np.frombuffer(raw, dtype=np.dtype(kind), count=count, offset=offset)
                for name, kind, count, offset in self.description.arrays
            }
            self.with_vectors: NDArray[np.int64] = arrays.pop("with_vectors")
            self.postings = Postings(**arrays)
            sound = self._is_sound()
        except MALFORMED:
            sound = False
        if not sound:
            raise StoreDamagedError(f"segment {path} is damaged")
        self._path = path
        self._index: Any = None

    def _is_sound(self) -> bool:
        """Whether the arrays are consistent: a hash only shows that the file is as it was made."""
        first, last, rows = self.info.first, self.info.last, self.with_vectors
        described = self.description
        scaled = described.scale is None or 0.0 < float(described.scale) < math.inf
        ascending = rows.dtype == np.int64 and bool((rows[1:] > rows[:-1]).all())
        known = not len(rows) or (rows[0] > first and rows[-1] <= last)
        return scaled and ascending and bool(known) and self.postings.is_sound(first, last)

    def open_vectors(self) -> bool:
        """Return whether FAISS can search the vectors; also False if the file holds none."""
        faiss = faiss_library()
        if faiss is None or not len(self.with_vectors):
            return False
        if self._index is None:
            # IO_FLAG_MMAP maps inverted lists only; without either flag all is read into memory.
            # Adding to or removing from a mapped index kills the process: never do that.
            try:
                index = faiss.read_index(str(self._path), faiss.IO_FLAG_MMAP_IFC)
            except (RuntimeError, MemoryError):  # a writer has replaced it since
                return False
            if not self._is_ours(index, faiss):
                return False
            self._index = index
        return True

    def _is_ours(self, index: Any, faiss: Any) -> bool:  # noqa: ANN401 (as above)
        """Whether it is an index as `write_segment` makes it: another kind may crash FAISS."""
        if not isinstance(index, faiss.IndexScalarQuantizer) or index.d != self.description.dim:
            return False
        n = len(self.with_vectors)
        return bool(
            index.ntotal == n
            and index.sq.qtype == faiss.ScalarQuantizer.QT_8bit_direct_signed
            and index.metric_type == faiss.METRIC_INNER_PRODUCT
            and index.code_size == index.sq.code_size == index.sq.d == index.d
            and index.codes.size() == n * index.d
        )

    def nearest(
        self, vector: Vector, k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return approximate scores and rows of the k nearest vectors, from FAISS's 8-bit codes.

        Args:
            vector: float32, shape (dim,).
            k: 1 or more.
            allowed: Which of `with_vectors` may be found; None for all.
        """
        faiss = faiss_library()
        parameters = None
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            parameters = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
        k = min(k, len(self.with_vectors))
        # FAISS rounds the question's vector to integers too.
        scale = 127.0 / max(1e-9, float(np.abs(vector).max()))
        question = np.rint(vector * scale)[None, :]
        # One thread scans for one question; others would only busy-wait.
        n_threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        try:
            scores, found = self._index.search(question, k, params=parameters)
        finally:
            faiss.omp_set_num_threads(n_threads)
        known = found[0] >= 0
        scores /= scale * (self.description.scale or 1.0)
        return scores[0][known], self.with_vectors[found[0][known]]


def _description(raw: mmap.mmap) -> Description:
    length = int.from_bytes(raw[-16:-8], "little")
    values = json.loads(raw[-16 - length : -16])
    if values.get("format") != FORMAT:
        raise StoreDamagedError(f"a derived file has format {values.get('format')!r}")
    return Description(**values)


def write_segment(
    folder: Path,
    *,
    rows: tuple[int, int],
    postings: Postings,
    with_vectors: Sequence[int],
    batches: Callable[[], Iterable[Vectors]],
    generation: int,
    fingerprint: str | None,
) -> SegmentInfo:
    """Write a segment file durably and return its entry for the store.

    Args:
        folder: Where to.
        rows: The rows after the first number up to the second.
        postings: Of all these rows.
        with_vectors: Those of them that have vectors, ascending.
        batches: Yields their vectors, float32, in the same order; called twice.
        generation: Number of committed writes of the store.
        fingerprint: Of the embedder.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    name = f"{rows[0]:012d}-{rows[1]:012d}-{generation}.segment"
    temporary = folder / f".{name}.{os.getpid()}.new"
    try:
        private.make_file(temporary)
        dim, scale = _write_vectors(temporary, batches) if with_vectors else (None, None)
        named = {**postings.arrays(), "with_vectors": np.array(with_vectors, dtype=np.int64)}
        with open(temporary, "ab", opener=private.opener) as file:
            places: list[tuple[str, str, int, int]] = []
            for key, values in named.items():
                file.write(bytes(-file.tell() % _ALIGNMENT))
                places.append((key, values.dtype.str, len(values), file.tell()))
                file.write(np.ascontiguousarray(values).data)
            description = Description(
                generation=generation,
                fingerprint=fingerprint if with_vectors else None,
                dim=dim,
                scale=scale,
                arrays=places,
            )
            raw = json.dumps(asdict(description)).encode()
            file.write(raw + len(raw).to_bytes(8, "little") + _MAGIC)
            file.flush()
            os.fsync(file.fileno())
        digest = _sha256(temporary)
        temporary.replace(folder / name)
        sync_folder(folder)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return SegmentInfo(name=name, first=rows[0], last=rows[1], n=len(postings.rows), sha256=digest)


def _write_vectors(path: Path, batches: Callable[[], Iterable[Vectors]]) -> tuple[int, float]:
    """Write a flat index with 8 bits per component; return dimension and scale.

    Of FAISS's 8-bit codes the signed ones, used directly, scan fastest: in a third of the time of a
    flat float index.
    """
    faiss = faiss_library()
    largest, dim = 1e-9, 0
    for vectors in batches():
        largest, dim = max(largest, float(np.abs(vectors).max())), vectors.shape[1]
    scale = 127.0 / largest
    kind = faiss.ScalarQuantizer.QT_8bit_direct_signed
    index = faiss.IndexScalarQuantizer(dim, kind, faiss.METRIC_INNER_PRODUCT)
    for vectors in batches():
        index.add(np.rint(vectors * scale))
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        raise OSError(f"{path} cannot be written: {str(error).splitlines()[0]}") from error
    return dim, scale


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
