"""The arguments and help texts of `ragkit calibrate` and `ragkit eval`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from ragkit.cli.arguments import (
    AddCommand,
    add_answering,
    add_chunking,
    add_common,
    add_embed_title,
    add_generating,
    add_search_mode,
    finite,
    whole,
)


def _calibrate(add: AddCommand) -> None:
    parser = add(
        "calibrate",
        "Find the smallest context that labelled questions certify, and write it as a trim policy",
        "ragkit calibrate DATASET --retain 0.95 --confidence 0.95 --out trim.json",
    )
    _questions_of(parser)
    add_common(parser)
    parser.add_argument("--retain", type=finite, metavar="X", default=0.95,
                        help="share or value to guarantee, see --mode (default 0.95)")  # fmt: skip
    parser.add_argument("--confidence", type=finite, metavar="X", default=0.95,
                        help="confidence of the guarantee (default 0.95)")  # fmt: skip
    parser.add_argument("--mode", choices=("strict", "ratio", "absolute", "conformal"),
                        default="strict",
                        help="what --retain refers to; strict: the share of questions that keep "
                        "what the untrimmed top 5 gives them; ratio: the share of the mean quality "
                        "of the untrimmed top 5; absolute: the mean quality itself; conformal: as "
                        "strict, but on average over sets of labels, uncertified, for 20 to 60 "
                        "questions (default strict)")  # fmt: skip
    parser.add_argument("--metric", metavar="M",
                        help="measure of quality: NeedsHeld, EvidenceFound, EvidenceRecall, "
                        "AnswerInContext or DocumentRecall (default: what the labels allow); "
                        "Agreement needs no labels, asks the generator with and without trimming, "
                        "and needs --mode absolute")  # fmt: skip
    parser.add_argument("--refuse-target", type=finite, metavar="X",
                        help="also set a refusal threshold that refuses at most this share of "
                        "the answerable questions")  # fmt: skip
    parser.add_argument("--pool", metavar="N,N", default="10",
                        help="number of chunks in the pool; if you pass several values of this or "
                        "of one of the next four, one policy is selected on a third of the "
                        "documents (default 10)")  # fmt: skip
    parser.add_argument("--scorer", metavar="A,B", default="none",
                        help="sentence scorer: none (no training), a scorer file, or fit, which "
                        "learns from some of the documents and writes a file next to the policy "
                        "(default none)")  # fmt: skip
    parser.add_argument("--neighbours", metavar="N,N", default="0",
                        help="sentences kept on either side of a kept one (default 0)")  # fmt: skip
    for name, default, text in (
        ("headings", "off", "keep the heading above a kept unit: off, on, or off,on (default off)"),
        ("units", "on", "score code, lists and tables by the scorer of units: on, off, or on,off "
                        "(default on)"),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", metavar="A,B", default=default, help=text)
    _second_hop(parser)
    parser.add_argument("--retriever", metavar="MODULE:NAME",
                        help="instead of a store, calibrate for a retriever of your own, whose "
                        "passages ragkit.trim trims: a function from a question to passages, or a "
                        "retriever of LangChain, LlamaIndex or Haystack; this imports and runs "
                        "the module, also from the current folder")  # fmt: skip
    parser.add_argument("--fingerprint", metavar="TEXT",
                        help="name of that retriever and its settings; ragkit.trim is given the "
                        "same")  # fmt: skip
    parser.add_argument("--corpus-version", metavar="TEXT",
                        help="name of the state of its documents; without both names there is a "
                        "policy, but no certificate")  # fmt: skip
    parser.add_argument("--out", metavar="FILE", help="trim policy to write (default trim.json)")
    parser.add_argument("--explain", action="store_true",
                        help="explain what is guaranteed and what is not")  # fmt: skip
    parser.add_argument("--html", metavar="FILE",
                        help="self-contained HTML page to write: the curve, untrimmed chunks on "
                        "these labels, and each lost question with what was cut")  # fmt: skip
    parser.add_argument("--search-mode", choices=("dense", "lexical", "hybrid"),
                        help="search mode (default: the store's)")  # fmt: skip
    add_generating(parser)
    add_chunking(parser)


def _second_hop(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--second-hop", type=finite, metavar="W", default=0.0,
                        help="weight of the second hop; 1 is for questions that need two documents "
                        "(default 0)")  # fmt: skip


def _dataset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", metavar="DATASET",
                        help="folder with queries.jsonl, qrels/SPLIT.tsv, spans.jsonl and "
                        "corpus.jsonl, or with questions.jsonl and docs/; or SQuAD JSON; or CSV "
                        "or JSON Lines of questions")  # fmt: skip
    parser.add_argument(
        "--split", metavar="S", help="split of the dataset (default: test, or the only one)"
    )


def _questions_of(parser: argparse.ArgumentParser) -> None:
    _dataset(parser)
    parser.add_argument("--evidence", choices=("auto", "any", "all"), default="auto",
                        help="whether any one span of a question is enough or all are needed "
                        "(default: any if the spans are the answers, otherwise all)")  # fmt: skip
    parser.add_argument("--cluster", metavar="FIELD", default="document",
                        help="which questions to treat as correlated: those with the same document "
                        "(default), those with the same value of a metadata field, or none; "
                        "calibrate also takes section (the weaker assumption, for collections of a "
                        "few handbooks)")  # fmt: skip
    parser.add_argument("--limit", type=whole, metavar="N", help="use only the first N questions")
    parser.add_argument("--cache", metavar="DIR", default=".ragkit-eval",
                        help="folder for stores, vectors and generations (default "
                        ".ragkit-eval)")  # fmt: skip


def _label(add: AddCommand) -> None:
    parser = add("eval label", "Label questions: mark which parts of the documents they need",
                 "ragkit eval label questions.csv --store kb --out labels.jsonl")  # fmt: skip
    parser.add_argument("questions", nargs="?", metavar="QUESTIONS",
                        help="sheet (CSV with a column question), JSON Lines, chat export (JSON "
                        "messages with role and content), or text with one question a "
                        "line")  # fmt: skip
    parser.add_argument("--from-feedback", action="store_true",
                        help="take the questions with feedback whose text is in the "
                        "ledger")  # fmt: skip
    parser.add_argument("--ledger", metavar="FILE", help="ledger file, for --from-feedback")
    parser.add_argument("--out", metavar="PLACE", default="labels.jsonl",
                        help="JSON Lines file, or a folder for the layout of BEIR; if it exists, "
                        "labelling goes on (default labels.jsonl)")  # fmt: skip
    parser.add_argument("--html", metavar="FILE",
                        help="write a page for labelling in a browser instead, without a server; "
                        "it offers the labels as a download")  # fmt: skip
    parser.add_argument("--sample", type=whole, metavar="N",
                        help="ask N of the questions, drawn at random (default: all, in their "
                        "order)")  # fmt: skip
    parser.add_argument("--seed", type=whole, metavar="S", default=0,
                        help="seed of the draw (default 0)")  # fmt: skip
    parser.add_argument("--groups", metavar="A,B", help="groups that the reader belongs to")
    add_common(parser)


def _validate(add: AddCommand) -> None:
    parser = add("eval validate", "Check a dataset for faults", "ragkit eval validate DATASET")
    _dataset(parser)
    add_common(parser, store=False)


def _run(add: AddCommand) -> None:
    parser = add("eval run", "Ask every question of a dataset and measure the answers",
                 "ragkit eval run DATASET --trim off --out runs/untrimmed")  # fmt: skip
    _questions_of(parser)
    add_common(parser)
    parser.add_argument("--out", metavar="DIR",
                        help="folder of the run (default: one under runs/ for this dataset and "
                        "configuration); an unfinished run there is resumed")  # fmt: skip
    parser.add_argument("--measures", metavar="A,B",
                        help="measures to compute (default: what the labels allow)")  # fmt: skip
    parser.add_argument("--groups", metavar="A,B", help="groups that the reader belongs to")
    parser.add_argument("--resume", action="store_true",
                        help="resume an unfinished run (the default)")  # fmt: skip
    parser.add_argument("--restart", action="store_true", help="discard a run in --out first")
    parser.add_argument("--dry-run", action="store_true",
                        help="estimate calls, tokens and cost, without asking anything "
                        "")  # fmt: skip
    parser.add_argument("--jobs", type=whole, metavar="N",
                        help="number of questions to ask at once, for models behind a "
                        "server (default: 1, or as the profile says)")  # fmt: skip
    parser.add_argument("--input-price", type=finite, metavar="X",
                        help="price per million input tokens")  # fmt: skip
    parser.add_argument("--output-price", type=finite, metavar="X",
                        help="price per million output tokens")  # fmt: skip
    add_search_mode(parser)
    add_answering(parser)
    add_chunking(parser)


def _score(add: AddCommand) -> None:
    parser = add("eval score", "Score a TREC run against relevance judgements",
                 "ragkit eval score run.trec qrels.tsv -m nDCG@10,R@10,MRR,MAP")  # fmt: skip
    parser.add_argument(
        "run", metavar="RUN", help="TREC run with lines of: query Q0 document rank score tag"
    )
    parser.add_argument("qrels", metavar="QRELS", help="relevance judgements of TREC or BEIR")
    parser.add_argument("-m", "--measures", metavar="A,B", default="nDCG@10,R@10,MRR,MAP",
                        help="measures (default nDCG@10,R@10,MRR,MAP)")  # fmt: skip
    parser.add_argument(
        "--per-query", action="store_true", help="also print the values of each query"
    )
    parser.add_argument("--single-precision", action="store_true",
                        help="compare scores as float32, as trec_eval 9 does")  # fmt: skip
    add_common(parser, store=False)


def _sweep(add: AddCommand) -> None:
    parser = add("eval sweep", "Measure quality against tokens over a grid of settings",
                 "ragkit eval sweep DATASET --retain 0.95 --out sweep.json")  # fmt: skip
    _questions_of(parser)
    parser.add_argument("--measure", metavar="M",
                        help="measure of quality: NeedsHeld, EvidenceFound, EvidenceRecall, "
                        "AnswerInContext or DocumentRecall (default: what the labels "
                        "allow)")  # fmt: skip
    parser.add_argument("--retain", type=finite, metavar="X", default=0.95,
                        help="target as a share of the untrimmed top 5 (default 0.95)")  # fmt: skip
    parser.add_argument("--target", type=finite, metavar="X",
                        help="target as a value of the measure itself")  # fmt: skip
    parser.add_argument("--chunk-tokens", metavar="N,N", default="40,80,160,400",
                        help="chunk sizes (default 40,80,160,400)")  # fmt: skip
    parser.add_argument("-k", metavar="N,N", default="1:40",
                        help="numbers of chunks: a list (1,5), a range (1:40) or doublings "
                        "(1:64:x2); default 1:40")  # fmt: skip
    parser.add_argument("--mode", metavar="A,B", help="search modes: dense, lexical, hybrid")
    parser.add_argument("--embedder", metavar="A,B", help="embedders, as in ragkit ingest")
    parser.add_argument("--pool", metavar="N,N", default="10,20",
                        help="numbers of chunks in the pool (default 10,20)")  # fmt: skip
    parser.add_argument("--budget", metavar="N,N",
                        help="token budgets, in the same notation as -k (default: none, cut by "
                        "score alone)")  # fmt: skip
    parser.add_argument("--scorer", metavar="A,B", default="none",
                        help="sentence scorers: none, or files (default none)")  # fmt: skip
    _second_hop(parser)
    parser.add_argument("--trim", metavar="A,B", default="bundled",
                        help="trim policies: bundled, files, or off (default bundled)")  # fmt: skip
    add_embed_title(parser)
    parser.add_argument(
        "--out", metavar="FILE", help="file for the result as JSON, for eval report --sweep"
    )
    parser.add_argument("--progress", choices=("auto", "json", "off"), default="auto",
                        help="how to show progress on stderr")  # fmt: skip
    add_common(parser)


def _compare(add: AddCommand) -> None:
    parser = add("eval compare", "Compare two runs question by question",
                 "ragkit eval compare runs/base runs/new")  # fmt: skip
    parser.add_argument("base", metavar="BASE", help="folder of the baseline run")
    parser.add_argument("new", metavar="NEW", help="folder of the new run")
    parser.add_argument("--measures", metavar="A,B",
                        help="measures to compare (default: those that both runs have) "
                        "")  # fmt: skip
    _margin(parser)
    parser.add_argument("--force", action="store_true", help="compare runs of different datasets")
    add_common(parser, store=False)


def _margin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--margin", type=finite, metavar="X",
                        help="difference that matters to you; the output states how many "
                        "questions it takes to detect it")  # fmt: skip


def _gate(add: AddCommand) -> None:
    parser = add("eval gate", "Decide whether a run may replace another",
                 "ragkit eval gate runs/new --baseline runs/base --policy gate.toml")  # fmt: skip
    parser.add_argument("run", metavar="RUN", help="folder of the run")
    parser.add_argument("--baseline", metavar="RUN", help="folder of the run to compare with")
    parser.add_argument("--policy", metavar="FILE", required=True,
                        help="TOML file with margins, floors and ceilings")  # fmt: skip
    parser.add_argument("--sequential", action="store_true",
                        help="read document by document, in an order that the policy's seed fixes, "
                        "and stop once the verdict is known; valid whenever it stops")  # fmt: skip
    parser.add_argument("--scope", choices=("new", "run"),
                        help="what a sequential verdict is about: new questions like these, on "
                        "documents like theirs (default), or what reading all of this run would "
                        "say; then questions are read one by one, and far fewer")  # fmt: skip
    parser.add_argument("--junit", metavar="FILE", help="JUnit XML file to write")
    parser.add_argument(
        "--summary", metavar="FILE", help="Markdown file to write, for a pull request"
    )
    add_common(parser, store=False)


def _report(add: AddCommand) -> None:
    parser = add("eval report", "Report on one run, or compare two",
                 "ragkit eval report runs/base runs/new --html report.html")  # fmt: skip
    parser.add_argument("runs", metavar="RUN", nargs="+",
                        help="folder of one run, or of the baseline and the new run")  # fmt: skip
    parser.add_argument("--html", metavar="FILE", help="self-contained HTML file to write")
    parser.add_argument("--markdown", metavar="FILE",
                        help="Markdown file to write, short enough for a pull-request "
                        "comment")  # fmt: skip
    parser.add_argument("--junit", metavar="FILE", help="JUnit XML file to write; needs --policy")
    parser.add_argument(
        "--policy", metavar="FILE", help="gate policy; the report then includes the verdict"
    )
    parser.add_argument(
        "--sweep", metavar="FILE", help="file written by ragkit eval sweep --out, to include"
    )
    parser.add_argument(
        "--by", metavar="MEASURE", help="measure by which to rank the worst questions"
    )
    parser.add_argument("--slice", metavar="FIELD",
                        help="metadata field by which to divide the questions")  # fmt: skip
    _margin(parser)
    parser.add_argument("--force", action="store_true", help="compare runs of different datasets")
    add_common(parser, store=False)


COMMANDS: tuple[Callable[[AddCommand], None], ...] = (
    _calibrate,
    _label,
    _validate,
    _run,
    _score,
    _sweep,
    _compare,
    _gate,
    _report,
)
