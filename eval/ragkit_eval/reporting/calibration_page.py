"""What trimming loses: a calibration as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

from ragkit.types import Span
from ragkit_eval.reporting.formatting import shown
from ragkit_eval.reporting.plot import (
    BLUES,
    GREYS,
    Axes,
    curve,
    diamond,
    drawing,
    legend,
    target_line,
)
from ragkit_eval.reporting.selfcontained import document, table

if TYPE_CHECKING:
    from ragkit_eval.calibration.losses import CutPassage, Loss, Losses
    from ragkit_eval.calibration.task import Calibration

MOST_SHOWN = 100
"""Lost questions that are shown with their passages."""

_OPEN = 3

_STYLE = """
.cut { color: #7b8794; text-decoration: line-through; text-decoration-color: #c3cad2; }
.cut mark { background: #ffc9c2; text-decoration: none; display: inline; color: var(--ink); }
details .text { max-height: none; }
.need { white-space: pre-wrap; overflow-wrap: anywhere; }
.key span { margin-right: 1.2rem; }
"""
_FILLS = {"certified": "#1a7f4b", "marginal": "#9a6700", "uncertified": "#b42318"}
_NAMES = {
    "certified": "certified",
    "marginal": "marginal, no certificate",
    "uncertified": "just keeps the share: no promise",
}


def html(calibration: Calibration, said: Sequence[str], name: str) -> str:
    """Return the whole page.

    Args:
        calibration: With its losses.
        said: What the calibration says and does not say, by line; headings begin with "What".
        name: Of the labels.

    Raises:
        ValueError: the calibration is without losses.
    """
    found = calibration.losses
    if found is None:
        raise ValueError("a page needs a calibration with losses")
    verdict, kind = _verdict(calibration, found)
    parts = [
        "<h1>What do we lose?</h1>",
        f'<p class="soft">{escape(name)}: {_facts(found)}</p>',
        *(f'<p class="soft">sampled: {escape(sample)}</p>' for sample in found.samples),
        f'<div class="verdict {kind}">{escape(verdict)}</div>',
        *_said(said),
        "<h2>Tokens, and what is kept</h2>",
        _plot(calibration, found),
        _rivals(calibration, found),
        *_goals(calibration),
        *_losses(found),
        *_unfound(found),
    ]
    return document(f"ragkit calibrate: {name}", parts, style=_STYLE)


def _verdict(calibration: Calibration, found: Losses) -> tuple[str, str]:
    if calibration.policy is None:
        needed = calibration.n_needed
        more = ""
        if needed is not None:
            more = f" About {needed:,} labelled questions like these are needed."
        return f"Not certified: {calibration.reason}.{more}", "inconclusive"
    tokens = 0.0 if found.shown is None else found.shown[0]
    target = calibration.target
    sure = target["confidence"]
    promise = f"with {float(str(sure)):.0%} confidence" if sure else str(calibration.promise)
    kind = "Certified" if calibration.certified else "Not certified, but"
    return (
        f"{kind}: {_goal(calibration)}, {promise}; {tokens:.0f} tokens on average; "
        f"the untrimmed top 5 sends {found.full_tokens:.0f}.",
        "pass" if calibration.certified else "inconclusive",
    )


def _goal(calibration: Calibration) -> str:
    target = calibration.target
    metric, retain = target["metric"], float(str(target["retain"]))
    return {
        "strict": f"of the questions that the untrimmed top 5 serves at least {retain:.0%} keep "
        f"all ({metric})",
        "ratio": f"at least {retain:.0%} of the mean {metric} of the untrimmed top 5",
        "conformal": f"of the questions that the untrimmed top 5 serves {retain:.0%} keep all "
        f"({metric})",
        "absolute": f"a mean {metric} of at least {retain:.3f}",
    }.get(str(target["mode"]), f"{target['mode']} {retain}")


def _facts(found: Losses) -> str:
    unserved = found.n_measured - found.n
    more = "" if not unserved else f"; {unserved:,} more that the untrimmed top 5 does not serve"
    return f"{found.n:,} questions of {found.n_clusters:,} {_clusters(found)}{more}"


def _clusters(found: Losses) -> str:
    names = {"document": "documents", "section": "sections", "none": "clusters of one each"}
    return names.get(found.cluster, f"values of {found.cluster}")


def _said(lines: Iterable[str]) -> list[str]:
    return [
        f"<h2>{escape(line)}</h2>" if line.startswith("What ") else f"<p>{escape(line.strip())}</p>"
        for line in lines
        if line.strip()
    ]


def _plot(calibration: Calibration, found: Losses) -> str:
    ours = [(tokens, share) for _, tokens, share in found.curve]
    whole = [(tokens, share) for _, tokens, share in found.untrimmed]
    points = [*ours, *whole, *([found.shown] if found.shown else [])]
    if len(points) < 2 or max(tokens for tokens, _ in points) <= 0.0:
        return ""
    retain = float(str(calibration.target["retain"]))
    axes = Axes([tokens for tokens, _ in points], [retain, *(share for _, share in points)])
    shapes = [
        *axes.frame("share kept"),
        curve(whole, axes, GREYS[2], strong=False),
        *(curve([point], axes, GREYS[2], strong=False) for point in whole),
        curve(ours, axes, BLUES[0], strong=True),
        *target_line(retain, shown(retain), axes),
    ]
    entries = [
        (
            BLUES[0],
            "trimmed, over the cut",
            f"cuts {found.curve[-1][0]:g} to {found.curve[0][0]:g}",
        ),
        (GREYS[2], "untrimmed, first 1 to 5 chunks", "whole"),
    ]
    if found.shown is not None:
        tokens, share = found.shown
        fill = _FILLS[found.shown_is]
        shapes.append(diamond(axes.x(tokens), axes.y(share), fill))
        entries.append(
            (fill, f"◆ {_NAMES[found.shown_is]}", f"{shown(share)} at {tokens:.0f} tokens")
        )
    return drawing("share kept against tokens", [*shapes, *legend(entries)])


def _rivals(calibration: Calibration, found: Losses) -> str:
    retain = float(str(calibration.target["retain"]))
    rows: list[list[str]] = []
    if found.shown is not None:
        tokens, share = found.shown
        rows.append(
            [_NAMES[found.shown_is], f"{tokens:.0f}", f"{share:.3f}", _whether(share, retain)]
        )
    rows += [
        [
            f"top {k}, whole, without repeats",
            f"{tokens:.0f}",
            f"{share:.3f}",
            _whether(share, retain),
        ]
        for k, tokens, share in found.untrimmed
    ]
    if calibration.target["mode"] != "absolute":
        rows.append(["untrimmed top 5, as found", f"{found.full_tokens:.0f}", "1.000", "yes"])
    head = ["on these labels", "mean tokens", "share kept", f"at least {shown(retain)}"]
    return table(head, rows)


def _whether(share: float, retain: float) -> str:
    return "yes" if share >= retain else "no"


def _goals(calibration: Calibration) -> list[str]:
    if not calibration.grid:
        return []
    rows: list[list[str]] = []
    for cell in calibration.grid:
        tokens, needed = cell["tokens"], cell["n_needed"]
        price = "never" if needed is None else f"{needed} labels needed"
        rows.append(
            [
                f"{float(str(cell['retain'])):.0%}",
                f"{float(str(cell['confidence'])):.0%}",
                price if tokens is None else f"{float(str(tokens)):.0f} tokens",
            ]
        )
    return ["<h2>Other goals</h2>", table(["share", "confidence", "price"], rows)]


def _losses(found: Losses) -> list[str]:
    by = "every cut" if found.shown is None else f"the {found.shown_is} context"
    parts = [f"<h2>Lost by {by}: {len(found.lost):,} of {found.n:,} questions</h2>"]
    if found.lost:
        parts.append(
            '<p class="soft key"><span>kept</span><span class="cut">cut</span>'
            "<span><mark>needed</mark></span>"
            '<span class="cut"><mark>needed, and cut</mark></span></p>'
        )
    parts += [_loss(one, is_open=i < _OPEN) for i, one in enumerate(found.lost[:MOST_SHOWN])]
    if len(found.lost) > MOST_SHOWN:
        parts.append(f"<p>{len(found.lost) - MOST_SHOWN:,} more are not shown.</p>")
    return parts


def _unfound(found: Losses) -> list[str]:
    """Return the questions for which trimming cannot be blamed."""
    if not found.unfound:
        return []
    shown = "".join(
        f"<li><b>{escape(one.question.text)}</b><ul>"
        + "".join(
            f'<li class="need">{"found" if is_found else "not found"}: {escape(text)}</li>'
            for text, is_found in one.needs
        )
        + "</ul></li>"
        for one in found.unfound[:MOST_SHOWN]
    )
    left = len(found.unfound) - MOST_SHOWN
    n = f"{len(found.unfound):,} of {found.n_measured:,} questions"
    return [
        f"<h2>Retrieval does not find these: {n}</h2>",
        "<p>The untrimmed top 5 does not hold all that they need, so that trimming has nothing to "
        "lose, and a strict promise is not about them. Other chunks, another search mode or more "
        "passages may help; a cut does not.</p>",
        f"<ul>{shown}</ul>",
        *([f"<p>{left:,} more are not shown.</p>"] if left > 0 else []),
    ]


def _loss(one: Loss, *, is_open: bool) -> str:
    question = one.question
    needs = [" or ".join(need) for need in question.needs] or list(question.answers[:1])
    wanted = "".join(f'<li class="need">{escape(text)}</li>' for text in needs)
    elsewhere = ""
    if one.n_elsewhere_tokens:
        elsewhere = f", {one.n_elsewhere_tokens} of them beyond the top 5"
    return (
        f"<details{' open' if is_open else ''}><summary><b>{escape(question.text)}</b> "
        f'<span class="soft">{one.n_tokens} tokens kept{elsewhere}; untrimmed '
        f"{one.n_full_tokens}</span></summary>"
        + (f"<p>needed:</p><ul>{wanted}</ul>" if wanted else "")
        + _passages(one.passages)
        + "</details>"
    )


def _passages(passages: Iterable[CutPassage]) -> str:
    """Return the passages that hold something that is needed, and the others to be unfolded."""
    found: dict[bool, list[str]] = {True: [], False: []}
    for passage in passages:
        end = passage.start + len(passage.text)
        is_gold = any(a < end and passage.start < b for a, b in passage.gold)
        found[is_gold].append(_passage(passage))
    others = found[False]
    if not others:
        return "".join(found[True])
    name = f"{len(others)} passages of the top 5 without it"
    return (
        "".join(found[True])
        + f'<details{"" if found[True] else " open"}><summary class="soft">{name}</summary>'
        + "".join(others)
        + "</details>"
    )


def _passage(passage: CutPassage) -> str:
    end = passage.start + len(passage.text)
    return (
        f'<p class="soft">{escape(passage.document_id)} {passage.start}–{end}</p>'
        f'<div class="text">{_marked(passage)}</div>'
    )


def _marked(passage: CutPassage) -> str:
    """Return a passage with what is cut, and what is needed, marked; white space is neither."""
    start, text = passage.start, passage.text
    edges = {0, len(text)}
    for a, b in (*passage.kept, *passage.gold):
        edges |= {min(max(0, edge - start), len(text)) for edge in (a, b)}
    places = sorted(edges)
    pieces: list[str] = []
    for a, b in pairwise(places):
        piece = escape(text[a:b])
        if _holds(passage.gold, start + a):
            piece = f"<mark>{piece}</mark>"
        if not _holds(passage.kept, start + a) and text[a:b].strip():
            piece = f'<span class="cut">{piece}</span>'
        pieces.append(piece)
    return "".join(pieces)


def _holds(spans: Iterable[Span], at: int) -> bool:
    return any(a <= at < b for a, b in spans)
