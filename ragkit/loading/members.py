"""Files inside of files: attachments of mails, members of archives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

MAX_NAME_CHARACTERS = 200
_ODD = re.compile(r"[\x00-\x1f\x7f#\\:*?\"<>|\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside of another one; `name` is part of its document's id."""

    name: str
    data: bytes


def member_name(name: str, taken: dict[str, int]) -> str:
    """Return a name that no other member has, without folders and what no name should hold.

    `taken` has the names of the others, each with how often it was asked for; it is updated.
    """
    name = _ODD.sub(" ", name.replace("\\", "/").rstrip("/").rpartition("/")[2])
    name = " ".join(name.split()).strip(". ") or "attachment"
    suffix = PurePosixPath(name).suffix[:20]
    stem = name[: len(name) - len(suffix)] if suffix else name
    stem = stem[: MAX_NAME_CHARACTERS - len(suffix)]
    found = first = stem + suffix
    while found in taken:
        taken[first] += 1
        found = f"{stem}-{taken[first]}{suffix}"
    taken[found] = 1
    return found
