"""Opening the parts of a pipeline by name."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from ragkit.chunking import DEFAULT_CHUNK_TOKENS, SpanChunker
from ragkit.config import Settings
from ragkit.profiles import PROFILES
from ragkit.text.wordpiece import load_wordpiece
from ragkit.types import (
    ChunkerName,
    Embedder,
    Generator,
    Reranker,
    Retriever,
    Source,
    TokenCounter,
)

if TYPE_CHECKING:
    from ragkit.loading.remote import Reading


def has_numpy() -> bool:
    """Whether vectors can be computed here."""
    return importlib.util.find_spec("numpy") is not None


def default_embedder_name() -> str:
    """Return `builtin` where numpy is installed, `none` otherwise."""
    return "builtin" if has_numpy() else "none"


def open_counter() -> TokenCounter:
    """Return the counter of the built-in vocabulary."""
    return load_wordpiece()


def open_embedder(
    name: str, *, n_threads: int = 1, options: Mapping[str, object] | None = None
) -> Embedder | None:
    """Open an embedder by name; None for `none`. `options` are its connector's own.

    Raises:
        MissingExtraError: its extra is not installed.
        ConfigError: there is no embedder of this name.
    """
    if name == "none":
        return None
    if name == "builtin":
        from ragkit.embedding.builtin import BuiltinEmbedder

        return BuiltinEmbedder(n_threads=n_threads)
    return cast("Embedder", _connector("open_embedder")(name, **(options or {})))


def open_generator(settings: Settings) -> Generator:
    """Open a generator by name.

    Raises:
        MissingExtraError: its extra is not installed.
        ConfigError: there is no generator of this name.
    """
    if settings.generator == "extractive":
        # Opening a store does not need it.
        from ragkit.generation import ExtractiveGenerator

        return ExtractiveGenerator(counter=open_counter())
    given = {
        "base_url": settings.base_url,
        "api_key_env": settings.api_key_env,
        "timeout_seconds": settings.timeout,
        "total_timeout_seconds": settings.total_timeout,
    }
    options: dict[str, object] = _profile_options(settings)
    options |= {key: value for key, value in given.items() if value is not None}
    options |= settings.generator_options
    return cast("Generator", _connector("open_generator")(settings.generator, **options))


def _profile_options(settings: Settings) -> dict[str, object]:
    """Return what the service profile sets, of what the generator's connector takes."""
    if settings.profile is None:
        return {}
    takes = cast("frozenset[str]", _connector("generator_settings")(settings.generator))
    options = PROFILES[settings.profile].generator_options()
    return {name: value for name, value in options.items() if name in takes}


def open_store(name: str, options: Mapping[str, object]) -> Retriever | None:
    """Open a store by name; None for a folder.

    Raises:
        MissingExtraError: its extra is not installed.
        ConfigError: there is no store of this kind.
    """
    if not cast("tuple[str, str]", _connector("split_name")(name))[0]:
        return None
    return cast("Retriever", _connector("open_store")(name, **options))


def open_source(name: str, reading: Reading) -> Source | None:
    """Open a source by name; None for a path.

    Raises:
        MissingExtraError: its extra is not installed.
        ConfigError: the name cannot be used.
    """
    if ":" not in name or not _connector("is_source")(name):
        return None
    return cast("Source", _connector("open_source")(name, reading=reading))


def open_reranker(name: str | None, options: Mapping[str, object]) -> Reranker | None:
    """Open a reranker by name; None without a name.

    Raises:
        MissingExtraError: its extra is not installed.
        ConfigError: there is no reranker of this kind.
    """
    if name is None:
        return None
    return cast("Reranker", _connector("open_reranker")(name, **options))


def make_chunker(settings: Settings) -> SpanChunker:
    """Return the chunker that the settings ask for; raises `ConfigError`."""
    return SpanChunker(
        name=cast("ChunkerName", settings.chunker or "recursive"),
        counter=open_counter(),
        max_tokens=(
            DEFAULT_CHUNK_TOKENS if settings.chunk_tokens is None else settings.chunk_tokens
        ),
        overlap_tokens=settings.chunk_overlap or 0,
    )


def _connector(function: str) -> Callable[..., object]:
    module = importlib.import_module("ragkit_connectors")
    return cast("Callable[..., object]", getattr(module, function))
