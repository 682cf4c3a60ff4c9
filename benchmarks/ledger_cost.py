"""What a receipt and its line in the ledger cost: CPU seconds of a stage and of an answer.

    python benchmarks/ledger_cost.py

Medians over many rounds of this thread's CPU seconds, in microseconds. An answer is everything that
there would not be without receipts: measuring, the joules with the model's card, the record, and
the write to a file. The documented bounds are 50 microseconds a stage and 1,000 an answer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from ragkit import RAG, Document, Settings
from ragkit.pipeline.asking import draft
from ragkit.pipeline.certification import Certification
from ragkit.pipeline.parts import Parts
from ragkit.pipeline.receipts import Attempt, receipt
from ragkit.types import Generation, GenerationOptions, Prompt, TokenCounter, Usage

STAGES = ("embed", "retrieve", "trim", "render", "generate")
BOUND_STAGE, BOUND_ANSWER = 50.0, 1000.0


class Model:
    """A language model that answers at once."""

    name = "openai:llama-3.1-8b"
    calls_llm = True
    counter: TokenCounter | None = None

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Return an answer."""
        del prompt, options
        usage = Usage(input_tokens=600, output_tokens=20, exact=True, counter="said")
        return Generation(text="At nine.", usage=usage, stop_reason="stop")

    def stream(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str | Generation]:
        """Yield it in one piece."""
        yield self.generate(prompt, options)


def median_microseconds(run: Callable[[], object], n_rounds: int) -> float:
    """Return the median of a call's CPU microseconds."""
    seconds: list[float] = []
    for _ in range(n_rounds):
        began = time.thread_time()
        run()
        seconds.append(time.thread_time() - began)
    return statistics.median(seconds) * 1e6


def stage() -> None:
    """Measure an empty stage a hundred times, as one stage of an attempt is measured."""
    attempt = Attempt()
    for _ in range(100):
        with attempt.meter.active(), attempt.watch.stage("generate"):
            pass


def main() -> None:
    """Print both costs, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    n_rounds = parser.parse_args().rounds
    with (
        tempfile.TemporaryDirectory() as folder,
        RAG(Path(folder) / "kb", embedder="none", generator=Model()) as rag,
    ):
        rag.ingest(Document(id="a", text="The ferry leaves at nine. The quay is closed."))
        answer = rag.ask("When does the ferry leave?")
        parts = Parts(
            Path(folder) / "kb", embedder="none", generator=Model(), trim=None, template=None,
            reranker=None, chunker=None, settings=Settings(), ledger=None, n_jobs=1, notify=None,
        )  # fmt: skip
        drafted = draft(parts, Certification(parts), answer.question, {})
        drafted = replace(drafted, is_sent=True)
        generation = Model().generate(Prompt(question="?"), GenerationOptions())

        def account() -> None:
            attempt = Attempt()
            for name in STAGES:
                with attempt.watch.stage(name):
                    pass
            cost = receipt(parts, attempt, drafted, answer.usage, generation, outcome="answered")
            attempt.record(parts, drafted, answer.usage, cost, generation=generation)

        stages = median_microseconds(stage, n_rounds) - median_microseconds(Attempt, n_rounds)
        found = {
            "microseconds_a_stage": round(stages / 100, 2),
            "microseconds_an_answer": round(median_microseconds(account, n_rounds), 1),
            "bytes_a_line": len(json.dumps(answer.receipt.to_dict())),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
