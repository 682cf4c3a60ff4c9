"""Generators behind the chat interface of OpenAI, which many servers speak: `openai:MODEL`.

Among them vLLM, the llama.cpp server, LM Studio and Ollama, each by its own `base_url`. Only the
standard library is used. Proxy variables of the environment are not read and redirects are not
followed: a prompt and a key go to the address that was named, or nowhere.

Limits and names of fields: OpenAI API reference, "Create chat completion"; server-sent events:
WHATWG HTML, section 9.2.6.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

from ragkit.errors import ConfigError, RemoteError
from ragkit.types import Generation, GenerationOptions, Json, Prompt, TokenCounter, Usage

if TYPE_CHECKING:
    import socket
    from http.client import HTTPConnection, HTTPResponse

DEFAULT_BASE_URL = "https://api.openai.com/v1"
DEFAULT_KEY_ENV = "OPENAI_API_KEY"

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_REFUSED_PAUSES_SECONDS = (0.1, 0.4)
_MOST_ATTEMPTS = 5
_MESSAGE_CHARACTERS = 200
_ECHO_CHARACTERS = 24
_KEY_CHARACTERS = 8
_READ_BYTES = 65536
_LINE_END = re.compile(rb"\r\n|\n|\r(?=[^\n])")

_Record: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Address:
    secure: bool
    host: str
    port: int | None
    path: str

    @property
    def is_loopback(self) -> bool:
        return self.host in _LOOPBACK


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
        if not 0.0 < timeout_seconds < float("inf"):
            raise ConfigError(f"timeout {timeout_seconds}; allowed: more than 0 seconds")
        if not 0.0 <= retry_seconds < float("inf"):
            raise ConfigError(f"retry_seconds {retry_seconds}; allowed: 0 or more")
        if max_response_bytes < 1:
            raise ConfigError(f"max_response_bytes {max_response_bytes}; allowed: 1 or more")
        self.name = f"openai:{model}"
        self.model = model
        self.base_url = base_url.rstrip("/")
        self._address = _parse(self.base_url)
        self._api_key_env = api_key_env
        self._timeout_seconds = timeout_seconds
        self._retry_seconds = retry_seconds
        self._max_response_bytes = max_response_bytes

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
            yield from _pieces(_events(exchange.chunks()), prompt, exchange.key)

    def _body(self, prompt: Prompt, options: GenerationOptions, *, stream: bool) -> dict[str, Json]:
        is_openai = self._address.host == "api.openai.com"
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

    def _send(self, prompt: Prompt, body: dict[str, Json]) -> _Exchange:
        """Post until there is an answer of status 200."""
        key = self._key()
        waits_left_seconds = self._retry_seconds
        for attempts_left in reversed(range(_MOST_ATTEMPTS)):
            exchange = self._post(key, body)
            if exchange.status == 200:
                return exchange
            with closing(exchange):
                wait_seconds = exchange.retry_after_seconds
                if wait_seconds is None or wait_seconds > waits_left_seconds or not attempts_left:
                    message = _server_message(exchange)
                    unknown_field = exchange.status == 400 and "stream_options" in message
                    if not (unknown_field and body.pop("stream_options", None)):
                        raise self._failure(exchange.status, message, prompt, key)
                    wait_seconds = 0.0
            waits_left_seconds -= wait_seconds
            time.sleep(wait_seconds)
        raise RemoteError(f"{self.base_url} did not answer")

    def _key(self) -> str:
        overheard = not (self._address.secure or self._address.is_loopback)
        if not self._api_key_env or (overheard and self._api_key_env == DEFAULT_KEY_ENV):
            return ""
        key = os.environ.get(self._api_key_env, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise ConfigError(f"the key in {self._api_key_env} holds characters that no key has")
        return key

    def _post(self, key: str, body: Mapping[str, Json]) -> _Exchange:
        import http.client

        try:
            data = json.dumps(body, allow_nan=False).encode()
        except ValueError as error:
            raise ConfigError(f"a generation option is not a finite number: {error}") from error
        connection = self._connect()
        began = time.monotonic()
        try:
            connection.request(
                "POST", f"{self._address.path}/chat/completions", data, _headers(key)
            )
            socket_ = cast("socket.socket", connection.sock)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._broken(error) from error
        return _Exchange(
            connection=connection,
            response=response,
            socket_=socket_,
            key=key,
            began=began,
            timeout_seconds=self._timeout_seconds,
            max_bytes=self._max_response_bytes,
            broken=self._broken,
        )

    def _connect(self) -> HTTPConnection:
        """Connect; a refused connection is tried again, since nothing was sent yet."""
        pauses_seconds = iter(_REFUSED_PAUSES_SECONDS)
        while True:
            connection = self._new_connection()
            try:
                connection.connect()
            except ConnectionRefusedError as error:
                pause_seconds = next(pauses_seconds, None)
                if pause_seconds is None:
                    raise RemoteError(
                        f"nothing listens at {self.base_url}: is the server running, and is "
                        "base_url right?"
                    ) from error
                time.sleep(pause_seconds)
            # A host name that cannot be one is a UnicodeError.
            except (OSError, UnicodeError) as error:
                raise self._broken(error) from error
            else:
                return connection

    def _new_connection(self) -> HTTPConnection:
        import http.client

        host, port, timeout = self._address.host, self._address.port, self._timeout_seconds
        if not self._address.secure:
            return http.client.HTTPConnection(host, port, timeout=timeout)
        import ssl

        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)

    def _broken(self, error: Exception) -> RemoteError:
        """Say what happened to a connection; never what went over it."""
        if isinstance(error, TimeoutError):
            return RemoteError(
                f"{self.base_url} did not answer within {self._timeout_seconds:g} seconds; not "
                "sent again, because a generation that timed out may be billed. Raise the timeout, "
                "or lower max_tokens"
            )
        reason = getattr(error, "strerror", None) or type(error).__name__
        return RemoteError(f"the connection to {self.base_url} failed: {reason}")

    def _failure(self, status: int, message: str, prompt: Prompt, key: str) -> RemoteError:
        # What servers say of a wrong key shows parts of it.
        said = "" if status in {401, 403} else _without_echo(message, prompt, key)
        return RemoteError(
            f"{self.base_url} answered HTTP {status}{said}. {self._advice(status, message)}"
        )

    def _advice(self, status: int, message: str) -> str:
        if status in {401, 403}:
            return f"Check the key in the environment variable {self._api_key_env or '(none)'}"
        if "context" in message and status in {400, 413}:
            return "The prompt is too long for the model: lower max_context_tokens"
        if 300 <= status < 400:
            return "Redirects are not followed: name the final address as base_url"
        if status >= 500 and status != 503:
            return "Not sent again, because the generation may be billed"
        advice = {
            404: f"Check the model {self.model!r}, and that base_url ends in /v1",
            408: "Not sent again, because the generation may be billed",
            413: "The prompt is too long for the server: lower max_context_tokens",
            429: "The server limits requests or the account is used up: try again later",
            503: "The server is overloaded or still loading the model: try again later",
        }
        return advice.get(status, "Check the model and the generation options")


class _Exchange:
    """A response whose head has come."""

    def __init__(
        self,
        *,
        connection: HTTPConnection,
        response: HTTPResponse,
        socket_: socket.socket,
        key: str,
        began: float,
        timeout_seconds: float,
        max_bytes: int,
        broken: Callable[[Exception], RemoteError],
    ) -> None:
        self._connection = connection
        self._response = response
        self._socket = socket_
        self._timeout_seconds = timeout_seconds
        self._deadline = began + timeout_seconds
        self._max_bytes = max_bytes
        self._broken = broken
        self.key = key
        self.status = response.status
        self.content_type = response.headers.get_content_type()

    @property
    def retry_after_seconds(self) -> float | None:
        """Seconds that the server asks to wait; None where it does not, or must not be asked."""
        value = self._response.headers.get("Retry-After")
        if value is None or self.status not in {429, 503}:
            return None
        return _seconds_until(value.strip())

    def require(self, content_type: str) -> None:
        """Raise `RemoteError` unless the answer is of this kind."""
        if self.content_type != content_type:
            raise RemoteError(
                f"the server answered {self.content_type}, not {content_type}: is base_url right?"
            )

    def read(self) -> bytes:
        """Return the whole body, which must have come within the timeout since the request."""
        return b"".join(self.chunks(self._deadline))

    def chunks(self, deadline: float | None = None) -> Iterator[bytes]:
        """Yield the body as it comes, each part within the timeout, all of it by `deadline`."""
        import http.client

        n_bytes = 0
        try:
            while chunk := self._next(deadline):
                n_bytes += len(chunk)
                if n_bytes > self._max_bytes:
                    raise RemoteError(f"the response is larger than {self._max_bytes:,} bytes")
                yield chunk
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(error) from error
        # http.client reports a body that is shorter than announced only by what it still expects.
        if self._response.length:
            raise RemoteError("the response broke off before its end")

    def _next(self, deadline: float | None) -> bytes:
        wait = self._timeout_seconds if deadline is None else deadline - time.monotonic()
        if wait <= 0.0:
            raise TimeoutError
        if self._response.isclosed():
            return b""
        self._socket.settimeout(wait)
        return self._response.read1(_READ_BYTES)

    def close(self) -> None:
        self._response.close()
        self._connection.close()


def _parse(base_url: str) -> _Address:
    from urllib.parse import urlsplit

    allowed = "allowed: http:// or https://, a host, a path such as /v1"
    try:
        url = urlsplit(base_url)
        host, port = url.hostname, url.port
    except ValueError as error:
        raise ConfigError(f"base_url cannot be read ({error}); {allowed}") from error
    if url.username is not None or url.password is not None:
        raise ConfigError("base_url holds a user or a password; keys come from api_key_env")
    is_plain = base_url.isascii() and base_url.isprintable() and " " not in base_url
    if url.scheme not in {"http", "https"} or not host or url.query or url.fragment or not is_plain:
        raise ConfigError(f"base_url {base_url!r}; {allowed}")
    return _Address(secure=url.scheme == "https", host=host, port=port, path=url.path)


def _seconds_until(retry_after: str) -> float | None:
    """Read `Retry-After`: seconds or a date (RFC 9110, section 10.2.3); None if it is neither."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    import email.utils

    try:
        moment = email.utils.parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())


def _server_message(exchange: _Exchange) -> str:
    """Return the server's own words on an error, one short line; empty where it has none."""
    try:
        body: object = json.loads(exchange.read())
    except (ValueError, RecursionError, RemoteError):
        return ""
    return _error_text(_record(body))


def _error_text(body: _Record) -> str:
    # OpenAI nests the message; vLLM and others have it at the top.
    error = body.get("error", body)
    message = error if isinstance(error, str) else _record(error).get("message")
    code = _record(error).get("code")
    text = " ".join(str(part) for part in (code, message) if isinstance(part, str) and part)
    printable = "".join(c if c.isprintable() else " " for c in text)
    return printable[:_MESSAGE_CHARACTERS]


def _without_echo(message: str, prompt: Prompt, key: str) -> str:
    """Return a server's message for an error, or nothing where it repeats what it was sent."""
    if not message:
        return ""
    if _repeats(message, prompt.text, _ECHO_CHARACTERS) or _repeats(message, key, _KEY_CHARACTERS):
        return " (its message repeats the prompt or the key and is left out)"
    return f": {message}"


def _repeats(message: str, sent: str, n_characters: int) -> bool:
    """Whether a run of so many characters, or all of the shorter text, stands in both."""
    size = min(n_characters, len(sent), len(message))
    return size > 0 and any(message[i : i + size] in sent for i in range(len(message) - size + 1))


def _headers(key: str) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "User-Agent": "ragkit",
        "Connection": "close",
    }
    return {**headers, "Authorization": f"Bearer {key}"} if key else headers


def _record(value: object) -> _Record:
    return cast("_Record", value) if isinstance(value, dict) else {}


def _decode(data: bytes | str) -> _Record:
    try:
        value: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RemoteError("the server's answer is not JSON, or it broke off") from error
    if not isinstance(value, dict):
        raise RemoteError("the server's answer is not a JSON object")
    return cast("_Record", value)


def _choice(body: _Record) -> _Record:
    choices = body.get("choices")
    return (
        _record(cast("list[object]", choices)[0]) if isinstance(choices, list) and choices else {}
    )


def _whole(data: bytes, prompt: Prompt) -> Generation:
    body = _decode(data)
    choice = _choice(body)
    content = _record(choice.get("message")).get("content")
    if content is not None and not isinstance(content, str):
        raise RemoteError("the server's answer has a content that is not text")
    return _generation(content or "", choice.get("finish_reason"), _usage(body), prompt)


def _pieces(events: Iterable[str], prompt: Prompt, key: str) -> Iterator[str | Generation]:
    pieces: list[str] = []
    finish_reason: object = None
    usage = Usage()
    done = False
    for data in events:
        if data.strip() == "[DONE]":
            done = True
            break
        body = _decode(data)
        if body.get("error"):
            said = _without_echo(_error_text(body), prompt, key)
            raise RemoteError(f"the server failed while it answered{said}")
        choice = _choice(body)
        finish_reason = choice.get("finish_reason") or finish_reason
        # The usage comes with the last event or, from some servers, with each so far.
        usage = _usage(body) if body.get("usage") else usage
        piece = _record(choice.get("delta")).get("content")
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
    _refuse_shortened(usage, prompt)
    return Generation(text=text, usage=usage, stop_reason=reason)


def _refuse_shortened(usage: Usage, prompt: Prompt) -> None:
    """Raise `RemoteError` when the server has read less than it was sent.

    Some servers cut a prompt that is too long for their window and say nothing. Tokenizers cut at
    white space first, so a prompt has at least as many tokens as words.
    """
    n_words = len(prompt.text.split())
    if usage.input_tokens is not None and 0 < usage.input_tokens < n_words:
        raise RemoteError(
            f"the server has read {usage.input_tokens:,} tokens of a prompt of {n_words:,} words: "
            "it cut the prompt to its window. Raise the server's context length (num_ctx in "
            "Ollama), or lower max_context_tokens"
        )


def _usage(body: _Record) -> Usage:
    counts = _record(body.get("usage"))
    input_tokens = _count(counts.get("prompt_tokens"))
    output_tokens = _count(counts.get("completion_tokens"))
    if input_tokens is None and output_tokens is None:
        return Usage()
    details = _record(counts.get("prompt_tokens_details"))
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=_count(details.get("cached_tokens")),
        exact=True,
        counter="server",
    )


def _count(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return cast("int", value) if is_count else None


def _events(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield the data of each server-sent event."""
    data: list[str] = []
    for line in _lines(chunks):
        if not line:
            if data:
                yield "\n".join(data)
            data = []
            continue
        # A line that starts with a colon is a comment, sent to keep the connection alive.
        field, _, value = line.partition(":")
        if field == "data":
            data.append(value.removeprefix(" "))
    if data:
        # The standard drops an event without a blank line after it; some servers end like that.
        yield "\n".join(data)


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Cut bytes into lines; only whole lines are decoded, so no character is cut in two."""
    pending = b""
    first = True
    for chunk in chunks:
        *lines, pending = _LINE_END.split(pending + chunk)
        for line in lines:
            text = line.decode("utf-8", "replace")
            yield text.removeprefix("\ufeff") if first else text
            first = False
    if pending:
        yield pending.rstrip(b"\r").decode("utf-8", "replace")
