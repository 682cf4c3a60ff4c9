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
from typing import Literal, Protocol, TypeAlias, cast, get_args

from ragkit.errors import ConfigError, MissingExtraError, RemoteError, RemoteTimeoutError
from ragkit.types import Generation, GenerationOptions, Prompt, TokenCount, Usage
from ragkit_connectors.support.fingerprints import fingerprint, generator_folder_digest
from ragkit_connectors.support.hub import is_offline, model_folder
from ragkit_connectors.support.stopping import StoppedText
from ragkit_connectors.support.windows import check_window, refuse_too_long

Quantisation: TypeAlias = Literal["8bit", "4bit"]

_ENDED = ""
"""What a stream's queue gives at its end; pieces are never empty."""


class _Tokens(Protocol):
    def __getitem__(self, key: str) -> list[int]: ...


class _Tokenizer(Protocol):
    chat_template: str | None
    eos_token_id: int | None

    def __call__(self, text: str, *, add_special_tokens: bool, verbose: bool) -> _Tokens: ...

    def apply_chat_template(
        self,
        conversation: list[dict[str, str]],
        *,
        add_generation_prompt: bool,
        tokenize: bool,
        return_dict: bool,
    ) -> _Tokens: ...


class _Tensor(Protocol):
    def __getitem__(self, index: int) -> _Tensor: ...

    def tolist(self) -> list[int]: ...


class _Model(Protocol):
    device: object

    @property
    def config(self) -> object: ...

    @property
    def generation_config(self) -> object: ...

    def eval(self) -> object: ...

    def to(self, device: str) -> object: ...

    def generate(self, **settings: object) -> _Tensor: ...


class _Torch(Protocol):
    """What is used of torch."""

    random: _Random

    def tensor(self, data: list[list[int]], *, device: object) -> _Tensor: ...

    def ones_like(self, tensor: _Tensor) -> _Tensor: ...

    def inference_mode(self) -> AbstractContextManager[object]: ...

    def manual_seed(self, seed: int) -> object: ...


class _Random(Protocol):
    def fork_rng(self, *, devices: Sequence[int]) -> AbstractContextManager[object]: ...


class _Streamer(Protocol):
    def __iter__(self) -> Iterator[str]: ...

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None: ...


class TransformersGenerator:
    """A causal language model in this process; safe to share, one answer at a time.

    The prompt is put into the chat template of the model's tokenizer as one user message; without a
    template the model reads the bare prompt. Counts are exact: what is counted is what the model is
    given. The library only logs when a prompt is longer than the window; here it is an error.

    Weights are read from safetensors files only, and code that comes with a model is never run. A
    folder is opened without the network; any other name is looked up in the library's cache and
    then on the Hugging Face Hub, or in the cache alone when `HF_HUB_OFFLINE` is set.

    Options that are not given are the model's own (`generation_config`); temperature 0 takes the
    likeliest token always. Without `max_tokens` an answer may take the rest of the window.

    Args:
        name_or_path: Folder of a model, or its name on the Hub.
        context_window: Tokens of prompt and answer together, 1 or more; None takes the model's
            `max_position_embeddings`.
        timeout_seconds: Longest time for an answer, waiting for another one included; more than 0.
        dtype: Of the weights, as torch names it (`bfloat16`); None: as they are stored.
        device: Where to run, as torch names it; None: the CPU, or what `device_map` says.
        device_map: `auto` and others spread the model over devices; needs accelerate.
        load_in: Quantise the weights to 8 or 4 bits; needs bitsandbytes.
        adapter: Folder or name of an adapter to put on the model; needs peft.

    Raises:
        MissingExtraError: the library is not installed, or one that a setting needs.
        ConfigError: there is no such folder, or a value cannot be used.
        RemoteError: the model cannot be loaded.
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
        self._tokenizer, self._model = self._load(
            os.path.expanduser(name_or_path), settings, offline=folder is not None or is_offline()
        )
        if adapter is not None:
            self._adapt(adapter)
        if device is not None:
            self._model.to(device)
        self._model.eval()
        self.context_window = context_window or _positions(self._model.config)
        self._timeout_seconds = timeout_seconds
        self._adapter = adapter
        self._run_as = {
            "dtype": dtype, "device": device, "device_map": device_map, "load_in": load_in,
        }  # fmt: skip
        self._lock = threading.Lock()
        self.counter = _Counter(self.name, self._tokenizer)

    def __repr__(self) -> str:
        """Name model and window."""
        return f"TransformersGenerator({self.name!r}, context_window={self.context_window})"

    @functools.cached_property
    def fingerprint(self) -> str:
        """Weights, adapter, their kind and place, and window; reads all files when first asked for.

        A name on the Hub stands for the revision that was loaded, an adapter's for itself.
        """
        _, _, path = self.name.partition(":")
        folder = model_folder("generator", path)
        revision: object = getattr(self._model.config, "_commit_hash", None)
        return fingerprint(
            self.name if folder is None else "transformers",
            weights=revision if folder is None else generator_folder_digest(folder),
            adapter=None if self._adapter is None else _adapter_digest(self._adapter),
            context_window=self.context_window,
            **self._run_as,
        )

    def count_prompt(self, prompt: Prompt) -> TokenCount:
        """Return the exact number of tokens that the model reads of a prompt, template included.

        Raises:
            RemoteError: the chat template cannot be filled.
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
            ConfigError: the window is not known and `max_tokens` is not given.
            RemoteTimeoutError: the time was up, or another answer took all of it.
            RemoteError: the model failed or gave no text; pieces may have come.
        """
        return self._stream(prompt, options)

    def _stream(
        self, prompt: Prompt, options: GenerationOptions
    ) -> Generator[str | Generation, None, None]:
        deadline = time.monotonic() + self._timeout_seconds
        tokens = self._tokens(prompt)
        counted = TokenCount(n_tokens=len(tokens), exact=True, counter=self.name)
        refuse_too_long(counted, options, self.context_window)
        sampling = self._sampling(options, len(tokens))
        if not self._lock.acquire(timeout=self._timeout_seconds):
            raise self._late()
        try:
            run = _Run(self._new_streamer(), deadline)
            thread = threading.Thread(
                target=self._run, args=(run, tokens, options.seed, sampling), daemon=True
            )
            thread.start()
            pieces: list[str] = []
            stop = StoppedText(options.stop)
            try:
                for piece in stop.pieces(run.texts()):
                    pieces.append(piece)
                    yield piece
            finally:
                run.is_over = True
                thread.join()
        finally:
            self._lock.release()
        if run.error is not None:
            raise RemoteError(f"{self.name} failed: {run.error}") from run.error
        if run.is_late:
            raise self._late()
        yield self._whole("".join(pieces), len(tokens), run, was_stopped=stop.stopped)

    def _whole(self, text: str, n_input: int, run: _Run, *, was_stopped: bool) -> Generation:
        has_ended = bool(run.tokens) and run.tokens[-1] in self._end_tokens()
        reason = "stop" if was_stopped or has_ended else "length"
        if not text.strip():
            advice = "; raise max_tokens" if reason == "length" else ""
            raise RemoteError(f"the model gave no text (stop reason: {reason}){advice}")
        usage = Usage(
            input_tokens=n_input,
            output_tokens=len(run.tokens) - has_ended,
            exact=True,
            counter=self.name,
        )
        return Generation(text=text, usage=usage, stop_reason=reason)

    def _run(
        self, run: _Run, tokens: list[int], seed: int | None, sampling: Mapping[str, object]
    ) -> None:
        """Generate; what goes wrong is kept for the thread that asked."""
        torch = self._torch
        try:
            read = torch.tensor([tokens], device=self._model.device)
            with torch.inference_mode(), torch.random.fork_rng(devices=[]):
                if seed is not None:
                    torch.manual_seed(seed)
                made = self._model.generate(
                    input_ids=read,
                    attention_mask=torch.ones_like(read),
                    streamer=run.streamer,
                    stopping_criteria=self._criteria(run),
                    **sampling,
                )
            run.tokens = made[0].tolist()[len(tokens) :]
        # A model may fail in any way; the caller gets it.
        except Exception as error:
            run.error = error
            run.streamer.on_finalized_text("", stream_end=True)

    def _sampling(self, options: GenerationOptions, n_prompt: int) -> dict[str, object]:
        n_most = options.max_tokens
        if n_most is None:
            if self.context_window is None:
                raise ConfigError(f"{self.name} tells no window: set max_tokens or context_window")
            n_most = self.context_window - n_prompt
        settings: dict[str, object] = {"max_new_tokens": n_most}
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

    def _criteria(self, run: _Run) -> object:
        def over(_tokens: object, _scores: object, **_: object) -> bool:
            run.is_late = run.is_late or time.monotonic() > run.deadline
            return run.is_over or run.is_late

        make = cast("Callable[[list[object]], object]", self._library.StoppingCriteriaList)
        return make([over])

    def _new_streamer(self) -> _Streamer:
        make = cast("Callable[..., _Streamer]", self._library.TextIteratorStreamer)
        return make(self._tokenizer, skip_prompt=True, skip_special_tokens=True)

    def _tokens(self, prompt: Prompt) -> list[int]:
        text = prompt.text.encode("utf-8", "replace").decode()
        if not self._tokenizer.chat_template:
            return self._tokenizer(text, add_special_tokens=True, verbose=False)["input_ids"]
        try:
            return self._tokenizer.apply_chat_template(
                [{"role": "user", "content": text}],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
            )["input_ids"]
        # A template is a program of the model's, and may raise anything.
        except Exception as error:
            raise RemoteError(
                f"the chat template of the model cannot be filled ({type(error).__name__})"
            ) from error

    def _end_tokens(self) -> set[int]:
        own: object = getattr(self._model.generation_config, "eos_token_id", None)
        listed = cast("list[int]", own) if isinstance(own, list) else [cast("int | None", own)]
        return {token for token in (*listed, self._tokenizer.eos_token_id) if token is not None}

    def _late(self) -> RemoteTimeoutError:
        return RemoteTimeoutError(
            f"{self.name} gave no whole answer within {self._timeout_seconds:g} seconds: lower "
            "max_tokens or raise timeout_seconds"
        )

    def _quantisation(self, load_in: Quantisation) -> object:
        if importlib.util.find_spec("bitsandbytes") is None:
            raise ConfigError(f"load_in {load_in!r} needs bitsandbytes: pip install bitsandbytes")
        make = cast("Callable[..., object]", self._library.BitsAndBytesConfig)
        return make(**{f"load_in_{load_in}": True})

    def _adapt(self, adapter: str) -> None:
        if importlib.util.find_spec("peft") is None:
            raise ConfigError(f"adapter {adapter!r} needs peft: pip install peft")
        try:
            load = cast("Callable[[str], object]", getattr(self._model, "load_adapter"))  # noqa: B009
            load(os.path.expanduser(adapter))
        except (OSError, ValueError, RuntimeError) as error:
            raise RemoteError(f"adapter {adapter} cannot be put on {self.name}") from error

    def _load(
        self, name: str, settings: Mapping[str, object], *, offline: bool
    ) -> tuple[_Tokenizer, _Model]:
        open_tokenizer = cast(
            "Callable[..., _Tokenizer]", self._library.AutoTokenizer.from_pretrained
        )
        open_model = cast(
            "Callable[..., _Model]", self._library.AutoModelForCausalLM.from_pretrained
        )
        common = {"local_files_only": offline, "trust_remote_code": False}
        try:
            tokenizer = open_tokenizer(name, **common)
            return tokenizer, open_model(name, use_safetensors=True, **common, **settings)
        except (OSError, ValueError, RuntimeError) as error:
            where = "here" if offline else "here or on the Hugging Face Hub"
            raise RemoteError(
                f"model {name} cannot be loaded: is it {where}, with safetensors weights, and is "
                f"there memory for it? ({type(error).__name__})"
            ) from error


class _Run:
    """An answer that is written in another thread."""

    def __init__(self, streamer: _Streamer, deadline: float) -> None:
        self.streamer = streamer
        self.deadline = deadline
        self.is_over = False
        self.is_late = False
        self.tokens: list[int] = []
        self.error: Exception | None = None

    def texts(self) -> Iterator[str]:
        """Yield pieces of text as they come."""
        return (text for text in self.streamer if text != _ENDED)


class _Counter:
    """Counts bare texts with the model's own tokenizer."""

    def __init__(self, name: str, tokenizer: _Tokenizer) -> None:
        self.name = name
        self._tokenizer = tokenizer

    def count(self, text: str) -> int:
        safe = text.encode("utf-8", "replace").decode()
        return len(self._tokenizer(safe, add_special_tokens=False, verbose=False)["input_ids"])


def _adapter_digest(adapter: str) -> str:
    folder = model_folder("adapter", adapter)
    return adapter if folder is None else generator_folder_digest(folder)


def _require(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError(module, extra="transformers")


def _positions(config: object) -> int | None:
    n_positions: object = getattr(config, "max_position_embeddings", None)
    return n_positions if isinstance(n_positions, int) else None
