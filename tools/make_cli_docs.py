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
file system, `encoding` not text, `collision` the id is taken, `groups` an access list that would
be lost or that is missing (below), `rule` left out by a rule (skipped). A file that no loader reads
is skipped when it is met while walking a folder, and fails when it is named directly.

Filters: `{"field": value}` or `{"field": {"$eq"|"$ne"|"$in"|"$nin"|"$gt"|"$gte"|"$lt"|"$lte"|
"$exists": …}}`; all must hold. Groups: once one document carries groups, a document without groups
is visible to nobody and a question must state its groups. A document of the group `public` is
visible to every question that states groups; `--groups ''` states that there are none. The groups
of a line of `--questions` count by themselves, and beside `--groups` only as far as both agree. See
`docs/store.md`, "Who sees what".

Groups come from a record (`{"_id", "text", "groups": […]}`), from a rule of the settings, or from
`--groups`, in this order. Records are read from JSON Lines named directly or called `corpus.jsonl`;
a file of records with groups met otherwise (JSON Lines in a folder, JSON, CSV) would be text
for everyone, so it fails with the code `groups` and the command that keeps them. `ragkit ingest
--require-groups` fails every document that ends up without groups.

Rules for whole folders stand in `ragkit.toml`; the first whose glob matches a file holds, and
`--groups` and `--metadata` count where it says nothing. `ragkit ingest --dry-run` prints what the
rules make of each file.

```toml
[[ingest.rule]]
glob = "hr/**"                      # path below the ingested folder, or below --root
groups = ["hr", "board"]
metadata = { department = "HR" }

[[ingest.rule]]
glob = "wiki/**/*.md"
groups = ["public"]
url = "https://wiki.example/"       # the path follows, or stands in place of {path}

[[ingest.rule]]
glob = "**/*.cfg"
loader = "text"                     # or markdown, html, csv, json, …: whatever the suffix is

[[ingest.rule]]
glob = "drafts/**"
skip = true
```

A glob matches the whole path, which is the document's id, upper and lower case told apart: `*` and
`?` stay within a folder, `[a-c]` is one of a set, `**` as a whole part is any number of folders. Of
a file that is named directly the path is its name: name the folder above with `--root`.

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
