"""The parsed arguments of a command: read by it, never changed."""

from __future__ import annotations

import copy
import io
import shlex
import sys
from pathlib import Path

import pytest

from ragkit.cli.commands import COMMANDS
from ragkit.cli.parser import make_parser, make_parsers
from ragkit.errors import ExitCode

from ..eval.made import make_dataset

_LABELS = "town --cluster none --cache cache"
_LINES = f"""
init
ingest town/corpus.jsonl --embedder none --groups public --metadata '{{"kind": "notice"}}'
search 'How tall is the lighthouse?' --groups public -k 2 --mode lexical --filter '{{"a": 1}}'
ask 'How tall is the lighthouse?' --groups public --history history.json --stop x --stream
chat --groups public --history talk.json --stop x
list --groups public
show --all --groups public
rebuild --chunk-tokens 200 --embedder builtin
embed --max-seconds 9
doctor --repair --compact
backup copy
restore copy
ledger report
ledger break-even
ledger diff kb kb
ledger drift
ledger emf
ledger sci --unit workflow
advise region --allow eu-north-1,us-east-1 --data eu-central-1
advise hosting --busy-seconds 2 --watts 50,200 --joules-per-question 5,50
advise tier --questions-per-day 20
advise window
monitor nvidia gpu.csv --json
monitor neuron neuron.jsonl --json
monitor trace trace.json --json
template default
calibrate {_LABELS} --embedder none --pool 5,10 --mode ratio --search-mode lexical --retain 0.5
eval validate town
eval run {_LABELS} --embedder none --out run --measures EvidenceFound,R@5
eval sweep {_LABELS} --embedder none --chunk-tokens 100 -k 1,5 --mode lexical --pool 5
eval score run.trec town/qrels/test.tsv
eval compare run run --measures EvidenceFound
eval gate run --policy gate.toml
eval report run --markdown report.md
eval aa run --policy gate.toml
eval audit -n 100 -v 0.9 -b 0.8
trust --list
schema ask
completion bash
rm lighthouse nothing
"""


_GROUPS = {"eval", "ledger", "advise", "monitor"}
_ELSEWHERE = {"monitor cloudwatch", "ledger reconcile", "feedback", "eval label", "eval ppi"}
"""They need a service, an answer, or labels of their own form; their own tests run them."""


def test_no_command_changes_its_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each command has run, its arguments are what was parsed, lists included."""
    make_dataset(tmp_path / "town", copies=2)
    (tmp_path / "history.json").write_text('[{"role": "user", "content": "The lighthouse?"}]')
    (tmp_path / "run.trec").write_text("lighthouse-0-0 Q0 lighthouse 1 0.9 x\n")
    (tmp_path / "gate.toml").write_text("[measure.EvidenceFound]\nfloor = 0.1\n")
    typed = io.BytesIO(b"How tall is the lighthouse?\n/sources\n/why\n/cost\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(typed))
    (tmp_path / "gpu.csv").write_text("")
    (tmp_path / "neuron.jsonl").write_text("{}\n")
    (tmp_path / "trace.json").write_text('{"traceEvents": []}')
    ran: set[str] = set()
    for line in _LINES.split("\n")[1:-1]:
        args = make_parser().parse_args(shlex.split(line))
        before = copy.deepcopy(vars(args))
        code = COMMANDS[args.command](args)
        assert code in {ExitCode.DONE, ExitCode.SOME_FAILED, ExitCode.INCONCLUSIVE}, line
        assert vars(args) == before, line
        ran.add(f"{args.command} {args.action}" if args.command in _GROUPS else args.command)
    assert ran == set(make_parsers()[1]) - _ELSEWHERE


@pytest.mark.parametrize("code", ExitCode, ids=lambda code: code.name)
def test_the_help_explains_every_exit_code(code: ExitCode) -> None:
    """Every code that a command can return stands in the help."""
    epilog = make_parser().epilog or ""
    assert f" {code} " in epilog.partition("exit codes:")[2]
