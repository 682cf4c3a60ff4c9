"""Lines of a ledger in CloudWatch's embedded metric format: metrics from a log, without a call.

Printed in AWS Lambda, or written to a log that the CloudWatch agent reads, each line becomes
metrics in the namespace `ragkit`. What is unknown is left out, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from ragkit.costs.ledger import as_table, known_number
from ragkit.text.jsontext import json_line
from ragkit.types import Json, token_count
from ragkit_connectors.monitors.joining import read_time

NAMESPACE = "ragkit"


def emf_line(record: Mapping[str, Json]) -> str | None:
    """Return the line of an answer, refusal or failure; None for other lines and dry runs."""
    if record.get("kind") != "ask" or record.get("dry_run") is True:
        return None
    receipt, usage = as_table(record.get("receipt")), as_table(record.get("usage"))
    values: dict[str, tuple[str, float | None]] = {
        "InputTokens": ("Count", token_count(usage.get("input_tokens"))),
        "OutputTokens": ("Count", token_count(usage.get("output_tokens"))),
        "ContextTokens": ("Count", token_count(receipt.get("context_tokens"))),
        "SavedTokens": ("Count", token_count(receipt.get("saved_tokens"))),
        "Refused": ("Count", int(record.get("refused") is True)),
        "Failed": ("Count", int(receipt.get("outcome") in ("failed", "abandoned"))),
        "Seconds": ("Seconds", known_number(receipt, "seconds")),
        "CPUSeconds": ("Seconds", known_number(receipt, "cpu_seconds")),
        "Joules": ("None", known_number(as_table(receipt.get("joules")), "mid")),
        "CarbonGrams": ("None", known_number(as_table(receipt.get("carbon_g")), "mid")),
    }
    known = {name: (unit, value) for name, (unit, value) in values.items() if value is not None}
    model = receipt.get("served_model") or record.get("generator") or "unknown"
    at = read_time(record.get("time")) or datetime.now(UTC)
    data: dict[str, Json] = {
        "_aws": {
            "Timestamp": round(at.timestamp() * 1_000),
            "CloudWatchMetrics": [
                {
                    "Namespace": NAMESPACE,
                    "Dimensions": [["Model"]],
                    "Metrics": [{"Name": name, "Unit": unit} for name, (unit, _) in known.items()],
                }
            ],
        },
        "Model": str(model),
        **{name: value for name, (_, value) in known.items()},
    }
    return json_line(data)
