"""Requests that search: filters, groups, and hybrid fusion on the server or on the client."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from ragkit.errors import ConfigError, RemoteError
from ragkit.fusion import FUSION_DEPTH, RECIPROCAL_RANK_CONSTANT, reciprocal_rank
from ragkit.groups import PUBLIC
from ragkit.text.words import fts5_terms, query_terms
from ragkit.types import Fusion, Json
from ragkit_connectors.opensearch.facts import fact, fact_bounds, fact_prefix, kind_of
from ragkit_connectors.support.conditions import conditions, operands
from ragkit_connectors.support.json_values import Record, record, records, required_number

MAX_K = 10_000
"""Most neighbours of a search (OpenSearch documentation, "k-NN query"), and of a page."""

HIT_FIELDS: tuple[str, ...] = (
    "chunk_id", "document_id", "start", "end", "text", "n_tokens", "sentences", "marks", "source",
    "title", "metadata",
)  # fmt: skip

_LARGEST_SCORE = 1e6
"""Sums of BM25 stay far below; what a hybrid query gives without a pipeline is a thousand times
more."""

_NEGATED = {"$ne": "$eq", "$nin": "$in"}

_LEAST_SCALED = 0.001
"""What min-max normalisation gives the worst hit, so that it differs from no hit (neural-search
plugin, MinMaxScoreNormalizationTechnique)."""


def filter_clauses(filters: Mapping[str, Json] | None) -> list[Json]:
    """Return clauses that a chunk must meet to pass a filter (`ragkit.filters`).

    Raises:
        ConfigError: the filter is malformed.
    """
    return [_condition(field, name, operand) for field, name, operand in conditions(filters)]


def _condition(field: str, name: str, operand: Json) -> Json:
    if name in _NEGATED:
        return {"bool": {"must_not": [_condition(field, _NEGATED[name], operand)]}}
    if name == "$exists":
        there: Json = {"term": {"facts": fact_prefix(field)}}
        return there if operand else {"bool": {"must_not": [there]}}
    if name in {"$eq", "$in"}:
        values = operands(operand) if name == "$in" else [operand]
        return {"terms": {"facts": [fact(field, value) for value in values]}}
    low, high = fact_bounds(field, kind_of(operand) or "")
    bounds: dict[str, Json] = {"gte": low, "lt": high}
    edge = fact(field, operand)
    if name in {"$gt", "$gte"}:
        bounds.pop("gte")
        bounds[name.removeprefix("$")] = edge
    else:
        bounds.pop("lt")
        bounds[name.removeprefix("$")] = edge
    return {"range": {"facts": bounds}}


def group_clauses(groups: tuple[str, ...] | None, *, protected: bool) -> list[Json]:
    """Return clauses for what a reader of these groups may see.

    What is not protected, as far as this process knows, may have become so a moment ago: a chunk
    with groups is then shown to its groups only, never to everyone.
    """
    mine: Json = {"terms": {"groups": list(dict.fromkeys((*(groups or ()), PUBLIC)))}}
    if protected:
        return [mine]
    nobodys: Json = {"bool": {"must_not": [{"exists": {"field": "groups"}}]}}
    return [{"bool": {"should": [nobodys] if groups is None else [nobodys, mine]}}]


def keyword_query(question: str, language: str | None) -> Json:
    """Return a keyword (BM25) query for the words of a question; None when it has none."""
    terms = fts5_terms(query_terms(question, language=language))
    if not terms:
        return None
    whole = " ".join(dict.fromkeys(term for term, is_prefix in terms if not is_prefix))
    should: list[Json] = [{"match": {"words": {"query": whole}}}] if whole else []
    should += [{"prefix": {"words": {"value": term}}} for term, is_prefix in terms if is_prefix]
    return should[0] if len(should) == 1 else {"bool": {"should": should}}


def filtered(query: Json, clauses: Sequence[Json]) -> Json:
    """Return a query among the chunks that meet the clauses, which add nothing to its score."""
    inside: list[Json] = [{"term": {"kind": "chunk"}}, *clauses]
    return {"bool": {"must": [query], "filter": inside}}


def vector_query(vector: Sequence[float], k: int, clauses: Sequence[Json]) -> Json:
    """Return a query for the k nearest chunks among those that meet the clauses.

    The filter stands inside the query: beside it, it would leave fewer than k.
    """
    knn: dict[str, Json] = {"vector": list(vector), "k": min(k, MAX_K)}
    if clauses:
        knn["filter"] = {"bool": {"filter": list(clauses)}}
    return {"knn": {"vector": knn}}


def page(query: Json, size: int, fields: Sequence[str], *, order_by: str | None) -> dict[str, Json]:
    """Return the body of a search; `order_by` orders equal scores, `_id` cannot."""
    body: dict[str, Json] = {
        "query": query,
        "size": min(size, MAX_K),
        "_source": list(fields),
        "track_total_hits": False,
    }
    if order_by is not None and order_by != "_id":
        body["sort"] = ["_score", {order_by: "asc"}]
    return body


def hybrid_body(
    queries: Sequence[Json],
    depth: int,
    fusion: Fusion,
    version: tuple[int, ...],
    fields: Sequence[str],
) -> dict[str, Json]:
    """Return the body of a hybrid search that is fused on the server, its pipeline included.

    Without a pipeline the server answers 200 with scores that were never combined.
    """
    if fusion == "rrf":
        combination: dict[str, Json] = {
            "technique": "rrf",
            "rank_constant": RECIPROCAL_RANK_CONSTANT,
        }
        processor: Json = {"score-ranker-processor": {"combination": combination}}
    else:
        processor = {
            "normalization-processor": {
                "normalization": {"technique": "min_max"},
                "combination": {"technique": "arithmetic_mean"},
            }
        }
    body = page({"hybrid": {"queries": list(queries)}}, depth, fields, order_by=None)
    if version < (99,) and version >= (2, 19):
        body["query"] = {"hybrid": {"queries": list(queries), "pagination_depth": depth}}
    return {**body, "search_pipeline": {"phase_results_processors": [processor]}}


def server_fuses(version: tuple[int, ...], fusion: Fusion) -> bool:
    """Whether a server of this version fuses rankings in this way (tags of neural-search)."""
    return version >= ((2, 19) if fusion == "rrf" else (2, 10))


def fused(
    dense: Sequence[tuple[str, float]], lexical: Sequence[tuple[str, float]], fusion: Fusion
) -> dict[str, float]:
    """Fuse two rankings of chunk ids on the client, with the same scores as on the server.

    Args:
        dense: Chunk ids with the server's own scores, best first.
        lexical: The same of the keyword search.
        fusion: How.
    """
    if fusion == "rrf":
        numbers = {
            name: i for i, name in enumerate(dict.fromkeys(n for n, _ in (*dense, *lexical)))
        }
        names = list(numbers)
        ranks = ([numbers[name] for name, _ in ranking] for ranking in (dense, lexical))
        return {names[i]: score for i, score in reciprocal_rank(*ranks).items()}
    scaled = [_scaled(ranking) for ranking in (dense, lexical)]
    return {
        name: sum(scores.get(name, 0.0) for scores in scaled) / len(scaled)
        for name in dict.fromkeys((*scaled[0], *scaled[1]))
    }


def _scaled(ranking: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Scale scores to [0.001, 1] (OpenSearch documentation, "Normalization processor")."""
    if not ranking:
        return {}
    low, high = min(score for _, score in ranking), max(score for _, score in ranking)
    if low == high:
        return dict.fromkeys((name for name, _ in ranking), 1.0)
    scaled = ((name, (score - low) / (high - low)) for name, score in ranking)
    return {name: score if score > 0.0 else _LEAST_SCALED for name, score in scaled}


def found(answer: Record) -> list[tuple[Record, float]]:
    """Return the records of a search's answer with their scores.

    Raises:
        RemoteError: a shard failed or the time ran out, so that hits may be missing; or the scores
            were not combined.
    """
    shards = record(answer.get("_shards"))
    if answer.get("timed_out") or shards.get("failed"):
        failures = records(shards.get("failures"))
        reason = record(failures[0].get("reason")).get("reason", "") if failures else ""
        raise RemoteError(f"a part of the index did not answer, so hits may be missing: {reason}")
    hits = records(record(answer.get("hits")).get("hits"))
    scored: list[tuple[Record, float]] = [
        ({**record(hit.get("_source")), "_id": hit["_id"]}, required_number(hit, "_score"))
        for hit in hits
    ]
    for _, score in scored:
        if not math.isfinite(score) or abs(score) > _LARGEST_SCORE:
            raise RemoteError(
                f"the server gave the score {score}, so rankings were not combined: is the "
                "neural-search plugin there? Set hybrid to client for this store"
            )
    return scored


def best(
    scored: Sequence[tuple[Record, float]],
    k: int,
    id_field: str,
    convert: Callable[[float], float] | None = None,
) -> list[tuple[Record, float]]:
    """Return the k best with converted scores, equal ones in order of their ids."""
    converted = [(fields, convert(s) if convert else s) for fields, s in scored]
    converted.sort(key=lambda pair: (-round(pair[1], 6), str(pair[0][id_field])))
    return converted[:k]


def depth_for(k: int) -> int:
    """Return how many hits of each ranking take part in a fusion."""
    return max(FUSION_DEPTH, k)


def check_k(k: int) -> None:
    """Raise `ConfigError` for more hits than a search gives."""
    if k > MAX_K:
        raise ConfigError(f"k {k}; allowed by OpenSearch: 1 to {MAX_K}")
