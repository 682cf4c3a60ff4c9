"""The mapping of a ragkit index and its records.

An index holds one record per document, with its text and fingerprint, and one record per chunk. A
document counts as stored once its own record is there, which is written last.

Field types and limits: OpenSearch documentation, "k-NN vector" and "Methods and engines"; which
release has what: the tags of the k-NN plugin.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from ragkit.errors import ConfigError, RemoteError
from ragkit.storage import (
    Manifest,
    PreparedDocument,
    StoredVectors,
    StoreSettings,
    joined_sentences,
    pack_vector,
    packed_parts,
    packed_units,
    unpack_vector,
    unpacked_parts,
    unpacked_units,
)
from ragkit.types import Chunk, Document, Hit, Json, Location, Mark, MarkKind, Part
from ragkit_connectors.opensearch.facts import facts
from ragkit_connectors.support.json_values import (
    Record,
    count,
    items,
    json_record,
    number,
    record,
    required_count,
    text_or_none,
)

if TYPE_CHECKING:
    from ragkit.types import Vector

Engine: TypeAlias = Literal["lucene", "faiss"]
VectorType: TypeAlias = Literal["float", "byte", "fp16"]
Compression: TypeAlias = Literal["1x", "2x", "4x", "8x", "16x", "32x"]

SCHEMA = 2
META = "ragkit"

_SCHEMA_WITH_SENTENCES = 2
"""From here on there is a field for vectors of sentences."""

_MAX_DIMENSION = 16_000
_COMPRESSIONS = {"lucene": {"1x", "4x", "32x"}, "faiss": {"1x", "2x", "8x", "16x", "32x"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorIndex:
    """How vectors are indexed.

    Attributes:
        engine: `lucene` works everywhere but on Serverless, `faiss` has more compression. The
            mapping always names it, since the default differs between releases.
        type: `float` (4 bytes per dimension), `fp16` (2, faiss) or `byte` (1, lucene).
        compression: Of the index in memory: 4x 32x (lucene), 2x 8x 16x 32x (faiss); None and 1x:
            none. With `on_disk` the full vectors rescore what the compressed ones find.
        on_disk: Search compressed vectors and rescore from disk (release 2.17 and newer).
        m: Links of a node of the graph, 2 to 100.
        ef_construction: Width of the search that builds the graph, 1 or more.
    """

    engine: Engine = "lucene"
    type: VectorType = "float"
    compression: Compression | None = None
    on_disk: bool = False
    m: int = 16
    ef_construction: int = 100

    def __post_init__(self) -> None:
        """Check what goes together; raises `ConfigError`."""
        _check("engine", self.engine, get_args(Engine))
        _check("vector_type", self.type, get_args(VectorType))
        if self.compression is not None:
            _check("compression", self.compression, sorted(_COMPRESSIONS[self.engine]))
        if (self.type, self.engine) in {("byte", "faiss"), ("fp16", "lucene")}:
            raise ConfigError(
                f"vector_type {self.type!r} with engine {self.engine!r}; allowed: byte with "
                "lucene, fp16 with faiss"
            )
        compressed = self.on_disk or self.compression not in {None, "1x"}
        if compressed and self.type != "float":
            raise ConfigError(
                f"compression with vector_type {self.type!r}; allowed: float, which is compressed "
                "by the server"
            )
        if not 2 <= self.m <= 100:
            raise ConfigError(f"m {self.m}; allowed: 2 to 100")
        if self.ef_construction < 1:
            raise ConfigError(f"ef_construction {self.ef_construction}; allowed: 1 or more")

    def field(self, dim: int, version: tuple[int, ...]) -> dict[str, Json]:
        """Return the mapping of a vector of `dim` dimensions for a server of this version."""
        if not 1 <= dim <= _MAX_DIMENSION:
            raise ConfigError(f"dimension {dim}; allowed by OpenSearch: 1 to {_MAX_DIMENSION}")
        mapped: dict[str, Json] = {
            "type": "knn_vector",
            "dimension": dim,
            # Vectors have length one, so both orders are that of the cosine.
            "space_type": "cosinesimil" if self.engine == "lucene" else "innerproduct",
        }
        parameters: dict[str, Json] = {"m": self.m, "ef_construction": self.ef_construction}
        if self.type == "byte":
            mapped["data_type"] = "byte"
        if self.type == "fp16":
            encoder: dict[str, Json] = {"type": "fp16", "clip": True}
            # From 3.6 on the encoder wants its number of bits, before that it refuses it.
            parameters["encoder"] = {
                "name": "sq",
                "parameters": encoder if version < (3, 6) else {"bits": 16, **encoder},
            }
        if self.on_disk:
            mapped["mode"] = "on_disk"
        if self.compression is not None:
            mapped["compression_level"] = self.compression
        mapped["method"] = {"name": "hnsw", "engine": self.engine, "parameters": parameters}
        return mapped

    def encode(self, vector: Vector) -> list[float]:
        """Return the numbers that are sent for a vector."""
        if self.type == "byte":
            return [float(x) for x in (vector * 127.0).round().tolist()]
        # Vectors are stored as float16, whose values five digits tell apart.
        return [float(f"{x:.5g}") for x in vector.tolist()]

    def decode(self, numbers: Sequence[object]) -> bytes:
        """Return the vector that these numbers were sent for, as a local store holds it."""
        import numpy as np

        scale = 127.0 if self.type == "byte" else 1.0
        return pack_vector(np.array([number(x) or 0.0 for x in numbers], np.float32) / scale)

    def cosine(self, score: float) -> float:
        """Return the cosine behind the score of a vector query.

        Formulas: OpenSearch documentation, "Spaces".
        """
        if self.engine == "lucene":
            return 2.0 * score - 1.0
        return score - 1.0 if score >= 1.0 else 1.0 - 1.0 / score


@dataclass(frozen=True, slots=True, kw_only=True)
class NewIndex:
    """How an index is made.

    Attributes:
        vectors: How vectors are indexed.
        n_shards: Shards; None leaves it to the server.
        n_replicas: Replicas; None leaves it to the server.
    """

    vectors: VectorIndex = field(default_factory=VectorIndex)
    n_shards: int | None = None
    n_replicas: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index and its description of itself; `replaces` is the index before the last rebuild."""

    name: str
    schema: int
    manifest: Manifest
    vectors: VectorIndex
    replaces: str | None

    @property
    def settings(self) -> StoreSettings:
        """What the index was made with; raises `RemoteError` where it does not say."""
        if self.manifest.settings is None:
            raise RemoteError(f"index {self.name!r} does not say what it was made with")
        return self.manifest.settings

    @property
    def can_hold_sentences(self) -> bool:
        """Whether its records have a place for vectors of sentences."""
        return self.schema >= _SCHEMA_WITH_SENTENCES


def index_body(
    settings: StoreSettings, new: NewIndex, meta: dict[str, Json], *, version: tuple[int, ...]
) -> dict[str, Json]:
    """Return settings and mapping of a new index with this `_meta`."""
    index: dict[str, Json] = {"knn": settings.dim is not None}
    if new.n_shards is not None:
        index["number_of_shards"] = new.n_shards
    if new.n_replicas is not None:
        index["number_of_replicas"] = new.n_replicas
    keyword: Json = {"type": "keyword"}
    stored: Json = {"type": "keyword", "index": False, "doc_values": False}
    number: Json = {"type": "integer"}
    properties: dict[str, Json] = {
        **dict.fromkeys(
            ("kind", "document_id", "chunk_id", "version", "language", "groups", "facts"), keyword
        ),
        **dict.fromkeys(
            ("source", "title", "text", "sentences", "marks", "sha256", "fingerprint"), stored
        ),
        **dict.fromkeys(("start", "end", "n_tokens", "n_chunks", "n_bytes"), number),
        "metadata": {"type": "object", "enabled": False},
        # One int8 per dimension and sentence, as a local store holds them.
        "sentence_vectors": {"type": "binary", "doc_values": False},
        # ragkit cuts the words itself, so that every language is cut as in the local store.
        "words": {"type": "text", "analyzer": "whitespace"},
    }
    if settings.dim is not None:
        properties["vector"] = new.vectors.field(settings.dim, version)
    return {
        "settings": {"index": index},
        "mappings": {
            "dynamic": "strict",
            "_meta": meta,
            "properties": properties,
        },
    }


def meta(
    settings: StoreSettings,
    vectors: VectorIndex,
    *,
    protected: bool,
    replaces: str | None,
    schema: int = SCHEMA,
) -> dict[str, Json]:
    """Return what an index says of itself; `replaces` is the index before the last rebuild."""
    return {
        META: {
            "schema": schema,
            "settings": json_record(asdict(settings)),
            "vectors": json_record(asdict(vectors)),
            "protected": protected,
            "replaces": replaces,
        }
    }


def read_index(mapping: Record, index: str) -> Index:
    """Return the index of this name, from what its mapping says of it.

    Raises:
        ConfigError: it is not an index of this version of ragkit's.
    """
    told = record(record(mapping.get("_meta")).get(META))
    if not told:
        raise ConfigError(
            f"index {index!r} was not made by ragkit. To search it as it is, name its fields: "
            "text_field, and vector_field with an embedder"
        )
    schema = count(told.get("schema"))
    if schema is None or not 1 <= schema <= SCHEMA:
        raise ConfigError(
            f"index {index!r} has schema {told.get('schema')}, this ragkit writes {SCHEMA}; "
            "use the ragkit that made it, or another index name"
        )
    settings = StoreSettings(**record(told["settings"]))  # type: ignore[arg-type]
    vectors = VectorIndex(**record(told["vectors"]))  # type: ignore[arg-type]
    return Index(
        name=index,
        schema=schema,
        manifest=Manifest(settings=settings, protected=told.get("protected") is True),
        vectors=vectors,
        replaces=text_or_none(told.get("replaces")),
    )


# --- records ---------------------------------------------------------------------------------


def document_key(document_id: str) -> str:
    """Return the key of a document's record; ids of documents may be longer than keys may."""
    return f"d{hashlib.sha256(document_id.encode()).hexdigest()[:40]}"


def chunk_key(chunk: Chunk, settings: StoreSettings) -> str:
    """Return the key of a chunk's record: another embedder's vector is another record."""
    identity = json.dumps([chunk.document_id, chunk.id, settings.embedder_fingerprint, 1])
    return f"c{hashlib.sha256(identity.encode()).hexdigest()[:40]}"


def version_of(item: PreparedDocument) -> str:
    """Return an id of this version of a document."""
    return hashlib.sha256(item.fingerprint.encode()).hexdigest()[:16]


def document_record(item: PreparedDocument) -> dict[str, Json]:
    """Return a document's own record."""
    document = item.document
    raw = document.text.encode("utf-8", "surrogatepass")
    return {
        "kind": "document",
        # Tells it from all other records where the server makes ids itself.
        "chunk_id": document_key(document.id),
        **_shared(document, version_of(item)),
        "text": document.text,
        "marks": _pack_structure(document),
        "fingerprint": item.fingerprint,
        "sha256": hashlib.sha256(raw).hexdigest(),
        "n_chunks": len(item.chunks),
        "n_bytes": len(raw),
        **({} if item.language is None else {"language": item.language}),
    }


def chunk_record(
    item: PreparedDocument,
    position: int,
    made: Mapping[bytes, StoredVectors],
    vectors: VectorIndex,
) -> dict[str, Json]:
    """Return the record of a document's chunk at this position, with its vectors."""
    chunk, key = item.chunks[position], item.vector_keys[position]
    fields: dict[str, Json] = {
        "kind": "chunk",
        **_shared(item.document, version_of(item)),
        "chunk_id": chunk.id,
        "text": chunk.text,
        "words": item.terms[position],
        "start": chunk.start,
        "end": chunk.end,
        "n_tokens": chunk.n_tokens,
        "sentences": json.dumps(packed_units(chunk)),
        "marks": _pack_marks(chunk.marks),
    }
    packed = None if key is None else made[key].chunk
    if packed is not None:
        fields["vector"] = vectors.encode(unpack_vector(packed))
    of_sentences = None if item.sentence_keys is None else item.sentence_keys[position]
    if of_sentences:
        joined = joined_sentences(of_sentences, made)
        fields["sentence_vectors"] = base64.b64encode(joined).decode()
    return fields


def _shared(document: Document, version: str) -> dict[str, Json]:
    return {
        "document_id": document.id,
        "version": version,
        "source": document.source,
        "title": document.title,
        "metadata": dict(document.metadata),
        "facts": sorted(set(facts(document.metadata))),
        "groups": list(document.groups),
    }


def read_document(fields: Record) -> Document:
    """Return a document from its record."""
    marks, parts = _unpack_structure(fields.get("marks"))
    return Document(
        id=str(fields["document_id"]),
        text=str(fields.get("text", "")),
        source=str(fields.get("source", "")),
        title=str(fields.get("title", "")),
        metadata=json_record(fields.get("metadata")),
        groups=tuple(str(group) for group in items(fields.get("groups"))),
        marks=marks,
        parts=parts,
    )


def read_chunk(fields: Record) -> Chunk:
    """Return a chunk from its record."""
    rows, text = json.loads(str(fields.get("sentences") or "[]")), str(fields["text"])
    start = required_count(fields, "start")
    spans, units = unpacked_units(rows, start=start, text=text)
    return Chunk(
        id=str(fields["chunk_id"]),
        document_id=str(fields["document_id"]),
        start=start,
        end=required_count(fields, "end"),
        text=text,
        n_tokens=required_count(fields, "n_tokens"),
        sentences=spans,
        marks=_unpack_marks(fields.get("marks")),
        units=units,
    )


def read_sentence_vectors(fields: Record) -> bytes | None:
    """Return the vectors of a chunk's sentences from its record; None where it has none."""
    packed = fields.get("sentence_vectors")
    return None if packed is None else base64.b64decode(str(packed))


def read_hit(fields: Record, rank: int, score: float) -> Hit:
    """Return a hit from a chunk's record."""
    return Hit(
        rank=rank,
        score=score,
        chunk=read_chunk(fields),
        source=str(fields.get("source", "")),
        title=str(fields.get("title", "")),
        metadata=json_record(fields.get("metadata")),
    )


def _pack_structure(document: Document) -> str:
    if not document.parts:
        return _pack_marks(document.marks)
    parts = packed_parts(document.parts)
    return json.dumps({"marks": json.loads(_pack_marks(document.marks)), "parts": parts})


def _unpack_structure(packed: object) -> tuple[tuple[Mark, ...], tuple[Part, ...]]:
    found: list[Any] | dict[str, Any] = json.loads(str(packed or "[]"))
    if isinstance(found, dict):
        return _read_marks(found["marks"]), unpacked_parts(found["parts"])
    return _read_marks(found), ()


def _pack_marks(marks: Sequence[Mark]) -> str:
    return json.dumps([[mark.start, mark.kind, mark.location.to_dict()] for mark in marks])


def _unpack_marks(packed: object) -> tuple[Mark, ...]:
    return _read_marks(json.loads(str(packed or "[]")))


def _read_marks(marks: list[tuple[int, MarkKind, dict[str, object]]]) -> tuple[Mark, ...]:
    return tuple(
        Mark(start=start, kind=kind, location=_location(place)) for start, kind, place in marks
    )


def _location(place: Mapping[str, object]) -> Location:
    heading = tuple(str(part) for part in items(place.get("heading")))
    return Location(**{**place, "heading": heading})  # type: ignore[arg-type]


def _check(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} {value!r}; allowed: {' '.join(allowed)}")
