"""Payloads: data for programs inside a text, such as a picture written as a `data:` URI.

RFC 2397 puts any file into a link. Its characters are no text: embedded they cost as much as pages
of it, and they would be found, sent and cited.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from ragkit.text.lines import raw_lines

_LOCK_FILES = frozenset(
    "package-lock.json npm-shrinkwrap.json pnpm-lock.yaml composer.lock Cargo.lock poetry.lock "
    "Pipfile.lock uv.lock pdm.lock Gemfile.lock yarn.lock bun.lock bun.lockb go.sum flake.lock "
    "packages.lock.json mix.lock pubspec.lock Podfile.lock conda-lock.yml".split()
)
_BUNDLES = ("*.min.js", "*.min.css", "*.min.mjs", "*.bundle.js", "*.chunk.js", "*.js.map",
            "*.css.map", "*.min.html", "*.min.json")  # fmt: skip


def why_for_programs(name: str) -> str | None:
    """Return why nobody reads a file of this name; None for a file that people read."""
    if name in _LOCK_FILES:
        return "a lock file, which programs write for programs"
    if any(fnmatchcase(name.lower(), bundle) for bundle in _BUNDLES):
        return "a bundle, made by a program of files that people read"
    return None


_DATA_LINK = re.compile(r"!?\[([^\[\]\n]{0,300})\]\(<?data:[^\s()<>]*>?(?: \"[^\"\n]{0,300}\")?\)")
"""An image or a link of Markdown (CommonMark 0.31, section 6.3) with its text."""

_DATA_DEFINITION = re.compile(r"(?<![^\n]) {0,3}\[[^\[\]\n]{1,300}\]: {0,3}<?data:[^\n]*")
"""A link reference definition (CommonMark 0.31, section 4.7)."""

_DATA_URI = re.compile(r"\bdata:[\w/.+-]{0,160}(?:;[\w=.+-]{1,80}){0,4},[A-Za-z0-9+/=%_-]{200,}")
"""Anywhere else; a short one is an example that somebody wrote to be read."""


_BASE64 = re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/_-]{300,}+={0,2}")
"""Base64 (RFC 4648) in one piece."""

_BASE64_LINE = re.compile(r"[A-Za-z0-9+/]{60,100}={0,2}")
_BASE64_LAST_LINE = re.compile(r"[A-Za-z0-9+/]{1,100}={0,2}")
_LEAST_LINES = 4
"""Of Base64 in lines, as mails and certificates have it (RFC 7468)."""


def without_payloads(text: str) -> tuple[str, int]:
    """Return a text with `data:` URIs replaced by their link texts, and how many characters less.

    A definition of one goes with its line; other URIs, and long runs of Base64, go without a trace.
    """
    short = text
    if "data:" in text:
        short = _DATA_LINK.sub(r"\1", text)
        short = _DATA_DEFINITION.sub("", short)
        short = _DATA_URI.sub("", short)
    short = _BASE64.sub(_unless_code, short)
    short = _without_lines(short)
    return short, len(text) - len(short)


def _unless_code(run: re.Match[str]) -> str:
    """Return nothing for Base64; sequences of genes and digits stay."""
    return "" if _is_mixed(run[0]) else run[0]


def _is_mixed(run: str) -> bool:
    signs = set(run)
    return all(any(map(kind, signs)) for kind in (str.isdigit, str.isupper, str.islower))


def _without_lines(text: str) -> str:
    kept, position = list[str](), 0
    first, n_lines = 0, 0
    for start, line in raw_lines(text + "\n"):
        if _BASE64_LINE.fullmatch(line):
            first, n_lines = (first, n_lines + 1) if n_lines else (start, 1)
            continue
        if n_lines >= _LEAST_LINES and _is_mixed(text[first:start]):
            end = start + (len(line) if _BASE64_LAST_LINE.fullmatch(line) else -1)
            kept.append(text[position:first])
            position = end
        n_lines = 0
    return "".join([*kept, text[position:]])
