"""Which loader reads which file.

To read another format, write a function from bytes to `LoadedText` and add a line to `LOADERS`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath

from ragkit.errors import LoadError, MissingExtraError
from ragkit.loading import pdf
from ragkit.loading.archives import tar_members, zip_members
from ragkit.loading.code_text import load_python, load_settings
from ragkit.loading.docx import load_docx
from ragkit.loading.epub import load_epub
from ragkit.loading.html import load_html
from ragkit.loading.light_markup import load_asciidoc, load_latex, load_org
from ragkit.loading.loaded import LoadedText
from ragkit.loading.mail import load_mail, mail_members
from ragkit.loading.mbox import load_mbox
from ragkit.loading.members import MAX_MEMBERS, Member
from ragkit.loading.msg import load_msg, msg_members
from ragkit.loading.notebook import load_notebook
from ragkit.loading.odf import load_odp, load_ods, load_odt
from ragkit.loading.plain import load_markdown, load_rst, load_text
from ragkit.loading.pptx import load_pptx
from ragkit.loading.rtf import load_rtf
from ragkit.loading.subtitles import load_subtitles
from ragkit.loading.tables import load_csv, load_json, load_json_lines
from ragkit.loading.xlsx import load_xlsx
from ragkit.loading.xml_text import load_xml

MAX_FILE_BYTES = 64 * 2**20
"""Larger files are not documents to cite from; JSON Lines records are read without this limit."""

LOADERS_VERSION = 10
"""Part of every file's fingerprint: increase it when a loader's output changes."""


def _nothing_missing() -> MissingExtraError | None:
    return None


@dataclass(frozen=True, slots=True)
class Loader:
    """How to read a format.

    `missing` returns an error if its extra is not installed. `members` yields files inside of one,
    each a document of its own; None where there are none.
    """

    name: str
    load: Callable[[bytes], LoadedText]
    missing: Callable[[], MissingExtraError | None] = _nothing_missing
    members: Callable[[bytes], Iterator[Member]] | None = None


_TEXT, _MARKDOWN = Loader("text", load_text), Loader("markdown", load_markdown)
_HTML, _CSV = Loader("html", load_html), Loader("csv", load_csv)
_JSON_LINES = Loader("json lines", load_json_lines)
_DOCX, _PPTX, _XLSX = (
    Loader("docx", load_docx),
    Loader("pptx", load_pptx),
    Loader("xlsx", load_xlsx),
)
_XML, _SETTINGS = Loader("xml", load_xml), Loader("settings", load_settings)
_ASCIIDOC, _SUBTITLES = Loader("asciidoc", load_asciidoc), Loader("subtitles", load_subtitles)
_PYTHON = Loader("python", load_python)
MAIL = Loader("mail", load_mail, members=mail_members)

LOADERS: Mapping[str, Loader] = {
    ".txt": _TEXT,
    ".text": _TEXT,
    ".log": _TEXT,
    ".md": _MARKDOWN,
    ".markdown": _MARKDOWN,
    ".rst": Loader("rst", load_rst),
    ".html": _HTML,
    ".htm": _HTML,
    ".xhtml": _HTML,
    ".csv": _CSV,
    ".tsv": _CSV,
    ".tab": _CSV,
    ".jsonl": _JSON_LINES,
    ".ndjson": _JSON_LINES,
    ".json": Loader("json", load_json),
    ".docx": _DOCX,
    ".docm": _DOCX,
    ".pptx": _PPTX,
    ".pptm": _PPTX,
    ".ppsx": _PPTX,
    ".xlsx": _XLSX,
    ".xlsm": _XLSX,
    ".odt": Loader("odt", load_odt),
    ".odp": Loader("odp", load_odp),
    ".ods": Loader("ods", load_ods),
    ".rtf": Loader("rtf", load_rtf),
    ".pdf": Loader("pdf", pdf.load_pdf, pdf.missing_extra),
    ".xml": _XML,
    ".nxml": _XML,
    ".rss": _XML,
    ".atom": _XML,
    ".dbk": _XML,
    ".epub": Loader("epub", load_epub),
    ".eml": MAIL,
    ".mbox": Loader("mbox", load_mbox),
    ".msg": Loader("msg", load_msg, members=msg_members),
    ".ipynb": Loader("notebook", load_notebook),
    ".toml": _SETTINGS,
    ".yaml": _SETTINGS,
    ".yml": _SETTINGS,
    ".py": _PYTHON,
    ".pyi": _PYTHON,
    ".adoc": _ASCIIDOC,
    ".asciidoc": _ASCIIDOC,
    ".org": Loader("org", load_org),
    ".tex": Loader("latex", load_latex),
    ".srt": _SUBTITLES,
    ".vtt": _SUBTITLES,
}


def _load_archive(data: bytes) -> LoadedText:
    """Refuse: an archive has no text of its own."""
    raise LoadError("unsupported", f"an archive of {len(data):,} bytes has no text of its own")


_TAR = Loader("tar", _load_archive, members=tar_members)
ARCHIVES: Mapping[str, Loader] = {
    ".zip": Loader("zip", _load_archive, members=zip_members),
    ".tar": _TAR, ".tgz": _TAR, ".tar.gz": _TAR, ".tar.bz2": _TAR, ".tar.xz": _TAR,
}  # fmt: skip
"""What reads archives, which are only read on request."""


def archive_loader(name: str) -> Loader | None:
    """Return what reads an archive of this name; None if it is none."""
    found = (loader for suffix, loader in ARCHIVES.items() if name.lower().endswith(suffix))
    return next(found, None)


PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
"""What is read on request, by a program of the user's."""

_HINTS = {
    ".doc": "save it as .docx, or convert it: --convert auto",
    ".ppt": "save it as .pptx, or convert it: --convert auto",
    ".xls": "save it as .xlsx, or convert it: --convert auto",
    ".zip": "--archives reads what is in it",
    ".gz": "unpack it; of a .tar.gz, --archives reads what is in it",
    ".tgz": "--archives reads what is in it",
    ".tar": "--archives reads what is in it",
} | dict.fromkeys(PICTURES, "--ocr auto has tesseract read what is written in it")
"""What to do about a format that is known but not supported."""


def find_loader(name: str) -> Loader:
    """Return the loader for a file name.

    Raises:
        LoadError: `unsupported` when there is none, or when its extra is not installed.
    """
    suffix = PurePath(name).suffix.lower()
    loader = LOADERS.get(suffix)
    if loader is None:
        hint = _HINTS.get(suffix, "loaders read " + " ".join(sorted(LOADERS)))
        raise LoadError(
            "unsupported", f"no loader reads {suffix or 'files without suffix'}; {hint}"
        )
    return usable(loader)


def usable(loader: Loader) -> Loader:
    """Return the loader; raises `LoadError` with the code `unsupported` without its extra."""
    missing = loader.missing()
    if missing is not None:
        raise LoadError("unsupported", str(missing))
    return loader


def load_bytes(
    data: bytes, *, name: str, password: str | None = None, loader: Loader | None = None
) -> LoadedText:
    """Load a file's bytes.

    Args:
        data: The whole file.
        name: Its name; the suffix decides on the loader.
        password: Opens an encrypted file.
        loader: Reads it, instead of the loader for the suffix.

    Raises:
        LoadError: whatever is wrong with the file; nothing else escapes.
    """
    loader = loader or find_loader(name)
    if len(data) > MAX_FILE_BYTES:
        raise LoadError("limit", f"{len(data):,} bytes; allowed: {MAX_FILE_BYTES:,}")
    with _as_load_errors():
        if loader.name == "pdf":
            loaded = pdf.load_pdf(data, password=password)
        else:
            loaded = loader.load(data)
    if not loaded.text.strip():
        raise LoadError("no_text", "there is no text in it")
    return loaded


def members_of(data: bytes, loader: Loader) -> list[Member]:
    """Return the files inside of one; raises `LoadError` as `load_bytes` does."""
    if loader.members is None:
        return []
    with _as_load_errors():
        members = list(itertools.islice(loader.members(data), MAX_MEMBERS + 1))
        if len(members) > MAX_MEMBERS:
            raise LoadError("limit", f"more than {MAX_MEMBERS:,} files in it")
        return members


def pictures_of(data: bytes, *, first: int, password: str | None) -> list[Member]:
    """Return pages of a PDF as `page_pictures` does; raises `LoadError` as `load_bytes` does."""
    from ragkit.loading.pdf_pictures import page_pictures

    with _as_load_errors():
        return list(page_pictures(data, first=first, password=password))


@contextmanager
def _as_load_errors() -> Generator[None]:
    try:
        yield
    except LoadError:
        raise
    except MemoryError as error:
        raise LoadError("limit", "it needs more memory than there is") from error
    except Exception as error:
        # A parser of hostile files may raise anything; one file must not abort an ingest.
        raise LoadError("broken", f"{type(error).__name__}: {error}"[:200]) from error
