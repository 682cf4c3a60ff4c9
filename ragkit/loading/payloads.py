"""Payloads: data for programs inside a text, such as a picture written as a `data:` URI.

RFC 2397 puts any file into a link. Its characters are no text: embedded they cost as much as pages
of it, and they would be found, sent and cited.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

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


def without_payloads(text: str) -> tuple[str, int]:
    """Return a text with `data:` URIs replaced by their link texts, and how many characters less.

    A definition of one goes with its line; other URIs go without a trace.
    """
    if "data:" not in text:
        return text, 0
    short = _DATA_LINK.sub(r"\1", text)
    short = _DATA_DEFINITION.sub("", short)
    short = _DATA_URI.sub("", short)
    return short, len(text) - len(short)
