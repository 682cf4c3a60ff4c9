"""The index behind a store's name: looked up, made, protected, and replaced in one step."""

from __future__ import annotations

import re
import shlex
import time

from ragkit.errors import ConfigError, RemoteError, StoreMissingError
from ragkit.storage import StoreSettings
from ragkit.types import Json
from ragkit_connectors.opensearch import mapping
from ragkit_connectors.opensearch.connecting import Connection, path_of
from ragkit_connectors.opensearch.mapping import Index, NewIndex
from ragkit_connectors.support.json_values import record
from ragkit_connectors.support.retrying import Backoff

_MANIFEST_SECONDS = 5.0
"""How long an index's description of itself is kept; whether it is protected is part of it."""

_NUMBERED = re.compile(r"(.+)-(\d{6})")


class IndexAlias:
    """An alias and the index `NAME-000001` behind it; safe to share between threads.

    Args:
        connection: The server and the alias.
        new: How an index is made.
        fixed: Name of an index to use instead of the one behind the alias.
    """

    def __init__(self, connection: Connection, new: NewIndex, *, fixed: str | None = None) -> None:
        self._connection = connection
        self._new = new
        self._fixed = fixed
        self._known: tuple[float, Index | None] | None = None

    @property
    def name(self) -> str:
        """Address and name of the store."""
        address = self._connection.address
        return f"opensearch:{address.url}/{address.index}"

    def look(self, *, fresh: bool = False) -> Index | None:
        """Return the index, None where there is none; `fresh` asks the server in any case."""
        now = time.monotonic()
        known = self._known
        if known is not None and not fresh and now - known[0] < _MANIFEST_SECONDS:
            return known[1]
        name = self._fixed or self._connection.address.index
        answer = self._connection.call("GET", path_of(name, "_mapping"), ignore=(404,))
        index = None
        if "error" not in answer:
            if len(answer) != 1:
                raise ConfigError(
                    f"{name!r} stands for {len(answer)} indices ({', '.join(sorted(answer))}); "
                    "ragkit needs an alias of one"
                )
            concrete, told = next(iter(answer.items()))
            index = mapping.read_index(record(record(told).get("mappings")), concrete)
        self._known = (now, index)
        return index

    def need(self) -> Index:
        """Return the index; raises `StoreMissingError` where there is none."""
        index = self.look()
        if index is None:
            raise StoreMissingError(
                f"there is no index at {self.name}; make it with: ragkit ingest PATH --store "
                f"{shlex.quote(self.name)}"
            )
        return index

    def create(self, settings: StoreSettings) -> None:
        """Make the first index and the alias, unless the index exists."""
        alias = self._connection.address.index
        meta = mapping.meta(settings, self._new.vectors, protected=False, replaces=None)
        self._create(f"{alias}-000001", settings, meta, aliases={alias: {}})

    def create_fixed(self, settings: StoreSettings, old: Index) -> None:
        """Make the index of this name, without an alias, as the one to replace `old`."""
        protected = old.manifest.protected
        meta = mapping.meta(settings, self._new.vectors, protected=protected, replaces=old.name)
        self._create(self._fixed or self._connection.address.index, settings, meta)

    def _create(
        self,
        name: str,
        settings: StoreSettings,
        meta: dict[str, Json],
        *,
        aliases: Json = None,
    ) -> None:
        version = self._connection.version
        body = mapping.index_body(settings, self._new, meta, version=version)
        if aliases is not None:
            body["aliases"] = aliases
        answer = self._connection.call("PUT", path_of(name), body, ignore=(400,))
        error = record(answer.get("error"))
        # Another process may have been quicker.
        if error and error.get("type") != "resource_already_exists_exception":
            raise ConfigError(f"index {name!r} cannot be made: {error.get('reason')}")
        self._wait_for_index()

    def _wait_for_index(self) -> None:
        """Wait until the index can be seen, which takes some seconds on Serverless."""
        backoff = Backoff(time.monotonic() + self._connection.retry_seconds)
        while self.look(fresh=True) is None:
            if not backoff.wait():
                raise RemoteError(f"{self.name} was made, but does not show")

    def delete(self, name: str) -> None:
        """Delete an index, if it exists."""
        self._connection.call("DELETE", path_of(name), ignore=(404,))

    def move(self, old: Index, new: str) -> None:
        """Move the alias from one index to another in one step."""
        alias = self._connection.address.index
        if alias == old.name:
            raise ConfigError(
                f"{alias!r} is an index, not an alias, and cannot be replaced without a gap; use "
                "the alias as the store's name"
            )
        actions: list[Json] = [
            {"remove": {"index": old.name, "alias": alias}},
            {"add": {"index": new, "alias": alias}},
        ]
        self._connection.call("POST", "/_aliases", {"actions": actions})
        self._known = None

    def protect(self, index: Index) -> None:
        """Note that the store holds documents for certain groups, before the first is written."""
        if index.manifest.protected:
            return
        meta = mapping.meta(
            index.settings,
            index.vectors,
            protected=True,
            replaces=index.replaces,
            schema=index.schema,
        )
        self._connection.call("PUT", path_of(index.name, "_mapping"), {"_meta": meta})
        self.look(fresh=True)


def next_name(old: Index) -> str:
    """Return the name of the index that a rebuild writes."""
    numbered = _NUMBERED.fullmatch(old.name)
    stem, number = (numbered[1], int(numbered[2])) if numbered else (old.name, 0)
    return f"{stem}-{number + 1:06d}"
