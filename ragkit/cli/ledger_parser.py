"""The arguments and help texts of `ragkit ledger`."""

from __future__ import annotations

import argparse

from ragkit.cli.arguments import AddCommand, add_common
from ragkit.costs.grouping import KEYS
from ragkit.costs.sci import UNITS


def _ledgers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ledgers", nargs="*", metavar="LEDGER",
                        help="ledger files, or folders of stores; several are added up (default: "
                        "the ledger of the store)")  # fmt: skip
    add_common(parser)
    parser.add_argument("--ledger", metavar="FILE", help="ledger file")


def _report(add: AddCommand) -> None:
    parser = add("ledger report", "Add up the receipts",
                 "ragkit ledger report --by day --html costs.html")  # fmt: skip
    _ledgers(parser)
    parser.add_argument("--by", choices=KEYS,
                        help="also the sums of each day (UTC), model, prompt template, trim policy "
                        "or service profile")  # fmt: skip
    parser.add_argument("--business", metavar="FILE",
                        help="CSV of day,METRIC: a metric of your own beside what each day "
                        "cost")  # fmt: skip
    parser.add_argument("--html", metavar="FILE", help="write the report as a page with plots")


def _diff(add: AddCommand) -> None:
    parser = add("ledger diff", "Say how the answers of two ledgers differ in cost, with intervals",
                 "ragkit ledger diff before.jsonl after.jsonl")  # fmt: skip
    for name, text in (("a", "ledger file or folder of a store that is compared with"),
                       ("b", "the other one")):  # fmt: skip
        parser.add_argument(name, metavar=name.upper(), help=text)
    add_common(parser, store=False)


def _sci(add: AddCommand) -> None:
    parser = add("ledger sci", "Software carbon intensity: grams for each functional unit",
                 "ragkit ledger sci --unit answer")  # fmt: skip
    _ledgers(parser)
    parser.add_argument("--unit", choices=UNITS, required=True,
                        help="what grams are divided by: tokens of models, workflows (questions, "
                        "with all their calls), or answers (correct ones where there is "
                        "feedback)")  # fmt: skip


def _break_even(add: AddCommand) -> None:
    parser = add("ledger break-even", "Say when trimming has paid for what it needed first",
                 "ragkit ledger break-even")  # fmt: skip
    _ledgers(parser)


def _drift(add: AddCommand) -> None:
    parser = add("ledger drift", "Say whether tokens, refusals or support have changed over time",
                 "ragkit ledger drift")  # fmt: skip
    _ledgers(parser)


COMMANDS = (_report, _diff, _sci, _break_even, _drift)
