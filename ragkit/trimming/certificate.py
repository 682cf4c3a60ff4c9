"""The certificate of a trim policy: what it states, and whether it applies here.

A certificate is *void* if anything that decides what is kept differs, and *stale* if too much of
the corpus has changed; either way the policy goes on trimming, uncertified.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from ragkit.types import Json

MAX_CORPUS_CHANGE = 0.10
"""A certificate is stale when a larger share of the chunks has changed since it was made."""

SIGNALS = "signals/3"
"""Changes whenever signals, their fusion or the support score are computed differently."""

MARGINAL = "marginal: holds on average over calibration sets, not with confidence for this one"
"""The promise of a policy that is calibrated, not certified (conformal prediction)."""

_LATER = frozenset({"generator settings", "reranker settings", "retriever settings"})
"""None in older certificates and for parts without a fingerprint: there the name alone decides."""

_OF_ANSWERS = ("generator", "temperature", "top_p", "top_k", "seed", "max_tokens")

_CLASSES: Mapping[str, tuple[type, ...]] = {
    "str | None": (str,),
    "int | None": (int,),
    "float | None": (int, float),
    "Mapping[str, Json] | None": (Mapping,),
    "Sequence[Json] | None": (list,),
}
"""The classes of JSON values that a certificate's field takes, by the field's annotation."""


class Certified(Protocol):
    """What a certificate is about: a trim policy, which knows its certificate in turn."""

    @property
    def pool(self) -> int: ...  # noqa: D102 (as in TrimPolicy)

    @property
    def budget_tokens(self) -> int | None: ...  # noqa: D102 (as in TrimPolicy)

    def sha256(self) -> str: ...  # noqa: D102 (as in TrimPolicy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What `ragkit calibrate` showed about a trim policy; fields are named as in the policy file.

    A field is None where the file lacks it or holds something of another type. `promise` is None
    where the guarantee holds with the confidence, and otherwise says what holds instead: nothing is
    certified then. `as_read` is the
    object that a certificate was read from: it is written back with all of its keys.
    """

    # The guarantee.
    metric: str | None = None
    mode: str | None = None
    retain: float | None = None
    confidence: float | None = None
    refuse_target: float | None = None
    promise: str | None = None
    # What the labelled questions gave.
    n: int | None = None
    n_effective: float | None = None
    documents: int | None = None
    failures: int | None = None
    achieved: float | None = None
    expected_tokens: float | None = None
    largest_tokens: float | None = None
    untrimmed_tokens: float | None = None
    chain: Sequence[Json] | None = None
    refusal: Mapping[str, Json] | None = None
    # How it was made.
    n_tuning: int | None = None
    n_fitted_on: int | None = None
    n_left_out: int | None = None
    cluster: str | None = None
    seed: int | None = None
    # What it holds for.
    fingerprints: Mapping[str, Json] | None = None
    dataset: Mapping[str, Json] | None = None
    corpus: Mapping[str, Json] | None = None
    ragkit: str | None = None
    made: str | None = None
    as_read: Mapping[str, Json] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Json]) -> Certificate:
        """Read the JSON form, whatever it holds: what is missing can only make it void or stale."""
        known: dict[str, Any] = {
            f.name: value
            for f in fields(cls)[:-1]
            if isinstance(value := data.get(f.name), _CLASSES[str(f.type)])
            and not isinstance(value, bool)
        }
        return cls(**known, as_read=data)

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form; of a certificate that was read, exactly what was read."""
        own: dict[str, Json] = {f.name: getattr(self, f.name) for f in fields(self)[:-1]}
        if self.promise is None:
            del own["promise"]
        if self.as_read is None:
            return own
        return {**self.as_read, **{name: value for name, value in own.items() if value is not None}}


def fingerprints(
    configuration: Mapping[str, Json], policy: Certified, *, answers: bool = False
) -> dict[str, Json]:
    """Return what a certificate depends on, by the names that `why_void` uses.

    Args:
        configuration: As `RAG.configuration` returns it.
        policy: The certificate is for its numbers, and for no others.
        answers: Whether it is about answers: only then does the generator count.
    """
    described = configuration["store"]
    store: Mapping[str, Json] = described if isinstance(described, Mapping) else {}
    has_vectors = store.get("embedder_fingerprint") is not None
    mode = configuration["mode"] or ("hybrid" if has_vectors else "lexical")
    missing = None if mode == "lexical" else configuration.get("chunks_without_vectors")
    return {
        "chunker": store.get("chunker_fingerprint"),
        "embedder": store.get("embedder_fingerprint"),
        "sentence vectors": store.get("sentence_vector_kind") or store.get("sentence_vectors"),
        "chunks without vectors": missing,
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
    placement = configuration.get("placement")
    return {
        **found,
        "generator settings": configuration["generator_fingerprint"],
        # As it was before there were others.
        "placement": None if placement == "document" else placement,
    }


def is_of_answers(certificate: Certificate) -> bool:
    """Whether a certificate depends on the generator."""
    return set(_OF_ANSWERS) <= set(certificate.fingerprints or {})


def has_refusal(certificate: Certificate | None) -> bool:
    """Whether the share of answerable questions that are refused is certified too."""
    return certificate is not None and certificate.refusal is not None


def why_void(
    certificate: Certificate,
    configuration: Mapping[str, Json],
    policy: Certified,
    *,
    level: float | None = None,
    max_context_tokens: int | None = None,
) -> str | None:
    """Return what differs from the certificate, in words; None when nothing does.

    `level` and `max_context_tokens` are those of `select`: the one replaces the certified limits,
    the other must not cut the largest certified context.
    """
    known = certificate.fingerprints
    if known is None:
        return "the certificate names no fingerprints"
    if "retriever" in known:
        return f"it was certified for the retriever {known['retriever']!r}"
    answers = is_of_answers(certificate)
    today = fingerprints(configuration, policy, answers=answers)
    if today["chunks without vectors"] is not None:
        return "some chunks have no vector yet: ragkit embed"
    for name, now in today.items():
        then = known.get(name)
        if then != now and not (then is None and name in _LATER):
            return f"{name} is {now!r}, certified with {then!r}"
    if level is not None:
        return f"trim level {level} replaces its budget"
    return _why_void_by_cap(certificate, policy, max_context_tokens)


def _why_void_by_cap(
    certificate: Certificate, policy: Certified, max_context_tokens: int | None
) -> str | None:
    largest = certificate.largest_tokens
    if largest is None:
        largest = policy.budget_tokens or 0
    if max_context_tokens is None or max_context_tokens >= largest:
        return None
    cap = f"the cap of {max_context_tokens} tokens"
    return f"{cap} is below the {largest} that it was certified with"


def passage_fingerprints(
    policy: Certified, *, retriever: str | None, reading: str, vectors: str | None, counter: str
) -> dict[str, Json]:
    """Return what a certificate depends on where another retriever finds the passages.

    Args:
        policy: The certificate is for its numbers, and for no others.
        retriever: The fingerprint that its user names.
        reading: How passages are read.
        vectors: What sentences are compared by; None for their words alone.
        counter: The token counter's name.
    """
    return {
        "retriever": retriever,
        "reading of passages": reading,
        "sentence vectors": vectors,
        "token counter": counter,
        "signals": SIGNALS,
        "policy": policy.sha256(),
    }


def why_void_for_passages(
    certificate: Certificate,
    today: Mapping[str, Json],
    policy: Certified,
    *,
    n_passages: int,
    max_context_tokens: int | None = None,
) -> str | None:
    """Return what differs from the certificate of another retriever; None when nothing does.

    `today` is what `passage_fingerprints` returns.
    """
    known = certificate.fingerprints or {}
    if "retriever" not in known:
        return "it was certified for a store, not for another retriever"
    if today["retriever"] is None:
        return "the retriever's fingerprint was not named"
    for name, now in today.items():
        if known.get(name) != now:
            return f"{name} is {now!r}, certified with {known.get(name)!r}"
    fewest, most = known.get("fewest passages"), known.get("most passages")
    if not (isinstance(fewest, int) and isinstance(most, int) and fewest <= n_passages <= most):
        return f"{n_passages} passages were found, certified with {fewest} to {most}"
    return _why_void_by_cap(certificate, policy, max_context_tokens)


def why_stale_for_passages(certificate: Certificate, corpus_version: str | None) -> str | None:
    """Return how the corpus differs from that of a certificate; None when it does not."""
    if corpus_version is None:
        return "the corpus version was not named"
    then = (certificate.corpus or {}).get("version")
    if then == corpus_version:
        return None
    return f"the corpus is {corpus_version!r}, certified with {then!r}"


def why_void_for_pool(policy: Certified, k: int) -> str | None:
    """Return what voids a certificate where k chunks are retrieved; None for the policy's pool."""
    return None if k == policy.pool else f"a pool of {k} replaces its {policy.pool}"


def is_stale(certificate: Certificate, corpus: Mapping[str, Json]) -> bool:
    """Whether too many chunks have changed since, by the sketch of today's corpus."""
    then = certificate.corpus
    return then is None or changed_share(then, corpus) > MAX_CORPUS_CHANGE


def changed_share(then: Mapping[str, Json], now: Mapping[str, Json]) -> float:
    """Estimate the share of chunks that differ between two corpora from their sketches.

    A sketch (`RAG.corpus_sketch`) holds the smallest of all chunk ids, which are digests. The share
    of the smallest ids of the union that both hold estimates the Jaccard index (Broder 1997,
    section 3). Where either is no sketch, everything counts as changed.
    """
    n_then, n_now = then.get("chunks"), now.get("chunks")
    a, b = _texts(then.get("smallest_ids")), _texts(now.get("smallest_ids"))
    if not (isinstance(n_then, int) and isinstance(n_now, int)) or a is None or b is None:
        return 1.0
    if max(n_then, n_now) == 0:
        return 0.0
    smallest = sorted({*a, *b})[: max(len(a), len(b))]
    if not smallest:
        return 1.0
    shared = len(set(smallest) & set(a) & set(b)) / len(smallest)
    both = shared * (n_then + n_now) / (1.0 + shared)
    return max(0.0, 1.0 - both / max(n_then, n_now))


def _texts(value: Json) -> list[str] | None:
    """Return a list's entries where all are text; None otherwise."""
    entries = value if isinstance(value, Sequence) and not isinstance(value, str) else (None,)
    texts = [entry for entry in entries if isinstance(entry, str)]
    return texts if len(texts) == len(entries) else None
