"""Self-contained HTML pages: nothing is loaded, and a policy in the page forbids it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape

from ragkit.text.printable import printable

STYLE = """
:root { --ink: #1c2430; --soft: #5b6675; --line: #d9dee5; --paper: #fff; --wash: #f5f7f9;
  --good: #1a7f4b; --bad: #b42318; --open: #9a6700; --ours: #0b6bcb; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  margin: 0 auto; padding: 1.5rem; max-width: 68rem; }
h1 { font-size: 1.35rem; margin: 0 0 .2rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .6rem; }
p { margin: .3rem 0; } .soft { color: var(--soft); }
.verdict { border-left: .4rem solid var(--soft); background: var(--wash); padding: .7rem 1rem;
  font-size: 1.1rem; font-weight: 600; margin: 1rem 0; }
.verdict.pass { border-color: var(--good); } .verdict.fail { border-color: var(--bad); }
.verdict.inconclusive { border-color: var(--open); }
.gist { font-size: 1.05rem; margin: .6rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; margin: .4rem 0; }
th, td { text-align: left; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; font-variant-numeric: tabular-nums; }
td:first-child { white-space: nowrap; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
.better, .pass td:first-child { color: var(--good); font-weight: 600; }
.worse, .fail td:first-child { color: var(--bad); font-weight: 600; }
.inconclusive td:first-child { color: var(--open); font-weight: 600; }
details { border-top: 1px solid var(--line); padding: .45rem 0; }
summary { cursor: pointer; } summary b { font-weight: 600; }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
@media (max-width: 45rem) { .sides { grid-template-columns: 1fr; } }
.text { background: var(--wash); padding: .5rem .7rem; margin: .3rem 0; font-size: .86rem;
  white-space: pre-wrap; overflow-wrap: anywhere; max-height: 22rem; overflow-y: auto; }
mark { background: #ffe08a; color: inherit; padding: 0 .1em; }
pre { background: var(--wash); padding: .6rem; overflow-x: auto; font-size: .8rem; }
svg { width: 100%; height: auto; max-width: 60rem; } svg text { font: 12px system-ui, sans-serif;
  fill: var(--soft); } svg .strong { fill: var(--ink); font-weight: 600; }
"""


def document(title: str, parts: Iterable[str], *, style: str = "", script: str = "") -> str:
    """Return a whole page.

    Args:
        title: Of the window.
        parts: HTML, one after the other.
        style: Rules beside `STYLE`.
        script: The page's own; no other can run in it.
    """
    style = STYLE + style
    policy = "; ".join(
        [
            "default-src 'none'",
            f"style-src {_source(style)}",
            *([f"script-src {_source(script)}"] if script else []),
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    return printable(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + (f"\n<script>{script}</script>" if script else "")
        + "\n</body>\n</html>\n"
    )


def _source(text: str) -> str:
    """Return what allows an inline text by its digest (Content Security Policy Level 3, 2.3.1)."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, classes: Sequence[str] = ()
) -> str:
    """Return a table; the cells `better` and `worse` are coloured, as are rows with classes."""
    if not rows:
        return ""
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    for i, row in enumerate(rows):
        kind = f' class="{classes[i]}"' if classes else ""
        cells = "".join(
            f'<td class="{cell}">{cell}</td>'
            if cell in {"better", "worse"}
            else f"<td>{escape(cell)}</td>"
            for cell in row
        )
        lines.append(f"<tr{kind}>{cells}</tr>")
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'
