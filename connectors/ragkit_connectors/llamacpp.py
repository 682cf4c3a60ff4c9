"""GGUF models that llama.cpp runs in this process: `llamacpp:MODEL.gguf`."""

from __future__ import annotations

import codecs
import functools
import importlib
import importlib.util
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol, cast

from ragkit.errors import ConfigError, MissingExtraError, RemoteError, RemoteTimeoutError
from ragkit.types import Generation, GenerationOptions, Prompt, TokenCount, Usage
from ragkit_connectors.support.fingerprints import file_digest, fingerprint
from ragkit_connectors.support.stopping import StoppedText
from ragkit_connectors.support.windows import refuse_too_long


class _Model(Protocol):
    """What is used of `llama_cpp.Llama`."""

    metadata: Mapping[str, str]
    ctx: object
    model: object

    def n_ctx(self) -> int: ...

    def token_bos(self) -> int: ...

    def token_eos(self) -> int: ...

    def tokenize(self, text: bytes, add_bos: bool, special: bool) -> list[int]: ...

    def detokenize(
        self, tokens: list[int], prev_tokens: list[int] | None = None, special: bool = False
    ) -> bytes: ...

    def generate(
        self, tokens: Sequence[int], **sampling: float
    ) -> Generator[int, Sequence[int] | None, None]: ...

    def set_seed(self, seed: int) -> None: ...

    def reset(self) -> None: ...

    def close(self) -> None: ...


class _Library(Protocol):
    """What is used of the module `llama_cpp`."""

    LLAMA_DEFAULT_SEED: int

    def Llama(self, **settings: object) -> _Model: ...

    def ggml_abort_callback(self, function: Callable[[object], bool], /) -> object: ...

    def llama_set_abort_callback(
        self, context: object, callback: object, data: None, /
    ) -> None: ...

    def llama_model_get_vocab(self, model: object, /) -> object: ...

    def llama_vocab_is_eog(self, vocab: object, token: int, /) -> bool: ...


class _Rendered(Protocol):
    prompt: str


class LlamaCppGenerator:
    """A GGUF model in this process; safe to share between threads, one answer at a time.

    The prompt is put into the chat template of the model as one user message; a model without a
    template reads the bare prompt. There is one token for the beginning of a text where the model
    wants one, never two. Special tokens that stand in the prompt's text are read as such.

    Counts are exact: what is counted is what the model is given.

    Options that are not given are llama-cpp-python's own (`Llama.generate`): temperature 0.8,
    top_p 0.95, top_k 40; its `min_p` is off. Without a seed answers differ. Without
    `max_tokens` an answer may take the rest of the window.

    Args:
        path: A GGUF file.
        n_ctx: Window, tokens of prompt and answer together; 1 or more. It takes memory.
        n_threads: Threads that compute; None: half the processors.
        n_gpu_layers: Layers that run on a GPU, where the library is built for one; -1: all.
        timeout_seconds: Longest time for an answer, waiting for another one included; more than 0.
            Reading a long prompt is broken off too, on a CPU.

    Raises:
        MissingExtraError: llama-cpp-python is not installed.
        ConfigError: there is no such file, or a value cannot be used.
        RemoteError: the file cannot be loaded as a model.
    """

    calls_llm = True

    def __init__(
        self,
        path: str,
        *,
        n_ctx: int = 4096,
        n_threads: int | None = None,
        n_gpu_layers: int = 0,
        timeout_seconds: float = 600.0,
    ) -> None:
        _check(n_ctx=n_ctx, n_threads=n_threads, timeout_seconds=timeout_seconds)
        file = Path(path).expanduser()
        if not file.is_file():
            raise ConfigError(f"generator llamacpp: there is no file {path}; allowed: a GGUF file")
        if importlib.util.find_spec("llama_cpp") is None:
            raise MissingExtraError("llama-cpp-python", extra="llamacpp")
        self._library = cast("_Library", importlib.import_module("llama_cpp"))
        self.name = f"llamacpp:{file.name}"
        try:
            self._model: _Model | None = self._library.Llama(
                model_path=str(file), n_ctx=n_ctx, n_threads=n_threads,
                n_gpu_layers=n_gpu_layers, verbose=False,
            )  # fmt: skip
        except (ValueError, RuntimeError, OSError) as error:
            raise RemoteError(
                f"{path} cannot be loaded: is it a whole GGUF file, of a kind that this "
                "llama-cpp-python knows, and is there memory for it and for n_ctx?"
            ) from error
        # The library rounds a window up, and never above what it can hold.
        self.context_window = min(n_ctx, self._model.n_ctx())
        self._timeout_seconds = timeout_seconds
        self._file, self._n_gpu_layers = file, n_gpu_layers
        self._render = _formatter(self._model)
        self._lock = threading.Lock()
        self._deadline = float("inf")
        self._abort = self._library.ggml_abort_callback(
            lambda _data: time.monotonic() > self._deadline
        )
        self._library.llama_set_abort_callback(self._model.ctx, self._abort, None)
        self._vocabulary = self._library.llama_model_get_vocab(self._model.model)
        self.counter = _Counter(self)

    def __repr__(self) -> str:
        """Name file and window."""
        return f"LlamaCppGenerator({self.name!r}, n_ctx={self.context_window})"

    @functools.cached_property
    def fingerprint(self) -> str:
        """The file's content, window and GPU layers; reads the whole file when first asked for."""
        return fingerprint(
            "llamacpp",
            content=file_digest(self._file),
            n_ctx=self.context_window,
            n_gpu_layers=self._n_gpu_layers,
        )

    def close(self) -> None:
        """Free the model's memory; an answer that is under way ends first."""
        with self._lock:
            if self._model is not None:
                self._model.close()
                self._model = None

    def count_prompt(self, prompt: Prompt) -> TokenCount:
        """Return the exact number of tokens that the model reads of a prompt, template included.

        Raises:
            RemoteError: the chat template cannot be filled, or the model was closed.
        """
        return TokenCount(n_tokens=len(self._tokens(prompt)), exact=True, counter=self.name)

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Return the whole answer; raises as `stream`."""
        *_, last = self._stream(prompt, options)
        return cast("Generation", last)

    def stream(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str | Generation]:
        """Yield pieces of text, then the whole `Generation`.

        Raises:
            PromptTooLongError: prompt and answer do not fit into the window.
            RemoteTimeoutError: the time was up, or another answer took all of it.
            RemoteError: the model failed or gave no text; pieces may have come.
        """
        return self._stream(prompt, options)

    def _stream(self, prompt: Prompt, options: GenerationOptions) -> Generator[str | Generation]:
        deadline = time.monotonic() + self._timeout_seconds
        tokens = self._tokens(prompt)
        counted = TokenCount(n_tokens=len(tokens), exact=True, counter=self.name)
        refuse_too_long(counted, options, self.context_window)
        n_most = options.max_tokens or self.context_window - len(tokens)
        if not self._lock.acquire(timeout=self._timeout_seconds):
            raise self._late("other answers took all of it")
        try:
            self._deadline = deadline
            run = _Run(n_most)
            stop = StoppedText(options.stop)
            pieces: list[str] = []
            for piece in stop.pieces(self._texts(tokens, options, run)):
                pieces.append(piece)
                yield piece
        finally:
            self._deadline = float("inf")
            self._lock.release()
        text = "".join(pieces)
        reason = "stop" if stop.stopped or run.ended else "length"
        if not text.strip():
            advice = "; raise max_tokens" if reason == "length" else ""
            raise RemoteError(f"the model gave no text (stop reason: {reason}){advice}")
        usage = Usage(
            input_tokens=len(tokens), output_tokens=run.n_tokens, exact=True, counter=self.name
        )
        yield Generation(text=text, usage=usage, stop_reason=reason)

    def _texts(self, tokens: list[int], options: GenerationOptions, run: _Run) -> Iterator[str]:
        """Yield whole characters as tokens come."""
        model = self._opened()
        seed = self._library.LLAMA_DEFAULT_SEED if options.seed is None else options.seed
        model.set_seed(seed)
        given = {"temp": options.temperature, "top_p": options.top_p, "top_k": options.top_k}
        sampling = {key: value for key, value in given.items() if value is not None}
        # The library would also leave out what is less than a twentieth as likely as the best.
        sampling["min_p"] = 0.0
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        try:
            with closing(model.generate(tokens, **sampling)) as drawn:
                for token in drawn:
                    if self._library.llama_vocab_is_eog(self._vocabulary, token):
                        run.ended = True
                        break
                    run.n_tokens += 1
                    yield decoder.decode(model.detokenize([token], prev_tokens=tokens))
                    if run.n_tokens >= run.n_most:
                        break
                    if time.monotonic() > self._deadline:
                        raise self._late("lower max_tokens or raise timeout_seconds")
        except RuntimeError as error:
            # A memory that cannot be cut in part, such as a recurrent model's, must start anew.
            model.reset()
            if time.monotonic() > self._deadline:
                raise self._late("lower max_context_tokens or raise timeout_seconds") from error
            raise RemoteError(f"{self.name} failed: {error}") from error
        yield decoder.decode(b"", final=True)

    def _tokens(self, prompt: Prompt) -> list[int]:
        model = self._opened()
        text, has_beginning = self._render(prompt.text)
        data = text.encode("utf-8", "replace")
        return model.tokenize(data, add_bos=not has_beginning, special=True)

    def count_text(self, text: str) -> int:
        """Return the tokens of a bare text, special ones not understood."""
        data = text.encode("utf-8", "replace")
        return len(self._opened().tokenize(data, add_bos=False, special=False))

    def _opened(self) -> _Model:
        if self._model is None:
            raise RemoteError(f"{self.name} was closed")
        return self._model

    def _late(self, advice: str) -> RemoteTimeoutError:
        return RemoteTimeoutError(
            f"{self.name} gave no whole answer within {self._timeout_seconds:g} seconds: {advice}"
        )


class _Run:
    """What is known of an answer while it is written."""

    def __init__(self, n_most: int) -> None:
        self.n_most = n_most
        self.n_tokens = 0
        self.ended = False


class _Counter:
    """Counts bare texts with the model's own tokenizer."""

    def __init__(self, owner: LlamaCppGenerator) -> None:
        self.name = owner.name
        self._count = owner.count_text

    def count(self, text: str) -> int:
        return self._count(text)


def _check(*, n_ctx: int, n_threads: int | None, timeout_seconds: float) -> None:
    if n_ctx < 1:
        raise ConfigError(f"n_ctx {n_ctx}; allowed: 1 or more tokens")
    if n_threads is not None and n_threads < 1:
        raise ConfigError(f"n_threads {n_threads}; allowed: 1 or more")
    if not 0.0 < timeout_seconds < float("inf"):
        raise ConfigError(f"timeout {timeout_seconds}; allowed: more than 0 seconds")


def _formatter(model: _Model) -> Callable[[str], tuple[str, bool]]:
    """Return what puts a prompt into the model's template and says whether it begins a text."""
    template = model.metadata.get("tokenizer.chat_template")
    if not template:
        return lambda text: (text, False)
    formats = importlib.import_module("llama_cpp.llama_chat_format")
    beginning, end = _text_of(model, model.token_bos()), _text_of(model, model.token_eos())
    make = cast("Callable[..., Callable[..., _Rendered]]", formats.Jinja2ChatFormatter)
    fill = make(template=template, bos_token=beginning, eos_token=end)

    def render(text: str) -> tuple[str, bool]:
        try:
            filled = fill(messages=[{"role": "user", "content": text}]).prompt
        except Exception as error:  # a template is a program of the model's, and may raise anything
            raise RemoteError(
                f"the chat template of the model cannot be filled ({type(error).__name__})"
            ) from error
        return filled, bool(beginning) and filled.startswith(beginning)

    return render


def _text_of(model: _Model, token: int) -> str:
    return "" if token < 0 else model.detokenize([token], special=True).decode("utf-8", "replace")
