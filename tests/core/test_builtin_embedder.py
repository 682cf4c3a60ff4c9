"""The built-in embedder on both run times."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.embedding import BuiltinEmbedder
from ragkit.embedding.builtin import DATA, WEIGHTS_SHA256, Runtime
from ragkit.errors import ConfigError, StoreDamagedError

np = pytest.importorskip("numpy", reason="the embedder needs numpy")

SENTENCES = [
    "How do I reset my badge?",
    "Badges are reset at the front desk.",
    "The river floods its banks every spring.",
    "Each spring the river overflows.",
    "Invoices are paid within thirty days of receipt.",
    "",
    "x",
    "The committee met on Tuesday and, after a long debate, put off the vote on the budget. " * 12,
    "Überraschung: 東京 — naïve façade!",
]

needs_onnxruntime = pytest.mark.skipif(
    find_spec("onnxruntime") is None, reason="ONNX Runtime is not installed"
)
BOTH: list[Runtime] = ["numpy", "onnxruntime"]


@cache
def opened(runtime: Runtime) -> BuiltinEmbedder:
    """Return the embedder on a run time."""
    if runtime == "onnxruntime" and find_spec("onnxruntime") is None:
        pytest.skip("ONNX Runtime is not installed")
    return BuiltinEmbedder(runtime=runtime)


@pytest.fixture(params=BOTH, scope="module")
def embedder(request: pytest.FixtureRequest) -> BuiltinEmbedder:
    """An embedder on each run time that is installed."""
    return opened(request.param)


def test_rows_are_unit_vectors_in_float32(embedder: BuiltinEmbedder) -> None:
    """Every text, the empty one too, gives a float32 row of 384 numbers and length 1."""
    vectors = embedder.embed_documents(SENTENCES)
    assert vectors.shape == (len(SENTENCES), embedder.dim) == (9, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_no_texts_give_no_rows(embedder: BuiltinEmbedder) -> None:
    """An empty list gives an array of shape (0, 384)."""
    assert embedder.embed_documents([]).shape == (0, 384)


def test_a_vector_depends_on_its_text_alone(embedder: BuiltinEmbedder) -> None:
    """Alone, among others or in another order, a text gives the same vector up to rounding."""
    together = embedder.embed_documents(SENTENCES)
    backwards = embedder.embed_documents(SENTENCES[::-1])[::-1]
    alone = np.stack([embedder.embed_query(text) for text in SENTENCES])
    np.testing.assert_allclose(backwards, together, atol=1e-5)
    np.testing.assert_allclose(alone, together, atol=1e-5)


@pytest.mark.parametrize("runtime", BOTH)
@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.text(max_size=60) | st.sampled_from(SENTENCES), max_size=12))
def test_any_text_has_the_vector_that_it_has_alone(runtime: Runtime, texts: list[str]) -> None:
    """Whatever else is in the call, of any length, in both ways of embedding."""
    embedder = opened(runtime)
    for embed in (embedder.embed_documents, embedder.embed_sentences):
        together = embed(texts)
        for text, vector in zip(texts, together, strict=True):
            np.testing.assert_allclose(embed([text])[0], vector, atol=1e-5)


def test_a_sentence_needs_one_layer_only(embedder: BuiltinEmbedder) -> None:
    """The vectors are unit rows, near those of all layers, and not the same."""
    short = embedder.embed_sentences(SENTENCES)
    assert short.shape == (9, 384)
    assert short.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, atol=1e-5)
    cosines = (short * embedder.embed_documents(SENTENCES)).sum(axis=1)
    assert 0.6 < cosines[:5].mean() < 0.99
    assert embedder.embed_sentences([]).shape == (0, 384)


def test_the_same_call_gives_the_same_bits(embedder: BuiltinEmbedder) -> None:
    """Nothing random takes part."""
    once, again = embedder.embed_documents(SENTENCES), embedder.embed_documents(SENTENCES)
    assert once.tobytes() == again.tobytes()


def test_texts_of_one_meaning_are_closer_than_others(embedder: BuiltinEmbedder) -> None:
    """A paraphrase scores above an unrelated sentence by a wide margin."""
    vectors = embedder.embed_documents(SENTENCES)
    assert vectors[2] @ vectors[3] > 0.7
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[4] + 0.3


def test_many_short_texts_keep_their_order(embedder: BuiltinEmbedder) -> None:
    """More texts than are held at once come back one row each, in order."""
    texts = [f"no. {number}" for number in range(260)]
    vectors = embedder.embed_documents(texts)
    assert vectors.shape == (260, 384)
    for index in (0, 255, 256, 259):
        np.testing.assert_allclose(vectors[index], embedder.embed_query(texts[index]), atol=1e-5)


def test_what_is_past_the_cap_is_ignored(embedder: BuiltinEmbedder) -> None:
    """510 word pieces are read; texts that differ later only have one vector, and are counted."""
    full, longer = "word " * 510, "word " * 510 + "and something else"
    vectors = embedder.embed_documents([full, longer])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-5)
    assert embedder.max_tokens == 512
    assert embedder.count_truncated([full, full + "word", longer, "short", ""]) == 2


@pytest.mark.slow
def test_threads_share_one_embedder(embedder: BuiltinEmbedder) -> None:
    """Questions that are embedded at once by many threads get their own vectors."""
    fresh = BuiltinEmbedder(runtime=embedder.runtime)
    with ThreadPoolExecutor(8) as pool:
        at_once = np.stack(list(pool.map(fresh.embed_query, SENTENCES * 4)))
    expected = np.stack([embedder.embed_query(text) for text in SENTENCES] * 4)
    np.testing.assert_allclose(at_once, expected, atol=1e-5)


@needs_onnxruntime
def test_onnx_runtime_keeps_no_record_of_its_use(tmp_path: Path) -> None:
    """Its telemetry would keep an identifier and a queue in the home folder, then send it."""
    code = (
        "from ragkit.embedding import BuiltinEmbedder\n"
        "BuiltinEmbedder(runtime='onnxruntime').embed_query('ferry')"
    )
    named = {"ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED", "XDG_CACHE_HOME"}
    environment = {name: value for name, value in os.environ.items() if name not in named}
    subprocess.run(
        [sys.executable, "-c", code], check=True, env=environment | {"HOME": str(tmp_path)}
    )
    assert list(tmp_path.rglob("*")) == []


@needs_onnxruntime
def test_both_run_times_agree() -> None:
    """The 8-bit products of ONNX Runtime stay within a cosine of 0.98 of numpy's."""
    exact, quick = (opened(name).embed_documents(SENTENCES) for name in BOTH)
    assert (exact * quick).sum(axis=1).min() >= 0.98
    exact, quick = (opened(name).embed_sentences(SENTENCES) for name in BOTH)
    assert (exact * quick).sum(axis=1).min() >= 0.98


@pytest.mark.slow
@needs_onnxruntime
@pytest.mark.parametrize("runtime", BOTH)
def test_several_threads_change_no_bit(runtime: Runtime) -> None:
    """Texts that are encoded in four threads get the vectors of one thread."""
    texts = [*SENTENCES, *(f"{text} " * 30 for text in SENTENCES)]
    one = BuiltinEmbedder(runtime=runtime).embed_documents(texts)
    four = BuiltinEmbedder(runtime=runtime, n_threads=4).embed_documents(texts)
    assert one.tobytes() == four.tobytes()


@needs_onnxruntime
def test_the_quick_run_time_is_the_default() -> None:
    """ONNX Runtime is taken where it is installed; the fingerprint is the same for both."""
    assert BuiltinEmbedder().runtime == "onnxruntime"
    assert BuiltinEmbedder().fingerprint == BuiltinEmbedder(runtime="numpy").fingerprint


def test_the_fingerprint_names_what_the_vectors_depend_on() -> None:
    """Both run times share a fingerprint, which names the weights and the cap."""
    prints = {BuiltinEmbedder(runtime=runtime).fingerprint for runtime in BOTH}
    (fingerprint,) = prints
    assert "cap=512" in fingerprint
    assert WEIGHTS_SHA256[:16] in fingerprint


@pytest.mark.parametrize("damage", ["flipped", "short", "missing"])
@pytest.mark.parametrize("runtime", BOTH)
@pytest.mark.parametrize("name", ["weights.bin", "sentence_map.bin"])
def test_damaged_weights_are_never_used(
    tmp_path: Path, damage: str, runtime: Runtime, name: str
) -> None:
    """One flipped bit, a cut file or none at all is an error that says what to do."""
    folder = tmp_path / "minilm"
    shutil.copytree(DATA, folder)
    weights = folder / name
    raw = bytearray(weights.read_bytes())
    if damage == "flipped":
        raw[len(raw) // 2] ^= 1
        weights.write_bytes(raw)
    elif damage == "short":
        weights.write_bytes(raw[:-1])
    else:
        weights.unlink()
    with pytest.raises(StoreDamagedError, match="weights"):
        BuiltinEmbedder(runtime=runtime, folder=folder).embed_query("x")


def test_an_unknown_runtime_is_named() -> None:
    """A wrong run time is answered with those there are."""
    with pytest.raises(ConfigError, match="'torch'; allowed: numpy onnxruntime"):
        BuiltinEmbedder(runtime="torch")  # type: ignore[arg-type]


def test_the_import_loads_no_extra() -> None:
    """Importing and making an embedder loads neither numpy nor ONNX Runtime."""
    code = (
        "import sys\nfrom ragkit.embedding import BuiltinEmbedder\nBuiltinEmbedder()\n"
        "print({'numpy', 'onnxruntime', 'hashlib', 'concurrent.futures'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
