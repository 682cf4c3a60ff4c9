"""Inputs that failed in earlier ingests: not read again before they change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from ragkit.types import Failure


class FailureMemory:
    """What is known of inputs that failed, and what this ingest adds to it.

    Args:
        remembered: Failures of earlier ingests.
        retry: Take none of them as known.
        has_password: Whether a password is given, so that encrypted files are tried again.
    """

    def __init__(
        self, remembered: Iterable[Failure] = (), *, retry: bool = False, has_password: bool = False
    ) -> None:
        self._remembered = {(f.source, f.fingerprint): f for f in remembered}
        self._codes = {f.fingerprint: f for f in self._remembered.values()}
        self._sources = {f.source for f in self._remembered.values()}
        self._retry = retry
        self._has_password = has_password
        self._met = set[str]()
        self._failed = dict[tuple[str, str | None], Failure]()

    def before(self, source: str, fingerprint: str) -> Failure | None:
        """Return how an input that is to be read failed before; None if it is to be tried."""
        if source in self._sources:
            self._met.add(source)
        found = self._codes.get(fingerprint)
        if found is None or self._retry or (found.code == "password" and self._has_password):
            return None
        return replace(found, source=source)

    def note(self, failure: Failure) -> Failure:
        """Take note of a failure, and return it, marked as known if it is."""
        if failure.fingerprint is None or failure.skipped:
            return failure
        self._met.add(failure.source)
        self._failed[failure.source, failure.fingerprint] = failure
        if self._retry or failure.fingerprint not in self._codes:
            return failure
        return replace(failure, skipped=True, known=True)

    def changes(self, is_gone: Callable[[str], bool]) -> tuple[list[Failure], list[Failure]]:
        """Return the failures to remember from now on, and those to forget.

        Args:
            is_gone: Whether a source that was not met is there no more.
        """
        new = [f for key, f in self._failed.items() if key not in self._remembered]
        forgotten = [
            failure
            for key, failure in self._remembered.items()
            if key not in self._failed and (failure.source in self._met or is_gone(failure.source))
        ]
        return new, forgotten
