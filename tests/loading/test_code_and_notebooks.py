"""Notebooks, programs, settings, light markup and subtitles: text that knows where it stands."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from ragkit.types import Json, Location

from .structure import outline
from .test_formats import at, code_of, load


def notebook(*cells: Json, **more: Json) -> str:
    """Return a notebook of these cells."""
    return json.dumps({"cells": cells, "nbformat": 4, **more})


def cell(kind: str, source: Json, outputs: Sequence[Json] = ()) -> Json:
    """Return a cell."""
    return {"cell_type": kind, "source": source, "outputs": list(outputs)}


def test_notebook() -> None:
    """Text, code and printed text stand in their cells and sections; pictures are left out."""
    forms: Json = {"image/png": "iVBORw0K" * 90, "text/plain": ["<Figure>"]}
    picture: Json = {"output_type": "display_data", "data": forms}
    loaded = load(
        "a.ipynb",
        notebook(
            cell("markdown", ["# Tides\n", "\n", "What we *know*."]),
            cell("code", "x = 1\nprint(x)", [{"output_type": "stream", "text": ["1\n"]}, picture]),
            cell("markdown", "More.\n## Open ends\n- one\n- two"),
            cell("code", "1/0", [{"output_type": "error", "ename": "ZeroDivisionError",
                                  "evalue": "\x1b[31mby zero\x1b[0m", "traceback": ["x" * 900]}]),
            cell("raw", "as it is"),
        ),
    )  # fmt: skip
    assert loaded.title == "Tides"
    assert loaded.text == (
        "# Tides\n\nWhat we *know*.\n\nx = 1\nprint(x)\n\n1\n\n<Figure>\n\nMore.\n## Open ends\n"
        "- one\n- two\n\n1/0\n\nZeroDivisionError: [31mby zero[0m\n\nas it is"
    )
    assert at(loaded, "print(x)").location == Location(cell=2, heading=("Tides",), anchor="tides")
    assert at(loaded, "1/0").location == Location(
        cell=4, heading=("Tides", "Open ends"), anchor="open-ends"
    )
    assert at(loaded, "print(x)").kind == "code"
    assert at(loaded, "More.").location.heading == ("Tides",)
    assert loaded.dropped == {"payload": 720}
    assert "list:" in outline(loaded)


def test_notebook_of_an_older_version() -> None:
    """Before version 4, cells stood in worksheets, and headings were cells."""
    cells: Json = [
        {"cell_type": "heading", "level": 2, "source": "Bay"},
        {
            "cell_type": "code",
            "input": ["x = 1\n", "y"],
            "outputs": [{"output_type": "pyout", "text": "1"}],
        },
    ]
    loaded = load("a.ipynb", json.dumps({"worksheets": [{"cells": cells}]}))
    assert loaded.text == "## Bay\n\nx = 1\ny\n\n1"
    assert at(loaded, "x = 1").location == Location(cell=2, heading=("Bay",), anchor="bay")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"cells": [1]}', "[" * 9_000])
def test_notebooks_that_are_not_read(text: str) -> None:
    """What is no notebook is refused, and a cell of nonsense does no harm."""
    assert code_of("a.ipynb", text) == "broken"
    odd: Json = [{"cell_type": 7}, {"source": {}, "outputs": 3}, cell("code", "x", [{"data": 4}])]
    assert load("a.ipynb", json.dumps({"cells": odd, "worksheets": 5})).text == "x"


PROGRAM = '''"""Opens the gate.

More on it.
"""
import os

LIMIT = 3


# The crew only.
@cached
def gate(pin: str) -> bool:
    return len(pin) == LIMIT


class Pump:
    """Moves water."""

    speed = 1

    def prime(self) -> None:
        self.speed = 2

    async def run(self) -> None:
        pass


gate("123")
'''


def test_python() -> None:
    """Each definition is a piece with its name, the comments above it with it."""
    loaded = load("a.py", PROGRAM)
    assert (loaded.text, loaded.title) == (PROGRAM, "Opens the gate.")
    assert at(loaded, "# The crew").location.heading == ("gate",)
    assert at(loaded, "return len").location.heading == ("gate",)
    assert at(loaded, "speed = 1").location.heading == ("Pump",)
    assert at(loaded, "self.speed = 2").location.heading == ("Pump", "prime")
    assert at(loaded, "async def").location.heading == ("Pump", "run")
    assert at(loaded, 'gate("123")').location.heading == ()
    assert [line.partition(":")[0] for line in outline(loaded)] == ["code"] * 6


@pytest.mark.parametrize("text", ["print 'old'\n", "def f(:\n", "(" * 5_000, "-" * 90_000 + "1"])
def test_programs_that_this_python_cannot_read(text: str) -> None:
    """They are one piece of code."""
    loaded = load("a.py", text)
    assert loaded.text == text
    assert len(outline(loaded)) == 1


def test_settings() -> None:
    """Settings know their section, or their outermost key."""
    toml = 'name = "a"\n\n[server]\nport = 8080\n\n[[server.tls]]\nkey = "x"\n'
    loaded = load("a.toml", toml)
    assert loaded.text == toml
    assert at(loaded, "port").location.heading == ("server",)
    assert at(loaded, "key").location.heading == ("server.tls",)
    yaml = "---\nversion: 2\nservices:\n  web:\n    port: 80\nnotes: |\n  All is well.\n"
    loaded = load("a.yaml", yaml)
    assert at(loaded, "port: 80").location.heading == ("services",)
    assert at(loaded, "All is").location.heading == ("notes",)
    assert at(loaded, "version").location.heading == ()


def test_asciidoc() -> None:
    """Headings, code, tables, and lists below a colon."""
    text = (
        "= Pumps\n:toc:\n\nFirst.\n\n== Priming\n\nYou need:\n\n* water\n* time\n\n[source,sh]\n"
        "----\n== not a heading\n----\n\n|===\n|a |b\n|1 |2\n|===\nEnd.\n"
    )
    loaded = load("a.adoc", text)
    assert (loaded.text, loaded.title) == (text, "Pumps")
    assert at(loaded, "== not").location.heading == ("Pumps", "Priming")
    assert at(loaded, "== not").kind == "code"
    assert at(loaded, "End.").kind == "text"
    lines = [line.strip() for line in outline(loaded)]
    assert {"heading: == Priming", "item: * water", "row: |1 |2", "code: == not a heading"} <= {
        *lines
    }
    assert "markup: :toc:" in lines


def test_org() -> None:
    """Headings of any depth, code and tables; keywords and drawers are for programs."""
    text = (
        "#+TITLE: Log\n* TODO Pumps\n:PROPERTIES:\n:ID: 7\n:END:\nText.\n** Priming\n"
        "#+BEGIN_SRC sh\n* not\n#+END_SRC\n| a | b |\n|---+---|\n| 1 | 2 |\n"
    )
    loaded = load("a.org", text)
    assert (loaded.text, loaded.title) == (text.removesuffix("\n") + "\n", "Log")
    assert at(loaded, "* not").location.heading == ("Pumps", "Priming")
    lines = [line.strip() for line in outline(loaded)]
    assert {"code: * not", "row: | 1 | 2 |", "markup: :ID: 7", "heading: ** Priming"} <= {*lines}


def test_latex() -> None:
    """Sections and code; what stands above the body is for programs."""
    text = (
        "\\documentclass{a}\n\\title{On Pumps}\n\\begin{document}\n\\section{Priming \\emph{it}}\n"
        "% a comment\nOpen it.\n\\subsection*{Air}\n\\begin{verbatim}\n\\section{no}\n"
        "\\end{verbatim}\nNo air.\n\\end{document}\n"
    )
    loaded = load("a.tex", text)
    assert (loaded.text, loaded.title) == (text, "On Pumps")
    assert at(loaded, "No air").location.heading == ("Priming \\emph{it}", "Air")
    assert at(loaded, "\\section{no}").kind == "code"
    lines = outline(loaded)
    assert "markup: % a comment" in lines
    assert lines[0].startswith("markup: \\documentclass")


@pytest.mark.parametrize("name", ["a.adoc", "a.org", "a.tex"])
@pytest.mark.parametrize(
    "text", ["----\nnever closed\n", "#+begin_src\nx", "\\section{a", "| a\n\n| b\n* \n= \n"]
)
def test_markup_that_makes_no_sense(name: str, text: str) -> None:
    """It is running text."""
    assert load(name, text).text == text
    outline(load(name, text))


SRT = (
    "1\n00:00:01,000 --> 00:00:03,500\n<i>We are on</i>\nthe quay.\n\n2\n"
    "00:00:03,600 --> 00:00:05,000\n{\\an8}The ferry leaves\n\n3\n"
    "00:00:05,000 --> 00:00:07,000\nat nine.\n\n4\n"
    "01:02:30,000 --> 01:02:31,000\nThe end.\n"
)


def test_subtitles() -> None:
    """What is said is running text with times; a long silence begins a paragraph."""
    loaded = load("a.srt", SRT)
    assert loaded.text == "We are on the quay. The ferry leaves at nine.\n\nThe end."
    assert at(loaded, "The ferry").location.time == "00:00:03"
    assert at(loaded, "The end").location.time == "01:02:30"
    assert [line.partition(":")[0] for line in outline(loaded)] == ["paragraph"] * 2


def test_voices() -> None:
    """Speakers are named where they begin; notes, styles and repeated lines are left out."""
    vtt = (
        "WEBVTT\n\nNOTE nobody says this\n\nSTYLE\n::cue { color: red }\n\nintro\n"
        "00:01.000 --> 00:02.000 align:left\n<v Kari Olsen>Is it &amp; was it <b>open</b>?\n\n"
        "00:02.000 --> 00:03.000\n"
        "<v Kari Olsen>Is it & was it open?\nYes.\n\n00:03.000 --> 00:04.000\n<v.loud Ola>No!\n"
    )
    loaded = load("a.vtt", vtt)
    assert loaded.text == "Kari Olsen: Is it & was it open? Yes.\n\nOla: No!"
    assert at(loaded, "Yes").location.time == "00:00:02"


@pytest.mark.parametrize(
    "text", ["WEBVTT\n\nNOTE x\n", "00:00:01,000 --> 00:00:03,500\n\n", "1\n2\n3"]
)
def test_subtitles_that_say_nothing(text: str) -> None:
    """There is no text in them."""
    assert code_of("a.srt", text) == "no_text"
