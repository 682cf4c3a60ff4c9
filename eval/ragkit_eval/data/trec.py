"""Runs and judgements in TREC's files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from ragkit.errors import ConfigError


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Read judgements: TREC's `query 0 document relevance`, or BEIR's TSV with its header.

    Raises:
        ConfigError: the file cannot be read, or a line is malformed; it names the line.
    """
    judged: dict[str, dict[str, int]] = {}
    for number, parts in _lines(path):
        if number == 1 and parts[0].lower().replace("_", "-") == "query-id":
            continue
        if len(parts) not in {3, 4}:
            raise ConfigError(f"{path}, line {number}: 3 or 4 columns are needed, not {len(parts)}")
        try:
            relevance = int(parts[-1])
        except ValueError:
            raise ConfigError(
                f"{path}, line {number}: relevance {parts[-1]!r}; allowed: a whole number"
            ) from None
        judged.setdefault(parts[0], {})[parts[-2]] = relevance
    return judged


def read_run(path: Path) -> dict[str, dict[str, float]]:
    """Read a TREC run: `query Q0 document rank score tag`; the rank is not used.

    Raises:
        ConfigError: the file cannot be read, a line is malformed, a score is not finite, or a
            document comes twice for one query.
    """
    run: dict[str, dict[str, float]] = {}
    for number, parts in _lines(path):
        if len(parts) not in {5, 6}:
            raise ConfigError(f"{path}, line {number}: 6 columns are needed, not {len(parts)}")
        query, document = parts[0], parts[2]
        try:
            score = float(parts[4])
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise ConfigError(f"{path}, line {number}: score {parts[4]!r}; allowed: finite numbers")
        scores = run.setdefault(query, {})
        if document in scores:
            raise ConfigError(f"{path}, line {number}: document {document!r} comes twice")
        scores[document] = score
    return run


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                # Ids may hold spaces where tabs part the columns.
                if line.strip():
                    yield number, line.strip("\r\n").split("\t" if "\t" in line else None)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
