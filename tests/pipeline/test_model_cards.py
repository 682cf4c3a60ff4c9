"""Cards of models: what they say, and what receipts and notices make of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit import RAG, Document, Settings
from ragkit.config import load_settings
from ragkit.costs.cards import BUNDLED, ModelCard, find_card, read_cards
from ragkit.costs.energy import model_size_billions
from ragkit.errors import ConfigError
from ragkit.trust import sensitive
from ragkit.types import Generation, GenerationOptions, Prompt, TokenCounter, Usage
from ragkit_connectors.ollama import OllamaGenerator
from ragkit_connectors.openai import OpenAIGenerator

QUESTION = "When does the ferry leave?"
USAGE = Usage(input_tokens=600, output_tokens=20, exact=True, counter="said")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store of one document."""
    with RAG(tmp_path / "kb", embedder="none", ledger="off") as rag:
        rag.ingest(Document(id="a", text="The ferry leaves at nine. Die Fähre fährt um neun ab."))
    return tmp_path / "kb"


class Named:
    """A language model of any name, which may run anywhere."""

    calls_llm = True
    counter: TokenCounter | None = None

    def __init__(self, name: str, *, runs_on: str | None = None, served: str | None = None) -> None:
        self.name, self.runs_on, self._served = name, runs_on, served

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Return an answer."""
        del prompt, options
        return Generation(text="At nine.", usage=USAGE, served_model=self._served)

    def stream(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str | Generation]:
        """Yield it in one piece."""
        yield self.generate(prompt, options)


# --- the bundled cards -------------------------------------------------------------------------

CARDS = read_cards(BUNDLED)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_each_fact_has_the_address_of_its_source(card: ModelCard) -> None:
    """Size, window, languages, measured joules and scores say where they are from."""
    facts = {
        "size": card.total_billions or card.active_billions,
        "window": card.window,
        "languages": card.languages,
        "decode_joules": card.decode_joules,
    }
    for fact, value in facts.items():
        assert (fact in card.sources) == (value is not None), fact
    assert all(url.startswith("https://") for url in card.sources.values())
    assert all(score.source.startswith("https://") for score in card.scores)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_card_is_plausible(card: ModelCard) -> None:
    """Active parameters are part of all; a closed model's bounds are far apart."""
    size = card.size
    if size is None:
        assert not card.size_estimated
        return
    assert card.total_billions is not None
    assert size.active_billions[2] <= card.total_billions[2]
    if card.size_estimated:
        assert size.active_billions[2] >= 2.5 * size.active_billions[0]
    if card.decode_joules is not None:
        assert list(card.decode_joules) == sorted(card.decode_joules)
    assert card.window is None or 2048 <= card.window <= 10_000_000


NAMES: dict[str, str | None] = {
    "bedrock:anthropic.claude-3-5-sonnet-20240620-v1:0": "Claude 3.5 Sonnet",
    "bedrock:eu.anthropic.claude-sonnet-4-5-20250929-v1:0": "Claude Sonnet 4.5",
    "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0":
        "Claude 3 Haiku",
    "bedrock:us.meta.llama3-1-8b-instruct-v1:0": "Llama 3.1 8B",
    "bedrock:meta.llama3-2-90b-instruct-v1:0": "Llama 3.2 90B Vision",
    "bedrock:meta.llama4-scout-17b-instruct-v1:0": "Llama 4 Scout",
    "bedrock:openai.gpt-oss-120b-1:0": "gpt-oss-120b",
    "bedrock:amazon.nova-lite-v1:0": "Amazon Nova Lite",
    "bedrock:amazon.titan-text-express-v1": "Amazon Titan Text Express",
    "bedrock:mistral.ministral-3-8b-instruct": "Ministral 3 8B on Bedrock",
    "bedrock:qwen.qwen3-vl-235b-a22b": "Qwen3-VL-235B-A22B",
    "bedrock:mistral.mistral-7b-instruct-v0:2": "Mistral 7B",
    "bedrock:mistral.mixtral-8x7b-instruct-v0:1": "Mixtral 8x7B",
    "bedrock:us.deepseek.r1-v1:0": "DeepSeek-R1",
    "bedrock:cohere.command-r-plus-v1:0": "Command R+",
    "bedrock:cohere.command-r-v1:0": "Command R",
    "bedrock:qwen.qwen3-32b-v1:0": "Qwen3-32B",
    "ollama:llama3.1": "Llama 3.1 8B",
    "ollama:llama3.2:1b": "Llama 3.2 1B",
    "ollama:gpt-oss:20b": "gpt-oss-20b",
    "ollama:gemma3:270m": "Gemma 3 270M",
    "ollama:qwen3:0.6b": "Qwen3-0.6B",
    "ollama:qwen3:30b-a3b": "Qwen3-30B-A3B",
    "ollama:deepseek-r1:8b": "DeepSeek-R1 distilled, 8B",
    "ollama:phi4-mini": "Phi-4 mini",
    "ollama:phi3:mini-4k": "Phi-3 mini, 4K",
    "microsoft/Phi-3.5-mini-instruct": "Phi-3.5 mini",
    "microsoft/Phi-4-multimodal-instruct": "Phi-4 multimodal",
    "ollama:ministral-3:8b": "Ministral 3 8B",
    "openai:mistralai/Ministral-8B-Instruct-2410": "Ministral 8B (2410)",
    "openai:command-a-plus-05-2026": "Command A+",
    "openai:command-a-03-2025": "Command A",
    "openai:Qwen/Qwen3-8B": "Qwen3-8B",
    "meta-llama/Llama-3.1-8B-Instruct": "Llama 3.1 8B",
    "llamacpp:SmolLM2-135M-Instruct.Q4_1.gguf": "SmolLM2 135M",
    "openai:qwen3.5-0.8b": None,
    "ollama:olmo-33b": None,
    "openai:gpt-4o-mini": None,
    "openai:deepseek-chat": None,
    "extractive": None,
}  # fmt: skip


@pytest.mark.parametrize(("name", "card"), NAMES.items(), ids=list(NAMES))
def test_names_that_servers_use_find_their_card(name: str, card: str | None) -> None:
    """Of Bedrock with and without profile, of Ollama with and without tag, of files and hubs."""
    found = find_card(name)
    assert (None if found is None else found.name) == card


@given(st.text(max_size=400))
def test_any_name_is_looked_up(name: str) -> None:
    """Whatever a server calls its model, no name is an error, nor takes long."""
    find_card(name)
    find_card("*" * 300)
    find_card("llama-" * 10_000)


def test_a_card_tells_what_a_name_hides() -> None:
    """gpt-oss-120b uses 5.1 billion parameters a token; its name says 120."""
    card = find_card("openai:gpt-oss-120b")
    assert card is not None
    assert card.size is not None
    assert card.size.active_billions == (5.1, 5.1, 5.1)
    assert card.size.is_mixture
    assert model_size_billions("openai:gpt-oss-120b") == 120.0


# --- cards of one's own ------------------------------------------------------------------------


def own_cards(tmp_path: Path, **card: object) -> Path:
    """Write a file of one card."""
    whole = {"name": "Ours", "match": ["*ours*"], **card}
    path = tmp_path / "cards.json"
    path.write_text(json.dumps({"schema": 1, "cards": [whole]}))
    return path


def test_a_card_of_ones_own_comes_first(store: Path, tmp_path: Path) -> None:
    """It gives a model of any name its size, and may correct a bundled one."""
    path = own_cards(tmp_path, match=["*ours*", "*gpt-oss*"], total_billions=[2, 3, 9])
    settings = Settings(model_cards=str(path))
    for name in ("openai:ours", "openai:gpt-oss-20b"):
        with RAG(store, generator=Named(name), config=settings, ledger="off") as rag:
            joules = rag.ask(QUESTION).receipt.decode_joules
        assert joules is not None
        assert joules.high > 10 * joules.low
        assert "mixture" not in joules.source


BAD_CARDS: dict[str, dict[str, object]] = {
    "negative": {"total_billions": -1},
    "not in order": {"active_billions": [3, 2, 1]},
    "two bounds": {"total_billions": [1, 2]},
    "no number": {"total_billions": "8"},
    "no window": {"window": 0},
    "no pattern": {"match": "ours"},
    "unknown field": {"windw": 5},
    "two lines": {"licence": "a\nb"},
    "no score": {"scores": [{"benchmark": "x", "value": "high", "source": "y"}]},
}


@pytest.mark.parametrize("card", BAD_CARDS.values(), ids=list(BAD_CARDS))
def test_a_card_that_is_wrong_names_its_file(tmp_path: Path, card: dict[str, object]) -> None:
    """A setting's file is checked as a setting is."""
    path = own_cards(tmp_path, **card)
    with pytest.raises(ConfigError, match=r"cards\.json"):
        find_card("ours", path)


def test_a_file_that_is_no_cards_is_an_error(tmp_path: Path) -> None:
    """No file, no JSON, another shape."""
    for i, text in enumerate([None, "", "[]", '{"cards": 5}', '{"cards": [5]}', "[" * 9999]):
        path = tmp_path / f"{i}.json"
        if text is not None:
            path.write_text(text)
        with pytest.raises(ConfigError, match="cannot be read"):
            find_card("ours", path)


# --- receipts ----------------------------------------------------------------------------------


def ask(store: Path, generator: Named, **settings: Any) -> Any:  # noqa: ANN401
    """Return the receipt of an answer, as JSON."""
    with RAG(store, generator=generator, config=Settings(**settings), ledger="off") as rag:
        return cast("Any", rag.ask(QUESTION).receipt.to_dict())


def test_the_model_that_a_router_chose_is_the_one_that_counts(store: Path) -> None:
    """A router's own name says nothing; the model that it served does."""
    routed = ask(store, Named("bedrock:my-router", served="eu.meta.llama3-1-8b-instruct-v1:0"))
    named = ask(store, Named("bedrock:meta.llama3-1-8b-instruct-v1:0"))
    assert routed["decode_joules"] == named["decode_joules"]
    assert ask(store, Named("bedrock:my-router"))["joules"] is None


def test_closed_models_have_joules_that_say_so(store: Path) -> None:
    """Claude's size is an estimate; of Nova's there is none, and its joules are unknown."""
    claude = ask(store, Named("bedrock:anthropic.claude-haiku-4-5-20251001-v1:0"))
    assert claude["joules"]["size_estimated"] is True
    assert claude["joules"]["grade"] == "size estimated"
    assert claude["output_tokens"] == 20
    nova = ask(store, Named("bedrock:amazon.nova-pro-v1:0"))
    assert nova["joules"] is nova["prefill_joules"] is None


def test_what_is_set_is_taken_before_any_card(store: Path) -> None:
    """Whoever sets the size knows it."""
    receipt = ask(store, Named("bedrock:amazon.nova-pro-v1:0"), model_billions=8.0)
    assert receipt["joules"]["size_estimated"] is False
    assert receipt["joules"]["mid"] > 10


def test_a_model_in_this_process_is_its_cpu_seconds(store: Path) -> None:
    """Not those and a remote H100's in addition; the same model elsewhere has both."""
    here = ask(store, Named("llamacpp:llama-3.1-8b.gguf", runs_on="cpu"))
    there = ask(store, Named("openai:llama-3.1-8b"))
    assert here["joules"]["grade"] == "modelled-local"
    assert here["joules"]["mid"] == pytest.approx(here["cpu_seconds"] * 2.53 * 1.135)
    assert there["joules"]["mid"] > here["joules"]["mid"] + 10
    assert there["prefill_joules"]["mid"] + there["decode_joules"]["mid"] > 20


@pytest.mark.parametrize("watts", [[100.0], [50.0, 100.0, 200.0]], ids=str)
def test_hosting_is_booked_by_the_second(store: Path, watts: list[float]) -> None:
    """Watts x share x seconds, in the joules and beside them."""
    settings = {"hosting_watts": tuple(watts), "hosting_share": 0.5}
    receipt = ask(store, Named("openai:llama-3.1-8b"), **settings)
    booked = receipt["hosting_joules"]
    assert booked["mid"] == pytest.approx(100.0 * 0.5 * receipt["seconds"])
    assert booked["low"] == pytest.approx(booked["mid"] * watts[0] / 100.0)
    assert receipt["joules"]["source"].endswith(booked["source"])
    assert ask(store, Named("openai:llama-3.1-8b"))["hosting_joules"] is None


def test_hosting_is_a_table_of_the_settings(tmp_path: Path) -> None:
    """One number or three; a share of 0 to 1; nothing else."""
    path = tmp_path / "ragkit.toml"
    path.write_text("[hosting]\nwatts = 120\nshare = 0.25\n")
    settings = load_settings(file=path)
    assert (settings.hosting_watts, settings.hosting_share) == ((120.0,), 0.25)
    for wrong in ("watts = [1, 2]", "watts = -5", "share = 1.5", "wats = 5", 'watts = "x"'):
        path.write_text(f"[hosting]\n{wrong}\n")
        with pytest.raises(ConfigError, match="hosting"):
            load_settings(file=path)


def test_hosting_may_come_from_the_environment() -> None:
    """As every setting."""
    environment = {"RAGKIT_HOSTING_WATTS": "50,100,200", "RAGKIT_HOSTING_SHARE": "0.5"}
    settings = load_settings(file=None, environment=environment)
    assert (settings.hosting_watts, settings.hosting_share) == ((50.0, 100.0, 200.0), 0.5)


def test_strangers_may_name_cards_of_their_folder_alone(tmp_path: Path) -> None:
    """Numbers are harmless; a file elsewhere is not read on a stranger's word."""
    given = {"hosting_watts": [5.0], "hosting_share": 0.5, "model_cards": "cards.json"}
    assert sensitive(given, tmp_path).keys == {}
    for path in ("/etc/passwd", "../cards.json", ".hidden/cards.json"):
        assert set(sensitive({"model_cards": path}, tmp_path).keys) == {"model_cards"}


_NVML = """
_joules = [1000.0, 50.0]
def nvmlInit(): pass
def nvmlDeviceGetCount(): return 2
def nvmlDeviceGetHandleByIndex(index): return index
def nvmlDeviceGetTotalEnergyConsumption(handle):
    _joules[handle] += 30.0
    return int(_joules[handle] * 1000)
def nvmlDeviceGetComputeRunningProcesses(handle): return [object()] * {users}[handle]
"""

_ASK = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.pipeline.test_model_cards import Named, ask
print(json.dumps(ask(Path(sys.argv[1]), Named("transformers:llama-3.1-8b", runs_on="gpu"))))
"""


@pytest.mark.parametrize(
    ("users", "joules"), [((1, 0), 30.0), ((0, 0), 60.0), ((2, 0), None)],
    ids=["one of ours", "unseen", "shared"],
)  # fmt: skip
def test_accelerators_are_measured_where_they_count(
    store: Path, tmp_path: Path, users: tuple[int, int], joules: float | None
) -> None:
    """By NVML, around the generation; not where others use the device too."""
    (tmp_path / "pynvml.py").write_text(_NVML.replace("{users}", str(users)))
    root = str(Path(__file__).parents[2])
    run = subprocess.run(
        [sys.executable, "-c", _ASK, str(store), root],
        check=True, capture_output=True, text=True, cwd=root,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
    )  # fmt: skip
    receipt = json.loads(run.stdout)
    if joules is None:
        assert receipt["measured_joules"] is None
        assert receipt["joules"]["grade"] == "modelled-remote"
        return
    assert receipt["measured_joules"]["mid"] == pytest.approx(joules)
    assert receipt["measured_joules"]["grade"] == "measured"
    # What this machine's processors took is modelled, so that the sum is.
    assert receipt["joules"]["grade"] == "modelled-local"
    assert receipt["joules"]["low"] == pytest.approx(joules * 1.04, rel=0.2)
    parts = receipt["prefill_joules"]["mid"] + receipt["decode_joules"]["mid"]
    assert parts == pytest.approx(joules * 1.135)


def test_a_server_of_this_machine_says_so() -> None:
    """Its accelerators can be measured here; elsewhere nothing can, nor in Ollama's cloud."""
    assert OpenAIGenerator("m", base_url="http://localhost:8000/v1").runs_on == "machine"
    assert OpenAIGenerator("m", base_url="https://models.example/v1").runs_on is None
    assert OllamaGenerator("llama3.1").runs_on == "machine"
    assert OllamaGenerator("gpt-oss:20b-cloud").runs_on is None


# --- notices -----------------------------------------------------------------------------------


def notices(store: Path, name: str, question: str, **settings: Any) -> list[str]:  # noqa: ANN401
    """Return what is told of two answers to a question."""
    told: list[str] = []
    with RAG(
        store, generator=Named(name), config=Settings(**settings), ledger="off", notify=told.append
    ) as rag:
        rag.ask(question)
        rag.ask(question)
    return told


def test_a_window_that_is_too_small_is_told_once(store: Path) -> None:
    """Before the model is asked; a prompt that fits is not spoken of."""
    (told,) = notices(store, "ollama:llama3:8b", QUESTION, max_context_tokens=9000)
    assert "8,192" in told
    assert "\n" not in told
    assert notices(store, "ollama:llama3:8b", QUESTION, max_context_tokens=4000) == []
    assert notices(store, "openai:anything", QUESTION, max_context_tokens=9_000_000) == []


def test_a_language_that_a_model_is_not_made_for_is_told_once(store: Path) -> None:
    """SmolLM2 is English; Llama 3.1 knows German, too; of others nothing is known."""
    german = "Wann fährt die Fähre ab, und von welchem Ort?"
    (told,) = notices(store, "llamacpp:SmolLM2-135M.gguf", german)
    assert "'de'" in told
    assert "SmolLM2 135M" in told
    assert notices(store, "llamacpp:SmolLM2-135M.gguf", QUESTION) == []
    assert notices(store, "ollama:llama3.1:8b", german) == []
    assert notices(store, "bedrock:amazon.nova-lite-v1:0", german) == []


def test_receipts_of_old_ledgers_are_read(tmp_path: Path) -> None:
    """A line of before has fewer fields, and is summed as ever."""
    from ragkit.costs.ledger import read_ledger, summarise

    joules = {"low": 1.0, "mid": 2.0, "high": 3.0, "grade": "modelled-remote", "source": "x"}
    receipt = {"seconds": 1.0, "cpu_seconds": 0.5, "llm_calls": 1, "joules": joules}
    old = {"kind": "ask", "usage": {"input_tokens": 7, "output_tokens": 2}, "receipt": receipt}
    path = tmp_path / "ledger.jsonl"
    path.write_text(json.dumps(old) + "\n")
    summary = summarise(read_ledger(path))
    assert (summary.answers, summary.joules["mid"]) == (1, 2.0)


def test_sizes_are_values() -> None:
    """Cards are shared, and never changed."""
    card = CARDS[0]
    assert replace(card) == card
