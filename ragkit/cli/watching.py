"""Ingesting again whenever files change, which sizes and times tell."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping

from ragkit.cli import output
from ragkit.cli.options import settings_of
from ragkit.errors import ConfigError, ExitCode, RagkitError

POLL_SECONDS = 1.0
_SHARE = 0.05
"""Of the time, at most, that looking at the files takes."""


def watch(args: argparse.Namespace, ingest: Callable[[bool], object]) -> ExitCode:
    """Ingest, and again after each change, once no more follow; until Ctrl-C, which is the way out.

    Args:
        args: The arguments of `ragkit ingest`.
        ingest: Ingests once, and reports; if true is given, only where there is something to tell.

    Raises:
        ConfigError: there are no files to watch.
    """
    from ragkit_connectors import is_source

    if "-" in args.paths or args.dry_run or any(map(is_source, args.paths)):
        raise ConfigError("--watch needs files or folders, and goes with no --dry-run")
    try:
        known = _stamps(args)
        ingest(False)
        output.tell("watching; Ctrl-C ends it")
        while True:
            settled = _settled(args, known)
            if settled != known:
                known = settled
                _tried(ingest)
    except KeyboardInterrupt:
        return ExitCode.DONE


def _settled(
    args: argparse.Namespace, known: Mapping[str, tuple[int, int]]
) -> Mapping[str, tuple[int, int]]:
    """Return the files once they are the same twice in a row: what is being written is let be."""
    before = known
    while True:
        began = time.monotonic()
        now = _stamps(args)
        time.sleep(max(POLL_SECONDS, (time.monotonic() - began) / _SHARE))
        if now == before:
            return now
        before = now


def _tried(ingest: Callable[[bool], object]) -> None:
    """Ingest; what is wrong now, another writer for example, may pass."""
    try:
        ingest(True)
    except RagkitError as error:
        output.tell(error)


def _stamps(args: argparse.Namespace) -> Mapping[str, tuple[int, int]]:
    """Return size and time of each file; empty while there is nothing at all."""
    from ragkit.loading import FileSource
    from ragkit.loading.walking import Selection

    selection = Selection(
        include=tuple(args.include), exclude=tuple(args.exclude), gitignore=args.gitignore
    )
    try:
        source = FileSource(
            args.paths,
            root=args.root,
            rules=settings_of(args).ingest_rules,
            selection=selection,
        )
    except ConfigError:
        return {}
    return source.stamps()
