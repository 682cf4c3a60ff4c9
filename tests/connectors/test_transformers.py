"""The transformers generator, with a small random Llama that is made here."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from typing import cast

import pytest

from ragkit import RAG, Document, Settings
from ragkit.errors import ConfigError, PromptTooLongError, RemoteError, RemoteTimeoutError
from ragkit.types import Generation, GenerationOptions, Prompt
from ragkit_connectors import open_generator
from ragkit_connectors.testing import GeneratorContract, sample_prompt
from ragkit_connectors.transformers import TransformersGenerator

from .tiny_models import CONTEXT_TOKENS, library, write_llama

pytestmark = [
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("torch", "transformers")),
        reason="torch and transformers are not installed: make test-torch",
    ),
    # The library and torch warn of their own deprecations.
    pytest.mark.filterwarnings("default::DeprecationWarning"),
    pytest.mark.filterwarnings("default::FutureWarning"),
]

PROMPT = sample_prompt()
SHORT = GenerationOptions(max_tokens=8, temperature=0.0)


def _prompt(text: str) -> Prompt:
    return Prompt(text=text, question=text)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the folder of a model with a chat template."""
    return str(write_llama(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> TransformersGenerator:
    """Return a model that is unsure of every token."""
    folder = write_llama(tmp_path_factory.mktemp("models") / "unsure", sharpness=1.0)
    return TransformersGenerator(str(folder))


@pytest.fixture(scope="module")
def generator(path: str) -> TransformersGenerator:
    """Return the small model, opened."""
    return TransformersGenerator(path)


class TestTransformers(GeneratorContract):
    """The contract of generators."""

    options = SHORT

    @pytest.fixture(autouse=True)
    def _model(self, path: str) -> None:  # pyright: ignore[reportUnusedFunction]
        self._path = path

    def make(self) -> TransformersGenerator:
        """Open the small model."""
        return TransformersGenerator(self._path)

    def make_with_window(self, n_tokens: int) -> TransformersGenerator:
        """Open it with a window of its own."""
        return TransformersGenerator(self._path, context_window=n_tokens)


def test_counts_are_those_of_the_library(generator: TransformersGenerator, path: str) -> None:
    """The library's own pipeline reads as many tokens, prompt by prompt."""
    tokenizer = library("transformers").AutoTokenizer.from_pretrained(path)
    for text in GeneratorContract.prompt_texts:
        messages = [{"role": "user", "content": text}]
        filled = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        theirs = tokenizer(filled, add_special_tokens=False)["input_ids"]
        assert generator.count_prompt(_prompt(text)).n_tokens == len(theirs), text


def test_the_window_is_the_models_and_is_kept(generator: TransformersGenerator) -> None:
    """The library would only log that a prompt is too long, and answer from what is left."""
    assert generator.context_window == CONTEXT_TOKENS
    n_prompt = generator.count_prompt(PROMPT).n_tokens
    with pytest.raises(PromptTooLongError, match=r"window holds 2,048"):
        generator.generate(PROMPT, GenerationOptions(max_tokens=CONTEXT_TOKENS - n_prompt + 1))
    with pytest.raises(PromptTooLongError):
        generator.generate(_prompt("word " * 3000), SHORT)


def test_an_answer_is_as_long_as_asked_for(generator: TransformersGenerator) -> None:
    """Output tokens are counted exactly, streamed or not."""
    whole = generator.generate(PROMPT, SHORT)
    *_, last = generator.stream(PROMPT, SHORT)
    assert isinstance(last, Generation)
    assert whole.usage == last.usage
    assert (whole.usage.output_tokens, whole.stop_reason) == (8, "length")
    assert whole.usage.input_tokens == generator.count_prompt(PROMPT).n_tokens


def test_greedy_answers_repeat_and_seeds_choose(drawing: TransformersGenerator) -> None:
    """Temperature 0 always says the same; a seed fixes what is drawn, another changes it."""

    def said(options: GenerationOptions) -> str:
        return drawing.generate(PROMPT, options).text

    assert said(SHORT) == said(SHORT)
    wild = {
        seed: GenerationOptions(max_tokens=8, temperature=5.0, top_k=1000, top_p=1.0, seed=seed)
        for seed in range(4)
    }
    first = {seed: said(options) for seed, options in wild.items()}
    assert {seed: said(options) for seed, options in wild.items()} == first
    assert len(set(first.values())) > 1


def test_a_seed_leaves_the_programs_own_chance_alone(drawing: TransformersGenerator) -> None:
    """What the program draws with torch afterwards does not depend on the answer's seed."""
    torch = library("torch")
    torch.manual_seed(1)
    before = torch.get_rng_state()
    drawing.generate(PROMPT, GenerationOptions(max_tokens=4, temperature=1.0, seed=9))
    assert bool((torch.get_rng_state() == before).all())


def test_a_stop_string_ends_the_answer_and_is_not_shown(generator: TransformersGenerator) -> None:
    """Text before the stop string is the answer, streamed or not."""
    whole = generator.generate(PROMPT, SHORT).text
    stop = whole[len(whole) // 2 - 1 : len(whole) // 2 + 2]
    options = GenerationOptions(max_tokens=8, temperature=0.0, stop=(stop,))
    cut = generator.generate(PROMPT, options)
    assert cut.text == whole[: whole.index(stop)]
    assert cut.stop_reason == "stop"


def test_a_stream_may_be_left_and_the_model_used_again(generator: TransformersGenerator) -> None:
    """Leaving a stream ends the answer and frees the model for the next."""
    stream = generator.stream(PROMPT, GenerationOptions(temperature=0.0))
    first = next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert generator.generate(PROMPT, SHORT).text.startswith(str(first))


def test_threads_take_turns(generator: TransformersGenerator) -> None:
    """Answers that are asked for at once are each the same as alone."""
    alone = generator.generate(PROMPT, SHORT).text
    said: list[str] = []
    threads = [
        threading.Thread(target=lambda: said.append(generator.generate(PROMPT, SHORT).text))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == [alone] * 4


def test_the_time_for_an_answer_is_kept(path: str) -> None:
    """A long answer ends in time, and the error says how to give it more."""
    late = TransformersGenerator(path, timeout_seconds=0.2)
    with pytest.raises(RemoteTimeoutError, match=r"0\.2 seconds.*max_tokens"):
        late.generate(PROMPT, GenerationOptions(temperature=0.0))


def test_a_model_without_a_template_reads_the_bare_prompt(tmp_path: Path) -> None:
    """Then the prompt is all that is read."""
    bare = TransformersGenerator(str(write_llama(tmp_path / "bare", template=None)))
    text = "Where is the badge reset?"
    assert bare.count_prompt(_prompt(text)).n_tokens == bare.counter.count(text)
    assert bare.generate(_prompt(text), SHORT).text


def test_a_template_that_fails_is_a_remote_error(tmp_path: Path) -> None:
    """A template that refuses the conversation is named, and the prompt is not repeated."""
    template = "{{ raise_exception('refused: ' + messages[0]['content']) }}"
    refusing = TransformersGenerator(str(write_llama(tmp_path / "m", template=template)))
    with pytest.raises(RemoteError, match="chat template") as caught:
        refusing.generate(PROMPT, SHORT)
    assert PROMPT.question not in str(caught.value)


def test_an_error_of_the_model_reaches_the_caller(generator: TransformersGenerator) -> None:
    """What fails in the thread that generates fails in the one that asked."""
    with pytest.raises(RemoteError, match="failed"):
        generator.generate(PROMPT, GenerationOptions(max_tokens=4, top_k=-1))


def test_settings_that_cannot_be_used_are_refused(path: str, tmp_path: Path) -> None:
    """The error names the value and what is allowed, or what to install."""
    for settings, fault in (
        ({"context_window": 0}, "context_window 0"),
        ({"timeout_seconds": 0.0}, "timeout 0.0"),
        ({"load_in": "2bit"}, "load_in '2bit'; allowed: 8bit 4bit"),
        ({"device": "cpu", "device_map": "auto"}, "not both"),
        ({"load_in": "8bit"}, "pip install bitsandbytes"),
    ):
        with pytest.raises(ConfigError, match=fault):
            open_generator(f"transformers:{path}", **cast("dict[str, object]", settings))
    with pytest.raises(ConfigError, match="does not exist"):
        open_generator(f"transformers:{tmp_path / 'nowhere'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RemoteError, match="cannot be loaded"):
        open_generator(f"transformers:{tmp_path / 'empty'}")


def test_a_question_is_answered_from_a_local_store(path: str, tmp_path: Path) -> None:
    """From a folder to an answer of a real model in this process, its receipt counted exactly."""
    with RAG(
        tmp_path / "kb",
        generator=f"transformers:{path}",
        config=Settings(embedder="none", max_tokens=8, temperature=0.0),
    ) as rag:
        rag.ingest(Document(id="a", text="The badge is reset at the front desk."))
        answer = rag.ask("Where is the badge reset?")
        unsent = rag.ask("Where is the badge reset?", dry_run=True)
    assert answer.text
    assert [item.hit.chunk.document_id for item in answer.context] == ["a"]
    assert (answer.usage.exact, answer.usage.output_tokens) == (True, 8)
    assert answer.usage.input_tokens == unsent.usage.input_tokens
    assert unsent.usage.counter == f"transformers:{path}"
    assert answer.receipt.llm_calls == 1
