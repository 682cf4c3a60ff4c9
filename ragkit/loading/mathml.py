"""Formulas of pages and articles (MathML Core; W3C) in a line: `E=mc^2`, `(a+b)/2`, `√x`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ragkit.loading.formulas import grouped
from ragkit.loading.markup import EndTag, StartTag, Token

MATHML = frozenset(
    "math mi mn mo ms mtext mspace mrow mstyle merror mpadded mphantom mfrac msqrt mroot msub msup "
    "msubsup munder mover munderover mmultiscripts mprescripts mtable mtr mlabeledtr mtd mfenced "
    "menclose maction semantics annotation annotation-xml".split()
)
_UNSHOWN = frozenset({"annotation", "annotation-xml", "mphantom", "mprescripts"})
_LEAVES = frozenset({"mi", "mn", "mo", "ms", "mtext"})
_UNSEEN = re.compile("[\u2061-\u2064]")
"""Operators that are meant and not shown, such as a product's."""
_MAX_OPEN = 20
"""Elements inside one another: the text of each is joined anew. No author nests deeper."""


def with_formulas(page: Iterable[Token], is_seen: Callable[[StartTag], bool]) -> Iterator[Token]:
    """Yield the texts and tags of a page, what stands in each `math` as one text.

    `is_seen` tells whether an element by itself is. A formula that is not ended ends where an
    element of HTML begins that cannot stand in it.
    """
    formula: _Formula | None = None
    for token in page:
        if formula is None:
            yield token
            if isinstance(token, StartTag) and token.name == "math":
                formula = _Formula(token.attributes.get("alttext", ""), is_seen)
            continue
        is_end = isinstance(token, EndTag) and token.name == "math"
        if is_end or (isinstance(token, StartTag) and not formula.takes(token.name)):
            yield formula.text()
            formula = None
            if not is_end:
                yield EndTag("math")
            yield token
        else:
            formula.add(token)
    if formula is not None:
        yield formula.text()


@dataclass(slots=True)
class _Open:
    name: str
    attributes: dict[str, str]
    is_shown: bool = True
    parts: list[str] = field(default_factory=list[str])


class _Formula:
    def __init__(self, instead: str, is_seen: Callable[[StartTag], bool]) -> None:
        self._instead = instead
        self._is_seen = is_seen
        self._open = [_Open("math", {})]
        self._n_deeper = 0

    def takes(self, name: str) -> bool:
        """Whether an element can stand here; in text and annotations, any can."""
        return name in MATHML or self._open[-1].name in {"mtext", "annotation-xml"}

    def add(self, token: Token) -> None:
        """Take what stands in the formula."""
        if isinstance(token, StartTag):
            if len(self._open) < _MAX_OPEN:
                is_shown = token.name not in _UNSHOWN and self._is_seen(token)
                self._open.append(_Open(token.name, token.attributes, is_shown))
            else:
                self._n_deeper += 1
        elif isinstance(token, EndTag):
            if self._n_deeper:
                self._n_deeper -= 1
            elif any(element.name == token.name for element in self._open[1:]):
                while self._end() != token.name:
                    pass
        elif self._open[-1].name in _LEAVES or token.strip():
            shown = " ".join(_UNSEEN.sub("", token).split())
            if self._open[-1].name in {"mtext", "ms"} and shown:
                before, after = token[:1].isspace(), token[-1:].isspace()
                shown = f"{' ' * before}{shown}{' ' * after}"
            self._open[-1].parts.append(shown)

    def text(self) -> str:
        """Return the formula in a line; what is written for it where it shows nothing."""
        while len(self._open) > 1:
            self._end()
        return "".join(self._open[0].parts) or self._instead

    def _end(self) -> str:
        ended = self._open.pop()
        if ended.is_shown:
            self._open[-1].parts.append(_written(ended.name, ended.parts, ended.attributes))
        return ended.name


def _written(name: str, parts: Sequence[str], attributes: Mapping[str, str]) -> str:
    """Return an element as it stands in a line."""
    if name in _POSITIONS:
        first, second, third = (*parts, "", "", "")[:3]
        return _POSITIONS[name](first, second, third)
    if name == "mfrac":
        over, under = (*parts, "", "")[:2]
        if attributes.get("linethickness", "").strip() in _NO_LINE:
            return f"{over} choose {under}"
        return f"{grouped(over)}/{grouped(under)}"
    if name == "mfenced":
        inner = f"{attributes.get('separators', ',').strip()[:1]} ".join(parts)
        return f"{attributes.get('open', '(')}{inner}{attributes.get('close', ')')}"
    text = _BETWEEN.get(name, "").join(parts)
    if name == "msqrt":
        return f"√{grouped(text)}"
    return " " if name == "mspace" else text


def _behind(sign: str, text: str) -> str:
    """Return what stands above or below; accents and bars, which are no letters, are left out."""
    is_read = any(c.isalnum() or c in "+-−*′∞∗†" for c in text)
    return sign + grouped(text) if is_read else ""


def _below(base: str, part: str, _: str) -> str:
    return base + _behind("_", part)


def _above(base: str, part: str, _: str) -> str:
    return base + _behind("^", part)


def _both(base: str, low: str, high: str) -> str:
    return base + _behind("_", low) + _behind("^", high)


_POSITIONS: Mapping[str, Callable[[str, str, str], str]] = {
    "msub": _below, "munder": _below, "msup": _above, "mover": _above,
    "msubsup": _both, "munderover": _both,
    "mroot": lambda base, degree, _: f"{grouped(degree)}√{grouped(base)}",
    "semantics": lambda shown, _, __: shown,
}  # fmt: skip
"""What elements are whose parts have a meaning by their order."""
_BETWEEN = {"mtable": "; ", "mtr": " ", "mlabeledtr": " "}
_NO_LINE = frozenset({"0", "0px", "0pt", "0em"})
