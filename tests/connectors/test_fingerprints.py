"""What tells a model from others of its name: each setting that can change what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from ragkit.generation import ExtractiveGenerator
from ragkit.text.wordpiece import load_wordpiece
from ragkit.types import Generation, GenerationOptions, Prompt, embeds_like, fingerprint_of
from ragkit_connectors import open_embedder, open_generator, open_reranker, open_store
from ragkit_connectors.ollama import OllamaEmbedder, OllamaGenerator
from ragkit_connectors.openai import OpenAIEmbedder, OpenAIGenerator
from ragkit_connectors.support.fingerprints import (
    embedder_folder_digest,
    file_digest,
    generator_folder_digest,
)
from ragkit_connectors.testing import EmbedderContract, GeneratorContract

_Settings = Mapping[str, object]
_Case = tuple[Callable[..., object], str, _Settings, Sequence[_Settings], _Settings]

LOCAL = "http://127.0.0.1:9"
AWS: _Settings = {"region": "eu-west-1"}
INDEX = "0123abcd-0123-0123-0123-0123456789ab"
GUARDED = {"guardrail": "abc1", "guardrail_version": "1"}

CASES: list[_Case] = [
    (open_generator, "openai:m", {},
     [{"base_url": LOCAL}, {"context_window": 512}, {"count_with": "vllm"},
      {"system_role": "fold"}, {"request_fields": {"a": 1}}, {"request_fields": {"a": 2}}],
     {"api_key_env": "SECRET", "timeout_seconds": 1.0, "retry_seconds": 1.0,
      "max_response_bytes": 9}),
    (open_generator, "ollama:m", {},
     [{"base_url": LOCAL}, {"num_ctx": 512}, {"context_window": 512}, {"think": True},
      {"think": False}, {"think": "low"}, {"system_role": "fold"}, {"request_fields": {"a": 1}}],
     {"api_key_env": "SECRET", "timeout_seconds": 1.0, "keep_alive": "1m"}),
    (open_generator, "bedrock:amazon.nova-lite-v1:0", AWS,
     [{"region": "us-east-1"}, {"base_url": "https://vpce.example"}, {"context_window": 512},
      {"max_tokens": 7}, {"model_family": "other"}, {"request_fields": {"thinking": 1}},
      {"request_fields": {"thinking": 2}}, GUARDED, {**GUARDED, "guardrail_version": "2"},
      {**GUARDED, "guard_question_only": True}, {"service_tier": "flex"},
      {"service_tier": "priority"}, {"latency": "optimized"}, {"effort": "low"},
      {"effort": "high"}],
     {"timeout_seconds": 1.0, "retry_seconds": 1.0, "request_metadata": {"team": "a"},
      "count_tokens": False, "cache_system": True}),
    (open_generator, "sagemaker:e", {**AWS, "payload": "openai"},
     [{"region": "us-east-1"}, {"payload": "tgi"}, {"model": "a"}, {"model": "b"},
      {"inference_component": "lora-a"}, {"inference_component": "lora-b"},
      {"target_model": "a.tar.gz"}, {"context_window": 512}, {"system_role": "fold"},
      {"request_fields": {"a": 1}}, {"base_url": "https://vpce.example"}],
     {"timeout_seconds": 1.0, "retry_seconds": 1.0}),
    (open_embedder, "openai:m", {},
     [{"base_url": LOCAL}, {"dimensions": 8}, {"document_prompt": "d"}, {"query_prompt": "d"}],
     {"api_key_env": "SECRET", "timeout_seconds": 1.0, "batch_size": 2, "encoding": "base64"}),
    (open_embedder, "ollama:m", {},
     [{"base_url": LOCAL}, {"document_prompt": "d"}, {"query_prompt": "d"}],
     {"api_key_env": "SECRET", "timeout_seconds": 1.0, "keep_alive": 1}),
    (open_embedder, "bedrock:amazon.titan-embed-text-v2:0", AWS,
     [{"region": "us-east-1"}, {"dimensions": 256}, {"base_url": "https://vpce.example"}],
     {"timeout_seconds": 1.0, "retry_seconds": 1.0, "n_threads": 2}),
    (open_embedder, "sagemaker:e", {**AWS, "payload": "tei", "dim": 8},
     [{"region": "us-east-1"}, {"payload": "openai"}, {"truncate": True}, {"revision": "2"},
      {"dim": 9}, {"document_prompt": "d"}, {"query_prompt": "d"}, {"target_model": "a"},
      {"inference_component": "a"}, {"base_url": "https://vpce.example"}],
     {"timeout_seconds": 1.0, "batch_size": 2}),
    (open_reranker, "bedrock:amazon.rerank-v1:0", AWS,
     [{"region": "us-east-1"}, {"n_results": 3}, {"base_url": "https://vpce.example"}],
     {"timeout_seconds": 1.0, "retry_seconds": 1.0}),
    (open_store, "bedrock-kb:0123456789", AWS,
     [{"region": "us-east-1"}, {"managed": True}, {"list_fields": ["a"]}, {"groups_field": "g"},
      {"user_id": "ann"}, {"guardrail_id": "a"}, {"guardrail_id": "a", "guardrail_version": "2"},
      {"reranker_arn": "arn:aws:bedrock:eu-west-1::foundation-model/r"},
      {"reranker_arn": "arn:aws:bedrock:eu-west-1::foundation-model/r", "candidates": 9}],
     {"timeout_seconds": 1.0, "retry_seconds": 1.0}),
    (open_store, f"kendra:{INDEX}", AWS,
     [{"region": "us-east-1"}, {"operation": "query"}, {"user_id": "ann"}, {"user_token": "t"},
      {"attributes": ["a"]}, {"language": "de"}, {"fall_back_to_query": True},
      {"list_attributes": ["a"]}, {"date_attributes": []}, {"require_user_context": True}],
     {"timeout_seconds": 1.0, "cache_seconds": 9.0, "burst": 2}),
    (open_store, f"opensearch:{LOCAL}/i", {"text_field": "t"},
     [{"text_field": "u"}, {"vector_field": "v"}, {"hybrid": "client"}],
     {"timeout_seconds": 1.0, "username_env": "SECRET"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("open_part", "name", "given", "changes", "harmless"),
    CASES,
    ids=[f"{case[0].__name__[5:]} {case[1].partition(':')[0]}" for case in CASES],
)
def test_every_setting_that_matters_changes_the_fingerprint(
    open_part: Callable[..., object],
    name: str,
    given: _Settings,
    changes: Sequence[_Settings],
    harmless: _Settings,
) -> None:
    """No two of different settings are alike; keys, time-outs and retries change nothing."""
    if "region" in given:
        pytest.importorskip("boto3")
    if name.startswith("opensearch"):
        pytest.importorskip("opensearchpy")

    def fingerprint(**settings: object) -> str:
        found = fingerprint_of(open_part(name, **{**given, **settings}))
        assert found is not None
        return found

    plain = fingerprint()
    assert fingerprint() == plain
    for key, value in harmless.items():
        assert fingerprint(**{key: value}) == plain, key
    found = [plain, *(fingerprint(**change) for change in changes)]
    twins = [change for i, change in enumerate(changes, 1) if found[i] in found[:i]]
    assert twins == []
    kind, _, rest = name.partition(":")
    assert fingerprint_of(open_part(f"{kind}:{_other(rest)}", **given)) not in found


def _other(rest: str) -> str:
    """Return another name of the same kind."""
    return rest[:-1] + ("1" if rest[-1] != "1" else "2")


def test_secrets_leave_no_trace() -> None:
    """A token's presence counts, the token does not; nor does it show."""
    pytest.importorskip("boto3")
    one, other = (
        fingerprint_of(open_store(f"kendra:{INDEX}", region="eu-west-1", user_token=token))
        for token in ("secret-a", "secret-b")
    )
    assert one == other
    assert "secret" not in str(one)


def test_what_stores_recorded_stays() -> None:
    """Fingerprints of embedders in stores made earlier; another one would need a rebuild."""
    assert OpenAIEmbedder("m").fingerprint == "openai m dim=own prompts=['', '']"
    assert OpenAIEmbedder("m", base_url=LOCAL, dimensions=8, query_prompt="q: ").fingerprint == (
        "openai m dim=8 prompts=['', 'q: ']"
    )
    assert OllamaEmbedder("m").fingerprint == "ollama m prompts=['', '']"
    assert fingerprint_of(OllamaEmbedder("m")) != "ollama m prompts=['', '']"
    pytest.importorskip("boto3")
    titan = open_embedder("bedrock:eu.amazon.titan-embed-text-v2:0", region="eu-west-1")
    assert titan.fingerprint == "bedrock amazon.titan-embed-text-v2:0 dim=1024 purposes=/"
    tei = open_embedder("sagemaker:e", region="eu-west-1", payload="tei", dim=8, truncate=True)
    assert tei.fingerprint == 'sagemaker e  [null, null, null, "", ""] dim=8'


def test_the_built_in_embedder_is_what_it_was() -> None:
    """It has no settings; stores made with weights that were rounded otherwise go on."""
    pytest.importorskip("numpy")
    from ragkit.embedding.builtin import BuiltinEmbedder

    older = "all-MiniLM-L6-v2/int8 89cdc88c13561840 mean cap=512"
    recorded = "all-MiniLM-L6-v2/int8 8cdf570d97cfa0ce mean cap=512"
    assert BuiltinEmbedder.fingerprint == recorded
    assert embeds_like(BuiltinEmbedder(), older)
    assert not embeds_like(BuiltinEmbedder(), "all-MiniLM-L6-v2/int8 0 mean cap=512")
    assert fingerprint_of(BuiltinEmbedder(n_threads=2)) == recorded


def test_files_count_by_their_content(tmp_path: Path) -> None:
    """Weights are the same in another place and under another date, and others when changed."""
    for name in ("one", "two"):
        folder = tmp_path / name
        (folder / "deep").mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "deep" / "vocab.txt").write_text("a\nb\n")
        (folder / "README.md").write_text(name)
    one, two = tmp_path / "one", tmp_path / "two"
    # What a store of a sentence-transformers folder of these files has recorded.
    assert embedder_folder_digest(one) == "3680d79f6b687010"
    assert generator_folder_digest(one) == generator_folder_digest(two)
    (two / "chat_template.jinja").write_text("{{ messages }}")
    assert embedder_folder_digest(one) == embedder_folder_digest(two)
    assert generator_folder_digest(one) != generator_folder_digest(two)
    assert file_digest(one / "model.safetensors") == file_digest(two / "model.safetensors")
    (two / "model.safetensors").write_bytes(b"weightz")
    assert file_digest(one / "model.safetensors") != file_digest(two / "model.safetensors")
    assert embedder_folder_digest(one) != embedder_folder_digest(two)


def test_the_extractive_generator_has_one() -> None:
    """How many sentences it gives is part of it."""
    one, two = (
        ExtractiveGenerator(counter=load_wordpiece(), max_units=n).fingerprint for n in (1, 2)
    )
    assert one != two


class _Forgetful:
    """A generator whose fingerprint leaves out its temperature."""

    name = "forgetful"
    calls_llm = False
    counter = None

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature
        self.fingerprint = self.name

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Give nothing."""
        raise NotImplementedError

    stream = generate


def test_the_contracts_find_a_setting_that_is_left_out() -> None:
    """Whoever writes a generator or an embedder is told."""

    class Contract(GeneratorContract):
        def make_each_setting(self) -> Sequence[_Forgetful]:  # type: ignore[override]
            return [_Forgetful(0.0), _Forgetful(1.0)]

    class Nameless(EmbedderContract):
        def make_each_setting(self) -> Sequence[object]:  # type: ignore[override]
            return [object()]

    with pytest.raises(AssertionError, match="number 1 has the fingerprint of another"):
        Contract().test_fingerprints_tell_settings_apart()
    with pytest.raises(AssertionError, match="no fingerprint"):
        Nameless().test_fingerprints_tell_settings_apart()

    class Openai(GeneratorContract):
        def make_each_setting(self) -> Sequence[OpenAIGenerator | OllamaGenerator]:
            return [OpenAIGenerator("m"), OpenAIGenerator("n"), OllamaGenerator("m")]

    Openai().test_fingerprints_tell_settings_apart()
