"""What a site allows to be fetched: `robots.txt` (RFC 9309)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

from ragkit.errors import LoadError
from ragkit_connectors.website.fetching import AGENT, Fetcher, StatusError
from ragkit_connectors.website.urls import normalised_escapes

MAX_BYTES = 512_000
_MAX_DELAY_SECONDS = 30.0
_PRODUCT = re.compile(r"[A-Za-z_-]*+")
_SECONDS = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?")


class RobotsError(LoadError):
    """A site does not allow an address to be fetched."""


@dataclass(slots=True)
class _Group:
    """What holds for some agents: patterns of paths, and whether each of them allows."""

    patterns: list[tuple[str, bool]] = field(default_factory=list[tuple[str, bool]])
    delay_seconds: float = 0.0

    def allows(self, url: str) -> bool:
        """Whether an address may be fetched: the longest pattern decides, else one that allows."""
        parts = urlsplit(url)
        path = normalised_escapes(f"{parts.path}?{parts.query}" if parts.query else parts.path)
        lengths = {False: -1, True: 0}
        for pattern, is_allowed in self.patterns:
            if len(pattern) > lengths[is_allowed] and _matches(pattern, path):
                lengths[is_allowed] = len(pattern)
        return lengths[True] >= lengths[False]


class Robots:
    """The `robots.txt` of each site, fetched once.

    Without one everything is allowed; while it cannot be fetched, nothing is.
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._found: dict[str, _Group | LoadError] = {}

    def check(self, url: str) -> None:
        """Raise `RobotsError` unless an address may be fetched.

        Raises:
            LoadError: nobody can tell.
        """
        place = urljoin(url, "/robots.txt")
        if place not in self._found:
            self._found[place] = self._fetch(place)
        found = self._found[place]
        if isinstance(found, LoadError):
            detail = f"whether it may be fetched is not known: {found.detail}"
            raise LoadError(found.code, detail, may_pass=True)
        if not found.allows(url):
            raise RobotsError("ignored", f"{place} does not allow it")

    def _fetch(self, place: str) -> _Group | LoadError:
        try:
            page = self._fetcher.get(place, most_bytes=MAX_BYTES)
        except StatusError as error:
            if not 400 <= error.status < 500 or error.status == 429:
                return error
            return _Group([("/", False)] if error.status in {401, 403} else [])
        except LoadError as error:
            return error
        data = b"" if page is None else b"".join(page.content.blocks())
        group = _group_of(data.decode("utf-8-sig", "replace"))
        delay = min(group.delay_seconds, _MAX_DELAY_SECONDS)
        self._fetcher.delay_seconds = max(self._fetcher.delay_seconds, delay)
        return group


def _group_of(text: str) -> _Group:
    """Return what a `robots.txt` says to this agent: all groups that name it, else those of all."""
    named, general = _Group(), _Group()
    is_named, groups, in_agents = False, list[_Group](), False
    for line in text.splitlines():
        name, colon, value = line.partition("#")[0].partition(":")
        name, value = name.strip().lower(), value.strip()
        if name == "user-agent" and colon:
            groups = groups if in_agents else []
            in_agents = True
            if _is_this(value):
                is_named = True
                groups.append(named)
            elif value.split()[:1] == ["*"]:
                groups.append(general)
        elif name in {"allow", "disallow", "crawl-delay"} and colon:
            in_agents = False
            for group in groups:
                _add(group, name, value)
    return named if is_named else general


def _is_this(value: str) -> bool:
    found = _PRODUCT.match(value)
    return found is not None and found[0].lower() == AGENT


def _add(group: _Group, name: str, value: str) -> None:
    if name != "crawl-delay":
        if value:
            group.patterns.append((normalised_escapes(value), name == "allow"))
    elif _SECONDS.fullmatch(value):
        group.delay_seconds = max(group.delay_seconds, float(value))


def _matches(pattern: str, path: str) -> bool:
    """Whether a path begins with a pattern: `*` is any text, `$` at its end the end of the path."""
    is_whole = pattern.endswith("$")
    first, *others = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    if is_whole and not others:
        return path == first
    at = len(first)
    last = others.pop() if is_whole else ""
    for other in others:
        found = path.find(other, at)
        if found < 0:
            return False
        at = found + len(other)
    return not is_whole or (len(path) - len(last) >= at and path.endswith(last))
