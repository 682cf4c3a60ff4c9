"""`ragkit calibrate` as the installed command: from labels to a policy that `ask` obeys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ragkit_connectors.testing import OpenAIServer, Reply

from ..eval.made import make_dataset
from .command import run, valid


@pytest.mark.slow
def test_from_labels_to_a_certified_answer(tmp_path: Path) -> None:
    """The command writes a valid policy, and asking with it is certified."""
    dataset = make_dataset(tmp_path / "town", copies=8)
    store = str(tmp_path / "kb")
    run("ingest", str(dataset / "corpus.jsonl"), "--store", store, "--embedder", "none")
    out = tmp_path / "made" / "trim.json"
    arguments = ["calibrate", str(dataset), "--store", store, "--retain", "0.9", "--cluster",
                 "none", "--out", str(out), "--cache", str(tmp_path / "cache")]  # fmt: skip
    data = valid(run(*arguments, "--json").stdout, "calibrate")
    assert data["certified"] is True
    policy = valid(out.read_text(), "trim")
    assert policy == data["policy"]
    asked = run("ask", "How tall is the lighthouse?", "--store", store, "--trim", str(out),
                "--json").stdout  # fmt: skip
    trim = valid(asked, "ask")["trim"]
    assert (trim["certified"], trim["stale"], trim["void_because"]) == (True, False, None)
    void = run("ask", "How tall is the lighthouse?", "--store", store, "--trim", str(out), "-k",
               "2", "--json")  # fmt: skip
    assert "not certified here: a pool of 2" in void.stderr
    assert valid(void.stdout, "ask")["trim"]["certified"] is False
    words = run(*arguments, "--explain").stdout
    for part in ("What this says", "What this does not say", "90.0% of the questions", "█",
                 "In themselves, over the 120 questions measured", "the certificate costs a factor",
                 "Mean tokens for other goals", "it refuses nothing"):  # fmt: skip
        assert part in words
    refusing = run(*arguments, "--refuse-target", "0.1").stdout
    assert "wrote" in refusing
    assert "refuses nothing" not in refusing


def test_too_few_labels_exit_5_and_write_nothing(tmp_path: Path) -> None:
    """The number of questions that is needed is in the output."""
    dataset = make_dataset(tmp_path / "town")
    out = tmp_path / "trim.json"
    arguments = ["calibrate", str(dataset), "--embedder", "none", "--cluster", "none", "--out",
                 str(out), "--cache", str(tmp_path / "cache")]  # fmt: skip
    data = valid(run(*arguments, "--json", code=5).stdout, "calibrate")
    assert (data["certified"], data["n_needed"], data["out"]) == (False, 59, None)
    assert not out.exists()
    text = run(*arguments, "--explain", code=5).stdout
    assert "about 59 labelled questions like these are needed" in text
    assert {name: n for name, n in data["labels"].items() if n} == {
        "given": 17, "unanswerable": 2, "measured": 15, "served": 15,
    }  # fmt: skip
    assert "of 17 questions: 2 answered by nothing, 15 measured; the untrimmed" in text


@pytest.mark.slow
def test_a_retriever_of_ones_own(tmp_path: Path) -> None:
    """It is imported from the current folder, and needs both names for a certificate."""
    dataset = make_dataset(tmp_path / "town", copies=8)
    Path("mine.py").write_text(
        "from made import NOTICES\n\n\n"
        "def search(question):\n"
        "    words = set(question.lower().split())\n"
        "    texts = [text for text, _ in NOTICES.values()]\n"
        "    return sorted(texts, key=lambda t: -len(words & set(t.lower().split())))\n"
    )
    Path("made.py").write_text((Path(__file__).parents[1] / "eval" / "made.py").read_text())
    arguments = ["calibrate", str(dataset), "--retriever", "mine:search", "--embedder", "none",
                 "--retain", "0.9", "--cluster", "none", "--out", "trim.json"]  # fmt: skip
    names = ["--fingerprint", "mine/1", "--corpus-version", "May"]
    data = valid(run(*arguments, *names, "--json").stdout, "calibrate")
    assert data["certified"] is True
    valid(Path("trim.json").read_text(), "trim")
    said = run(*arguments, *names, "--explain").stdout
    assert "fingerprint='mine/1', corpus_version='May'" in said
    assert "ragkit.trim then says so" in said
    data = valid(run(*arguments, "--json", code=5).stdout, "calibrate")
    assert (data["certified"], data["out"]) == (False, "trim.json")
    assert "promises nothing" in run(*arguments, code=5).stdout
    for wrong in ("mine", "mine:nothing", "nowhere:search"):
        assert wrong in run("calibrate", str(dataset), "--retriever", wrong, code=2).stderr
    stored = run("calibrate", str(dataset), "--fingerprint", "x", code=2)
    assert "--retriever" in stored.stderr


@pytest.mark.slow
def test_few_labels_get_a_policy_that_promises_less(tmp_path: Path) -> None:
    """`--mode conformal` writes a policy, exits 0, and says that nothing is certified."""
    dataset = make_dataset(tmp_path / "town", copies=2)
    store, out = str(tmp_path / "kb"), tmp_path / "trim.json"
    run("ingest", str(dataset / "corpus.jsonl"), "--store", store, "--embedder", "none")
    arguments = ["calibrate", str(dataset), "--store", store, "--cluster", "none", "--mode",
                 "conformal", "--out", str(out), "--cache", str(tmp_path / "cache")]  # fmt: skip
    data = valid(run(*arguments, "--json").stdout, "calibrate")
    assert (data["certified"], data["target"]["confidence"]) == (False, None)
    assert "on average" in data["promise"]
    assert valid(out.read_text(), "trim")["certificate"]["promise"] == data["promise"]
    asked = run("ask", "How tall is the lighthouse?", "--store", store, "--trim", str(out),
                "--json").stdout  # fmt: skip
    trim = valid(asked, "ask")["trim"]
    assert (trim["certified"], trim["promise"]) == (False, data["promise"])
    words = run(*arguments, "--explain").stdout
    assert words.startswith("not certified, marginal: ")
    assert "no certificate" in words


@pytest.mark.parametrize(
    ("option", "value"), [("--neighbours", "-1"), ("--headings", "maybe"), ("--units", "on,1")]
)
def test_wrong_choices_are_named(tmp_path: Path, option: str, value: str) -> None:
    """The message names the option and what it takes."""
    dataset = make_dataset(tmp_path / "town")
    refused = run("calibrate", str(dataset), "--embedder", "none", f"{option}={value}", code=2)
    assert f"{option} {value.rsplit(',', maxsplit=1)[-1]!r}; allowed" in refused.stderr


def test_a_sheet_calibrates_the_default_store(tmp_path: Path) -> None:
    """Questions and answers in a CSV, documents in ./kb: the answer's words are what is kept."""
    dataset = make_dataset(tmp_path / "town", copies=8)
    run("ingest", str(dataset / "corpus.jsonl"), "--embedder", "none")
    rows = [json.loads(line) for line in (dataset / "queries.jsonl").read_text().splitlines()]
    lines = ["question,answer", *(f'"{r["text"]}",{r["answers"][0]}' for r in rows if r["answers"])]
    (tmp_path / "sheet.csv").write_text("\n".join(lines) + "\n")
    data = valid(
        run("calibrate", str(tmp_path / "sheet.csv"), "--retain", "0.9", "--json").stdout,
        "calibrate",
    )  # fmt: skip
    assert data["policy"]["certificate"]["metric"] == "AnswerInContext"
    assert Path("trim.json").exists()


@pytest.mark.slow
def test_questions_alone_certify_with_a_model(tmp_path: Path) -> None:
    """The server is asked once a distinct prompt; a second call goes by what is cached."""
    dataset = make_dataset(tmp_path / "town", copies=4)
    run("ingest", str(dataset / "corpus.jsonl"), "--embedder", "none")
    rows = [json.loads(line) for line in (dataset / "queries.jsonl").read_text().splitlines()]
    lines = ["question", *(f'"{r["text"]}"' for r in rows if r["answers"])]
    (tmp_path / "asked.csv").write_text("\n".join(lines) + "\n")
    with OpenAIServer([Reply(text="At nine.")]) as server:
        arguments = ["calibrate", str(tmp_path / "asked.csv"), "--metric", "agreement", "--mode",
                     "absolute", "--retain", "0.8", "--generator", "openai:m", "--base-url",
                     server.base_url, "--cache", str(tmp_path / "cache")]  # fmt: skip
        data = valid(run(*arguments, "--json").stdout, "calibrate")
        asked = len(server.requests)
        assert 60 < asked <= 60 * (1 + len(data["curve"]))
        words = run(*arguments, "--explain").stdout
        assert len(server.requests) == asked
    assert data["policy"]["certificate"]["metric"] == "Agreement"
    assert data["policy"]["certificate"]["achieved"] == 1.0
    assert "a mean Agreement of at least 0.800" in words
    valid(Path("trim.json").read_text(), "trim")
    without = run("calibrate", str(tmp_path / "asked.csv"), "--metric", "agreement", "--mode",
                  "absolute", code=2)  # fmt: skip
    assert "--generator" in without.stderr


@pytest.mark.slow
def test_a_fitted_scorer_stands_beside_its_policy(tmp_path: Path) -> None:
    """`--scorer fit` writes both files, and asking with the policy is certified."""
    pytest.importorskip("sklearn")
    dataset = make_dataset(tmp_path / "town", copies=16)
    store, out = str(tmp_path / "kb"), tmp_path / "made" / "fine.json"
    run("ingest", str(dataset / "corpus.jsonl"), "--store", store, "--embedder", "none")
    data = valid(
        run("calibrate", str(dataset), "--store", store, "--retain", "0.9", "--cluster", "none",
            "--scorer", "fit", "--out", str(out), "--cache", str(tmp_path / "cache"),
            "--json").stdout,
        "calibrate",
    )  # fmt: skip
    assert data["policy"]["scorer"]["name"] == "fine.scorer.json"
    assert (out.parent / "fine.scorer.json").exists()
    asked = run("ask", "How tall is the lighthouse?", "--store", store, "--trim", str(out),
                "--json").stdout  # fmt: skip
    assert valid(asked, "ask")["trim"]["certified"] is True
    (out.parent / "fine.scorer.json").unlink()
    gone = run("ask", "How tall is the lighthouse?", "--store", store, "--trim", str(out), code=2)
    assert "fine.scorer.json" in gone.stderr
