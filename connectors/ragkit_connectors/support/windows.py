"""Checks of prompts against a model's window, before anything is sent."""

from __future__ import annotations

from ragkit.errors import ConfigError, PromptTooLongError
from ragkit.types import GenerationOptions, Prompt, TokenCount


def check_window(context_window: int | None) -> int | None:
    """Return the setting `context_window`; raises `ConfigError` where it is no window."""
    if context_window is not None and context_window < 1:
        raise ConfigError(f"context_window {context_window}; allowed: 1 or more tokens")
    return context_window


def at_least(prompt: Prompt) -> TokenCount:
    """Return a count that no model's can be below: tokenizers cut at white space first."""
    return TokenCount(n_tokens=len(prompt.text.split()), exact=False, counter="words")


def refuse_too_long(counted: TokenCount, options: GenerationOptions, window: int | None) -> None:
    """Raise `PromptTooLongError` where prompt and answer together do not fit into the window.

    Args:
        counted: Tokens of the whole prompt, or a lower bound.
        options: `max_tokens` is what the answer may take; None counts as one.
        window: Tokens of prompt and answer together; None: not known, so nothing is refused.
    """
    n_answer = options.max_tokens or 1
    if window is None or counted.n_tokens + n_answer <= window:
        return
    about = "" if counted.exact else "at least "
    raise PromptTooLongError(
        f"the prompt has {about}{counted.n_tokens:,} tokens ({counted.counter}) and the answer may "
        f"have {n_answer:,}, but the model's window holds {window:,}: lower max_context_tokens or "
        "max_tokens, or load the model with a larger window"
    )
