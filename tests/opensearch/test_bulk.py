"""Nothing that was acknowledged is lost, nothing is written twice, every failure is reported."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ragkit import RAG, Document
from ragkit.errors import AccessDeniedError, RateLimitedError, RemoteError
from ragkit.types import Json
from ragkit_connectors.opensearch import (
    Access,
    BulkWriter,
    Connection,
    OpenSearchStore,
    Operation,
    parse_address,
)
from ragkit_connectors.testing import Asked, OpenSearchServer, Trouble

from .conftest import NodeMaker
from .opening import WORDS_ONLY, always, numbered, opened, unused, words
from .proxy import Proxy


def bulks(trouble: Callable[[int], Trouble | None]) -> Callable[[Asked], Trouble | None]:
    """Make trouble for bulk requests only, by their number from 0."""
    numbers = iter(range(10**9))

    def script(asked: Asked) -> Trouble | None:
        return trouble(next(numbers)) if asked.path.endswith("/_bulk") else None

    return script


def holding(part: bytes, trouble: Trouble) -> Callable[[Asked], Trouble | None]:
    """Make trouble for bulk requests that hold this."""

    def script(asked: Asked) -> Trouble | None:
        return trouble if asked.path.endswith("/_bulk") and part in asked.body else None

    return script


def chunks(server: OpenSearchServer, index: str = "kb-000001") -> list[str]:
    """Return the chunk ids of all stored chunks, with repetitions."""
    stored = server.records(index).values()
    return [str(record["chunk_id"]) for record in stored if record["kind"] == "chunk"]


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble(status=429),
        Trouble(status=502),
        Trouble(status=503),
        Trouble(status=504),
        Trouble(status=None),
        Trouble(status=None, after_doing=True),
        Trouble(status=503, after_doing=True),
        Trouble(status=200, body={"items": [{"index": {"status": list[int]()}}] * 20}),
        Trouble(items=0.5),
        Trouble(items=1.0),
    ],
    ids=lambda trouble: f"{trouble.status}-{trouble.after_doing}-{trouble.items}",
)
@pytest.mark.parametrize("serverless", [False, True])
def test_records_that_are_throttled_or_unanswered_are_sent_again(
    trouble: Trouble, serverless: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is stored once, though the client library would have given up or raised."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    options = {"aws_service": "aoss", "region": "eu-west-1"} if serverless else {}
    script = bulks(lambda number: trouble if number < 2 else None)
    with OpenSearchServer(serverless=serverless, trouble=script) as server:
        with words(f"{server.url}/kb", **options) as rag:
            report = rag.ingest(*numbered(20))
            assert report.documents["added"] == 20
            assert rag.describe()["chunks"] == 20
        assert len(chunks(server)) == len(set(chunks(server))) == 20


def test_one_bad_record_fails_alone() -> None:
    """Its document is reported with the server's reason, and all others are stored."""
    bad = Document(id="bad", text="Bad words here.")
    # The server takes no request that holds it.
    script = holding(b"Bad words", Trouble(status=413))
    with OpenSearchServer(trouble=script) as server, words(f"{server.url}/kb") as rag:
        report = rag.ingest(*numbered(9), bad, *numbered(9, prefix="m"))
        assert (report.documents["added"], report.documents["failed"]) == (18, 1)
        assert [(f.code, "too large" in f.detail) for f in report.failures] == [("rejected", True)]
        assert rag.show("bad") is None
        assert len(list(rag.list())) == 18


def test_a_refused_record_is_kept_in_a_file(tmp_path: Path) -> None:
    """The file of dead letters holds the record and the reason; without one nothing is written."""
    place = tmp_path / "dead.jsonl"
    with OpenSearchServer() as server:
        with words(f"{server.url}/kb"):
            pass
        store = opened(f"{server.url}/kb", dead_letters=str(place))
        with RAG(store, config=WORDS_ONLY) as rag:
            rag.ingest(*numbered(1))
            server.trouble = holding(b"Number n00001", Trouble(status=413))
            report = rag.ingest(*numbered(3))
        assert report.documents["failed"] == 1
        (letter,) = [json.loads(line) for line in place.read_text().splitlines()]
        assert letter["record"]["document_id"] == "n00001"
        assert "too large" in letter["reason"]


def test_a_request_that_is_too_large_is_halved() -> None:
    """After a 413 the same records go out in smaller requests."""

    def script(asked: Asked) -> Trouble | None:
        too_large = asked.path.endswith("/_bulk") and len(asked.body) > 6_000
        return Trouble(status=413) if too_large else None

    with OpenSearchServer(trouble=script) as server, words(f"{server.url}/kb") as rag:
        assert rag.ingest(*numbered(60)).documents["added"] == 60
        assert len(chunks(server)) == 60


def test_requests_shrink_while_the_server_is_busy() -> None:
    """Each throttled request halves the next one; successes make them larger again."""
    script = bulks(lambda number: Trouble(status=429) if number in {0, 1, 2} else None)
    with OpenSearchServer(trouble=script) as server, words(f"{server.url}/kb") as rag:
        rag.ingest(*numbered(64))
        sizes = [
            asked.body.count(b'"kind":"chunk"')
            for asked in server.requests
            if asked.path.endswith("/_bulk")
        ]
        assert len(chunks(server)) == 64
    assert sizes[3] == 1
    assert sizes[:3] == [64, 64, 64]
    assert max(sizes[4:]) > 1


def test_a_server_that_stays_busy_is_named_and_nothing_counts_as_stored() -> None:
    """When the time is up every document is reported, and a later ingest writes them all."""
    with OpenSearchServer(trouble=bulks(lambda _: Trouble(items=1.0))) as server:
        with words(f"{server.url}/kb", retry_seconds=0.5) as rag:
            report = rag.ingest(*numbered(3))
            assert report.documents["failed"] == 3
            assert "too busy" in report.failures[0].detail
            server.trouble = None
            assert rag.ingest(*numbered(3)).documents["added"] == 3
            assert rag.describe()["chunks"] == 3


def test_a_caller_that_is_refused_is_told_at_once() -> None:
    """403 is not retried, and says where to look."""
    with OpenSearchServer(trouble=bulks(lambda _: Trouble(status=403))) as server:
        with words(f"{server.url}/kb") as rag:
            with pytest.raises(AccessDeniedError, match="OPENSEARCH_USERNAME"):
                rag.ingest(*numbered(3))
            assert sum(asked.path.endswith("/_bulk") for asked in server.requests) == 1


def test_an_interrupted_change_is_never_taken_for_the_old_document() -> None:
    """A document whose change broke off is written again, also when the old text comes back."""
    old = Document(id="a", text="The walrus sleeps. The heron stands.")
    new = Document(id="a", text="The walrus sleeps. The whale sings.")
    with OpenSearchServer() as server, words(f"{server.url}/kb", old, retry_seconds=0.3) as rag:
        # The first bulk request removes the document's own record, the second writes chunks.
        server.trouble = bulks(lambda number: Trouble(status=503) if number else None)
        assert rag.ingest(new).documents["failed"] == 1
        server.trouble = None
        assert rag.ingest(old).documents["unchanged"] == 0
        assert rag.doctor() == []
        assert rag.search("whale") == []


def test_the_doctor_finds_chunks_of_no_document() -> None:
    """What a broken-off ingest left is found, removed when asked, and written by the next one."""
    with OpenSearchServer() as server, words(f"{server.url}/kb", retry_seconds=0.3) as rag:
        rag.ingest(*numbered(2))
        server.trouble = bulks(lambda number: Trouble(status=503) if number else None)
        rag.ingest(*numbered(2, prefix="m"))
        server.trouble = None
        findings = rag.doctor()
        assert [("m0000" in f.detail, f.repairable) for f in findings] == [(True, True)] * 2
        assert all(f.repaired for f in rag.doctor(repair=True))
        assert rag.doctor() == []
        assert rag.ingest(*numbered(2, prefix="m")).documents["added"] == 2


def test_a_slow_drip_does_not_outlive_the_deadline() -> None:
    """A server that sends a byte now and then never lets a read time out; the call ends anyway."""
    with OpenSearchServer() as server:
        store = opened(f"{server.url}/kb", timeout_seconds=1.0, retry_seconds=1.0)
        server.trouble = always(Trouble(drip_seconds=0.2))
        # All of the answer would have come, after many times the deadline.
        with pytest.raises(RemoteError, match="did not answer in time"):
            store.manifest()
        store.close()


def test_a_search_is_repeated_when_the_server_is_busy_for_a_moment() -> None:
    """429 and 503 are waited out, which the client library does not do for 429."""
    with OpenSearchServer() as server, words(f"{server.url}/kb", *numbered(2)) as rag:
        statuses = iter([429, 503])

        def busy(asked: Asked) -> Trouble | None:
            status = next(statuses, None) if asked.path.endswith("/_search") else None
            return None if status is None else Trouble(status=status)

        server.trouble = busy
        assert len(rag.search("n00001")) == 1
        server.trouble = always(Trouble(status=429))
        with words(f"{server.url}/kb", retry_seconds=0.3) as other:
            with pytest.raises(RateLimitedError, match="HTTP 429"):
                other.search("n00001")


# --- on a real server ------------------------------------------------------------------------


def test_a_storm_loses_nothing_and_repeats_little(opensearch_url: str) -> None:
    """A third of the requests fail: all chunks are there once, and little is sent twice."""
    with Proxy(opensearch_url, share=0.3) as proxy:
        address = unused(proxy.url)
        with words(address) as rag:
            assert rag.ingest(*numbered(600)).documents["added"] == 600
            assert rag.describe()["chunks"] == 600
            assert len(list(rag.list())) == 600
            assert rag.doctor() == []
        # A chunk and a document's own record each.
        n_records = 2 * 600
        assert proxy.n_troubles > 5
        assert proxy.n_records_sent - proxy.n_records_throttled <= 1.7 * n_records


@pytest.mark.slow
def test_sixteen_writers_at_a_queue_of_one(make_node: NodeMaker) -> None:
    """Every chunk that was acknowledged is countable, none twice, though most were throttled."""
    node = make_node("thread_pool.write.size=1", "thread_pool.write.queue_size=1")
    address = f"{node.url}/kb"
    with words(address, *numbered(1, prefix="first")):
        pass
    acknowledged: set[str] = set()
    errors: list[BaseException] = []
    stores: list[OpenSearchStore] = []

    def write(number: int) -> None:
        store = opened(address, retry_seconds=60.0)
        stores.append(store)
        try:
            with RAG(store, config=WORDS_ONLY) as rag:
                rag.ingest(
                    *numbered(40, prefix=f"w{number:02d}"),
                    on_progress=lambda done: acknowledged.add(done.document_id),
                )
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(acknowledged) == 640
    assert sum(store.written.n_throttled for store in stores) > 0
    with words(address) as rag:
        assert rag.describe()["chunks"] == 641
        assert {row.document_id for row in rag.list()} >= acknowledged
        assert rag.doctor() == []


@pytest.mark.slow
def test_a_server_that_dies_in_the_middle_loses_nothing(make_node: NodeMaker) -> None:
    """Killed and started again during an ingest: what was acknowledged is there, and it resumes."""
    node = make_node()
    documents = numbered(800)
    acknowledged: list[str] = []
    moment = random.Random(3).randrange(100, 400)
    restarted: list[threading.Thread] = []

    def on_progress(done: object) -> None:
        acknowledged.append(str(getattr(done, "document_id", "")))
        if len(acknowledged) == moment:
            node.kill()
            restarted.append(threading.Thread(target=node.start))
            restarted[0].start()

    address = f"{node.url}/kb"
    with words(address, retry_seconds=120.0) as rag:
        rag.ingest(*documents, on_progress=on_progress)
        restarted[0].join()
        listed = {row.document_id for row in rag.list()}
        assert listed >= set(acknowledged)
        again = rag.ingest(*documents)
        assert again.documents["failed"] == 0
        assert len(list(rag.list())) == rag.describe()["chunks"] == 800
        assert rag.doctor() == []


def test_a_record_that_the_mapping_refuses_is_told_apart_from_those_it_takes(
    opensearch_url: str,
) -> None:
    """The client library counts such a record as done, or raises and sends no other."""
    address = unused(opensearch_url)
    with words(address, *numbered(1)):
        pass
    connection = Connection(parse_address(address), Access(), timeout_seconds=9, retry_seconds=9)
    writer = BulkWriter(connection)
    good: dict[str, Json] = {"kind": "chunk", "chunk_id": "c", "document_id": "d"}
    operations = [
        Operation(key="1", target="1", source=good),
        Operation(key="2", target="2", source={**good, "colour": "red"}),
        Operation(key="3", target="3", source={**good, "start": "not a number"}),
        Operation(key="4", target="4", source=good),
    ]
    report = writer.write(f"{address.rsplit('/', 1)[1]}-000001", operations)
    connection.close()
    assert report.acknowledged == {"1", "4"}
    assert "strict_dynamic_mapping_exception" in report.failed["2"]
    assert "mapper_parsing_exception" in report.failed["3"]
    assert (report.n_requests, report.n_sent) == (1, 4)
