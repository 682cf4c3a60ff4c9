"""Pages as documents: what is listed, fetched if it has changed, and read by its kind."""

from __future__ import annotations

import codecs
import hashlib
import itertools
import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

from ragkit.errors import ConfigError, LoadError
from ragkit.loading.content import Content
from ragkit.loading.encodings import codec_of
from ragkit.loading.formats import LOADERS
from ragkit.loading.remote import Fetched, Reading, RemoteFile, Stored
from ragkit.types import Failure, SourceItem
from ragkit_connectors.website.fetching import Fetcher, Page, Validators
from ragkit_connectors.website.listing import MAX_URLS, Inner, lines_of, listed
from ragkit_connectors.website.robots import Robots, RobotsError
from ragkit_connectors.website.urls import check_same_site, normalised, path_of

_SUFFIXES: Mapping[str, str] = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "text/markdown": ".md",
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/json": ".json",
    "application/x-ndjson": ".ndjson",
    "application/pdf": ".pdf",
    "application/xml": ".xml",
    "text/xml": ".xml",
    "application/rss+xml": ".xml",
    "application/atom+xml": ".xml",
    "application/epub+zip": ".epub",
    "application/rtf": ".rtf",
    "text/rtf": ".rtf",
    "message/rfc822": ".eml",
    "application/vnd.ms-outlook": ".msg",
    "text/vtt": ".vtt",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/vnd.oasis.opendocument.text": ".odt",
    "application/vnd.oasis.opendocument.presentation": ".odp",
    "application/vnd.oasis.opendocument.spreadsheet": ".ods",
}
"""What a kind of content is called as a file."""

_VAGUE = frozenset(
    {"", "text/plain", "application/octet-stream", "binary/octet-stream", "application/zip"}
)
"""Kinds that servers name where they do not know: the address decides."""

_TOGETHER = 64
"""Documents that are looked up in the store in one request."""

_MAX_SHOWN = 200
"""Characters of an address that is none."""

_MAX_SPACE = 1_000
"""Bytes before the first tag of a page, and that tag."""

_MAX_LIST_BYTES = 16 * 2**20
_LATIN = frozenset({"iso-8859-1", "latin-1", "latin1", "us-ascii", "ascii"})
"""Names that mean Windows-1252 on the web (WHATWG Encoding Standard)."""


_TEXTS = frozenset({".html", ".htm", ".xhtml", ".txt", ".md", ".csv", ".tsv"})
_TABLES = (
    "cp", "iso8859", "koi8", "mac", "tis", "gb", "big5", "euc", "shift", "iso2022", "utf-16",
)  # fmt: skip
"""How the names of encodings begin that read a text byte by byte: others may take very long."""


class _Pages:
    """Pages of sites, each fetched if it is another version than the one that is stored."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._fetcher = Fetcher(
            allow_private=reading.allow_private, delay_seconds=reading.delay_seconds
        )
        self._robots = Robots(self._fetcher)
        self._lock = threading.Lock()
        self._stored: Stored = _none_stored
        self._left_out: list[str] = []

    def remember(self, stored: Stored) -> None:
        """Take what tells which documents are stored."""
        self._stored = stored

    def left_out(self) -> tuple[str, ...]:
        """Return the addresses that were listed, but left out of the last call."""
        return tuple(self._left_out)

    def fetch(self, url: str, known: Validators | None = None) -> Page | None:
        """Return a page; raises `LoadError` where it is not allowed or cannot be fetched."""
        with self._lock:  # Threads may load what another one has listed.
            return self._fetcher.get(url, known, check=self._robots.check)

    def items(self, urls: Iterable[str], *, named: bool) -> Iterator[SourceItem]:
        """Yield the documents of some pages, by their normalised addresses."""
        urls = iter(urls)
        while batch := list(itertools.islice(urls, _TOGETHER)):
            stored = self._stored(batch)
            for url in batch:
                yield from self._items(_file(url, named=named), stored.get(url, ("", ""))[0])

    def _items(self, file: RemoteFile, stored: str) -> Iterator[SourceItem]:
        if self._reading.is_elsewhere(file):
            return
        if (failure := self._reading.left_out(file)) is not None:
            if failure.code == "ignored":
                self._left_out.append(file.id)
            if failure.code == "rule" or self._reading.selection.tells:
                yield failure
            return
        try:
            page = self.fetch(file.id, self._known(file, stored))
        except RobotsError as error:
            self._left_out.append(file.id)
            yield Failure(
                source=file.id, code=error.code, detail=error.detail, skipped=not file.named
            )
        except LoadError as error:
            yield Failure(source=file.id, code=error.code, detail=error.detail)
        else:
            yield from self.of_page(file, page, stored)

    def of_page(self, file: RemoteFile, page: Page | None, stored: str) -> Iterator[SourceItem]:
        """Yield the documents of a page; None is the one that is stored."""
        if page is None:
            # What it holds is needed only where its groups are in question.
            file = replace(file, name=_version(stored)[0])
            yield from self._reading.documents(file, stored, partial(self._again, file))
            return
        named = replace(file, name=_name_of(page))
        fingerprint = self._fingerprint(named, page, stored)
        content = _as_unicode(page, PurePosixPath(named.name).suffix)
        yield from self._reading.documents(named, fingerprint, lambda: (content, {}))

    def _again(self, file: RemoteFile) -> Fetched:
        page = self.fetch(file.id)
        assert page is not None  # noqa: S101 (nothing was said to be known)
        return _as_unicode(page, PurePosixPath(_name_of(page)).suffix), {}

    def _fingerprint(self, file: RemoteFile, page: Page, stored: str) -> str:
        """Return what is known of a page: how it is read, what it is, and its version.

        A page whose version has another name, but not another content, has not changed.
        """
        found = hashlib.sha256(f"{page.content_type} {page.charset}\0".encode())
        for block in page.content.blocks():
            found.update(block)
        known = f"{self._way(file)} {found.hexdigest()} "
        if stored.startswith(known):
            return stored
        return known + json.dumps([page.validators.etag, page.validators.last_modified, file.name])

    def _known(self, file: RemoteFile, stored: str) -> Validators | None:
        """Return the version of a page that is stored, if it would be read the same way now."""
        name, validators = _version(stored)
        is_same = stored.partition(" ")[0] == self._way(replace(file, name=name))
        return validators if is_same else None

    def _way(self, file: RemoteFile) -> str:
        return self._reading.fingerprint(file).hexdigest()[:16]


class WebSource(_Pages):
    """What an address leads to: the pages of a sitemap or a list, or itself if it is a page.

    A document's id and source are its address. Of what is listed, only what is on the host that was
    named is read. The pages below the folder of a sitemap are those that it tells of: what is
    stored of them and no longer listed has vanished.

    Args:
        url: The address.
        reading: How its pages are read.

    Raises:
        ConfigError: it is no address of a page.
    """

    def __init__(self, url: str, *, reading: Reading) -> None:
        super().__init__(reading)
        try:
            self._start = normalised(url)
        except LoadError as error:
            raise ConfigError(f"{url}: {error.detail}") from None
        self.roots: tuple[str, ...] = (self._start,)
        self._problems: list[Failure] = []

    def documents(self) -> Iterator[SourceItem]:
        """Yield the documents of the pages, and failures, in the order in which they are listed."""
        self.roots = ()
        self._problems.clear()
        self._left_out.clear()
        file = _file(self._start, named=True)
        stored = self._stored([file.id]).get(file.id, ("", ""))[0]
        try:
            page = self.fetch(self._start, self._known(file, stored))
            inner = Inner(self._sitemap, self._note_problem)
            urls = None if page is None else listed(page, self._reading.parser, inner)
        except LoadError as error:
            yield Failure(source=file.id, code=error.code, detail=error.detail)
            return
        if urls is not None:
            yield from self._listed(urls)
        elif (failure := self._reading.left_out(file)) is not None:
            yield failure
        else:
            self.roots = (file.id,)
            yield from self.of_page(file, page, stored)

    def _listed(self, addresses: Iterator[str]) -> Iterator[SourceItem]:
        urls: dict[str, None] = {}
        try:
            for n_listed, address in enumerate(addresses):
                if n_listed == MAX_URLS:
                    raise LoadError("limit", f"it lists more than {MAX_URLS:,} pages")
                try:
                    url = normalised(address)
                    check_same_site(url, self._start)
                except LoadError as error:
                    detail = f"listed, but {error.detail}"
                    source = address[:_MAX_SHOWN]
                    yield Failure(source=source, code="ignored", detail=detail, skipped=True)
                else:
                    urls[url] = None
        except LoadError as error:
            self._note_problem(self._start, error)
        yield from self._problems
        if not self._problems:  # Else nothing has vanished, as far as anyone knows.
            self.roots = (urljoin(self._start, "."),)
        yield from self.items(urls, named=False)

    def _note_problem(self, address: str, error: LoadError) -> None:
        self._problems.append(Failure(source=address, code=error.code, detail=error.detail))

    def _sitemap(self, address: str) -> Page | None:
        url = normalised(address, self._start)
        check_same_site(url, self._start)
        return self.fetch(url)


class UrlListSource(_Pages):
    """The pages whose addresses stand in a file, one in each line; `#` begins a comment.

    Nothing vanishes: nobody can tell which pages the file stands for.

    Args:
        path: The file.
        reading: How the pages are read.

    Raises:
        ConfigError: the file cannot be read, or holds no address.
    """

    roots: tuple[str, ...] = ()

    def __init__(self, path: str, *, reading: Reading) -> None:
        super().__init__(reading)
        try:
            if Path(path).stat().st_size > _MAX_LIST_BYTES:
                raise ConfigError(f"{path} has more than {_MAX_LIST_BYTES:,} bytes")
            self._lines = list(lines_of(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error
        if not self._lines:
            raise ConfigError(f"{path} holds no addresses")

    def documents(self) -> Iterator[SourceItem]:
        """Yield the documents of the pages, and failures, in the order of the file."""
        self._left_out.clear()
        urls: dict[str, None] = {}
        for line in self._lines:
            try:
                urls[normalised(line)] = None
            except LoadError as error:
                yield Failure(source=line[:_MAX_SHOWN], code=error.code, detail=error.detail)
        yield from self.items(urls, named=True)


def over_https(rest: str, *, reading: Reading) -> WebSource:
    """Return the source of an address that begins with `https:`."""
    return WebSource(f"https:{rest}", reading=reading)


def over_http(rest: str, *, reading: Reading) -> WebSource:
    """Return the source of an address that begins with `http:`."""
    return WebSource(f"http:{rest}", reading=reading)


def _none_stored(ids: Sequence[str]) -> Mapping[str, tuple[str, str]]:
    del ids
    return {}


def _file(url: str, *, named: bool) -> RemoteFile:
    path = path_of(url)
    return RemoteFile(id=url, path=path, name=path.rpartition("/")[2] or "index.html", named=named)


def _version(stored: str) -> tuple[str, Validators]:
    """Return the name that a stored page was read by, and what its version is known by."""
    try:
        etag, last_modified, name = json.loads(stored.split(" ", 2)[2])
    except (ValueError, IndexError):
        return "", Validators()
    return name, Validators(etag, last_modified)


def _name_of(page: Page) -> str:
    """Return a name for a page whose suffix says what it is."""
    name, kind = unquote(urlsplit(page.url).path).rpartition("/")[2] or "index", page.content_type
    suffix = PurePosixPath(name).suffix.lower()
    wanted = _SUFFIXES.get(kind)
    if kind in _VAGUE:
        offered = PurePosixPath(page.file_name).suffix.lower()
        if suffix in LOADERS:
            wanted = suffix
        elif offered in LOADERS:
            wanted = offered
        elif kind == "text/plain":
            wanted = ".txt"
        else:
            wanted = ".html" if _is_html(page) else suffix
    elif wanted is None:
        last = "".join(c for c in kind.rpartition("/")[2] if c.isalnum() or c in "+-.")
        wanted = ".txt" if kind.startswith("text/") else f".{last}"
    is_alike = suffix == wanted or LOADERS.get(suffix, suffix) == LOADERS.get(wanted)
    return name if is_alike else name + wanted


def _is_html(page: Page) -> bool:
    """Whether a page begins as HTML does, where the server does not say what it is."""
    first = next(page.content.blocks(), b"")[:_MAX_SPACE].removeprefix(codecs.BOM_UTF8)
    return first.lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _as_unicode(page: Page, suffix: str) -> Content:
    """Return a page in Unicode, if the server says how it is encoded and that is so."""
    charset = "cp1252" if page.charset in _LATIN else codec_of(page.charset)
    if suffix not in _TEXTS or not charset:
        return page.content
    try:
        if not codecs.lookup(charset).name.startswith(_TABLES):
            return page.content
        text = b"".join(page.content.blocks()).decode(charset)
    except (LookupError, ValueError):
        return page.content
    return Content.of(text.encode("utf-8-sig", "replace"))
