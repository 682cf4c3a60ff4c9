"""What receives the elements of an XML part of a document, however it is parsed."""

from __future__ import annotations

from ragkit.errors import LoadError

MAX_PART_BYTES = 64 * 2**20
MAX_DEPTH = 2_000
"""Depth of nested elements; Word itself writes a few dozen."""
_MAX_NAMES = 1_000
"""That are remembered."""


class XmlPart:
    """Receives a part's elements by local name; the namespaces vary, the names do not clash."""

    def __init__(self) -> None:
        self._depth = 0
        self._locals: dict[str, str] = {}

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Refuse a document type declaration."""
        raise LoadError("broken", f"it declares a document type: {name!r} {pubid!r} {system!r}")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Pass an element's start on."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise LoadError("limit", f"elements nested deeper than {MAX_DEPTH:,}")
        known = self._locals
        self.enter(
            known.get(tag) or self._local(tag),
            {known.get(name) or self._local(name): text for name, text in attributes.items()},
        )

    def end(self, tag: str) -> None:
        """Pass an element's end on."""
        self._depth -= 1
        self.leave(self._locals.get(tag) or self._local(tag))

    def _local(self, name: str) -> str:
        """Return a name without its namespace; that of an id which refers to a part is `r:id`."""
        space, _, local = name.rpartition("}")
        if space.endswith("/relationships") and "officeDocument" in space:
            local = f"r:{local}"
        if len(self._locals) < _MAX_NAMES:
            self._locals[name] = local
        return local

    def data(self, text: str) -> None:
        """Take characters."""

    def close(self) -> None:
        """End the part."""

    def enter(self, name: str, attributes: dict[str, str]) -> None:
        """Take an element's start."""

    def leave(self, name: str) -> None:
        """Take an element's end."""
