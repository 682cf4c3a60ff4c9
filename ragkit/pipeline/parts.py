"""The parts of a pipeline (store, embedder, generator, ledger), each opened on first use."""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.errors import ConfigError
from ragkit.pipeline.opening import (
    default_embedder_name,
    open_counter,
    open_embedder,
    open_generator,
    open_reranker,
    open_store,
)
from ragkit.prompts import Template, load_template
from ragkit.storage import LocalStore, Maintained, Store, as_maintained
from ragkit.storage.calls import Forkable
from ragkit.storage.database import has_store
from ragkit.text.printable import printable_line
from ragkit.trimming import BUILTIN_POLICY, TrimPolicy, open_policy
from ragkit.types import (
    Chunker,
    Embedder,
    GenerationOptions,
    Generator,
    Json,
    Reranker,
    Retriever,
    TokenCounter,
)

if TYPE_CHECKING:
    from ragkit.config import Settings
    from ragkit.costs.ledger import Ledger
    from ragkit.regions import Place

MOST_JOBS = 1024
"""Largest `n_jobs`: more threads than that are a mistake on any machine."""

Notify = Callable[[str], None]


class Parts(Forkable):
    """What a pipeline was given, and which of its parts are open; safe to share between threads.

    The arguments are those of `RAG`.

    Attributes:
        question_embedder: What the last question that was not for keywords only needed, if any.
    """

    def __init__(
        self,
        store: str | Path | Store | Retriever,
        *,
        embedder: str | Embedder | None,
        generator: str | Generator | None,
        trim: str | Path | TrimPolicy | None,
        template: str | Path | Template | None,
        reranker: str | Reranker | None,
        chunker: Chunker | None,
        settings: Settings,
        ledger: str | Path | None,
        n_jobs: int,
        notify: Notify | None,
    ) -> None:
        self.settings = settings
        self.given_chunker = chunker
        self.given_embedder = embedder if embedder is not None else settings.embedder
        self.reranker = (
            open_reranker(reranker or settings.reranker, settings.reranker_options)
            if reranker is None or isinstance(reranker, str)
            else reranker
        )
        self.policy, self.policy_sha256 = _policy(trim if trim is not None else settings.trim)
        self.template = (
            template
            if isinstance(template, Template)
            else load_template(str(template or settings.template))
        )
        if not 1 <= n_jobs <= MOST_JOBS:
            raise ConfigError(f"jobs {n_jobs}; allowed: 1 to {MOST_JOBS:,}")
        self.question_embedder: Embedder | None = None
        self._given_store = store
        self._store = None if isinstance(store, str | Path) else store
        self._embedder: Embedder | None = None
        self._embedder_is_open = False
        self._given_generator = generator
        self._generator: Generator | None = None
        self._ledger_place = ledger if ledger is not None else settings.ledger
        self._ledger: Ledger | None = None
        self.on_record: Callable[[Mapping[str, Json]], None] | None = None
        self.n_jobs = n_jobs
        self._notify = notify or _warn
        self._noticed: set[str] = set()
        self._lock = threading.RLock()
        super().__init__()

    def after_fork_in_child(self) -> None:
        """Replace the lock: a thread that does not exist in the child may hold it."""
        self._lock = threading.RLock()

    def with_policy(self, policy: TrimPolicy | None) -> Parts:
        """Return the same parts, open, with another trim policy, without refusals or a ledger."""
        self.store()
        self.generator()
        self.embedder()
        other = copy.copy(self)
        Forkable.__init__(other)
        other.settings = replace(self.settings, k=None, trim_level=None, refuse_below="off")
        other.policy, other.policy_sha256 = policy, None
        other._ledger, other._ledger_place = None, "off"
        other.on_record = None
        return other

    def close(self) -> None:
        """Close the store, and the generator if it was opened by name."""
        by_name = self._given_generator is None or isinstance(self._given_generator, str)
        for part in (self._store, self._generator if by_name else None):
            close = getattr(part, "close", None)
            if callable(close):
                close()

    def interrupt(self) -> None:
        """Make calls that still use a local store raise `StoreClosedError`."""
        if (store := as_maintained(self._store)) is not None:
            store.interrupt()

    # --- the store ---------------------------------------------------------------------------

    def store(self, *, create: bool = False) -> Store | Retriever:
        """Open the store; `create` makes a local one if there is none."""
        with self._lock:
            if self._store is None:
                opened = self._open_remote()
                if isinstance(opened, str | Path):
                    opened = LocalStore(Path(opened), create=create)
                    if (missing := opened.missing_writes()) is not None:
                        self.notice(missing)
                self._store = opened
            return self._store

    @property
    def opened_store(self) -> Store | Retriever | None:
        """The store, if it is open."""
        return self._store

    def writable(self, *, create: bool = False) -> Store:
        """Open a store that can be written to; raises `ConfigError` for a retriever."""
        store = self.store(create=create)
        if not isinstance(store, Store):
            raise ConfigError(
                f"store {self._given_store!r} can only be searched; this needs a folder or an "
                "index that ragkit made"
            )
        return store

    def maintained(self) -> Maintained:
        """Open a local store; raises `ConfigError` for any other."""
        store = as_maintained(self.store())
        if store is None:
            raise ConfigError("this needs a local store, a folder")
        return store

    def exists(self) -> bool:
        """Whether there is a store to open."""
        if self._store is not None or has_store(self.path):
            return True
        return not isinstance(self._open_remote(), str | Path)

    @property
    def path(self) -> Path:
        """The store's name as a path; meaningful only for a folder."""
        return Path(str(self._given_store))

    @property
    def is_local(self) -> bool:
        """Whether the store is a folder on this machine, whether or not it exists yet."""
        with self._lock:
            store = self._store or self._given_store
            # The protocol comes last: it is checked member by member, for each receipt.
            return isinstance(store, LocalStore | str | Path | Maintained)

    def folder(self) -> Path:
        """Return the store's folder, which need not exist; `ConfigError` for other stores."""
        store = self._store or self._open_remote()
        if isinstance(store, Maintained):
            return store.folder
        if not isinstance(store, str | Path):
            raise ConfigError("this needs a local store, a folder")
        return Path(store)

    def _open_remote(self) -> Store | Retriever | str | Path:
        """Open a store whose name has a kind (`kind:…`); return anything else as it is."""
        given = self._given_store
        if not isinstance(given, str) or ":" not in given:
            return given
        return open_store(given, self.settings.store_options) or given

    # --- the models --------------------------------------------------------------------------

    def embedder(self) -> Embedder | None:
        """Open the embedder asked for, or the store's; None if there are no vectors."""
        with self._lock:
            if not self._embedder_is_open:
                given = self.given_embedder
                if given is not None and not isinstance(given, str):
                    self._embedder = given
                else:
                    self._embedder = open_embedder(
                        given or self._stored_embedder_name(),
                        n_threads=self.n_jobs,
                        options=self.settings.embedder_options,
                    )
                self._embedder_is_open = True
            return self._embedder

    @property
    def opened_embedder(self) -> Embedder | None:
        """The embedder, if it is open."""
        return self._embedder

    def forget_embedder(self) -> None:
        """Open the embedder again on next use: the store may now need another one."""
        with self._lock:
            self._embedder_is_open, self.question_embedder = False, None

    def _stored_embedder_name(self) -> str:
        if self.exists():
            store = self.store()
            settings = store.manifest().settings if isinstance(store, Store) else None
            if settings is not None:
                return settings.embedder
        return default_embedder_name()

    def generator(self) -> Generator:
        """Open the generator."""
        with self._lock:
            if self._generator is None:
                given = self._given_generator
                if given is None or isinstance(given, str):
                    settings = (
                        self.settings if given is None else replace(self.settings, generator=given)
                    )
                    self._generator = open_generator(settings)
                else:
                    self._generator = given
            return self._generator

    @property
    def opened_generator(self) -> Generator | None:
        """The generator, if it is open."""
        return self._generator

    @property
    def generator_name(self) -> str:
        """The generator's name, whether or not it is open."""
        given = self._given_generator
        if self._generator is not None:
            return self._generator.name
        return given if isinstance(given, str) else given.name if given else self.settings.generator

    @property
    def counter(self) -> TokenCounter:
        """Counts the generator's tokens if it can, otherwise those of the built-in vocabulary."""
        return self.generator().counter or open_counter()

    @property
    def generation_options(self) -> GenerationOptions:
        """The generation options of the settings."""
        s = self.settings
        return GenerationOptions(
            max_tokens=s.max_tokens,
            temperature=s.temperature,
            top_p=s.top_p,
            top_k=s.top_k,
            stop=s.stop,
            seed=s.seed,
        )

    def place(self, *, calls_model: bool) -> Place | None:
        """Where the work of an answer was done, as far as the settings and the generator say.

        A generator that knows the Region that it calls, or the profile, knows better.
        """
        region = self.settings.region
        if region is None:
            return None
        from ragkit.regions import place_of

        if not calls_model:
            return place_of(region)
        called: object = getattr(self.generator(), "region", None)
        profile: object = getattr(self.generator(), "inference_profile", "")
        return place_of(
            called if isinstance(called, str) else region,
            profile if isinstance(profile, str) else None,
        )

    # --- ledger and notices ------------------------------------------------------------------

    def record(self, record: Mapping[str, Json], kept: Mapping[str, Json] | None = None) -> None:
        """Write a record to the ledger, if there is one, and tell whoever wants to know.

        `kept` is content that the ledger is to keep; nobody else is told it.
        """
        if self.on_record is not None:
            try:
                self.on_record(record)
            except Exception as error:
                # Whatever the error: the answer has been paid for and must be returned.
                self.notice(f"on_record failed: {type(error).__name__}: {error}")
        ledger = self.ledger()
        if ledger is None:
            return
        ledger.write(record, kept)
        if ledger.disabled_reason is not None:
            self.notice(f"the ledger is off: {ledger.disabled_reason}")

    def ledger(self) -> Ledger | None:
        """Return the ledger; None where it is off."""
        with self._lock:
            if self._ledger is None and self._ledger_place != "off":
                place = self._ledger_place
                store = as_maintained(self._store)
                if place is None and store is not None:
                    place = store.folder / "ledger.jsonl"
                    if place.is_symlink():
                        # In somebody else's store a link could point to any file of this user's.
                        self._ledger_place, place = "off", None
                        self.notice("the ledger is off: ledger.jsonl is a link; name it: --ledger")
                if place is not None:
                    from ragkit.costs.ledger import Ledger

                    part_bytes = self.settings.ledger_part_bytes
                    self._ledger = Ledger(Path(place), part_bytes=part_bytes)
            return self._ledger

    def notice(self, message: str) -> None:
        """Pass on a notice, once per message."""
        if message not in self._noticed:
            self._noticed.add(message)
            self._notify(message)


def _policy(given: str | Path | TrimPolicy | None) -> tuple[TrimPolicy | None, str | None]:
    if isinstance(given, TrimPolicy):
        return given, None
    if given is None:
        return BUILTIN_POLICY, None
    return open_policy(str(given))


def _warn(message: str) -> None:
    warnings.warn(printable_line(message), stacklevel=4)
