"""Fit the map from the first layers of the built-in embedder to a sentence's vector.

A sentence's vector need not come from all six layers: the means of its token states before the
first layer and after layer `N_SENTENCE_LAYERS`, mapped linearly to what all layers give (ridge
regression), are enough for trimming, at a fraction of the cost.

    python tools/fit_sentence_map.py FILE... [--out FOLDER] [--sentences 12000]

Each FILE is text, or JSON Lines with a field `text`. Writes `sentence_map.bin` and prints its
SHA-256 and the mean cosine, to the vectors of all layers, of every tenth sentence, which the fit
does not see. Needs numpy. The shipped map was fitted on 12,000 sentences of SQuAD 1.1, SciFact,
HotpotQA, Cranfield and manuals of open-source software, none of which is in it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from make_minilm import pack
from numpy.typing import NDArray

from ragkit.embedding.builtin import DATA, MAX_TOKENS, NumpyEncoder
from ragkit.text.sentences import sentence_spans
from ragkit.text.wordpiece import load_wordpiece

RIDGE = 0.03
"""Regularisation, as a share of the mean variance of an input."""

AT_ONCE = 256


def sentences(paths: Sequence[Path]) -> Iterator[str]:
    """Yield the sentences of files."""
    for path in paths:
        raw = path.read_text(encoding="utf-8", errors="replace")
        lines = raw.splitlines() if path.suffix == ".jsonl" else []
        for text in [json.loads(line)["text"] for line in lines] or [raw]:
            yield from (text[a:b] for a, b in sentence_spans(text))


def states(texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what the map reads and what it should give, one row per text."""
    runner, tokens = NumpyEncoder(DATA), load_wordpiece()
    inputs: list[NDArray[np.float32]] = []
    outputs: list[NDArray[np.float32]] = []
    for first in range(0, len(texts), AT_ONCE):
        ids = [
            tokens.encode(text, max_tokens=MAX_TOKENS) for text in texts[first : first + AT_ONCE]
        ]
        ids.sort(key=len)
        inputs.append(runner.first_layers(ids))
        outputs.append(runner.encode(ids))
    return np.concatenate(inputs), np.concatenate(outputs)


def fit(
    inputs: NDArray[np.float64], outputs: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights and bias of the ridge regression of outputs on inputs."""
    mean, target = inputs.mean(axis=0), outputs.mean(axis=0)
    centred = inputs - mean
    gram: NDArray[np.float64] = centred.T @ centred
    gram += RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    products: NDArray[np.float64] = centred.T @ (outputs - target)
    weights = np.asarray(np.linalg.solve(gram, products), dtype=np.float64)
    bias = np.asarray(target - mean @ weights, dtype=np.float64)
    return weights, bias


def main() -> None:
    """Fit, write and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=DATA)
    parser.add_argument("--sentences", type=int, default=12_000)
    options = parser.parse_args()
    texts = sorted(set(sentences(options.files)))
    random.Random(0).shuffle(texts)  # noqa: S311 (which sentences, no secret)
    inputs, outputs = states(texts[: options.sentences])
    held_out = np.arange(len(inputs)) % 10 == 0
    weights, bias = fit(inputs[~held_out].astype(np.float64), outputs[~held_out].astype(np.float64))
    mapped = inputs[held_out] @ weights + bias
    mapped /= np.linalg.norm(mapped, axis=1, keepdims=True)
    cosine = float((mapped * outputs[held_out]).sum(axis=1).mean())
    raw, _ = pack({"map": weights.astype(np.float16), "map.bias": bias.astype(np.float32)})
    (options.out / "sentence_map.bin").write_bytes(raw)
    print(f"{hashlib.sha256(raw).hexdigest()}  sentence_map.bin")
    print(f"mean cosine {cosine:.4f} of {int(held_out.sum())} sentences of {len(inputs)}")


if __name__ == "__main__":
    main()
