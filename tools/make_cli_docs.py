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
batches and lists; `ragkit schema NAME` describes each. Settings may stand in `ragkit.toml`
(`ragkit init` writes a commented one) or in `RAGKIT_*` variables; flags win. Whose `ragkit.toml`
counts, says the next section.

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

## Settings and trust

From low to high: the defaults, `ragkit.toml` in your own folder, `ragkit.toml` in the working
folder, `RAGKIT_NAME` variables, flags. A file named by `--config FILE` or `RAGKIT_CONFIG=FILE` is
read instead of both. Your own folder is `$XDG_CONFIG_HOME/ragkit` or `~/.config/ragkit`, on macOS
`~/Library/Application Support/ragkit`, on Windows `%APPDATA%\\ragkit`; what belongs to another
user or may be written by everybody there is refused.

**A `ragkit.toml` that lies in the working folder was found, not named, and may be a stranger's.**
Of its settings these count at once:

- `chunker`, `chunk_tokens`, `chunk_overlap`, `embed_title`, `sentence_vectors`, `k`, `mode`,
  `fusion`, `trim_level`, `refuse_below`, `max_context_tokens`, `max_history_tokens`, `timeout`,
  `total_timeout`, `max_tokens`, `temperature`, `top_p`, `top_k`, `stop`, `seed`, `model_billions`,
  `grid_g_per_kwh`, `[[ingest.rule]]` (`ingest_rules`);
- `store`, `trim`, `template` and `ledger` that stay in the folder: links followed, nothing hidden
  (a name that begins with a dot), no device;
- the embedders `builtin` and `none`, the generator `extractive`;
- `openai:` and `ollama:` models and `opensearch:` stores at `localhost`, `127.0.0.1` or `[::1]`,
  written just so, as long as no key variable is named anywhere. They get no key and no password,
  not even from `OPENAI_API_KEY` or `OPENSEARCH_USERNAME`. A model whose name ends in `cloud` needs
  trust, because Ollama runs it elsewhere;
- of tables `timeout_seconds`, `total_timeout_seconds`, `retry_seconds`; `hybrid`, `engine`,
  `vector_type`, `compression`, `on_disk`, `m`, `ef_construction` (store); `batch_size`,
  `dimensions`, `encoding`, `document_prompt`, `query_prompt`, `keep_alive` (embedder);
  `context_window`, `count_with`, `num_ctx`, `keep_alive`, `think` (generator).

Everything else reaches the network, names a variable, leaves the folder, or is not known to be
harmless. Where such a setting stands and nothing of your own (a flag, a variable) replaces it, the
command stops with exit code 2, lists what is held back, and sends and writes nothing:

```
ragkit trust ragkit.toml            # shows what needs trust, and trusts it as it is now
ragkit trust --list                 # trusted, changed or missing
ragkit trust ragkit.toml --remove
```

Trust is a digest of these settings alone, kept in your own folder for this file in this place: `k`
may change, an address may not. `ragkit init` trusts what it writes. Without a home folder there is
no place for trust: name the file (`--config`, `RAGKIT_CONFIG`) or set variables, as in a
container. Run without any file by `--config /dev/null`. `--version`, `schema`, `template`,
`completion`, `init`, `trust` and the actions of `eval` that ask no questions read no settings; all
others do. In Python, `RAG(config=…)` and `load_settings(file=…)` ask for no trust;
`load_settings()` reads the working folder as a command does.

No password and no key is sent over plain http to another machine, whoever names it: use https, or a
tunnel to `localhost`.

A line of `--questions` that fails costs that line: `{"schema":1,"id","error":{"code","detail"}}`
stands in its place, the others are answered, and the exit code is 1. Codes: `broken` no JSON object
with a text, `limit` longer than 64 MiB, `not_allowed` a value in it or a setting, and what a
model's server did: `timeout`, `rate_limited`, `access_denied`, `prompt_too_long`, `remote`. A file
that is missing, or not UTF-8 at all, is exit 2; a store that cannot be used is exit 6.

Numbers and files from elsewhere are read within bounds: `-k` is 1 to 1,000,000, numbers are finite,
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
