"""What connectors refuse, and what their errors may repeat: one copy of each check."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ragkit.errors import ConfigError, PromptTooLongError
from ragkit.trust import LOOPBACK_HOSTS

if TYPE_CHECKING:
    from urllib.parse import SplitResult

_ECHO_CHARACTERS = 24
_KEY_CHARACTERS = 8

_TOO_LONG = re.compile(
    r"context[\s_-]{0,10}(length|size|window)|exceed\w{0,10}.{0,30}context|input is too long|"
    r"(prompt|input) (is )?too long|maximum input length",
    re.IGNORECASE,
)
"""How servers say that a prompt does not fit: OpenAI and vLLM ("maximum context length is",
`context_length_exceeded`), llama.cpp ("exceeds the available context size"), Ollama ("exceeds the
context length", "prompt too long") and embedding servers ("input is too long")."""

_TOO_LONG_FOR_AWS = re.compile(
    r"input is too long|prompt is too long|too many input tokens|context (length|window)"
    r"|input tokens exceed|exceeds? the (maximum|max|model's) (number of )?(allowed |input )*token"
    r"|maximum (input )?(context|tokens|token)"
    r"|`inputs` (tokens \+|must have less than)",
    re.IGNORECASE,
)
"""How AWS passes on that a prompt does not fit; what may follow a status of its own."""


def says_too_long(status: int, message: str) -> bool:
    """Whether a server refuses a prompt because it does not fit into the model's window."""
    return status == 413 or (status in {400, 422, 500} and _TOO_LONG.search(message) is not None)


def aws_says_too_long(message: str) -> bool:
    """Whether a message of AWS says that a prompt does not fit into the model's window."""
    return _TOO_LONG_FOR_AWS.search(message) is not None


def refuse_shortened(n_read: int | None, text: str, *, setting: str) -> None:
    """Raise `PromptTooLongError` when a server has read less than it was sent.

    Some servers cut a prompt that is too long for their window and say nothing. Tokenizers cut at
    white space first, so a prompt has at least as many tokens as words.
    """
    n_words = len(text.split())
    if n_read is not None and 0 < n_read < n_words:
        raise PromptTooLongError(
            f"the server has read {n_read:,} tokens of a prompt of {n_words:,} words: "
            f"it cut the prompt to its window. Raise {setting}, or lower max_context_tokens"
        )


def without_echo(
    message: str, texts: Sequence[str], *, key: str = "", sent: str = "what was sent"
) -> str:
    """Return a server's message for an error, or a note where it repeats what it was sent.

    Args:
        message: One short line.
        texts: What was sent and must not be shown.
        key: A secret that was sent; a shorter part of it counts as repeated.
        sent: What the note calls texts and key.
    """
    if not message:
        return ""
    if _repeats(message, key, _KEY_CHARACTERS) or any(
        _repeats(message, text, _ECHO_CHARACTERS) for text in texts
    ):
        return f" (its message repeats {sent} and is left out)"
    return f": {message}"


def _repeats(message: str, sent: str, n_characters: int) -> bool:
    """Whether a run of so many characters, or all of the shorter text, stands in both."""
    size = min(n_characters, len(sent), len(message))
    return size > 0 and any(message[i : i + size] in sent for i in range(len(message) - size + 1))


def read_url(address: str, *, name: str, allowed: str, holds_user: str) -> SplitResult:
    """Return the parts of an address.

    Args:
        address: What was given.
        name: What errors call it.
        allowed: What errors say is allowed.
        holds_user: The error for an address with a user or a password, which it must not show.

    Raises:
        ConfigError: it cannot be read, or holds a user or a password.
    """
    from urllib.parse import urlsplit

    try:
        url = urlsplit(address)
        _ = url.hostname, url.port
    except ValueError as error:
        raise ConfigError(f"{name} cannot be read ({error}); {allowed}") from error
    if url.username is not None or url.password is not None:
        raise ConfigError(holds_user)
    return url


def is_private(scheme: str, host: str) -> bool:
    """Whether nobody on the way can read what is sent: it is encrypted, or stays on this machine.

    Only http and https are known.
    """
    return scheme == "https" or (scheme == "http" and host in LOOPBACK_HOSTS)
