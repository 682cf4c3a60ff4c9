"""The command and groups: question lines narrow, rules show in a dry run, required groups fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .command import run, valid

TEXTS = {"open": "everyone", "pay": "board", "notice": "public"}


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Return a store with a document for each of three groups."""
    place = str(tmp_path / "kb")
    lines = [
        {"_id": name, "text": f"The merger is named in {name}.", "groups": [group]}
        for name, group in TEXTS.items()
    ]
    (tmp_path / "all.jsonl").write_text("\n".join(map(json.dumps, lines)))
    run("ingest", str(tmp_path / "all.jsonl"), "--store", place, "--embedder", "none")
    return place


@pytest.mark.parametrize(
    ("flag", "own", "seen"),
    [
        (["--groups", "everyone"], ["board"], {"notice"}),
        (["--groups", "everyone"], ["everyone", "board"], {"notice", "open"}),
        (["--groups", "everyone"], None, {"notice", "open"}),
        (["--groups", "everyone"], [], {"notice"}),
        (["--groups", "everyone,board"], ["board", "x"], {"notice", "pay"}),
        (["--groups", ""], ["board"], {"notice"}),
        ([], ["board"], {"notice", "pay"}),
        ([], [], {"notice"}),
    ],
)
def test_a_question_line_narrows_and_never_widens(
    store: str, tmp_path: Path, flag: list[str], own: list[str] | None, seen: set[str]
) -> None:
    """Its groups count without --groups, with it only what both name: for search and ask."""
    line = {"text": "Where is the merger named?", **({} if own is None else {"groups": own})}
    (tmp_path / "q.jsonl").write_text(json.dumps(line) + "\n")
    arguments = ("--questions", str(tmp_path / "q.jsonl"), "--store", store, *flag)
    hits = valid(run("search", *arguments).stdout, "search")["hits"]
    assert {hit["document_id"] for hit in hits} == seen
    context = valid(run("ask", *arguments).stdout, "ask")["context"]
    assert {item["document_id"] for item in context} == seen


def test_a_question_line_without_any_statement_is_refused(store: str, tmp_path: Path) -> None:
    """A protected store wants groups from the line or the flag, and a list of them."""
    for line in ({"text": "merger"}, {"text": "merger", "groups": "board"}):
        (tmp_path / "q.jsonl").write_text(json.dumps(line) + "\n")
        failed = run("search", "--questions", str(tmp_path / "q.jsonl"), "--store", store, code=1)
        error = json.loads(failed.stdout)["error"]
        assert error["code"] == "not_allowed"
        assert "groups" in error["detail"]


def test_records_in_a_folder_fail_with_the_command(tmp_path: Path) -> None:
    """The failure is a code and a line to paste; the exit code says that an input failed."""
    folder = tmp_path / "in put"
    folder.mkdir()
    record = {"_id": "1", "text": "The director earns 200000.", "groups": ["board"]}
    (folder / "people.jsonl").write_text(json.dumps(record))
    (folder / "note.txt").write_text("The canteen serves soup.")
    place = str(tmp_path / "kb")
    printed = run("ingest", str(folder), "--store", place, "--embedder", "none", "--json", code=1)
    (failure,) = valid(printed.stdout, "ingest")["failures"]
    assert failure["code"] == "groups"
    assert failure["detail"].endswith(f"ragkit ingest '{folder}/people.jsonl'")
    assert "200000" not in run("show", "--all", "--store", place).stdout


def test_a_dry_run_prints_what_the_rules_make_of_each_file(tmp_path: Path) -> None:
    """As a table and in JSON; the rules' groups are stored, and --require-groups fails the rest."""
    folder = tmp_path / "in"
    (folder / "hr").mkdir(parents=True)
    for name in ("hr/pay.md", "note.md", "old.md"):
        (folder / name).write_text(f"Words of {name}.")
    config = tmp_path / "rules.toml"
    config.write_text(
        '[[ingest.rule]]\nglob = "hr/**"\ngroups = ["hr", "board"]\n\n'
        '[[ingest.rule]]\nglob = "old*"\nskip = true\n'
    )
    place = str(tmp_path / "kb")
    arguments = ("ingest", str(folder), "--store", place, "--embedder", "none",
                 "--config", str(config))  # fmt: skip
    table = run(*arguments, "--dry-run").stdout
    assert "rule 1   groups hr,board  hr/pay.md" in table
    assert "no rule  groups -  note.md" in table
    assert "rule 2   left out  old.md" in table
    shown = valid(run(*arguments, "--dry-run", "--json").stdout, "ingest")["rules"]
    assert sorted((r["document_id"], r["rule"], r["groups"], r["skip"]) for r in shown) == [
        ("hr/pay.md", 1, ["hr", "board"], False),
        ("note.md", None, [], False),
        ("old.md", 2, [], True),
    ]
    report = valid(run(*arguments, "--require-groups", "--json", code=1).stdout, "ingest")
    assert report["rules"] == []
    assert [failure["code"] for failure in report["failures"]] == ["groups"]
    rows = run("list", "--store", place, "--groups", "board", "--json").stdout
    assert json.loads(rows)["document_id"] == "hr/pay.md"


def test_hidden_documents_are_told_once_on_stderr(tmp_path: Path) -> None:
    """One line says how many are hidden and what shows them; --groups without a name is refused."""
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(f"Words of {name}.")
    place = ("--store", str(tmp_path / "kb"), "--embedder", "none")
    run("ingest", str(tmp_path / "a.txt"), *place)
    told = run("ingest", str(tmp_path / "b.txt"), *place, "--groups", "staff").stderr
    assert told.count("\n") == 1
    assert "1 documents without groups are hidden" in told
    assert run("ingest", str(tmp_path / "b.txt"), *place, "--groups", "staff").stderr == ""
    assert "names no group" in run("ingest", str(tmp_path / "a.txt"), *place, "--groups", " ,",
                                   code=2).stderr  # fmt: skip
    run("ingest", str(tmp_path / "a.txt"), *place, "--groups", "public")
    listed = run("list", "--store", str(tmp_path / "kb"), "--groups", "", "--json").stdout
    assert json.loads(listed)["document_id"] == "a.txt"
