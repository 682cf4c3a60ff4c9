"""Generators behind the OpenAI chat completions protocol.

OpenAI itself, and servers that speak the same: vLLM, llama.cpp, LM Studio, Ollama. The prompt is
sent as one user message, so that what was counted is what is sent. Proxy settings of the
environment are not used. Protocol: OpenAI API reference, "Create chat completion".
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from ragkit.errors import ConfigError, RemoteError
from ragkit.types import Generation, GenerationOptions, Prompt, TokenCounter, Usage

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

MAX_RESPONSE_BYTES = 32 * 2**20
MAX_RETRIES = 3
MAX_WAIT_SECONDS = 20.0

_TRY_AGAIN = frozenset({429, 503})
"""The server refused before it generated anything, so asking again costs nothing twice."""


class OpenAIGenerator:
    """A model behind an OpenAI-compatible server.

    A request that was refused (429, 503) is sent again, at most three times within 20 seconds; one
    that timed out is not, since it may have been answered, and billed.

    Args:
        model: The model's name on the server.
        base_url: Up to and without `/chat/completions`.
        api_key_env: Environment variable that holds the key; a key that is not there is not sent.
        timeout_seconds: Longest silence of the server.

    Raises:
        ConfigError: `base_url` is not an http or https address.
    """

    calls_llm = True

    def __init__(
        self,
        model: str,
        *,
        base_url: str = "https://api.openai.com/v1",
        api_key_env: str = "OPENAI_API_KEY",
        timeout_seconds: float = 60.0,
    ) -> None:
        from urllib.parse import urlsplit

        self.name = f"openai:{model}"
        self.counter: TokenCounter | None = None
        self._model = model
        self._base_url = base_url.rstrip("/")
        self._url = urlsplit(self._base_url)
        if self._url.scheme not in {"http", "https"} or not self._url.hostname:
            raise ConfigError(f"base_url {base_url!r}; allowed: an http or https address")
        self._api_key_env = api_key_env
        self._timeout_seconds = timeout_seconds

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Return the whole answer. Raises `RemoteError`."""
        with self._answer(self._body(prompt, options, stream=False)) as response:
            raw = response.read(MAX_RESPONSE_BYTES + 1)
        if len(raw) > MAX_RESPONSE_BYTES:
            raise RemoteError(f"{self._base_url} sent more than {MAX_RESPONSE_BYTES >> 20} MiB")
        data = self._object(raw)
        choice = _first_choice(data)
        content = _mapping(choice.get("message")).get("content")
        if not isinstance(content, str):
            raise RemoteError(f"{self._base_url} answered without content")
        return Generation(
            text=content, usage=_usage(data), stop_reason=_text(choice.get("finish_reason"))
        )

    def stream(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str | Generation]:
        """Yield pieces of text as they come, then the `Generation`. Raises `RemoteError`."""
        pieces: list[str] = []
        usage, stop_reason = Usage(), None
        with self._answer(self._body(prompt, options, stream=True)) as response:
            for event in self._events(response):
                if isinstance(event.get("usage"), Mapping):
                    usage = _usage(event)
                choice = _first_choice(event)
                stop_reason = _text(choice.get("finish_reason")) or stop_reason
                piece = _mapping(choice.get("delta")).get("content")
                if isinstance(piece, str) and piece:
                    pieces.append(piece)
                    yield piece
        yield Generation(text="".join(pieces), usage=usage, stop_reason=stop_reason)

    def _body(self, prompt: Prompt, options: GenerationOptions, *, stream: bool) -> bytes:
        body: dict[str, object] = {
            "model": self._model,
            "messages": [{"role": "user", "content": prompt.text}],
        }
        given = {
            "max_tokens": options.max_tokens,
            "temperature": options.temperature,
            "top_p": options.top_p,
            # Not in OpenAI's own protocol; vLLM and llama.cpp take it.
            "top_k": options.top_k,
            "seed": options.seed,
            "stop": list(options.stop) or None,
        }
        body.update({key: value for key, value in given.items() if value is not None})
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return json.dumps(body).encode()

    @contextmanager
    def _answer(self, body: bytes) -> Iterator[HTTPResponse]:
        """Send a request and yield the response to it; refusals are tried again."""
        from http.client import HTTPException

        deadline = time.monotonic() + MAX_WAIT_SECONDS
        for attempt in range(MAX_RETRIES + 1):
            connection = self._connect()
            try:
                response = self._send(connection, body)
                if response.status < 300:
                    yield response
                    return
                wait = _retry_after(response, attempt)
                last = attempt == MAX_RETRIES or time.monotonic() + wait > deadline
                if response.status not in _TRY_AGAIN or last:
                    raise self._refused(response)
            except TimeoutError as error:
                raise RemoteError(
                    f"{self._base_url} was silent for {self._timeout_seconds:g} s; the request was "
                    "not sent again, since it may have been answered. Allow more with --timeout"
                ) from error
            except (OSError, HTTPException) as error:
                raise RemoteError(f"{self._base_url}: {error or type(error).__name__}") from error
            finally:
                connection.close()
            time.sleep(wait)

    def _connect(self) -> HTTPConnection:
        from http.client import HTTPConnection, HTTPSConnection

        host = cast("str", self._url.hostname)
        kind = HTTPSConnection if self._url.scheme == "https" else HTTPConnection
        connection = kind(host, self._url.port, timeout=self._timeout_seconds)
        try:
            connection.connect()
        except TimeoutError as error:
            raise RemoteError(
                f"{self._base_url} did not answer within {self._timeout_seconds:g} s"
            ) from error
        except OSError as error:
            raise RemoteError(
                f"{self._base_url} cannot be reached ({error.strerror or error}); is the server "
                "running, and is --base-url right?"
            ) from error
        return connection

    def _send(self, connection: HTTPConnection, body: bytes) -> HTTPResponse:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        key = os.environ.get(self._api_key_env)
        if key:
            headers["Authorization"] = f"Bearer {key}"
        connection.request("POST", f"{self._url.path}/chat/completions", body, headers)
        return connection.getresponse()

    def _refused(self, response: HTTPResponse) -> RemoteError:
        raw = response.read(4096)
        try:
            error = _mapping(_mapping(json.loads(raw)).get("error"))
            detail = str(error.get("message") or error.get("code") or "")[:300]
        except ValueError:
            detail = ""
        advice = ""
        if response.status in {401, 403}:
            advice = f" Is the key in the environment variable {self._api_key_env}?"
        elif response.status == 404:
            advice = (
                f" Does the server know the model {self._model!r}, and does the URL end in /v1?"
            )
        return RemoteError(
            f"{self._base_url} answered {response.status} {response.reason}: {detail}{advice}"
        )

    def _events(self, response: HTTPResponse) -> Iterator[Mapping[str, object]]:
        """Yield the data of server-sent events (HTML standard, 9.2) up to `[DONE]`."""
        data: list[bytes] = []
        n_bytes = 0
        for raw in response:
            n_bytes += len(raw)
            if n_bytes > MAX_RESPONSE_BYTES:
                raise RemoteError(f"{self._base_url} sent more than {MAX_RESPONSE_BYTES >> 20} MiB")
            line = raw.rstrip(b"\r\n")
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line and data:
                event, data = b"\n".join(data), []
                if event == b"[DONE]":
                    return
                yield self._object(event)
        raise RemoteError(f"{self._base_url} broke off in the middle of its answer")

    def _object(self, raw: bytes) -> Mapping[str, object]:
        try:
            data: object = json.loads(raw)
        except ValueError as error:
            raise RemoteError(f"{self._base_url} did not answer in JSON") from error
        found = _mapping(data)
        if isinstance(found.get("error"), Mapping):
            message = _mapping(found["error"]).get("message")
            raise RemoteError(f"{self._base_url}: {str(message)[:300]}")
        return found


def _retry_after(response: HTTPResponse, attempt: int) -> float:
    """Return the seconds to wait: as the server asks, else growing."""
    try:
        return max(0.0, float(response.headers.get("Retry-After", "")))
    except ValueError:
        return 0.5 * 2.0**attempt


def _usage(data: Mapping[str, object]) -> Usage:
    usage = _mapping(data.get("usage"))
    cached = _mapping(usage.get("prompt_tokens_details")).get("cached_tokens")
    known = _count(usage.get("prompt_tokens"))
    return Usage(
        input_tokens=known,
        output_tokens=_count(usage.get("completion_tokens")),
        cached_tokens=_count(cached),
        exact=known is not None,
        counter="server" if known is not None else "unknown",
    )


def _first_choice(data: Mapping[str, object]) -> Mapping[str, object]:
    choices = data.get("choices")
    if isinstance(choices, list) and choices:
        return _mapping(cast("list[object]", choices)[0])
    return {}


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
