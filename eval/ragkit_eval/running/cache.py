"""What was computed once and need not be paid for again: vectors and generations, in one file.

Entries are found by the digest of everything that decides them: the embedder's fingerprint and the
text, or the generator's fingerprint, its options and the whole prompt. Each entry
holds the time it took, so that a run which finds it can say what it would have cost.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit import private
from ragkit.errors import ConfigError
from ragkit.text.jsontext import as_object
from ragkit.types import (
    Embedder,
    Generation,
    GenerationOptions,
    Generator,
    Json,
    Prompt,
    TokenCounter,
    Usage,
    fingerprint_of,
    sentence_embedder,
)

if TYPE_CHECKING:
    from ragkit.types import Vector, Vectors

FILE_NAME = "cache.sqlite"


@dataclass(frozen=True, slots=True)
class _Entry:
    value: bytes
    seconds: float
    cpu_seconds: float


class Cache:
    """A file of entries; each is durable as soon as it is written.

    Raises:
        ConfigError: the file cannot be used.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / FILE_NAME
        try:
            private.make_folder(self.path.parent)
            # SQLite gives its other files the mode of this one.
            private.make_file(self.path)
            self._lock = threading.Lock()
            self._connection = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA busy_timeout = 10000")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS entry (key BLOB PRIMARY KEY, value BLOB NOT NULL, "
                "seconds REAL NOT NULL, cpu_seconds REAL NOT NULL) WITHOUT ROWID"
            )
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"cache {self.path} cannot be used: {error}; remove it, or name another: --cache"
            ) from error

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def get(self, key: bytes) -> _Entry | None:
        """Return an entry."""
        with (
            self._lock,
            closing(
                self._connection.execute(
                    "SELECT value, seconds, cpu_seconds FROM entry WHERE key = ?", (key,)
                )
            ) as rows,
        ):
            row = rows.fetchone()
        return None if row is None else _Entry(*row)

    def put(self, entries: Sequence[tuple[bytes, bytes]], spent: Spent) -> None:
        """Store entries that were computed together, each with its share of the cost."""
        n = len(entries)
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(
                    "INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?)",
                    [(k, value, spent.seconds / n, spent.cpu_seconds / n) for k, value in entries],
                )
                self._connection.execute("COMMIT")
            finally:
                # A disk that is full ends the transaction, or leaves it open.
                self._connection.rollback()


@dataclass(slots=True)
class Spent:
    """Wall and CPU seconds."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @classmethod
    def since(cls, began: tuple[float, float]) -> Spent:
        """Return the time since `began`, a pair of both clocks."""
        return cls(time.perf_counter() - began[0], time.process_time() - began[1])


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _key(*parts: Json) -> bytes:
    return hashlib.sha256(
        json.dumps(parts, ensure_ascii=False, sort_keys=True).encode("utf-8", "surrogatepass")
    ).digest()


class _Own(threading.local):
    """What each thread has saved."""

    def __init__(self) -> None:
        self.spent = Spent()


class _Saving:
    """Adds up what look-ups saved, for each thread separately."""

    def __init__(self) -> None:
        self._own = _Own()

    @property
    def saved(self) -> Spent:
        """What look-ups of this thread have saved since `forget_saved`."""
        return self._own.spent

    def forget_saved(self) -> None:
        """Start from zero again."""
        self._own.spent = Spent()


class CachingEmbedder(_Saving):
    """An embedder that looks up before it computes."""

    def __init__(self, embedder: Embedder, cache: Cache, *, name: str) -> None:
        super().__init__()
        self.name = name
        self._embedder = embedder
        self._cache = cache

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._embedder.dim

    @property
    def fingerprint(self) -> str:
        """That of the embedder inside."""
        return self._embedder.fingerprint

    @property
    def variant(self) -> str:
        """That of the embedder inside."""
        return str(getattr(self._embedder, "variant", ""))

    @property
    def compatible_fingerprints(self) -> tuple[str, ...]:
        """Those of the embedder inside."""
        alike: tuple[str, ...] = getattr(self._embedder, "compatible_fingerprints", ())
        return alike

    @property
    def sentence_fingerprint(self) -> str | None:
        """That of the embedder inside; None where it makes no vectors of sentences at less cost."""
        short = sentence_embedder(self._embedder)
        return None if short is None else short.sentence_fingerprint

    def count_truncated(self, texts: Sequence[str]) -> int:
        """Return how many texts are longer than the embedder inside reads, where it can tell."""
        count = getattr(self._embedder, "count_truncated", None)
        return int(str(count(texts))) if callable(count) else 0

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text, in order."""
        return self._looked_up("document", self._embedder.embed_documents, texts)

    def embed_sentences(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per sentence, in order; only where there is a fingerprint."""
        short = sentence_embedder(self._embedder)
        assert short is not None  # noqa: S101 (a caller has looked)
        kind = f"sentence {short.sentence_fingerprint}"
        return self._looked_up(kind, short.embed_sentences, texts)

    def _looked_up(
        self, kind: str, embed: Callable[[Sequence[str]], Vectors], texts: Sequence[str]
    ) -> Vectors:
        import numpy as np

        settings = fingerprint_of(self)
        keys = [_key(kind, settings, text) for text in texts]
        found = {key: self._found(key) for key in keys}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if found[key] is None}
        if missing:
            began = _now()
            computed = embed(list(missing.values()))
            vectors = [row.astype(np.float32).tobytes() for row in computed]
            self._cache.put(list(zip(missing, vectors, strict=True)), Spent.since(began))
            found.update(zip(missing, vectors, strict=True))
        rows = [np.frombuffer(found[key] or b"", np.float32) for key in keys]
        return np.stack(rows) if rows else np.zeros((0, self.dim), np.float32)

    def embed_query(self, text: str) -> Vector:
        """Return the unit vector of a question."""
        import numpy as np

        key = _key("query", fingerprint_of(self), text)
        value = self._found(key)
        if value is None:
            began = _now()
            value = self._embedder.embed_query(text).astype(np.float32).tobytes()
            self._cache.put([(key, value)], Spent.since(began))
        return np.frombuffer(value, np.float32)

    def _found(self, key: bytes) -> bytes | None:
        entry = self._cache.get(key)
        if entry is None:
            return None
        self.saved.seconds += entry.seconds
        self.saved.cpu_seconds += entry.cpu_seconds
        return entry.value


class CachingGenerator(_Saving):
    """A generator that answers a prompt it has answered before from the cache.

    Args:
        generator: What answers the others.
        cache: Where answers are kept.
        scope: Tells generators apart that go by the same name and have no fingerprint: whatever
            they were opened with. Without it the name alone tells them apart.
    """

    def __init__(self, generator: Generator, cache: Cache, *, scope: str = "") -> None:
        super().__init__()
        self._generator = generator
        self._cache = cache
        self._scope = scope

    @property
    def name(self) -> str:
        """That of the generator inside."""
        return self._generator.name

    @property
    def fingerprint(self) -> str | None:
        """That of the generator inside; None where it has none."""
        return fingerprint_of(self._generator)

    @property
    def counter(self) -> TokenCounter | None:
        """That of the generator inside."""
        return self._generator.counter

    @property
    def calls_llm(self) -> bool:
        """Whether the generator inside calls a language model."""
        return self._generator.calls_llm

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Return the whole answer; one with citations of its own is not kept."""
        if not self.calls_llm:
            return self._generator.generate(prompt, options)
        settings = self.fingerprint or [self.name, self._scope]
        messages = [[message.role, message.content] for message in prompt.messages]
        key = _key("generation", settings, asdict(options), messages, prompt.question)
        entry = self._cache.get(key)
        if entry is not None:
            self.saved.seconds += entry.seconds
            self.saved.cpu_seconds += entry.cpu_seconds
            return _generation(entry.value)
        began = _now()
        generation = self._generator.generate(prompt, options)
        if generation.citations is None:
            value = {
                "text": generation.text,
                "usage": generation.usage.to_dict(),
                **{name: getattr(generation, name) for name in _SAID},
            }
            self._remember(key, value, Spent.since(began))
        return generation

    def _remember(self, key: bytes, value: Mapping[str, Json], spent: Spent) -> None:
        """Keep an answer; one that cannot be kept is given all the same, since it is paid for."""
        with suppress(OSError, sqlite3.Error, TypeError, ValueError):
            self._cache.put([(key, json.dumps(value).encode())], spent)

    def stream(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str | Generation]:
        """Yield the answer in one piece, then the `Generation`."""
        generation = self.generate(prompt, options)
        yield generation.text
        yield generation


_SAID = ("stop_reason", "reasoning", "served_model", "served_tier", "server_seconds")


def _generation(value: bytes) -> Generation:
    data = as_object(json.loads(value))
    usage = Usage(**as_object(data["usage"]))  # type: ignore[arg-type]
    rest = {name: data.get(name) for name in _SAID}
    return Generation(text=str(data["text"]), usage=usage, **rest)  # type: ignore[arg-type]
