"""Labels and a judge: the interval holds the truth, and a useless judge changes nothing."""

from __future__ import annotations

import random
from pathlib import Path
from statistics import fmean, variance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.errors import ConfigError
from ragkit_eval.data.sheets import read_numbers
from ragkit_eval.stats.inference import interval
from ragkit_eval.stats.prediction import PoweredMean, powered_mean


def simulated(
    rng: random.Random, accuracy: float, *, n_labels: int = 60
) -> tuple[PoweredMean, float]:
    """Return the result on 400 questions of 80 documents, of which four in five are right."""
    truth: dict[str, float] = {}
    documents: dict[str, str] = {}
    for document in range(80):
        rate = rng.betavariate(7.2, 1.8)
        for i in range(5):
            truth[f"{document}-{i}"] = float(rng.random() < rate)
            documents[f"{document}-{i}"] = str(document)
    scores = {k: v if rng.random() < accuracy else 1.0 - v for k, v in truth.items()}
    labels = {name: truth[name] for name in rng.sample(list(truth), n_labels)}
    return powered_mean(labels, scores, documents), 0.8


@pytest.mark.parametrize(("accuracy", "narrower"), [(0.5, 1.0), (0.9, 0.95), (0.99, 0.7)])
def test_the_interval_holds_the_truth(accuracy: float, narrower: float) -> None:
    """In at least 95 % of 200 populations, but for chance; the narrower the better the judge."""
    rng = random.Random(4)
    found = [simulated(rng, accuracy) for _ in range(200)]
    held = fmean(result.low <= truth <= result.high for result, truth in found)
    assert held >= 0.95 - 3 * 0.0154
    widths = [
        (r.high - r.low) / (r.labels_alone.high - r.labels_alone.low)
        for r, _ in found
        if r.labels_alone.high is not None and r.labels_alone.low is not None
    ]
    assert fmean(widths) <= narrower
    assert max(widths) <= 1.0


def test_a_biased_judge_is_corrected() -> None:
    """A judge that calls three in ten of the wrong answers right is put right by labels."""
    rng = random.Random(9)
    means: list[float] = []
    used = 0
    for _ in range(200):
        truth = {str(i): float(rng.random() < 0.5) for i in range(300)}
        scores = {k: 1.0 if v or rng.random() < 0.3 else 0.0 for k, v in truth.items()}
        labels = {k: truth[k] for k in rng.sample(list(truth), 60)}
        found = powered_mean(labels, scores)
        assert found.judge_mean > 0.55
        used += found.judge_weight > 0.0
        means.append(found.mean)
    assert used >= 180
    assert fmean(means) == pytest.approx(0.5, abs=0.02)


@given(st.data())
def test_a_judge_that_says_nothing_leaves_the_labels_alone(data: st.DataObject) -> None:
    """With a constant score, or none beyond the labels, it is the interval of the labels."""
    n = data.draw(st.integers(2, 40))
    labels = {str(i): float(data.draw(st.booleans())) for i in range(n)}
    alone = interval(list(labels.values()), list(labels))
    constant = powered_mean(labels, dict.fromkeys([*labels, *map(str, range(n, 2 * n))], 0.7))
    no_more = powered_mean(labels, labels)
    for found in (constant, no_more):
        assert (found.judge_weight, found.worth) == (0.0, n)
        assert (found.mean, found.low, found.high) == (alone.mean, alone.low, alone.high)


@given(st.data())
def test_any_scores_give_an_interval_around_the_mean(data: st.DataObject) -> None:
    """Whatever the judge's scale: bounds in order, never wider than labels alone, scale-free."""
    n = data.draw(st.integers(4, 30))
    value = st.integers(-1000, 1000)
    scores = {str(i): float(data.draw(value)) for i in range(n)}
    labelled = data.draw(st.integers(2, n))
    labels = {str(i): data.draw(st.integers(0, 4)) / 4 for i in range(labelled)}
    found = powered_mean(labels, scores)
    assert found.low - 1e-9 <= found.mean <= found.high + 1e-9
    scaled = powered_mean(labels, {k: 8.0 * v - 3.0 for k, v in scores.items()})
    assert scaled.mean == pytest.approx(found.mean, abs=1e-6)
    assert scaled.high == pytest.approx(found.high, abs=1e-6)


def test_the_weight_is_that_of_the_paper_where_questions_are_independent() -> None:
    """PPI++'s: covariance over (1 + n / N) times the variance of the scores (equation 9)."""
    rng = random.Random(2)
    truth = {str(i): rng.random() for i in range(4000)}
    scores = {k: v + rng.gauss(0.0, 0.5) for k, v in truth.items()}
    labels = {str(i): truth[str(i)] for i in range(800)}
    x = [scores[k] for k in labels]
    y = list(labels.values())
    covariance = sum((a - fmean(x)) * (b - fmean(y)) for a, b in zip(x, y, strict=True)) / 799
    expected = covariance / ((1 + 800 / 3200) * variance(scores.values()))
    assert powered_mean(labels, scores).judge_weight == pytest.approx(expected, rel=0.05)


def test_what_cannot_be_is_refused() -> None:
    """Too few labels, one without a score, one out of range, a confidence of 1."""
    scores = {"a": 1.0, "b": 0.0, "c": 1.0}
    for labels in ({"a": 1.0}, {"a": 1.0, "x": 0.0}, {"a": 1.0, "b": 2.0}):
        with pytest.raises(ConfigError):
            powered_mean(labels, scores)
    with pytest.raises(ConfigError, match="documents"):
        powered_mean({"a": 1.0, "b": 0.0}, scores, dict.fromkeys(scores, "one"))
    with pytest.raises(ConfigError, match="confidence"):
        powered_mean({"a": 1.0, "b": 0.0}, scores, confidence=1.0)


def test_sheets_are_read_as_people_write_them(tmp_path: Path) -> None:
    """CSV with a byte order mark and capitals, TSV, JSON Lines; blanks are left out."""
    (tmp_path / "a.csv").write_text("\ufeffID,Label\r\n1,yes\r\n2,no\r\n3,\r\n4,0.5\r\n")
    assert read_numbers(tmp_path / "a.csv", "label") == ({"1": 1.0, "2": 0.0, "4": 0.5}, {})
    (tmp_path / "a.tsv").write_text("id\tscore\tdocument\n1\t7\tx\n")
    assert read_numbers(tmp_path / "a.tsv", "score") == ({"1": 7.0}, {"1": "x"})
    (tmp_path / "a.jsonl").write_text('{"id": 1, "label": true}\n\n{"id": "2", "label": null}\n')
    assert read_numbers(tmp_path / "a.jsonl", "label") == ({"1": 1.0}, {})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("twice.csv", "id,label\n1,1\n1,0\n"),
        ("words.csv", "id,label\n1,maybe\n"),
        ("infinite.csv", "id,label\n1,inf\n"),
        ("columns.csv", "question,label\nWhat?,1\n"),
        ("documents.csv", "id,label,document\n1,1,a\n2,0,\n"),
        ("broken.jsonl", "{\n"),
        ("bytes.csv", b"id,label\n\xff,1\n"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value[:14] else "content",
)
def test_bad_sheets_are_refused(tmp_path: Path, name: str, content: str | bytes) -> None:
    """A message names the place."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=name):
        read_numbers(path, "label")
    with pytest.raises(ConfigError, match=r"absent\.csv"):
        read_numbers(tmp_path / "absent.csv", "label")
