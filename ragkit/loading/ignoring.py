"""What a `.ragkitignore` leaves out: a subset of `.gitignore`.

One pattern per line. Empty lines and lines that start with `#` are ignored.
- `*` matches any characters but `/`, `?` one of them, `[a-c]` and `[!a-c]` one of a set.
- A pattern without `/` (except at its end) matches names at any depth below the file.
- A pattern with `/` at its start or within it is relative to the folder that the file is in; there,
`**` as a whole part matches any number of folders.
- A `/` at the end restricts a pattern to folders. An ignored folder is not entered.
- A leading `!` includes names again that an earlier pattern left out. The last match decides.
White space at either end of a line is stripped; there are no escapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

IGNORE_FILE = ".ragkitignore"
_ANY_DEPTH = "**"


@dataclass(frozen=True, slots=True)
class _Rule:
    parts: tuple[str, ...]
    folders_only: bool
    takes_in: bool


class IgnoreRules:
    """The rules of all ignore files found so far in a walk from the top."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []

    def read(self, file: Path, inside: tuple[str, ...]) -> None:
        """Add the rules of a file in the folder `inside`, relative to the top."""
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError):
            return
        for line in map(str.strip, lines):
            if line and not line.startswith("#"):
                self._rules.append(_rule(line, tuple(map(_literal, inside))))

    def match(self, parts: tuple[str, ...], *, is_folder: bool) -> bool:
        """Whether the file or folder at `parts`, relative to the top, is ignored."""
        for rule in reversed(self._rules):
            if (is_folder or not rule.folders_only) and matches(rule.parts, parts):
                return not rule.takes_in
        return False


def _rule(line: str, inside: tuple[str, ...]) -> _Rule:
    pattern = line.removeprefix("!")
    parts = tuple(part for part in pattern.split("/") if part)
    anchored = "/" in pattern.rstrip("/")
    return _Rule(
        parts=(*inside, *(() if anchored else (_ANY_DEPTH,)), *parts),
        folders_only=pattern.endswith("/"),
        takes_in=line.startswith("!"),
    )


def _literal(name: str) -> str:
    """Return the pattern that matches only this name."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def matches(pattern: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """Whether a path's parts match a pattern's, where `**` matches any number of them.

    Tracks the set of positions in the pattern that may come next: linear in the path's depth.
    """
    places = _open({0}, pattern)
    for part in parts:
        following: set[int] = set()
        for place in places:
            if place < len(pattern) and pattern[place] == _ANY_DEPTH:
                following.add(place)
            elif place < len(pattern) and fnmatchcase(part, pattern[place]):
                following.add(place + 1)
        places = _open(following, pattern)
    return len(pattern) in places


def _open(places: set[int], pattern: tuple[str, ...]) -> set[int]:
    """Add the positions after `**`, which may match no folder at all."""
    for place in sorted(places):
        after = place
        while after < len(pattern) and pattern[after] == _ANY_DEPTH:
            after += 1
            places.add(after)
    return places
