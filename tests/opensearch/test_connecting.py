"""Addresses, credentials, requests' bodies, and errors that say what to do."""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from typing import Protocol, cast

import pytest

from ragkit import RAG, Settings
from ragkit.errors import AccessDeniedError, ConfigError, RemoteError
from ragkit.types import Json, Query
from ragkit_connectors.opensearch import VectorIndex, open_opensearch, parse_address
from ragkit_connectors.testing import Asked, OpenSearchServer, Request, Trouble, WordEmbedder
from ragkit_connectors.testing.serving import Answering, LoopbackServer

from .opening import numbered, on, opened, words


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("", "allowed: opensearch:https://HOST"),
        ("localhost:9200/kb", "allowed: opensearch:https://HOST"),
        ("https://h", "index ''"),
        ("https://h/Upper", "index 'Upper'; allowed"),
        ("https://h/_hidden", "index '_hidden'"),
        ("https://h/a b", "index 'a b'"),
        ("https://h/" + "a" * 201, "1 to 200 bytes"),
        ("https://user:secret@h/kb", "OPENSEARCH_PASSWORD"),
        ("https://h:99999/kb", "cannot be read"),
        ("https://h/kb?x=1", "allowed"),
    ],
)
def test_an_address_that_cannot_be_one_is_named(address: str, fault: str) -> None:
    """The error shows what is allowed, and no secret."""
    with pytest.raises(ConfigError, match=re.escape(fault)) as caught:
        open_opensearch(address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"engine": "nmslib"}, "engine 'nmslib'; allowed: lucene faiss"),
        ({"vector_type": "byte", "engine": "faiss"}, "byte with lucene"),
        ({"vector_type": "fp16"}, "fp16 with faiss"),
        ({"compression": "8x"}, "compression '8x'; allowed: 1x 32x 4x"),
        ({"compression": "4x", "vector_type": "byte"}, "compression with vector_type"),
        ({"m": 1}, "m 1; allowed: 2 to 100"),
        ({"ef_construction": 0}, "ef_construction 0"),
        ({"timeout_seconds": 0}, "timeout_seconds 0"),
        ({"retry_seconds": float("inf")}, "retry_seconds inf"),
        ({"hybrid": "both"}, "hybrid 'both'; allowed: auto server client"),
        ({"aws_service": "s3"}, "aws_service 's3'; allowed: es aoss"),
        ({"vector_field": "v"}, "need text_field"),
    ],
)
def test_settings_that_do_not_fit_are_named(options: dict[str, object], fault: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigError, match=re.escape(fault)):
        open_opensearch("https://h/kb", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("vectors", "version", "expected"),
    [
        (VectorIndex(), (2, 19), {"space_type": "cosinesimil"}),
        (VectorIndex(engine="faiss"), (2, 17), {"space_type": "innerproduct"}),
        (VectorIndex(type="byte"), (2, 19), {"data_type": "byte"}),
        (VectorIndex(on_disk=True, compression="32x"), (3, 0),
         {"mode": "on_disk", "compression_level": "32x"}),
        (VectorIndex(engine="faiss", type="fp16"), (3, 5),
         {"encoder": {"name": "sq", "parameters": {"type": "fp16", "clip": True}}}),
        (VectorIndex(engine="faiss", type="fp16"), (3, 6),
         {"encoder": {"name": "sq", "parameters": {"bits": 16, "type": "fp16", "clip": True}}}),
    ],
)  # fmt: skip
def test_a_mapping_always_names_the_engine(
    vectors: VectorIndex, version: tuple[int, ...], expected: dict[str, object]
) -> None:
    """Its default differs between releases, and one of them cannot filter."""
    field = vectors.field(384, version)
    method = cast("dict[str, Json]", field["method"])
    assert method["engine"] == vectors.engine
    assert method["name"] == "hnsw"
    flat = {**field, **cast("dict[str, Json]", method["parameters"])}
    assert {name: flat[name] for name in expected} == expected


def test_a_user_and_a_password_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are sent, and stand in no error and no representation."""
    monkeypatch.setenv("OPENSEARCH_USERNAME", "ada")
    monkeypatch.setenv("OPENSEARCH_PASSWORD", "s3cret")
    header = "Basic " + base64.b64encode(b"ada:s3cret").decode()
    with OpenSearchServer(authorization=header) as server:
        with words(f"{server.url}/kb", *numbered(1)) as rag:
            assert len(rag.search("n00000")) == 1
        monkeypatch.setenv("OPENSEARCH_PASSWORD", "wr0ng")
        store = opened(f"{server.url}/kb")
        with pytest.raises(AccessDeniedError, match="OPENSEARCH_PASSWORD") as caught:
            store.manifest()
        store.close()
    assert "wr0ng" not in str(caught.value)
    assert "wr0ng" not in repr(store)


@pytest.mark.parametrize("options", [{}, {"aws_service": "es", "region": "eu-west-1"}])
def test_no_credentials_go_out_in_the_clear(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, str]
) -> None:
    """Plain http to an address that is not known as local is refused before anything is sent."""
    monkeypatch.setenv("OPENSEARCH_USERNAME", "ada")
    monkeypatch.setenv("OPENSEARCH_PASSWORD", "s3cret")
    seen: list[tuple[str, str, dict[str, str], bytes]] = []
    with _HeaderServer(seen) as server:
        url = server.url
        # A spelling of this machine that is not on the list, so it stands for any other.
        store = opened(f"{url.replace('127.0.0.1', '127.1')}/kb", **options)
        with pytest.raises(ConfigError, match=r"would go to http://127\.1:") as caught:
            store.manifest()
        store.close()
        assert "s3cret" not in str(caught.value)
        assert not seen
        monkeypatch.delenv("OPENSEARCH_USERNAME")
        if not options:
            with pytest.raises(RemoteError):
                opened(f"{url.replace('127.0.0.1', '127.1')}/kb", retry_seconds=0.2).manifest()
            assert "authorization" not in seen[0][2]


def test_an_ipv6_address_is_one() -> None:
    """It keeps its brackets, without which its last group is the port."""
    address = parse_address("http://[::1]:9200/kb")
    assert (address.url, address.host) == ("http://[::1]:9200", "::1")
    assert not address.is_overheard
    assert parse_address("http://[2001:db8::1]/kb").is_overheard


@pytest.mark.parametrize("service", ["es", "aoss"])
def test_requests_are_signed_over_their_content(
    monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    """The signature is what botocore makes of the same request, hash of the body and all."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRET")
    seen: list[tuple[str, str, dict[str, str], bytes]] = []
    with _HeaderServer(seen) as server:
        url = server.url
        store = opened(f"{url}/kb", aws_service=service, region="eu-west-1", retry_seconds=0.2)
        with pytest.raises(RemoteError):
            store.search(Query(question="ü /?"))
        store.close()
    assert seen
    for method, path, headers, body in seen:
        assert headers["x-amz-content-sha256"] == hashlib.sha256(body).hexdigest()
        signed = re.search(r"SignedHeaders=([^,]+)", headers["authorization"])
        assert signed is not None
        kept = {n: headers[n] for n in signed[1].split(";")}
        request = cast(
            "_AwsRequest",
            AWSRequest(method=method, url=f"{url}{path}", data=body, headers=kept),
        )
        request.context["timestamp"] = headers["x-amz-date"]
        signer = cast("_Signer", SigV4Auth(Credentials("AKID", "SECRET"), service, "eu-west-1"))
        canonical = signer.canonical_request(request)
        expected = signer.signature(signer.string_to_sign(request, canonical), request)
        assert headers["authorization"].endswith(f"Signature={expected}")


def test_a_signed_request_needs_a_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read from an AWS endpoint's name, and asked for elsewhere."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRET")
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    store = opened("http://localhost:1/kb", aws_service="es", retry_seconds=0.2)
    with pytest.raises(ConfigError, match="AWS_REGION"):
        store.manifest()


def test_something_else_than_opensearch_is_named() -> None:
    """Elasticsearch answers alike and differs later."""
    told = Trouble(status=200, body={"version": {"number": "8.1.0"}})

    def pretend(asked: Asked) -> Trouble | None:
        return told if asked.path == "/" else None

    with OpenSearchServer(trouble=pretend) as server:
        with RAG(opened(f"{server.url}/kb"), embedder=WordEmbedder(),
                 config=Settings(ledger="off")) as rag:  # fmt: skip
            with pytest.raises(RemoteError, match="not OpenSearch"):
                rag.ingest(*numbered(1))


def test_a_cold_collection_is_waited_for_longer_than_ten_seconds() -> None:
    """The client's own default of ten seconds would end the first question to Serverless."""
    import inspect

    assert inspect.signature(open_opensearch).parameters["timeout_seconds"].default >= 60.0
    with OpenSearchServer() as server, words(f"{server.url}/kb", *numbered(1)) as rag:
        server.trouble = on("1/_search", Trouble(items=1e-9, seconds=1.5))
        assert len(rag.search("n00000")) == 1
        # It is this time that the client waits, and none of its own.
        hasty = words(f"{server.url}/kb", timeout_seconds=0.5, retry_seconds=0.1)
        with hasty, pytest.raises(RemoteError):
            hasty.search("n00000")


def test_threads_keep_their_connections() -> None:
    """Eight searches are under way at once, and the next ones open no new connection."""
    with OpenSearchServer() as server, words(f"{server.url}/kb", *numbered(1)) as rag:

        def all_at_once() -> None:
            threads = [threading.Thread(target=rag.search, args=("n00000",)) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        rag.search("n00000")
        together = threading.Barrier(8)

        def wait_for_all(asked: Asked) -> None:
            # A search that waited for another one would never get there.
            if asked.path.endswith("/_search"):
                together.wait(60)

        server.trouble = wait_for_all
        all_at_once()
        n_connections = server.n_connections
        for _ in range(3):
            all_at_once()
        # The client's own pool would keep one, and reconnect for the other seven.
        assert server.n_connections <= n_connections + 1


def test_a_version_is_asked_for_once_and_never_of_serverless(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Serverless has no such operation, and is told by its address or setting."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    for serverless, expected in ((True, 0), (False, 1)):
        options = {"aws_service": "aoss", "region": "x"} if serverless else {}
        with OpenSearchServer(serverless=serverless) as server:
            with RAG(opened(f"{server.url}/kb", engine="lucene", **options),
                     embedder=WordEmbedder(), config=Settings(ledger="off")) as rag:  # fmt: skip
                rag.ingest(*numbered(2))
                rag.search("swims", mode="hybrid")
                rag.search("swims", mode="hybrid")
            assert sum(asked.path == "/" for asked in server.requests) == expected


class _AwsRequest(Protocol):
    context: dict[str, str]


class _Signer(Protocol):
    def canonical_request(self, request: _AwsRequest) -> str: ...

    def string_to_sign(self, request: _AwsRequest, canonical_request: str) -> str: ...

    def signature(self, string_to_sign: str, request: _AwsRequest) -> str: ...


class _HeaderServer(LoopbackServer):
    """A server that notes what it is sent and answers 400."""

    def __init__(self, seen: list[tuple[str, str, dict[str, str], bytes]]) -> None:
        super().__init__()
        self._seen = seen

    def respond(self, request: Request, answer: Answering) -> None:
        """Answer 400."""
        self._seen.append((request.method, request.path, dict(request.headers), request.data))
        answer.json(400, {"error": {"type": "x", "reason": "y"}})
