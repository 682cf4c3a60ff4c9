"""One night's ingest of two folders; as a script it may end by a signal in the middle.

python night.py STORE DOCS [MOMENT SIGNAL]
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ragkit import RAG, Settings
from ragkit.cli.ingest_output import ingest_text
from ragkit.errors import RagkitError

if TYPE_CHECKING:
    from ragkit.types import Vector, Vectors


class Digested:
    """An embedder that takes a vector from the text's digest: quick, and always the same."""

    dim = 64
    fingerprint = "digested"
    name = "digested"

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text."""
        raw = b"".join(hashlib.sha512(text.encode()).digest() for text in texts)
        rows = np.frombuffer(raw, np.uint8).astype(np.float32).reshape(-1, self.dim) - 127.5
        unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit

    def embed_query(self, text: str) -> Vector:
        """Return a question's vector."""
        vector: Vector = self.embed_documents([text])[0]
        return vector


def opened(store: Path) -> RAG:
    """Open a store as every night does."""
    return RAG(store, embedder=Digested(), config=Settings(chunk_tokens=40), notify=lambda _: None)


def night(
    store: Path,
    docs: Path,
    tell: Callable[[object], None] | None = None,
    *,
    isolate: bool = False,
) -> tuple[int, str, str]:
    """Ingest, and return the exit code of the command, its report, and why there is none."""
    try:
        with opened(store) as rag:
            report = rag.ingest(
                docs / "own", docs / "mounted", root=docs, prune=True,
                on_progress=tell, on_step=tell, isolate=isolate,
            )  # fmt: skip
    except RagkitError as error:
        return error.exit_code, "", str(error)
    return int(report.documents["failed"] > 0), ingest_text(report.to_dict()), ""


def main(store: str, docs: str, moment: str = "0", ending: str = "9") -> int:
    """Run a night; at the moment given, counted by what is told, a signal comes."""
    left = int(moment)

    def tell(_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), int(ending))

    code, report, why = night(Path(store), Path(docs), tell, isolate=True)
    sys.stdout.write(report)
    sys.stderr.write(why)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
