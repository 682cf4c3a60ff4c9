"""Labelling in a terminal: a question, the passages it finds part by part, and keys."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ragkit.errors import ConfigError
from ragkit.pipeline import RAG
from ragkit.text.jsontext import as_list
from ragkit.types import Hit, Json
from ragkit_eval.data.datasets import Question
from ragkit_eval.data.spans import GoldSpan
from ragkit_eval.labelling.files import LabelFile
from ragkit_eval.labelling.marks import (
    ShownUnit,
    labelled,
    passage_name,
    read_marks,
    units_of,
)
from ragkit_eval.labelling.questions import Batch

PASSAGES = 3
"""Passages that are shown at a time."""

DEPTH = 21
"""Passages of a search that can be shown."""

_MOST_LINES = 12
"""Of a part that are shown at first."""

_MOST_SAID = 200
"""Characters of what was marked, when a label is taken back."""

HELP = """\
  2       part 2 is what the answer needs      2 5   both are needed (2-4: all of them)
  2|5     either is enough                     n     nothing in these documents answers it
  m       more passages   v  whole parts       /WORDS  search with other words
  s       skip: ask me another time            u     undo: back to the question before
  q       quit; the same command goes on       ?     this help
"""

_SHORT_HELP = (
    "2 needed  2 5 both  2|5 either  n none  m more  /WORDS search  s skip  u undo  ? help"
)


@dataclass(slots=True)
class Totals:
    """What a session has done; `n_keys` counts the keys that were typed, with each Enter."""

    n_labelled: int = 0
    n_skipped: int = 0
    n_keys: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Time since the session began."""
        return time.monotonic() - self.began


class Session:
    """Asks one person for the labels of a batch of questions.

    Args:
        rag: The store in which passages are searched for.
        batch: The questions; those that are labelled already are not asked.
        labels: Where labels are kept.
        read: Returns the next line of keys with its end; "" at the end of all.
        write: Shows text.
        strict: Whether a line that is not understood is an error, as in a script, whose further
            lines would be taken for answers to other questions.
        width: Columns of the terminal.
        groups: Groups that the reader belongs to.
    """

    def __init__(
        self,
        rag: RAG,
        batch: Batch,
        labels: LabelFile,
        *,
        read: Callable[[], str],
        write: Callable[[str], None],
        strict: bool = False,
        width: int = 100,
        groups: Sequence[str] | None = None,
    ) -> None:
        self._rag = rag
        self._batch = batch
        self._labels = labels
        self._read = read
        self._write = write
        self._strict = strict
        self._width = width
        self._groups = groups
        self.totals = Totals()

    @property
    def n_remaining(self) -> int:
        """Questions of the batch without a label."""
        return sum(question.id not in self._labels.rows for question in self._batch.questions)

    def run(self) -> None:
        """Ask until all questions are labelled or skipped, or the person quits.

        Raises:
            ConfigError: a line is not understood, in a session that is `strict`.
        """
        waiting = [q for q in self._batch.questions if q.id not in self._labels.rows]
        self._write(HELP if waiting else "every question is labelled\n")
        at = 0
        while at < len(waiting):
            done = self._ask(waiting[at])
            if done == "quit":
                return
            if done == "done":
                at += 1
                continue
            before = [waiting[at - 1]] if at else self._labelled_last()
            if at:
                at -= 1
            else:
                waiting[:0] = before
            for question in before:
                self._forget(question)
            if not before:
                self._write("\nthere is nothing to undo\n")

    def _labelled_last(self) -> Sequence[Question]:
        """Return the question of an earlier session that was labelled last; none if none was."""
        known = {question.id: question for question in self._batch.questions}
        return [known[identity] for identity in self._labels.rows if identity in known][-1:]

    def _forget(self, question: Question) -> None:
        """Take back the label of a question, or that it was skipped, and say which it was."""
        row = self._labels.rows.get(question.id)
        self._write(f"\nundone: {_flat(question.text)}  ({_said_of(row)})\n")
        if row is None:
            self.totals.n_skipped = max(0, self.totals.n_skipped - 1)
            return
        self._labels.drop(question.id)
        self.totals.n_labelled = max(0, self.totals.n_labelled - 1)

    def _ask(self, question: Question) -> str:
        """Ask one question; return `done`, `undo` or `quit`."""
        screen = _Screen(self._write, self._width)
        self._write(f"\n{'─' * self._width}\n{self._progress()}\n")
        for turn in question.history:
            self._write(f"  {turn.role}: {_flat(turn.content)}\n")
        screen.add(self._search(question.searched))
        while True:
            self._write(f"\n? {_flat(question.text)}\n{_SHORT_HELP}\n> ")
            line = self._read()
            self.totals.n_keys += len(line)
            keys = line.strip()
            if not line or keys == "q":
                return "quit"
            if keys == "u":
                return "undo"
            if keys == "s":
                self.totals.n_skipped += 1
                return "done"
            if keys.startswith("/") and keys.strip("/ "):
                screen.add(self._search(keys[1:].strip()))
            elif keys in {"m", "v", "?", ""}:
                {"m": screen.more, "v": screen.whole}.get(keys, lambda: self._write(HELP))()
            elif self._label(question, keys, screen.places):
                return "done"

    def _search(self, text: str) -> Sequence[Hit]:
        return self._rag.search(text, k=DEPTH, groups=self._groups)

    def _label(self, question: Question, keys: str, places: Sequence[GoldSpan]) -> bool:
        """Keep the label that a line of keys stands for; false if it was not understood."""
        try:
            marks = () if keys == "n" else read_marks(keys, len(places))
        except ValueError as error:
            if self._strict:
                raise ConfigError(f"keys {keys!r} for {question.text!r}: {error}") from None
            self._write(f"{error}\n")
            return False
        self._labels.put(labelled(question, marks, places, sample=self._batch.sample))
        self.totals.n_labelled += 1
        return True

    def _progress(self) -> str:
        n, seconds = len(self._batch.questions), self.totals.seconds
        n_done = self.totals.n_labelled
        pace = ""
        if n_done:
            left = self.n_remaining * seconds / n_done / 60.0
            pace = f"  {seconds / n_done:.0f} s a label, about {left:.0f} min left"
        return f"{n - self.n_remaining} of {n} labelled{pace}"


class _Screen:
    """The passages of one question, whose units are numbered on as more are shown."""

    def __init__(self, write: Callable[[str], None], width: int) -> None:
        self._write = write
        self._width = width
        self._waiting: list[Hit] = []
        self._seen: set[str] = set()
        self._shown: list[tuple[Hit, list[tuple[int | None, ShownUnit]]]] = []
        self.places: list[GoldSpan] = []

    def add(self, hits: Sequence[Hit]) -> None:
        """Take over the hits of a search, and show the first of those that are new."""
        self._waiting = [
            hit for hit in hits if hit.chunk.id not in self._seen and units_of(hit.chunk)
        ]
        self.more()

    def more(self) -> None:
        """Show the next passages, the best one last: next to the line of keys."""
        taken, self._waiting = self._waiting[:PASSAGES], self._waiting[PASSAGES:]
        if not taken:
            self._write("no more passages\n")
        new = [(hit, list(map(self._numbered, units_of(hit.chunk)))) for hit in taken]
        self._seen |= {hit.chunk.id for hit in taken}
        self._shown += new
        for passage in reversed(new):
            self._show(*passage, most_lines=_MOST_LINES)

    def whole(self) -> None:
        """Show all passages again, with the whole of their units."""
        for passage in reversed(self._shown):
            self._show(*passage, most_lines=None)

    def _numbered(self, unit: ShownUnit) -> tuple[int | None, ShownUnit]:
        if unit.place is None:
            return None, unit
        self.places.append(unit.place)
        return len(self.places), unit

    def _show(
        self, hit: Hit, units: Sequence[tuple[int | None, ShownUnit]], *, most_lines: int | None
    ) -> None:
        self._write(f"\n── {_flat(passage_name(hit))}\n")
        for number, unit in units:
            lines = self._lines(unit)
            n_left = 0 if most_lines is None else max(0, len(lines) - most_lines)
            if n_left:
                lines = [*lines[:most_lines], f"… {n_left} more lines (v)"]
            for i, line in enumerate(lines):
                first = "" if number is None or i else str(number)
                self._write(f"{first:>4} {line}\n")

    def _lines(self, unit: ShownUnit) -> list[str]:
        if unit.kind in {"code", "row", "header_row"}:
            return unit.text.splitlines()
        return textwrap.wrap(_flat(unit.text), max(20, self._width - 5)) or [""]


def _said_of(row: Mapping[str, Json] | None) -> str:
    """Return in words what was marked."""
    if row is None:
        return "skipped"
    needs = [" or ".join(map(str, as_list(need))) for need in as_list(row.get("needs", ()))]
    if not needs:
        return "nothing answers it"
    shown = textwrap.shorten(" and ".join(needs), _MOST_SAID, placeholder=" …")
    return f"needed: {shown}"


def _flat(text: str) -> str:
    return " ".join(text.split())


def summary(session: Session, batch: Batch, labels: LabelFile, out: str) -> dict[str, Json]:
    """Return the JSON form of `ragkit eval label`."""
    totals = session.totals
    asked = {question.id for question in batch.questions}
    rows = [row for identity, row in labels.rows.items() if identity in asked]
    return {
        "schema": 1,
        "out": out,
        "questions": len(asked),
        "labelled": len(rows),
        "unanswerable": sum(row.get("unanswerable") is True for row in rows),
        "remaining": session.n_remaining,
        "sample": batch.sample,
        "session": {
            "labelled": totals.n_labelled,
            "skipped": totals.n_skipped,
            "keys": totals.n_keys,
            "seconds": totals.seconds,
        },
    }
