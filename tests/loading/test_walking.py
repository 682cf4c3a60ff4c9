"""Which files of a folder are read: ignore files, patterns, and folders that programs made."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ragkit import RAG, Settings
from ragkit.loading import FileSource
from ragkit.loading.ignoring import IgnoreRules
from ragkit.loading.walking import Selection
from ragkit.types import Failure

WORDS_ONLY = Settings(embedder="none", ledger="off")


def made(folder: Path, *names: str) -> Path:
    """Write files, each with its name as text."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    return folder


def read(*paths: Path, **selection: object) -> list[str]:
    """Return the ids of what is read."""
    source = FileSource(paths, selection=Selection(**selection))  # type: ignore[arg-type]
    return sorted(item.id for item in source.documents() if not isinstance(item, Failure))


def skipped(folder: Path, **selection: object) -> dict[str, str]:
    """Return code and reason of what is not read, by its path in the folder."""
    source = FileSource([folder], selection=Selection(**selection))  # type: ignore[arg-type]
    return {
        str(Path(item.source).relative_to(folder)): f"{item.code}: {item.detail}"
        for item in source.documents()
        if isinstance(item, Failure) and item.skipped
    }


def test_folders_that_programs_made(tmp_path: Path) -> None:
    """Packages, caches and repositories are skipped and counted, unless they are named."""
    made(
        tmp_path, "a.md", "web/node_modules/x/README.md", "b/__pycache__/c.txt", ".git/config.txt",
        ".venv/lib/d.txt", "env/lib/e.txt", "env/pyvenv.cfg", "CVS/f.txt",
    )  # fmt: skip
    assert read(tmp_path) == ["a.md"]
    assert sorted(skipped(tmp_path)) == [
        ".git", ".venv", "CVS", "b/__pycache__", "env", "web/node_modules",
    ]  # fmt: skip
    assert set(skipped(tmp_path).values()) == {
        "ignored: packages that others wrote",
        "ignored: files that Python makes",
        "ignored: the history of a repository",
    }
    assert read(tmp_path / "web" / "node_modules") == ["x/README.md"]


def test_files_for_programs(tmp_path: Path) -> None:
    """Lock files and bundles are skipped with a code of their own; named, they are read."""
    made(tmp_path, "a.md", "package-lock.json", "app.min.js", "pnpm-lock.yaml")
    (tmp_path / "package-lock.json").write_text('{"name": "harbor"}')
    assert read(tmp_path) == ["a.md"]
    assert {name: why.partition(":")[0] for name, why in skipped(tmp_path).items()} == {
        "package-lock.json": "payload", "app.min.js": "payload", "pnpm-lock.yaml": "payload",
    }  # fmt: skip
    assert read(tmp_path / "package-lock.json") == ["package-lock.json"]


def test_include_and_exclude(tmp_path: Path) -> None:
    """Patterns choose among the files of folders, never what is named."""
    made(tmp_path, "a.md", "a.txt", "b/a.md", "b/c/d.txt", "drafts/e.md")
    assert read(tmp_path, include=("*.md",)) == ["a.md", "b/a.md", "drafts/e.md"]
    assert read(tmp_path, include=("b/",), exclude=()) == []
    assert read(tmp_path, include=("b/**",)) == ["b/a.md", "b/c/d.txt"]
    assert read(tmp_path, include=("*.md",), exclude=("drafts/", "/a.md")) == ["b/a.md"]
    assert read(tmp_path / "a.txt", include=("*.md",), exclude=("*",)) == ["a.txt"]


def test_gitignore(tmp_path: Path) -> None:
    """On request, what git ignores is left out, by files above and below, unless it is named."""
    made(tmp_path, "docs/a.md", "docs/b.log.md", "docs/out/c.md", "docs/d/e.md", "docs/d/f.md")
    (tmp_path / ".git" / "info").mkdir(parents=True)
    (tmp_path / ".git" / "info" / "exclude").write_text("b.log.md\n")
    (tmp_path / ".gitignore").write_text("/docs/out/\n*.md\n!a.md\n!c.md\n")
    (tmp_path / "docs" / "d" / ".gitignore").write_text("!e.md\n")
    everything = ["a.md", "b.log.md", "d/e.md", "d/f.md", "out/c.md"]
    assert read(tmp_path / "docs") == everything
    assert read(tmp_path / "docs", gitignore=True) == ["a.md", "d/e.md"]
    assert read(tmp_path / "docs" / "out", gitignore=True) == ["c.md"]
    assert read(tmp_path / "docs" / "d" / "f.md", gitignore=True) == ["f.md"]
    made(tmp_path, "docs/.ragkitignore").joinpath("docs/.ragkitignore").write_text("a.md\n!f.md\n")
    assert read(tmp_path / "docs", gitignore=True) == ["d/e.md", "d/f.md"]


def test_reasons_are_told(tmp_path: Path) -> None:
    """A dry run names each thing that is left out, and why."""
    made(tmp_path, "a.md", "b.md", "c.txt", ".hidden.md", "kb/store.sqlite", "d/e.md", "f.md")
    (tmp_path / ".ragkitignore").write_text("b.md\n")
    (tmp_path / ".gitignore").write_text("f.md\n")
    (tmp_path / ".git").mkdir()
    told = skipped(tmp_path, tells=True, gitignore=True, include=("*.md",), exclude=("d/",))
    assert told == {
        ".git": "ignored: the history of a repository",
        ".gitignore": "ignored: hidden",
        ".hidden.md": "ignored: hidden",
        ".ragkitignore": "ignored: hidden",
        "b.md": "ignored: .ragkitignore leaves it out",
        "c.txt": "ignored: no --include matches it",
        "d": "ignored: --exclude leaves it out",
        "f.md": "ignored: .gitignore leaves it out",
        "kb": "ignored: a store",
    }


@pytest.mark.parametrize(
    ("pattern", "path", "ignored"),
    [
        (r"\#a", "#a", True),
        (r"\!a", "!a", True),
        ("a ", "a", True),
        (r"a\ ", "a ", True),
        (r"a\*", "a*", True),
        (r"a\*", "ab", False),
        ("[^a]b", "cb", True),
        ("[^a]b", "ab", False),
        ("[]a]", "]", True),
        ("a/**", "a", False),
        ("a/**", "a/b/c", True),
        ("**/a", "b/a", True),
        ("a/**/b", "a/b", True),
        ("/", "a", False),
        ("!", "a", False),
        ("a**b", "axxb", True),
        ("a**b", "a/b", False),
    ],
)
def test_grammar(pattern: str, path: str, *, ignored: bool) -> None:
    """Escapes, sets, and stars, as git reads them."""
    assert IgnoreRules([pattern]).match(tuple(path.split("/")), is_folder=False) is ignored


PIECES = st.sampled_from(
    ["a", "b", "ab", "*", "?", "**", "/", "!", "[ab]", "[!a]", "\\*", ".txt", " "]
)
patterns = st.lists(st.lists(PIECES, min_size=1, max_size=5).map("".join), min_size=1, max_size=4)
PATHS = ["a", "b", "ab", "ab.txt", "d/a", "d/ab.txt", "d/e/b", "a.txt", "e/b.txt"]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with some files."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    folder = made(tmp_path_factory.mktemp("repository"), *PATHS[:-1], "e/b.txt")
    subprocess.run([git, "init", "-q", str(folder)], check=True)
    return folder


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lines=patterns)
@example(lines=["***/a"])
@example(lines=["d/***"])
def test_as_git_does(repository: Path, lines: Sequence[str]) -> None:
    """What git would not ignore is read, and nothing else."""
    (repository / ".gitignore").write_text("\n".join(lines) + "\n")
    git = shutil.which("git") or "git"
    command = [git, "-C", str(repository), "ls-files", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    expected = sorted(name for name in listed.split("\n") if name and not name.startswith("."))
    source = FileSource([repository], selection=Selection(gitignore=True, include=("*",)))
    found = [Path(path).relative_to(repository).as_posix() for path in _met(source)]
    assert sorted(found) == expected


def _met(source: FileSource) -> list[str]:
    return [item.source for item in source.documents() if getattr(item, "code", "") != "ignored"]


def test_what_is_left_out_by_now_is_pruned_only_if_agreed(tmp_path: Path) -> None:
    """Documents whose files are there stay, unless somebody agrees; those that are gone go."""
    docs = made(tmp_path / "docs", *(f"{name}.md" for name in "abcdefgh"))
    told: list[str] = []
    with RAG(tmp_path / "kb", config=WORDS_ONLY, notify=told.append) as rag:
        rag.ingest(docs)
        (docs / ".ragkitignore").write_text("a.md\nb.md\n")
        (docs / "c.md").unlink()
        dry = rag.ingest(docs, prune=True, dry_run=True)
        assert dry.documents["removed"] == 1
        assert {file.document_id: file.status for file in dry.files}["c.md"] == "removed"
        assert rag.ingest(docs, prune=True).documents["removed"] == 1
        assert len(list(rag.documents())) == 7
        assert "2 stored documents are left out now and stay" in told[-1]
        asked: list[str] = []

        def agrees(what: str) -> bool:
            asked.append(what)
            return True

        report = rag.ingest(docs, prune=True, confirm=agrees)
        assert report.documents["removed"] == 2
        assert asked == [
            "prune would remove 2 documents whose files are there, but are left out now"
        ]
        assert sorted(row.document_id for row in rag.documents()) == [f"{n}.md" for n in "defgh"]
