"""all-MiniLM-L6-v2 with int8 weights, run by numpy or by ONNX Runtime; no torch, no download."""

from __future__ import annotations

import importlib.util
import json
import math
import mmap
import os
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from ragkit.costs.metering import meter
from ragkit.errors import ConfigError, MissingExtraError, StoreDamagedError
from ragkit.text.wordpiece import load_wordpiece

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ragkit.types import Vector, Vectors

    _Array: TypeAlias = NDArray[np.float32]

Runtime: TypeAlias = Literal["numpy", "onnxruntime"]

DATA = Path(__file__).parent.parent / "data" / "minilm"
WEIGHTS_SHA256 = "8cdf570d97cfa0ce154dc25ca8c819b72719daa6dcfbcc6779704b3809a91975"

SENTENCE_MAP_SHA256 = "12492d6dbddc5968f8c74edd844d012d7c315b62d62cf7d4a0233940cb4d0389"

MAX_TOKENS = 512
"""Length of the model's position table, special tokens included."""

N_SENTENCE_LAYERS = 1
"""Layers that a sentence passes, instead of all six."""

_DIM, _N_LAYERS, _N_HEADS = 384, 6, 12
_HEAD = _DIM // _N_HEADS
_EPSILON = 1e-12
_MAGIC = b"RAGKITW1"
_ALIGNMENT = 64

_NUMPY_BATCH_TOKENS = 1024
"""Tokens per pass: enough to fill the matrix products, few enough to stay in the cache."""

_ONNX_BATCH_TOKENS = 256
"""The same for ONNX Runtime, whose batches are of texts of one length, so that none is padded."""


class _Runner(Protocol):
    def encode(self, batch: Sequence[Sequence[int]], *, sentences: bool = False) -> Vectors:
        """Return unit vectors of texts given as token ids, ordered by length."""
        ...

    def batches(self, lengths: Sequence[int]) -> Iterator[slice]:
        """Cut texts, ordered by length, into batches."""
        ...


class BuiltinEmbedder:
    """The built-in embedder; safe to share between threads.

    Args:
        runtime: `onnxruntime`, `numpy`, or None for the first of them that is installed.
        n_threads: Passes that run in parallel, each on one thread, if there are several texts.
        folder: Where the data files are.

    Raises:
        MissingExtraError: neither runtime, or not the one asked for, is installed.
        StoreDamagedError: the weights are not the ones that ragkit ships.
    """

    dim = _DIM
    max_tokens = MAX_TOKENS
    fingerprint = f"all-MiniLM-L6-v2/int8 {WEIGHTS_SHA256[:16]} mean cap={MAX_TOKENS}"
    compatible_fingerprints: tuple[str, ...] = (
        "all-MiniLM-L6-v2/int8 89cdc88c13561840 mean cap=512",
    )
    sentence_fingerprint = (
        f"{WEIGHTS_SHA256[:16]} {SENTENCE_MAP_SHA256[:16]} layers={N_SENTENCE_LAYERS}"
    )

    def __init__(
        self, *, runtime: Runtime | None = None, n_threads: int = 1, folder: Path = DATA
    ) -> None:
        self.runtime: Runtime = runtime or ("onnxruntime" if _has("onnxruntime") else "numpy")
        if self.runtime not in {"numpy", "onnxruntime"}:
            raise ConfigError(f"runtime {self.runtime!r}; allowed: numpy onnxruntime")
        if not _has("numpy"):
            raise MissingExtraError("numpy, which the built-in embedder needs,", extra="local")
        if not _has(self.runtime):
            raise MissingExtraError(self.runtime, extra="fast")
        self._tokens = load_wordpiece()
        self._folder = folder
        self._n_threads = n_threads
        self._runner: _Runner | None = None
        self._lock = threading.Lock()

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text: float32, shape (n, 384), in the order of `texts`."""
        return self._embed(texts)

    def embed_sentences(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors to compare the sentences of a chunk by; shape as of documents.

        They come from the first layer, whose states are mapped linearly to what all six would give,
        and take about a sixth of the work. They are near enough to a question's vector to trim by,
        not to search by.
        """
        return self._embed(texts, sentences=True)

    def _embed(self, texts: Sequence[str], *, sentences: bool = False) -> Vectors:
        import numpy as np

        runner = self._open()
        ids = [self._tokens.encode(text, max_tokens=MAX_TOKENS) for text in texts]
        meter().embedded(sum(map(len, ids)))
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        vectors = np.empty((len(ids), _DIM), dtype=np.float32)

        def run(part: slice) -> None:
            chosen = order[part]
            vectors[chosen] = runner.encode([ids[i] for i in chosen], sentences=sentences)

        parts = list(runner.batches([len(ids[i]) for i in order]))
        if self._n_threads > 1 and len(parts) > 1:
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(self._n_threads) as pool:
                # The longest first: the last ones to run are then short and finish together.
                list(pool.map(run, reversed(parts)))
        else:
            for part in parts:
                run(part)
        return vectors

    def embed_query(self, text: str) -> Vector:
        """Return the unit vector of a question: float32, shape (384,)."""
        vector: Vector = self.embed_documents([text])[0]
        return vector

    def count_truncated(self, texts: Sequence[str]) -> int:
        """Return how many texts have more tokens than the model reads."""
        # A token has at least one character, so most texts need not be tokenised.
        long = (text for text in texts if len(text) > MAX_TOKENS - 2)
        return sum(self._tokens.count(text) > MAX_TOKENS - 2 for text in long)

    def _open(self) -> _Runner:
        with self._lock:
            if self._runner is None:
                _check(self._folder / "weights.bin", WEIGHTS_SHA256)
                _check(self._folder / "sentence_map.bin", SENTENCE_MAP_SHA256)
                runner = NumpyEncoder if self.runtime == "numpy" else _Onnx
                self._runner = runner(self._folder)
            return self._runner


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _check(path: Path, sha256: str) -> None:
    """Compare weights with what was shipped; about 15 ms, once per process."""
    import hashlib

    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreDamagedError(f"weights {path} cannot be read: {error}") from error
    if digest != sha256:
        raise StoreDamagedError(f"weights {path} are damaged: install ragkit again")


def _read(path: Path) -> Mapping[str, NDArray[Any]]:
    """Map the weights file and return its tensors without copying them."""
    import numpy as np

    with path.open("rb") as file:
        raw = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    (length,) = struct.unpack_from("<I", raw, len(_MAGIC))
    first = len(_MAGIC) + 4
    header: dict[str, dict[str, Any]] = json.loads(raw[first : first + length])
    start = first + length
    start += -start % _ALIGNMENT
    tensors: dict[str, NDArray[Any]] = {}
    for name, entry in header.items():
        shape: list[int] = entry["shape"]
        tensors[name] = np.frombuffer(
            raw,
            dtype=np.dtype(str(entry["dtype"])),
            count=math.prod(shape),
            offset=start + int(entry["offset"]),
        ).reshape(shape)
    return tensors


class NumpyEncoder:
    """The encoder in numpy: linear layers over all tokens of a batch, attention by length."""

    def __init__(self, folder: Path) -> None:
        tensors = _read(folder / "weights.bin")
        self._folder = folder
        self._words = tensors["words"]
        self._words_scale: _Array = tensors["words.scale"]
        self._positions: _Array = tensors["positions"]
        self._norm: tuple[_Array, _Array] = (tensors["norm.weight"], tensors["norm.bias"])
        self._layers = [_Layer(tensors, i) for i in range(_N_LAYERS)]

    def batches(self, lengths: Sequence[int]) -> Iterator[slice]:
        """Cut texts, ordered by length, into batches."""
        return _by_tokens(lengths, _NUMPY_BATCH_TOKENS)

    def encode(self, batch: Sequence[Sequence[int]], *, sentences: bool = False) -> Vectors:
        """Return unit vectors of texts given as token ids, ordered by length."""
        import numpy as np

        if sentences:
            weights, bias = self._sentence_map
            vectors: Vectors = self.first_layers(batch) @ weights
            vectors += bias
        else:
            vectors = _sums(self._states(batch)[-1], batch)
        vectors /= np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
        return vectors

    def first_layers(self, batch: Sequence[Sequence[int]]) -> Vectors:
        """Return the mean states before and after the first layers: float32, shape (n, 768)."""
        import numpy as np

        states = self._states(batch, N_SENTENCE_LAYERS)
        sums: Vectors = np.concatenate([_sums(states[i], batch) for i in (0, -1)], axis=1)
        sums /= np.array([len(ids) for ids in batch], dtype=np.float32)[:, None]
        return sums

    @cached_property
    def _sentence_map(self) -> tuple[_Array, _Array]:
        import numpy as np

        tensors = _read(self._folder / "sentence_map.bin")
        return tensors["map"].astype(np.float32), tensors["map.bias"]

    def _states(
        self, batch: Sequence[Sequence[int]], n_layers: int = _N_LAYERS
    ) -> tuple[_Array, _Array]:
        """Return the states of all tokens before the first layer and after the last of these."""
        import numpy as np

        lengths = [len(ids) for ids in batch]
        flat = np.fromiter((i for ids in batch for i in ids), dtype=np.int64, count=sum(lengths))
        first = self._words[flat].astype(np.float32)
        first *= self._words_scale[flat, None]
        first += np.concatenate([self._positions[:n] for n in lengths])
        _normalise(first, *self._norm)
        groups = list(_equal_runs(lengths))
        x = first
        for layer in self._layers[:n_layers]:
            x = layer.apply(x, groups)
        return first, x


def _sums(states: _Array, batch: Sequence[Sequence[int]]) -> Vectors:
    """Return the sum of each text's states."""
    import numpy as np

    starts = np.cumsum([0, *(len(ids) for ids in batch[:-1])])
    sums: Vectors = np.add.reduceat(states, starts, axis=0)
    return sums


class _Layer:
    """One transformer layer, its linear weights dequantised once."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]], i: int) -> None:
        import numpy as np

        def linear(name: str) -> tuple[_Array, _Array]:
            weights: _Array = tensors[f"{i}.{name}"].astype(np.float32)
            weights *= tensors[f"{i}.{name}.scale"]
            if f"{i}.{name}.inverse" in tensors:
                weights *= tensors[f"{i}.{name}.inverse"][:, None]
            return weights, tensors[f"{i}.{name}.bias"].copy()

        def norm(name: str) -> tuple[_Array, _Array]:
            return tensors[f"{i}.{name}.weight"], tensors[f"{i}.{name}.bias"]

        self._attention, self._output = linear("attention"), linear("output")
        for values in self._attention:
            values[..., :_DIM] *= _HEAD**-0.5  # once here, not for every product of q and k
        self._up, self._down = linear("up"), linear("down")
        self._norm1, self._norm2 = norm("norm1"), norm("norm2")

    def apply(self, x: _Array, groups: Sequence[tuple[int, int, int]]) -> _Array:
        """Return the layer's output, shape (tokens, 384).

        Args:
            x: The layer's input, shape (tokens, 384).
            groups: (first token, number of texts, tokens of each) of texts of one length.
        """
        import numpy as np

        mixed = x @ self._attention[0]
        mixed += self._attention[1]
        heads = np.empty_like(x)
        for first, n_texts, length in groups:
            last = first + n_texts * length
            heads[first:last] = _attend(mixed[first:last], n_texts, length)
        y: _Array = heads @ self._output[0]
        y += self._output[1]
        y += x
        _normalise(y, *self._norm1)
        wide: _Array = y @ self._up[0]
        wide += self._up[1]
        z: _Array = _gelu(wide) @ self._down[0]
        z += self._down[1]
        z += y
        _normalise(z, *self._norm2)
        return z


def _attend(mixed: _Array, n_texts: int, length: int) -> _Array:
    """Return softmax(q k) v of each head (Vaswani et al. 2017, eq. 1); q comes scaled."""
    import numpy as np

    parts = mixed.reshape(n_texts, length, 3, _N_HEADS, _HEAD).transpose(2, 0, 3, 1, 4)
    q, k, v = parts[0], parts[1], parts[2]
    weights = q @ k.transpose(0, 1, 3, 2)
    weights -= weights.max(axis=-1, keepdims=True)
    np.exp(weights, out=weights)
    mixture = weights @ v
    mixture /= np.einsum("thij->thi", weights)[..., None]
    attended: _Array = mixture.transpose(0, 2, 1, 3).reshape(n_texts * length, _DIM)
    return attended


def _normalise(x: _Array, weight: _Array, bias: _Array) -> None:
    """Normalise each row in place (Ba, Kiros and Hinton 2016)."""
    import numpy as np

    x -= x.mean(axis=-1, keepdims=True)
    x /= np.sqrt(np.einsum("ij,ij->i", x, x) / _DIM + _EPSILON)[:, None]
    x *= weight
    x += bias


def _gelu(x: _Array) -> _Array:
    """Return GELU by its tanh form (Hendrycks and Gimpel 2016, section 2)."""
    import numpy as np

    y = x * x
    y *= 0.044715
    y += 1.0
    y *= x
    y *= math.sqrt(2.0 / math.pi)
    np.tanh(y, out=y)
    y += 1.0
    y *= x
    y *= 0.5
    return y


class _Onnx:
    """The encoder in ONNX Runtime, int8 throughout."""

    def __init__(self, folder: Path) -> None:
        _without_telemetry()
        import onnxruntime  # its own types are incomplete

        self._runtime: Any = onnxruntime
        # If the program has already imported it, this is all that can be done.
        self._runtime.disable_telemetry_events()
        self._folder = folder
        self._session = self._opened("model.onnx")

    def _opened(self, name: str) -> Any:  # noqa: ANN401
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        return self._runtime.InferenceSession(
            str(self._folder / name), options, providers=["CPUExecutionProvider"]
        )

    @cached_property
    def _of_sentences(self) -> Any:  # noqa: ANN401
        return self._opened("sentences.onnx")

    def batches(self, lengths: Sequence[int]) -> Iterator[slice]:
        first = 0
        for _, n_texts, length in _equal_runs(lengths):
            last = first + n_texts
            step = max(1, _ONNX_BATCH_TOKENS // length)
            yield from (slice(i, min(i + step, last)) for i in range(first, last, step))
            first = last

    def encode(self, batch: Sequence[Sequence[int]], *, sentences: bool = False) -> Vectors:
        import numpy as np

        session = self._of_sentences if sentences else self._session
        outputs: Sequence[Vectors] = session.run(None, {"ids": np.array(batch, dtype=np.int32)})
        return outputs[0]


def _without_telemetry() -> None:
    """Turn off ONNX Runtime's telemetry, unless the user has decided otherwise.

    From 1.32 on it is also active on Linux and macOS, and keeps an identifier of the machine in
    `~/.cache`. Only a variable that is set before it starts prevents both (its pull requests 27379
    and 29843, which used different names).
    """
    for name in ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED"):
        os.environ.setdefault(name, "1")


def _by_tokens(lengths: Sequence[int], max_tokens: int) -> Iterator[slice]:
    """Cut texts, ordered by length, into batches of at most `max_tokens`, but at least one text."""
    first, n_tokens = 0, 0
    for i, length in enumerate(lengths):
        if i > first and n_tokens + length > max_tokens:
            yield slice(first, i)
            first, n_tokens = i, 0
        n_tokens += length
    if lengths:
        yield slice(first, len(lengths))


def _equal_runs(lengths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield (first token, number of texts, length) of each run of texts of one length."""
    first, i = 0, 0
    while i < len(lengths):
        j = i
        while j < len(lengths) and lengths[j] == lengths[i]:
            j += 1
        yield first, j - i, lengths[i]
        first += (j - i) * lengths[i]
        i = j
