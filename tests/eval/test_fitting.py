"""Fitting a scorer, and certifying with it on documents that it has not seen."""

from __future__ import annotations

import dataclasses
import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from ragkit import RAG, Settings
from ragkit.errors import ConfigError, MissingExtraError
from ragkit.trimming import load_scorer, measure
from ragkit_eval.calibration.calibrate import calibrate
from ragkit_eval.calibration.fit import Examples, collect, fit_scorer, forest_of, grow, write_scorer
from ragkit_eval.calibration.task import write_policy
from ragkit_eval.data.datasets import Dataset, load_dataset
from ragkit_eval.measuring.quality import quality_measure

from .made import make_dataset, make_store

pytest.importorskip("sklearn")
WORDS = Settings(embedder="none", trim="off")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return the small dataset, each question asked sixteen times in other words."""
    return load_dataset(make_dataset(tmp_path_factory.mktemp("data") / "town", copies=16))


@pytest.fixture(scope="module")
def store(town: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of its documents."""
    return make_store(tmp_path_factory.mktemp("kb") / "kb", town)


@pytest.fixture(scope="module")
def examples(town: Dataset, store: Path) -> Examples:
    """Return the sentences of all questions' pools."""
    _, quality = quality_measure("EvidenceFound")
    questions = [q for q in town.questions if q.evidence]
    with RAG(store, config=WORDS, ledger="off") as rag:
        return collect(rag, questions, quality)


@pytest.mark.parametrize("seed", range(3))
def test_arrays_predict_what_scikit_learn_predicts(seed: int) -> None:
    """The exported trees give the model's own decision function on rows it never saw."""
    rng = random.Random(seed)

    def rows(n: int) -> list[tuple[float, ...]]:
        # Few distinct values put many rows exactly on thresholds.
        return [tuple(rng.choice((rng.gauss(0, 1), 0.0, 0.5)) for _ in range(5)) for _ in range(n)]

    x = rows(800)
    y = [rng.random() < 1 / (1 + 2.0 ** -(3 * row[0] * row[1] + row[2])) for row in x]
    model = grow(x, y, [1.0] * len(x), seed=seed)
    unseen = rows(500)
    expected = [float(v) for v in model.decision_function(unseen)]
    assert forest_of(model).log_odds(unseen) == pytest.approx(expected, abs=1e-9)
    halved = forest_of(model, offset=0.3, slope=0.5).log_odds(unseen)
    assert halved == pytest.approx([0.3 + 0.5 * v for v in expected], abs=1e-9)


@pytest.mark.slow
def test_probabilities_are_calibrated() -> None:
    """On rows it never saw, of those it gives p about the share p is needed."""
    rng = random.Random(5)

    def made(n: int, group: str) -> Examples:
        found = Examples(n_questions=n)
        for i in range(n):
            row = tuple(rng.gauss(0, 1) for _ in range(17))
            found.by_words.append(row)
            found.with_vectors.append(())
            found.labels.append(rng.random() < 1 / (1 + 2.718 ** -(row[0] - 1)))
            found.weights.append(1.0)
            found.groups.append(f"{group}{i % 40}")
        return found

    fitted = fit_scorer({"a": made(3000, "a")}, name="x")
    assert fitted.with_vectors is None
    test = made(3000, "b")
    odds = fitted.by_words.log_odds(test.by_words)
    shares = [1 / (1 + 2.718**-o) for o in odds]
    for low, high in ((0.0, 0.2), (0.2, 0.4), (0.4, 0.7)):
        chosen = [i for i, p in enumerate(shares) if low <= p < high]
        assert len(chosen) > 100
        truth = sum(test.labels[i] for i in chosen) / len(chosen)
        assert truth == pytest.approx(sum(shares[i] for i in chosen) / len(chosen), abs=0.07)


def test_examples_are_labelled_by_their_evidence(
    examples: Examples, town: Dataset, store: Path
) -> None:
    """Each question has one needed sentence here; a part of the others stands for all."""
    with RAG(store, config=WORDS, ledger="off") as rag:
        pools = [measure(*rag.pool(q.text, k=10)) for q in town.questions if q.evidence]
    assert examples.n_questions == 240
    assert sum(examples.labels) == 240
    others = sum(w for w, y in zip(examples.weights, examples.labels, strict=True) if not y)
    whole = sum(len(row.sentences) for row in pools) - 240
    assert others == pytest.approx(whole, rel=0.1)
    assert len(examples.seen) == 5 + 240


def test_a_document_teaches_a_hundred_questions(store: Path, tmp_path: Path) -> None:
    """However many there are, so that one document cannot drown the others."""
    many = load_dataset(make_dataset(tmp_path / "many", copies=40))
    asked = [q for q in many.questions if q.id.startswith("ferry")]
    assert len(asked) == 120
    _, quality = quality_measure("EvidenceFound")
    with RAG(store, config=WORDS, ledger="off") as rag:
        assert collect(rag, asked, quality).n_questions == 100


def test_a_fitted_scorer_is_kept_in_a_file(examples: Examples, tmp_path: Path) -> None:
    """The file reads back to the same scorer, a line a tree."""
    fitted = fit_scorer({"town": examples}, name="town.scorer.json")
    path = tmp_path / "town.scorer.json"
    path.write_text(write_scorer(fitted))
    again = load_scorer(path)
    assert again.sha256() == fitted.sha256()
    assert again.fitted_on == fitted.fitted_on
    assert len(path.read_text().splitlines()) > len(fitted.by_words.trees)
    same = fit_scorer({"town": examples}, name="other")
    assert same.sha256() == fitted.sha256()


def test_too_few_questions_fit_nothing() -> None:
    """The error names the number and the way out."""
    with pytest.raises(ConfigError, match=r"7 questions .* --scorer none"):
        fit_scorer({"few": Examples(n_questions=7)}, name="x")


def test_without_scikit_learn_the_extra_is_named(
    examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only fitting needs it."""
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ragkit-lean\[fit\]'"):
        fit_scorer({"town": examples}, name="x")


def test_what_fits_does_not_certify(town: Dataset, store: Path, tmp_path: Path) -> None:
    """`fit` takes half of the questions, the others certify, and asking obeys both files."""
    with RAG(store, config=WORDS, ledger="off") as rag:
        found = calibrate(
            rag, town, retain=0.9, cluster="none", scorers=("fit",), name="mine"
        )  # fmt: skip
    assert found.policy is not None
    assert found.scorer is not None
    certificate: Any = found.policy.to_dict()["certificate"]
    assert certificate["n_tuning"] == 120
    assert certificate["n_fitted_on"] == 0
    (tmp_path / "mine.scorer.json").write_text(write_scorer(found.scorer))
    path = tmp_path / "mine.json"
    path.write_text(write_policy(found))

    def use() -> tuple[bool, str | None]:
        with RAG(store, config=Settings(embedder="none"), trim=path, ledger="off",
                 notify=lambda _: None) as rag:  # fmt: skip
            trim = rag.ask("When does the ferry to Skerry leave?").trim
        assert trim is not None
        return trim.certified, trim.void_because

    assert use() == (True, None)
    data = json.loads((tmp_path / "mine.scorer.json").read_text())
    data["length_weight"] += 0.1
    (tmp_path / "mine.scorer.json").write_text(json.dumps(data))
    certified, why = use()
    assert not certified
    assert "policy" in str(why)


def test_what_a_scorer_was_fitted_on_does_not_certify_it(
    town: Dataset, store: Path, examples: Examples
) -> None:
    """Its own questions are refused; others on its documents too, where documents count."""
    fitted = fit_scorer({"town": examples}, name="x")
    with RAG(store, config=WORDS, ledger="off") as rag:
        with pytest.raises(ConfigError, match="fitted on the documents of all 240 questions"):
            calibrate(rag, town, retain=0.9, cluster="none", scorers=(fitted,))
        ferry = {row.document_id: row.sha256[:8] for row in rag.list()}["ferry"]
        partly = dataclasses.replace(fitted, fitted_on=frozenset({ferry}))
        found = calibrate(rag, town, retain=0.9, cluster="none", scorers=(partly,))
        few = calibrate(rag, town, retain=0.9, scorers=(partly,))
    assert found.policy is not None
    certificate: Any = found.policy.to_dict()["certificate"]
    assert (certificate["n_fitted_on"], certificate["n"]) == (0, 240)
    # By documents the 48 questions about the ferry do not count, and four documents are too few.
    assert (few.certified, few.n) == (False, 192)


def test_one_of_several_scorers_is_chosen_on_other_documents(town: Dataset, store: Path) -> None:
    """What fits and chooses among scorers does not certify."""
    with RAG(store, config=WORDS, ledger="off") as rag:
        found = calibrate(
            rag, town, retain=0.9, cluster="none", scorers=("none", "fit"), pools=(3, 5)
        )
    assert found.policy is not None
    certificate: Any = found.policy.to_dict()["certificate"]
    assert certificate["n_tuning"] >= 120
    assert certificate["n"] + certificate["n_tuning"] == 240
