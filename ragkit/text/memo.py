"""Results of a function of words, kept: texts repeat few words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_V = TypeVar("_V")

MAX_WORDS = 65_536
MAX_CHARACTERS = 64
"""Longer words hardly repeat."""


class Memo(dict[str, _V]):
    """`memo[word]` is `function(word)`; safe to share between threads.

    Looking a word up costs a third of a call of a function with `lru_cache`.
    """

    def __init__(self, function: Callable[[str], _V]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, word: str) -> _V:
        value = self._function(word)
        if len(word) <= MAX_CHARACTERS:
            if len(self) >= MAX_WORDS:
                self.clear()
            self[word] = value
        return value
