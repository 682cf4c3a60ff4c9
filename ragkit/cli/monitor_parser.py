"""The arguments and help texts of `ragkit monitor` and `ragkit ledger reconcile`."""

from __future__ import annotations

import argparse

from ragkit.cli.arguments import AddCommand, add_common, whole


def _nvidia(add: AddCommand) -> None:
    parser = add("monitor nvidia", "NVIDIA GPUs: utilisation, memory, power, energy",
                 "ragkit monitor nvidia --join kb/ledger.jsonl")  # fmt: skip
    _file(parser, "CSV of nvidia-smi --query-gpu=… --format=csv, with or without header and units "
          "(default: ask NVML or nvidia-smi on this machine)")  # fmt: skip


def _neuron(add: AddCommand) -> None:
    parser = add("monitor neuron", "AWS Inferentia and Trainium: utilisation, memory, latency",
                 "neuron-monitor | ragkit monitor neuron -")  # fmt: skip
    _file(parser, "JSON Lines of neuron-monitor (default: one period of it on this machine)")


def _cloudwatch(add: AddCommand) -> None:
    parser = add("monitor cloudwatch", "Tokens of Bedrock models, load of SageMaker endpoints",
                 "ragkit monitor cloudwatch --model MODEL-ID --hours 24")  # fmt: skip
    _file(parser, "output of aws cloudwatch get-metric-data (default: ask CloudWatch)")
    _asked(parser)
    parser.add_argument("--endpoint", action="append", default=[], metavar="NAME[/VARIANT]",
                        help="SageMaker endpoint (variant AllTraffic); repeatable")  # fmt: skip
    parser.add_argument("--hours", type=whole, default=24, metavar="N",
                        help="the last N hours (default 24)")  # fmt: skip
    parser.add_argument("--period", type=whole, default=300, metavar="S",
                        help="seconds of a row, a multiple of 60 (default 300)")  # fmt: skip


def _trace(add: AddCommand) -> None:
    parser = add("monitor trace", "A trace of the PyTorch profiler (Kineto), by kind and device",
                 "ragkit monitor trace trace.json.gz")  # fmt: skip
    parser.add_argument("file", metavar="FILE", help="Chrome trace, which may be gzip; - is "
                        "standard input")  # fmt: skip
    _join(parser)


def _file(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("file", nargs="?", metavar="FILE", help=f"{text}; - is standard input")
    _join(parser)


def _join(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--join", metavar="LEDGER",
                        help="add to each row the answers of this ledger that were being made in "
                        "its time")  # fmt: skip
    parser.add_argument("--json", action="store_true",
                        help="rows are JSON Lines anyway; accepted for uniformity")  # fmt: skip


def _asked(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", action="append", default=[], metavar="ID",
                        help="Bedrock model id, with +flex or +priority for other tiers; "
                        "repeatable")  # fmt: skip
    parser.add_argument("--region", metavar="R",
                        help="AWS region (default: that of the environment)")  # fmt: skip


def _reconcile(add: AddCommand) -> None:
    parser = add("ledger reconcile", "A ledger beside what AWS counted, and why they differ",
                 "ragkit ledger reconcile --model MODEL-ID --start 2026-03-01 "
                 "--end 2026-04-01")  # fmt: skip
    parser.add_argument("ledgers", nargs="*", metavar="LEDGER",
                        help="ledger files, or folders of stores (default: the ledger of the "
                        "store)")  # fmt: skip
    add_common(parser)
    parser.add_argument("--ledger", metavar="FILE", help="ledger file")
    _asked(parser)
    parser.add_argument("--start", metavar="DAY", required=True, help="first day, UTC")
    parser.add_argument("--end", metavar="DAY", required=True, help="the day after the last")
    parser.add_argument("--carbon", action="store_true",
                        help="grams beside AWS's Sustainability API, for whole months, instead of "
                        "tokens beside CloudWatch")  # fmt: skip
    parser.add_argument("--service", metavar="NAME",
                        help="with --carbon: only this service, as AWS names it "
                        "there")  # fmt: skip


COMMANDS = (_nvidia, _neuron, _cloudwatch, _trace, _reconcile)
