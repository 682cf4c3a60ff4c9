"""Bytes of any encoding: characters, or the error that says this is no text."""

from __future__ import annotations

import codecs

from hypothesis import assume, example, given
from hypothesis import strategies as st

from ragkit.errors import LoadError
from ragkit.loading.encodings import LEGACY, decode_text

from .lane import FUZZ, no_hang
from .mutating import mutated

TEXTS = (
    "The ferry leaves the quay at nine, and costs 5 € for two.\n",
    "Größere Fähren fahren früh über die Förde – „später“ nicht.\n",
    "Příliš žluťoučký kůň úpěl ďábelské ódy.\n",
    "Паром отходит от причала в девять часов утра.\n",
    "Το πλοίο φεύγει από την προβλήτα στις εννέα.\n",
    "العبارة تغادر الرصيف في الساعة التاسعة صباحا.\n",
    "המעבורת יוצאת מהרציף בשעה תשע בבוקר.\n",
    "フェリーは九時に埠頭を出ます。料金は五百円です。\n",
    "渡轮九点从码头出发。票价为五元。\n",
    "페리는 아홉 시에 부두를 떠납니다.\n",
)
ENCODINGS = (
    *LEGACY,
    "utf-8",
    "utf-8-sig",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "utf-32",
    "cp500",
    "iso2022_jp",
)
SEEDS = [text.encode(encoding, "ignore") * 3 for text in TEXTS for encoding in ENCODINGS]
DECLARED = st.one_of(
    st.none(),
    st.sampled_from([*ENCODINGS, "idna", "punycode", "utf-7", "rot13", "base64", "zlib", "hex", "undefined", ""]),
    st.text(max_size=10),
)  # fmt: skip


@FUZZ
@example(TEXTS[0].encode("cp1252"), "\0")
@given(mutated(SEEDS), DECLARED)
def test_any_bytes_are_characters_or_no_text(data: bytes, declared: str | None) -> None:
    """Whatever the bytes and whatever they say they are; a guess is named and is a real encoding."""
    try:
        with no_hang():
            text, guessed = decode_text(data, declared=declared)
    except LoadError as error:
        assert error.code == "encoding"
        return
    text.encode("utf-8", "surrogatepass")
    if guessed is not None:
        codecs.lookup(guessed.removesuffix(" (damaged)"))


@FUZZ
@given(st.text(max_size=200), st.sampled_from(["utf-8-sig", "utf-16", "utf-32"]))
def test_a_byte_order_mark_decides(text: str, encoding: str) -> None:
    """Text with a byte order mark comes back as it was, and nothing is guessed."""
    assume(encoding != "utf-16" or not text.startswith("\0"))  # that mark is UTF-32's
    data = text.encode(encoding, "surrogatepass")
    assert decode_text(data) == (data.decode(encoding, "replace"), None)


@FUZZ
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=200))
def test_utf8_comes_back(text: str) -> None:
    """UTF-8 without control characters comes back as it was."""
    if not text.startswith("\ufeff"):
        assert decode_text(text.encode()) == (text, None)
