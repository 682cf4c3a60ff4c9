"""Loaders and sources: from files, standard input and records to documents."""

from __future__ import annotations

from ragkit.loading.formats import LOADERS, Loader, find_loader, load_bytes
from ragkit.loading.loaded import LoadedText
from ragkit.loading.opening import StdinSource, open_source
from ragkit.loading.records import Labels, record_documents
from ragkit.loading.sources import FileSource, RecordSource

__all__ = [
    "LOADERS",
    "FileSource",
    "Labels",
    "LoadedText",
    "Loader",
    "RecordSource",
    "StdinSource",
    "find_loader",
    "load_bytes",
    "open_source",
    "record_documents",
]
