"""Settings: defaults, then settings files, then `RAGKIT_*`, then flags; the last one wins.

The files are the `ragkit.toml` in the user's own folder and the one in the working folder, of which
only harmless or trusted settings apply (`ragkit.trust`). A file that is named replaces both.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ragkit.errors import ConfigError
from ragkit.ingest_rules import IngestRule, read_rules
from ragkit.narrowing import is_array, is_object
from ragkit.profiles import PROFILES
from ragkit.text.jsontext import read_json, read_toml
from ragkit.types import MOST_HITS, Json, Mode, Placement

if TYPE_CHECKING:
    from ragkit.trust import Sensitive

FILE_NAME = "ragkit.toml"
ENVIRONMENT_PREFIX = "RAGKIT_"
FILE_VARIABLE = "RAGKIT_CONFIG"

_TABLES = {
    "store": "opensearch",
    "embedder": "bedrock",
    "reranker": "bedrock",
    "generator": "openai",
}
"""Settings that may be given as a table, each with an example of its type."""

_GENERATOR_SETTINGS = frozenset(
    {"base_url", "api_key_env", "timeout", "total_timeout", "max_tokens", "temperature", "top_p",
     "top_k", "stop", "seed", "model_billions"}
)  # fmt: skip
"""Settings of ragkit's own that the generator's table may contain."""

MOST_TOKENS = 10**9
"""Largest number of tokens in a setting."""


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
    sentence_vector_kind: str | None = None
    k: int | None = None
    mode: str | None = None
    fusion: str = "convex"
    trim: str | None = None
    trim_level: float | None = None
    refuse_below: str | None = None
    max_context_tokens: int | None = None
    placement: str = "document"
    rewrite: str = "off"
    max_history_tokens: int = 512
    generator: str = "extractive"
    generator_options: dict[str, Json] = field(default_factory=dict[str, Json])
    base_url: str | None = None
    api_key_env: str | None = None
    timeout: float | None = None
    total_timeout: float | None = None
    template: str = "default"
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    ledger: str | None = None
    keep_question: bool = False
    ledger_part_bytes: int = 2**26
    ingest_rules: tuple[IngestRule, ...] = ()
    model_billions: float | None = None
    model_cards: str | None = None
    grid_g_per_kwh: tuple[float, ...] = ()
    hosting_watts: tuple[float, ...] = ()
    hosting_share: float = 1.0
    region: str | None = None
    profile: str | None = None

    def __post_init__(self) -> None:
        """Check the ranges; raises `ConfigError` naming the value and what is allowed."""
        _check_choice("mode", self.mode, get_args(Mode))
        _check_choice("fusion", self.fusion, ("convex", "rrf"))
        _check_choice("placement", self.placement, get_args(Placement))
        _check_choice("rewrite", self.rewrite, ("off", "generator"))
        _check_choice("profile", self.profile, tuple(PROFILES))
        _check_within("k", self.k, 1, MOST_HITS)
        for name in ("max_context_tokens", "max_tokens", "top_k"):
            _check_within(name, getattr(self, name), 1, MOST_TOKENS)
        # 0 stands for the chunk tokens of a store with a custom chunker.
        for name in ("chunk_tokens", "chunk_overlap", "max_history_tokens"):
            _check_within(name, getattr(self, name), 0, MOST_TOKENS)
        # Servers and random generators take signed 64-bit seeds.
        _check_within("seed", self.seed, -(2**63), 2**63 - 1)
        # 0 is no limit. Small parts would be many files, and a stranger may have set this.
        least = 2**16 if self.ledger_part_bytes else 0
        _check_within("ledger_part_bytes", self.ledger_part_bytes, least, 2**53)
        _check_within("trim_level", self.trim_level, 0.0, 1.0)
        _check_within("temperature", self.temperature, 0.0, 100.0)
        _check_within("top_p", self.top_p, 0.0, 1.0)
        for name, unit in (
            ("timeout", " seconds"),
            ("total_timeout", " seconds"),
            ("model_billions", ""),
        ):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < math.inf:
                raise ConfigError(f"{name} {value}; allowed: more than 0{unit}")
        if self.refuse_below is not None and self.refuse_below != "off":
            _check_within("refuse_below", _number("refuse_below", self.refuse_below), 0.0, 1.0)
        if not _are_rules(self.ingest_rules):
            raise ConfigError(f"ingest_rules: rules stand in {FILE_NAME}, each as [[ingest.rule]]")
        _check_region(self.region)
        _check_footprint(self)


def _check_footprint(settings: Settings) -> None:
    if settings.grid_g_per_kwh and len(settings.grid_g_per_kwh) != 3:
        raise ConfigError("grid_g_per_kwh takes three numbers: low, mid, high")
    if len(settings.hosting_watts) not in (0, 1, 3):
        raise ConfigError("hosting_watts takes one number, or three: low, mid, high")
    for name in ("grid_g_per_kwh", "hosting_watts"):
        for value in getattr(settings, name):
            if not 0.0 <= value < math.inf:
                raise ConfigError(f"{name} {value}; allowed: 0 or more")
    _check_within("hosting_share", settings.hosting_share, 0.0, 1.0)


def load_settings(
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Settings:
    """Combine the settings from all sources.

    Args:
        file: A settings file, which must exist; all of its settings apply. Defaults to that of
            `RAGKIT_CONFIG` in `environment`; without either, the `ragkit.toml` in the user's own
            folder and then the one in the working folder are read where they exist.
        environment: `RAGKIT_STORE`, `RAGKIT_CHUNK_TOKENS` and so on.
        flags: Values by setting name; None means not given.

    Raises:
        ConfigError: a setting is unknown or its value is not allowed, or the file in the working
            folder contains settings that need trust and have none.
    """
    environment = environment or {}
    names = {f.name for f in fields(Settings)}
    own: dict[str, object] = {}
    for key, text in environment.items():
        name = key.removeprefix(ENVIRONMENT_PREFIX).lower()
        if key.startswith(ENVIRONMENT_PREFIX) and name in names:
            own[name] = _from_text(name, text)
    own |= {key: value for key, value in (flags or {}).items() if value is not None}
    if file is None and environment.get(FILE_VARIABLE):
        file = Path(environment[FILE_VARIABLE])
    if file is not None:
        return with_values(Settings(), {**_read_toml(file), **own})
    mine, found = _read_own(), _read_found()
    settings = with_values(Settings(), {**mine, **found, **own})
    return _without_strangers(settings, found, {k: v for k, v in found.items() if k not in own})


def read_sensitive(file: Path) -> Sensitive:
    """Return the settings of a file that need trust.

    Raises:
        ConfigError: the file cannot be read, or has a setting that is unknown or not allowed.
    """
    from ragkit.trust import sensitive

    values = _read_toml(file)
    with_values(Settings(), values)
    return sensitive(values, file.absolute().parent)


def _read_own() -> dict[str, object]:
    """Read the settings file in the user's own folder; empty if there is none."""
    from ragkit.trust import check_owned, user_folder

    folder = user_folder()
    if folder is None or not os.access(folder / FILE_NAME, os.R_OK):
        return {}
    for path in (folder, folder / FILE_NAME):
        check_owned(path)
    return _read_toml(folder / FILE_NAME)


def _read_found() -> dict[str, object]:
    """Read the settings file in the working folder; empty if there is none."""
    path = Path(FILE_NAME)
    if not path.exists():
        return {}
    if not path.is_file():
        raise ConfigError(f"settings file {path} cannot be read: it is no file")
    return _read_toml(path)


def _without_strangers(
    settings: Settings, found: Mapping[str, object], counting: Mapping[str, object]
) -> Settings:
    """Return the settings, without API keys where an untrusted file could make use of them.

    Args:
        settings: The settings from all sources.
        found: The settings of the file in the working folder.
        counting: Those of `found` that no source of the user's own overrides.

    Raises:
        ConfigError: some of `counting` need trust and have none.
    """
    from ragkit.trust import is_trusted, judge, place_of, sensitive, user_folder

    file = Path(FILE_NAME)
    needing = sensitive(found, Path())
    folder = user_folder()
    is_own = folder is not None and place_of(file) == place_of(folder / FILE_NAME)
    if not needing.keys or is_own:
        return settings
    effective = {f.name: getattr(settings, f.name) for f in fields(Settings)}
    judgement = judge(counting, effective, Path())
    if not judgement.held_back and not judgement.without_keys:
        return settings
    if is_trusted(file, needing):
        return settings
    if judgement.held_back:
        raise ConfigError(_untrusted(file, judgement.held_back))
    return with_values(settings, judgement.without_keys)


def _untrusted(file: Path, held_back: list[str]) -> str:
    import shlex

    from ragkit.trust import place_of

    names = ", ".join(name if name.isprintable() else ascii(name) for name in sorted(held_back))
    place = str(place_of(file))
    shown = shlex.quote(place if place.isprintable() else str(file))
    return (
        f"{file} was found in this folder, and whoever wrote it may be a stranger; these settings "
        f"of it do not count without your trust: {names}. Look at the file, then name it "
        f"(--config FILE) or run: ragkit trust {shown}"
    )


def with_values(settings: Settings, values: Mapping[str, object]) -> Settings:
    """Return settings with some values replaced, each checked for its type."""
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
        if is_object(value) and name in _TABLES:
            values.update(_from_table(name, value))
        elif is_object(value) and name == "ingest":
            values["ingest_rules"] = read_rules(value, str(path))
        elif is_object(value) and name == "hosting":
            values.update(_from_hosting(value))
        else:
            values[name] = value
    return values


def _from_table(name: str, table: Mapping[str, object]) -> dict[str, object]:
    """Turn `[generator] type, model, …` into the shorthand and its settings.

    Keys that are no settings of ragkit's own are passed on to the connector, which checks them.
    """
    kind = table.get("type")
    if not isinstance(kind, str):
        raise ConfigError(f'[{name}] needs type, for example type = "{_TABLES[name]}"')
    rest = {key: value for key, value in table.items() if key not in {"type", "model", "name"}}
    own = {key: rest.pop(key) for key in _GENERATOR_SETTINGS & rest.keys() if name == "generator"}
    model = table.get("model", table.get("name"))
    options = {f"{name}_options": rest} if rest else {}
    return {name: kind if model is None else f"{kind}:{model}", **own, **options}


def _from_hosting(table: Mapping[str, object]) -> dict[str, object]:
    """Turn `[hosting] watts, share` into settings; a single number of watts may stand alone."""
    if unknown := sorted(table.keys() - {"watts", "share"}):
        raise ConfigError(f"unknown setting hosting.{unknown[0]}; allowed: watts share")
    values = {f"hosting_{key}": value for key, value in table.items()}
    watts = values.get("hosting_watts")
    if isinstance(watts, int | float) and not isinstance(watts, bool):
        values["hosting_watts"] = [watts]
    return values


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
    if is_array(value):
        items = tuple(value)
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
    if name == "ingest_rules":
        return items  # `Settings` checks them
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
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{name} {value!r}; allowed: a finite number")
    return number


def _are_rules(values: Iterable[object]) -> bool:
    return all(isinstance(value, IngestRule) for value in values)


def _check_choice(name: str, value: str | None, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise ConfigError(f"{name} {value!r}; allowed: {' '.join(allowed)}")


def _check_region(name: str | None) -> None:
    if name is not None:
        from ragkit.regions import find_region

        find_region(name)


def _check_within(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        shown = [f"{x:,}" if isinstance(x, int) else f"{x:g}" for x in (low, high)]
        raise ConfigError(f"{name} {value}; allowed: {' to '.join(shown)}")
