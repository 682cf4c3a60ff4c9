"""Rich Text Format (.rtf, version 1.9.1), read in one pass over its control words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ragkit.errors import LoadError
from ragkit.loading.loaded import Allowance, LoadedText, TextBuilder
from ragkit.loading.plain import load_text
from ragkit.loading.rtf_fonts import CODE_PAGES, Fonts
from ragkit.loading.rtf_text import RtfText
from ragkit.loading.scripts import LOWERED, RAISED

MAX_DEPTH = 2_000
"""Groups inside one another; programs write a few dozen."""

_TOKEN = re.compile(
    rb"\\([A-Za-z]{1,32})(-?[0-9]{1,10})? ?|\\'([0-9A-Fa-f]{2})|\\([^A-Za-z])|([{}])"
    rb"|([^\\{}\r\n]+)|[\r\n]+|\\"
)
_UNREAD = frozenset(
    "colortbl pict objdata header headerl headerr headerf footer footerl footerr footerf ftnsep "
    "ftnsepc ftncn aftnsep aftnsepc aftncn themedata colorschememapping latentstyles datastore "
    "fldinst nonshppict nonesttables bkmkstart bkmkend tc xe rxe txe sp xmlnstbl listtable "
    "listoverridetable revtbl rsidtbl generator pn pntxta pntxtb mmathPr wgrffmtfilter".split()
)
_READ_THOUGH_STARRED = frozenset({"shpinst", "nesttableprops"})
_PLACES = {
    "fonttbl": "fonts", "stylesheet": "styles", "title": "title", "info": "unread",
    "listtext": "marker", "pntext": "marker", "footnote": "note",
}  # fmt: skip
_CHARACTERS: Mapping[str, str] = {
    "tab": "\t", "line": "\n", "emdash": "\u2014", "endash": "\u2013", "lquote": "\u2018",
    "rquote": "\u2019", "ldblquote": "\u201c", "rdblquote": "\u201d", "bullet": "\u2022",
    "emspace": " ", "enspace": " ", "qmspace": " ", "lbr": "\n", "nestcell": " | ", "nestrow": " ",
}  # fmt: skip
_SIGNS = {b"~": "\u00a0", b"_": "\u2011", b"\\": "\\", b"{": "{", b"}": "}"}
_SCRIPTS = {"super": RAISED, "sub": LOWERED, "nosupersub": ""}
_STRIKES = frozenset({"strike", "striked", "deleted"})
_PARAGRAPH_ENDS = frozenset({"par", "sect", "page", "column"})
_CODE_PAGE_WORDS = {"mac": "mac_roman", "pc": "cp437", "pca": "cp850", "ansi": "cp1252"}


def load_rtf(data: bytes) -> LoadedText:
    """Load Rich Text Format: paragraphs, headings, lists with numbers, tables, notes at the end.

    Left out: pictures, headers, footers, deleted and struck-out text; and counted: hidden text. A
    number that is raised behind another one is set apart, a footnote is `[1]`. A file that does not
    begin as this format does is read as plain text.

    Raises:
        LoadError: `limit` when groups are nested too deeply.
    """
    start = data[:1_000].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start.startswith(b"{\\rtf"):
        return load_text(data)
    reader = _Reader(len(data))
    reader.read(data)
    return reader.finish()


@dataclass(frozen=True, slots=True)
class _Group:
    """What holds inside a group, and is as it was behind it; `place` is where its text goes."""

    place: str = "text"
    code_page: str = ""
    n_fallback: int = 1
    sign: str = ""
    is_struck: bool = False
    is_hidden: bool = False


@dataclass(slots=True)
class _Pending:
    """Bytes that are not decoded yet: characters of two bytes come in two tokens."""

    data: bytearray = field(default_factory=bytearray)

    def taken(self, code_page: str) -> str:
        """Return them as text."""
        text = self.data.decode(code_page, "replace") if self.data else ""
        self.data.clear()
        return text


class _Reader:
    def __init__(self, n_bytes: int) -> None:
        self._builder = TextBuilder()
        self._text = RtfText(self._builder, Allowance(n_bytes))
        self._fonts = Fonts()
        self._group = _Group()
        self._outer: list[_Group] = []
        self._pending = _Pending()
        self._n_skipped = 0
        self._is_starred = False
        self._n_hidden = 0
        self._title: list[str] = []

    def read(self, data: bytes) -> None:
        """Read the whole file."""
        position = 0
        while match := _TOKEN.match(data, position):
            position = match.end()
            word, number, byte, sign, brace, text = match.groups()
            if word is not None:
                name, value = word.decode(), int(number) if number else None
                if name == "bin":
                    position += min(max(value or 0, 0), len(data) - position)
                else:
                    self._word(name, value)
            elif byte is not None:
                self._add_bytes(bytes([int(byte, 16)]))
            elif text is not None:
                self._add_bytes(text)
            elif brace is not None:
                self._brace(brace)
            elif sign is not None:
                self._sign(sign)
            if match.end() == len(data):
                break

    def finish(self) -> LoadedText:
        """Return what was read."""
        while self._outer:
            self._brace(b"}")
        self._flush()
        self._text.finish()
        return self._builder.build(
            title=" ".join("".join(self._title).split()) or self._text.title,
            dropped={"hidden": self._n_hidden} if self._n_hidden else None,
        )

    def _brace(self, brace: bytes) -> None:
        self._flush()
        self._n_skipped, self._is_starred = 0, False
        if brace == b"{":
            if len(self._outer) >= MAX_DEPTH:
                raise LoadError("limit", f"groups nested deeper than {MAX_DEPTH:,}")
            self._outer.append(self._group)
        elif self._outer:
            self._group = self._outer.pop()

    def _sign(self, sign: bytes) -> None:
        if sign == b"*":
            self._is_starred = True
        elif sign in {b"\r", b"\n"}:
            self._word("par", None)
        elif sign in _SIGNS:
            self._add(_SIGNS[sign])

    def _word(self, name: str, value: int | None) -> None:
        is_starred, self._is_starred = self._is_starred, False
        if name == "u":
            self._unicode(value or 0)
        elif name == "uc":
            self._group = replace(self._group, n_fallback=min(max(value or 0, 0), 100))
        elif self._group.place == "unread" and name != "title":
            return
        elif name in _UNREAD or (is_starred and name not in _READ_THOUGH_STARRED):
            self._enter("unread")
        elif name in _PLACES:
            self._enter(_PLACES[name])
        elif name in _CHARACTERS:
            self._add(_CHARACTERS[name])
        elif not self._format(name, value):
            self._paragraph_word(name, value)

    def _enter(self, place: str) -> None:
        self._flush()
        if place == "note" and self._group.place != "note":
            self._text.begin_note()
        self._group = replace(self._group, place=place)

    def _format(self, name: str, value: int | None) -> bool:
        """Take a word that changes how text looks, or its bytes; return whether it is one."""
        group, is_on = self._group, value != 0
        if name in _SCRIPTS:
            group = replace(group, sign=_SCRIPTS[name] if is_on else "")
        elif name in _STRIKES:
            group = replace(group, is_struck=is_on)
        elif name == "v":
            group = replace(group, is_hidden=is_on)
        elif name == "plain":
            group = replace(group, sign="", is_struck=False, is_hidden=False, code_page="")
        elif name == "f" and group.place != "fonts":
            group = replace(group, code_page=self._fonts.code_page(value or 0))
        elif name in _CODE_PAGE_WORDS:
            self._fonts.default = _CODE_PAGE_WORDS[name]
        elif name == "ansicpg" and f"cp{value}" in CODE_PAGES:
            self._fonts.default = f"cp{value}"
        else:
            return False
        if group != self._group:
            self._flush()
        self._group = group
        return True

    def _paragraph_word(self, name: str, value: int | None) -> None:
        self._flush()
        place = self._group.place
        if place == "fonts":
            self._fonts.word(name, value)
        elif place == "styles":
            self._text.styles.word(name, value)
        elif place == "note":
            if name in _PARAGRAPH_ENDS:
                self._text.add(" ", "note")
        elif place == "text" and name in _PARAGRAPH_ENDS:
            self._text.end_paragraph()
        elif place == "text":
            self._text.word(name, value)

    def _unicode(self, value: int) -> None:
        if self._group.place != "unread":
            self._add(chr(value % 2**16))
        self._n_skipped = self._group.n_fallback

    def _add_bytes(self, data: bytes) -> None:
        if self._n_skipped:
            n = min(self._n_skipped, len(data))
            self._n_skipped -= n
            data = data[n:]
        if self._group.place != "unread":
            self._pending.data += data

    def _add(self, text: str) -> None:
        self._flush()
        self._pass_on(text)

    def _flush(self) -> None:
        text = self._pending.taken(self._group.code_page or self._fonts.default)
        if text:
            self._pass_on(text)

    def _pass_on(self, text: str) -> None:
        group = self._group
        if group.place == "title":
            self._title.append(text)
        elif group.place == "styles":
            self._text.styles.add(text)
        elif group.is_hidden and group.place in {"text", "note"}:
            self._n_hidden += len("".join(text.split()))
        elif group.place in {"text", "note", "marker"} and not group.is_struck:
            self._text.add(text, group.place, group.sign)
