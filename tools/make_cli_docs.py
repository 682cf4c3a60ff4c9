"""Write the help texts in docs/cli.md from the command line itself.

python tools/make_cli_docs.py

What stands above the mark is written by hand and kept.
"""

from __future__ import annotations

import os
from pathlib import Path

from ragkit.cli.parser import make_parsers

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"
MARK = "<!-- Written by tools/make_cli_docs.py: edit ragkit/cli/parser.py instead. -->\n"


def make_reference() -> str:
    """Return the part of the page below the mark: the help of every command."""
    os.environ["COLUMNS"] = "96"
    parser, commands = make_parsers()
    parts = [f"```text\n{parser.format_help()}```\n"]
    for name, command in commands.items():
        parts.append(f"## ragkit {name}\n\n```text\n{command.format_help()}```\n")
    return "\n".join(parts)


def main() -> None:
    """Write the page."""
    head = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    PAGE.write_text(f"{head}{MARK}\n{make_reference()}", encoding="utf-8")


if __name__ == "__main__":
    main()
