"""Subtitles (SubRip, WebVTT): what is said, as running text, each piece with its time."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ragkit.loading.loaded import LoadedText, decoded
from ragkit.text.columns import MarkColumns, PartColumns
from ragkit.text.lines import raw_lines
from ragkit.types import Location

_TIMES = re.compile(
    r"[ \t]*(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})[ \t]*-->[ \t]*"
    r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
)
_VOICE = re.compile(r"<v(?:\.[^\s>]{0,80})?[ \t]+([^>\n]{1,200})>")
_FORMATTING = re.compile(r"</?[a-zA-Z0-9][^<>\n]{0,200}>|\{\\[^{}\n]{0,200}\}")
_SILENCE_SECONDS = 4.0
"""After which another paragraph begins."""
_MOST_CHARACTERS = 600
"""Of a paragraph, after which it ends with the next sentence."""
_SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？", '"', "”")


@dataclass(frozen=True, slots=True)
class _Cue:
    start: float
    end: float
    speaker: str
    text: str


def load_subtitles(data: bytes) -> LoadedText:
    """Load subtitles: what is said in paragraphs, with the names of the speakers, and its times.

    Comments and styles are left out, and so is a line that only repeats the one before.
    """
    text, metadata, dropped = decoded(data)
    marks, parts, pieces = MarkColumns(), PartColumns(), list[str]()
    length, begun = 0, 0
    before: _Cue | None = None
    for cue in _cues(text):
        is_new = before is None or _is_apart(before, cue, length - begun)
        said = f"{cue.speaker}: {cue.text}" if _is_other(before, cue) else cue.text
        if before is not None:
            pieces.append("\n\n" if is_new else " ")
            length += len(pieces[-1])
        if is_new:
            begun = length
            parts.append(begun, begun, "paragraph", None)
        marks.append(length, "text", Location(time=_shown(cue.start)))
        pieces.append(said)
        length += len(said)
        parts.change(len(parts) - 1, end=length, kind="paragraph")
        before = cue
    return LoadedText(
        text="".join(pieces), marks=marks, parts=parts, metadata=metadata, dropped=dropped
    )


def _is_other(before: _Cue | None, cue: _Cue) -> bool:
    return bool(cue.speaker) and (before is None or before.speaker != cue.speaker)


def _is_apart(before: _Cue, cue: _Cue, n_characters: int) -> bool:
    if before.speaker != cue.speaker or cue.start - before.end > _SILENCE_SECONDS:
        return True
    return n_characters > _MOST_CHARACTERS and before.text.endswith(_SENTENCE_ENDS)


def _cues(text: str) -> Iterator[_Cue]:
    """Yield what is said: a line with times, and the lines below it to the next blank one."""
    times: re.Match[str] | None = None
    lines, last = list[str](), ""
    for _, line in [*raw_lines(text), (0, "")]:
        found = _TIMES.match(line)
        if line.strip() and not found:
            if times:
                lines.append(line)
            continue
        if times:
            cue = _cue(times, "\n".join(lines), last)
            if cue.text:
                last = cue.text
                yield cue
        times, lines = found, []


def _cue(times: re.Match[str], raw: str, last: str) -> _Cue:
    voice = _VOICE.search(raw)
    lines = [" ".join(html.unescape(_FORMATTING.sub("", line)).split()) for line in raw.split("\n")]
    kept = [line for line in lines if line and line != last]
    start, end = _seconds(times.groups()[:4]), _seconds(times.groups()[4:])
    return _Cue(start, end, voice[1].strip() if voice else "", " ".join(kept))


def _seconds(groups: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, parts = (int(group or 0) for group in groups)
    return hours * 3600 + minutes * 60 + seconds + parts / 1000


def _shown(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
