"""Sockets whose every wait ends with one deadline."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from ragkit.hanging_up import on_hang_up
from ragkit_connectors.support.deadline import Deadline

if TYPE_CHECKING:
    import socket

AddressInfo: TypeAlias = (
    "tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]"
)
"""What `socket.getaddrinfo` returns of one address."""

READ_BYTES = 65536
_MOST_HEAD_BYTES = 262_144
"""Bytes before a body: http.client itself limits a line and the number of lines, but not how many
responses `100 Continue` come before the one that counts."""


class TimedSocket:
    """What http.client uses of a socket, so that every wait ends with one deadline.

    The time-out of a socket itself holds for each read, which a server that drips never reaches.
    """

    def __init__(self, socket_: socket.socket, deadline: Deadline) -> None:
        self._socket = socket_
        self._deadline = deadline
        self._reader: _TimedReader | None = None
        on_hang_up(self._shut)

    def _shut(self) -> None:
        """End the wait of the thread that reads; the connection is closed by that thread."""
        import socket

        with contextlib.suppress(OSError):  # it is closed already
            # Not what TLS makes of it: that may only be called by the thread that reads.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        view = memoryview(data)
        while view:
            self._socket.settimeout(self._deadline.check())
            view = view[self._socket.send(view) :]

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return a file to read from."""
        del mode
        self._reader = _TimedReader(self._socket, self._deadline)
        return io.BufferedReader(self._reader, READ_BYTES)

    def end_of_head(self) -> None:
        """What is read from now on is body, whose size is counted elsewhere."""
        if self._reader is not None:
            self._reader.bytes_left = float("inf")

    def close(self) -> None:
        """Close the socket once the file is closed too."""
        self._socket.close()


class _TimedReader(io.RawIOBase):
    def __init__(self, socket_: socket.socket, deadline: Deadline) -> None:
        self._socket = socket_
        self._file = socket_.makefile("rb", buffering=0)
        self._deadline = deadline
        self.bytes_left: float = _MOST_HEAD_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        self._socket.settimeout(self._deadline.check())
        n_bytes = self._file.readinto(buffer)
        self.bytes_left -= n_bytes or 0
        if self.bytes_left < 0:
            raise OSError(0, f"the head of the answer is larger than {_MOST_HEAD_BYTES:,} bytes")
        return n_bytes

    def close(self) -> None:
        self._file.close()
        super().close()


def connected(host: str, port: int, deadline: Deadline) -> socket.socket:
    """Return a connection to a host; its addresses share the time that is left."""
    import socket

    return connected_to(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), deadline)


def connected_to(addresses: Sequence[AddressInfo], deadline: Deadline) -> socket.socket:
    """Return a connection to one of some addresses, which are not looked up again."""
    import socket

    failed: OSError = ConnectionRefusedError()
    for n_left, (family, kind, protocol, _, address) in zip(
        range(len(addresses), 0, -1), addresses, strict=True
    ):
        socket_ = socket.socket(family, kind, protocol)
        try:
            socket_.settimeout(deadline.check() / n_left)
            socket_.connect(address)
            socket_.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            socket_.close()
            failed = error
        else:
            return socket_
    raise failed
