r"""Measure what trimming does to a language model's answers, tokens and time.

    python benchmarks/answers_llm.py --generator llamacpp:MODEL.gguf --out answers.jsonl \
        --set squad=DATASET,STORE [--set howto=DATASET,STORE] [-n 100] [--estimate] [--table]

Each DATASET's STORE holds its documents at the default settings. Every question is asked with each
context: the untrimmed top 5 and top K (`--best-k`), the bundled and the tight policy, a certified
one (`--certified NAME=trim.json`), the bundled one with its best passage last or first, the gold
evidence alone (`oracle`), and none at all. No context is refused here; whether the bundled
threshold would have refused is noted beside, and `--unanswerable N` asks as many questions that the
documents do not answer, to count invented answers.

`--estimate` prints the calls and prompt tokens that are still to be paid for, and makes none. Rows
are appended to `--out` as they come, one question with all its contexts after the other, so that
whatever has been done can be shown (`--table`), and a second run goes on where the first stopped.
A base model, which knows no chat, is shown what to do by `--template benchmarks/few_shot.toml
--stop '\n'`. Answers are measured by F1 where a set has answers, by the share of needs in the
answer where it has needs; intervals resample whole documents, differences are paired with the
untrimmed top 5.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from ragkit import RAG, Settings
from ragkit.costs.stopwatch import peak_rss_bytes
from ragkit.errors import NoAnswerError
from ragkit.pipeline.opening import open_generator
from ragkit.pipeline.saying import said
from ragkit.prompts import load_template
from ragkit.text.sentences import sentence_spans
from ragkit.types import Chunk, GenerationOptions, Generator, Hit, Json, Query
from ragkit_eval.data.datasets import Dataset, Question, load_dataset
from ragkit_eval.data.rows import Row
from ragkit_eval.measuring.measures import parse_measure
from ragkit_eval.stats.inference import bootstrap

BASE = "top 5"


@dataclass(frozen=True, kw_only=True)
class Study:
    """What is asked of one set: its questions, store, measure, and settings of each context."""

    name: str
    dataset: Dataset
    store: Path
    measure: str
    questions: Sequence[Question]
    contexts: Mapping[str, Settings]


class Evidence:
    """A retriever that knows the answer: it finds the sentences of a question's gold evidence."""

    def __init__(self, store: Path) -> None:
        self._rag = RAG(store, config=Settings(ledger="off"))
        self._texts: dict[str, str] = {}
        self.question: Question | None = None

    def _text(self, document_id: str) -> str:
        if document_id not in self._texts:
            self._texts[document_id] = str((self._rag.show(document_id) or {})["text"])
        return self._texts[document_id]

    def search(self, query: Query) -> Sequence[Hit]:
        """Return the sentences that hold the evidence of `question`, one hit each."""
        del query
        found: dict[tuple[str, int, int], None] = {}
        evidence = () if self.question is None else self.question.evidence
        for span in evidence[0] if evidence else ():
            text = self._text(span.document_id)
            for start, end in sentence_spans(text):
                if start < span.end and span.start < end:
                    found[span.document_id, start, end] = None
        return [
            Hit(
                rank=rank,
                score=1.0 / rank,
                chunk=Chunk(
                    id=f"{name}:{start}", document_id=name, start=start, end=end,
                    text=self._text(name)[start:end], n_tokens=(end - start) // 4,
                    sentences=((start, end),),
                ),
            )
            for rank, (name, start, end) in enumerate(found, start=1)
        ]  # fmt: skip


def studies(args: argparse.Namespace) -> Iterator[Study]:
    """Yield what is asked of each set."""
    certified = dict(item.split("=", 1) for item in args.certified)
    for given in args.set:
        name, places = given.split("=", 1)
        folder, store = places.split(",", 1)
        dataset = load_dataset(folder, split=args.split)
        has_needs = any(question.needs for question in dataset.questions)
        rng = random.Random(args.seed)
        answerable = [q for q in dataset.questions if not q.unanswerable and not q.history]
        without = [q for q in dataset.questions if q.unanswerable and not q.history]
        drawn = rng.sample(answerable, min(args.n, len(answerable)))
        drawn += rng.sample(without, min(args.unanswerable, len(without)))
        base = Settings(
            generator=args.generator, template=args.template, refuse_below="off",
            max_tokens=args.max_tokens or (200 if has_needs else 48), temperature=0.0, ledger="off",
            stop=tuple(stop.replace("\\n", "\n") for stop in args.stop),
            generator_options=json.loads(args.generator_options),
        )  # fmt: skip
        contexts = {
            BASE: replace(base, trim="off", k=5),
            f"top {args.best_k}": replace(base, trim="off", k=args.best_k),
            "bundled": base,
            "bundled, best last": replace(base, placement="best_last"),
            "bundled, best first": replace(base, placement="best_first"),
            "tight": replace(base, trim="tight"),
            "tight, best last": replace(base, trim="tight", placement="best_last"),
            **({"certified": replace(base, trim=certified[name])} if name in certified else {}),
            "oracle": replace(base, trim="off", k=50),
            "none": base,
        }
        chosen = {key: contexts[key] for key in contexts if not args.only or key in args.only}
        yield Study(
            name=name, dataset=dataset, store=Path(store), contexts=chosen, questions=drawn,
            measure="NeedsInAnswer" if has_needs else "F1",
        )  # fmt: skip


def pipelines(study: Study, generator: Generator, oracle: Evidence) -> dict[str, RAG]:
    """Open a pipeline for each context; all share the generator."""
    return {
        name: RAG(oracle if name == "oracle" else study.store, generator=generator, config=settings)
        for name, settings in study.contexts.items()
    }


def ask(name: str, rag: RAG, question: Question, generator: Generator) -> dict[str, Json]:
    """Ask once, and return what came of it and what it cost."""
    began, cpu = time.perf_counter(), time.process_time()
    first: float | None = None
    try:
        if name == "none":
            prompt = load_template(rag.settings.template).render(question.text, ())
            settings = rag.settings
            options = GenerationOptions(
                max_tokens=settings.max_tokens, temperature=0.0, stop=settings.stop
            )
            generation = generator.generate(prompt, options)
            words = said(generation, asked_to_abstain=True)
            text, usage, stop = words.text, generation.usage, generation.stop_reason
            reason = "model_abstained" if words.abstained else None
        else:
            stream = rag.stream(question.text)
            for _ in stream:
                first = first or time.perf_counter() - began
            answer = stream.answer
            text, usage, stop = answer.text or "", answer.usage, answer.stop_reason
            reason = answer.reason
    except NoAnswerError:
        return {"text": "", "reason": "no words"}
    return {
        "text": "" if reason else text,
        "reason": reason,
        "stop_reason": stop,
        "prompt_tokens": usage.input_tokens,
        "exact": usage.exact,
        "output_tokens": usage.output_tokens,
        "first_seconds": first,
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
        "peak_rss_bytes": peak_rss_bytes(),
    }


def run(study: Study, args: argparse.Namespace, out: Path) -> None:
    """Ask what has not been asked yet; every row is on disk before the next question."""
    done = asked_before(out)
    settings = next(iter(study.contexts.values()))
    generator = open_generator(settings)
    oracle = Evidence(study.store)
    opened = pipelines(study, generator, oracle)
    measure = parse_measure(study.measure)
    with RAG(study.store, config=Settings(ledger="off")) as judge, out.open("a") as file:
        if out.read_bytes()[-1:] not in {b"", b"\n"}:
            file.write("\n")  # A crash has cut the last line.
        for n, question in enumerate(study.questions, start=1):
            oracle.question = question
            missing = [name for name in opened if (study.name, name, question.id) not in done]
            would_refuse = judge.ask(question.text, dry_run=True).refused if missing else None
            for name in missing:
                row = ask(name, opened[name], question, generator)
                answered = Row(id=question.id, status="ok", text=str(row["text"]))
                score = None if question.unanswerable else measure.value(question, answered)
                file.write(json.dumps({
                    "set": study.name, "context": name, "id": question.id,
                    "cluster": question.cluster(), "unanswerable": question.unanswerable,
                    "measure": study.measure, "score": score, "would_refuse": would_refuse,
                    "generator": args.generator, "template": args.template, **row,
                }) + "\n")  # fmt: skip
                file.flush()
            print(f"{study.name}: {n} of {len(study.questions)}", file=sys.stderr)


def estimate(study: Study, out: Path) -> str:
    """Return what is still to be paid for."""
    done = asked_before(out)
    calls = tokens = 0
    for name, settings in study.contexts.items():
        counted = replace(settings, generator="extractive", generator_options={})
        oracle = Evidence(study.store)
        with RAG(oracle if name == "oracle" else study.store, config=counted) as rag:
            for question in study.questions:
                oracle.question = question
                if (study.name, name, question.id) not in done:
                    calls += 1
                    answer = rag.ask(question.text, dry_run=True)
                    tokens += 0 if name == "none" else answer.receipt.input_tokens or 0
    most = calls * (next(iter(study.contexts.values())).max_tokens or 0)
    return (
        f"{study.name}: {calls:,} calls, {tokens:,} prompt tokens (estimate), at most {most:,} out"
    )


def asked_before(out: Path) -> set[tuple[str, str, str]]:
    """Return set, context and question of each row that there is."""
    return {(row["set"], row["context"], row["id"]) for row in rows(out)}


def rows(out: Path) -> list[dict[str, Any]]:
    """Return the rows that there are; a line that a crash cut short is none."""
    found: list[dict[str, Any]] = []
    for line in out.read_text().splitlines() if out.exists() else ():
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


def table(found: Sequence[dict[str, Any]]) -> str:
    """Return the measurements of each set in Markdown, over the questions asked in all contexts."""
    lines: list[str] = []
    for name in dict.fromkeys(row["set"] for row in found):
        mine = [row for row in found if row["set"] == name and not row["unanswerable"]]
        contexts = list(dict.fromkeys(row["context"] for row in mine))
        by = {(row["context"], row["id"]): row for row in mine if row["score"] is not None}
        ids = [
            i for i in dict.fromkeys(r["id"] for r in mine) if all((c, i) in by for c in contexts)
        ]
        if not ids:
            continue
        measure, model = mine[0]["measure"], mine[0]["generator"]
        lines += [
            f"**{name}**, {measure}, n = {len(ids)}, {Path(model).name}, "
            f"template {mine[0]['template']}",
            "",
            "| context | prompt tokens | score | minus top 5 | abstained | cut short "
            "| s to first | s | CPU-s |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for context in contexts:
            asked = [by[context, i] for i in ids]
            base = [by[BASE, i] for i in ids] if (BASE, ids[0]) in by else asked
            lines.append(_line(context, asked, base))
        lines += ["", *_invented([row for row in found if row["set"] == name]), ""]
    return "\n".join(lines)


def _line(context: str, asked: Sequence[dict[str, Any]], base: Sequence[dict[str, Any]]) -> str:
    clusters = [row["cluster"] for row in asked]
    scores = [float(row["score"]) for row in asked]
    low, high = bootstrap(scores, clusters)
    differences = [s - float(b["score"]) for s, b in zip(scores, base, strict=True)]
    least, most = bootstrap(differences, clusters)
    cells = [
        context,
        _mean(asked, "prompt_tokens", 0),
        f"{fmean(scores):.3f} [{low:.2f}, {high:.2f}]",
        "" if asked is base else f"{fmean(differences):+.3f} [{least:+.2f}, {most:+.2f}]",
        f"{fmean(row['reason'] is not None for row in asked):.2f}",
        f"{fmean(row.get('stop_reason') == 'length' for row in asked):.2f}",
        _mean(asked, "first_seconds", 2),
        _mean(asked, "seconds", 2),
        _mean(asked, "cpu_seconds", 2),
    ]
    return f"| {' | '.join(cells)} |"


def _mean(asked: Sequence[dict[str, Any]], name: str, digits: int) -> str:
    values = [float(row[name]) for row in asked if row.get(name) is not None]
    return f"{fmean(values):,.{digits}f}" if values else "unknown"


def _invented(found: Sequence[dict[str, Any]]) -> list[str]:
    """Return how many questions without an answer were answered, by context."""
    asked = [row for row in found if row["unanswerable"]]
    lines: list[str] = []
    for context in dict.fromkeys(row["context"] for row in asked):
        mine = [row for row in asked if row["context"] == context]
        answered = [row for row in mine if row["reason"] is None]
        passed = sum(not row["would_refuse"] for row in answered)
        lines.append(
            f"Unanswerable, {context}: {len(answered)} of {len(mine)} answered; {passed} with the "
            "bundled refusal"
        )
    return lines


def main() -> None:
    """Measure, estimate or show."""
    parser = argparse.ArgumentParser(description="Measure what trimming does to answers.")
    parser.add_argument("--generator", required=True)
    parser.add_argument("--generator-options", default="{}", metavar="JSON")
    parser.add_argument("--template", default="default")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=DATASET,STORE")
    parser.add_argument("--certified", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--only", action="append", default=[], metavar="CONTEXT")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("-n", type=int, default=100)
    parser.add_argument("--unanswerable", type=int, default=0, metavar="N")
    parser.add_argument("--best-k", type=int, default=2)
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--estimate", action="store_true")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    for study in () if args.table else studies(args):
        if args.estimate:
            print(estimate(study, args.out))
        else:
            run(study, args, args.out)
    if not args.estimate:
        print(table(rows(args.out)))


if __name__ == "__main__":
    main()
