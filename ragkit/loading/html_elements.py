"""Elements of HTML: their kinds by tags, and those that are open."""

from __future__ import annotations

from dataclasses import dataclass

from ragkit.loading.cells import Table
from ragkit.loading.html_hidden import Look
from ragkit.loading.html_lists import List
from ragkit.loading.loaded import OpenPart

UNSHOWN_TAGS = frozenset(
    "script style template noscript head svg iframe object select datalist".split()
)
"""Elements whose text is no part of what a page shows."""
VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())
BLOCKS = frozenset(
    "address article aside blockquote body caption center dd details dialog div dl dt fieldset "
    "figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr legend li main nav ol p pre section "
    "summary table tbody tfoot thead tr ul".split()
)
ROWS = frozenset({"p", "td", "th", "tr"})
GROUPS = frozenset({"thead", "tbody", "tfoot"})
CLOSED_BY_ITS_LIKE = {
    "p": frozenset({"p"}),
    "li": frozenset({"p", "li"}),
    **dict.fromkeys(("dt", "dd"), frozenset({"p", "dt", "dd"})),
    **dict.fromkeys(("td", "th"), frozenset({"p", "td", "th"})),
    "tr": ROWS,
    **dict.fromkeys(GROUPS, ROWS | GROUPS),
}
"""Elements whose end tag may be omitted, and which open ones (innermost first) they close."""
HEADINGS = {f"h{level}": level for level in range(1, 7)}
SECTIONS = frozenset({"article", "section", "main"})


@dataclass(slots=True)
class Element:
    """An open element, and what ends with it."""

    tag: str
    look: Look
    hides: bool = False
    is_nav: bool = False
    is_note: bool = False
    is_caption: bool = False
    part: OpenPart | None = None
    list: List | None = None
    table: Table | None = None
