"""Scans and pictures: refused with a hint, or read by a program that may do anything."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ragkit.errors import LoadError
from ragkit.loading.content import Content
from ragkit.loading.converting import Converting, loader_for
from ragkit.loading.formats import load_bytes
from ragkit.loading.isolation import InProcess, Worker
from ragkit.loading.loaded import LoadedText
from ragkit.loading.recognizing import Recognizing

from ..cli.command import run
from .pdf_files import At, pdf

pytest.importorskip("pypdfium2")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="this system cannot limit a program")

IMAGE = "q 500 0 0 700 50 50 cm /I Do Q"
Install = Callable[[str], Path]

STAND_IN = r"""
case "$1" in --list-langs)
  echo 'List of available languages in "/data" (6):'
  printf 'deu\neng\nosd\nfra\nspa\nita\n'; exit;;
esac
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return what puts a program in the place of Tesseract: a script of the shell.

    Its input is the picture, its output the text; it can write no files.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def install_script(script: str) -> Path:
        program = folder / "tesseract"
        program.write_text(f"#!/bin/sh\n{STAND_IN}{script}\n", encoding="utf-8")
        program.chmod(0o755)
        return folder

    return install_script


def scan(*pages: str) -> bytes:
    """Return a PDF with these texts on its pages; of an empty one, there is an image alone."""
    return pdf(*([At(72, 700, text)] if text else [IMAGE] for text in pages), picture="I")


def read(data: bytes, name: str = "a.pdf", seconds: float = 60) -> LoadedText:
    """Return a file's text."""
    parser = Recognizing(InProcess(), seconds=seconds)
    loader = loader_for(name, parser)
    return parser.load(Content.of(data), name=name, loader=loader)


def code(data: bytes, name: str = "a.pdf", seconds: float = 60) -> str:
    """Return the error."""
    with pytest.raises(LoadError) as caught:
        read(data, name, seconds)
    return str(caught.value)


def pages_of(loaded: LoadedText) -> list[tuple[int | None, str]]:
    """Return the number of the page of each mark, and the text up to the next one."""
    ends = [mark.start for mark in loaded.marks[1:]] + [len(loaded.text)]
    return [
        (mark.location.page, loaded.text[mark.start : end].strip())
        for mark, end in zip(loaded.marks, ends, strict=True)
    ]


def test_without_the_option() -> None:
    """The message says how many pages hold only images, and what reads them."""
    with pytest.raises(LoadError, match=r"no_text: no text in 2 pages; 2 hold only images.*--ocr"):
        load_bytes(scan("", ""), name="a.pdf")
    with pytest.raises(LoadError, match=r"no_text: no text in 1 pages$"):
        load_bytes(pdf([]), name="a.pdf")
    with pytest.raises(LoadError, match=r"unsupported: no loader reads \.png; --ocr auto"):
        load_bytes(b"", name="a.png")
    assert load_bytes(scan("Text.", "", ""), name="a.pdf").metadata == {"image_pages": 2}


def test_a_scan(install: Install) -> None:
    """Each page is rendered and read; its text keeps its number, broken words are joined."""
    install('read kind; read size; printf "$kind $size $*\\n\\nThe cra-\\nne lifts.\\n\\f"')
    loaded = read(scan("", ""))
    said = "P5 2550 3300 stdin stdout -l eng+deu+fra+spa"
    assert pages_of(loaded) == [
        (1, said), (1, "The crane lifts."), (2, said), (2, "The crane lifts."),
    ]  # fmt: skip
    assert [mark.kind for mark in loaded.marks] == ["page", "text"] * 2
    assert [loaded.text[part.start : part.end] for part in loaded.parts][1] == "The crane lifts."
    assert loaded.metadata == {"ocr_pages": 2}


def test_a_file_with_both(install: Install) -> None:
    """Its text stays as it is; pages that hold only images follow, with their numbers."""
    install("echo Read.")
    plain = load_bytes(scan("First.", "", "Third."), name="a.pdf")
    loaded = read(scan("First.", "", "Third."))
    assert loaded.text == f"{plain.text}\n\nRead."
    assert pages_of(loaded) == [(1, "First."), (3, "Third."), (2, "Read.")]
    assert list(loaded.parts)[: len(plain.parts)] == list(plain.parts)
    assert loaded.metadata == {"ocr_pages": 1}
    assert read(scan("Text.")) == load_bytes(scan("Text."), name="a.pdf")


def test_many_pages(install: Install) -> None:
    """They are rendered a few at a time, each once."""
    install("echo Page.")
    loaded = read(scan(*[""] * 10))
    assert [page for page, _ in pages_of(loaded)] == list(range(1, 11))


def test_in_another_process(install: Install) -> None:
    """The same comes of the process that parses; what reads pictures is started beside it."""
    install("echo Page.")
    worker = Worker()
    parser = Recognizing(worker)
    loader = loader_for("a.pdf", parser)
    data = scan("", "Text.", "")
    loaded = parser.load(Content.of(data), name="a.pdf", loader=loader)
    assert worker.n_started == 1
    parser.close()
    assert parser.cpu_seconds > worker.cpu_seconds > 0
    expected = read(data)
    assert loaded.text == expected.text
    assert list(loaded.marks) == list(expected.marks)


def test_a_picture(install: Install) -> None:
    """It is given to the program as it is."""
    install("cat")
    assert read(b"A sign.", "a.png").text == "A sign."
    assert code(b" ", "a.JPG").startswith("no_text: tesseract finds no text")
    parser = Converting(Recognizing(InProcess()))
    assert loader_for("a.tiff", parser).name == "picture"


def test_what_goes_wrong(tmp_path: Path, install: Install) -> None:
    """It says nothing, fails, takes too long with what it has started, or does not end to speak."""
    install("exit 0")
    assert code(scan("", "")) == (
        "no_text: tesseract finds no text in 2 pages that hold only images"
    )
    assert code(pdf([])) == "no_text: no text in 1 pages"
    install("exit 3")
    assert code(scan("")) == "broken: tesseract cannot read a picture: status 3"
    assert read(scan("Text.", "")).metadata == {"ocr_pages": 0, "image_pages": 1}
    install(f"(sleep 30; touch {tmp_path}/late) & sleep 30")
    assert code(scan(""), seconds=1).startswith("limit: to read a picture takes more than")
    install("yes")
    assert code(scan("")).startswith("broken: tesseract cannot read a picture")


def test_what_it_may_do(tmp_path: Path, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sees no secrets, and on Linux reaches no network; other languages are not needed."""
    install("env")
    monkeypatch.setenv("A_SECRET", "x")
    said = read(scan("")).text
    assert "A_SECRET" not in said
    assert "OMP_THREAD_LIMIT=1" in said
    program = tmp_path / "bin" / "tesseract"
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        program.write_text(
            f"#!{sys.executable}\nimport socket, sys\n"
            "if sys.argv[1] == '--list-langs': print('List:\\nxyz'); sys.exit()\n"
            f"try: socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5)\n"
            "except OSError as error: print('refused', error.errno)\n"
            "else: print('connected')\n",
            encoding="utf-8",
        )
        said = read(scan("")).text
    can_forbid = sys.platform == "linux" and ctypes.CDLL(None).syscall(444, None, 0, 1) >= 4
    if not can_forbid:
        pytest.skip("this system cannot keep a program from networks")
    assert said == "refused 13"


def test_without_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install; what has a text is read as without the option."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, data in (("a.pdf", scan("")), ("a.png", b"")):
        assert code(data, name).startswith("unsupported: there is no tesseract on the PATH")
    assert read(scan("Text.", "")).metadata == {"image_pages": 1}
    assert code(pdf([])) == "no_text: no text in 1 pages"


def test_without_languages(tmp_path: Path, install: Install) -> None:
    """A program without data can read nothing."""
    install("")
    (tmp_path / "bin" / "tesseract").write_text("#!/bin/sh\necho List:\necho osd\n")
    assert code(scan("")).startswith("unsupported: tesseract has no languages")


def test_the_command_reads_scans_only_when_asked(tmp_path: Path, install: Install) -> None:
    """A file that was refused without the option is read with it, and cited by its page."""
    folder = install("echo 'The crane lifts nine tonnes.'")
    (tmp_path / "scan.pdf").write_bytes(scan("", ""))
    arguments = ["ingest", str(tmp_path / "scan.pdf"), "--store", str(tmp_path / "kb")]
    arguments += ["--embedder", "none"]
    env = {"PATH": f"{folder}:{os.environ['PATH']}"}
    refused = run(*arguments, code=1, env=env).stdout
    assert "2 hold only images" in refused
    run(*arguments, "--ocr", "auto", env=env)
    asked = ["ask", "What does the crane lift?", "--store", str(tmp_path / "kb")]
    assert "scan.pdf, page 1" in run(*asked, env=env).stdout


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="Tesseract is not installed")
def test_with_tesseract_itself(test_data: Path) -> None:
    """A real scan gives the words that it shows."""
    data = (test_data / "documents" / "pdf_scanned" / "ocr_test.pdf").read_bytes()
    assert "Docling" in read(data).text
