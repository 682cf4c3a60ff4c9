"""Links: the address of the page that a passage stands on, with the anchor of its section."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote, urljoin, urlsplit

from ragkit.types import Citation, ContextItem, Hit, Suggestion

MOST_SUGGESTIONS = 3

_ADDRESS = re.compile(r"https?://[^\s\"'<>\\^`{|}\x00-\x20\x7f]{1,2000}", re.IGNORECASE)
"""Only such an address is a link: a document may name any scheme, `javascript:` for one."""


def link_to(hit: Hit, start: int) -> str | None:
    """Return the link to the section around a place in a hit's document; None where unknown.

    The page is the document's `source` if that is an address, else `url` in its metadata, where
    rules for ingesting put what they make of the path. `permalink` and `slug` in the metadata
    change the path of that page; a `permalink` may be an address itself.
    """
    page = _page_of(hit)
    if page is None:
        return None
    # A terminal shows whatever it is given, marks that reverse the text among it.
    page = quote(page, safe="!#$%&'()*+,/:;=?@[]~")
    if "#" in page:
        return page
    location = hit.chunk.location(start, start)
    if location.anchor is not None:
        return f"{page}#{quote(location.anchor, safe='!$&()*+,;=:@/?~')}"
    # RFC 8118: viewers of PDF files open them at this page.
    is_pdf = urlsplit(page).path.lower().endswith(".pdf")
    return f"{page}#page={location.page}" if is_pdf and location.page is not None else page


def _page_of(hit: Hit) -> str | None:
    if _ADDRESS.fullmatch(hit.source):
        return hit.source
    url, permalink, slug = (hit.metadata.get(name) for name in ("url", "permalink", "slug"))
    page = url if isinstance(url, str) and _ADDRESS.fullmatch(url) else None
    if isinstance(permalink, str) and _ADDRESS.fullmatch(permalink):
        return permalink
    if page is None:
        return None
    if isinstance(permalink, str) and permalink.startswith("/"):
        page = urljoin(page, f"/{permalink.lstrip('/')}")
    elif isinstance(slug, str) and (name := slug.strip("/")):
        # It stands for the last part of the path, or for all of it if it begins with a slash.
        end = "/" if page.endswith("/") else ""
        page = urljoin(page.rstrip("/"), f"{'/' if slug.startswith('/') else './'}{name}{end}")
    return page if _ADDRESS.fullmatch(page) else None


def linked(citation: Citation, context: Sequence[ContextItem]) -> Citation:
    """Return a citation with its link, and the label of the passage that it stands in."""
    document_id, start = citation.hit.chunk.document_id, citation.start
    labels = (
        item.label
        for item in context
        if item.hit.chunk.document_id == document_id and item.start <= start < item.end
    )
    return replace(citation, url=link_to(citation.hit, start), label=next(labels, None))


def suggestions(context: Sequence[ContextItem], hits: Sequence[Hit]) -> tuple[Suggestion, ...]:
    """Return where to look instead of an answer, best first, each section once.

    Args:
        context: What would have been sent; its best sentences come first.
        hits: What was found, for a context that is empty.
    """
    sentences = [(sentence, item.hit) for item in context for sentence in item.sentences]
    sentences.sort(key=lambda found: -found[0].score)
    places = [(hit, sentence.start, sentence.end) for sentence, hit in sentences]
    sections: dict[tuple[str, tuple[str, ...]], Suggestion] = {}
    for hit, start, end in places or [(hit, hit.chunk.start, hit.chunk.end) for hit in hits]:
        section = hit.chunk.document_id, hit.chunk.location(start, start).heading
        if section not in sections and len(sections) < MOST_SUGGESTIONS:
            found = Suggestion(hit=hit, start=start, end=end, url=link_to(hit, start))
            sections[section] = found
    return tuple(sections.values())
