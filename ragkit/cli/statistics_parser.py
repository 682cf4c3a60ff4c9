"""The arguments and help texts of `ragkit eval audit`, `aa` and `ppi`."""

from __future__ import annotations

from collections.abc import Callable

from ragkit.cli.arguments import AddCommand, add_common, finite, whole


def _audit(add: AddCommand) -> None:
    parser = add("eval audit", "Say what a published share of N questions can mean",
                 "ragkit eval audit -n 200 -v 0.87 -b 0.85")  # fmt: skip
    parser.add_argument("-n", type=whole, metavar="N", required=True, help="number of questions")
    parser.add_argument("-v", "--value", metavar="VALUE", required=True,
                        help="the share: 0.87, 87%% or 174/200")  # fmt: skip
    parser.add_argument("-b", "--base", metavar="BASE",
                        help="share of another run over the same questions, to compare "
                        "with")  # fmt: skip
    parser.add_argument("--clusters", type=whole, metavar="M",
                        help="number of documents that the questions are about")  # fmt: skip
    parser.add_argument("--icc", type=finite, metavar="X",
                        help="correlation of the outcomes of one document's questions, 0 to 1; "
                        "needs --clusters (default: 0.02 and 0.10 are shown)")  # fmt: skip
    add_common(parser, store=False)


def _aa(add: AddCommand) -> None:
    parser = add("eval aa", "Measure how often a gate's verdict flips between identical runs",
                 "ragkit eval aa runs/new runs/again --policy gate.toml")  # fmt: skip
    parser.add_argument("run", metavar="RUN", help="folder of a run")
    parser.add_argument("again", metavar="RUN2", nargs="?",
                        help="folder of a second run of the same thing (default: none; the "
                        "documents of RUN are drawn anew instead)")  # fmt: skip
    parser.add_argument("--policy", metavar="FILE", required=True,
                        help="the gate's TOML file")  # fmt: skip
    parser.add_argument("--baseline", metavar="RUN",
                        help="folder of the run with which margins compare (default: the other of "
                        "the two runs)")  # fmt: skip
    parser.add_argument("--pairs", type=whole, metavar="N", default=200,
                        help="simulated pairs of runs (default 200)")  # fmt: skip
    add_common(parser, store=False)


COMMANDS: tuple[Callable[[AddCommand], None], ...] = (_audit, _aa)
