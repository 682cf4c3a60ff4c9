"""A store that somebody else made, whose checksums are right: nonsense in it is a typed error."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ragkit import RAG, Document
from ragkit.embedding import BuiltinEmbedder
from ragkit.errors import RagkitError
from ragkit.storage import DerivedSizes, LocalStore
from ragkit.storage.rows import chunk_checksum
from ragkit.storage.schema import checksum
from ragkit.types import Mode

ODD: list[Any] = [
    None, -1, 2**62, "x", b"\xff\xfe", "", "[]", "{}", "null", "[[1]]", '[["a","b"]]', '{"a":1}',
    "[" * 5000, '[[0,"text",{"heading":[1]}]]', "[[9,4]]", "true", "9" * 5000,
]  # fmt: skip
DOCUMENT = "row id source title metadata groups sha256 fingerprint language marks".split()
CHUNK = "id document start end n_tokens sentences marks tokens vector sentence_rows".split()
EMBEDDER = BuiltinEmbedder()
MODES: tuple[Mode, ...] = ("lexical", "dense", "hybrid")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a store with vectors, groups and derived files."""
    place = tmp_path_factory.mktemp("sound") / "kb"
    store = LocalStore(place, create=True, sizes=DerivedSizes(first=8, more=8, file=100))
    with RAG(store, embedder=EMBEDDER, ledger="off") as rag:
        rag.ingest(*(
            Document(id=f"d{i}", text=f"Boat {i} sails. It carries {7 * i} crates.",
                     title=f"T{i}", metadata={"n": i}, groups=("g",))
            for i in range(12)
        ))  # fmt: skip
    return place


def use(place: Path) -> None:
    """Do everything that reads a store; a typed error is what should come of nonsense."""
    steps: list[Callable[[RAG], object]] = [
        lambda rag: rag.search("crates on boat 3", mode="lexical", groups=["g"]),
        lambda rag: rag.search("crates on boat 3", mode="dense", groups=["g"]),
        lambda rag: rag.search("boat", groups=["g"], filters={"n": {"$gt": 3}}),
        lambda rag: rag.ask("How many crates does boat 3 carry?", groups=["g"]),
        lambda rag: [json.dumps(row.to_dict()) for row in rag.list(groups=["g"])],
        lambda rag: [json.dumps(rag.show(f"d{i}", groups=["g"])) for i in range(12)],
        lambda rag: json.dumps(rag.describe()),
        lambda rag: rag.doctor(),
    ]  # fmt: skip
    for step in steps:
        try:
            with RAG(place, embedder=EMBEDDER, ledger="off", notify=list[str]().append) as rag:
                step(rag)
        except RagkitError:
            pass


def change(place: Path, table: str, column: str, value: object) -> None:
    """Write a value into one row of a table and set the row's checksum right."""
    read = {
        "document": f"SELECT {', '.join(DOCUMENT)} FROM document WHERE row = 4",  # noqa: S608
        "chunk": "SELECT c.row, c.id, c.document, start, end, n_tokens, sentences, c.marks, tokens,"
        " vector, substr(text, first_byte + 1, n_bytes), sentence_rows FROM chunk c "
        "LEFT JOIN document d ON d.row = c.document WHERE c.row = 4",
        "segment": "SELECT name, first, last, n, sha256 FROM segment",
    }
    where = "" if table == "segment" else "WHERE row = 4"
    with closing(sqlite3.connect(place / "store.sqlite")) as connection:
        connection.execute(f"UPDATE {table} SET {column} = ? {where}", (value,))  # noqa: S608
        seal = chunk_checksum if table == "chunk" else checksum
        check = seal(*connection.execute(read[table]).fetchone())
        connection.execute(f"UPDATE {table} SET checksum = ? {where}", (check,))  # noqa: S608
        connection.commit()


TARGETS = [
    *(("document", name) for name in DOCUMENT[1:]),
    *(("chunk", name) for name in CHUNK),
    *(("segment", name) for name in ("first", "last", "n", "sha256")),
]


@pytest.mark.parametrize(("table", "column"), TARGETS)
def test_odd_values_with_right_checksums(
    sound: Path, tmp_path: Path, table: str, column: str
) -> None:
    """Nothing that a column can hold raises anything but a `RagkitError`."""
    for i, value in enumerate(random.Random(column).sample(ODD, 3)):
        place = tmp_path / str(i)
        shutil.copytree(sound, place)
        try:
            change(place, table, column, value)
        except sqlite3.IntegrityError:
            continue
        use(place)


def rewritten(place: Path, change_it: Callable[[bytearray], None]) -> None:
    """Change the derived file and set its hash and its row's checksum right."""
    (file,) = (place / "derived").iterdir()
    raw = bytearray(file.read_bytes())
    change_it(raw)
    file.write_bytes(raw)
    change(place, "segment", "sha256", hashlib.sha256(raw).hexdigest())


def test_altered_derived_files_with_right_hashes(sound: Path, tmp_path: Path) -> None:
    """Whatever stands in a derived file, searches find what they find without it, or less."""
    rng = random.Random(2)
    size = next((sound / "derived").iterdir()).stat().st_size
    for i in range(40):
        place = tmp_path / str(i)
        shutil.copytree(sound, place)
        first = (0, size - 700, size - 700, rng.randrange(size))[i % 4]

        def alter(raw: bytearray, first: int = first) -> None:
            at = min(size - 8, first + rng.randrange(600))
            number = rng.choice([0, 1, 2**31, 2**40, 2**63, 2**64 - 1])
            raw[at : at + 8] = number.to_bytes(8, "little")

        rewritten(place, alter)
        store = LocalStore(place)
        with RAG(store, embedder=EMBEDDER, ledger="off", notify=list[str]().append) as rag:
            for mode in MODES:
                rag.search("crates on boat 3", mode=mode, groups=["g"])


def test_a_derived_file_elsewhere_is_not_read(sound: Path, tmp_path: Path) -> None:
    """The name of a derived file cannot lead out of its folder."""
    place = tmp_path / "kb"
    shutil.copytree(sound, place)
    (file,) = (place / "derived").iterdir()
    file.rename(place / file.name)
    change(place, "segment", "name", f"../{file.name}")
    with LocalStore(place) as store:
        assert [f.detail for f in store.examine()] == ["the list of derived files is damaged"]


def test_rows_of_absurd_numbers_cost_no_time(sound: Path, tmp_path: Path) -> None:
    """A chunk whose row is the largest number there is does not make a search count up to it."""
    place = tmp_path / "kb"
    shutil.copytree(sound, place)
    with closing(sqlite3.connect(place / "store.sqlite")) as connection:
        connection.execute("DELETE FROM segment")
        connection.execute("UPDATE chunk SET row = ? WHERE row = 12", (2**63 - 1,))
        connection.commit()
    use(place)
