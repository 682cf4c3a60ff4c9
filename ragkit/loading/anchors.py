"""Anchors of headings: the ids by which a link reaches a section of the page made from a file."""

from __future__ import annotations

import re
import unicodedata

MAX_ANCHOR_CHARACTERS = 200
"""A longer id is no anchor: it would be stored with every mark below its heading."""

_LINK = re.compile(r"!?\[([^\[\]]*+)\](?:\([^()]*+\)|\[[^\[\]]*+\])")
_HTML_TAG = re.compile(r"<[^<>]*+>")
_OWN_ID = re.compile(r"\{[ \t]*+#([^\s{}]++)[^{}]*+\}$")
_NOT_IN_SLUG = re.compile(r"[^\w\- ]")
_ROLE = re.compile(r":[A-Za-z][\w:.+-]{0,50}:(?=`)")
_LABEL = re.compile(r"\.\.[ \t]++_(?!_)(`[^`]++`|(?:[^:`\\\n]|\\.)++):[ \t]*+\Z")
_NOT_IN_ID = re.compile(r"[^a-z0-9]+")
_ID_LETTERS = str.maketrans(
    {"ø": "o", "đ": "d", "ħ": "h", "ı": "i", "ł": "l", "ŧ": "t", "ß": "sz", "æ": "ae", "œ": "oe"}
)


class Slugs:
    """The anchors of a Markdown document's headings, by the rule of GitHub and its imitators."""

    def __init__(self) -> None:
        self._n_uses: dict[str, int] = {}

    def of(self, title: str) -> str | None:
        """Return the anchor of the next heading; its own id (`{#id}`) counts more than the rule.

        The second heading of the same words ends in `-1`, the third in `-2`.
        """
        if own := _OWN_ID.search(title):
            return bounded(own[1])
        words = _HTML_TAG.sub("", _LINK.sub(r"\1", title)).strip().lower()
        slug = first = _NOT_IN_SLUG.sub("", words).replace(" ", "-")
        while slug in self._n_uses:
            self._n_uses[first] += 1
            slug = f"{first}-{self._n_uses[first]}"
        self._n_uses[slug] = 0
        return bounded(slug)


class Ids:
    """The anchors of a reStructuredText document's sections, by the rule of docutils."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def of(self, title: str, label: str | None) -> str | None:
        """Return the id of the label above a section, else that of its title.

        It is None for a title that another section has, whose id docutils makes up.
        """
        own = _docutils_id(_ROLE.sub("", title))
        is_known = own not in self._used
        self._used.add(own)
        named = None if label is None else _docutils_id(label)
        return bounded(named or (own if is_known else ""))


def label_of(markup: str) -> str | None:
    """Return the name that a reStructuredText label (`.. _name:`) gives to what follows."""
    label = _LABEL.match(markup)
    return label[1].strip("`").replace("\\", "") if label else None


def bounded(anchor: str) -> str | None:
    """Return an anchor; None for one that is empty, too long, or has white space in it."""
    is_one = 0 < len(anchor) <= MAX_ANCHOR_CHARACTERS and not any(map(str.isspace, anchor))
    return anchor if is_one and anchor.isprintable() else None


def _docutils_id(name: str) -> str:
    lowered = unicodedata.normalize("NFKD", name.lower().translate(_ID_LETTERS))
    plain = " ".join(lowered.encode("ascii", "ignore").decode().split())
    return _NOT_IN_ID.sub("-", plain).lstrip("-0123456789").rstrip("-")
