"""Fit a scorer on several corpora, to be read on another that it has never met.

    python benchmarks/leave_one_out.py DATA --leave-out NAME --out FILE [--cache DIR]
    ragkit eval sweep DATA/NAME --scorer none,FILE

DATA holds the folders squad11_articles (calibration articles), scifact (train), hotpotqa_100 and
chunking_eval. `docs/calibration.md` has the outcome: such a scorer is no better than none, so none
ships.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ragkit import Settings
from ragkit_eval.calibration.fit import Examples, collect, fit_scorer, write_scorer
from ragkit_eval.data.datasets import load_dataset
from ragkit_eval.measuring.quality import quality_measure
from ragkit_eval.running.cache import Cache
from ragkit_eval.running.stores import OpenedRag

CORPORA = {
    "squad11_articles": "calibration",
    "scifact": "train",
    "hotpotqa_100": "all",
    "chunking_eval": "all",
}


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, default=Path(".ragkit-eval"))
    parser.add_argument("--leave-out", choices=[*CORPORA], action="append", default=[])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    examples: dict[str, Examples] = {}
    _, quality = quality_measure("EvidenceRecall")
    with Cache(options.cache) as cache:
        for name, split in CORPORA.items():
            if name in options.leave_out:
                continue
            dataset = load_dataset(options.data / name, split=split)
            questions = [q for q in dataset.questions if q.evidence and not q.unanswerable]
            with OpenedRag(dataset, Settings(trim="off"), cache) as opened:
                examples[f"{name} {split}"] = collect(opened.rag, questions, quality)
            print(name, split, examples[f"{name} {split}"].n_questions, "questions")
    scorer = fit_scorer(examples, name=options.out.name)
    options.out.write_text(write_scorer(scorer), encoding="utf-8")
    print(f"wrote {options.out} ({options.out.stat().st_size:,} bytes)")


if __name__ == "__main__":
    main()
