"""Contracts of generators and embedders: classes of pytest tests to inherit.

A subclass says how to make the thing:

    class TestMyEmbedder(EmbedderContract):
        def make(self):
            return MyEmbedder()
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ragkit.errors import ConfigError, PromptTooLongError, RemoteError
from ragkit.types import (
    Chunk,
    ContextItem,
    Embedder,
    Generation,
    GenerationOptions,
    Generator,
    Hit,
    Json,
    Prompt,
    PromptCounter,
    ScoredSentence,
    Usage,
    fingerprint_of,
)
from ragkit_connectors.testing.expecting import both_calls, expect, raised
from ragkit_connectors.testing.saying import SayingContract

if TYPE_CHECKING:
    from ragkit.types import Vectors

_TEXTS = (
    "The badge is reset at the front desk.",
    "Water boils at 100 degrees Celsius at sea level.",
    "Ein Satz in einer anderen Sprache, mit Umlauten: äöü.",
    "reset badge",
)

_OPTIONS = GenerationOptions(
    max_tokens=64, temperature=0.0, top_p=1.0, top_k=1, stop=("\n\n\n",), seed=0
)
_WINDOW_TOKENS = 256
_MESSAGES = (
    "", " ", "\n", "a", "one two three", "Where is the badge reset?", "  leading and trailing  ",
    "tabs\tand\r\nlines\n\n\nmore", "Ein Satz mit Umlauten: äöüß ÄÖÜ, und € – „so“.",
    "日本語の質問です。中文也可以。", "مرحبا بالعالم",
    "🙂👩\u200d👩\u200d👧 e\u0301 \ufeff\u00a0\u2028", "<|im_end|>",
    "before <|im_end|>\n<|im_start|>assistant\nafter", "</s>", "<s>[INST] x [/INST]</s>",
    "<unk> <pad> [CLS] <|endoftext|> <|eot_id|>", "{{ messages }} {% raw %} {# x #}",
    "0123456789 3.14159 1e-9 0x7f", "def f(x):\n    return x ** 2  # code", "word " * 40,
)  # fmt: skip
"""Texts that tokenizers and chat templates have been seen to count in two ways."""


def sample_prompt() -> Prompt:
    """Return a prompt with a context of one passage and a question that it answers."""
    passage = "The badge is reset at the front desk. Bring your passport."
    first_end = passage.index(".") + 1
    spans = ((0, first_end), (first_end + 1, len(passage)))
    chunk = Chunk(
        id="c1", document_id="d1", start=0, end=len(passage), text=passage, n_tokens=13,
        sentences=spans,
    )  # fmt: skip
    sentences = tuple(
        ScoredSentence(start=start, end=end, text=passage[start:end], score=score, n_tokens=7)
        for (start, end), score in zip(spans, (0.9, 0.2), strict=True)
    )
    item = ContextItem(
        hit=Hit(rank=1, score=0.9, chunk=chunk), start=0, end=len(passage), text=passage,
        n_tokens=13, sentences=sentences,
    )  # fmt: skip
    question = "Where is the badge reset?"
    return Prompt(
        text=f"Answer from the context.\n\n{passage}\n\n{question}",
        question=question,
        context=(item,),
    )


class EmbedderContract:
    """What every embedder must do. `make` is called once per test."""

    batch_tolerance = 1e-3
    """Largest difference of a vector's elements between a text alone and the same text in a batch;
    more for run times that quantise a batch as a whole."""

    def make(self) -> Embedder:
        """Return the embedder under test."""
        raise NotImplementedError

    def make_each_setting(self) -> Sequence[Embedder]:
        """Return embedders that differ in settings that can change a vector, one at a time.

        Called twice, it makes them alike. Empty: settings are not looked at.
        """
        return ()

    def test_fingerprints_tell_settings_apart(self) -> None:
        """No two of different settings share a fingerprint, where they run included."""
        _expect_told_apart(self.make_each_setting(), self.make_each_setting())

    def test_vectors_have_the_stated_shape(self) -> None:
        """Documents give (n, dim), a question gives (dim,), all float32."""
        import numpy as np

        embedder = self.make()
        vectors, vector = embedder.embed_documents(_TEXTS), embedder.embed_query(_TEXTS[0])
        expect(vectors.shape == (len(_TEXTS), embedder.dim), f"shape {vectors.shape}")
        expect(vector.shape == (embedder.dim,), f"shape {vector.shape}")
        expect(vectors.dtype == vector.dtype == np.float32, f"{vectors.dtype}, {vector.dtype}")

    def test_vectors_have_length_one(self) -> None:
        """Each row has length 1, that of an empty text too."""
        embedder = self.make()
        vectors = embedder.embed_documents([*_TEXTS, "", " ", "\n\n"])
        _expect_units(vectors)
        _expect_units(embedder.embed_query("")[None, :])

    def test_no_texts_give_no_vectors(self) -> None:
        """An empty list gives shape (0, dim)."""
        embedder = self.make()
        expect(embedder.embed_documents([]).shape == (0, embedder.dim), "not (0, dim)")

    def test_vectors_come_in_the_order_of_the_texts(self) -> None:
        """Reversed texts give reversed vectors, however the embedder groups them by length."""
        embedder = self.make()
        texts = [text * n for n, text in enumerate(_TEXTS, start=1)]
        forth, back = embedder.embed_documents(texts), embedder.embed_documents(texts[::-1])
        _expect_close(forth, back[::-1], self.batch_tolerance)

    def test_a_batch_changes_nothing(self) -> None:
        """A text alone gives the same vector as in a batch."""
        embedder = self.make()
        together = embedder.embed_documents(_TEXTS)
        for i, text in enumerate(_TEXTS):
            _expect_close(together[i : i + 1], embedder.embed_documents([text]),
                          self.batch_tolerance)  # fmt: skip

    def test_vectors_are_reproducible(self) -> None:
        """The same texts give the same vectors, from another instance too."""
        first, again = self.make(), self.make()
        vectors = first.embed_documents(_TEXTS)
        _expect_close(vectors, first.embed_documents(_TEXTS), 0.0)
        _expect_close(vectors, again.embed_documents(_TEXTS), 0.0)

    def test_different_texts_give_different_vectors(self) -> None:
        """Vectors depend on the text."""
        vectors = self.make().embed_documents(_TEXTS[:2])
        expect(bool(abs(vectors[0] - vectors[1]).max() > 1e-3), "two texts, one vector")

    def test_the_fingerprint_stays(self) -> None:
        """Two instances made alike have the same fingerprint, and it says something."""
        first, again = self.make(), self.make()
        expect(bool(first.fingerprint.strip()), "the fingerprint is empty")
        expect(first.fingerprint == again.fingerprint, "the fingerprint changed")


class GeneratorContract(SayingContract):
    """What every generator must do, given the same prompt twice.

    `make` is called once per test. Models that sample should be made, or scripted, to repeat
    themselves.

    Attributes:
        unsupported_options: Fields of `GenerationOptions` that the backend does not support.
        options: What makes the generator repeat itself, for models that sample.
        prompt_texts: Prompts whose count is compared with what the model reports to have read.
    """

    unsupported_options: frozenset[str] = frozenset()
    options = GenerationOptions()
    prompt_texts: tuple[str, ...] = _MESSAGES

    def make(self) -> Generator:
        """Return the generator under test."""
        raise NotImplementedError

    def make_with_window(self, n_tokens: int) -> Generator | None:
        """Return one whose window has so many tokens; None where no window is known."""
        del n_tokens
        return None

    def make_unreachable(self) -> Generator | None:
        """Return one whose server is down; None for generators without a server."""
        return None

    def make_each_setting(self) -> Sequence[Generator]:
        """Return generators that differ in settings that can change an answer, one at a time.

        Called twice, it makes them alike. Empty: settings are not looked at.
        """
        return ()

    def prompt(self) -> Prompt:
        """Return a prompt that the generator answers."""
        return sample_prompt()

    def test_fingerprints_tell_settings_apart(self) -> None:
        """No two of different settings share a fingerprint, and equal ones have the same."""
        _expect_told_apart(self.make_each_setting(), self.make_each_setting())

    def test_it_answers_with_text(self) -> None:
        """An answer is not empty, and the generator has a name."""
        generator = self.make()
        generation = generator.generate(self.prompt(), GenerationOptions())
        expect(bool(generation.text.strip()), "the answer is empty")
        expect(bool(generator.name), "the name is empty")

    def test_stream_and_generate_agree(self) -> None:
        """A stream gives pieces of text that make up the whole answer, which comes last."""
        whole = self.make().generate(self.prompt(), self.options)
        *pieces, last = self.make().stream(self.prompt(), self.options)
        if not isinstance(last, Generation):
            raise AssertionError("the last item is no Generation")  # noqa: TRY004 - as _expect
        texts = [piece for piece in pieces if isinstance(piece, str)]
        expect(len(texts) == len(pieces), "a Generation came before the end")
        expect("".join(texts) == last.text, "pieces and whole differ")
        expect(last.text == whole.text, "stream and generate differ")

    def test_usage_is_known_or_none(self) -> None:
        """Token counts are not negative; an exact count says who counted."""
        generator = self.make()
        usage = generator.generate(self.prompt(), GenerationOptions()).usage
        for count in (usage.input_tokens, usage.output_tokens, usage.cached_tokens):
            expect(count is None or count >= 0, f"count {count}")
        expect(not usage.exact or usage.counter != "unknown", "exact, but nobody counted")
        if usage.exact and usage.cached_tokens is not None and usage.input_tokens is not None:
            expect(usage.cached_tokens <= usage.input_tokens, "more cached than sent")

    def test_every_option_is_accepted(self) -> None:
        """All options together that there are, 0 among them, still give an answer."""
        generation = self.make().generate(self.prompt(), self._supported(_OPTIONS))
        expect(bool(generation.text.strip()), "the answer is empty")

    def test_an_unsupported_option_is_refused(self) -> None:
        """What the backend cannot do is an error that names it, never dropped silently."""
        generator = self.make()
        for name in sorted(self.unsupported_options):
            value: Json = getattr(_OPTIONS, name)
            options = replace(GenerationOptions(), **{name: value})  # type: ignore[arg-type]
            for call in both_calls(generator, self.prompt(), options):
                message = str(raised(ConfigError, call))
                expect(name in message, f"the error does not name {name}: {message}")

    def test_usage_names_its_counter(self) -> None:
        """Tokens that were counted say who counted them."""
        usage = self.make().generate(self.prompt(), GenerationOptions()).usage
        if usage.input_tokens is not None or usage.output_tokens is not None:
            expect(usage.counter not in {"", "unknown"}, "tokens, but nobody counted")

    def test_a_prompt_beyond_the_window_is_refused(self) -> None:
        """A prompt too long, or too long with the answer, is an error and never cut."""
        generator = self.make_with_window(_WINDOW_TOKENS)
        if generator is None:
            return
        short, long = self.prompt(), Prompt(text="word " * 4 * _WINDOW_TOKENS, question="word?")
        for call in both_calls(generator, long, GenerationOptions()):
            raised(PromptTooLongError, call)
        if isinstance(generator, PromptCounter):
            n_tokens = generator.count_prompt(long).n_tokens
            expect(n_tokens > _WINDOW_TOKENS, f"a prompt that is too long has {n_tokens} tokens")
            if generator.count_prompt(short).exact:
                for call in both_calls(
                    generator, short, GenerationOptions(max_tokens=_WINDOW_TOKENS)
                ):
                    raised(PromptTooLongError, call)

    def test_a_prompt_within_the_window_is_answered(self) -> None:
        """A window that is known refuses nothing that fits."""
        generator = self.make_with_window(_WINDOW_TOKENS)
        if generator is not None:
            options = GenerationOptions(max_tokens=8)
            expect(bool(generator.generate(self.prompt(), options).text), "the answer is empty")

    def test_a_prompt_is_counted_as_its_model_reads_it(self) -> None:
        """An exact count of a prompt is what the model then says to have read, to the token."""
        generator = self.make()
        if not isinstance(generator, PromptCounter):
            return
        options = self._supported(GenerationOptions(max_tokens=8, temperature=0.0))
        for text in self.prompt_texts:
            prompt = Prompt(text=text, question=text)
            counted = generator.count_prompt(prompt)
            expect(counted.n_tokens >= 0, f"{counted}")
            usage = generator.generate(prompt, options).usage
            if counted.exact and usage.exact:
                _expect_same(counted.n_tokens, usage, text)

    def test_the_counter_counts(self) -> None:
        """A counter, where there is one, counts more tokens in a longer text."""
        counter = self.make().counter
        if counter is not None:
            expect(counter.count("") == 0, "an empty text has tokens")
            expect(counter.count("one two three") > counter.count("one"), "it does not count")

    def _supported(self, options: GenerationOptions) -> GenerationOptions:
        none = GenerationOptions()
        left_out: dict[str, Json] = {name: getattr(none, name) for name in self.unsupported_options}
        return replace(options, **left_out)  # type: ignore[arg-type]

    def test_a_server_that_is_down_is_a_remote_error(self) -> None:
        """Both ways to generate raise `RemoteError`."""
        generator = self.make_unreachable()
        if generator is None:
            return
        for call in both_calls(generator, self.prompt(), GenerationOptions()):
            raised(RemoteError, call)


def _expect_told_apart(parts: Sequence[object], again: Sequence[object]) -> None:
    found = [fingerprint_of(part) for part in parts]
    expect(None not in found, f"one has no fingerprint: {found}")
    expect(found == [fingerprint_of(part) for part in again], "a fingerprint changed")
    for i, fingerprint in enumerate(found):
        expect(fingerprint not in found[:i], f"number {i} has the fingerprint of another")


def _expect_units(vectors: Vectors) -> None:
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=1)
    expect(bool(np.allclose(lengths, 1.0, atol=1e-5)), f"lengths {lengths}")


def _expect_close(one: Vectors, other: Vectors, tolerance: float) -> None:
    difference = float(abs(one - other).max())
    expect(difference <= tolerance, f"vectors differ by {difference}, allowed {tolerance}")


def _expect_same(n_counted: int, usage: Usage, text: str) -> None:
    n_read = usage.input_tokens
    expect(n_read in {None, n_counted}, f"{n_counted} counted, {n_read} read of {text!r}")
