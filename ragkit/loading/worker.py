"""The process that parses files: it reads them from one pipe and answers through another.

It loads everything that a parser may need, and then gives up what it needs no longer: opening
files and sockets, starting programs, more memory and time than a file is allowed. So a parser that
a file has taken over can still do what its process can: give a wrong text for that file.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import logging
import math
import os
import pkgutil
import resource
import signal
import struct
import sys
import time
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import BinaryIO, TypeAlias

from ragkit.errors import LoadError
from ragkit.loading.encodings import decode_text
from ragkit.loading.formats import ARCHIVES, LOADERS, Loader, load_bytes, members_of, pictures_of
from ragkit.loading.frames import frame_head, packed, packed_members, read_frame
from ragkit.loading.sitemaps import SITEMAP
from ragkit.types import Json

Answer: TypeAlias = "tuple[dict[str, Json], Iterable[bytes | memoryview], int]"
"""A JSON object, and bytes in pieces with their number."""

OUT_OF_MEMORY = 3
"""The exit status of a worker without the memory to say so."""

_PACKAGES = ("encodings", "ragkit.loading", "ragkit.text")
"""Packages all of whose modules are loaded before the first file: none can be opened later."""

_MODULES = (
    "ast", "bz2", "chardet", "csv", "datetime", "email.encoders", "email.generator",
    "email.iterators", "gzip", "heapq", "html.entities", "lzma", "pyexpat", "pypdfium2", "quopri",
    "urllib.parse", "uu", "zlib",
)  # fmt: skip
"""Modules that parsers import where they use them, or the standard library does for them."""


# Numbers of Linux: prctl(2), landlock(7).
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_LANDLOCK: tuple[tuple[int, ...], ...] = (
    (0x1FFF,), (0x3FFF,), (0x7FFF,), (0x7FFF, 0x3), (0xFFFF, 0x3), (0xFFFF, 0x3, 0x3),
)  # fmt: skip
"""By version: all there is to forbid of files, then of networks, then of other processes."""


def main(settings: Mapping[str, int]) -> None:
    """Serve until the other side closes its pipe.

    Args:
        settings: `memory_bytes` and `cpu_seconds` that a file may cost.
    """
    requests, answers = _take_pipes()
    _preload()
    held = give_up(settings["memory_bytes"])
    gc.collect()
    gc.freeze()
    _send(answers, {"limits": held})
    known = [*LOADERS.values(), *ARCHIVES.values(), SITEMAP]
    loaders = {loader.name: loader for loader in known}
    try:
        while (frame := read_frame(requests)) is not None:
            _allow(settings["cpu_seconds"])
            answer = _answer(*frame, loaders)
            del frame
            _send(answers, *answer)
            del answer
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except BrokenPipeError:
        os._exit(0)


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Return both pipes; what a parser prints, or reads from its input, is nothing to them."""
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    os.close(nothing)
    return sys.stdin.buffer, answers


def _preload() -> None:
    for package in _PACKAGES:
        if importlib.util.find_spec(package) is not None:
            for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
                with suppress(ImportError):  # for another system, or of a part not installed
                    importlib.import_module(f"{package}.{module.name}")
    for name in _MODULES:
        with suppress(ImportError):
            importlib.import_module(name)
    with suppress(LoadError):
        decode_text("Fähre für alle".encode("cp1252"))  # opens the files of what detects encodings
    warnings.simplefilter("ignore")
    logging.disable()


def give_up(memory_bytes: int) -> list[Json]:
    """Take away from this process what parsing does not need; return the names of what held."""
    wanted = {
        "RLIMIT_AS": memory_bytes,
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": 0,
        "RLIMIT_NPROC": 0,
        "RLIMIT_NOFILE": 0,
    }
    nothing = os.open(os.devnull, os.O_WRONLY)
    held = _restrict()
    # What failed before this is told there; from here on nobody reads it.
    os.dup2(nothing, 2)
    os.close(nothing)
    for name, value in wanted.items():
        # Not every system has, or lets a process lower, each of them.
        with suppress(AttributeError, ValueError, OSError):
            number = getattr(resource, name)
            hard = resource.getrlimit(number)[1]
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(number, (most, most))
            held.append(name)
    return held


def _restrict() -> list[Json]:
    """Do what only Linux can do; return the names of what held.

    It ends with the thread that has started it, gains no privileges, and reaches neither files nor
    other processes, nor networks, as far as the kernel's Landlock goes.
    """
    if sys.platform != "linux":
        return []
    try:
        import ctypes

        library = ctypes.CDLL(None)
        control, call = library.prctl, library.syscall
    except (ImportError, OSError, AttributeError):
        return []
    held: list[Json] = []
    control(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if control(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        held.append("no_new_privs")
    version = min(int(call(_CREATE_RULESET, None, 0, 1)), len(_LANDLOCK))
    if version > 0:
        rights = _LANDLOCK[version - 1]
        rules = call(_CREATE_RULESET, struct.pack(f"{len(rights)}Q", *rights), 8 * len(rights), 0)
        if rules >= 0:
            held += ["landlock"] if call(_RESTRICT_SELF, rules, 0) == 0 else []
            os.close(rules)
    return held


def _allow(seconds: int) -> None:
    """Let this process go on for some more seconds of CPU time; the system ends it then."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    until = math.ceil(time.process_time()) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (until, hard))


def _answer(request: Mapping[str, Json], data: bytes, loaders: Mapping[str, Loader]) -> Answer:
    """Return the answer to one file."""
    name, given = str(request.get("name")), request.get("password")
    password = given if isinstance(given, str) else None
    loader = loaders.get(str(request.get("loader")))
    if loader is None:
        detail = "its loader is not one of those that a process of its own knows"
        return _error("unsupported", detail)
    try:
        if request.get("members"):
            return packed_members(members_of(data, loader))
        if isinstance(first := request.get("pictures_from"), int):
            return packed_members(pictures_of(data, first=first, password=password))
        return packed(load_bytes(data, name=name, password=password, loader=loader))
    except LoadError as error:
        return _error(error.code, error.detail, spent=isinstance(error.__cause__, MemoryError))
    except UnicodeError:
        return _error("broken", "its text cannot be stored")


def _error(code: str, detail: str, *, spent: bool = False) -> Answer:
    """Return an error; a process that has `spent` its memory is to be replaced."""
    return {"error": code, "detail": detail, "spent": spent}, (), 0


def _send(
    stream: BinaryIO,
    header: Mapping[str, Json],
    pieces: Iterable[bytes | memoryview] = (),
    n_bytes: int = 0,
) -> None:
    stream.write(frame_head(header, n_bytes))
    stream.writelines(pieces)
    stream.flush()
