"""Spans and metrics for OpenTelemetry, with the names of its conventions for generative AI.

    telemetry = Telemetry()
    with RAG("./kb", on_record=telemetry.record) as rag: ...

Each answer, refusal and failure becomes a span `ask` with a child for each stage (`retrieval`,
`embeddings`, `chat MODEL`, ...), and values of the metrics `gen_ai.client.token.usage` and
`gen_ai.client.operation.duration`. Names that those conventions lack begin with `ragkit.`. No
question, prompt or answer leaves this process unless `Telemetry(content=True).answer(answer)` is
called for it.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from ragkit.costs.ledger import BOUNDS, as_table, number_of
from ragkit.errors import MissingExtraError
from ragkit.narrowing import is_array
from ragkit.types import Json, token_count

if TYPE_CHECKING:
    from ragkit import Answer

Value: TypeAlias = str | bool | int | float

_NAME = "ragkit"
_PROVIDERS = {"bedrock": "aws.bedrock", "sagemaker": "aws.sagemaker"}
_OPERATIONS = {"embed": "embeddings", "retrieve": "retrieval", "generate": "chat"}
_USAGE = {
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cached_tokens": "gen_ai.usage.cache_read.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
}


class Telemetry:
    """Turns lines of the ledger, or whole answers, into spans and metrics.

    Args:
        content: Whether `answer` adds questions, messages and answers to the spans.
        tracer_provider: OpenTelemetry's; None takes the global one.
        meter_provider: OpenTelemetry's; None takes the global one.

    Raises:
        MissingExtraError: OpenTelemetry is not installed.
    """

    def __init__(
        self,
        *,
        content: bool = False,
        tracer_provider: object = None,
        meter_provider: object = None,
    ) -> None:
        if importlib.util.find_spec("opentelemetry") is None:
            raise MissingExtraError("opentelemetry", extra="otel")
        # Its modules have types of their own only where it is installed.
        self._trace: Any = importlib.import_module("opentelemetry.trace")
        metrics: Any = importlib.import_module("opentelemetry.metrics")
        self._content = content
        self._tracer = self._trace.get_tracer(_NAME, tracer_provider=tracer_provider)
        meter = metrics.get_meter(_NAME, meter_provider=meter_provider)
        self._tokens = meter.create_histogram("gen_ai.client.token.usage", unit="{token}")
        self._duration = meter.create_histogram("gen_ai.client.operation.duration", unit="s")
        self._joules = meter.create_histogram("ragkit.joules", unit="J")

    def record(self, line: Mapping[str, Json]) -> None:
        """Export a line of the ledger that was written just now; others than answers are left."""
        if line.get("kind") == "ask" and line.get("dry_run") is not True:
            self._export(line, {})

    def answer(self, answer: Answer, *, generator: str) -> None:
        """Export an answer that was made just now, with its content if that was asked for.

        Args:
            answer: The answer.
            generator: The generator's name, for example `bedrock:MODEL`.
        """
        line: dict[str, Json] = {**answer.to_dict(), "generator": generator}
        self._export(line, _content_of(answer) if self._content else {})

    def _export(self, line: Mapping[str, Json], content: Mapping[str, Mapping[str, Value]]) -> None:
        receipt, usage = as_table(line.get("receipt")), as_table(line.get("usage"))
        kind, _, model = str(line.get("generator") or "").partition(":")
        model = str(receipt.get("served_model") or model or kind)
        shared: dict[str, Value] = {
            "gen_ai.provider.name": _PROVIDERS.get(kind, kind), "gen_ai.request.model": model
        }  # fmt: skip
        end = time.time_ns()
        at = end - round(number_of(receipt, "seconds") * 1e9)
        attributes = {**shared, **_attributes(line, receipt), **content.get("ask", {})}
        root = self._tracer.start_span("ask", start_time=at, attributes=attributes)
        if receipt.get("outcome") in ("failed", "abandoned"):
            root.set_attribute("error.type", str(receipt["outcome"]))
            root.set_status(self._trace.StatusCode.ERROR)
        parent = self._trace.set_span_in_context(root)
        stages = receipt.get("stages")
        for stage in map(as_table, stages if is_array(stages) else ()):
            name = str(stage.get("name"))
            seconds = number_of(stage, "seconds")
            span = self._tracer.start_span(
                _span_name(name, model),
                context=parent,
                start_time=at,
                attributes={
                    **_stage_attributes(name, shared, line, usage),
                    **content.get(name, {}),
                },
            )
            at += round(seconds * 1e9)
            span.end(at)
            if name in _OPERATIONS:
                # Only the generator's name is known here, not the embedder's.
                model_of = shared if name == "generate" else {}
                operation = {**model_of, "gen_ai.operation.name": _OPERATIONS[name]}
                self._duration.record(seconds, operation)
        root.end(end)
        self._measure(shared, receipt, usage)

    def _measure(
        self, shared: Mapping[str, Value], receipt: Mapping[str, Json], usage: Mapping[str, Json]
    ) -> None:
        attributes = {**shared, "gen_ai.operation.name": "chat"}
        for kind in ("input", "output"):
            tokens = token_count(usage.get(f"{kind}_tokens"))
            if tokens is not None and token_count(receipt.get("llm_calls")):
                self._tokens.record(tokens, {**attributes, "gen_ai.token.type": kind})
        joules = as_table(receipt.get("joules"))
        if joules:
            self._joules.record(number_of(joules, "mid"), attributes)


def _span_name(stage: str, model: str) -> str:
    operation = _OPERATIONS.get(stage)
    if operation is None:
        return f"ragkit.{stage}"
    return f"{operation} {model}" if stage == "generate" else operation


def _attributes(line: Mapping[str, Json], receipt: Mapping[str, Json]) -> dict[str, Value]:
    found: dict[str, Value] = {"ragkit.refused": line.get("refused") is True}
    for name in ("context_tokens", "baseline_tokens", "input_tokens"):
        tokens = token_count(receipt.get(name))
        if tokens is not None:
            found[f"ragkit.{name}"] = tokens
    for name in ("reason", "template"):
        value = line.get(name)
        if isinstance(value, str):
            found[f"ragkit.{name}"] = value
    for name in ("joules", "carbon_g"):
        bounds = as_table(receipt.get(name))
        found |= {f"ragkit.{name}.{b}": number_of(bounds, b) for b in BOUNDS if bounds}
    return found


def _stage_attributes(
    stage: str, shared: Mapping[str, Value], line: Mapping[str, Json], usage: Mapping[str, Json]
) -> dict[str, Value]:
    if stage not in _OPERATIONS:
        return {}
    found: dict[str, Value] = {"gen_ai.operation.name": _OPERATIONS[stage]}
    if stage != "generate":
        return found
    found |= shared
    for name, attribute in _USAGE.items():
        tokens = token_count(usage.get(name))
        if tokens is not None:
            found[attribute] = tokens
    if isinstance(line.get("stop_reason"), str):
        # A list in the conventions; OpenTelemetry takes sequences of strings.
        found["gen_ai.response.finish_reasons"] = (str(line["stop_reason"]),)  # type: ignore[assignment]
    return found


def _content_of(answer: Answer) -> dict[str, dict[str, Value]]:
    """Return what is content of an answer, by stage."""
    messages = [
        {"role": message.role, "parts": [{"type": "text", "content": message.content}]}
        for message in answer.messages
    ]
    said = [{"role": "assistant", "parts": [{"type": "text", "content": answer.text or ""}]}]
    return {
        "retrieve": {"gen_ai.retrieval.query.text": answer.question},
        "generate": {
            "gen_ai.input.messages": json.dumps(messages, ensure_ascii=False),
            "gen_ai.output.messages": json.dumps(said, ensure_ascii=False),
        },
    }
