"""What a parsing process answers is checked: it may be under the control of a hostile file."""

from __future__ import annotations

import json
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.errors import LoadError
from ragkit.loading import LoadedText, load_bytes
from ragkit.loading.content import Content
from ragkit.loading.formats import find_loader
from ragkit.loading.frames import FrameError, header_of, packed, unpacked
from ragkit.loading.isolation import Worker
from ragkit.narrowing import is_array, is_object
from ragkit.types import Json

from .structure import assert_sound, taken_from

LIAR = """#!{python}
import os, struct, sys
sys.stdin.buffer.readline()
def frame(text, n=0):
    sys.stdout.buffer.write(struct.pack("!IQ", len(text), n) + text)
    sys.stdout.buffer.flush()
frame(b"{{}}")
sys.stdin.buffer.read(12)
{answer}
sys.stdin.buffer.read()
"""
LIES = {
    "frame(b'nonsense')": "broken: its parser gave no answer of use",
    "frame(b'[]')": "broken: its parser gave no answer of use",
    "frame(b'{}')": "broken: its parser gave no answer of use",
    "frame(b'[' * 100000)": "broken: its parser gave no answer of use",
    "frame(b'{}', 2**60)": "broken: its parser gave no answer of use: it is longer than",
    """frame(b'{"error": "Bad code!", "detail": 7}')""": "broken: 7",
    "sys.exit(4)": "broken: its parser crashed: status 4",
    "os.kill(os.getpid(), 11)": "broken: its parser crashed: SIGSEGV",
    "os.abort()": "limit: it needs more than",
}
MARKDOWN = b"""---
tags: [a, b]
---
# A

- x
  - y

| a | b |
|---|---|
| 1 | 2 |

## B
End.
"""
values = st.one_of(
    st.integers(-2, 90), st.just(10**30), st.none(), st.text(), st.booleans(), st.floats(),
    st.lists(st.integers(0, 3), max_size=1),
    st.dictionaries(st.text(max_size=2), st.integers(0, 3), max_size=1),
)  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_process_that_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: str) -> None:
    """Whatever it answers costs this file and no other."""
    liar = tmp_path / "python-liar"
    liar.write_text(LIAR.format(python=sys.executable, answer=lie), encoding="utf-8")
    liar.chmod(stat.S_IRWXU)
    worker = Worker()
    content, loader = Content.of(b"words"), find_loader("a.txt")
    monkeypatch.setattr(sys, "executable", str(liar))
    with pytest.raises(LoadError, match=LIES[lie]):
        worker.load(content, name="a.txt", loader=loader)
    monkeypatch.undo()
    worker.close()
    assert worker.load(content, name="a.txt", loader=loader).text == "words"
    worker.close()


def test_nothing_is_lost() -> None:
    """Title, metadata, marks and parts come through as they were."""
    for name, data in (
        ("a.md", MARKDOWN),
        ("a.csv", b"a,b\n1,2\n\n3,4,5\n"),
        ("a.txt", b"\xc3\xa9"),
    ):
        loaded = replace(load_bytes(data, name=name), dropped={"hidden": 7, "nav": 0})
        header, body = _answer(loaded)
        assert unpacked(header, len(body), taken_from(body)) == loaded
    markdown = load_bytes(MARKDOWN, name="a.md")
    assert markdown.title
    assert markdown.metadata
    assert markdown.marks
    assert {part.parent for part in markdown.parts} > {None, 2}


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_a_damaged_answer(data: st.DataObject) -> None:
    """It is refused, or what it gives is in order and inside the text."""
    header, body = _answer(load_bytes(MARKDOWN, name="a.md"))
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        changed[at] = data.draw(st.sampled_from((0, 1, 2, 9, 127, 128, 255, changed[at] + 1 & 255)))
    for _ in range(data.draw(st.integers(0, 2))):
        *way, last = data.draw(st.sampled_from(_ways(header)))
        place: object = header
        for key in way:
            place = place[key]  # type: ignore[index]
        place[last] = data.draw(values)  # type: ignore[index]
    end = data.draw(st.one_of(st.just(len(body)), st.integers(0, len(body))))
    try:
        found = unpacked(header, end, taken_from(changed[:end]))
    except FrameError:
        return
    assert_sound(found.text, found.parts, stripped=False)
    starts = [mark.start for mark in found.marks]
    assert starts == sorted(starts)
    assert all(0 <= start < len(found.text) for start in starts)
    json.dumps([mark.location.to_dict() for mark in found.marks] + [found.title])


def _answer(loaded: LoadedText) -> tuple[dict[str, Json], bytes]:
    header, pieces, n_bytes = packed(loaded)
    body = b"".join(pieces)
    assert len(body) == n_bytes
    return header_of(json.dumps(header).encode()), body


def _ways(value: Json) -> list[tuple[str | int, ...]]:
    """Return the keys that lead to each value inside one."""
    inner: list[tuple[str | int, Json]] = []
    if is_object(value):
        inner = list(value.items())
    elif is_array(value):
        inner = list(enumerate(value))
    return [(key, *way) for key, below in inner for way in ((), *_ways(below))]
