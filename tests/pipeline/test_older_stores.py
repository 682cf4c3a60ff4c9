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
from ragkit.chunking import SpanChunker
from ragkit.embedding import BuiltinEmbedder
from ragkit.text.rst import rst_parts
from ragkit.text.wordpiece import load_wordpiece
from ragkit.types import Document, Mode

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


STEPS = """Boiler
======

Restart it as follows:

1. Close the red valve.
2. Press the button.
3. Wait for the blue lamp.
"""
OLDER = (
    Document(id="boiler.rst", text=STEPS, source="/gone/boiler.rst"),
    Document(
        id="ferry.txt", text="The ferry leaves at nine. Dogs travel free.", source="ferry.txt"
    ),
    Document(id="pass.html", text="A day pass costs fourteen euros.", source="/gone/pass.html"),
)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Return a store as made before structure was kept."""
    chunker = SpanChunker(name="recursive", counter=load_wordpiece(), units=False)
    with RAG(tmp_path / "plain", chunker=chunker) as rag:
        rag.ingest(*OLDER)
    return tmp_path / "plain"


def test_a_store_without_units_goes_on_without(plain: Path) -> None:
    """New documents are cut as its others; each ingest advises a rebuild once."""
    told: list[str] = []
    for name in ("more.rst", "other.rst"):
        with RAG(plain, notify=told.append) as rag:
            parts = rst_parts(STEPS)
            rag.ingest(Document(id=name, text=STEPS, source=name, parts=parts))
            found = rag.stored(name)
            assert found is not None
            assert not any(chunk.units for chunk in found[2])
            settings = cast("dict[str, str]", rag.describe()["settings"])
            assert settings["chunker_fingerprint"].startswith("recursive/1 ")
    assert [line for line in told if "ragkit rebuild" in line] == told[:1] * 2


def test_a_rebuild_adds_what_the_stored_text_shows(plain: Path) -> None:
    """Steps are kept whole then; what only a file shows is counted, and vectors are reused."""
    told: list[str] = []
    with RAG(plain, notify=told.append) as rag:
        report = rag.rebuild()
        assert report.embedded == 0
        assert [line for line in told if "files: 1; ingest these" in line] == told
        assert "step" in {item.unit_kind for item in rag.ask("Which button?").context}
        found = rag.stored("boiler.rst")
        assert found is not None
        assert [u.kind for u in found[2][0].units].count("step") == 3
        assert rag.rebuild().sentences_embedded == 0
        assert len(told) == 1
        assert not rag.doctor()


def test_a_rebuild_of_prose_embeds_nothing(tmp_path: Path) -> None:
    """Where no chunk and no sentence changes, all vectors are those of before."""
    chunker = SpanChunker(name="recursive", counter=load_wordpiece(), units=False)
    with RAG(tmp_path / "kb", chunker=chunker) as rag:
        rag.ingest(OLDER[1])
    with RAG(tmp_path / "kb") as rag:
        report = rag.rebuild()
        assert (report.chunks, report.embedded, report.sentences_embedded) == (1, 0, 0)


def test_an_older_store_is_rebuilt(store: Path) -> None:
    """A store of an older schema gets units, and says which files to ingest again."""
    told: list[str] = []
    with RAG(store, embedder=BuiltinEmbedder(runtime="numpy"), notify=told.append) as rag:
        rag.rebuild()
        assert any("files: 3; ingest these files again" in line for line in told)
        assert not rag.doctor()
        settings = cast("dict[str, str]", rag.describe()["settings"])
        assert settings["chunker_fingerprint"].startswith("recursive/2 ")


def test_show_tells_the_schema_before_and_after_a_write(store: Path) -> None:
    """The first write migrates a store."""
    page = store / "new.md"
    page.write_text("A new page.", encoding="utf-8")
    with RAG(store) as rag:
        assert rag.describe()["schema_version"] == 2
        with pytest.warns(UserWarning, match="ragkit rebuild"):
            rag.ingest(page)
        assert rag.describe()["schema_version"] == 3
