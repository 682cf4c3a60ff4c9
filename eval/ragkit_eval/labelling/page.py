"""Labelling on one local page: no server, nothing loaded; marks stay in the browser."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from ragkit.pipeline import RAG
from ragkit.types import Hit, Json
from ragkit_eval.data.datasets import Question
from ragkit_eval.labelling.marks import passage_name, question_row, units_of
from ragkit_eval.labelling.questions import Batch
from ragkit_eval.labelling.session import PASSAGES
from ragkit_eval.reporting.selfcontained import document

DEPTH = 10
"""Passages of each question on the page."""

_STYLE = """
button, input { font: inherit; }
#bar { position: sticky; top: 0; background: var(--paper); padding: .4rem 0;
  border-bottom: 1px solid var(--line); }
#bar button { padding: .2rem .8rem; } #keys { width: 14rem; padding: .2rem .5rem; }
#question { font-size: 1.15rem; font-weight: 600; } #history { white-space: pre-wrap; }
#said { min-height: 1.5em; color: var(--bad); }
.unit { display: flex; width: 100%; margin: 0; padding: .1rem .3rem; border: 0; text-align: left;
  background: none; color: inherit; font-size: .9rem; }
button.unit { cursor: pointer; } button.unit:hover { background: var(--wash); }
button.unit[aria-pressed=true] { background: #ffe08a; }
.unit bdi { white-space: pre-wrap; overflow-wrap: anywhere; }
p.unit { color: var(--soft); }
.number { flex: 0 0 2.6rem; color: var(--soft); }
"""

_PARTS = (
    "<h1>What does the answer need?</h1>",
    '<p class="soft">Click the parts that an answer needs; a part clicked with Shift is an '
    "alternative to the one before it. Or type their numbers: <b>2 5</b> needs both, <b>2-4</b> "
    "all three, <b>2|5</b> either, <b>n</b> if nothing answers it. Enter goes on; an empty line "
    "skips. The marks stay in this browser. At the end, download the labels.</p>",
    '<div id="bar"><p id="progress" class="soft"></p><p id="history" class="soft"></p>'
    '<p id="question"></p>'
    '<p><input id="keys" autocomplete="off" aria-label="what is needed"> '
    '<button id="next">Next</button> <button id="back">Back</button> '
    '<button id="none">Nothing answers it</button> <button id="download">Download</button></p>'
    '<p id="said" role="status"></p></div>',
    '<div id="passages"></div>',
)


def html(
    rag: RAG,
    batch: Batch,
    *,
    groups: Sequence[str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> str:
    """Return the page.

    Args:
        rag: The store in which passages are searched for.
        batch: The questions.
        groups: Groups that the reader belongs to.
        on_progress: Called with the number of questions that are done and of all.
    """
    questions: list[Json] = []
    for question in batch.questions:
        hits = rag.search(question.searched, k=DEPTH, groups=groups)
        questions.append(_entry(question, hits, batch.sample))
        if on_progress is not None:
            on_progress(len(questions), len(batch.questions))
    told = json.dumps(questions)
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]
    data = json.dumps({"digest": digest, "open": PASSAGES, "questions": questions})
    # In a script element only "<" could end it; all else is ASCII.
    block = data.replace("<", "\\u003c")
    script = Path(__file__).with_name("label.js").read_text("utf-8")
    parts = [*_PARTS, f'<script type="application/json" id="data">{block}</script>']
    return document("ragkit eval label", parts, style=_STYLE, script=script)


def _entry(question: Question, hits: Sequence[Hit], sample: str) -> Json:
    places: list[Json] = []
    passages: list[Json] = []
    for hit in hits:
        units: list[Json] = []
        for unit in units_of(hit.chunk):
            if unit.place is not None:
                places.append(asdict(unit.place))
            units.append([None if unit.place is None else len(places), unit.text])
        if units:
            passages.append({"name": passage_name(hit), "units": units})
    return {
        "row": question_row(question),
        "metadata": {**question.metadata, "sample": sample},
        "units": places,
        "passages": passages,
    }
