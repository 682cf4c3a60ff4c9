"""Write the reference part of docs/library.md from signatures and docstrings.

python tools/make_library_docs.py

What stands above the mark is written by hand and kept.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
import tomllib
from argparse import SUPPRESS
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Literal, cast, get_args, get_origin, is_typeddict

from ragkit import Settings
from ragkit.cli.parser import make_parsers

PAGE = Path(__file__).parent.parent / "docs" / "library.md"
MARK = "<!-- Written by tools/make_library_docs.py: edit the docstrings instead. -->\n"

PACKAGES = ("ragkit", "ragkit_connectors", "ragkit_eval")
INTERNAL = {"before_fork", "after_fork_in_parent", "after_fork_in_child"}
"""Methods that are public to other modules of the package, not to its users."""

FIELDS: dict[str, dict[str, str]] = tomllib.loads(
    Path(__file__).with_name("library_fields.toml").read_text(encoding="utf-8")
)
"""What docstrings do not say of parameters, by class or function."""

LONGEST_DEFAULT = 60

_SECTION = re.compile(r"(Args|Attributes|Returns|Yields|Raises):\n((?:    .*\n|\n)+)")
_ENTRY = re.compile(r"^    (\*{0,2}\w+(?: \([^)]*\))?): ", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Doc:
    """A docstring in parts; `parameters` and `errors` map names to what is said of them."""

    prose: str
    parameters: dict[str, str]
    returns: str
    errors: dict[str, str]


def read_doc(thing: object) -> Doc:
    """Read a docstring in Google's style."""
    text = (inspect.getdoc(thing) or "") + "\n"
    sections = {match[1]: textwrap.dedent(match[2]) for match in _SECTION.finditer(text)}
    return Doc(
        prose=re.sub(r"\n{3,}", "\n\n", _SECTION.sub("\n", text)).strip(),
        parameters=_entries(sections.get("Args", "") + sections.get("Attributes", "")),
        returns=_one_line(sections.get("Returns", sections.get("Yields", ""))),
        errors=_entries(sections.get("Raises", "")),
    )


def _entries(section: str) -> dict[str, str]:
    parts = _ENTRY.split(textwrap.indent(section, "    "))[1:]
    return {
        name.lstrip("*"): _one_line(said) for name, said in zip(*[iter(parts)] * 2, strict=True)
    }


def _one_line(text: str) -> str:
    return " ".join(text.split())


# --- signatures -------------------------------------------------------------------------------


def resolve(name: str, module: ModuleType) -> object:
    """Return what a name in an annotation means, also where only type checkers import it."""
    if hasattr(module, name):
        return getattr(module, name)
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return getattr(importlib.import_module(node.module), alias.name, None)
    return None


def module_of(thing: object) -> ModuleType:
    """Return the module whose names the annotations of a class or function use."""
    plain = inspect.unwrap(thing) if callable(thing) else thing
    return importlib.import_module(plain.__module__)


def parameters(thing: Callable[..., object]) -> list[inspect.Parameter]:
    """Return the parameters; the keys of an unpacked TypedDict count as keywords of their own."""
    found: list[inspect.Parameter] = []
    for parameter in inspect.signature(thing).parameters.values():
        options = unpacked(parameter, thing)
        if options is None:
            found.append(parameter)
            continue
        if not any(p.kind in {p.KEYWORD_ONLY, p.VAR_POSITIONAL} for p in found):
            found.append(inspect.Parameter("_", inspect.Parameter.VAR_POSITIONAL))
        found += [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=_annotation(annotation),
                default=...,
            )
            for name, annotation in options.__annotations__.items()
        ]
    return [p for p in found if p.name not in {"self", "cls"}]


def unpacked(parameter: inspect.Parameter, thing: object) -> type | None:
    """Return the TypedDict that `**options: Unpack[…]` names, or None."""
    match = re.fullmatch(r"(?:\w+\.)?Unpack\[(\w+)\]", _annotation(parameter.annotation))
    if parameter.kind is not inspect.Parameter.VAR_KEYWORD or match is None:
        return None
    options = resolve(match[1], module_of(thing))
    if not is_typeddict(options):
        raise TypeError(f"{thing}: {match[1]} is not a TypedDict that can be found")
    return cast("type", options)


def _annotation(annotation: object) -> str:
    if isinstance(annotation, str):
        return annotation
    forward = getattr(annotation, "__forward_arg__", None)
    return forward if isinstance(forward, str) else inspect.formatannotation(annotation)


def default_text(parameter: inspect.Parameter, thing: object) -> str | None:
    """Return a default as a reader would write it; None where there is none."""
    default: object = parameter.default
    if default is inspect.Parameter.empty:
        return None
    if default is ...:
        return "..."
    if dataclasses.is_dataclass(thing) and type(default).__name__ == "_HAS_DEFAULT_FACTORY_CLASS":
        made = next(f for f in dataclasses.fields(thing) if f.name == parameter.name)
        default = cast("Callable[[], object]", made.default_factory)()
    text = repr(default)
    if " at 0x" in text:
        text = f"{type(default).__name__}()"
    if len(text) > LONGEST_DEFAULT and isinstance(default, Sequence):
        values = cast("Sequence[object]", default)
        text = f"({values[0]!r}, {values[1]!r}, …, {values[-1]!r})"
    return text.replace("'", '"')


def signature(name: str, thing: Callable[..., object]) -> str:
    """Return a signature, one parameter per line where it is long."""
    parts: list[str] = []
    keyword_only = False
    for parameter in parameters(thing):
        if parameter.name == "_":
            keyword_only = True
            parts.append("*")
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            parts.append("*")
        keyword_only |= parameter.kind is parameter.VAR_POSITIONAL
        stars = "*" * (
            (parameter.kind is parameter.VAR_POSITIONAL)
            + 2 * (parameter.kind is parameter.VAR_KEYWORD)
        )
        part = f"{stars}{parameter.name}"
        if parameter.annotation is not parameter.empty:
            part += f": {_annotation(parameter.annotation)}"
        default = default_text(parameter, thing)
        parts.append(part if default is None else f"{part} = {default}")
    returned = inspect.signature(thing).return_annotation
    end = "" if inspect.isclass(thing) or returned is inspect.Signature.empty else (
        f" -> {_annotation(returned)}"
    )  # fmt: skip
    short = f"{name}({', '.join(parts)}){end}"
    if len(short) <= 96:
        return short
    lines = "".join(f"    {part},\n" for part in parts)
    return f"{name}(\n{lines}){end}"


# --- what is said ------------------------------------------------------------------------------


def said_of_fields(thing: object) -> dict[str, str]:
    """Return the strings below the fields of a class, its bases' included."""
    if not inspect.isclass(thing):
        return {}
    tree = ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]
    assert isinstance(tree, ast.ClassDef)  # noqa: S101 (for type checkers)
    said: dict[str, str] = {}
    for base in tree.bases:
        found = resolve(base.id, module_of(thing)) if isinstance(base, ast.Name) else None
        if inspect.isclass(found) and found.__module__.startswith("ragkit"):
            said |= said_of_fields(found)
    said |= read_doc(thing).parameters
    for field, comment in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            value = comment.value if isinstance(comment, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                said[field.target.id] = _one_line(value.value)
    return said


def said_of_options() -> dict[str, str]:
    """Return the command line's help by the name of the setting that an option sets."""
    said: dict[str, str] = {}
    for command in make_parsers()[1].values():
        for action in command._actions:  # pyright: ignore[reportPrivateUsage] (no public list)
            if action.help and action.help != SUPPRESS:
                said.setdefault(action.dest, action.help)
    return said


def said_of_parameters(title: str, thing: Callable[..., object]) -> dict[str, str]:
    """Return what is said of each parameter: in the docstring, at fields, at options' keys.

    What none of them says, the table of fields does.
    """
    doc = inspect.getdoc(thing) or ""
    common = {} if inspect.isclass(thing) else FIELDS["common"]
    said = {n: text for n, text in common.items() if f"`{n}`" not in doc}
    said |= FIELDS.get(title, {}) | said_of_fields(thing)
    for parameter in inspect.signature(thing).parameters.values():
        said |= said_of_fields(unpacked(parameter, thing))
    said |= read_doc(thing).parameters
    if thing is Settings:
        said = {**said_of_options(), **said}
    names = [p.name for p in parameters(thing)]
    return {name: said[name] for name in names if name in said}


def entry(title: str, name: str, thing: Callable[..., object], *, level: int) -> str:
    """Return the section of one callable."""
    doc = read_doc(thing)
    lines = [f"{'#' * level} `{title}`", "", "```text", signature(name, thing), "```", ""]
    if doc.prose:
        lines += [doc.prose, ""]
    said = said_of_parameters(title, thing)
    lines += [f"- `{parameter}`: {text}" for parameter, text in said.items()]
    lines += [""] if said else []
    if doc.returns:
        lines += [f"Returns: {doc.returns}", ""]
    if doc.errors:
        lines += ["Raises:", "", *(f"- `{name}`: {text}" for name, text in doc.errors.items()), ""]
    return "\n".join(lines)


def public_members(thing: type) -> dict[str, object]:
    """Return what ragkit defines in a class, in the order of the code."""
    names = [
        name
        for owner in thing.__mro__
        if owner.__module__.startswith("ragkit")
        for name in vars(owner)
        if not name.startswith("_") and name not in INTERNAL
    ]
    return {name: inspect.getattr_static(thing, name) for name in dict.fromkeys(names)}


def methods(thing: type) -> dict[str, Callable[..., object]]:
    """Return the public methods, class methods bound."""
    kinds = (FunctionType, classmethod, staticmethod)
    found = public_members(thing)
    return {name: getattr(thing, name) for name, value in found.items() if isinstance(value, kinds)}


def properties(thing: type) -> dict[str, property]:
    """Return the public properties."""
    found = public_members(thing)
    return {name: value for name, value in found.items() if isinstance(value, property)}


def class_entry(name: str, thing: type) -> str:
    """Return the section of a class: constructor, properties, methods."""
    parts = [entry(name, name, thing, level=3)]
    for member, value in properties(thing).items():
        returned = _annotation(inspect.signature(value.fget or len).return_annotation)
        prose = _one_line(read_doc(value).prose)
        parts.append(f"Property `{member}: {returned}`: {prose}\n")
    for member, method in methods(thing).items():
        title = f"{name}.{member}"
        original = inspect.unwrap(method).__name__
        if original == member:
            parts.append(entry(title, member, method, level=4))
        else:
            parts.append(f"#### `{title}`\n\nAnother name for `{name}.{original}`.\n")
    return "\n".join(parts)


# --- names in signatures -----------------------------------------------------------------------


def names_used(things: list[Callable[..., object]], public: set[str]) -> list[str]:
    """Return a row for each class and alias of ragkit that signatures name, in order."""
    rows: set[str] = set()
    for thing in things:
        texts = [_annotation(p.annotation) for p in parameters(thing)]
        texts.append(_annotation(inspect.signature(thing).return_annotation))
        for name in re.findall(r"\b[A-Z]\w+", " ".join(texts)):
            value = resolve(name, module_of(thing))
            home = getattr(value, "__module__", "")
            is_ours = get_origin(value) is Literal or str(home).startswith("ragkit")
            if is_ours and name not in public:
                rows.add(name_row(name, value))
    return sorted(rows)


def name_row(name: str, value: object) -> str:
    """Return the row of a name: its home and what it is, or the values that it allows."""
    if get_origin(value) is Literal:
        return f"| `{name}` | one of {' '.join(f'`{v}`' for v in get_args(value))} |"
    first = _one_line(read_doc(value).prose.split("\n\n")[0]).replace("|", "\\|")
    return f"| `{name}` | `{getattr(value, '__module__', '')}`: {first} |"


def make_reference() -> str:
    """Return the part of the page below the mark."""
    parts: list[str] = []
    things: list[Callable[..., object]] = []
    public: set[str] = set()
    for package in PACKAGES:
        module = importlib.import_module(package)
        names: list[str] = [name for name in module.__all__ if not name.startswith("__")]
        parts.append(f"## `{package}`\n")
        for name in names:
            thing = getattr(module, name)
            public.add(name)
            things.append(thing)
            if inspect.isclass(thing):
                parts.append(class_entry(name, thing))
                things += methods(thing).values()
            else:
                parts.append(entry(name, name, thing, level=3))
    parts.append("## Other names in these signatures\n\n| name | where and what |\n|---|---|")
    return "\n".join([*parts, *names_used(things, public)]) + "\n"


def main() -> None:
    """Write the page."""
    head = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    PAGE.write_text(f"{head}{MARK}\n{make_reference()}", encoding="utf-8")


if __name__ == "__main__":
    main()
