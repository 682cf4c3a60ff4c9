"""`ragkit chat`: a conversation in the terminal, or with a program that writes a line a turn."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ragkit.cli import output
from ragkit.cli.chat_output import cost_text, sources_text, why_text
from ragkit.cli.options import ask_options, open_rag, retrieval_options
from ragkit.cli.questions import failed_line, question_lines
from ragkit.cli.turns import Turns
from ragkit.errors import ConfigError, ExitCode, LoadError, RagkitError, RemoteError
from ragkit.loading.records import MAX_RECORD_BYTES
from ragkit.types import Json

if TYPE_CHECKING:
    from ragkit.pipeline import RAG, Answer

_PROMPT = "> "


def chat(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit chat`."""
    turns = Turns(args.history)
    with open_rag(args) as rag:
        rag.warm()
        talk = _Talk(rag, args, turns)
        if sys.stdin.isatty():
            return _at_terminal(talk)
        return _with_program(talk)


def _at_terminal(talk: _Talk) -> ExitCode:
    """Take what a person types; Ctrl-C stops an answer, and at the empty prompt the chat."""
    with contextlib.suppress(ImportError):
        importlib.import_module("readline")  # `input` edits lines by it
    output.tell(talk.greeting())
    while True:
        try:
            line = _typed()
        except (EOFError, KeyboardInterrupt) as error:
            output.write("\n")
            if isinstance(error, KeyboardInterrupt) and _is_half_typed():
                continue
            return ExitCode.DONE
        try:
            if not talk.take(line):
                return ExitCode.DONE
        except KeyboardInterrupt:
            output.write("\n")
            output.tell("stopped; /quit or Ctrl-D ends the chat")
        output.write("\n")


def _typed() -> str:
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]  # it is a terminal
    if sys.stdout.isatty():
        return input(_PROMPT)
    print(_PROMPT, end="", file=sys.stderr, flush=True)
    return input()


def _is_half_typed() -> bool:
    """Whether a line was begun, which Ctrl-C then throws away, as in a shell."""
    readline = sys.modules.get("readline")
    return readline is not None and bool(readline.get_line_buffer().strip())


def _with_program(talk: _Talk) -> ExitCode:
    """Take a line of standard input a turn; one that fails does not stop the others."""
    code = ExitCode.DONE
    for number, line in question_lines("-"):
        if len(line) > MAX_RECORD_BYTES:
            talk.failed(LoadError("limit", f"longer than {MAX_RECORD_BYTES >> 20} MiB"), number)
        elif not talk.take(line.decode(errors="replace"), number):
            break
        if talk.has_failed:
            code = ExitCode.SOME_FAILED
    return code


class _Talk:
    """A conversation with the documents: questions, and what may be asked about their answers."""

    def __init__(self, rag: RAG, args: argparse.Namespace, turns: Turns) -> None:
        self._rag, self._args, self._turns = rag, args, turns
        self._last: Answer | None = None
        self._records: list[Mapping[str, Json]] = []
        self._n_stopped = 0
        self.has_failed = False
        self._commands: Mapping[str, tuple[str, Callable[[], None]]] = {
            "/sources": ("where the last answer stands in the documents", self._sources),
            "/why": ("what was kept for the last answer, what was left, its evidence", self._why),
            "/cost": ("the receipt of the last answer, and the sums of this chat", self._cost),
            "/new": ("forget the conversation, and begin another", self._new),
            "/help": ("list these commands", self._help),
            "/quit": ("end the chat", lambda: None),
        }  # fmt: skip

    def greeting(self) -> str:
        """Return what a person is told first."""
        n_turns = len(self._turns.said)
        goes_on = f"going on after {n_turns} turns; " if n_turns else ""
        return f"{goes_on}/help lists the commands, /quit ends"

    def take(self, line: str, number: int = 0) -> bool:
        """Answer a line, or do what it says; false if the chat is to end.

        Args:
            line: A question, or a command: a word that begins with a slash.
            number: Of the line, where a program writes them.
        """
        self.has_failed = False
        words = line.split()
        if len(words) == 1 and words[0].startswith("/"):
            return self._obey(words[0])
        if words:
            try:
                self._answer(line.strip())
            except (ConfigError, RemoteError) as error:
                self.failed(error, number)
        return True

    def failed(self, error: RagkitError, number: int) -> None:
        """Say that a question could not be answered."""
        self.has_failed = True
        if self._args.json:
            output.show(failed_line(number, {}, error), str, as_json=True)
        else:
            output.tell(error)

    def _obey(self, command: str) -> bool:
        known = self._commands.get(command)
        if known is None:
            output.tell(f"there is no command {command}; /help lists them")
        else:
            known[1]()
        return command != "/quit"

    # --- questions -----------------------------------------------------------------------------

    def _answer(self, question: str) -> None:
        said: list[str] = []
        try:
            answer = self._asked(question, said)
        except KeyboardInterrupt:
            self._n_stopped += 1
            self._turns.add(question, "".join(said))
            raise
        except RemoteError:
            output.write("\n" if said else "")
            raise
        self._last = answer
        self._records.append(_record(answer))
        self._turns.add(question, _as_turn(answer))
        if (ending := output.ending_text(answer)) is not None:
            output.tell(ending)

    def _asked(self, question: str, said: list[str]) -> Answer:
        """Print an answer, with pieces as they come, which are added to what was said."""
        options = ask_options(self._args, {}, self._turns.said)
        if self._args.json:
            answer = self._rag.ask(question, **options)
            output.show(answer.to_dict(with_prompt=False), str, as_json=True)
            return answer
        with self._rag.stream(question, **options) as stream:
            for piece in stream:
                said.append(piece)
                output.write(piece)
        answer = stream.answer
        data = output.on_own_lines(answer.to_dict(with_prompt=False))
        lines = [] if answer.text and said else output.said_lines(data)
        output.write("\n" if said else "")
        output.write("".join(f"{line}\n" for line in [*lines, *output.suggestion_lines(data)]))
        return answer

    # --- commands ------------------------------------------------------------------------------

    def _answered(self) -> Answer | None:
        if self._last is None:
            output.tell("nothing has been answered yet")
        return self._last

    def _sources(self) -> None:
        if self._args.json:
            output.tell("citations are in the JSON of each answer")
        elif (answer := self._answered()) is not None:
            output.show(answer.to_dict(with_prompt=False), sources_text, as_json=False)

    def _why(self) -> None:
        if (answer := self._answered()) is None:
            return
        asked = answer.question if answer.resolved is None else answer.resolved.question
        is_remark = answer.reason == "conversation"
        hits = () if is_remark else self._rag.search(asked, **retrieval_options(self._args, {}))
        output.explain(why_text(answer, hits))

    def _cost(self) -> None:
        if (answer := self._answered()) is not None:
            data = answer.to_dict(with_prompt=False)
            output.explain(cost_text(data, self._records, n_stopped=self._n_stopped))

    def _new(self) -> None:
        self._turns.forget()
        output.tell("a new conversation")

    def _help(self) -> None:
        lines = [f"  {name:<9} {what}" for name, (what, _) in self._commands.items()]
        keys = "Ctrl-C stops an answer; at the empty prompt it ends the chat, as Ctrl-D does."
        output.explain("\n".join(["Anything else is a question.", *lines, keys]))


def _as_turn(answer: Answer) -> str:
    """Return what the documents' side has said, as a turn."""
    return answer.text or "\n".join(output.said_lines(answer.to_dict(with_prompt=False)))


def _record(answer: Answer) -> Mapping[str, Json]:
    """Return of an answer what the ledger would sum."""
    data = answer.to_dict(with_prompt=False)
    return {"kind": "ask", **{k: data[k] for k in ("refused", "reason", "usage", "receipt")}}
