"""Mails as Outlook saves them (.msg): a compound file (MS-CFB) with a stream for each property.

Only what is needed is read: the directory, and the streams of the properties (MS-OXMSG) that hold
the mail's text, headers and attachments.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ragkit.errors import LoadError
from ragkit.loading.encodings import decode_text
from ragkit.loading.html import load_html
from ragkit.loading.loaded import LoadedText, decoded
from ragkit.loading.members import Member, member_name
from ragkit.text.plain_lists import plain_list_parts
from ragkit.types import Json

_SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_END = 0xFFFFFFFA
"""From here on, numbers of sectors mean that there is none."""
_MAX_ENTRIES = 100_000

_SUBJECT, _BODY, _HTML, _SENDER, _ADDRESS = "0037", "1000", "1013", "0C1A", "5D01"
_TO, _CC, _MESSAGE_ID, _SENT = "0E04", "0E03", "1035", 0x00390040
_LONG_NAME, _NAME, _DATA = "3707", "3704", "3701"
_ATTACHMENT, _PROPERTIES = "__attach_version1.0_", "__properties_version1.0"


def load_msg(data: bytes) -> LoadedText:
    """Load a mail saved by Outlook: its text, its subject as title, and who wrote it to whom.

    Raises:
        LoadError: `no_text` when it has no body, `broken` when it is no such file.
    """
    file = _CompoundFile(data)
    root = file.children(0)
    sender = " ".join(filter(None, [file.text(root, _SENDER), file.text(root, _ADDRESS)]))
    metadata: dict[str, Json] = {"from": sender, "to": file.text(root, _TO),
                                 "cc": file.text(root, _CC), "date": _date(file, root),
                                 "message_id": file.text(root, _MESSAGE_ID)}  # fmt: skip
    metadata = {name: value for name, value in metadata.items() if value}
    names = [member.name for member in _attached(file)]
    if names:
        metadata["attachments"] = names
    text, _, dropped = decoded(file.text(root, _BODY).encode("utf-8", "replace"))
    text = text.strip("\n")
    page = file.stream(root, f"__substg1.0_{_HTML}0102")
    if not text.strip() and page:
        loaded = load_html(page)
        text, dropped = loaded.text, dict(loaded.dropped)
    if not text.strip():
        raise LoadError("no_text", "the mail has no text of its own")
    return LoadedText(
        text=text, title=" ".join(file.text(root, _SUBJECT).split()),
        parts=plain_list_parts(text), metadata=metadata, dropped=dropped,
    )  # fmt: skip


def msg_members(data: bytes) -> Iterator[Member]:
    """Yield what is attached to a mail."""
    yield from _attached(_CompoundFile(data))


def _attached(file: _CompoundFile) -> Iterator[Member]:
    taken = dict[str, int]()
    for name, entry in sorted(file.children(0).items()):
        if name.startswith(_ATTACHMENT):
            inner = file.children(entry.index)
            data = file.stream(inner, f"__substg1.0_{_DATA}0102")
            title = file.text(inner, _LONG_NAME) or file.text(inner, _NAME)
            if data:
                yield Member(member_name(title, taken), data)


def _date(file: _CompoundFile, root: Mapping[str, _Entry]) -> str:
    """Return when it was sent: a property of fixed size, of which all stand in one stream."""
    values = file.stream(root, _PROPERTIES)[32:]
    for at in range(0, len(values) - 15, 16):
        tag, _, ticks = struct.unpack_from("<IIQ", values, at)
        if tag == _SENT and 0 < ticks < 2**61:
            since = datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=ticks // 10)
            return since.isoformat(timespec="seconds")
    return ""


@dataclass(frozen=True, slots=True)
class _Entry:
    index: int
    kind: int
    first: int
    n_bytes: int
    left: int
    right: int
    child: int


class _CompoundFile:
    """A file system in a file: sectors in chains, small streams in a stream of their own."""

    def __init__(self, data: bytes) -> None:
        if not data.startswith(_SIGNATURE) or len(data) < 512:
            raise LoadError("broken", "not a mail saved by Outlook")
        self._data = data
        self._size = 1 << min(struct.unpack_from("<H", data, 30)[0], 16)
        first_directory, self._cutoff, first_mini = struct.unpack_from("<I4xII", data, 48)
        self._table = self._allocation()
        self._entries, self._names = list[_Entry](), list[str]()
        directory = self._chain(first_directory, len(data))
        for at in range(0, min(len(directory), 128 * _MAX_ENTRIES) - 127, 128):
            self._add_entry(directory[at : at + 128])
        if not self._entries:
            raise LoadError("broken", "it has no directory")
        table = self._chain(first_mini, len(data))
        self._mini_table = struct.unpack(f"<{len(table) // 4}I", table[: len(table) // 4 * 4])
        self._mini = self._chain(self._entries[0].first, len(data))

    def _add_entry(self, raw: bytes) -> None:
        n_name = min(struct.unpack_from("<H", raw, 64)[0], 64)
        self._names.append(raw[: max(0, n_name - 2)].decode("utf-16-le", "replace"))
        left, right, child = struct.unpack_from("<3I", raw, 68)
        first, n_bytes = struct.unpack_from("<II", raw, 116)
        index = len(self._entries)
        self._entries.append(_Entry(index, raw[66], first, n_bytes, left, right, child))

    def _allocation(self) -> tuple[int, ...]:
        """Return the sector that follows each sector."""
        data, n_sectors = self._data, len(self._data) // self._size + 1
        numbers = list(struct.unpack_from("<109I", data, 76))
        following, met = struct.unpack_from("<I", data, 68)[0], set[int]()
        while following < _END and following not in met and len(numbers) <= n_sectors:
            met.add(following)
            sector = self._sector(following)
            more = struct.unpack(f"<{len(sector) // 4}I", sector[: len(sector) // 4 * 4])
            numbers += more[:-1]
            following = more[-1] if more else _END
        table = b"".join(self._sector(number) for number in numbers[:n_sectors] if number < _END)
        return struct.unpack(f"<{len(table) // 4}I", table[: len(table) // 4 * 4])

    def _sector(self, number: int) -> bytes:
        start = (number + 1) * self._size
        return self._data[start : start + self._size]

    def _chain(self, number: int, n_bytes: int) -> bytes:
        """Return the sectors of a chain, up to so many bytes; one that returns to itself ends."""
        pieces, met = list[bytes](), set[int]()
        while number < len(self._table) and number not in met and n_bytes > 0:
            met.add(number)
            pieces.append(self._sector(number)[:n_bytes])
            n_bytes -= self._size
            number = self._table[number]
        return b"".join(pieces)

    def children(self, index: int) -> dict[str, _Entry]:
        """Return the entries of a storage by name: a tree, of which no entry is met twice."""
        waiting, found, met = [self._entries[index].child], dict[str, _Entry](), set[int]()
        while waiting:
            number = waiting.pop()
            if number >= len(self._entries) or number in met:
                continue
            met.add(number)
            entry = self._entries[number]
            found.setdefault(self._names[number], entry)
            waiting += [entry.left, entry.right]
        return found

    def stream(self, entries: Mapping[str, _Entry], name: str) -> bytes:
        """Return a stream's bytes; none if there is no such stream."""
        entry = entries.get(name)
        if entry is None or entry.kind != 2:
            return b""
        if entry.n_bytes >= self._cutoff:
            return self._chain(entry.first, entry.n_bytes)
        pieces, met, number, n_left = list[bytes](), set[int](), entry.first, entry.n_bytes
        while number < len(self._mini_table) and number not in met and n_left > 0:
            met.add(number)
            pieces.append(self._mini[number * 64 : number * 64 + min(64, n_left)])
            n_left -= 64
            number = self._mini_table[number]
        return b"".join(pieces)

    def text(self, entries: Mapping[str, _Entry], tag: str) -> str:
        """Return a property that is a text; empty if there is none."""
        wide = self.stream(entries, f"__substg1.0_{tag}001F")
        if wide:
            return wide.decode("utf-16-le", "replace").rstrip("\0")
        narrow = self.stream(entries, f"__substg1.0_{tag}001E").rstrip(b"\0")
        return decode_text(narrow)[0] if narrow else ""
