"""PDF, read with pypdf."""

from __future__ import annotations

import importlib.util
import io
import logging
import time
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ragkit.errors import LoadError, MissingExtraError
from ragkit.loading.hyphens import without_breaks
from ragkit.loading.loaded import LoadedText, TextBuilder, clean
from ragkit.types import Json, Location

if TYPE_CHECKING:
    import pypdf

MAX_PAGES = 5_000
MAX_CHARACTERS = 20_000_000
MAX_SECONDS = 300.0
"""Checked between pages; pypdf itself bounds what one stream may unpack to."""


def missing_extra() -> MissingExtraError | None:
    """Return the error that says how to install the reader, or None if it is installed."""
    if importlib.util.find_spec("pypdf") is None:
        return MissingExtraError("pypdf, which reads PDF files,", extra="documents")
    return None


def load_pdf(data: bytes, *, password: str | None = None) -> LoadedText:
    """Load a PDF: its pages in order, joined by a blank line, each marked with its number.

    Words broken at the end of a line are joined.

    Pages that cannot be read are named in the metadata as `unreadable_pages`.

    Raises:
        LoadError: `password` when it is encrypted and the password does not open it, `limit` for
            more than 5,000 pages, 20 million characters or five minutes, `unsupported` when its
            cipher needs a package that is not installed, `broken` when no page can be read.
    """
    import pypdf
    from pypdf.errors import DependencyError

    with _quiet():
        try:
            reader = pypdf.PdfReader(io.BytesIO(data), password=None)
            if reader.is_encrypted and not reader.decrypt(password or ""):
                detail = "wrong password" if password else "encrypted: give --password-file"
                raise LoadError("password", detail)
            return _read(reader)
        except LoadError:
            raise
        except DependencyError as error:
            code = "password" if password is None else "unsupported"
            detail = "encrypted with AES. To read it run: pip install 'pypdf[crypto]'"
            raise LoadError(code, detail) from error
        except Exception as error:
            # A parser of hostile files may raise anything; whatever it raises, this file is broken.
            raise LoadError("broken", f"{type(error).__name__}: {error}"[:200]) from error


def _read(reader: pypdf.PdfReader) -> LoadedText:
    n_pages = len(reader.pages)
    if n_pages > MAX_PAGES:
        raise LoadError("limit", f"{n_pages:,} pages; allowed: {MAX_PAGES:,}")
    builder = TextBuilder()
    n_characters, deadline = 0, time.monotonic() + MAX_SECONDS
    unreadable: list[Json] = []
    pages: dict[int, str] = {}
    for number in range(1, n_pages + 1):
        text = _page_text(reader, number)
        if text is None:
            unreadable.append(number)
            continue
        n_characters += len(text)
        if n_characters > MAX_CHARACTERS:
            raise LoadError("limit", f"more than {MAX_CHARACTERS:,} characters")
        if time.monotonic() > deadline:
            raise LoadError("limit", f"more than {MAX_SECONDS:.0f} s for {number} pages")
        pages[number] = text
    if unreadable and len(unreadable) == n_pages:
        raise LoadError("broken", f"none of its {n_pages:,} pages can be read")
    if n_characters == 0:
        raise LoadError("no_text", f"no text in {n_pages:,} pages; is it a scan?")
    for number, text in zip(pages, without_breaks(list(pages.values())), strict=True):
        builder.add(text, location=Location(page=number), kind="page")
    metadata: dict[str, Json] = {"unreadable_pages": unreadable} if unreadable else {}
    return builder.build(title=_title(reader), metadata=metadata)


def _page_text(reader: pypdf.PdfReader, number: int) -> str | None:
    from pypdf.errors import DependencyError

    try:
        return clean(reader.pages[number - 1].extract_text()).strip()
    except DependencyError:
        raise
    except Exception:
        # One bad page must not lose the others.
        return None


def _title(reader: pypdf.PdfReader) -> str:
    try:
        title = reader.metadata.title if reader.metadata is not None else None
    except Exception:
        # A damaged title must not lose the text.
        return ""
    return " ".join(clean(str(title or "")).split())


@contextmanager
def _quiet() -> Generator[None]:
    """Keep pypdf's warnings off standard error; the file's error code reports them."""
    logger = logging.getLogger("pypdf")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
