"""Extractive answers: what a reader would copy, whole, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.generation.extractive import ExtractiveGenerator
from ragkit.prompts import load_template
from ragkit.text.words import index_terms
from ragkit.trimming import BUILTIN_POLICY, rank, select, untrimmed
from ragkit.types import Citation, ContextItem, Generation, GenerationOptions
from tests.core.test_passages import COUNTER, document_of, pool_of

MANUAL = """Pumps
=====

.. admonition:: Restarting a pump after a fault

   The pump locks itself. Call the workshop if it was not you who stopped it.

.. index:: pump; stop

Stopping a pump
---------------

To stop a pump from the console, name it on the command line::

   pump stop --name north
   pump state

It takes ten seconds to come to rest.

Error codes
-----------

====== ======================
Code   Meaning
====== ======================
E17    The filter is blocked
E18    The valve leaks
====== ======================

Before each winter:

- Drain the pipes.
- Grease the shaft.
- Cover the motor.

Changing the filter works as follows:

1. Close both valves.
2. Turn the lid to the left.
3. Lift the filter out.
"""


def answered(
    question: str, *texts: str, max_units: int = 3, max_tokens: int | None = None, trim: bool = True
) -> tuple[Generation, tuple[ContextItem, ...]]:
    """Answer a question from documents, trimmed by the bundled policy or whole."""
    pool = pool_of(*texts)
    ranking = rank(index_terms(question, language="en"), pool, BUILTIN_POLICY)
    kept = (
        select(ranking, policy=BUILTIN_POLICY, counter=COUNTER)
        if trim
        else untrimmed([chunk.hit for chunk in pool], counter=COUNTER, ranking=ranking)
    )
    prompt = load_template("default").render(question, kept.context)
    generator = ExtractiveGenerator(counter=COUNTER, max_units=max_units)
    return generator.generate(prompt, GenerationOptions(max_tokens=max_tokens)), kept.context


CODES = """Error codes
===========

* ``E1203``: the paper tray is open.
* ``E1230``: the fuser is too hot; wait.
* ``E1320``: the toner is not recognised.
* ``E2103``: the scanner lamp failed.
"""


def test_an_item_about_another_code_is_no_answer() -> None:
    """However close its score comes."""
    found = answered("What does error E1230 mean?", CODES)[0].text
    assert "fuser" in found
    assert not any(other in found for other in ("toner", "tray", "lamp"))


@pytest.mark.parametrize("trim", [True, False])
@pytest.mark.parametrize(
    ("question", "whole"),
    [
        (
            "how do I stop a pump from the console",
            "To stop a pump from the console, name it on the command line::\n"
            "   pump stop --name north\n   pump state",
        ),
        ("what does error code E17 mean", "Code   Meaning\nE17    The filter is blocked"),
        (
            "what to do before winter",
            "Before each winter:\n- Drain the pipes.\n- Grease the shaft.\n- Cover the motor.",
        ),
        (
            "steps of changing the filter",
            "Changing the filter works as follows:\n1. Close both valves.\n"
            "2. Turn the lid to the left.\n3. Lift the filter out.",
        ),
    ],
)
def test_what_belongs_together_is_given_whole(question: str, whole: str, *, trim: bool) -> None:
    """Code has its introduction, a row its header, a list and a procedure all of their parts."""
    generation, _ = answered(question, MANUAL, trim=trim)
    assert whole in generation.text


@pytest.mark.parametrize("question", ["restarting a pump after a fault", "index pump stop"])
def test_headings_titles_and_directives_are_no_answer(question: str) -> None:
    """They say what a text is about, not what it says, however well they match."""
    generation, _ = answered(question, MANUAL, trim=False)
    lines = {line.strip() for line in generation.text.splitlines()}
    assert lines.isdisjoint({"Pumps", "Stopping a pump", "Restarting a pump after a fault"})
    assert not any(line.startswith("..") for line in lines)


def test_the_question_itself_is_no_answer() -> None:
    """An error message is repeated where it is explained; the explanation is asked for."""
    text = (
        "Errors\n======\n\n``Error 55: the belt of the feeder has slipped``\n\n"
        "Tighten the belt of the feeder with the key.\n\nA list of parts:\n\n- belt\n- key\n"
    )
    generation, _ = answered(
        "Error 55: the belt of the feeder has slipped", text, max_units=1, trim=False
    )
    assert generation.text == "Tighten the belt of the feeder with the key."


def test_the_same_for_another_shell_is_not_repeated() -> None:
    """Of two blocks of nearly the same words one is enough."""
    commands = "   set PUMP=north\n   pump start --wait --log /var/log/pump\n"
    text = (
        f"Starting\n========\n\nOn Linux, start the pump::\n\n{commands}\n"
        f"On a Mac, start the pump::\n\n{commands.replace('set', 'export')}\n"
        "It hums when it runs.\n"
    )
    generation, _ = answered("start the pump", text, trim=False)
    assert generation.text.count("--wait --log") == 1


def test_an_answer_fits_its_limit_unless_one_unit_does_not() -> None:
    """`max_tokens` leaves out whole units, the least ones first."""
    one, _ = answered("how do I stop a pump from the console", MANUAL, max_units=1)
    short, _ = answered("how do I stop a pump from the console", MANUAL, max_tokens=1)
    assert short.text == one.text


def test_a_list_is_whole_in_running_text_too() -> None:
    """Where scores are those of sentences, an item brings the others."""
    prose = "The harbour lies in the north. It was built of granite long ago.\n\n"
    listed = "The harbour has:\n\n- a lamp that is green\n- a crane\n"
    texts = [prose * 3, prose * 2, prose, listed]
    generation, _ = answered("which lamp is green", *texts, max_units=1)
    assert generation.text == "The harbour has:\n- a lamp that is green\n- a crane"


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 3), st.booleans())
def test_answers_are_verbatim_units_of_the_context(seed: int, n: int, trim: bool) -> None:
    """Each citation stands in the answer where it says, and in the context; none is twice."""
    generation, context = answered(
        "which valve has the blue lamp", document_of(seed), document_of(seed + 1), max_units=n,
        trim=trim,
    )  # fmt: skip
    citations = generation.citations or ()
    assert citations
    end = 0
    for citation in citations:
        assert citation.supported
        assert citation.answer_start is not None
        assert citation.answer_end is not None
        assert end <= citation.answer_start
        end = citation.answer_end
        assert generation.text[citation.answer_start : end] == citation.text
        assert any(_holds(item, citation) for item in context)
    assert end == len(generation.text)
    places = [(c.hit.chunk.document_id, c.start) for c in citations]
    assert len(set(places)) == len(places)


def _holds(item: ContextItem, citation: Citation) -> bool:
    start, end = citation.start - item.start, citation.end - item.start
    same = item.hit.chunk.document_id == citation.hit.chunk.document_id
    return same and start >= 0 and item.text[start:end] == citation.text
