"""Fitting a sentence scorer on labelled questions.

Gradient-boosted trees are grown with scikit-learn (extra `fit`) and kept as plain arrays, so that
asking needs neither it nor numpy (`ragkit.trimming.Scorer`).
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

from ragkit.errors import ConfigError, MissingExtraError
from ragkit.pipeline import RAG
from ragkit.text.jsontext import as_list, as_object
from ragkit.trimming import Forest, Scorer, Tree, features, measure
from ragkit_eval.data.datasets import Question
from ragkit_eval.measuring.gold import Gold
from ragkit_eval.measuring.quality import Quality, passage_of
from ragkit_eval.stats.certificates import at_most

POOL = 10
"""Chunks that give the examples."""

FUSED_WEIGHT, LENGTH_WEIGHT = 2.0, 1.4
"""Round numbers, chosen leave-one-corpus-out (`benchmarks/leave_one_out.py`)."""

LEAST_QUESTIONS = 100
"""Fewer questions that find their evidence in the pool are refused."""

MOST_PER_DOCUMENT = 100
_NEGATIVES = 0.3
"""Share of the sentences without evidence that is learned from, weighted up accordingly."""

_TREES = {
    "max_iter": 150,
    "max_leaf_nodes": 8,
    "learning_rate": 0.08,
    "l2_regularization": 1.0,
    "max_bins": 127,
    "early_stopping": False,
}
_FOLDS = 3
_DIGITS = 8
_NEWTON_STEPS = 20

_Row: TypeAlias = Sequence[float]


@dataclass(slots=True)
class Examples:
    """Sentences of one dataset's pools, with whether each holds evidence.

    `groups` name the document of each question: folds and certificates keep documents together.
    `seen` are digests of the questions and of their documents.
    """

    with_vectors: list[_Row] = field(default_factory=list["_Row"])
    by_words: list[_Row] = field(default_factory=list["_Row"])
    labels: list[bool] = field(default_factory=list["bool"])
    weights: list[float] = field(default_factory=list["float"])
    groups: list[str] = field(default_factory=list["str"])
    n_questions: int = 0
    seen: set[str] = field(default_factory=set["str"])


def collect(
    rag: RAG,
    questions: Sequence[Question],
    quality: Quality,
    *,
    cluster: str = "document",
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Examples:
    """Return the sentences that questions retrieve, labelled.

    Args:
        rag: The pipeline that the scorer is for.
        questions: Those whose pool holds no evidence teach nothing and are passed over.
        quality: What a set of passages is worth to a question; a sentence is needed where it is
            worth more than nothing.
        cluster: What makes questions depend on each other; at most 100 questions of each.
        seed: Of the choice among questions and sentences.
        on_progress: Called with questions done and their number.
    """
    rng = random.Random(seed)  # noqa: S311 (repeatable draws)
    clusters = [question.cluster(cluster) for question in questions]
    order = rng.sample(range(len(questions)), len(questions))
    chosen = at_most(MOST_PER_DOCUMENT, clusters, order)
    gold = Gold(rag)
    documents = document_digests(rag)
    found = Examples()
    for done, i in enumerate(chosen, start=1):
        question = questions[i]
        words, pool = rag.pool(question.searched, k=POOL)
        signals = measure(words, pool)
        # A sentence that meets one need of several is needed, though worth nothing on its own.
        wanted = [replace(question, needs=(need,)) for need in question.needs] or [question]
        needed: list[bool] = []
        for sentence in signals.sentences:
            passage = passage_of(pool[sentence.chunk].hit, *sentence.span, 0)
            passages = gold.with_repeats(question, [passage])
            needed.append(any(quality(part, passages) for part in wanted))
        if any(needed):
            plain = features(signals.without_vectors())
            full = features(signals) if signals.with_vectors else [()] * len(plain)
            for row, by_words, label in zip(full, plain, needed, strict=True):
                if label or rng.random() < _NEGATIVES:
                    found.with_vectors.append(row)
                    found.by_words.append(by_words)
                    found.labels.append(label)
                    found.weights.append(1.0 if label else 1.0 / _NEGATIVES)
                    found.groups.append(clusters[i])
            found.n_questions += 1
            text, about = digests_of(question, documents)
            found.seen |= {text, *about}
        if on_progress is not None:
            on_progress(done, len(chosen))
    return found


def document_digests(rag: RAG) -> dict[str, str]:
    """Return a digest of each stored document's text, by its id."""
    return {row.document_id: row.sha256[:_DIGITS] for row in rag.list()}


def digests_of(question: Question, documents: Mapping[str, str]) -> tuple[str, set[str]]:
    """Return a digest of a question's text, and those of the documents that it is about."""
    named = {span.document_id for spans in question.evidence for span in spans}
    named |= {name for name, grade in question.relevance.items() if grade > 0}
    text = hashlib.sha256(question.text.encode()).hexdigest()[:_DIGITS]
    return text, {documents[name] for name in named if name in documents}


def fit_scorer(examples: Mapping[str, Examples], *, name: str, seed: int = 0) -> Scorer:
    """Fit a scorer on the examples of one or several datasets, each with the same weight.

    Args:
        examples: By the dataset's name.
        name: Of the scorer.
        seed: Of the trees.

    Raises:
        MissingExtraError: scikit-learn is not installed.
        ConfigError: there are fewer than 100 questions to learn from.
    """
    n_questions = sum(e.n_questions for e in examples.values())
    if n_questions < LEAST_QUESTIONS:
        raise ConfigError(
            f"{n_questions} questions find their evidence among {POOL} chunks; fitting a scorer "
            f"needs {LEAST_QUESTIONS}, better 300; without one: --scorer none"
        )
    # Questions in languages that the embedder does not read have no vectors.
    vectors = any(row for e in examples.values() for row in e.with_vectors)
    return Scorer(
        name=name,
        with_vectors=_forest(examples, "with_vectors", seed) if vectors else None,
        by_words=_forest(examples, "by_words", seed),
        fused_weight=FUSED_WEIGHT,
        length_weight=LENGTH_WEIGHT,
        card={
            "questions": {name: e.n_questions for name, e in examples.items()},
            "documents": {name: len(set(e.groups)) for name, e in examples.items()},
        },
        fitted_on=frozenset(digest for e in examples.values() for digest in e.seen),
    )


class BoostedTrees(Protocol):
    """What is used of scikit-learn's `HistGradientBoostingClassifier` for two classes."""

    def fit(
        self, x: Sequence[_Row], y: Sequence[bool], *, sample_weight: Sequence[float]
    ) -> object:
        """Grow the trees."""
        ...

    def decision_function(self, x: Sequence[_Row]) -> Iterable[float]:
        """Return the log-odds of each row."""
        ...


def grow(x: Sequence[_Row], y: Sequence[bool], w: Sequence[float], *, seed: int) -> BoostedTrees:
    """Return boosted trees grown with scikit-learn; raises `MissingExtraError`."""
    try:
        ensemble = importlib.import_module("sklearn.ensemble")
    except ImportError as error:
        raise MissingExtraError("fitting a scorer (scikit-learn)", extra="fit") from error
    model: BoostedTrees = ensemble.HistGradientBoostingClassifier(random_state=seed, **_TREES)
    model.fit(x, y, sample_weight=w)
    return model


def forest_of(model: BoostedTrees, *, offset: float = 0.0, slope: float = 1.0) -> Forest:
    """Return the trees of a fitted model; log-odds are offset + slope x its `decision_function`."""
    trees: list[Tree] = []
    # scikit-learn has no public name for them; a test compares every prediction.
    for (predictor,) in vars(model)["_predictors"]:
        nodes = [
            (-1, float(node["value"]), 0, 0)
            if node["is_leaf"]
            else (
                int(node["feature_idx"]),
                float(node["num_threshold"]),
                int(node["left"]),
                int(node["right"]),
            )
            for node in predictor.nodes
        ]
        feature, threshold, left, right = zip(*nodes, strict=True)
        trees.append(Tree(feature, threshold, left, right))
    start = float(vars(model)["_baseline_prediction"].ravel()[0])
    return Forest(offset + slope * start, slope, tuple(trees))


def _forest(examples: Mapping[str, Examples], rows: str, seed: int) -> Forest:
    x: list[_Row] = []
    y: list[bool] = []
    w: list[float] = []
    groups: list[str] = []
    for name, e in examples.items():
        scale = 1000.0 / e.n_questions if e.n_questions else 0.0
        for row, label, weight, group in zip(
            getattr(e, rows), e.labels, e.weights, e.groups, strict=True
        ):
            if row:
                x.append(row)
                y.append(label)
                w.append(scale * weight)
                groups.append(f"{name} {group}")
    offset, slope = _platt(x, y, w, groups, seed=seed)
    return forest_of(grow(x, y, w, seed=seed), offset=offset, slope=slope)


def _platt(
    x: Sequence[_Row], y: Sequence[bool], w: Sequence[float], groups: Sequence[str], *, seed: int
) -> tuple[float, float]:
    """Return offset and slope that calibrate the log-odds on documents the trees did not see."""
    order = sorted(set(groups))
    random.Random(seed).shuffle(order)  # noqa: S311 (repeatable draws)
    fold = {group: i % _FOLDS for i, group in enumerate(order)}
    margins: list[float] = []
    outside: list[int] = []
    for k in range(_FOLDS):
        seen = [i for i, group in enumerate(groups) if fold[group] != k]
        held = [i for i, group in enumerate(groups) if fold[group] == k]
        if len({y[i] for i in seen}) < 2 or not held:
            return 0.0, 1.0
        model = grow([x[i] for i in seen], [y[i] for i in seen], [w[i] for i in seen], seed=seed)
        margins += map(float, model.decision_function([x[i] for i in held]))
        outside += held
    return _logistic(margins, [y[i] for i in outside], [w[i] for i in outside])


def _logistic(x: Sequence[float], y: Sequence[bool], w: Sequence[float]) -> tuple[float, float]:
    """Return intercept and slope of a logistic regression, by Newton's method."""
    a, b = 0.0, 1.0
    for _ in range(_NEWTON_STEPS):
        ga = gb = haa = hab = hbb = 0.0
        for xi, yi, wi in zip(x, y, w, strict=True):
            p = 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, a + b * xi))))
            error, curvature = wi * (yi - p), wi * p * (1.0 - p)
            ga, gb = ga + error, gb + error * xi
            haa, hab, hbb = haa + curvature, hab + curvature * xi, hbb + curvature * xi * xi
        determinant = haa * hbb - hab * hab
        if determinant <= 1e-12 * max(1.0, haa * hbb):
            break
        a += (hbb * ga - hab * gb) / determinant
        b += (haa * gb - hab * ga) / determinant
    return (a, b) if b > 0.0 else (0.0, 1.0)


def write_scorer(scorer: Scorer) -> str:
    """Return the content of a scorer file: plain JSON, one line per tree."""
    data = scorer.to_dict()
    names = ("with_vectors", "by_words")
    forests = {name: as_object(data[name]) for name in names if data[name] is not None}
    lines: list[str] = []
    for name, value in data.items():
        if name not in forests:
            lines.append(f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}")
            continue
        forest = forests[name]
        trees = ",\n".join(json.dumps(tree) for tree in as_list(forest["trees"]))
        lines.append(
            f'{json.dumps(name)}: {{"offset": {forest["offset"]}, "slope": {forest["slope"]}, '
            f'"trees": [\n{trees}\n]}}'
        )
    return "{\n" + ",\n".join(lines) + "\n}\n"
