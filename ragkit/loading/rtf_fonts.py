"""Fonts of Rich Text Format, which say in which encoding bytes are."""

from __future__ import annotations

CODE_PAGES = frozenset(
    "cp437 cp720 cp737 cp775 cp850 cp852 cp855 cp857 cp858 cp860 cp861 cp862 cp863 cp864 cp865 "
    "cp866 cp869 cp874 cp932 cp936 cp949 cp950 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 "
    "cp1257 cp1258".split()
)
_CHARSETS = {
    0: "cp1252", 77: "mac_roman", 128: "cp932", 129: "cp949", 130: "johab", 134: "cp936",
    136: "cp950", 161: "cp1253", 162: "cp1254", 163: "cp1258", 177: "cp1255", 178: "cp1256",
    186: "cp1257", 204: "cp1251", 222: "cp874", 238: "cp1250", 254: "cp437", 255: "cp850",
}  # fmt: skip


class Fonts:
    """The encodings of the fonts, by number; `default` is that of the document."""

    def __init__(self) -> None:
        self.default = "cp1252"
        self._code_pages: dict[int, str] = {}
        self._font = 0

    def word(self, name: str, value: int | None) -> None:
        """Take a word of the table of fonts."""
        if name == "f":
            self._font = value or 0
        elif name == "fcharset" and value in _CHARSETS and value != 0:
            self._code_pages[self._font] = _CHARSETS[value]
        elif name == "cpg" and f"cp{value}" in CODE_PAGES:
            self._code_pages[self._font] = f"cp{value}"

    def code_page(self, font: int) -> str:
        """Return the encoding of a font, empty for that of the document."""
        return self._code_pages.get(font, "")
