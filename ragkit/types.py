"""The values that flow through ragkit and the protocols that its parts implement.

All offsets are Unicode code points into `Document.text`, half-open. All values are frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, get_args, runtime_checkable

from ragkit.brief import brief, counted
from ragkit.groups import group_names, names_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors: TypeAlias = NDArray[np.float32]
    """float32, shape (n, dim), rows of length 1."""
    Vector: TypeAlias = NDArray[np.float32]
    """float32, shape (dim,), length 1."""

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"
Metadata: TypeAlias = Mapping[str, Json]
Span: TypeAlias = tuple[int, int]
Mode: TypeAlias = Literal["dense", "lexical", "hybrid"]
Fusion: TypeAlias = Literal["convex", "rrf"]
ChunkerName: TypeAlias = Literal["recursive", "sentence", "tokens", "markdown", "whole"]
CHUNKER_NAMES: tuple[str, ...] = get_args(ChunkerName)
MOST_HITS = 1_000_000
"""Largest k that can be asked for."""
MarkKind: TypeAlias = Literal["text", "heading", "page", "row", "code"]
PartKind: TypeAlias = Literal[
    "heading",
    "paragraph",
    "list",
    "item",
    "procedure",
    "step",
    "table",
    "header_row",
    "row",
    "caption",
    "code",
    "definition",
    "option",
    "note",
    "nav",
    "markup",
]
"""`list` holds `item`s and `procedure`, an ordered list, `step`s; `table` holds `caption`,
`header_row` and `row`s; `note`, an admonition, holds whatever it says. `nav` is navigation, header
or footer of a page; `markup` is what only a program reads: directives, labels, underlines."""
Dropped: TypeAlias = Literal["payload", "hidden", "furniture", "nav"]
"""Why characters of a file are left out of its text: data for programs, text that nobody sees, page
furniture, navigation."""
UnitKind: TypeAlias = Literal[
    "sentence",
    "item",
    "step",
    "header_row",
    "row",
    "caption",
    "code",
    "definition",
    "option",
    "heading",
    "nav",
    "markup",
]
NeedRole: TypeAlias = Literal["header", "lead_in", "heading", "referent"]
StopReason: TypeAlias = Literal[
    "end", "stop", "length", "filter", "guardrail", "timeout", "cancelled", "error"
]
"""Why an answer ends: the model's own end (`end`), which some servers do not distinguish from a
stop string (`stop`); the maximum length; a filter or guardrail; `timeout`, which cut it short."""

RefusalReason: TypeAlias = Literal[
    "no_hits", "low_evidence", "cap_too_small", "model_abstained", "guardrail"
]
"""Why there is no answer; `model_abstained` is the model's own verdict on what it was sent, and
`guardrail` means that a guardrail of what is searched has blocked the question, or what it found.
"""

Reason: TypeAlias = RefusalReason | Literal["conversation"]
"""Why a question has no answer from documents: it is refused, or about the conversation itself."""

Role: TypeAlias = Literal["system", "user", "assistant"]


PLACES = ("page", "slide", "sheet", "cells", "anchor", "message", "cell", "time")
"""The fields of a `Location` that are one value each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """The location of a text in its source; what a format does not have is None or empty.

    `anchor` is the id by which a link to the page reaches the nearest heading that has one.
    `message` counts the messages of a mailbox, `cell` the cells of a notebook, from 1; `time` is
    where in a recording something is said, `01:02:03`.
    """

    page: int | None = None
    slide: int | None = None
    sheet: str | None = None
    cells: str | None = None
    heading: tuple[str, ...] = ()
    anchor: str | None = None
    message: int | None = None
    cell: int | None = None
    time: str | None = None

    def to_dict(self) -> dict[str, Json]:
        """Return only what is known."""
        known: dict[str, Json] = {}
        for name in PLACES:
            value: Json = getattr(self, name)
            if value is not None:
                known[name] = value
        if self.heading:
            known["heading"] = list(self.heading)
        return known


_NOWHERE = Location()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A structural boundary: from `start` to the next mark the text is at `location`.

    `kind` tells chunkers how to cut: never inside a `row`, always before a `heading` or a `page`
    when there is a choice.
    """

    start: int
    location: Location = field(default_factory=Location)
    kind: MarkKind = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A span of a document's text with its kind and the part that it stands in.

    A part's own text reaches to its first child; what follows it inside are children: of an item,
    a step, a definition (its term and what explains it), an option or a note, the first paragraph
    is its own, and further paragraphs, code and lists are children. `parent` is an index into the
    document's parts, smaller than the part's own; None on the outermost level.
    """

    start: int
    end: int
    kind: PartKind
    parent: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A source file or record as text.

    `source` is the absolute path, the URI or the `-` that the document came from. Only readers of
    one of the `groups` may see it; the group `public` means everybody, and no groups means
    unspecified. `marks` are in order of `start`. So are `parts`, each after the part that it stands
    in; parts of one parent do not overlap; text outside all parts is running text. `dropped` counts
    the characters of the file that the text leaves out; no store keeps it. Raises `ConfigError` if
    `groups` is not a sequence of names.
    """

    id: str
    text: str
    source: str = ""
    title: str = ""
    metadata: Metadata = field(default_factory=dict[str, Json])
    groups: tuple[str, ...] = ()
    marks: Sequence[Mark] = ()
    parts: Sequence[Part] = ()
    dropped: Mapping[Dropped, int] = field(default_factory=dict[Dropped, int])

    def __post_init__(self) -> None:
        """Check the groups; a list becomes a tuple. Limits on names are checked when writing."""
        object.__setattr__(self, "groups", names_of(self.groups, f"groups of document {self.id!r}"))

    def __repr__(self) -> str:
        """Return the document in short."""
        return f"<Document {brief(self.id)} {len(self.text):,} characters, {brief(self.text)}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingDocument:
    """A document that is loaded only if its fingerprint is new to the store.

    `fingerprint` changes whenever the loaded document could; `load` raises `LoadError`. `groups`
    are those that it will have, None if only loading reveals them. `n_bytes` is what it takes of a
    source that holds several; None means all of it. `begin`, where there is one, is called before
    `load`, so that it is parsed while something else is worked on.
    """

    id: str
    source: str
    fingerprint: str
    load: Callable[[], Document]
    groups: tuple[str, ...] | None = None
    n_bytes: int | None = None
    begin: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An input that yielded no document.

    `skipped` inputs are not errors: nobody named them, or they are `known`: the same input failed
    in an earlier ingest, and has not changed. `fingerprint` changes whenever the failure could;
    None where only trying again tells.
    """

    source: str
    code: str
    detail: str
    skipped: bool = False
    known: bool = False
    fingerprint: str | None = None

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of the ingest report."""
        return {"source": self.source, "code": self.code, "detail": self.detail}


SourceItem: TypeAlias = Document | PendingDocument | Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A span that a unit cannot be read without: `document.text[start:end] == text`.

    It is *borrowed* if it stands outside the unit's chunk.
    """

    start: int
    end: int
    role: NeedRole
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """The smallest span that can be read alone, together with what it needs for that.

    `needs` are in order of `start`; `procedure` is the span of the procedure that a step, or what
    stands in it, belongs to. Headings, markup and navigation are units that are never kept for
    their own sake.
    """

    start: int
    end: int
    kind: UnitKind = "sentence"
    needs: tuple[Need, ...] = ()
    procedure: Span | None = None

    @property
    def is_kept_alone(self) -> bool:
        """Whether a context may hold it for its own sake."""
        return self.kind not in {"heading", "header_row", "markup", "nav"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A stored span: `document.text[start:end] == text`.

    `sentences` are the spans of its units in the document's offsets, in order, inside [start, end).
    `units` has one unit per span, or none where the document's structure is unknown: each span is
    a sentence then. `marks` are the document's marks inside the chunk, preceded by the one that
    applies at its start.
    """

    id: str
    document_id: str
    start: int
    end: int
    text: str
    n_tokens: int
    sentences: tuple[Span, ...]
    marks: tuple[Mark, ...] = ()
    units: tuple[Unit, ...] = ()

    def __repr__(self) -> str:
        """Return the chunk in short."""
        return f"<Chunk {brief(self.document_id)} {self.start}-{self.end}, {brief(self.text)}>"

    def location(self, start: int | None = None, end: int | None = None) -> Location:
        """Return the location of the start of a span of the chunk (default: the whole chunk).

        The cells of a span of table rows reach from the first row's to the last row's.
        """
        if not self.marks:
            return _NOWHERE
        start, end = self.start if start is None else start, self.end if end is None else end
        covered = [mark.location for mark in self.marks if start < mark.start < end]
        first = Location()
        for mark in self.marks:
            if mark.start <= start:
                first = mark.location
        last = covered[-1].cells if covered else None
        if first.cells is None or last is None:
            return first
        return replace(first, cells=f"{first.cells.split(':')[0]}:{last.split(':')[-1]}")

    def is_heading(self, start: int) -> bool:
        """Whether the sentence that starts here is a heading."""
        return any(mark.start == start and mark.kind == "heading" for mark in self.marks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A chunk with its score, and everything that is needed to show and cite it."""

    rank: int
    score: float
    chunk: Chunk
    source: str = ""
    title: str = ""
    metadata: Metadata = field(default_factory=dict[str, Json])

    def __repr__(self) -> str:
        """Return the hit in short."""
        return f"<Hit {self.rank}, score {self.score:.4g}, {self.chunk!r}>"

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit search`."""
        return {
            "rank": self.rank,
            "score": self.score,
            "text": self.chunk.text,
            "metadata": dict(self.metadata),
            **place(self, self.chunk.start, self.chunk.end),
        }


def place(hit: Hit, start: int, end: int) -> dict[str, Json]:
    """Return the location of a span of a hit's document, as in every JSON output."""
    return {
        "document_id": hit.chunk.document_id,
        "chunk_id": hit.chunk.id,
        "source": hit.source,
        "title": hit.title,
        "location": hit.chunk.location(start, end).to_dict(),
        "start": start,
        "end": end,
    }


Placement: TypeAlias = Literal["document", "best_last", "best_first"]
ItemRole: TypeAlias = Literal["unit", "header", "lead_in", "heading", "referent"]


class Blocked(tuple[Hit, ...]):
    """What a retriever gives instead of hits where a guardrail has blocked them: no hits."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSentence:
    """A sentence that was kept, its score (any scale, higher is better) and its token count.

    `role` is `unit`, or what another one needs it for if that is all it is there for.
    """

    start: int
    end: int
    text: str
    score: float
    n_tokens: int
    role: ItemRole = "unit"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextItem:
    """A maximal run of kept text: `document.text[start:end] == text`.

    `role` is `unit`, or what other items need it for if that is all it is there for. `unit_kind` is
    the kind of its first unit that is kept for its own sake. `gap_before` says whether text of the
    document is left out between the item and the one before it, of the same document.
    `steps_left_out_before` (for a document's last item also `steps_left_out_after`) is the number
    of steps left out there of a procedure of which others are kept; None if steps are, or may be,
    and their number is unknown. `label` is the number that the prompt gives to the item's passage,
    all consecutive items of a document; None where a template numbers nothing.
    """

    hit: Hit
    start: int
    end: int
    text: str
    n_tokens: int
    sentences: tuple[ScoredSentence, ...] = ()
    role: ItemRole = "unit"
    unit_kind: UnitKind | None = None
    gap_before: bool = False
    steps_left_out_before: int | None = 0
    steps_left_out_after: int | None = 0
    label: int | None = None

    def __repr__(self) -> str:
        """Return the item in short."""
        place = f"{brief(self.hit.chunk.document_id)} {self.start}-{self.end}"
        return f"<ContextItem {place}, {self.n_tokens} tokens, {brief(self.text)}>"

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit ask`."""
        return {
            "text": self.text,
            "n_tokens": self.n_tokens,
            "label": self.label,
            "role": self.role,
            "unit_kind": self.unit_kind,
            "gap_before": self.gap_before,
            **place(self.hit, self.start, self.end),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A span of a document that an answer cites: `document.text[start:end] == text`.

    `url` leads to the page, and to the heading above the span where its anchor is known. `label` is
    the number of its passage in the prompt. `answer_start` and `answer_end` bound the sentence or
    clause of the answer that it is cited for. `supported` says whether the span, or its passage,
    says that, as far as words tell; None means unknown. For a verbatim answer it is true, and the
    answer's text between the bounds is the cited text.
    """

    hit: Hit
    start: int
    end: int
    text: str
    url: str | None = None
    label: int | None = None
    supported: bool | None = None
    answer_start: int | None = None
    answer_end: int | None = None

    def __repr__(self) -> str:
        """Return the citation in short."""
        document_id = brief(self.hit.chunk.document_id)
        return f"<Citation {document_id} {self.start}-{self.end}, {brief(self.text)}>"

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit ask`."""
        return {
            "text": self.text,
            "label": self.label,
            "url": self.url,
            "supported": self.supported,
            "answer_start": self.answer_start,
            "answer_end": self.answer_end,
            **place(self.hit, self.start, self.end),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """Where to look instead of an answer: a span of a document near the question, without text."""

    hit: Hit
    start: int
    end: int
    url: str | None = None

    def __repr__(self) -> str:
        """Return the suggestion in short."""
        document_id = brief(self.hit.chunk.document_id)
        return f"<Suggestion {document_id} {self.start}-{self.end}>"

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit ask`."""
        return {"url": self.url, **place(self.hit, self.start, self.end)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One earlier turn of a conversation."""

    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to a model.

    `trusted` is content that the template alone has written; anything else may hold text of
    documents, questions or earlier turns, which must never be read as control tokens.
    """

    role: Role
    content: str
    trusted: bool = False

    def __repr__(self) -> str:
        """Return the message in short."""
        return f"<Message of {self.role}, {len(self.content):,} characters, {brief(self.content)}>"

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit ask`."""
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What is sent, with the parts it was made from.

    `messages` is exactly what is sent: the system message if there is one, earlier turns in their
    roles, and last what the user asks. `text` is their contents joined by a blank line; a prompt
    that is given as text alone is one message of the user.
    """

    text: str = ""
    question: str
    context: tuple[ContextItem, ...] = ()
    history: tuple[Turn, ...] = ()
    messages: tuple[Message, ...] = ()

    def __post_init__(self) -> None:
        """Make text and messages agree."""
        if self.messages:
            text = "\n\n".join(message.content for message in self.messages)
            object.__setattr__(self, "text", text)
        else:
            message = Message(role="user", content=self.text)
            object.__setattr__(self, "messages", (message,))

    def __repr__(self) -> str:
        """Return the prompt in short."""
        n_messages = counted(len(self.messages), "message")
        return f"<Prompt {n_messages}, {len(self.text):,} characters, {brief(self.question)}>"


MOST_COUNTED = 2**53
"""Largest plausible number of tokens: every integer up to it is exact as a float."""


def token_count(value: object) -> int | None:
    """Return a number of tokens from outside; None (unknown) for anything that cannot be one."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= MOST_COUNTED else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one generation; None means unknown. `counter` names what counted them.

    `reasoning_tokens` are those of `output_tokens` that the model spent on its thoughts.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    exact: bool = False
    counter: str = "unknown"

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit ask`."""
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cached_tokens": self.cached_tokens,
            "reasoning_tokens": self.reasoning_tokens,
            "exact": self.exact,
            "counter": self.counter,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationOptions:
    """How to generate; None leaves the choice to the model's server. 0 is a value.

    `max_tokens` >= 1, `temperature` >= 0, `top_p` in (0, 1], `top_k` >= 1.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What a generator returned.

    `citations` are its own, or None if it makes none. `stop_reason` is why the text ends, according
    to the model's server; `timeout` if time ran out before the whole text had arrived. `reasoning`
    is what the model thought before it answered, where its server keeps that apart from the text.
    `served_model` and `served_tier` are what the server says to have used, where it says so, and
    `server_seconds` how long it says to have taken. `reading_share` is the part, 0 to 1, of the
    model's time that went by until its first token, where the generator has measured it.
    """

    text: str
    usage: Usage
    citations: tuple[Citation, ...] | None = None
    stop_reason: str | None = None
    reasoning: str | None = None
    served_model: str | None = None
    served_tier: str | None = None
    server_seconds: float | None = None
    reading_share: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCount:
    """A number of tokens, whether it is exact for the model, and what counted them."""

    n_tokens: int
    exact: bool
    counter: str


class TokenCounter(Protocol):
    """Counts the tokens of a text, and states whether the count is exact for the model used."""

    @property
    def name(self) -> str:
        """What counts, for example `wordpiece:all-MiniLM-L6-v2`."""
        ...

    def count(self, text: str) -> int:
        """Return the number of tokens in `text`, without special tokens."""
        ...


class Source(Protocol):
    """Where documents come from."""

    def documents(self) -> Iterator[SourceItem]:
        """Yield documents, readable or not, in a stable order; never raise for one bad input."""
        ...


class Chunker(Protocol):
    """Cuts a document into chunks."""

    @property
    def fingerprint(self) -> str:
        """Name and settings: two chunkers with the same fingerprint cut alike."""
        ...

    def split(self, document: Document) -> Sequence[Chunk]:
        """Return chunks in order of `start`; together they hold all text but white space."""
        ...


class Embedder(Protocol):
    """Turns text into vectors."""

    @property
    def dim(self) -> int:
        """Length of a vector."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identifies weights, pooling, token cap and prompts; not the runtime."""
        ...

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text, in order; also for an empty text."""
        ...

    def embed_query(self, text: str) -> Vector:
        """Return the unit vector of a question."""
        ...


@runtime_checkable
class SentenceEmbedder(Protocol):
    """What an embedder offers in addition if it makes vectors of sentences at less cost.

    They are only compared with the question's vector, to trim by: not searched.
    """

    @property
    def sentence_fingerprint(self) -> str | None:
        """Identifies, with the fingerprint, how they are made; None: it makes none after all."""
        ...

    def embed_sentences(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text, in order; also for an empty text."""
        ...


def sentence_embedder(embedder: object) -> SentenceEmbedder | None:
    """Return an embedder as what makes vectors of sentences at less cost, where it does."""
    if isinstance(embedder, SentenceEmbedder) and embedder.sentence_fingerprint is not None:
        return embedder
    return None


def embeds_like(embedder: Embedder, fingerprint: str | None) -> bool:
    """Whether vectors of an embedder can be compared with those of a store of this fingerprint."""
    alike: object = getattr(embedder, "compatible_fingerprints", ())
    return fingerprint == embedder.fingerprint or (
        isinstance(alike, tuple) and fingerprint in alike
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A query for a retriever.

    `vector` is None for keyword search. `groups` None means unspecified, which a protected store
    refuses. `fusion` combines the two rankings of `hybrid`: by the mean of scaled scores (`convex`)
    or by reciprocal ranks (`rrf`). Raises `ConfigError` for groups that are not a sequence of
    names.
    """

    question: str
    vector: Vector | None = None
    k: int = 10
    mode: Mode | None = None
    filters: Mapping[str, Json] | None = None
    groups: tuple[str, ...] | None = None
    fusion: Fusion = "convex"

    def __post_init__(self) -> None:
        """Check the groups; a list becomes a tuple."""
        if self.groups is not None:
            object.__setattr__(self, "groups", group_names(self.groups))


class Retriever(Protocol):
    """Finds chunks."""

    def search(self, query: Query) -> Sequence[Hit]:
        """Return at most `query.k` hits, best first, equal scores in order of chunk id.

        No hits because of a guardrail are `Blocked`, so that the refusal can say so.
        """
        ...


class Reranker(Protocol):
    """Puts hits into a better order."""

    def rerank(self, question: str, hits: Sequence[Hit]) -> Sequence[Hit]:
        """Return hits, best first; a subset is allowed, new hits are not."""
        ...


class Generator(Protocol):
    """Writes an answer."""

    @property
    def name(self) -> str:
        """What was opened, for example `openai:qwen3-8b`."""
        ...

    @property
    def counter(self) -> TokenCounter | None:
        """Exact counter of the model's tokens, if one is available."""
        ...

    @property
    def calls_llm(self) -> bool:
        """Whether a generation is an LLM call."""
        ...

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Return the whole answer. Raises `RemoteError`."""
        ...

    def stream(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str | Generation]:
        """Yield pieces of text, then the whole `Generation` last. Raises `RemoteError`."""
        ...


@runtime_checkable
class Fingerprinted(Protocol):
    """What every generator, embedder, reranker and retriever of ragkit's own offers in addition.

    Two that differ in a setting that can change their results differ in this; what changes nothing
    (keys, time-outs, retries) is not part of it. An embedder's `fingerprint` is what stores record,
    and does not say where the model runs: that, and whatever else stores never recorded, is its
    `variant`.
    """

    @property
    def fingerprint(self) -> str:
        """Name, and a digest of the settings."""
        ...


def fingerprint_of(part: object) -> str | None:
    """Return what identifies a part of a pipeline among others of its name, or None.

    A part without a fingerprint is identified by its name alone: whoever caches its results cannot
    know whether its settings have changed since.
    """
    fingerprint: object = part.fingerprint if isinstance(part, Fingerprinted) else None
    if not isinstance(fingerprint, str):
        return None
    variant: object = getattr(part, "variant", "")
    return f"{fingerprint} {variant}" if variant else fingerprint


@runtime_checkable
class PromptCounter(Protocol):
    """What a generator offers in addition if it can count a prompt as its model will read it.

    The count includes everything that the model reads, such as the chat template around the prompt.
    """

    def count_prompt(self, prompt: Prompt) -> TokenCount:
        """Return the tokens of a prompt. Raises `RemoteError` where a server counts and fails."""
        ...
