"""Progress of long work, on stderr."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from ragkit.pipeline import Progress
from ragkit.pipeline.report import EmbedProgress
from ragkit.text.jsontext import json_line
from ragkit.types import Json

if TYPE_CHECKING:
    from ragkit.pipeline.estimating import Forecast

_REDRAW_SECONDS = 0.1
_EVENT_SECONDS = 1.0


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
        self._drawn = 0.0
        self._total: int | None = None
        self._shown = style != "off"
        self._told = 0.0
        self._left: float | None = None

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

    def forecast(self, forecast: Forecast) -> None:
        """Tell what there is to do, before any of it is done; nothing to people if it is little."""
        if self._json:
            self._tell(forecast, "")
        elif self._shown and forecast.seconds_left is not None:
            print(
                f"{forecast.files_total:,} files, {_size(forecast.bytes_total)}: at most about "
                f"{forecast.chunks:,} chunks in {_duration(forecast.seconds_left)}",
                file=sys.stderr,
            )

    def advance(self, progress: Progress) -> None:
        """Record that a document is done."""
        if (forecast := progress.forecast) is not None:
            self._total, self._left = forecast.files_total, forecast.seconds_left
        self.note({"document_id": progress.document_id}, progress.status, self._total)
        if self._json and forecast is not None:
            is_last = forecast.files_done == forecast.files_total
            if is_last or time.monotonic() - self._told >= _EVENT_SECONDS:
                self._tell(forecast, progress.document_id)

    def _tell(self, forecast: Forecast, current: str) -> None:
        self._told = time.monotonic()
        event: dict[str, Json] = {
            "event": "progress",
            "files_done": forecast.files_done,
            "files_total": forecast.files_total,
            "bytes_done": forecast.bytes_done,
            "bytes_total": forecast.bytes_total,
            "chunks": forecast.chunks,
            "seconds_left": forecast.seconds_left,
            "current": current or None,
        }
        sys.stderr.write(json_line(event) + "\n")
        sys.stderr.flush()

    def advance_chunks(self, progress: EmbedProgress) -> None:
        """Record that chunks have got their vectors."""
        total = self._counts.total() + progress.chunks + progress.remaining
        self.note(progress.to_dict(), "embedded", total, n=progress.chunks)

    def note(
        self, what: Mapping[str, Json], status: str, total: int | None = None, *, n: int = 1
    ) -> None:
        """Record that n things are done, of `total` if that is known."""
        if self._json:
            # In one call, so that an interruption cannot leave half an acknowledgement.
            sys.stderr.write(json_line({**what, "status": status}) + "\n")
            sys.stderr.flush()
            return
        self._total = total
        self._counts[status] += n
        if self._draws and time.monotonic() - self._drawn >= _REDRAW_SECONDS:
            self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        n = self._counts.total()
        seconds = max(self._drawn - self._began, 1e-3)
        of = f"/{self._total}" if self._total else ""
        left = "" if self._left is None else f"  {_duration(self._left)} left"
        parts = "  ".join(f"{count} {status}" for status, count in self._counts.items())
        print(
            f"\r\x1b[K{n}{of} {self._unit}  {n / seconds:.1f}/s{left}  {parts}",
            end="",
            file=sys.stderr,
            flush=True,
        )


def _duration(seconds: float) -> str:
    """Return a time as people say it, since more digits would promise more than is known."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{seconds / 3600:.1f} h"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e3:,.0f} kB" if n_bytes < 1e6 else f"{n_bytes / 1e6:,.1f} MB"
