"""Decoding a text file, by rules that can be stated.

1. A byte order mark decides.
2. Zero bytes: UTF-32 or UTF-16 without a mark, if that gives text; else the file is not text.
3. Seven-bit bytes with the escape sequences of ISO-2022-JP, or of HZ, are that.
4. Valid UTF-8 is UTF-8; so is UTF-8 with a few damaged bytes (shown as U+FFFD).
5. What the file itself declares (HTML, XML, mails), if it decodes.
6. What `chardet` says, where it is installed (extra `documents`) and its text consists of words.
7. The legacy encoding in which the letters look most like words (`LEGACY`), unless another one that
   gives another text comes near: then nobody can tell, and the file is refused.

Rules 5 to 7 are guesses, so their result is recorded in the document's metadata as `encoding`.
"""

from __future__ import annotations

import codecs
import functools
import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from unicodedata import category

from ragkit.errors import LoadError, MissingExtraError

SAMPLE_BYTES = 65_536
GUESSED_BYTES = 16_384
"""How much of a file a guess looks at."""

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_RUSSIAN = "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфё"
_GREEK = "αοιετσνηυρπκμλςωδγχθφβξζψάέήίόύώϊϋΰΐ«»"
_ARABIC = "اليمنوترةبعدسفكهقحجشطصخذزثءأضغظىإئؤآ،؛؟"
_WESTERN = "äöüßéèêëàâçîïôûùñáíóúãõåæøœ"
_EASTERN = "ěščřžýáíéúůťďňąćęłńóśźżőűöäüăîâşţ"
_QUOTES = "’“”‘–—…"

LEGACY: dict[str, str] = {
    "cp1252": f"{_WESTERN}{_QUOTES}€°§«»¿¡·•",
    "cp1250": f"{_EASTERN}đ„{_QUOTES}§",
    "cp1251": f"{_RUSSIAN}єіїґ«»–—№",
    "koi8-r": _RUSSIAN,
    "cp866": _RUSSIAN,
    "iso8859-5": _RUSSIAN,
    "mac_cyrillic": f"{_RUSSIAN}«»–—",
    "cp1253": f"{_GREEK}–—",
    "iso8859-7": _GREEK,
    "cp1256": _ARABIC,
    "iso8859-6": _ARABIC,
    "cp1255": "יוהלאברתשמנםדקפעחסטצגזכךןףץ",
    "cp1254": f"ığşüöçâîû{_QUOTES}",
    "iso8859-2": f"{_EASTERN}đ§",
    "iso8859-16": "ăîâșț„”",
    "cp1258": "àâăđêôơư\u0300\u0301\u0303\u0309\u0323",
    "cp850": f"{_WESTERN}ı§°«»¿¡·",
    "cp857": "ığşüöçâîû",
    "mac_roman": f"{_WESTERN}{_QUOTES}°§«»¿¡·•",
    "cp874": "านรกอเงมลยทวสดตบปคแจพห่้ีิ็ัืุูโใไำะ",
    "cp932": "",
    "gb18030": "",
    "euc_kr": "",
    "big5": "",
    "euc_jp": "",
}
"""Encodings that a guess chooses from, those that are preferred first, each with the characters
that texts in it consist of beyond ASCII, for other scripts than Latin the most frequent ones first.
Those without a list are East Asian: their double bytes must give kana, common ideographs or
Hangul."""

_IDEOGRAPHS = re.compile("[\u3001\u3002\u4e00-\u9fff\uff00-\uff5e]")
_KANA = re.compile("[\u3001\u3002\u3041-\u30ff\u4e00-\u9fff\uff00-\uff5e]")
_EAST_ASIAN = {
    "cp932": _KANA,
    "euc_jp": _KANA,
    "gb18030": _IDEOGRAPHS,
    "big5": _IDEOGRAPHS,
    "euc_kr": re.compile("[\uac00-\ud7a3]"),
}
_HIRAGANA = re.compile("[\u3041-\u309f]")
_KANA_COUNT_MORE = 0.3
"""No other text has kana by chance, but Japanese read as Chinese has ideographs."""
_CONTROL = re.compile("[\x01-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f]")
_ODD_CASE = re.compile(r"[a-zà-ÿа-яα-ω][А-ЯΑ-Ω]")
_OTHER_SCRIPTS = "[а-яА-Яα-ωΑ-Ω\u0590-\u06ff\u0e00-\u0e7f\u3041-\u30ff\u4e00-\u9fff\uac00-\ud7a3]"
_MIXED_SCRIPT = re.compile(f"[A-Za-z]{_OTHER_SCRIPTS}|{_OTHER_SCRIPTS}[A-Za-z]")
_LATIN = frozenset("äěığăà")
"""What the lists of the encodings of Latin scripts begin with."""
_ACCENTS = re.compile(r"[^\W\d_a-zA-Z]{5,}")
"""In Latin scripts there are hardly five letters beyond ASCII in a row."""
_ASCII_WORDS = re.compile(r"[A-Za-z ]")
_HZ = re.compile(rb"~\{(?:[\x21-\x77][\x21-\x7e])+~\}")

_AS_DECLARED = {
    "gb2312": "gb18030", "gbk": "gb18030", "x-gbk": "gb18030", "shift_jis": "cp932",
    "shift-jis": "cp932", "x-sjis": "cp932", "iso-8859-1": "cp1252", "latin-1": "cp1252",
    "ks_c_5601-1987": "cp949", "euc-kr": "cp949", "iso-8859-9": "cp1254", "tis-620": "cp874",
}  # fmt: skip
"""What is written under a name, as the WHATWG's encoding standard has it."""


def codec_of(declared: str) -> str:
    """Return the name of Python's codec for an encoding that a file or a server declares."""
    return _AS_DECLARED.get(declared.lower(), declared)


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
    if data.isascii() and (named := _seven_bit(data)) is not None:
        return named, None
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
        text = _strict(data, codec_of(declared))
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
    except (ValueError, LookupError):  # also a name that no codec may have
        return None


def _refuse_binary(text: str) -> None:
    sample = text[:SAMPLE_BYTES]
    if len(_CONTROL.findall(sample)) * 50 > len(sample):
        raise LoadError("encoding", "this is not text: too many control characters")


def _seven_bit(data: bytes) -> str | None:
    """Return the characters of text that is written in ASCII, but is not in English."""
    if b"\x1b$" in data:
        return _strict(data, "iso2022_jp")
    return _strict(data, "hz") if _HZ.search(data) else None


def _with_zeros(data: bytes) -> str:
    """Decode UTF-32 or UTF-16 without a byte order mark, or text with a few stray zero bytes."""
    wide = [name for name in ("utf-32-le", "utf-32-be") if len(data) % 4 == 0]
    wide += [name for name in ("utf-16-le", "utf-16-be") if len(data) % 2 == 0]
    readings = [_strict(data, encoding) for encoding in wide]
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
    encoding = _detected(data) or _likeliest(sample[:GUESSED_BYTES])
    text = data.decode(encoding, "replace")
    _refuse_binary(text)
    return text, encoding


@functools.cache
def _detector() -> Callable[[bytes], Mapping[str, object]] | None:
    """Return what detects encodings; None where it is not installed, or too old to be of use."""
    try:
        module = importlib.import_module("chardet")
    except ImportError:
        return None
    version = str(getattr(module, "__version__", "0"))
    detect: Callable[[bytes], Mapping[str, object]] | None = getattr(module, "detect", None)
    return detect if int(version.split(".", maxsplit=1)[0]) >= _CHARDET_MAJOR else None


def _detected(data: bytes) -> str | None:
    """Return what `chardet` says; None where there is none, or its text is not of words."""
    detect = _detector()
    if detect is None:
        return None
    named = str(detect(data)["encoding"])
    try:
        encoding = codecs.lookup(named).name
        text = data[:SAMPLE_BYTES].decode(encoding, "replace")
    except LookupError:
        return None
    beyond = [character for character in text if character > "\x7f"]
    n_good = sum(category(character)[0] in "LM" or character in _SIGNS for character in beyond)
    n_bad = 2 * text.count("\ufffd") + sum(
        len(sign.findall(text)) for sign in (_CONTROL, _MIXED_SCRIPT, _ODD_CASE)
    )
    return encoding if n_good - n_bad >= _TRUSTED * len(beyond) else None


_ACCEPTED = 0.5
"""At least half of the characters beyond ASCII must be ones that the encoding is used for."""

_CHARDET_MAJOR = 7
"""Earlier versions of it are wrong more often than what stands here."""

_TRUSTED = 0.75
"""The same of what is detected, where any letter will do."""

_NEAR = 0.05
"""An encoding whose score is so near to the best one may as well be the right one."""

_ALIKE = 0.002
"""Share of characters in which two readings may differ and still be one."""

_SIGNS = frozenset(f"{_QUOTES}„«»‹›°§€£·•、。，！？：；（）「」『』・")


def _likeliest(sample: bytes) -> str:
    """Return the encoding whose text has the likeliest letters.

    Raises:
        LoadError: `encoding` when there is none, or nobody can tell which.
    """
    scores = sorted(_scores(sample), reverse=True)
    if not scores or scores[0][0] < _ACCEPTED:
        raise LoadError("encoding", "not UTF-8, and no legacy encoding makes words of it")
    best, encoding = scores[0]
    text = sample.decode(encoding, "replace")
    for score, other in scores[1:]:
        if best - score < _NEAR and not _is_alike(text, sample.decode(other, "replace")):
            way_out = MissingExtraError("chardet", extra="documents").install_command
            raise LoadError(
                "encoding",
                f"it may be in {encoding} or in {other}; save it as UTF-8, or install what can "
                f"tell them apart: {way_out}",
            )
    return encoding


def _is_alike(text: str, other: str) -> bool:
    n_different = sum(a != b for a, b in zip(text, other, strict=False))
    return n_different + abs(len(text) - len(other)) <= _ALIKE * len(text)


def _scores(sample: bytes) -> Iterable[tuple[float, str]]:
    for rank, (encoding, letters) in enumerate(LEGACY.items()):
        text = sample.decode(encoding, "replace")
        beyond = [character for character in text if character > "\x7f"]
        if not beyond:
            continue
        known = _EAST_ASIAN.get(encoding)
        weights = _weights(letters)
        n_good = (
            sum(weights.get(character.lower(), 0.0) for character in beyond)
            if known is None
            else len(known.findall(text)) + _KANA_COUNT_MORE * len(_HIRAGANA.findall(text))
        )
        n_bad = len(_ODD_CASE.findall(text)) + len(_MIXED_SCRIPT.findall(text))
        n_bad += text.count("\ufffd") * 2 + len(_CONTROL.findall(text))
        n_bad += sum(
            weights.get(c.lower()) is None and not c.isalpha() and c not in _SIGNS for c in beyond
        )
        if letters[:1] in _LATIN:
            n_bad += sum(map(len, _ACCENTS.findall(text)))
        # Ties go to the encoding that is listed first.
        yield (n_good - n_bad) / len(beyond) - rank * 1e-6, encoding


def _weights(letters: str) -> dict[str, float]:
    """Return how much each character counts; of another alphabet, rare letters count less."""
    step = 0.0 if letters[:1] in _LATIN else 1.0 / max(1, len(letters))
    most = 1.0 if not step else 1.3
    return {letter: most - rank * step for rank, letter in enumerate(letters)}
