"""Thoughts of a model that stand in its answer, told apart from what it says.

Models that reason before they answer mark it: `<think>…</think>` (DeepSeek R1, Qwen 3), `[THINK]`
(Magistral), `◁think▷` (Kimi), `<|channel|>analysis<|message|>…<|end|>` (gpt-oss, the harmony
format) and the like. A mark counts at the beginning of a line and outside code only, so that an
answer may speak of such marks. Some chat templates write the opening mark into the prompt, so that
the answer has only a closing one: what stands before that is thought, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_CLOSERS: Mapping[str, str] = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<thoughts>": "</thoughts>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "[think]": "[/think]",
    "◁think▷": "◁/think▷",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|start_thinking|>": "<|end_thinking|>",
    "<|channel|>analysis<|message|>": "<|end|>",
    "<|channel|>commentary<|message|>": "<|end|>",
}
"""Opening marks in lower case, and what ends each."""

_FRAMES = (
    "<|start|>assistant",
    "<|channel|>final<|message|>",
    "<|begin_of_solution|>",
    "<|start_response|>",
)
"""Marks at the beginning of what is said after thoughts; they are no part of it."""

_MARKS = (*_CLOSERS, *_FRAMES)


_ANY_CASE = re.IGNORECASE | re.ASCII
_ORPHANS = sorted(set(_CLOSERS.values()) - {"<|end|>"})
_MARK = re.compile("|".join(map(re.escape, _MARKS)), _ANY_CASE)
_CLOSER = {closer: re.compile(re.escape(closer), _ANY_CASE) for closer in _CLOSERS.values()}
_ORPHAN = re.compile("|".join(map(re.escape, _ORPHANS)), _ANY_CASE)
_FENCES = ("```", "~~~")
_LONGEST = max(map(len, _MARKS))
_BLANK = re.compile(r"\s*")


class Thoughts:
    """Takes an answer in pieces and gives it back without the thoughts.

    What has been given back stays so: of an answer that has only a closing mark, `said` differs
    from what was given back.
    """

    def __init__(self) -> None:
        self._given: list[str] = []
        self._thoughts: list[list[str]] = []
        self._held = ""
        self._at = 0
        self._closer: str | None = None
        self._at_line_start = True
        self._in_code = False
        self._has_said = False

    def feed(self, piece: str) -> str:
        """Return what of the answer is known to be said after one more piece of it."""
        return self._give(piece, is_whole=False)

    def close(self) -> str:
        """Return what was held back and is said after all, now that the answer has ended."""
        return self._give("", is_whole=True)

    def parted(self) -> tuple[str, str | None]:
        """Return what is said, and the thoughts (None without any), after `close`."""
        said, thoughts = "".join(self._given), ["".join(pieces) for pieces in self._thoughts]
        orphan = _orphan(said)
        if orphan is not None:
            start, end = orphan
            thoughts.append(said[:start])
            said = said[end:]
        if not thoughts:
            return said, None
        return said.strip(), "\n\n".join(filter(None, map(str.strip, thoughts))) or None

    def _give(self, piece: str, *, is_whole: bool) -> str:
        self._held, self._at = self._held[self._at :] + piece, 0
        given = "".join(self._steps(is_whole=is_whole))
        self._given.append(given)
        return given

    def _steps(self, *, is_whole: bool) -> Iterator[str]:
        while self._at < len(self._held):
            if self._closer is not None:
                if not self._think(self._closer, is_whole=is_whole):
                    return
            elif self._at_line_start:
                blank = self._begin_line(is_whole=is_whole)
                if blank is None:
                    return
                yield blank
            else:
                yield self._rest_of_line()

    def _think(self, closer: str, *, is_whole: bool) -> bool:
        """Take the thought up to its end; whether that has been reached."""
        found = _CLOSER[closer].search(self._held, self._at)
        kept = 0 if is_whole else len(closer) - 1
        end = max(self._at, len(self._held) - kept) if found is None else found.start()
        self._thoughts[-1].append(self._held[self._at : end])
        self._at = end if found is None else found.end()
        if found is not None:
            self._closer = None
        return found is not None

    def _begin_line(self, *, is_whole: bool) -> str | None:
        """Return the blank before what a line says; None if more is needed to know that."""
        found = _BLANK.match(self._held, self._at)
        start = self._at if found is None else found.end()
        mark = None if self._in_code else _MARK.match(self._held, start)
        if mark is not None and mark[0].lower() in _CLOSERS:
            self._closer = _CLOSERS[mark[0].lower()]
            self._thoughts.append([])
            self._at = mark.end()
            return ""
        if mark is not None and self._thoughts:
            self._at = mark.end()
            return ""
        lower = self._held[start : start + _LONGEST].lower()
        awaited = _FENCES if self._in_code else (*_MARKS, *_FENCES)
        if not is_whole and any(mark.startswith(lower) for mark in awaited if mark != lower):
            return None
        if lower.startswith(_FENCES):
            self._in_code = not self._in_code
        blank = self._held[self._at : start]
        self._at, self._at_line_start = start, False
        if self._thoughts and not self._has_said:
            blank = ""
        self._has_said = True
        return blank

    def _rest_of_line(self) -> str:
        start = self._at
        newline = self._held.find("\n", start)
        self._at_line_start = newline >= 0
        self._at = len(self._held) if newline < 0 else newline + 1
        return self._held[start : self._at]


def without_thoughts(text: str) -> tuple[str, str | None]:
    """Return what an answer says, and its thoughts; None without any."""
    thoughts = Thoughts()
    thoughts.feed(text)
    thoughts.close()
    return thoughts.parted()


def is_part_of_mark(token: str) -> bool:
    """Whether marks of thoughts hold this token, so that it must not be left out of an answer."""
    lower = token.lower()
    marks = (*_MARKS, *_CLOSERS.values())
    return len(lower) > 2 and not lower.isalpha() and any(lower in mark for mark in marks)


def _orphan(text: str) -> tuple[int, int] | None:
    """Return the span of the last closing mark without an opening one, at an end of a line."""
    found: tuple[int, int] | None = None
    for mark in _ORPHAN.finditer(text):
        before = text[max(0, mark.start() - 4) : mark.start()].rstrip(" \t")[-1:]
        after = text[mark.end() : mark.end() + 4].lstrip(" \t")[:1]
        if before in {"", "\n"} or after in {"", "\n"}:
            found = mark.span()
    if found is None or text.count("```", 0, found[0]) % 2:
        return None
    return found
