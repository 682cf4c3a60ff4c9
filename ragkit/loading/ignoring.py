r"""What ignore files and patterns leave out: the grammar of `.gitignore`.

One pattern per line. Empty lines and lines that start with `#` are ignored.
- `*` matches any characters but `/`, `?` one of them, `[a-c]` and `[!a-c]` one of a set; behind a
`\` each of them is itself.
- A pattern without `/` (except at its end) matches names at any depth below the file.
- A pattern with `/` at its start or within it is relative to the folder that the file is in; there,
`**` as a whole part matches any number of folders, and at its end everything inside.
- A `/` at the end restricts a pattern to folders. An ignored folder is not entered.
- A leading `!` includes names again that an earlier pattern left out. The last match decides.
- White space at the end of a line counts only behind a `\`.
"""

from __future__ import annotations

from collections.abc import Iterable
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

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._rules: list[_Rule] = []
        self._add(lines, ())

    def read(self, file: Path, inside: tuple[str, ...]) -> None:
        """Add the rules of a file in the folder `inside`, relative to the top."""
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError):
            return
        self._add(lines, tuple(map(_literal, inside)))

    def _add(self, lines: Iterable[str], inside: tuple[str, ...]) -> None:
        for raw in lines:
            line = _without_trailing_space(raw)
            # A path has no two slashes in a row, so a pattern that has matches nothing.
            if line and not line.startswith("#") and line.strip("/!") and "//" not in line:
                self._rules.append(_rule(line, inside))

    def __bool__(self) -> bool:
        return bool(self._rules)

    def match(self, parts: tuple[str, ...], *, is_folder: bool) -> bool:
        """Whether the file or folder at `parts`, relative to the top, is ignored."""
        return self.decide(parts, is_folder=is_folder) is True

    def decide(self, parts: tuple[str, ...], *, is_folder: bool) -> bool | None:
        """Return the same, or None if no rule says anything of it."""
        for rule in reversed(self._rules):
            if (is_folder or not rule.folders_only) and matches(rule.parts, parts):
                return not rule.takes_in
        return None


def _without_trailing_space(line: str) -> str:
    bare = line.rstrip(" \t\r")
    n_slashes = len(bare) - len(bare.rstrip("\\"))
    return f"{bare} " if n_slashes % 2 and len(bare) < len(line) else bare


def _rule(line: str, inside: tuple[str, ...]) -> _Rule:
    pattern = line.removeprefix("!")
    parts = tuple(
        # More asterisks than two are as good as two.
        _ANY_DEPTH if part.startswith(_ANY_DEPTH) and not part.strip("*") else _as_fnmatch(part)
        for part in pattern.split("/")
        if part
    )
    anchored = "/" in pattern.rstrip("/")
    if anchored and parts[-1] == _ANY_DEPTH:
        parts = (*parts, "*")  # everything inside, but not the folder
    return _Rule(
        parts=(*inside, *(() if anchored else (_ANY_DEPTH,)), *parts),
        folders_only=pattern.endswith("/"),
        takes_in=line.startswith("!"),
    )


def _as_fnmatch(part: str) -> str:
    """Return a part of a pattern as `fnmatch` writes it, which has no escapes."""
    pieces, escaped, in_set = list[str](), False, False
    for character in part:
        if escaped:
            pieces.append(character if in_set else _literal(character))
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            opens = in_set and pieces[-1] == "["
            pieces.append("!" if opens and character == "^" else character)
            in_set = character == "[" or (in_set and (character != "]" or opens))
    return "".join(pieces)


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
