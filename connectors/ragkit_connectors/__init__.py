r"""Connectors to outside systems, opened by name; they do not import each other.

A name is `KIND:REST`, for example `openai:qwen3-8b`. A kind of one letter is a drive, not a kind:
`C:\kb` is a path. Other distributions add kinds through the entry point groups
`ragkit.generators`, `ragkit.embedders`, `ragkit.rerankers`, `ragkit.stores` and `ragkit.sources`;
the entry point's name is the kind, and its object is called with REST and the settings.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from ragkit.errors import ConfigError, MissingExtraError
from ragkit.types import Embedder, Generator, Reranker, Retriever, Source

__all__ = [
    "generator_settings",
    "is_source",
    "open_embedder",
    "open_generator",
    "open_reranker",
    "open_source",
    "open_store",
    "split_name",
]


@dataclass(frozen=True, slots=True)
class _Connector:
    """How a kind is made: `place` is its module here and its factory, `rest` what a name needs.

    `needs` is the module that `extra` installs, if any.
    """

    kind: str
    place: str
    rest: str
    needs: str | None = None
    extra: str = ""


def _by_kind(*rows: tuple[str, ...]) -> dict[str, _Connector]:
    return {row[0]: _Connector(*row) for row in rows}


_AWS = ("boto3", "aws")
_NUMPY = ("numpy", "local")

_GENERATORS = _by_kind(
    ("bedrock", "bedrock.generator:BedrockGenerator", "MODEL", *_AWS),
    ("openai", "openai:OpenAIGenerator", "MODEL"),
    ("llamacpp", "llamacpp:LlamaCppGenerator", "MODEL.gguf", "llama_cpp", "llamacpp"),
    ("ollama", "ollama:OllamaGenerator", "MODEL"),
    ("sagemaker", "sagemaker.generator:SageMakerGenerator", "ENDPOINT", *_AWS),
    (
        "transformers", "transformers:TransformersGenerator", "NAME-OR-PATH",
        "transformers", "transformers",
    ),
)  # fmt: skip
_EMBEDDERS = _by_kind(
    ("bedrock", "bedrock.embedder:BedrockEmbedder", "MODEL", *_AWS),
    ("ollama", "ollama:OllamaEmbedder", "MODEL", *_NUMPY),
    ("openai", "openai:OpenAIEmbedder", "MODEL", *_NUMPY),
    ("sagemaker", "sagemaker.embedder:SageMakerEmbedder", "ENDPOINT", *_NUMPY),
    (
        "sentence-transformers", "sentence_transformers:SentenceTransformersEmbedder",
        "NAME-OR-PATH", "sentence_transformers", "sentence-transformers",
    ),
)  # fmt: skip
_RERANKERS = _by_kind(("bedrock", "bedrock.reranker:BedrockReranker", "MODEL", *_AWS))
_STORES = _by_kind(
    ("bedrock-kb", "bedrock.knowledge_base:KnowledgeBaseRetriever", "ID", *_AWS),
    ("kendra", "kendra:KendraRetriever", "INDEX-ID", *_AWS),
    (
        "opensearch", "opensearch:open_opensearch", "https://HOST[:PORT]/INDEX",
        "opensearchpy", "opensearch",
    ),
)  # fmt: skip
_SOURCES = _by_kind(
    ("https", "website:over_https", "//HOST/PATH"),
    ("http", "website:over_http", "//HOST/PATH"),
    ("s3", "s3:S3Source", "//BUCKET/PREFIX", *_AWS),
    ("urls", "website:UrlListSource", "FILE"),
)


def open_generator(name: str, **settings: object) -> Generator:
    """Open a generator such as `openai:MODEL`; `settings` are keywords of its class.

    Raises:
        ConfigError: there is no generator of this name, or a setting cannot be used.
        MissingExtraError: its extra is not installed.
    """
    return cast("Generator", _open("generator", name, _GENERATORS, settings, "extractive"))


def open_embedder(name: str, **settings: object) -> Embedder:
    """Open an embedder such as `sentence-transformers:NAME-OR-PATH`.

    Raises:
        ConfigError: there is no embedder of this name, or a setting cannot be used.
        MissingExtraError: its extra is not installed.
        RemoteError: the model cannot be loaded.
    """
    return cast("Embedder", _open("embedder", name, _EMBEDDERS, settings, "builtin", "none"))


def open_reranker(name: str, **settings: object) -> Reranker:
    """Open a reranker such as `bedrock:MODEL`.

    Raises:
        ConfigError: there is no reranker of this name, or a setting cannot be used.
        MissingExtraError: its extra is not installed.
    """
    return cast("Reranker", _open("reranker", name, _RERANKERS, settings))


def open_store(name: str, **settings: object) -> Retriever:
    """Open a store that is not a local folder.

    Raises:
        ConfigError: there is no store of this kind, or a setting cannot be used.
        MissingExtraError: its extra is not installed.
    """
    return cast("Retriever", _open("store", name, _STORES, settings, "a folder"))


def is_source(name: str) -> bool:
    """Whether `name` is that of a source, rather than of a file or folder that is there."""
    kind = split_name(name)[0]
    is_known = kind in _SOURCES or bool(kind and _third_party("source", kind))
    return is_known and not os.path.exists(name)


def open_source(name: str, **settings: object) -> Source:
    """Open a source of documents by its `name`, such as `https://HOST/sitemap.xml`.

    Raises:
        ConfigError: there is no source of this kind, or its name cannot be used.
        MissingExtraError: its extra is not installed.
    """
    return cast("Source", _open("source", name, _SOURCES, settings, "a file or folder"))


def split_name(name: str) -> tuple[str, str]:
    """Return kind and rest of a name; the kind of a path is empty."""
    kind, colon, rest = name.partition(":")
    is_kind = bool(colon) and len(kind) > 1 and not set(kind) & {"/", "\\", "."}
    return (kind, rest) if is_kind else ("", name)


def generator_settings(name: str) -> frozenset[str]:
    """Return the names of the settings that a generator takes.

    Args:
        name: For example `openai:MODEL`; of a kind that does not exist, the result is empty.

    Raises:
        MissingExtraError: its extra is not installed.
    """
    import inspect

    kind, _ = split_name(name)
    connector = _GENERATORS.get(kind)
    factory = _factory(connector) if connector else _third_party("generator", kind)
    if factory is None:
        return frozenset()
    parameters = inspect.signature(factory).parameters.values()
    return frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)


def _open(
    what: str,
    name: str,
    known: Mapping[str, _Connector],
    settings: Mapping[str, object],
    *without_connector: str,
) -> object:
    kind, rest = split_name(name)
    connector = known.get(kind)
    if connector is None:
        factory = _third_party(what, kind) if kind else None
        if factory is None:
            allowed = [*without_connector, *(f"{k}:{c.rest}" for k, c in known.items())]
            allowed += [f"{k}:…" for k in _third_party_kinds(what)]
            raise ConfigError(f"{what} {name!r}; allowed: {', '.join(allowed) or 'none'}")
    elif not rest:
        raise ConfigError(f"{what} {name!r}; allowed: {kind}:{connector.rest}")
    else:
        factory = _factory(connector)
    _check_settings(f"{what} {kind}", factory, rest, settings)
    try:
        return factory(rest, **settings)
    except TypeError as error:
        # A settings file holds text and numbers; only the setting's range check tells which it is.
        raise ConfigError(f"{what} {kind}: a setting is of the wrong kind: {error}") from error


def _check_settings(
    what: str, factory: Callable[..., object], rest: str, settings: Mapping[str, object]
) -> None:
    import inspect

    signature = inspect.signature(factory)
    try:
        signature.bind(rest, **settings)
    except TypeError as error:
        takes = [name for name, p in signature.parameters.items() if p.kind is p.KEYWORD_ONLY]
        raise ConfigError(f"{what}: {error}; its settings: {' '.join(takes)}") from error


def _factory(connector: _Connector) -> Callable[..., object]:
    if connector.needs and importlib.util.find_spec(connector.needs) is None:
        raise MissingExtraError(connector.needs.replace("_", "-"), extra=connector.extra)
    module, _, name = connector.place.partition(":")
    factory: Callable[..., object] = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    return factory


def _third_party(what: str, kind: str) -> Callable[..., object] | None:
    import importlib.metadata

    found = tuple(importlib.metadata.entry_points(group=f"ragkit.{what}s", name=kind))
    if not found:
        return None
    try:
        factory: Callable[..., object] = found[0].load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{what} kind {kind!r} is registered as {found[0].value}, which cannot be imported: "
            f"{error}"
        ) from error
    return factory


def _third_party_kinds(what: str) -> list[str]:
    import importlib.metadata

    return sorted(
        {entry.name for entry in importlib.metadata.entry_points(group=f"ragkit.{what}s")}
    )
