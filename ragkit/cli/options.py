"""What a command's arguments mean: lists, numbers, settings, and the options of pipeline calls."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard, get_args

from ragkit.cli import output
from ragkit.cli.questions import identity
from ragkit.config import MOST_TOKENS, Settings, load_settings
from ragkit.errors import ConfigError
from ragkit.groups import narrowed, readers_of
from ragkit.narrowing import is_array, is_object
from ragkit.profiles import PROFILES
from ragkit.text.jsontext import read_json
from ragkit.types import MOST_HITS, Generator, Json, Mode

if TYPE_CHECKING:
    from ragkit.cli.ingest_progress import IngestBar
    from ragkit.pipeline import RAG
    from ragkit.pipeline.options import (
        IngestOptions,
        RetrievalOptions,
        SearchOptions,
        StreamOptions,
    )

_MOST_NUMBERS = 10_000
_SHOWN_CHARACTERS = 200
_MODES: tuple[Mode, ...] = get_args(Mode)
_SETTINGS = (
    "store", "embedder", "chunker", "chunk_tokens", "chunk_overlap", "embed_title",
    "sentence_vectors", "sentence_vector_kind", "k", "mode", "fusion", "trim", "trim_level",
    "refuse_below", "max_context_tokens", "placement", "rewrite",
    "generator", "base_url", "api_key_env", "timeout", "total_timeout",
    "template", "max_tokens", "temperature", "top_p", "top_k", "stop", "seed", "ledger",
    "keep_question", "model_billions", "region", "profile",
)  # fmt: skip
"""Settings that are flags of at least one command."""


def settings_of(args: argparse.Namespace, **replaced: str | int | None) -> Settings:
    """Return the settings that hold for a command.

    Args:
        args: The command's arguments.
        replaced: Values by setting, in place of the arguments of that name: some commands use the
            name for something else. None: not given.
    """
    flags: dict[str, object] = {name: getattr(args, name, None) for name in _SETTINGS}
    return load_settings(
        file=None if args.config is None else Path(args.config),
        environment=os.environ,
        flags={**flags, **replaced},
    )


def open_rag(
    args: argparse.Namespace,
    tell: Callable[[str], None] = output.tell,
    *,
    generator: Generator | None = None,
    ledger: str | None = None,
) -> RAG:
    """Return the pipeline of a command's settings.

    Args:
        args: The command's arguments.
        tell: Where notices go: to stderr, unless given.
        generator: In place of that of the settings.
        ledger: In place of that of the settings.
    """
    from ragkit.pipeline import RAG

    settings = settings_of(args)
    return RAG(
        settings.store,
        config=settings,
        generator=generator,
        ledger=ledger,
        n_jobs=getattr(args, "jobs", None) or 1,
        notify=tell,
    )


def n_at_once(asked: int | None, settings: Settings) -> int:
    """Return how many questions are asked at once; after a batch job they wait for nothing."""
    if asked is not None:
        return asked
    if settings.profile is None or settings.profile == "batch":
        return 1
    return PROFILES[settings.profile].n_at_once


def embed_command(args: argparse.Namespace) -> str:
    """Return the command that makes the missing vectors of a command's store."""
    return f"ragkit embed --store {shlex.quote(settings_of(args).store)}"


def ingest_options(args: argparse.Namespace, bar: IngestBar) -> IngestOptions:
    """Return the options of an ingest; the bar follows it."""
    return {
        "root": args.root,
        "prune": args.prune,
        "groups": _readers(args.groups),
        "metadata": _object_option("metadata", args.metadata),
        "password": _password(args.password_file),
        "require_groups": args.require_groups,
        "vectors": args.vectors,
        "isolate": not args.no_isolate,
        "convert": args.convert,
        "ocr": args.ocr,
        "dry_run": args.dry_run,
        "include": args.include,
        "exclude": args.exclude,
        "gitignore": args.gitignore,
        "archives": args.archives,
        "shard": args.shard,
        "allow_private": args.allow_private,
        "delay_seconds": args.delay,
        "confirm": _confirm(bar, yes=args.yes),
        "secure": args.secure,
        "retry_failed": args.retry_failed,
        "on_progress": bar.advance,
        "on_forecast": bar.forecast,
        "on_step": bar.step,
    }


def search_options(args: argparse.Namespace, line: Mapping[str, Json]) -> SearchOptions:
    """Return the options of a search for one question (see `retrieval_options`)."""
    return {
        **retrieval_options(args, line),
        "dedupe": args.dedupe,
        "mmr": args.mmr,
        "unit": args.unit,
    }


def ask_options(
    args: argparse.Namespace, line: Mapping[str, Json], history: Sequence[Mapping[str, str]]
) -> StreamOptions:
    """Return the options of an answer to one question, streamed or not."""
    return {**retrieval_options(args, line), "id": identity(line), "history": history}


def retrieval_options(args: argparse.Namespace, line: Mapping[str, Json]) -> RetrievalOptions:
    """Return k, mode, filters and groups.

    The values of a question's own line win, except that its groups can only narrow `--groups`.
    """
    k = line.get("k", args.k)
    if k is not None and (isinstance(k, bool) or not isinstance(k, int)):
        raise ConfigError(f"k {k!r}; allowed: a whole number, 1 to {MOST_HITS:,}")
    filters = line.get("filter")
    if filters is not None and not isinstance(filters, Mapping):
        raise ConfigError(f"filter {filters!r}; allowed: an object")
    own, given = line.get("groups"), names(args.groups)
    groups = readers_of(own)
    return {
        "k": k,
        "mode": args.mode,
        "filters": filters if filters is not None else _object_option("filter", args.filter),
        "groups": narrowed(None if given is None else tuple(given), groups),
    }


def names(text: str | None) -> list[str] | None:
    """Return the parts of `A,B`; None stays None."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def modes(text: str | None) -> tuple[Mode | None, ...]:
    """Return the search modes of `A,B`; just None, the store's default, if none is given."""
    return tuple(_mode(name) for name in names(text) or []) or (None,)


def _mode(name: str) -> Mode:
    for mode in _MODES:
        if mode == name:
            return mode
    raise ConfigError(f"mode {name!r}; allowed: {' '.join(_MODES)}")


def numbers(name: str, text: str) -> tuple[int, ...]:
    """Return the numbers of `1,5`, `1:40`, `1:41:10` or `16:1024:x2`."""
    found: list[int] = []
    try:
        for part in text.split(","):
            ends = part.split(":")
            if len(ends) == 1:
                found.append(int(ends[0]))
                continue
            first, last = int(ends[0]), int(ends[1])
            step = ends[2] if len(ends) == 3 else "1"
            while first <= last:
                found.append(first)
                if len(found) > _MOST_NUMBERS:
                    raise ConfigError(f"--{name} {text!r}; allowed: {_MOST_NUMBERS:,} numbers")
                following = round(first * float(step[1:])) if step[0] == "x" else first + int(step)
                if following <= first:
                    raise ValueError(step)
                first = following
    except ConfigError:
        raise
    except (ValueError, IndexError, OverflowError):
        raise ConfigError(f"--{name} {text!r}; allowed: 1,5 or 1:40 or 1:64:x2") from None
    if any(not 1 <= number <= MOST_TOKENS for number in found):
        raise ConfigError(f"--{name} {text!r}; allowed: numbers of 1 to {MOST_TOKENS:,}")
    return tuple(dict.fromkeys(found))


def read_history(path: str | None) -> list[Mapping[str, str]]:
    """Return the turns of a history file, which the pipeline checks; empty without a file."""
    if path is None:
        return []
    try:
        data = read_json(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"history {path} cannot be read: {error}") from error
    if not _are_turns(data):
        raise ConfigError(f"history {path} must be a JSON list of objects with role and content")
    return data


def _are_turns(data: object) -> TypeGuard[list[Mapping[str, str]]]:
    """Whether this is a list of objects; what they hold is for `RAG.ask` to check."""
    return is_array(data) and all(is_object(turn) for turn in data)


def _readers(text: str | None) -> list[str]:
    """Return the groups of an ingest; `--groups ""` would open the documents to everyone."""
    given = names(text)
    if given == []:
        raise ConfigError(f"--groups {text!r} names no group; leave it out, or name public")
    return given or []


def _object_option(name: str, text: str | None) -> dict[str, Json] | None:
    if text is None:
        return None
    try:
        data = read_json(text)
    except ValueError as error:
        raise ConfigError(f"--{name} {_short(text)} is not JSON: {error}") from error
    if not is_object(data):
        raise ConfigError(f"--{name} {_short(text)}; allowed: a JSON object")
    return data


def _short(text: str) -> str:
    return repr(text) if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]!r}…"


def _password(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"password file {path} cannot be read: {error}") from error


def _confirm(bar: IngestBar, *, yes: bool) -> Callable[[str], bool]:
    """Return a function that agrees if `--yes` was given, or if a person at a terminal does."""

    def confirm(what: str) -> bool:
        if yes:
            return True
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        with bar.aside():
            output.tell(f"{what}. Go on? [y/N]")
            return sys.stdin.readline().strip().lower() in {"y", "yes"}

    return confirm
