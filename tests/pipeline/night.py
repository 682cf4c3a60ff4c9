"""One night's ingest of two folders; as a script it may end by a signal in the middle.

python night.py STORE DOCS [MOMENT SIGNAL]
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from ragkit import RAG, Settings
from ragkit.cli.ingest_output import ingest_text
from ragkit.errors import RagkitError
from ragkit_connectors.testing.stores import WordEmbedder


def opened(store: Path) -> RAG:
    """Open a store as every night does."""
    config = Settings(chunk_tokens=40)
    return RAG(store, embedder=WordEmbedder(), config=config, notify=lambda _: None)


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
