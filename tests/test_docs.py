"""Documentation is tested: code runs, links resolve, references say what the code says."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict, Unpack

import pytest

import ragkit
import ragkit_connectors
import ragkit_eval
from ragkit import Settings
from ragkit.cli.parser import make_parsers
from ragkit.config import load_settings
from ragkit.errors import MissingExtraError
from ragkit.prompts import load_template
from ragkit_eval import Gate

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


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def folder_with_documents(place: Path) -> Path:
    """Return a folder laid out as the pages assume."""
    shutil.copytree(HARBOR, place / "docs")
    shutil.copytree(HARBOR, place / "examples" / "harbor")
    for table in HARBOR.parent.glob("*.csv"):
        shutil.copy(table, place / "examples")
    return place


def test_every_block_is_run_or_output() -> None:
    """A block names a language that a test here runs or reads, or says that it is output: text."""
    for page in PAGES:
        fences = re.findall(r"^ *```(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) % 2 == 0, page.name
        for opening, closing in zip(fences[::2], fences[1::2], strict=True):
            assert opening in {"python", "console", "sh", "toml", "text"}, f"{page.name}: {opening}"
            assert not closing, f"{page.name}: {closing}"


FRAMEWORKS = {"langchain": "langchain_core", "llama_index": "llama_index", "haystack": "haystack"}
"""What adapters need, by their modules; where it is not installed their blocks do not run."""


@pytest.mark.slow
@pytest.mark.parametrize(("page", "code"), blocks("python"))
def test_python_blocks_run(tmp_path: Path, page: str, code: str) -> None:
    """A block of Python runs by itself in a folder that holds some documents."""
    for module, package in FRAMEWORKS.items():
        if f"ragkit_connectors.{module} " in code and not importlib.util.find_spec(package):
            pytest.skip(f"{package} is not installed: make test-adapters")
    folder = folder_with_documents(tmp_path)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, f"{page}: {result.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted({page for page, _ in blocks("console")}))
def test_console_blocks_run(tmp_path: Path, page: str) -> None:
    """A page's console blocks are one session: commands exit 0 and print the output shown."""
    folder = folder_with_documents(tmp_path)
    session = "".join(code for name, code in blocks("console") if name == page)
    commands = re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]
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


@pytest.mark.parametrize(("page", "script"), blocks("sh"))
def test_shell_blocks_can_be_run(page: str, script: str) -> None:
    """What needs a server or the network is not run; its commands, options and extras exist."""
    targets = re.findall(
        r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for line in script.replace("\\\n", " ").splitlines():
        call = re.split(r" >>? ", line)[0]
        words = [word for word in shlex.split(call, comments=True) if word not in {"&", "||"}]
        command = Path(words[0]).name if words else ""
        if command == "ragkit":
            make_parsers()[0].parse_args(words[1:])
        elif command == "make":
            assert words[1] in targets, f"{page}: {line}"
        elif command == "pip":
            extras = {name for found in re.findall(r"\[(.*?)\]", line) for name in found.split(",")}
            assert extras <= set(project["optional-dependencies"]), f"{page}: {line}"


@pytest.mark.parametrize(("page", "table"), blocks("toml"))
def test_toml_blocks_are_read(tmp_path: Path, page: str, table: str) -> None:
    """A block of TOML is a settings file, a gate or a template, and one that ragkit accepts."""
    path = tmp_path / "block.toml"
    path.write_text(table, encoding="utf-8")
    keys = tomllib.loads(table)
    if "text" in keys:
        assert load_template(str(path)).id == keys["id"]
        return
    is_gate = any(key in keys for key in ("measure", "slice", "policy", "gate"))
    read = Gate.load(path).rules if is_gate else load_settings(file=path) != Settings()
    assert read, page


def test_connectors_take_the_settings_that_pages_show(tmp_path: Path) -> None:
    """Tables name settings that connectors have; opening them sends nothing."""
    opened: set[str] = set()
    for page, table in blocks("toml"):
        path = tmp_path / "block.toml"
        path.write_text(table, encoding="utf-8")
        if not re.search(r"^type = ", table, re.MULTILINE):
            continue
        settings = load_settings(file=path)
        for opener, name, options in (
            (ragkit_connectors.open_generator, settings.generator, settings.generator_options),
            (ragkit_connectors.open_embedder, settings.embedder, settings.embedder_options),
            (ragkit_connectors.open_reranker, settings.reranker, settings.reranker_options),
            (ragkit_connectors.open_store, settings.store, settings.store_options),
        ):
            kind = (name or "").partition(":")[0]
            if name and ":" in name and kind != "opensearch":  # it asks the server when opened
                with contextlib.suppress(MissingExtraError):
                    opener(name, **options)
                    opened.add(f"{page} {kind}")
    assert {name.split()[0] for name in opened} >= {
        "bedrock.md", "kendra.md", "knowledge-bases.md", "local-llms.md", "sagemaker.md",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "example", sorted((ROOT / "examples").glob("0[1-4]_*.py")), ids=lambda p: p.name
)
def test_examples_run(tmp_path: Path, example: Path) -> None:
    """Every example but those that serve runs offline, prints something, and is short."""
    result = subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        cwd=tmp_path, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()
    assert len(example.read_text().splitlines()) <= 50


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[tuple[Path, str]]:
    """Return (file, anchor) of every link of a page to a file of this project."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    inside = [target.partition("#") for target in targets if "://" not in target]
    return [
        ((page.parent / file if file else page).resolve(), anchor) for file, _, anchor in inside
    ]


def test_links_resolve() -> None:
    """Every link leads to a file and a heading, and every path that is named exists."""
    for page in PAGES:
        for target, anchor in links(page):
            assert target.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(target), f"{page.name}: {target.name}#{anchor}"
        for path in re.findall(
            r"`((?:docs|tests|tools|benchmarks|ragkit|eval)/[\w./]+)`", prose(page)
        ):
            assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_every_page_is_reached_from_the_readme() -> None:
    """A reader who follows links from the README comes to every page."""
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        found = {target for target, _ in links(page) if target.suffix == ".md"}
        waiting += found - reached
    assert set(PAGES) <= reached


def test_commands_in_prose_exist() -> None:
    """A command in a sentence has its options."""
    commands = make_parsers()[1]
    for page in PAGES:
        for line in re.findall(r"`ragkit ([^`]+)`", prose(page)):
            words = line.split()
            name = next((n for n in (" ".join(words[:2]), words[0]) if n in commands), None)
            if name is None:
                assert words[0] in {
                    "eval",
                    "advise",
                    "ledger",
                    "monitor",
                    "--version",
                    "NAME",
                    "COMMAND",
                    "…",
                }, f"{page.name}: {line}"
                continue
            options = commands[name].format_help()
            for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", line):
                assert option in options.split() or f"{option}," in options, f"{page.name}: {line}"


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="argparse prints `-k K, --key K` otherwise")
def test_the_command_line_page_says_what_help_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Word for word, for every command, and for no command that is not there."""
    monkeypatch.setenv("COLUMNS", "96")
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    first, *sections = re.split(r"^## ragkit (.+)$", page, flags=re.MULTILINE)
    parser, commands = make_parsers()
    shown = dict(zip(sections[::2], sections[1::2], strict=True))
    assert list(shown) == list(commands)
    for text, live in [(first, parser), *((shown[name], commands[name]) for name in commands)]:
        block = _BLOCK.findall(text)[-1]
        assert block[0] == "text"
        assert block[1].split() == live.format_help().split()


def public_callables() -> list[tuple[str, Callable[..., object]]]:
    """Return every public class, function and method with its name on the page."""
    found: list[tuple[str, Callable[..., object]]] = []
    for package in (ragkit, ragkit_connectors, ragkit_eval):
        for name in package.__all__:
            thing = getattr(package, name)
            if not callable(thing):
                continue
            found.append((name, thing))
            owners = thing.__mro__ if inspect.isclass(thing) else ()
            ours = [owner for owner in owners if owner.__module__.startswith("ragkit")]
            for member in dict.fromkeys(member for owner in ours for member in vars(owner)):
                is_hook = member in {"before_fork", "after_fork_in_parent", "after_fork_in_child"}
                value = getattr(thing, member)
                if inspect.isroutine(value) and not member.startswith("_") and not is_hook:
                    found.append((f"{name}.{member}", value))
    return found


def test_the_library_page_has_every_name_parameter_and_default() -> None:
    """Read off the code, beside the tool that writes the page."""
    page = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    _, *parts = re.split(r"^#{3,4} `([\w.]+)`.*$", page, flags=re.MULTILINE)
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    for name, thing in public_callables():
        assert name in sections, name
        alias = inspect.unwrap(thing).__name__ != name.rpartition(".")[2]
        for parameter in () if alias else inspect.signature(thing).parameters.values():
            where = f"{name}({parameter.name})"
            if parameter.name in {"self", "cls"} or "Unpack[" in str(parameter.annotation):
                continue
            line = re.search(rf"[(\s*]{parameter.name}[:,)](.*)", sections[name])
            assert line is not None, where
            default: object = parameter.default
            if default is None or isinstance(default, str | int | float):
                assert re.search(rf"= {re.escape(as_written(default))}[,)]", line[0]), where


def as_written(default: object) -> str:
    """Return a default as the page shows it."""
    return repr(default).replace("'", '"')


def test_the_library_page_is_what_the_code_says() -> None:
    """The reference is what `python tools/make_library_docs.py` writes now."""
    tool = runpy.run_path(str(ROOT / "tools" / "make_library_docs.py"))
    page = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    assert page.partition(tool["MARK"])[2].strip() == tool["make_reference"]().strip()


def test_every_parameter_is_described() -> None:
    """By a docstring or by tools/library_fields.toml, which describes nothing else."""
    tool = runpy.run_path(str(ROOT / "tools" / "make_library_docs.py"))
    known = dict(public_callables())
    assert set(tool["FIELDS"]) - {"common"} <= set(known)
    for name, thing in known.items():
        parameters = {parameter.name for parameter in tool["parameters"](thing)} - {"_"}
        described = tool["said_of_parameters"](name, thing)
        doc = inspect.getdoc(thing) or ""
        assert {p for p in parameters if p not in described and f"`{p}`" not in doc} == set(), name
        assert set(tool["FIELDS"].get(name, {})) <= parameters, name


class Speed(TypedDict, total=False):
    """Options of `travel`.

    Args:
        knots: How fast.
    """

    knots: float
    hurry: bool
    """Whether to skip lunch."""


def travel(place: str, **options: Unpack[Speed]) -> None:
    """Go there."""


def test_options_of_a_typed_dict_are_parameters_on_the_page() -> None:
    """Keys of `**options: Unpack[…]` are listed one by one, with what is said of them."""
    tool = runpy.run_path(str(ROOT / "tools" / "make_library_docs.py"))
    text = tool["entry"]("travel", "travel", travel, level=3)
    assert "travel(place: str, *, knots: float = ..., hurry: bool = ...) -> None" in text
    assert "- `knots`: How fast." in text
    assert "- `hurry`: Whether to skip lunch." in text


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
