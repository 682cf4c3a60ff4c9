"""The command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

FILE_SYSTEM_REFUSED = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    from ragkit.cli.commands import COMMANDS
    from ragkit.cli.output import tell
    from ragkit.cli.parser import make_parser
    from ragkit.errors import RagkitError

    # A lone surrogate in a document becomes its JSON escape instead of an error.
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors="backslashreplace")
    options = make_parser().parse_args(arguments)
    # `--jobs` are threads of our own, each with products of its own; numpy reads this but once.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        return COMMANDS[options.command](options)
    except RagkitError as error:
        tell(error)
        return error.exit_code
    except KeyboardInterrupt:
        tell("interrupted; run the same command again to go on")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left; Python's own flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        tell(error)
        return FILE_SYSTEM_REFUSED


if __name__ == "__main__":
    sys.exit(main())
