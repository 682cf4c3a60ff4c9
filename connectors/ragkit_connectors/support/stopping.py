"""Text cut where a stop string begins, for models that run in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


class StoppedText:
    """Passes text on until the first stop string; `stopped` says whether there was one."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = [text for text in stop if text]
        self.stopped = False

    def pieces(self, texts: Iterable[str]) -> Iterator[str]:
        """Yield text; what may be the beginning of a stop string is held back until it is not."""
        pending = ""
        for text in texts:
            pending += text
            ends = [at for stop in self._stop if (at := pending.find(stop)) >= 0]
            if ends:
                self.stopped = True
                pending = pending[: min(ends)]
                break
            n_safe = len(pending) - self._n_held(pending)
            if n_safe:
                yield pending[:n_safe]
                pending = pending[n_safe:]
        if pending:
            yield pending

    def _n_held(self, text: str) -> int:
        """Return the length of the longest end of `text` that a stop string begins with."""
        return max(
            (n for stop in self._stop for n in range(1, len(stop)) if text.endswith(stop[:n])),
            default=0,
        )
