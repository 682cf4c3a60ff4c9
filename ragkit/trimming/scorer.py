"""A fitted sentence scorer: gradient-boosted trees as plain arrays, evaluated without a library.

The features are relative to the question's pool (distance from the best, standard deviations from
the mean, rank), so that a scorer fitted on one corpus can serve another.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias, cast

from ragkit.errors import ConfigError
from ragkit.text.jsontext import read_json
from ragkit.trimming.signals import Signals, fused, z_scores
from ragkit.types import Json

FUSION_WEIGHTS = {
    "cosine": 1.0,
    "words": 0.6,
    "window_cosine": 0.5,
    "window_words": 0.5,
    "chunk": 0.5,
}
"""Weights of the training-free score."""

LENGTH_WEIGHT = 0.8
BEST_WEIGHT = 0.5
"""Weights of its penalties: round numbers, chosen on SQuAD's calibration articles and three small
sets.
"""

MAX_DEPTH = 64
MAX_NODES = 1_000_000
"""Limits per tree and per forest, far above what `ragkit fit` makes: a file may be anyone's."""

_BY_WORDS = ("words", "window_words", "chunk_words", "chunk", "fused")
_BY_VECTORS = ("cosine", "window_cosine", "chunk_cosine", "mean_cosine")
_GAPS = ("covered", "window_covered")

_Node: TypeAlias = "float | tuple[int, float, _Node, _Node]"


def feature_names(*, with_vectors: bool) -> tuple[str, ...]:
    """Return the names of the columns that `features` gives, in its order."""
    signals = _BY_WORDS + (_BY_VECTORS if with_vectors else ())
    return tuple(f"{name}:{kind}" for name in signals for kind in ("gap", "z", "rank")) + tuple(
        f"{name}:gap" for name in _GAPS
    )


def features(signals: Signals) -> list[tuple[float, ...]]:
    """Return one row per sentence with the columns that `feature_names` names.

    `gap` is the distance from the pool's best (0 or less), `z` the distance from its mean in
    standard deviations, `rank` is ln(1 + rank), 0 for the best; ties rank in the pool's order.
    """
    return _features(signals, fused(signals, FUSION_WEIGHTS))


def _features(signals: Signals, fusion: Sequence[float]) -> list[tuple[float, ...]]:
    columns = {**signals.columns, "fused": fusion}
    names = _BY_WORDS + (_BY_VECTORS if signals.with_vectors else ())
    table: list[Sequence[float]] = []
    for name in names:
        values = columns[name]
        table += [gaps(values), z_scores(values), _log_ranks(values)]
    table += [gaps(columns[name]) for name in _GAPS]
    return list(zip(*table, strict=True))


def gaps(values: Sequence[float]) -> list[float]:
    """Return each value's distance from the best: 0 or less."""
    best = max(values)
    return [value - best for value in values]


def _log_ranks(values: Sequence[float]) -> list[float]:
    ranks = [0.0] * len(values)
    for rank, i in enumerate(sorted(range(len(values)), key=lambda i: -values[i])):
        ranks[i] = math.log1p(rank)
    return ranks


@dataclass(frozen=True, slots=True)
class Tree:
    """A regression tree: node i goes left where feature[i] <= threshold[i].

    `left` and `right` are node numbers. A leaf has feature -1 and its value as threshold.
    """

    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check the shape; raises `ConfigError`."""
        n = len(self.feature)
        inner = [i for i in range(n) if self.feature[i] >= 0]
        # Each child comes after its parent, so every walk ends.
        sound = n > 0 and n == len(self.threshold) == len(self.left) == len(self.right)
        if not sound or any(not i < child < n for i in inner
                            for child in (self.left[i], self.right[i])):  # fmt: skip
            raise ConfigError("scorer: a tree is broken")
        if not all(map(math.isfinite, self.threshold)):
            raise ConfigError("scorer: a tree holds a number that is not finite")
        depths = [0] * n
        for i in inner:
            for child in (self.left[i], self.right[i]):
                depths[child] = max(depths[child], depths[i] + 1)
        if max(depths) > MAX_DEPTH:
            raise ConfigError(f"scorer: a tree is {max(depths)} deep; allowed: {MAX_DEPTH} or less")

    def nested(self) -> _Node:
        """Return the tree as nested tuples, which Python walks fastest."""
        nodes: list[_Node] = list(self.threshold)
        # From the last node back, every child is ready, and is built once however many share it.
        for i in range(len(nodes) - 1, -1, -1):
            if self.feature[i] >= 0:
                below, above = nodes[self.left[i]], nodes[self.right[i]]
                nodes[i] = (self.feature[i], self.threshold[i], below, above)
        return nodes[0]


@dataclass(frozen=True, slots=True)
class Forest:
    """Boosted trees: the log-odds that a sentence is needed are offset + slope x their sum.

    Offset and slope are Platt's (1999, eq. 1), fitted on questions about documents that the trees
    were not.
    """

    offset: float
    slope: float
    trees: tuple[Tree, ...]
    _roots: tuple[_Node, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare the evaluation; raises `ConfigError`."""
        if not self.slope > 0.0:
            raise ConfigError(f"scorer: slope {self.slope}; allowed: more than 0")
        n_nodes = sum(len(tree.feature) for tree in self.trees)
        if n_nodes > MAX_NODES:
            raise ConfigError(f"scorer: {n_nodes:,} nodes; allowed: {MAX_NODES:,} or less")
        if not (math.isfinite(self.offset) and math.isfinite(self.slope)):
            raise ConfigError("scorer: offset or slope is not finite")
        object.__setattr__(self, "_roots", tuple(tree.nested() for tree in self.trees))

    def log_odds(self, rows: Sequence[Sequence[float]]) -> list[float]:
        """Return the log-odds of each row."""
        return [self.offset + self.slope * self._sum(row) for row in rows]

    def _sum(self, row: Sequence[float]) -> float:
        total = 0.0
        for root in self._roots:
            node = root
            while isinstance(node, tuple):
                node = node[2] if row[node[0]] <= node[1] else node[3]
            total += node
        return total

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "offset": self.offset,
            "slope": self.slope,
            "trees": [
                [list(t.feature), list(t.threshold), list(t.left), list(t.right)]
                for t in self.trees
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """Scores sentences: ln(probability of being needed) + `fused_weight` x training-free score.

    `length_weight` replaces its policy's. `by_words` scores pools without sentence vectors. `card`
    describes what the scorer was fitted on; `fitted_on` holds digests of those questions and
    documents, which must not certify it.
    """

    name: str
    with_vectors: Forest | None
    by_words: Forest
    fused_weight: float
    length_weight: float
    card: Mapping[str, Json] = field(default_factory=dict[str, Json])
    fitted_on: frozenset[str] = frozenset()

    def score(self, signals: Signals) -> list[float]:
        """Return the score of each sentence; higher is better."""
        forest = self.with_vectors if signals.with_vectors else self.by_words
        if forest is None:
            forest, signals = self.by_words, signals.without_vectors()
        fusion = fused(signals, FUSION_WEIGHTS)
        return [
            self.fused_weight * f - _softplus(-x)
            for f, x in zip(fusion, forest.log_odds(_features(signals, fusion)), strict=True)
        ]

    def sha256(self) -> str:
        """Return a digest of all that decides the scores."""
        data = {**self.to_dict(), "name": None, "card": None, "fitted_on": None}
        import hashlib  # heavy: it loads OpenSSL

        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of a scorer file."""
        return {
            "schema": 1,
            "name": self.name,
            "card": dict(self.card),
            "features": list(feature_names(with_vectors=True)),
            "fused_weight": self.fused_weight,
            "length_weight": self.length_weight,
            "with_vectors": None if self.with_vectors is None else self.with_vectors.to_dict(),
            "by_words": self.by_words.to_dict(),
            "fitted_on": sorted(self.fitted_on),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Scorer:
        """Read the JSON form.

        Raises:
            ConfigError: a key is missing or has another type, a tree is broken, or the scorer
                needs other features.
        """
        try:
            return cls._read(data)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise ConfigError(f"scorer: not readable: {error!r}") from error

    @classmethod
    def _read(cls, data: Mapping[str, object]) -> Scorer:
        if data["schema"] != 1 or data["features"] != list(feature_names(with_vectors=True)):
            made = "made for other features than this version has"
            raise ConfigError(f"scorer: {made}; fit it again with: ragkit fit")
        vectors, card = data["with_vectors"], data.get("card", {})
        fitted_on = data.get("fitted_on", [])
        if not isinstance(card, dict) or not isinstance(fitted_on, list):
            raise ConfigError("scorer: card must be an object, and fitted_on a list")
        return cls(
            name=str(data["name"]),
            with_vectors=None if vectors is None else _forest(vectors, with_vectors=True),
            by_words=_forest(data["by_words"], with_vectors=False),
            fused_weight=float(cast("float", data["fused_weight"])),
            length_weight=float(cast("float", data["length_weight"])),
            card=cast("dict[str, Json]", card),
            fitted_on=frozenset(map(str, cast("list[object]", fitted_on))),
        )


def open_scorer(name: str) -> Scorer | None:
    """Return the scorer of a file, None for `none`; raises `ConfigError`."""
    return None if name == "none" else load_scorer(Path(name))


def load_scorer(path: Path) -> Scorer:
    """Read a scorer file and name the scorer after it.

    Raises:
        ConfigError: the file cannot be read or is no scorer.
    """
    data, _ = read_object("scorer", path)
    return replace(Scorer.from_dict(data), name=path.name)


def read_object(what: str, path: str | Path) -> tuple[dict[str, Json], bytes]:
    """Return a file's JSON object and its bytes; raises `ConfigError` with `what` and the path."""
    try:
        raw = Path(path).read_bytes()
        data = read_json(raw)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{what} {path} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{what} {path} must be a JSON object")
    return cast("dict[str, Json]", data), raw


def _forest(data: object, *, with_vectors: bool) -> Forest:
    given = cast("Mapping[str, object]", data)
    n_features = len(feature_names(with_vectors=with_vectors))
    trees: list[Tree] = []
    for feature, threshold, left, right in cast("list[list[list[float]]]", given["trees"]):
        tree = Tree(
            tuple(map(int, feature)),
            tuple(map(float, threshold)),
            tuple(map(int, left)),
            tuple(map(int, right)),
        )
        if max(tree.feature) >= n_features:
            raise ConfigError("scorer: a tree asks for a feature that there is not")
        trees.append(tree)
    offset, slope = cast("float", given["offset"]), cast("float", given["slope"])
    return Forest(float(offset), float(slope), tuple(trees))


def _softplus(x: float) -> float:
    """Return ln(1 + e^x) without overflow; -softplus(-x) is ln(probability) for log-odds x."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
