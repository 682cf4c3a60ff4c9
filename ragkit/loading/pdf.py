"""PDF, read with PDFium."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from ragkit.errors import LoadError, MissingExtraError
from ragkit.loading.hyphens import without_breaks
from ragkit.loading.loaded import Headings, LoadedText, OpenPart, TextBuilder, clean
from ragkit.loading.pdf_blocks import PAGE_END, Block, blocks_of
from ragkit.loading.pdf_furniture import without_furniture
from ragkit.loading.pdf_hidden import has_images, hidden_characters
from ragkit.loading.pdf_lines import Line, lines_of
from ragkit.loading.pdf_page import TextPage
from ragkit.loading.pdf_tables import INDENT, TableLines
from ragkit.types import Dropped, Json, MarkKind, PartKind

MAX_PAGES = 5_000
MAX_CHARACTERS = 20_000_000
MAX_SECONDS = 300.0
"""Checked between pages: what one page may take only a process of its own can limit."""

_LOCK = threading.Lock()
"""PDFium is not safe for threads."""


def missing_extra() -> MissingExtraError | None:
    """Return the error that says how to install the reader, or None if it is installed."""
    if importlib.util.find_spec("pypdfium2") is None:
        return MissingExtraError("pypdfium2, which reads PDF files,", extra="documents")
    return None


def load_pdf(data: bytes, *, password: str | None = None) -> LoadedText:
    """Load a PDF: its paragraphs, headings, lists and tables, each marked with its page.

    Words broken at the end of a line are joined, and so are the lines of a paragraph, which goes on
    behind the end of a page. Page furniture and hidden text are left out and counted. Pages that
    cannot be read are named in the metadata as `unreadable_pages`; `image_pages` is how many hold
    images, but no text.

    Raises:
        LoadError: `password` when it is encrypted and the password does not open it, `limit` for
            more than 5,000 pages, 20 million characters or five minutes, `unsupported` when its
            cipher is not known, `broken` when no page can be read.
    """
    pages = read_lines(data, password=password)
    lines, n_furniture = without_furniture(pages.lines)
    pieces = list(_pieces(blocks_of(lines)))
    writer = _Writer()
    for piece, text in zip(pieces, without_breaks([x.text for x in pieces]), strict=True):
        writer.write(replace(piece, text=text))
    metadata: dict[str, Json] = {"unreadable_pages": pages.unreadable} if pages.unreadable else {}
    if pages.n_images:
        metadata["image_pages"] = pages.n_images
    dropped: dict[Dropped, int] = {"furniture": n_furniture, "hidden": pages.n_hidden}
    return writer.builder.build(title=pages.title, metadata=metadata, dropped=dropped)


@dataclass(slots=True)
class Pages:
    """The lines of each page that can be read, the numbers of those that cannot, and the title.

    `n_images` counts the pages that hold images, but no text.
    """

    title: str = ""
    lines: list[list[Line]] = field(default_factory=list[list[Line]])
    unreadable: list[Json] = field(default_factory=list[Json])
    n_characters: int = 0
    n_hidden: int = 0
    n_images: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """The lines of a page, and how many of its characters are hidden.

    `has_images` is only known of pages without lines.
    """

    lines: list[Line]
    n_hidden: int
    has_images: bool


@contextmanager
def open_document(data: bytes, password: str | None) -> Generator[tuple[Any, Any]]:
    """Yield PDFium and a document that it has opened; no other thread uses it meanwhile.

    Raises:
        LoadError: it cannot be opened; see `load_pdf`.
    """
    with _LOCK:
        raw: Any = importlib.import_module("pypdfium2.raw")
        document = _opened(raw, data, password)
        try:
            yield raw, document
        finally:
            raw.FPDF_CloseDocument(document)


def read_lines(data: bytes, *, password: str | None = None) -> Pages:
    """Return the lines of a PDF; raises what `load_pdf` does."""
    with open_document(data, password) as (raw, document):
        pages = _read(raw, document)
        pages.title = _title(raw, document)
    return pages


def _opened(raw: Any, data: bytes, password: str | None) -> Any:  # noqa: ANN401 - PDFium has no types
    # A password may be meant for other files of a folder: one that needs none opens without it.
    document = raw.FPDF_LoadMemDocument64(data, len(data), None)
    if not document and password and raw.FPDF_GetLastError() == raw.FPDF_ERR_PASSWORD:
        document = raw.FPDF_LoadMemDocument64(data, len(data), password.encode())
    if document:
        return document
    error = raw.FPDF_GetLastError()
    if error == raw.FPDF_ERR_PASSWORD:
        raise LoadError("password", "wrong password" if password else _ENCRYPTED)
    if error == raw.FPDF_ERR_SECURITY:
        raise LoadError("unsupported", "encrypted in a way that is not known")
    raise LoadError("broken", "it is no PDF that can be read")


_ENCRYPTED = "encrypted: give --password-file"


def _read(raw: Any, document: Any) -> Pages:  # noqa: ANN401
    n_pages = raw.FPDF_GetPageCount(document)
    if n_pages > MAX_PAGES:
        raise LoadError("limit", f"{n_pages:,} pages; allowed: {MAX_PAGES:,}")
    pages, deadline = Pages(), time.monotonic() + MAX_SECONDS
    for number in range(1, n_pages + 1):
        _read_page(raw, document, number, pages)
        if pages.n_characters > MAX_CHARACTERS:
            raise LoadError("limit", f"more than {MAX_CHARACTERS:,} characters")
        if time.monotonic() > deadline:
            raise LoadError("limit", f"more than {MAX_SECONDS:.0f} s for {number} pages")
    if len(pages.unreadable) == n_pages:
        raise LoadError("broken", f"none of its {n_pages:,} pages can be read")
    if pages.n_characters == 0:
        raise LoadError("no_text", f"no text in {n_pages:,} pages{_images_in(pages.n_images)}")
    return pages


def _images_in(n_pages: int) -> str:
    if not n_pages:
        return ""
    return f"; {n_pages:,} hold only images, as scans do: --ocr auto has tesseract read them"


def _read_page(raw: Any, document: Any, number: int, pages: Pages) -> None:  # noqa: ANN401
    page = read_page(raw, document, number)
    if page is None:
        pages.unreadable.append(number)
        return
    pages.lines.append(page.lines)
    pages.n_hidden += page.n_hidden
    pages.n_images += page.has_images
    pages.n_characters += sum(len(word.text) for line in page.lines for word in line.words)


def read_page(raw: Any, document: Any, number: int) -> Page | None:  # noqa: ANN401
    """Return what is on a page, by its number from 1; None if it cannot be read."""
    page = raw.FPDF_LoadPage(document, number - 1)
    if not page:
        return None
    text = TextPage(raw, page)
    try:
        hidden = hidden_characters(text)
        lines = lines_of(text, number, hidden=hidden)
        return Page(lines, len(hidden), has_images=not lines and has_images(text))
    finally:
        text.close()
        raw.FPDF_ClosePage(page)


def _title(raw: Any, document: Any) -> str:  # noqa: ANN401
    size = raw.FPDF_GetMetaText(document, b"Title", None, 0)
    buffer = ctypes.create_string_buffer(max(2, size))
    raw.FPDF_GetMetaText(document, b"Title", buffer, size)
    return " ".join(clean(buffer.raw[: max(0, size - 2)].decode("utf-16-le", "replace")).split())


@dataclass(frozen=True, slots=True)
class _Piece:
    """A text of the document with the pages that it stands on, and what it is.

    `left` is where a row begins; a header row that has one is the label of rows further in.
    """

    text: str
    pages: Sequence[int]
    kind: PartKind
    of: Block | TableLines
    left: float | None = None


def _pieces(blocks: Iterable[Block | TableLines]) -> Iterator[_Piece]:
    for block in blocks:
        if isinstance(block, Block):
            kind: PartKind = "heading" if block.level else "item" if block.is_item else "paragraph"
            yield _Piece(block.text, block.pages, kind, block)
            continue
        captions = "\n".join(line.text for line in block.captions)
        kinds: list[tuple[PartKind, str]] = [("caption", captions), ("header_row", block.head)]
        for kind, text in kinds:
            if text:
                lines = block.captions or block.headers
                yield _Piece(text, [lines[0].page], kind, block)
        for i, row in enumerate(block.rows):
            kind = "header_row" if block.is_label(i) else "row"
            text = " ".join(line.text for line in row)
            yield _Piece(text, [row[0].page], kind, block, left=row[0].left)


class _Writer:
    """Writes the pieces of a document, lists and tables as such."""

    def __init__(self) -> None:
        self.builder = TextBuilder()
        self._headings = Headings()
        self._last_page = 0
        self._outer: OpenPart | None = None
        self._of: Block | TableLines | None = None
        self._labelled: OpenPart | None = None
        self._label_left = 0.0

    def write(self, piece: _Piece) -> None:
        """Add a piece."""
        self._enter(piece)
        separator = "\n\n"
        if self._outer and self._outer.index is not None:
            separator = "\n"
        if isinstance(piece.of, Block):
            if piece.of.is_close:
                separator = "\n"
            if piece.of.level:
                self._headings.enter(piece.of.level, piece.text.replace(PAGE_END, ""))
        segments = piece.text.split(PAGE_END)
        part = self.builder.open(piece.kind) if len(segments) > 1 else None
        for page, segment in zip(piece.pages, segments, strict=True):
            self.builder.add(
                segment,
                location=replace(self._headings.location, page=page),
                kind=self._mark(piece, page),
                separator=separator,
                part=None if part else piece.kind,
            )
            self._last_page, separator = max(page, self._last_page), " "
        self.builder.close(part)

    def _enter(self, piece: _Piece) -> None:
        """Open the list or table that a piece is in, unless it is open."""
        is_item = piece.kind == "item"
        is_open = self._outer is not None and (
            (is_item and self._outer.kind == "list") or piece.of is self._of
        )
        if not is_open:
            self.builder.close(self._outer)
            self._of, self._outer, self._labelled = piece.of, None, None
            if is_item or isinstance(piece.of, TableLines):
                self._outer = self.builder.open("list" if is_item else "table")
        if piece.left is not None:
            self._enter_labelled(piece.left, is_label=piece.kind == "header_row")

    def _enter_labelled(self, left: float, *, is_label: bool) -> None:
        """Open the rows further in than a label as a table of their own, which needs it."""
        if self._labelled and (is_label or left <= self._label_left + INDENT):
            self.builder.close(self._labelled)
            self._labelled = None
        if is_label:
            self._labelled, self._label_left = self.builder.open("table"), left

    def _mark(self, piece: _Piece, page: int) -> MarkKind:
        if piece.kind == "heading":
            return "heading"
        if piece.kind in {"row", "header_row"}:
            return "row"
        return "page" if page > self._last_page and page == piece.pages[0] else "text"
