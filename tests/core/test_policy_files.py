"""Trim policy files: those that older versions wrote and read mean the same today.

`expected.json` beside them holds what the version that wrote `certified.json` made of each.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ragkit.text.wordpiece import load_wordpiece
from ragkit.trimming import Certificate, PoolChunk, load_policy, rank, select
from ragkit.trimming.certificate import SIGNALS, has_refusal, is_stale, why_void, why_void_for_pool
from ragkit.types import Json, Location, Mark

from .test_trimming import FERRY, MUSEUM, PASS_WORDS, pool_of

FILES = Path(__file__).parents[1] / "fixtures" / "trim_policies"
EXPECTED: dict[str, Any] = json.loads((FILES / "expected.json").read_text())
COUNTER = load_wordpiece()


def certificate(name: str) -> Certificate:
    """Return the certificate of a file."""
    found = load_policy(str(FILES / f"{name}.json"))[0].certificate
    assert found is not None
    return found


def titled_pool() -> list[PoolChunk]:
    """Return a pool with cosines, titles, headings, and a document twice."""
    heading = Mark(start=0, location=Location(heading=("x",)), kind="heading")
    texts = (FERRY, MUSEUM, FERRY, "Prices. A day pass is dear. Dogs wait.")
    pool: list[PoolChunk] = []
    for entry, title in zip(
        pool_of(*texts, with_cosines=True), ("Ferry", "Museum", "", "Day pass"), strict=True
    ):
        chunk = dataclasses.replace(entry.hit.chunk, marks=(heading,))
        hit = dataclasses.replace(entry.hit, title=title, chunk=chunk)
        pool.append(dataclasses.replace(entry, hit=hit))
    return pool


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_file_means_what_it_meant(name: str) -> None:
    """Its policy writes the same JSON, has the same digests, and trims alike."""
    expected = EXPECTED[name]
    policy, file_sha256 = load_policy(str(FILES / f"{name}.json"))
    assert file_sha256 == expected["file_sha256"]
    assert policy.sha256() == expected["sha256"]
    written = json.dumps(policy.to_dict()).encode()
    assert hashlib.sha256(written).hexdigest() == expected["json_sha256"]
    ranking = rank(PASS_WORDS, titled_pool(), policy)
    assert ranking.support == pytest.approx(expected["support"])
    order = [(s.hit.chunk.document_id, s.place.span[0]) for s in ranking.sentences]
    assert order == [(document, start) for document, start, _ in expected["order"]]
    scores = [s.relative_score for s in ranking.sentences]
    assert scores == pytest.approx([score for _, _, score in expected["order"]])
    kept = select(ranking, policy=policy, counter=COUNTER).context
    assert [[i.hit.chunk.document_id, i.start, i.end, i.n_tokens] for i in kept] == [
        item[:4] for item in expected["context"]
    ]
    for item, (*_, sentence_scores) in zip(kept, expected["context"], strict=True):
        assert [s.score for s in item.sentences] == pytest.approx(sentence_scores)


def test_the_fields_of_a_certificate_are_the_keys_of_its_file() -> None:
    """A certificate that is made writes the keys of the file, in its order; null is unknown."""
    data = json.loads((FILES / "certified.json").read_text())["certificate"]
    assert list(Certificate().to_dict()) == list(data)
    made = Certificate(**data)
    assert json.dumps(made.to_dict()) == json.dumps(data)
    read = Certificate.from_dict(data)
    assert read == made
    assert (read.metric, read.n, read.retain) == ("EvidenceFound", 120, 0.9)
    assert dataclasses.replace(read, n=7).to_dict() == {**data, "n": 7}


def test_damaged_facts_are_unknown_and_are_written_back() -> None:
    """What is of another kind counts for nothing, and stays in the file."""
    damaged = certificate("damaged")
    assert (damaged.n, damaged.retain, damaged.fingerprints, damaged.chain) == (None,) * 4
    assert not has_refusal(damaged)
    assert damaged.to_dict()["n"] == "many"
    assert damaged.to_dict()["as_read"] == {"n": 1}
    assert certificate("empty_certificate").to_dict() == {}
    assert has_refusal(certificate("certified"))
    assert not has_refusal(None)


def of_today(name: str) -> Certificate:
    """Return the certificate of a file as if it had been made with the signals of today."""
    found = certificate(name)
    known = found.fingerprints
    return (
        found
        if known is None
        else dataclasses.replace(found, fingerprints={**known, "signals": SIGNALS})
    )


def test_certificates_of_other_signals_are_void() -> None:
    """What was kept then may not be kept now."""
    policy, _ = load_policy(str(FILES / "certified.json"))
    here = configuration(certificate("certified"))
    void = why_void(certificate("certified"), here, policy)
    assert void == f"signals is {SIGNALS!r}, certified with 'signals/2'"


def configuration(of: Certificate) -> dict[str, Json]:
    """Return the configuration that a certificate was made with."""
    known = of.fingerprints
    assert known is not None
    mode, fusion = str(known["retrieval"]).split()
    return {
        "store": {
            "chunker_fingerprint": known["chunker"],
            "embedder_fingerprint": known["embedder"],
            "sentence_vectors": known["sentence vectors"],
        },
        "mode": mode,
        "fusion": fusion,
        "reranker": known["reranker"],
        # Neither file knows one, and then the name decides.
        "reranker_fingerprint": "made since",
        "retriever_fingerprint": None,
        "template_sha256": known["template"],
        "counter": known["token counter"],
    }


@pytest.mark.parametrize(
    ("name", "limits", "named"),
    [
        ("certified", {}, None),
        ("older", {}, None),
        ("certified", {"level": 0.5}, "trim level 0.5 replaces its budget"),
        ("certified", {"max_context_tokens": 5}, "the cap of 5 tokens is below the"),
        ("certified", {"max_context_tokens": 10_000}, None),
        # It does not say how large its contexts were, and the policy has no budget.
        ("older", {"max_context_tokens": 5}, None),
        ("damaged", {}, "names no fingerprints"),
        ("empty_certificate", {}, "names no fingerprints"),
    ],
)
def test_what_voids_a_certificate(name: str, limits: dict[str, Any], named: str | None) -> None:
    """Limits that cut more than was certified, and missing facts; older files lack some keys."""
    policy, _ = load_policy(str(FILES / f"{name}.json"))
    here = configuration(certificate("certified"))
    void = why_void(of_today(name), here, policy, **limits)
    assert (void is None) if named is None else (named in str(void))
    assert why_void_for_pool(policy, policy.pool) is None
    assert why_void_for_pool(policy, 3) == f"a pool of 3 replaces its {policy.pool}"


def test_a_corpus_that_cannot_be_compared_is_stale() -> None:
    """A damaged sketch is no error."""
    certified = certificate("certified")
    assert certified.corpus is not None
    assert not is_stale(certified, certified.corpus)
    assert is_stale(certificate("damaged"), certified.corpus)
    assert is_stale(certificate("empty_certificate"), certified.corpus)
    for wrong in ({"chunks": "five"}, {"smallest_ids": 3}, {"smallest_ids": "abc"},
                  {"smallest_ids": [1]}, {"chunks": None}):  # fmt: skip
        corpus: dict[str, Json] = {**certified.corpus, **wrong}
        assert is_stale(dataclasses.replace(certified, corpus=corpus), certified.corpus)
