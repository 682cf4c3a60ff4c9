"""What the elements of a page are for: navigation, notes, names of settings."""

from __future__ import annotations

import re
from collections.abc import Mapping

_CONTAINERS = frozenset("div ul ol dl aside section table p form nav header footer".split())
_NAVIGATION = frozenset(
    "navheader navfooter nav navbar navigation toc tableofcontents table-of-contents breadcrumb "
    "breadcrumbs sidebar sphinxsidebar menu pagination pager site-header site-footer skip-link "
    "cookie cookies cookie-banner cookie-notice cookie-consent".split()
)
"""Classes and ids."""
_OF_PAGE = frozenset({"footer", "page-footer", "page-header"})
_NAVIGATION_ROLES = frozenset({"navigation", "banner", "contentinfo"})
_NOTES = frozenset(
    "note notice warning tip caution important admonition danger hint attention alert "
    "callout".split()
)
_NOTE_TITLES = _NOTES | {"notes", "tips", "warnings", "see also", "error", "info"}
_CODE_TAGS = frozenset({"div", "pre", "code"})
_LANGUAGE = re.compile(
    r"(?:language-|lang-|highlight-source-|highlight-|brush:)([A-Za-z][\w+#.-]{0,19});?"
)
_NAME = re.compile(r"[A-Za-z][\w+#.-]{0,19}")
_NO_LANGUAGES = frozenset(
    "default none text plain plaintext txt output nohighlight literal-block".split()
)
_OPTION = re.compile(
    r"--?[A-Za-z0-9?#]|\\[a-z!?;]"
    r"|(?:[a-z_]|[A-Z][A-Z0-9_]+(?![\w.-]))[\w.-]*+(?:\(\))?(?: \([^()]{1,60}\))?$"
)


def code_language(tag: str, attributes: Mapping[str, str]) -> str:
    """Return the language of the code in an element, empty where it names none."""
    if tag not in _CODE_TAGS or "class" not in attributes:
        return ""
    names = attributes["class"].replace("brush: ", "brush:").split()
    for i, name in enumerate(names):
        match = _LANGUAGE.fullmatch(name)
        if match and not (tag == "div" and name.startswith("lang-")):
            return "" if match[1].lower() in _NO_LANGUAGES else match[1].lower()
        if name == "sourceCode" and _NAME.fullmatch(" ".join(names[i + 1 : i + 2])):
            return names[i + 1].lower()
    return ""


def is_navigation(tag: str, attributes: Mapping[str, str], *, in_section: bool) -> bool:
    """Whether an element is navigation, or the header or footer of the page.

    `in_section` tells that it stands in an article, a section or the main part: a header or footer
    there belongs to the content.
    """
    if tag == "nav" or attributes.get("role", "").lower() in _NAVIGATION_ROLES:
        return True
    if tag in {"header", "footer"} and not in_section:
        return True
    names = _names(attributes) if tag in _CONTAINERS else frozenset[str]()
    return not _NAVIGATION.isdisjoint(names) or not (in_section or _OF_PAGE.isdisjoint(names))


def is_note(tag: str, attributes: Mapping[str, str]) -> bool:
    """Whether an element is an admonition."""
    return tag in {"div", "aside", "section"} and not _NOTES.isdisjoint(
        attributes.get("class", "").lower().split()
    )


def is_note_title(text: str) -> bool:
    """Whether a title says no more than which kind of admonition it is."""
    return len(text) < 20 and text.lower().rstrip(":!. ") in _NOTE_TITLES


def is_option(term: str) -> bool:
    r"""Whether a line of a term is a flag, a setting's name or a command of a tool.

    As are `-v`, `port`, `wal_level (enum)` and `\\copy`.
    """
    return any(_OPTION.match(line) for line in term.split("\n"))


def _names(attributes: Mapping[str, str]) -> set[str]:
    return {*attributes.get("class", "").lower().split(), attributes.get("id", "").lower()}
