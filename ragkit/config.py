"""Settings: defaults, then `ragkit.toml`, then `RAGKIT_*`, then flags; the last one wins."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import cast, get_args

from ragkit.errors import ConfigError
from ragkit.text.jsontext import read_json, read_toml
from ragkit.types import MOST_HITS, Json, Mode

FILE_NAME = "ragkit.toml"
ENVIRONMENT_PREFIX = "RAGKIT_"

_TABLES = {
    "store": "opensearch",
    "embedder": "bedrock",
    "reranker": "bedrock",
    "generator": "openai",
}
"""Settings with a long form as a table, and an example of its type."""

_GENERATOR_SETTINGS = frozenset(
    {"base_url", "api_key_env", "timeout", "max_tokens", "temperature", "top_p", "top_k", "stop",
     "seed", "model_billions"}
)  # fmt: skip
"""Settings of ragkit's own that may stand in the generator's table."""


MOST_TOKENS = 10**9
"""Largest number of tokens that a setting may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of a pipeline; None leaves the choice to ragkit or to the store."""

    store: str = "./kb"
    store_options: dict[str, Json] = field(default_factory=dict[str, Json])
    embedder: str | None = None
    embedder_options: dict[str, Json] = field(default_factory=dict[str, Json])
    reranker: str | None = None
    reranker_options: dict[str, Json] = field(default_factory=dict[str, Json])
    chunker: str | None = None
    chunk_tokens: int | None = None
    chunk_overlap: int | None = None
    embed_title: bool | None = None
    sentence_vectors: bool | None = None
    k: int | None = None
    mode: str | None = None
    fusion: str = "convex"
    trim: str | None = None
    trim_level: float | None = None
    refuse_below: str | None = None
    max_context_tokens: int | None = None
    max_history_tokens: int = 512
    generator: str = "extractive"
    generator_options: dict[str, Json] = field(default_factory=dict[str, Json])
    base_url: str | None = None
    api_key_env: str | None = None
    timeout: float | None = None
    template: str = "default"
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    ledger: str | None = None
    model_billions: float | None = None
    grid_g_per_kwh: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check the ranges; raises `ConfigError` naming the value and what is allowed."""
        _check_choice("mode", self.mode, get_args(Mode))
        _check_choice("fusion", self.fusion, ("convex", "rrf"))
        _check_within("k", self.k, 1, MOST_HITS)
        for name in ("max_context_tokens", "max_tokens", "top_k"):
            _check_within(name, getattr(self, name), 1, MOST_TOKENS)
        # A store whose chunker is of another kind says 0 chunk tokens.
        for name in ("chunk_tokens", "chunk_overlap", "max_history_tokens"):
            _check_within(name, getattr(self, name), 0, MOST_TOKENS)
        # What servers and random generators take: 64 bits, with a sign.
        _check_within("seed", self.seed, -(2**63), 2**63 - 1)
        _check_within("trim_level", self.trim_level, 0.0, 1.0)
        _check_within("temperature", self.temperature, 0.0, 100.0)
        _check_within("top_p", self.top_p, 0.0, 1.0)
        for name, unit in (("timeout", " seconds"), ("model_billions", "")):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < math.inf:
                raise ConfigError(f"{name} {value}; allowed: more than 0{unit}")
        if self.refuse_below is not None and self.refuse_below != "off":
            _check_within("refuse_below", _number("refuse_below", self.refuse_below), 0.0, 1.0)
        if self.grid_g_per_kwh and len(self.grid_g_per_kwh) != 3:
            raise ConfigError("grid_g_per_kwh takes three numbers: low, mid, high")
        for value in self.grid_g_per_kwh:
            if not 0.0 <= value < math.inf:
                raise ConfigError(f"grid_g_per_kwh {value}; allowed: 0 or more")


def load_settings(
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Settings:
    """Join settings from all places.

    Args:
        file: A settings file; it must exist. Without one, `ragkit.toml` in the working folder is
            read where it exists.
        environment: `RAGKIT_STORE`, `RAGKIT_CHUNK_TOKENS` and so on.
        flags: Values by setting name; None means not given.

    Raises:
        ConfigError: a setting is unknown, or has a value that is not allowed.
    """
    values: dict[str, object] = {}
    path = file or Path(FILE_NAME)
    if file is not None or path.exists():
        values.update(_read_toml(path))
    names = {f.name for f in fields(Settings)}
    for key, text in (environment or {}).items():
        name = key.removeprefix(ENVIRONMENT_PREFIX).lower()
        if key.startswith(ENVIRONMENT_PREFIX) and name in names:
            values[name] = _from_text(name, text)
    values.update({key: value for key, value in (flags or {}).items() if value is not None})
    return with_values(Settings(), values)


def with_values(settings: Settings, values: Mapping[str, object]) -> Settings:
    """Return settings with some values changed, each checked for its kind."""
    names = {f.name for f in fields(Settings)}
    checked: dict[str, object] = {}
    for name, value in values.items():
        if name not in names:
            raise ConfigError(f"unknown setting {name!r}; allowed: {' '.join(sorted(names))}")
        checked[name] = _checked(name, value)
    return replace(settings, **checked)  # type: ignore[arg-type]


def _read_toml(path: Path) -> dict[str, object]:
    try:
        data = read_toml(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"settings file {path} cannot be read: {error}") from error
    values: dict[str, object] = {}
    for name, value in data.items():
        if isinstance(value, dict) and name in _TABLES:
            values.update(_from_table(name, cast("dict[str, object]", value)))
        else:
            values[name] = value
    return values


def _from_table(name: str, table: Mapping[str, object]) -> dict[str, object]:
    """Turn `[generator] type, model, …` into the shorthand and its settings.

    What is no setting of ragkit's own goes to the connector, which knows its names.
    """
    kind = table.get("type")
    if not isinstance(kind, str):
        raise ConfigError(f'[{name}] needs type, for example type = "{_TABLES[name]}"')
    rest = {key: value for key, value in table.items() if key not in {"type", "model", "name"}}
    own = {key: rest.pop(key) for key in _GENERATOR_SETTINGS & rest.keys() if name == "generator"}
    model = table.get("model", table.get("name"))
    options = {f"{name}_options": rest} if rest else {}
    return {name: kind if model is None else f"{kind}:{model}", **own, **options}


def _type_of(name: str) -> str:
    return next(str(f.type) for f in fields(Settings) if f.name == name)


def _from_text(name: str, text: str) -> object:
    kind = _type_of(name)
    if kind.startswith("str"):
        return text
    if kind.startswith("bool"):
        if text.lower() not in {"true", "false", "1", "0"}:
            raise ConfigError(f"{ENVIRONMENT_PREFIX}{name.upper()}={text!r}; allowed: true false")
        return text.lower() in {"true", "1"}
    if kind.startswith("tuple"):
        parts = text.split(",") if text else []
        return tuple(parts if "str" in kind else [_number(name, part) for part in parts])
    if kind.startswith("dict"):
        return _object(name, text)
    number = _number(name, text)
    if kind.startswith("int") and number.is_integer():
        return int(text) if text.lstrip("+-").isdecimal() else int(number)
    return number


def _checked(name: str, value: object) -> object:
    kind = _type_of(name)
    if isinstance(value, list):
        items = tuple(cast("list[object]", value))
        return _items(name, kind, items) if kind.startswith("tuple") else _checked(name, str(items))
    if kind.startswith("float") and isinstance(value, int) and not isinstance(value, bool):
        value = _number(name, value)
    if name == "refuse_below" and isinstance(value, int | float):
        value = str(value)
    expected = {"str": str, "int": int, "bool": bool, "float": float, "tuple": tuple, "dict": dict}
    wanted = expected[kind.split("[")[0].split(" ")[0]]
    optional = kind.endswith("| None")
    if value is None and optional:
        return None
    if not _is_a(value, wanted):
        raise ConfigError(f"{name} {value!r}; allowed: {json.dumps(kind)[1:-1]}")
    return value


def _items(name: str, kind: str, items: tuple[object, ...]) -> tuple[object, ...]:
    wanted = str if kind.startswith("tuple[str") else (int, float)
    for item in items:
        if isinstance(item, bool) or not isinstance(item, wanted):
            what = "text" if wanted is str else "numbers"
            raise ConfigError(f"{name} {item!r}; allowed: a list of {what}")
    return items if wanted is str else tuple(_number(name, item) for item in items)


def _object(name: str, text: str) -> object:
    try:
        return read_json(text)
    except ValueError as error:
        raise ConfigError(f"{name} {text!r}; allowed: a JSON object ({error})") from None


def _is_a(value: object, kind: type) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _number(name: str, value: object) -> float:
    try:
        number = float(cast("float | str", value))
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{name} {value!r}; allowed: a finite number")
    return number


def _check_choice(name: str, value: str | None, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise ConfigError(f"{name} {value!r}; allowed: {' '.join(allowed)}")


def _check_within(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        shown = [f"{x:,}" if isinstance(x, int) else f"{x:g}" for x in (low, high)]
        raise ConfigError(f"{name} {value}; allowed: {' to '.join(shown)}")
