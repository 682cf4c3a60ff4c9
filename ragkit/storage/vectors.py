"""Vectors as the store keeps them, and how near a question's those of a chunk's sentences are."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING

from ragkit.errors import StoreDamagedError
from ragkit.storage.rows import damaged_chunk
from ragkit.storage.schema import unsealed
from ragkit.storage.values import StoredVectors
from ragkit.trimming import PoolChunk
from ragkit.types import Hit

if TYPE_CHECKING:
    from ragkit.types import Vector, Vectors

_SENTENCES = """
SELECT row, vector FROM sentence WHERE row IN (SELECT value FROM json_each(?))"""

CHUNK_SHARE = 0.5
"""How much of its chunk's vector is added to a sentence's, which knows nothing of what it stands
in; chosen on calibration questions (benchmarks/vector_kinds.py). Stores of before there were kinds
go without, so that certificates made on them stay true."""


def join_vectors(parts: Sequence[Vectors]) -> Vectors:
    """Return the rows of all parts (at least one), in order."""
    import numpy as np

    joined: Vectors = np.concatenate(parts)
    return joined


def pack_vector(vector: Vector) -> bytes:
    """Return a chunk's vector as stored: float16, whose rounding error does not affect ranks."""
    import numpy as np

    packed: bytes = vector.astype(np.float16).tobytes()
    return packed


def unpack_vector(packed: bytes) -> Vector:
    """Return a stored vector as float32."""
    import numpy as np

    vector: Vector = np.frombuffer(packed, dtype=np.float16).astype(np.float32)
    return vector


def pack_sentences(vectors: Vectors) -> bytes:
    """Return sentences' vectors as stored: int8, each row scaled to its largest value.

    Only their direction matters, so the scale is not kept.
    """
    import numpy as np

    scale = np.maximum(np.abs(vectors).max(axis=1, keepdims=True), 1e-9)
    packed: bytes = np.rint(vectors / scale * 127.0).astype(np.int8).tobytes()
    return packed


def as_sentence(packed: bytes) -> bytes:
    """Return a chunk's stored vector as that of a sentence of the same text is stored."""
    return pack_sentences(unpack_vector(packed)[None])


def joined_sentences(keys: Sequence[bytes], vectors: Mapping[bytes, StoredVectors]) -> bytes:
    """Return the vectors of a chunk's sentences, one after the other, as `pool_chunk` takes them.

    A sentence without a vector of its own takes that of a chunk of the same text.
    """
    parts: list[bytes] = []
    for stored in map(vectors.__getitem__, keys):
        if stored.sentence is not None:
            parts.append(stored.sentence)
        elif stored.chunk is not None:
            parts.append(as_sentence(stored.chunk))
    return b"".join(parts)


def text_key(fingerprint: str, text: str) -> bytes:
    """Return the key of a text's vectors: 16 bytes of a digest of the embedder and the text."""
    import hashlib  # loads OpenSSL, which is 4 MiB

    # As `json.dumps` writes the list of both.
    identity = f"[{encode_basestring_ascii(fingerprint)}, {encode_basestring_ascii(text)}]"
    return hashlib.sha256(identity.encode()).digest()[:16]


def pack_rows(rows: Sequence[int]) -> bytes:
    """Return the rows of a chunk's sentences as stored: 8 bytes each."""
    return struct.pack(f"<{len(rows)}q", *rows)


def unpack_rows(packed: object) -> tuple[int, ...]:
    """Return what `pack_rows` was given; nothing for what it cannot have made, such as None."""
    if not isinstance(packed, bytes) or len(packed) % 8:
        return ()
    return struct.unpack(f"<{len(packed) // 8}q", packed)


def sentence_vectors(
    connection: sqlite3.Connection, packed: Mapping[str, object]
) -> dict[str, bytes]:
    """Return the vectors of chunks' sentences, one after the other, where all are stored."""
    rows = {chunk_id: unpack_rows(value) for chunk_id, value in packed.items()}
    wanted = json.dumps([row for some in rows.values() for row in some])
    stored: dict[int, object] = dict(connection.execute(_SENTENCES, (wanted,)).fetchall())
    found: dict[str, bytes] = {}
    for chunk_id, some in rows.items():
        vectors = [stored[row] for row in some if row in stored]
        if len(vectors) == len(some) > 0:
            found[chunk_id] = b"".join([unsealed_vector(vector, chunk_id) for vector in vectors])
    return found


def unsealed_vector(vectors: object, chunk_id: str) -> bytes:
    """Return vectors of a chunk as they were sealed; the error names the chunk and the remedy."""
    try:
        return unsealed(vectors, "")
    except StoreDamagedError:
        raise StoreDamagedError(
            f"a vector of chunk {chunk_id} is damaged. Drop it, then make it again: "
            "ragkit doctor --repair; ragkit rebuild"
        ) from None


def pool_chunk(
    hit: Hit,
    terms: object,
    sentences: bytes | None,
    vector: Vector | None,
    *,
    of_chunk: bytes | None = None,
) -> PoolChunk:
    """Return a hit prepared for trimming.

    Args:
        hit: The hit.
        terms: Its index terms as stored, one line per sentence.
        sentences: Its sentences' vectors, one after the other; None where any is missing.
        vector: The question's.
        of_chunk: The chunk's as stored, where it counts.
    """
    n_sentences = len(hit.chunk.sentences)
    if not isinstance(terms, str):
        raise damaged_chunk(hit.chunk.id)
    by_sentence = [line.split(" ") if line else [] for line in terms.split("\n")]
    by_sentence = (by_sentence + [[]] * n_sentences)[:n_sentences]
    if sentences is None or vector is None:
        return PoolChunk(hit=hit, terms=by_sentence)
    if len(sentences) % len(vector):
        raise damaged_chunk(hit.chunk.id)
    if len(sentences) // len(vector) != n_sentences:
        return PoolChunk(hit=hit, terms=by_sentence)
    whole = None if of_chunk is None else unpack_vector(of_chunk)
    return compared(hit, by_sentence, sentences, vector, of_chunk=whole)


def compared(
    hit: Hit,
    terms: Sequence[Sequence[str]],
    sentences: bytes,
    vector: Vector,
    *,
    of_chunk: Vector | None,
) -> PoolChunk:
    """Return a hit with the cosines of its sentences; arguments as of `pool_chunk`, unpacked."""
    rows = _unit_rows(sentences, len(vector))
    if of_chunk is not None:
        rows += CHUNK_SHARE * of_chunk
        _normalise(rows)
    near = rows.copy()
    near[1:] += rows[:-1]
    near[:-1] += rows[1:]
    _normalise(near)
    return PoolChunk(
        hit=hit,
        terms=terms,
        cosines=(rows @ vector).tolist(),
        window_cosines=(near @ vector).tolist(),
        with_chunk=of_chunk is not None,
    )


def mean_vector(sentences: bytes, lengths: Sequence[int], dim: int) -> Vector:
    """Return the direction of the mean of sentences' vectors, the longer ones weighing more."""
    import numpy as np

    mean: Vector = np.array(lengths, dtype=np.float32) @ _unit_rows(sentences, dim)
    mean /= max(float(np.linalg.norm(mean)), 1e-9)
    return mean


def _unit_rows(sentences: bytes, dim: int) -> Vectors:
    import numpy as np

    rows: Vectors = np.frombuffer(sentences, dtype=np.int8).reshape(-1, dim).astype(np.float32)
    _normalise(rows)
    return rows


def _normalise(rows: Vectors) -> None:
    import numpy as np

    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
