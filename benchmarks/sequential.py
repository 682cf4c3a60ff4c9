"""How often a sequential gate errs, and how far it reads, on simulated documents.

    python benchmarks/sequential.py --times 1000

Documents have rates of their own (a beta distribution with a correlation within documents), and
their questions are right or wrong by it. Two kinds of gate are simulated: a floor, and a margin on
the difference of two runs, which lose some questions of a document and gain others. "boundary" has
the truth just at the limit, where no verdict should come: `pass` and `fail` are how often each
does, and each may in at most 5 %. Elsewhere `read` is the mean share of the questions read.
"each question a step" is the same test where every question counts as independent: what a gate that
knows no documents does. "least" is the share of the documents below which no test that is valid for
every distribution of documents can give the verdict, were they all as good, or as bad, as the mean.

"run" is a gate about the run alone (`--scope run`), which draws questions without replacement. Its
lists at the boundary are turned, answer by answer, until they are just outside, or just at the
limit: `pass` is how often the ones pass, `fail` how often the others fail. Needs numpy.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ragkit_eval.reporting.sequential import fewest_documents
from ragkit_eval.stats.betting import Wager

ALPHA = 0.05
DESIGNS = ((60, 20), (36, 60), (150, 8))
CORRELATIONS = (0.02, 0.10)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A gate and a truth: of a floor the share right, of a margin the shares lost and gained."""

    name: str
    limit: float
    right: float | None = None
    lost: float = 0.0
    gained: float = 0.0

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest surplus of a question."""
        if self.right is None:
            return self.limit - 1.0, self.limit + 1.0
        return -self.limit, 1.0 - self.limit


CASES = (
    Case(name="floor .95, boundary", limit=0.95, right=0.95),
    Case(name="floor .80, boundary", limit=0.80, right=0.80),
    Case(name="floor .50, boundary", limit=0.50, right=0.50),
    Case(name="margin .05, boundary", limit=0.05, lost=0.07, gained=0.02),
    Case(name="floor .80, truth .95", limit=0.80, right=0.95),
    Case(name="floor .70, truth .95", limit=0.70, right=0.95),
    Case(name="floor .80, truth .60", limit=0.80, right=0.60),
    Case(name="floor .95, truth .80", limit=0.95, right=0.80),
    Case(name="margin .05, gain .15", limit=0.05, lost=0.02, gained=0.17),
    Case(name="margin .05, no change", limit=0.05, lost=0.02, gained=0.02),
    Case(name="margin .05, loss .25", limit=0.05, lost=0.27, gained=0.02),
)


def surpluses(
    case: Case, n_documents: int, n_questions: int, correlation: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the surplus of each question: documents by questions."""

    def hits(share: float) -> NDArray[np.float64]:
        size = 1.0 / correlation - 1.0
        rates = rng.beta(share * size, (1.0 - share) * size, size=(n_documents, 1))
        return np.asarray(rng.random((n_documents, n_questions)) < rates, dtype=np.float64)

    if case.right is not None:
        return hits(case.right) - case.limit
    # Independent of each other where both are rare.
    return hits(case.gained) - hits(case.lost) + case.limit


def verdict(
    steps: Iterator[float], bounds: tuple[float, float], size: int | None = None
) -> tuple[str, int]:
    """Return the verdict, and how many steps it took; `size` is that of a list that is drawn."""
    inside, outside = Wager(bounds[0], size=size), Wager(-bounds[1], size=size)
    n = 0
    for n, step in enumerate(steps, start=1):
        inside.add(step)
        outside.add(-step)
        if inside.has_won(ALPHA):
            return "pass", n
        if outside.has_won(ALPHA):
            return "fail", n
    return "inconclusive", n


def simulate(
    case: Case, design: tuple[int, int], correlation: float, times: int, *, by_question: bool
) -> tuple[float, float, float]:
    """Return the shares of passes and of fails, and the mean share of the questions read."""
    rng = np.random.default_rng(0)
    passed = failed = 0
    read = 0.0
    for _ in range(times):
        of_questions = surpluses(case, *design, correlation, rng)
        steps = of_questions.ravel() if by_question else of_questions.mean(axis=1)
        found, n = verdict(iter(steps.tolist()), case.bounds)
        passed += found == "pass"
        failed += found == "fail"
        read += n / len(steps)
    return passed / times, failed / times, read / times


def turned(
    case: Case, values: NDArray[np.float64], rng: np.random.Generator, *, inside: bool
) -> NDArray[np.float64]:
    """Return a list with answers turned until it is just at the limit, or just outside."""
    listed = values.copy()
    wanted = math.ceil(-listed.sum() - 1e-9) - (not inside)
    # Each turn moves the total by 1.
    step = 1.0 if wanted > 0 else -1.0
    least, most = case.bounds
    while wanted:
        may = np.flatnonzero((listed + step >= least - 1e-9) & (listed + step <= most + 1e-9))
        at = rng.choice(may, size=min(abs(wanted), len(may)), replace=False)
        listed[at] += step
        wanted -= int(step) * len(at)
    return listed


def simulate_run(
    case: Case, design: tuple[int, int], correlation: float, times: int
) -> tuple[float, float, float]:
    """Return the same of a gate about the run alone."""
    rng = np.random.default_rng(0)
    at_limit = "boundary" in case.name
    passed = failed = 0
    read = 0.0
    for _ in range(times):
        listed = rng.permutation(surpluses(case, *design, correlation, rng).ravel())
        outside = turned(case, listed, rng, inside=False) if at_limit else listed
        found, n = verdict(iter(outside.tolist()), case.bounds, len(listed))
        passed += found == "pass"
        read += n / len(listed)
        if at_limit:
            inside = turned(case, listed, rng, inside=True)
            found, _ = verdict(iter(inside.tolist()), case.bounds, len(listed))
        failed += found == "fail"
    return passed / times, failed / times, read / times


def least_documents(case: Case) -> int:
    """Return below how many documents no test can tell, if all were like the mean.

    A null hypothesis that has them all but for a share of the worst documents there can be gives
    so many of them with a chance of more than alpha.
    """
    least, most = case.bounds
    mean = (
        case.right - case.limit if case.right is not None else case.gained - case.lost + case.limit
    )
    worst = -least if mean > 0.0 else most
    return math.ceil(math.log(ALPHA) / math.log(worst / (worst + abs(mean))))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=1000)
    options = parser.parse_args()
    for design in DESIGNS:
        for correlation in CORRELATIONS:
            print(f"\n{design[0]} documents x {design[1]} questions, correlation {correlation:g}")
            print(f"{'':24}{'pass':>8}{'fail':>8}{'read':>8}{'run':>16}{'':8}"
                  "   each question a step: pass, fail")  # fmt: skip
            for case in CASES:
                of = simulate(case, design, correlation, options.times, by_question=False)
                run = simulate_run(case, design, correlation, options.times)
                line = f"{case.name:24}{of[0]:8.3f}{of[1]:8.3f}{of[2]:8.2f}"
                line += f"{run[0]:8.3f}{run[1]:8.3f}{run[2]:8.3f}"
                if "boundary" in case.name:
                    rival = simulate(case, design, correlation, options.times, by_question=True)
                    line += f"{rival[0]:20.3f}{rival[1]:8.3f}"
                else:
                    reach = case.limit if case.right is None else case.bounds[1]
                    fewest = fewest_documents(case.bounds[0], reach, ALPHA)
                    ideal = "nothing changes" if case.right is None else "all are right"
                    line += f"   least {least_documents(case) / design[0]:.2f}"
                    line += f"; {fewest} documents for a pass if {ideal}"
                print(line)


if __name__ == "__main__":
    main()
