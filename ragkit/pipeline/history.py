"""Earlier turns of a conversation: which of them are sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ragkit.errors import ConfigError
from ragkit.types import TokenCounter, Turn


def read_turns(history: Sequence[Turn | Mapping[str, str]]) -> list[Turn]:
    """Return earlier turns given as such or as `{"role", "content"}`; raises `ConfigError`."""
    turns: list[Turn] = []
    for turn in history:
        if isinstance(turn, Turn):
            turns.append(turn)
            continue
        role, content = turn.get("role"), turn.get("content")
        if role not in ("user", "assistant") or not isinstance(content, str):
            raise ConfigError(
                f"history turn {repr(dict(turn))[:200]}; allowed: an object with role (user or "
                "assistant) and content (text)"
            )
        turns.append(Turn(role="user" if role == "user" else "assistant", content=content))
    return turns


def newest_turns(
    history: Sequence[Turn],
    cap: int,
    counter: TokenCounter,
    render: Callable[[Sequence[Turn]], str],
) -> list[Turn]:
    """Return the newest turns that have at most `cap` tokens as they are sent, oldest first.

    A turn costs its role and separators too, and at least a token: turns without a word are not
    free, and a long history is not read to its end.
    """
    kept: list[Turn] = []
    n_tokens = 0
    for turn in reversed(history):
        n_tokens += max(1, counter.count(render([turn])))
        if n_tokens > cap:
            break
        kept.append(turn)
    kept.reverse()
    # Tokens of joined turns may exceed the sum of theirs, so what is sent is counted.
    while kept and counter.count(render(kept)) > cap:
        del kept[0]
    return kept
