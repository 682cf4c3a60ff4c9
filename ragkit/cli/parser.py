"""The commands' options and help texts."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Never, TypeAlias

from ragkit import __version__
from ragkit.text.printable import printable_line
from ragkit.types import CHUNKER_NAMES

_TOO_LARGE = 2**63
_SHOWN_CHARACTERS = 40

_EXIT_CODES = """\
exit codes:
  0 done                                  4 gate failed
  1 done, but some inputs failed          5 inconclusive, or too few labels
  2 usage or configuration                6 store busy, missing or damaged
  3 refused: no sufficient evidence       7 a remote or a model failed
  130 interrupted; run it again to go on
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors say what was typed without steering the terminal."""

    def error(self, message: str) -> Never:
        super().error(printable_line(message))


def _whole(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = _TOO_LARGE
    if abs(number) >= _TOO_LARGE:
        raise argparse.ArgumentTypeError(f"{_short(text)}; allowed: a whole number of 64 bits")
    return number


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{_short(text)}; allowed: a finite number")
    return number


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    return make_parsers()[0]


def make_parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser of all commands, and each command's own by name."""
    parser = _Parser(
        prog="ragkit",
        description="Answer questions from your documents with the fewest tokens that do.",
        epilog=f"example:\n  ragkit ingest docs/ && ragkit ask 'How do I reset my badge?'\n\n"
        f"{_EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ragkit {__version__}")
    top = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    made: dict[str, argparse.ArgumentParser] = {}
    inner = {"eval": _eval(top)}

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
        _search,
        _ask,
        _list,
        _show,
        _rm,
        _doctor,
        _backup,
        _restore,
        _rebuild,
        _calibrate,
        _eval_validate,
        _eval_run,
        _eval_score,
        _eval_sweep,
        _eval_compare,
        _eval_gate,
        _eval_report,
        _ledger,
        _template,
        _init,
        _trust,
        _schema,
        _completion,
    ):
        add(make)
    return parser, made


_Add = Callable[[str, str, str], argparse.ArgumentParser]


def _common(parser: argparse.ArgumentParser, *, store: bool = True) -> None:
    if store:
        parser.add_argument("--store", metavar="NAME", help="folder of the store (default ./kb)")
    parser.add_argument("--config", metavar="FILE", help="settings file (default RAGKIT_CONFIG, or "
                        "ragkit.toml as far as it is trusted)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")


def _split_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--embedder",
        metavar="E",
        help="builtin, none, or sentence-transformers:NAME-OR-PATH (default builtin with numpy)",
    )
    parser.add_argument(
        "--chunker", choices=CHUNKER_NAMES, help="how to cut documents (default recursive)"
    )
    parser.add_argument(
        "--chunk-tokens", type=_whole, metavar="N", help="most tokens of a chunk (default 400)"
    )
    parser.add_argument(
        "--chunk-overlap", type=_whole, metavar="N", help="tokens shared by neighbours (default 0)"
    )
    parser.add_argument(
        "--embed-title",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="embed a document's title before each chunk's text",
    )
    parser.add_argument(
        "--sentence-vectors",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="store a vector a sentence, which trimming uses (default yes, with an embedder)",
    )
    parser.add_argument(
        "--progress",
        choices=("auto", "json", "off"),
        default="auto",
        help="progress on stderr; json: one line a document after its commit",
    )


def _ingest(add: _Add) -> None:
    parser = add("ingest", "Read documents into the store", "ragkit ingest docs/ --prune")
    parser.add_argument("paths", nargs="+", metavar="PATH",
                        help="file, folder, glob pattern, or - for standard input")  # fmt: skip
    _common(parser)
    _split_settings(parser)
    parser.add_argument("--prune", action="store_true",
                        help="remove documents that vanished from under these paths")  # fmt: skip
    parser.add_argument("--yes", action="store_true",
                        help="prune even if more than half would be removed")  # fmt: skip
    parser.add_argument("--root", metavar="DIR", help="what ids of files are relative to")
    parser.add_argument("--groups", metavar="A,B",
                        help="who may see these documents; public: everybody")  # fmt: skip
    parser.add_argument("--require-groups", action="store_true",
                        help="fail documents that end up without groups")  # fmt: skip
    parser.add_argument("--metadata", metavar="JSON", help="joined to each document's metadata")
    parser.add_argument("--password-file", metavar="FILE", help="password of encrypted files")
    parser.add_argument("--jobs", type=_whole, metavar="N", help="threads that embed (default 1)")
    parser.add_argument("--ledger", metavar="FILE", help="ledger file, or off")
    parser.add_argument("--dry-run", action="store_true", help="read and cut, store nothing")
    _secure(parser)


def _retrieval(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("question", nargs="?", metavar="QUESTION", help="the question")
    parser.add_argument("--questions", metavar="FILE",
                        help="JSON Lines of questions, - for standard input; a line that fails "
                        "costs that line")  # fmt: skip
    _common(parser)
    _depth_and_mode(parser)
    parser.add_argument("--filter", metavar="JSON", help='for example {"year": {"$gte": 2024}}')
    parser.add_argument("--groups", metavar="A,B", help="the reader's groups")


def _depth_and_mode(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-k", type=_whole, metavar="N", help="how many chunks are retrieved, 1 to 1,000,000"
    )
    parser.add_argument("--mode", choices=("dense", "lexical", "hybrid"),
                        help="default hybrid where the store has vectors")  # fmt: skip
    parser.add_argument("--fusion", choices=("convex", "rrf"),
                        help="how hybrid joins its rankings (default convex)")  # fmt: skip


def _search(add: _Add) -> None:
    parser = add("search", "Find chunks", "ragkit search 'badge reset' -k 5 --json")
    _retrieval(parser)
    parser.add_argument("--unit", choices=("chunk", "document"), default="chunk",
                        help="document: distinct documents, each by its best chunk")  # fmt: skip
    parser.add_argument("--dedupe", action="store_true", help="drop near-duplicates")
    parser.add_argument("--mmr", type=_number, metavar="X",
                        help="maximal marginal relevance, weight of relevance 0 to 1")  # fmt: skip


def _ask(add: _Add) -> None:
    parser = add("ask", "Answer a question, or refuse", "ragkit ask 'How do I reset my badge?'")
    _retrieval(parser)
    _answering(parser)
    parser.add_argument("--history", metavar="FILE", help="JSON list of {role, content}")
    parser.add_argument("--ledger", metavar="FILE", help="ledger file, or off")
    parser.add_argument("--show-prompt", action="store_true", help="print the exact prompt")
    parser.add_argument("--dry-run", action="store_true", help="all but the generation")
    parser.add_argument("--stream", action="store_true", help="print the answer as it comes")


def _answering(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trim", metavar="FILE", help="trim policy, or off")
    parser.add_argument("--trim-level", type=_number, metavar="X",
                        help="0 keeps the best sentence, 1 the whole pool")  # fmt: skip
    parser.add_argument("--refuse-below", metavar="X", help="evidence needed, 0 to 1, or off")
    parser.add_argument("--max-context-tokens", type=_whole, metavar="N",
                        help="hard cap, never exceeded")  # fmt: skip
    _generating(parser)


def _generating(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--generator", metavar="G", help="extractive (default), or openai:MODEL")
    parser.add_argument("--base-url", metavar="U", help="of an OpenAI-compatible server")
    parser.add_argument("--api-key-env", metavar="NAME", help="variable that holds the key")
    parser.add_argument(
        "--timeout", type=_number, metavar="S", help="seconds to wait for the model"
    )
    parser.add_argument("--total-timeout", type=_number, metavar="S",
                        help="seconds for a whole answer, however it comes")  # fmt: skip
    parser.add_argument("--model-billions", type=_number, metavar="X",
                        help="active parameters, for the energy estimate")  # fmt: skip
    parser.add_argument("--template", metavar="FILE", help="default, guarded, or a template file")
    parser.add_argument("--max-tokens", type=_whole, metavar="N", help="longest answer")
    parser.add_argument("--temperature", type=_number, metavar="X", help="0 or more")
    parser.add_argument("--top-p", type=_number, metavar="X", help="0 to 1")
    parser.add_argument("--top-k", type=_whole, metavar="N", help="1 or more")
    parser.add_argument("--stop", action="append", metavar="S", help="ends the answer; repeatable")
    parser.add_argument("--seed", type=_whole, metavar="N", help="for repeatable answers and draws")


def _list(add: _Add) -> None:
    parser = add("list", "List the documents", "ragkit list")
    _common(parser)
    parser.add_argument("--groups", metavar="A,B", help="the reader's groups")


def _show(add: _Add) -> None:
    parser = add("show", "Show the store, or a document", "ragkit show handbook.md")
    parser.add_argument("document_id", nargs="?", metavar="ID", help="a document's id")
    _common(parser)
    parser.add_argument("--all", action="store_true", help="every document, a line each")
    parser.add_argument("--groups", metavar="A,B", help="the reader's groups")


def _rm(add: _Add) -> None:
    parser = add("rm", "Remove documents for good", "ragkit rm handbook.md")
    parser.add_argument("ids", nargs="+", metavar="ID", help="a document's id")
    _secure(parser)
    _common(parser)


def _secure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--secure",
        action="store_true",
        help="sweep what was removed or replaced out of a very large store's indexes too",
    )


def _backup(add: _Add) -> None:
    parser = add("backup", "Copy the store to another folder, and check the copy",
                 "ragkit backup /backups/kb-monday")  # fmt: skip
    parser.add_argument("destination", metavar="DEST", help="a folder that is not there yet")
    parser.add_argument("--force", action="store_true", help="replace a store that is there")
    _common(parser)


def _restore(add: _Add) -> None:
    parser = add("restore", "Put a backup in the place of the store, after checking it",
                 "ragkit restore /backups/kb-monday")  # fmt: skip
    parser.add_argument("source", metavar="FROM", help="a backup, or the SQLite file in it")
    _common(parser)


def _doctor(add: _Add) -> None:
    parser = add("doctor", "Check the store", "ragkit doctor --repair")
    _common(parser)
    parser.add_argument(
        "--repair", action="store_true", help="rebuild what is derived, update an older store"
    )
    parser.add_argument(
        "--compact", action="store_true", help="fold deletions in and give free space back"
    )


def _rebuild(add: _Add) -> None:
    parser = add(
        "rebuild",
        "Cut and embed the stored documents anew, with other settings",
        "ragkit rebuild --chunk-tokens 200",
    )
    _common(parser)
    _split_settings(parser)


def _second_hop(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--second-hop", type=_number, metavar="W", default=0.0,
                        help="weight of what other sentences lead to, 1 for questions that take "
                        "two documents to answer (default 0)")  # fmt: skip


def _calibrate(add: _Add) -> None:
    parser = add(
        "calibrate",
        "Find the smallest context that labelled questions certify, and write it as a trim policy",
        "ragkit calibrate DATASET --retain 0.95 --confidence 0.95 --out trim.json",
    )
    _questions_of(parser)
    _common(parser)
    parser.add_argument("--retain", type=_number, metavar="X", default=0.95,
                        help="what is promised, by --mode (default 0.95)")  # fmt: skip
    parser.add_argument("--confidence", type=_number, metavar="X", default=0.95,
                        help="of the promise (default 0.95)")  # fmt: skip
    parser.add_argument("--mode", choices=("strict", "ratio", "absolute"), default="strict",
                        help="strict: this share of questions keeps what the untrimmed top 5 gives "
                        "it; ratio: this share of its mean quality; absolute: this mean "
                        "quality (default strict)")  # fmt: skip
    parser.add_argument("--metric", metavar="M",
                        help="EvidenceFound, EvidenceRecall, AnswerInContext or DocumentRecall "
                        "(default: what the labels allow); Agreement asks the generator with and "
                        "without trimming and needs no labels (--mode absolute)")  # fmt: skip
    parser.add_argument("--refuse-target", type=_number, metavar="X",
                        help="set a refusal threshold that refuses at most this share of "
                        "answerable questions")  # fmt: skip
    parser.add_argument("--pool", metavar="N,N", default="10",
                        help="chunks that are trimmed; of several one is chosen on a third of the "
                        "documents (default 10)")  # fmt: skip
    parser.add_argument("--scorer", metavar="A,B", default="none",
                        help="what scores sentences: none (no training), a scorer file, or fit, "
                        "which learns from some of the documents and writes a file beside the "
                        "policy; of several one is chosen (default none)")  # fmt: skip
    _second_hop(parser)
    parser.add_argument("--out", metavar="FILE", help="trim policy file (default trim.json)")
    parser.add_argument("--explain", action="store_true",
                        help="say in words what is and what is not promised")  # fmt: skip
    parser.add_argument("--search-mode", choices=("dense", "lexical", "hybrid"),
                        help="how chunks are found (default: the store's)")  # fmt: skip
    _generating(parser)
    _split_settings(parser)


# argparse has no public name for what holds the commands.
_SubParsers: TypeAlias = "argparse._SubParsersAction[_Parser]"  # pyright: ignore


def _eval(commands: _SubParsers) -> _SubParsers:
    parser = commands.add_parser(
        "eval",
        help="measure on labelled questions, compare runs, gate a change",
        description="Measure on labelled questions, compare runs, gate a change. No LLM, no "
        "network and no extra is needed.",
        epilog="example:\n  ragkit eval run DATASET --out runs/new",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return parser.add_subparsers(dest="action", required=True, metavar="ACTION")


def _dataset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "dataset",
        metavar="DATASET",
        help="folder with queries.jsonl, qrels/SPLIT.tsv, spans.jsonl and corpus.jsonl; or SQuAD "
        "JSON; or CSV or JSON Lines of questions",
    )
    parser.add_argument("--split", metavar="S", help="which split (default test, or the only one)")


def _questions_of(parser: argparse.ArgumentParser) -> None:
    _dataset(parser)
    parser.add_argument("--evidence", choices=("auto", "any", "all"), default="auto",
                        help="whether any span of a question suffices or all are needed (default: "
                        "any where the spans are the answers, else all)")  # fmt: skip
    parser.add_argument("--cluster", metavar="FIELD", default="document",
                        help="what questions depend on together, for intervals: document "
                        "(default), a field of their metadata, or none")  # fmt: skip
    parser.add_argument("--limit", type=_whole, metavar="N", help="the first N questions only")
    parser.add_argument("--cache", metavar="DIR", default=".ragkit-eval",
                        help="stores, vectors and generations (default .ragkit-eval)")  # fmt: skip


def _eval_validate(add: _Add) -> None:
    parser = add("eval validate", "Look for faults in a dataset", "ragkit eval validate DATASET")
    _dataset(parser)
    _common(parser, store=False)


def _eval_run(add: _Add) -> None:
    parser = add("eval run", "Ask every question of a dataset and measure what comes",
                 "ragkit eval run DATASET --trim off --out runs/untrimmed")  # fmt: skip
    _questions_of(parser)
    _common(parser)
    parser.add_argument("--out", metavar="DIR", help="the run's folder (default: one of its own "
                        "under runs/); a run begun there goes on")  # fmt: skip
    parser.add_argument("--measures", metavar="A,B", help="default: what the labels allow")
    parser.add_argument("--groups", metavar="A,B", help="the reader's groups")
    parser.add_argument("--resume", action="store_true",
                        help="go on with a run that was begun (the default)")  # fmt: skip
    parser.add_argument("--restart", action="store_true", help="throw a run in --out away first")
    parser.add_argument("--dry-run", action="store_true",
                        help="estimate calls, tokens and cost; ask nothing")  # fmt: skip
    parser.add_argument("--jobs", type=_whole, metavar="N", default=1,
                        help="questions asked at a time, for models behind a server")  # fmt: skip
    parser.add_argument("--input-price", type=_number, metavar="X", help="per million input tokens")
    parser.add_argument("--output-price", type=_number, metavar="X",
                        help="per million output tokens")  # fmt: skip
    _depth_and_mode(parser)
    _answering(parser)
    _split_settings(parser)


def _eval_score(add: _Add) -> None:
    parser = add("eval score", "Score a TREC run against judgements",
                 "ragkit eval score run.trec qrels.tsv -m nDCG@10,R@10,MRR,MAP")  # fmt: skip
    parser.add_argument("run", metavar="RUN", help="lines of: query Q0 document rank score tag")
    parser.add_argument("qrels", metavar="QRELS", help="TREC or BEIR judgements")
    parser.add_argument("-m", "--measures", metavar="A,B", default="nDCG@10,R@10,MRR,MAP",
                        help="default nDCG@10,R@10,MRR,MAP")  # fmt: skip
    parser.add_argument("--per-query", action="store_true", help="each query's values too")
    parser.add_argument("--single-precision", action="store_true",
                        help="compare scores as float32, as trec_eval 9 does")  # fmt: skip
    _common(parser, store=False)


def _eval_sweep(add: _Add) -> None:
    parser = add("eval sweep", "Draw quality against tokens over a grid of settings",
                 "ragkit eval sweep DATASET --retain 0.95 --out sweep.json")  # fmt: skip
    _questions_of(parser)
    parser.add_argument("--measure", metavar="M",
                        help="EvidenceFound, EvidenceRecall, AnswerInContext or DocumentRecall "
                        "(default: what the labels allow)")  # fmt: skip
    parser.add_argument("--retain", type=_number, metavar="X", default=0.95,
                        help="target, a share of the untrimmed top 5 (default 0.95)")  # fmt: skip
    parser.add_argument("--target", type=_number, metavar="X", help="target of the measure itself")
    parser.add_argument("--chunk-tokens", metavar="N,N", default="40,80,160,400",
                        help="chunk sizes (default 40,80,160,400)")  # fmt: skip
    parser.add_argument("-k", metavar="N,N", default="1:40",
                        help="how many chunks: 1,5 or 1:40 or 1:64:x2 (default 1:40)")  # fmt: skip
    parser.add_argument("--mode", metavar="A,B", help="dense, lexical, hybrid")
    parser.add_argument("--embedder", metavar="A,B", help="embedders, as in ragkit ingest")
    parser.add_argument("--pool", metavar="N,N", default="10,20",
                        help="chunks that are trimmed (default 10,20)")  # fmt: skip
    parser.add_argument(
        "--budget", metavar="N,N", help="tokens kept, as -k; default: by rank alone"
    )
    parser.add_argument("--scorer", metavar="A,B", default="none",
                        help="what scores sentences: none, or files (default none)")  # fmt: skip
    _second_hop(parser)
    parser.add_argument("--trim", metavar="A,B", default="bundled",
                        help="trim policies: bundled, files, or off (default bundled)")  # fmt: skip
    parser.add_argument("--embed-title", action=argparse.BooleanOptionalAction, default=None,
                        help="embed a document's title before each chunk's text")  # fmt: skip
    parser.add_argument("--out", metavar="FILE", help="write the JSON here, for a report")
    parser.add_argument("--progress", choices=("auto", "json", "off"), default="auto",
                        help="progress on stderr")  # fmt: skip
    _common(parser, store=False)


def _eval_compare(add: _Add) -> None:
    parser = add("eval compare", "Compare two runs, question by question",
                 "ragkit eval compare runs/base runs/new")  # fmt: skip
    parser.add_argument("base", metavar="BASE", help="a run's folder")
    parser.add_argument("new", metavar="NEW", help="a run's folder")
    parser.add_argument("--measures", metavar="A,B", help="default: those that both have")
    parser.add_argument("--margin", type=_number, metavar="X",
                        help="the difference that matters, for the questions needed")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="compare different datasets")
    _common(parser, store=False)


def _eval_gate(add: _Add) -> None:
    parser = add("eval gate", "Say whether a run may replace another",
                 "ragkit eval gate runs/new --baseline runs/base --policy gate.toml")  # fmt: skip
    parser.add_argument("run", metavar="RUN", help="a run's folder")
    parser.add_argument("--baseline", metavar="RUN", help="what it is compared with")
    parser.add_argument("--policy", metavar="FILE", required=True, help="margins, floors, ceilings")
    parser.add_argument("--junit", metavar="FILE", help="write JUnit XML")
    parser.add_argument("--summary", metavar="FILE", help="write Markdown for a pull request")
    _common(parser, store=False)


def _eval_report(add: _Add) -> None:
    parser = add("eval report", "Report on a run, or on two",
                 "ragkit eval report runs/base runs/new --html report.html")  # fmt: skip
    parser.add_argument("runs", metavar="RUN", nargs="+", help="one run, or base and new")
    parser.add_argument("--html", metavar="FILE", help="one file that needs nothing else")
    parser.add_argument("--markdown", metavar="FILE", help="fits a pull-request comment")
    parser.add_argument("--junit", metavar="FILE", help="JUnit XML; needs --policy")
    parser.add_argument("--policy", metavar="FILE", help="a gate, for the verdict")
    parser.add_argument("--sweep", metavar="FILE", help="what ragkit eval sweep --out wrote")
    parser.add_argument("--by", metavar="MEASURE", help="ranks the worst questions")
    parser.add_argument("--slice", metavar="FIELD", help="a field of the questions' metadata")
    parser.add_argument("--margin", type=_number, metavar="X", help="as in compare")
    parser.add_argument("--force", action="store_true", help="compare different datasets")
    _common(parser, store=False)


def _ledger(add: _Add) -> None:
    parser = add("ledger", "Sum the receipts", "ragkit ledger report")
    parser.add_argument("action", choices=("report",), help="report: sums of all receipts")
    _common(parser)
    parser.add_argument("--ledger", metavar="FILE", help="ledger file")


def _template(add: _Add) -> None:
    parser = add("template", "Show a prompt template, or lock it", "ragkit template guarded")
    parser.add_argument("file", metavar="FILE", help="default, guarded, or a template file")
    parser.add_argument("--lock", action="store_true",
                        help="pin the file's content in prompts.lock beside it")  # fmt: skip
    _common(parser, store=False)


def _init(add: _Add) -> None:
    parser = add("init", "Write a commented settings file", "ragkit init")
    parser.add_argument("--force", action="store_true", help="replace an existing file")


def _trust(add: _Add) -> None:
    parser = add("trust", "Let a ragkit.toml that was found count", "ragkit trust ragkit.toml")
    parser.add_argument("file", nargs="?", metavar="FILE",
                        help="what needs trust in it is shown, and counts until "
                        "it changes")  # fmt: skip
    parser.add_argument("--remove", action="store_true", help="trust FILE no longer")
    parser.add_argument("--list", action="store_true",
                        help="all such files: trusted, changed or missing")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")


def _schema(add: _Add) -> None:
    parser = add("schema", "Print the JSON Schema of an output", "ragkit schema ask")
    parser.add_argument("name", nargs="?", metavar="NAME", help="one of the listed names")


def _completion(add: _Add) -> None:
    parser = add(
        "completion", "Print a shell completion script", "source <(ragkit completion bash)"
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="which shell")
