"""What one generator or embedder gave is never taken for what another would give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest

from ragkit import RAG, Answer, Document, Settings
from ragkit.trimming import Certificate, TrimPolicy
from ragkit.trimming.certificate import fingerprints, why_void
from ragkit.types import Generation, GenerationOptions, Json, Prompt, TokenCounter, Turn, Usage
from ragkit_connectors.testing import OpenAIServer, Reply, WordEmbedder
from ragkit_eval.data.datasets import load_dataset
from ragkit_eval.running.cache import Cache, CachingEmbedder, CachingGenerator
from ragkit_eval.running.stores import OpenedRag

from .made import make_dataset

PROMPT = Prompt(text="Where is the desk?", question="Where is the desk?")
POLICY = TrimPolicy(name="p")


class Nameless:
    """A third party's generator, from before fingerprints: it has a name and nothing else."""

    name = "own:model"
    calls_llm = True
    counter: TokenCounter | None = None

    def __init__(self, says: str) -> None:
        self.says = says
        self.n_calls = 0

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Say it."""
        del prompt, options
        self.n_calls += 1
        return Generation(text=self.says, usage=Usage())

    def stream(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str | Generation]:
        """Say it at once."""
        generation = self.generate(prompt, options)
        yield generation.text
        yield generation


class Adapted(Nameless):
    """One of the same name whose adapter is part of its fingerprint."""

    def __init__(self, adapter: str) -> None:
        super().__init__(says=f"by {adapter}")
        self.fingerprint = f"own:model {adapter}"


def say(generator: Nameless, cache: Cache, *, scope: str = "", prompt: Prompt = PROMPT) -> str:
    """Return the answer through the cache."""
    caching = CachingGenerator(generator, cache, scope=scope)
    return caching.generate(prompt, GenerationOptions()).text


def test_two_adapters_share_no_answers(tmp_path: Path) -> None:
    """The name is the same, the fingerprint is not; equal settings are asked once."""
    with Cache(tmp_path) as cache:
        assert say(Adapted("a"), cache) == "by a"
        assert say(Adapted("b"), cache) == "by b"
        again = Adapted("a")
        assert say(again, cache) == "by a"
        assert again.n_calls == 0
        # Where a guardrail looks at the question alone, the same text is not the same prompt.
        assert say(again, cache, prompt=Prompt(text=PROMPT.text, question="desk?")) == "by a"
        assert again.n_calls == 1


def test_without_a_fingerprint_what_it_was_opened_with_counts(tmp_path: Path) -> None:
    """An older third party's generator is cached by its name and the settings that were given."""
    with Cache(tmp_path) as cache:
        assert say(Nameless("one"), cache, scope="a") == "one"
        assert say(Nameless("two"), cache, scope="b") == "two"
        assert say(Nameless("three"), cache, scope="a") == "one"


def test_embedders_of_one_model_on_two_servers_share_no_vectors(tmp_path: Path) -> None:
    """Stores know them by the same fingerprint; the cache looks at the variant as well."""
    pytest.importorskip("numpy")

    class Served(WordEmbedder):
        def __init__(self, variant: str) -> None:
            super().__init__()
            self.variant = variant
            self.name = "served"

    with Cache(tmp_path) as cache:
        for variant in ("a", "b", "a"):
            embedder = CachingEmbedder(Served(variant), cache, name="served")
            embedder.forget_saved()
            embedder.embed_query("desk")
            embedder.embed_documents(["desk"])
        assert embedder.saved.seconds > 0.0
        assert embedder.fingerprint == WordEmbedder().fingerprint
        fresh = CachingEmbedder(Served("c"), cache, name="served")
        fresh.embed_query("desk")
        assert fresh.saved.seconds == 0.0


def test_an_evaluation_asks_again_with_another_setting(tmp_path: Path) -> None:
    """Settings of the connector reach the cache; the run's manifest tells them apart too."""
    dataset = load_dataset(make_dataset(tmp_path / "town"))
    with OpenAIServer([Reply(text="At nine.")]) as server, Cache(tmp_path / "cache") as cache:

        def ask(**options: Json) -> Mapping[str, Json]:
            settings = Settings(
                embedder="none",
                generator="openai:m",
                base_url=server.base_url,
                generator_options=dict(options),
            )
            with OpenedRag(dataset, settings, cache) as opened:
                opened.rag.ask("When does the ferry to Skerry leave?")
                return opened.rag.configuration()

        first, same, other = ask(), ask(), ask(context_window=9000)
        assert len(server.requests) == 2
        assert first == same
        assert first["generator"] == other["generator"]
        assert first["generator_fingerprint"] != other["generator_fingerprint"]
        assert ask(retry_seconds=1.0) == first
        assert len(server.requests) == 2


@pytest.mark.parametrize("template", ["guarded", "default"])
def test_a_second_evaluation_asks_nothing_again(tmp_path: Path, template: str) -> None:
    """Prompts of the guarded template are reproducible: its boundary is that of the deployment.

    What comes before the context is the same for every question, byte for byte, so that a provider
    can cache it.
    """
    dataset = load_dataset(make_dataset(tmp_path / "town"))
    questions = ["When does the ferry to Skerry leave?", "Where are ferry tickets sold?"]
    reply = Reply(text="At nine.", thoughts="Hm.", more={"model": "m-1", "service_tier": "flex"})
    with OpenAIServer([reply]) as server:

        def ask() -> list[Answer]:
            settings = Settings(
                embedder="none", generator="openai:m", base_url=server.base_url, template=template,
                refuse_below="off",
            )  # fmt: skip
            with (
                Cache(tmp_path / "cache") as cache,
                OpenedRag(dataset, settings, cache) as opened,
            ):
                history = [Turn(role="user", content="Is there a ferry?")]
                return [opened.rag.ask(question, history=history) for question in questions]

        first, again = ask(), ask()
    assert len(server.requests) == len(questions)
    assert [answer.messages for answer in first] == [answer.messages for answer in again]
    for fresh, cached in zip(first, again, strict=True):
        assert (fresh.text, fresh.reasoning, fresh.usage) == ("At nine.", "Hm.", cached.usage)
        assert (cached.text, cached.reasoning) == (fresh.text, fresh.reasoning)
        assert cached.receipt.served_model == fresh.receipt.served_model == "m-1"
        assert cached.receipt.served_tier == fresh.receipt.served_tier == "flex"
    sent = [cast("list[Json]", request.body["messages"]) for request in server.requests]
    assert sent[0][:-1] == sent[1][:-1]
    assert sent[0][0] == first[0].messages[0].to_dict()


def test_a_run_says_where_settings_are_not_known(tmp_path: Path) -> None:
    """A third party's generator has a name and no fingerprint: null."""
    with RAG(tmp_path / "kb", config=Settings(embedder="none"), generator=Nameless("x")) as rag:
        rag.ingest(Document(id="a", text="The desk is at the front."))
        found = rag.configuration()
    assert found["generator"] == "own:model"
    assert found["generator_fingerprint"] is None
    assert found["reranker_fingerprint"] is None


def _certificate(configuration: Mapping[str, Json], *, answers: bool) -> Certificate:
    return Certificate(fingerprints=fingerprints(configuration, POLICY, answers=answers))


def _configuration(tmp_path: Path, generator: Nameless) -> dict[str, Json]:
    with RAG(tmp_path / "kb", config=Settings(embedder="none"), generator=generator) as rag:
        rag.ingest(Document(id="a", text="The desk is at the front."))
        return rag.configuration()


def test_a_certificate_of_answers_is_void_with_other_settings_of_the_generator(
    tmp_path: Path,
) -> None:
    """The name stays, the fingerprint does not; a certificate about contexts does not mind."""
    one, other = (_configuration(tmp_path, Adapted(adapter)) for adapter in ("a", "b"))
    about_answers = _certificate(one, answers=True)
    assert why_void(about_answers, one, POLICY) is None
    assert why_void(about_answers, other, POLICY) == (
        "generator settings is 'own:model b', certified with 'own:model a'"
    )
    assert why_void(_certificate(one, answers=False), other, POLICY) is None


def test_a_certificate_made_before_is_judged_as_before(tmp_path: Path) -> None:
    """Without a fingerprint in it, or of a generator without one, the name decides."""
    one, other = (_configuration(tmp_path, Adapted(adapter)) for adapter in ("a", "b"))
    certificate = _certificate(one, answers=True)
    known = certificate.fingerprints
    assert known is not None
    old = {key: value for key, value in known.items() if not key.endswith(" settings")}
    assert len(old) == len(known) - 3
    assert why_void(Certificate(fingerprints=old), other, POLICY) is None
    renamed = Certificate(fingerprints={**old, "generator": "else"})
    assert why_void(renamed, other, POLICY) is not None
    unknown = _certificate(_configuration(tmp_path, Nameless("x")), answers=True)
    assert why_void(unknown, other, POLICY) is None
    assert "None" in str(why_void(certificate, {**one, "generator_fingerprint": None}, POLICY))


def test_settings_of_reranker_and_retriever_void_it_too(tmp_path: Path) -> None:
    """They decide what is retrieved, which every certificate is about."""
    found = _configuration(tmp_path, Nameless("x"))
    for part in ("reranker", "retriever"):
        one = {**found, f"{part}_fingerprint": "a"}
        certificate = _certificate(one, answers=False)
        assert why_void(certificate, one, POLICY) is None
        void = why_void(certificate, {**found, f"{part}_fingerprint": "b"}, POLICY)
        assert str(void).startswith(f"{part} settings")
