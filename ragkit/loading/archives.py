"""Archives (ZIP, tar): the files in them, within bounds that hold whatever an archive declares.

Nothing is written to disk, so that a name in an archive is only ever part of a document's id.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import IO

from ragkit.errors import LoadError
from ragkit.loading.members import MAX_MEMBERS, Member, member_name
from ragkit.loading.walking import is_left_out

MAX_BYTES = 128 * 2**20
"""Of all files in an archive, unpacked."""

MAX_RATIO = 200
"""Of bytes unpacked to those packed; text has 3 to 10, a bomb 1,000 and more."""

_IS_UTF_8 = 0x800
_FREE_BYTES = 2**20
"""Of a small archive, whatever the ratio."""


def zip_members(data: bytes) -> Iterator[Member]:
    """Yield the files in a ZIP archive.

    Raises:
        LoadError: `limit` when there are too many or they are too large, `password` when one is
            encrypted, `broken` when it is no such archive.
    """
    budget, taken = _Budget(len(data)), dict[str, int]()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                name = _name_of(info)
                if info.is_dir() or is_left_out(name):
                    continue
                budget.count()
                if info.flag_bits & 1:
                    raise LoadError("password", "a file in the archive is encrypted")
                with archive.open(info) as file:
                    yield Member(member_name(name, taken), budget.read(file))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error) as error:
        raise LoadError("broken", f"not a ZIP archive that can be read: {error}") from error


def _name_of(info: zipfile.ZipInfo) -> str:
    """Return a file's name; some programs write it in UTF-8, but do not say so."""
    if not info.flag_bits & _IS_UTF_8:
        with suppress(UnicodeError):
            return info.filename.encode("cp437").decode("utf-8")
    return info.filename


def tar_members(data: bytes) -> Iterator[Member]:
    """Yield the files in a tar archive, compressed or not; errors as for ZIP archives."""
    budget, taken = _Budget(len(data)), dict[str, int]()
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as archive:
            for info in archive:
                if not info.isreg() or is_left_out(info.name):
                    continue
                budget.count()
                file = archive.extractfile(info)
                if file is not None:
                    yield Member(member_name(info.name, taken), budget.read(file))
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        why = str(error).partition("\n")[0].rstrip(":")
        raise LoadError("broken", f"not a tar archive that can be read: {why}") from error


class _Budget:
    """What may still be unpacked."""

    def __init__(self, n_packed: int) -> None:
        self._n_bytes = min(MAX_BYTES, max(_FREE_BYTES, MAX_RATIO * n_packed))
        self._n_members = MAX_MEMBERS

    def count(self) -> None:
        """Take another file."""
        self._n_members -= 1
        if self._n_members < 0:
            raise LoadError("limit", f"more than {MAX_MEMBERS:,} files in the archive")

    def read(self, file: IO[bytes]) -> bytes:
        """Read a file."""
        data = file.read(self._n_bytes + 1)
        self._n_bytes -= len(data)
        if self._n_bytes < 0:
            raise LoadError("limit", "the archive unpacks to far more than it should")
        return data
