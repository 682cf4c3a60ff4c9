"""What a pipeline did with one question: the row that everything else is computed from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Literal, TypeAlias, get_args

from ragkit.text.jsontext import as_list, as_object
from ragkit.types import Json
from ragkit_eval.data.spans import Place

Status: TypeAlias = Literal["ok", "refused", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A span of a document; `text` is None if only its place was stored.

    `repeats` are places of evidence that the labels locate elsewhere, but whose sentences this
    passage contains word for word. They count, because the reader has the text.
    """

    document_id: str
    start: int
    end: int
    n_tokens: int | None = None
    text: str | None = None
    repeats: tuple[Place, ...] = ()

    @property
    def place(self) -> Place:
        """Document and offsets."""
        return (self.document_id, self.start, self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The outcome of one question.

    `status` is `ok`, `refused` (then `reason` says why) or `error` (then `reason` is the message,
    and nothing else is set). `ranking` has the score of each document, which is that of its best
    chunk; `hits` are the retrieved chunks, best first; `context` is what was sent.

    `answer_rank` is the rank of the first hit whose text contains an answer; 0 means that no hit
    does, and None that there is no answer to look for. `gold_chunks` are the store's chunks that
    overlap the evidence. `oracle_tokens` is the number of tokens of the sentences that the cheapest
    alternative of the evidence needs.

    `stop_reason` is why the model's answer ends; `end` and `stop` are its natural ends.

    `orphans` is the number of kept units of which something is missing that they need; None where
    the structure of the documents is unknown, or nothing was sent.

    `seconds` and `cpu_seconds` include the time that cached parts took when they were computed.
    `joules` is (low, mid, high).
    """

    id: str
    status: Status
    reason: str | None = None
    stop_reason: str | None = None
    text: str | None = None
    ranking: Mapping[str, float] | None = None
    hits: tuple[Passage, ...] = ()
    answer_rank: int | None = None
    context: tuple[Passage, ...] = ()
    citations: tuple[Passage, ...] = ()
    gold_chunks: tuple[Passage, ...] | None = None
    oracle_tokens: int | None = None
    evidence_score: float | None = None
    baseline_tokens: int | None = None
    context_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    llm_calls: int | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None
    joules: tuple[float, float, float] | None = None
    from_cache: tuple[str, ...] = ()
    orphans: int | None = None

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form, a line of rows.jsonl."""
        data = asdict(self)
        for name in ("hits", "context", "citations", "gold_chunks"):
            if data[name] is not None:
                data[name] = [_short(passage) for passage in data[name]]
        return {"schema": 1, **data}


def _short(passage: Mapping[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in passage.items() if value is not None and value != ()}


_BOUNDS: tuple[str, ...] = ("low", "mid", "high")
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "str": str,
    "Status": str,
    "bool": bool,
    "int": int,
    "float": (int, float),
    "Mapping": dict,
    "tuple": list,
    "Json": object,
}


def checked(made: type, data: object) -> Mapping[str, Json]:
    """Return the fields of a dataclass from their JSON, each of the kind that it is declared as.

    Raises:
        ValueError: the JSON is no object.
        TypeError: a value is of another kind.
    """
    values = as_object(data)
    for field in fields(made):
        kind, value = str(field.type), values.get(field.name)
        if value is None and (field.name not in values or kind.endswith("None")):
            continue
        wanted = _KINDS[re.split(r"\W", kind, maxsplit=1)[0]]
        # To Python, true is a whole number.
        misread = isinstance(value, bool) and wanted not in {bool, object}
        if misread or not isinstance(value, wanted):
            raise TypeError(f"{field.name} {value!r}; allowed: {kind}")
    return values


def numbers(values: Mapping[str, object]) -> Mapping[str, float | None]:
    """Return values that are numbers or null; raises `TypeError`."""
    found: dict[str, float | None] = {}
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise TypeError(f"{name} {value!r}; allowed: a number")
        found[name] = value
    return found


def _passage(data: object) -> Passage:
    values = checked(Passage, data)
    repeats = tuple(map(_place, as_list(values.get("repeats", []))))
    return Passage(**{**values, "repeats": repeats})  # type: ignore[arg-type]


def _place(data: object) -> Place:
    match data:
        case [str(document), int(start), int(end)]:
            return document, start, end
        case _:
            raise ValueError(f"place {data!r}; allowed: a document and two offsets")


def read_row(data: object) -> Row:
    """Return the row of a line of rows.jsonl.

    Raises:
        TypeError: a field is missing or unknown, or its value is of another kind.
        ValueError: a value is none that it can have.
    """
    values: dict[str, object] = dict(checked(Row, data))
    values.pop("schema", None)
    if values.get("status") not in get_args(Status):
        raise ValueError(f"status {values.get('status')!r}; allowed: {' '.join(get_args(Status))}")
    numbers(as_object(values.get("ranking") or {}))
    for name in ("hits", "context", "citations", "gold_chunks"):
        given = values.get(name)
        if given is not None:
            values[name] = tuple(map(_passage, as_list(given)))
    joules = values.get("joules")
    if joules is not None:
        bounds = dict(zip(_BOUNDS, as_list(joules), strict=True))
        values["joules"] = tuple(numbers(bounds).values())
    values["from_cache"] = tuple(map(str, as_list(values.get("from_cache", []))))
    return Row(**values)  # type: ignore[arg-type]
