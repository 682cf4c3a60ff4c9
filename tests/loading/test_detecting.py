"""Plain texts that are written in a markup are read as that, and others never."""

from __future__ import annotations

import pytest

from ragkit.loading import LoadedText, load_bytes

RST = {
    "directive": "Some text.\n\n.. note::\n\n   Mind the gap.\n",
    "title and role": "Guide\n=====\n\nSee :ref:`there`.\n",
    "title and literal": "Guide\n~~~~~\n\nType this::\n\n    $ run\n",
    "overline and target": "=======\n Guide\n=======\n\n.. _there:\n\nText.\n",
    "outline": "Guide\n*****\n\nFirst\n+++++\n\n#. one\n#. two\n",
}
MARKDOWN = {
    "heading and list": "# Boiler\n\nTo restart it:\n\n1. Open the valve.\n2. Wait.\n",
    "two levels": "# Boiler\n\nText.\n\n## Restart\n\nText.\n",
    "fence and link": "See [there](https://example.org/).\n\n```sh\nmake\n```\n",
    "table": "Fares:\n\n| zone | price |\n|------|------:|\n| A | 2 |\n",
    "outline": "Guide\n=====\n\nFirst\n-----\n\n- one\n- two\n",
    "front matter": "---\ntitle: Boiler\nowner: me\n---\n\n# Boiler\n\n- one\n",
}
NEITHER = {
    "prose": "It was late.\n\nThe train -- as ever -- stood still:\nnobody spoke.\n",
    "list": "Bring along:\n\n- bread\n- cheese\n\n1. Wait.\n2. Eat.\n",
    "verse": "NIGHT\n-----\n\n  Over the hill\n      the moon,\n\n* * *\n\n  and nothing more.\n",
    "mail": "From: ann@example.org\nSubject: Guide\n\nAll\n===\n\nDue\n---\n\n- one\n- two\n",
    "log": "2024-05-01 10:00:00 INFO start\n2024-05-01 10:00:01 WARN slow::\n\n  trace\n" * 3,
    "CSV": "name,link\na,[x](https://example.org)\nb,[y](https://example.org)\n",
    "TSV": "name\tprice\n----\t-----\na\t1\n",
    "shell": "#!/bin/sh\n# Build\n\n# - clean\nmake clean\n\n## Install\n\nmake install\n",
    "Python": '"""Guide\n=====\n\n.. note:: Hi\n"""\n\nimport os\n\n\ndef f(x):\n    pass\n',
    "YAML": "# Service\n\nname: boiler\nports:\n- 80\n- 443\n\n## Limits\n\ncpu: 2\n",
    "INI": "# Service\n\n[main]\nname = boiler\n\n## Limits\n\ncpu = 2\n",
    "patch": "--- a/guide.rst\n+++ b/guide.rst\n@@ -1,3 +1,3 @@\n Guide\n =====\n+\n+.. note:: x\n",
    "report": "Totals\n------\nPaid   12\nOpen    3\n",
}  # fmt: skip


def load(text: str) -> LoadedText:
    """Load a text as a .txt file."""
    return load_bytes(text.encode(), name="a.txt")


@pytest.mark.parametrize("text", RST.values(), ids=RST)
def test_rst(text: str) -> None:
    """It is read as a file with the suffix .rst would be."""
    assert load(text) == load_bytes(text.encode(), name="a.rst")
    assert load(text).parts


@pytest.mark.parametrize("text", MARKDOWN.values(), ids=MARKDOWN)
def test_markdown(text: str) -> None:
    """It is read as a file with the suffix .md would be."""
    assert load(text) == load_bytes(text.encode(), name="a.md")
    assert "Boiler" not in text or load(text).title == "Boiler"


@pytest.mark.parametrize("text", NEITHER.values(), ids=NEITHER)
def test_other_texts(text: str) -> None:
    """They have no title, and no structure but lists."""
    loaded = load(text)
    assert (loaded.text, loaded.title, loaded.marks) == (text, "", ())
    assert {part.kind for part in loaded.parts} <= {"list", "item", "procedure", "step"}


def test_a_role_in_long_prose_is_found() -> None:
    """Long prose around them does not hide signs of a markup, nor do single ones make it."""
    prose = "Nobody had seen him leave. " * 40 + "\n\n"
    assert load(prose + RST["title and role"]).title == "Guide"
    assert load(prose + ":ref:`there`\n").title == ""
