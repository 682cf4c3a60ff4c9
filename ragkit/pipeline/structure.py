"""The structure of documents that were stored before it was kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath

from ragkit.loading.formats import LOADERS, Loader
from ragkit.types import Document

_AS_IN_THE_FILE = frozenset({"text", "markdown", "rst"})
"""Loaders that keep a file's text as it is, so that it can be read again from the store."""

_CONVERTED = frozenset(
    {"html", "csv", "json", "pdf", "docx", "pptx", "xlsx", "odt", "odp", "ods", "rtf"}
)
"""Loaders that know a structure which their text does not show."""


def with_structure(document: Document) -> Document:
    """Return a stored document with the parts that its text shows, by its source's suffix."""
    loader = _loader(document)
    if loader is None or loader.name not in _AS_IN_THE_FILE:
        return document
    loaded = loader.load(document.text.encode("utf-8"))
    if loaded.text != document.text:
        return document
    return replace(document, marks=loaded.marks, parts=loaded.parts)


def is_converted(document: Document) -> bool:
    """Whether only the source shows a document's structure."""
    loader = _loader(document)
    return loader is not None and loader.name in _CONVERTED


def _loader(document: Document) -> Loader | None:
    return LOADERS.get(PurePath(document.source).suffix.lower())
