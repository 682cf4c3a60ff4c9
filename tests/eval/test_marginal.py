"""Calibration without a confidence: what holds on average, and says so wherever it appears."""

from __future__ import annotations

import dataclasses
import math
import random
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit import RAG, Settings
from ragkit.errors import ConfigError
from ragkit.trimming.certificate import MARGINAL
from ragkit_eval.calibration.calibrate import calibrate
from ragkit_eval.calibration.task import write_policy
from ragkit_eval.data.datasets import load_dataset
from ragkit_eval.reporting.calibration_page import html
from ragkit_eval.stats.certificates import marginal_limit

from .made import make_dataset, make_store

WORDS = Settings(embedder="none")


@given(st.lists(st.integers(0, 30), min_size=1, max_size=80), st.sampled_from([0.05, 0.1, 0.2]))
def test_single_questions_are_plain_split_conformal(needs: list[int], share: float) -> None:
    """With a document for each question it is the k-th largest, k = floor(share x (n + 1))."""
    found = marginal_limit([float(need) for need in needs], range(len(needs)), share=share)
    k = math.floor(share * (len(needs) + 1) + 1e-9)
    if k == 0:
        assert found.limit is None
        assert found.n_needed == math.ceil((1 - share) / share - 1e-9)
    else:
        assert found.limit == sorted(needs, reverse=True)[k - 1]
        assert found.failures <= share * (len(needs) + 1)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 25)), min_size=1, max_size=80),
    st.sampled_from([0.1, 0.2]),
)
def test_documents_count_alike(asked: list[tuple[int, int]], share: float) -> None:
    """Weighted by document, so many exceed the limit at most, with the one to come; and no less."""
    needs, clusters = [float(need) for need, _ in asked], [name for _, name in asked]
    found = marginal_limit(needs, clusters, share=share)
    names = set(clusters)

    def exceeding(limit: float) -> float:
        shares = [fmean(n > limit for n, c in zip(needs, clusters, strict=True) if c == name)
                  for name in names]  # fmt: skip
        return (math.fsum(shares) + 1.0) / (len(names) + 1)

    if found.limit is None:
        assert exceeding(max(needs)) > share - 1e-9
        return
    assert exceeding(found.limit) <= share + 1e-6
    lower = [need for need in needs if need < found.limit]
    assert not lower or exceeding(max(lower)) > share - 1e-6


@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
def test_the_share_holds_on_average_over_sets_of_labels(spread: float) -> None:
    """Over 2,000 sets of 40 questions of 25 documents, as much is kept as promised, on average.

    Documents differ by `spread`, in units of how much their questions do.
    """
    rng = random.Random(8)
    kept = 0
    for _ in range(2000):
        needs: list[float] = []
        clusters: list[int] = []
        for document in range(25):
            middle = rng.gauss(0.0, spread)
            n = rng.choice((1, 1, 2, 3))
            needs += [middle + rng.gauss(0.0, 1.0) for _ in range(n)]
            clusters += [document] * n
        limit = marginal_limit(needs, clusters, share=0.1).limit
        assert limit is not None
        kept += rng.gauss(0.0, spread) + rng.gauss(0.0, 1.0) <= limit
    # Never less than .9, but for chance (.0067); never more than a document's weight above it.
    assert 0.88 <= kept / 2000 <= 0.9 + 1 / 26 + 0.02


def test_too_many_hopeless_questions_are_refused_with_what_is_needed() -> None:
    """What no limit serves counts, and where it is too much no number of questions helps."""
    few = marginal_limit([math.inf, *[1.0] * 20], range(21), share=0.05)
    assert few.limit is None
    assert few.n_needed is not None
    assert "at every limit" in str(few.reason)
    n = few.n_needed
    lost = round(n / 21)
    many = marginal_limit([math.inf] * lost + [1.0] * (n - lost), range(n), share=0.05)
    assert many.limit == 1.0
    never = marginal_limit([math.inf, *[1.0] * 9], range(10), share=0.05)
    assert (never.limit, never.n_needed) == (None, None)


def test_a_marginal_policy_says_so_everywhere(tmp_path: Path) -> None:
    """The file, the calibration and every answer carry the promise, and none is certified."""
    town = load_dataset(make_dataset(tmp_path / "town", copies=2))
    store = make_store(tmp_path / "kb", town)
    with RAG(store, config=WORDS, ledger="off") as rag:
        found = calibrate(rag, town, retain=0.9, cluster="none", mode="conformal", with_losses=True)
    assert found.policy is not None
    assert found.policy.name == "marginal"
    assert (found.certified, found.promise) == (False, MARGINAL)
    data = found.to_dict()
    assert (data["certified"], data["promise"], data["grid"]) == (False, MARGINAL, [])
    certificate = found.policy.certificate
    assert certificate is not None
    assert (certificate.mode, certificate.confidence) == ("conformal", None)
    assert certificate.promise == MARGINAL
    page = html(found, ["What this says"], "town")
    assert f"{MARGINAL};" in page
    assert "Not certified, but: " in page
    assert "Certified:" not in page
    assert "Other goals" not in page
    path = tmp_path / "trim.json"
    path.write_text(write_policy(found))
    assert MARGINAL in path.read_text()
    with RAG(store, config=WORDS, trim=path, ledger="off") as rag:
        trim = rag.ask("How tall is the lighthouse?", dry_run=True).trim
        assert trim is not None
        assert (trim.certified, trim.stale, trim.void_because) == (False, False, None)
        assert trim.promise == trim.to_dict()["promise"] == MARGINAL
    leveled = dataclasses.replace(WORDS, trim_level=0.5)
    with RAG(store, config=leveled, trim=path, ledger="off") as rag:
        with pytest.warns(UserWarning, match="keeps no promise here: trim level"):
            trim = rag.ask("How tall is the lighthouse?", dry_run=True).trim
        assert trim is not None
        assert trim.void_because is not None
        assert trim.promise is None


def test_few_questions_get_a_policy_that_strict_refuses(tmp_path: Path) -> None:
    """Thirty questions suffice for .95 on average; a certificate needs 59."""
    town = load_dataset(make_dataset(tmp_path / "town", copies=2))
    store = make_store(tmp_path / "kb", town)
    with RAG(store, config=WORDS, ledger="off") as rag:
        strict = calibrate(rag, town, cluster="none")
        marginal = calibrate(rag, town, cluster="none", mode="conformal")
        crowded = calibrate(rag, town, mode="conformal")
        with pytest.raises(ConfigError, match="confidence"):
            calibrate(rag, town, mode="conformal", refuse_target=0.1)
    assert (strict.policy, strict.n_needed) == (None, 59)
    assert marginal.policy is not None
    assert crowded.policy is None
    assert "5 documents: too few" in str(crowded.reason)
