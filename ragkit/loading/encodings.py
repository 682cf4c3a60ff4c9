"""Decoding a text file, by rules that can be stated.

1. A byte order mark decides.
2. Zero bytes: UTF-16 without a mark, if that gives text; else the file is not text.
3. Seven-bit bytes with ISO-2022-JP's escape sequences are ISO-2022-JP.
4. Valid UTF-8 is UTF-8; so is UTF-8 with a few damaged bytes (shown as U+FFFD).
5. What the file itself declares (HTML), if it decodes.
6. The legacy encoding in which the letters look most like words (`LEGACY`, in order of preference).

Rules 5 and 6 are guesses, so their result is recorded in the document's metadata as `encoding`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable

from ragkit.errors import LoadError

SAMPLE_BYTES = 65_536
"""How much of a file a guess looks at."""

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

LEGACY: dict[str, str] = {
    "cp1252": "äöüßéèêëàâçîïôûùñáíóúãõåæøœÄÖÜÉÀÇÑÅØ’“”‘–—…€°§«»¿¡·•",
    "cp1250": "ěščřžýáíéůúťďňąćęłńóśźżőűöäüăîâșțđŠČŘŽÝÁÍÉŮÚŁŚŻ„”“–—…§",
    "cp1251": "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфёієїґ«»–—№",
    "koi8-r": "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфё",
    "cp866": "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфё",
    "cp1253": "αοιετσνηυρπκμλςωδγχθφβξζψάέήίόύώϊϋΰΐ«»–—",
    "iso8859-7": "αοιετσνηυρπκμλςωδγχθφβξζψάέήίόύώϊϋΰΐ«»",
    "cp1256": "اليمنوترةبعدسفكهقحجشطصخذزثءأضغظىإئؤآ،؛؟",
    "iso8859-6": "اليمنوترةبعدسفكهقحجشطصخذزثءأضغظىإئؤآ،؛؟",
    "cp1255": "יוהלאברתשמנםדקפעחסטצגזכךןףץ",
    "cp932": "",
    "gb18030": "",
    "euc_kr": "",
}
"""Encodings that a guess chooses from, each with the non-ASCII characters that texts in it consist
of. Those without a list are East Asian: their double bytes must give kana, common ideographs or
Hangul."""

_EAST_ASIAN = {
    # cp932 is accepted only with kana, gb18030 only with ideographs, euc_kr only with Hangul.
    "cp932": re.compile("[\u3001\u3002\u3041-\u30ff\u4e00-\u9fff\uff00-\uff5e]"),
    "gb18030": re.compile("[\u3001\u3002\u4e00-\u9fff\uff00-\uff5e]"),
    "euc_kr": re.compile("[\uac00-\ud7a3]"),
}
_CONTROL = re.compile("[\x01-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_ODD_CASE = re.compile(r"[a-zà-ÿа-яα-ω][А-ЯΑ-Ω]")
_MIXED_SCRIPT = re.compile("[A-Za-z][а-яА-Яα-ωΑ-Ω\u0600-\u06ff\u0590-\u05ff]")
_ASCII_WORDS = re.compile(r"[A-Za-z ]")


def decode_text(data: bytes, *, declared: str | None = None) -> tuple[str, str | None]:
    """Return the characters of a text file, and its encoding if that is a guess.

    Args:
        data: The whole file.
        declared: The encoding that the file says it has.

    Raises:
        LoadError: `encoding` for data that is not text in any of these encodings.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace"), None
    if b"\0" in data:
        return _with_zeros(data), None
    if b"\x1b$" in data and data.isascii():
        japanese = _strict(data, "iso2022_jp")
        if japanese is not None:
            return japanese, None
    text = _strict(data, "utf-8")
    if text is not None:
        _refuse_binary(text)
        return text, None
    return _uncertain(data, declared)


def _uncertain(data: bytes, declared: str | None) -> tuple[str, str]:
    damaged = _damaged_utf8(data)
    if damaged is not None:
        return damaged, "utf-8 (damaged)"
    if declared is not None:
        text = _strict(data, declared)
        if text is not None:
            return text, declared.lower()
    return _guess(data)


_NO_FILE_ENCODINGS = frozenset(
    "idna punycode undefined unicode-escape raw-unicode-escape utf-7 mbcs oem".split()
)
"""Codecs of Python that no text file is written in, whatever it declares."""


def _strict(data: bytes, encoding: str) -> str | None:
    if encoding.lower().replace("_", "-") in _NO_FILE_ENCODINGS:
        return None
    try:
        return data.decode(encoding)
    except (UnicodeError, LookupError):
        return None


def _refuse_binary(text: str) -> None:
    sample = text[:SAMPLE_BYTES]
    if len(_CONTROL.findall(sample)) * 50 > len(sample):
        raise LoadError("encoding", "this is not text: too many control characters")


def _with_zeros(data: bytes) -> str:
    """Decode UTF-16 without a byte order mark, or text with a few stray zero bytes."""
    if len(data) % 2 == 0:
        readings = [_strict(data, encoding) for encoding in ("utf-16-le", "utf-16-be")]
        plausible = [text for text in readings if text is not None and _reads_well(text)]
        if plausible:
            return max(plausible, key=_n_spaces)
    text = _strict(data, "utf-8")
    if text is None or data.count(0) * 50 > len(data):
        raise LoadError("encoding", "this is not text: it holds zero bytes")
    return text


def _reads_well(text: str) -> bool:
    """Whether text has no NUL, few control characters, and as much white space as a table."""
    return "\0" not in text and not _CONTROL.search(text) and _n_spaces(text) * 200 > len(text)


def _n_spaces(text: str) -> int:
    # Not U+3000: the digit 0 becomes it when its two bytes are read in the wrong order.
    return sum(text.count(space) for space in " \n\r")


def _damaged_utf8(data: bytes) -> str | None:
    """Return the text if at most one in twenty non-ASCII characters is damaged."""
    text = data.decode("utf-8", "replace")
    n_damaged = text.count("\ufffd")
    n_beyond = sum(character > "\x7f" for character in text[: 8 * SAMPLE_BYTES])
    return text if n_damaged * 20 <= n_beyond else None


def _guess(data: bytes) -> tuple[str, str]:
    sample = data[:SAMPLE_BYTES]
    if sample.count(0x40) > 0.05 * len(sample) and sample.count(0x20) < 0.01 * len(sample):
        text = _strict(data, "cp500")
        # EBCDIC: its space is ASCII's @, and its letters are outside ASCII.
        if text is not None and len(_ASCII_WORDS.findall(text)) > 0.6 * len(text):
            return text.replace("\x85", "\n"), "cp500"
    best = max(_scores(sample), default=(0.0, ""))
    if best[0] < _ACCEPTED:
        raise LoadError("encoding", "not UTF-8, and no legacy encoding makes words of it")
    encoding = best[1]
    text = data.decode(encoding, "replace")
    _refuse_binary(text)
    return text, encoding


_ACCEPTED = 0.5
"""At least half of the non-ASCII characters must be ones that the encoding is used for."""


def _scores(sample: bytes) -> Iterable[tuple[float, str]]:
    for rank, (encoding, letters) in enumerate(LEGACY.items()):
        text = sample.decode(encoding, "replace")
        beyond = [character for character in text if character > "\x7f"]
        if not beyond:
            continue
        known = _EAST_ASIAN.get(encoding)
        n_good = (
            sum(character in letters or character.lower() in letters for character in beyond)
            if known is None
            else len(known.findall(text))
        )
        n_bad = len(_ODD_CASE.findall(text)) + len(_MIXED_SCRIPT.findall(text))
        n_bad += text.count("\ufffd") * 2 + len(_CONTROL.findall(text))
        # Ties go to the encoding that is listed first.
        yield (n_good - n_bad) / len(beyond) - rank * 1e-6, encoding
