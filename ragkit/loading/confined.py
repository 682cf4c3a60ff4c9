"""Run a program that may use no network, write no file, and take only so much memory and time.

    python -I confined.py CPU-SECONDS MEMORY-BYTES OUTPUT-BYTES PROGRAM [ARGUMENT …]

It is run by itself, and imports nothing of this package.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import sys

# Numbers of Linux: prctl(2), landlock(7).
_PR_SET_NO_NEW_PRIVS = 38
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_KNOWS_NETWORKS = 4
"""The version of Landlock that does."""

_BIND_AND_CONNECT = 0x3


def main() -> None:
    """Give up what the program does not need, and become it."""
    cpu_seconds, memory_bytes, output_bytes = map(int, sys.argv[1:4])
    limits = {
        "RLIMIT_CPU": cpu_seconds,
        "RLIMIT_AS": memory_bytes,
        "RLIMIT_FSIZE": output_bytes,
        "RLIMIT_CORE": 0,
    }
    if sys.platform == "linux":
        _leave_networks()
    for name, value in limits.items():
        number = getattr(resource, name, None)
        if number is not None:
            hard = resource.getrlimit(number)[1]
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(number, (most, most))
    os.execv(sys.argv[4], sys.argv[4:])  # noqa: S606 (the program is the user's)


def _leave_networks() -> None:
    """Let this process open no connection, as far as the kernel's Landlock goes."""
    library = ctypes.CDLL(None)
    library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if library.syscall(_CREATE_RULESET, None, 0, 1) < _KNOWS_NETWORKS:
        return
    rights = struct.pack("2Q", 0, _BIND_AND_CONNECT)
    rules = library.syscall(_CREATE_RULESET, rights, len(rights), 0)
    if rules >= 0:
        library.syscall(_RESTRICT_SELF, rules, 0)
        os.close(rules)


if __name__ == "__main__":
    main()
