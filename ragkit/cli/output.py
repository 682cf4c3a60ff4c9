"""Results on stdout: JSON for programs, text for people; and notices on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from ragkit.brief import counted
from ragkit.text.jsontext import json_line
from ragkit.text.places import place_text
from ragkit.text.printable import printable, printable_line
from ragkit.types import Json

if TYPE_CHECKING:
    from ragkit import Answer

Shown: TypeAlias = Mapping[str, Any]
"""The JSON of a result, whose keys its text knows."""

_LAID_OUT = frozenset({"text", "prompt", "metadata"})
"""Keys whose values keep their line breaks, or are not printed; all other values are one line."""


def write(text: str) -> None:
    """Write text and flush it; no character in it can steer the terminal."""
    sys.stdout.write(printable(text))
    sys.stdout.flush()


def tell(message: object) -> None:
    """Write one line for people to stderr."""
    print(f"ragkit: {printable_line(str(message))}", file=sys.stderr)


def explain(text: str) -> None:
    """Write lines for people to stderr."""
    print(printable(text), file=sys.stderr)


def show(data: Mapping[str, Json], as_text: Callable[[Shown], str], *, as_json: bool) -> None:
    """Print one result, as one line of JSON or as text."""
    write((json_line(data) if as_json else as_text(on_own_lines(data))) + "\n")


def on_own_lines(data: Mapping[str, Json]) -> dict[str, Json]:
    """Return a result in which no name or detail spans lines."""
    return {
        printable_line(key): value if key in _LAID_OUT else _on_one_line(value)
        for key, value in data.items()
    }


def _on_one_line(value: Json) -> Json:
    if isinstance(value, str):
        return printable_line(value)
    if isinstance(value, Mapping):
        return on_own_lines(value)
    if isinstance(value, list | tuple):
        return [_on_one_line(inner) for inner in value]
    return value


def known(value: object, unit: str = "", digits: int = 2) -> str:
    """Return a value with its unit; "unknown" for None."""
    if value is None:
        return "unknown"
    shown = f"{value:.{digits}f}" if isinstance(value, float) else f"{value:,}"
    return f"{shown} {unit}".rstrip()


def embed_text(data: Shown) -> str:
    """Return the report of making vectors later."""
    lines = [
        f"{data['chunks']} chunks have got their vectors, {data['embedded']} embedded, "
        f"{data['seconds']:.1f} s; {data['remaining']} remain"
    ]
    if data["truncated"]:
        lines.append(f"{data['truncated']} texts were longer than the embedder reads")
    return "\n".join(lines)


def search_text(data: Shown) -> str:
    """Return hits."""
    lines = [
        f"{hit['rank']}. {hit['score']:.4f}  {place_text(hit)}\n   {one_line(hit['text'])}"
        for hit in data["hits"]
    ]
    return "\n".join(lines) or "no hits"


def ask_text(data: Shown) -> str:
    """Return an answer with its citations and receipt."""
    lines = [*said_lines(data), *_citation_lines(data["citations"]), *suggestion_lines(data)]
    if data.get("prompt") is not None:
        lines += ["--- prompt ---", data["prompt"], "--- end of prompt ---"]
    return "\n".join([*lines, receipt_text(data)])


def said_lines(data: Shown) -> list[str]:
    """Return an answer's text, or why there is none."""
    from ragkit.pipeline.answers import REFUSED_BECAUSE

    if data["refused"]:
        return [f"No answer: {REFUSED_BECAUSE[data['reason']]}"]
    return [] if data["text"] is None else [data["text"] or "(the model answered with no text)"]


def suggestion_lines(data: Shown) -> list[str]:
    """Return where to look instead of an answer."""
    places = [f"  {_linked_text(place)}" for place in data["suggestions"]]
    return ["Perhaps look here:", *places] if places else []


def _citation_lines(citations: Sequence[Shown]) -> list[str]:
    return [line for line, _ in cited_places(citations)]


def cited_places(citations: Sequence[Shown]) -> list[tuple[str, str]]:
    """Return each place that is cited once, by its label where it has one, and its text."""
    lines: dict[tuple[Any, ...], list[Shown]] = {}
    for citation in citations:
        place = citation["label"], citation["document_id"], citation["start"], citation["end"]
        lines.setdefault(place, []).append(citation)
    return [
        (
            f"  [{label or i}] {_linked_text(same[0])}"
            + ("  (does not say what it is cited for)" if _is_refuted(same) else ""),
            same[0]["text"],
        )
        for i, ((label, *_), same) in enumerate(lines.items(), start=1)
    ]


def _is_refuted(same: Sequence[Shown]) -> bool:
    return any(citation["supported"] is False for citation in same)


def _linked_text(place: Shown) -> str:
    """Return a place, with its link where there is one."""
    return place_text(place) + (f"  {place['url']}" if place["url"] else "")


def ask_text_without_answer(data: Shown) -> str:
    """Return what follows an answer that was already streamed."""
    return ask_text({**data, "text": None})


_ENDINGS = {
    "length": "the answer was cut at its largest number of tokens (--max-tokens)",
    "filter": "the answer was cut by a content filter of the model's server",
    "guardrail": "the answer was cut by a guardrail",
    "timeout": "the answer was cut where its time-out ended",
    "cancelled": "the answer was cancelled before its end",
    "error": "the answer was cut where the model's server failed",
}
"""What people are told where an answer has another end than the model's own."""


def ending_text(answer: Answer) -> str | None:
    """Return what people are told of an end that is not known to be the model's own, or None."""
    word = answer.receipt.server_stop_reason
    if answer.stop_reason is None:
        return None if word is None else f"the answer ended for a reason of its server's: {word}"
    ending = _ENDINGS.get(answer.stop_reason)
    return ending if ending is None or word is None else f"{ending}: {word}"


def receipt_text(data: Shown) -> str:
    """Return what an answer cost."""
    receipt, usage = data["receipt"], data["usage"]
    sent = usage["input_tokens"]
    counted = "exact" if usage["exact"] else "estimate"
    tokens = "no prompt sent" if sent is None else f"prompt {known(sent, 'tokens')} ({counted})"
    baseline = receipt["baseline_tokens"]
    if baseline is not None:
        tokens += f", untrimmed top 5: {known(baseline)}"
    joules = receipt["joules"]
    energy = "unknown"
    if joules is not None:
        grade = str(joules["grade"])
        kind = "estimate" if grade.startswith("modelled") else grade
        energy = f"{joules['mid']:.2g} J ({joules['low']:.2g} to {joules['high']:.2g}, {kind})"
    return (
        f"receipt: {tokens}; {receipt['llm_calls']} LLM calls; "
        f"{receipt['seconds']:.3f} s, CPU {receipt['cpu_seconds']:.3f} s; "
        f"memory {known(_mebibytes(receipt['peak_rss_bytes']), 'MiB', 0)}; energy {energy}"
        f"{_carbon_text(receipt['carbon_g'])}"
        + (f"; answer {receipt['answer_id']}" if receipt["answer_id"] else "")
    )


def _carbon_text(grams: Shown | None) -> str:
    if grams is None:
        return ""
    return f"; carbon {grams['mid']:.2g} g ({grams['low']:.2g} to {grams['high']:.2g}, estimate)"


def _mebibytes(n_bytes: int | None) -> float | None:
    return None if n_bytes is None else n_bytes / 2**20


def list_text(data: Shown) -> str:
    """Return a line of `ragkit list`."""
    title = f"  {data['title']}" if data["title"] else ""
    size = f"{counted(data['chunks'], 'chunk')}  {counted(data['bytes'], 'byte')}"
    return f"{data['document_id']}  {size}{title}"


def store_text(data: Shown) -> str:
    """Return the properties of a store."""
    settings: Shown = data["settings"] or {}
    flat: dict[str, Any] = {**data, **{f"built with {k}": v for k, v in settings.items()}}
    skipped = {"schema", "settings", "template"}
    return "\n".join(
        f"{key.replace('_', ' ')}: {'unknown' if value is None else value}"
        for key, value in flat.items()
        if key not in skipped
    )


def document_text(data: Shown) -> str:
    """Return a document with its chunks."""
    lines = [f"{data['document_id']}  {data['title']}".rstrip(), f"source {data['source']}"]
    for chunk in data["chunks"]:
        text = one_line(data["text"][chunk["start"] : chunk["end"]])
        lines.append(f"{chunk['start']}-{chunk['end']}  {chunk['n_tokens']} tokens  {text}")
        for span in chunk["borrowed"]:
            text = one_line(data["text"][span["start"] : span["end"]])
            lines.append(f"  needs {span['start']}-{span['end']} ({span['role']})  {text}")
    return "\n".join(lines)


def removed_text(data: Shown) -> str:
    """Return which documents were removed."""
    lines = [f"removed {name}" for name in data["removed"]]
    return "\n".join(lines + [f"there is no {name}" for name in data["missing"]])


def copied_text(data: Shown) -> str:
    """Return the result of a backup or a restore."""
    if not data["verified"]:
        return "not sound; nothing was changed"
    return f"{data['documents']:,} documents, {data['bytes']:,} bytes, checked"


def doctor_text(data: Shown) -> str:
    """Return the findings of `ragkit doctor`."""
    lines = [_finding_text(finding) for finding in data["findings"]]
    if data["bytes_saved"] is not None:
        lines.append(f"gave {data['bytes_saved']:,} bytes back")
    return "\n".join([*lines, "sound" if data["sound"] else "not sound"])


def _finding_text(finding: Shown) -> str:
    state = "repaired" if finding["repaired"] else ""
    if not state:
        state = "repair it with --repair" if finding["repairable"] else "cannot be repaired"
    return f"{finding['check']}: {finding['detail']} ({state})"


def feedback_text(data: Shown) -> str:
    """Return what was said of an answer."""
    return f"answer {data['answer_id']}: {'good' if data['good'] else 'bad'}"


def template_text(data: Shown) -> str:
    """Return a template."""
    return (
        f"{data['id']} {data['version']}  {data['overhead_tokens']} tokens of its own\n"
        f"sha256 {data['sha256']}\n" + "\n".join(filter(None, (data["system"], data["text"])))
    )


def one_line(text: str, width: int = 160) -> str:
    """Return the start of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
