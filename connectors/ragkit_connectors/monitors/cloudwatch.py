"""Amazon CloudWatch: tokens of Bedrock's models, and how busy SageMaker's endpoints are.

Needs the permission `cloudwatch:GetMetricData`. AWS keeps metrics of a minute for 15 days, and of
an hour for 455.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from ragkit.costs.ledger import measured
from ragkit.errors import ConfigError
from ragkit.narrowing import is_array, is_object
from ragkit.text.jsontext import read_json
from ragkit_connectors.monitors.rows import MOST_FILE_BYTES, Sample
from ragkit_connectors.support.aws import AwsCall, AwsClient

MOST_HOURS = 455 * 24
"""Hours that AWS keeps metrics for."""

_MOST_QUERIES = 500
_BEDROCK = {
    "Invocations": ("n", "Sum"),
    "InputTokenCount": ("input_tokens", "Sum"),
    "OutputTokenCount": ("output_tokens", "Sum"),
    "CacheReadInputTokens": ("cached_tokens", "Sum"),
    "InvocationLatency": ("latency_seconds", "Average"),
}
_ENDPOINT = {
    "CPUUtilization": ("cpu_utilization", "Average"),
    "GPUUtilization": ("utilization", "Average"),
    "GPUMemoryUtilization": ("gpu_memory", "Average"),
    "MemoryUtilization": ("memory_utilization", "Average"),
    "DiskUtilization": ("disk_utilization", "Average"),
}
_METRICS = {**_BEDROCK, **_ENDPOINT}
_CALL = AwsCall(method="get_metric_data", action="cloudwatch:GetMetricData", about="metrics")


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """From when to when, and how long each row is."""

    start: datetime
    end: datetime
    seconds: int = 300


@dataclass(frozen=True, slots=True)
class _Series:
    """Where the metrics of a device stand."""

    namespace: str
    device: str
    dimensions: Mapping[str, str]


def sample(
    client: AwsClient,
    period: Period,
    *,
    models: Sequence[str] = (),
    endpoints: Sequence[tuple[str, str]] = (),
) -> list[Sample]:
    """Return a row for each model or endpoint and period in which it did anything.

    Args:
        client: A client of the service `cloudwatch`.
        period: The time, and the length of a row.
        models: Ids of Bedrock models; those of other tiers are `ID+flex` and `ID+priority`.
        endpoints: Names of SageMaker endpoints with their variants.

    Raises:
        ConfigError: there are more queries than one call takes.
        RemoteError: the service failed or refused.
    """
    queries = [
        _query(metric, stat, _Series("AWS/Bedrock", model, {"ModelId": model}), period)
        for model in models
        for metric, (_, stat) in _BEDROCK.items()
    ]
    for endpoint, variant in endpoints:
        dimensions = {"EndpointName": endpoint, "VariantName": variant}
        series = _Series("/aws/sagemaker/Endpoints", f"{endpoint}/{variant}", dimensions)
        queries += [_query(metric, stat, series, period) for metric, (_, stat) in _ENDPOINT.items()]
    if not 0 < len(queries) <= _MOST_QUERIES:
        raise ConfigError(f"{len(queries)} metrics; allowed: 1 to {_MOST_QUERIES}, of --model and "
                          "--endpoint")  # fmt: skip
    for i, query in enumerate(queries):
        query["Id"] = f"q{i}"
    return read_results(_pages(client, queries, period), seconds=period.seconds)


def _query(metric: str, stat: str, series: _Series, period: Period) -> dict[str, Any]:
    named = [{"Name": name, "Value": value} for name, value in series.dimensions.items()]
    return {
        "Label": f"{metric} {series.device}",
        "MetricStat": {
            "Metric": {"Namespace": series.namespace, "MetricName": metric, "Dimensions": named},
            "Period": period.seconds,
            "Stat": stat,
        },
    }


def _pages(
    client: AwsClient, queries: list[dict[str, Any]], period: Period
) -> Iterator[Mapping[str, Any]]:
    request: dict[str, Any] = {
        "MetricDataQueries": queries,
        "StartTime": period.start,
        "EndTime": period.end,
        "ScanBy": "TimestampAscending",
    }
    while True:
        answer = cast("Mapping[str, Any]", client.call(_CALL, request))
        yield answer
        if not answer.get("NextToken"):
            return
        request = {**request, "NextToken": answer["NextToken"]}


def read_file(path: Path) -> list[Sample]:
    """Return the rows of a file that `aws cloudwatch get-metric-data` wrote.

    Labels have to be those of our queries: the metric's name, a space, the model or endpoint.

    Raises:
        ConfigError: it is no such file.
    """
    try:
        with path.open("rb") as file:
            data = read_json(file.read(MOST_FILE_BYTES))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if not is_object(data) or not is_array(data.get("MetricDataResults")):
        raise ConfigError(f"{path} is no output of get-metric-data")
    return read_results([data], seconds=None)


def read_results(pages: Any, *, seconds: int | None) -> list[Sample]:  # noqa: ANN401
    """Return a row for each device and time in the answers of GetMetricData."""
    found: dict[tuple[str, datetime], dict[str, Any]] = {}
    troubles: dict[str, str] = {}
    for result in itertools.chain.from_iterable(p.get("MetricDataResults") or () for p in pages):
        if not is_object(result):
            continue
        metric, _, device = str(result.get("Label") or "").partition(" ")
        if metric not in _METRICS:
            continue
        status = result.get("StatusCode")
        # Partial data is completed by the next page; anything else is a gap.
        if status not in (None, "Complete", "PartialData"):
            troubles[device] = str(status)
        times, values = result.get("Timestamps"), result.get("Values")
        if not is_array(times) or not is_array(values):
            continue
        for time, number in zip(times, values, strict=False):
            at, value = _time(time), measured(number)
            if at is not None and value is not None:
                found.setdefault((device, at), {})[_METRICS[metric][0]] = _value(metric, value)
    rows = [
        _row(device, at, values, seconds, troubles.pop(device, None))
        for (device, at), values in sorted(found.items(), key=lambda item: item[0][::-1])
    ]
    rows += [Sample(source="cloudwatch", device=d, error=e) for d, e in troubles.items()]
    return rows or [Sample(source="cloudwatch", error="no data points in this time")]


def _row(
    device: str, at: datetime, values: dict[str, Any], seconds: int | None, error: str | None
) -> Sample:
    gpu_memory = values.pop("gpu_memory", None)
    if gpu_memory is not None:
        # The memory of an accelerator is what limits a model; the machine's is beside the point.
        values["memory_utilization"] = gpu_memory
    return Sample(source="cloudwatch", time=at, seconds=seconds, device=device, error=error,
                  **values)  # fmt: skip


def _value(metric: str, value: float) -> float | int:
    if metric in _ENDPOINT:
        return value / 100.0
    return value / 1_000.0 if metric == "InvocationLatency" else round(value)


def _time(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
