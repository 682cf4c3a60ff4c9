"""Arguments that several commands share, and the types of their values."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import TypeAlias, get_args

from ragkit.profiles import PROFILES
from ragkit.types import CHUNKER_NAMES, Placement

AddCommand: TypeAlias = Callable[[str, str, str], argparse.ArgumentParser]
"""Makes the parser of a command from its name, its description and an example."""

_TOO_LARGE = 2**63
_SHOWN_CHARACTERS = 40


def whole(text: str) -> int:
    """Return a whole number that fits in 64 bits."""
    try:
        number = int(text)
    except ValueError:
        number = _TOO_LARGE
    if abs(number) >= _TOO_LARGE:
        raise argparse.ArgumentTypeError(f"{_short(text)}; allowed: a whole number of 64 bits")
    return number


def finite(text: str) -> float:
    """Return a finite number."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{_short(text)}; allowed: a finite number")
    return number


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def add_common(parser: argparse.ArgumentParser, *, store: bool = True) -> None:
    """Add the arguments of nearly every command."""
    if store:
        parser.add_argument("--store", metavar="NAME",
                            help="folder or name of the store (default ./kb)")  # fmt: skip
    parser.add_argument("--config", metavar="FILE",
                        help="settings file (default: RAGKIT_CONFIG, or the trusted part of "
                        "ragkit.toml)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_chunking(parser: argparse.ArgumentParser) -> None:
    """Add how documents are chunked and embedded, and how progress is shown."""
    add_embedder(parser)
    parser.add_argument("--chunker", choices=CHUNKER_NAMES,
                        help="how documents are split into chunks (default recursive)")  # fmt: skip
    parser.add_argument("--chunk-tokens", type=whole, metavar="N",
                        help="maximum tokens per chunk (default 400)")  # fmt: skip
    parser.add_argument("--chunk-overlap", type=whole, metavar="N",
                        help="number of tokens that adjacent chunks share (default 0)")  # fmt: skip
    add_embed_title(parser)
    parser.add_argument("--sentence-vectors", action=argparse.BooleanOptionalAction, default=None,
                        help="store one vector per sentence, for trimming (default: yes, if "
                        "there is an embedder)")  # fmt: skip
    parser.add_argument("--sentence-vector-kind", choices=("short", "full"),
                        help="how a sentence's vector is made: short, by the first layer of the "
                        "built-in embedder, or full, by all of the embedder (default: short "
                        "where the embedder can)")  # fmt: skip
    add_progress(
        parser, "one line per document after its commit and, each second, what is left of the files"
    )


def add_embedder(parser: argparse.ArgumentParser) -> None:
    """Add what embeds."""
    parser.add_argument("--embedder", metavar="E",
                        help="builtin, none or, for example, sentence-transformers:NAME-OR-PATH "
                        "(default: the store's; for a new store, builtin if numpy is "
                        "installed)")  # fmt: skip


def add_progress(parser: argparse.ArgumentParser, lines: str) -> None:
    """Add how progress is shown; `lines` says what JSON is printed."""
    parser.add_argument("--progress", choices=("auto", "json", "off"), default="auto",
                        help=f"how to show progress on stderr; json prints {lines}")  # fmt: skip


def add_embed_title(parser: argparse.ArgumentParser) -> None:
    """Add whether a chunk's vector includes the document's title."""
    parser.add_argument("--embed-title", action=argparse.BooleanOptionalAction, default=None,
                        help="embed a document's title with each chunk's text")  # fmt: skip


def add_retrieval(parser: argparse.ArgumentParser) -> None:
    """Add the question, or the file of questions, and how they are searched for."""
    parser.add_argument("question", nargs="?", metavar="QUESTION", help="the question")
    parser.add_argument("--questions", metavar="FILE",
                        help="JSON Lines file of questions, or - for standard input; if a line "
                        "fails, the others are still answered")  # fmt: skip
    add_searching(parser)


def add_searching(parser: argparse.ArgumentParser) -> None:
    """Add where and how is searched, and what restricts the search."""
    add_common(parser)
    add_search_mode(parser)
    parser.add_argument("--filter", metavar="JSON",
                        help='metadata filter, for example {"year": {"$gte": 2024}}')  # fmt: skip
    parser.add_argument("--groups", metavar="A,B", help="groups that the reader belongs to")


def add_search_mode(parser: argparse.ArgumentParser) -> None:
    """Add how deep and in which mode a search goes."""
    parser.add_argument("-k", type=whole, metavar="N",
                        help="number of chunks to retrieve, 1 to 1,000,000")  # fmt: skip
    parser.add_argument("--mode", choices=("dense", "lexical", "hybrid"),
                        help="search mode (default: hybrid if the store has vectors)")  # fmt: skip
    parser.add_argument("--fusion", choices=("convex", "rrf"),
                        help="how hybrid search combines its two rankings (default "
                        "convex)")  # fmt: skip


def add_answering(parser: argparse.ArgumentParser) -> None:
    """Add how the context is trimmed, and who answers from it."""
    parser.add_argument("--trim", metavar="bundled|tight|FILE|off",
                        help="bundled (default), tight for small models that answer better from "
                        "less, a trim policy file, or off to send whole chunks")  # fmt: skip
    parser.add_argument("--trim-level", type=finite, metavar="X",
                        help="how much to keep: 0 keeps only the best sentence, 1 the whole "
                        "pool")  # fmt: skip
    parser.add_argument("--refuse-below", metavar="X",
                        help="lowest support with which to answer, 0 to 1, or off")  # fmt: skip
    parser.add_argument("--max-context-tokens", type=whole, metavar="N",
                        help="hard limit on the tokens of the context")  # fmt: skip
    parser.add_argument("--rewrite", choices=("off", "generator"),
                        help="let the model rewrite a question that goes on from earlier turns, "
                        "with one more call (default: off)")  # fmt: skip
    parser.add_argument("--placement", choices=get_args(Placement),
                        help="order of the context: as in the documents (default), or with the "
                        "best place last or first")  # fmt: skip
    add_generating(parser)


def add_generating(parser: argparse.ArgumentParser) -> None:
    """Add the generator and its settings."""
    parser.add_argument("--generator", metavar="G",
                        help="extractive (default), or a model, for example "
                        "openai:MODEL")  # fmt: skip
    parser.add_argument("--base-url", metavar="U", help="URL of an OpenAI-compatible server")
    parser.add_argument("--api-key-env", metavar="NAME",
                        help="environment variable that holds the API key")  # fmt: skip
    parser.add_argument("--timeout", type=finite, metavar="S",
                        help="seconds to wait for an answer, or for each part of a "
                        "stream")  # fmt: skip
    parser.add_argument("--total-timeout", type=finite, metavar="S",
                        help="limit for a whole answer in seconds, streamed or not")  # fmt: skip
    parser.add_argument("--model-billions", type=finite, metavar="X",
                        help="active parameters in billions, for the energy estimate")  # fmt: skip
    parser.add_argument("--profile", choices=tuple(PROFILES),
                        help="service level: tier, time limits, retries and questions at once; "
                        "explicit settings win")  # fmt: skip
    parser.add_argument("--region", metavar="R",
                        help="AWS Region where answers are generated, for the carbon "
                        "estimate")  # fmt: skip
    parser.add_argument("--template", metavar="FILE",
                        help="prompt template: default, guarded, or a file")  # fmt: skip
    parser.add_argument("--max-tokens", type=whole, metavar="N", help="maximum tokens of an answer")
    parser.add_argument("--temperature", type=finite, metavar="X",
                        help="sampling temperature, 0 or more")  # fmt: skip
    parser.add_argument("--top-p", type=finite, metavar="X", help="nucleus sampling, 0 to 1")
    parser.add_argument("--top-k", type=whole, metavar="N",
                        help="sample from the N likeliest tokens, 1 or more")  # fmt: skip
    parser.add_argument("--stop", action="append", metavar="S",
                        help="string that ends the answer; repeatable")  # fmt: skip
    parser.add_argument("--seed", type=whole, metavar="N",
                        help="seed for reproducible answers and random draws")  # fmt: skip
