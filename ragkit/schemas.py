"""The JSON Schemas of all outputs, which are data files of the package."""

from __future__ import annotations

import json
from pathlib import Path

from ragkit.errors import ConfigError
from ragkit.types import Json

_FOLDER = Path(__file__).parent / "data" / "schemas"


def schema_names() -> list[str]:
    """Return the names of all schemas."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def load_schema(name: str) -> dict[str, Json]:
    """Return a JSON Schema (draft 2020-12).

    Raises:
        ConfigError: there is no schema of this name.
    """
    if name not in schema_names():
        raise ConfigError(f"schema {name!r}; allowed: {' '.join(schema_names())}")
    schema: dict[str, Json] = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return schema
