"""The chat service under many users, some of whom leave in the middle: what is lost or leaks?

python -m tests.examples.load --users 200

A scripted model answers, a word at a time. Each user asks some questions; of some answers the
user reads only a part, and leaves. Afterwards nothing may be open, and each answer that the model
was asked for must have a line in the ledger. Exit code 1 where that is not so.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ragkit_connectors.testing import OpenAIServer, Reply

from .services import FERRY, make_store, outcomes, service

_WORDS = "The Gannet leaves at nine, as the guide says, and that is all there is to say [1]."
_USER = "Bearer ben-secret"
_MOST_SECONDS = 300.0


@dataclass
class Load:
    """What many users have seen.

    Attributes:
        seen: Counts: whole answers, left ones, times that the service was busy.
        errors: What was no answer.
        first_piece_seconds: Of each answer, how long its first piece took.
    """

    seen: Counter[str] = field(default_factory=Counter[str])
    errors: list[str] = field(default_factory=list[str])
    first_piece_seconds: list[float] = field(default_factory=list[float])


async def _ask(url: str, load: Load, *, leaves: bool, rng: random.Random) -> bool:
    """Ask once, and leave in the middle or read to the end; false if the service was busy."""
    address = urlsplit(url)
    began = time.monotonic()
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        body = json.dumps({"question": FERRY}).encode()
        head = (
            f"POST /chat HTTP/1.1\r\nHost: service\r\nAuthorization: {_USER}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        writer.write(head.encode() + body)
        status = (await reader.readline()).split()[1:2]
        if status != [b"200"]:
            if status == [b"503"]:
                load.seen["busy"] += 1
                return False
            load.errors.append(f"status {status}")
            return True
        n_events, last = 0, b""
        leaves_after = rng.randrange(10) if leaves else -1
        while line := await reader.readline():
            if line.startswith(b"event: "):
                if not n_events:
                    load.first_piece_seconds.append(time.monotonic() - began)
                if n_events == leaves_after:
                    load.seen["left"] += 1
                    return True
                n_events, last = n_events + 1, line
        if last == b"event: answer\n":
            load.seen["answers"] += 1
        else:
            load.errors.append(f"the stream ended after {last!r}")
    finally:
        writer.close()
    return True


async def _user(url: str, load: Load, n_questions: int, rng: random.Random) -> None:
    for _ in range(n_questions):
        await asyncio.sleep(rng.random())
        leaves = rng.random() < 0.3
        while not await _ask(url, load, leaves=leaves, rng=rng):
            await asyncio.sleep(2.0)  # as Retry-After says


async def _all(url: str, load: Load, n_users: int, n_questions: int) -> None:
    users = [_user(url, load, n_questions, random.Random(i)) for i in range(n_users)]
    async with asyncio.timeout(_MOST_SECONDS):
        for done in await asyncio.gather(*users, return_exceptions=True):
            if isinstance(done, BaseException):
                load.errors.append(repr(done))


def run(n_users: int, n_questions: int, folder: Path) -> dict[str, object]:
    """Return what came of it."""
    store = make_store(folder / "kb")
    load = Load()
    reply = Reply(text=_WORDS, delay_seconds=0.02, packet_bytes=200)
    with OpenAIServer([reply]) as server:
        settings = {
            "RAGKIT_STORE": str(store), "RAGKIT_GENERATOR": "openai:scripted",
            "RAGKIT_BASE_URL": server.base_url,
        }  # fmt: skip
        with service("05_fastapi_chat.py", settings, quiet=True) as url:
            began = time.monotonic()
            asyncio.run(_all(url, load, n_users, n_questions))
            seconds = time.monotonic() - began
            for _ in range(300):  # what was left ends with its next word
                if not server.n_open:
                    break
                time.sleep(0.1)
            n_leaked = server.n_open
        n_asked = len(server.requests)
    written = Counter(outcomes(store))
    waits = sorted(load.first_piece_seconds) or [0.0]
    return {
        "users": n_users, "answers": load.seen["answers"], "left": load.seen["left"],
        "busy": load.seen["busy"], "errors": load.errors, "leaked_streams": n_leaked,
        "asked_of_the_model": n_asked, "ledger": dict(written),
        "lines_missing": n_asked - written.total(), "seconds": round(seconds, 1),
        "first_piece_seconds_median": round(waits[len(waits) // 2], 2),
        "first_piece_seconds_p95": round(waits[int(len(waits) * 0.95)], 2),
    }  # fmt: skip


def is_sound(found: dict[str, object]) -> bool:
    """Whether nothing was lost and nothing is left open."""
    return not (found["errors"] or found["leaked_streams"] or found["lines_missing"])


def main() -> int:
    """Run it, and print what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--questions", type=int, default=3, help="of each user")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(args.users, args.questions, Path(folder))
    print(json.dumps(found, indent=1))  # noqa: T201
    return 0 if is_sound(found) else 1


if __name__ == "__main__":
    sys.exit(main())
