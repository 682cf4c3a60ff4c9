"""Where labels are kept: a JSON Lines file, or a folder in BEIR's layout."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from ragkit.errors import ConfigError
from ragkit.private import make_folder
from ragkit.text.jsontext import as_list, as_objects
from ragkit.types import Json
from ragkit_eval.data.datasets import json_lines
from ragkit_eval.running.folder import write_text


class LabelFile:
    """Labelled questions by id, in the order in which they were labelled.

    What `out` names is a JSON Lines file if it ends in `.jsonl`, and otherwise a folder, whose
    `queries.jsonl` holds the same lines; `spans.jsonl` and `qrels/all.tsv` are made of them. It is
    written as a whole after each change, so that an interruption loses nothing.

    Raises:
        ConfigError: it cannot be read, or holds questions that were not labelled by this.
    """

    def __init__(self, out: Path) -> None:
        self._folder = None if out.suffix == ".jsonl" else out
        self.path = out if self._folder is None else out / "queries.jsonl"
        self.rows: dict[str, Mapping[str, Json]] = {}
        if self.path.exists():
            for where, row in json_lines(self.path):
                if "_id" not in row or "spans" not in row:
                    raise ConfigError(
                        f"{where}: not written by ragkit eval label; choose another --out"
                    )
                self.rows[str(row["_id"])] = row

    def put(self, row: Mapping[str, Json]) -> None:
        """Keep a question's label."""
        self.rows[str(row["_id"])] = row
        self._write()

    def drop(self, identity: str) -> None:
        """Forget a question's label."""
        del self.rows[identity]
        self._write()

    def _write(self) -> None:
        make_folder(self.path.parent)
        if self._folder is not None:
            # The questions come last: spans of a question that is not there yet do no harm.
            (self._folder / "qrels").mkdir(mode=0o700, exist_ok=True)
            spans = (
                {"query-id": row["_id"], "corpus-id": span["document_id"], **span}
                for row in self.rows.values()
                for span in as_objects(row["spans"])
            )
            write_text(self._folder / "spans.jsonl", _lines(spans))
            judged = [
                f"{row['_id']}\t{document}\t1\n"
                for row in self.rows.values()
                for document in as_list(row.get("docs", ()))
            ]
            head = "query-id\tcorpus-id\tscore\n"
            write_text(self._folder / "qrels" / "all.tsv", head + "".join(judged))
        write_text(self.path, _lines(self.rows.values()))


def _lines(rows: Iterable[Mapping[str, Json]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
