"""Certificates from questions alone: answers with and without trimming are compared."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ragkit import RAG, Settings
from ragkit.errors import ConfigError
from ragkit.trimming import BUILTIN_POLICY
from ragkit.types import Generation, GenerationOptions, Prompt, Usage
from ragkit_eval.calibration.agreement import agreement
from ragkit_eval.calibration.calibrate import calibrate
from ragkit_eval.calibration.task import Calibration, write_policy
from ragkit_eval.data.datasets import Dataset, load_dataset

from .made import NOTICES

WORDS = Settings(embedder="none")


class Reader:
    """A generator that answers with the sentence of the context that shares most with the question.

    A fickle one never says the same twice.
    """

    calls_llm = True
    counter = None

    def __init__(self, name: str = "reader", *, fickle: bool = False) -> None:
        self.name = name
        self.n_calls = 0
        self._fickle = fickle

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Answer."""
        del options
        self.n_calls += 1
        sentences = [s.text for item in prompt.context for s in item.sentences]
        asked = set(re.findall(r"\w+", prompt.question.lower()))
        best = max(sentences, key=lambda s: (len(asked & set(re.findall(r"\w+", s.lower()))), s))
        text = f"answer {self.n_calls}" if self._fickle else best
        return Generation(
            text=text, usage=Usage(input_tokens=None, output_tokens=None), stop_reason="end"
        )

    def stream(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str | Generation]:
        """Answer in one piece."""
        generation = self.generate(prompt, options)
        yield generation.text
        yield generation


@pytest.fixture
def questions(tmp_path: Path) -> Dataset:
    """Return a sheet of questions without any labels."""
    texts = [
        f"{question} ({i})"
        for i in range(10)
        for _, asked in NOTICES.values()
        for question, _ in asked
    ]
    (tmp_path / "asked.csv").write_text("\n".join(["question", *(f'"{t}"' for t in texts)]) + "\n")
    return load_dataset(tmp_path / "asked.csv")


@pytest.fixture
def notices(tmp_path: Path) -> Path:
    """Return the folder of the documents."""
    folder = tmp_path / "notices"
    folder.mkdir()
    for name, (text, _) in NOTICES.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def certify(
    questions: Dataset, notices: Path, reader: Reader, *, retain: float = 0.9
) -> tuple[Calibration, Path]:
    """Return what questions alone certify, and the store."""
    store = notices.parent / "kb"
    with RAG(store, config=WORDS, generator=reader, ledger="off") as rag:
        rag.ingest(notices)
        found = calibrate(rag, questions, retain=retain, metric="agreement", mode="absolute")
    return found, store


@pytest.mark.slow
def test_answers_that_stay_the_same_certify(questions: Dataset, notices: Path) -> None:
    """Each question is asked once untrimmed and once a cut; the last agreeing cut is the policy."""
    reader = Reader()
    found, store = certify(questions, notices, reader)
    assert found.policy is not None
    certificate: Any = found.policy.to_dict()["certificate"]
    assert certificate["metric"] == "Agreement"
    assert certificate["achieved"] >= 0.9
    assert certificate["expected_tokens"] < certificate["untrimmed_tokens"]
    assert certificate["n"] == 150
    assert reader.n_calls == 150 * (1 + len(found.curve))
    path = notices.parent / "trim.json"
    path.write_text(write_policy(found))

    def void(other: Reader) -> str | None:
        with RAG(store, config=WORDS, generator=other, trim=path, ledger="off",
                 notify=lambda _: None) as rag:  # fmt: skip
            trim = rag.ask("When does the canteen open?").trim
        assert trim is not None
        assert trim.certified is (trim.void_because is None)
        return trim.void_because

    assert void(Reader()) is None
    assert "generator" in str(void(Reader("another")))


def test_answers_that_change_do_not(questions: Dataset, notices: Path) -> None:
    """A generator that never says the same twice gets no policy, after the safest cut."""
    found, _ = certify(questions, notices, Reader(fickle=True))
    assert not found.certified
    assert "mean agreement" in str(found.reason)
    assert found.n == 150
    assert len(found.curve) == 1


def test_what_agreement_does_not_guarantee(questions: Dataset, notices: Path) -> None:
    """It is a mean of one setting: other modes, refusals and several pools are refused."""
    with RAG(notices.parent / "kb", config=WORDS, generator=Reader(), ledger="off") as rag:
        rag.ingest(notices)
        options: dict[str, Any]
        for options in (
            {"mode": "strict"},
            {"mode": "absolute", "pools": (5, 10)},
            {"mode": "absolute", "refuse_target": 0.1},
        ):
            with pytest.raises(ConfigError, match="--mode absolute"):
                calibrate(rag, questions, metric="Agreement", **options)
        with pytest.raises(ConfigError, match="labelled evidence"):
            calibrate(rag, questions, metric="Agreement", mode="absolute", scorers=("fit",))
    with (
        RAG(notices.parent / "kb", config=WORDS, ledger="off") as rag,
        pytest.raises(ConfigError, match="name a model with --generator"),
    ):
        calibrate(rag, questions, metric="Agreement", mode="absolute")


def test_refusals_agree_with_refusals_only(notices: Path) -> None:
    """Two refusals say the same, a refusal and an answer do not; a view itself never refuses."""
    with RAG(notices.parent / "kb", config=WORDS, ledger="off") as rag:
        rag.ingest(notices)
        unknown = "Which airline flies tungsten from Lima to the volcano in winter?"
        assert rag.ask(unknown).reason == "low_evidence"
        for policy in (None, BUILTIN_POLICY):
            assert not rag.trimmed_by(policy).ask(unknown).refused
        answer = rag.ask("When does the canteen open?")
    silent = dataclasses.replace(answer, text=None)
    assert agreement(answer, answer) == 1.0
    assert agreement(silent, silent) == 1.0
    assert agreement(silent, answer) == agreement(answer, silent) == 0.0
