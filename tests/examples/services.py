"""Examples that serve, started as a user starts them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any, cast

from ragkit import RAG, Document
from ragkit.costs.ledger import read_ledger

EXAMPLES = Path(__file__).parents[2] / "examples"
FERRY = "When does the Gannet leave?"


def make_store(folder: Path) -> Path:
    """Return a store with a document for everybody and one for the staff."""
    with RAG(folder, embedder="none", ledger="off") as rag:
        guide = "The Gannet leaves at nine. It carries 299 passengers. The Puffin leaves at ten."
        rag.ingest(
            Document(id="guide", text=guide, groups=("public",)),
            Document(id="pay", text="The captain earns 4,000 euros.", groups=("staff",)),
        )
    return folder


def outcomes(store: Path) -> list[str]:
    """Return what the ledger says became of each attempt."""
    lines = read_ledger(store / "ledger.jsonl") if (store / "ledger.jsonl").exists() else ()
    return [cast("Any", line["receipt"])["outcome"] for line in lines]


@contextmanager
def service(example: str, environment: Mapping[str, str], *, quiet: bool = False) -> Generator[str]:
    """Start an example, and yield its address; a quiet one logs nothing."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLES / example)],
        env={**os.environ, **environment, "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if quiet else None,
    )
    try:
        for _ in range(600):
            assert process.poll() is None, f"{example} has ended"
            with socket.socket() as tried:
                if not tried.connect_ex(("127.0.0.1", port)):
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def post(url: str, body: Mapping[str, object] | bytes, **headers: str) -> HTTPResponse:
    """Send JSON, and return the response, which is read as it comes, whatever its status."""
    host, _, path = url.removeprefix("http://").partition("/")
    connection = HTTPConnection(host, timeout=60)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    json_type = {"Content-Type": "application/json", "Connection": "close"}
    connection.request("POST", f"/{path}", data, {**json_type, **named})
    response = connection.getresponse()
    connection.close()  # the response keeps what it needs
    return response
