"""Do the same work with the same model in ragkit and in its peers, and print the ratios.

    python -m venv base; base/bin/pip install torch==2.13.0 sentence-transformers faiss-cpu
    (on top of it, an environment for each peer: langchain-huggingface and langchain-community;
    llama-index-core, llama-index-embeddings-huggingface and llama-index-vector-stores-faiss;
    haystack-ai and sentence-transformers-haystack; txtai; chromadb)
    python benchmarks/peers.py CORPUS QUESTIONS --model FOLDER --python NAME=PYTHON... [--rounds 3]

NAME is ragkit, base, langchain, llamaindex, haystack, txtai or chroma. `ragkit-WORD` gives the
three systems of ragkit once more from another environment (such as one with an earlier version).
CORPUS and QUESTIONS are JSON Lines with `text`; FOLDER holds all-MiniLM-L6-v2 as
sentence-transformers reads it (ragkit uses its own copy of the weights). Systems take turns, one
process a task, on one thread; figures are medians over the rounds. Peers run at their defaults.

Tasks: `embed` 256 paragraphs, after a warm-up, in documents a CPU-second; `cold`, from the start
of the process to the first question's vector; `ingest` 512 paragraphs into a fresh store on disk;
`query`, the ten nearest to a question, in a process that is warm; `search`, from the start of the
process to the hits of one question in the stored 512.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

N_EMBEDDED, N_INGESTED, N_QUESTIONS, K = 256, 512, 100, 10

Ask = Callable[[str], object]


class System(Protocol):
    """What is compared; each method imports what it needs."""

    def embed(self, model: str) -> Callable[[Sequence[str]], object]:
        """Return the embedding of several texts."""
        ...

    def ingest(self, model: str, texts: Sequence[str], place: Path) -> Ask:
        """Make a store on disk and return its search."""
        ...

    def open(self, model: str, place: Path) -> Ask:
        """Open that store and return its search."""
        ...


def lib(name: str) -> Any:  # noqa: ANN401 (peers are not installed where types are checked)
    """Import a module of a peer."""
    return importlib.import_module(name)


class Ragkit:
    """Ragkit, searching by vectors only, as its peers do."""

    def __init__(self, runtime: str, *, sentences: bool = False, mode: str = "dense") -> None:
        self._runtime, self._sentences, self._mode = runtime, sentences, mode

    def embed(self, model: str) -> Callable[[Sequence[str]], object]:
        """Return the built-in embedder, which has its own copy of the model."""
        del model
        embed: Callable[[Sequence[str]], object] = self._embedder().embed_documents
        return embed

    def ingest(self, model: str, texts: Sequence[str], place: Path) -> Ask:
        """Ingest one document a text."""
        del model
        ragkit = lib("ragkit")
        rag = self._rag(place)
        rag.ingest(*(ragkit.Document(id=str(i), text=text) for i, text in enumerate(texts)))
        return lambda question: rag.search(question, k=K, mode=self._mode)

    def open(self, model: str, place: Path) -> Ask:
        """Open the store."""
        del model
        rag = self._rag(place)
        return lambda question: rag.search(question, k=K, mode=self._mode)

    def _embedder(self) -> Any:  # noqa: ANN401
        return lib("ragkit.embedding.builtin").BuiltinEmbedder(runtime=self._runtime)

    def _rag(self, place: Path) -> Any:  # noqa: ANN401
        ragkit = lib("ragkit")
        config = ragkit.Settings(sentence_vectors=self._sentences, chunker="whole")
        return ragkit.RAG(place, embedder=self._embedder(), config=config, ledger="off")


class SentenceTransformers:
    """sentence-transformers and a FAISS flat index, by hand."""

    def embed(self, model: str) -> Callable[[Sequence[str]], object]:
        """Return `encode` with its defaults (batches of 32)."""
        encoder = lib("sentence_transformers").SentenceTransformer(model, device="cpu")
        return lambda texts: encoder.encode(list(texts), normalize_embeddings=True)

    def ingest(self, model: str, texts: Sequence[str], place: Path) -> Ask:
        """Embed, add, write."""
        faiss, encode = lib("faiss"), self.embed(model)
        index = faiss.IndexFlatIP(384)
        index.add(encode(texts))
        place.mkdir()
        faiss.write_index(index, str(place / "x"))
        (place / "texts.json").write_text(json.dumps(list(texts)))
        return self._search(encode, index, list(texts))

    def open(self, model: str, place: Path) -> Ask:
        """Read the index and the texts."""
        index = lib("faiss").read_index(str(place / "x"))
        texts = json.loads((place / "texts.json").read_text())
        return self._search(self.embed(model), index, texts)

    @staticmethod
    def _search(encode: Callable[[Sequence[str]], Any], index: Any, texts: Sequence[str]) -> Ask:  # noqa: ANN401
        return lambda question: [texts[i] for i in index.search(encode([question]), K)[1][0]]


class LangChain:
    """langchain-huggingface and the FAISS store of langchain-community."""

    def embed(self, model: str) -> Callable[[Sequence[str]], object]:
        """Return `embed_documents`."""
        embedder = self._embedder(model)
        return lambda texts: embedder.embed_documents(list(texts))

    def ingest(self, model: str, texts: Sequence[str], place: Path) -> Ask:
        """Make and save a store."""
        stores = lib("langchain_community.vectorstores")
        store = stores.FAISS.from_texts(list(texts), self._embedder(model))
        store.save_local(str(place))
        return lambda question: store.similarity_search(question, k=K)

    def open(self, model: str, place: Path) -> Ask:
        """Load the store."""
        stores = lib("langchain_community.vectorstores")
        store = stores.FAISS.load_local(
            str(place), self._embedder(model), allow_dangerous_deserialization=True
        )
        return lambda question: store.similarity_search(question, k=K)

    @staticmethod
    def _embedder(model: str) -> Any:  # noqa: ANN401
        kind = lib("langchain_huggingface").HuggingFaceEmbeddings
        return kind(model_name=model, model_kwargs={"device": "cpu"})


class LlamaIndex:
    """llama-index-core with its Hugging Face embedding and FAISS store."""

    def embed(self, model: str) -> Callable[[Sequence[str]], object]:
        """Return `get_text_embedding_batch`."""
        embedder = self._embedder(model)
        return lambda texts: embedder.get_text_embedding_batch(list(texts))

    def ingest(self, model: str, texts: Sequence[str], place: Path) -> Ask:
        """Make and persist an index."""
        core, faiss = lib("llama_index.core"), lib("faiss")
        nodes = [lib("llama_index.core.schema").TextNode(text=text) for text in texts]
        kind = lib("llama_index.vector_stores.faiss").FaissVectorStore
        store = kind(faiss_index=faiss.IndexFlatIP(384))
        context = core.StorageContext.from_defaults(vector_store=store)
        index = core.VectorStoreIndex(
            nodes, storage_context=context, embed_model=self._embedder(model)
        )
        index.storage_context.persist(persist_dir=str(place))
        return self._search(index)

    def open(self, model: str, place: Path) -> Ask:
        """Load the index."""
        core = lib("llama_index.core")
        kind = lib("llama_index.vector_stores.faiss").FaissVectorStore
        store = kind.from_persist_dir(str(place))
        context = core.StorageContext.from_defaults(vector_store=store, persist_dir=str(place))
        index = core.load_index_from_storage(context, embed_model=self._embedder(model))
        return self._search(index)

    @staticmethod
    def _search(index: Any) -> Ask:  # noqa: ANN401
        retriever = index.as_retriever(similarity_top_k=K)
        search: Ask = retriever.retrieve
        return search

    @staticmethod
    def _embedder(model: str) -> Any:  # noqa: ANN401
        kind = lib("llama_index.embeddings.huggingface").HuggingFaceEmbedding
        return kind(model_name=model, device="cpu")


HAYSTACK_EMBEDDERS = "haystack_integrations.components.embedders.sentence_transformers"


class Haystack:
    """haystack-ai with its in-memory store, saved to disk."""

    def embed(self, model: str) -> Callable[[Sequence[str]], object]:
        """Return the document embedder."""
        embedder, document = self._embedder(model), lib("haystack").Document
        return lambda texts: embedder.run([document(content=text) for text in texts])

    def ingest(self, model: str, texts: Sequence[str], place: Path) -> Ask:
        """Embed, write, save."""
        documents = [lib("haystack").Document(content=text) for text in texts]
        store = self._kind()()
        store.write_documents(self._embedder(model).run(documents)["documents"])
        store.save_to_disk(str(place))
        return self._search(model, store)

    def open(self, model: str, place: Path) -> Ask:
        """Load the store."""
        return self._search(model, self._kind().load_from_disk(str(place)))

    @staticmethod
    def _kind() -> Any:  # noqa: ANN401
        return lib("haystack.document_stores.in_memory").InMemoryDocumentStore

    @staticmethod
    def _embedder(model: str) -> Any:  # noqa: ANN401
        kind = lib(HAYSTACK_EMBEDDERS).SentenceTransformersDocumentEmbedder
        embedder = kind(model=model, progress_bar=False)
        embedder.warm_up()
        return embedder

    @staticmethod
    def _search(model: str, store: Any) -> Ask:  # noqa: ANN401
        kind = lib(HAYSTACK_EMBEDDERS).SentenceTransformersTextEmbedder
        embedder = kind(model=model, progress_bar=False)
        embedder.warm_up()
        retrievers = lib("haystack.components.retrievers.in_memory")
        retriever = retrievers.InMemoryEmbeddingRetriever(store, top_k=K)
        return lambda question: retriever.run(embedder.run(question)["embedding"])


class Txtai:
    """txtai with content storage."""

    def embed(self, model: str) -> Callable[[Sequence[str]], object]:
        """Return `batchtransform`."""
        embeddings = self._embeddings(model)
        return lambda texts: embeddings.batchtransform(list(texts))

    def ingest(self, model: str, texts: Sequence[str], place: Path) -> Ask:
        """Index and save."""
        embeddings = self._embeddings(model)
        embeddings.index(list(texts))
        embeddings.save(str(place))
        return lambda question: embeddings.search(question, K)

    def open(self, model: str, place: Path) -> Ask:
        """Load the index, which knows its model."""
        del model
        embeddings = lib("txtai").Embeddings()
        embeddings.load(str(place))
        return lambda question: embeddings.search(question, K)

    @staticmethod
    def _embeddings(model: str) -> Any:  # noqa: ANN401
        return lib("txtai").Embeddings(path=model, content=True, gpu=False)


class Chroma:
    """chromadb, persistent, with its sentence-transformers embedding function."""

    def embed(self, model: str) -> Callable[[Sequence[str]], object]:
        """Return the embedding function."""
        embed: Callable[[Sequence[str]], object] = self._function(model)
        return lambda texts: embed(list(texts))

    def ingest(self, model: str, texts: Sequence[str], place: Path) -> Ask:
        """Add to a collection."""
        collection = self._collection(model, place)
        collection.add(ids=[str(i) for i in range(len(texts))], documents=list(texts))
        return lambda question: collection.query(query_texts=[question], n_results=K)

    def open(self, model: str, place: Path) -> Ask:
        """Open the collection."""
        collection = self._collection(model, place)
        return lambda question: collection.query(query_texts=[question], n_results=K)

    @staticmethod
    def _function(model: str) -> Any:  # noqa: ANN401
        functions = lib("chromadb.utils.embedding_functions")
        return functions.SentenceTransformerEmbeddingFunction(model_name=model, device="cpu")

    def _collection(self, model: str, place: Path) -> Any:  # noqa: ANN401
        chromadb = lib("chromadb")
        client = chromadb.PersistentClient(
            str(place), settings=lib("chromadb.config").Settings(anonymized_telemetry=False)
        )
        return client.get_or_create_collection("passages", embedding_function=self._function(model))


Entry = tuple[System, str, tuple[str, ...]]  # a system, its environment, its packages

SYSTEMS: dict[str, Entry] = {
    "ragkit numpy": (Ragkit("numpy"), "ragkit", ("ragkit-lean", "numpy")),
    "ragkit fast": (Ragkit("onnxruntime"), "ragkit", ("ragkit-lean", "onnxruntime")),
    "ragkit fast, as it comes": (
        Ragkit("onnxruntime", sentences=True, mode="hybrid"),
        "ragkit",
        ("ragkit-lean", "onnxruntime"),
    ),
    "sentence-transformers + FAISS": (
        SentenceTransformers(),
        "base",
        ("sentence-transformers", "torch", "faiss-cpu"),
    ),
    "LangChain": (LangChain(), "langchain", ("langchain-community", "langchain-huggingface")),
    "LlamaIndex": (LlamaIndex(), "llamaindex", ("llama-index-core",)),
    "Haystack": (Haystack(), "haystack", ("haystack-ai", "sentence-transformers-haystack")),
    "txtai": (Txtai(), "txtai", ("txtai",)),
    "Chroma": (Chroma(), "chroma", ("chromadb",)),
}
TASKS = ("embed", "cold", "ingest", "search")


def systems_of(environments: Iterable[str]) -> dict[str, Entry]:
    """Return what runs in these environments, by row; ragkit's other ones have rows of their own.

    Raises:
        ValueError: If nothing runs in one of the environments.
    """
    found: dict[str, Entry] = {}
    for environment in environments:
        known, _, word = environment.partition("-")
        rows = {
            f"{name} ({word})" if word else name: (system, environment, packages)
            for name, (system, home, packages) in SYSTEMS.items()
            if home == known and (home == "ragkit" or not word)
        }
        if not rows:
            homes = ", ".join(dict.fromkeys(home for _, home, _ in SYSTEMS.values()))
            raise ValueError(f"--python {environment}: use one of {homes}, or ragkit-WORD")
        found |= rows
    order = [entry[0] for entry in SYSTEMS.values()]
    return dict(sorted(found.items(), key=lambda item: order.index(item[1][0])))


def texts_of(path: Path, n: int) -> list[str]:
    """Return n texts of a JSON Lines file, drawn by chance."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in random.Random(0).sample(lines, n)]


def work(task: str, name: str, options: argparse.Namespace, place: Path) -> dict[str, float]:
    """Do one task in this process and return its figures."""
    system, model = SYSTEMS[name.partition(" (")[0]][0], str(options.model)
    questions = texts_of(options.questions, N_QUESTIONS)
    figures: dict[str, float] = {}
    if task == "embed":
        texts = texts_of(options.corpus, N_EMBEDDED)
        embed = system.embed(model)
        embed(texts[:8])
        cpu, wall = time.process_time(), time.perf_counter()
        embed(texts)
        figures["documents_per_cpu_second"] = N_EMBEDDED / (time.process_time() - cpu)
        figures["documents_per_second"] = N_EMBEDDED / (time.perf_counter() - wall)
    elif task == "cold":
        system.embed(model)(questions[:1])
    elif task == "ingest":
        texts = texts_of(options.corpus, N_INGESTED)
        cpu, wall = time.process_time(), time.perf_counter()
        ask = system.ingest(model, texts, place)
        figures["cpu_seconds"] = time.process_time() - cpu
        figures["seconds"] = time.perf_counter() - wall
        for question in questions[:5]:
            ask(question)
        times: list[float] = []
        for question in questions:
            began = time.perf_counter()
            ask(question)
            times.append(1e3 * (time.perf_counter() - began))
        figures["query_ms"] = statistics.median(times)
    else:
        system.open(model, place)(questions[0])
    figures["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return figures


def installed(python: str) -> dict[str, object]:
    """Return the size and number of packages of an environment, its base included."""
    script = (
        "import importlib.metadata, json, pathlib, sys\n"
        "names = {d.metadata['Name'].lower() for d in importlib.metadata.distributions()}\n"
        "sizes = [f.stat().st_size for p in sys.path if p.endswith('site-packages')\n"
        "         for f in pathlib.Path(p).rglob('*') if f.is_file() and f.suffix != '.pyc']\n"
        "print(json.dumps({'mb': sum(sizes) / 1e6, 'packages': len(names)}))"
    )
    done = subprocess.run([python, "-c", script], check=True, capture_output=True, text=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def versions(python: str, names: Sequence[str]) -> dict[str, str]:
    """Return the versions of packages in an environment."""
    script = (
        "import importlib.metadata, json, sys\n"
        "print(json.dumps({n: importlib.metadata.version(n) for n in sys.argv[1:]}))"
    )
    done = subprocess.run(
        [python, "-c", script, *names], check=True, capture_output=True, text=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def main() -> None:
    """Take turns, and print each figure and its ratio to sentence-transformers + FAISS."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        task, name, place = options.work
        print(json.dumps(work(task, name, options, Path(place))))
        return
    pythons = dict(given.split("=", 1) for given in options.python)
    systems = systems_of(pythons)
    figures: dict[str, dict[str, list[float]]] = {n: defaultdict(list) for n in systems}
    folder = Path(tempfile.mkdtemp())
    for _ in range(options.rounds):
        for task in TASKS:
            for name in systems:
                place = folder / name.replace(" ", "-")
                if task == "ingest":
                    shutil.rmtree(place, ignore_errors=True)
                    place.unlink(missing_ok=True)
                run(options, pythons[systems[name][1]], (task, name, str(place)), figures[name])
    shutil.rmtree(folder)
    report = {
        name: {
            "versions": versions(pythons[entry[1]], entry[2]),
            "installed": installed(pythons[entry[1]]),
            **{key: statistics.median(values) for key, values in figures[name].items()},
            "raw": dict(figures[name]),
        }
        for name, entry in systems.items()
    }
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
    print(table(report))


def run(
    options: argparse.Namespace,
    python: str,
    task: tuple[str, str, str],
    into: dict[str, list[float]],
) -> None:
    """Run one task of one system in a process of its own and note its figures."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment |= {**one, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    files = [str(options.corpus), str(options.questions), "--model", str(options.model)]
    began = time.perf_counter()
    done = subprocess.run(
        [python, __file__, *files, "--work", *task],
        check=False, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    wall = time.perf_counter() - began
    if done.returncode:
        print(f"{task}: {done.stderr[-2000:]}", file=sys.stderr)
        return
    for key, value in json.loads(done.stdout.splitlines()[-1]).items():
        into[f"{task[0]}_{key}"].append(value)
    into[f"{task[0]}_process_seconds"].append(wall)


COLUMNS = (
    ("embed_documents_per_cpu_second", "embed, docs/CPU-s"),
    ("cold_process_seconds", "cold, s"),
    ("cold_peak_rss_mb", "its peak, MB"),
    ("ingest_cpu_seconds", "ingest, CPU-s"),
    ("ingest_peak_rss_mb", "its peak, MB"),
    ("ingest_query_ms", "query, ms"),
    ("search_process_seconds", "search, s"),
    ("search_peak_rss_mb", "its peak, MB"),
)


def table(report: dict[str, Any]) -> str:
    """Return the figures as a table, with their ratio to sentence-transformers + FAISS."""
    head = ["", "installed, MB / packages", *(title for _, title in COLUMNS)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    base = report.get("sentence-transformers + FAISS", {})
    for name, row in report.items():
        installed_ = row["installed"]
        cells = [name, f"{installed_['mb']:,.0f} / {installed_['packages']}"]
        for key, _ in COLUMNS:
            value, other = row.get(key), base.get(key)
            ratio = f" ({value / other:.2f})" if value and other else ""
            cells.append("failed" if value is None else f"{value:,.3g}{ratio}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
