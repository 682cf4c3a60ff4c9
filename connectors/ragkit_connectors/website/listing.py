"""What a site lists: sitemaps, indexes of them, and lists of addresses (sitemaps.org)."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from ragkit.errors import LoadError
from ragkit.loading.content import Content
from ragkit.loading.formats import MAX_FILE_BYTES
from ragkit.loading.isolation import Parser
from ragkit.loading.sitemaps import INDEX, SITEMAP
from ragkit_connectors.support.packed import GZIP, unpacked_gzip
from ragkit_connectors.website.fetching import Page

MAX_URLS = 100_000
MAX_SITEMAPS = 1_000
_SITEMAP = re.compile(rb"<(?:\w{1,20}:)?(?:urlset|sitemapindex)[\s>]")


@dataclass(frozen=True, slots=True)
class Inner:
    """How the sitemaps of an index are read.

    Attributes:
        fetch: Returns one; may raise `LoadError`.
        failed: Called where one cannot be read, and goes without.
    """

    fetch: Callable[[str], Page | None]
    failed: Callable[[str, LoadError], None]


def listed(page: Page, parser: Parser, inner: Inner) -> Iterator[str] | None:
    """Return the addresses that a page lists, as they stand there; None if it lists none.

    Args:
        page: A sitemap, an index of sitemaps, or a list of addresses as plain text.
        parser: Reads sitemaps.
        inner: For the sitemaps of an index.

    Raises:
        LoadError: it cannot be unpacked; while it is iterated over, it cannot be read.
    """
    data = _unpacked(page)
    # Texts about sitemaps hold such elements, too, but do not begin with one.
    start = data[:4_096].removeprefix(codecs.BOM_UTF8).lstrip()
    if start.startswith(b"<") and _SITEMAP.search(start):
        return _of_sitemap(data, parser, inner)
    if page.content_type == "text/plain" and urlsplit(page.url).path.lower().endswith(".txt"):
        lines = list(lines_of(data.decode("utf-8", "replace")))
        if lines and all(line.startswith(("http://", "https://")) for line in lines):
            return iter(lines)
    return None


def lines_of(text: str) -> Iterator[str]:
    """Yield the lines of a list that are neither empty nor, after a `#`, comments."""
    for line in text.removeprefix("\ufeff").splitlines():
        if (line := line.strip()) and not line.startswith("#"):
            yield line


def _unpacked(page: Page) -> bytes:
    data = b"".join(page.content.blocks())
    if not data.startswith(GZIP) or not urlsplit(page.url).path.lower().endswith(".gz"):
        return data
    return b"".join(unpacked_gzip(iter((data,)), MAX_FILE_BYTES))


def _of_sitemap(data: bytes, parser: Parser, inner: Inner | None) -> Iterator[str]:
    loaded = parser.load(Content.of(data), name="sitemap.xml", loader=SITEMAP)
    addresses = loaded.text.split("\n")
    if loaded.title != INDEX:
        yield from addresses
        return
    if inner is None:
        raise LoadError("limit", "an index of sitemaps in an index of sitemaps")
    if len(addresses) > MAX_SITEMAPS:
        raise LoadError("limit", f"more than {MAX_SITEMAPS:,} sitemaps")
    for address in addresses:
        try:
            page = inner.fetch(address)
            if page is not None:
                yield from _of_sitemap(_unpacked(page), parser, None)
        except LoadError as error:
            inner.failed(address, error)
