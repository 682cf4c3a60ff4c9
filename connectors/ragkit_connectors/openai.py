"""Generators and embedders behind OpenAI's API, which many servers implement: `openai:MODEL`.

Among them are vLLM, the llama.cpp server, LM Studio and Ollama, each at its own `base_url`. Only
the standard library is used, and numpy for vectors. Proxy variables of the environment are not
read and redirects are not followed: a prompt and a key go to the named address, or nowhere.

Limits and names of fields: OpenAI API reference, "Create chat completion" and "Create embeddings".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from ragkit.costs.metering import meter
from ragkit.errors import ConfigError, RemoteError
from ragkit.types import (
    Generation,
    GenerationOptions,
    Json,
    Prompt,
    TokenCount,
    TokenCounter,
)
from ragkit_connectors.support.chat import gather_event, gather_whole
from ragkit_connectors.support.events import events
from ragkit_connectors.support.fingerprints import digest_of, fingerprint
from ragkit_connectors.support.gathering import Gathered
from ragkit_connectors.support.json_values import (
    Record,
    count,
    decode,
    error_text,
    record,
    records,
)
from ragkit_connectors.support.messages import SystemRole, as_records, check_system_role
from ragkit_connectors.support.refusals import refuse_shortened
from ragkit_connectors.support.request_fields import with_fields
from ragkit_connectors.support.server_counting import CountWith, ServerCounter
from ragkit_connectors.support.unit_vectors import rows_of, unit_rows
from ragkit_connectors.support.web import Exchange, WebServer
from ragkit_connectors.support.windows import check_window, refuse_too_long

if TYPE_CHECKING:
    from ragkit.types import Vector, Vectors

DEFAULT_BASE_URL = "https://api.openai.com/v1"
DEFAULT_KEY_ENV = "OPENAI_API_KEY"

Encoding: TypeAlias = Literal["float", "base64"]
"""How vectors are transferred."""

_MOST_INPUTS = 2048
_MOST_BYTES = 300_000
_WINDOW_SETTING = "the server's context length (num_ctx in Ollama)"
_OPENAI_HOST = "api.openai.com"
_OPENAI_LEAST_CACHED_TOKENS = 1024
"""OpenAI API guide, "Prompt caching": prompts of 1,024 tokens and more are cached."""


class OpenAIGenerator:
    """A model behind an OpenAI-compatible server; safe to share between threads.

    Messages are sent in their roles. Some chat templates have no system role, or refuse turns that
    do not alternate (Gemma 2, Mistral 7B): `system_role="fold"` is for them.

    What the model thought is `reasoning` where the server keeps it apart from the text (vLLM's
    `--reasoning-parser`, llama.cpp, DeepSeek, Mistral). Whether it thinks at all is a matter of the
    server, for example `request_fields={"chat_template_kwargs": {"enable_thinking": False}}` for
    Qwen 3 behind vLLM or llama.cpp, `{"reasoning_effort": "low"}` at OpenAI. A refusal (`refusal`)
    is text with the `stop_reason` `refusal`.

    `top_k` is not an OpenAI parameter; it is sent only when set, to servers that take it
    (vLLM, llama.cpp). The answer's length limit goes to api.openai.com as `max_completion_tokens`,
    the only name that all of its models take, and to every other server as `max_tokens`.

    A request is sent again only when nothing can have been generated: the connection was refused
    (twice, within half a second), or the server said 429 or 503 and when to come back. A request
    that timed out is never sent again, since it may be billed.

    A prompt that does not fit into a known window is refused before it is sent. It is measured by
    the server's own count where `count_with` names a server that counts, otherwise by its words: no
    tokenizer makes fewer tokens than words.

    Args:
        model: Name of the model, as the server knows it.
        base_url: Address up to and including `/v1`, http or https; None: OpenAI's.
        api_key_env: Environment variable that holds the key. Without a value no key is sent, which
            is right for most local servers. The default variable is not read for a plain http
            address elsewhere than on this machine; a variable that you name is.
        timeout_seconds: Longest time for the head of an answer and for the whole answer of
            `generate`; of `stream`, for each event that holds data after the one before, comments
            being none; more than 0.
        retry_seconds: Longest sum of the waits that a server may ask for by `Retry-After`; 0 or
            more.
        max_response_bytes: Size of a response above which it is given up; 1 or more.
        total_timeout_seconds: Longest time for a whole generation, streamed or not; more than 0,
            None: no limit. A stream that runs out of either time after text came ends with that
            text and the `stop_reason` `timeout`.
        context_window: Tokens of prompt and answer together; None: asked of the server where
            `count_with` is `vllm` or `llamacpp`, else unknown.
        count_with: Software of the server, so that it counts prompts: one more request before each
            generation, two with `llamacpp`. `vllm` and `llamacpp` count exactly, the chat template
            included; `llamacpp-python` counts without it. None: nothing is asked.
        system_role: `system`, or `fold`: the system message stands before what the user says first,
            and neighbours of a role are joined, so that user and assistant take turns.
        request_fields: Fields of the server's own, sent as they are.

    Raises:
        ConfigError: a value cannot be used as given.
    """

    calls_llm = True
    counter: TokenCounter | None = None
    """None: the server's tokens are counted by the server."""

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key_env: str = DEFAULT_KEY_ENV,
        timeout_seconds: float = 60.0,
        retry_seconds: float = 20.0,
        max_response_bytes: int = 8 * 1024 * 1024,
        total_timeout_seconds: float | None = None,
        context_window: int | None = None,
        count_with: CountWith | None = None,
        system_role: SystemRole = "system",
        request_fields: Mapping[str, Json] | None = None,
    ) -> None:
        if not model:
            raise ConfigError("generator 'openai:'; allowed: openai:MODEL")
        if count_with is not None and count_with not in get_args(CountWith):
            raise ConfigError(
                f"count_with {count_with!r}; allowed: {' '.join(get_args(CountWith))}"
            )
        self.name = f"openai:{model}"
        self.model = model
        self._server = WebServer(
            DEFAULT_BASE_URL if base_url is None else base_url,
            api_key_env=api_key_env,
            default_key_env=DEFAULT_KEY_ENV,
            timeout_seconds=timeout_seconds,
            retry_seconds=retry_seconds,
            max_response_bytes=max_response_bytes,
            total_timeout_seconds=total_timeout_seconds,
            advice={404: f"Check the model {model!r}, and that base_url ends in /v1"},
        )
        self.base_url = self._server.base_url
        self.runs_on = self._server.address.runs_on
        self._is_openai = self._server.address.host == _OPENAI_HOST
        self._system_role: SystemRole = check_system_role(system_role)
        self._fields = dict(request_fields or {})
        self._counter = ServerCounter(
            self._server,
            model,
            count_with,
            system_role=self._system_role,
            request_fields=self._fields,
        )
        self._window = check_window(context_window)
        self._count_with = count_with

    @property
    def fingerprint(self) -> str:
        """Model, address and how the prompt is fitted to its window."""
        return fingerprint(
            self.name,
            base_url=self.base_url,
            context_window=self._window,
            count_with=self._count_with,
            system_role=None if self._system_role == "system" else self._system_role,
            request_fields=self._fields or None,
        )

    @property
    def least_cached_tokens(self) -> int | None:
        """Tokens from which the provider caches the beginning of a prompt; None: unknown."""
        return _OPENAI_LEAST_CACHED_TOKENS if self._is_openai else None

    def __repr__(self) -> str:
        """Name model and address; the key is not known here."""
        return f"OpenAIGenerator({self.model!r}, base_url={self.base_url!r})"

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Return the whole answer.

        Raises:
            ConfigError: the key or an option cannot be sent.
            PromptTooLongError: the prompt does not fit into the model's window.
            RemoteError: the server failed, was too slow or gave no answer.
        """
        with closing(self._send(prompt, options, stream=False)) as exchange:
            exchange.require("application/json")
            return _whole(exchange, prompt)

    def stream(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str | Generation]:
        """Yield pieces of text, then the whole `Generation`.

        Raises:
            ConfigError: the key or an option cannot be sent.
            PromptTooLongError: the prompt does not fit into the model's window.
            RemoteError: the server failed, was too slow or gave no answer; pieces may have come.
        """
        with closing(self._send(prompt, options, stream=True)) as exchange:
            if exchange.content_type == "application/json":
                # A server that cannot stream answers at once.
                generation = _whole(exchange, prompt)
                if generation.text:
                    yield generation.text
                yield generation
                return
            exchange.require("text/event-stream")
            gathered = Gathered()
            yield from gathered.streamed(_pieces(exchange, prompt, gathered))

    def _body(self, prompt: Prompt, options: GenerationOptions, *, stream: bool) -> dict[str, Json]:
        given: dict[str, Json] = {
            "max_completion_tokens" if self._is_openai else "max_tokens": options.max_tokens,
            "temperature": options.temperature,
            "top_p": options.top_p,
            "top_k": options.top_k,
            "stop": list(options.stop) or None,
            "seed": options.seed,
        }
        body: dict[str, Json] = {
            "model": self.model,
            "messages": as_records(prompt.messages, self._system_role),
            **{key: value for key, value in given.items() if value is not None},
        }
        if stream:
            body.update(stream=True, stream_options={"include_usage": True})
        return with_fields(body, self._fields)

    def count_prompt(self, prompt: Prompt) -> TokenCount:
        """Return the server's count of a prompt; without `count_with`, the number of its words.

        Raises:
            ConfigError: the key cannot be sent.
            RemoteError: the server failed, or does not count in this way.
        """
        return self._counter.count(prompt)

    @property
    def context_window(self) -> int | None:
        """Tokens of prompt and answer together, asked of the server where it says."""
        return self._counter.window() if self._window is None else self._window

    def _send(self, prompt: Prompt, options: GenerationOptions, *, stream: bool) -> Exchange:
        body = self._body(prompt, options, stream=stream)
        counted = self.count_prompt(prompt)
        refuse_too_long(counted, options, self.context_window)
        sent, droppable = (prompt.text,), "stream_options"
        return self._server.post(
            "/chat/completions", body, sent=sent, droppable=droppable, generates=True
        )


class OpenAIEmbedder:
    """Vectors from `/v1/embeddings`; safe to share between threads.

    Rows are put in order by their `index` and scaled to length 1. A text of white space alone is
    not sent, since OpenAI refuses empty input; it gives the unit vector of the first axis.

    Args:
        model: Name of the model, as the server knows it.
        base_url: As of `OpenAIGenerator`.
        api_key_env: As of `OpenAIGenerator`.
        timeout_seconds: Longest wait for a connection, and for a whole answer; more than 0.
        retry_seconds: Longest sum of the waits that a server may ask for; 0 or more.
        max_response_bytes: Size of a response above which it is given up; 1 or more.
        batch_size: Texts per request, 1 to 2048 (OpenAI API reference, `input`). A batch is also
            cut at 300,000 bytes, since the same page allows 300,000 tokens per request.
        dimensions: Length of the vectors to ask for; None: the model's own.
        encoding: How vectors are transferred: `base64` is a quarter of the size, but not every
            server supports it.
        document_prompt: Text put before each document.
        query_prompt: Text put before each question.

    Raises:
        ConfigError: a value cannot be used as given.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key_env: str = DEFAULT_KEY_ENV,
        timeout_seconds: float = 60.0,
        retry_seconds: float = 20.0,
        max_response_bytes: int = 64 * 1024 * 1024,
        batch_size: int = 64,
        dimensions: int | None = None,
        encoding: Encoding = "float",
        document_prompt: str = "",
        query_prompt: str = "",
    ) -> None:
        if not model:
            raise ConfigError("embedder 'openai:'; allowed: openai:MODEL")
        if not 1 <= batch_size <= _MOST_INPUTS:
            raise ConfigError(f"batch_size {batch_size}; allowed: 1 to {_MOST_INPUTS}")
        if dimensions is not None and dimensions < 1:
            raise ConfigError(f"dimensions {dimensions}; allowed: 1 or more")
        if encoding not in get_args(Encoding):
            raise ConfigError(f"encoding {encoding!r}; allowed: {' '.join(get_args(Encoding))}")
        self.name = f"openai:{model}"
        self.model = model
        self.document_prompt = document_prompt
        self.query_prompt = query_prompt
        self._server = WebServer(
            DEFAULT_BASE_URL if base_url is None else base_url,
            api_key_env=api_key_env,
            default_key_env=DEFAULT_KEY_ENV,
            timeout_seconds=timeout_seconds,
            retry_seconds=retry_seconds,
            max_response_bytes=max_response_bytes,
            advice={404: f"Check the model {model!r}, and that base_url ends in /v1"},
            too_long="A text is too long for the model: lower chunk_tokens",
        )
        self.variant = digest_of(base_url=self._server.base_url)
        self._batch_size = batch_size
        self._dimensions = dimensions
        self._encoding = encoding
        self._dim = dimensions

    def __repr__(self) -> str:
        """Name model and address; the key is not known here."""
        return f"OpenAIEmbedder({self.model!r}, base_url={self._server.base_url!r})"

    @property
    def dim(self) -> int:
        """Length of a vector; asked of the server, by one short text, unless `dimensions` is set.

        Raises:
            RemoteError: as `embed_documents`.
        """
        if self._dim is None:
            return int(self._embed(["dimension"]).shape[1])
        return self._dim

    @property
    def fingerprint(self) -> str:
        """Model, dimensions and prompts; not where the model runs."""
        return (
            f"openai {self.model} dim={self._dimensions or 'own'} "
            f"prompts={[self.document_prompt, self.query_prompt]}"
        )

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text: float32, shape (n, dim), in the order of `texts`.

        Raises:
            ConfigError: the key cannot be sent.
            PromptTooLongError: a text is too long for the model.
            DimensionMismatchError: vectors have another length than was asked for.
            RemoteError: the server failed, was too slow, or gave something that is no vector.
        """
        return self._rows([self.document_prompt + text for text in texts])

    def embed_query(self, text: str) -> Vector:
        """Return the unit vector of a question: float32, shape (dim,); raises as documents do."""
        vector: Vector = self._rows([self.query_prompt + text])[0]
        return vector

    def _rows(self, texts: Sequence[str]) -> Vectors:
        size, n_bytes = self._batch_size, _MOST_BYTES
        return rows_of(texts, self._embed, lambda: self.dim, most_texts=size, most_bytes=n_bytes)

    def _embed(self, texts: Sequence[str]) -> Vectors:
        body: dict[str, Json] = {
            "model": self.model,
            "input": list(texts),
            "encoding_format": self._encoding,
        }
        if self._dimensions is not None:
            body["dimensions"] = self._dimensions
        answer = self._server.post("/embeddings", body, sent=texts).read_record()
        n_read = count(record(answer.get("usage")).get("prompt_tokens"))
        meter().embedded(n_read)
        refuse_shortened(n_read, " ".join(texts), setting=_WINDOW_SETTING)
        vectors = unit_rows(_ordered(answer, len(texts)), dim=self._dim, name=self.name)
        self._dim = int(vectors.shape[1])
        return vectors


def _ordered(answer: Record, n_texts: int) -> list[object]:
    """Return the vectors of an answer in the order of what was sent."""
    import base64

    rows = records(answer.get("data"))
    by_index = {count(row.get("index")): row.get("embedding") for row in rows}
    if len(rows) != n_texts or by_index.keys() != set(range(n_texts)):
        raise RemoteError(f"the server gave {len(rows)} vectors for {n_texts} texts")
    vectors = [by_index[i] for i in range(n_texts)]
    try:
        return [base64.b64decode(v, validate=True) if isinstance(v, str) else v for v in vectors]
    except ValueError as error:
        raise RemoteError("the server gave a vector that is not base64") from error


def _whole(exchange: Exchange, prompt: Prompt) -> Generation:
    gathered = Gathered()
    with gathered.kept_on_error():
        body = decode(exchange.read())
        if gather_whole(gathered, body) is None:
            raise RemoteError("the server's answer holds no message: is base_url right?")
        gathered.told(seconds=exchange.server_seconds)
        return _ended(gathered, prompt)


def _pieces(exchange: Exchange, prompt: Prompt, gathered: Gathered) -> Iterator[str | Generation]:
    done = False
    for data in exchange.parts(events):
        if data.strip() == "[DONE]":
            done = True
            break
        body = decode(data)
        if body.get("error"):
            said = exchange.without_echo(error_text(body))
            raise RemoteError(f"the server failed while it answered{said}")
        piece = gather_event(gathered, body)
        if piece:
            yield piece
    if not done and gathered.stop_reason is None:
        raise RemoteError("the stream broke off before its end")
    yield _ended(gathered, prompt)


def _ended(gathered: Gathered, prompt: Prompt) -> Generation:
    refuse_shortened(gathered.usage.input_tokens, prompt.text, setting=_WINDOW_SETTING)
    return gathered.ended()
