"""From a question to the chunks it finds, and what trimming needs to know about them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from ragkit.costs.metering import meter
from ragkit.costs.stopwatch import Stopwatch
from ragkit.errors import ConfigError, MissingExtraError
from ragkit.fusion import FUSION_DEPTH
from ragkit.groups import readers_of
from ragkit.pipeline.identified import exact_first, telling, with_identifiers
from ragkit.pipeline.named_rows import has_tables, with_named_rows
from ragkit.pipeline.opening import has_numpy
from ragkit.pipeline.understanding import corrected
from ragkit.storage import (
    Manifest,
    Snapshot,
    Snapshots,
    Store,
    StoreSettings,
    VectorCounts,
    as_holding_sentences,
)
from ragkit.text.identifiers import asked_identifiers, identifiers, without_numbers
from ragkit.text.words import detect_language, index_terms, query_terms
from ragkit.trimming import PoolChunk
from ragkit.types import (
    MOST_HITS,
    Blocked,
    Chunk,
    Fusion,
    Hit,
    Json,
    Mode,
    Query,
    Retriever,
    embeds_like,
)

if TYPE_CHECKING:
    from ragkit.pipeline.options import PoolOptions
    from ragkit.pipeline.parts import Parts
    from ragkit.types import Embedder, Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A question, and what decides which chunks it finds.

    Attributes:
        question: The text that is searched for.
        k: How many hits.
        mode: None chooses by the store and the question's language.
        filters: Conditions on metadata.
        groups: The reader's; None if unspecified.
        n_candidates: How many of the hits are prepared for trimming.
        drops_repeats: Whether one of near-identical hits is prepared, and later ones for the rest;
            later ones with rows that the question names; and the rest of the procedures that they
            hold.
    """

    question: str
    k: int
    mode: Mode | None
    filters: Mapping[str, Json] | None
    groups: tuple[str, ...] | None
    n_candidates: int = 0
    drops_repeats: bool = False

    @classmethod
    def of(
        cls,
        parts: Parts,
        question: str,
        options: PoolOptions,
        *,
        k: int,
        n_candidates: int = 0,
        drops_repeats: bool = False,
    ) -> Request:
        """Make a request of a call's options and of the settings.

        Raises:
            ConfigError: a group's name is not allowed.
        """
        return cls(
            question=question,
            k=k,
            mode=options.get("mode") or cast("Mode | None", parts.settings.mode),
            filters=options.get("filters"),
            groups=readers_of(options.get("groups")),
            n_candidates=n_candidates,
            drops_repeats=drops_repeats,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a question found, all from one state of the store.

    Attributes:
        hits: Best first.
        terms: The question's index terms, without stop words.
        pool: The first hits of the request, without repeats if it says so, prepared for trimming.
        mode: The mode asked for, or the one chosen for the question.
        revision: The store's; None if it does not count its writes, 0 for a retriever.
        embedder: The name of the store's; None for a retriever.
        n_chunks: How many the store holds; None where it does not tell.
        is_blocked: Whether there are no hits because of a guardrail of the retriever.
        vector: The question's; None for keyword search.
    """

    hits: Sequence[Hit]
    terms: Sequence[str]
    pool: Sequence[PoolChunk]
    mode: Mode
    revision: int | None
    embedder: str | None
    n_chunks: int | None = None
    is_blocked: bool = False
    vector: Vector | None = None


def depth(asked: int | None, setting: int | None, default: int) -> int:
    """Return how many hits to retrieve; 0 counts as given, and is not allowed."""
    k = next(value for value in (asked, setting, default) if value is not None)
    if not 1 <= k <= MOST_HITS:
        raise ConfigError(f"k {k}; allowed: 1 to {MOST_HITS:,}")
    return k


def retrieve(parts: Parts, request: Request, watch: Stopwatch) -> Found:
    """Search one state of the store.

    Raises:
        ConfigError: the store needs groups, holds no vectors for the mode asked for, or was
            embedded by another model.
        MissingExtraError: the mode asked for needs numpy.
    """
    store = parts.store()
    # A remote embedder is slow, and no read transaction should stay open meanwhile. So the question
    # is embedded first if the last one was; if that guess was wrong, the store is read again.
    embedder = None if request.mode == "lexical" else parts.question_embedder
    is_read = False
    while True:
        found = _attempt(parts, store, request, embedder, watch, is_read=is_read)
        if isinstance(found, Found):
            return _completed(store, request, _reranked(parts, request, found, watch), watch)
        if isinstance(found, str):
            request, is_read = replace(request, question=found), True
        else:
            embedder = found


def prepared_alike(
    parts: Parts,
    request: Request,
    founds: Sequence[Found],
    hits: Sequence[Hit],
    watch: Stopwatch,
) -> Sequence[Found]:
    """Return what readings of one question found in a store, with these hits as each one's pool."""
    store = parts.store()

    def pools(view: Snapshot) -> list[Sequence[PoolChunk]]:
        return [view.pool(hits, found.vector) for found in founds]

    with watch.stage("trim"):
        alike = store.in_one_state(pools) if isinstance(store, Snapshots) else pools(_Live(store))
    return [
        _completed(store, request, replace(found, pool=pool), watch)
        for found, pool in zip(founds, alike, strict=True)
    ]


def _attempt(
    parts: Parts,
    store: Store | Retriever,
    request: Request,
    embedder: Embedder | None,
    watch: Stopwatch,
    *,
    is_read: bool,
) -> Found | Embedder | str | None:
    """Search with this embedder's question vector; if another embedder is needed, return that.

    If words are mistyped and the question was not read before (`is_read`), return it corrected.
    """
    vector: Vector | None = None
    if request.mode != "lexical":
        with watch.stage("embed"):
            if embedder is not None:
                with meter().embedding():
                    vector = embedder.embed_query(request.question)

    def search_once(view: Snapshot) -> Found | Embedder | str | None:
        question = request.question if is_read else _corrected(view, request)
        if question != request.question:
            return question
        settings = view.manifest().settings
        language = view.question_language(request.question, groups=request.groups)
        counts = None if request.mode == "lexical" else view.vector_counts(groups=request.groups)
        needed = _embedder_of(parts, store, request, settings, language=language, counts=counts)
        if request.mode != "lexical":
            parts.question_embedder = needed
        return _search(parts, view, request, vector, watch) if needed is embedder else needed

    if isinstance(store, Snapshots):
        return store.in_one_state(search_once)
    return search_once(_Live(store))


def _corrected(view: Snapshot, request: Request) -> str:
    """Return the question, mistyped words corrected where the store tells its terms."""

    def known(terms: Iterable[str]) -> AbstractSet[str]:
        wanted = set(terms)
        held = view.known_terms(wanted, groups=request.groups)
        return wanted if held is None else held

    language = view.language(groups=request.groups)
    return corrected(request.question, language=language, known=known)


def _embedder_of(
    parts: Parts,
    store: Store | Retriever,
    request: Request,
    settings: StoreSettings | None,
    *,
    language: str | None,
    counts: VectorCounts | None,
) -> Embedder | None:
    """Return what embeds the question; None for keyword search.

    Args:
        parts: Of the pipeline.
        store: What is searched.
        request: The question.
        settings: The store's.
        language: The question's, or the store's if that cannot be detected; None if unknown.
        counts: How many of the chunks that the reader may see have vectors; None if unknown.
    """
    if request.mode == "lexical":
        return None
    if not isinstance(store, Store):
        return parts.embedder() if parts.given_embedder is not None else None
    if not _needs_vector(parts, store, request, settings, language) or settings is None:
        return None
    if counts is not None and counts.n_missing and not _uses_vectors(parts, request, counts):
        return None
    embedder = parts.embedder()
    if embedder is None or not embeds_like(embedder, settings.embedder_fingerprint):
        raise ConfigError(
            f"store {store.name} was embedded by {settings.embedder!r} "
            f"({settings.embedder_fingerprint}), not by "
            f"{'none' if embedder is None else embedder.fingerprint}; "
            "change it with: ragkit rebuild --embedder NAME"
        )
    return embedder


def _needs_vector(
    parts: Parts,
    store: Store,
    request: Request,
    settings: StoreSettings | None,
    language: str | None,
) -> bool:
    if settings is None or settings.embedder == "none":
        if request.mode is not None:
            raise ConfigError(
                f"mode {request.mode!r} needs vectors, and store {store.name} holds none; "
                "use mode 'lexical', or: ragkit rebuild --embedder builtin"
            )
        return False
    # In a language that the model does not read, keyword search finds more: on XQuAD (Arabic)
    # nDCG@10 is 0.93 with keywords and 0.83 with hybrid search.
    if request.mode is None and settings.embedder == "builtin" and language not in {None, "en"}:
        return False
    if not has_numpy():
        missing = MissingExtraError("numpy", extra="local")
        if request.mode is not None:
            raise missing
        parts.notice(f"answering with keyword search only: {missing}")
        return False
    return True


def _uses_vectors(parts: Parts, request: Request, counts: VectorCounts) -> bool:
    """Tell that vectors are missing, and return whether there are any to use."""
    command = f"ragkit embed --store {shlex.quote(str(parts.folder()))}"
    if not counts.n_with_vectors and request.mode == "dense":
        raise ConfigError(
            f"mode 'dense' needs vectors, and no chunk has one yet; make them with: {command}"
        )
    missing = f"{100 * counts.n_missing // counts.n_chunks or 'less than 1'} %"
    parts.notice(
        f"{missing} of the chunks have no vector yet and are found by their words alone. Make the "
        f"vectors with: {command}"
    )
    # Without any vector, embedding the question would only cost time.
    return counts.n_with_vectors > 0 or request.mode is not None


def _search(
    parts: Parts, view: Snapshot, request: Request, vector: Vector | None, watch: Stopwatch
) -> Found:
    query = Query(
        question=request.question,
        vector=vector,
        k=request.k,
        mode=request.mode,
        filters=request.filters,
        groups=request.groups,
        fusion=cast("Fusion", parts.settings.fusion),
    )
    with watch.stage("retrieve"):
        asked = asked_identifiers(request.question)
        hits = _hits(view, query, asked, watch)
        terms = view.terms(request.question, groups=request.groups)
    for problem in view.damaged_files:
        parts.notice(
            f"{problem}; searches read the store itself, which is slower. "
            f"Run: ragkit doctor --repair --store {shlex.quote(str(parts.folder()))}"
        )
    with watch.stage("trim"):
        # A reranker decides which of them are the first.
        first = hits
        if parts.reranker is None:
            first = _candidates(view, query, hits, request, watch)
        pool: Sequence[PoolChunk] = view.pool(first, vector) if request.n_candidates else ()
        if asked and pool:
            pool = with_identifiers(pool, asked)
            terms = _telling(view, request, terms, pool)
    manifest = view.manifest()
    return Found(
        hits=hits,
        terms=terms,
        pool=pool,
        mode=request.mode or ("lexical" if vector is None else "hybrid"),
        revision=manifest.revision,
        embedder=None if manifest.settings is None else manifest.settings.embedder,
        n_chunks=view.n_chunks(groups=request.groups),
        is_blocked=isinstance(hits, Blocked),
        vector=vector,
    )


def _hits(view: Snapshot, query: Query, asked: Sequence[str], watch: Stopwatch) -> Sequence[Hit]:
    """Return the hits, those that hold the question's identifiers further up."""
    if not asked or query.mode == "dense":
        return view.search(query, watch=watch)
    hits = view.search(_deeper(view, query), watch=watch)
    return exact_first(hits, asked)[: query.k] if hits else hits


def _deeper(view: Snapshot, query: Query) -> Query:
    """Return a query for as many hits as take part in a fusion, and cost little to find."""
    # A retriever that is paid for by the hit gives no more than were asked for.
    if isinstance(view, _Live) and not view.is_store:
        return query
    return replace(query, k=max(query.k, FUSION_DEPTH))


def _candidates(
    view: Snapshot, query: Query, hits: Sequence[Hit], request: Request, watch: Stopwatch
) -> Sequence[Hit]:
    """Return the hits that are prepared for trimming."""
    n = request.n_candidates
    if not request.drops_repeats or len(hits) < 2:
        return hits[:n]
    from ragkit.diversity import one_of_each

    first = one_of_each(hits[:n], request.question, n)
    is_short, seeks_rows = len(first) < len(hits[:n]), has_tables(first)
    if not (is_short or seeks_rows):
        return first
    asked = asked_identifiers(request.question)
    more = _deeper(view, query)
    deeper = hits if more == query else _hits(view, more, asked, watch)
    if is_short:
        first = one_of_each(deeper, request.question, n)
    if not seeks_rows:
        return first
    terms = view.terms(request.question, groups=request.groups)
    language = view.language(groups=request.groups)
    return one_of_each(with_named_rows(first, deeper, terms, language), request.question, n)


def _telling(
    view: Snapshot, request: Request, terms: Sequence[str], pool: Sequence[PoolChunk]
) -> Sequence[str]:
    rest = without_numbers(request.question)
    numbers = {*identifiers(request.question)} - {*identifiers(rest)}
    return telling(terms, pool, numbers=numbers, others=view.terms(rest, groups=request.groups))


def _reranked(parts: Parts, request: Request, found: Found, watch: Stopwatch) -> Found:
    if parts.reranker is None or not found.hits:
        return found
    with watch.stage("rerank"), meter().reranking(len(found.hits)):
        hits = list(parts.reranker.rerank(request.question, found.hits))
    first = hits[: request.n_candidates]
    if request.drops_repeats:
        from ragkit.diversity import one_of_each

        first = one_of_each(hits, request.question, request.n_candidates)
    prepared = {chunk.hit.chunk.id: chunk for chunk in found.pool}
    pool = [
        # A reranker of the user's own may return a chunk that it was not given.
        replace(prepared[hit.chunk.id], hit=hit) if hit.chunk.id in prepared else _unprepared(hit)
        for hit in first
    ]
    return replace(found, hits=hits, pool=pool)


def _completed(store: Store | Retriever, request: Request, found: Found, watch: Stopwatch) -> Found:
    """Add the rest of the procedures that were found in part, which are to be kept whole."""
    if not (request.drops_repeats and isinstance(store, Store)):
        return found
    if not any(unit.procedure for chunk in found.pool for unit in chunk.hit.chunk.units):
        return found
    from ragkit.pipeline.completing import completed

    def chunks_of(document_id: str) -> Sequence[Chunk]:
        document = store.document(document_id, groups=request.groups)
        return () if document is None else document[2]

    with watch.stage("retrieve"):
        return replace(found, pool=completed(found.pool, chunks_of))


class _Live:
    """A store without snapshots, whose manifest and language are asked for once."""

    damaged_files: Sequence[str] = ()

    def __init__(self, store: Store | Retriever) -> None:
        self._store = store
        self.is_store = isinstance(store, Store)
        self._manifest: Manifest | None = None
        self._languages: dict[tuple[str, ...] | None, str | None] = {}

    def manifest(self) -> Manifest:
        if self._manifest is None:
            nothing = Manifest(settings=None, revision=0)
            self._manifest = self._store.manifest() if isinstance(self._store, Store) else nothing
        return self._manifest

    def language(self, *, groups: tuple[str, ...] | None = None) -> str | None:
        if groups not in self._languages and isinstance(self._store, Store):
            self._languages[groups] = self._store.language(groups=groups)
        return self._languages.get(groups)

    def question_language(
        self, question: str, *, groups: tuple[str, ...] | None = None
    ) -> str | None:
        return detect_language(question) or self.language(groups=groups)

    def terms(self, question: str, *, groups: tuple[str, ...] | None = None) -> Sequence[str]:
        return query_terms(question, language=self.language(groups=groups))

    def known_terms(
        self, terms: Iterable[str], *, groups: tuple[str, ...] | None = None
    ) -> AbstractSet[str] | None:
        del terms, groups
        return None

    def vector_counts(self, *, groups: tuple[str, ...] | None = None) -> VectorCounts | None:
        del groups
        return None

    def n_chunks(self, *, groups: tuple[str, ...] | None = None) -> int | None:
        del groups
        return None

    def search(self, query: Query, *, watch: Stopwatch | None = None) -> Sequence[Hit]:
        del watch
        hits = self._store.search(query)
        return hits if isinstance(hits, Blocked) else list(hits)

    def pool(self, hits: Sequence[Hit], vector: Vector | None) -> Sequence[PoolChunk]:
        remote = as_holding_sentences(self._store)
        if remote is not None and remote.can_hold_sentences():
            return remote.pool(hits, vector)
        return [_unprepared(hit) for hit in hits]


def _unprepared(hit: Hit) -> PoolChunk:
    """Return a hit for trimming of which no store knows more than its text."""
    chunk = hit.chunk
    texts = (chunk.text[a - chunk.start : b - chunk.start] for a, b in chunk.sentences)
    return PoolChunk(hit=hit, terms=[index_terms(text, language=None) for text in texts])
