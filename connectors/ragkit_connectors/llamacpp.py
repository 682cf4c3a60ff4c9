"""GGUF models that llama.cpp runs in this process: `llamacpp:MODEL.gguf`."""

from __future__ import annotations

import codecs
import functools
import importlib
import importlib.util
import logging
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol, cast

from ragkit.errors import ConfigError, MissingExtraError, RemoteError, RemoteTimeoutError
from ragkit.text.thoughts import is_part_of_mark
from ragkit.types import Generation, GenerationOptions, Json, Prompt, TokenCount, Usage
from ragkit_connectors.support.control_tokens import (
    ControlTokens,
    Part,
    is_mark_of,
    joined_ids,
    laid_out,
)
from ragkit_connectors.support.fingerprints import file_digest, fingerprint
from ragkit_connectors.support.limits import limited
from ragkit_connectors.support.messages import as_text
from ragkit_connectors.support.stopping import StoppedText
from ragkit_connectors.support.turns import Turns
from ragkit_connectors.support.windows import refuse_too_long

_LOG = logging.getLogger(__name__)
_LOADING = threading.Lock()
"""The library silences the whole process while it loads a model: two at once would not undo it."""

_UNKNOWN, _CONTROL, _USER_DEFINED = 1, 8, 16
"""Attributes of tokens that are read wherever their text stands (`llama_token_attr`)."""


class _Model(Protocol):
    """What is used of `llama_cpp.Llama`."""

    metadata: Mapping[str, str]
    ctx: object
    model: object
    n_tokens: int

    @property
    def input_ids(self) -> Sequence[int]: ...

    def n_ctx(self) -> int: ...

    def token_bos(self) -> int: ...

    def token_eos(self) -> int: ...

    def tokenize(self, text: bytes, add_bos: bool, special: bool) -> list[int]: ...

    def detokenize(
        self, tokens: list[int], prev_tokens: list[int] | None = None, special: bool = False
    ) -> bytes: ...

    def generate(
        self, tokens: Sequence[int], *, reset: bool, **sampling: float
    ) -> Generator[int, Sequence[int] | None, None]: ...

    def set_seed(self, seed: int) -> None: ...

    def reset(self) -> None: ...

    def close(self) -> None: ...


class _Library(Protocol):
    """What is used of the module `llama_cpp`."""

    LLAMA_DEFAULT_SEED: int

    def Llama(self, **settings: object) -> _Model: ...

    def ggml_abort_callback(self, function: Callable[[object], bool], /) -> object: ...

    def llama_log_callback(
        self, function: Callable[[int, bytes | None, object], None], /
    ) -> object: ...

    def llama_log_set(self, callback: object, data: None, /) -> None: ...

    def llama_set_abort_callback(
        self, context: object, callback: object, data: None, /
    ) -> None: ...

    def llama_model_get_vocab(self, model: object, /) -> object: ...

    def llama_vocab_is_eog(self, vocab: object, token: int, /) -> bool: ...

    def llama_vocab_n_tokens(self, vocab: object, /) -> int: ...

    def llama_vocab_get_attr(self, vocab: object, token: int, /) -> int: ...

    def llama_vocab_get_text(self, vocab: object, token: int, /) -> bytes: ...

    def llama_get_memory(self, context: object, /) -> object: ...

    def llama_memory_seq_rm(
        self, memory: object, sequence: int, start: int, end: int, /
    ) -> bool: ...


class _Rendered(Protocol):
    prompt: str


class LlamaCppGenerator:
    """A GGUF model in this process; safe to share between threads, one answer at a time.

    Messages are put into the chat template of the model; where it takes no system message, the user
    says it first. A model without a template reads them as one text. There is one token for the
    beginning of a text where the model wants one, never two. Control tokens are those of the chat
    template and of system messages: what documents, questions and earlier turns say is text.

    Counts are exact: what is counted is what the model is given. Threads are served in the order in
    which they ask. Closing a stream ends its answer at once. If the time is up after some text has
    come, that is the answer, with the stop reason `timeout`.

    Options that are not given are llama-cpp-python's own (`Llama.generate`): temperature 0.8,
    top_p 0.95, top_k 40; its `min_p` is off. Without a seed answers differ; at temperature 0 they
    repeat byte for byte, unless `reuse_prefix` is set. Without `max_tokens` an answer has at most
    1,024 tokens; that of a model without a chat template 256, and it stops at the next question.

    Args:
        path: A GGUF file.
        n_ctx: Window, tokens of prompt and answer together; 1 or more. It takes memory.
        n_threads: Threads that compute; None: half the processors.
        n_gpu_layers: Layers that run on a GPU, where the library is built for one; -1: all.
        timeout_seconds: Longest time for an answer, waiting for another one included; more than 0.
            Reading a long prompt is broken off too, on a CPU.
        lora_path: A LoRA adapter to put on the model, a GGUF file.
        lora_scale: How strongly it acts; 1 is as trained.
        reuse_prefix: Whether what two prompts begin with is read once. It saves time, is reported
            as `cached_tokens`, and may change answers a little.
        request_fields: Values for the chat template, for example `{"enable_thinking": False}`.

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
        lora_path: str | None = None,
        lora_scale: float = 1.0,
        reuse_prefix: bool = False,
        request_fields: Mapping[str, Json] | None = None,
    ) -> None:
        _check(n_ctx=n_ctx, n_threads=n_threads, timeout_seconds=timeout_seconds)
        file, lora = _file(path), None if lora_path is None else _file(lora_path)
        if importlib.util.find_spec("llama_cpp") is None:
            raise MissingExtraError("llama-cpp-python", extra="llamacpp")
        self.name = f"llamacpp:{file.name}"
        # The library would read a prompt with all processors, whatever reads the answer.
        n_threads = n_threads or max((os.cpu_count() or 1) // 2, 1)
        self._library = _silent_library()
        try:
            with _LOADING:
                self._model: _Model | None = self._library.Llama(
                    model_path=str(file), n_ctx=n_ctx, n_threads=n_threads,
                    n_threads_batch=n_threads, n_gpu_layers=n_gpu_layers, verbose=False,
                    lora_path=None if lora is None else str(lora), lora_scale=lora_scale,
                )  # fmt: skip
        except (ValueError, RuntimeError, OSError) as error:
            raise RemoteError(_not_loaded(path, lora_path)) from error
        # The library takes the null pointer of an adapter that cannot be loaded for one that is.
        if lora is not None and not getattr(self._model, "_lora_adapter", True):
            self._model.close()
            raise RemoteError(_not_loaded(path, lora_path))
        # The library rounds a window up, and never above what it can hold.
        self.context_window = min(n_ctx, self._model.n_ctx())
        self._timeout_seconds, self._reuses_prefix = timeout_seconds, reuse_prefix
        self._settings = {
            "n_ctx": self.context_window, "n_gpu_layers": n_gpu_layers,
            "lora_scale": None if lora is None else lora_scale, "reuse_prefix": reuse_prefix,
            "request_fields": request_fields or None,
        }  # fmt: skip
        self._files, self.runs_on = (file, lora), "gpu" if n_gpu_layers else "cpu"
        self._template = _template(self._model, request_fields or {})
        self._beginning = _text_of(self._model, self._model.token_bos())
        self._turns = Turns()
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
        """Content of the files, window and settings; reads whole files when first asked for."""
        file, lora = self._files
        return fingerprint(
            "llamacpp",
            content=file_digest(file),
            lora=None if lora is None else file_digest(lora),
            **self._settings,
        )

    def warm(self) -> None:
        """Read and write a token, so that the model's weights are in memory.

        Raises:
            RemoteError: the model failed, or was closed.
        """
        self.generate(
            Prompt(text=".", question="."), GenerationOptions(max_tokens=1, temperature=0)
        )

    def close(self) -> None:
        """Free the model's memory; an answer that is under way ends first."""
        self._turns.take()
        try:
            if self._model is not None:
                self._model.close()
                self._model = None
        finally:
            self._turns.give_back()

    def count_prompt(self, prompt: Prompt) -> TokenCount:
        """Return the exact number of tokens that the model reads of a prompt, template included.

        Raises:
            RemoteError: the chat template cannot be filled, or the model was closed.
        """
        return TokenCount(n_tokens=len(self.token_ids(prompt)), exact=True, counter=self.name)

    def token_ids(self, prompt: Prompt) -> list[int]:
        """Return what the model reads of a prompt; raises as `count_prompt`."""
        model = self._opened()
        parts = self._parts(prompt)
        begins = self._begins(parts[0])

        def ids(text: str, *, add_bos: bool = False) -> list[int]:
            return model.tokenize(text.encode("utf-8", "replace"), add_bos=add_bos, special=True)

        return joined_ids(
            self._control_tokens.pieces(parts), functools.partial(ids, add_bos=not begins), ids
        )

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Return the whole answer; raises as `stream`."""
        *_, last = self._stream(prompt, options)
        return cast("Generation", last)

    def stream(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str | Generation]:
        """Yield pieces of text, then the whole `Generation`.

        Raises:
            PromptTooLongError: prompt and answer do not fit into the window.
            RemoteTimeoutError: the time was up without any text, or another answer took all of it.
            RemoteError: the model failed; pieces may have come (`generation` holds them).
        """
        return self._stream(prompt, options)

    def _stream(self, prompt: Prompt, options: GenerationOptions) -> Generator[str | Generation]:
        deadline = time.monotonic() + self._timeout_seconds
        tokens = self.token_ids(prompt)
        counted = TokenCount(n_tokens=len(tokens), exact=True, counter=self.name)
        refuse_too_long(counted, options, self.context_window)
        n_left = self.context_window - len(tokens)
        options = limited(options, is_base=self._template is None, n_left=n_left)
        if not self._turns.take(self._timeout_seconds):
            raise self._late("other answers took all of it")
        run, stop, pieces = _Run(tokens), StoppedText(options.stop), list[str]()
        try:
            self._deadline = deadline
            for piece in stop.pieces(self._texts(run, options)):
                pieces.append(piece)
                yield piece
        except RemoteError as error:
            error.generation = self._whole(run, pieces, "error")
            raise
        finally:
            self._deadline = float("inf")
            self._turns.give_back()
        yield self._whole(run, pieces, "stop" if stop.stopped else run.reason)

    def _whole(self, run: _Run, pieces: Sequence[str], reason: str) -> Generation:
        usage = Usage(
            input_tokens=len(run.prompt), output_tokens=run.n_tokens, cached_tokens=run.n_cached,
            exact=True, counter=self.name,
        )  # fmt: skip
        return Generation(
            text="".join(pieces), usage=usage, stop_reason=reason, reading_share=run.reading_share
        )

    def _texts(self, run: _Run, options: GenerationOptions) -> Iterator[str]:
        """Yield whole characters as tokens come."""
        model = self._opened()
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        try:
            for token in self._drawn(model, run, options):
                run.n_tokens += 1
                shown = token in self._shown_tokens
                data = model.detokenize([token], prev_tokens=run.prompt, special=shown)
                yield decoder.decode(data)
                if run.n_tokens >= (options.max_tokens or 1):
                    break
                if time.monotonic() > self._deadline:
                    run.reason = "timeout"
                    break
        except RuntimeError as error:
            # A memory that cannot be cut in part, such as a recurrent model's, must start anew.
            model.reset()
            if time.monotonic() <= self._deadline:
                raise RemoteError(f"{self.name} failed: {error}") from error
            if not run.n_tokens:
                raise self._late("lower max_context_tokens or raise timeout_seconds") from error
            run.reason = "timeout"
        yield decoder.decode(b"", final=True)

    def _drawn(self, model: _Model, run: _Run, options: GenerationOptions) -> Iterator[int]:
        """Yield tokens up to the model's own end."""
        seed = self._library.LLAMA_DEFAULT_SEED if options.seed is None else options.seed
        model.set_seed(seed)
        given = {"temp": options.temperature, "top_p": options.top_p, "top_k": options.top_k}
        sampling = {key: value for key, value in given.items() if value is not None}
        # The library would also leave out what is less than a twentieth as likely as the best.
        sampling["min_p"] = 0.0
        run.n_cached = self._keep_prefix(model, run.prompt)
        unread = run.prompt[run.n_cached :]
        with closing(model.generate(unread, reset=False, **sampling)) as drawn:
            for token in run.timed(drawn):
                if self._library.llama_vocab_is_eog(self._vocabulary, token):
                    run.reason = "end"
                    return
                yield token

    def _keep_prefix(self, model: _Model, tokens: Sequence[int]) -> int:
        """Forget what was read last, but for what begins the prompt, if that may be reused."""
        n_kept = 0
        if self._reuses_prefix:
            read = [int(token) for token in model.input_ids[: model.n_tokens]]
            # One token at least is read anew: what follows it has to be known.
            pairs = zip(read, tokens[:-1], strict=False)
            n_kept = next(
                (i for i, (a, b) in enumerate(pairs) if a != b), min(len(read), len(tokens) - 1)
            )
        if n_kept:
            memory = self._library.llama_get_memory(model.ctx)
            if self._library.llama_memory_seq_rm(memory, 0, n_kept, -1):
                model.n_tokens = n_kept
                return n_kept
        model.reset()
        return 0

    def _begins(self, part: Part) -> bool:
        """Whether the template writes the beginning of a text itself."""
        return part.is_control and bool(self._beginning) and part.text.startswith(self._beginning)

    def _parts(self, prompt: Prompt) -> list[Part]:
        if self._template is None:
            return [Part(as_text(prompt.messages), is_control=False)]
        return laid_out(prompt.messages, self._template)

    @functools.cached_property
    def _kinds(self) -> dict[int, tuple[str, int]]:
        """Text and attributes of all tokens that are read wherever their text stands."""
        library, vocabulary = self._library, self._vocabulary
        found: dict[int, tuple[str, int]] = {}
        for token in range(library.llama_vocab_n_tokens(vocabulary)):
            attributes = library.llama_vocab_get_attr(vocabulary, token)
            if attributes & (_UNKNOWN | _CONTROL | _USER_DEFINED):
                text = library.llama_vocab_get_text(vocabulary, token).decode("utf-8", "replace")
                found[token] = text, attributes
        return found

    @functools.cached_property
    def _control_tokens(self) -> ControlTokens:
        """Those that are no text; a file may call its template's marks defined by the user."""
        template = self._opened().metadata.get("tokenizer.chat_template", "")
        return ControlTokens(
            text
            for text, attributes in self._kinds.values()
            if attributes & (_UNKNOWN | _CONTROL) or is_mark_of(template, text)
        )

    @functools.cached_property
    def _shown_tokens(self) -> frozenset[int]:
        """Control tokens that set thoughts apart, and so belong into the text of an answer."""
        return frozenset(token for token, (text, _) in self._kinds.items() if is_part_of_mark(text))

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
            f"{self.name} gave no answer within {self._timeout_seconds:g} seconds: {advice}"
        )


class _Run:
    """What is known of an answer while it is written."""

    def __init__(self, prompt: list[int]) -> None:
        self.prompt = prompt
        self.n_cached = 0
        self.n_tokens = 0
        self.reason = "length"
        self._seconds: list[float] = []

    def timed(self, tokens: Iterator[int]) -> Iterator[int]:
        """Yield tokens, and note how long each has taken, without what is done between them."""
        began = time.perf_counter()
        for token in tokens:
            self._seconds.append(time.perf_counter() - began)
            yield token
            began = time.perf_counter()

    @property
    def reading_share(self) -> float | None:
        """Of the time of all tokens, that until the first."""
        seconds = sum(self._seconds)
        return self._seconds[0] / seconds if seconds else None


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


def _file(path: str) -> Path:
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigError(f"generator llamacpp: there is no file {path}; allowed: a GGUF file")
    return file


def _not_loaded(path: str, lora_path: str | None) -> str:
    lora = "" if lora_path is None else f" with {lora_path}, if that is an adapter for it"
    return (
        f"{path} cannot be loaded{lora}: is it a whole GGUF file, of a kind that this "
        "llama-cpp-python knows, and is there memory for it and for n_ctx?"
    )


@functools.cache
def _silent_library() -> _Library:
    """Return llama-cpp-python, with the engine's own lines in this module's log only."""
    library = cast("_Library", importlib.import_module("llama_cpp"))

    def said(_level: int, text: bytes | None, _data: object) -> None:
        _LOG.debug("%s", (text or b"").decode("utf-8", "replace").rstrip())

    _CALLBACKS.append(library.llama_log_callback(said))
    library.llama_log_set(_CALLBACKS[-1], None)
    return library


_CALLBACKS: list[object] = []
"""What the engine calls, which must never be freed."""


def _template(
    model: _Model, fields: Mapping[str, Json]
) -> Callable[[list[dict[str, str]]], str] | None:
    """Return what fills the model's chat template; None for a model without one."""
    template = model.metadata.get("tokenizer.chat_template")
    if not template:
        return None
    formats = importlib.import_module("llama_cpp.llama_chat_format")
    beginning, end = _text_of(model, model.token_bos()), _text_of(model, model.token_eos())
    make = cast("Callable[..., Callable[..., _Rendered]]", formats.Jinja2ChatFormatter)
    fill = make(template=template, bos_token=beginning, eos_token=end)
    return lambda messages: fill(messages=messages, **fields).prompt


def _text_of(model: _Model, token: int) -> str:
    return "" if token < 0 else model.detokenize([token], special=True).decode("utf-8", "replace")
