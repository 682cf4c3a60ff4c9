"""The settings that a call wants a store to be built with, and how they differ from the store's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ragkit.chunking import SpanChunker
from ragkit.errors import ConfigError
from ragkit.pipeline.opening import default_embedder_name, make_chunker
from ragkit.storage import StoreSettings, as_holding_sentences
from ragkit.types import Chunker, sentence_embedder

if TYPE_CHECKING:
    from ragkit.pipeline.parts import Parts


def chunker_for(parts: Parts, stored: StoreSettings | None, *, renew: bool = False) -> Chunker:
    """Return the chunker asked for; a store without units goes on without, unless renewed."""
    if parts.given_chunker is not None:
        return parts.given_chunker
    asked = parts.settings
    if stored is not None:
        tokens, overlap = asked.chunk_tokens, asked.chunk_overlap
        asked = replace(
            asked,
            chunker=asked.chunker or stored.chunker,
            chunk_tokens=stored.chunk_tokens if tokens is None else tokens,
            chunk_overlap=stored.chunk_overlap if overlap is None else overlap,
        )
    chunker = make_chunker(asked)
    if stored is None or renew:
        return chunker
    without_units = replace(chunker, units=False)
    has_none = without_units.fingerprint == stored.chunker_fingerprint
    return without_units if has_none else chunker


def keeps_units(chunker: Chunker) -> bool:
    """Whether a chunker keeps together what cannot be read alone."""
    return not isinstance(chunker, SpanChunker) or chunker.units


def wanted_settings(
    parts: Parts, stored: StoreSettings | None, *, renew: bool = False
) -> StoreSettings:
    """Return the settings asked for, with the store's for those that were not."""
    embedder = parts.embedder()
    chunker = chunker_for(parts, stored, renew=renew)
    ours = chunker if isinstance(chunker, SpanChunker) else None
    asked = parts.settings
    default_title = stored.embed_title if stored is not None else False
    with_sentences = _with_sentences(parts, stored, renew=renew)
    return StoreSettings(
        embedder=embedder_name(parts, stored),
        embedder_fingerprint=None if embedder is None else embedder.fingerprint,
        dim=None if embedder is None else embedder.dim,
        chunker=ours.name if ours else type(chunker).__name__,
        chunk_tokens=ours.max_tokens if ours else 0,
        chunk_overlap=ours.overlap_tokens if ours else 0,
        chunker_fingerprint=chunker.fingerprint,
        embed_title=default_title if asked.embed_title is None else asked.embed_title,
        sentence_vectors=with_sentences and embedder is not None,
        sentence_vector_kind=_kind(parts, stored) if with_sentences and embedder else None,
    )


def _with_sentences(parts: Parts, stored: StoreSettings | None, *, renew: bool) -> bool:
    """Return whether vectors of sentences are asked for, or else kept."""
    is_local = parts.is_local
    remote = None if is_local else as_holding_sentences(parts.store())
    can_ever = is_local or remote is not None
    can_now = is_local or (remote is not None and remote.can_hold_sentences())
    asked = parts.settings.sentence_vectors
    if asked and not can_ever:
        raise ConfigError("sentence_vectors true; this store cannot hold them")
    if asked is not None:
        return asked
    # A store without vectors, or without a place for those of sentences, says nothing about them.
    if stored is not None and stored.dim is not None and can_now:
        return stored.sentence_vectors
    return can_ever if renew else can_now


def _kind(parts: Parts, stored: StoreSettings | None) -> str | None:
    """Return the kind of sentence vectors: the one asked for, else the store's, else the best."""
    can = sentence_embedder(parts.embedder()) is not None
    asked = parts.settings.sentence_vector_kind
    if asked not in {None, "short", "full"}:
        raise ConfigError(f"sentence_vector_kind {asked!r}; allowed: short full")
    if asked == "short" and not can:
        raise ConfigError(
            f"sentence_vector_kind 'short'; embedder {embedder_name(parts, stored)!r} makes only "
            "full ones"
        )
    if asked is None and stored is not None and stored.sentence_vectors:
        asked = stored.sentence_vector_kind
    return "short" if can and asked != "full" else "full"


def embedder_name(parts: Parts, stored: StoreSettings | None) -> str:
    """Return the name of the embedder asked for, or of the store's."""
    given = parts.given_embedder
    if isinstance(given, str):
        return given
    if given is not None:
        # A wrapper, for example a cache, may have the name of what it wraps.
        return str(getattr(given, "name", type(given).__name__))
    return stored.embedder if stored is not None else default_embedder_name()


def difference(stored: StoreSettings, wanted: StoreSettings) -> str:
    """Return the message that names the first setting in which two differ."""
    names = ("embedder", "chunker", "chunk_tokens", "chunk_overlap", "embed_title",
             "sentence_vectors", "sentence_vector_kind", "embedder_fingerprint",
             "chunker_fingerprint")  # fmt: skip
    name = next(n for n in names if getattr(stored, n) != getattr(wanted, n))
    ours, asked = (
        settings.kind_of_sentence_vectors
        if name == "sentence_vector_kind"
        else getattr(settings, name)
        for settings in (stored, wanted)
    )
    return (
        f"the store was built with {name} {ours!r}, this call asks for {asked!r}. "
        "Change the store with: ragkit rebuild"
    )
