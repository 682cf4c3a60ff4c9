"""Measure retrieval through the installed command, on a folder of questions with judgements.

    python benchmarks/retrieval.py DATASET [--split test] [--modes dense lexical hybrid]
        [--ingest "--embed-title"] [--limit N]

DATASET holds corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv. Documents are ranked by their best
chunk. Prints recall at 1, 5 and 10 (share of the judged documents found) and nDCG@10 with 95 %
intervals (normal, over questions), and what ingest and questions took.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path


def ragkit(*arguments: str) -> str:
    """Run the command beside this Python and return what it prints."""
    command = [str(Path(sys.executable).with_name("ragkit")), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def read_judgements(path: Path) -> dict[str, dict[str, int]]:
    """Return relevance by document by question."""
    judged: dict[str, dict[str, int]] = defaultdict(dict)
    for line in path.read_text("utf-8").splitlines()[1:]:
        question, document, relevance = line.split("\t")
        if int(relevance) > 0:
            judged[question][document] = int(relevance)
    return dict(judged)


def measures(ranked: list[str], judged: dict[str, int]) -> dict[str, float]:
    """Return R@1, R@5, R@10 and nDCG@10 (Jarvelin and Kekalainen 2002, linear gain) of a list."""
    found = {
        f"R@{k}": sum(document in judged for document in ranked[:k]) / min(len(judged), k)
        if k == 1
        else sum(document in judged for document in ranked[:k]) / len(judged)
        for k in (1, 5, 10)
    }
    gain = sum(judged.get(d, 0) / math.log2(i + 2) for i, d in enumerate(ranked[:10]))
    ideal = sorted(judged.values(), reverse=True)[:10]
    best = sum(relevance / math.log2(i + 2) for i, relevance in enumerate(ideal))
    return {**found, "nDCG@10": gain / best}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--modes", nargs="+", default=["dense", "lexical", "hybrid"])
    parser.add_argument("--ingest", default="", help="options of ragkit ingest")
    parser.add_argument("--search", default="", help="options of ragkit search")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--store", help="keep the store here, and use it again")
    options = parser.parse_args()
    judged = read_judgements(options.dataset / "qrels" / f"{options.split}.tsv")
    with tempfile.TemporaryDirectory() as folder:
        store = options.store or f"{folder}/kb"
        if not Path(store).exists():
            extra = shlex.split(options.ingest)
            corpus = str(options.dataset / "corpus.jsonl")
            report = json.loads(ragkit("ingest", corpus, "--store", store, "--json", *extra))
            print(f"ingest {report['seconds']:.1f} s, {report['chunks']} chunks", flush=True)
        questions = Path(folder) / "questions.jsonl"
        lines = (options.dataset / "queries.jsonl").read_text("utf-8").splitlines()
        chosen = [line for line in lines if json.loads(line)["_id"] in judged][: options.limit]
        kept = [{"_id": q["_id"], "text": q["text"]} for q in map(json.loads, chosen)]
        questions.write_text("".join(json.dumps(q) + "\n" for q in kept))
        for mode in options.modes:
            began = time.monotonic()
            output = ragkit(
                "search", "--questions", str(questions), "--store", store, "--mode", mode,
                "-k", "10", "--unit", "document", *shlex.split(options.search),
            )  # fmt: skip
            seconds = time.monotonic() - began
            rows = [
                measures([hit["document_id"] for hit in line["hits"]], judged[line["id"]])
                for line in map(json.loads, output.splitlines())
            ]
            n = len(rows)
            shown: list[str] = []
            for name in rows[0]:
                mean = sum(row[name] for row in rows) / n
                spread = math.sqrt(sum((row[name] - mean) ** 2 for row in rows) / n / n)
                shown.append(f"{name} {mean:.4f} ±{1.96 * spread:.4f}")
            print(f"{mode:8} n={n}  {'  '.join(shown)}  {1000 * seconds / n:.1f} ms/question",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
