"""Progress of an ingest, on stderr: how far it is, what is left, and the file in work."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self
from unicodedata import east_asian_width

from ragkit.cli.output import tell
from ragkit.cli.progress import Bar
from ragkit.pipeline import Progress
from ragkit.text.printable import printable_line

if TYPE_CHECKING:
    from ragkit.pipeline.estimating import Forecast

_TICK_SECONDS = 0.25
_EVENT_SECONDS = 1.0


class IngestBar(Bar):
    """A bar that goes on showing the time and the file in work while that file takes long.

    Args:
        style: `auto` draws on a terminal only. `json` prints a line for each document and, each
            second, an event. `off` shows nothing.
    """

    def __init__(self, style: str) -> None:
        super().__init__(style)
        self._shown = style != "off"
        self._newest: Forecast | None = None
        self._heard = self._told = time.monotonic()
        self._stopped = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)

    def __enter__(self) -> Self:
        if self._json or self._draws:
            self._ticker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        if self._ticker.is_alive():
            self._ticker.join()
        super().__exit__(kind, error, trace)

    def forecast(self, forecast: Forecast) -> None:
        """Tell what there is to do, before any of it is done; nothing to people if it is little."""
        self.step(forecast)
        if self._shown and not self._json and forecast.seconds_left is not None:
            with self.aside():
                print(
                    f"{forecast.files_total:,} files, {_size(forecast.bytes_total)}: at most about "
                    f"{forecast.chunks:,} chunks in {_duration(forecast.seconds_left)}",
                    file=sys.stderr,
                )

    def step(self, forecast: Forecast) -> None:
        """Record how far it is."""
        with self._lock:
            is_first = self._newest is None
            self._newest, self._heard = forecast, time.monotonic()
            is_last = forecast.files_done == forecast.files_total
            if self._json and (is_first or is_last or self._is_event_due()):
                self._tell()

    def advance(self, progress: Progress) -> None:
        """Record that a document is done."""
        super().advance(progress)
        if progress.forecast is not None:
            self.step(progress.forecast)

    @contextmanager
    def aside(self) -> Generator[None]:
        """Leave the terminal to others for a block."""
        with self._lock:
            if self._draws and self._drawn is not None:
                print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            yield

    def tell(self, message: object) -> None:
        """Write one line for people to stderr."""
        with self.aside():
            tell(message)

    def _tick(self) -> None:
        while not self._stopped.wait(_TICK_SECONDS):
            with self._lock:
                if self._draws:
                    self._draw()
                elif self._is_event_due():
                    self._tell()

    def _is_event_due(self) -> bool:
        return time.monotonic() - self._told >= _EVENT_SECONDS

    def _tell(self) -> None:
        self._told = time.monotonic()
        known = self._newest
        self._print(
            {
                "event": "progress",
                "files_done": known.files_done if known else 0,
                "files_total": known.files_total if known else None,
                "bytes_done": known.bytes_done if known else 0,
                "bytes_total": known.bytes_total if known else None,
                "bytes_per_second": known.bytes_per_second if known else None,
                "chunks": known.chunks if known else None,
                "seconds_left": self._seconds_left(),
                "current": known.current if known else None,
            }
        )

    def _seconds_left(self) -> float | None:
        """Return the seconds that are left by now; None if they are unknown, or are over."""
        if self._newest is None or self._newest.seconds_left is None:
            return None
        left = self._newest.seconds_left - (time.monotonic() - self._heard)
        is_done = self._newest.files_done == self._newest.files_total
        return max(left, 0.0) if left > 0 or is_done else None

    def _line(self) -> str:
        known, seconds = self._newest, time.monotonic() - self._began
        if known is None:
            return super()._line() if self._counts else f"looking for files  {_duration(seconds)}"
        left, rate = self._seconds_left(), known.bytes_per_second
        parts = [
            f"{known.files_done:,}/{known.files_total:,} files",
            f"{_size(known.bytes_done)} of {_size(known.bytes_total)}",
            f"{_size(round(rate))}/s" if rate else _duration(seconds),
            "" if left is None else f"{_duration(left)} left",
            self._counted(),
        ]
        if known.current is not None:
            share = f" {known.share:.0%}" if known.share else ""
            parts.append(f"{printable_line(known.current).rsplit('/', 1)[-1]}{share}")
        return _cut("  ".join(part for part in parts if part))


def _cut(line: str) -> str:
    """Return as much of a line as fits on the terminal: a longer one could not be redrawn."""
    width = shutil.get_terminal_size().columns - 1
    for i, character in enumerate(line):
        width -= 2 if east_asian_width(character) in "WF" else 1
        if width < 0:
            return line[:i]
    return line


def _duration(seconds: float) -> str:
    """Return a time as people say it, since more digits would promise more than is known."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{seconds / 3600:.1f} h"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e3:,.0f} kB" if n_bytes < 1e6 else f"{n_bytes / 1e6:,.1f} MB"
