"""Receipts of a ledger, summed in groups: by day, model, template, policy or profile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

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
    """Sums by group, in order of appearance. `by` is what lines are grouped by.

    What is no attempt to answer (`ingest`, `embed`, `evaluation`) is a group of its own unless the
    groups are days. Feedback counts in the group of its answer. Beyond 4,000 groups, the further
    ones are summed as `others`.
    """

    by: By
    groups: dict[str, Summary] = field(default_factory=dict[str, Summary])
    _group_of_answer: dict[str, str] = field(default_factory=dict[str, str])

    def add(self, record: Mapping[str, Json]) -> None:
        """Add a line of a ledger to its group."""
        key = self._key(record)
        summary = self.groups.get(key)
        if summary is None:
            if len(self.groups) >= _MOST_GROUPS:
                key = OTHERS
            summary = self.groups.setdefault(key, Summary())
        add_record(summary, record)

    def total(self) -> Summary:
        """Return the sums over all groups."""
        total = Summary()
        for summary in self.groups.values():
            total += summary
        return total

    def ordered(self) -> list[tuple[str, Summary]]:
        """Return the groups: days by date, others in order of appearance."""
        items = list(self.groups.items())
        return sorted(items, key=lambda item: item[0]) if self.by == "day" else items

    def _key(self, record: Mapping[str, Json]) -> str:
        if self.by == "day":
            return _text(record.get("time"))[:10]
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


def group(records: Iterable[Mapping[str, Json]], by: By) -> Groups:
    """Sum the receipts of a ledger in groups."""
    groups = Groups(by=by)
    for record in records:
        groups.add(record)
    return groups
