"""What can be read alone: units of documents with structure, and what each needs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ragkit.text.markdown import markdown_parts
from ragkit.text.rst import rst_parts
from ragkit.text.units import (
    MAX_CODE_CHARACTERS,
    MAX_NEED_CHARACTERS,
    MAX_WHOLE_CODE_CHARACTERS,
    document_units,
)
from ragkit.types import Part, PartKind, Unit


def units_of(text: str, *, rst: bool = False) -> list[Unit]:
    """Return the units of a text in Markdown or reStructuredText."""
    return list(document_units(text, rst_parts(text) if rst else markdown_parts(text)))


def words(text: str, unit: Unit) -> str:
    """Return a unit's text, its white space collapsed."""
    return " ".join(text[unit.start : unit.end].split())


def find(text: str, units: list[Unit], start: str) -> Unit:
    """Return the first unit that starts with these words."""
    return next(unit for unit in units if words(text, unit).startswith(start))


def needs(unit: Unit) -> list[tuple[str, str]]:
    """Return a unit's needs as roles and texts."""
    return [(need.role, " ".join(need.text.split())) for need in unit.needs]


def test_code_needs_the_sentence_that_introduces_it() -> None:
    """Whatever that sentence ends with."""
    text = "# Build\n\nIt is quick. To build it, run:\n\n```sh\nmake all\n```\n\nThen wait.\n"
    units = units_of(text)
    code = find(text, units, "```sh")
    assert code.kind == "code"
    assert words(text, code) == "```sh make all ```"
    assert needs(code) == [("lead_in", "To build it, run:")]
    assert needs(find(text, units, "Then wait")) == []


def test_the_introduction_is_whole_where_a_long_word_wraps_or_a_quote_has_lines() -> None:
    """A line is short where what follows had no room in it; `>` begins each line of a quote."""
    rst = "If you need to remove the default handler\n:meth:`app.logger <flask.Flask.logger>`, do::"
    units = list(document_units(text := f"{rst}\n\n    remove()\n", rst_parts(text)))
    assert needs(units[-1]) == [("lead_in", rst.replace("\n", " "))]
    quote = "> To listen on all interfaces that are available, listen on\n> `0.0.0.0` like so:"
    text = f"{quote}\n>\n> ```js\n> listen()\n> ```\n"
    assert needs(find(text, units_of(text), "> ```js")) == [("lead_in", quote.replace("\n", " "))]


def test_a_line_of_a_paragraph_goes_on_in_one_that_begins_with_markup() -> None:
    """However short it is; not in lines of options, nor after a line break of Markdown."""
    text = (
        "It runs on\n`diesel` only. See\n[the list](a.md), or\n**ask**.\n\n"
        "Short  \n`hard` break\n\nOptions\n`--all` a\n"
    )
    assert [words(text, unit) for unit in units_of(text)] == [
        "It runs on `diesel` only.", "See [the list](a.md), or **ask**.", "Short", "`hard` break",
        "Options", "`--all` a",
    ]  # fmt: skip
    rst = "It runs on\n:ref:`diesel <fuel>` only, or\n``steam``.\n"
    assert len(units_of(rst, rst=True)) == 1


def test_code_right_below_a_heading_needs_the_heading() -> None:
    """Nothing else says what it is for."""
    text = "# Install on Debian\n\n```\napt install x\n```\n"
    assert needs(find(text, units_of(text), "```")) == [("heading", "# Install on Debian")]


def test_a_row_needs_its_header_and_what_introduces_the_table() -> None:
    """In the order of the document."""
    text = "Prices are:\n\n| plan | price |\n|---|---|\n| small | 3 |\n| large | 9 |\n"
    row = find(text, units_of(text), "| large")
    assert row.kind == "row"
    assert needs(row) == [("lead_in", "Prices are:"), ("header", "| plan | price |")]


def test_items_need_a_lead_in_that_ends_in_a_colon_and_steps_know_their_procedure() -> None:
    """A sentence without a colon says nothing of what follows."""
    text = "You need:\n\n- a key\n- a map\n\nGo there.\n\n1. Turn left.\n2. Turn right.\n"
    units = units_of(text)
    assert needs(find(text, units, "- a map")) == [("lead_in", "You need:")]
    step = find(text, units, "2. Turn")
    assert (step.kind, needs(step)) == ("step", [])
    assert step.procedure == (text.index("1. Turn"), text.index("right.") + 6)
    assert find(text, units, "- a key").procedure is None


def test_what_stands_in_an_item_needs_the_item_and_the_lead_in_of_its_list() -> None:
    """Also what follows the code."""
    text = "Do this:\n\n1. Write the file:\n\n   ```\n   a = 1\n   ```\n\n   Save it.\n2. Stop.\n"
    units = units_of(text)
    code = find(text, units, "```")
    assert needs(code) == [("lead_in", "Do this:"), ("lead_in", "1. Write the file:")]
    assert needs(find(text, units, "Save it.")) == needs(code)
    assert code.procedure == find(text, units, "2. Stop").procedure is not None


def test_rst_underlines_are_no_fences_and_directives_no_sentences() -> None:
    """A fence would swallow all up to the next underline."""
    text = (
        "Use it\n~~~~~~\n\n.. _here:\n\nTo start, run::\n\n    go\n\nMore\n~~~~\n\nA word. Two.\n"
    )
    units = units_of(text, rst=True)
    assert needs(find(text, units, "go")) == [("lead_in", "To start, run::")]
    assert find(text, units, "~~~~~~").kind == find(text, units, ".. _here:").kind == "markup"
    assert [words(text, unit) for unit in units if unit.kind == "sentence"] == [
        "To start, run::", "A word.", "Two.",
    ]  # fmt: skip


def test_headings_headers_and_markup_are_never_kept_alone() -> None:
    """They answer nothing."""
    text = "# H\n\nText.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    alone = [words(text, unit) for unit in units_of(text) if unit.is_kept_alone]
    assert alone == ["Text.", "| 1 | 2 |"]


def test_long_code_is_cut_between_lines_and_each_part_keeps_the_introduction() -> None:
    """No part exceeds the limit."""
    line = "x = compute(1, 2, 3)\n"
    text = "Run:\n\n```\n" + line * 200 + "```\n"
    parts = [unit for unit in units_of(text) if unit.kind == "code"]
    assert len(parts) > 1
    assert all(unit.end - unit.start <= MAX_CODE_CHARACTERS for unit in parts)
    assert all(needs(unit) == [("lead_in", "Run:")] for unit in parts)
    assert all(words(text, unit).endswith((")", "```")) for unit in parts)


def test_parts_of_code_are_kept_together_up_to_a_limit() -> None:
    """Of what is longer, such as a whole listing, each part can be kept alone."""
    for n, together in ((MAX_WHOLE_CODE_CHARACTERS, True), (2 * MAX_WHOLE_CODE_CHARACTERS, False)):
        lines = "".join(f"line_{i} = {i}\n" for i in range(n // 18))
        parts = [u for u in units_of(f"Do:\n\n```\n{lines}```\n") if u.kind == "code"]
        assert len(parts) > 2
        assert len({part.procedure for part in parts}) == 1
        assert (parts[0].procedure is not None) == together


def test_a_sentence_that_introduces_only_links_is_navigation() -> None:
    """They are in no context, and it is nothing without them."""
    text = "# A\n\nIt is big. It has these parts:\n\n- [One](#one)\n- [Two](#two)\n\n## One\n\nB.\n"
    units = units_of(text)
    assert find(text, units, "It has").kind == find(text, units, "- [One]").kind == "nav"
    assert find(text, units, "It is big").kind == "sentence"


def test_a_line_goes_on_in_a_word_that_did_not_fit() -> None:
    """An address in a link is one long word; not after a colon, nor after a full line."""
    link = "Flow](https://example.org/authentication-and-authorisation/authorisation-code-flow),"
    text = f"Engage in the [OAuth\n{link}\nwhich takes long.\n\nSee:\n{link}\n\nShort\nLines\n"
    spoken = [words(text, unit) for unit in units_of(text)]
    assert spoken[0] == f"Engage in the [OAuth {link} which takes long."
    assert spoken[1] == "See:"
    assert spoken[-2:] == ["Short", "Lines"]


def test_of_a_long_header_only_the_start_is_needed() -> None:
    """A header may be as long as a page."""
    header = "| " + " | ".join(f"column number {i}" for i in range(100)) + " |"
    text = f"{header}\n{'|---' * 100}|\n| {' | '.join(map(str, range(100)))} |\n"
    (need,) = find(text, units_of(text), "| 0 |").needs
    assert len(need.text) <= MAX_NEED_CHARACTERS
    assert header.startswith(need.text)


KINDS: tuple[PartKind, ...] = ("paragraph", "list", "item", "code", "table", "row", "header_row",
                               "procedure", "step", "note", "heading", "nav", "option")  # fmt: skip


@st.composite
def structured(draw: st.DrawFn) -> tuple[str, list[Part]]:
    """Any text with any parts, also such as no loader gives."""
    text = draw(st.text(alphabet="ab .:\n|-é", min_size=1, max_size=120))
    parts: list[Part] = []
    for _ in range(draw(st.integers(0, 12))):
        start = draw(st.integers(0, len(text) - 1))
        end = draw(st.integers(start + 1, len(text)))
        parent = draw(st.none() | st.integers(0, len(parts) - 1)) if parts else None
        parts.append(Part(start=start, end=end, kind=draw(st.sampled_from(KINDS)), parent=parent))
    return text, parts


@given(structured())
def test_units_hold_all_text_once_whatever_the_parts(given: tuple[str, list[Part]]) -> None:
    """A mistake of a loader loses and repeats nothing."""
    text, parts = given
    units = list(document_units(text, parts))
    position = 0
    for unit in units:
        assert position <= unit.start < unit.end
        assert not text[position : unit.start].strip()
        assert text[unit.start : unit.end].strip() == text[unit.start : unit.end]
        for need in unit.needs:
            assert text[need.start : need.end] == need.text != ""
            assert need.end <= unit.start or need.start >= unit.end
        position = unit.end
    assert not text[position:].strip()
