"""Files in the formats of office programs before 2007, converted by LibreOffice where asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Protocol, runtime_checkable

from ragkit.errors import LoadError
from ragkit.loading.content import Content
from ragkit.loading.formats import LOADERS, MAX_FILE_BYTES, Loader, find_loader
from ragkit.loading.isolation import Parser
from ragkit.loading.loaded import LoadedText
from ragkit.loading.members import Member

CONVERTED: Mapping[str, str] = {".doc": ".docx", ".xls": ".xlsx", ".ppt": ".pptx"}
"""Suffixes by suffix."""

_SECONDS, _CPU_SECONDS, _MEMORY_KIB = 120, 60, 4 * 2**20
_LIMITED = f'ulimit -t {_CPU_SECONDS}; ulimit -v {_MEMORY_KIB}; ulimit -c 0; exec "$@"'


@runtime_checkable
class Reader(Protocol):
    """A parser that reads more than others, with a program of the user's."""

    def loader(self, suffix: str) -> Loader | None:
        """Return its loader for a suffix; None if it is none of its own."""
        ...


class Converting:
    """A parser that has files in old formats converted, each by a program that is started for it.

    The program is `soffice` on the PATH, with limits of its own: 60 CPU seconds, 120 seconds, 4 GiB
    of address space, a profile and a folder that are removed afterwards, and no variables but the
    PATH. What it writes is parsed as any other file is.

    Attributes:
        cpu_seconds: What parsing has used in other processes, without converting.
    """

    def __init__(self, parser: Parser, *, seconds: float = _SECONDS) -> None:
        self._parser = parser
        self.cpu_seconds = parser.cpu_seconds
        self._seconds = seconds
        import shutil

        self._program = shutil.which("soffice") or shutil.which("libreoffice")

    def loader(self, suffix: str) -> Loader | None:
        """Return the loader of what an old format is converted to, or of the other parser's.

        Raises:
            LoadError: `unsupported` where there is no program to convert it.
        """
        if suffix not in CONVERTED:
            return self._parser.loader(suffix) if isinstance(self._parser, Reader) else None
        if self._program is None:
            detail = f"there is no soffice on the PATH to convert {suffix}: install LibreOffice"
            raise LoadError("unsupported", detail)
        return LOADERS[CONVERTED[suffix]]

    def load(
        self, content: Content, *, name: str, loader: Loader, password: str | None = None
    ) -> LoadedText:
        """Return a file's text; raises `LoadError` whatever is wrong with the file."""
        suffix = PurePath(name).suffix.lower()
        if suffix in CONVERTED:
            data = self._converted(b"".join(content.blocks()), suffix)
            content, name = Content.of(data), f"{PurePath(name).stem}{CONVERTED[suffix]}"
        return self._parser.load(content, name=name, loader=loader, password=password)

    def members(self, content: Content, *, loader: Loader) -> list[Member]:
        """Return the files inside of one; raises `LoadError` whatever is wrong with it."""
        return self._parser.members(content, loader=loader)

    def pictures(
        self, content: Content, *, first: int, password: str | None = None
    ) -> list[Member]:
        """Return the next pages of a PDF that hold only images; errors as `load` has them."""
        return self._parser.pictures(content, first=first, password=password)

    def close(self) -> None:
        """Let go of everything; it can be used again."""
        self._parser.close()
        self.cpu_seconds = self._parser.cpu_seconds

    def _converted(self, data: bytes, suffix: str) -> bytes:
        import tempfile

        self.loader(suffix)
        kind = CONVERTED[suffix].lstrip(".")
        with tempfile.TemporaryDirectory(prefix="ragkit-", ignore_cleanup_errors=True) as folder:
            given = Path(folder, f"file{suffix}")
            given.write_bytes(data)
            profile = Path(folder, "profile").as_uri()
            arguments = ["--headless", "--norestore", f"-env:UserInstallation={profile}"]
            arguments += ["--convert-to", kind, "--outdir", folder, str(given)]
            self._run(arguments, folder)
            made = given.with_suffix(f".{kind}")
            if not made.is_file():
                raise LoadError("broken", f"soffice makes no {kind} of it")
            if made.stat().st_size > MAX_FILE_BYTES:
                raise LoadError("limit", f"converted, it has over {MAX_FILE_BYTES:,} bytes")
            return made.read_bytes()

    def _run(self, arguments: list[str], folder: str) -> None:
        import subprocess

        variables = {"PATH": os.environ.get("PATH", os.defpath), "HOME": folder, "LANG": "C.UTF-8"}
        with subprocess.Popen(  # noqa: S603 (the program is the user's, the arguments are ours)
            ["/bin/sh", "-c", _LIMITED, "sh", str(self._program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=variables,
            start_new_session=True,
        ) as process:
            try:
                process.wait(self._seconds)
            except subprocess.TimeoutExpired:
                detail = f"to convert it takes more than {self._seconds:,.0f} s"
                raise LoadError("limit", detail, may_pass=True) from None
            finally:
                # Also what it has started: all of them are in one group.
                kill_group(process.pid)


def kill_group(group: int) -> None:
    """End a process and all that it has started, if they are there."""
    import signal

    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def loader_for(name: str, parser: Parser) -> Loader:
    """Return the loader for a file name; errors as for `find_loader`."""
    suffix = PurePath(name).suffix.lower()
    own = parser.loader(suffix) if isinstance(parser, Reader) else None
    return own or find_loader(name)
