"""The arguments of `ragkit advise`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from ragkit.cli.arguments import AddCommand, add_common, finite


def _region(add: AddCommand) -> None:
    parser = add("advise region", "Say in which AWS Region to run",
                 "ragkit advise region --allow 'eu-*' --data eu-central-1")  # fmt: skip
    parser.add_argument("--allow", required=True, metavar="R,R",
                        help="Regions that the law and your contracts allow; names or patterns "
                        "such as 'eu-*'")  # fmt: skip
    parser.add_argument("--data", metavar="REGION", help="Region where the data lies now")
    parser.add_argument("--data-gb", type=finite, default=0.0, metavar="X",
                        help="gigabytes that would move once")  # fmt: skip
    parser.add_argument("--users", metavar="REGION", help="Region nearest to the users")
    parser.add_argument("--users-gb", type=finite, default=0.0, metavar="X",
                        help="gigabytes sent to the users each month")  # fmt: skip
    parser.add_argument("--kwh", type=finite, metavar="X",
                        help="energy of the workload each month, against which the movement of "
                        "data is weighed (default: compare the grids alone)")  # fmt: skip
    parser.add_argument("--months", type=finite, default=12.0, metavar="N",
                        help="how long it will run (default 12)")  # fmt: skip
    parser.add_argument("--inference-profile", metavar="P",
                        help="the model is called by a profile that chooses the Region: eu, us, "
                        "apac, jp, au, ca, in, global; the other options do not matter "
                        "then")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")


def _hosting(add: AddCommand) -> None:
    parser = add("advise hosting", "Say from which load an instance of your own costs less",
                 "ragkit advise hosting --instance g5.xlarge --busy-seconds 2 "
                 "--price-per-hour 1.2 --price-per-question 0.002")  # fmt: skip
    parser.add_argument("--busy-seconds", type=finite, required=True, metavar="S",
                        help="how long one question keeps the instance busy: the inverse of its "
                        "throughput")  # fmt: skip
    parser.add_argument("--price-per-question", type=finite, metavar="X",
                        help="price of a managed answer, in any currency")  # fmt: skip
    parser.add_argument("--price-per-hour", type=finite, metavar="X",
                        help="price of the instance, in the same currency")  # fmt: skip
    parser.add_argument("--joules-per-question", metavar="LOW,HIGH",
                        help="energy of a managed answer (default: the ledger's mean)")  # fmt: skip
    parser.add_argument("--instance", metavar="TYPE",
                        help="EC2 instance type, for its watts: g5, g6, inf2, trn1, or c7g, m7g, "
                        "r7g, c8g, m8g")  # fmt: skip
    parser.add_argument("--watts", metavar="IDLE,FULL",
                        help="watts of the instance, if you know better")  # fmt: skip
    parser.add_argument("--questions-per-hour", type=finite, metavar="N",
                        help="your load, on average over all hours (default: print where the "
                        "choice turns)")  # fmt: skip
    _ledger(parser)


def _window(add: AddCommand) -> None:
    parser = add("advise window", "Say which window and limits the ledger's own answers call for",
                 "ragkit advise window")  # fmt: skip
    _ledger(parser)


def _tier(add: AddCommand) -> None:
    parser = add("advise tier", "Say which service level is enough, and what it is at AWS",
                 "ragkit advise tier --max-wait 30")  # fmt: skip
    parser.add_argument("--max-wait", type=finite, metavar="S",
                        help="longest time that an answer may take, in seconds")  # fmt: skip
    parser.add_argument("--questions-per-day", type=finite, metavar="N",
                        help="how many there are (default: the ledger's busiest day)")  # fmt: skip
    _ledger(parser)


def _ledger(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--generator", metavar="G",
                        help="count only the ledger's answers of this generator")  # fmt: skip
    parser.add_argument("--ledger", metavar="FILE", help="ledger file")
    add_common(parser)


COMMANDS: tuple[Callable[[AddCommand], None], ...] = (_region, _hosting, _window, _tier)
