"""Which terms the full-text index holds."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable

from ragkit.text.words import fts5_match

_IN_ANY = "SELECT 1 FROM words WHERE words MATCH ? LIMIT 1"
_IN_THESE = """
SELECT 1 FROM words JOIN chunk ON chunk.row = words.rowid
WHERE words MATCH ? AND chunk.document IN (SELECT value FROM json_each(?)) LIMIT 1"""


def held_terms(
    connection: sqlite3.Connection, terms: Iterable[str], documents: Collection[int] | None
) -> set[str]:
    """Return which of some terms occur, in any document or in those of these rows."""
    inside = () if documents is None else (json.dumps(sorted(documents)),)
    known: set[str] = set()
    for term in terms:
        match = fts5_match([term])
        statement = _IN_ANY if documents is None else _IN_THESE
        if match and connection.execute(statement, (match, *inside)).fetchone():
            known.add(term)
    return known
