"""The parser of the command line: every command with its arguments and help texts."""

from __future__ import annotations

import argparse
from typing import Never, TypeAlias

from ragkit import __version__
from ragkit.cli import (
    advise_parser,
    eval_parser,
    ledger_parser,
    monitor_parser,
    statistics_parser,
)
from ragkit.cli.arguments import (
    AddCommand,
    add_answering,
    add_chunking,
    add_common,
    add_embedder,
    add_progress,
    add_retrieval,
    add_searching,
    finite,
    whole,
)
from ragkit.text.printable import printable_line

_EXIT_CODES = """\
exit codes:
  0 done                                  4 gate failed
  1 done, but some inputs failed          5 inconclusive, or too few labels
  2 wrong usage or configuration          6 store busy, missing or damaged
  3 refused to answer                     7 a remote service or a model failed
  130 interrupted; run it again to resume
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors quote what was typed without steering the terminal."""

    def error(self, message: str) -> Never:
        super().error(printable_line(message))


# argparse has no public name for what holds the commands.
_SubParsers: TypeAlias = "argparse._SubParsersAction[_Parser]"  # pyright: ignore


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    return make_parsers()[0]


def make_parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser of all commands, and each command's own by name."""
    parser = _Parser(
        prog="ragkit",
        description="Answers questions from your documents using as few context tokens as\n"
        "possible, and reports what each answer cost.",
        epilog=f"example:\n  ragkit ingest docs/ && ragkit ask 'How do I reset my badge?'\n\n"
        f"{_EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ragkit {__version__}")
    top = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    made: dict[str, argparse.ArgumentParser] = {}
    inner = {
        "eval": _group(
            top,
            "eval",
            "measure on labelled questions, compare runs, gate a change",
            "ragkit eval run DATASET --out runs/new",
            more=" This needs no\nLLM, no network and no extra.",
        ),
        "ledger": _group(
            top,
            "ledger",
            "add up the receipts, compare them, and watch them over time",
            "ragkit ledger report --by day",
        ),
        "advise": _group(
            top,
            "advise",
            "say which Region, hosting, window or service level to choose, and why",
            "ragkit advise region --allow 'eu-*' --data eu-central-1",
            more=" It is\nsilent (exit code 5) where the sources disagree, and needs no network.",
        ),
        "monitor": _group(
            top,
            "monitor",
            "read monitors of machines and services, beside the ledger",
            "ragkit monitor nvidia --join kb/ledger.jsonl",
            more=" Each row is one JSON\nobject; what is absent is null, and no error.",
        ),
    }

    def make(name: str, text: str, example: str) -> argparse.ArgumentParser:
        *group, own = name.split()
        commands = inner[group[0]] if group else top
        made[name] = commands.add_parser(
            own,
            help=text[0].lower() + text[1:],
            description=f"{text}.",
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        return made[name]

    for add in (
        _ingest,
        _embed,
        _search,
        _ask,
        _chat,
        _list,
        _show,
        _rm,
        _doctor,
        _backup,
        _restore,
        _rebuild,
        *eval_parser.COMMANDS,
        *statistics_parser.COMMANDS,
        *ledger_parser.COMMANDS,
        *monitor_parser.COMMANDS,
        _feedback,
        *advise_parser.COMMANDS,
        _template,
        _init,
        _trust,
        _schema,
        _completion,
    ):
        add(make)
    return parser, made


def _group(
    commands: _SubParsers, name: str, text: str, example: str, *, more: str = ""
) -> _SubParsers:
    """Add a command whose actions are commands of their own."""
    parser = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.{more}",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return parser.add_subparsers(dest="action", required=True, metavar="ACTION")


def _ingest(add: AddCommand) -> None:
    parser = add("ingest", "Read documents into the store", "ragkit ingest docs/ --prune")
    parser.add_argument("paths", nargs="+", metavar="PATH",
                        help="file, folder, glob pattern, - for standard input, https://… (a page, "
                        "a sitemap, a list), urls:FILE or s3://BUCKET/PREFIX")  # fmt: skip
    add_common(parser)
    add_chunking(parser)
    parser.add_argument("--prune", action="store_true",
                        help="remove documents that no longer exist under these paths")  # fmt: skip
    parser.add_argument("--yes", action="store_true",
                        help="agree if --prune removes more than half of the documents under a "
                        "path, or documents whose files are there but left out by now")  # fmt: skip
    parser.add_argument("--include", action="append", default=[], metavar="G",
                        help="of the files in folders, read only those that match; patterns as in "
                        "a .gitignore; may be repeated")  # fmt: skip
    parser.add_argument("--exclude", action="append", default=[], metavar="G",
                        help="leave out files and folders that match; may be repeated")  # fmt: skip
    parser.add_argument("--gitignore", action="store_true",
                        help="leave out what .gitignore files leave out; a .ragkitignore always "
                        "counts")  # fmt: skip
    parser.add_argument("--archives", action="store_true",
                        help="read the files in ZIP and tar archives, too")  # fmt: skip
    parser.add_argument("--allow-private", action="store_true",
                        help="let web addresses lead to this machine and to private "
                        "networks")  # fmt: skip
    parser.add_argument("--delay", type=finite, default=0.0, metavar="S",
                        help="wait so many seconds between two requests to a web site (default 0, "
                        "or what its robots.txt asks for)")  # fmt: skip
    parser.add_argument("--watch", action="store_true",
                        help="ingest again whenever files change, until Ctrl-C")  # fmt: skip
    parser.add_argument("--root", metavar="DIR", help="folder to which file ids are relative")
    parser.add_argument("--groups", metavar="A,B",
                        help="groups of readers who may see these documents; public means "
                        "everybody")  # fmt: skip
    parser.add_argument("--require-groups", action="store_true",
                        help="fail documents that end up without groups")  # fmt: skip
    parser.add_argument("--metadata", metavar="JSON", help="metadata for every document")
    parser.add_argument("--password-file", metavar="FILE",
                        help="file with the password of encrypted documents")  # fmt: skip
    parser.add_argument("--vectors", choices=("now", "later"), default="now",
                        help="later stores new chunks at once, found by their words until "
                        "ragkit embed makes their vectors (default now)")  # fmt: skip
    parser.add_argument("--retry-failed", action="store_true",
                        help="try also files that failed before and have not changed")  # fmt: skip
    parser.add_argument("--no-isolate", action="store_true",
                        help="parse files in this process, for systems that cannot limit another; "
                        "a hostile file can then stop it or fill its memory")  # fmt: skip
    parser.add_argument("--convert", choices=("auto", "off"), default="off",
                        help="auto has .doc, .xls and .ppt files converted by soffice "
                        "(LibreOffice), if it is on the PATH (default off)")  # fmt: skip
    parser.add_argument("--ocr", choices=("auto", "off"), default="off",
                        help="auto has pages of PDF files that hold only images, and pictures, "
                        "read by tesseract, if it is on the PATH (default off)")  # fmt: skip
    parser.add_argument("--jobs", type=whole, metavar="N",
                        help="processes that parse, and threads that embed (default "
                        "1)")  # fmt: skip
    parser.add_argument("--shard", metavar="I/N",
                        help="ingest only the documents of one of N shares, by a hash of their "
                        "ids, for several machines that fill one remote store")  # fmt: skip
    parser.add_argument("--ledger", metavar="FILE", help="ledger file, or off")
    parser.add_argument("--dry-run", action="store_true",
                        help="read and chunk, but store nothing; list what would be read or "
                        "skipped, and why")  # fmt: skip
    _secure(parser)


def _embed(add: AddCommand) -> None:
    parser = add("embed", "Make the vectors that ingest --vectors later left out, newest first",
                 "ragkit embed --max-seconds 60")  # fmt: skip
    add_common(parser)
    parser.add_argument("--max-seconds", type=finite, metavar="N",
                        help="stop after this time; the next call goes on (default: make all "
                        "vectors)")  # fmt: skip
    add_embedder(parser)
    add_progress(parser, "one line per commit")
    parser.add_argument("--jobs", type=whole, metavar="N", help="embedding threads (default 1)")
    parser.add_argument("--ledger", metavar="FILE", help="ledger file, or off")


def _search(add: AddCommand) -> None:
    parser = add("search", "Find chunks", "ragkit search 'badge reset' -k 5 --json")
    add_retrieval(parser)
    parser.add_argument("--unit", choices=("chunk", "document"), default="chunk",
                        help="what to return: chunks (default), or distinct documents, each "
                        "ranked by its best chunk")  # fmt: skip
    parser.add_argument("--dedupe", action="store_true", help="drop near-duplicates")
    parser.add_argument("--mmr", type=finite, metavar="X",
                        help="reorder by maximal marginal relevance; X is the weight of "
                        "relevance, 0 to 1")  # fmt: skip


def _ask(add: AddCommand) -> None:
    parser = add("ask", "Answer a question, or refuse", "ragkit ask 'How do I reset my badge?'")
    add_retrieval(parser)
    add_answering(parser)
    parser.add_argument("--jobs", dest="at_once", type=whole, metavar="N",
                        help="answer N of the --questions at the same time, which helps where a "
                        "server answers; the order of the lines stays (default: that of the "
                        "profile, or 1)")  # fmt: skip
    parser.add_argument("--answered", metavar="FILE",
                        help="what an earlier call has printed: leave out the --questions that "
                        "it has answered, by their _id")  # fmt: skip
    parser.add_argument("--history", metavar="FILE",
                        help="earlier turns: a JSON list of {role, content}")  # fmt: skip
    parser.add_argument("--ledger", metavar="FILE", help="ledger file, or off")
    parser.add_argument("--keep-question", action="store_true", default=None,
                        help="keep the question's text in the ledger, so that ragkit eval label "
                        "--from-feedback can ask it again")  # fmt: skip
    parser.add_argument("--show-prompt", action="store_true", help="print the exact prompt")
    parser.add_argument(
        "--dry-run", action="store_true", help="do everything except generating an answer"
    )
    parser.add_argument("--stream", action="store_true", help="print the answer as it is generated")


def _chat(add: AddCommand) -> None:
    parser = add("chat", "Talk with the documents; /help lists what may be typed besides questions",
                 "ragkit chat --history talk.json")  # fmt: skip
    add_searching(parser)
    add_answering(parser)
    parser.add_argument("--history", metavar="FILE",
                        help="conversation to go on with, and where it is kept: a JSON list of "
                        "{role, content}; without it nothing is kept")  # fmt: skip
    parser.add_argument("--ledger", metavar="FILE", help="ledger file, or off")


def _list(add: AddCommand) -> None:
    parser = add("list", "List the documents", "ragkit list")
    add_common(parser)
    parser.add_argument("--groups", metavar="A,B", help="groups that the reader belongs to")


def _show(add: AddCommand) -> None:
    parser = add("show", "Show the store, or a document", "ragkit show handbook.md")
    parser.add_argument("document_id", nargs="?", metavar="ID", help="id of a document")
    add_common(parser)
    parser.add_argument(
        "--all", action="store_true", help="show every document, one after the other"
    )
    parser.add_argument("--groups", metavar="A,B", help="groups that the reader belongs to")


def _rm(add: AddCommand) -> None:
    parser = add("rm", "Delete documents permanently", "ragkit rm handbook.md")
    parser.add_argument("ids", nargs="+", metavar="ID", help="id of a document")
    _secure(parser)
    add_common(parser)


def _secure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--secure", action="store_true",
                        help="purge removed and replaced text from the indexes even if the store "
                        "is very large")  # fmt: skip


def _doctor(add: AddCommand) -> None:
    parser = add("doctor", "Check the store", "ragkit doctor --repair")
    add_common(parser)
    parser.add_argument("--repair", action="store_true",
                        help="rebuild derived data, and upgrade an older store")  # fmt: skip
    parser.add_argument("--compact", action="store_true",
                        help="apply deletions and reclaim free space")  # fmt: skip


def _backup(add: AddCommand) -> None:
    parser = add("backup", "Copy the store to another folder, and verify the copy",
                 "ragkit backup /backups/kb-monday")  # fmt: skip
    parser.add_argument("destination", metavar="DEST", help="folder to create for the copy")
    parser.add_argument(
        "--force", action="store_true", help="replace a store that is already at DEST"
    )
    add_common(parser)


def _restore(add: AddCommand) -> None:
    parser = add("restore", "Replace the store with a backup, after verifying it",
                 "ragkit restore /backups/kb-monday")  # fmt: skip
    parser.add_argument(
        "source", metavar="FROM", help="folder of a backup, or the SQLite file in it"
    )
    add_common(parser)


def _rebuild(add: AddCommand) -> None:
    parser = add("rebuild", "Re-chunk and re-embed the stored documents with other settings",
                 "ragkit rebuild --chunk-tokens 200")  # fmt: skip
    add_common(parser)
    add_chunking(parser)


def _feedback(add: AddCommand) -> None:
    parser = add("feedback", "Say whether an answer was good; the ledger keeps it",
                 "ragkit feedback 4f9c01b27ae3d865 bad --note 'not on Sundays'")  # fmt: skip
    parser.add_argument("answer_id", metavar="ANSWER_ID", help="id of the answer, in its receipt")
    parser.add_argument("verdict", choices=("good", "bad"), help="what the answer was")
    parser.add_argument("--note", metavar="TEXT",
                        help="why; the text is kept in the ledger")  # fmt: skip
    add_common(parser)
    parser.add_argument("--ledger", metavar="FILE", help="ledger file")


def _template(add: AddCommand) -> None:
    parser = add("template", "Show a prompt template, or lock it", "ragkit template guarded")
    parser.add_argument("file", metavar="FILE", help="default, guarded, or a template file")
    parser.add_argument("--lock", action="store_true",
                        help="pin the file's content in prompts.lock next to it")  # fmt: skip
    add_common(parser, store=False)


def _init(add: AddCommand) -> None:
    parser = add("init", "Write a commented settings file", "ragkit init")
    parser.add_argument("--force", action="store_true", help="replace an existing file")


def _trust(add: AddCommand) -> None:
    parser = add("trust", "Trust the settings in a ragkit.toml",
                 "ragkit trust ragkit.toml")  # fmt: skip
    parser.add_argument("file", nargs="?", metavar="FILE",
                        help="settings file; prints the settings that need trust and trusts them "
                        "until they change")  # fmt: skip
    parser.add_argument("--remove", action="store_true", help="stop trusting FILE")
    parser.add_argument("--list", action="store_true",
                        help="list all such files: trusted, changed or missing")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")


def _schema(add: AddCommand) -> None:
    parser = add("schema", "Print the JSON Schema of an output", "ragkit schema ask")
    parser.add_argument("name", nargs="?", metavar="NAME", help="name of a schema (default: all)")


def _completion(add: AddCommand) -> None:
    parser = add("completion", "Print a shell completion script",
                 "source <(ragkit completion bash)")  # fmt: skip
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="which shell")
