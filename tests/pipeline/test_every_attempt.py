"""One ledger line for every attempt, with what it used elsewhere; what is unknown stays so."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import pytest

from ragkit import RAG, Document
from ragkit.costs.ledger import read_ledger, summarise
from ragkit.costs.machine import Machine, Since
from ragkit.errors import ConfigError, RateLimitedError, RemoteError, StoreClosedError
from ragkit.types import Generation, GenerationOptions, Hit, Prompt, Query, TokenCounter, Usage
from ragkit_connectors.openai import OpenAIEmbedder, OpenAIGenerator
from ragkit_connectors.testing import OpenAIServer, Reply

FERRY = Document(id="a", text="The ferry leaves at nine. The quay is closed.")
QUESTION = "When does the ferry leave?"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store of one document, without vectors."""
    with RAG(tmp_path / "kb", embedder="none", ledger="off") as rag:
        rag.ingest(FERRY)
    return tmp_path / "kb"


def receipts(folder: Path) -> list[dict[str, Any]]:
    """Return the receipts of a store's answers."""
    lines = [cast("Any", line) for line in read_ledger(folder / "ledger.jsonl")]
    return [line["receipt"] for line in lines if line["kind"] == "ask"]


def test_requests_that_were_refused_are_counted(store: Path) -> None:
    """A generation that was sent again after 429 is one call, and two attempts."""
    busy = Reply(status=429, text="slow down", headers={"Retry-After": "0"})
    with OpenAIServer([busy, Reply(text="At nine.")]) as server:
        generator = OpenAIGenerator("m", base_url=server.base_url)
        with RAG(store, generator=generator) as rag:
            receipt = rag.ask(QUESTION).receipt
        sent = sum(len(json.dumps(request.body).encode()) for request in server.requests)
    assert (receipt.llm_calls, receipt.attempts) == (1, 2)
    assert receipt.bytes_sent == sent
    assert receipt.bytes_received is not None
    assert receipt.bytes_received > len("At nine.")
    assert {"network", "training", "embodied"} <= set(receipt.not_counted)


def test_an_attempt_that_stays_refused_has_its_line(store: Path) -> None:
    """Each request counts, although none was answered."""
    busy = Reply(status=429, text="slow down", headers={"Retry-After": "0"})
    with OpenAIServer([busy]) as server:
        generator = OpenAIGenerator("m", base_url=server.base_url)
        with RAG(store, generator=generator) as rag, pytest.raises(RateLimitedError):
            rag.ask(QUESTION)
        n_sent = len(server.requests)
    (receipt,) = receipts(store)
    assert (receipt["outcome"], receipt["attempts"]) == ("failed", n_sent)
    assert n_sent > 1


def test_streams_are_counted_piece_by_piece(store: Path) -> None:
    """What a stream received is counted; a listener that waits between the pieces costs nothing."""
    with OpenAIServer([Reply(text="The ferry leaves at nine.")]) as server:
        generator = OpenAIGenerator("m", base_url=server.base_url)
        with RAG(store, generator=generator) as rag:
            whole = rag.stream(QUESTION).answer.receipt
    assert whole.attempts == 1
    assert whole.bytes_received is not None
    assert whole.bytes_received > 100
    assert "generate" in {stage.name for stage in whole.stages}


@pytest.mark.parametrize("way", ["close", "drop", "error"])
def test_a_stream_that_nobody_reads_has_its_line(store: Path, way: str) -> None:
    """A question was searched for: closed, dropped or left by an error, it was abandoned."""
    with RAG(store) as rag:
        stream = rag.stream(QUESTION)
        if way == "close":
            stream.close()
        elif way == "error":
            with pytest.raises(ZeroDivisionError), stream:
                raise ZeroDivisionError
        del stream
        gc.collect()
    (receipt,) = receipts(store)
    assert (receipt["outcome"], receipt["llm_calls"]) == ("abandoned", 0)
    summary = summarise(read_ledger(store / "ledger.jsonl"))
    assert (summary.answers, summary.abandoned, summary.failures) == (0, 1, 0)


def test_an_answer_that_came_after_closing_keeps_its_usage(store: Path) -> None:
    """The pipeline was closed before the last piece: the attempt is lost, what it cost is not."""
    usage = Usage(input_tokens=60, output_tokens=2, exact=True, counter="said")
    open_rags: list[RAG] = []

    def close() -> None:
        closing = threading.Thread(target=open_rags[0].close, kwargs={"seconds": 0.0})
        closing.start()
        closing.join()

    open_rags.append(RAG(store, generator=Said(usage, before_the_end=close)))
    with pytest.raises(StoreClosedError):
        _ = open_rags[0].stream(QUESTION).answer
    lines = [cast("Any", line) for line in read_ledger(store / "ledger.jsonl")]
    assert [line["receipt"]["outcome"] for line in lines] == ["abandoned"]
    assert lines[0]["usage"]["output_tokens"] == lines[0]["receipt"]["output_tokens"] == 2


def test_ctrl_c_is_an_abandoned_attempt(store: Path) -> None:
    """The model may have been paid when the user has had enough."""

    def stop() -> None:
        raise KeyboardInterrupt

    with RAG(store, generator=Said(Usage(), before_the_end=stop)) as rag:
        with pytest.raises(KeyboardInterrupt):
            rag.ask(QUESTION)
    (receipt,) = receipts(store)
    assert (receipt["outcome"], receipt["llm_calls"]) == ("abandoned", 1)
    # What a generator of the user's own sends, nobody counts.
    assert receipt["attempts"] is receipt["bytes_sent"] is receipt["bytes_received"] is None


class Said:
    """A generator of the user's own, which calls something before it answers."""

    name = "mine:llama-8b"
    calls_llm = True
    counter: TokenCounter | None = None

    def __init__(self, usage: Usage, before_the_end: Callable[[], None]) -> None:
        self._usage, self._before_the_end = usage, before_the_end

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Return the whole answer."""
        *_, last = self.stream(prompt, options)
        return cast("Generation", last)

    def stream(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str | Generation]:
        """Yield it in one piece."""
        del prompt, options
        yield "At nine."
        self._before_the_end()
        yield Generation(text="At nine.", usage=self._usage, stop_reason="stop")


class Broken:
    """A retriever that fails after it was paid, or before anything was done."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def search(self, query: Query) -> Sequence[Hit]:
        """Fail."""
        del query
        raise self._error


@pytest.mark.parametrize(
    ("error", "outcomes"),
    [(RemoteError("no"), ["failed"]), (OSError("no"), ["failed"]), (ConfigError("no"), [])],
    ids=["remote", "unknown", "config"],
)
def test_a_search_that_fails_has_its_line_where_it_may_be_billed(
    tmp_path: Path, error: Exception, outcomes: list[str]
) -> None:
    """A question that failed before it was sent anywhere costs nothing and leaves no line."""
    ledger = tmp_path / "ledger.jsonl"
    with RAG(Broken(error), ledger=ledger) as rag, pytest.raises(type(error)):
        rag.ask(QUESTION)
    found = receipts(tmp_path) if ledger.exists() else []
    assert [receipt["outcome"] for receipt in found] == outcomes
    assert all(receipt["bytes_sent"] is None for receipt in found)


@pytest.mark.parametrize(
    ("usage", "counted"), [("words", 5), (None, None)], ids=["told", "not told"]
)
def test_tokens_of_embeddings_are_what_their_server_tells(
    tmp_path: Path, usage: Literal["words"] | None, counted: int | None
) -> None:
    """A server that does not say how much it read leaves that unknown, never 0."""
    pytest.importorskip("numpy")
    with OpenAIServer([Reply(usage=usage)]) as server:
        embedder = OpenAIEmbedder("e", base_url=server.base_url, dimensions=8)
        with RAG(tmp_path / "kb", embedder=embedder) as rag:
            rag.ingest(FERRY)
            answer = rag.ask(QUESTION)
        lines = [cast("Any", line) for line in read_ledger(tmp_path / "kb" / "ledger.jsonl")]
        ingested = sum(
            len(str(text).split())
            for request in server.requests[:-1]
            for text in cast("Any", request.body["input"])
        )
    assert answer.receipt.embed_tokens == counted
    assert answer.receipt.bytes_sent
    assert "remote_embedding" in answer.receipt.not_counted
    assert lines[0]["embed_tokens"] == (None if usage is None else ingested)
    assert lines[0]["bytes_sent"] > lines[0]["embed_tokens"] if usage else True


def test_an_answer_of_this_process_alone_sends_nothing(tmp_path: Path) -> None:
    """Words alone: no bytes, no attempts, no tokens embedded; these are known to be 0."""
    with RAG(tmp_path / "kb", embedder="none") as rag:
        rag.ingest(FERRY)
        receipt = rag.ask(QUESTION).receipt
    assert (receipt.bytes_sent, receipt.bytes_received, receipt.attempts) == (0, 0, 0)
    assert (receipt.embed_tokens, receipt.rerank_units) == (0, 0)
    assert "network" not in receipt.not_counted
    assert receipt.idle_share is not None
    assert 0.0 <= receipt.idle_share <= 1.0


def test_texts_that_were_reranked_are_counted(store: Path) -> None:
    """Each text that a reranker compared with the question is a unit."""

    class Backwards:
        def rerank(self, question: str, hits: Sequence[Hit]) -> Sequence[Hit]:
            del question
            return [replace(hit, rank=i) for i, hit in enumerate(reversed(hits), start=1)]

    with RAG(store, reranker=Backwards()) as rag:
        receipt = rag.ask(QUESTION).receipt
    assert receipt.rerank_units == 1
    assert receipt.bytes_sent is None  # nobody knows what it sends


def test_an_ingest_that_fails_has_its_line(tmp_path: Path) -> None:
    """Embeddings were paid until the server failed."""
    pytest.importorskip("numpy")
    with OpenAIServer([Reply(), Reply(status=400, text="no")]) as server:
        embedder = OpenAIEmbedder("e", base_url=server.base_url, dimensions=8, batch_size=1)
        with RAG(tmp_path / "kb", embedder=embedder) as rag, pytest.raises(RemoteError):
            rag.ingest(FERRY)
    (line,) = [cast("Any", line) for line in read_ledger(tmp_path / "kb" / "ledger.jsonl")]
    assert (line["kind"], line["outcome"]) == ("ingest", "failed")
    assert line["bytes_sent"] > 0


# --- the machine -----------------------------------------------------------------------------


def tree(root: Path, group: str, **files: str) -> Machine:
    """Return a machine whose control group holds these files."""
    folder = root / "sys/fs/cgroup" / group
    folder.mkdir(parents=True)
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/self/cgroup").write_text(f"0::/{group}\n")
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(text)
    return Machine(root)


def test_a_control_group_tells_its_limit_use_and_peak(tmp_path: Path) -> None:
    """Half a processor is provided; what its processes used is told in microseconds."""
    stat = "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n"
    machine = tree(tmp_path, "a/b", cpu_max="50000 100000\n", cpu_stat=stat, memory_peak="4096\n")
    assert machine.n_cpus == 0.5
    assert machine.used_cpu_seconds() == 1.5
    assert machine.peak_bytes() == 4096


def test_a_container_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    """The path is the host's, and not there; a path that climbs out is not followed."""
    for i, path in enumerate(("/docker/abc", "/../../etc")):
        root = tmp_path / str(i)
        (root / "sys/fs/cgroup").mkdir(parents=True)
        (root / "proc/self").mkdir(parents=True)
        (root / "proc/self/cgroup").write_text(f"1:name=systemd:/\n0::{path}\n")
        (root / "sys/fs/cgroup/cpu.stat").write_text("usage_usec 7\n")
        assert Machine(root).used_cpu_seconds() == 7e-6


@pytest.mark.parametrize("text", ["", "max 100000", "x y", "-5 100", "0 100000", "5", "²"])
def test_a_limit_that_is_none_leaves_the_processors(tmp_path: Path, text: str) -> None:
    """Whatever stands there, the number of processors is positive."""
    machine = tree(tmp_path, "a", cpu_max=text, cpu_stat="usage_usec x\n", memory_peak=text)
    assert machine.n_cpus >= 1.0
    assert machine.used_cpu_seconds() is None
    assert machine.peak_bytes() in (None, 5)


def test_idle_is_what_was_provided_and_not_used(tmp_path: Path) -> None:
    """A group that used all of its share meanwhile was not idle; one that used none was."""
    machine = tree(tmp_path, "a", cpu_max="100000 100000", cpu_stat="usage_usec 0\n")
    began = Since.now(machine)
    idle = began.idle_share()
    (tmp_path / "sys/fs/cgroup/a/cpu.stat").write_text("usage_usec 999999999999\n")
    assert idle == 1.0
    assert began.idle_share() == 0.0


def test_without_control_groups_the_process_is_measured(tmp_path: Path) -> None:
    """Version 1, or another system, tells nothing."""
    machine = Machine(tmp_path)
    began = Since.now(machine)
    sum(range(10_000))
    idle = began.idle_share()
    assert machine.used_cpu_seconds() is machine.peak_bytes() is None
    assert idle is not None
    assert 0.0 <= idle < 1.0
