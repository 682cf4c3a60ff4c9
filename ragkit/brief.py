"""What results show of themselves in a session of Python: a line, however long their texts are."""

from __future__ import annotations

_SHOWN_CHARACTERS = 60


def brief(text: str | None) -> str:
    """Return the start of a text in quotes, on one line; "no text" for None."""
    if text is None:
        return "no text"
    start = text[: _SHOWN_CHARACTERS + 1]
    return repr(start) if len(start) <= _SHOWN_CHARACTERS else f"{start[:-1]!r}…"


def counted(number: int, noun: str) -> str:
    """Return `1 citation` or `2 citations`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
