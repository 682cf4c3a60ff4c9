"""Rank measures: trec_eval's numbers, and the order of the input counts for nothing."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.errors import ConfigError
from ragkit_eval.data.trec import read_qrels, read_run
from ragkit_eval.measuring import ranking
from ragkit_eval.measuring.measures import parse_measure
from ragkit_eval.measuring.ranking import ranked
from ragkit_eval.measuring.scoring import score

pytrec_eval: Any = pytest.importorskip("pytrec_eval")

THEIRS = {
    "nDCG@10": "ndcg_cut_10",
    "R@10": "recall_10",
    "P@5": "P_5",
    "MAP": "map",
    "MAP@10": "map_cut_10",
    "MRR": "recip_rank",
    "Success@5": "success_5",
}


def tie_heavy(rng: random.Random) -> tuple[dict[str, int], dict[str, float]]:
    """Return judgements and scores with many ties, some of them only as float32."""
    documents = [f"d{i}" for i in range(rng.randint(1, 40))] + ["ä", "Z", "z9", "日本"]
    judged = {d: rng.choice([-1, 0, 0, 1, 1, 2, 3]) for d in documents if rng.random() < 0.5}
    judged["relevant"] = 1
    scores = {
        d: rng.choice([0.0, 1.0, 1.0 + 1e-9, 0.5, -2.0, rng.random()])
        for d in [*documents, "relevant"]
        if rng.random() < 0.8
    }
    return judged, scores


def test_measures_equal_trec_eval_on_thousands_of_ties() -> None:
    """3,000 random queries, seven measures: no value differs from trec_eval's at all."""
    rng = random.Random(1)
    queries = {f"q{i}": tie_heavy(rng) for i in range(3000)}
    judged = {q: pair[0] for q, pair in queries.items()}
    run = {q: pair[1] for q, pair in queries.items()}
    cuts = {"ndcg_cut.10", "recall.10", "P.5", "map", "map_cut.10", "recip_rank", "success.5"}
    theirs = pytrec_eval.RelevanceEvaluator(judged, cuts).evaluate(run)
    measures = [parse_measure(name) for name in THEIRS]
    ours = score(run, judged, measures, single_precision=True).values
    worst = 0.0
    compared = 0
    for name, their_name in THEIRS.items():
        for query, scores in run.items():
            if scores:
                compared += 1
                worst = max(worst, abs(ours[name][query] - theirs[query][their_name]))
    assert compared > 20_000
    assert worst <= 1e-12


@pytest.mark.slow
@given(st.dictionaries(st.text(min_size=1, max_size=4), st.sampled_from([0.0, 0.5, 1.0])),
       st.randoms())  # fmt: skip
def test_the_order_of_the_input_counts_for_nothing(
    scores: dict[str, float], rng: random.Random
) -> None:
    """Any permutation of a run gives the same ranking."""
    shuffled = list(scores.items())
    rng.shuffle(shuffled)
    assert ranked(scores) == ranked(dict(shuffled))


def test_a_constant_scorer_earns_nothing_from_order() -> None:
    """A scorer that tells nothing apart scores the same wherever the relevant document is."""
    documents = [f"d{i:02}" for i in range(20)]
    first = {"d00": 1.0, **dict.fromkeys(documents, 1.0)}
    last = {**dict.fromkeys(documents[1:], 1.0), "d00": 1.0}
    for name in THEIRS:
        measure = parse_measure(name)
        assert measure.of_order is not None
        assert measure.of_order(ranked(first), {"d00": 1}) == measure.of_order(
            ranked(last), {"d00": 1}
        )
    assert ranking.reciprocal_rank(ranked(first), {"d00": 1}) == 1 / 20


def test_all_needed_documents_count_in_average_precision() -> None:
    """Both of two needed documents on top make 1; one of two alone is no perfect nDCG."""
    judged = {"a": 1, "b": 1}
    assert ranking.average_precision(["a", "b", "c"], judged) == 1.0
    assert ranking.ndcg(["a"], judged, 10) == pytest.approx(0.6131, abs=1e-4)


def test_double_precision_tells_close_scores_apart() -> None:
    """Scores that tie as float32 are ordered unless single precision is asked for."""
    scores = {"a": 1.0 + 1e-9, "b": 1.0}
    assert ranked(scores) == ["a", "b"]
    assert ranked(scores, single_precision=True) == ["b", "a"]


def test_missing_queries_count_as_zero() -> None:
    """A judged query that the run lacks lowers the mean and is named."""
    found = score({"q1": {"a": 1.0}}, {"q1": {"a": 1}, "q2": {"a": 1}}, [parse_measure("MRR")])
    assert found.values["MRR"] == {"q1": 1.0, "q2": 0.0}
    assert found.missing == ("q2",)


def test_files_of_trec_and_beir_are_read(tmp_path: Path) -> None:
    """Judgements with and without a header, a byte order mark, and ids with spaces are read."""
    (tmp_path / "trec.txt").write_text("q1 0 d1 2\nq1 0 d2 0\n")
    (tmp_path / "beir.tsv").write_bytes(b"\xef\xbb\xbfquery-id\tcorpus-id\tscore\r\nq1\td 1\t2\r\n")
    assert read_qrels(tmp_path / "trec.txt") == {"q1": {"d1": 2, "d2": 0}}
    assert read_qrels(tmp_path / "beir.tsv") == {"q1": {"d 1": 2}}
    (tmp_path / "run.txt").write_text("q1 Q0 d1 1 0.5 tag\nq1 Q0 d2 2 1e-3 tag\n")
    assert read_run(tmp_path / "run.txt") == {"q1": {"d1": 0.5, "d2": 0.001}}


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("q1 Q0 d1 1 nan tag", "'nan'"),
        ("q1 Q0 d1 1 high tag", "'high'"),
        ("q1 d1 0.5", "6 columns"),
        ("q1 Q0 d1 1 0.5 tag\nq1 Q0 d1 2 0.4 tag", "comes twice"),
    ],
)
def test_a_bad_run_is_refused(tmp_path: Path, line: str, named: str) -> None:
    """The message names the line and the value."""
    (tmp_path / "run.txt").write_text(line + "\n")
    with pytest.raises(ConfigError, match=named):
        read_run(tmp_path / "run.txt")
    with pytest.raises(ConfigError, match="finite"):
        ranked({"a": float("nan")})
