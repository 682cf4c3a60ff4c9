"""OpenDocument files (ISO/IEC 26300): texts, presentations and spreadsheets."""

from __future__ import annotations

from ragkit.errors import LoadError
from ragkit.loading.loaded import Allowance, LoadedText, TextBuilder
from ragkit.loading.odf_sheets import SheetsPart
from ragkit.loading.odf_styles import Styles
from ragkit.loading.odf_text import TextPart
from ragkit.loading.packages import MAX_UNPACKED_BYTES, Package, opened

_CONTENT = "content.xml"


def load_odt(data: bytes) -> LoadedText:
    """Load a text (.odt): paragraphs, headings, lists with numbers, tables, notes at the end.

    Tracked changes are read as accepted. Left out: comments, headers, footers and struck-out text;
    and counted: hidden text and tables of contents. A number that is raised behind another one is
    set apart, a footnote is `[1]`.

    Raises:
        LoadError: `password` when it is encrypted, `limit` when it unpacks to too much, `broken`
            when it is malformed.
    """
    return _load_text(data)


def load_odp(data: bytes) -> LoadedText:
    """Load a presentation (.odp): titles, texts, lists and tables by slide, notes below.

    As `load_odt`; left out and counted are hidden slides, dates, footers and numbers of slides.
    """
    return _load_text(data)


def load_ods(data: bytes) -> LoadedText:
    """Load a spreadsheet (.ods): a line `a | b | c` a row, located by sheet and cells.

    As `load_xlsx`; errors as `load_odt`.
    """
    with opened(data, kind="an OpenDocument file", old="it is no OpenDocument file") as package:
        builder = TextBuilder()
        allowance = Allowance(_checked(package))
        part = SheetsPart(builder, _styles(package), allowance)
        package.parse(_CONTENT, part, most_bytes=MAX_UNPACKED_BYTES)
        return builder.build(title=package.title("meta.xml"), dropped=part.dropped)


def _load_text(data: bytes) -> LoadedText:
    with opened(data, kind="an OpenDocument file", old="it is no OpenDocument file") as package:
        builder = TextBuilder()
        part = TextPart(builder, _styles(package), Allowance(_checked(package)))
        package.parse(_CONTENT, part)
        title = package.title("meta.xml") or part.title
        return builder.build(title=title, dropped=part.dropped)


def _checked(package: Package) -> int:
    """Return the size of the content, unless it is encrypted."""
    manifest = "META-INF/manifest.xml"
    is_locked = manifest in package and b"encryption-data" in b"".join(package.blocks(manifest))
    if is_locked:
        raise LoadError("password", "encrypted; save it without a password to ingest it")
    return min(package.n_bytes(_CONTENT), MAX_UNPACKED_BYTES)


def _styles(package: Package) -> Styles:
    styles = Styles()
    if "styles.xml" in package:
        package.parse("styles.xml", styles)
    return styles
