"""What calls to AWS send and receive, counted as botocore hands it over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from ragkit.costs.metering import Meter, meter


class _Events(Protocol):
    def register(self, event_name: str, handler: Callable[..., None]) -> None: ...


class _Raw(Protocol):
    def stream(self, *arguments: object, **options: object) -> Iterator[bytes]: ...

    def read(self, *arguments: object) -> bytes: ...


def count_traffic(events: _Events) -> None:
    """Count the bodies of all requests and answers of a client, by the meter that is active.

    Args:
        events: The client's `meta.events`.
    """
    events.register("before-send", _count_request)
    events.register("before-parse", _count_answer)


def _count_request(request: object, **_: object) -> None:
    body: object = getattr(request, "body", None)
    if isinstance(body, str):
        body = body.encode()
    # Nothing that ragkit calls is sent as a file.
    meter().sent(len(body) if isinstance(body, bytes | bytearray) else 0)


def _count_answer(response_dict: dict[str, object], **_: object) -> None:
    body = response_dict.get("body")
    if isinstance(body, bytes):
        meter().received(len(body))
    elif body is not None and hasattr(body, "stream"):
        response_dict["body"] = _Counted(body, meter())  # type: ignore[arg-type]


class _Counted:
    """A stream of events as urllib3 gives it, counted as it is read."""

    def __init__(self, raw: _Raw, counting: Meter) -> None:
        self._raw = raw
        self._meter = counting

    def stream(self, *arguments: object, **options: object) -> Iterator[bytes]:
        """Yield what comes."""
        for chunk in self._raw.stream(*arguments, **options):
            self._meter.received(len(chunk))
            yield chunk

    def __getattr__(self, name: str) -> object:
        return getattr(self._raw, name)
