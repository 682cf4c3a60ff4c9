"""Documentation is tested: every code block and every example runs, every command is documented."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ragkit
from ragkit.cli.parser import make_parsers

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
HARBOR = ROOT / "examples" / "harbor"
BIN = Path(sys.executable).parent

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[tuple[str, str]]:
    """Return (page, code) of every block of a language."""
    return [
        (page.name, match[2])
        for page in PAGES
        for match in _BLOCK.finditer(page.read_text(encoding="utf-8"))
        if match[1] == language
    ]


def folder_with_documents(place: Path) -> Path:
    """Return a folder laid out as the pages assume."""
    shutil.copytree(HARBOR, place / "docs")
    shutil.copytree(HARBOR, place / "examples" / "harbor")
    for table in HARBOR.parent.glob("*.csv"):
        shutil.copy(table, place / "examples")
    return place


@pytest.mark.parametrize(("page", "code"), blocks("python"))
def test_python_blocks_run(tmp_path: Path, page: str, code: str) -> None:
    """A block of Python runs by itself in a folder that holds some documents."""
    folder = folder_with_documents(tmp_path)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, f"{page}: {result.stderr}"


@pytest.mark.parametrize(("page", "session"), blocks("console"))
def test_console_blocks_run(tmp_path: Path, page: str, session: str) -> None:
    """Each command of a console block exits 0; the output that is shown is what it prints."""
    folder = folder_with_documents(tmp_path)
    commands = re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]
    assert commands, page
    for text in commands:
        line, _, expected = text.partition("\n")
        name, *arguments = shlex.split(line)
        result = subprocess.run(
            [str(BIN / name), *arguments],
            cwd=folder, check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert result.returncode == 0, f"{page}: {line}: {result.stderr}"
        for shown in expected.splitlines():
            assert shown in result.stdout, f"{page}: {line}"


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_examples_run(tmp_path: Path, example: Path) -> None:
    """Every example runs offline, prints something, and is short."""
    result = subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        cwd=tmp_path, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()
    assert len(example.read_text().splitlines()) <= 50


def test_every_command_and_option_is_documented() -> None:
    """The command-line page is exactly what `--help` says, so it cannot fall behind."""
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for name, parser in make_parsers()[1].items():
        assert f"## ragkit {name}" in page
        for action in parser._actions:  # pyright: ignore[reportPrivateUsage] (no public list)
            for option in action.option_strings:
                assert option in page, f"{name} {option}"


def test_the_changelog_knows_the_version() -> None:
    """The newest entry, the package and the project file name one version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    version = project["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert newest is not None
    assert newest[1] == version == ragkit.__version__


def test_public_names_exist_and_are_sorted() -> None:
    """`__all__` holds real names only, each once."""
    names = [name for name in ragkit.__all__ if name != "__version__"]
    assert all(getattr(ragkit, name) is not None for name in names)
    assert len(set(names)) == len(names)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = ragkit.nonsense


def test_the_demo_documents_are_made_by_their_tool(tmp_path: Path) -> None:
    """The PDF and Word files of the demo are what the tool writes, byte for byte."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\nimport make_demo_documents as m\nm.make(Path(sys.argv[2]))"
    )
    subprocess.run([sys.executable, "-c", code, str(ROOT / "tools"), str(tmp_path)], check=True)
    made = list(tmp_path.iterdir())
    assert len(made) == 4
    for path in made:
        assert path.read_bytes() == (HARBOR / path.name).read_bytes()
