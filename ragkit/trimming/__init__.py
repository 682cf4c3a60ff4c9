"""Trimming: the fewest tokens of a deep pool of chunks that a trim policy asks for.

Standard library only; nothing is read but the files of policies and scorers. The pool's sentences
are scored against the question and ranked (`rank`), and kept from the best down until the policy's
limit (`select`); the kept ones go back into document order. For one pool the kept set only grows
with the limit, so a policy is one number.
"""

from ragkit.trimming.certificate import Certificate
from ragkit.trimming.policy import (
    BASELINE_HITS,
    BUILTIN_POLICY,
    TrimPolicy,
    load_policy,
    open_policy,
)
from ragkit.trimming.ranking import (
    RankedSentence,
    Ranking,
    largest_share,
    rank,
    rank_together,
    refusal_threshold,
    support_score,
)
from ragkit.trimming.scorer import Forest, Scorer, Tree, features, load_scorer, open_scorer
from ragkit.trimming.selection import Trimmed, select, trim, untrimmed
from ragkit.trimming.signals import PoolChunk, Signals, fused, measure

__all__ = [
    "BASELINE_HITS",
    "BUILTIN_POLICY",
    "Certificate",
    "Forest",
    "PoolChunk",
    "RankedSentence",
    "Ranking",
    "Scorer",
    "Signals",
    "Tree",
    "TrimPolicy",
    "Trimmed",
    "features",
    "fused",
    "largest_share",
    "load_policy",
    "load_scorer",
    "measure",
    "open_policy",
    "open_scorer",
    "rank",
    "rank_together",
    "refusal_threshold",
    "select",
    "support_score",
    "trim",
    "untrimmed",
]
