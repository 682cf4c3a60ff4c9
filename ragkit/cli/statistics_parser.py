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


COMMANDS: tuple[Callable[[AddCommand], None], ...] = (_audit,)
