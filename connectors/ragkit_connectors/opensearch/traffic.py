"""What requests to OpenSearch send and receive, counted below its client library."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from ragkit.costs.metering import meter


def counting_connection(kind: type) -> type:
    """Return a kind of connection of `opensearchpy` that counts by the meter that is active.

    The bodies of answers that are errors are not counted: the library raises them as exceptions.

    Args:
        kind: `Urllib3HttpConnection`, whose `perform_request` sends a body and returns status,
            headers and text.
    """
    perform = cast("Callable[..., tuple[int, object, str]]", getattr(kind, "perform_request"))  # noqa: B009

    def counting(
        self: object,
        method: str,
        url: str,
        params: object = None,
        body: bytes | None = None,
        **options: object,
    ) -> tuple[int, object, str]:
        meter().sent(len(body or b""))
        status, headers, text = perform(self, method, url, params, body, **options)
        meter().received(len(text) if text.isascii() else len(text.encode("utf-8", "replace")))
        return status, headers, text

    return type("CountingConnection", (kind,), {"perform_request": counting})
