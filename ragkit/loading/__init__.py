"""Loaders and sources: from files, standard input and records to documents."""

from __future__ import annotations

from ragkit.loading.formats import LOADERS, Loader, find_loader, load_bytes
from ragkit.loading.loaded import LoadedText
from ragkit.loading.sources import FileSource, Labels, StdinSource, open_source, record_documents

__all__ = [
    "LOADERS",
    "FileSource",
    "Labels",
    "LoadedText",
    "Loader",
    "StdinSource",
    "find_loader",
    "load_bytes",
    "open_source",
    "record_documents",
]
