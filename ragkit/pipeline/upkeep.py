"""Writing to a store and maintaining it: ingest, rebuild, delete, repair."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.errors import (
    ConfigError,
    MissingExtraError,
    OutdatedStoreError,
    StoreError,
)
from ragkit.groups import group_names, readers_of
from ragkit.pipeline.ingesting import Ingester, stored_document
from ragkit.pipeline.notices import tell_hidden, tell_languages, tell_older
from ragkit.pipeline.opening import has_numpy
from ragkit.pipeline.opening import open_source as open_named_source
from ragkit.pipeline.pruning import (
    Confirm,
    check_prune,
    is_gone,
    is_under,
    kept_though_left_out,
    moved_away,
    refuse_emptying,
    vanished,
)
from ragkit.pipeline.remembering import FailureMemory
from ragkit.pipeline.spending import Spending
from ragkit.pipeline.wanted import chunker_for, difference, keeps_units, wanted_settings
from ragkit.storage import (
    Finding,
    Maintained,
    Store,
    StoreSettings,
    as_maintained,
)
from ragkit.text.jsontext import check_json
from ragkit.types import (
    Chunk,
    Document,
    Json,
    Retriever,
    Source,
    SourceItem,
    embeds_like,
)

if TYPE_CHECKING:
    from ragkit.loading.opening import Joined
    from ragkit.loading.sharding import Shard
    from ragkit.pipeline.options import IngestOptions
    from ragkit.pipeline.parts import Parts
    from ragkit.pipeline.report import IngestReport, Progress

_MOST_DELAY_SECONDS = 3_600


def ingest(
    parts: Parts, what: Sequence[str | Path | Source | Document], options: IngestOptions
) -> IngestReport:
    """Do what `RAG.ingest` does."""
    _check_vectors(parts, options)
    source = _source(parts, what, options)
    with closing(source.parser):
        ingests = _dry_run if options.get("dry_run") else _write
        return ingests(parts, source, options)


def _write(parts: Parts, source: Joined, options: IngestOptions) -> IngestReport:
    store = parts.writable(create=True)
    was_protected = store.manifest().protected
    with store.exclusive(), Spending(parts) as spending:
        ingester = _ingester(parts, store, options)
        spending.expect(ingester.finish)
        _write_all(parts, store, source, options, ingester)
        report = _finished(ingester, source, options)
    report.chunks_without_vectors = n_waiting(store)
    tell_languages(parts, report)
    spending.record(report)
    if not was_protected and store.manifest().protected:
        tell_hidden(parts, store, ingester)
    return report


def _write_all(
    parts: Parts, store: Store, source: Joined, options: IngestOptions, ingester: Ingester
) -> None:
    prune, confirm = options.get("prune", False), options.get("confirm")
    with _settling(parts, store, secure=options.get("secure", False)):
        asked = prune and check_prune(
            store, source, source.roots, confirm, shard=source.shard, left_out=source.left_out
        )
        _forecast(parts, source, ingester, options)
        source.remember(store.stored)
        ingester.add(source.documents())
        gone = _vanished(store, source, ingester, prune=prune)
        _keep_left_out(parts, gone, source.left_out(), confirm)
        if not asked:
            # The disk may have been unmounted while it was read.
            refuse_emptying(store, gone, source.roots, confirm, source.shard)
        ingester.remove(list(gone))
        _close_journal(store, source.roots, ingester, prune=prune)


def _check_vectors(parts: Parts, options: IngestOptions) -> None:
    """Raise `ConfigError` where vectors are to come later and cannot."""
    when = options.get("vectors", "now")
    if when not in {"now", "later"}:
        raise ConfigError(f"vectors {when!r}; allowed: now later")
    if when == "now":
        return
    try:
        parts.folder()
    except ConfigError as error:
        raise ConfigError(f"vectors 'later': {error}") from None
    if parts.embedder() is None:
        raise ConfigError(
            "vectors 'later': with embedder 'none' there are no vectors to make; leave it out, or "
            "name an embedder (for a store that has none: ragkit rebuild --embedder builtin)"
        )


def _source(
    parts: Parts, what: Sequence[str | Path | Source | Document], options: IngestOptions
) -> Joined:
    from ragkit.loading import open_source
    from ragkit.loading.walking import Selection

    metadata = options.get("metadata")
    try:
        check_json(metadata)
    except ValueError as error:
        raise ConfigError(f"metadata cannot be stored: {error}") from error
    delay = options.get("delay_seconds", 0.0)
    if not 0.0 <= delay <= _MOST_DELAY_SECONDS:
        raise ConfigError(f"delay {delay}; allowed: 0 to {_MOST_DELAY_SECONDS:,} seconds")
    return open_source(
        what,
        root=options.get("root"),
        groups=group_names(options.get("groups", ())),
        metadata=metadata or {},
        password=options.get("password"),
        rules=parts.settings.ingest_rules,
        isolate=options.get("isolate", True),
        convert=options.get("convert", "off") == "auto",
        ocr=options.get("ocr", "off") == "auto",
        archives=options.get("archives", False),
        shard=_shard(options),
        n_jobs=parts.n_jobs,
        allow_private=options.get("allow_private", False),
        delay_seconds=delay,
        open_named=open_named_source,
        selection=Selection(
            include=tuple(options.get("include", ())),
            exclude=tuple(options.get("exclude", ())),
            gitignore=options.get("gitignore", False),
            tells=options.get("dry_run", False),
        ),
    )


def _shard(options: IngestOptions) -> Shard | None:
    from ragkit.loading.sharding import Shard

    given = options.get("shard")
    return None if given is None else Shard.of(given) if isinstance(given, str) else Shard(*given)


def _forecast(parts: Parts, source: Joined, ingester: Ingester, options: IngestOptions) -> None:
    """Tell what there is to do, and have it followed, if anybody asks."""
    tell, step = options.get("on_forecast"), options.get("on_step")
    if (tell is None and step is None) or not (files := source.sizes()):
        return
    from ragkit.embedding.builtin import BuiltinEmbedder
    from ragkit.loading import Labels
    from ragkit.loading.content import Content
    from ragkit.loading.formats import find_loader
    from ragkit.pipeline.estimating import Forecaster, beginning, measure_rate, pays

    def load(path: Path) -> Document:
        content, password = Content.of(beginning(path)), options.get("password")
        loader = find_loader(path.name)
        loaded = source.parser.load(content, name=path.name, loader=loader, password=password)
        return Labels().document(path.name, "", loaded)

    sizes = {file.source: file.n_bytes for file in files}
    of_records = {file.source for file in files if file.holds_records}
    if step is not None:
        step(Forecaster(sizes, None).forecast())
    rate, later = None, options.get("vectors") == "later"
    embedder = None if later else parts.embedder()
    # Texts are not sent to others, whose work may cost money, to learn how long that takes.
    is_ours = embedder is None or isinstance(embedder, BuiltinEmbedder)
    if is_ours and pays(sum(sizes.values()), embedder):
        rate = measure_rate(
            [(file.path, file.n_bytes) for file in files if not file.holds_records],
            load=load,
            split=ingester.rehearse,
            embed=None if embedder is None else ingester.rehearse_vectors,
        )
    ingester.forecaster = Forecaster(sizes, rate, of_records=of_records)
    if tell is not None:
        tell(ingester.forecaster.forecast())


def _dry_run(parts: Parts, source: Joined, options: IngestOptions) -> IngestReport:
    store = parts.writable() if parts.exists() else None
    ingester = _ingester(parts, store, options)
    _forecast(parts, source, ingester, options)
    if store is not None:
        source.remember(store.stored)
    ingester.add(source.documents())
    if store is not None:
        gone = _vanished(store, source, ingester, prune=options.get("prune", False))
        _keep_left_out(parts, gone, source.left_out(), None)
        ingester.remove(list(gone))
    ingester.report.rules = source.ruled()
    return _finished(ingester, source, options)


def _finished(ingester: Ingester, source: Joined, options: IngestOptions) -> IngestReport:
    """End parsing, and return the report with what that has cost."""
    source.parser.close()
    ingester.report.isolated = options.get("isolate", True)
    if options.get("shard") is not None:
        ingester.report.shard = (source.shard.number, source.shard.n_shards)
    return ingester.finish(parsing_cpu_seconds=source.parser.cpu_seconds)


def rebuild(parts: Parts, on_progress: Callable[[Progress], None] | None) -> IngestReport:
    """Do what `RAG.rebuild` does."""
    store, unread = parts.writable(), list[str]()
    with store.exclusive(), _settling(parts, store), Spending(parts, rebuild=True) as spending:
        stored = store.manifest().settings
        is_older = not keeps_units(chunker_for(parts, stored)) and keeps_units(
            chunker_for(parts, stored, renew=True)
        )
        settings = wanted_settings(parts, stored, renew=True)

        def load(document_id: str) -> SourceItem:
            return stored_document(store, document_id, read_again if is_older else None)

        def read_again(document: Document) -> Document:
            from ragkit.pipeline.structure import is_converted, with_structure

            unread.extend([document.id] if is_converted(document) else ())
            return with_structure(document)

        with store.rebuilding(settings) as target:
            ingester = _make_ingester(
                parts, target, settings, {"on_progress": on_progress}, force=True
            )
            spending.expect(ingester.finish)
            ids = [document_id for document_id, _ in store.sources()]
            ingester.add(map(load, ids))
            if ingester.report.failures:
                failure = ingester.report.failures[0]
                raise StoreError(f"the store stays as it is: {failure.source}: {failure.detail}")
    if unread:
        parts.notice(
            "documents stored without the lists, tables and code of their HTML, Word, CSV or JSON "
            f"files: {len(unread):,}; ingest these files again to add them"
        )
    report = ingester.finish()
    spending.record(report)
    return report


def delete(parts: Parts, ids: Sequence[str], *, secure: bool) -> Sequence[str]:
    """Do what `RAG.delete` does."""
    store = parts.writable()
    with store.exclusive(), _settling(parts, store, secure=secure):
        return list(store.delete([name for name in ids if _may_be_stored(name)]))


def stored(
    parts: Parts, document_id: str, groups: Sequence[str] | None
) -> tuple[Document, str, Sequence[Chunk]] | None:
    """Do what `RAG.stored` does."""
    store = parts.writable()
    if not _may_be_stored(document_id):
        return None
    return store.document(document_id, groups=readers_of(groups))


def _may_be_stored(document_id: str) -> bool:
    """Whether a store can hold this id: bytes from a command line may not be text."""
    try:
        check_json(document_id)
    except ValueError:
        return False
    return True


def describe(parts: Parts) -> dict[str, Json]:
    """Return a store as `ragkit show --json` prints it."""
    store = parts.writable()
    manifest = store.manifest()
    unknown = ("file_bytes", "derived_bytes", "sentence_vector_bytes")
    template = parts.template
    return {
        "schema": 1,
        "store": store.name,
        "schema_version": manifest.schema_version,
        "generation": manifest.revision,
        "protected": manifest.protected,
        **store.count(),
        "vector_share": vector_share(store),
        "read_only": isinstance(store, Maintained) and store.read_only,
        **(store.bytes_by_part() if isinstance(store, Maintained) else dict.fromkeys(unknown)),
        "language": store.language(),
        "settings": None if manifest.settings is None else dict(asdict(manifest.settings)),
        "sentence_vector_kind": None
        if manifest.settings is None
        else manifest.settings.kind_of_sentence_vectors,
        "template": {
            "id": template.id,
            "version": template.version,
            "sha256": template.sha256,
        },
    }


def doctor(parts: Parts, *, repair: bool) -> Sequence[Finding]:
    """Do what `RAG.doctor` does."""
    findings: list[Finding] = []
    try:
        store = parts.writable()
    except OutdatedStoreError as error:
        outdated = Finding(check="schema", detail=str(error), repairable=True)
        if not repair:
            return [outdated]
        from ragkit.storage.creation import update_schema

        update_schema(parts.path)
        findings.append(replace(outdated, repaired=True))
        store = parts.writable()
    if not repair:
        return store.examine()
    with store.exclusive():
        return [*findings, *store.examine(repair=True)]


def _settling(parts: Parts, store: Store, *, secure: bool = False) -> AbstractContextManager[None]:
    """Update what is derived from the documents after a block, and make its writes visible."""
    if isinstance(store, Maintained):
        return store.settling(parts.notice, secure=secure)
    return _visible_at_the_end(store)


@contextmanager
def _visible_at_the_end(store: Store) -> Generator[None]:
    yield
    store.checkpoint()


def _ingester(parts: Parts, store: Store | None, options: IngestOptions) -> Ingester:
    stored = None if store is None else store.manifest().settings
    if stored is not None and stored.embedder != "none" and not has_numpy():
        raise MissingExtraError(
            f"the store was built with embedder {stored.embedder!r}, and numpy", extra="local"
        )
    wanted = wanted_settings(parts, stored)
    is_new, embedder = stored is None, parts.embedder()
    if store is not None and is_new and not options.get("dry_run"):
        store.configure(wanted)
        # If the store has no lock, another process may have configured it first.
        stored = store.manifest().settings
        wanted = wanted_settings(parts, stored)
    if stored and embedder and embeds_like(embedder, stored.embedder_fingerprint):
        wanted = replace(wanted, embedder_fingerprint=stored.embedder_fingerprint)
        if stored.sentence_vector_kind is None and parts.settings.sentence_vector_kind != "short":
            wanted = replace(wanted, sentence_vector_kind=None)
    if stored is not None and stored != wanted:
        raise ConfigError(difference(stored, wanted))
    tell_older(parts, store, wanted)
    memory = _memory(store, options)
    return _make_ingester(parts, store, wanted, options, looks_for_moves=not is_new, memory=memory)


def _make_ingester(
    parts: Parts,
    store: Store | None,
    settings: StoreSettings,
    options: IngestOptions,
    *,
    force: bool = False,
    looks_for_moves: bool = False,
    memory: FailureMemory | None = None,
) -> Ingester:
    return Ingester(
        store,
        chunker=chunker_for(parts, settings),
        embedder=parts.embedder(),
        settings=settings,
        vectors_later=options.get("vectors") == "later",
        dry_run=options.get("dry_run", False),
        force=force,
        looks_for_moves=looks_for_moves,
        require_groups=options.get("require_groups", False),
        n_jobs=parts.n_jobs,
        memory=memory,
        on_progress=options.get("on_progress"),
        on_step=options.get("on_step"),
    )


def n_waiting(store: Store) -> int | None:
    """Return how many chunks wait for vectors; None without an embedder, or if that is unknown."""
    counts = store.vector_counts() if isinstance(store, Maintained) else None
    return None if counts is None else counts.n_missing


def vector_share(store: Store | Retriever, groups: Sequence[str] | None = None) -> float | None:
    """Do what `RAG.vector_share` does."""
    if not isinstance(store, Maintained):
        return None
    counts = store.vector_counts(groups=readers_of(groups))
    return None if counts is None else counts.share


def _vanished(store: Store, source: Joined, ingester: Ingester, *, prune: bool) -> dict[str, str]:
    """Report what moved, and return the id and source of what is to be removed."""
    texts, moved = ingester.added_texts, ingester.n_moved_here
    is_local = isinstance(store, Maintained)
    gone: dict[str, str] = {}
    if prune or (texts and is_local):
        gone = vanished(store, source.roots, ingester.seen, ingester.failed_sources, source.shard)
        moved += len(moved_away(store, gone, texts))
    # Listing all documents of a remote store costs too much for a mere count.
    ingester.report.moved = moved if prune or is_local or not texts else None
    return gone if prune else {}


def _keep_left_out(
    parts: Parts, gone: dict[str, str], left_out: Sequence[str], confirm: Confirm | None
) -> None:
    """Take what is only left out by now from what is to be removed, unless somebody agrees."""
    kept = kept_though_left_out(gone, left_out, confirm)
    for document_id in kept:
        del gone[document_id]
    if kept:
        parts.notice(
            f"{len(kept)} stored documents are left out now and stay; to remove them: "
            "ragkit ingest … --prune --yes"
        )


def _memory(store: Store | None, options: IngestOptions) -> FailureMemory:
    """Return what is known of inputs that failed before; only a store in a folder remembers."""
    local = as_maintained(store)
    return FailureMemory(
        () if local is None else local.journal.failures(),
        retry=options.get("retry_failed", False),
        has_password=options.get("password") is not None,
    )


def _close_journal(store: Store, roots: Sequence[str], ingester: Ingester, *, prune: bool) -> None:
    """Remember what failed, and delete vectors that were committed ahead for nothing.

    Those of a file that is not under these roots stay: its ingest is still to be resumed.
    """
    local = as_maintained(store)
    if local is None:
        return
    local.journal.drop_ahead(lambda source: not os.path.isabs(source) or is_under(source, roots))

    def has_vanished(source: str) -> bool:
        return prune and is_gone(source) and not is_under(source, ingester.failed_sources)

    new, forgotten = ingester.memory.changes(has_vanished)
    if new or forgotten:
        local.journal.note_failures(new, forgotten=forgotten)
