"""Certificates for retrievers that are not ragkit's: what they hold for, and what ends them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit import RAG, Document, Settings, TrimPolicy, trim
from ragkit.errors import ConfigError
from ragkit_eval import Calibration, calibrate, load_dataset, write_policy
from ragkit_eval.data.datasets import Dataset
from ragkit_eval.data.locating import Locator

from .made import NOTICES, make_dataset

NAMES: dict[str, Any] = {"fingerprint": "by hand/1 k=3", "corpus_version": "May"}
Search = Callable[[str], Sequence[object]]


def by_words(question: str) -> list[str]:
    """Return the three notices that share most words with a question."""
    wanted = set(question.lower().strip("?").split())
    texts = [text for text, _ in NOTICES.values()]
    return sorted(texts, key=lambda text: -len(wanted & set(text.lower().split())))[:3]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return the small dataset, each question asked eight times in other words."""
    return load_dataset(make_dataset(tmp_path_factory.mktemp("data") / "town", copies=8))


def calibrated(town: Dataset, search: object = by_words, **more: object) -> Calibration:
    """Calibrate by words; questions stand alone."""
    given: dict[str, Any] = {"retain": 0.9, "cluster": "none", "vectors": False, **NAMES, **more}
    return calibrate(search, town, **given)


@pytest.fixture(scope="module")
def certified(town: Dataset) -> Calibration:
    """Return a certified calibration."""
    return calibrated(town, refuse_target=0.1)


@pytest.fixture
def policy(certified: Calibration, tmp_path: Path) -> str:
    """Return the path of the trim policy file."""
    path = tmp_path / "trim.json"
    path.write_text(write_policy(certified))
    return str(path)


def test_what_is_certified_is_what_trim_sends(
    certified: Calibration, town: Dataset, policy: str
) -> None:
    """Evidence is kept as often as the certificate says, in as many tokens."""
    assert certified.certified
    assert certified.policy is not None
    certificate: Any = certified.policy.to_dict()["certificate"]
    kept = tokens = 0
    answerable = [question for question in town.questions if not question.unanswerable]
    for question in answerable:
        trimmed = trim(
            question.text, by_words(question.text), policy=policy, vectors=False, **NAMES
        )
        assert (trimmed.certified, trimmed.stale, trimmed.void_because) == (True, False, None)
        kept += any(answer in piece.text for piece in trimmed.pieces for answer in question.answers)
        tokens += trimmed.n_tokens
    assert kept >= certificate["n"] - certificate["failures"]
    # Marks where text is left out are counted there, and not by `trim`.
    assert tokens / len(answerable) <= certificate["expected_tokens"]
    assert certificate["expected_tokens"] < certificate["untrimmed_tokens"]
    assert certificate["corpus"] == {"version": "May"}
    assert certified.located == {"passages": 5, "ambiguous": 0, "missing": 0}
    assert certified.advice is None
    refusal = certificate["refusal"]
    assert refusal["answerable_refused"] <= 0.1 * refusal["n_answerable"]


@pytest.mark.parametrize(
    ("changed", "stale", "because"),
    [
        ({"fingerprint": "by hand/2"}, False, "retriever is 'by hand/2'"),
        ({"fingerprint": None}, False, "not named"),
        ({"corpus_version": "June"}, True, "the corpus is 'June', certified with 'May'"),
        ({"corpus_version": None}, True, "the corpus version was not named"),
        ({"vectors": True}, False, "sentence vectors"),
        ({"max_tokens": 5}, False, "the cap of 5 tokens"),
    ],
    ids=str,
)
def test_what_ends_it(policy: str, changed: dict[str, Any], stale: bool, because: str) -> None:
    """The policy goes on trimming, and says why nothing is certified."""
    question = "What does entry to the museum cost?"
    options: dict[str, Any] = {"vectors": False, **NAMES, **changed}
    trimmed = trim(question, by_words(question), policy=policy, **options)
    assert (trimmed.certified, trimmed.stale) == (False, stale)
    assert because in str(trimmed.void_because)
    assert trimmed.pieces
    assert json.loads(json.dumps(trimmed.to_dict()))["void_because"] == trimmed.void_because


def test_fewer_or_more_passages_than_certified(policy: str, certified: Calibration) -> None:
    """Two are too few, and four were never there; other numbers of the policy are another one."""
    question = "What does entry to the museum cost?"
    texts = [text for text, _ in NOTICES.values()]
    for passages in (by_words(question)[:2], texts[:4]):
        trimmed = trim(question, passages, policy=policy, vectors=False, **NAMES)
        assert "passages were found, certified with 3 to 3" in str(trimmed.void_because)
    assert certified.policy is not None
    other = dataclasses.replace(certified.policy, neighbours=1)
    trimmed = trim(question, by_words(question), policy=other, vectors=False, **NAMES)
    assert str(trimmed.void_because).startswith("policy is")


def test_certificates_are_not_mistaken_for_each_other(
    policy: str, town: Dataset, tmp_path: Path
) -> None:
    """That of a retriever is void in a store, and that of a store behind a retriever."""
    words = Settings(embedder="none")
    with RAG(tmp_path / "kb", config=words, ledger="off", trim=policy, notify=print) as rag:
        assert town.corpus is not None
        rag.ingest(town.corpus)
        used = rag.ask("What does entry cost?", dry_run=True).trim
        assert used is not None
        assert "by hand/1" in str(used.void_because)
        of_store = calibrate(rag, town, retain=0.9, cluster="none").policy
    assert isinstance(of_store, TrimPolicy)
    trimmed = trim("What does entry cost?", ["Entry is free."], policy=of_store, **NAMES)
    assert "for a store" in str(trimmed.void_because)


@pytest.mark.parametrize("missing", ["fingerprint", "corpus_version"])
def test_without_a_name_there_is_a_policy_only(town: Dataset, missing: str) -> None:
    """It is written, and promises nothing."""
    found = calibrated(town, **{missing: None})
    assert not found.certified
    assert found.policy is not None
    assert found.policy.certificate is None
    assert missing in str(found.reason)
    assert json.loads(write_policy(found))["name"] == "certified"
    assert found.to_dict()["certified"] is False


class _Invoked:
    """As LangChain's retrievers are asked."""

    def invoke(self, question: str) -> list[dict[str, str]]:
        return [{"page_content": text} for text in by_words(question)]


class _Retrieving:
    """As LlamaIndex's are."""

    def retrieve(self, question: str) -> list[dict[str, dict[str, str]]]:
        return [{"node": {"text": text}} for text in by_words(question)]


class _Component:
    """As Haystack's are."""

    def run(self, query: str) -> dict[str, list[dict[str, str]]]:
        return {"documents": [{"content": text} for text in by_words(query)]}


@pytest.mark.parametrize(
    "retriever", [_Invoked(), _Retrieving(), _Component()], ids=["lc", "li", "hs"]
)
def test_retrievers_of_frameworks(town: Dataset, certified: Calibration, retriever: object) -> None:
    """They are asked in their own way, and give what a function gives."""
    found = calibrated(town, retriever, refuse_target=0.1)
    assert found.policy is not None
    assert certified.policy is not None
    assert found.policy.sha256() == certified.policy.sha256()


def test_a_policy_reads_as_many_passages_as_its_pool() -> None:
    """Whole passages, where these were the cheapest: the first so many; ragkit's own read all."""
    texts = [text for text, _ in NOTICES.values()]
    question = "What does the soup of the day cost?"
    whole = trim(question, texts, policy=TrimPolicy(name="whole", pool=2), vectors=False)
    assert {piece.passage for piece in whole.pieces} == {0, 1}
    assert any(piece.passage > 1 for piece in trim(question, texts, vectors=False).pieces)


def test_passages_are_looked_for_in_the_documents(town: Dataset) -> None:
    """Parts of documents count, changed texts are missing and hold no evidence."""

    def halves(question: str) -> list[str]:
        parts = [half for text in by_words(question) for half in text.split(". ", 2)]
        return [f" {parts[0]}\n", *parts[1:6], "A text of no document."]

    found = calibrated(town, halves, retain=0.5)
    assert found.located is not None
    assert found.located["missing"] == 1
    assert found.evidence is not None

    def changed(question: str) -> list[str]:
        return [text.replace(" ", "  ") for text in by_words(question)]

    nothing = calibrated(town, changed)
    assert not nothing.certified
    assert nothing.located == {"passages": 5, "ambiguous": 0, "missing": 5}


def test_answers_need_no_place(tmp_path: Path) -> None:
    """Labels of words are read off the passages, whatever the documents are."""
    table = tmp_path / "labels.csv"
    rows = [f"What is the code of door {i}?,code {i * 7}" for i in range(80)]
    table.write_text("\n".join(["question,answer", *rows]))
    doors = [f"Door {i} opens with code {i * 7}. It is heavy." for i in range(80)]

    def search(question: str) -> list[str]:
        number = int(question.rstrip("?").split()[-1])
        return [doors[number], *doors[:4]]

    found = calibrated(load_dataset(table), search)
    assert found.certified
    assert found.located is None


def test_what_cannot_be_calibrated(town: Dataset) -> None:
    """The error says what is missing."""
    without = dataclasses.replace(town, corpus=None)
    with pytest.raises(ConfigError, match="has no documents"):
        calibrated(without)
    with pytest.raises(ConfigError, match="function from a question"):
        calibrated(town, 3)
    with pytest.raises(ConfigError, match="need a store"):
        calibrated(town, metric="agreement", mode="absolute")
    with pytest.raises(ConfigError, match="need a store"):
        calibrated(town, scorers=["fit"])


def test_a_passage_that_stands_in_several_places() -> None:
    """All places are known; a repeat in the document of the labels counts as its evidence."""
    texts = {"a": "Closed on Mondays. Ring twice.", "b": "Ring. Closed on Mondays. Ring."}
    locator = Locator(Document(id=name, text=text) for name, text in texts.items())
    assert locator.places("Closed on Mondays.") == [("a", 0), ("b", 6)]
    assert locator.places("  Ring twice.") == [("a", 17)]
    assert locator.places("Ring") == [("a", 19), ("b", 0), ("b", 25)]
    assert list(locator.places(" \n")) == list(locator.places("nowhere at all")) == []
    assert locator.counts() == {"passages": 5, "ambiguous": 2, "missing": 2}


@given(st.text(max_size=60), st.data())
def test_every_part_of_a_document_is_found(text: str, data: st.DataObject) -> None:
    """Wherever it is cut, the place holds that very text."""
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    locator = Locator([Document(id="d", text=text), Document(id="e", text="another text")])
    part = text[start:end]
    places = [at for name, at in locator.places(part) if name == "d"]
    assert bool(places) == bool(part.strip())
    lead = len(part) - len(part.lstrip())
    for at in places:
        first = at + lead
        assert text[first : first + len(part.strip())] == part.strip()
