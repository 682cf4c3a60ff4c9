"""Searches: where rankings are fused, what a filter does, and what is never sent."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest

from ragkit import RAG, Document, Settings
from ragkit.errors import ConfigError, DimensionMismatchError, RemoteError, StoreMissingError
from ragkit.types import Fusion, Hit, Json, Query
from ragkit_connectors.opensearch import (
    Access,
    Connection,
    OpenSearchRetriever,
    OpenSearchStore,
    open_opensearch,
    parse_address,
)
from ragkit_connectors.opensearch.querying import found
from ragkit_connectors.testing import (
    Asked,
    OpenSearchServer,
    RetrieverContract,
    Trouble,
    WordEmbedder,
)

from .opening import WORDS_ONLY, always, numbered, opened, unused, words

FUSIONS: tuple[Fusion, ...] = ("convex", "rrf")
VOCABULARY = (
    "heron tide ferry badge lamp oil pass water stone gull rope mast keel dock net crab".split()
)


def varied(n: int) -> list[Document]:
    """Return n documents of words that many of them share."""
    documents: list[Document] = []
    for i in range(n):
        picked = [VOCABULARY[(i * step + step) % len(VOCABULARY)] for step in range(1, 8)]
        documents.append(Document(id=f"v{i:03d}", text=f"{' '.join(picked)} {i}."))
    return documents


def rounded(hits: list[Hit]) -> list[tuple[str, float]]:
    """Return what two searches must agree in."""
    return [(hit.chunk.id, round(hit.score, 5)) for hit in hits]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_rankings_fused_on_the_client_equal_those_fused_on_the_server(
    opensearch_url: str, fusion: Fusion
) -> None:
    """Score by score, for every question."""
    address = unused(opensearch_url)
    embedder = WordEmbedder()
    settings = Settings(fusion=fusion, ledger="off")
    with RAG(opened(address, hybrid="server"), embedder=embedder, config=settings) as server:
        server.ingest(*varied(150))
        with RAG(opened(address, hybrid="client"), embedder=embedder, config=settings) as client:
            for question in ("heron tide", "lamp", "ferry dock net 7", "crab keel rope mast"):
                # All that there are, too: the worst of a ranking counts more than nothing.
                for k in (10, 150):
                    there = server.search(question, k=k, mode="hybrid")
                    here = client.search(question, k=k, mode="hybrid")
                    assert len(there) == k
                    assert rounded(list(there)) == rounded(list(here)), question


def test_a_hybrid_query_always_carries_its_pipeline() -> None:
    """Without one a server answers 200 with scores that were never combined."""
    with OpenSearchServer() as server:
        with RAG(opened(f"{server.url}/kb"), embedder=WordEmbedder(),
                 config=Settings(ledger="off")) as rag:  # fmt: skip
            rag.ingest(*varied(5))
            rag.search("heron", mode="hybrid")
            rag.ask("heron")
        bodies = [json.loads(asked.body) for asked in server.requests if b'"hybrid"' in asked.body]
        assert bodies
        assert all(body["search_pipeline"]["phase_results_processors"] for body in bodies)


def test_scores_that_were_not_combined_are_an_error(opensearch_url: str) -> None:
    """What a real server gives without a pipeline is recognised, whoever took the pipeline away."""
    address = unused(opensearch_url)
    with RAG(opened(address), embedder=WordEmbedder(), config=Settings(ledger="off")) as rag:
        rag.ingest(*varied(30))
        vector = WordEmbedder().embed_query("heron").tolist()
    connection = Connection(parse_address(address), Access(), timeout_seconds=9, retry_seconds=9)
    queries = [{"knn": {"vector": {"vector": vector, "k": 9}}}, {"match": {"words": "heron"}}]
    index = address.rsplit("/", 1)[1]
    body = {"query": {"hybrid": {"queries": queries}}}
    answer = connection.call("POST", f"/{index}/_search", body)
    with pytest.raises(RemoteError, match="not combined"):
        found(answer)
    connection.close()


def test_a_server_without_the_plugin_has_rankings_fused_on_the_client() -> None:
    """The first hybrid query finds out, the next ones do not ask again."""
    with OpenSearchServer(fuses=False) as server:
        with RAG(opened(f"{server.url}/kb"), embedder=WordEmbedder(),
                 config=Settings(ledger="off")) as rag:  # fmt: skip
            rag.ingest(*varied(9))
            assert len(rag.search("heron", mode="hybrid")) == 9
            assert len(rag.search("tide", mode="hybrid")) == 9
        assert sum(b'"hybrid"' in asked.body for asked in server.requests) == 1
        with RAG(opened(f"{server.url}/kb", hybrid="server"), embedder=WordEmbedder(),
                 config=Settings(ledger="off")) as rag:  # fmt: skip
            with pytest.raises(RemoteError, match="hybrid"):
                rag.search("heron", mode="hybrid")


@pytest.mark.parametrize(("version", "fusion", "is_fused_there"), [
    ("2.9.0", "convex", False),
    ("2.10.0", "convex", True),
    ("2.18.0", "rrf", False),
    ("2.19.0", "rrf", True),
])  # fmt: skip
def test_an_old_server_is_not_asked_for_what_it_cannot_do(
    version: str, fusion: str, is_fused_there: bool
) -> None:
    """The version decides where rankings are fused; insisting on the server names the version."""
    settings = Settings(fusion=fusion, ledger="off")
    with OpenSearchServer(version=version) as server:
        with RAG(opened(f"{server.url}/kb"), embedder=WordEmbedder(), config=settings) as rag:
            rag.ingest(*varied(9))
            assert len(rag.search("heron", mode="hybrid")) == 9
            assert any(b'"hybrid"' in a.body for a in server.requests) == is_fused_there
        if not is_fused_there:
            store = opened(f"{server.url}/kb", hybrid="server")
            with RAG(store, embedder=WordEmbedder(), config=settings) as rag:
                with pytest.raises(RemoteError, match=f"OpenSearch {version}"):
                    rag.search("heron", mode="hybrid")


def test_an_alias_of_several_indices_is_refused() -> None:
    """A hybrid query over many indices fails in the server; ragkit needs one."""
    two: dict[str, dict[str, object]] = {"kb-000001": {}, "kb-000002": {}}
    with OpenSearchServer(trouble=always(Trouble(status=200, body=two))) as server:
        store = opened(f"{server.url}/kb")
        with pytest.raises(ConfigError, match="2 indices"):
            store.search(Query(question="x"))
        store.close()


def test_vectors_and_words_never_travel_back() -> None:
    """An answer holds what a hit needs, not the vector that found it."""
    with OpenSearchServer() as server:
        with RAG(opened(f"{server.url}/kb"), embedder=WordEmbedder(),
                 config=Settings(ledger="off")) as rag:  # fmt: skip
            rag.ingest(*varied(3))
            for mode in ("dense", "lexical", "hybrid"):
                rag.search("heron", mode=mode)
        searches = [
            json.loads(a.body) for a in server.requests if a.path.endswith("kb-000001/_search")
        ]
        asked = [body["_source"] for body in searches if body.get("_source")]
        assert asked
        assert all("vector" not in names and "words" not in names for names in asked)


def test_a_question_of_another_dimension_is_refused_before_it_is_sent() -> None:
    """The error names both lengths."""
    with OpenSearchServer() as server:
        with RAG(opened(f"{server.url}/kb"), embedder=WordEmbedder(),
                 config=Settings(ledger="off")) as rag:  # fmt: skip
            rag.ingest(*varied(3))
        store = opened(f"{server.url}/kb")
        query = Query(question="heron", vector=WordEmbedder(32).embed_query("heron"), mode="dense")
        with pytest.raises(DimensionMismatchError, match=r"32 dimensions.*64"):
            store.search(query)
        store.close()


def test_vectors_of_another_model_are_refused_though_their_length_fits() -> None:
    """The model that made the vectors stands in the index, and is compared."""

    class Other(WordEmbedder):
        """The same length, another model."""

        def __init__(self) -> None:
            super().__init__()
            self.fingerprint = "other/1"

    with OpenSearchServer() as server:
        with RAG(opened(f"{server.url}/kb"), embedder=WordEmbedder(),
                 config=Settings(ledger="off")) as rag:  # fmt: skip
            rag.ingest(*varied(3))
        with RAG(
            opened(f"{server.url}/kb"), embedder=Other(), config=Settings(ledger="off")
        ) as rag:
            with pytest.raises(ConfigError, match="other/1"):
                rag.search("heron", mode="dense")
            with pytest.raises(ConfigError, match="other/1"):
                rag.ingest(*varied(4))


def test_a_part_that_did_not_answer_is_an_error() -> None:
    """A search that a shard took no part in is not passed off as whole."""
    with OpenSearchServer() as server, words(f"{server.url}/kb", *numbered(2)) as rag:
        rag.search("n00001")
        broken: dict[str, dict[str, object]] = {"hits": {"hits": []}, "_shards": {"failed": 1}}
        server.trouble = always(Trouble(status=200, body=broken))
        with pytest.raises(RemoteError, match="hits may be missing"):
            rag.search("n00001")


def test_every_document_is_listed_beyond_the_largest_page(opensearch_url: str) -> None:
    """A search ends at 10,000 records; a listing does not, and leaves no point in time open."""
    address = unused(opensearch_url)
    store = opened(address)
    n = 10_050
    with RAG(store, config=WORDS_ONLY) as rag:
        rag.ingest(*numbered(n))
        assert sum(1 for _ in rag.list()) == n
        assert sum(1 for _ in store.sources()) == n
        with pytest.raises(ConfigError, match="k 10001; allowed by OpenSearch: 1 to 10000"):
            rag.search("swims", k=10_001)


def test_a_listing_that_is_left_early_closes_its_point_in_time() -> None:
    """Points in time cost the server memory."""
    with OpenSearchServer() as server, words(f"{server.url}/kb", *numbered(5)) as rag:
        listing = rag.list()
        next(listing)
        assert server.n_open_points_in_time == 1
        listing.close()  # type: ignore[attr-defined]
        assert server.n_open_points_in_time == 0


def test_an_async_search_leaves_the_event_loop_free() -> None:
    """While a slow server is waited for, other tasks run."""
    go_on = threading.Event()

    async def both(rag: RAG) -> None:
        task = asyncio.create_task(rag.asearch("n00001"))
        for _ in range(5):
            await asyncio.sleep(0.01)
        assert not task.done()
        go_on.set()
        assert len(await task) == 1

    def wait(asked: Asked) -> None:
        # Only the other task ends the wait.
        if asked.path.endswith("/_search"):
            assert go_on.wait(60)

    with OpenSearchServer() as server, words(f"{server.url}/kb", *numbered(2)) as rag:
        server.trouble = wait
        asyncio.run(both(rag))


def test_a_missing_index_says_how_to_make_one() -> None:
    """Searching it is an error of the store, not an empty answer."""
    with OpenSearchServer() as server, words(f"{server.url}/kb") as rag:
        with pytest.raises(StoreMissingError, match=r"ragkit ingest PATH --store opensearch:http"):
            rag.search("heron")


# --- rebuilds and aliases --------------------------------------------------------------------


def test_readers_see_the_old_content_until_a_rebuild_is_done(opensearch_url: str) -> None:
    """The alias moves in one step; a rebuild that fails leaves everything as it was."""
    address = unused(opensearch_url)
    reader = words(address, *numbered(30))
    seen: list[int] = []

    def watch(_: object) -> None:
        seen.append(len(reader.search("swims", k=50)))

    smaller = Settings(embedder="none", chunk_tokens=2, ledger="off")
    with RAG(opened(address), config=smaller) as rag:
        rag.rebuild(on_progress=watch)
        assert set(seen) == {30}
        assert rag.describe()["chunks"] > 30  # type: ignore[operator]
        time.sleep(5.1)
        assert len(reader.search("swims", k=50)) == 30

        def fail(_: object) -> None:
            raise RuntimeError("the power went")

        before = rag.configuration()["chunks_sha256"]
        with RAG(opened(address), config=WORDS_ONLY) as other, pytest.raises(RuntimeError):
            other.rebuild(on_progress=fail)
        assert rag.configuration()["chunks_sha256"] == before
        assert rag.doctor() == []
    reader.close()


def test_a_rebuild_can_be_taken_back() -> None:
    """The index before the last rebuild is kept, the one before that is not."""
    with OpenSearchServer() as server:
        words(f"{server.url}/kb", *numbered(3)).close()
        for tokens in (2, 3):
            settings = Settings(embedder="none", chunk_tokens=tokens, ledger="off")
            with RAG(opened(f"{server.url}/kb"), config=settings) as rag:
                rag.rebuild()
        assert server.indices() == ["kb-000002", "kb-000003"]
        store = opened(f"{server.url}/kb")
        assert store.roll_back() == "kb-000002"
        kept = store.manifest().settings
        assert kept is not None
        assert kept.chunk_tokens == 2
        store.close()


# --- an index that somebody else made --------------------------------------------------------


def fill(url: str, index: str) -> None:
    """Make an index as another program would."""
    import urllib.request

    properties = {
        "body": {"type": "text"},
        "name": {"type": "keyword"},
        "link": {"type": "keyword"},
        "year": {"type": "integer"},
        "team": {"type": "keyword"},
        "embedding": {
            "type": "knn_vector",
            "dimension": 64,
            "space_type": "cosinesimil",
            "method": {"name": "hnsw", "engine": "lucene"},
        },
    }
    settings = {"index": {"knn": True}}
    texts = [
        "A badge is reset at the desk.",
        "Each badge opens one door of the harbour.",
        "The ferry leaves at noon. No badge is needed.",
        "A lost badge costs ten pounds.",
        "Herons stand in the water.",
    ]
    vectors = WordEmbedder().embed_documents(texts).tolist()

    def send(method: str, path: str, body: str) -> None:
        request = urllib.request.Request(  # noqa: S310
            f"{url}/{path}",
            body.encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310

    send("PUT", index, json.dumps({"settings": settings, "mappings": {"properties": properties}}))
    lines = ""
    for i, (text, vector) in enumerate(zip(texts, vectors, strict=True)):
        record = {
            "body": text, "embedding": vector, "name": f"n{i}", "link": f"https://e/{i}",
            "year": 2000 + i, "team": "red" if i % 2 else "blue",
            "rooms": ["Red Room" if i % 2 else "Blue Room"],
        }  # fmt: skip
        lines += json.dumps({"index": {"_id": f"x{i}"}}) + "\n" + json.dumps(record) + "\n"
    send("POST", f"{index}/_bulk", lines)
    send("POST", f"{index}/_refresh", "")


def foreign(address: str, **options: object) -> OpenSearchRetriever:
    """Open an index that ragkit did not make."""
    options = {"text_field": "body", "retry_seconds": 0.5, **options}
    retriever = open_opensearch(address, **options)  # type: ignore[arg-type]
    assert isinstance(retriever, OpenSearchRetriever)
    return retriever


class TestForeignIndex(RetrieverContract):
    """A real index that another program made."""

    @pytest.fixture(autouse=True)
    def _server(self, opensearch_url: str) -> None:  # pyright: ignore[reportUnusedFunction]
        self.address = unused(opensearch_url)
        fill(opensearch_url, self.address.rsplit("/", 1)[1])

    def make(self) -> OpenSearchRetriever:
        """Return a retriever of it."""
        return foreign(self.address, title_field="name", source_field="link")

    def make_empty(self) -> OpenSearchRetriever:
        """Return a retriever of a field that holds no such word."""
        return foreign(self.address, text_field="name")

    def make_unreachable(self) -> OpenSearchRetriever:
        """Return a retriever at a port where nothing listens."""
        return foreign("http://127.0.0.1:1/x")

    def test_filters_name_its_own_fields(self) -> None:
        """Conditions mean what OpenSearch makes of them, in every mode."""
        retriever = foreign(self.address, vector_field="embedding", source_field="link")
        vector = WordEmbedder().embed_query("badge")
        for mode in ("lexical", "dense", "hybrid"):
            hits = retriever.search(
                Query(question="badge", vector=vector, k=9, mode=mode,
                      filters={"year": {"$gte": 2001, "$ne": 2004}, "team": "red"})
            )  # fmt: skip
            assert sorted(hit.source for hit in hits) == ["https://e/1", "https://e/3"], mode

    def test_groups_hold_back_what_they_do_not_share(self) -> None:
        """A query must state groups where the index has a field of them, and may not elsewhere."""
        retriever = foreign(self.address, groups_field="team", source_field="link")
        hits = retriever.search(Query(question="badge", k=9, groups=("blue",)))
        assert sorted(hit.source for hit in hits) == ["https://e/0", "https://e/2"]
        with pytest.raises(ConfigError, match="must state its groups"):
            retriever.search(Query(question="badge"))
        with pytest.raises(ConfigError, match="groups_field"):
            self.make().search(Query(question="badge", groups=("blue",)))

    def test_groups_in_a_field_of_text_are_refused(self) -> None:
        """A reader `red` would see a document of "Red Room"; its .keyword keeps names whole."""
        retriever = foreign(self.address, groups_field="body", source_field="link")
        with pytest.raises(ConfigError, match="groups_field 'body'"):
            retriever.search(Query(question="badge", groups=("desk",)))
        whole = foreign(self.address, groups_field="rooms", source_field="link")
        for groups, n in ((("Red Room",), 2), (("red",), 0), (("Room",), 0), (("public",), 0)):
            assert len(whole.search(Query(question="badge", k=9, groups=groups))) == n, groups

    def test_it_is_never_written_to(self) -> None:
        """An ingest is refused, and so is opening it as a store of ragkit's."""
        with RAG(self.make(), config=WORDS_ONLY) as rag:
            with pytest.raises(ConfigError, match="only be searched"):
                rag.ingest(*numbered(1))
        with RAG(f"opensearch:{self.address}", config=WORDS_ONLY) as rag:
            with pytest.raises(ConfigError, match="text_field"):
                rag.ingest(*numbered(1))

    def test_a_missing_index_is_named(self) -> None:
        """It is an error of the store, not an empty answer."""
        missing = foreign(f"{self.address}x")
        with pytest.raises(StoreMissingError, match="there is no index"):
            missing.search(Query(question="badge"))
        missing.close()


def test_a_store_is_opened_by_name_with_its_settings() -> None:
    """The name is the address, a table holds the rest."""
    with OpenSearchServer() as server:
        settings = Settings(embedder="none", store_options={"hybrid": "client"}, ledger="off")
        with RAG(f"opensearch:{server.url}/kb", config=settings) as rag:
            rag.ingest(*numbered(1))
            assert rag.describe()["store"] == f"opensearch:{server.url}/kb"
        assert isinstance(opened(f"{server.url}/kb"), OpenSearchStore)
        wrong = Settings(embedder="none", store_options={"colour": "red"})
        with RAG(f"opensearch:{server.url}/kb", config=wrong) as rag:
            with pytest.raises(ConfigError, match=r"colour.*text_field"):
                rag.search("x")


_KEYWORD: Json = {"type": "keyword"}
_TEXT: Json = {"type": "text"}


@pytest.mark.parametrize(
    ("field", "properties", "is_usable"),
    [
        ("team", {"team": _KEYWORD}, True),
        ("team", {"team": {"type": "text", "fields": {"keyword": _KEYWORD}}}, True),
        ("team.keyword", {"team": {"type": "text", "fields": {"keyword": _KEYWORD}}}, True),
        ("acl.team", {"acl": {"properties": {"team": _KEYWORD}}}, True),
        ("team", {"team": _TEXT}, False),
        ("team", {"team": {"type": "text", "fields": {"raw": _KEYWORD}}}, False),
        ("team", {"team": {"type": "text", "fields": {"keyword": _TEXT}}}, False),
        ("team", {"team": {"type": "keyword", "normalizer": "lowercase"}}, False),
        ("team", {"team": {"type": "integer"}}, False),
        ("acl.team", {"acl": {"properties": {"team": _TEXT}}}, False),
        ("team", {"body": _TEXT}, False),
        ("team", {}, False),
    ],
)
def test_a_groups_field_must_keep_names_whole(
    field: str, properties: dict[str, Json], is_usable: bool
) -> None:
    """It is looked at before anything is searched, and the whole index is refused."""
    with OpenSearchServer() as server:
        body = json.dumps({"mappings": {"properties": properties}})
        _put(f"{server.url}/other", body)
        retriever = foreign(f"{server.url}/other", groups_field=field)
        query = Query(question="badge", groups=("red",))
        if is_usable:
            assert list(retriever.search(query)) == []
        else:
            with pytest.raises(ConfigError, match=f"groups_field '{field}'; allowed: .* keyword"):
                retriever.search(query)
            assert not [asked for asked in server.requests if asked.path.endswith("_search")]
        retriever.close()


def _put(address: str, body: str) -> None:
    import urllib.request

    request = urllib.request.Request(  # noqa: S310
        address, body.encode(), {"Content-Type": "application/json"}, method="PUT"
    )
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310
