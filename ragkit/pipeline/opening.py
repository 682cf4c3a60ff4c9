"""Opening the parts of a pipeline by name."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from ragkit.chunking import DEFAULT_CHUNK_TOKENS, SpanChunker
from ragkit.config import Settings
from ragkit.errors import ConfigError
from ragkit.generation import ExtractiveGenerator
from ragkit.text.jsontext import read_json
from ragkit.text.wordpiece import load_wordpiece
from ragkit.trimming import REFUSE_BELOW, Scorer, TrimPolicy
from ragkit.types import (
    ChunkerName,
    Embedder,
    Generator,
    Json,
    Reranker,
    Retriever,
    TokenCounter,
)

BUILTIN_POLICY = TrimPolicy(
    name="bundled/3", keep_above=-4.0, budget_share=1.0, refuse_below=REFUSE_BELOW
)
"""The trim policy where none is given; uncertified.

-4 is the highest rank, in steps of 0.5, that kept at least 95 % of the untrimmed top 5's evidence
on each of squad11 (calibration articles), SciFact (train), hotpotqa_100 and chunking_eval, and more
than 98 % on their mean. SciFact, whose evidence is several sentences, decided it. No context is
larger than the untrimmed top 5.
"""

POLICY_KEYS = frozenset(
    {
        "schema",
        "name",
        "pool",
        "keep_above",
        "budget_tokens",
        "budget_share",
        "second_hop",
        "neighbours",
        "headings",
        "refuse_below",
        "scorer",
        "weights",
        "certificate",
    }
)
_WEIGHTS = ("cosine", "words", "window_cosine", "window_words", "chunk", "length", "best")


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
        return ExtractiveGenerator(counter=open_counter())
    given = {
        "base_url": settings.base_url,
        "api_key_env": settings.api_key_env,
        "timeout_seconds": settings.timeout,
        "total_timeout_seconds": settings.total_timeout,
    }
    options: dict[str, object] = {key: value for key, value in given.items() if value is not None}
    options |= settings.generator_options
    return cast("Generator", _connector("open_generator")(settings.generator, **options))


def open_store(name: str, options: Mapping[str, object]) -> Retriever | None:
    """Open a store by name; None for a folder.

    Raises:
        MissingExtraError: its extra is not installed.
        ConfigError: there is no store of this kind.
    """
    if not cast("tuple[str, str]", _connector("split_name")(name))[0]:
        return None
    return cast("Retriever", _connector("open_store")(name, **options))


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


def load_policy(path: str) -> tuple[TrimPolicy, str]:
    """Read a trim policy file and return it with the SHA-256 of its bytes.

    Raises:
        ConfigError: the file cannot be read, holds an unknown key, or a value out of range.
    """
    import hashlib

    try:
        raw = Path(path).read_bytes()
        data = read_json(raw)
    except (OSError, ValueError) as error:
        raise ConfigError(f"trim policy {path} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"trim policy {path} must be a JSON object")
    policy = _policy(path, cast("dict[str, object]", data))
    return policy, hashlib.sha256(raw).hexdigest()


def _policy(path: str, data: dict[str, object]) -> TrimPolicy:
    unknown = sorted(set(data) - POLICY_KEYS)
    if unknown:
        raise ConfigError(
            f"trim policy {path}: unknown key {unknown[0]!r}; allowed: {' '.join(POLICY_KEYS)}"
        )
    schema = data.get("schema", 1)
    if schema != 1 or isinstance(schema, bool):
        raise ConfigError(f"trim policy {path}: schema {schema!r}; allowed: 1")
    weights = data.get("weights", {})
    if not isinstance(weights, dict) or set(cast("dict[str, object]", weights)) - set(_WEIGHTS):
        raise ConfigError(f"trim policy {path}: weights must be an object of {' '.join(_WEIGHTS)}")
    certificate = data.get("certificate")
    if certificate is not None and not isinstance(certificate, dict):
        raise ConfigError(f"trim policy {path}: certificate must be an object")
    numbers = {
        f"{name}_weight": _number(path, name, value)
        for name, value in cast("dict[str, object]", weights).items()
    }
    # A file that gives one limit means that one alone.
    own = {"keep_above", "budget_tokens", "budget_share"} & set(data)
    none = {"keep_above": None, "budget_share": None}
    defaults = {**BUILTIN_POLICY.to_dict(), **(none if own else {})}
    given = {**defaults, **data}

    def optional(name: str) -> float | None:
        return None if given[name] is None else _number(path, name, given[name])

    tokens = optional("budget_tokens")
    return TrimPolicy(
        name=str(data.get("name", Path(path).stem)),
        pool=int(_number(path, "pool", given["pool"])),
        keep_above=optional("keep_above"),
        budget_tokens=None if tokens is None else int(tokens),
        budget_share=optional("budget_share"),
        second_hop=_number(path, "second_hop", given["second_hop"]),
        neighbours=int(_number(path, "neighbours", given["neighbours"])),
        headings=_flag(path, "headings", given["headings"]),
        refuse_below=_number(path, "refuse_below", given["refuse_below"]),
        scorer=_named_scorer(path, given["scorer"]),
        certificate=cast("dict[str, Json] | None", certificate),
        **numbers,
    )


def _named_scorer(path: str, given: object) -> Scorer | None:
    """Return the scorer that a policy names: a file beside the policy's."""
    if given is None:
        return None
    named = cast("dict[str, object]", given) if isinstance(given, dict) else {"name": given}
    name = named.get("name")
    if not isinstance(name, str) or set(named) - {"name", "sha256"}:
        raise ConfigError(f"trim policy {path}: scorer {given!r}; allowed: a file's name, or null")
    # A policy may be a stranger's: it names a file beside it, and no other on this machine.
    file = Path(path).parent / name
    is_device = file.exists() and not file.is_file()
    if Path(name).is_absolute() or ".." in Path(name).parts or is_device:
        raise ConfigError(f"trim policy {path}: scorer {name!r}; allowed: a file beside the policy")
    return load_scorer(file)


def open_scorer(name: str) -> Scorer | None:
    """Return the scorer of a file, None for `none`; raises `ConfigError`."""
    return None if name == "none" else load_scorer(Path(name))


def load_scorer(path: Path) -> Scorer:
    """Read a scorer file; it is called by its file's name.

    Raises:
        ConfigError: the file cannot be read or is no scorer.
    """
    try:
        data = read_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"scorer {path} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"scorer {path} must be a JSON object")
    return replace(Scorer.from_dict(cast("dict[str, object]", data)), name=path.name)


def _flag(path: str, name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"trim policy {path}: {name} {value!r}; allowed: true false")
    return value


def _number(path: str, name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"trim policy {path}: {name} {value!r}; allowed: a number")
    try:
        return float(value)
    except OverflowError:
        digits = f"a whole number of {len(str(value)):,} digits"
        raise ConfigError(f"trim policy {path}: {name} is {digits}; allowed: a number") from None


def _connector(function: str) -> Callable[..., object]:
    module = importlib.import_module("ragkit_connectors")
    return cast("Callable[..., object]", getattr(module, function))
