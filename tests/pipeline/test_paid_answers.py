"""What was paid for comes out, whatever is said of it; and numbers that the library is given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from ragkit import RAG, Document, Settings, TrimPolicy
from ragkit.costs.energy import model_size_billions
from ragkit.costs.ledger import read_ledger, summarise
from ragkit.errors import ConfigError, NoAnswerError, RemoteError
from ragkit.types import Citation, Generation, GenerationOptions, Prompt, TokenCounter, Usage
from ragkit_connectors.openai import OpenAIGenerator
from ragkit_connectors.testing import OpenAIServer, Reply

FERRY = Document(id="a", text="The ferry leaves at nine. The quay is closed.")
QUESTION = "When does the ferry leave?"


class Odd:
    """A generator whose bookkeeping is wrong."""

    name = "odd:llama-8b"
    calls_llm = True
    counter: TokenCounter | None = None

    def __init__(self, usage: object, citations: object = None) -> None:
        self._usage, self._citations = usage, citations

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Return an answer with what it was told to say of it."""
        del prompt, options
        return Generation(
            text="At nine. \ud800",
            usage=cast("Usage", self._usage),
            citations=cast("tuple[Citation, ...] | None", self._citations),
        )

    def stream(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str | Generation]:
        """Yield it in one piece."""
        whole = self.generate(prompt, options)
        yield whole.text
        yield whole


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store of one document."""
    with RAG(tmp_path / "kb", embedder="none", ledger="off") as rag:
        rag.ingest(FERRY)
    return tmp_path / "kb"


ODD: list[Any] = [10**400, 10**25, -1, 2**53 + 1, float("nan"), 1.5, True, "7"]


@pytest.mark.parametrize("value", ODD, ids=[type(v).__name__ + str(v)[:6] for v in ODD])
def test_a_generators_odd_counts_are_unknown(store: Path, value: object) -> None:
    """No number of tokens loses an answer: what cannot be one is unknown, the ledger goes on."""
    usage = Usage(input_tokens=cast("int", value), output_tokens=cast("int", value),
                  cached_tokens=cast("int", value), exact=True, counter="odd")  # fmt: skip
    with RAG(store, generator=Odd(usage)) as rag:
        answer = rag.ask(QUESTION)
        assert rag.stream(QUESTION).answer.text == answer.text == "At nine. \ud800"
    assert answer.usage.output_tokens is answer.usage.cached_tokens is None
    assert answer.receipt.joules is None
    assert len(list(read_ledger(store / "ledger.jsonl"))) == 2


@pytest.mark.parametrize("citations", [("no citation",), 5, (None,)])
def test_citations_that_are_none_cost_the_citations_alone(store: Path, citations: object) -> None:
    """An answer whose citations cannot be made out comes without them, and with a notice."""
    notices: list[str] = []
    with RAG(store, generator=Odd(None, citations), notify=notices.append) as rag:
        answer = rag.ask(QUESTION)
    assert (answer.text, answer.citations) == ("At nine. \ud800", ())
    assert answer.usage.output_tokens is None
    assert any("citations" in notice for notice in notices)


def test_a_servers_absurd_counts_do_not_cost_the_answer(store: Path) -> None:
    """10**400 tokens, more digits than Python reads, and infinities are unknown counts."""
    for number in (10**400, 10**25, "9" * 5000, float("inf"), float("nan")):
        usage: dict[str, Any] = {"prompt_tokens": 60, "completion_tokens": number}
        with OpenAIServer([Reply(text="At nine.", usage=usage)]) as server:
            generator = OpenAIGenerator("llama-8b", base_url=server.base_url)
            with RAG(store, generator=generator) as rag:
                answer = rag.ask(QUESTION)
            assert len(server.requests) == 1
        assert answer.text == "At nine."
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (60, None)


def test_a_failed_answer_keeps_what_its_server_told(store: Path) -> None:
    """A prompt that the server cut was answered and billed: its tokens stand in the ledger."""
    usage: dict[str, Any] = {"prompt_tokens": 5, "completion_tokens": 3}
    with OpenAIServer([Reply(text="At nine.", usage=usage)]) as server:
        generator = OpenAIGenerator("m", base_url=server.base_url)
        with RAG(store, generator=generator) as rag:
            for streams in (False, True):
                with pytest.raises(RemoteError, match="cut the prompt") as caught:
                    _ = rag.stream(QUESTION).answer if streams else rag.ask(QUESTION)
                assert caught.value.generation is not None
                assert caught.value.generation.text == "At nine."
    records = [cast("Any", record) for record in read_ledger(store / "ledger.jsonl")]
    assert [record["usage"]["input_tokens"] for record in records] == [5, 5]
    assert [record["stop_reason"] for record in records] == ["error", "error"]
    assert [record["receipt"]["outcome"] for record in records] == ["failed", "failed"]


def test_odd_things_that_a_server_tells_of_itself_are_unknown(store: Path) -> None:
    """Names are one short line, and times are ones that can be."""
    odd: dict[str, Any] = {
        "model": "a\x1b[2Jb" + "c" * 900, "service_tier": 5,
        "timings": {"prompt_ms": 1e308, "predicted_ms": float("inf")},
    }  # fmt: skip
    with OpenAIServer([Reply(text="At nine.", more=odd)]) as server:
        generator = OpenAIGenerator("m", base_url=server.base_url)
        with RAG(store, generator=generator) as rag:
            receipt = rag.ask(QUESTION).receipt
    assert (receipt.served_tier, receipt.server_seconds) == (None, None)
    assert receipt.served_model is not None
    assert receipt.served_model.startswith("a [2Jb")
    assert len(receipt.served_model) == 200


ODD_WAITS = ["Mon, 01 Jan 2024 00:00:00 +99999999999999999999", "99999999999999999999", "-5", "nan",
             "1e999", "Mon, 01 Jan 0001 00:00:00 +2359", "9" * 5000, "²"]  # fmt: skip


@pytest.mark.parametrize("wait", ODD_WAITS, ids=lambda wait: wait[:24])
def test_an_odd_retry_after_is_a_typed_error_at_once(store: Path, wait: str) -> None:
    """A server that asks for an absurd wait is not waited for."""
    header = wait.encode("utf-8").decode("latin-1")
    reply = Reply(status=429, text="slow down", headers={"Retry-After": header})
    from ragkit.errors import RateLimitedError

    with OpenAIServer([reply]) as server:
        generator = OpenAIGenerator("m", base_url=server.base_url)
        with RAG(store, generator=generator) as rag, pytest.raises(RateLimitedError):
            rag.ask(QUESTION)


@pytest.mark.parametrize("k", [0, -5, 1_000_001, 2**63, 10**30])
def test_a_depth_out_of_range_names_itself(store: Path, k: int) -> None:
    """0 is a value, not a default; what no store can count is refused before it is asked."""
    with RAG(store) as rag:
        for ask in (rag.search, rag.ask, rag.pool):
            with pytest.raises(ConfigError, match=f"k {k}; allowed: 1 to 1,000,000"):
                ask("ferry", k=k)


@pytest.mark.parametrize(
    "values",
    [{"k": 0}, {"seed": 2**63}, {"max_tokens": 10**30}, {"model_billions": float("nan")},
     {"grid_g_per_kwh": (1.0, float("inf"), 1.0)}, {"timeout": float("inf")}],
    ids=str,
)  # fmt: skip
def test_settings_out_of_range_name_themselves(values: dict[str, Any]) -> None:
    """Every number of the settings is finite and within bounds."""
    ((name, value),) = values.items()
    shown: object = cast("tuple[float, ...]", value)[1] if isinstance(value, tuple) else value
    with pytest.raises(ConfigError, match=f"{name} {shown}; allowed"):
        Settings(**values)


@pytest.mark.parametrize(
    "values",
    [{"pool": 0}, {"pool": 1_000_001}, {"keep_above": float("nan")}, {"second_hop": float("inf")},
     {"cosine_weight": float("nan")}, {"length_weight": float("inf")}],
    ids=str,
)  # fmt: skip
def test_policies_out_of_range_name_themselves(values: dict[str, Any]) -> None:
    """A policy's numbers are finite, its pool one that can be retrieved."""
    ((_, value),) = values.items()
    with pytest.raises(ConfigError, match=f" {value}; allowed"):
        TrimPolicy(name="p", **values)


def test_documents_that_no_store_can_hold_fail_alone(tmp_path: Path) -> None:
    """A number that is not finite, or half a character in an id, costs that document."""
    with RAG(tmp_path / "kb", embedder="none", ledger="off") as rag:
        report = rag.ingest(
            FERRY,
            Document(id="inf", text="The quay.", metadata={"p": float("inf")}),
            Document(id="\ud800", text="The quay."),
            Document(id="set", text="The quay.", metadata={"s": cast("Any", {1})}),
        )
        with pytest.raises(ConfigError, match="NaN"):
            rag.ingest(FERRY, metadata={"p": float("nan")})
    assert report.documents["added"] == 1
    assert [failure.code for failure in report.failures] == ["broken"] * 3


def test_a_ledger_of_absurd_numbers_is_summed_as_far_as_it_is_known(tmp_path: Path) -> None:
    """Whole numbers that no float holds, and infinities, are unknown; a deep line is unreadable."""
    path = tmp_path / "ledger.jsonl"
    sound = {"kind": "ask", "usage": {"input_tokens": 7, "output_tokens": 2}, "receipt": {}}
    lines = [
        json.dumps(sound),
        json.dumps({**sound, "usage": {"input_tokens": 10**400, "output_tokens": -1}}),
        json.dumps({**sound, "receipt": {"seconds": 10**400, "llm_calls": 10**400}}),
        '{"kind":"ask","receipt":{"seconds":1e999}}',
        "[" * 100_000,
    ]
    path.write_text("\n".join(lines) + "\n")
    summary = summarise(read_ledger(path))
    assert (summary.answers, summary.unreadable_lines) == (4, 1)
    assert (summary.input_tokens, summary.unknown["input_tokens"], summary.seconds) == (14, 2, 0.0)
    json.dumps(summary.to_dict(), allow_nan=False)
    assert model_size_billions("9" * 400 + "b") is None


# --- what a model said ---------------------------------------------------------------------------


class Says(Odd):
    """A language model that gives this generation, in small pieces where it streams."""

    def __init__(self, text: str, **more: str | None) -> None:
        usage = Usage(input_tokens=60, output_tokens=9, exact=True, counter="odd")
        super().__init__(usage)
        self._generation = replace(Generation(text=text, usage=usage), **more)  # type: ignore[arg-type]

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Return it."""
        del prompt, options
        return self._generation

    def stream(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str | Generation]:
        """Yield three characters at a time."""
        del prompt, options
        text = self._generation.text
        yield from (text[i : i + 3] for i in range(0, len(text), 3))
        yield self._generation


def test_thoughts_are_no_part_of_an_answer(store: Path) -> None:
    """They are kept apart, streamed nowhere, cited by nothing, and not in the ledger."""
    model = Says(
        "<think>The quay is closed.</think>\nAt nine.", reasoning="Hm.", stop_reason="stop"
    )
    with RAG(store, generator=model) as rag:
        answer, stream = rag.ask(QUESTION), rag.stream(QUESTION)
        assert "".join(stream) == "At nine."
    assert (answer.text, answer.reasoning) == ("At nine.", "Hm.\n\nThe quay is closed.")
    assert (stream.answer.text, stream.answer.reasoning) == (answer.text, answer.reasoning)
    assert "quay" not in (store / "ledger.jsonl").read_text()
    assert {c.text for c in answer.citations} <= {"The ferry leaves at nine."}


def test_the_model_may_abstain(store: Path) -> None:
    """The marker is a refusal of its own, streamed as nothing, with usage and suggestions."""
    with RAG(store, generator=Says("<think>no</think> NO_ANSWER.", stop_reason="stop")) as rag:
        answer, stream = rag.ask(QUESTION), rag.stream(QUESTION)
        assert list(stream) == []
        with_old_template = RAG(store, generator=Says("NO_ANSWER"), template="plain").ask(QUESTION)
    for refused in (answer, stream.answer):
        assert (refused.text, refused.refused, refused.reason) == (None, True, "model_abstained")
        assert (refused.usage.output_tokens, refused.receipt.llm_calls) == (9, 1)
        assert refused.receipt.outcome == "refused"
        assert refused.suggestions
        assert refused.messages[0].role == "system"
    assert (with_old_template.text, with_old_template.refused) == ("NO_ANSWER", False)
    summary = summarise(read_ledger(store / "ledger.jsonl"))
    assert (summary.refusals, summary.abstentions, summary.answers) == (2, 2, 1)


def test_what_was_sent_is_in_the_answer(store: Path) -> None:
    """The messages are those that the generator was given."""
    model = Says("At nine.", stop_reason="length", served_model="m-1", served_tier="flex")
    history = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    with RAG(store, generator=model) as rag:
        answer = rag.ask(QUESTION, history=history)
    data = cast("dict[str, Any]", answer.to_dict())
    assert [m["role"] for m in data["messages"]] == ["system", "user", "assistant", "user"]
    assert data["prompt"] == "\n\n".join(m["content"] for m in data["messages"])
    assert (data["stop_reason"], data["receipt"]["served_tier"]) == ("length", "flex")


@pytest.mark.parametrize(
    ("text", "reason", "fault"),
    [("", "length", "used up its tokens without a word"),
     ("<think>so and", "length", "used up its tokens thinking"),
     ("<think>so</think>", "stop", "ended with its thoughts")],
)  # fmt: skip
def test_no_answer_is_an_error_that_is_paid_for(
    store: Path, text: str, reason: str, fault: str
) -> None:
    """Nothing but thoughts, or nothing at the limit, is an error; the ledger has what it cost."""
    with RAG(store, generator=Says(text, stop_reason=reason)) as rag:
        with pytest.raises(NoAnswerError, match=fault):
            rag.ask(QUESTION)
        with pytest.raises(NoAnswerError, match="max_tokens"):
            list(rag.stream(QUESTION))
    records = list(read_ledger(store / "ledger.jsonl"))
    assert [cast("Any", r["receipt"])["outcome"] for r in records] == ["failed", "failed"]
    assert [cast("Any", r["usage"])["output_tokens"] for r in records] == [9, 9]
    assert summarise(records).failures == 2


def test_a_natural_end_with_nothing_is_an_empty_answer(store: Path) -> None:
    """The model has chosen to say nothing; that is no error."""
    with RAG(store, generator=Says(" ", stop_reason="stop")) as rag:
        answer = rag.ask(QUESTION)
    assert (answer.text, answer.refused, answer.stop_reason) == ("", False, "stop")


def test_a_failed_attempt_has_a_receipt(store: Path) -> None:
    """A server that fails may have been paid; the attempt is in the ledger."""
    with OpenAIServer([Reply(status=400, text="no")]) as server:
        generator = OpenAIGenerator("m", base_url=server.base_url)
        with RAG(store, generator=generator) as rag, pytest.raises(RemoteError):
            rag.ask(QUESTION)
    (record,) = read_ledger(store / "ledger.jsonl")
    assert cast("Any", record["receipt"])["outcome"] == "failed"
