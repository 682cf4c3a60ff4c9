"""Embedders of the sentence-transformers library: `sentence-transformers:NAME-OR-PATH`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from ragkit.errors import ConfigError, MissingExtraError, RemoteError
from ragkit_connectors.support.fingerprints import embedder_folder_digest
from ragkit_connectors.support.hf_models import (
    quiet_loading,
    refuse_pickles,
    refuse_random_weights,
    said_by,
)
from ragkit_connectors.support.hub import is_offline, model_folder

if TYPE_CHECKING:
    from ragkit.types import Vector, Vectors

DOCUMENT_PROMPT_NAMES = ("document", "passage", "corpus")
"""What models call their prompt for documents, the first defined one wins; the order is that of
the library's `encode_document`."""

_POSITIONS_FROM_TWO = frozenset({"camembert", "mpnet", "roberta", "xlm-roberta"})
"""Model types whose first two positions stand for padding."""


class _Tokenizer(Protocol):
    def __call__(
        self, text: list[str], *, truncation: bool, padding: bool, verbose: bool
    ) -> Mapping[str, Sequence[Sequence[int]]]: ...


class _Model(Protocol):
    """What is used of `sentence_transformers.SentenceTransformer`."""

    max_seq_length: int | None

    def __getitem__(self, index: int) -> object: ...

    def encode(
        self,
        sentences: list[str],
        *,
        prompt: str,
        batch_size: int,
        show_progress_bar: bool,
        convert_to_numpy: bool,
        normalize_embeddings: bool,
    ) -> Vectors: ...


class SentenceTransformersEmbedder:
    """A model of the sentence-transformers library; safe to share between threads.

    Weights are read from safetensors files only, never from pickles, a folder must hold all that
    the model needs, and code that comes with a model is never run. A folder is opened without the
    network; any other name is looked up in the library's cache and then on the Hugging Face Hub, or
    in the cache alone when `HF_HUB_OFFLINE` is set.

    Args:
        name_or_path: Folder of a model, or its name on the Hub.
        document_prompt: Text put before each document; None takes the model's own, where it
            defines one.
        query_prompt: Text put before each question; None takes the model's own.
        max_tokens: Tokens read of a text, special tokens and prompt included; None takes the
            model's `max_seq_length`.
        device: Where to run, as torch names it; None leaves the choice to the library.
        batch_size: Texts per pass, 1 or more.

    Raises:
        MissingExtraError: the library is not installed.
        ConfigError: there is no such folder, or a value is out of range.
        RemoteError: the model cannot be loaded, or weights are missing.
    """

    def __init__(
        self,
        name_or_path: str,
        *,
        document_prompt: str | None = None,
        query_prompt: str | None = None,
        max_tokens: int | None = None,
        device: str | None = None,
        batch_size: int = 32,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size {batch_size}; allowed: 1 or more")
        folder = model_folder("embedder", name_or_path)
        self.name = f"sentence-transformers:{name_or_path}"
        self._batch_size = batch_size
        self._lock = threading.Lock()
        self._model = _load(name_or_path, folder, device=device)
        self._tokenizer = _tokenizer(self._model)
        self._set_max_tokens(max_tokens)
        own = cast("Mapping[str, str | None]", getattr(self._model, "prompts", {}))
        self.document_prompt = (
            _first(own, DOCUMENT_PROMPT_NAMES) if document_prompt is None else document_prompt
        )
        self.query_prompt = _first(own, ("query",)) if query_prompt is None else query_prompt
        # Encoding a text is the only way that works for every stack of modules and every version.
        self.dim = int(self._encode([""], prompt="").shape[1])
        self.fingerprint = self._fingerprint(name_or_path, folder)

    @property
    def max_tokens(self) -> int | None:
        """Tokens read of a text, special tokens and prompt included; None: no limit."""
        return self._model.max_seq_length

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text: float32, shape (n, dim), in the order of `texts`.

        Raises:
            RemoteError: the model gave something that is no vector.
        """
        return self._encode(texts, prompt=self.document_prompt)

    def embed_query(self, text: str) -> Vector:
        """Return the unit vector of a question: float32, shape (dim,)."""
        vector: Vector = self._encode([text], prompt=self.query_prompt)[0]
        return vector

    def count_truncated(self, texts: Sequence[str]) -> int:
        """Return how many documents have more tokens than the model reads."""
        limit = self.max_tokens
        if limit is None or self._tokenizer is None or not texts:
            return 0
        with self._lock:
            ids = self._tokenizer(
                [self.document_prompt + text for text in texts],
                truncation=False,
                padding=False,
                # The library would log a warning for each text that is too long.
                verbose=False,
            )["input_ids"]
        return sum(len(row) > limit for row in ids)

    def __repr__(self) -> str:
        """Name the model."""
        return f"SentenceTransformersEmbedder({self.name!r}, dim={self.dim})"

    def _encode(self, texts: Sequence[str], *, prompt: str) -> Vectors:
        import numpy as np

        if not texts:
            return np.empty((0, self.dim), dtype=np.float32)
        # The fast tokenizers are not safe to share: two threads at once fail with a borrow error.
        with self._lock:
            raw = self._model.encode(
                list(texts),
                prompt=prompt,
                batch_size=self._batch_size,
                show_progress_bar=False,
                convert_to_numpy=True,
                normalize_embeddings=True,
            )
        vectors: Vectors = np.ascontiguousarray(raw, dtype=np.float32)
        if not np.isfinite(vectors).all():
            raise RemoteError(f"{self.name} gave vectors that are not finite; try another device")
        # A text without a known token is all zeros in models that only average word vectors.
        vectors[~vectors.any(axis=1), 0] = 1.0
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def _set_max_tokens(self, max_tokens: int | None) -> None:
        if max_tokens is None:
            return
        most = _n_positions(self._model)
        if max_tokens < 1 or (most is not None and max_tokens > most):
            raise ConfigError(
                f"max_tokens {max_tokens}; allowed for {self.name}: 1 to {most or 'any number'}"
            )
        self._model.max_seq_length = max_tokens

    def _fingerprint(self, name: str, folder: Path | None) -> str:
        import hashlib

        prompts = f"{len(self.document_prompt)} {self.document_prompt}{self.query_prompt}"
        weights = _revision(name, self._model) if folder is None else embedder_folder_digest(folder)
        return (
            f"sentence-transformers {weights} dim={self.dim} cap={self.max_tokens} "
            f"prompts={hashlib.sha256(prompts.encode()).hexdigest()[:16]}"
        )


def _load(name_or_path: str, folder: Path | None, *, device: str | None) -> _Model:
    if importlib.util.find_spec("sentence_transformers") is None:
        raise MissingExtraError("sentence-transformers", extra="sentence-transformers")
    offline = folder is not None or is_offline()
    if folder is not None:
        refuse_pickles(folder)
    library = importlib.import_module("sentence_transformers")
    make = cast("Callable[..., _Model]", library.SentenceTransformer)
    try:
        with quiet_loading():
            model = make(
                os.path.expanduser(name_or_path),
                device=device,
                local_files_only=offline,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
            encoder = getattr(model[0], "auto_model", None)
            if folder is not None and encoder is not None:
                refuse_random_weights(folder, encoder)
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        where = "here" if offline else "here or on the Hugging Face Hub"
        raise RemoteError(
            f"model {name_or_path} cannot be loaded: is it {where}, with all of its safetensors "
            f"weights? ({said_by(error)})"
        ) from error
    return model


def _tokenizer(model: _Model) -> _Tokenizer | None:
    tokenizer = getattr(model[0], "tokenizer", None)
    # Models of static vectors have a tokenizer of another kind and no token limit.
    return cast("_Tokenizer", tokenizer) if callable(tokenizer) else None


def _n_positions(model: _Model) -> int | None:
    """Return how many token positions the model has; None where it has no limit."""
    config = _config(model)
    n_positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(n_positions, int):
        return None
    offset = 2 if getattr(config, "model_type", "") in _POSITIONS_FROM_TWO else 0
    return n_positions - offset


def _config(model: _Model) -> object:
    return getattr(getattr(model[0], "auto_model", None), "config", None)


def _first(prompts: Mapping[str, str | None], names: Sequence[str]) -> str:
    return next((prompt for name in names if (prompt := prompts.get(name))), "")


def _revision(name: str, model: _Model) -> str:
    return f"{name}@{getattr(_config(model), '_commit_hash', None) or 'unknown'}"
