"""What a site allows to be fetched: `robots.txt` (RFC 9309)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin

from ragkit.errors import LoadError
from ragkit_connectors.website.fetching import AGENT, Fetcher, StatusError

if TYPE_CHECKING:
    from urllib.robotparser import RobotFileParser

MAX_BYTES = 512_000
_MAX_DELAY_SECONDS = 30.0


class RobotsError(LoadError):
    """A site does not allow an address to be fetched."""


class Robots:
    """The `robots.txt` of each site, fetched once.

    Without one everything is allowed; while it cannot be fetched, nothing is.
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._found: dict[str, RobotFileParser | LoadError] = {}

    def check(self, url: str) -> None:
        """Raise `RobotsError` unless an address may be fetched.

        Raises:
            LoadError: nobody can tell.
        """
        place = urljoin(url, "/robots.txt")
        if place not in self._found:
            self._found[place] = self._fetch(place)
        robots = self._found[place]
        if isinstance(robots, LoadError):
            detail = f"whether it may be fetched is not known: {robots.detail}"
            raise LoadError(robots.code, detail, may_pass=True)
        if not robots.can_fetch(AGENT, url):
            raise RobotsError("ignored", f"{place} does not allow it")

    def _fetch(self, place: str) -> RobotFileParser | LoadError:
        from urllib.robotparser import RobotFileParser

        robots = RobotFileParser()
        try:
            page = self._fetcher.get(place, most_bytes=MAX_BYTES)
        except StatusError as error:
            if not 400 <= error.status < 500 or error.status == 429:
                return error
            robots.parse(["User-agent: *", "Disallow: /"] if error.status in {401, 403} else [])
            return robots
        except LoadError as error:
            return error
        data = b"" if page is None else b"".join(page.content.blocks())
        robots.parse(data.decode("utf-8-sig", "replace").splitlines())
        delay = robots.crawl_delay(AGENT)
        if delay is not None:
            asked = min(float(delay), _MAX_DELAY_SECONDS)
            self._fetcher.delay_seconds = max(self._fetcher.delay_seconds, asked)
        return robots
