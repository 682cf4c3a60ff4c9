"""A question about a number in a table: the context holds its row and the heads of its column."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragkit import RAG, Settings
from tests.loading.pdf_files import At, pdf

COLUMNS = (300, 370, 440, 510)
DATES = ("October 29, 2023", "October 30, 2022")
NOTES = {
    "Note 14 - Segments": (
        ("Compute 14,645 3,475 29,507 9,312", "Graphics 3,475 2,456 9,312 11,611"),
        ("Unallocated cost of revenue and operating expenses 198 156 515 432",),
        ("Acquisition-related and other costs 135 174 446 499", "Other 78 16 104 251"),
    ),
    "Note 15 - Markets": (
        ("Data centers 14,514 3,833 29,121 11,389", "Games 2,856 1,574 7,582 7,236"),
        ("Vehicles 261 251 810 609", "Revenue from others 73 73 216 297"),
        ("Cost of inventory provisions to revenue 442 702 1,200 1,100",),
    ),
    "Note 16 - Stock": (
        ("Research and development 701 530 1,825 1,365",),
        ("Sales and administration 229 183 623 498", "Stock for directors 41 32 99 87"),
    ),
}
STATEMENT = (
    "Revenue 18,120 5,931 38,819 20,923",
    "Cost of revenue 4,720 2,754 11,309 9,400",
    "Gross profit 13,400 3,177 27,510 11,523",
    "Research and development 2,294 1,945 6,210 5,387",
    "Total operating expenses 2,983 2,576 8,152 8,555",
    "Income before income tax 10,522 613 19,892 2,835",
)


def row(y: float, line: str) -> list[At]:
    """Return a row: a label, and four numbers at the right of their columns."""
    label, *numbers = line.rsplit(" ", 4)
    amounts = zip(COLUMNS, numbers, strict=True)
    return [At(60, y, label), *(At(x + 40 - 5 * len(text), y, text) for x, text in amounts)]


def statement() -> list[At]:
    """Return a page whose heads take three lines: month and day stand above the year."""
    page = [At(60, 740, "Statements of income", 14, "B"), At(310, 700, "Three Months Ended")]
    page += [At(450, 700, "Nine Months Ended")]
    for x, date in zip(COLUMNS, DATES * 2, strict=True):
        month, year = date.rsplit(" ", 1)
        page += [At(x, 688, month.replace("October", "Oct.")), At(x + 15, 676, year)]
    return page + [at for i, line in enumerate(STATEMENT) for at in row(660 - 12 * i, line)]


def note(title: str, groups: tuple[tuple[str, ...], ...]) -> list[At]:
    """Return a page that says more of the dates that are asked for, and nothing of the row."""
    page = [At(60, 740, title, 14, "B")]
    page += [At(60, 715, f"For the three months ended {DATES[0]} and {DATES[1]} (in millions):")]
    page += [At(310, 700, "Three Months Ended"), At(450, 700, "Nine Months Ended")]
    page += [At(x, 688, f"{d[:3]}. {d[8:]}") for x, d in zip(COLUMNS, DATES * 2, strict=True)]
    lines = [line for group in groups for line in group]
    return page + [at for i, line in enumerate(lines) for at in row(670 - 12 * i, line)]


@pytest.fixture
def rag(tmp_path: Path) -> RAG:
    """Return a store of one report, whose contexts hold one row of a table, or two."""
    pages = [statement(), *(note(title, groups) for title, groups in NOTES.items())]
    (tmp_path / "report.pdf").write_bytes(pdf(*pages))
    few = Settings(embedder="none", ledger="off", max_context_tokens=60)
    rag = RAG(tmp_path / "kb", config=few)
    assert rag.ingest(tmp_path / "report.pdf").documents["added"] == 1
    return rag


@pytest.mark.parametrize("line", STATEMENT[1:])
def test_the_row_that_a_question_names(rag: RAG, line: str) -> None:
    """It comes with the heads of its columns, though other tables share more words with it."""
    label = line.rsplit(" ", 4)[0].lower()
    with rag:
        answer = rag.ask(
            f"What was the {label} in the three months ended {DATES[0]}?", dry_run=True
        )
    context = "\n".join(item.text for item in answer.context)
    assert line in context
    assert "Three Months Ended" in context
    assert "Oct. 29" in context
