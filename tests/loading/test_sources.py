"""Files, folders, standard input and records as sources of documents."""

from __future__ import annotations

import io
import json
import os
import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.errors import ConfigError, LoadError
from ragkit.loading import FileSource, Labels, RecordSource, StdinSource, open_source
from ragkit.loading.records import MAX_RECORD_BYTES
from ragkit.types import Document, Failure, PendingDocument, SourceItem


def write(folder: Path, **contents: str) -> None:
    """Write files; in their names `__` stands for `/` and `_` for `.`."""
    for name, content in contents.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def ids(items: Iterator[SourceItem]) -> list[str]:
    """Return the ids of what can be read, in order."""
    return [item.id for item in items if not isinstance(item, Failure)]


def failures(items: Iterator[SourceItem]) -> list[Failure]:
    """Return the failures, in order."""
    return [item for item in items if isinstance(item, Failure)]


def loaded(items: Iterator[SourceItem]) -> list[Document]:
    """Load all that can be read."""
    return [item.load() for item in items if isinstance(item, PendingDocument)]


def fingerprints(items: Iterator[SourceItem]) -> list[str]:
    """Return the fingerprints, in order."""
    return [item.fingerprint for item in items if isinstance(item, PendingDocument)]


def test_ids_are_relative_to_the_folder(tmp_path: Path) -> None:
    """A folder's files have their path in it as id, in a stable order; sources are absolute."""
    names = [f"n{number}" for number in range(9)]
    for name in reversed(names):
        write(tmp_path / "many" / name, f_txt=name)
    assert ids(FileSource(["many"]).documents()) == [f"{name}/f.txt" for name in names]
    shutil.rmtree(tmp_path / "many")
    write(tmp_path, b_md="b", a__z_txt="z", a__b__y_txt="y", A_txt="A")
    items = list(FileSource([tmp_path]).documents())
    assert ids(iter(items)) == ["A.txt", "b.md", "a/z.txt", "a/b/y.txt"]
    assert [d.source for d in loaded(iter(items))][2] == str(tmp_path / "a" / "z.txt")
    assert ids(FileSource([tmp_path]).documents()) == ids(iter(items))


def test_a_file_given_by_name_is_its_name(tmp_path: Path) -> None:
    """A file's own name is its id, unless `root` says what it is relative to."""
    write(tmp_path, a__z_txt="z")
    assert ids(FileSource([tmp_path / "a/z.txt"]).documents()) == ["z.txt"]
    assert ids(FileSource([tmp_path / "a/z.txt"], root=tmp_path).documents()) == ["a/z.txt"]
    assert ids(FileSource(["a/../a/z.txt"], root=".").documents()) == ["a/z.txt"]


def test_a_file_outside_the_root(tmp_path: Path) -> None:
    """A file that is not under `root` has no id, and nothing is read."""
    write(tmp_path, a__z_txt="z", b__y_txt="y")
    with pytest.raises(ConfigError, match=r"y\.txt is not under --root"):
        next(FileSource(["b/y.txt", "a"], root="a").documents())


def test_two_files_of_one_id(tmp_path: Path) -> None:
    """A collision names both files before anything is read, and `root` tells them apart."""
    write(tmp_path, a__z_txt="1", b__z_txt="2")
    with pytest.raises(ConfigError, match=r"a/z\.txt and .*b/z\.txt .* '?z\.txt'?"):
        next(FileSource(["a", "b"]).documents())
    assert ids(FileSource(["a", "b"], root=".").documents()) == ["a/z.txt", "b/z.txt"]


def test_a_file_met_twice_is_read_once(tmp_path: Path) -> None:
    """A file given by name and met in its folder is one document."""
    write(tmp_path, a_txt="a", b_txt="b")
    assert ids(FileSource([tmp_path, tmp_path / "b.txt"]).documents()) == ["b.txt", "a.txt"]


def test_skipped_and_failed(tmp_path: Path) -> None:
    """What no loader reads is skipped when met in a folder, and a failure when given by name."""
    write(tmp_path, a_txt="a", p_png="x")
    (met,) = failures(FileSource([tmp_path]).documents())
    (named,) = failures(FileSource([tmp_path / "p.png"]).documents())
    assert (met.code, met.skipped) == ("unsupported", True)
    assert (named.code, named.skipped, named.source) == (
        "unsupported",
        False,
        str(tmp_path / "p.png"),
    )


def test_paths_that_are_not_there(tmp_path: Path) -> None:
    """A missing path is a failure while others are there, and an error when none is."""
    write(tmp_path, a_txt="a")
    items = list(FileSource(["a.txt", "gone.txt", "no*.md"]).documents())
    assert ids(iter(items)) == ["a.txt"]
    assert [(f.code, Path(f.source).name) for f in failures(iter(items))] == [
        ("unreadable", "gone.txt"),
        ("unreadable", "no*.md"),
    ]
    with pytest.raises(ConfigError, match=r"gone\.txt"):
        FileSource(["gone.txt"])


def test_patterns(tmp_path: Path) -> None:
    """A pattern's ids are relative to what stands before its first wildcard."""
    write(tmp_path, d__a_md="a", d__b__c_md="c", d__e_txt="e", d__f_png="f")
    assert ids(FileSource(["d/**/*.md"]).documents()) == ["a.md", "b/c.md"]
    assert ids(FileSource([str(tmp_path / "d/?.md")]).documents()) == ["a.md"]
    assert [f.skipped for f in failures(FileSource(["d/*.png"]).documents())] == [True]


def test_hidden_files_and_stores_are_not_read(tmp_path: Path) -> None:
    """Hidden files and folders are passed over, and so is a store inside the folder."""
    write(tmp_path, a_txt="a", _hidden_txt="h", _git__c_txt="c", kb__ledger_jsonl="{}")
    (tmp_path / "kb/store.sqlite").write_bytes(b"")
    assert list(map(str, ids(FileSource(["."]).documents()))) == ["a.txt"]


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        ("# nothing\n\n", "a.md b.txt d/a.md d/e/b.txt d/e/c.log"),
        ("*.txt", "a.md d/a.md d/e/c.log"),
        ("/a.md", "b.txt d/a.md d/e/b.txt d/e/c.log"),
        ("d/", "a.md b.txt"),
        ("a.md/", "a.md b.txt d/a.md d/e/b.txt d/e/c.log"),
        ("e/*.log", "a.md b.txt d/a.md d/e/b.txt d/e/c.log"),
        ("d/**/c.log", "a.md b.txt d/a.md d/e/b.txt"),
        ("**/e", "a.md b.txt d/a.md"),
        ("*.md\n!d/a.md", "b.txt d/a.md d/e/b.txt d/e/c.log"),
        ("?.[lm]*", "b.txt d/e/b.txt"),
        ("d\n!d/a.md", "a.md b.txt"),
    ],
)
def test_ignore_file(tmp_path: Path, rules: str, left: str) -> None:
    """`.ragkitignore` leaves out what its patterns name, in the documented subset."""
    write(tmp_path, a_md="x", b_txt="x", d__a_md="x", d__e__b_txt="x", d__e__c_log="x")
    (tmp_path / ".ragkitignore").write_text(rules)
    assert ids(FileSource([tmp_path]).documents()) == left.split()


def test_ignore_file_further_down(tmp_path: Path) -> None:
    """An ignore file holds for its own folder, whatever that folder is called."""
    write(tmp_path, a_md="x")
    odd = tmp_path / "[d]"
    write(odd, a_md="x", b_md="x", e__a_md="x")
    (odd / ".ragkitignore").write_text("/a.md\n")
    assert ids(FileSource([tmp_path]).documents()) == ["a.md", "[d]/b.md", "[d]/e/a.md"]


def test_links(tmp_path: Path) -> None:
    """Links lead to files inside the folder only, never to folders, and loops end."""
    write(tmp_path, out_txt="secret", in__a_txt="a")
    inside = tmp_path / "in"
    (inside / "b.txt").symlink_to(inside / "a.txt")
    (inside / "out.txt").symlink_to(tmp_path / "out.txt")
    (inside / "up").symlink_to(tmp_path)
    (inside / "gone.txt").symlink_to("nowhere")
    (inside / "self.txt").symlink_to("self.txt")
    items = list(FileSource([inside]).documents())
    assert ids(iter(items)) == ["a.txt", "b.txt"]
    met = {Path(f.source).name: (f.code, f.skipped) for f in failures(iter(items))}
    assert met == dict.fromkeys(["gone.txt", "out.txt", "self.txt"], ("unreadable", True))
    assert ids(FileSource([inside / "out.txt"]).documents()) == ["out.txt"]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe with a text file's name is a failure at once."""
    os.mkfifo(tmp_path / "pipe.txt")
    (failure,) = failures(FileSource([tmp_path]).documents())
    assert (failure.code, failure.detail) == ("unreadable", "not a regular file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read(tmp_path: Path) -> None:
    """A file or folder without permission is a failure, and the others are read."""
    write(tmp_path, a_txt="a", b_txt="b", d__c_txt="c")
    (tmp_path / "a.txt").chmod(0)
    (tmp_path / "d").chmod(0)
    items = list(FileSource([tmp_path]).documents())
    (tmp_path / "d").chmod(0o700)
    assert ids(iter(items)) == ["b.txt"]
    assert [f.code for f in failures(iter(items))] == ["unreadable", "unreadable"]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    """A file name of other bytes gives an id that can be stored."""
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("x")
    except OSError:
        pytest.skip("this file system wants UTF-8")
    (document,) = loaded(FileSource([tmp_path]).documents())
    assert document.id == r"caf\udce9.txt"
    assert document.source.encode().endswith(b"txt")


def test_labels_are_added(tmp_path: Path) -> None:
    """Groups and metadata of the call go to each document; the call's metadata wins."""
    write(tmp_path, a_md="---\nowner: x\nyear: 1\n---\ntext\n")
    labels = Labels(groups=("staff",), metadata={"owner": "y"})
    (document,) = loaded(FileSource([tmp_path], labels=labels).documents())
    assert document.groups == ("staff",)
    assert document.metadata == {"owner": "y", "year": 1}


def test_fingerprints_change_with_what_is_loaded(tmp_path: Path) -> None:
    """Content, groups and metadata change a fingerprint; place and time of the file do not."""
    write(tmp_path, a__f_txt="one", b__f_txt="one", c__f_txt="two")

    def of(folder: str, labels: Labels | None = None) -> str:
        return fingerprints(FileSource([folder], labels=labels).documents())[0]

    os.utime("b/f.txt", (1, 1))
    assert of("a") == of("b") != of("c")
    changed = {
        of("a", Labels(groups=("g",))),
        of("a", Labels(metadata={"k": 1})),
        of("a", Labels(metadata={"k": 2})),
        of("a"),
    }
    assert len(changed) == 4


RECORDS = "\n".join(
    [
        '{"_id": "1", "title": "T", "text": " as given\\r\\n", "metadata": {"k": 1}}',
        "",
        "not json",
        '{"_id": "1", "text": "again"}',
        '{"text": "no id"}',
        '{"_id": 7, "text": "number", "groups": ["g"]}',
        '{"_id": "g", "text": "x", "groups": "g"}',
        '{"_id": "m", "text": "x", "metadata": 1}',
        '{"_id": "s", "text": "\\ud800"}',
        '["_id", "text"]',
        '{"_id": "n"}',
    ]
)


def test_records(tmp_path: Path) -> None:
    """Records keep their text to the letter; each bad line is a failure with its number."""
    (tmp_path / "corpus.jsonl").write_text(RECORDS, encoding="utf-8")
    items = list(FileSource([tmp_path], labels=Labels(groups=("all",))).documents())
    first, second = loaded(iter(items))
    assert (first.id, first.title, first.text) == ("1", "T", " as given\r\n")
    assert (first.metadata, first.groups) == ({"k": 1}, ("all",))
    assert (second.id, second.groups) == ("7", ("g",))
    bad = [f.detail.split(":")[0] for f in failures(iter(items))]
    assert bad == [f"line {n}" for n in (3, 4, 5, 7, 8, 9, 10, 11)]


def test_when_json_lines_are_records(tmp_path: Path) -> None:
    """JSON Lines are records when given by name or called corpus.jsonl, else text."""
    write(tmp_path, other_jsonl='{"_id": "1", "text": "x"}')
    assert ids(FileSource(["other.jsonl"]).documents()) == ["1"]
    assert ids(FileSource(["."]).documents()) == ["other.jsonl"]
    assert ids(FileSource(["*.jsonl"]).documents()) == ["other.jsonl"]


def test_an_id_is_taken_once_in_a_call(tmp_path: Path) -> None:
    """A record with the id of a file or of another file's record is a failure that says so."""
    write(tmp_path, a_txt="a", x__corpus_jsonl='{"_id": "a.txt", "text": "x"}')
    write(tmp_path, y__corpus_jsonl='{"_id": "b", "text": "x"}\n{"_id": "b", "text": "y"}')
    items = list(FileSource(["."]).documents())
    assert ids(iter(items)) == ["a.txt", "b"]
    assert ["already taken" in f.detail for f in failures(iter(items))] == [True, True]


def test_empty_records_say_so() -> None:
    """A record without words is an error when it is loaded."""
    (item,) = RecordSource([{"_id": "1", "text": " "}]).documents()
    assert isinstance(item, PendingDocument)
    with pytest.raises(LoadError, match="no_text"):
        item.load()


def test_records_are_not_held_in_memory(tmp_path: Path) -> None:
    """A large file of records passes through a small memory, and so does a line without an end."""
    with (tmp_path / "corpus.jsonl").open("w") as file:
        for number in range(3_000):
            file.write(json.dumps({"_id": str(number), "text": "word " * 2_000}) + "\n")
    assert (tmp_path / "corpus.jsonl").stat().st_size > 30_000_000
    tracemalloc.start()
    n_records = sum(
        1 for item in FileSource(["."]).documents() if isinstance(item, PendingDocument)
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n_records == 3_000
    assert peak < 5_000_000


@pytest.mark.slow
def test_a_line_longer_than_a_record(tmp_path: Path) -> None:
    """A line above the limit is a failure that is never held whole, and the next one is read."""
    with (tmp_path / "corpus.jsonl").open("wb") as file:
        file.write(b'{"_id": "a", "text": "')
        file.seek(8 * MAX_RECORD_BYTES)
        file.write(b'"}\n{"_id": "b", "text": "y"}\n')
    tracemalloc.start()
    items = list(FileSource(["."]).documents())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [f.code for f in failures(iter(items))] == ["limit"]
    assert ids(iter(items)) == ["b"]
    assert peak < 6 * MAX_RECORD_BYTES


json_values = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(["g"])
json_objects = st.fixed_dictionaries(
    {"_id": json_values, "text": json_values},
    optional={"title": json_values, "metadata": json_values, "groups": json_values},
)


@given(st.lists(json_objects, max_size=6))
def test_any_records(records: list[dict[str, object]]) -> None:
    """Any objects give a document or a failure each, and values and lines agree."""
    lines = "\n".join(json.dumps(record) for record in records).encode()
    values = list(RecordSource(records).documents())
    assert len(values) == len(records)
    read = list(StdinSource(stream=io.BytesIO(lines)).documents()) if records else []
    assert ids(iter(read)) == ids(iter(values))
    assert [f.code for f in failures(iter(read))] == [f.code for f in failures(iter(values))]


def test_standard_input() -> None:
    """Standard input is records when its first line is one, else one document."""
    (text,) = StdinSource(stream=io.BytesIO(b"\n just\r\ntext\n")).documents()
    assert isinstance(text, Document)
    assert (text.id, text.source, text.text) == ("stdin", "-", "\n just\ntext\n")
    records = b'\n{"_id": "1", "text": "x"}\nbad\n{"_id": "2", "text": "y"}'
    items = list(StdinSource(stream=io.BytesIO(records)).documents())
    assert ids(iter(items)) == ["1", "2"]
    assert [f.detail.split(":")[0] for f in failures(iter(items))] == ["line 3"]
    (empty,) = StdinSource(stream=io.BytesIO(b" \n")).documents()
    assert isinstance(empty, Failure)
    assert (empty.source, empty.code) == ("-", "no_text")


def test_one_source_over_everything(tmp_path: Path) -> None:
    """Documents, sources and paths can be given together."""
    write(tmp_path, a_txt="a")
    source = open_source([Document(id="d", text="d"), RecordSource([{"_id": "r", "text": "r"}]),
                          tmp_path])  # fmt: skip
    assert ids(source.documents()) == ["d", "a.txt", "r"]
    assert source.roots == (str(tmp_path),)
