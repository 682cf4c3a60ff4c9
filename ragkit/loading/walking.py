"""Walking through a folder: which files are read, and what is left out for which reason."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ragkit.loading.ignoring import IGNORE_FILE, IgnoreRules
from ragkit.types import Failure

_STORE_FILE = "store.sqlite"
"""A folder with this file is a store, not a source of documents."""

_GIT_IGNORE = ".gitignore"
_REPOSITORIES = frozenset({".git", ".hg", ".svn", ".bzr", ".jj", "CVS", "_darcs"})
_MADE_BY_PROGRAMS = {
    "node_modules": "packages that others wrote",
    "__pycache__": "files that Python makes",
    ".venv": "packages that others wrote",
} | dict.fromkeys(_REPOSITORIES, "the history of a repository")
_EXCLUDED, _NOT_INCLUDED = "--exclude leaves it out", "no --include matches it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which files of a folder are read.

    Attributes:
        include: Patterns; if there are any, only files that match one are read.
        exclude: Patterns of files and folders that are left out.
        gitignore: Whether what `.gitignore` files leave out is left out, too.
        tells: Whether everything that is left out is told, not only folders that programs made.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    gitignore: bool = False
    tells: bool = False

    def why_not(self, parts: tuple[str, ...]) -> str | None:
        """Return why a file that stands in no folder of this machine is not read; None if it is."""
        excluded, included = IgnoreRules(self.exclude), IgnoreRules(self.include)
        depths = range(1, len(parts) + 1) if excluded else ()
        if any(excluded.match(parts[:n], is_folder=n < len(parts)) for n in depths):
            return _EXCLUDED
        if included and not included.match(parts, is_folder=False):
            return _NOT_INCLUDED
        return None


class Walk:
    """A walk through a folder, in order of names.

    Left out are hidden files and folders, stores, folders that programs made (`node_modules`,
    `.venv`, `__pycache__`, repositories of version control), and what a `.ragkitignore` in the
    folder or below excludes; with `gitignore`, also what git would ignore, by files in the folders
    above as well, up to the repository's. Links to folders are not followed, links to files only if
    they lead to files under the folder.

    Attributes:
        problems: What could not be read, and what was left out as far as that is told.
        left_out: Absolute paths of files and folders that rules of some kind leave out.
    """

    def __init__(self, base: Path, selection: Selection) -> None:
        self.problems: list[Failure] = []
        self.left_out: list[str] = []
        self._base, self._real_base = base, base.resolve()
        self._selection = selection
        self._included = IgnoreRules(selection.include)
        self._excluded = IgnoreRules(selection.exclude)
        self._ours, self._gits = IgnoreRules(), IgnoreRules()
        self._above: tuple[str, ...] = ()
        if selection.gitignore:
            self._read_above()

    def files(self) -> Iterator[str]:
        """Yield the paths of files as texts: a folder may hold very many."""
        for parent, folders, names in os.walk(self._base, onerror=self._note_error):
            here = Path(parent)
            inside = here.relative_to(self._base).parts
            if _STORE_FILE in names and inside:
                folders.clear()
                self._leave_out(parent, "a store", is_rule=False)
                continue
            if IGNORE_FILE in names:
                self._ours.read(here / IGNORE_FILE, inside)
            if _GIT_IGNORE in names and self._selection.gitignore:
                self._gits.read(here / _GIT_IGNORE, (*self._above, *inside))
            folders[:] = [
                name for name in sorted(folders) if self._is_entered(parent, name, inside)
            ]
            for name in sorted(names):
                path = os.path.join(parent, name)
                if self._is_read(path, name, inside) and self._stays_inside(path):
                    yield path

    def _is_entered(self, parent: str, name: str, inside: tuple[str, ...]) -> bool:
        path = os.path.join(parent, name)
        made = _MADE_BY_PROGRAMS.get(name)
        if made is None and os.path.isfile(os.path.join(path, "pyvenv.cfg")):
            made = _MADE_BY_PROGRAMS[".venv"]
        if made is not None:
            self.left_out.append(path)
            self._tell(path, made)
            return False
        if name.startswith("."):
            self._leave_out(path, "hidden", is_rule=False)
            return False
        why = self._why_not((*inside, name), is_folder=True)
        if why:
            self._leave_out(path, why)
        return why is None

    def _is_read(self, path: str, name: str, inside: tuple[str, ...]) -> bool:
        if name.startswith("."):
            self._leave_out(path, "hidden", is_rule=False)
            return False
        parts = (*inside, name)
        why = self._why_not(parts, is_folder=False)
        if why is None and self._included and not self._included.match(parts, is_folder=False):
            why = _NOT_INCLUDED
        if why:
            self._leave_out(path, why)
        return why is None

    def _why_not(self, parts: tuple[str, ...], *, is_folder: bool) -> str | None:
        """Return which rules leave a file or folder out; None if none do."""
        if self._excluded.match(parts, is_folder=is_folder):
            return _EXCLUDED
        ours = self._ours.decide(parts, is_folder=is_folder)
        if ours is not None:
            return f"{IGNORE_FILE} leaves it out" if ours else None
        if self._gits.match((*self._above, *parts), is_folder=is_folder):
            return f"{_GIT_IGNORE} leaves it out"
        return None

    def _read_above(self) -> None:
        """Read what the folders above say, from the top of the repository down."""
        top = next((f for f in (self._base, *self._base.parents) if (f / ".git").exists()), None)
        if top is None:
            return
        self._above = self._base.relative_to(top).parts
        self._gits.read(top / ".git" / "info" / "exclude", ())
        for depth in range(len(self._above)):
            inside = self._above[:depth]
            self._gits.read(top.joinpath(*inside, _GIT_IGNORE), inside)

    def _leave_out(self, path: str, why: str, *, is_rule: bool = True) -> None:
        if is_rule:
            self.left_out.append(path)
        if self._selection.tells:
            self._tell(path, why)

    def _tell(self, path: str, why: str) -> None:
        self.problems.append(Failure(source=shown(path), code="ignored", detail=why, skipped=True))

    def _note_error(self, error: OSError) -> None:
        source, detail = shown(Path(error.filename)), str(error.strerror)
        self.problems.append(Failure(source=source, code="unreadable", detail=detail))

    def _stays_inside(self, path: str) -> bool:
        if not os.path.islink(path):
            return True
        try:
            inside = Path(path).resolve(strict=True).is_relative_to(self._real_base)
            detail = "a link that leads out of the folder"
        except (OSError, RuntimeError):
            inside, detail = False, "a broken link"
        if not inside:
            self.problems.append(
                Failure(source=shown(path), code="unreadable", detail=detail, skipped=True)
            )
        return inside


def is_left_out(name: str) -> bool:
    """Whether a walk would leave out a file of an archive: it is hidden, or programs made it."""
    parts = name.replace("\\", "/").split("/")
    return any(
        part in _MADE_BY_PROGRAMS or part == "__MACOSX" or (part[:1] == "." and part.strip("."))
        for part in parts
    )


def shown(path: str | Path) -> str:
    """Return a path as text; bytes that are not UTF-8 are escaped."""
    return os.fspath(path).encode("utf-8", "backslashreplace").decode()
