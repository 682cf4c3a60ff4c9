"""Charts and diagrams of office documents: their data, as tables and lists."""

from __future__ import annotations

from dataclasses import dataclass, field

from ragkit.loading.loaded import Allowance, clean
from ragkit.loading.numbers import shown_number
from ragkit.loading.xml_parts import XmlPart

_ROLES = {"tx": "name", "cat": "names", "xVal": "names", "val": "values", "yVal": "values"}
_MAX_POINTS = 100_000


@dataclass(slots=True)
class _Series:
    name: str = ""
    names: dict[int, str] = field(default_factory=dict[int, str])
    values: dict[int, str] = field(default_factory=dict[int, str])


class Chart(XmlPart):
    """The titles of a chart and its series, a column each."""

    def __init__(self, allowance: Allowance) -> None:
        super().__init__()
        self._allowance = allowance
        self._titles: list[list[str]] = []
        self._series: list[_Series] = []
        self._role = ""
        self._index = 0
        self._text: list[str] | None = None
        self._in_title = False

    def enter(self, name: str, attributes: dict[str, str]) -> None:
        """Take an element's start."""
        if name == "ser":
            self._series.append(_Series())
        elif name == "title":
            self._in_title = True
            self._titles.append([])
        elif name in _ROLES and self._series and not self._in_title:
            self._role = _ROLES[name]
        elif name == "pt":
            index = attributes.get("idx", "")
            is_index = index.isascii() and index.isdecimal() and len(index) < 7
            self._index = int(index) if is_index else 0
        elif (name == "v" and self._role) or (name == "t" and self._in_title):
            self._text = []

    def leave(self, name: str) -> None:
        """Take an element's end."""
        if name == "title":
            self._in_title = False
        elif name in _ROLES:
            self._role = ""
        elif self._text is not None and name in {"v", "t"}:
            text, self._text = " ".join(clean("".join(self._text)).split()), None
            self._take(text)

    def data(self, text: str) -> None:
        """Take characters."""
        if self._text is not None:
            self._text.append(text)

    def _take(self, text: str) -> None:
        if self._in_title:
            self._titles[-1].append(text)
            return
        series = self._series[-1]
        if self._role == "name":
            series.name = text
        elif self._role == "names" and len(series.names) < _MAX_POINTS:
            series.names[self._index] = shown_number(text)
        elif self._role == "values":
            series.values[self._index] = shown_number(text)

    @property
    def caption(self) -> str:
        """The titles of the chart and its axes."""
        titles = (" ".join(pieces) for pieces in self._titles)
        return ", ".join(title for title in titles if title.strip())

    def rows(self) -> list[list[str]]:
        """Return a row for each point of the categories, below the names of the series."""
        if not self._series:
            return []
        names: dict[int, str] = {}
        for series in self._series:
            for index in series.values:
                names.setdefault(index, "")
            names.update(series.names)
        rows = [["", *(series.name for series in self._series)]]
        for index in sorted(names):
            if not self._allowance.take(" " * len(self._series)):
                break
            values = (series.values.get(index, "") for series in self._series)
            rows.append([names[index], *values])
        return rows


class Diagram(XmlPart):
    """The texts of a diagram's points in order, each in pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[list[str]] = []
        self._in_text = False

    def enter(self, name: str, attributes: dict[str, str]) -> None:  # noqa: ARG002 (one signature)
        """Take an element's start."""
        if name in {"pt", "p"} and (not self.points or self.points[-1]):
            self.points.append([])
        self._in_text = name == "t" and bool(self.points)

    def leave(self, name: str) -> None:
        """Take an element's end."""
        self._in_text &= name != "t"

    def data(self, text: str) -> None:
        """Take characters."""
        if self._in_text:
            self.points[-1].append(text)
