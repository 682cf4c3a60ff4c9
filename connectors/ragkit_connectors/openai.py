"""Generators behind the chat interface of OpenAI, which many servers speak: `openai:MODEL`.

Among them vLLM, the llama.cpp server, LM Studio and Ollama, each by its own `base_url`. Only the
standard library is used. Proxy variables of the environment are not read and redirects are not
followed: a prompt and a key go to the address that was named, or nowhere.

Limits and names of fields: OpenAI API reference, "Create chat completion"; server-sent events:
WHATWG HTML, section 9.2.6.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import cast

from ragkit.errors import ConfigError, RemoteError
from ragkit.types import Generation, GenerationOptions, Json, Prompt, TokenCounter, Usage
from ragkit_connectors.support.events import events
from ragkit_connectors.support.web import (
    Exchange,
    Record,
    WebServer,
    count,
    decode,
    error_text,
    record,
    refuse_shortened,
)

DEFAULT_BASE_URL = "https://api.openai.com/v1"
DEFAULT_KEY_ENV = "OPENAI_API_KEY"

_WINDOW_SETTING = "the server's context length (num_ctx in Ollama)"


class OpenAIGenerator:
    """A model behind an OpenAI-compatible server; safe to share between threads.

    The prompt is sent as one user message: it holds instructions, context and history already.
    `top_k` is no parameter of OpenAI's; it is sent only when asked for, to servers that take it
    (vLLM, llama.cpp). The answer's length limit goes to api.openai.com as `max_completion_tokens`,
    the only name that all of its models take, and to every other server as `max_tokens`.

    A request is sent again only when nothing can have been generated: the connection was refused
    (twice, within half a second), or the server said 429 or 503 and when to come back. A request
    that timed out is never sent again, since it may be billed.

    Args:
        model: Name of the model, as the server knows it.
        base_url: Address up to and including `/v1`, http or https.
        api_key_env: Environment variable that holds the key. Without a value no key is sent, which
            is right for most local servers. The default variable is not read for a plain http
            address elsewhere than on this machine; a variable that you name is.
        timeout_seconds: Longest wait for a connection, for the whole answer of `generate`, and for
            the next bytes of `stream`; more than 0.
        retry_seconds: Longest sum of the waits that a server may ask for by `Retry-After`; 0 or
            more.
        max_response_bytes: Size of a response above which it is given up; 1 or more.

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
        base_url: str = DEFAULT_BASE_URL,
        api_key_env: str = DEFAULT_KEY_ENV,
        timeout_seconds: float = 60.0,
        retry_seconds: float = 20.0,
        max_response_bytes: int = 8 * 1024 * 1024,
    ) -> None:
        if not model:
            raise ConfigError("generator 'openai:'; allowed: openai:MODEL")
        self.name = f"openai:{model}"
        self.model = model
        self._server = WebServer(
            base_url,
            api_key_env=api_key_env,
            default_key_env=DEFAULT_KEY_ENV,
            timeout_seconds=timeout_seconds,
            retry_seconds=retry_seconds,
            max_response_bytes=max_response_bytes,
            advice=self._advice,
        )
        self.base_url = self._server.base_url

    def __repr__(self) -> str:
        """Name model and address; the key is not known here."""
        return f"OpenAIGenerator({self.model!r}, base_url={self.base_url!r})"

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Return the whole answer.

        Raises:
            ConfigError: the key or an option cannot be sent.
            RemoteError: the server failed, was too slow or gave no answer.
        """
        with closing(self._send(prompt, self._body(prompt, options, stream=False))) as exchange:
            exchange.require("application/json")
            return _whole(exchange.read(), prompt)

    def stream(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str | Generation]:
        """Yield pieces of text, then the whole `Generation`.

        Raises:
            ConfigError: the key or an option cannot be sent.
            RemoteError: the server failed, was too slow or gave no answer; pieces may have come.
        """
        with closing(self._send(prompt, self._body(prompt, options, stream=True))) as exchange:
            if exchange.content_type == "application/json":
                # A server that cannot stream answers at once.
                generation = _whole(exchange.read(), prompt)
                yield generation.text
                yield generation
                return
            exchange.require("text/event-stream")
            yield from _pieces(exchange, prompt)

    def _body(self, prompt: Prompt, options: GenerationOptions, *, stream: bool) -> dict[str, Json]:
        is_openai = self._server.address.host == "api.openai.com"
        given: dict[str, Json] = {
            "max_completion_tokens" if is_openai else "max_tokens": options.max_tokens,
            "temperature": options.temperature,
            "top_p": options.top_p,
            "top_k": options.top_k,
            "stop": list(options.stop) or None,
            "seed": options.seed,
        }
        body: dict[str, Json] = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt.text}],
            **{key: value for key, value in given.items() if value is not None},
        }
        if stream:
            body.update(stream=True, stream_options={"include_usage": True})
        return body

    def _send(self, prompt: Prompt, body: dict[str, Json]) -> Exchange:
        sent, droppable = (prompt.text,), "stream_options"
        return self._server.post("/chat/completions", body, sent=sent, droppable=droppable)

    def _advice(self, status: int, _message: str) -> str:
        return (
            f"Check the model {self.model!r}, and that base_url ends in /v1"
            if status == 404
            else ""
        )


def _choice(body: Record) -> Record:
    choices = body.get("choices")
    return record(cast("list[object]", choices)[0]) if isinstance(choices, list) and choices else {}


def _whole(data: bytes, prompt: Prompt) -> Generation:
    body = decode(data)
    choice = _choice(body)
    content = record(choice.get("message")).get("content")
    if content is not None and not isinstance(content, str):
        raise RemoteError("the server's answer has a content that is not text")
    return _generation(content or "", choice.get("finish_reason"), _usage(body), prompt)


def _pieces(exchange: Exchange, prompt: Prompt) -> Iterator[str | Generation]:
    pieces: list[str] = []
    finish_reason: object = None
    usage = Usage()
    done = False
    for data in events(exchange.chunks()):
        if data.strip() == "[DONE]":
            done = True
            break
        body = decode(data)
        if body.get("error"):
            said = exchange.without_echo(error_text(body))
            raise RemoteError(f"the server failed while it answered{said}")
        choice = _choice(body)
        finish_reason = choice.get("finish_reason") or finish_reason
        # The usage comes with the last event or, from some servers, with each so far.
        usage = _usage(body) if body.get("usage") else usage
        piece = record(choice.get("delta")).get("content")
        if isinstance(piece, str) and piece:
            pieces.append(piece)
            yield piece
    if not done and finish_reason is None:
        raise RemoteError("the stream broke off before its end")
    yield _generation("".join(pieces), finish_reason, usage, prompt)


def _generation(text: str, finish_reason: object, usage: Usage, prompt: Prompt) -> Generation:
    reason = finish_reason if isinstance(finish_reason, str) else None
    if not text.strip():
        advice = "; raise max_tokens" if reason == "length" else ""
        raise RemoteError(f"the model gave no text (stop reason: {reason or 'unknown'}){advice}")
    refuse_shortened(usage.input_tokens, prompt.text, setting=_WINDOW_SETTING)
    return Generation(text=text, usage=usage, stop_reason=reason)


def _usage(body: Record) -> Usage:
    counts = record(body.get("usage"))
    input_tokens = count(counts.get("prompt_tokens"))
    output_tokens = count(counts.get("completion_tokens"))
    if input_tokens is None and output_tokens is None:
        return Usage()
    details = record(counts.get("prompt_tokens_details"))
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=count(details.get("cached_tokens")),
        exact=True,
        counter="server",
    )
