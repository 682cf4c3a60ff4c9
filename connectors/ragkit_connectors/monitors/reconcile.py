"""A ledger beside what AWS counted: tokens in CloudWatch, grams in the Sustainability API.

The latter needs `sustainability:GetEstimatedCarbonEmissions`. AWS estimates the emissions of whole
accounts, by month, some months later; they hold everything else that the account did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from ragkit.costs.ledger import BOUNDS, as_table, number_of
from ragkit.types import Json, token_count
from ragkit_connectors.monitors.joining import read_time
from ragkit_connectors.monitors.rows import Sample
from ragkit_connectors.support.aws import AwsCall, AwsClient

CLOSE = 0.01
"""Largest difference of tokens, as a share of AWS's count, that counts as agreement."""

_GRAMS_PER_TONNE = 1e6
_LOCATION, _MARKET = "TOTAL_LBM_CARBON_EMISSIONS", "TOTAL_MBM_CARBON_EMISSIONS"
_CALL = AwsCall(
    method="get_estimated_carbon_emissions",
    action="sustainability:GetEstimatedCarbonEmissions",
    about="carbon emissions",
)
_TOKENS = ("input_tokens", "output_tokens")


@dataclass(slots=True, kw_only=True)
class Booked:
    """What a ledger says of the calls of some models in a time."""

    calls: int = 0
    unknown_tokens: int = 0
    unfinished: int = 0
    cached: int = 0
    tokens: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_TOKENS, 0))
    carbon_g: dict[str, float] = field(default_factory=lambda: dict.fromkeys(BOUNDS, 0.0))
    unknown_carbon: int = 0


def booked(
    records: Iterable[Mapping[str, Json]],
    start: datetime,
    end: datetime,
    *,
    models: Sequence[str] = (),
) -> Booked:
    """Sum the lines of a ledger from `start` on and before `end`.

    Args:
        records: The lines.
        start: With a time zone.
        end: With a time zone.
        models: Ids of the models that count, as CloudWatch names them: `ID+flex` and `ID+priority`
            are what these tiers have served. None: all.
    """
    found = Booked()
    for record in records:
        time = read_time(record.get("time"))
        receipt = as_table(record.get("receipt"))
        is_call = record.get("kind") == "ask" and bool(token_count(receipt.get("llm_calls")))
        is_meant = not models or _model(record, receipt) in models
        if is_call and is_meant and time is not None and start <= time < end:
            _add(found, record, receipt)
    return found


def _model(record: Mapping[str, Json], receipt: Mapping[str, Json]) -> str:
    """Return the model of a call, as CloudWatch names it."""
    generator, tier = record.get("generator"), receipt.get("served_tier")
    name = generator.partition(":")[2] if isinstance(generator, str) else ""
    return f"{name}+{tier}" if tier in ("flex", "priority") else name


def _add(found: Booked, record: Mapping[str, Json], receipt: Mapping[str, Json]) -> None:
    usage = as_table(record.get("usage"))
    found.calls += token_count(receipt.get("llm_calls")) or 0
    found.unfinished += receipt.get("outcome") in ("failed", "abandoned")
    found.cached += token_count(usage.get("cached_tokens")) or 0
    counts = [token_count(usage.get(name)) for name in _TOKENS]
    found.unknown_tokens += None in counts
    for name, count in zip(_TOKENS, counts, strict=True):
        found.tokens[name] += count or 0
    carbon = as_table(receipt.get("carbon_g"))
    found.unknown_carbon += not carbon
    for bound in BOUNDS:
        found.carbon_g[bound] += number_of(carbon, bound)


def compare_tokens(mine: Booked, samples: Iterable[Sample]) -> dict[str, Json]:
    """Return the ledger's tokens and calls beside CloudWatch's, and what may explain a gap."""
    aws: dict[str, int | None] = dict.fromkeys((*_TOKENS, "calls"))
    cached = 0
    for row in samples:
        for name, value in (
            ("input_tokens", row.input_tokens),
            ("output_tokens", row.output_tokens),
            ("calls", row.n),
        ):
            if value is not None:
                aws[name] = (aws[name] or 0) + value
        cached += row.cached_tokens or 0
    own = {**mine.tokens, "calls": mine.calls}
    compared: dict[str, Json] = {name: _compared(own[name], aws[name]) for name in own}
    agrees = [cast("Mapping[str, Json]", compared[name])["agrees"] for name in _TOKENS]
    is_equal = None if None in agrees else all(agrees)
    return {**compared, "agrees": is_equal, "reasons": _reasons(mine, own, aws, cached)}


def _compared(own: int, aws: int | None) -> dict[str, Json]:
    if aws is None:
        return {"ledger": own, "aws": None, "difference": None, "share": None, "agrees": None}
    difference = own - aws
    share = difference / aws if aws else None
    agrees = abs(difference) <= CLOSE * aws
    return {"ledger": own, "aws": aws, "difference": difference, "share": share, "agrees": agrees}


def _reasons(
    mine: Booked, own: Mapping[str, int], aws: Mapping[str, int | None], cached: int
) -> list[Json]:
    """Return what is known to make the counts differ, of what can be seen here."""
    found: list[Json] = []
    if all(count is None for count in aws.values()):
        return ["CloudWatch has no data points: another region, another model id, or too long ago"]
    if mine.unknown_tokens:
        found.append(f"{mine.unknown_tokens:,} lines do not know their tokens")
    if mine.unfinished:
        found.append(
            f"{mine.unfinished:,} attempts failed or were abandoned; AWS may have counted more"
        )
    if mine.cached or cached:
        found.append(
            f"cached prompt tokens are counted apart by CloudWatch ({cached:,}) and in the "
            f"prompt by some models ({mine.cached:,} in the ledger)"
        )
    calls = aws["calls"]
    if calls is not None and calls > own["calls"]:
        found.append(
            f"AWS counted {calls - own['calls']:,} calls that this ledger has not: other programs, "
            "embedding, evaluations, or ledgers that were not named"
        )
    if calls is not None and calls < own["calls"]:
        found.append(
            f"the ledger has {own['calls'] - calls:,} calls more: calls of other regions or "
            "inference profiles, or data points that have not arrived yet"
        )
    return found


def carbon(
    client: AwsClient, start: datetime, end: datetime, *, filters: Mapping[str, Sequence[str]]
) -> dict[str, float | None]:
    """Return AWS's estimate for whole months in grams: by location, and by market.

    Args:
        client: A client of the service `sustainability`.
        start: Beginning of the first month.
        end: End of the last.
        filters: Allowed values by dimension: `REGION`, `SERVICE`, `USAGE_ACCOUNT_ID`.

    Raises:
        ConfigError: the installed boto3 does not know the service.
        RemoteError: the service failed or refused.
    """
    request: dict[str, Any] = {
        "TimePeriod": {"Start": start, "End": end},
        "EmissionsTypes": [_LOCATION, _MARKET],
        "Granularity": "MONTHLY",
    }
    if filters:
        named = {name: list(values) for name, values in filters.items()}
        request["FilterBy"] = {"Dimensions": named}
    sums: dict[str, float | None] = {_LOCATION: None, _MARKET: None}
    while True:
        answer = cast("Mapping[str, Any]", client.call(_CALL, request))
        for result in answer.get("Results") or ():
            for name, value in result["EmissionsValues"].items():
                if name in sums and value["Unit"] == "MTCO2e":
                    sums[name] = (sums[name] or 0.0) + value["Value"] * _GRAMS_PER_TONNE
        if not answer.get("NextToken"):
            return {"location_based_g": sums[_LOCATION], "market_based_g": sums[_MARKET]}
        request = {**request, "NextToken": answer["NextToken"]}


def compare_carbon(mine: Booked, aws: Mapping[str, float | None]) -> dict[str, Json]:
    """Return the ledger's range beside AWS's figure, and what may explain a gap."""
    is_known = mine.calls > 0 and mine.carbon_g["high"] > 0.0
    theirs = aws["location_based_g"]
    inside = None
    if is_known and theirs is not None:
        inside = mine.carbon_g["low"] <= theirs <= mine.carbon_g["high"]
    reasons: list[Json] = []
    if theirs is None:
        reasons.append("AWS has no estimate for this time yet: it comes months later")
    elif not inside:
        reasons.append(
            "AWS's figure is of everything that the account did with this service and region, "
            "hardware included (scope 3), in whole months; the ledger's is of its own lines"
        )
    if mine.unknown_carbon:
        reasons.append(f"carbon is unknown for {mine.unknown_carbon:,} lines (setting: region)")
    return {
        "ledger_g": dict(mine.carbon_g) if is_known else None,
        **aws,
        "inside": inside,
        "reasons": reasons,
    }
