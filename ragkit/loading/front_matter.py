"""The metadata above a Markdown text: TOML, or the part of YAML that it is written in."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from math import isfinite
from typing import cast

from ragkit.loading.loaded import whole_characters
from ragkit.types import Json

_FRONT_MATTER = re.compile(r"---[ \t]*+\n(.*?)\n(?:---|\.\.\.)[ \t]*+(?:\n|\Z)", re.DOTALL)
_TOML = re.compile(r"\+\+\+[ \t]*+\n(.*?)\n\+\+\+[ \t]*+(?:\n|\Z)", re.DOTALL)
_ENTRY = re.compile(r"([\w-]++)[ \t]*+:(?:[ \t]++(.*))?$")
_ITEM = re.compile(r"[ \t]*+-[ \t]++(.*)$")
_FOLDED = re.compile(r"[>|][-+]?$")
_LISTED = re.compile(r"\"[^\"]*+\"|'[^']*+'|[^,\s\"'][^,]*+")
_SCALAR_IN_QUOTES = re.compile(r"(\"(?:[^\"\\]++|\\.)*+\"|'(?:[^']++|'')*+')(?:\s++#|\Z)")
_ESCAPED = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|(.))")
_SPACES = frozenset("ntr0 _")
_WHOLE_NUMBER = re.compile(r"[-+]?(?:0|[1-9]\d{0,14})")
_DECIMAL = re.compile(r"[-+]?\d{1,15}\.\d{1,15}")


def front_matter(text: str) -> tuple[int, dict[str, Json]]:
    """Return where the body starts, and the entries above it that are not nested.

    Numbers, true and false, and lists (`[a, b]`, or a line `- a` for each item) are such; dates and
    all else are text, folded text (`>`, `|`) as one line. An entry without a value is left out.
    """
    front = _FRONT_MATTER.match(text)
    if front is None:
        toml = _TOML.match(text)
        return (0, {}) if toml is None else _of_toml(toml)
    metadata: dict[str, Json] = {}
    for key, value, below in _entries(front[1]):
        found = _value(value, below)
        if found is not None:
            metadata[key] = found
    return front.end(), metadata


def _of_toml(front: re.Match[str]) -> tuple[int, dict[str, Json]]:
    try:
        found: dict[str, object] = tomllib.loads(front[1])
    except (ValueError, RecursionError):  # It may as well be the text's own.
        return 0, {}
    metadata: dict[str, Json] = {}
    for key, value in found.items():
        some = cast("list[object]", value) if isinstance(value, list) else [value]
        if not any(isinstance(one, list | dict) for one in some):
            known = [_json_of(one) for one in some]
            metadata[key] = known if isinstance(value, list) else known[0]
    return front.end(), metadata


def _json_of(value: object) -> Json:
    if isinstance(value, str | int) or (isinstance(value, float) and isfinite(value)):
        return value
    return str(value)


def _entries(front: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield each name with what follows it on its line, and the lines below that belong to it."""
    key, value, below = "", "", list[str]()
    for line in front.splitlines():
        entry = _ENTRY.match(line)
        if entry is None:
            below.append(line)
            continue
        if key:
            yield key, value, below
        key, value, below = entry[1], (entry[2] or "").strip(), []
    if key:
        yield key, value, below


def _value(value: str, below: list[str]) -> Json:
    """Return what an entry says; None if that is nothing, or more than is read here."""
    if _FOLDED.match(value):
        return " ".join(" ".join(below).split()) or None
    if not value or value.startswith("#"):
        items = [item[1] for line in below if (item := _ITEM.match(line))]
        if any(_ENTRY.match(item) for item in items):
            return None
        return [found for item in items if (found := _scalar(item)) is not None] or None
    if value[0] == "[" and (bare := _uncommented(value))[-1:] == "]":
        items = _LISTED.findall(bare[1:-1])
        return [found for item in items if (found := _scalar(item)) is not None]
    return _scalar(value)


def _scalar(value: str) -> str | int | float | bool | None:
    value = value.strip()
    if quoted := _SCALAR_IN_QUOTES.match(value):
        inner = quoted[1][1:-1]
        if value[0] == "'":
            return inner.replace("''", "'")
        return whole_characters(_ESCAPED.sub(_unescaped, inner))
    value = _uncommented(value).strip("\"'")
    if value.lower() in {"true", "false"}:
        return value.lower() == "true"
    if _WHOLE_NUMBER.fullmatch(value):
        return int(value)
    if _DECIMAL.fullmatch(value):
        return float(value)
    return None if value in {"", "~", "null"} else value


def _unescaped(escape: re.Match[str]) -> str:
    digits = escape[1] or escape[2]
    if digits:
        return chr(int(digits, 16))
    return " " if escape[3] in _SPACES else escape[3]


def _uncommented(value: str) -> str:
    return "" if value.startswith("#") else value.partition(" #")[0].strip()
