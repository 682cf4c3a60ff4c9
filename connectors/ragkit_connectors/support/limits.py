"""Limits of answers where none are asked for, so that no model goes on to the end of its window."""

from __future__ import annotations

from dataclasses import replace

from ragkit.types import GenerationOptions

DEFAULT_MAX_TOKENS = 1024
DEFAULT_MAX_TOKENS_BASE = 256
"""For models without a chat template, which do not know when they have answered."""

BASE_STOP = ("\nQuestion:", "\nquestion:", "\nuser:", "\nUser:", "\nassistant:", "\nsystem:")
"""What a base model begins when it goes on to the next question by itself."""


def limited(options: GenerationOptions, *, is_base: bool, n_left: int) -> GenerationOptions:
    """Return options with `max_tokens`, and stop strings for base models, where none are given.

    Args:
        options: Those asked for, which stay.
        is_base: Whether the model has no chat template, so that nothing tells it where to end.
        n_left: Tokens that the window leaves for the answer.
    """
    if options.max_tokens is None:
        most = DEFAULT_MAX_TOKENS_BASE if is_base else DEFAULT_MAX_TOKENS
        options = replace(options, max_tokens=max(1, min(most, n_left)))
    if is_base and not options.stop:
        options = replace(options, stop=BASE_STOP)
    return options
