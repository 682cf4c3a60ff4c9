"""`benchmarks/orphans.py`: orphans by the markup of the sources."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("docutils")
pytest.importorskip("markdown_it")
pytestmark = pytest.mark.slow  # Each test runs a command in a process of its own.

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "orphans.py"

RST = """\
Title
=====

Intro text stands here for everybody. Install it as follows::

    pip install flask-thing
    flask --app hello run

Colours are these:

* red as the roses are
* green as the meadows are

1. First open the door wide
2. Then walk through the door

======== ============
Name     Meaning
======== ============
alphabet letters here
numerals digits there
======== ============

.. versionadded:: 2.0
   Use :func:`frobnicate the thing <x>` now, like so:

   .. code-block:: python

      frobnicate_thing(everything=True)
"""
MARKDOWN = """\
# Head line

Do like this:

```sh
npm install pino-thing
```

| Option name | Meaning here |
|---|---|
| `quietness` | says nothing |
| `loudness` | says it all |
"""
HTML = """\
<html><head><title>x</title></head><body>
<div class="navheader"><p>Previous: gone away page</p></div><h2>Heading text</h2>
<p>Run this now:
</p><pre class="screen">initdb -D /usr/local/pgsql</pre>
<table><tr><th>Type name</th><th>Bytes</th></tr><tr><td>smallinteger</td><td>two</td></tr></table>
<p>Steps are:</p><div><ol><li class="x"><p>stop the server now</p></li>
<li>start the server again</li></ol></div></body></html>
"""


MORE_RST = """\
Reference
=========

Stop it at once:

* GET
* PUT

.. table:: Limits of the plants

   ======== ============
   Plant    Power
   ======== ============
   northern eleven watts
   ======== ============

frequency of poll
    How often the sensors are asked.

.. function:: restart_the_pump(now)

   Begins with the oldest of them.

* Grease the long shaft well.

  It squeaks without grease.
"""


def orphans(tmp_path: Path, document: str, *passages: str, **borrowed: str) -> dict[str, Any]:
    """Return the counts of one context of a document."""
    for name, text in {
        "a.rst": RST,
        "a.txt": RST,
        "b.md": MARKDOWN,
        "c.html": HTML,
        "d.rst": MORE_RST,
    }.items():
        (tmp_path / name).write_text(text)
    context = [{"document_id": document, "text": text} for text in passages]
    context += [
        {"document_id": document, "text": text, "role": role} for role, text in borrowed.items()
    ]
    (tmp_path / "contexts.jsonl").write_text(json.dumps({"id": "1", "context": context}) + "\n")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path), str(tmp_path / "contexts.jsonl")],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    (counts,) = json.loads(done.stdout).values()
    kinds: dict[str, Any] = counts["kinds"]
    return {kind: (n["kept"], n["orphans"]) for kind, n in kinds.items() if n["kept"]}


@pytest.mark.parametrize("document", ["a.rst", "a.txt"])
def test_of_restructured_text(tmp_path: Path, document: str) -> None:
    """Half of a code block, an item, a step and a row alone, and a title with its underline."""
    found = orphans(
        tmp_path, document, "    flask --app hello run", "* green as the meadows are",
        "1. First open the door wide", "numerals digits there", "Title\n=====",
    )  # fmt: skip
    assert found == {
        "code": (1, 1), "code_in_part": (1, 1), "item": (2, 1), "row": (1, 1),
        "procedure": (1, 1), "heading": (5, 1),
    }  # fmt: skip


def test_what_is_whole_is_no_orphan(tmp_path: Path) -> None:
    """Code in a directive with its introduction; an item and a row whose needs are borrowed."""
    code = RST[RST.index("   Use") :]
    rows = {"lead_in": "Colours are these:", "header": "Name     Meaning"}
    found = orphans(
        tmp_path, "a.rst", code, "* green as the meadows are", "numerals digits there", **rows
    )
    assert found["code"] == (1, 0)
    assert found["item"] == found["row"] == (1, 0)
    alone = orphans(tmp_path, "a.rst", "Colours are these:")
    assert alone["lead_in"] == (1, 1)


def test_of_markdown(tmp_path: Path) -> None:
    """A fence without its introduction, a row without its header, a heading alone."""
    row = "| `loudness` | says it all |"
    found = orphans(tmp_path, "b.md", "npm install pino-thing", row, "# Head line")
    assert found["code"] == found["row"] == (1, 1)
    assert found["heading"] == (3, 1)
    whole = orphans(tmp_path, "b.md", MARKDOWN[MARKDOWN.index("Do") :])
    assert (whole["code"], whole["row"], whole["heading"]) == ((1, 0), (2, 0), (1, 0))


def test_of_html(tmp_path: Path) -> None:
    """Texts are compared without their markup, and navigation is no part."""
    found = orphans(
        tmp_path, "c.html", "initdb -D /usr/local/pgsql", "smallinteger | two",
        "2. start the server again",
    )  # fmt: skip
    assert found["code"] == found["row"] == found["item"] == found["procedure"] == (1, 1)
    whole = (
        "Run this now:\n\ninitdb -D /usr/local/pgsql\n\nType name | Bytes\nsmallinteger | two\n\n"
        "Steps are:\n\n1. stop the server now\n2. start the server again"
    )
    assert all(n == 0 for _, n in orphans(tmp_path, "c.html", whole).values())


def test_of_terms_captions_and_what_stands_below_an_item(tmp_path: Path) -> None:
    """Each of them without what says what it is about."""
    meanings = "How often the sensors are asked.", "Begins with the oldest of them."
    alone = orphans(tmp_path, "d.rst", *meanings, "It squeaks without grease.", "northern eleven")
    assert alone["definition"] == (2, 2)
    assert alone["nested"] == alone["row"] == (1, 1)
    needs = {
        "term": "frequency of poll", "name": ".. function:: restart_the_pump(now)",
        "item": "* Grease the long shaft well.", "caption": ".. table:: Limits of the plants",
        "header": "Plant    Power",
    }  # fmt: skip
    whole = orphans(tmp_path, "d.rst", *meanings, "It squeaks without grease.", "northern eleven",
                    **needs)  # fmt: skip
    assert whole["definition"] == (2, 0)
    assert whole["nested"] == whole["row"] == (1, 0)


def test_a_short_item_counts_behind_its_lead_in(tmp_path: Path) -> None:
    """Too short to be told from other words, it does not count elsewhere."""
    assert orphans(tmp_path, "d.rst", "Stop it at once:\n\n* GET")["lead_in"] == (1, 0)
    assert orphans(tmp_path, "d.rst", "* GET", "Stop it at once:")["lead_in"] == (1, 1)
