"""The installed command on an index."""

from __future__ import annotations

import json
from pathlib import Path

from ragkit_connectors.testing import OpenSearchServer

from ..cli.command import run, valid

HARBOR = str(Path(__file__).parents[2] / "examples" / "harbor")


def test_every_command_works_on_an_index(tmp_path: Path) -> None:
    """Ingest, search, ask, list, show, rm, doctor and rebuild, with the documented output."""
    ledger = str(tmp_path / "ledger.jsonl")
    with OpenSearchServer() as server:
        store = ("--store", f"opensearch:{server.url}/kb")
        report = valid(run("ingest", HARBOR, *store, "--json").stdout, "ingest")
        assert report["documents"]["added"] == 23
        question = "How do I reset my badge?"
        found = valid(run("search", question, *store, "-k", "3", "--json").stdout, "search")
        assert found["hits"][0]["document_id"] == "handbook.md"
        answer = valid(run("ask", question, *store, "--ledger", ledger, "--json").stdout, "ask")
        assert "blue reader" in answer["text"]
        assert len(run("list", *store, "--json").stdout.splitlines()) == 23
        shown = valid(run("show", *store, "--json").stdout, "store")
        assert (shown["chunks"], shown["file_bytes"], shown["generation"]) == (24, None, None)
        assert "generation: unknown" in run("show", *store).stdout
        assert json.loads(run("show", "fleet.json", *store, "--json").stdout)["chunks"]
        assert json.loads(run("rm", "fleet.json", *store, "--json").stdout)["removed"]
        run("rebuild", *store, "--chunk-tokens", "100")
        assert valid(run("doctor", *store, "--json").stdout, "doctor")["sound"]
        run("ledger", "report", "--ledger", ledger)
        missing = run("search", question, "--store", f"opensearch:{server.url}/nothing", code=6)
        assert "ragkit ingest PATH" in missing.stderr
    down = run("search", question, *store, code=7, env={"RAGKIT_STORE_OPTIONS": QUICK})
    assert "is the server running" in down.stderr.lower()


QUICK = '{"retry_seconds": 0.3}'
