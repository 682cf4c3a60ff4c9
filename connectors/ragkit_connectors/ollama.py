"""Models that Ollama runs, through its native API: `ollama:MODEL`.

The native API is used, not the OpenAI-compatible one, because only it takes the size of the window
and the option to refuse a prompt that is too long instead of truncating it. Only
the standard library is used, and numpy for vectors.

Names of fields: Ollama, `docs/api.md` and `api/types.go`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from ragkit.costs.metering import meter
from ragkit.errors import ConfigError, PromptTooLongError, RemoteError
from ragkit.types import Generation, GenerationOptions, Json, Prompt, TokenCounter, Usage
from ragkit_connectors.support.events import lines
from ragkit_connectors.support.fingerprints import digest_of, fingerprint
from ragkit_connectors.support.gathering import Gathered
from ragkit_connectors.support.json_values import (
    Record,
    count,
    decode,
    error_text,
    is_list,
    number,
    record,
    text,
    text_or_none,
)
from ragkit_connectors.support.messages import SystemRole, as_records, check_system_role
from ragkit_connectors.support.refusals import refuse_shortened, says_too_long
from ragkit_connectors.support.request_fields import with_fields
from ragkit_connectors.support.unit_vectors import rows_of, unit_rows
from ragkit_connectors.support.web import Exchange, WebServer
from ragkit_connectors.support.windows import at_least, check_window, refuse_too_long

if TYPE_CHECKING:
    from ragkit.types import Vector, Vectors

DEFAULT_BASE_URL = "http://localhost:11434"

_LEAST_WINDOW = 4096
_ANSWER_TOKENS = 1024
_TEMPLATE_TOKENS = 256
_BYTES_PER_TOKEN = 2
_MOST_TEXTS = 64
_MOST_BYTES = 1_000_000
_TOO_LONG = "The prompt is too long for the model: lower max_context_tokens, or raise num_ctx"
_WINDOW_SETTING = "num_ctx"


class OllamaGenerator:
    """A model that Ollama runs; safe to share between threads.

    Ollama's default window is small, and it silently truncates a prompt that does not fit. So each
    request sets the window (`num_ctx`) and forbids truncation (`truncate`, `shift`: false); an
    answer whose prompt was truncated all the same is an error, since servers before 0.12 ignore
    these options. A request that timed out is never sent again.

    Without `num_ctx` the window is what the prompt can need at two bytes per token, plus 1,024
    tokens for the answer where `max_tokens` is not given; rounded up to a power of two and at least
    4,096, since Ollama reloads a model for each new window. It is never above the window
    that the model declares. A window takes memory even where it is not filled.

    Args:
        model: Name of the model, as `ollama list` shows it.
        base_url: Address without `/v1`, http or https; None: this machine, port 11434.
        api_key_env: Environment variable that holds a key, for a proxy in between; empty: none.
        timeout_seconds: Longest time for the head of an answer and for the whole answer of
            `generate`; of `stream`, for each line that holds data after the one before; more than
            0. Loading a model counts.
        retry_seconds: Longest sum of the waits that a server may ask for; 0 or more.
        max_response_bytes: Size of a response above which it is given up; 1 or more.
        total_timeout_seconds: Longest time for a whole generation, streamed or not; more than 0,
            None: no limit. A stream that runs out of either time after text came ends with that
            text and the `stop_reason` `timeout`.
        num_ctx: Window to load the model with, tokens of prompt and answer together; None: chosen
            as above.
        context_window: Largest window to choose; None: the declared one, asked of `/api/show`.
        keep_alive: How long the model stays in memory after the answer: seconds, or a time such as
            `10m`; negative: forever, 0: not at all; None leaves it to the server.
        think: Whether a model that can think first shall, for some how much (`low`, `medium`,
            `high`); None leaves it to the model. Thoughts count as tokens of the answer, and are
            `reasoning`, no part of the text.
        system_role: `system`, or `fold`: the system message stands before what the user says first,
            for a model whose template leaves `.System` out, and would lose it.
        request_fields: Fields of Ollama's own, sent as they are, for example
            `{"options": {"num_gpu": 0}}`.

    Raises:
        ConfigError: a value cannot be used as given.
    """

    calls_llm = True
    counter: TokenCounter | None = None
    """None: Ollama has no API that counts."""

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key_env: str = "",
        timeout_seconds: float = 300.0,
        retry_seconds: float = 20.0,
        max_response_bytes: int = 8 * 1024 * 1024,
        total_timeout_seconds: float | None = None,
        num_ctx: int | None = None,
        context_window: int | None = None,
        keep_alive: str | int | None = None,
        think: bool | str | None = None,
        system_role: SystemRole = "system",
        request_fields: Mapping[str, Json] | None = None,
    ) -> None:
        if not model:
            raise ConfigError("generator 'ollama:'; allowed: ollama:MODEL")
        if num_ctx is not None and num_ctx < 1:
            raise ConfigError(f"num_ctx {num_ctx}; allowed: 1 or more tokens")
        self.name = f"ollama:{model}"
        self.model = model
        self._server = WebServer(
            DEFAULT_BASE_URL if base_url is None else base_url,
            api_key_env=api_key_env,
            timeout_seconds=timeout_seconds,
            retry_seconds=retry_seconds,
            max_response_bytes=max_response_bytes,
            total_timeout_seconds=total_timeout_seconds,
            advice={404: _where_is(model)},
            too_long=_TOO_LONG,
        )
        self.base_url = self._server.base_url
        # Ollama forwards requests for models with such a name to its own servers.
        self.runs_on = None if model.endswith("cloud") else self._server.address.runs_on
        self._num_ctx = num_ctx
        self._most = check_window(context_window)
        self._system_role: SystemRole = check_system_role(system_role)
        self._fields = dict(request_fields or {})
        self.fingerprint = fingerprint(
            self.name,
            base_url=self.base_url,
            num_ctx=num_ctx,
            context_window=context_window,
            # False is not the same as leaving it to the model.
            think=None if think is None else str(think),
            system_role=None if system_role == "system" else system_role,
            request_fields=self._fields or None,
        )
        self._given: dict[str, Json] = {
            key: value
            for key, value in {"keep_alive": keep_alive, "think": think}.items()
            if value is not None
        }

    def __repr__(self) -> str:
        """Name model and address."""
        return f"OllamaGenerator({self.model!r}, base_url={self.base_url!r})"

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Return the whole answer.

        Raises:
            ConfigError: the key or an option cannot be sent.
            PromptTooLongError: the prompt does not fit into the window, or the server cut it.
            RemoteError: the server failed, was too slow or gave no answer.
        """
        body = self._send(prompt, options, stream=False).read_record()
        gathered = Gathered()
        with gathered.kept_on_error():
            _gather(gathered, body)
            return _ended(gathered, body, prompt)

    def stream(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str | Generation]:
        """Yield pieces of text, then the whole `Generation`.

        Raises:
            ConfigError: the key or an option cannot be sent.
            PromptTooLongError: the prompt does not fit into the window, or the server cut it.
            RemoteError: the server failed, was too slow or gave no answer; pieces may have come.
        """
        with closing(self._send(prompt, options, stream=True)) as exchange:
            exchange.require("application/x-ndjson")
            gathered = Gathered()
            yield from gathered.streamed(_pieces(exchange, prompt, gathered))

    def _send(self, prompt: Prompt, options: GenerationOptions, *, stream: bool) -> Exchange:
        window = self._window(prompt, options)
        refuse_too_long(at_least(prompt), options, window)
        given: dict[str, Json] = {
            "num_ctx": window,
            "num_predict": options.max_tokens,
            "temperature": options.temperature,
            "top_p": options.top_p,
            "top_k": options.top_k,
            "stop": list(options.stop) or None,
            "seed": options.seed,
        }
        body: dict[str, Json] = {
            "model": self.model,
            "messages": as_records(prompt.messages, self._system_role),
            "options": {key: value for key, value in given.items() if value is not None},
            "stream": stream,
            "truncate": False,
            "shift": False,
            **self._given,
        }
        body = with_fields(body, self._fields)
        return self._server.post("/api/chat", body, sent=(prompt.text,), generates=True)

    def _window(self, prompt: Prompt, options: GenerationOptions) -> int:
        if self._num_ctx is not None:
            return self._num_ctx
        if self._most is None:
            self._most = self._declared()
        n_bytes = len(prompt.text.encode("utf-8", "surrogatepass"))
        n_answer = _ANSWER_TOKENS if options.max_tokens is None else options.max_tokens
        needed = n_bytes // _BYTES_PER_TOKEN + _TEMPLATE_TOKENS + n_answer
        rounded = 1 << (needed - 1).bit_length()
        return min(max(rounded, _LEAST_WINDOW), self._most)

    def _declared(self) -> int:
        answer = self._server.post("/api/show", {"model": self.model}).read_record()
        info = record(answer.get("model_info"))
        found = (count(v) for key, v in info.items() if key.endswith(".context_length"))
        declared = next((n_tokens for n_tokens in found if n_tokens), None)
        if declared is None:
            raise RemoteError(
                f"{self.base_url} does not tell the window of {self.model}: set num_ctx"
            )
        return declared


class OllamaEmbedder:
    """Vectors of a model that Ollama runs; safe to share between threads.

    Texts that are too long are refused, not truncated. A text of white space alone is not sent; it
    gives the unit vector of the first axis.

    Args:
        model: Name of the model, as `ollama list` shows it.
        base_url: As of `OllamaGenerator`.
        api_key_env: As of `OllamaGenerator`.
        timeout_seconds: Longest wait for a connection, and for a whole answer; more than 0.
        retry_seconds: Longest sum of the waits that a server may ask for; 0 or more.
        max_response_bytes: Size of a response above which it is given up; 1 or more.
        keep_alive: As of `OllamaGenerator`.
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
        api_key_env: str = "",
        timeout_seconds: float = 300.0,
        retry_seconds: float = 20.0,
        max_response_bytes: int = 64 * 1024 * 1024,
        keep_alive: str | int | None = None,
        document_prompt: str = "",
        query_prompt: str = "",
    ) -> None:
        if not model:
            raise ConfigError("embedder 'ollama:'; allowed: ollama:MODEL")
        self.name = f"ollama:{model}"
        self.model = model
        self.document_prompt = document_prompt
        self.query_prompt = query_prompt
        self._server = WebServer(
            DEFAULT_BASE_URL if base_url is None else base_url,
            api_key_env=api_key_env,
            timeout_seconds=timeout_seconds,
            retry_seconds=retry_seconds,
            max_response_bytes=max_response_bytes,
            advice={404: _where_is(model)},
            too_long="A text is too long for the model: lower chunk_tokens",
        )
        self.variant = digest_of(base_url=self._server.base_url)
        self._keep_alive = keep_alive
        self._dim: int | None = None

    def __repr__(self) -> str:
        """Name model and address."""
        return f"OllamaEmbedder({self.model!r}, base_url={self._server.base_url!r})"

    @property
    def dim(self) -> int:
        """Length of a vector, asked of the server by one short text; raises `RemoteError`."""
        return self._dim or int(self._embed(["dimension"]).shape[1])

    @property
    def fingerprint(self) -> str:
        """Model and prompts; not where the model runs."""
        return f"ollama {self.model} prompts={[self.document_prompt, self.query_prompt]}"

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text: float32, shape (n, dim), in the order of `texts`.

        Raises:
            ConfigError: the key cannot be sent.
            PromptTooLongError: a text is too long for the model.
            RemoteError: the server failed, was too slow, or gave something that is no vector.
        """
        return self._rows([self.document_prompt + text for text in texts])

    def embed_query(self, text: str) -> Vector:
        """Return the unit vector of a question: float32, shape (dim,); raises as documents do."""
        vector: Vector = self._rows([self.query_prompt + text])[0]
        return vector

    def _rows(self, texts: Sequence[str]) -> Vectors:
        return rows_of(
            texts, self._embed, lambda: self.dim, most_texts=_MOST_TEXTS, most_bytes=_MOST_BYTES
        )

    def _embed(self, texts: Sequence[str]) -> Vectors:
        body: dict[str, Json] = {"model": self.model, "input": list(texts), "truncate": False}
        if self._keep_alive is not None:
            body["keep_alive"] = self._keep_alive
        answer = self._server.post("/api/embed", body, sent=texts).read_record()
        n_read = count(answer.get("prompt_eval_count"))
        meter().embedded(n_read)
        refuse_shortened(n_read, " ".join(texts), setting=_WINDOW_SETTING)
        rows = answer.get("embeddings")
        if not is_list(rows) or len(rows) != len(texts):
            raise RemoteError(f"the server did not give a vector for each of {len(texts)} texts")
        vectors = unit_rows(rows, dim=self._dim, name=self.name)
        self._dim = int(vectors.shape[1])
        return vectors


def _where_is(model: str) -> str:
    return f"Get the model with `ollama pull {model}`, and name base_url without /v1"


def _gather(gathered: Gathered, body: Record) -> str:
    """Add an answer, or a piece of one, and return its text."""
    message = record(body.get("message"))
    content = message.get("content")
    if content is not None and not isinstance(content, str):
        raise RemoteError("the server's answer has a content that is not text")
    return gathered.add(content or "", text(message.get("thinking")))


def _pieces(exchange: Exchange, prompt: Prompt, gathered: Gathered) -> Iterator[str | Generation]:
    for line in exchange.parts(lambda chunks: filter(str.strip, lines(chunks))):
        body = decode(line)
        if body.get("error"):
            message = error_text(body)
            kind = PromptTooLongError if says_too_long(400, message) else RemoteError
            raise kind(f"the server failed while it answered{exchange.without_echo(message)}")
        piece = _gather(gathered, body)
        if piece:
            yield piece
        if body.get("done") is True:
            yield _ended(gathered, body, prompt)
            return
    raise RemoteError("the stream broke off before its end")


def _ended(gathered: Gathered, body: Record, prompt: Prompt) -> Generation:
    """Add what the end of an answer tells, and return all of it."""
    n_input, n_output = count(body.get("prompt_eval_count")), count(body.get("eval_count"))
    nanoseconds = number(body.get("total_duration"))
    known = n_input is not None or n_output is not None
    gathered.usage = Usage(
        input_tokens=n_input, output_tokens=n_output, exact=known,
        counter="ollama" if known else "unknown",
    )  # fmt: skip
    gathered.stop_reason = text_or_none(body.get("done_reason"))
    seconds = None if nanoseconds is None else nanoseconds / 1e9
    gathered.told(model=body.get("model"), seconds=seconds)
    refuse_shortened(n_input, prompt.text, setting=_WINDOW_SETTING)
    return gathered.ended()
