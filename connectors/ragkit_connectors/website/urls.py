"""Addresses of pages: one spelling of each, and which of them belong to a site."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit, urlunsplit

from ragkit.errors import LoadError

MAX_CHARACTERS = 2_048
_PORTS = {"http": 80, "https": 443}
_KEPT = "%/:=&?~+!$,;'@()*[]|"
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")


def normalised(address: str, base: str = "") -> str:
    """Return the one spelling of an address, without what follows a `#`.

    Scheme and host are in lower case, the host in ASCII, the port is left out where it is the
    usual one, `.` and `..` are resolved, and characters are percent-encoded where they have to
    be, and only there.

    Args:
        address: As it was given; relative to the base, if there is one.
        base: The address of the page that it stands on.

    Raises:
        LoadError: `unreadable` where it is no address of a page, or holds a user or a password.
    """
    try:
        if len(address) > MAX_CHARACTERS:
            raise ValueError(f"it has more than {MAX_CHARACTERS:,} characters")
        parts = urlsplit(urljoin(base, address.strip()))
        host, port = (parts.hostname or "").rstrip("."), parts.port
        if parts.scheme not in _PORTS or not host:
            raise ValueError("it begins neither with https:// nor with http:// and a host")
        if parts.username is not None or parts.password is not None:
            raise ValueError("it holds a user or a password")
        host = f"[{host}]" if ":" in host else host.encode("idna").decode().lower()
        path = _without_dots(normalised_escapes(parts.path or "/"))
        query = normalised_escapes(parts.query)
    except ValueError as error:  # also a host that cannot be one
        raise LoadError("unreadable", f"an address that cannot be used: {error}") from None
    place = host if port in {None, _PORTS[parts.scheme]} else f"{host}:{port}"
    return urlunsplit((parts.scheme, place, path, query, ""))


def normalised_escapes(text: str) -> str:
    """Return the one spelling of a path or a query.

    What no address holds is percent-encoded, what needs no encoding is not, and the digits of
    the others are in upper case (RFC 3986, section 6.2.2).
    """
    return _ESCAPE.sub(_escape, quote(text, safe=_KEPT))


def _escape(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if _UNRESERVED.fullmatch(character) else f"%{match[1].upper()}"


def _without_dots(path: str) -> str:
    """Return a path without `.` and `..` (RFC 3986, section 5.2.4)."""
    kept: list[str] = []
    parts = path.split("/")[1:]
    for part in parts:
        if part == ".." and kept:
            kept.pop()
        if part not in {".", ".."}:
            kept.append(part)
    if parts[-1:] in (["."], [".."]):
        kept.append("")
    return "/" + "/".join(kept)


def host_and_port(parts: SplitResult) -> tuple[str, int]:
    """Return the host and the port that an address leads to."""
    return parts.hostname or "", parts.port or _PORTS[parts.scheme]


def check_same_site(url: str, start: str) -> None:
    """Raise `LoadError` unless an address is on the host that was named, and as safe as it."""
    here, there = urlsplit(url), urlsplit(start)
    if here.hostname != there.hostname:
        raise LoadError("unreadable", f"{url} is on another host than {start}, which was named")
    if (here.scheme, there.scheme) == ("http", "https"):
        raise LoadError("unreadable", f"{url} is not encrypted, and https:// was named")
    if here.scheme == there.scheme and here.port != there.port:
        raise LoadError("unreadable", f"{url} is on another port than {start}, which was named")
    if here.scheme != there.scheme and {here.port, there.port} != {None}:
        raise LoadError("unreadable", f"{url} is on another port than {start}, which was named")


def path_of(url: str) -> str:
    """Return what rules and patterns are matched with: the path, without a slash at its ends."""
    return "/".join(part for part in unquote(urlsplit(url).path).split("/") if part)
