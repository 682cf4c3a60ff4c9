"""Calibration: the smallest context that the labels certify, and what makes it void."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import pytest

from ragkit import RAG, Document, Settings
from ragkit.errors import ConfigError
from ragkit.trimming.certificate import changed_share
from ragkit.types import Json
from ragkit_eval.calibration.calibrate import calibrate
from ragkit_eval.calibration.task import Calibration, write_policy
from ragkit_eval.data.datasets import Dataset, load_dataset
from ragkit_eval.running.cache import Cache
from ragkit_eval.running.stores import OpenedRag

from .made import make_dataset, make_store

WORDS = Settings(embedder="none")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return the small dataset, each question asked eight times in other words."""
    return load_dataset(make_dataset(tmp_path_factory.mktemp("data") / "town", copies=8))


@pytest.fixture(scope="module")
def store(town: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of its documents."""
    return make_store(tmp_path_factory.mktemp("kb") / "kb", town)


@pytest.fixture(scope="module")
def certified(town: Dataset, store: Path) -> Calibration:
    """Return a certified calibration; questions stand alone."""
    with RAG(store, config=WORDS, ledger="off") as rag:
        return calibrate(rag, town, retain=0.9, cluster="none", refuse_target=0.1)


@pytest.fixture
def policy_file(certified: Calibration, tmp_path: Path) -> Path:
    """Return the trim policy file."""
    path = tmp_path / "trim.json"
    path.write_text(write_policy(certified))
    return path


def test_a_certified_policy_keeps_its_guarantee_on_its_questions(
    certified: Calibration, town: Dataset, store: Path, policy_file: Path
) -> None:
    """Asking with the file keeps the evidence as often as the certificate says."""
    assert certified.policy is not None
    certificate: Any = certified.policy.to_dict()["certificate"]
    assert certificate["n"] == 120
    with RAG(store, config=WORDS, trim=policy_file, ledger="off") as rag:
        lost = 0
        for question in town.questions:
            if question.unanswerable:
                continue
            answer = rag.ask(question.text, dry_run=True)
            assert answer.trim is not None
            assert answer.trim.certified
            assert answer.evidence.calibrated
            assert sum(i.n_tokens for i in answer.context) <= certificate["untrimmed_tokens"] + 100
            held = any(a in item.text for item in answer.context for a in question.answers)
            lost += not held and not answer.refused
    assert lost <= certificate["failures"]
    assert certificate["expected_tokens"] < certificate["untrimmed_tokens"]


def test_the_chain_holds_the_safer_cuts(certified: Calibration) -> None:
    """The curve rises as the cut falls; each step of the chain keeps more than the policy."""
    assert certified.policy is not None
    certificate: Any = certified.policy.to_dict()["certificate"]
    cut = certified.policy.keep_above
    assert cut is not None
    assert certificate["chain"]
    for step in certificate["chain"]:
        assert step["keep_above"] < cut
        assert step["expected_tokens"] >= certificate["expected_tokens"]
    for column in ("retained", "tokens"):
        values: list[Any] = [point[column] for point in certified.curve]
        assert values == sorted(values)


def test_the_window_that_suffices_holds_every_prompt(
    certified: Calibration, town: Dataset, store: Path, policy_file: Path
) -> None:
    """No prompt without history is longer than the advised window less answer and history."""
    advice: Any = certified.advice
    room = advice["n_ctx"] - advice["max_tokens"] - advice["history_tokens"]
    with RAG(store, config=WORDS, trim=policy_file, ledger="off") as rag:
        sent = [rag.ask(q.text, dry_run=True).usage.input_tokens or 0 for q in town.questions]
    assert 0 < max(sent) <= room + 5
    assert advice["max_tokens"] == 4


def test_the_refusal_threshold_refuses_few_answerable_questions(certified: Calibration) -> None:
    """It is set from the evidence of answerable questions, and says what it refused."""
    assert certified.policy is not None
    certificate: Any = certified.policy.to_dict()["certificate"]
    refusal = certificate["refusal"]
    assert refusal["threshold"] == certified.policy.refuse_below > 0.0
    assert refusal["answerable_refused"] <= 0.1 * refusal["n_answerable"]
    assert refusal["unanswerable_refused"] == refusal["n_unanswerable"] == 2


def test_the_cut_is_needed_and_the_unserved_do_not_count(tmp_path: Path) -> None:
    """Half of the prices stand a sentence after their ware: a higher cut breaks the guarantee.

    Questions that the untrimmed top 5 does not serve are no part of a strict guarantee.
    """
    wares = "lamp kettle ladder drill rope saw chair mirror basket clock".split()
    forms = ("The {} costs {} kroner.", "A {} is for sale too. It is yours for {} kroner.")
    text = " ".join(forms[i % 2].format(ware, 100 + i) for i, ware in enumerate(wares))
    asked = (
        "Price of the {}?",
        "What does the {} cost?",
        "How much is the {}?",
        "A {} price?",
        "Cost of the {} please?",
        "The price of a {}?",
        "How many kroner for the {}?",
    )
    rows = [f"{form.format(ware)},{100 + i} kroner" for i, ware in enumerate(wares)
            for form in asked]  # fmt: skip
    lost = [f"What does the moon cost today {i}?,999 kroner" for i in range(9)]
    (tmp_path / "sheet.csv").write_text("\n".join(["question,answer", *rows, *lost]) + "\n")
    dataset = load_dataset(tmp_path / "sheet.csv")
    with RAG(tmp_path / "kb", config=WORDS, ledger="off") as rag:
        rag.ingest(Document(id="shop", text=text))
        found = calibrate(rag, dataset, retain=0.9)
    assert found.policy is not None
    assert found.n == len(rows)

    def n_lost(cut: float) -> int:
        assert found.policy is not None
        policy = dataclasses.replace(found.policy, keep_above=cut)
        with RAG(tmp_path / "kb", config=WORDS, trim=policy, ledger="off",
                 notify=lambda _: None) as rag:  # fmt: skip
            contexts = [
                " ".join(item.text for item in rag.ask(q.text, dry_run=True).context)
                for q in dataset.questions[: len(rows)]
            ]
        pairs = zip(contexts, dataset.questions, strict=False)
        return sum(question.answers[0] not in context for context, question in pairs)

    cut = found.policy.keep_above
    assert cut is not None
    certificate: Any = found.policy.to_dict()["certificate"]
    assert n_lost(cut) == certificate["failures"]
    assert n_lost(cut + 3.0) > 0.1 * len(rows)


def test_too_few_labels_are_refused_with_their_number(town: Dataset, store: Path) -> None:
    """Twenty questions certify nothing; documents count, not questions."""
    with RAG(store, config=WORDS, ledger="off") as rag:
        few = calibrate(rag, town.limited(20), cluster="none")
        assert (few.certified, few.n_needed) == (False, 59)
        with pytest.raises(ConfigError, match="no policy"):
            write_policy(few)
        crowded = calibrate(rag, town)
        assert not crowded.certified
        assert "5 documents" in str(crowded.reason)


@pytest.mark.parametrize("mode", ["ratio", "absolute"])
def test_other_guarantees(town: Dataset, store: Path, mode: str) -> None:
    """The mean quality, as a share of the untrimmed top 5's or itself, can be guaranteed."""
    with RAG(store, config=WORDS, ledger="off") as rag:
        found = calibrate(
            rag, town, mode=mode, retain=0.8, cluster="none", metric="EvidenceRecall"  # type: ignore[arg-type]
        )  # fmt: skip
    assert found.certified
    assert found.policy is not None
    certificate: Any = found.policy.to_dict()["certificate"]
    assert certificate["mode"] == mode
    assert certificate["achieved"] >= 0.8


def test_pools_are_chosen_on_other_documents(town: Dataset, store: Path) -> None:
    """Of several pools one is chosen by questions that do not certify."""
    with RAG(store, config=WORDS, ledger="off") as rag:
        found = calibrate(rag, town, retain=0.9, cluster="none", pools=(2, 5))
        assert found.policy is not None
        certificate: Any = found.policy.to_dict()["certificate"]
    assert found.policy.pool in {2, 5}
    assert certificate["n_tuning"] > 20
    assert certificate["n"] + certificate["n_tuning"] <= 120
    again_settings = dataclasses.replace(WORDS)
    with RAG(store, config=again_settings, ledger="off") as rag:
        again = calibrate(rag, town, retain=0.9, cluster="none", pools=(2, 5))
    assert again.policy is not None
    assert again.policy.sha256() == found.policy.sha256()


def state(store: Path, policy: Path, **settings: object) -> tuple[bool, bool, str | None]:
    """Return certified, stale and void_because of one answer."""
    asked = dataclasses.replace(WORDS, **settings)  # type: ignore[arg-type]
    with RAG(store, config=asked, trim=policy, ledger="off", notify=lambda _: None) as rag:
        use = rag.ask("When does the ferry to Skerry leave?").trim
    assert use is not None
    return use.certified, use.stale, use.void_because


def test_a_certificate_is_void_where_anything_differs(store: Path, policy_file: Path) -> None:
    """Template, pool, level, cap and hand-made changes are named."""
    assert state(store, policy_file) == (True, False, None)
    assert "template" in str(state(store, policy_file, template="guarded")[2])
    assert "pool of 3" in str(state(store, policy_file, k=3)[2])
    assert "trim level" in str(state(store, policy_file, trim_level=0.5)[2])
    assert "cap of 5" in str(state(store, policy_file, max_context_tokens=5)[2])
    data = json.loads(policy_file.read_text())
    data["keep_above"] += 0.1
    policy_file.write_text(json.dumps(data))
    certified, _, why = state(store, policy_file)
    assert not certified
    assert "policy" in str(why)


def test_a_store_cut_otherwise_voids_it(town: Dataset, policy_file: Path, tmp_path: Path) -> None:
    """Other chunks, other certificate."""
    other = dataclasses.replace(WORDS, chunk_tokens=40)
    with RAG(tmp_path / "kb", config=other, ledger="off") as rag:
        assert town.corpus is not None
        rag.ingest(town.corpus)
    with RAG(tmp_path / "kb", config=WORDS, trim=policy_file, ledger="off",
             notify=lambda _: None) as rag:  # fmt: skip
        use = rag.ask("How tall is the lighthouse?").trim
    assert use is not None
    assert "chunker" in str(use.void_because)


def test_a_store_that_grew_makes_it_stale(town: Dataset, policy_file: Path, tmp_path: Path) -> None:
    """When more than a tenth of the chunks has changed the certificate is stale, and says so once.

    The policy goes on trimming.
    """
    notices: list[str] = []
    with RAG(tmp_path / "kb", config=WORDS, trim=policy_file, ledger="off",
             notify=notices.append) as rag:  # fmt: skip
        assert town.corpus is not None
        rag.ingest(town.corpus)
        fresh = rag.ask("How tall is the lighthouse?").trim
        assert fresh is not None
        assert fresh.certified
        rag.ingest(*(Document(id=f"new{i}", text=f"Notice number {i}.") for i in range(5)))
        for _ in range(2):
            answer = rag.ask("How tall is the lighthouse?")
            assert answer.trim is not None
            assert (answer.trim.certified, answer.trim.stale) == (False, True)
            assert not answer.evidence.calibrated
    assert len([n for n in notices if "stale" in n]) == 1


def test_a_question_found_otherwise_is_not_covered(town: Dataset, tmp_path: Path) -> None:
    """Certified with vectors, an answer found by words alone is uncertified, and says why."""
    pytest.importorskip("numpy")
    settings = Settings(embedder="builtin")
    with RAG(tmp_path / "kb", config=settings, ledger="off") as rag:
        assert town.corpus is not None
        rag.ingest(town.corpus)
        found = calibrate(rag, town, retain=0.9, cluster="none")
    assert found.policy is not None
    with RAG(tmp_path / "kb", config=settings, trim=found.policy, ledger="off",
             notify=lambda _: None) as rag:  # fmt: skip
        uses = [rag.ask("How tall is the lighthouse?", mode=mode).trim
                for mode in (None, "hybrid", "lexical", None)]  # fmt: skip
    assert [use.certified for use in uses if use is not None] == [True, True, False, True]
    assert "lexical" in str(uses[2] and uses[2].void_because)


@pytest.mark.parametrize("corpus", [None, {}, {"chunks": 5, "smallest_ids": []}])
def test_a_certificate_without_its_corpus_is_stale(
    store: Path, policy_file: Path, corpus: object
) -> None:
    """What cannot be compared is not trusted, and is no error."""
    data = json.loads(policy_file.read_text())
    data["certificate"]["corpus"] = corpus
    policy_file.write_text(json.dumps(data))
    assert state(store, policy_file) == (False, True, None)


def sketch(ids: set[str]) -> dict[str, Json]:
    """Return a corpus' sketch."""
    return {"chunks": len(ids), "smallest_ids": sorted(ids)[:128]}


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2, 0.5, 1.0])
def test_change_is_estimated_from_a_sketch(share: float) -> None:
    """Of 5,000 chunks a share is replaced; 128 ids tell it within twelve points."""
    rng = random.Random(7)
    old = {f"{rng.getrandbits(64):016x}" for _ in range(5000)}
    kept = set(rng.sample(sorted(old), round(5000 * (1 - share))))
    new = kept | {f"{rng.getrandbits(64):016x}" for _ in range(5000 - len(kept))}
    assert changed_share(sketch(old), sketch(new)) == pytest.approx(share, abs=0.12)
    assert changed_share(sketch(set()), sketch(set())) == 0.0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"retain": 1.0}, r"retain 1\.0"),
        ({"confidence": 0.0}, r"confidence 0\.0"),
        ({"refuse_target": 2.0}, r"refuse-target 2\.0"),
        ({"mode": "best"}, "'best'"),
        ({"pools": (0,)}, r"pool \(0,\)"),
        ({"metric": "F1"}, "'F1'"),
    ],
)
def test_wrong_values_are_refused(
    town: Dataset, store: Path, change: dict[str, Any], named: str
) -> None:
    """The message names the value."""
    with RAG(store, config=WORDS, ledger="off") as rag, pytest.raises(ConfigError, match=named):
        calibrate(rag, town, **change)


def test_a_rag_calibrates_itself(town: Dataset, store: Path, tmp_path: Path) -> None:
    """The method takes a dataset or its path, and vectors change nothing of the procedure."""
    with RAG(store, config=WORDS, ledger="off") as rag:
        found = rag.calibrate(town, retain=0.9, cluster="none")
    assert isinstance(found, Calibration)
    assert found.certified
    pytest.importorskip("numpy")
    with Cache(tmp_path) as cache, OpenedRag(town, Settings(), cache) as opened:
        dense = calibrate(opened.rag, town, retain=0.9, cluster="none")
    assert dense.policy is not None
    certificate: Any = dense.policy.to_dict()["certificate"]
    assert certificate["fingerprints"]["embedder"] is not None
