"""What is written in pictures: pages of scans and pictures themselves, read by Tesseract."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

from ragkit.errors import LoadError
from ragkit.loading.content import Content
from ragkit.loading.converting import kill_group
from ragkit.loading.formats import LOADERS, PICTURES, Loader
from ragkit.loading.hyphens import without_breaks
from ragkit.loading.isolation import Parser
from ragkit.loading.joining import joined
from ragkit.loading.loaded import LoadedText, TextBuilder, clean
from ragkit.loading.members import Member
from ragkit.types import Json, Location, MarkKind

_SECONDS, _CPU_SECONDS, _MEMORY_BYTES = 120.0, 60, 2**31
"""What one picture may take."""

_TEXT_BYTES = 4 * 2**20
_TOTAL_SECONDS = 1_800.0
"""What the pictures of one file may take."""

_MAX_LANGUAGES = 4
_NO_LANGUAGES = frozenset({"osd", "equ"})
"""What Tesseract lists among them: it finds how a page is turned, and formulas."""

_INHERITED = ("PATH", "TESSDATA_PREFIX", "LD_LIBRARY_PATH")
_INSTALL = "install Tesseract OCR (tesseract-ocr in Debian), or leave --ocr out"


def _refused(data: bytes) -> LoadedText:
    raise LoadError("unsupported", f"a picture of {len(data):,} bytes needs --ocr auto")


_PDF = LOADERS[".pdf"]
_RECOGNIZED_PDF = replace(_PDF, name="pdf, ocr")
"""By this name what was stored without it is not taken as the same."""

_PICTURE = Loader("picture", _refused)


class Recognizing:
    """A parser that has pictures read by a program that is started for each.

    The program is `tesseract` on the PATH, with all the languages that are installed, up to four.
    For each picture it has 60 CPU seconds, 120 seconds, 2 GiB of address space, no network as far
    as the system can tell it so, no variables but the PATH and where its data is, and can write
    nothing but its text.

    Attributes:
        cpu_seconds: What parsing has used in other processes, reading pictures included.
    """

    def __init__(self, parser: Parser, *, seconds: float = _SECONDS) -> None:
        import shutil

        self._parser = parser
        self.cpu_seconds = parser.cpu_seconds
        self._own_cpu_seconds = 0.0
        self._seconds = seconds
        # To limit another program takes an interpreter, and a system that can.
        can_limit = bool(sys.executable) and importlib.util.find_spec("resource") is not None
        self._program = shutil.which("tesseract") if can_limit else None
        self._found_languages: str | None = None

    def loader(self, suffix: str) -> Loader | None:
        """Return the loader of PDF files and of pictures.

        Raises:
            LoadError: `unsupported` for a picture where there is no program to read it.
        """
        if suffix == ".pdf":
            return None if self._program is None else _RECOGNIZED_PDF
        if suffix not in PICTURES:
            return None
        self._check()
        return _PICTURE

    def load(
        self, content: Content, *, name: str, loader: Loader, password: str | None = None
    ) -> LoadedText:
        """Return a file's text; raises `LoadError` whatever is wrong with the file."""
        if loader is _PICTURE:
            return self._picture(content)
        if loader.name not in {_PDF.name, _RECOGNIZED_PDF.name}:
            return self._parser.load(content, name=name, loader=loader, password=password)
        loaded, nothing = LoadedText(text=""), None
        try:
            loaded = self._parser.load(content, name=name, loader=_PDF, password=password)
        except LoadError as error:
            if error.code != "no_text":
                raise
            nothing = error
        if nothing is None and (self._program is None or "image_pages" not in loaded.metadata):
            return loaded
        if self._program is None and self._parser.pictures(content, first=1, password=password):
            self._check()
        return self._with_pages(loaded, content, password, nothing)

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
        self.cpu_seconds = self._parser.cpu_seconds + self._own_cpu_seconds

    def _check(self) -> None:
        if self._program is None:
            detail = f"there is no tesseract on the PATH to read what its pictures say: {_INSTALL}"
            raise LoadError("unsupported", detail, may_pass=True)

    def _picture(self, content: Content) -> LoadedText:
        builder = TextBuilder()
        _add(builder, [(Location(), self._read(content))])
        loaded = builder.build()
        if not loaded.text:
            raise LoadError("no_text", "tesseract finds no text in it")
        return loaded

    def _with_pages(
        self,
        loaded: LoadedText,
        content: Content,
        password: str | None,
        nothing: LoadError | None,
    ) -> LoadedText:
        """Return a text with the pages that hold only images behind it, each with its number.

        `nothing` is raised if there is neither a text nor such a page.
        """
        texts, failed = list[tuple[Location, str]](), list[LoadError]()
        for number, picture in self._pages(content, password):
            try:
                texts.append((Location(page=number), self._read(Content.of(picture))))
            except LoadError as error:
                failed.append(error)
        builder = TextBuilder()
        _add(builder, texts)
        recognized = builder.build()
        if not (recognized.text or loaded.text):
            if failed:
                raise failed[0]
            if nothing is not None and not texts:
                raise nothing
            detail = f"tesseract finds no text in {len(texts):,} pages that hold only images"
            raise LoadError("no_text", detail)
        metadata: dict[str, Json] = {**loaded.metadata, "ocr_pages": len(texts)}
        metadata.pop("image_pages", None)
        if failed:
            metadata["image_pages"] = len(failed)
        pieces = [(loaded, Location()), (recognized, Location())]
        return joined(pieces, title=loaded.title, metadata=metadata)

    def _pages(self, content: Content, password: str | None) -> Iterator[tuple[int, bytes]]:
        number, until = 0, time.monotonic() + _TOTAL_SECONDS
        while pictures := self._parser.pictures(content, first=number + 1, password=password):
            for picture in pictures:
                stem = picture.name.partition(".")[0]
                if not stem.isdecimal() or int(stem) <= number:
                    raise LoadError("broken", "its pages are rendered in no order")
                number = int(stem)
                if time.monotonic() > until:
                    detail = f"to read its pages takes more than {_TOTAL_SECONDS:,.0f} s"
                    raise LoadError("limit", detail, may_pass=True)
                yield number, picture.data

    def _read(self, content: Content) -> str:
        import tempfile

        languages = self._languages()
        with tempfile.TemporaryFile() as picture:
            for block in content.blocks():
                picture.write(block)
            picture.seek(0)
            return self._run(["stdin", "stdout", "-l", languages], picture)

    def _languages(self) -> str:
        """Return the languages that are installed, English first, as Tesseract takes them."""
        if self._found_languages is None:
            lines = self._run(["--list-langs"], None).splitlines()[1:]
            names = [line.strip() for line in lines]
            found = sorted(
                (name for name in names if name and "/" not in name and name not in _NO_LANGUAGES),
                key=lambda name: name != "eng",
            )
            if not found:
                raise LoadError("unsupported", f"tesseract has no languages: {_INSTALL}")
            self._found_languages = "+".join(found[:_MAX_LANGUAGES])
        return self._found_languages

    def _run(self, arguments: list[str], given: IO[bytes] | None) -> str:
        import resource
        import subprocess
        import tempfile

        limits = [str(n) for n in (_CPU_SECONDS, _MEMORY_BYTES, _TEXT_BYTES)]
        confined = [sys.executable, "-I", str(Path(__file__).with_name("confined.py")), *limits]
        variables = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with (
            tempfile.TemporaryFile() as said,
            subprocess.Popen(  # noqa: S603 (the program is the user's, the arguments are ours)
                [*confined, str(self._program), *arguments],
                stdin=subprocess.DEVNULL if given is None else given,
                stdout=said,
                stderr=subprocess.DEVNULL,
                cwd=os.sep,
                env={**variables, "LANG": "C.UTF-8", "OMP_THREAD_LIMIT": "1"},
                start_new_session=True,
            ) as process,
        ):
            try:
                status = process.wait(self._seconds)
            except subprocess.TimeoutExpired:
                detail = f"to read a picture takes more than {self._seconds:,.0f} s"
                raise LoadError("limit", detail, may_pass=True) from None
            finally:
                # Also what it has started: all of them are in one group.
                kill_group(process.pid)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            self._own_cpu_seconds += after.ru_utime - before.ru_utime
            self._own_cpu_seconds += after.ru_stime - before.ru_stime
            said.seek(0)
            text = said.read().decode("utf-8", "replace")
        if status:
            raise LoadError("broken", f"tesseract cannot read a picture: status {status}")
        return text


def _add(builder: TextBuilder, texts: list[tuple[Location, str]]) -> None:
    """Add what was read in each place, by paragraphs."""
    whole = without_breaks([clean(text) for _, text in texts])
    for (place, _), text in zip(texts, whole, strict=True):
        is_new_page = place.page is not None
        for paragraph in text.split("\n\n"):
            kind: MarkKind = "page" if is_new_page else "text"
            builder.add(paragraph, location=place, kind=kind, part="paragraph")
            is_new_page = is_new_page and not paragraph.strip()
