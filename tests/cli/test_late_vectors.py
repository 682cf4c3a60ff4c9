"""`ragkit ingest --vectors later` and `ragkit embed`, as the installed command."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from .command import RAGKIT, run, valid

pytestmark = pytest.mark.slow

N_CHUNKS = 80


@pytest.fixture
def waiting(tmp_path: Path) -> str:
    """Return the name of a store whose chunks all wait for vectors."""
    lines = [
        json.dumps({"_id": f"d{i:02d}", "text": f"Ferry {i} leaves at nine. Pass {i} costs {i}."})
        for i in range(N_CHUNKS)
    ]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
    store = str(tmp_path / "kb")
    said = run("ingest", str(tmp_path / "corpus.jsonl"), "--store", store, "--vectors", "later",
               "--json")  # fmt: skip
    data = valid(said.stdout, "ingest")
    assert (data["chunks"], data["embedded"]) == (N_CHUNKS, 0)
    assert data["chunks_without_vectors"] == N_CHUNKS
    assert f"{N_CHUNKS} chunks wait for vectors: ragkit embed --store {store}" in said.stderr
    return store


def share(store: str) -> float:
    """Return the share that `show` and `search` agree on."""
    shown = valid(run("show", "--store", store, "--json").stdout, "store")["vector_share"]
    said = run("search", "ferry 7", "--store", store, "--json")
    assert valid(said.stdout, "search")["vector_share"] == shown
    assert ("ragkit embed" in said.stderr) == (shown < 1)
    return float(shown)


def test_from_words_to_vectors(waiting: str) -> None:
    """Words are found at once; a short run makes some vectors and says how to go on; then all."""
    assert share(waiting) == 0.0
    hits = valid(run("search", "ferry 7", "--store", waiting, "--json").stdout, "search")["hits"]
    assert hits[0]["document_id"] == "d07"
    refused = run("search", "ferry 7", "--store", waiting, "--mode", "dense", code=2)
    assert f"ragkit embed --store {waiting}" in refused.stderr
    answer = run("ask", "When does ferry 7 leave?", "--store", waiting)
    assert "nine" in answer.stdout
    assert answer.stderr.count("ragkit embed") == 1

    some = run("embed", "--store", waiting, "--max-seconds", "0.001", "--json")
    report = valid(some.stdout, "embed")
    assert 0 < report["chunks"] < N_CHUNKS
    assert report["remaining"] == N_CHUNKS - report["chunks"]
    assert f"{report['remaining']} chunks wait for vectors: ragkit embed" in some.stderr
    assert share(waiting) == pytest.approx(report["chunks"] / N_CHUNKS)
    assert "vector share: 0.4" in run("show", "--store", waiting).stdout

    rest = run("embed", "--store", waiting)
    assert rest.stdout.startswith(f"{report['remaining']} chunks have got their vectors")
    assert rest.stdout.rstrip().endswith("0 remain")
    assert rest.stderr == ""
    assert share(waiting) == 1.0
    assert run("embed", "--store", waiting).stdout.startswith("0 chunks")
    run("doctor", "--store", waiting)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_in_the_middle_it_goes_on(waiting: str, how: signal.Signals) -> None:
    """What was acknowledged on stderr is there afterwards; Ctrl-C exits 130."""
    command = [RAGKIT, "embed", "--store", waiting, "--progress", "json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = valid(process.stderr.readline(), "embed_progress")
        process.send_signal(how)
        said = process.stderr.read()
        code = process.wait(timeout=120)
    assert code == (130 if how == signal.SIGINT else -how), said
    assert "Traceback" not in said
    done = share(waiting) * N_CHUNKS
    assert done >= line["chunks"]
    assert valid(run("embed", "--store", waiting, "--json").stdout, "embed")["chunks"] == (
        pytest.approx(N_CHUNKS - done)
    )
    assert share(waiting) == 1.0


def test_wrong_usage_is_told(waiting: str, tmp_path: Path) -> None:
    """Each mistake is one line that names what is allowed, exit 2; a missing store is exit 6."""
    for arguments, said in (
        (("--max-seconds", "0"), "allowed: more than 0"),
        (("--embedder", "none"), "built with embedder 'builtin'"),
    ):
        refused = run("embed", "--store", waiting, *arguments, code=2)
        assert said in refused.stderr
        assert refused.stderr.count("\n") == 1
    run("embed", "--store", str(tmp_path / "nowhere"), code=6)
    note = tmp_path / "note.txt"
    note.write_text("One note.")
    none = run("ingest", str(note), "--store", str(tmp_path / "words"), "--embedder", "none",
               "--vectors", "later", code=2)  # fmt: skip
    assert "no vectors to make" in none.stderr
    far = run("ingest", str(note), "--store", "opensearch:http://127.0.0.1:9/x", "--vectors",
              "later", code=2)  # fmt: skip
    assert "needs a local store, a folder" in far.stderr
    run("ingest", str(note), "--store", str(tmp_path / "words"), "--embedder", "none")
    words = run("search", "note", "--store", str(tmp_path / "words"), "--json")
    assert valid(words.stdout, "search")["vector_share"] is None
    assert words.stderr == ""
