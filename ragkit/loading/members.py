"""Files inside of files: attachments of mails, members of archives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

MAX_NAME_CHARACTERS = 200
MAX_FOLDERS = 10
MAX_MEMBERS = 1_000
"""Of the files inside of one, so many are read."""

_ODD = re.compile(r"[\x00-\x1f\x7f#\\:*?\"<>|\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside of another one; `name` is part of its document's id."""

    name: str
    data: bytes


def member_name(name: str, taken: dict[str, int]) -> str:
    """Return a name that no other member has, without what no name should hold.

    Folders stay part of it, but for those that lead upwards. `taken` has the names of the others,
    each with how often it was asked for; it is updated.
    """
    parts = [_clean(part) for part in name[-4_000:].replace("\\", "/").split("/")]
    *folders, last = [part for part in parts if part] or ["attachment"]
    folder = "".join(f"{part[:MAX_NAME_CHARACTERS]}/" for part in folders[-MAX_FOLDERS:])
    suffix = PurePosixPath(last).suffix[:20]
    stem = last[: len(last) - len(suffix)] if suffix else last
    stem = folder + stem[: MAX_NAME_CHARACTERS - len(suffix)]
    found = first = stem + suffix
    while found in taken:
        taken[first] += 1
        found = f"{stem}-{taken[first]}{suffix}"
    taken[found] = 1
    return found


def _clean(part: str) -> str:
    return " ".join(_ODD.sub(" ", part).split()).strip(". ")
