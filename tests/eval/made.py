"""A small dataset of our own making: a harbour town, with answers, spans and judgements."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ragkit import RAG, Settings
from ragkit_eval.data.datasets import Dataset
from ragkit_eval.running.finished import Run, Score

NOTICES: Mapping[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "ferry": (
        "The ferry to Skerry leaves at nine in the morning. In winter it sails twice a week. "
        "Dogs travel free of charge. The crossing takes forty minutes.",
        (
            ("When does the ferry to Skerry leave?", "nine in the morning"),
            ("How long does the crossing take?", "forty minutes"),
            ("How often does the ferry sail in winter?", "twice a week"),
        ),
    ),
    "museum": (
        "The maritime museum was founded in 1908. Its oldest exhibit is a whaling boat. "
        "Entry costs six euros. Guided tours begin at noon.",
        (
            ("When was the maritime museum founded?", "1908"),
            ("What does entry to the museum cost?", "six euros"),
            ("What is the oldest exhibit of the museum?", "whaling boat"),
        ),
    ),
    "market": (
        "Fish is sold on the quay every Friday. The auction starts at five. "
        "Herring is the cheapest fish. Stalls are let by the harbour master.",
        (
            ("On which day is fish sold on the quay?", "Friday"),
            ("Who lets the stalls of the market?", "harbour master"),
            ("Which fish is the cheapest?", "Herring"),
        ),
    ),
    "lighthouse": (
        "The lighthouse is forty metres tall. It was automated in 1987. "
        "Its lamp can be seen from twenty miles away. The last keeper was Ida Holm.",
        (
            ("How tall is the lighthouse?", "forty metres"),
            ("When was the lighthouse automated?", "1987"),
            ("Who was the last keeper of the lighthouse?", "Ida Holm"),
        ),
    ),
    "canteen": (
        "The canteen opens at seven. Soup of the day costs four euros. "
        "On Thursdays there is pea soup. The cook learned her trade in Bergen.",
        (
            ("What does the soup of the day cost?", "four euros"),
            ("Where did the cook learn her trade?", "Bergen"),
            ("When does the canteen open?", "seven"),
        ),
    ),
}
UNANSWERABLE = ("Which airline flies to the volcano?", "What is the price of tungsten in Lima?")


def write_lines(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def make_dataset(folder: Path, *, copies: int = 1) -> Path:
    """Write the dataset; each copy asks all questions again, in other words."""
    corpus: list[Mapping[str, object]] = []
    queries: list[Mapping[str, object]] = []
    spans: list[Mapping[str, object]] = []
    judged = ["query-id\tcorpus-id\tscore"]
    for name, (text, questions) in NOTICES.items():
        corpus.append({"_id": name, "title": name, "text": text})
        for copy in range(copies):
            for i, (question, answer) in enumerate(questions):
                identity = f"{name}-{i}-{copy}"
                asked = question if copy == 0 else f"{question} (Asked again, {copy}.)"
                start = text.index(answer)
                queries.append(
                    {"_id": identity, "text": asked, "answers": [answer],
                     "metadata": {"kind": "when" if question.startswith("When") else "other"}}
                )  # fmt: skip
                judged.append(f"{identity}\t{name}\t1")
                spans.append(
                    {"query-id": identity, "corpus-id": name, "start": start,
                     "end": start + len(answer), "text": answer}
                )  # fmt: skip
    queries += [
        {"_id": f"none-{i}", "text": text, "answers": [],
         "metadata": {"unanswerable": True, "kind": "other"}}
        for i, text in enumerate(UNANSWERABLE)
    ]  # fmt: skip
    write_lines(folder / "corpus.jsonl", corpus)
    write_lines(folder / "queries.jsonl", queries)
    write_lines(folder / "spans.jsonl", spans)
    (folder / "qrels").mkdir(exist_ok=True)
    (folder / "qrels" / "test.tsv").write_text("\n".join(judged) + "\n")
    return folder


def make_store(folder: Path, dataset: Dataset) -> Path:
    """Ingest a dataset's documents, by words alone."""
    with RAG(folder, config=Settings(embedder="none"), ledger="off") as rag:
        assert dataset.corpus is not None
        rag.ingest(dataset.corpus)
    return folder


def made_run(
    values: Mapping[str, Sequence[float | None]],
    *,
    clusters: Sequence[str] | None = None,
    folder: str = "run",
    sha256: str = "same",
    lower: Sequence[str] = (),
    statuses: Sequence[str] | None = None,
    metadata: Sequence[Mapping[str, str]] | None = None,
) -> Run:
    """Return a finished run with these values of measures."""
    n = len(next(iter(values.values())))
    scores = tuple(
        Score(
            id=str(i),
            question=f"question {i}",
            answers=(),
            evidence=[],
            unanswerable=False,
            cluster=str(i) if clusters is None else clusters[i],
            metadata={} if metadata is None else metadata[i],
            status="ok" if statuses is None else statuses[i],
            values={name: column[i] for name, column in values.items()},
        )
        for i in range(n)
    )
    return Run(
        folder=Path(folder),
        manifest={"dataset": {"sha256": sha256}, "configuration": {"name": folder}},
        summary={
            "n": n,
            "dataset": "made",
            "split": "test",
            "measures": {
                name: {"direction": "lower" if name in lower else "higher",
                       **({"p95": 1.0} if name in lower else {})}
                for name in values
            },
        },
        scores=scores,
    )  # fmt: skip
