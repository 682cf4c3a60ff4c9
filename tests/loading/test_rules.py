"""Rules for whole folders, and access lists that must not be lost where text is read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pytest

from ragkit import RAG, Document, Settings
from ragkit.config import load_settings
from ragkit.errors import ConfigError
from ragkit.ingest_rules import IngestRule
from ragkit.loading import FileSource, Labels, StdinSource
from ragkit.types import Failure, PendingDocument, SourceItem

WORDS_ONLY = Settings(embedder="none", ledger="off")
RECORD = {"_id": "1", "text": "The director earns 200000.", "groups": ["board"]}


def written(folder: Path, **files: str) -> Path:
    """Write files, `__` in a name standing for a folder, and `_dot_` for a dot."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def read(items: Sequence[SourceItem]) -> dict[str, Document]:
    """Return the documents by id."""
    documents = [item.load() for item in items if isinstance(item, PendingDocument)]
    return {document.id: document for document in documents}


def ruled(folder: Path, *rules: IngestRule, **labels: object) -> dict[str, Document]:
    """Return what a folder gives under rules."""
    source = FileSource([folder], labels=Labels(**labels), rules=rules)  # type: ignore[arg-type]
    return read(list(source.documents()))


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("*.md", ["top.md"]),
        ("**/*.md", ["a/b/deep.md", "a/in.md", "top.md"]),
        ("**", ["a/b/deep.md", "a/in.md", "a/in.txt", "top.md"]),
        ("a/**", ["a/b/deep.md", "a/in.md", "a/in.txt"]),
        ("a/*", ["a/in.md", "a/in.txt"]),
        ("a/**/*.md", ["a/b/deep.md", "a/in.md"]),
        ("a", []),
        ("A/**", []),
        ("?/in.[mt]*", ["a/in.md", "a/in.txt"]),
        ("a/in.[!m]*", ["a/in.txt"]),
    ],
)
def test_a_glob_matches_a_whole_path(tmp_path: Path, glob: str, expected: list[str]) -> None:
    """One star stays in a folder, two cross folders, and case counts."""
    written(tmp_path, top_dot_md="T", a__in_dot_md="I", a__in_dot_txt="I", a__b__deep_dot_md="D")
    found = ruled(tmp_path, IngestRule(glob=glob, groups=("g",)))
    assert sorted(i for i, document in found.items() if document.groups) == expected


def test_the_first_rule_that_matches_holds(tmp_path: Path) -> None:
    """Groups, metadata and address come from one rule; the call's own where it says nothing."""
    written(tmp_path, hr__pay_dot_md="Pay.", hr__menu_dot_md="Menu.", wiki__a_b_dot_md="A.",
            other_dot_md="O.")  # fmt: skip
    found = ruled(
        tmp_path,
        IngestRule(glob="hr/menu.md", metadata={"kind": "menu"}),
        IngestRule(glob="hr/**", groups=("hr", "board"), metadata={"kind": "hr", "owner": "x"}),
        IngestRule(glob="wiki/**", groups=("public",), url="https://wiki.example/"),
        IngestRule(glob="**", url="https://e.example/?p={path}&v=1"),
        groups=("staff",),
        metadata={"owner": "y"},
    )
    assert {i: (d.groups, d.metadata) for i, d in found.items()} == {
        "hr/menu.md": (("staff",), {"owner": "y", "kind": "menu"}),
        "hr/pay.md": (("hr", "board"), {"owner": "x", "kind": "hr"}),
        "wiki/a_b.md": (("public",), {"owner": "y", "url": "https://wiki.example/wiki/a_b.md"}),
        "other.md": (("staff",), {"owner": "y", "url": "https://e.example/?p=other.md&v=1"}),
    }


def test_accents_may_be_taken_apart(tmp_path: Path) -> None:
    """A file system that writes é as two characters must not slip past a rule."""
    written(tmp_path, **{"cafe\u0301__pay_dot_md": "Pay."})
    (found,) = ruled(tmp_path, IngestRule(glob="caf\u00e9/**", groups=("hr",))).values()
    assert found.groups == ("hr",)


def test_records_keep_their_own_groups_under_a_rule(tmp_path: Path) -> None:
    """A rule is for records that name no groups; a file's address is not theirs."""
    lines = [RECORD, {"_id": "2", "text": "Two.", "metadata": {"url": "https://two"}}]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, lines)))
    rule = IngestRule(glob="**", groups=("staff",), url="https://e/", metadata={"k": 1})
    found = ruled(tmp_path, rule)
    assert found["1"].groups == ("board",)
    assert found["2"].groups == ("staff",)
    assert found["2"].metadata == {"k": 1, "url": "https://two"}


def test_a_rule_names_a_loader_or_leaves_a_file_out(tmp_path: Path) -> None:
    """Any suffix can be read; what is left out is skipped, counted, and pruned when stored."""
    written(tmp_path / "in", a_dot_cfg="key = value", b_dot_md="# Title", c_dot_md="Gone.")
    kb = tmp_path / "kb"
    with RAG(kb, config=WORDS_ONLY) as rag:
        rag.ingest(tmp_path / "in")
        assert [row.document_id for row in rag.list()] == ["b.md", "c.md"]
    rules = (
        IngestRule(glob="*.cfg", loader="text"),
        IngestRule(glob="c.*", skip=True),
        IngestRule(glob="b.md", loader="text"),
    )
    settings = Settings(embedder="none", ledger="off", ingest_rules=rules)
    with RAG(kb, config=settings) as rag:
        report = rag.ingest(tmp_path / "in", prune=True)
        assert [(f.code, f.skipped) for f in report.skips] == [("rule", True)]
        assert report.documents["removed"] == report.documents["skipped"] == 1
        assert {row.document_id: row.title for row in rag.list()} == {"a.cfg": "", "b.md": ""}
    with pytest.raises(ConfigError, match=r"ingest\.rule: loader 'word'; allowed: .*markdown"):
        ruled(tmp_path / "in", IngestRule(glob="**", loader="word"))


def test_a_changed_rule_changes_what_is_stored(tmp_path: Path) -> None:
    """The file is the same, yet its new groups are stored with the next ingest."""
    written(tmp_path / "in", pay_dot_md="Pay is secret.")
    for groups in (("hr",), ("board",)):
        rules = (IngestRule(glob="**", groups=groups),)
        settings = Settings(embedder="none", ledger="off", ingest_rules=rules)
        with RAG(tmp_path / "kb", config=settings) as rag:
            assert rag.ingest(tmp_path / "in").documents["unchanged"] == 0
            assert rag.ingest(tmp_path / "in").documents["unchanged"] == 1
            assert len(rag.search("pay", groups=groups)) == 1
    with RAG(tmp_path / "kb", config=WORDS_ONLY) as rag:
        assert list(rag.search("pay", groups=("hr",))) == []


def test_rules_stand_in_the_settings_file(tmp_path: Path) -> None:
    """Each mistake names the file, the rule's number and what is allowed."""
    file = tmp_path / "ragkit.toml"

    def load(text: str) -> tuple[IngestRule, ...]:
        file.write_text(text)
        return load_settings(file=file).ingest_rules

    first, second = load(
        '[[ingest.rule]]\nglob = "hr/**"\ngroups = ["hr"]\nmetadata = {level = 2}\n'
        '[[ingest.rule]]\nglob = "**"\nurl = "https://e/"\nloader = "text"\nskip = true\n'
    )
    assert (first.groups, first.metadata, first.skip) == (("hr",), {"level": 2}, False)
    assert (second.url, second.loader, second.skip) == ("https://e/", "text", True)
    rule = '[[ingest.rule]]\nglob = "a"\n'
    for text, message in (
        ('[[ingest.rule]]\ngroups = ["a"]', r"rule 1 needs a glob"),
        (
            rule + '[[ingest.rule]]\nglob = "b"\ngroup = ["x"]',
            r"rule 2: unknown key 'group'; .*url",
        ),
        (rule + 'groups = "board"', r"rule 1: groups 'board'; allowed: a list of names"),
        (rule + "groups = []", r"rule 1: groups are empty"),
        (rule + 'groups = [""]', r"rule 1: groups: a name of 0 characters"),
        (rule + 'metadata = "x"', r"rule 1: metadata 'x'; allowed: a table"),
        (rule + "metadata = {day = 2024-01-01}", r"rule 1: metadata; allowed: what JSON can say"),
        (rule + "metadata = {x = nan}", r"nan is not a finite number"),
        (rule + "url = 5", r"rule 1: url 5; allowed: a text"),
        (rule + "loader = true", r"rule 1: loader True; allowed: a text"),
        (rule + "skip = 1", r"rule 1: skip 1; allowed: true false"),
        (
            '[[ingest.rule]]\nglob = "/etc/**"',
            r"rule 1: glob '/etc/\*\*'; allowed: a path relative",
        ),
        ('[[ingest.rule]]\nglob = "a/../b"', r"rule 1: glob 'a/../b'"),
        ('[[ingest.rule]]\nglob = "hr/"', r"rule 1: glob 'hr/'"),
        ("[[ingest.rule]]\nglob = 5", r"rule 1: glob 5"),
        ('[ingest.rule]\nglob = "a"', r"ingest\.rule; allowed: tables, each headed"),
        ("[ingest]\nrules = []", r"\[ingest\]: unknown key 'rules'; allowed: rule"),
        ("ingest = 5", r"unknown setting 'ingest'"),
        ('ingest_rules = ["x"]', r"ingest_rules: rules stand in ragkit\.toml"),
    ):
        with pytest.raises(ConfigError, match=message):
            load(text)
    with pytest.raises(ConfigError, match="ingest_rules"):
        load_settings(file=_empty(tmp_path), environment={"RAGKIT_INGEST_RULES": "x"})


def _empty(folder: Path) -> Path:
    path = folder / "empty.toml"
    path.touch()
    return path


def test_required_groups_fail_what_no_rule_covers(tmp_path: Path) -> None:
    """Each document without groups fails, an unchanged one too, and the others are stored."""
    written(tmp_path / "in", hr__pay_dot_md="Pay.", notes_dot_md="Notes.")
    (tmp_path / "in" / "corpus.jsonl").write_text(
        f'{json.dumps(RECORD)}\n{{"_id": "2", "text": "Two."}}\n'
    )
    settings = Settings(
        embedder="none", ledger="off", ingest_rules=(IngestRule(glob="hr/**", groups=("hr",)),)
    )
    with RAG(tmp_path / "kb", config=settings, notify=lambda _: None) as rag:
        for _ in range(2):
            report = rag.ingest(tmp_path / "in", require_groups=True)
            assert sorted((f.code, f.detail) for f in report.failures) == [
                ("groups", "document '2' has no groups"),
                ("groups", "document 'notes.md' has no groups"),
            ]
            stored = [row.document_id for row in rag.list(groups=["hr", "board"])]
            assert stored == ["1", "hr/pay.md"]
        rag.ingest(tmp_path / "in")
        report = rag.ingest(tmp_path / "in", require_groups=True)
        assert len(report.failures) == 2
        assert "ragkit rm notes.md" in report.failures[1].detail
        report = rag.ingest(Document(id="bare", text="Bare."), require_groups=True)
        assert [failure.code for failure in report.failures] == ["groups"]


# --- access lists that would be lost -----------------------------------------------------------

_LINES = json.dumps({"_id": "0", "text": "Open."}) + "\n" + json.dumps(RECORD)
LOST = {
    "people.jsonl": _LINES,
    "people.ndjson": _LINES,
    "upper.JSONL": _LINES,
    "bom.jsonl": f"\ufeff{json.dumps(RECORD)}",
    "string.jsonl": json.dumps({**RECORD, "groups": "board"}),
    "escaped.jsonl": json.dumps(RECORD).replace("groups", "gr\\u006fups"),
    "textless.jsonl": json.dumps({"_id": "1", "body": "Secret.", "groups": ["board"]}),
    "broken.jsonl": json.dumps(RECORD)[:-1] + ",}",
    "deep.jsonl": json.dumps(RECORD)[:-1] + ', "metadata": ' + "[" * 200_000 + "]" * 200_000 + "}",
    "nested.jsonl": json.dumps({"records": [RECORD]}),
    "list.json": json.dumps([RECORD]),
    "one.json": json.dumps(RECORD),
    "inside.json": json.dumps({"data": {"records": [RECORD]}}),
    "table.csv": "_id,text,groups\n1,The director earns 200000.,board\n",
    "table.tsv": "_id\ttext\tgroups\n1\tThe director earns 200000.\tboard\n",
}


@pytest.mark.parametrize("name", LOST)
def test_records_with_groups_are_never_text_for_everyone(tmp_path: Path, name: str) -> None:
    """Met in a folder they fail, with the command that keeps their groups."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / name).write_text(LOST[name], encoding="utf-8")
    with RAG(tmp_path / "kb", config=WORDS_ONLY) as rag:
        (failure,) = rag.ingest(folder).failures
        assert failure.code == "groups"
        assert "ragkit ingest " in failure.detail
        assert "200000" not in failure.detail
        assert list(rag.list()) == []


def test_utf16_records_are_looked_at_too(tmp_path: Path) -> None:
    """What a loader decodes is what is looked at, not the bytes."""
    (tmp_path / "wide.jsonl").write_bytes(_LINES.encode("utf-16"))
    (item,) = FileSource([tmp_path]).documents()
    assert isinstance(item, PendingDocument)
    with pytest.raises(Exception, match="line 2 is a record with groups"):
        item.load()


def test_the_command_quotes_the_file_and_keeps_the_groups(tmp_path: Path) -> None:
    """The line of the error can be pasted; what it reads is seen by its groups only."""
    folder = tmp_path / "my files; rm x"
    folder.mkdir()
    (folder / "people.jsonl").write_text(_LINES)
    with RAG(tmp_path / "kb", config=WORDS_ONLY, notify=lambda _: None) as rag:
        (failure,) = rag.ingest(folder).failures
        assert failure.detail.endswith(f"ragkit ingest '{folder}/people.jsonl'")
        assert rag.ingest(folder / "people.jsonl").documents["added"] == 2
        assert [row.document_id for row in rag.list(groups=["board"])] == ["1"]


def test_what_only_mentions_groups_is_text(tmp_path: Path) -> None:
    """Other JSON and tables are read as before."""
    written(
        tmp_path,
        log_dot_jsonl='{"user": "ann", "groups": ["wheel"]}\n{"_id": 1, "groups": []}\ngroups\n',
        a_dot_json='{"groups": ["a", "b"]}',
        t_dot_csv="name,groups\nann,wheel\n",
    )
    assert sorted(ruled(tmp_path)) == ["a.json", "log.jsonl", "t.csv"]


def test_standard_input_does_not_lose_them_either() -> None:
    """A first line that is no record makes text of all, and so must not hide records."""
    (item,) = StdinSource(stream=BytesIO(f"A list:\n{_LINES}\n".encode())).documents()
    assert isinstance(item, Failure)
    assert item.code == "groups"
    (text,) = StdinSource(stream=BytesIO(b"groups of people\n")).documents()
    assert isinstance(text, Document)
