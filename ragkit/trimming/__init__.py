"""Trimming: the fewest tokens of a deep pool of chunks that a trim policy asks for.

Pure: no input or output, standard library only. The pool's sentences are scored against the
question, ranked, and kept from the best down until the policy's limit; the kept ones go back into
document order. For one pool the kept set only grows with the limit, so a policy is one number.
"""

from ragkit.trimming.policy import BASELINE_HITS, REFUSE_BELOW, TrimPolicy
from ragkit.trimming.scorer import Forest, Scorer, Tree, feature_names, features
from ragkit.trimming.selection import (
    Ranked,
    Trimmed,
    evidence_score,
    rank_sentences,
    trim,
    untrimmed,
)
from ragkit.trimming.signals import PoolChunk, Signals, measure

__all__ = [
    "BASELINE_HITS",
    "REFUSE_BELOW",
    "Forest",
    "PoolChunk",
    "Ranked",
    "Scorer",
    "Signals",
    "Tree",
    "TrimPolicy",
    "Trimmed",
    "evidence_score",
    "feature_names",
    "features",
    "measure",
    "rank_sentences",
    "trim",
    "untrimmed",
]
