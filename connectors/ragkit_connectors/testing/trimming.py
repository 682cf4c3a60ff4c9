"""Contract of stores that hold vectors of sentences: a class of pytest tests to inherit.

The local store is the oracle: what it gives trimming to choose from, every such store must give.

    class TestMyStore(TrimmingContract):
        def make(self, name):
            return MyStore(name)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ragkit import RAG, Document, Settings
from ragkit.storage import LocalStore, Store
from ragkit.text.markdown import markdown_parts
from ragkit.trimming import PoolChunk
from ragkit.types import Chunk
from ragkit_connectors.testing.stores import MODES, WordEmbedder

_MANUAL = """# Lantern

The lantern needs care. It burns for nine hours.

To light the lantern, do the following in this order:

1. Open the brass door on the harbour side of the lantern house.
2. Fill the lamp with oil up to the red mark, and never above it.
3. Trim the wick to the height of a finger nail and wipe the glass.
4. Light the wick and close the door before you climb down again.

The following oils burn well in it:

- Colza oil, which is kept in the cellar under the kitchen of the keeper.
- Whale oil, which is rare today and smells of fish when it gets old.
- Mineral oil, which burns with a bright flame and leaves soot behind.

| lamp | hours | oil |
|---|---|---|
| harbour lamp with the small wick | 9 | colza oil of the first pressing |
| island lamp with the double wick | 12 | mineral oil without any water |
| fog lamp with the green glass | 4 | whale oil from the northern stores |

Turn the lens with this command:

```
lens --turn 30
```
"""
_TIDES = "The tide turns every six hours. The harbour is deep. Boats wait outside at low tide."
_DOCUMENTS = (
    Document(id="lantern.md", text=_MANUAL, title="Lantern", parts=tuple(markdown_parts(_MANUAL))),
    Document(id="tides", text=_TIDES, title="Tides"),
    Document(id="badge", text="A badge is reset at the desk. It needs a passport. " * 12),
)
_QUESTIONS = (
    "How do I light the lantern?",
    "Which oils burn well in the lantern?",
    "How many hours does the fog lamp burn?",
    "How is the lens turned?",
    "When does the tide turn?",
    "Where is a badge reset?",
)
_SMALL = Settings(chunk_tokens=40, ledger="off", refuse_below="off")


class TrimmingContract:
    """What a store must do that holds vectors of sentences (`HoldsSentences`), or is local."""

    cosine_tolerance = 1e-3
    """Largest difference of a sentence's cosine; the vectors of chunks may be stored rounded."""

    def make(self, name: str) -> Store:
        """Return the store of this name, empty when the test has not written to it yet."""
        raise NotImplementedError

    def test_units_and_borrowed_spans_come_back(self, tmp_path: Path) -> None:
        """Every chunk with its units, their kinds and needs, also those outside of the chunk."""
        with self._with_manual("kb"), _local(tmp_path):
            found = _chunks(self.make("kb"))
            assert found == _chunks(LocalStore(tmp_path / "oracle"))
            needs = [(chunk, need) for chunk in found for u in chunk.units for need in u.needs]
            assert all(_MANUAL[need.start : need.end] == need.text for _, need in needs)
            borrowed = {need.role for chunk, need in needs if need.start < chunk.start}
            assert {"lead_in", "header"} <= borrowed

    def test_a_pool_is_that_of_the_local_store(self, tmp_path: Path) -> None:
        """The same terms and cosines for every unit of every chunk, whatever the mode."""
        with self._with_manual("kb") as rag, _local(tmp_path) as oracle:
            for question in _QUESTIONS:
                for mode in MODES:
                    terms, found = rag.pool(question, k=100, mode=mode)
                    expected_terms, expected = oracle.pool(question, k=100, mode=mode)
                    assert terms == expected_terms
                    assert len(found) == len(expected) > 0, (question, mode)
                    self._check_alike(found, expected, with_cosines=mode != "lexical")

    def test_trimming_keeps_what_it_keeps_of_a_local_store(self, tmp_path: Path) -> None:
        """The same prompt from the same hits."""
        with self._with_manual("kb") as rag, _local(tmp_path) as oracle:
            for question in _QUESTIONS:
                ours = rag.ask(question, mode="dense", dry_run=True)
                other = oracle.ask(question, mode="dense", dry_run=True)
                assert ours.prompt == other.prompt, question
                assert ours.context

    def test_a_sentence_that_is_a_chunk_too(self) -> None:
        """Also where both are written later than the sentence alone was."""
        text = "A badge is reset at the desk."
        with self._with_manual("kb") as rag:
            more = (Document(id=f"n{i:03d}", text=f"{text} Number {i}.") for i in range(100))
            rag.ingest(*more, Document(id="one", text=text))
            assert _n_with_cosines(rag) == _n_pool(rag) > 100

    def test_settings_say_what_is_held(self, tmp_path: Path) -> None:
        """The same kind of vectors as a local store's, and none without an embedder."""
        with self._with_manual("kb") as rag, _local(tmp_path) as oracle:
            assert rag.describe()["settings"] == oracle.describe()["settings"]
            assert rag.describe()["sentence_vector_kind"] == "full"
        words = Settings(embedder="none", chunk_tokens=40, ledger="off")
        with RAG(self.make("words"), config=words) as rag, _local(tmp_path / "w", words) as oracle:
            rag.ingest(*_DOCUMENTS)
            _, found = rag.pool(_QUESTIONS[0], k=100)
            _, expected = oracle.pool(_QUESTIONS[0], k=100)
            self._check_alike(found, expected, with_cosines=False)

    def test_vectors_of_sentences_can_be_left_out(self) -> None:
        """A store made without them stays without, also after a rebuild, until asked."""
        without = Settings(chunk_tokens=40, ledger="off", sentence_vectors=False)
        with RAG(self.make("kb"), embedder=WordEmbedder(), config=without) as rag:
            assert rag.ingest(*_DOCUMENTS).sentences == 0
            assert _n_with_cosines(rag) == 0
        with RAG(self.make("kb"), embedder=WordEmbedder(), config=_SMALL) as rag:
            rag.rebuild()
            assert _n_with_cosines(rag) == 0
        asked = Settings(chunk_tokens=40, ledger="off", sentence_vectors=True)
        with RAG(self.make("kb"), embedder=WordEmbedder(), config=asked) as rag:
            assert rag.rebuild().sentences > 0
            assert _n_with_cosines(rag) == _n_pool(rag)

    def test_a_changed_document_has_vectors_of_its_new_sentences(self, tmp_path: Path) -> None:
        """Unchanged documents are not embedded again, a changed one is trimmed as it is now."""
        changed = Document(id="tides", text=f"{_TIDES} A gauge shows how deep the water is.")
        with self._with_manual("kb") as rag, _local(tmp_path) as oracle:
            assert rag.ingest(*_DOCUMENTS).sentences_embedded == 0
            for one in (rag, oracle):
                one.ingest(changed)
            _, found = rag.pool("How deep is the water?", k=100)
            _, expected = oracle.pool("How deep is the water?", k=100)
            self._check_alike(found, expected, with_cosines=True)

    def _with_manual(self, name: str) -> RAG:
        rag = RAG(self.make(name), embedder=WordEmbedder(), config=_SMALL)
        rag.ingest(*_DOCUMENTS)
        return rag

    def _check_alike(
        self, found: Sequence[PoolChunk], expected: Sequence[PoolChunk], *, with_cosines: bool
    ) -> None:
        by_id = {chunk.hit.chunk.id: chunk for chunk in expected}
        assert {chunk.hit.chunk.id for chunk in found} == by_id.keys()
        for ours in found:
            other = by_id[ours.hit.chunk.id]
            assert ours.hit.chunk == other.hit.chunk
            assert list(map(list, ours.terms)) == list(map(list, other.terms))
            assert ours.with_chunk == other.with_chunk == with_cosines
            for values, wanted in (
                (ours.cosines, other.cosines),
                (ours.window_cosines, other.window_cosines),
            ):
                assert (values is not None, wanted is not None) == (with_cosines, with_cosines)
                pairs = zip(values or (), wanted or (), strict=True)
                assert all(abs(a - b) <= self.cosine_tolerance for a, b in pairs)


def _local(folder: Path, settings: Settings = _SMALL) -> RAG:
    embedder = WordEmbedder() if settings.embedder is None else None
    store = LocalStore(folder / "oracle", create=True)
    rag = RAG(store, embedder=embedder, config=settings)
    rag.ingest(*_DOCUMENTS)
    return rag


def _chunks(store: Store) -> list[Chunk]:
    found = store.document("lantern.md")
    assert found is not None
    return list(found[2])


def _n_with_cosines(rag: RAG) -> int:
    _, found = rag.pool(_QUESTIONS[0], k=500, mode="dense")
    return sum(chunk.cosines is not None for chunk in found)


def _n_pool(rag: RAG) -> int:
    return len(rag.pool(_QUESTIONS[0], k=500, mode="dense")[1])
