"""Spans and metrics by OpenTelemetry's own SDK, and CloudWatch's embedded metrics."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from ragkit import RAG, Settings
from ragkit.errors import MissingExtraError
from ragkit.types import Json
from ragkit_connectors.monitors.emf import emf_line
from ragkit_connectors.telemetry import Telemetry

from ..ledgers import ask, before


@pytest.fixture
def exported() -> dict[str, Any]:
    """Return providers of OpenTelemetry's SDK that keep everything in memory."""
    reason = "opentelemetry-sdk is not installed; make test-otel installs it"
    trace: Any = pytest.importorskip("opentelemetry.sdk.trace", reason=reason)
    metrics: Any = importlib.import_module("opentelemetry.sdk.metrics")
    export: Any = importlib.import_module("opentelemetry.sdk.trace.export")
    memory: Any = importlib.import_module("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    reader = importlib.import_module("opentelemetry.sdk.metrics.export").InMemoryMetricReader()
    spans = memory.InMemorySpanExporter()
    tracers = trace.TracerProvider()
    tracers.add_span_processor(export.SimpleSpanProcessor(spans))
    return {
        "spans": spans, "reader": reader, "tracer_provider": tracers,
        "meter_provider": metrics.MeterProvider(metric_readers=[reader]),
    }  # fmt: skip


def telemetry(exported: dict[str, Any], *, content: bool = False) -> Telemetry:
    """Return what exports to memory."""
    return Telemetry(
        content=content,
        tracer_provider=exported["tracer_provider"],
        meter_provider=exported["meter_provider"],
    )


def test_an_answer_becomes_spans_without_content(exported: dict[str, Any], tmp_path: Path) -> None:
    """A span for the question, one for each stage in it, and no word of the question."""
    (tmp_path / "a.md").write_text("The north gate opens at six in the morning.")
    with RAG(
        tmp_path / "kb",
        config=Settings(embedder="none", refuse_below="off"),
        on_record=telemetry(exported).record,
    ) as rag:
        rag.ingest(tmp_path / "a.md")
        answer = rag.ask("When does the north gate open?")
        rag.ask("When does the gate open?", dry_run=True)
    spans = exported["spans"].get_finished_spans()
    (root,) = [span for span in spans if span.parent is None]
    assert root.name == "ask"
    children = [span for span in spans if span.parent is not None]
    assert {span.parent.span_id for span in children} == {root.context.span_id}
    names = {span.name for span in children}
    assert {"retrieval", "ragkit.trim", "chat extractive"} <= names
    assert all(root.start_time <= s.start_time <= s.end_time <= root.end_time for s in children)
    assert root.attributes["ragkit.context_tokens"] == answer.receipt.context_tokens
    assert "gate" not in "".join(span.to_json() for span in spans)


def test_a_model_has_the_conventions_names(exported: dict[str, Any]) -> None:
    """Provider, model, tokens and duration; unknown tokens are left out; failures are errors."""
    out = telemetry(exported)
    out.record(ask(generator="bedrock:amazon.nova-lite-v1:0"))
    out.record(ask(generator="bedrock:amazon.nova-lite-v1:0", outcome="failed"))
    out.record(before("ingest", 5.0))
    spans = exported["spans"].get_finished_spans()
    chat = next(span for span in spans if span.name == "chat amazon.nova-lite-v1:0")
    assert chat.attributes["gen_ai.provider.name"] == "aws.bedrock"
    assert chat.attributes["gen_ai.usage.input_tokens"] == 500
    assert "gen_ai.usage.cache_read.input_tokens" not in chat.attributes
    failed = [s for s in spans if s.name == "ask" and "error.type" in s.attributes]
    assert len(failed) == 1
    data = exported["reader"].get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    found = {metric.name: metric for metric in data}
    assert set(found) == {"gen_ai.client.token.usage", "gen_ai.client.operation.duration",
                          "ragkit.joules"}  # fmt: skip
    kinds = {
        point.attributes["gen_ai.token.type"]: (point.count, point.sum)
        for point in found["gen_ai.client.token.usage"].data.data_points
    }
    assert kinds == {"input": (2, 1000), "output": (2, 160)}


def test_content_is_exported_on_request_only(exported: dict[str, Any], tmp_path: Path) -> None:
    """The question and the answer stand in the spans of an answer that was handed over."""
    (tmp_path / "a.md").write_text("The north gate opens at six in the morning.")
    with RAG(tmp_path / "kb", config=Settings(embedder="none", refuse_below="off")) as rag:
        rag.ingest(tmp_path / "a.md")
        answer = rag.ask("When does the north gate open?")
    telemetry(exported).answer(answer, generator="extractive")
    assert "north" not in "".join(s.to_json() for s in exported["spans"].get_finished_spans())
    telemetry(exported, content=True).answer(answer, generator="extractive")
    spans = {s.name: s.attributes for s in exported["spans"].get_finished_spans()}
    assert spans["retrieval"]["gen_ai.retrieval.query.text"] == "When does the north gate open?"
    assert "six in the morning" in spans["chat extractive"]["gen_ai.output.messages"]


def test_a_hook_that_fails_costs_no_answer(tmp_path: Path) -> None:
    """The answer is returned, the ledger written, and a notice says what failed."""
    notices: list[str] = []

    def fail(_: object) -> None:
        raise ZeroDivisionError

    (tmp_path / "a.md").write_text("The north gate opens at six in the morning.")
    with RAG(
        tmp_path / "kb", config=Settings(embedder="none"), on_record=fail, notify=notices.append
    ) as rag:
        rag.ingest(tmp_path / "a.md")
        assert rag.ask("When does the north gate open?").receipt is not None
    assert len((tmp_path / "kb" / "ledger.jsonl").read_text().splitlines()) == 2
    assert any("ZeroDivisionError" in notice for notice in notices)


def _find_nothing(_: str) -> None:
    return None


def test_without_opentelemetry_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for all extras."""
    monkeypatch.setattr("importlib.util.find_spec", _find_nothing)
    with pytest.raises(MissingExtraError, match="otel"):
        Telemetry()


def test_embedded_metrics_declare_what_they_hold() -> None:
    """Each metric that is declared has a value; what is unknown is neither."""
    lines: list[dict[str, Json]] = [
        ask(carbon_g=1.5), ask(joules=None, refused=True), ask(outcome="failed")
    ]  # fmt: skip
    for line in lines:
        data = json.loads(emf_line(line) or "")
        (directive,) = data["_aws"]["CloudWatchMetrics"]
        names = {metric["Name"] for metric in directive["Metrics"]}
        assert names == set(data) - {"_aws", "Model"}
        assert directive["Dimensions"] == [["Model"]]
        assert data["_aws"]["Timestamp"] == 1772452800000
    assert "Joules" not in json.loads(emf_line(lines[1]) or "")
    assert json.loads(emf_line(lines[0]) or "")["CarbonGrams"] == 1.5
    assert emf_line(before("ingest", 1.0)) is None
    assert emf_line(ask(dry_run=True)) is None
