"""What may be asked about an answer: its sources, why it is so, and what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ragkit.cli.output import Shown, cited_places, known, one_line, receipt_text
from ragkit.costs.ledger import summarise
from ragkit.text.places import place_text
from ragkit.text.printable import printable_line
from ragkit.types import ContextItem, Hit, Json

if TYPE_CHECKING:
    from ragkit.pipeline import Answer


def sources_text(data: Shown) -> str:
    """Return each cited place with its text."""
    lines = [f"{place}\n      {one_line(text)}" for place, text in cited_places(data["citations"])]
    return "\n".join(lines) or "the last answer cites nothing"


def cost_text(last: Shown, records: Sequence[Mapping[str, Json]], *, n_stopped: int) -> str:
    """Return the receipt of the last answer and the sums of all.

    Args:
        last: The JSON of the last answer.
        records: Of each answer, what the ledger would sum.
        n_stopped: Answers that were stopped, which are in no sum.
    """
    lines = [f"last {receipt_text(last)}", "this chat:", summarise(records).to_text()]
    if n_stopped:
        lines.append(f"stopped answers  {n_stopped:>12,}   not counted here; see the ledger")
    return "\n".join(lines)


def why_text(answer: Answer, hits: Sequence[Hit]) -> str:
    """Return what an answer was made from, and what was found but left out.

    Args:
        answer: The answer.
        hits: What a search for its question finds.
    """
    if answer.reason == "conversation":
        return "this was about the conversation itself: no documents were searched"
    return "\n".join([*_asked(answer), _evidence(answer), *_kept(answer), *_left(answer, hits)])


def _asked(answer: Answer) -> Iterator[str]:
    resolved = answer.resolved
    if resolved is not None and not resolved.standalone:
        yield f"searched for: {one_line(resolved.question)}"


def _evidence(answer: Answer) -> str:
    evidence = answer.evidence
    if evidence.threshold is None:
        return f"evidence {known(evidence.score)}; nothing is refused for too little of it"
    return f"evidence {known(evidence.score)}, refused below {known(evidence.threshold)}"


def _kept(answer: Answer) -> Iterator[str]:
    receipt = answer.receipt
    sent = "no prompt sent"
    if receipt.input_tokens is not None:
        sent = f"prompt {known(receipt.input_tokens, 'tokens')}"
    yield (
        f"kept {known(receipt.context_tokens, 'tokens')} of the documents ({sent}, with the "
        f"untrimmed top 5: {known(receipt.baseline_tokens)})"
    )
    for item in answer.context:
        role = "" if item.role == "unit" else f"  ({item.role} of what follows)"
        yield f"  {item.n_tokens:>6,} tokens  {_place(item)}{role}\n      {one_line(item.text)}"


def _left(answer: Answer, hits: Sequence[Hit]) -> Iterator[str]:
    kept = Counter[str]()
    for item in answer.context:
        kept[item.hit.chunk.id] += item.n_tokens
    left = [(hit, hit.chunk.n_tokens - kept[hit.chunk.id]) for hit in hits]
    if any(n_tokens > 0 for _, n_tokens in left):
        yield "found and left out"
    for hit, n_tokens in left:
        if n_tokens > 0:
            yield f"  {n_tokens:>6,} of {hit.chunk.n_tokens:,} tokens  {_place(hit)}"


def _place(where: ContextItem | Hit) -> str:
    return printable_line(place_text(where.to_dict()))
