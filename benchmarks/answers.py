"""Measure extractive answers and refusals through the installed command.

    python benchmarks/answers.py DATASET [--split test] [--limit N] [--store FOLDER]

DATASET holds corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv and spans.jsonl. Answers: token F1 (the
SQuAD measure: lower case, without articles and punctuation, best of the gold answers), share of
citations that hold a gold span, share of questions with such a citation. Refusals, where the set
has unanswerable questions: for thresholds of the evidence score, how many answerable questions are
kept and how many unanswerable ones refused, with Wilson 95 % intervals, and the area under that
curve.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import string
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def ragkit(*arguments: str) -> list[Row]:
    """Run the command beside this Python and return its JSON Lines."""
    command = [str(Path(sys.executable).with_name("ragkit")), *arguments]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def read(path: Path) -> list[Row]:
    """Return the rows of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def normalised(text: str) -> list[str]:
    """Return words as SQuAD's measure compares them (Rajpurkar et al. 2016, section 6)."""
    bare = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def token_f1(answer: str, gold: Iterable[str]) -> float:
    """Return the best harmonic mean of token precision and recall over the gold answers."""
    found = normalised(answer)
    best = 0.0
    for text in gold:
        wanted = normalised(text)
        common = sum((Counter(found) & Counter(wanted)).values())
        if common:
            precision, recall = common / len(found), common / len(wanted)
            best = max(best, 2 * precision * recall / (precision + recall))
    return best


def wilson(successes: int, n: int) -> str:
    """Return a share with its 95 % interval (Wilson 1927)."""
    z, p = 1.96, successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return f"{p:.3f} [{centre - half:.3f}, {centre + half:.3f}]"


def area(kept: Sequence[float], refused: Sequence[float]) -> float:
    """Return the chance that an answerable question has more evidence than an unanswerable one."""
    ranked = sorted([(score, 1) for score in kept] + [(score, 0) for score in refused])
    below, wins = 0, 0
    for _, answerable in ranked:
        if answerable:
            wins += below
        else:
            below += 1
    return wins / (len(kept) * len(refused))


def holds_gold(citation: Row, spans: Sequence[Row]) -> bool:
    """Whether a cited span holds a whole gold span."""
    return any(
        span["corpus-id"] == citation["document_id"]
        and citation["start"] <= span["start"]
        and span["end"] <= citation["end"]
        for span in spans
    )


def report_answers(
    answers: Sequence[Row], gold: dict[str, Row], spans: dict[str, list[Row]]
) -> None:
    """Print F1 and citation precision of the questions that have gold spans."""
    rows = [(answer, gold[answer["id"]]) for answer in answers if spans.get(answer["id"])]
    answered = [(answer, question) for answer, question in rows if answer["text"] is not None]
    scores = [token_f1(answer["text"], question["answers"]) for answer, question in answered]
    cited = [
        (holds_gold(citation, spans[answer["id"]]), answer["id"])
        for answer, _ in answered
        for citation in answer["citations"]
    ]
    good = sum(holds for holds, _ in cited)
    supported = len({identity for holds, identity in cited if holds})
    n = len(answered)
    mean = sum(scores) / n
    spread = 1.96 * math.sqrt(sum((s - mean) ** 2 for s in scores)) / n
    print(f"answerable {len(rows)}, answered {n}")
    print(f"token F1 {mean:.4f} ±{spread:.4f}")
    print(f"citation precision {wilson(good, len(cited))} of {len(cited)} citations")
    print(f"questions with a citation that holds the answer {wilson(supported, n)}")


def report_refusals(answers: Sequence[Row], gold: dict[str, Row]) -> None:
    """Print the refusal curve."""
    scores: dict[bool, list[float]] = defaultdict(list)
    for answer in answers:
        unanswerable = bool(gold[answer["id"]]["metadata"].get("unanswerable"))
        scores[unanswerable].append(answer["evidence"]["score"] or 0.0)
    if not scores[True]:
        return
    print(f"\nrefusals: {len(scores[False])} answerable, {len(scores[True])} unanswerable, "
          f"area under the curve {area(scores[False], scores[True]):.3f}")  # fmt: skip
    print("threshold   answerable kept          unanswerable refused")
    for threshold in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        kept = sum(score >= threshold for score in scores[False])
        refused = sum(score < threshold for score in scores[True])
        print(f"{threshold:9.2f}   {wilson(kept, len(scores[False]))}   "
              f"{wilson(refused, len(scores[True]))}")  # fmt: skip


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--store", help="use this store, made from the same corpus")
    options = parser.parse_args()
    lines = (options.dataset / "qrels" / f"{options.split}.tsv").read_text("utf-8").splitlines()
    judged = {line.split("\t")[0] for line in lines[1:]}
    questions = [
        row
        for row in read(options.dataset / "queries.jsonl")
        if row["_id"] in judged
        or (row["metadata"].get("unanswerable") and row["metadata"].get("split") == options.split)
    ][: options.limit]
    spans: dict[str, list[Row]] = defaultdict(list)
    for row in read(options.dataset / "spans.jsonl"):
        spans[row["query-id"]].append(row)
    with tempfile.TemporaryDirectory() as folder:
        store = options.store or f"{folder}/kb"
        if not Path(store).exists():
            ragkit("ingest", str(options.dataset / "corpus.jsonl"), "--store", store, "--json")
        path = Path(folder) / "questions.jsonl"
        kept = [json.dumps({"_id": row["_id"], "text": row["text"]}) for row in questions]
        path.write_text("\n".join(kept))
        answers = ragkit("ask", "--questions", str(path), "--store", store, "--refuse-below",
                         "off", "--ledger", "off")  # fmt: skip
    gold = {row["_id"]: row for row in questions}
    report_answers(answers, gold, spans)
    report_refusals(answers, gold)


if __name__ == "__main__":
    main()
