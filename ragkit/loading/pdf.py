"""PDF, read with pypdf."""

from __future__ import annotations

import importlib.util
import io
import logging

from ragkit.errors import LoadError, MissingExtraError
from ragkit.loading.loaded import LoadedText, TextBuilder, clean
from ragkit.types import Location

MAX_PAGES = 5_000
MAX_CHARACTERS = 20_000_000


def missing_extra() -> MissingExtraError | None:
    """Return the error that says how to install the reader, or None where it is installed."""
    if importlib.util.find_spec("pypdf") is None:
        return MissingExtraError("pypdf, which reads PDF files,", extra="documents")
    return None


def load_pdf(data: bytes, *, password: str | None = None) -> LoadedText:
    """Load a PDF: its pages in order, each marked with its number.

    Raises:
        LoadError: `password` when it is encrypted and the password does not open it, `limit` for
            more than 5,000 pages or 20 million characters, `broken` when it cannot be read.
    """
    import pypdf

    # pypdf reports every oddity of a file on the logger; the report of a file is its error code.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(password or ""):
            detail = "wrong password" if password else "encrypted: give --password-file"
            raise LoadError("password", detail)
        return _read(reader)
    except LoadError:
        raise
    except Exception as error:
        # A parser of hostile files may raise anything; whatever it is, this file is broken.
        raise LoadError("broken", f"{type(error).__name__}: {error}"[:200]) from error


def _read(reader: object) -> LoadedText:
    import pypdf

    assert isinstance(reader, pypdf.PdfReader)  # noqa: S101 (narrowing)
    n_pages = len(reader.pages)
    if n_pages > MAX_PAGES:
        raise LoadError("limit", f"{n_pages:,} pages; allowed: {MAX_PAGES:,}")
    builder = TextBuilder()
    n_characters = 0
    for number, page in enumerate(reader.pages, start=1):
        text = clean(page.extract_text())
        n_characters += len(text)
        if n_characters > MAX_CHARACTERS:
            raise LoadError("limit", f"more than {MAX_CHARACTERS:,} characters")
        builder.add(text, location=Location(page=number), kind="page")
    information = reader.metadata
    title = "" if information is None or information.title is None else str(information.title)
    return builder.build(title=clean(title).strip())
