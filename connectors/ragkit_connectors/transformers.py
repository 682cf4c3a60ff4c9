"""Models of the transformers library in this process: `transformers:NAME-OR-PATH`."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Literal, Protocol, TypeAlias, cast, get_args

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
from ragkit_connectors.support.fingerprints import fingerprint, generator_folder_digest
from ragkit_connectors.support.hf_models import (
    Adapter,
    Generating,
    load_language_model,
    quiet_loading,
    with_adapter,
)
from ragkit_connectors.support.hf_streams import Run, Tensor, TextStreamer
from ragkit_connectors.support.hub import is_offline, model_folder
from ragkit_connectors.support.limits import DEFAULT_MAX_TOKENS, limited
from ragkit_connectors.support.messages import as_text
from ragkit_connectors.support.stopping import StoppedText
from ragkit_connectors.support.turns import Turns
from ragkit_connectors.support.windows import check_window, refuse_too_long

Quantisation: TypeAlias = Literal["8bit", "4bit"]


class _Tokens(Protocol):
    def __getitem__(self, key: str) -> list[int]: ...


class _AddedToken(Protocol):
    content: str
    special: bool


class _Tokenizer(Protocol):
    chat_template: str | None
    eos_token_id: int | None
    pad_token_id: int | None

    @property
    def added_tokens_decoder(self) -> Mapping[int, _AddedToken]: ...

    def __call__(self, text: str, *, add_special_tokens: bool, verbose: bool) -> _Tokens: ...

    def apply_chat_template(
        self,
        conversation: list[dict[str, str]],
        *,
        add_generation_prompt: bool,
        tokenize: bool,
        **fields: Json,
    ) -> str: ...


class _Config(Protocol):
    is_encoder_decoder: bool


class _Model(Protocol):
    device: object
    config: _Config

    @property
    def generation_config(self) -> object: ...

    def eval(self) -> object: ...

    def to(self, device: str) -> object: ...

    def generate(self, **settings: object) -> Tensor: ...


class _Torch(Protocol):
    """What is used of torch."""

    random: _Random

    def tensor(
        self, data: list[list[int]] | list[int], *, device: object | None = None
    ) -> Tensor: ...

    def ones_like(self, tensor: Tensor) -> Tensor: ...

    def inference_mode(self) -> AbstractContextManager[object]: ...

    def manual_seed(self, seed: int) -> object: ...


class _Random(Protocol):
    def fork_rng(self, *, devices: Sequence[int]) -> AbstractContextManager[object]: ...


class TransformersGenerator:
    """A language model in this process; safe to share, one answer at a time.

    Models of the kinds `AutoModelForCausalLM` and `AutoModelForSeq2SeqLM` are opened. Messages are
    put into the chat template of the model's tokenizer; where it takes no system message, the user
    says it first. A model without a template reads them as one text. Control tokens are those of
    the chat template and of system messages: what documents, questions and earlier turns say is
    text. Counts are exact: what is counted is what the model is given. The library only logs when a
    prompt is longer than the window; here it is an error. Threads are served in the order in which
    they ask. Closing a stream ends its answer at the next token. If the time is up after some text
    has come, that is the answer, with the stop reason `timeout`.

    Weights are read from safetensors files only, all that the model needs must be there, and code
    that comes with a model is never run. A folder is opened without the network; any other name is
    looked up in the library's cache and then on the Hugging Face Hub, or in the cache alone when
    `HF_HUB_OFFLINE` is set.

    Options that are not given are the model's own (`generation_config`); temperature 0 takes the
    likeliest token always. Without `max_tokens` an answer has at most 1,024 tokens; that of a
    causal model without a chat template 256, and it stops at the next question.

    Args:
        name_or_path: Folder of a model, or its name on the Hub.
        context_window: Tokens of prompt and answer together, 1 or more; None takes the model's
            own, where its settings tell one.
        timeout_seconds: Longest time for an answer, waiting for another one included; more than 0.
        dtype: Of the weights, as torch names it (`bfloat16`); None: as they are stored.
        device: Where to run, as torch names it; None: the CPU, or what `device_map` says.
        device_map: `auto` and others spread the model over devices; needs accelerate.
        load_in: Quantise the weights to 8 or 4 bits; needs bitsandbytes.
        adapter: Folder or name of an adapter to put on the model (LoRA, prefix, prompt or
            P-tuning); needs peft.
        request_fields: Values for the chat template, for example `{"enable_thinking": False}`.

    Raises:
        MissingExtraError: the library is not installed, or one that a setting needs.
        ConfigError: there is no such folder, or a value cannot be used.
        RemoteError: the model cannot be loaded, or weights are missing.
    """

    calls_llm = True

    def __init__(
        self,
        name_or_path: str,
        *,
        context_window: int | None = None,
        timeout_seconds: float = 600.0,
        dtype: str | None = None,
        device: str | None = None,
        device_map: str | None = None,
        load_in: Quantisation | None = None,
        adapter: str | None = None,
        request_fields: Mapping[str, Json] | None = None,
    ) -> None:
        check_window(context_window)
        if not 0.0 < timeout_seconds < float("inf"):
            raise ConfigError(f"timeout {timeout_seconds}; allowed: more than 0 seconds")
        if load_in is not None and load_in not in get_args(Quantisation):
            raise ConfigError(f"load_in {load_in!r}; allowed: {' '.join(get_args(Quantisation))}")
        if device is not None and device_map is not None:
            raise ConfigError("give device or device_map, not both")
        folder = model_folder("generator", name_or_path)
        _require("transformers", "torch")
        if device_map is not None:
            _require("accelerate")
        self.name = f"transformers:{name_or_path}"
        self._library = importlib.import_module("transformers")
        self._torch = cast("_Torch", importlib.import_module("torch"))
        settings: dict[str, object] = {"dtype": dtype or "auto"}
        if device_map is not None:
            settings["device_map"] = device_map
        if load_in is not None:
            settings["quantization_config"] = self._quantisation(load_in)
        is_local = folder is not None or is_offline()
        self._adapter: Adapter | None = None
        with quiet_loading():
            tokenizer, model = load_language_model(
                os.path.expanduser(name_or_path), settings, offline=is_local
            )
            if adapter is not None:
                model, self._adapter = with_adapter(model, adapter)
        self._tokenizer, self._model = cast("_Tokenizer", tokenizer), cast("_Model", model)
        if device is not None:
            self._model.to(device)
        self._model.eval()
        self._reads_apart = self._model.config.is_encoder_decoder
        self.context_window = context_window or self._positions()
        self._timeout_seconds = timeout_seconds
        self._run_as = {
            "dtype": dtype, "device": device, "device_map": device_map, "load_in": load_in,
            "request_fields": request_fields or None,
        }  # fmt: skip
        self.runs_on = "cpu" if str(self._model.device).startswith("cpu") else "gpu"
        self._fields = request_fields or {}
        self._turns = Turns()
        self.counter = _Counter(self.name, self._tokenizer)

    def __repr__(self) -> str:
        """Name model and window."""
        return f"TransformersGenerator({self.name!r}, context_window={self.context_window})"

    @functools.cached_property
    def fingerprint(self) -> str:
        """Weights, adapter, their kind and place, and window; reads all files when first asked for.

        A name on the Hub stands for the revision that was loaded.
        """
        _, _, path = self.name.partition(":")
        folder = model_folder("generator", path)
        revision: object = getattr(self._model.config, "_commit_hash", None)
        return fingerprint(
            self.name if folder is None else "transformers",
            weights=revision if folder is None else generator_folder_digest(folder),
            adapter=None
            if self._adapter is None
            else generator_folder_digest(self._adapter.folder),
            context_window=self.context_window,
            **self._run_as,
        )

    def warm(self) -> None:
        """Read and write a token, so that the next answer waits for nothing.

        Raises:
            RemoteError: the model failed.
        """
        self.generate(
            Prompt(text=".", question="."), GenerationOptions(max_tokens=1, temperature=0)
        )

    def count_prompt(self, prompt: Prompt) -> TokenCount:
        """Return the exact number of tokens that the model reads of a prompt, template included.

        Raises:
            RemoteError: the chat template cannot be filled.
        """
        return TokenCount(n_tokens=len(self.token_ids(prompt)), exact=True, counter=self.name)

    def token_ids(self, prompt: Prompt) -> list[int]:
        """Return what the model reads of a prompt; raises as `count_prompt`."""
        pieces = self._control_tokens.pieces(self._parts(prompt))
        if self._tokenizer.chat_template:
            return joined_ids(pieces, self._ids, self._ids)
        if len(pieces) == 1:
            return self._ids(pieces[0], is_whole=True)
        before, after = self._ends
        return [*before, *joined_ids(pieces, self._ids, self._ids), *after]

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

    def _stream(
        self, prompt: Prompt, options: GenerationOptions
    ) -> Generator[str | Generation, None, None]:
        deadline = time.monotonic() + self._timeout_seconds
        tokens = self.token_ids(prompt)
        options = self._limited(options, len(tokens))
        if not self._turns.take(self._timeout_seconds):
            raise self._late()
        run, stop, pieces = self._new_run(deadline), StoppedText(options.stop), list[str]()
        try:
            thread = threading.Thread(target=self._run, args=(run, tokens, options), daemon=True)
            thread.start()
            try:
                for piece in stop.pieces(run.texts()):
                    pieces.append(piece)
                    yield piece
            finally:
                run.is_over = True
                thread.join()
        finally:
            self._turns.give_back()
        if run.error is not None:
            failure = RemoteError(f"{self.name} failed: {run.error}")
            usage = Usage(input_tokens=len(tokens), cached_tokens=0, exact=True, counter=self.name)
            failure.generation = Generation(text="".join(pieces), usage=usage, stop_reason="error")
            raise failure from run.error
        if run.is_late and not run.tokens:
            raise self._late()
        yield self._whole("".join(pieces), len(tokens), run, was_stopped=stop.stopped)

    def _limited(self, options: GenerationOptions, n_prompt: int) -> GenerationOptions:
        """Return options that have a limit; a model that reads apart has its window twice."""
        counted = TokenCount(n_tokens=n_prompt, exact=True, counter=self.name)
        is_base = not self._tokenizer.chat_template and not self._reads_apart
        window, n_left = self.context_window, DEFAULT_MAX_TOKENS
        if self._reads_apart:
            refuse_too_long(counted, replace(options, max_tokens=None), window)
            n_left = window or n_left
        else:
            refuse_too_long(counted, options, window)
            n_left = n_left if window is None else window - n_prompt
        return limited(options, is_base=is_base, n_left=n_left)

    def _whole(self, text: str, n_input: int, run: Run, *, was_stopped: bool) -> Generation:
        has_ended = bool(run.tokens) and run.tokens[-1] in self._end_tokens()
        reason = "end" if has_ended else "timeout" if run.is_late else "length"
        usage = Usage(
            input_tokens=n_input,
            output_tokens=len(run.tokens) - has_ended,
            cached_tokens=0,
            exact=True,
            counter=self.name,
        )
        return Generation(text=text, usage=usage, stop_reason="stop" if was_stopped else reason)

    def _run(self, run: Run, tokens: list[int], options: GenerationOptions) -> None:
        """Generate; what goes wrong is kept for the thread that asked."""
        torch = self._torch
        try:
            read = torch.tensor([tokens], device=self._model.device)
            with torch.inference_mode(), torch.random.fork_rng(devices=[]):
                model, given, n_read = self._reading(read)
                if options.seed is not None:
                    torch.manual_seed(options.seed)
                made = model.generate(
                    streamer=run,
                    stopping_criteria=self._criteria(run),
                    **given,
                    **self._sampling(options),
                )
            run.tokens = made[0].tolist()[n_read:]
        # A model may fail in any way; the caller gets it.
        except Exception as error:
            run.error = error
            run.fail()

    def _reading(self, tokens: Tensor) -> tuple[Generating, dict[str, object], int]:
        """Return the model to generate with, its input, and how many ids it gives back before."""
        if self._adapter is not None and not self._reads_apart:
            return self._adapter.reading(tokens)
        given: dict[str, object] = {
            "input_ids": tokens, "attention_mask": self._torch.ones_like(tokens)
        }  # fmt: skip
        return self._model, given, 1 if self._reads_apart else tokens.shape[1]

    def _sampling(self, options: GenerationOptions) -> dict[str, object]:
        settings: dict[str, object] = {"max_new_tokens": options.max_tokens}
        if self._tokenizer.pad_token_id is None:
            # The library would warn that it takes the end token.
            settings["pad_token_id"] = self._tokenizer.eos_token_id
        if options.temperature == 0.0:
            # The library warns of what a model's own settings say of drawing when nothing is drawn.
            return {**settings, "do_sample": False, "temperature": None, "top_p": None,
                    "top_k": None}  # fmt: skip
        given = {
            "temperature": options.temperature,
            "top_p": options.top_p,
            "top_k": options.top_k,
        }
        drawn = {key: value for key, value in given.items() if value is not None}
        return {**settings, **drawn, **({"do_sample": True} if drawn else {})}

    def _criteria(self, run: Run) -> object:
        def over(_tokens: object, _scores: object, **_: object) -> bool:
            run.is_late = run.is_late or time.monotonic() > run.deadline
            return run.is_over or run.is_late

        make = cast("Callable[[list[object]], object]", self._library.StoppingCriteriaList)
        return make([over])

    def _new_run(self, deadline: float) -> Run:
        make = cast("Callable[..., TextStreamer]", self._library.TextIteratorStreamer)
        streamer = make(self._tokenizer, skip_special_tokens=False)
        return Run(streamer, self._torch.tensor, self._hidden_tokens, deadline)

    def _parts(self, prompt: Prompt) -> list[Part]:
        if self._tokenizer.chat_template:
            return laid_out(prompt.messages, self._filled)
        return [Part(as_text(prompt.messages), is_control=False)]

    def _filled(self, messages: list[dict[str, str]]) -> str:
        return self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False, **self._fields
        )

    def _ids(self, text: str, *, is_whole: bool = False) -> list[int]:
        safe = text.encode("utf-8", "replace").decode()
        return self._tokenizer(safe, add_special_tokens=is_whole, verbose=False)["input_ids"]

    @functools.cached_property
    def _ends(self) -> tuple[list[int], list[int]]:
        """What the tokenizer puts before and after a text."""
        plain, whole = self._ids("a"), self._ids("a", is_whole=True)
        n_before = next(i for i in range(len(whole)) if whole[i : i + len(plain)] == plain)
        return whole[:n_before], whole[n_before + len(plain) :]

    @functools.cached_property
    def _control_tokens(self) -> ControlTokens:
        """Special tokens, and those of the template that its tokenizer calls ordinary."""
        template = str(self._tokenizer.chat_template or "")
        added = self._tokenizer.added_tokens_decoder.values()
        return ControlTokens(
            token.content for token in added if token.special or is_mark_of(template, token.content)
        )

    @functools.cached_property
    def _hidden_tokens(self) -> frozenset[int]:
        """Special tokens that are no part of an answer; marks of thoughts are."""
        added = self._tokenizer.added_tokens_decoder.items()
        return frozenset(
            token for token, is_ in added if is_.special and not is_part_of_mark(is_.content)
        )

    def _positions(self) -> int | None:
        n_positions: object = getattr(self._model.config, "max_position_embeddings", None)
        n_taken = 0 if self._adapter is None else self._adapter.n_tokens
        return n_positions - n_taken if isinstance(n_positions, int) else None

    def _end_tokens(self) -> set[int]:
        own: object = getattr(self._model.generation_config, "eos_token_id", None)
        listed = cast("list[int]", own) if isinstance(own, list) else [cast("int | None", own)]
        return {token for token in (*listed, self._tokenizer.eos_token_id) if token is not None}

    def _late(self) -> RemoteTimeoutError:
        return RemoteTimeoutError(
            f"{self.name} gave no answer within {self._timeout_seconds:g} seconds: lower "
            "max_tokens or raise timeout_seconds"
        )

    def _quantisation(self, load_in: Quantisation) -> object:
        if importlib.util.find_spec("bitsandbytes") is None:
            raise ConfigError(f"load_in {load_in!r} needs bitsandbytes: pip install bitsandbytes")
        make = cast("Callable[..., object]", self._library.BitsAndBytesConfig)
        return make(**{f"load_in_{load_in}": True})


class _Counter:
    """Counts bare texts with the model's own tokenizer."""

    def __init__(self, name: str, tokenizer: _Tokenizer) -> None:
        self.name = name
        self._tokenizer = tokenizer

    def count(self, text: str) -> int:
        safe = text.encode("utf-8", "replace").decode()
        return len(self._tokenizer(safe, add_special_tokens=False, verbose=False)["input_ids"])


def _require(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError(module, extra="transformers")
