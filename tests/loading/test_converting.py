"""Files of old office programs: refused, or converted by a program that may do anything."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ragkit.errors import LoadError
from ragkit.loading.content import Content
from ragkit.loading.converting import Converting, loader_for
from ragkit.loading.isolation import InProcess

from ..cli.command import run
from .test_formats import paragraph, word

pytestmark = pytest.mark.skipif(os.name != "posix", reason="this system has no /bin/sh")

Install = Callable[[str], Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return what puts a program in the place of LibreOffice: a script of the shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    (tmp_path / "made.docx").write_bytes(word(paragraph("The crane lifts nine tonnes.")))

    def install_script(script: str) -> Path:
        program = folder / "soffice"
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o755)
        return folder

    return install_script


def convert(name: str = "a.doc", seconds: float = 60) -> str:
    """Return the text of a file that is converted."""
    parser = Converting(InProcess(), seconds=seconds)
    loader = loader_for(name, parser)
    return parser.load(Content.of(b"old"), name=name, loader=loader).text


def code(seconds: float = 60) -> str:
    """Return the code word of the error."""
    with pytest.raises(LoadError) as caught:
        convert(seconds=seconds)
    return caught.value.code


def test_what_is_converted_is_read(
    tmp_path: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program gets the file in a folder that is removed, and no secrets."""
    install(
        f'cat "$8" > {tmp_path}/seen; env > {tmp_path}/env; cp {tmp_path}/made.docx "$7/file.docx"'
    )
    monkeypatch.setenv("A_SECRET", "x")
    assert convert() == "The crane lifts nine tonnes."
    assert (tmp_path / "seen").read_bytes() == b"old"
    env = (tmp_path / "env").read_text(encoding="utf-8")
    assert "A_SECRET" not in env
    home = next(line for line in env.splitlines() if line.startswith("HOME=")).removeprefix("HOME=")
    assert not Path(home).exists()


def test_a_program_that_fails(tmp_path: Path, install: Install) -> None:
    """It makes nothing, nonsense, or takes too long with what it has started."""
    install("exit 1")
    assert code() == "broken"
    install('echo no > "$7/file.docx"')
    assert code() == "broken"
    install(f"(sleep 30; touch {tmp_path}/late) & sleep 30")
    assert code(seconds=0.5) == "limit"


def test_without_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what is missing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LoadError, match="unsupported: there is no soffice"):
        convert("a.ppt")


def test_the_command_converts_only_when_asked(tmp_path: Path, install: Install) -> None:
    """Without the option a file is refused, with a hint; with it, it is read under its own name."""
    folder = install(f'cp {tmp_path}/made.docx "$7/file.docx"')
    (tmp_path / "old.doc").write_bytes(b"old")
    arguments = ["ingest", str(tmp_path / "old.doc"), "--store", str(tmp_path / "kb")]
    arguments += ["--embedder", "none"]
    env = {"PATH": f"{folder}:{os.environ['PATH']}"}
    assert "--convert auto" in run(*arguments, code=1, env=env).stdout
    run(*arguments, "--convert", "auto", env=env)
    shown = run("show", "old.doc", "--store", str(tmp_path / "kb"), env=env).stdout
    assert "nine tonnes" in shown
