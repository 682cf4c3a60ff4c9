"""Progress of long work, on stderr."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from ragkit.pipeline import Progress
from ragkit.pipeline.report import EmbedProgress
from ragkit.text.jsontext import json_line
from ragkit.types import Json

_REDRAW_SECONDS = 0.1


class Bar:
    """Counts finished things: a line that redraws itself on a terminal, or JSON Lines.

    Args:
        style: `auto` draws on a terminal only, `json` prints a line for each, `off` nothing.
        unit: Name of what is counted.
    """

    def __init__(self, style: str, *, unit: str = "documents") -> None:
        self._unit = unit
        self._json = style == "json"
        self._draws = style == "auto" and sys.stderr.isatty()
        self._counts = Counter[str]()
        self._began = time.monotonic()
        self._drawn: float | None = None
        self._total: int | None = None
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._draws and (self._counts or self._drawn is not None):
            self._draw()
            print(file=sys.stderr)

    def advance(self, progress: Progress) -> None:
        """Record that a document is done."""
        self.note({"document_id": progress.document_id}, progress.status)

    def advance_chunks(self, progress: EmbedProgress) -> None:
        """Record that chunks have got their vectors."""
        total = self._counts.total() + progress.chunks + progress.remaining
        self.note(progress.to_dict(), "embedded", total, n=progress.chunks)

    def note(
        self, what: Mapping[str, Json], status: str, total: int | None = None, *, n: int = 1
    ) -> None:
        """Record that n things are done, of `total` if that is known."""
        with self._lock:
            if self._json:
                self._print({**what, "status": status})
                return
            self._total = total
            self._counts[status] += n
            since = time.monotonic() - (self._drawn or self._began)
            if self._draws and (self._drawn is None or since >= _REDRAW_SECONDS):
                self._draw()

    def _print(self, line: Mapping[str, Json]) -> None:
        # In one call, so that an interruption cannot leave half an acknowledgement.
        sys.stderr.write(json_line(line) + "\n")
        sys.stderr.flush()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        print(f"\r\x1b[K{self._line()}", end="", file=sys.stderr, flush=True)

    def _line(self) -> str:
        """Return what is drawn now."""
        n = self._counts.total()
        seconds = max(time.monotonic() - self._began, 1e-3)
        of = f"/{self._total}" if self._total else ""
        return f"{n}{of} {self._unit}  {n / seconds:.1f}/s  {self._counted()}"

    def _counted(self) -> str:
        return "  ".join(f"{count} {status}" for status, count in self._counts.items())
