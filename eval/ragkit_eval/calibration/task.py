"""What a calibration is asked, and what comes of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from ragkit import __version__
from ragkit.brief import counted
from ragkit.errors import ConfigError
from ragkit.pipeline import RAG
from ragkit.trimming import Certificate, Scorer, TrimPolicy
from ragkit.trimming.certificate import MARGINAL
from ragkit.types import Json
from ragkit_eval.calibration.certify import Goal
from ragkit_eval.data.datasets import Dataset
from ragkit_eval.measuring.subjects import PassageSubject, StoreSubject

_FOREIGN = "a retriever that is not ragkit's"

if TYPE_CHECKING:
    from ragkit_eval.calibration.losses import Losses


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The result of a calibration: a policy with its certificate, or why there is none.

    `evidence` is what the untrimmed and the certified context of the labelled questions hold, each
    with its 95 % interval. `grid` tells what other shares and confidences cost. `untrimmed_k` is
    the number of whole chunks where these are cheaper than any certified cut, None otherwise.
    `uncertified_tokens` is what a cut would send that just keeps the share on the labelled
    questions: the difference is the price of the certificate; None where no cut does. `located` is
    how many passages of another retriever were found in the dataset's documents, by their exact
    text; None where that does not matter. `labels` counts the questions: those given; those that
    nothing answers, that the measure says nothing of, that fitted or chose a policy, or that are
    more than a document may count; those measured, and of these those that the untrimmed top 5
    serves. A policy without a certificate is one for a retriever or documents that were not named.
    `losses` is what is lost, question by question, if that was asked for.
    `to_dict` is the JSON of `ragkit calibrate`.
    """

    policy: TrimPolicy | None
    reason: str | None
    n: int
    n_needed: int | None
    curve: tuple[Mapping[str, Json], ...]
    target: Mapping[str, Json]
    advice: Mapping[str, Json] | None = None
    evidence: Mapping[str, Json] | None = None
    grid: tuple[Mapping[str, Json], ...] = ()
    untrimmed_k: int | None = None
    uncertified_tokens: float | None = None
    located: Mapping[str, Json] | None = None
    losses: Losses | None = None
    labels: Mapping[str, Json] | None = None

    def __repr__(self) -> str:
        """Return the result in short."""
        kind = "certified" if self.certified else "uncertified"
        found = self.reason if self.policy is None else f"{kind} policy {self.policy.name!r}"
        return f"<Calibration {found}, {counted(self.n, 'question')}>"

    @property
    def certified(self) -> bool:
        """Whether there is a certificate."""
        certificate = None if self.policy is None else self.policy.certificate
        return certificate is not None and certificate.promise is None

    @property
    def promise(self) -> str | None:
        """What the policy promises instead of a certificate (mode `conformal`), or None."""
        certificate = None if self.policy is None else self.policy.certificate
        return None if certificate is None else certificate.promise

    @property
    def scorer(self) -> Scorer | None:
        """The policy's scorer, or None.

        Save it next to the policy's file, under its own name
        (`ragkit_eval.calibration.fit.write_scorer`).
        """
        return None if self.policy is None else self.policy.scorer

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit calibrate`."""
        return {
            "schema": 1,
            "certified": self.certified,
            "promise": self.promise,
            "reason": self.reason,
            "n": self.n,
            "n_needed": self.n_needed,
            "target": dict(self.target),
            "policy": None if self.policy is None else self.policy.to_dict(),
            "curve": [dict(point) for point in self.curve],
            "advice": None if self.advice is None else dict(self.advice),
            "evidence": None if self.evidence is None else dict(self.evidence),
            "grid": [dict(cell) for cell in self.grid],
            "untrimmed_k": self.untrimmed_k,
            "uncertified_tokens": self.uncertified_tokens,
            "located": None if self.located is None else dict(self.located),
            "losses": None if self.losses is None else self.losses.to_dict(),
            "labels": None if self.labels is None else dict(self.labels),
        }


def write_policy(calibration: Calibration) -> str:
    """Return the content of the trim policy file.

    Raises:
        ConfigError: nothing was certified.
    """
    if calibration.policy is None:
        raise ConfigError(f"there is no policy to write: {calibration.reason}")
    return json.dumps(calibration.policy.to_dict(), indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is calibrated, labelled questions and the goal; other fields are as in `calibrate`."""

    subject: StoreSubject | PassageSubject
    dataset: Dataset
    goal: Goal
    pools: Sequence[int]
    scorers: Sequence[str | Scorer]
    neighbours: Sequence[int]
    headings: Sequence[bool]
    units: Sequence[bool]
    second_hop: float
    cluster: str
    name: str
    seed: int
    on_progress: Callable[[int, int], None] | None
    fingerprint: str | None = None
    corpus_version: str | None = None
    with_losses: bool = False

    def __post_init__(self) -> None:
        """Check that there is something to try; raises `ConfigError`."""
        if not self.pools or min(self.pools) < 1:
            raise ConfigError(f"pool {self.pools}; allowed: 1 or more")
        for name in ("scorers", "neighbours", "headings", "units"):
            if not getattr(self, name):
                raise ConfigError(f"{name}: nothing to try; give at least one value")

    @property
    def rag(self) -> RAG:
        """The pipeline; raises `ConfigError` where the retriever is another."""
        if isinstance(self.subject, StoreSubject):
            return self.subject.rag
        raise ConfigError(
            f"metric Agreement and scorers other than none need a store; {_FOREIGN} has none"
        )

    @property
    def has_choices(self) -> bool:
        """Whether there are several policies to select from."""
        return len(self.scorers) * len(self.policies(None)) > 1

    def policies(self, scorer: Scorer | None) -> list[TrimPolicy]:
        """Return the policies to select from, without limits; a scorer is of all of them."""
        return [
            TrimPolicy(
                name=self.name,
                pool=pool,
                neighbours=neighbours,
                headings=headings,
                units=units,
                second_hop=self.second_hop,
                scorer=scorer,
            )
            for pool, neighbours, headings, units in product(
                self.pools, self.neighbours, self.headings, self.units
            )
        ]

    def certified(
        self,
        policy: TrimPolicy,
        shown: Certificate,
        fingerprints: Mapping[str, Json],
        corpus: Mapping[str, Json],
    ) -> TrimPolicy:
        """Return the policy with its certificate: what was shown, the goal, and what it holds for.

        Args:
            policy: What is certified.
            shown: What the labelled questions gave.
            fingerprints: What it depends on.
            corpus: The state of the documents.
        """
        goal, dataset = self.goal, self.dataset
        certificate = replace(
            shown,
            metric=goal.metric,
            mode=goal.mode,
            retain=goal.retain,
            confidence=None if goal.is_marginal else goal.confidence,
            promise=MARGINAL if goal.is_marginal else None,
            refuse_target=goal.refuse_target,
            cluster=self.cluster,
            seed=self.seed,
            fingerprints=fingerprints,
            dataset={"name": dataset.name, "split": dataset.split, "sha256": dataset.sha256},
            corpus=corpus,
            ragkit=__version__,
            made=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        return replace(policy, certificate=certificate)
