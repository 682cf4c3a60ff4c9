"""What an index of ragkit's looks like.

An index holds two kinds of records: one a document, with its text and fingerprint, and one a chunk.
A document counts as stored once its own record is there, which is written last.

Field types and limits: OpenSearch documentation, "k-NN vector" and "Methods and engines"; which
release has what: the tags of the k-NN plugin.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, get_args

from ragkit.errors import ConfigError
from ragkit.storage import Manifest, PreparedDocument, StoreSettings, unpack_vector
from ragkit.types import Chunk, Document, Hit, Json, Location, Mark, MarkKind, Metadata
from ragkit_connectors.opensearch.connecting import Record, record

if TYPE_CHECKING:
    from ragkit.types import Vector

Engine: TypeAlias = Literal["lucene", "faiss"]
VectorType: TypeAlias = Literal["float", "byte", "fp16"]
Compression: TypeAlias = Literal["1x", "2x", "4x", "8x", "16x", "32x"]

SCHEMA = 1
META = "ragkit"

_MAX_DIMENSION = 16_000
_COMPRESSIONS = {"lucene": {"1x", "4x", "32x"}, "faiss": {"1x", "2x", "8x", "16x", "32x"}}
_COMPARED_CHARACTERS = 1_000
_KIND_TEXT, _KIND_NUMBER, _KIND_BOOLEAN, _KIND_NULL = "s", "n", "b", "z"
_SEPARATOR = "\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorIndex:
    """How vectors are indexed.

    Attributes:
        engine: `lucene` works everywhere but on Serverless, `faiss` has more compression. The
            mapping always names it, since the default differs between releases.
        type: `float` (4 bytes a dimension), `fp16` (2, faiss) or `byte` (1, lucene).
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
        field: dict[str, Json] = {
            "type": "knn_vector",
            "dimension": dim,
            # Vectors have length one, so both orders are that of the cosine.
            "space_type": "cosinesimil" if self.engine == "lucene" else "innerproduct",
        }
        parameters: dict[str, Json] = {"m": self.m, "ef_construction": self.ef_construction}
        if self.type == "byte":
            field["data_type"] = "byte"
        if self.type == "fp16":
            encoder: dict[str, Json] = {"type": "fp16", "clip": True}
            # From 3.6 on the encoder wants its number of bits, before that it refuses it.
            parameters["encoder"] = {
                "name": "sq",
                "parameters": encoder if version < (3, 6) else {"bits": 16, **encoder},
            }
        if self.on_disk:
            field["mode"] = "on_disk"
        if self.compression is not None:
            field["compression_level"] = self.compression
        field["method"] = {"name": "hnsw", "engine": self.engine, "parameters": parameters}
        return field

    def encode(self, vector: Vector) -> list[float]:
        """Return the numbers that are sent for a vector."""
        if self.type == "byte":
            return [float(x) for x in (vector * 127.0).round().tolist()]
        # Vectors are kept as float16: five digits tell them all apart.
        return [float(f"{x:.5g}") for x in vector.tolist()]

    def cosine(self, score: float) -> float:
        """Return the cosine behind a score of a search by vector.

        Formulas: OpenSearch documentation, "Spaces".
        """
        if self.engine == "lucene":
            return 2.0 * score - 1.0
        return score - 1.0 if score >= 1.0 else 1.0 - 1.0 / score


def index_body(
    settings: StoreSettings,
    vectors: VectorIndex,
    told: dict[str, Json],
    *,
    version: tuple[int, ...],
    n_shards: int | None,
    n_replicas: int | None,
) -> dict[str, Json]:
    """Return settings and mapping of a new index, which says `told` of itself."""
    index: dict[str, Json] = {"knn": settings.dim is not None}
    if n_shards is not None:
        index["number_of_shards"] = n_shards
    if n_replicas is not None:
        index["number_of_replicas"] = n_replicas
    words: Json = {"type": "keyword"}
    stored: Json = {"type": "keyword", "index": False, "doc_values": False}
    number: Json = {"type": "integer"}
    properties: dict[str, Json] = {
        **dict.fromkeys(
            ("kind", "document_id", "chunk_id", "version", "language", "groups", "facts"), words
        ),
        **dict.fromkeys(
            ("source", "title", "text", "sentences", "marks", "sha256", "fingerprint"), stored
        ),
        **dict.fromkeys(("start", "end", "n_tokens", "n_chunks", "n_bytes"), number),
        "metadata": {"type": "object", "enabled": False},
        # The words are ragkit's own, so that every language is cut as in the local store.
        "words": {"type": "text", "analyzer": "whitespace"},
    }
    if settings.dim is not None:
        properties["vector"] = vectors.field(settings.dim, version)
    return {
        "settings": {"index": index},
        "mappings": {
            "dynamic": "strict",
            "_meta": told,
            "properties": properties,
        },
    }


def meta(
    settings: StoreSettings, vectors: VectorIndex, *, protected: bool, replaces: str | None
) -> dict[str, Json]:
    """Return what an index says of itself; `replaces` is the index before the last rebuild."""
    return {
        META: {
            "schema": SCHEMA,
            "settings": cast("Json", asdict(settings)),
            "vectors": cast("Json", asdict(vectors)),
            "protected": protected,
            "replaces": replaces,
        }
    }


def read_meta(mapping: Record, index: str) -> tuple[Manifest, VectorIndex, str | None]:
    """Read what an index says of itself.

    Raises:
        ConfigError: it is not an index of this version of ragkit's.
    """
    told = record(record(mapping.get("_meta")).get(META))
    if not told:
        raise ConfigError(
            f"index {index!r} was not made by ragkit. To search it as it is, name its fields: "
            "text_field, and vector_field with an embedder"
        )
    if told.get("schema") != SCHEMA:
        raise ConfigError(
            f"index {index!r} has schema {told.get('schema')}, this ragkit writes {SCHEMA}; "
            "use the ragkit that made it, or another index name"
        )
    settings = StoreSettings(**cast("dict[str, object]", told["settings"]))  # type: ignore[arg-type]
    vectors = VectorIndex(**cast("dict[str, object]", told["vectors"]))  # type: ignore[arg-type]
    manifest = Manifest(settings=settings, protected=told.get("protected") is True)
    return manifest, vectors, cast("str | None", told.get("replaces"))


# --- records ---------------------------------------------------------------------------------


def document_key(document_id: str) -> str:
    """Return the key of a document's record; ids of documents may be longer than keys may."""
    return f"d{hashlib.sha256(document_id.encode()).hexdigest()[:40]}"


def chunk_key(chunk: Chunk, settings: StoreSettings) -> str:
    """Return the key of a chunk's record: another embedder's vector is another record."""
    identity = json.dumps([chunk.document_id, chunk.id, settings.embedder_fingerprint, SCHEMA])
    return f"c{hashlib.sha256(identity.encode()).hexdigest()[:40]}"


def version_of(item: PreparedDocument) -> str:
    """Return what tells this version of a document from others."""
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
        "marks": _pack_marks(document.marks),
        "fingerprint": item.fingerprint,
        "sha256": hashlib.sha256(raw).hexdigest(),
        "n_chunks": len(item.chunks),
        "n_bytes": len(raw),
        **({} if item.language is None else {"language": item.language}),
    }


def chunk_record(
    item: PreparedDocument, number: int, packed: bytes | None, vectors: VectorIndex
) -> dict[str, Json]:
    """Return the record of a document's chunk of this number, with its vector."""
    chunk = item.chunks[number]
    made: dict[str, Json] = {
        "kind": "chunk",
        **_shared(item.document, version_of(item)),
        "chunk_id": chunk.id,
        "text": chunk.text,
        "words": item.terms[number],
        "start": chunk.start,
        "end": chunk.end,
        "n_tokens": chunk.n_tokens,
        "sentences": json.dumps(chunk.sentences),
        "marks": _pack_marks(chunk.marks),
    }
    if packed is not None:
        made["vector"] = vectors.encode(unpack_vector(packed))
    return made


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
    return Document(
        id=str(fields["document_id"]),
        text=str(fields.get("text", "")),
        source=str(fields.get("source", "")),
        title=str(fields.get("title", "")),
        metadata=cast("Metadata", record(fields.get("metadata"))),
        groups=tuple(str(g) for g in cast("list[object]", fields.get("groups") or [])),
        marks=_unpack_marks(fields.get("marks")),
    )


def read_chunk(fields: Record) -> Chunk:
    """Return a chunk from its record."""
    spans = cast("list[list[int]]", json.loads(str(fields.get("sentences") or "[]")))
    return Chunk(
        id=str(fields["chunk_id"]),
        document_id=str(fields["document_id"]),
        start=cast("int", fields["start"]),
        end=cast("int", fields["end"]),
        text=str(fields["text"]),
        n_tokens=cast("int", fields["n_tokens"]),
        sentences=tuple((a, b) for a, b in spans),
        marks=_unpack_marks(fields.get("marks")),
    )


def read_hit(fields: Record, rank: int, score: float) -> Hit:
    """Return a hit from a chunk's record."""
    return Hit(
        rank=rank,
        score=score,
        chunk=read_chunk(fields),
        source=str(fields.get("source", "")),
        title=str(fields.get("title", "")),
        metadata=cast("Metadata", record(fields.get("metadata"))),
    )


def _pack_marks(marks: Sequence[Mark]) -> str:
    return json.dumps([[mark.start, mark.kind, mark.location.to_dict()] for mark in marks])


def _unpack_marks(packed: object) -> tuple[Mark, ...]:
    marks = cast("list[tuple[int, MarkKind, dict[str, object]]]", json.loads(str(packed or "[]")))
    return tuple(
        Mark(start=start, kind=kind, location=_location(place)) for start, kind, place in marks
    )


def _location(place: Mapping[str, object]) -> Location:
    heading = tuple(str(part) for part in cast("list[object]", place.get("heading") or []))
    return Location(**{**place, "heading": heading})  # type: ignore[arg-type]


# --- metadata as words -----------------------------------------------------------------------


def facts(metadata: Metadata, prefix: str = "") -> Iterator[str]:
    """Yield a document's metadata as words that filters match.

    One field of words instead of a field for each key: keys come without limit, and the same key
    may hold text in one document and a number in the next, which a mapping refuses. Words are in
    the order of their values, so that ranges work.
    """
    for key, value in metadata.items():
        name = f"{prefix}{key}"
        yield fact_prefix(name)
        if isinstance(value, Mapping):
            yield from facts(value, f"{name}.")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield from (f for v in value if (f := fact(name, v)) is not None)
        elif (single := fact(name, value)) is not None:
            yield single


def fact_prefix(name: str) -> str:
    """Return the word that says that a field is there."""
    return f"{_short(name)}{_SEPARATOR}"


def fact(name: str, value: object) -> str | None:
    """Return the word for a field's value; None for a value that no filter compares."""
    kind = kind_of(value)
    if kind is None:
        return None
    if kind == _KIND_TEXT:
        return f"{fact_prefix(name)}{kind}{_short(str(value))}"
    if kind == _KIND_NUMBER:
        return f"{fact_prefix(name)}{kind}{_sortable(cast('float', value))}"
    return f"{fact_prefix(name)}{kind}{value}"


def kind_of(value: object) -> str | None:
    """Return the letter of a value's kind; values of different kinds are never equal."""
    if isinstance(value, bool):
        return _KIND_BOOLEAN
    if isinstance(value, int | float):
        return _KIND_NUMBER
    if isinstance(value, str):
        return _KIND_TEXT
    return _KIND_NULL if value is None else None


def fact_bounds(name: str, kind: str) -> tuple[str, str]:
    """Return the smallest word of a field and a kind, and the first one past all of them."""
    return f"{fact_prefix(name)}{kind}", f"{fact_prefix(name)}{chr(ord(kind) + 1)}"


def _short(text: str) -> str:
    """Cut what is too long to be a word; a digest keeps different texts apart."""
    if len(text) <= _COMPARED_CHARACTERS:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{text[:_COMPARED_CHARACTERS]}{digest}"


def _sortable(number: float) -> str:
    """Return a number as 16 hexadecimal digits in the order of numbers.

    The bits of an IEEE 754 number are in order once the sign is flipped, for negative numbers all.
    """
    try:
        # Adding zero makes a positive one of a negative one.
        number = float(number) + 0.0
    except OverflowError:
        number = float("inf") if number > 0 else float("-inf")
    (bits,) = struct.unpack(">Q", struct.pack(">d", number))
    bits = bits ^ 0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else bits | 1 << 63
    return f"{bits:016x}"


def _check(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} {value!r}; allowed: {' '.join(allowed)}")
