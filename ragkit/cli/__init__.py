"""The command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    try:
        return _run(arguments)
    except KeyboardInterrupt:  # also before anything of it has begun
        print("ragkit: interrupted; run the same command again to go on", file=sys.stderr)
        return 130


def _run(arguments: Sequence[str] | None) -> int:
    from ragkit.cli.commands import COMMANDS
    from ragkit.cli.output import tell
    from ragkit.cli.parser import make_parser
    from ragkit.errors import ExitCode, RagkitError

    # A lone surrogate in a document becomes its JSON escape instead of an error.
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors="backslashreplace")
    args = make_parser().parse_args(arguments)
    # With `--jobs`, each of our own threads multiplies matrices; numpy reads this only once.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        return COMMANDS[args.command](args)
    except RagkitError as error:
        tell(error)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output has gone; Python's flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except OSError as error:
        tell(error)
        return ExitCode.USAGE


if __name__ == "__main__":
    sys.exit(main())
