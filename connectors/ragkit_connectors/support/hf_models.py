"""Models of the transformers library and its kin: loaded in silence, and only with all weights."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from ragkit.errors import ConfigError, RemoteError
from ragkit_connectors.support.hf_streams import Tensor
from ragkit_connectors.support.hub import is_offline, model_folder

_LOADING = threading.Lock()
"""What is switched off holds for the whole process: two at once would not restore it."""

_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_UNUSED = "pooler."
"""Many models lack the weights of this part, which no embedder uses."""

_FAILURES = (OSError, ValueError, RuntimeError, TypeError, KeyError)
"""What the libraries raise for files that they cannot use."""

_CHATTER = ("Position ids are not supported for parameter", "`past_key_values` is deprecated")
"""What peft and transformers say of each other in every answer of a model with an adapter."""

_LEFT_OUT = "Both `past_key_values` and `cache`"
"""What they say if the adapter has no effect."""


class _Logging(Protocol):
    """What is used of `transformers.utils.logging`."""

    def get_verbosity(self) -> int: ...

    def set_verbosity(self, verbosity: int) -> None: ...

    def set_verbosity_error(self) -> None: ...

    def is_progress_bar_enabled(self) -> bool: ...

    def disable_progress_bar(self) -> None: ...

    def enable_progress_bar(self) -> None: ...


class _Config(Protocol):
    is_encoder_decoder: bool


class _HasWeights(Protocol):
    def state_dict(self) -> Mapping[str, object]: ...


class Generating(Protocol):
    """A model that writes."""

    def generate(self, **settings: object) -> Tensor:
        """Return the ids that it reads and those that it writes."""
        ...


class _AdapterConfig(Protocol):
    peft_type: object


class _Adapted(Generating, Protocol):
    """What is used of `peft.PeftModel`."""

    @property
    def active_peft_config(self) -> _AdapterConfig: ...

    def get_prompt(self, batch_size: int) -> Tensor: ...

    def get_base_model(self) -> Generating: ...

    def word_embeddings(self, tokens: Tensor) -> Tensor: ...


class _Torch(Protocol):
    """What is used of torch."""

    def zeros(self, shape: tuple[int, int], *, dtype: object, device: object) -> Tensor: ...

    def ones(self, shape: tuple[int, int], *, dtype: object, device: object) -> Tensor: ...

    def cat(self, tensors: Sequence[Tensor], *, dim: int) -> Tensor: ...


@contextmanager
def quiet_loading() -> Generator[None]:
    """Keep the transformers library from printing anything but errors; one at a time."""
    logging = cast("_Logging", importlib.import_module("transformers.utils.logging"))
    with _LOADING:
        verbosity, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            if had_bars:
                logging.enable_progress_bar()


def load_language_model(
    name: str, settings: Mapping[str, object], *, offline: bool
) -> tuple[object, object]:
    """Return tokenizer and model, causal or with an encoder of its own.

    Args:
        name: Folder of a model, or its name on the Hub.
        settings: Keywords of `from_pretrained`.
        offline: Whether to keep off the network.

    Raises:
        RemoteError: it cannot be loaded, or weights are missing.
    """
    library = importlib.import_module("transformers")
    common = {"local_files_only": offline, "trust_remote_code": False}
    open_config = cast("Callable[..., _Config]", library.AutoConfig.from_pretrained)
    open_tokenizer = cast("Callable[..., object]", library.AutoTokenizer.from_pretrained)
    try:
        has_encoder = open_config(name, **common).is_encoder_decoder
        kind = library.AutoModelForSeq2SeqLM if has_encoder else library.AutoModelForCausalLM
        model, missing = _opened(kind, name, **common, **settings)
        tokenizer = open_tokenizer(name, **common)
    except _FAILURES as error:
        where = "here" if offline else "here or on the Hugging Face Hub"
        raise RemoteError(
            f"model {name} cannot be loaded: is it {where}, with safetensors weights, and is there "
            f"memory for it? ({said_by(error)})"
        ) from error
    if missing:
        raise RemoteError(_incomplete(name, missing))
    return tokenizer, model


def _opened(kind: object, name: str, **settings: object) -> tuple[object, list[str]]:
    """Return a model and the names of the weights that its files lack."""
    open_model = cast(
        "Callable[..., tuple[object, Mapping[str, Sequence[str]]]]",
        getattr(kind, "from_pretrained"),  # noqa: B009
    )
    model, report = open_model(name, use_safetensors=True, output_loading_info=True, **settings)
    return model, sorted(report["missing_keys"])


def said_by(error: Exception) -> str:
    """Return kind and first line of a library's error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter of the peft library on a model.

    Attributes:
        folder: Where its files are.
        n_tokens: Tokens of the window that it takes: those of a learned prefix or prompt.
    """

    folder: Path
    n_tokens: int
    _model: _Adapted

    def reading(self, tokens: Tensor) -> tuple[Generating, dict[str, object], int]:
        """Return the model to generate with, its input, and how many ids of that it gives back.

        peft's own `generate` is left out where a prefix or prompt was learned: with some versions
        of transformers it loses the prefix, or the place of the tokens after a prompt.
        """
        torch = cast("_Torch", importlib.import_module("torch"))
        model, given = self._model.get_base_model(), dict[str, object](input_ids=tokens)
        kind = getattr(self._model.active_peft_config.peft_type, "value", "")
        if not self.n_tokens:
            model = self._model
        elif kind == "PREFIX_TUNING":
            blank = torch.zeros((1, self.n_tokens), dtype=tokens.dtype, device=tokens.device)
            given["input_ids"] = torch.cat([blank, tokens], dim=1)
            given["past_key_values"] = self._model.get_prompt(batch_size=1)
        else:
            learned, said = (
                self._model.get_prompt(batch_size=1),
                self._model.word_embeddings(tokens),
            )
            given = {"inputs_embeds": torch.cat([learned.to(said.dtype), said], dim=1)}
        n_given = self.n_tokens + tokens.shape[1]
        mask = torch.ones((1, n_given), dtype=tokens.dtype, device=tokens.device)
        return model, {**given, "attention_mask": mask}, n_given if "input_ids" in given else 0


def with_adapter(model: object, name_or_path: str) -> tuple[object, Adapter]:
    """Return a model with an adapter of the peft library on it.

    Raises:
        ConfigError: peft is not installed, or there is no such folder.
        RemoteError: it cannot be loaded, or is not for this model.
    """
    if importlib.util.find_spec("peft") is None:
        raise ConfigError(f"adapter {name_or_path!r} needs peft: pip install peft")
    folder = _adapter_folder(name_or_path)
    library = importlib.import_module("peft")
    for message in _CHATTER:
        warnings.filterwarnings("ignore", message=message)
    warnings.filterwarnings("error", message=_LEFT_OUT)
    put_on = cast("Callable[..., _Adapted]", library.PeftModel.from_pretrained)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            # Weights that it lacks would be random ones.
            warnings.filterwarnings("error", message=".*missing adapter keys")
            adapted = put_on(model, str(folder), is_trainable=False)
    except (*_FAILURES, UserWarning) as error:
        raise RemoteError(
            f"adapter {name_or_path} cannot be used: was it made for this model? ({said_by(error)})"
        ) from error
    n_tokens: object = getattr(adapted.active_peft_config, "num_virtual_tokens", None)
    return adapted, Adapter(folder, n_tokens if isinstance(n_tokens, int) else 0, adapted)


def _adapter_folder(name_or_path: str) -> Path:
    """Return the folder of an adapter's files; those of a name on the Hub are fetched first."""
    folder = model_folder("adapter", name_or_path)
    if folder is not None:
        for name in _ADAPTER_FILES:
            if not (folder / name).is_file():
                raise RemoteError(f"adapter {name_or_path} cannot be loaded: there is no {name}")
        return folder
    fetch = cast("Callable[..., str]", importlib.import_module("huggingface_hub").hf_hub_download)
    try:
        files = [fetch(name_or_path, n, local_files_only=is_offline()) for n in _ADAPTER_FILES]
    except _FAILURES as error:
        raise RemoteError(
            f"adapter {name_or_path} cannot be loaded: is it here or on the Hugging Face Hub, with "
            f"safetensors weights? ({said_by(error)})"
        ) from error
    return Path(files[0]).parent


def refuse_pickles(folder: Path) -> None:
    """Raise `RemoteError` where part of an embedder's folder has pickled weights only."""
    for file in sorted(folder.rglob("pytorch_model.bin")):
        if not any(file.parent.glob("*.safetensors")):
            raise RemoteError(
                f"model {folder} cannot be loaded: {file.relative_to(folder)} is a pickle, and "
                "there are no safetensors weights beside it"
            )


def refuse_random_weights(folder: Path, model: _HasWeights) -> None:
    """Raise `RemoteError` where weights of an embedder's first part are in none of its files.

    The library loads such a model, with random weights in their place.
    """
    files = sorted(folder.rglob("*.safetensors"))
    held = {name for file in files for name in _names(file)}
    ends = {end for name in held for end in _ends(name)}
    wanted = [name for name in model.state_dict() if not name.startswith(_UNUSED)]
    if all(name in ends or not held.isdisjoint(_ends(name)) for name in wanted):
        return
    # Names that have changed since, or two for one tensor, are the library's to know.
    library = importlib.import_module("transformers")
    place = files[0].parent if files else folder
    _, missing = _opened(library.AutoModel, os.fspath(place), local_files_only=True)
    missing = [name for name in missing if not name.startswith(_UNUSED)]
    if missing:
        raise RemoteError(_incomplete(os.fspath(files[0] if files else folder), missing))


def _incomplete(name: str, missing: Sequence[str]) -> str:
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    return (
        f"model {name} cannot be used: it lacks weights, which would be random: {missing[0]}{more}"
    )


def _names(file: Path) -> Iterator[str]:
    """Yield the names of the tensors in a safetensors file."""
    with file.open("rb") as opened:
        n_bytes = int.from_bytes(opened.read(8), "little")
        header = cast("dict[str, object]", json.loads(opened.read(n_bytes)))
    return (name for name in header if name != "__metadata__")


def _ends(name: str) -> Iterator[str]:
    """Yield the ends of a name that are names: models write theirs with or without a prefix."""
    parts = name.split(".")
    return (".".join(parts[i:]) for i in range(len(parts)))
