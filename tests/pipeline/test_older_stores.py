"""Stores made by released or earlier code open, and answer as they did.

`tests/fixtures/store_schema_2` was made at commit 0379839 from six files of `examples/harbor`;
`expected.json` holds what that commit found in it and answered.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TypedDict, cast, get_args

import pytest

from ragkit import RAG, Settings
from ragkit.embedding import BuiltinEmbedder
from ragkit.types import Mode

FIXTURE = Path(__file__).parents[1] / "fixtures" / "store_schema_2"


class Expected(TypedDict):
    """What was found and answered for a question; hits are pairs of chunk id and score."""

    question: str
    lexical: list[tuple[str, float]]
    dense: list[tuple[str, float]]
    hybrid: list[tuple[str, float]]
    answer: str | None
    reason: str | None
    context: list[tuple[str, str]]


EXPECTED = cast("list[Expected]", json.loads((FIXTURE / "expected.json").read_text("utf-8")))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a copy of the store."""
    place = tmp_path / "kb"
    place.mkdir()
    shutil.copy(FIXTURE / "store.sqlite", place)
    return place


@pytest.mark.parametrize("mode", get_args(Mode))
def test_an_older_store_finds_the_same(store: Path, mode: Mode) -> None:
    """Same chunks in the same order, with scores as near as its vectors allow."""
    with RAG(store, embedder=BuiltinEmbedder(runtime="numpy")) as rag:
        for expected in EXPECTED:
            hits = rag.search(expected["question"], k=3, mode=mode)
            found = [(hit.chunk.id, hit.score) for hit in hits]
            assert [chunk_id for chunk_id, _ in found] == [c for c, _ in expected[mode]]
            # The question is embedded by weights that were rounded anew since.
            assert [score for _, score in found] == pytest.approx(
                [score for _, score in expected[mode]], abs=1e-4 if mode == "lexical" else 0.02
            )


def test_an_older_store_answers_the_same(store: Path) -> None:
    """Answers, refusals and contexts stay, under the policy that was bundled then."""
    policy = store / "bundled_3.json"
    policy.write_text("{}")
    config = Settings(trim=str(policy))
    with RAG(store, embedder=BuiltinEmbedder(runtime="numpy"), config=config) as rag:
        for expected in EXPECTED:
            answer = rag.ask(expected["question"])
            context = [(item.hit.chunk.document_id, item.text) for item in answer.context]
            assert (answer.text, answer.reason) == (expected["answer"], expected["reason"])
            assert context == [tuple(pair) for pair in expected["context"]]


def test_an_older_store_is_written_to(store: Path) -> None:
    """It is sound, and documents go and come."""
    with RAG(store) as rag:
        assert not rag.doctor()
        assert rag.rm("fares.csv") == ["fares.csv"]
        assert len(list(rag.list())) == 5
        assert not rag.doctor()
