"""Which rule of the settings applies to a file, and with what effect (`ragkit.ingest_rules`)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import quote

from ragkit.errors import ConfigError
from ragkit.ingest_rules import IngestRule, RuledFile
from ragkit.loading.formats import LOADERS, Loader
from ragkit.loading.ignoring import matches
from ragkit.loading.records import Labels

_FOLDER_PAGES = frozenset({"index", "readme"})
"""Names of the page that a site shows for a folder."""

_NO_RULE = IngestRule(glob="**")


class Rules:
    """The rules of a call.

    Args:
        rules: The first that matches a file applies.
        labels: Of the call: they apply where the rule says nothing.

    Raises:
        ConfigError: a rule names a loader that does not exist.
    """

    def __init__(self, rules: Sequence[IngestRule], labels: Labels) -> None:
        self._rules = [(rule, _parts(rule.glob)) for rule in rules]
        self._labels = labels
        self._loaders = {loader.name: loader for loader in LOADERS.values()}
        for rule in rules:
            if rule.loader is not None and rule.loader not in self._loaders:
                allowed = ", ".join(sorted(self._loaders))
                raise ConfigError(f"{rule.where}: loader {rule.loader!r}; allowed: {allowed}")

    def find(self, path: str) -> Ruled:
        """Return what applies to the file at this path, relative to the root."""
        if not self._rules:
            return Ruled(path, None, _NO_RULE, self._labels, None)
        parts = _parts(path)
        for number, (rule, pattern) in enumerate(self._rules, start=1):
            if matches(pattern, parts):
                return Ruled(path, number, rule, self._labels, self._loaders.get(rule.loader or ""))
        return Ruled(path, None, _NO_RULE, self._labels, None)

    def __bool__(self) -> bool:
        return bool(self._rules)


class Ruled:
    """What applies to one file."""

    def __init__(
        self, path: str, number: int | None, rule: IngestRule, labels: Labels, loader: Loader | None
    ) -> None:
        self._path = path
        self._number = number
        self._rule = rule
        self.skip = rule.skip
        self.where = rule.where
        self.loader = loader
        self.record_labels = labels
        if rule.groups or rule.metadata:
            self.record_labels = Labels(
                groups=rule.groups or labels.groups, metadata={**labels.metadata, **rule.metadata}
            )

    @property
    def labels(self) -> Labels:
        """Labels of the file as one document, with its address; records have none."""
        url = self._rule.url
        if url is None:
            return self.record_labels
        address = _address(url, self._path)
        return Labels(
            groups=self.record_labels.groups,
            metadata={**self.record_labels.metadata, "url": address},
        )

    def shown(self, source: str) -> RuledFile:
        """Return the file's row in the table of a dry run."""
        return RuledFile(
            document_id=self._path,
            source=source,
            rule=self._number,
            groups=() if self.skip else self.record_labels.groups,
            skip=self.skip,
        )


def _address(url: str, path: str) -> str:
    """Return what a rule makes of a path: `{page}` has neither suffix nor a last part `index`."""
    stem = path.removesuffix(PurePosixPath(path).suffix)
    folder, _, name = stem.rpartition("/")
    page = folder if name.lower() in _FOLDER_PAGES else stem
    values = {"{path}": path, "{stem}": stem, "{page}": page}
    if not any(field in url for field in values):
        return url + quote(path)
    made = re.sub(r"\{(?:path|stem|page)\}", lambda field: quote(values[field[0]]), url)
    # Of the front page, nothing is left between two slashes.
    return made if page else re.sub(r"(?<=[^:/])//+", "/", made)


def _parts(path: str) -> tuple[str, ...]:
    # Some file systems decompose accents, and a rule that fails to match exposes a file to others.
    return tuple(unicodedata.normalize("NFC", path).split("/"))
