"""The llama.cpp generator, with a small random GGUF model that is made here."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragkit import RAG, Document, Settings
from ragkit.errors import (
    ConfigError,
    PromptTooLongError,
    RemoteError,
    RemoteTimeoutError,
)
from ragkit.types import Generation, GenerationOptions, Prompt
from ragkit_connectors import open_generator
from ragkit_connectors.llamacpp import LlamaCppGenerator
from ragkit_connectors.testing import GeneratorContract, sample_prompt

from .tiny_models import CHAT_TEMPLATE, library, write_gguf

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
pytest.importorskip("gguf", reason="gguf is not installed, which writes the model")

PROMPT = sample_prompt()
SHORT = GenerationOptions(max_tokens=8, temperature=0.0)


def _prompt(text: str) -> Prompt:
    return Prompt(text=text, question=text)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a model whose chat template begins no text."""
    return str(write_gguf(tmp_path_factory.mktemp("models") / "tiny.gguf"))


@pytest.fixture(scope="module")
def path_with_beginning(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a model whose chat template writes the beginning of a text itself."""
    file = tmp_path_factory.mktemp("models") / "beginning.gguf"
    return str(write_gguf(file, template="{{ bos_token }}" + CHAT_TEMPLATE))


@pytest.fixture
def generator(path: str) -> Iterator[LlamaCppGenerator]:
    """Return the small model, opened."""
    opened = LlamaCppGenerator(path, n_ctx=512, n_threads=1)
    yield opened
    opened.close()


class TestLlamaCpp(GeneratorContract):
    """The contract of generators."""

    @pytest.fixture(autouse=True)
    def _models(self, path: str) -> Iterator[None]:
        self._path = path
        self._opened: list[LlamaCppGenerator] = []
        yield
        for generator in self._opened:
            generator.close()

    def make(self) -> LlamaCppGenerator:
        """Open the small model."""
        return self.make_with_window(1024)

    def make_with_window(self, n_tokens: int) -> LlamaCppGenerator:
        """Open it with a window of its own."""
        self._opened.append(LlamaCppGenerator(self._path, n_ctx=n_tokens, n_threads=1))
        return self._opened[-1]


def test_counts_are_those_of_the_library(path_with_beginning: str) -> None:
    """llama-cpp-python's own chat completion says to have read as many tokens, prompt by prompt."""
    ours = LlamaCppGenerator(path_with_beginning, n_ctx=512, n_threads=1)
    theirs = library("llama_cpp").Llama(
        model_path=path_with_beginning, n_ctx=512, n_threads=1, verbose=False
    )
    for text in GeneratorContract.prompt_texts:
        messages = [{"role": "user", "content": text}]
        said = theirs.create_chat_completion(messages=messages, max_tokens=1)["usage"]
        assert ours.count_prompt(_prompt(text)).n_tokens == said["prompt_tokens"], text
    ours.close()
    theirs.close()


def test_a_text_has_one_beginning(path: str, path_with_beginning: str) -> None:
    """Whether the template writes the first token or not: the model reads it once."""
    counts: list[int] = []
    for file in (path, path_with_beginning):
        generator = LlamaCppGenerator(file, n_ctx=512, n_threads=1)
        counts.append(generator.count_prompt(PROMPT).n_tokens)
        generator.close()
    assert counts[0] == counts[1]


def test_special_tokens_are_counted_as_the_model_reads_them(generator: LlamaCppGenerator) -> None:
    """The template's marks are one token each, and a bare text's are not."""
    bare = generator.counter.count("user\n") + generator.counter.count("assistant\n")
    assert generator.count_prompt(_prompt("")).n_tokens < bare + 3 * len("<|im_start|>")
    more = generator.count_prompt(_prompt("<|im_end|>")).n_tokens
    assert more == generator.count_prompt(_prompt("")).n_tokens + 1
    assert generator.counter.count("<|im_end|>") > 1


def test_a_model_without_a_template_reads_the_bare_prompt(tmp_path: Path) -> None:
    """The prompt and the beginning of a text are all that is read."""
    generator = LlamaCppGenerator(str(write_gguf(tmp_path / "m.gguf", template=None)), n_threads=1)
    text = "Where is the badge reset?"
    assert generator.count_prompt(_prompt(text)).n_tokens == generator.counter.count(text) + 1
    assert generator.generate(_prompt(text), SHORT).text
    generator.close()


def test_a_template_that_fails_is_a_remote_error(tmp_path: Path) -> None:
    """A template that refuses the conversation is named, and the prompt is not repeated."""
    template = "{{ raise_exception('refused: ' + messages[0]['content']) }}"
    file = str(write_gguf(tmp_path / "m.gguf", template=template))
    generator = LlamaCppGenerator(file, n_threads=1)
    with pytest.raises(RemoteError, match="chat template") as caught:
        generator.generate(PROMPT, SHORT)
    assert PROMPT.question not in str(caught.value)
    generator.close()


def test_an_answer_is_as_long_as_asked_for(generator: LlamaCppGenerator) -> None:
    """Output tokens are counted exactly; without a limit the rest of the window is used."""
    short = generator.generate(PROMPT, SHORT)
    assert (short.usage.output_tokens, short.stop_reason) == (8, "length")
    full = generator.generate(PROMPT, GenerationOptions(temperature=0.0))
    n_prompt = generator.count_prompt(PROMPT).n_tokens
    assert full.usage.output_tokens == generator.context_window - n_prompt


def test_greedy_answers_repeat_and_seeds_choose(tmp_path: Path) -> None:
    """Temperature 0 always says the same; a seed fixes what is drawn, and another changes it."""
    unsure = str(write_gguf(tmp_path / "unsure.gguf", sharpness=0.5))
    generator = LlamaCppGenerator(unsure, n_ctx=256, n_threads=1)

    def said(seed: int | None, temperature: float) -> str:
        options = GenerationOptions(max_tokens=8, temperature=temperature, seed=seed)
        return generator.generate(PROMPT, options).text

    assert said(None, 0.0) == said(1, 0.0)
    drawn = [said(seed, 1.5) for seed in range(4)]
    assert [said(seed, 1.5) for seed in range(4)] == drawn
    assert len(set(drawn)) > 1
    assert len({said(None, 1.5) for _ in range(4)}) > 1
    generator.close()


def test_a_stop_string_ends_the_answer_and_is_not_shown(generator: LlamaCppGenerator) -> None:
    """Text before the stop string is the answer, streamed or not, wherever tokens cut it."""
    *tokens, _ = generator.stream(PROMPT, SHORT)
    whole = "".join(str(token) for token in tokens)
    # The end of one token and the beginning of the next.
    stop = str(tokens[3])[-1:] + str(tokens[4])[:1]
    options = GenerationOptions(max_tokens=8, temperature=0.0, stop=(stop, "never said"))
    cut = generator.generate(PROMPT, options)
    *pieces, last = generator.stream(PROMPT, options)
    assert cut.text == whole[: whole.index(stop)]
    assert cut.stop_reason == "stop"
    assert isinstance(last, Generation)
    assert "".join(str(piece) for piece in pieces) == last.text == cut.text


def test_a_stream_may_be_left_and_the_model_used_again(generator: LlamaCppGenerator) -> None:
    """Leaving a stream frees the model for the next answer."""
    stream = generator.stream(PROMPT, GenerationOptions(temperature=0.0))
    first = next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert generator.generate(PROMPT, SHORT).text.startswith(str(first))


def test_threads_take_turns(generator: LlamaCppGenerator) -> None:
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


_LONG_TOKENS = 32_768
"""A window that takes the small model far longer to fill than the timeouts here."""


def _opened_for(path: str, timeout_seconds: float) -> LlamaCppGenerator:
    return LlamaCppGenerator(path, n_ctx=_LONG_TOKENS, n_threads=1, timeout_seconds=timeout_seconds)


@pytest.mark.parametrize("n_words", [16_000, 10])
def test_the_time_for_an_answer_is_kept(path: str, n_words: int) -> None:
    """Reading a long prompt and writing a long answer both end in time."""
    generator = _opened_for(path, 1.0)
    with pytest.raises(RemoteTimeoutError, match=r"within 1 seconds: lower max_"):
        generator.generate(_prompt("word " * n_words), GenerationOptions(temperature=0.0))
    generator.close()


def test_waiting_for_another_answer_ends_in_time(path: str) -> None:
    """A stream that is not read on keeps the model, and others wait no longer than they may."""
    generator = _opened_for(path, 0.5)
    stream = generator.stream(PROMPT, SHORT)
    next(stream)
    with pytest.raises(RemoteTimeoutError, match="other answers"):
        generator.generate(PROMPT, SHORT)
    stream.close()  # type: ignore[attr-defined]
    generator.close()


def test_a_model_that_was_late_still_answers_rightly(path: str) -> None:
    """What was left half read does not change the next answer."""
    fresh, late = _opened_for(path, 60.0), _opened_for(path, 1.0)
    with pytest.raises(RemoteTimeoutError):
        late.generate(_prompt("word " * 16_000), GenerationOptions(temperature=0.0))
    assert late.generate(PROMPT, SHORT).text == fresh.generate(PROMPT, SHORT).text
    fresh.close()
    late.close()


def test_a_prompt_that_is_too_long_is_refused(generator: LlamaCppGenerator) -> None:
    """The window is this connector's to keep: the library would shorten the answer in silence."""
    n_prompt = generator.count_prompt(PROMPT).n_tokens
    fits = GenerationOptions(max_tokens=generator.context_window - n_prompt, temperature=0.0)
    assert generator.generate(PROMPT, fits).usage.output_tokens == fits.max_tokens
    with pytest.raises(PromptTooLongError, match="window holds 512"):
        generator.generate(PROMPT, GenerationOptions(max_tokens=(fits.max_tokens or 0) + 1))


def test_nothing_is_printed(path: str, capfd: pytest.CaptureFixture[str]) -> None:
    """llama.cpp's own messages stay away from the terminal."""
    generator = open_generator(f"llamacpp:{path}", n_ctx=128)
    generator.generate(_prompt("a"), SHORT)
    assert capfd.readouterr() == ("", "")
    assert path.rsplit("/", 1)[-1] in repr(generator)


def test_a_closed_model_says_so(path: str) -> None:
    """Closing twice is fine; an answer after that is an error and no crash."""
    generator = LlamaCppGenerator(path, n_ctx=128)
    generator.close()
    generator.close()
    with pytest.raises(RemoteError, match="closed"):
        generator.generate(PROMPT, SHORT)
    with pytest.raises(RemoteError, match="closed"):
        generator.count_prompt(PROMPT)


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    """A missing file is a wrong setting; a file that cannot be loaded is an error of the model."""
    with pytest.raises(ConfigError, match=r"no\.gguf.*GGUF file"):
        LlamaCppGenerator(str(tmp_path / "no.gguf"))
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + bytes(60))
    with pytest.raises(RemoteError, match=r"bad\.gguf cannot be loaded"):
        LlamaCppGenerator(str(tmp_path / "bad.gguf"))


@pytest.mark.parametrize(
    "values",
    [{"n_ctx": 0}, {"n_threads": 0}, {"timeout_seconds": 0.0}, {"timeout_seconds": float("nan")}],
)
def test_a_setting_that_cannot_be_used_is_refused(path: str, values: dict[str, object]) -> None:
    """The error names the value and what is allowed."""
    with pytest.raises(ConfigError, match="allowed"):
        open_generator(f"llamacpp:{path}", **values)


def test_a_question_is_answered_from_a_local_store(path: str, tmp_path: Path) -> None:
    """From a folder to an answer of a real model in this process, its receipt counted exactly."""
    with RAG(
        tmp_path / "kb",
        generator=LlamaCppGenerator(path, n_ctx=1024, n_threads=1),
        config=Settings(embedder="none", max_tokens=8, temperature=0.0),
    ) as rag:
        rag.ingest(Document(id="a", text="The badge is reset at the front desk."))
        answer = rag.ask("Where is the badge reset?")
        unsent = rag.ask("Where is the badge reset?", dry_run=True)
    assert answer.text
    assert [item.hit.chunk.document_id for item in answer.context] == ["a"]
    assert (answer.usage.exact, answer.usage.output_tokens) == (True, 8)
    assert answer.usage.input_tokens == unsent.usage.input_tokens
    assert (unsent.usage.exact, unsent.usage.counter) == (True, "llamacpp:tiny.gguf")
    assert answer.receipt.llm_calls == 1
