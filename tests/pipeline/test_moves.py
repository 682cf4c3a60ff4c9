"""Files that move, and a prune that would empty the store."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ragkit import RAG, Settings
from ragkit.errors import ConfigError
from ragkit.loading.sources import RecordSource
from ragkit_connectors.testing import WordEmbedder

if TYPE_CHECKING:
    from ragkit.types import Vectors

NONE = Settings(embedder="none", ledger="off")
TITLED = Settings(embed_title=True, ledger="off")


class Counting(WordEmbedder):
    """Counts the texts that it embeds."""

    def __init__(self) -> None:
        super().__init__()
        self.n_texts = 0

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Count, and embed."""
        self.n_texts += len(texts)
        return super().embed_documents(texts)


def _folder(place: Path, n: int = 6) -> Path:
    place.mkdir(parents=True)
    for i in range(n):
        (place / f"{i}.md").write_text(f"# Quay {i}\n\nFerry {i} leaves at {i}. It is blue.\n")
    return place


def _ids(rag: RAG) -> list[str]:
    return [row.document_id for row in rag.list()]


@pytest.mark.parametrize("config", [Settings(ledger="off"), TITLED], ids=["text", "with title"])
@pytest.mark.parametrize("new_name", ["new.md", "inside/0.md", "inside/new.md"])
def test_a_file_that_moved_is_not_embedded_again(
    tmp_path: Path, new_name: str, config: Settings
) -> None:
    """Renamed, moved or both: no text is embedded, and the old document goes with prune."""
    docs, embedder = _folder(tmp_path / "docs"), Counting()
    with RAG(tmp_path / "kb", embedder=embedder, config=config) as rag:
        rag.ingest(docs)
        embedder.n_texts = 0
        (docs / "inside").mkdir()
        (docs / "0.md").rename(docs / new_name)
        report = rag.ingest(docs, prune=True)
        assert (report.moved, report.embedded, embedder.n_texts) == (1, 0, 0)
        assert (report.documents["added"], report.documents["removed"]) == (1, 1)
        assert new_name in _ids(rag)
        assert "0.md" not in _ids(rag)
        assert rag.search("ferry 0 leaves")[0].chunk.document_id == new_name
        assert rag.doctor() == []


def test_a_move_in_two_calls_costs_nothing_if_the_new_file_comes_first(tmp_path: Path) -> None:
    """Vectors stay as long as a document uses them; when the old one went first they went along."""
    docs, embedder = _folder(tmp_path / "docs"), Counting()
    with RAG(tmp_path / "kb", embedder=embedder, config=Settings(ledger="off")) as rag:
        n_chunks = rag.ingest(docs).chunks
        (docs / "0.md").rename(docs / "new.md")
        first = rag.ingest(docs)
        assert (first.moved, first.embedded, first.documents["removed"]) == (1, 0, 0)
        last = rag.ingest(docs, prune=True)
        assert (last.moved, last.embedded, last.documents["removed"]) == (0, 0, 1)
        (docs / "1.md").rename(docs / "newer.md")
        rag.rm("1.md")
        assert rag.ingest(docs).embedded == n_chunks // 6


def test_a_file_of_the_same_text_is_no_move_while_the_other_is_there(tmp_path: Path) -> None:
    """A copy is a copy; of two copies of a file that went one moved."""
    docs = _folder(tmp_path / "docs")
    with RAG(tmp_path / "kb", config=NONE) as rag:
        rag.ingest(docs)
        shutil.copy(docs / "0.md", docs / "copy.md")
        assert rag.ingest(docs).moved == 0
        for name in ("a.md", "b.md"):
            shutil.copy(docs / "1.md", docs / name)
        (docs / "1.md").unlink()
        assert rag.ingest(docs, prune=True).moved == 1


def test_a_folder_that_moved_with_its_store_is_no_collision(tmp_path: Path) -> None:
    """Ids are the same, the old files are gone: the documents get their new place for nothing."""
    _folder(tmp_path / "old" / "docs")
    embedder = Counting()
    with RAG(tmp_path / "old" / "kb", embedder=embedder, config=Settings(ledger="off")) as rag:
        rag.ingest(tmp_path / "old" / "docs")
        before = _ids(rag)
    (tmp_path / "old").rename(tmp_path / "new")
    docs = tmp_path / "new" / "docs"
    embedder.n_texts = 0
    with RAG(tmp_path / "new" / "kb", embedder=embedder, config=Settings(ledger="off")) as rag:
        report = rag.ingest(docs, prune=True)
        assert report.failures == []
        assert (report.moved, report.embedded, embedder.n_texts) == (6, 0, 0)
        assert report.documents["changed"] == 6
        assert _ids(rag) == before
        assert {row.source for row in rag.list()} == {str(docs / f"{i}.md") for i in range(6)}
        again = rag.ingest(docs, prune=True)
        assert (again.moved, again.documents["unchanged"]) == (0, 6)
        assert rag.doctor() == []


def test_what_was_edited_in_a_moved_folder_is_not_overwritten(tmp_path: Path) -> None:
    """Another text is another document, as far as anyone can tell; the error says the command."""
    _folder(tmp_path / "old")
    with RAG(tmp_path / "kb", config=NONE) as rag:
        rag.ingest(tmp_path / "old")
        (tmp_path / "old").rename(tmp_path / "new")
        (tmp_path / "new" / "0.md").write_text("Something else.")
        report = rag.ingest(tmp_path / "new")
        (failure,) = report.failures
        assert (failure.code, report.moved) == ("collision", 5)
        assert "ragkit rm 0.md" in failure.detail
        rag.rm("0.md")
        assert rag.ingest(tmp_path / "new").documents["added"] == 1


def test_a_copy_of_a_folder_still_collides(tmp_path: Path) -> None:
    """While the old file is there, the same id from elsewhere is an error."""
    _folder(tmp_path / "one", 2)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    with RAG(tmp_path / "kb", config=NONE) as rag:
        rag.ingest(tmp_path / "one")
        report = rag.ingest(tmp_path / "two")
        assert [failure.code for failure in report.failures] == ["collision", "collision"]
        assert report.moved == 0


def _emptied(docs: Path) -> None:
    for file in docs.iterdir():
        file.unlink()


def _mostly_emptied(docs: Path) -> None:
    for i in range(4):
        (docs / f"{i}.md").unlink()


def _replaced(docs: Path) -> None:
    for i, file in enumerate(sorted(docs.iterdir())):
        file.unlink()
        (docs / f"other{i}.md").write_text(f"Another disk {i}.")


@pytest.mark.parametrize("spoil", [_emptied, _mostly_emptied, _replaced])
def test_a_prune_of_more_than_half_is_refused_before_anything_is_written(
    tmp_path: Path, spoil: object
) -> None:
    """Nothing is removed, nothing added; whoever agrees is not asked twice."""
    docs = _folder(tmp_path / "docs")
    other = _folder(tmp_path / "other", 40)
    (tmp_path / "more").mkdir()
    asked: list[str] = []

    def agree(question: str) -> bool:
        asked.append(question)
        return True

    with RAG(tmp_path / "kb", config=NONE) as rag:
        rag.ingest(docs)
        rag.ingest(other, root=tmp_path)
        before, generation = _ids(rag), rag.describe()["generation"]
        assert callable(spoil)
        spoil(docs)
        (other / "fresh.md").write_text("A new file, which is not to be written.")
        with pytest.raises(ConfigError, match="--yes"):
            rag.ingest(docs, prune=True)
        with pytest.raises(ConfigError, match="of the 6 documents"):
            # A large folder beside it does not hide it.
            rag.ingest(docs, prune=True, confirm=lambda _: False)
        assert (_ids(rag), rag.describe()["generation"]) == (before, generation)
        rag.ingest(docs, prune=True, confirm=agree)
        assert len(asked) == 1
        left = {"4.md", "5.md"} if spoil is _mostly_emptied else set[str]()
        assert {name for name in _ids(rag) if name in before and "/" not in name} == left


def test_half_may_go_and_moves_do_not_count(tmp_path: Path) -> None:
    """What comes back under other names is not lost, however much of it there is."""
    docs = _folder(tmp_path / "docs")
    with RAG(tmp_path / "kb", config=NONE) as rag:
        rag.ingest(docs)
        for i in range(3):
            (docs / f"{i}.md").unlink()
        assert rag.ingest(docs, prune=True).documents["removed"] == 3
        (docs / "deep").mkdir()
        for i in range(3, 6):
            (docs / f"{i}.md").rename(docs / "deep" / f"n{i}.md")
        report = rag.ingest(docs, prune=True)
        assert (report.moved, report.documents["removed"]) == (3, 3)
        assert _ids(rag) == ["deep/n3.md", "deep/n4.md", "deep/n5.md"]


def test_a_records_file_cut_short_is_no_reason_to_prune(tmp_path: Path) -> None:
    """The documents of one file are counted as those of a folder are."""
    records = tmp_path / "r.jsonl"
    lines = [f'{{"_id": "r{i}", "text": "Record {i}."}}\n' for i in range(10)]
    records.write_text("".join(lines))
    with RAG(tmp_path / "kb", config=NONE) as rag:
        rag.ingest(records)
        records.write_text("".join(lines[:4]))
        with pytest.raises(ConfigError, match="6 of the 10"):
            rag.ingest(records, prune=True)
        assert len(_ids(rag)) == 10
        assert rag.ingest(records, prune=True, dry_run=True).documents["removed"] == 6


def test_a_source_that_cannot_be_listed_is_asked_about_before_the_removal(tmp_path: Path) -> None:
    """Nothing is known of it beforehand; what it gave is kept, and nothing is removed."""

    class Rooted(RecordSource):
        roots = ("inbox",)

    def source(n: int) -> Rooted:
        return Rooted([{"_id": f"m{i}", "text": f"Mail {i}."} for i in range(n)], name="inbox")

    with RAG(tmp_path / "kb", config=NONE) as rag:
        rag.ingest(source(10))
        with pytest.raises(ConfigError, match="7 of the 10"):
            rag.ingest(source(3), prune=True)
        assert len(_ids(rag)) == 10
