"""Reproduce published tables, with what ragkit brings beside them.

    python benchmarks/reproduce.py xquad-en DATA --model FOLDER
    python benchmarks/reproduce.py scifact DATA --model FOLDER
    python benchmarks/reproduce.py chroma DATA --model FOLDER

DATA holds the folders xquad/en, scifact and chunking_eval. FOLDER is all-MiniLM-L6-v2 as
sentence-transformers reads it; without --model only the rows of ragkit's own are printed. The
chroma suite needs langchain-text-splitters, whose recursive splitter its table was made with.

Published figures: MTEB results repository, all-MiniLM-L6-v2 revision 8b3219a; Chroma, Evaluating
Chunking Strategies for Retrieval (2024), table of all-MiniLM-L6-v2, five chunks.
"""

from __future__ import annotations

import argparse
import importlib
import math
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol, cast

from ragkit import RAG, Document, Settings
from ragkit.chunking import chunk_id
from ragkit.pipeline.opening import open_counter, open_embedder
from ragkit.text.sentences import sentence_spans
from ragkit.types import Chunk, Embedder, Hit, Mode
from ragkit_eval.data.datasets import Dataset, load_dataset
from ragkit_eval.data.spans import GoldSpan, Place, grouped, measure_overlap, precision_omega
from ragkit_eval.measuring.measures import parse_measure
from ragkit_eval.measuring.scoring import score
from ragkit_eval.running.cache import Cache, CachingEmbedder

PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "xquad-en": {"nDCG@10": 0.94357, "R@1": 0.88523, "R@10": 0.98987, "MAP@10": 0.92807},
    "scifact": {"nDCG@10": 0.64508, "R@10": 0.78333, "R@100": 0.92500, "MAP@10": 0.59593},
}
CHROMA: Mapping[tuple[int, int], tuple[float, float, float, float]] = {
    (250, 125): (78.7, 4.9, 21.9, 4.9),
    (250, 0): (78.5, 5.4, 26.7, 5.4),
    (200, 0): (75.7, 6.5, 31.2, 6.5),
}
"""Size and overlap in word pieces, special tokens counted: recall, precision, precision omega, IoU
in percent."""

MODES: tuple[Mode, ...] = ("dense", "lexical", "hybrid")
TOLERANCE = (0.6, 0.1, 0.1, 0.1)


def opened(name: str, cache: Cache) -> Embedder:
    """Open an embedder whose vectors are cached."""
    embedder = open_embedder(name)
    assert embedder is not None
    return CachingEmbedder(embedder, cache, name=name)


def retrieval(suite: str, dataset: Dataset, cache: Cache, model: str | None) -> None:
    """Print rank measures of a dataset: the model as published, then ragkit's own."""
    published = PUBLISHED[suite]
    measures = [parse_measure(name) for name in published]
    titled = suite == "scifact"
    print(f"{suite}, {dataset.split}: {len(dataset.questions)} questions")
    print(f"{'':44}" + "".join(f"{name:>10}" for name in published))
    print(f"{'published, all-MiniLM-L6-v2':44}" + "".join(f"{v:10.5f}" for v in published.values()))
    rows: list[tuple[str, str, Mode, str]] = [
        ("built-in embedder, dense", "builtin", "dense", "recursive"),
        ("built-in embedder, hybrid", "builtin", "hybrid", "recursive"),
        ("words", "builtin", "lexical", "recursive"),
    ]
    if model is not None:
        named = f"sentence-transformers:{model}"
        rows.insert(0, ("sentence-transformers, dense", named, "dense", "whole"))
    depth = max(measure.k or 0 for measure in measures)
    for label, name, mode, chunker in rows:
        began = time.monotonic()
        settings = Settings(
            chunker=chunker, embed_title=titled, sentence_vectors=False, refuse_below="off"
        )
        with (
            tempfile.TemporaryDirectory() as folder,
            RAG(folder, embedder=opened(name, cache), config=settings, ledger="off") as rag,
        ):
            assert dataset.corpus is not None
            rag.ingest(dataset.corpus)
            run = {
                question.id: {
                    hit.chunk.document_id: hit.score
                    for hit in rag.search(question.text, k=depth, mode=mode, unit="document")
                }
                for question in dataset.questions
            }
        judged = {question.id: question.relevance for question in dataset.questions}
        values = score(run, judged, measures).values
        means = [math.fsum(v.values()) / len(v) for v in values.values()]
        print(f"{label:44}" + "".join(f"{mean:10.5f}" for mean in means)
              + f"   {time.monotonic() - began:.0f} s", flush=True)  # fmt: skip
        if "sentence" in name:
            exact = all(round(m, 5) == p for m, p in zip(means, published.values(), strict=True))
            print(f"{'':44}{'equal to five digits' if exact else 'NOT equal to five digits'}")


class _Splitter(Protocol):
    def split_text(self, text: str) -> list[str]: ...


class RecursiveSplitter:
    """LangChain's recursive splitter as Chroma used it, as a chunker of ragkit."""

    def __init__(self, size: int, overlap: int) -> None:
        self.fingerprint = f"langchain-recursive/{size}/{overlap}"
        module = importlib.import_module("langchain_text_splitters")
        self._splitter = cast(
            "_Splitter",
            module.RecursiveCharacterTextSplitter(
                chunk_size=size,
                chunk_overlap=overlap,
                separators=["\n\n", "\n", ".", "?", "!", " ", ""],
                keep_separator=True,
                length_function=self._length,
            ),
        )

    def _length(self, text: str) -> int:
        return open_counter().count(text) + 2

    def split(self, document: Document) -> Sequence[Chunk]:
        """Return the splitter's chunks at their true places."""
        chunks: list[Chunk] = []
        at = 0
        for text in self._splitter.split_text(document.text):
            start = document.text.index(text, at)
            at = start + 1
            end = start + len(text)
            chunks.append(
                Chunk(
                    id=chunk_id(document.id, (start, end), text, self.fingerprint),
                    document_id=document.id,
                    start=start,
                    end=end,
                    text=text,
                    n_tokens=open_counter().count(text),
                    sentences=tuple(sentence_spans(document.text, start=start, end=end)),
                )
            )
        return chunks


def chroma(dataset: Dataset, cache: Cache, model: str | None) -> None:
    """Print Chroma's table: the published rows reproduced, then ragkit's own."""
    assert dataset.corpus is not None
    texts = {row["_id"]: row["text"] for row in _json_lines(dataset.corpus)}
    print(f"chunking evaluation: {len(dataset.questions)} questions, five chunks, percent")
    print(f"{'':58}    recall precision     omega       IoU")
    if model is not None:
        for (size, overlap), published in CHROMA.items():
            label = f"recursive {size}/{overlap}"
            _print(f"{label}, published", published)
            chunker = RecursiveSplitter(size, overlap)
            found = _chroma_row(
                dataset, RecursiveSplitter(size, overlap),
                opened(f"sentence-transformers:{model}", cache), "dense", texts,
            )  # fmt: skip
            inside = all(
                abs(round(a, 1) - b) <= t + 1e-9
                for a, b, t in zip(found, published, TOLERANCE, strict=True)
            )
            _print(f"{label}, sentence-transformers, dense, as Chroma scores", found,
                   "" if inside else "  OUTSIDE the tolerances")  # fmt: skip
            for mode in MODES:
                found = _chroma_row(dataset, chunker, opened("builtin", cache), mode, texts)
                _print(f"{label}, built-in, {mode}", found)
    for size in (400, 200):
        for mode in MODES:
            found = _chroma_row(dataset, size, opened("builtin", cache), mode, None)
            _print(f"ragkit recursive {size}, built-in, {mode}", found)


def _chroma_row(
    dataset: Dataset,
    chunker: RecursiveSplitter | int,
    embedder: Embedder,
    mode: Mode,
    texts: Mapping[str, str] | None,
) -> tuple[float, float, float, float]:
    """Return recall, precision, omega and IoU in percent; with texts as Chroma places chunks."""
    assert dataset.corpus is not None
    size = chunker if isinstance(chunker, int) else None
    settings = Settings(chunk_tokens=size, sentence_vectors=False, refuse_below="off")
    own = None if isinstance(chunker, int) else chunker
    with (
        tempfile.TemporaryDirectory() as folder,
        RAG(folder, embedder=embedder, chunker=own, config=settings, ledger="off") as rag,
    ):
        rag.ingest(dataset.corpus)
        chunks = [
            (row.document_id, chunk["start"], chunk["end"])
            for row in rag.list()
            for chunk in cast("list[dict[str, int]]", (rag.show(row.document_id) or {})["chunks"])
        ]
        if texts is not None:
            chunks = [_found_again(place, texts) for place in chunks]
        by_document = grouped(chunks)
        rows: list[tuple[float, ...]] = []
        for question in dataset.questions:
            gold = [span for spans in question.evidence for span in spans]
            hits = rag.search(question.text, k=5, mode=mode)
            places = [_place(hit) for hit in hits]
            if texts is not None:
                places = [_found_again(place, texts) for place in places]
            rows.append(_scores(gold, places, by_document, as_chroma=texts is not None))
    columns = list(zip(*rows, strict=True))
    means = [100.0 * math.fsum(column) / len(column) for column in columns]
    return means[0], means[1], means[2], means[3]


def _scores(
    gold: Sequence[GoldSpan],
    places: Sequence[Place],
    chunks: Mapping[str, Sequence[tuple[int, int]]],
    *,
    as_chroma: bool,
) -> tuple[float, float, float, float]:
    compat: Literal["chroma"] | None = "chroma" if as_chroma else None
    found = measure_overlap([gold], places, compat=compat)
    omega = precision_omega([gold], chunks, compat=compat)
    return found.recall or 0.0, found.precision or 0.0, omega or 0.0, found.iou or 0.0


def _place(hit: Hit) -> Place:
    return (hit.chunk.document_id, hit.chunk.start, hit.chunk.end)


def _found_again(place: Place, texts: Mapping[str, str]) -> Place:
    """Return where Chroma's scorer finds a chunk: its first occurrence, a last full stop cut."""
    document_id, start, end = place
    text = texts[document_id][start:end].removesuffix(".")
    first = texts[document_id].index(text)
    return (document_id, first, first + len(text))


def _print(label: str, values: Iterable[float], note: str = "") -> None:
    print(f"{label:58}" + "".join(f"{value:10.1f}" for value in values) + note, flush=True)


def _json_lines(path: Path) -> Iterable[dict[str, str]]:
    import json

    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def main() -> None:
    """Run a suite."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suite", choices=("xquad-en", "scifact", "chroma"))
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--cache", type=Path, default=Path(".ragkit-eval"))
    options = parser.parse_args()
    with Cache(options.cache) as cache:
        if options.suite == "xquad-en":
            dataset = load_dataset(options.data / "xquad" / "en", split="all").merged()
            retrieval("xquad-en", dataset, cache, options.model)
        elif options.suite == "scifact":
            retrieval("scifact", load_dataset(options.data / "scifact", split="test"), cache,
                      options.model)  # fmt: skip
        else:
            dataset = load_dataset(options.data / "chunking_eval", split="all", needed="all")
            chroma(dataset, cache, options.model)


if __name__ == "__main__":
    main()
