"""Every regular expression of the packages takes time that grows with its text, and no faster."""

from __future__ import annotations

import ast
import functools
import importlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest

from .ambiguity import ambiguities

ROOT = Path(__file__).parents[1]
PACKAGES = (
    ROOT / "ragkit",
    ROOT / "connectors" / "ragkit_connectors",
    ROOT / "eval" / "ragkit_eval",
)
ANCHORED = frozenset({"match", "fullmatch", "pattern", "flags"})
SEARCHING = frozenset({"search", "sub", "subn", "split", "findall", "finditer"})


@dataclass(frozen=True)
class Use:
    """A pattern, where it stands, and the methods that are called with it."""

    place: str
    pattern: re.Pattern[str] | re.Pattern[bytes]
    methods: frozenset[str]

    def ambiguities(self) -> set[str]:
        """Return what makes it slow in the way that it is used."""
        scans = not self.methods or not self.methods <= ANCHORED
        return ambiguities(self.pattern, scans=scans, whole="fullmatch" in self.methods)


@functools.lru_cache(maxsize=1)
def uses() -> tuple[Use, ...]:
    """Return every pattern of the packages."""
    sources = {path: path.read_text("utf-8") for package in PACKAGES
               for path in sorted(package.rglob("*.py"))}  # fmt: skip
    methods: dict[str, set[str]] = defaultdict(set)
    for source in sources.values():
        for name, method in re.findall(r"\b(_*[A-Z]\w*)\.(\w+)", source):
            methods[name].add(method)
    return tuple(use for path, source in sources.items() if "import re\n" in source
                 for use in _of_module(path, source, methods))  # fmt: skip


def _of_module(path: Path, source: str, methods: Mapping[str, set[str]]) -> Iterator[Use]:
    package = next(package for package in PACKAGES if path.is_relative_to(package))
    module = importlib.import_module(
        ".".join(path.relative_to(package.parent).with_suffix("").parts)
    )
    for name, value in vars(module).items():
        for pattern in _patterns_in(value):
            yield Use(f"{path.name}:{name}", pattern, frozenset(methods[name]))
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef):
            yield from _of_function(path, function, module)


def _patterns_in(value: object) -> Iterator[re.Pattern[str] | re.Pattern[bytes]]:
    if isinstance(value, re.Pattern):
        yield cast("re.Pattern[str]", value)
    elif isinstance(value, dict):
        yield from _patterns_in(list(cast("dict[object, object]", value).values()))
    elif isinstance(value, list | tuple):
        for inner in cast("Iterable[object]", value):
            yield from _patterns_in(inner)


def _of_function(path: Path, function: ast.FunctionDef, module: ModuleType) -> Iterator[Use]:
    for call in ast.walk(function):
        if not (isinstance(call, ast.Call) and _is_of_re(call.func)):
            continue
        method = cast("ast.Attribute", call.func).attr
        flags = 0
        for node in ast.walk(call):
            if _is_of_re(node) and cast("ast.Attribute", node).attr.isupper():
                flags |= int(getattr(re, cast("ast.Attribute", node).attr))
        if method in ANCHORED | SEARCHING | {"compile"}:
            pattern = re.compile(str(_value(call.args[0], function, module)), flags)
            yield Use(f"{path.name}:{function.name}", pattern, frozenset({method} - {"compile"}))


def _is_of_re(node: ast.AST) -> bool:
    is_attribute = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    return is_attribute and cast("ast.Name", cast("ast.Attribute", node).value).id == "re"


def _value(node: ast.expr, function: ast.FunctionDef, module: ModuleType) -> object:
    """Return what an expression gives; what `re.escape` lets through is as good as `x`."""
    found: object = None
    if isinstance(node, ast.Constant):
        found = node.value
    elif isinstance(node, ast.JoinedStr):
        parts = (v.value if isinstance(v, ast.FormattedValue) else v for v in node.values)
        found = "".join(str(_value(part, function, module)) for part in parts)
    elif isinstance(node, ast.Attribute):
        found = getattr(_value(node.value, function, module), node.attr)
    elif isinstance(node, ast.Call) and _is_of_re(node.func):
        assert ast.unparse(node.func) == "re.escape"
        found = "x"
    elif isinstance(node, ast.Call):
        found = cast("Callable[[], object]", _value(node.func, function, module))()
    elif isinstance(node, ast.Name):
        lines = [line for line in ast.walk(function) if isinstance(line, ast.Assign)]
        made = [line.value for line in lines if ast.unparse(line.targets[0]) == node.id]
        found = _value(made[0], function, module) if made else getattr(module, node.id)
    assert found is not None, f"{module.__name__}: pattern {ast.unparse(node)} cannot be told"
    return found


LINEAR = {
    # What the first alternative has read in vain the second one takes at once.
    "texts.py:_WORDS": "1.5, 2 b",
    # A full stop of this width ends a sentence unless a digit follows, and then none follows it.
    "sentences.py:_STOPS": '．.1\u3002"',
    # White space is looked at only directly behind a sign that ends a sentence.
    "understanding.py:_NEXT": "ab. ?A",
}
"""Patterns that the check takes for slow, with characters of every kind that they tell apart."""


def test_no_pattern_is_ambiguous() -> None:
    """No text makes a pattern look at its characters again and again."""
    slow = {use.place: found for use in uses() if (found := use.ambiguities())}
    assert slow.keys() == LINEAR.keys()
    assert len(uses()) > 80, "the patterns were not found"


def test_patterns_come_by_one_way() -> None:
    """What is imported from `re`, or under another name, would not be found."""
    for package in PACKAGES:
        for path in package.rglob("*.py"):
            text = path.read_text("utf-8")
            assert not re.search(r"from re import|import re as|import regex", text), path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (r"(a+)+b", "exponential"),
        (r"x(?:[a-z%]+|\s)*;", "exponential"),
        (r"(?:a|a)*b", "exponential"),
        (r"(?:a?a)*b", "exponential"),
        (r"(?:a{1,2})*b", "exponential"),
        (r"(?:\d+(?:[.,]\d*)*)*x", "exponential"),
        (r"^\s*-?\s*x", "polynomial"),
        (r"^a*?[ab]*c", "polynomial"),
        (r"^.*,.*,x", "polynomial"),
        (r"^(?>a*b?a*c)d", "polynomial"),
        (r"\s+$", "restart"),
        (r"\s++x", "restart"),
        (r"\([^)]*\)", "restart"),
        (r"exceed\w*.{0,30}context", "restart"),
    ],
)
def test_what_is_ambiguous_is_found(pattern: str, found: str) -> None:
    """The check knows each kind: a loop in a loop, one after another, and a search begun anew."""
    assert found in ambiguities(re.compile(pattern), scans=not pattern.startswith("^"), whole=False)


@pytest.mark.parametrize(
    "pattern",
    [r"\s+", r"^(?:a++)+b", r"\n[^\S\n]*\n", r"\d+(?:[.,]\d+)*", r"(?<![\w.])\d+m", r"^\s*+-?\s*+x",
     r"(?<=x)\s++y", r"<[a-z]*>"],
)  # fmt: skip
def test_what_is_not_ambiguous_passes(pattern: str) -> None:
    """Possessive repeats, loops over other characters and guarded beginnings are right."""
    assert not ambiguities(re.compile(pattern), scans=not pattern.startswith("^"), whole=False)
