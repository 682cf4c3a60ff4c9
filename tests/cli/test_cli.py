"""The installed command: outputs, exit codes, and that they are what `ragkit schema` says."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ragkit.cli.parser import make_parser
from ragkit.schemas import load_schema, schema_names
from ragkit_connectors.testing import OpenAIServer, Reply

from .command import RAGKIT, run, valid

pytestmark = pytest.mark.slow  # Each test runs commands in processes of their own.

HARBOR = Path(__file__).parents[2] / "examples" / "harbor"


@pytest.fixture(scope="session")
def harbor_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of the demo's documents, made once."""
    place = tmp_path_factory.mktemp("harbor") / "kb"
    run("ingest", str(HARBOR), "--store", str(place))
    return place


@pytest.fixture
def store(harbor_store: Path, tmp_path: Path) -> str:
    """Return a copy of the demo's store."""
    shutil.copytree(harbor_store, tmp_path / "kb")
    return str(tmp_path / "kb")


def test_ingest_reports_and_costs_nothing_the_second_time(tmp_path: Path) -> None:
    """The report is valid; the second ingest writes no byte of the file."""
    store = str(tmp_path / "kb")
    report = valid(run("ingest", str(HARBOR), "--store", store, "--json").stdout, "ingest")
    assert report["documents"] == {
        "added": 23, "changed": 0, "unchanged": 0, "removed": 0, "skipped": 0, "failed": 0,
    }  # fmt: skip
    file = tmp_path / "kb" / "store.sqlite"
    before = file.read_bytes()
    again = valid(run("ingest", str(HARBOR), "--store", store, "--json").stdout, "ingest")
    assert again["embedded"] == 0
    assert file.read_bytes() == before


def test_progress_is_acknowledged_line_by_line(tmp_path: Path) -> None:
    """`--progress json` prints each document on stderr once it is committed."""
    result = run("ingest", str(HARBOR), "--store", str(tmp_path / "kb"), "--progress", "json")
    lines = [valid(line, "progress") for line in result.stderr.splitlines() if line[:1] == "{"]
    assert {"document_id": "handbook.md", "status": "added"} in lines
    assert len([line for line in lines if "document_id" in line]) == 23
    first, last = lines[0], lines[-1]
    assert first["event"] == last["event"] == "progress"
    assert (first["files_done"], first["bytes_done"], first["seconds_left"]) == (0, 0, None)
    assert last["files_done"] == last["files_total"] == first["files_total"]
    assert last["bytes_done"] == last["bytes_total"] == first["bytes_total"] > 0


def test_a_bad_file_is_reported_and_the_rest_is_ingested(tmp_path: Path) -> None:
    """A broken file fails with its code and exit 1; an unknown one met by walking is skipped."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "good.txt").write_text("Good words.")
    (docs / "broken.pdf").write_bytes(b"%PDF-1.4 nonsense")
    (docs / "image.xyz").write_bytes(b"\x00\x01")
    result = run("ingest", str(docs), "--store", str(tmp_path / "kb"), "--json", code=1)
    report = valid(result.stdout, "ingest")
    counts = report["documents"]
    assert isinstance(counts, dict)
    assert (counts["added"], counts["failed"], counts["skipped"]) == (1, 1, 1)
    assert '"code": "broken"' in result.stdout
    named = run("ingest", str(docs / "image.xyz"), "--store", str(tmp_path / "kb2"), "--json",
                code=1)  # fmt: skip
    assert '"code": "unsupported"' in named.stdout


def test_search_gives_places_in_the_documents(store: str) -> None:
    """A hit's text is exactly what stands at its place in the document."""
    data = valid(run("search", "annual pass", "--store", store, "--json").stdout, "search")
    hits: list[dict[str, Any]] = data["hits"]
    for hit in hits[:3]:
        shown = run("show", hit["document_id"], "--store", store, "--json").stdout
        document = valid(shown, "document")
        assert str(document["text"])[hit["start"] : hit["end"]] == hit["text"]
    assert hits[0]["document_id"] == "fares.csv"


@pytest.mark.parametrize(
    ("question", "document", "location"),
    [
        ("How do I reset my badge?", "handbook.md", {"heading": ["Staff handbook", "Badges",
                                                                 "Resetting a badge"],
                                                     "anchor": "resetting-a-badge"}),
        ("What does an annual pass cost?", "fares.csv", {"cells": "A6:C6"}),
        ("How many people does the crew of the rescue boat need?", "emergency_plan.pdf",
         {"page": 2, "heading": ["Man overboard"]}),
    ],
)  # fmt: skip
def test_ask_answers_with_citations(
    store: str, question: str, document: str, location: dict[str, object]
) -> None:
    """The demo's questions are answered, each cited at the place where its answer stands."""
    data = valid(run("ask", question, "--store", store, "--json").stdout, "ask")
    citations: list[dict[str, Any]] = data["citations"]
    assert citations[0]["document_id"] == document
    assert citations[0]["location"] == location
    assert "prompt" not in data


def test_a_refusal_has_its_exit_code(store: str) -> None:
    """What the documents do not answer is refused with exit 3, in a dry run too."""
    question = "What is the salary of the captain of the Gannet?"
    refused = valid(run("ask", question, "--store", store, "--json", code=3).stdout, "ask")
    assert (refused["refused"], refused["text"]) == (True, None)
    dry = run("ask", question, "--store", store, "--json", "--dry-run", code=3).stdout
    assert valid(dry, "ask")["prompt"] is None
    off = run("ask", question, "--store", store, "--json", "--refuse-below", "off").stdout
    assert valid(off, "ask")["refused"] is False


def test_dry_run_prints_the_exact_prompt(store: str) -> None:
    """`--dry-run` shows the prompt and its tokens, and gives no text."""
    out = run("ask", "How do I reset my badge?", "--store", store, "--json", "--dry-run").stdout
    data = valid(out, "ask")
    assert data["text"] is None
    assert "Question: How do I reset my badge?" in str(data["prompt"])
    text = run("ask", "How do I reset my badge?", "--store", store, "--dry-run").stdout
    assert str(data["prompt"]) in text


def test_questions_come_back_in_order_with_their_ids(store: str, tmp_path: Path) -> None:
    """A batch gives a line a question, flushed in order, with exit 0 even when it refuses."""
    questions = tmp_path / "q.jsonl"
    lines = [{"_id": "a", "text": "badge"}, {"_id": 7, "text": "fog", "k": 2}, {"text": "zzz"}]
    questions.write_text("\n".join(map(json.dumps, lines)))
    found = [
        valid(line, "search")
        for line in run(
            "search", "--questions", str(questions), "--store", store
        ).stdout.splitlines()
    ]
    assert [line["id"] for line in found] == ["a", "7", None]
    assert len(found[1]["hits"]) == 2
    answered = run("ask", "--questions", "-", "--store", store, stdin=questions.read_text()).stdout
    assert [valid(line, "ask")["id"] for line in answered.splitlines()] == ["a", "7", None]


def test_trim_levels_keep_more_and_more(store: str) -> None:
    """`--trim-level` runs from one sentence to the whole pool."""
    sizes: list[int] = []
    for level in ("0", "0.2", "1"):
        out = run("ask", "How do I reset my badge?", "--store", store, "--json",
                  "--trim-level", level).stdout  # fmt: skip
        receipt: dict[str, Any] = valid(out, "ask")["receipt"]
        sizes.append(receipt["context_tokens"])
    assert sizes[0] < sizes[1] < sizes[2]


def test_a_tight_context_has_fewer_tokens_than_the_bundled_one(store: str) -> None:
    """Both are policies by name; `off` sends whole chunks."""
    sizes: dict[str, int] = {}
    for name in ("tight", "bundled", "off"):
        out = run("ask", "How do I reset my badge?", "--store", store, "--json", "--trim", name)
        data: dict[str, Any] = valid(out.stdout, "ask")
        assert (data["trim"] is None) == (name == "off")
        assert name == "off" or str(data["trim"]["name"]).startswith(name)
        sizes[name] = data["receipt"]["context_tokens"]
    assert sizes["tight"] < sizes["bundled"] < sizes["off"]


def test_the_best_place_comes_last_or_first(store: str) -> None:
    """`--placement` changes the order of the prompt, and nothing else."""
    prompts: dict[str, str] = {}
    for placement in ("document", "best_last", "best_first"):
        out = run("ask", "How do I reset my badge?", "--store", store, "--json", "--dry-run",
                  "--placement", placement).stdout  # fmt: skip
        prompts[placement] = str(valid(out, "ask")["prompt"])
    places = {name: prompt.index("blue reader") for name, prompt in prompts.items()}
    assert places["best_first"] < places["best_last"]
    lines = {name: sorted(prompt.split()) for name, prompt in prompts.items()}
    assert lines["document"] == lines["best_first"] == lines["best_last"]
    refused = run("ask", "x", "--store", store, "--placement", "random", code=2).stderr
    assert "best_last" in refused


def test_a_trim_policy_file_is_used_and_named(store: str, tmp_path: Path) -> None:
    """A hand-written policy is applied, uncertified, and named with its hash."""
    path = tmp_path / "trim.json"
    path.write_text(json.dumps({"name": "mine", "pool": 5, "budget_tokens": 30}))
    jsonschema.validate(json.loads(path.read_text()), load_schema("trim"))
    out = run("ask", "How do I reset my badge?", "--store", store, "--json", "--trim", str(path))
    data = valid(out.stdout, "ask")
    assert isinstance(data["trim"], dict)
    assert isinstance(data["receipt"], dict)
    assert data["trim"]["name"] == "mine"
    assert data["trim"]["certified"] is False
    assert data["receipt"]["context_tokens"] <= 40
    path.write_text('{"pool": 5, "colour": 1}')
    assert "'colour'" in run("ask", "x", "--store", store, "--trim", str(path), code=2).stderr


def test_a_local_server_answers_and_streams(store: str) -> None:
    """`openai:MODEL` with a base URL works with any compatible server; a dead one is exit 7."""
    with OpenAIServer([Reply(text="Ten seconds at the blue reader.")]) as server:
        options = ["--store", store, "--generator", "openai:m", "--base-url", server.base_url]
        plain = run("ask", "How do I reset my badge?", *options, "--json").stdout
        assert valid(plain, "ask")["text"] == "Ten seconds at the blue reader."
        streamed = run("ask", "How do I reset my badge?", *options, "--stream").stdout
        assert streamed.startswith("Ten seconds at the blue reader.\n")
        assert streamed.count("Ten seconds") == 1
    dead = run("ask", "How do I reset my badge?", *options, code=7)
    assert server.base_url.split("/")[2] in dead.stderr


@pytest.mark.parametrize(
    ("word", "reason"),
    [("length", "length"), ("content_filter", "filter"), ("insufficient_system_resource", "error")],
)
def test_an_answer_that_was_cut_is_marked(store: str, word: str, reason: str) -> None:
    """Whoever reads an answer sees that it was cut, by what, and the server's own word for it."""
    with OpenAIServer([Reply(text="Ten sec", finish_reason=word)]) as server:
        options = ["--store", store, "--generator", "openai:m", "--base-url", server.base_url]
        for stream in ([], ["--stream"]):
            told = run("ask", "How do I reset my badge?", *options, *stream).stderr
            assert "ragkit: the answer was cut" in told
            assert told.rstrip().endswith(f": {word}")
        data = valid(run("ask", "How do I reset my badge?", *options, "--json").stdout, "ask")
        assert isinstance(data["receipt"], dict)
        assert (data["stop_reason"], data["receipt"]["server_stop_reason"]) == (reason, word)


def test_an_end_of_its_own_is_not_marked_and_an_unknown_one_is(store: str) -> None:
    """A word that is not known may mean anything, so it is shown."""
    replies = [Reply(text="Ten seconds.", finish_reason=word) for word in ("stop", "recitation")]
    with OpenAIServer(replies) as server:
        options = ["--store", store, "--generator", "openai:m", "--base-url", server.base_url]
        natural, odd = (run("ask", "How do I reset my badge?", *options).stderr for _ in replies)
    assert natural == ""
    assert odd == "ragkit: the answer ended for a reason of its server's: recitation\n"


def test_list_show_and_rm(store: str) -> None:
    """Documents are listed, shown, removed, and then gone; an unknown id is exit 1 or 2."""
    rows = [
        valid(line, "list") for line in run("list", "--store", store, "--json").stdout.splitlines()
    ]
    assert len(rows) == 23
    whole = run("show", "--all", "--store", store, "--json").stdout.splitlines()
    assert [valid(line, "document")["document_id"] for line in whole] == [
        row["document_id"] for row in rows
    ]
    assert valid(run("show", "--store", store, "--json").stdout, "store")["documents"] == 23
    backup = str(Path(store).parent / "backup of the day")
    assert valid(run("backup", backup, "--store", store, "--json").stdout, "backup") == {
        "schema": 1, "bytes": (Path(backup) / "store.sqlite").stat().st_size,
        "documents": 23, "verified": True,
    }  # fmt: skip
    assert "--force" in run("backup", backup, "--store", store, code=2).stderr
    done = run("rm", "fares.csv", "nothing.txt", "--store", store, "--json", code=1)
    assert valid(done.stdout, "rm") == {
        "schema": 1, "removed": ["fares.csv"], "missing": ["nothing.txt"],
        "copies": [
            {"kind": "backup", "path": backup},
            {"kind": "ledger", "path": str(Path(store) / "ledger.jsonl")},
        ],
    }  # fmt: skip
    assert f"a backup may hold what was removed: {backup}" in done.stderr
    assert "'fares.csv'" in run("show", "fares.csv", "--store", store, code=2).stderr
    restored = run("restore", backup, "--store", store, "--json").stdout
    assert valid(restored, "backup")["documents"] == 23
    assert run("show", "fares.csv", "--store", store).stdout
    (Path(backup) / "store.sqlite").write_bytes(b"no store" * 1000)
    refused = run("restore", backup, "--store", store, "--json", code=6)
    assert valid(refused.stdout, "backup")["verified"] is False
    run("rm", "fares.csv", "--secure", "--store", store)


def test_doctor_and_rebuild(store: str) -> None:
    """A sound store is exit 0; a rebuild with other settings leaves it sound."""
    assert valid(run("doctor", "--store", store, "--json").stdout, "doctor")["sound"] is True
    rebuilt = run("rebuild", "--store", store, "--chunk-tokens", "60", "--json").stdout
    assert valid(rebuilt, "ingest")["documents"]["changed"] == 23
    compact = run("doctor", "--store", store, "--compact", "--json").stdout
    assert valid(compact, "doctor")["sound"] is True


def test_ledger_report_sums_receipts(store: str) -> None:
    """The report counts answers and tokens saved; without a ledger it says so."""
    run("ask", "How do I reset my badge?", "--store", store)
    report = valid(run("ledger", "report", "--store", store, "--json").stdout, "ledger")
    assert report["answers"] == 1
    assert "saved tokens" in run("ledger", "report", "--store", store).stdout
    assert run("ledger", "report", "--ledger", "none.jsonl", code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["search"], "one question"),
        (["search", "x", "--filter", "{"], "not JSON"),
        (["search", "x", "--filter", '{"a": {"$near": 1}}'], "$near"),
        (["search", "x", "-k", "0"], "k 0"),
        (["ask", "x", "--temperature", "-1"], "temperature -1"),
        (["ask", "x", "--generator", "cloud:x"], "cloud:x"),
        (["ask", "x", "--template", "nonsense.toml"], "nonsense.toml"),
        (["ask", "x", "--history", "none.json"], "none.json"),
        (["schema", "nonsense"], "'nonsense'"),
        (["ingest", "nowhere"], "nowhere"),
        (["ingest", ""], "an empty path"),
    ],
)
def test_usage_errors_are_named(store: str, arguments: list[str], named: str) -> None:
    """A wrong value is exit 2 and the message names it."""
    extra = [] if arguments[0] in {"schema"} else ["--store", store]
    assert named in run(*arguments, *extra, code=2).stderr


def test_a_missing_or_damaged_store_is_exit_6(tmp_path: Path) -> None:
    """Without a store the message names the command that makes one."""
    assert "ragkit ingest" in run("ask", "x", "--store", "none", code=6).stderr
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "store.sqlite").write_bytes(b"x" * 5000)
    assert "damaged" in run("search", "x", "--store", "bad", code=6).stderr


def test_what_the_file_system_refuses_is_one_line(tmp_path: Path) -> None:
    """A settings file that cannot be written is a message, not a trace."""
    (tmp_path / "ragkit.toml").mkdir()
    assert "ragkit.toml" in run("init", "--force", code=2).stderr


def test_groups_protect_documents(tmp_path: Path) -> None:
    """Documents ingested for a group are found by that group only."""
    store = str(tmp_path / "kb")
    run("ingest", str(HARBOR / "handbook.md"), "--store", store, "--groups", "staff")
    assert "--groups" in run("search", "badge", "--store", store, code=2).stderr
    found = run("search", "badge", "--store", store, "--groups", "staff", "--json").stdout
    assert valid(found, "search")["hits"]
    other = run("search", "badge", "--store", store, "--groups", "guests", "--json").stdout
    assert valid(other, "search")["hits"] == []


def test_settings_file_and_environment(store: str, tmp_path: Path) -> None:
    """`ragkit init` writes a file that works; the environment wins over it, a flag over both."""
    run("init")
    run("init", code=2)
    (tmp_path / "ragkit.toml").write_text(f'store = "{store}"\nk = 3\n')
    run("trust", "ragkit.toml")
    assert len(valid(run("search", "badge", "--json").stdout, "search")["hits"]) == 3
    found = run("search", "badge", "--json", env={"RAGKIT_K": "2"}).stdout
    assert len(valid(found, "search")["hits"]) == 2
    found = run("search", "badge", "--json", "-k", "1", env={"RAGKIT_K": "2"}).stdout
    assert len(valid(found, "search")["hits"]) == 1


def test_citations_are_shown_once_by_their_labels(tmp_path: Path) -> None:
    """What is cited for two sentences is one line; what is not supported is marked."""
    (tmp_path / "gates.txt").write_text("The north gate closes at 21:00. Keys cost 15 euros.\n")
    store = str(tmp_path / "kb")
    run("ingest", str(tmp_path / "gates.txt"), "--store", store, "--embedder", "none")
    right = "The north gate closes at 21:00 [1]. Keys cost 15 euros [1]."
    with OpenAIServer([right, "The north gate closes at 22:00.[1]", right]) as server:
        asked = ("ask", "When does the north gate close?", "--store", store, "--generator",
                 "openai:m", "--base-url", server.base_url, "--template", "guarded")  # fmt: skip
        shown, marked = run(*asked).stdout, run(*asked).stdout
        citations = valid(run(*asked, "--json").stdout, "ask")["citations"]
    assert shown.count("  [1] gates.txt") == 1
    assert "does not say" not in shown
    assert "does not say what it is cited for" in marked
    assert [(c["label"], c["supported"]) for c in citations] == [(1, True), (1, True)]
    assert " ".join(right[c["answer_start"] : c["answer_end"]] for c in citations) == right


def test_templates_are_shown_and_locked(tmp_path: Path) -> None:
    """A template shows its id, hash and tokens; locking pins its content."""
    shown = valid(run("template", "guarded", "--json").stdout, "template")
    assert int(str(shown["overhead_tokens"])) <= 60
    file = tmp_path / "t.toml"
    file.write_text('id = "t"\nversion = "1"\ntext = "{{context}} {{question}}"\n')
    run("template", str(file), "--lock")
    file.write_text('id = "t"\nversion = "1"\ntext = "{{question}} {{context}}"\n')
    assert "Raise the version" in run("template", str(file), code=2).stderr


def test_stdin_is_a_source(tmp_path: Path) -> None:
    """`-` reads records or text from standard input."""
    store = str(tmp_path / "kb")
    records = '{"_id": "a", "text": "Alpha words."}\n{"_id": "b", "text": "Beta words."}\n'
    run("ingest", "-", "--store", store, stdin=records)
    run("ingest", "-", "--store", store, stdin="Plain words on standard input.")
    assert run("list", "--store", store, "--json").stdout.count("\n") == 3


def test_ctrl_c_is_exit_130_and_resumes(tmp_path: Path) -> None:
    """An interrupted ingest says how to go on, and the second run finishes it."""
    corpus = tmp_path / "corpus.jsonl"
    with corpus.open("w") as file:
        for i in range(3000):
            text = f"Document {i} speaks of topic {i % 97}. " * 20
            file.write(json.dumps({"_id": str(i), "text": text}) + "\n")
    command = [RAGKIT, "ingest", str(corpus), "--store", "kb", "--embedder", "none",
               "--progress", "json"]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    acknowledged: list[str] = []
    for line in process.stderr:
        if "document_id" not in (said := json.loads(line)):
            continue  # how far the whole ingest is
        acknowledged.append(str(said["document_id"]))
        if len(acknowledged) == 200:
            process.send_signal(signal.SIGINT)
            break
    rest = process.communicate(timeout=300)[1]
    assert process.returncode == 130
    assert "same command again" in rest
    later = [line for line in rest.splitlines() if line.startswith("{")]
    said_later = [json.loads(line) for line in later]
    acknowledged += [said["document_id"] for said in said_later if "document_id" in said]
    kept = {json.loads(line)["document_id"] for line in run("list", "--json").stdout.splitlines()}
    assert set(acknowledged) <= kept
    assert len(kept) < 3000
    report = valid(run("ingest", str(corpus), "--embedder", "none", "--json").stdout, "ingest")
    assert report["documents"]["unchanged"] == len(kept)
    assert len(run("list").stdout.splitlines()) == 3000


def test_ctrl_c_before_anything_has_begun() -> None:
    """The same, without a traceback: people are quick."""
    script = (
        "import signal, sys; from ragkit.cli import main\n"
        "class Slow:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'ragkit.cli.commands':\n"
        "            signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Slow()); sys.exit(main(['list']))"
    )
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert result.returncode == 130
    assert result.stderr == "ragkit: interrupted; run the same command again to go on\n"


def test_a_closed_pipe_is_no_error(store: str) -> None:
    """Leaving early, as `head` does, ends the command quietly."""
    process = subprocess.Popen(
        [RAGKIT, "show", "--all", "--json", "--store", store],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=300) == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command_and_option(shell: str) -> None:
    """The completion script names the commands and their options."""
    script = run("completion", shell).stdout
    for word in ("ingest", "ledger", "trim-level", "chunk-tokens"):
        assert word in script
    if shell == "bash" and shutil.which("bash"):
        typed = "COMP_WORDS=(ragkit ask --trim-); COMP_CWORD=2; _ragkit; echo ${COMPREPLY[@]}"
        check = f"{script}\n{typed}"
        done = subprocess.run(["bash", "-c", check], check=True, capture_output=True, text=True)
        assert done.stdout.split() == ["--trim-level"]


def test_every_command_has_help_with_an_example() -> None:
    """`--help` of each command shows an example that names the command."""
    names = [line.split()[0] for line in make_parser().format_help().splitlines()
             if line.startswith("    ") and line[4:5].isalpha()]  # fmt: skip
    assert {"ingest", "search", "ask"} <= set(names)
    for name in names:
        assert f"example:\n  ragkit {name}" in run(name, "--help").stdout or name == "completion"


def test_every_schema_is_valid_and_listed() -> None:
    """`ragkit schema` prints all schemas, each a valid JSON Schema."""
    everything = json.loads(run("schema").stdout)
    assert sorted(everything) == schema_names()
    for schema in everything.values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_version() -> None:
    """`--version` prints the version of the package."""
    assert run("--version").stdout.startswith("ragkit 0.")
