"""Progress of long work, on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from types import TracebackType

from ragkit.pipeline import Progress

_REDRAW_SECONDS = 0.1


class Bar:
    """Counts documents; a line that redraws itself on a terminal, JSON Lines when asked.

    Args:
        style: `auto` draws on a terminal only, `json` prints each document, `off` nothing.
    """

    def __init__(self, style: str) -> None:
        self._json = style == "json"
        self._draws = style == "auto" and sys.stderr.isatty()
        self._counts = Counter[str]()
        self._began = time.monotonic()
        self._drawn = 0.0

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._draws and self._counts:
            self._draw()
            print(file=sys.stderr)

    def advance(self, progress: Progress) -> None:
        """Note that a document is done."""
        if self._json:
            line = {"document_id": progress.document_id, "status": progress.status}
            # In one call: an interruption must not leave half of an acknowledgement.
            sys.stderr.write(json.dumps(line, ensure_ascii=False) + "\n")
            sys.stderr.flush()
            return
        self._counts[progress.status] += 1
        if self._draws and time.monotonic() - self._drawn >= _REDRAW_SECONDS:
            self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        n = self._counts.total()
        seconds = max(self._drawn - self._began, 1e-3)
        parts = "  ".join(f"{count} {status}" for status, count in self._counts.items())
        print(
            f"\r\x1b[K{n} documents  {n / seconds:.1f}/s  {parts}",
            end="",
            file=sys.stderr,
            flush=True,
        )
