"""Nights of an ingest from cron, with all that goes wrong in between, each kind at least once.

`make nights` simulates more of them, and others.
"""

from __future__ import annotations

import ctypes
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ragkit.pipeline.committing import BATCH_CHUNKS

from .night import night, opened

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="needs signals")]

NIGHTS = int(os.environ.get("NIGHTS", "12"))
SEED = int(os.environ.get("SEED", "18"))
SCRIPT = str(Path(__file__).with_name("night.py"))
SMALLEST_DISK = 120_000
"""Bytes that a file may have on a night without room."""


@dataclass
class World:
    """Two folders, one of them as if mounted, and the store that follows them."""

    place: Path
    rng: random.Random
    n_made: int = 0
    n_large: int = 0
    stored: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """What was there when the store was last brought up to date."""

    def __post_init__(self) -> None:
        for folder in ("own/inner", "mounted"):
            (self.docs / folder).mkdir(parents=True)
        for _ in range(14):
            self.add()
        (self.docs / "mounted" / "always.txt").write_text("A heron is always there.")
        self.edit_large()

    @property
    def docs(self) -> Path:
        """What is ingested."""
        return self.place / "docs"

    @property
    def kb(self) -> Path:
        """The store."""
        return self.place / "kb"

    def files(self) -> dict[str, bytes]:
        """Return what there is now."""
        return {
            path.relative_to(self.docs).as_posix(): path.read_bytes()
            for path in sorted(self.docs.rglob("*"))
            if path.is_file()
        }

    def _text(self) -> str:
        self.n_made += 1
        words = self.rng.sample("heron gull boat pier tide storm cargo light".split(), 4)
        return f"Note {self.n_made} is about the {words[0]} and the {words[1]}. " + " ".join(
            f"The {words[i % 4]} number {self.rng.randrange(99)} came by." for i in range(6)
        )

    def add(self) -> None:
        """Add a file; now and then one that cannot be read, or that nobody reads."""
        folder = self.rng.choice(["own", "own/inner", "mounted"])
        kind = self.rng.choice(["txt", "md", "txt", "md", "txt", "json", "png"])
        text = "{" if kind == "json" else self._text()
        (self.docs / folder / f"file{self.n_made}{self.rng.randrange(1000)}.{kind}").write_text(
            f"{text}{self.n_made}"
        )

    def _any(self) -> Path:
        kinds = (".txt", ".md")
        found = [path for path in sorted(self.docs.rglob("file*")) if path.suffix in kinds]
        return self.rng.choice(found)

    def edit(self) -> None:
        """Change a file, or one that could not be read in another way."""
        broken = sorted(self.docs.rglob("*.json"))
        if broken and self.rng.random() < 0.3:
            self.n_made += 1
            self.rng.choice(broken).write_text("[" * self.n_made)
        else:
            self._any().write_text(self._text())

    def edit_large(self, *, whole: bool = False) -> None:
        """Change a file of more chunks than a batch, all of it or from somewhere to its end."""
        path, n = self.docs / "own" / "large.md", 2 * BATCH_CHUNKS + 9
        old = path.read_text().split("\n\n") if path.exists() else []
        first = 0 if whole or not old else self.rng.randrange(n)
        self.n_large += 1
        new = [
            f"Paragraph {i} of edition {self.n_large} tells of {7 * i} herons, {i} boats, and "
            f"a tide that came {3 * i} minutes late, which the pier master wrote down."
            for i in range(first, n)
        ]
        path.write_text("\n\n".join([*old[:first], *new]))

    def rename(self) -> None:
        """Rename a file."""
        path = self._any()
        self.n_made += 1
        path.rename(path.with_name(f"file_moved{self.n_made}{path.suffix}"))

    def delete(self) -> None:
        """Delete a file, while there are some."""
        if len(self.files()) > 8:
            self._any().unlink()

    def change(self) -> None:
        """Do what people do by day."""
        for _ in range(self.rng.randrange(4)):
            self.rng.choice([self.add, self.add, self.edit, self.rename, self.delete])()


# --- what the store must be ------------------------------------------------------------------


def content(place: Path) -> dict[str, object]:
    """Return everything that a store holds, in an order of its own."""
    with opened(place) as rag:
        assert rag.doctor() == []
        found: dict[str, object] = {
            row.document_id: rag.show(row.document_id) for row in rag.list()
        }
        for mode in ("lexical", "hybrid"):
            hits = rag.search("heron at the pier", k=50, mode=mode)
            found[mode] = [(hit.chunk.id, round(hit.score, 9)) for hit in hits]
    with sqlite3.connect(place / "store.sqlite") as connection:
        for name, query in TABLES.items():
            found[name] = connection.execute(query).fetchall()
    connection.close()
    return found


TABLES = {
    "vectors": "SELECT key, vector FROM vector ORDER BY key",
    "sentences": "SELECT key, vector FROM sentence ORDER BY key",
    "failures": "SELECT source, fingerprint, code, detail FROM failure ORDER BY source",
    "ahead": "SELECT value FROM manifest WHERE key IN ('ahead', 'unswept')",
}


def check_equal(world: World) -> None:
    """Compare the store with one that is made of what there is now."""
    fresh = world.place / f"fresh{len(list(world.place.glob('fresh*')))}"
    night(fresh, world.docs)
    assert content(world.kb) == content(fresh)


def check_report(world: World, code: int, text: str) -> None:
    """The report of a night on which all went well says what changed, on less than a screen."""
    before, after = world.stored, world.files()
    lines = text.splitlines()
    assert len(lines) <= 20, text
    good = {name for name in after if name.endswith((".txt", ".md"))}
    old = {name for name in before if name.endswith((".txt", ".md"))}
    changed = {name for name in good & old if before[name] != after[name]}
    bad = {name for name in after if name.endswith(".json")}
    # Known by content and name, wherever it stands.
    known = {(Path(n).name, c) for n, c in before.items() if n.endswith(".json")}
    n_new = sum((Path(name).name, after[name]) not in known for name in bad)
    n_ignored = sum(name.endswith(".png") for name in after)
    counts = {
        "added": len(good - old),
        "changed": len(changed),
        "unchanged": len(good & old) - len(changed),
        "removed": len(old - good),
        "skipped": n_ignored + len(bad) - n_new,
        "failed": n_new,
    }
    first = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
    assert lines[0].split(" (")[0] == first, text
    assert code == (1 if n_new else 0), text
    if old:
        for status, names in (("added", good - old), ("changed", changed), ("removed", old - good)):
            shown = [line for line in lines if line.startswith(f"{status:<7} ")]
            assert len(shown) == bool(names), text
            assert not names or any(name in shown[0] for name in names), text
    assert sum(line.startswith("failed  ") for line in lines) == min(n_new, 6)
    known_line = f"{len(bad) - n_new} failed before and have not changed"
    assert (known_line in text) == (len(bad) > n_new), text
    world.stored = after


# --- the nights ------------------------------------------------------------------------------


def apart(
    world: World, *arguments: str, limit: Callable[[], None] | None = None
) -> tuple[int, str, str]:
    """Run a night in a process of its own, and return what `night` does."""
    result = subprocess.run(
        [sys.executable, SCRIPT, str(world.kb), str(world.docs), *arguments],
        check=False, capture_output=True, text=True, preexec_fn=limit, timeout=300,
    )  # fmt: skip
    return result.returncode, result.stdout, result.stderr


def quiet_night(world: World) -> None:
    """Nothing goes wrong."""
    check_report(world, *night(world.kb, world.docs)[:2])


def large_night(world: World) -> None:
    """The large file changes too."""
    world.edit_large()
    quiet_night(world)


def obey_modes() -> None:
    """Take from root what lets it read every file."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def permission_lost(world: World) -> None:
    """A file and a folder cannot be read: what is stored of them stays."""
    quiet_night(world)
    inside = sorted(world.docs.glob("*/*.txt"))
    closed = [world.docs / "own" / "inner", world.rng.choice(inside)]
    modes = [path.stat().st_mode for path in closed]
    for path in reversed(closed):
        path.chmod(0)
    try:
        code, text, _ = apart(world, limit=obey_modes)
    finally:
        for path, mode in zip(closed, modes, strict=True):
            path.chmod(mode)
    lines = text.splitlines()
    assert code == 1, text
    assert any(line.startswith(f"failed  {closed[0]}: unreadable") for line in lines), text
    assert "removed" not in text
    assert len(lines) <= 20


def mount_lost(world: World) -> None:
    """A folder comes up empty, then not at all: nothing of it is removed."""
    quiet_night(world)
    mounted, away = world.docs / "mounted", world.place / "away"
    mounted.rename(away)
    mounted.mkdir()
    code, text, messages = night(world.kb, world.docs)
    assert (code, text) == (2, ""), text
    assert "nothing was removed. Is the folder empty, or a disk not mounted?" in messages
    mounted.rmdir()
    code, text, _ = night(world.kb, world.docs)
    assert code == 1
    assert f"failed  {mounted}: unreadable: there is no such file" in text
    assert "removed" not in text
    away.rename(mounted)
    world.stored = world.files()


def no_room() -> None:
    """Let no file grow beyond a few pages."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALLEST_DISK, resource.RLIM_INFINITY))


def disk_full(world: World) -> None:
    """A write is refused in the middle: a typed error, and the next night ends what is left."""
    world.edit_large(whole=True)
    code, text, messages = apart(world, limit=no_room)
    assert (code, text) == (6, ""), messages
    assert "the disk refuses" in messages
    recover(world)


def ended(world: World, ending: signal.Signals) -> None:
    """The process ends at some moment, often while the large file is in work."""
    world.edit_large()
    moment = str(world.rng.randrange(1, 24))
    code, _, why = apart(world, moment, str(int(ending)))
    assert code in {0, 1, -ending}, why
    recover(world)


def killed(world: World) -> None:
    """By the kernel."""
    ended(world, signal.SIGKILL)


def interrupted(world: World) -> None:
    """By somebody, twice in a row."""
    ended(world, signal.SIGINT)
    ended(world, signal.SIGINT)


def recover(world: World) -> None:
    """What was there is still sound, and another run ends what the last one began."""
    with opened(world.kb) as rag:
        assert rag.doctor() == []
    code, text, _ = night(world.kb, world.docs)
    assert code in {0, 1}
    assert len(text.splitlines()) <= 20
    world.stored = world.files()
    check_report(world, *night(world.kb, world.docs)[:2])


def two_at_once(world: World) -> None:
    """The second run sees that there is a first, and leaves it alone."""
    world.edit_large()
    seen: list[tuple[int, str, str]] = []

    def meanwhile(_: object) -> None:
        if not seen:
            seen.append(apart(world))

    check_report(world, *night(world.kb, world.docs, meanwhile)[:2])
    ((code, text, messages),) = seen
    assert (code, text) == (6, "")
    assert "another process" in messages


KINDS: Sequence[Callable[[World], None]] = (
    quiet_night, large_night, permission_lost, mount_lost, disk_full, killed, interrupted,
    two_at_once,
)  # fmt: skip


def obeys_modes(place: Path) -> bool:
    """Whether a process without root's privileges can be had."""
    (place / "closed").write_text("")
    (place / "closed").chmod(0)
    read = subprocess.run(["cat", str(place / "closed")], check=False, capture_output=True,
                          preexec_fn=obey_modes)  # fmt: skip
    return read.returncode != 0


def test_every_night_the_store_is_what_there_is(tmp_path: Path) -> None:
    """After each night, mended where it went wrong, the store equals one that is made anew."""
    world = World(tmp_path, random.Random(SEED))
    kinds = [kind for kind in KINDS if kind is not permission_lost or obeys_modes(tmp_path)]
    check_report(world, *night(world.kb, world.docs)[:2])
    nights = [kinds[i % len(kinds)] for i in range(NIGHTS)]
    world.rng.shuffle(nights)
    for number, happens in enumerate(nights):
        world.change()
        sys.stdout.write(f"night {number}: {happens.__name__}\n")
        happens(world)
        check_equal(world)
    with opened(world.kb) as rag:
        names = {row.document_id for row in rag.list()}
    assert names == {name for name in world.files() if name.endswith((".txt", ".md"))}
