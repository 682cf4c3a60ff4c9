"""Embedders of the sentence-transformers library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ragkit.errors import ConfigError

if TYPE_CHECKING:
    from ragkit.types import Vector, Vectors

_QUERY_PROMPTS = ("query", "question")
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")


class SentenceTransformersEmbedder:
    """A model of sentence-transformers, by its hub name or by the path of its folder.

    The model's own prompts for queries and documents are used where it defines them, its
    `max_seq_length` is respected. A hub name is downloaded by the library at first use.

    Args:
        name_or_path: Hub name or folder.
        max_tokens: Lower cap on a text's tokens than the model's own.
        device: `cpu`, `cuda` and so on; None leaves the choice to the library.
        batch_size: Texts of one pass.

    Raises:
        ConfigError: there is no such model.
    """

    def __init__(
        self,
        name_or_path: str,
        *,
        max_tokens: int | None = None,
        device: str | None = None,
        batch_size: int = 32,
    ) -> None:
        from sentence_transformers import SentenceTransformer

        try:
            model: Any = SentenceTransformer(name_or_path, device=device)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"embedder sentence-transformers:{name_or_path} cannot be loaded: {error}"
            ) from error
        if max_tokens is not None:
            model.max_seq_length = min(max_tokens, int(model.max_seq_length))
        self._model = model
        self._batch_size = batch_size
        self.max_tokens = None if model.max_seq_length is None else int(model.max_seq_length)
        prompts: dict[str, str] = dict(model.prompts or {})
        self._query_prompt = _first(prompts, _QUERY_PROMPTS)
        self._document_prompt = _first(prompts, _DOCUMENT_PROMPTS)
        self.dim = len(self.embed_query("size"))
        self.fingerprint = (
            f"sentence-transformers {_identity(name_or_path)} dim={self.dim} "
            f"cap={self.max_tokens} prompts={self._query_prompt!r},{self._document_prompt!r}"
        )

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text: float32, shape (n, dim), in the order of `texts`."""
        return self._encode(list(texts), self._document_prompt)

    def embed_query(self, text: str) -> Vector:
        """Return the unit vector of a question: float32, shape (dim,)."""
        vector: Vector = self._encode([text], self._query_prompt)[0]
        return vector

    def count_truncated(self, texts: Sequence[str]) -> int:
        """Return how many texts have more tokens than the model reads."""
        if self.max_tokens is None:
            return 0
        tokenizer = self._model.tokenizer
        prompt = self._document_prompt
        return sum(len(tokenizer(prompt + text)["input_ids"]) > self.max_tokens for text in texts)

    def _encode(self, texts: list[str], prompt: str) -> Vectors:
        import numpy as np

        if not texts:
            return np.empty((0, self.dim), dtype=np.float32)
        vectors = self._model.encode(
            texts,
            prompt=prompt or None,
            batch_size=self._batch_size,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return cast("Vectors", np.asarray(vectors, dtype=np.float32))


def _first(prompts: dict[str, str], names: Sequence[str]) -> str:
    return next((prompts[name] for name in names if prompts.get(name)), "")


def _identity(name_or_path: str) -> str:
    """Return what tells models apart: a folder's weights by their hash, else the name."""
    folder = Path(name_or_path)
    if not folder.is_dir():
        return name_or_path
    import hashlib

    digest = hashlib.sha256()
    wanted = {".safetensors", ".bin", ".json", ".txt"}
    for path in sorted(folder.rglob("*")):
        if path.suffix in wanted and path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
