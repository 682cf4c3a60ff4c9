"""What a pipeline did with one question: the row that everything else is computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias, cast

from ragkit.types import Json
from ragkit_eval.spans import Place

Status: TypeAlias = Literal["ok", "refused", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A span of a document; `text` is None where only its place was kept.

    `repeats` are the places of evidence whose sentences stand in this passage word for word, though
    the labels name another place: documents repeat themselves, and the reader has the text.
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
    """One question's outcome.

    `status` is `ok`, `refused` (on purpose; `reason` says why) or `error` (`reason` holds the
    message, and there is nothing else). `ranking` scores documents, each by its best chunk; `hits`
    are the chunks as retrieved, best first; `context` is what was sent. `answer_rank` is the first
    hit whose text holds an answer, 0 when none does, None when there is no answer to look for.
    `gold_chunks` are the store's chunks that touch the evidence, and `oracle_tokens` the tokens of
    the sentences that the cheapest alternative of the evidence needs. `seconds` and `cpu_seconds`
    include what cached parts took when they were computed; `joules` is (low, mid, high).
    """

    id: str
    status: Status
    reason: str | None = None
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

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form, a line of rows.jsonl."""
        data = asdict(self)
        for name in ("hits", "context", "citations", "gold_chunks"):
            if data[name] is not None:
                data[name] = [_short(passage) for passage in data[name]]
        return {"schema": 1, **cast("dict[str, Json]", data)}


def _short(passage: Mapping[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in passage.items() if value not in {None, ()}}


def _passage(data: Mapping[str, object]) -> Passage:
    repeats = cast("Sequence[Place]", data.get("repeats", ()))
    return Passage(**{**data, "repeats": tuple(map(tuple, repeats))})  # type: ignore[arg-type]


def read_row(data: Mapping[str, Json]) -> Row:
    """Return the row of a line of rows.jsonl."""
    values: dict[str, object] = {key: value for key, value in data.items() if key != "schema"}
    for name in ("hits", "context", "citations", "gold_chunks"):
        given = cast("Sequence[Mapping[str, object]] | None", values.get(name))
        if given is not None:
            values[name] = tuple(map(_passage, given))
    for name in ("joules", "from_cache"):
        if values.get(name) is not None:
            values[name] = tuple(cast("Sequence[object]", values[name]))
    return Row(**values)  # type: ignore[arg-type]
