"""The arithmetic of `benchmarks/vector_kinds.py`: tokens at equal evidence, and its bounds."""

from __future__ import annotations

import math
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ragkit.trimming import BUILTIN_POLICY, PoolChunk, rank
from ragkit.types import Chunk, Hit

pytest.importorskip("numpy")

BENCHMARK: dict[str, Any] = runpy.run_path(
    str(Path(__file__).parents[2] / "benchmarks" / "vector_kinds.py")
)
CUTS = BENCHMARK["CUTS"]
TEXTS = ("The ferry sails at nine.", "Dogs travel free.", "Soup costs four euros.")
VECTORS = {
    TEXTS[0]: (1.0, 0.0),
    TEXTS[1]: (0.0, 1.0),
    TEXTS[2]: (0.6, 0.8),
}


def pool_chunk(texts: tuple[str, ...] = TEXTS) -> PoolChunk:
    """Return a chunk of three sentences."""
    starts = [sum(len(text) + 1 for text in texts[:i]) for i in range(len(texts))]
    spans = tuple((a, a + len(text)) for a, text in zip(starts, texts, strict=True))
    text = " ".join(texts)
    chunk = Chunk(
        id="c", document_id="d", start=0, end=len(text), text=text, n_tokens=12, sentences=spans
    )
    terms = [text.lower().strip(".").split() for text in texts]
    hit = Hit(rank=1, score=1.0, chunk=chunk)
    zero = [0.0] * len(texts)
    return PoolChunk(hit=hit, terms=terms, cosines=zero, window_cosines=zero)


def line(cluster: str, *, tokens: float, first: int) -> object:
    """Return a curve that keeps `tokens` more at each cut, and all evidence from `first` on."""
    return BENCHMARK["Curve"](
        cluster=cluster,
        tokens=[tokens * (i + 1) for i in range(len(CUTS))],
        found=[float(i >= first) for i in range(len(CUTS))],
    )


def at_least(wanted: int) -> Callable[[int], bool]:
    """Return whether a number is at least so much."""
    return lambda n: n >= wanted


def five_tokens(text: str) -> int:
    """Count every text as five tokens."""
    del text
    return 5


def test_tokens_are_read_between_the_points_of_a_curve() -> None:
    """Between two points a line is drawn; a target above all is never reached."""
    tokens_at = BENCHMARK["tokens_at"]
    assert tokens_at(0.5, (10.0, 20.0, 40.0), (0.2, 0.4, 0.8)) == pytest.approx(25.0)
    assert tokens_at(0.1, (10.0, 20.0, 40.0), (0.2, 0.4, 0.8)) == 10.0
    assert tokens_at(0.9, (10.0, 20.0, 40.0), (0.2, 0.4, 0.8)) == math.inf


def test_evidence_that_never_comes_has_no_smallest_number() -> None:
    """The smallest number that is enough, or none."""
    first_enough = BENCHMARK["first_enough"]
    assert first_enough(9, at_least(4)) == 4
    assert first_enough(9, at_least(1)) == 1
    assert first_enough(9, at_least(10)) is None
    assert first_enough(0, at_least(0)) is None


def test_the_same_vectors_change_nothing() -> None:
    """A variant that is the base has no change and no width."""
    base = [line(f"q{i}", tokens=1.0 + i % 3, first=i) for i in range(40)]
    change = BENCHMARK["pooled_change"]([BENCHMARK["Sums"](base, base)], 0.95)
    assert (change.change, change.low, change.high, change.one_sided) == (0.0, 0.0, 0.0, 0.0)


def test_sets_count_alike_and_ratios_are_averaged_as_factors() -> None:
    """A doubling in one of two sets is a change by the root of 2, however many its questions."""
    base = [line(f"q{i}", tokens=1.0, first=i) for i in range(40)]
    double = [line(f"q{i}", tokens=2.0, first=i) for i in range(40)]
    few = base[:4]
    sums = BENCHMARK["Sums"]
    change = BENCHMARK["pooled_change"]([sums(base, double), sums(few, few)], 0.95)
    assert change.change == pytest.approx(math.sqrt(2.0) - 1.0)
    assert change.low == pytest.approx(change.change)
    assert change.high == pytest.approx(change.change)


def test_evidence_that_comes_later_costs_the_tokens_up_to_it() -> None:
    """Equal evidence is the base's, at the tokens where the variant has it."""
    base = [line(f"q{i}", tokens=1.0, first=10) for i in range(20)]
    later = [line(f"q{i}", tokens=1.0, first=20) for i in range(20)]
    needed = BENCHMARK["Sums"](base, later).ratios(1.0)[0]
    assert (needed.base, needed.variant) == (11.0, 21.0)


def test_bounds_widen_where_questions_are_drawn_together() -> None:
    """Fewer clusters tell less."""

    def both(clusters: int) -> tuple[float, float, float, float]:
        base = [line(f"c{i % clusters}", tokens=1.0, first=5) for i in range(60)]
        mixed = [
            line(f"c{i % clusters}", tokens=1.0, first=9 if i % clusters % 2 else 3)
            for i in range(60)
        ]
        found = BENCHMARK["pooled_change"]([BENCHMARK["Sums"](base, mixed)], 0.5)
        return found.low, found.change, found.one_sided, found.high

    few, many = both(6), both(60)
    assert few[-1] - few[0] > many[-1] - many[0]
    assert list(many) == sorted(many)


def test_cosines_are_those_of_the_vectors_and_of_their_windows() -> None:
    """A sentence's own cosine, and that of its sum with its neighbours."""
    import numpy as np

    rows = {text: np.array(vector, dtype=np.float32) for text, vector in VECTORS.items()}
    question = np.array((1.0, 0.0), dtype=np.float32)
    found = BENCHMARK["revectored"](pool_chunk(), question, rows.get, may_keep=True)
    assert found.cosines == pytest.approx([1.0, 0.0, 0.6], abs=0.01)
    middle = np.array((1.6, 1.8)) / math.hypot(1.6, 1.8)
    assert found.window_cosines[1] == pytest.approx(middle[0], abs=0.01)


def test_a_variant_without_a_chunks_sentences_keeps_the_stored_cosines() -> None:
    """A chunk is replaced as a whole, or not at all."""
    import numpy as np

    chunk, question = pool_chunk(), np.array((1.0, 0.0), dtype=np.float32)
    revectored, none = BENCHMARK["revectored"], BENCHMARK["no_vector"]
    assert revectored(chunk, question, none, may_keep=True) is chunk
    some = {TEXTS[0]: question}.get
    with pytest.raises(SystemExit, match="all sentences of a chunk, or of none"):
        revectored(chunk, question, some, may_keep=True)


def test_a_curve_keeps_what_the_policy_keeps_and_no_more_than_its_share() -> None:
    """From one sentence at the highest cut to the policy's share of the first chunks."""
    pool = [pool_chunk()]
    ranking = rank(["ferry"], pool, BUILTIN_POLICY)
    tokens, found = BENCHMARK["curve"](ranking, 2, five_tokens)
    assert tokens[0] == 5.0  # the best one is always kept
    assert tokens[-1] == 10.0  # three sentences would be more than the chunk's 12 tokens
    assert found[0] == 0.0
    assert found[-1] == 1.0
    assert list(tokens) == sorted(tokens)


def test_white_space_and_column_bars_count_for_nothing_between_words() -> None:
    """As the needs of a question are compared."""
    squeezed = BENCHMARK["squeezed"]
    assert squeezed(" a |  b\n\u200bc ") == "a b c"
