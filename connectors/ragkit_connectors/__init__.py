r"""Connectors to outside systems, opened by name; files here do not import each other.

A name is `KIND:REST`, for example `openai:qwen3-8b`. A kind of one letter is a drive, not a kind:
`C:\kb` is a path. Other distributions add kinds through the entry point groups
`ragkit.generators`, `ragkit.embedders`, `ragkit.rerankers` and `ragkit.stores`; the entry point's
name is the kind, and its object is called with REST and the settings.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from ragkit.errors import ConfigError, MissingExtraError
from ragkit.types import Embedder, Generator, Reranker, Retriever

__all__ = ["open_embedder", "open_generator", "open_reranker", "open_store", "split_name"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Connector:
    """Where a kind is made: `needs` is the module that `extra` installs, if any."""

    module: str
    factory: str
    rest: str
    needs: str | None = None
    extra: str = ""


_GENERATORS = {
    "bedrock": _Connector(
        module="ragkit_connectors.bedrock",
        factory="BedrockGenerator",
        rest="MODEL",
        needs="boto3",
        extra="aws",
    ),
    "openai": _Connector(
        module="ragkit_connectors.openai", factory="OpenAIGenerator", rest="MODEL"
    ),
    "llamacpp": _Connector(
        module="ragkit_connectors.llamacpp",
        factory="LlamaCppGenerator",
        rest="MODEL.gguf",
        needs="llama_cpp",
        extra="llamacpp",
    ),
    "ollama": _Connector(
        module="ragkit_connectors.ollama", factory="OllamaGenerator", rest="MODEL"
    ),
    "sagemaker": _Connector(
        module="ragkit_connectors.sagemaker",
        factory="SageMakerGenerator",
        rest="ENDPOINT",
        needs="boto3",
        extra="aws",
    ),
    "transformers": _Connector(
        module="ragkit_connectors.transformers",
        factory="TransformersGenerator",
        rest="NAME-OR-PATH",
        needs="transformers",
        extra="transformers",
    ),
}
_EMBEDDERS = {
    "bedrock": _Connector(
        module="ragkit_connectors.bedrock_embedder",
        factory="BedrockEmbedder",
        rest="MODEL",
        needs="boto3",
        extra="aws",
    ),
    "ollama": _Connector(
        module="ragkit_connectors.ollama",
        factory="OllamaEmbedder",
        rest="MODEL",
        needs="numpy",
        extra="local",
    ),
    "openai": _Connector(
        module="ragkit_connectors.openai",
        factory="OpenAIEmbedder",
        rest="MODEL",
        needs="numpy",
        extra="local",
    ),
    "sagemaker": _Connector(
        module="ragkit_connectors.sagemaker",
        factory="SageMakerEmbedder",
        rest="ENDPOINT",
        needs="numpy",
        extra="local",
    ),
    "sentence-transformers": _Connector(
        module="ragkit_connectors.sentence_transformers",
        factory="SentenceTransformersEmbedder",
        rest="NAME-OR-PATH",
        needs="sentence_transformers",
        extra="sentence-transformers",
    ),
}
_RERANKERS = {
    "bedrock": _Connector(
        module="ragkit_connectors.bedrock_reranker",
        factory="BedrockReranker",
        rest="MODEL",
        needs="boto3",
        extra="aws",
    ),
}
_STORES: dict[str, _Connector] = {
    "bedrock-kb": _Connector(
        module="ragkit_connectors.bedrock_kb",
        factory="KnowledgeBaseRetriever",
        rest="ID",
        needs="boto3",
        extra="aws",
    ),
    "kendra": _Connector(
        module="ragkit_connectors.kendra",
        factory="KendraRetriever",
        rest="INDEX-ID",
        needs="boto3",
        extra="aws",
    ),
    "opensearch": _Connector(
        module="ragkit_connectors.opensearch",
        factory="open_opensearch",
        rest="https://HOST[:PORT]/INDEX",
        needs="opensearchpy",
        extra="opensearch",
    ),
}


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


def split_name(name: str) -> tuple[str, str]:
    """Return kind and rest of a name; the kind of a path is empty."""
    kind, colon, rest = name.partition(":")
    is_kind = bool(colon) and len(kind) > 1 and not set(kind) & {"/", "\\", "."}
    return (kind, rest) if is_kind else ("", name)


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
        # Settings files know text and numbers, and which of them a setting is only its range shows.
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
    module = importlib.import_module(connector.module)
    return cast("Callable[..., object]", getattr(module, connector.factory))


def _third_party(what: str, kind: str) -> Callable[..., object] | None:
    import importlib.metadata

    found = tuple(importlib.metadata.entry_points(group=f"ragkit.{what}s", name=kind))
    if not found:
        return None
    try:
        factory: object = found[0].load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{what} kind {kind!r} is registered as {found[0].value}, which cannot be imported: "
            f"{error}"
        ) from error
    return cast("Callable[..., object]", factory)


def _third_party_kinds(what: str) -> list[str]:
    import importlib.metadata

    return sorted(
        {entry.name for entry in importlib.metadata.entry_points(group=f"ragkit.{what}s")}
    )
