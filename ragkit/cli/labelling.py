"""`ragkit eval label`."""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.cli import output
from ragkit.cli.options import names, open_rag, settings_of
from ragkit.errors import ConfigError, ExitCode
from ragkit.private import make_folder
from ragkit.text.printable import printable
from ragkit.types import Json

if TYPE_CHECKING:
    from ragkit_eval.labelling.questions import Batch

_WIDEST = 110
"""Columns of text that are easy to read."""


def label(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit eval label`."""
    batch = _questions(args)
    if batch.n_left_out:
        output.tell(f"{batch.n_left_out} user turns that ask nothing are left out")
    return _in_terminal(args, batch) if args.html is None else _as_page(args, batch)


def _questions(args: argparse.Namespace) -> Batch:
    from ragkit_eval.labelling.questions import feedback_questions, read_questions

    if (args.questions is None) != args.from_feedback:
        raise ConfigError("give a file of questions, or --from-feedback")
    if args.from_feedback:
        settings = settings_of(args)
        ledger = Path(settings.ledger or Path(settings.store) / "ledger.jsonl")
        batch = feedback_questions(ledger)
    else:
        batch = read_questions(Path(args.questions))
    return batch.sampled(args.sample, args.seed)


def _as_page(args: argparse.Namespace, batch: Batch) -> ExitCode:
    from ragkit.cli.progress import Bar
    from ragkit_eval.labelling.page import html
    from ragkit_eval.running.folder import write_text

    path = Path(args.html)
    with open_rag(args) as rag, Bar("auto", unit="questions") as bar:
        text = html(
            rag,
            batch,
            groups=names(args.groups),
            on_progress=lambda done, total: bar.note({"question": done}, "searched", total),
        )
    make_folder(path.parent)
    write_text(path, text)
    data: dict[str, Json] = {
        "schema": 1,
        "out": args.html,
        "questions": len(batch.questions),
        "labelled": 0,
        "remaining": len(batch.questions),
        "sample": batch.sample,
    }
    output.show(data, lambda data: f"wrote {data['out']}; open it in a browser", as_json=args.json)
    return ExitCode.DONE


def _in_terminal(args: argparse.Namespace, batch: Batch) -> ExitCode:
    from ragkit_eval.labelling.files import LabelFile
    from ragkit_eval.labelling.session import Session, summary

    labels = LabelFile(Path(args.out))
    with open_rag(args) as rag:
        session = Session(
            rag,
            batch,
            labels,
            read=sys.stdin.readline,
            write=_write,
            strict=not sys.stdin.isatty(),
            width=min(_WIDEST, shutil.get_terminal_size().columns),
            groups=names(args.groups),
        )
        session.run()
    store = settings_of(args).store
    data = summary(session, batch, labels, args.out)
    output.show(data, lambda data: _text(data, store), as_json=args.json)
    return ExitCode.DONE


def _write(text: str) -> None:
    """Show a part of the conversation; results alone go to stdout."""
    sys.stderr.write(printable(text))
    sys.stderr.flush()


def _text(data: output.Shown, store: str) -> str:
    session = data["session"]
    lines = [
        f"{data['labelled']} of {data['questions']} questions are labelled in {data['out']}, "
        f"{data['unanswerable']} of them unanswerable; {data['remaining']} remain",
        f"this time: {session['labelled']} in {session['seconds'] / 60.0:.1f} minutes, "
        f"{session['keys']} keys",
    ]
    if data["labelled"]:
        place = f"{shlex.quote(data['out'])} --store {shlex.quote(store)}"
        lines.append(f"go on with: ragkit calibrate {place} --explain --html page.html")
    return "\n".join(lines)
