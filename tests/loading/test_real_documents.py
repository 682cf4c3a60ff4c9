"""Documents in all formats: the demo corpus, and a collection of real files where it is at hand."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest

from ragkit.errors import LoadError
from ragkit.loading import LOADERS, FileSource, load_bytes
from ragkit.types import Document, Failure, PendingDocument

EXAMPLES = Path(__file__).parents[2] / "examples"

WRONG_PHRASES: Mapping[str, tuple[str, ...]] = {
    # Of the lines between the messages of a mailbox, which are of the envelopes.
    "mbox/simple.mbox": ("name Mon Jun 01", "mailbox"),
    # A comment (NOTE), which nobody says.
    "vtt/webvtt_example_01.vtt": ("2019 World Wide Web",),
    # Rows as they stand: in the text, each cell has the name of its column before it.
    "csv/stanley-cups.tsv": ("Team Location Stanley Cups", "Maple Leafs TOR 13"),
    "csv/quotes_and_newlines.csv": ("a,b", "3,4"),
}
"""Phrases of the collection that are wrong, rather than the text that lacks them."""

CLOSED = {
    ("pdf_encrypted/r6-user-password.pdf", "password"),
    ("office_encrypted/testWORD_protected_passtika.docx", "password"),
    ("office_encrypted/password_protected.xlsx", "password"),
}
"""Files that stay closed: PDFium opens no PDF of revision 6 with an empty password of its owner,
and office documents are not decrypted."""


@pytest.fixture(scope="module")
def harbor() -> dict[str, Document]:
    """Return the demo corpus by id."""
    pytest.importorskip("pypdfium2")
    items = list(FileSource([EXAMPLES / "harbor"]).documents())
    assert not [item for item in items if isinstance(item, Failure)]
    return {item.id: item.load() for item in items if isinstance(item, PendingDocument)}


def test_demo_corpus_has_every_format(harbor: dict[str, Document]) -> None:
    """More than twenty documents load, in each of the formats that the demo shows."""
    suffixes = {Path(name).suffix for name in harbor}
    assert len(harbor) > 20
    assert suffixes >= {".txt", ".md", ".rst", ".html", ".csv", ".json", ".jsonl", ".pdf", ".docx"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("handbook.md", "To reset a badge, hold it against the blue reader"),
        ("emergency_plan.pdf", "The rescue boat of the Gannet is launched from the port side"),
        ("fares.csv", "ticket: Annual pass; price in euros: 389.00; valid: twelve months"),
    ],
)  # fmt: skip
def test_demo_answers_stand_in_their_format(
    harbor: dict[str, Document], name: str, words: str
) -> None:
    """The answers to the demo questions stand where they are said to stand."""
    assert words in " ".join(harbor[name].text.split())


def test_demo_leaves_one_question_open(harbor: dict[str, Document]) -> None:
    """The last demo question is one that no document has a word on."""
    lines = (EXAMPLES / "demo_questions.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[-1])["_id"] == "salary"
    assert not [name for name, d in harbor.items() if re.search("salary|wage", d.text)]


def test_real_documents(test_data: Path) -> None:
    """Every file of the collection gives its words, or the error that its kind calls for."""
    pytest.importorskip("pypdfium2")
    wrong = [
        f"{entry['path']}: {problem}"
        for entry in _entries(test_data / "documents")
        for problem in _problems(test_data / "documents", entry)
    ]
    assert not wrong


def _entries(folder: Path) -> Iterator[Mapping[str, object]]:
    for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        entry = cast("dict[str, object]", json.loads(line))
        if Path(str(entry["path"])).suffix.lower() in LOADERS:
            yield entry


def _problems(folder: Path, entry: Mapping[str, object]) -> Iterator[str]:
    expect, path = entry["expect"], str(entry["path"])
    text, code = _outcome(folder / path, None)
    if expect == "password":
        if code != "password":
            yield f"{code} without a password"
        text, code = _outcome(folder / path, str(entry["password"]))
        if code is not None:
            yield from [] if (path, code) in CLOSED else [f"{code} with the password"]
            return
    if expect == "no_text" and code != "no_text":
        yield f"{code} where there is no text"
    if expect in {"text", "password"}:
        if code == "encoding" and importlib.util.find_spec("chardet") is None:
            return  # Without it, what is not certain is refused.
        if code is not None and (path, code) not in CLOSED:
            yield f"{code}: not read"
        elif code is None:
            yield from _missing(path, text, cast("list[str]", entry["must_contain"]))


def _outcome(path: Path, password: str | None) -> tuple[str, str | None]:
    try:
        return load_bytes(path.read_bytes(), name=path.name, password=password).text, None
    except LoadError as error:
        return "", error.code


def _missing(path: str, text: str, phrases: list[str]) -> Iterator[str]:
    """Yield phrases that are not there, compared by letters and digits."""
    flat = _letters(text)
    for phrase in phrases:
        if _letters(phrase) not in flat and phrase not in WRONG_PHRASES.get(path, ()):
            yield f"lacks {phrase!r}"


def _letters(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())
