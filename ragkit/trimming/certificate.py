"""Whether the certificate of a trim policy holds for this pipeline and this store.

A certificate is *void* where anything differs that decides what is kept, and *stale* when more of
the corpus has changed than it allows; either way the policy goes on trimming, uncertified.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from ragkit.trimming.policy import TrimPolicy
from ragkit.types import Json

MAX_CORPUS_CHANGE = 0.10
"""A certificate is stale when a larger share of the chunks has changed since."""

SIGNALS = "signals/2"
"""Changes whenever signals, their fusion or the evidence score are computed differently."""

_LATER = frozenset({"generator settings", "reranker settings", "retriever settings"})
"""Not in older certificates, nor for parts without a fingerprint: they are judged by name."""

_OF_ANSWERS = ("generator", "temperature", "top_p", "top_k", "seed", "max_tokens")


def fingerprints(
    configuration: Mapping[str, Json], policy: TrimPolicy, *, answers: bool = False
) -> dict[str, Json]:
    """Return what a certificate depends on, by the names that `void_because` uses.

    Args:
        configuration: As `RAG.configuration` gives it; without `answers` the generator's
            fingerprint is not looked at.
        policy: The certificate is for these numbers, and for no others.
        answers: Whether it is about answers, which depend on the generator too.
    """
    store = cast("Mapping[str, Json]", configuration["store"] or {})
    has_vectors = store.get("embedder_fingerprint") is not None
    mode = configuration["mode"] or ("hybrid" if has_vectors else "lexical")
    return {
        "chunker": store.get("chunker_fingerprint"),
        "embedder": store.get("embedder_fingerprint"),
        "sentence vectors": store.get("sentence_vectors"),
        "retrieval": f"{mode} {configuration['fusion']}",
        "reranker": configuration["reranker"],
        "reranker settings": configuration["reranker_fingerprint"],
        "retriever settings": configuration["retriever_fingerprint"],
        "template": configuration["template_sha256"],
        "token counter": configuration["counter"],
        "signals": SIGNALS,
        "policy": policy.sha256(),
        **(_of_answers(configuration) if answers else {}),
    }


def _of_answers(configuration: Mapping[str, Json]) -> dict[str, Json]:
    found = {name: configuration[name] for name in _OF_ANSWERS}
    return {**found, "generator settings": configuration["generator_fingerprint"]}


def is_of_answers(certificate: Mapping[str, Json]) -> bool:
    """Whether a certificate depends on the generator."""
    known = certificate.get("fingerprints")
    return isinstance(known, Mapping) and set(_OF_ANSWERS) <= set(known)


def why_void(
    certificate: Mapping[str, Json], configuration: Mapping[str, Json], policy: TrimPolicy
) -> str | None:
    """Return what differs from the certificate, in words; None when nothing does."""
    known = certificate.get("fingerprints")
    if not isinstance(known, Mapping):
        return "the certificate names no fingerprints"
    answers = is_of_answers(certificate)
    for name, now in fingerprints(configuration, policy, answers=answers).items():
        then = known.get(name)
        if then != now and not (then is None and name in _LATER):
            return f"{name} is {now!r}, certified with {then!r}"
    return None


def is_stale(certificate: Mapping[str, Json], corpus: Mapping[str, Json]) -> bool:
    """Whether too many chunks have changed since the certificate was made."""
    then = certificate.get("corpus")
    if not isinstance(then, Mapping) or not {"chunks", "smallest_ids"} <= set(then):
        return True
    return changed_share(then, corpus) > MAX_CORPUS_CHANGE


def changed_share(then: Mapping[str, Json], now: Mapping[str, Json]) -> float:
    """Estimate the share of chunks that differ between two corpora from their sketches.

    A sketch holds the smallest of all chunk ids, which are digests; how many of the smallest of
    the union both have estimates the Jaccard index (Broder 1997, section 3).
    """
    n_then, n_now = cast("int", then["chunks"]), cast("int", now["chunks"])
    if max(n_then, n_now) == 0:
        return 0.0
    a = cast("Sequence[str]", then["smallest_ids"])
    b = cast("Sequence[str]", now["smallest_ids"])
    smallest = sorted({*a, *b})[: max(len(a), len(b))]
    if not smallest:
        return 1.0
    shared = len(set(smallest) & set(a) & set(b)) / len(smallest)
    both = shared * (n_then + n_now) / (1.0 + shared)
    return max(0.0, 1.0 - both / max(n_then, n_now))
