"""Compare ragkit with other frameworks as they come: needs held, tokens, CPU time.

    python benchmarks/frameworks.py DATASET --python NAME=PYTHON... [--folder flask ...]
        [--split test]

DATASET is a folder of questions with `needs` and their documents in `docs`. NAME is ragkit,
langchain, llamaindex, haystack or txtai; PYTHON has that framework, numpy and onnxruntime
(langchain-text-splitters and langchain-core; llama-index-core; haystack-ai; txtai[pipeline-data]).
All get ragkit's built-in embedder through a small adapter, on one thread, and the texts as ragkit
reads them, so that they need neither loaders nor a download; splitters, numbers of results and
everything else are each framework's defaults. ragkit itself reads the files. `--folder` takes only
the documents below these folders, and the questions about them.

Needs held is the share of questions whose needs all stand in what is sent, each whole in one
passage; tokens are word pieces of all passages. CPU time is of one process, with the embedder.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

Ask: TypeAlias = Callable[[str], list[str]]
"""Returns the texts that a question is sent."""

Texts: TypeAlias = Sequence[tuple[str, str]]
"""Documents: their names and texts."""


def lib(name: str) -> Any:  # noqa: ANN401 (frameworks are not installed where types are checked)
    """Import a module of a framework."""
    return importlib.import_module(name)


class Embedder:
    """ragkit's built-in embedder, with plain lists."""

    def __init__(self) -> None:
        self._model = lib("ragkit.embedding.builtin").BuiltinEmbedder()

    def of_texts(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vectors of texts."""
        return [[float(x) for x in row] for row in self._model.embed_documents(list(texts))]

    def of_question(self, text: str) -> list[float]:
        """Return the vector of a question."""
        return [float(x) for x in self._model.embed_query(text)]

    def of_text(self, text: str) -> list[float]:
        """Return the vector of a text."""
        return self.of_texts([text])[0]


def as_methods(embedder: Embedder, base: Any, names: dict[str, str]) -> Any:  # noqa: ANN401
    """Return an object of a framework's class whose methods are those of the embedder."""

    def method(name: str) -> Callable[[object, Any], object]:
        call: Callable[[Any], object] = getattr(embedder, name)
        # A function, because a class does not bind another object's method to its own objects.
        return lambda _, given: call(given)

    made = {theirs: method(ours) for theirs, ours in names.items()}
    return type("Built", (base,), {"__module__": __name__, **made})()


def langchain(texts: Texts) -> Ask:
    """Split by `RecursiveCharacterTextSplitter`, ask a vector store's retriever (k 4)."""
    model = as_methods(
        Embedder(),
        lib("langchain_core.embeddings").Embeddings,
        {"embed_documents": "of_texts", "embed_query": "of_question"},
    )
    document = lib("langchain_core.documents").Document
    splitter = lib("langchain_text_splitters").RecursiveCharacterTextSplitter()
    parts = splitter.split_documents(
        [document(page_content=text, metadata={"source": name}) for name, text in texts]
    )
    store = lib("langchain_core.vectorstores").InMemoryVectorStore(model)
    store.add_documents(parts)
    retriever = store.as_retriever()
    return lambda question: [found.page_content for found in retriever.invoke(question)]


def llamaindex(texts: Texts) -> Ask:
    """Make a `VectorStoreIndex` from documents and ask its retriever (top 2)."""
    model = as_methods(
        Embedder(),
        lib("llama_index.core.base.embeddings.base").BaseEmbedding,
        {
            "_get_query_embedding": "of_question",
            "_aget_query_embedding": "of_question",
            "_get_text_embedding": "of_text",
            "_get_text_embeddings": "of_texts",
        },
    )
    core = lib("llama_index.core")
    # File names as metadata would be embedded and sent, as its own reader does; not done here.
    documents = [core.Document(text=text, id_=name) for name, text in texts]
    index = core.VectorStoreIndex.from_documents(documents, embed_model=model)
    retriever = index.as_retriever()
    return lambda question: [found.node.get_content() for found in retriever.retrieve(question)]


def haystack(texts: Texts) -> Ask:
    """Split by `DocumentSplitter` (200 words), ask the in-memory retriever (top 10)."""
    embedder = Embedder()
    document = lib("haystack").Document
    splitter = lib("haystack.components.preprocessors").DocumentSplitter()
    if hasattr(splitter, "warm_up"):
        splitter.warm_up()
    given = [document(content=text, meta={"name": name}) for name, text in texts]
    parts = splitter.run(documents=given)["documents"]
    for part, row in zip(parts, embedder.of_texts([part.content for part in parts]), strict=True):
        part.embedding = row
    store = lib("haystack.document_stores.in_memory").InMemoryDocumentStore()
    store.write_documents(parts)
    kind = lib("haystack.components.retrievers.in_memory").InMemoryEmbeddingRetriever
    retriever = kind(store)

    def ask(question: str) -> list[str]:
        return [d.content for d in retriever.run(embedder.of_question(question))["documents"]]

    return ask


def txtai(texts: Texts) -> Ask:
    """Split by `Textractor(paragraphs=True)`'s rule, ask `Embeddings.search` (3 results)."""
    embedder, numpy = Embedder(), lib("numpy")
    split = lib("txtai.pipeline").Segmentation(paragraphs=True)
    parts = [part for _, text in texts for part in split(text)]

    def transform(given: Sequence[str]) -> object:
        return numpy.array(embedder.of_texts(given), dtype="float32")

    index = lib("txtai").Embeddings(method="external", transform=transform, content=True)
    index.index(parts)
    return lambda question: [found["text"] for found in index.search(question)]


FRAMEWORKS: dict[str, Callable[[Texts], Ask]] = {
    "langchain": langchain,
    "llamaindex": llamaindex,
    "haystack": haystack,
    "txtai": txtai,
}
VERSIONS = {
    "ragkit": "ragkit-lean",
    "langchain": "langchain-core",
    "llamaindex": "llama-index-core",
    "haystack": "haystack-ai",
    "txtai": "txtai",
}


def ragkit(place: Path, folder: Path, names: Sequence[str]) -> dict[str, Ask]:
    """Ingest the files; ask the bundled policy, and the untrimmed top 5."""
    rag = lib("ragkit").RAG(place, ledger="off")
    rag.ingest(*(str(folder / name) for name in names), root=str(folder))
    plain = rag.trimmed_by(None)
    return {
        "ragkit": lambda q: [item.text for item in rag.ask(q, dry_run=True).context],
        "ragkit, untrimmed top 5": lambda q: [i.text for i in plain.ask(q, dry_run=True).context],
    }


def work(name: str, task: Path) -> None:
    """Do the work of one framework and print what it sent, in a process of its own."""
    given = json.loads(task.read_text())
    before = time.process_time()
    with tempfile.TemporaryDirectory() as place:
        asks = (
            ragkit(Path(place) / "kb", Path(given["folder"]), [n for n, _ in given["texts"]])
            if name == "ragkit"
            else {name: FRAMEWORKS[name](given["texts"])}
        )
        ingested = time.process_time() - before
        found: dict[str, Any] = {}
        for label, ask in asks.items():
            ask(given["questions"][0])  # what is loaded at the first question
            before = time.process_time()
            sent = [ask(question) for question in given["questions"]]
            seconds = (time.process_time() - before) / len(sent)
            found[label] = {"sent": sent, "ingest": ingested, "query": seconds}
    try:
        version = importlib.metadata.version(VERSIONS[name])
    except importlib.metadata.PackageNotFoundError:
        version = "?"
    print(json.dumps({"version": version, "found": found}))


def run(name: str, python: str, task: Path) -> dict[str, Any] | None:
    """Run one framework; None where it fails, with the reason on stderr."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**os.environ, **one, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [python, __file__, "--work", name, str(task)],
        check=False, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    if done.returncode:
        print(f"{name}: {done.stderr[-2000:]}", file=sys.stderr)
        return None
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Run the benchmark."""
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], Path(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--folder", action="append", default=[])
    parser.add_argument("--split", default="test")
    options = parser.parse_args()
    datasets, rows = lib("ragkit_eval.data.datasets"), lib("ragkit_eval.data.rows")
    _, held = lib("ragkit_eval.measuring.quality").quality_measure("NeedsHeld")
    count = lib("ragkit.text.wordpiece").load_wordpiece().count
    folder = options.dataset / "docs"
    texts = [(name, text) for name, text in read_all(folder) if is_in(name, options.folder)]
    questions = [
        q
        for q in datasets.load_dataset(options.dataset, split=options.split).questions
        if q.needs and not q.history and all(is_in(n, options.folder) for n in q.relevance)
    ]
    asked = [question.text for question in questions]
    print(f"{len(texts)} documents, {len(questions)} questions")
    print("| | needs held | tokens | ingest, CPU s | query, CPU ms |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        task = Path(place) / "task.json"
        task.write_text(
            json.dumps({"texts": texts, "questions": asked, "folder": str(folder.resolve())})
        )
        for given in options.python:
            name, _, python = given.partition("=")
            done = run(name, python, task)
            version = None if done is None else done["version"]
            rows_of: dict[str, dict[str, Any]] = {} if done is None else done["found"]
            for label, found in rows_of.items():
                values: list[float] = []
                tokens: list[int] = []
                contexts: list[list[str]] = found["sent"]
                for question, sent in zip(questions, contexts, strict=True):
                    passages = [rows.Passage(document_id="", start=0, end=0, text=t) for t in sent]
                    values.append(held(question, passages) or 0.0)
                    tokens.append(sum(count(text) for text in sent))
                print(
                    f"| {label} {version} | {sum(values) / len(values):.3f} "
                    f"| {sum(tokens) / len(tokens):,.0f} | {found['ingest']:.0f} "
                    f"| {1000 * found['query']:.0f} |",
                    flush=True,
                )


def read_all(folder: Path) -> list[tuple[str, str]]:
    """Return the names and texts of all documents, as ragkit reads them."""
    with tempfile.TemporaryDirectory() as place:
        config = lib("ragkit").Settings(embedder="none")
        with lib("ragkit").RAG(Path(place) / "kb", config=config, ledger="off") as rag:
            rag.ingest(str(folder))
            found = [rag.stored(row.document_id) for row in rag.list()]
    return [(document.id, document.text) for document, _, _ in found]


def is_in(name: str, folders: Sequence[str]) -> bool:
    """Whether a document lies below one of the folders; all do where none is named."""
    return not folders or name.split("/", maxsplit=1)[0] in folders


if __name__ == "__main__":
    main()
