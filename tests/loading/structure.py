"""What holds for the parts of every document, and their short form for comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO

from ragkit.loading import LoadedText, load_bytes
from ragkit.loading.frames import Take
from ragkit.types import Part


def assert_sound(text: str, parts: Sequence[Part], *, stripped: bool = True) -> None:
    """Assert that parts are in order, inside their parents and apart from their siblings."""
    reached: dict[int | None, int] = {}
    for index, part in enumerate(parts):
        assert 0 <= part.start < part.end <= len(text)
        assert index == 0 or parts[index - 1].start <= part.start
        own = text[part.start : part.end]
        assert not stripped or own == own.strip()
        assert reached.get(part.parent, 0) <= part.start
        reached[part.parent] = part.end
        if part.parent is not None:
            outer = parts[part.parent]
            assert part.parent < index
            assert outer.start <= part.start
            assert part.end <= outer.end


def outline(loaded: LoadedText) -> list[str]:
    """Return `kind: own text` of each part, indented by the parts around it."""
    assert_sound(loaded.text, loaded.parts)
    return list(_lines(loaded.text, loaded.parts))


def _lines(text: str, parts: Sequence[Part]) -> Iterator[str]:
    depths: list[int] = []
    first_child: dict[int, int] = {}
    for part in parts:
        depths.append(0 if part.parent is None else depths[part.parent] + 1)
        if part.parent is not None:
            first_child.setdefault(part.parent, part.start)
    for index, part in enumerate(parts):
        own = text[part.start : first_child.get(index, part.end)]
        yield f"{'  ' * depths[index]}{part.kind}: {' '.join(own.split())}".rstrip()


def html(page: str) -> LoadedText:
    """Load a page."""
    return load_bytes(page.encode(), name="a.html")


def taken_from(body: bytes | bytearray) -> Take:
    """Return what gives the next bytes of an answer."""
    stream = BytesIO(body)
    return lambda n: bytearray(stream.read(n))
