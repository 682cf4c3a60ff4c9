"""Rules for whole folders, `[[ingest.rule]]` of the settings: the first that matches a file holds.

A glob is matched against a file's path relative to the ingested root (`--root`, else the folder
given), which is its document's id: POSIX, whole, upper and lower case told apart. `*` stands for
any characters but `/`, `?` for one of them, `[a-c]` and `[!a-c]` for one of a set, and `**` as a
whole part for any number of folders: `hr/**` is all below `hr`, `**/*.pdf` all PDF files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from ragkit.errors import ConfigError
from ragkit.groups import group_names
from ragkit.types import Json, Metadata

_KEYS = ("glob", "groups", "metadata", "url", "loader", "skip")


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestRule:
    """What holds for the files that a glob matches; None and empty say nothing.

    Attributes:
        glob: Which files.
        groups: Who may see documents that name no groups themselves.
        metadata: Joined to each document's own.
        url: Prefix of `url` in the metadata of files that are one document each: the path follows
            it, percent-encoded, or stands in place of `{path}`; `{stem}` is the path without its
            suffix, `{page}` that without a last part `index` or `README`.
        loader: Name of what reads the files, whatever their suffix (`ragkit.loading.LOADERS`).
        skip: Leave the files out.
        where: Where the rule stands, for messages.

    Raises:
        ConfigError: a value is not allowed.
    """

    glob: str
    groups: tuple[str, ...] = ()
    metadata: Metadata = field(default_factory=dict[str, Json])
    url: str | None = None
    loader: str | None = None
    skip: bool = False
    where: str = "ingest.rule"

    def __post_init__(self) -> None:
        """Check the values; a list of groups becomes a tuple."""
        names = group_names(self.groups, f"{self.where}: groups")
        object.__setattr__(self, "groups", names)
        _check_glob(self.where, self.glob)
        for name in ("url", "loader"):
            value: object = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value):
                raise ConfigError(f"{self.where}: {name} {value!r}; allowed: a text")
        if type(self.skip) is not bool:
            raise ConfigError(f"{self.where}: skip {self.skip!r}; allowed: true false")
        _check_metadata(self.where, self.metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuledFile:
    """A file of a dry run, and what the rules make of it; `rule` counts from 1, None is no rule."""

    document_id: str
    source: str
    rule: int | None
    groups: tuple[str, ...]
    skip: bool

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "document_id": self.document_id,
            "source": self.source,
            "rule": self.rule,
            "groups": list(self.groups),
            "skip": self.skip,
        }


def read_rules(table: Mapping[str, object], where: str) -> tuple[IngestRule, ...]:
    """Return the rules of an `[ingest]` table.

    Args:
        table: `rule` is a list of tables.
        where: The file, for messages.

    Raises:
        ConfigError: a key is unknown or a value is not allowed; it names file, rule and choices.
    """
    _check_keys(f"{where}, [ingest]", table, ("rule",))
    rules = table.get("rule", [])
    if not isinstance(rules, list) or not all(
        isinstance(r, dict) for r in cast("list[object]", rules)
    ):
        raise ConfigError(f"{where}: ingest.rule; allowed: tables, each headed [[ingest.rule]]")
    return tuple(
        _read_rule(rule, f"{where}, ingest.rule {number}")
        for number, rule in enumerate(cast("list[dict[str, object]]", rules), start=1)
    )


def _read_rule(rule: Mapping[str, object], where: str) -> IngestRule:
    _check_keys(where, rule, _KEYS)
    if "glob" not in rule:
        raise ConfigError(f'{where} needs a glob, for example glob = "hr/**"')
    if rule.get("groups") == []:
        # Read as no statement, it would show the files to everyone.
        raise ConfigError(f"{where}: groups are empty; name one, or leave the key out")
    return IngestRule(**rule, where=where)  # type: ignore[arg-type]


def _check_keys(where: str, table: Mapping[str, object], allowed: Sequence[str]) -> None:
    unknown = sorted(set(table) - set(allowed))
    if unknown:
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; allowed: {' '.join(allowed)}")


def _check_glob(where: str, glob: object) -> None:
    parts = glob.split("/") if isinstance(glob, str) else [""]
    if any(part in {"", ".", ".."} for part in parts):
        raise ConfigError(
            f"{where}: glob {glob!r}; allowed: a path relative to the ingested folder, such as "
            "hr/** or **/*.pdf"
        )


def _check_metadata(where: str, metadata: object) -> None:
    if not isinstance(metadata, Mapping):
        raise ConfigError(f"{where}: metadata {metadata!r}; allowed: a table")
    try:
        json.dumps(dict(cast("Metadata", metadata)), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: metadata; allowed: what JSON can say ({error})") from None
