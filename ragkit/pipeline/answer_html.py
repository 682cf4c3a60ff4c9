"""An answer as a piece of HTML: what it says, where that stands, and what it cost.

It runs nothing and loads nothing. All that comes from documents, questions and models is escaped,
and colours are those of the page around it, be they light or dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import TYPE_CHECKING

from ragkit.brief import counted
from ragkit.costs.receipt import count_text
from ragkit.pipeline.answers import REFUSED_BECAUSE
from ragkit.text.places import place_text
from ragkit.text.printable import printable, printable_line
from ragkit.types import Citation, Suggestion

if TYPE_CHECKING:
    from ragkit.costs.energy import Range
    from ragkit.pipeline.answers import Answer

_QUOTED_CHARACTERS = 400

_NO_FORMULAS = "tex2jax_ignore mathjax_ignore"
"""Notebooks set what stands between dollars as formulas otherwise."""

_BOX = "max-width:52em;padding:.6em 1em;border:1px solid rgba(128,128,128,.5);border-radius:4px"
_SOFT = "opacity:.75;font-size:.9em"
_TEXT = "white-space:pre-wrap;overflow-wrap:anywhere"
_QUOTE = (
    f"{_TEXT};margin:.2em 0 .6em 0;padding-left:.8em;border-left:3px solid rgba(128,128,128,.5)"
)
_CELL = "padding:.1em 1em .1em 0;text-align:left"


def answer_html(answer: Answer) -> str:
    """Return an answer as HTML for a notebook."""
    return "".join(
        [
            f'<div class="{_NO_FORMULAS}" style="{_BOX}">',
            f'<div style="{_SOFT};{_TEXT}">{_asked(answer)}</div>',
            f'<div style="{_TEXT};margin:.5em 0">{_said(answer)}</div>',
            *_list("Sources", map(_citation, _each_place_once(answer.citations))),
            *_list("Perhaps look here", map(_place, answer.suggestions)),
            _receipt(answer),
            "</div>",
        ]
    )


def _escaped(text: str) -> str:
    return escape(printable(text))


def _asked(answer: Answer) -> str:
    resolved = answer.resolved
    if resolved is None or resolved.standalone:
        return _escaped(answer.question)
    searched = printable_line(" ".join(resolved.question.split()))
    return f"{_escaped(answer.question)}<br>searched for: {escape(searched)}"


def _said(answer: Answer) -> str:
    if answer.refused:
        return f"<b>No answer:</b> {REFUSED_BECAUSE[answer.reason or '']}"
    if answer.text is None:
        return "<i>not generated: a dry run</i>"
    return _escaped(answer.text) or "<i>(the model answered with no text)</i>"


def _list(title: str, entries: Iterable[str]) -> Iterator[str]:
    listed = [f'<li style="list-style:none">{entry}</li>' for entry in entries]
    if listed:
        yield f'<div style="{_SOFT}">{title}</div><ul style="margin:.2em 0;padding:0">'
        yield from listed
        yield "</ul>"


def _each_place_once(citations: Iterable[Citation]) -> Iterable[tuple[str, list[Citation]]]:
    """Return each cited place with its label and all citations of it."""
    places: dict[object, list[Citation]] = {}
    for citation in citations:
        place = citation.label, citation.hit.chunk.document_id, citation.start, citation.end
        places.setdefault(place, []).append(citation)
    return [(str(same[0].label or i), same) for i, same in enumerate(places.values(), start=1)]


def _citation(labelled: tuple[str, list[Citation]]) -> str:
    label, same = labelled
    doubt = any(citation.supported is False for citation in same)
    text = same[0].text
    quoted = text[:_QUOTED_CHARACTERS] + ("…" if len(text) > _QUOTED_CHARACTERS else "")
    return (
        f"[{label}] {_place(same[0])}"
        + (" <b>(does not say what it is cited for)</b>" if doubt else "")
        + f'<div style="{_QUOTE}">{_escaped(quoted)}</div>'
    )


def _place(where: Citation | Suggestion) -> str:
    shown = escape(printable_line(place_text(where.to_dict())))
    if where.url is None or not where.url.startswith(("https://", "http://")):
        return shown
    return f'<a href="{escape(where.url)}" rel="noopener noreferrer">{shown}</a>'


def _receipt(answer: Answer) -> str:
    """Return the receipt: what counts on one line, the rest behind it."""
    rows = "".join(
        f'<tr><th style="{_CELL};font-weight:normal">{name}</th>'
        f'<td style="{_CELL}">{escape(value)}</td></tr>'
        for name, value in _figures(answer)
    )
    return (
        f'<details style="{_SOFT}"><summary>{escape(str(answer.receipt))}</summary>'
        f'<table style="border-collapse:collapse">{rows}</table></details>'
    )


def _figures(answer: Answer) -> Iterator[tuple[str, str]]:
    receipt, usage, evidence = answer.receipt, answer.usage, answer.evidence
    counted_how = "exact" if usage.exact else "estimate"
    score = _decimals(evidence.score)
    yield "evidence", f"{score} (refused below {_decimals(evidence.threshold)})"
    yield (
        "context",
        f"{count_text(receipt.context_tokens)} tokens in " + counted(len(answer.context), "place"),
    )
    sent = f"{count_text(usage.input_tokens)} ({counted_how})"
    yield "prompt tokens", "none sent" if answer.prompt is None else sent
    yield "untrimmed top 5", count_text(receipt.baseline_tokens)
    yield "answer tokens", count_text(usage.output_tokens)
    yield "LLM calls", str(receipt.llm_calls)
    yield "seconds", f"{receipt.seconds:.3f}, CPU {receipt.cpu_seconds:.3f}"
    yield "energy", _range(receipt.joules, "J")
    yield "carbon", _range(receipt.carbon_g, "g")


def _decimals(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _range(value: Range | None, unit: str) -> str:
    if value is None:
        return "unknown"
    return f"{value.mid:.2g} {unit} ({value.low:.2g} to {value.high:.2g}, {value.grade})"
