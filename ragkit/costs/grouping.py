"""Receipts of a ledger, summed in groups: by day, model, template, policy or profile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from ragkit.costs.feedback import KIND as FEEDBACK
from ragkit.costs.feedback import answer_id_of
from ragkit.costs.ledger import Summary, add_record, as_table
from ragkit.types import Json

By: TypeAlias = Literal["day", "model", "template", "policy", "profile"]
KEYS: tuple[By, ...] = get_args(By)

UNKNOWN = "unknown"
OTHERS = "others"
_OTHER_KINDS = ("ingest", "embed", "evaluation")
_MOST_GROUPS = 4_000
_MOST_CHARACTERS = 200


@dataclass(slots=True, kw_only=True)
class Groups:
    """Sums by group, and by day if asked for. `by` is what lines are grouped by.

    What is no attempt to answer (`ingest`, `embed`, `evaluation`) is a group of its own unless the
    groups are days. Feedback counts in the group of its answer. Beyond 4,000 groups (of each day),
    the further ones are summed as `others`.
    """

    by: By
    with_days: bool = False
    _cells: dict[tuple[str, str], Summary] = field(default_factory=dict[tuple[str, str], Summary])
    _group_of_answer: dict[str, str] = field(default_factory=dict[str, str])
    _cell_of_feedback: dict[str, tuple[str, str]] = field(
        default_factory=dict[str, tuple[str, str]]
    )

    def add(self, record: Mapping[str, Json]) -> None:
        """Add a line of a ledger to its group."""
        cell = (_day(record) if self.with_days else "", self._key(record))
        summary = self._cells.get(cell)
        if summary is None:
            if len(self._cells) >= _MOST_GROUPS:
                cell = ("", OTHERS)
            summary = self._cells.setdefault(cell, Summary())
        add_record(summary, record)
        answer_id = answer_id_of(record) if record.get("kind") == FEEDBACK else None
        if answer_id is not None:  # What was said of the answer before counts no more, anywhere.
            before = self._cell_of_feedback.get(answer_id, cell)
            if before != cell:
                self._cells[before].feedback.pop(answer_id, None)
            self._cell_of_feedback[answer_id] = cell

    def total(self) -> Summary:
        """Return the sums over all groups."""
        total = Summary()
        for summary in self._cells.values():
            total += summary
        return total

    @property
    def groups(self) -> dict[str, Summary]:
        """The sums of each group: days by date, others in order of appearance."""
        found = self._merged(1)
        return dict(sorted(found.items())) if self.by == "day" else found

    @property
    def days(self) -> dict[str, Summary]:
        """The sums of each day, by date."""
        return self.groups if self.by == "day" else dict(sorted(self._merged(0).items()))

    def _merged(self, axis: int) -> dict[str, Summary]:
        merged: dict[str, Summary] = {}
        for cell, summary in self._cells.items():
            total = merged.setdefault(cell[axis], Summary())
            total += summary
        return merged

    def _key(self, record: Mapping[str, Json]) -> str:
        if self.by == "day":
            return _day(record)
        kind = record.get("kind")
        answer_id = record.get("answer_id")
        if kind == "feedback" and isinstance(answer_id, str):
            return self._group_of_answer.get(answer_id, UNKNOWN)
        if kind != "ask":
            return str(kind) if kind in _OTHER_KINDS else UNKNOWN
        receipt = as_table(record.get("receipt"))
        key = _key_of_attempt(record, receipt, self.by)
        answer_id = receipt.get("answer_id")
        if isinstance(answer_id, str):
            self._group_of_answer[answer_id] = key
        return key


def _day(record: Mapping[str, Json]) -> str:
    return _text(record.get("time"))[:10]


def _key_of_attempt(record: Mapping[str, Json], receipt: Mapping[str, Json], by: By) -> str:
    if by == "model":
        return _text(receipt.get("served_model") or record.get("generator"))
    if by == "policy":
        trim = record.get("trim")
        return "off" if trim is None else _text(as_table(trim).get("name"))
    return _text(record.get(by) or receipt.get(by))


def _text(value: Json) -> str:
    if not isinstance(value, str) or not value:
        return UNKNOWN
    # A hostile or damaged line may hold halves of surrogate pairs.
    return value[:_MOST_CHARACTERS].encode("utf-8", "replace").decode()


def group(records: Iterable[Mapping[str, Json]], by: By, *, with_days: bool = False) -> Groups:
    """Sum the receipts of a ledger in groups."""
    groups = Groups(by=by, with_days=with_days)
    for record in records:
        groups.add(record)
    return groups
