"""Payloads: pictures and files written into a text are left out of it."""

from __future__ import annotations

import base64
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit import RAG
from ragkit.loading.payloads import without_payloads

PICTURE = base64.b64encode(random.Random(1).randbytes(3_000)).decode()
URI = f"data:image/png;base64,{PICTURE}"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"Before.\n\n![mooring plan]({URI})\n\nAfter.", "Before.\n\nmooring plan\n\nAfter."),
        (f"A [file]({URI}) and an ![icon](<{URI}> \"red\").", "A file and an icon."),
        ("![dot](data:image/gif;base64,R0lGODlhAQABAAAAACw=)", "dot"),
        (f"See ![plan][p].\n\n[p]: {URI} \"Plan\"\n\nEnd.", "See ![plan][p].\n\n\n\nEnd."),
        (f"background: url({URI});", "background: url();"),
        (f'{{"name": "a", "image": "{URI}"}}', '{"name": "a", "image": ""}'),
        (f".. image:: {URI}\n   :alt: a plan", ".. image:: \n   :alt: a plan"),
    ],
)  # fmt: skip
def test_data_uris_are_left_out(text: str, left: str) -> None:
    """Their link text stays; of others nothing does."""
    assert without_payloads(text) == (left, len(text) - len(left))


@pytest.mark.parametrize(
    "text",
    [
        "An example: `data:,Hello%2C%20World!` says hello.",
        "Here is the data: 17 buoys, 3 lamps.",
        "[data](https://example.org/data:1)",
    ],
)
def test_what_is_written_to_be_read_stays(text: str) -> None:
    """Short examples, and the word itself."""
    assert without_payloads(text) == (text, 0)


@given(st.text(alphabet='![]()<>data:;,\n ="ab', max_size=200))
def test_no_text_is_made_up(text: str) -> None:
    """What is left is a subsequence of the text, whatever it is."""
    left, n_less = without_payloads(text)
    rest = iter(text)
    assert all(character in rest for character in left)
    assert len(left) + n_less == len(text)


def test_the_report_counts_them(tmp_path: Path) -> None:
    """In each text format; what is stored, found and sent is the rest."""
    (tmp_path / "a.md").write_text(f"# Mooring\n\n![plan]({URI})\n\nUse two lines.")
    (tmp_path / "b.csv").write_text(f"name,picture\nbuoy,{URI}\n")
    with RAG(tmp_path / "kb", embedder="none", ledger="off") as rag:
        report = rag.ingest(tmp_path / "a.md", tmp_path / "b.csv")
        assert report.dropped["payload"] > 2 * len(PICTURE)
        assert "base64" not in (rag.ask("plan lines").prompt or "")
        assert {row.document_id for row in rag.list()} == {"a.md", "b.csv"}


def test_base64_is_left_out() -> None:
    """Long runs of it go, in one piece or in lines; what only looks like it stays."""
    data = base64.b64encode(bytes(range(256)) * 3).decode()
    lines = "\n".join(data[i : i + 64] for i in range(0, len(data), 64))
    assert without_payloads(f"Before {data} after.") == ("Before  after.", len(data))
    certificate = f"-----BEGIN X-----\n{lines}\n-----END X-----\n"
    assert without_payloads(certificate)[0] == "-----BEGIN X-----\n\n-----END X-----\n"
    for kept in ("ACGT" * 200, "0123456789abcdef" * 40, "x" * 900, data[:280], "a/B1/" * 40):
        assert without_payloads(kept) == (kept, 0)
