"""Sitemaps (sitemaps.org): what a web site lists, read where hostile files are read."""

from __future__ import annotations

from ragkit.errors import LoadError
from ragkit.loading.formats import Loader
from ragkit.loading.loaded import LoadedText
from ragkit.loading.xml_events import decoded_xml, parse_xml

INDEX = "sitemapindex"
_PAGES = "urlset"
_ENTRIES = {"url", "sitemap"}


def load_sitemap(data: bytes) -> LoadedText:
    """Return the addresses of a sitemap, one in each line; the title is the name of its root.

    Raises:
        LoadError: `broken` where it is none, `limit` for what only hostile files hold.
    """
    text, _ = decoded_xml(data)
    reader = _Reader()
    parse_xml(text, reader)
    if reader.root not in {INDEX, _PAGES}:
        raise LoadError("broken", "it is no sitemap")
    return LoadedText(text="\n".join(reader.addresses), title=reader.root)


class _Reader:
    """Collects what stands in the `loc` of each entry, not in that of a picture or a video."""

    def __init__(self) -> None:
        self.root = ""
        self.addresses: list[str] = []
        self._open: list[str] = []
        self._pieces: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        del attributes
        self.root = self.root or name
        self._open.append(name)
        self._pieces.clear()

    def data(self, text: str) -> None:
        if self._is_address:
            self._pieces.append(text)

    def end(self, name: str) -> None:
        del name
        if self._is_address:
            self.addresses.append("".join("".join(self._pieces).split()))
        self._pieces.clear()
        self._open.pop()

    @property
    def _is_address(self) -> bool:
        return len(self._open) == 3 and self._open[1] in _ENTRIES and self._open[2] == "loc"


SITEMAP = Loader("sitemap", load_sitemap)
