"""Whether the certificate of a trim policy applies to this pipeline and store."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, cast

from ragkit.pipeline.answers import TrimUse
from ragkit.pipeline.opening import has_numpy
from ragkit.storage import Maintained, Store
from ragkit.trimming.certificate import (
    MAX_CORPUS_CHANGE,
    is_of_answers,
    is_stale,
    why_void,
    why_void_for_pool,
)
from ragkit.types import Json, Mode, embeds_like, fingerprint_of

if TYPE_CHECKING:
    from ragkit.pipeline.parts import Parts
    from ragkit.storage import StoreSettings
    from ragkit.trimming import Certificate, TrimPolicy

SKETCH_IDS = 128
"""Chunk ids kept to estimate how much a corpus has changed; the error is about 4 points."""

SKETCH_SECONDS = 60
"""How long a certificate's state is cached for a store that does not count its writes."""

_APPLIED = ("k", "mode", "fusion", "trim_level", "refuse_below", "max_context_tokens",
            "placement", "rewrite", "max_tokens", "temperature", "top_p", "top_k",
            "seed")  # fmt: skip


def applied(parts: Parts) -> dict[str, Json]:
    """Return what determines answers, except the store's content and the models' own settings."""
    store = parts.store()
    settings = store.manifest().settings if isinstance(store, Store) else None
    counts = store.vector_counts() if isinstance(store, Maintained) else None
    template, policy = parts.template, parts.policy
    return {
        "store": None if settings is None else _as_asked(parts, settings),
        # Chunks get their vectors without changing their ids.
        **({"chunks_without_vectors": counts.n_missing} if counts and counts.n_missing else {}),
        "retriever": type(store).__name__,
        "retriever_fingerprint": fingerprint_of(store),
        "reranker": None if parts.reranker is None else type(parts.reranker).__name__,
        "reranker_fingerprint": fingerprint_of(parts.reranker),
        "template": f"{template.id}@{template.version}",
        "template_sha256": template.sha256,
        "template_tokens": template.overhead_tokens(parts.counter),
        "generator": parts.generator().name,
        "counter": parts.counter.name,
        "trim": None if policy is None else policy.to_dict(),
        "trim_sha256": parts.policy_sha256,
        **{name: cast("Json", getattr(parts.settings, name)) for name in _APPLIED},
        "stop": list(parts.settings.stop),
    }


def _as_asked(parts: Parts, settings: StoreSettings) -> dict[str, Json]:
    """Return a store's settings; where its weights were others, with what embeds questions now."""
    described: dict[str, Json] = dict(asdict(settings))
    embeds = settings.embedder == "builtin" and parts.settings.mode != "lexical" and has_numpy()
    embedder = parts.embedder() if embeds else None
    if embedder is not None and embeds_like(embedder, settings.embedder_fingerprint):
        described["embedder_fingerprint"] = embedder.fingerprint
    return described


def configuration(parts: Parts) -> dict[str, Json]:
    """Return what `RAG.configuration` returns."""
    store = parts.store()
    return {
        "chunks_sha256": store.chunks_sha256() if isinstance(store, Store) else None,
        **applied(parts),
        "embedder_fingerprint": _embedder_fingerprint(parts),
        "generator_fingerprint": fingerprint_of(parts.generator()),
    }


def _embedder_fingerprint(parts: Parts) -> str | None:
    """Return the fingerprint of what embeds questions; None if nothing does."""
    if parts.settings.mode == "lexical" or not has_numpy():
        return None
    store = parts.store()
    if isinstance(store, Store):
        settings = store.manifest().settings
        has_vectors = settings is not None and settings.dim is not None
    else:
        has_vectors = parts.given_embedder is not None
    return fingerprint_of(parts.embedder()) if has_vectors else None


def corpus_sketch(parts: Parts) -> dict[str, Json]:
    """Return the number of chunks and their smallest ids, by which change is detected later."""
    store = parts.store()
    if not isinstance(store, Store):
        return {"chunks": 0, "smallest_ids": []}
    n_chunks, ids = store.chunk_sketch(SKETCH_IDS)
    return {"chunks": n_chunks, "smallest_ids": list(ids)}


class Certification:
    """The state of a certificate, determined once per revision of the store and mode."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._states: dict[tuple[int, Mode], tuple[str | None, bool]] = {}

    def trim_use(self, revision: int | None, mode: Mode, k: int) -> TrimUse | None:
        """Return how the policy applies to an answer; give notice if it is not certified.

        Args:
            revision: The store's; None if it does not count its writes.
            mode: How the question was searched.
            k: How many chunks were trimmed.
        """
        parts = self._parts
        policy = parts.policy
        if policy is None:
            return None
        if policy.certificate is None:
            return TrimUse(name=policy.name, sha256=parts.policy_sha256)
        void, stale = self._state(policy, policy.certificate, revision, mode)
        void = void or why_void_for_pool(policy, k)
        holds, promise = void is None and not stale, policy.certificate.promise
        if void is not None:
            broken = "is not certified" if promise is None else "keeps no promise"
            parts.notice(f"trim policy {policy.name!r} {broken} here: {void}")
        elif stale:
            what = "certificate" if promise is None else "promise"
            parts.notice(
                f"the {what} of trim policy {policy.name!r} is stale: more than "
                f"{MAX_CORPUS_CHANGE:.0%} of the chunks have changed; run ragkit calibrate again"
            )
        return TrimUse(
            name=policy.name,
            sha256=parts.policy_sha256,
            certified=holds and promise is None,
            stale=stale,
            void_because=void,
            promise=promise if holds else None,
        )

    def _state(
        self, policy: TrimPolicy, certificate: Certificate, revision: int | None, mode: Mode
    ) -> tuple[str | None, bool]:
        """Return why the certificate is void, and whether it is stale."""
        if revision is None:
            # The certificate is checked again from time to time.
            revision = int(time.monotonic() // SKETCH_SECONDS)
        key = (revision, mode)
        if key not in self._states:
            void = self._why_void(policy, certificate, mode)
            stale = void is None and is_stale(certificate, corpus_sketch(self._parts))
            self._states = {
                known: state for known, state in self._states.items() if known[0] == revision
            } | {key: (void, stale)}
        return self._states[key]

    def _why_void(self, policy: TrimPolicy, certificate: Certificate, mode: Mode) -> str | None:
        now: Mapping[str, Json] = {**applied(self._parts), "mode": mode}
        if is_of_answers(certificate):
            # Computing it may mean reading a large file.
            now = {**now, "generator_fingerprint": fingerprint_of(self._parts.generator())}
        settings = self._parts.settings
        return why_void(
            certificate,
            now,
            policy,
            level=settings.trim_level,
            max_context_tokens=settings.max_context_tokens,
        )
