"""Write docs/cli.md from the command line's own help texts.

python tools/make_cli_docs.py
"""

from __future__ import annotations

import os
from pathlib import Path

from ragkit.cli.parser import make_parsers

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"

HEAD = """\
# The command line

Results go to stdout, everything else to stderr. `--json` prints one JSON object, or JSON Lines for
batches and lists; `ragkit schema NAME` describes each. Settings may stand in `ragkit.toml` (`ragkit
init` writes a commented one) or in `RAGKIT_*` variables; flags win.

Exit codes: 0 done, 1 done but some inputs failed, 2 usage or configuration, 3 refused for want of
evidence, 4 gate failed, 5 inconclusive, 6 store busy, missing or damaged, 7 a remote or a model
failed, 130 interrupted (run the same command again to go on).

Codes of files that failed: `no_text` nothing to extract, `password` encrypted, `unsupported` no
loader or its extra is missing, `broken` malformed, `limit` too large, `unreadable` refused by the
file system, `encoding` not text, `collision` the id is taken. A file that no loader reads is
skipped when it is met while walking a folder, and fails when it is named directly.

Filters: `{"field": value}` or `{"field": {"$eq"|"$ne"|"$in"|"$nin"|"$gt"|"$gte"|"$lt"|"$lte"|
"$exists": …}}`; all must hold. Groups: once one document carries groups, a document without groups
is visible to nobody and a question must state its groups.

A line of `--questions` that fails costs that line: `{"schema":1,"id","error":{"code","detail"}}`
stands in its place, the others are answered, and the exit code is 1. Codes: `broken` no JSON object
with a text, `limit` longer than 64 MiB, `not_allowed` a value in it or a setting, and what a
model's server did: `timeout`, `rate_limited`, `access_denied`, `prompt_too_long`, `remote`. A file that is
missing, or not UTF-8 at all, is exit 2; a store that cannot be used is exit 6.

Numbers and files from elsewhere are read within bounds: `-k` is 1 to 10,000, numbers are finite,
JSON and TOML nest no deeper than 200. Control, bidirectional and tag characters of texts, ids, file
names and answers are printed as escapes (`\\x1b`, in JSON `\\u001b`), so that nothing that is read
can steer a terminal.

The next sections are the help texts.
"""


def main() -> None:
    """Write the page."""
    os.environ["COLUMNS"] = "96"
    parser, commands = make_parsers()
    parts = [HEAD, f"```\n{parser.format_help()}```\n"]
    for name, command in commands.items():
        parts.append(f"## ragkit {name}\n\n```\n{command.format_help()}```\n")
    PAGE.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
