"""Prompt templates: plain data files with literal `{{name}}` placeholders.

A template file is TOML with `id`, `version`, `text`, and optionally `item` (one passage: what is
kept of a document), `separator` (between items) and `turn` (one earlier turn). Nothing in it is
ever executed, and nothing in a document, a question or a turn is ever taken for a placeholder. A
`prompts.lock` beside the file pins the SHA-256 of each `id@version`.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ragkit.errors import TemplateError
from ragkit.narrowing import is_object
from ragkit.text.jsontext import read_json, read_toml
from ragkit.text.passages import passage_text, passages
from ragkit.types import ContextItem, Prompt, TokenCounter, Turn

LOCK_NAME = "prompts.lock"
BUNDLED = Path(__file__).parent / "data" / "templates"

_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
_VARIABLES = {
    "text": {"context", "question", "history", "boundary"},
    "item": {"n", "text", "title"},
    "separator": set[str](),
    "turn": {"role", "content"},
}
_DEFAULTS = {"item": "{{text}}", "separator": "\n\n", "turn": "{{role}}: {{content}}\n"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A prompt template. `sha256` is that of the file's bytes."""

    id: str
    version: str
    sha256: str
    text: str
    item: str = field(default=_DEFAULTS["item"])
    separator: str = field(default=_DEFAULTS["separator"])
    turn: str = field(default=_DEFAULTS["turn"])

    @property
    def numbers_items(self) -> bool:
        """Whether items carry a label that an answer can cite."""
        return "{{n}}" in self.item

    def render(
        self,
        question: str,
        context: Sequence[ContextItem],
        history: Sequence[Turn] = (),
    ) -> Prompt:
        """Return the exact text to send; a passage is one item, and its items carry its label."""
        if self.numbers_items:
            labels = item_labels(context, history)
            context = [replace(i, label=n) for i, n in zip(context, labels, strict=True)]
        pieces = [
            _fill(
                self.item,
                {
                    "n": str(items[0].label),
                    "text": passage_text(items),
                    "title": items[0].hit.title,
                },
            )
            for items in passages(context)
        ]
        values = {
            "question": question,
            "context": self.separator.join(pieces),
            "history": self.render_turns(history),
        }
        if "{{boundary}}" in self.text:
            values["boundary"] = _boundary(values.values())
        return Prompt(
            text=_fill(self.text, values),
            question=question,
            context=tuple(context),
            history=tuple(history),
        )

    def render_turns(self, history: Sequence[Turn]) -> str:
        """Return earlier turns as they appear in the prompt, with roles and separators."""
        return "".join(
            _fill(self.turn, {"role": turn.role, "content": turn.content}) for turn in history
        )

    def overhead_tokens(self, counter: TokenCounter) -> int:
        """Return the tokens of the prompt without context, question and history."""
        return counter.count(self.render("", ()).text)


_BRACKETED = re.compile(r"[\[［【〔]([^\[\]［］【】〔〕]{1,40})[\]］】〕]")
_LABEL_NUMBER = re.compile(r"\d{1,6}")


def item_labels(context: Sequence[ContextItem], history: Sequence[Turn] = ()) -> list[int]:
    """Return the number that labels each item: from 1 up, skipping those in the prompt already.

    All items of a passage have its label. Numbers that a passage, a title or an earlier turn itself
    has in brackets are skipped, so that no passage can pass for another one.
    """
    found = list(passages(context))
    texts = [f"{items[0].hit.title}\n{passage_text(items)}" for items in found]
    held = {
        int(number)
        for text in (*texts, *(turn.content for turn in history))
        for bracketed in _BRACKETED.findall(text)
        for number in _LABEL_NUMBER.findall(bracketed)
    }
    free = (n for n in itertools.count(1) if n not in held)
    return [n for n, items in zip(free, found, strict=False) for _ in items]


def load_template(name_or_path: str) -> Template:
    """Load a bundled template by its name (`default`, `guarded`) or a template file by its path.

    Raises:
        TemplateError: the file is missing, malformed, uses an unknown placeholder, lacks
            `{{question}}` or `{{context}}`, or differs from what its lock file pins.
    """
    path = Path(name_or_path)
    if re.fullmatch(r"[a-z]+", name_or_path) and (BUNDLED / f"{name_or_path}.toml").exists():
        path = BUNDLED / f"{name_or_path}.toml"
    template = _read(path)
    pinned = _read_lock(path.parent / LOCK_NAME)
    expected = pinned.get(f"{template.id}@{template.version}")
    if expected is not None and expected != template.sha256:
        raise TemplateError(
            f"template {path}: its content changed but its version is still {template.version}. "
            f"Raise the version, or run: ragkit template {shlex.quote(str(path))} --lock"
        )
    return template


def lock_template(path: Path) -> Template:
    """Pin the template's content in the lock file beside it, replacing any earlier pin."""
    import json

    template = _read(path)
    lock = path.parent / LOCK_NAME
    pinned = {**_read_lock(lock), f"{template.id}@{template.version}": template.sha256}
    temporary = lock.with_suffix(".lock.tmp")
    temporary.write_text(json.dumps(pinned, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(lock)
    return template


def _read(path: Path) -> Template:
    import hashlib

    try:
        raw = path.read_bytes()
        data = read_toml(raw)
    except FileNotFoundError:
        bundled = ", ".join(sorted(p.stem for p in BUNDLED.glob("*.toml")))
        raise TemplateError(
            f"template {path} does not exist; bundled templates: {bundled}"
        ) from None
    except (OSError, ValueError) as error:
        raise TemplateError(f"template {path} cannot be read: {error}") from error
    strings = _strings(path, data)
    if "{{question}}" not in strings["text"] or "{{context}}" not in strings["text"]:
        raise TemplateError(f"template {path}: text must hold {{{{question}}}} and {{{{context}}}}")
    return Template(
        id=strings["id"],
        version=strings["version"],
        sha256=hashlib.sha256(raw).hexdigest(),
        text=strings["text"].removeprefix("\n"),
        item=strings["item"],
        separator=strings["separator"],
        turn=strings["turn"],
    )


def _strings(path: Path, data: Mapping[str, object]) -> dict[str, str]:
    allowed = {"id", "version", *_VARIABLES}
    unknown = sorted(set(data) - allowed)
    if unknown:
        raise TemplateError(f"template {path}: unknown key {unknown[0]!r}; allowed: {allowed}")
    strings = dict(_DEFAULTS)
    for key in ("id", "version", *_VARIABLES):
        value = data.get(key, strings.get(key))
        if not isinstance(value, str):
            raise TemplateError(f"template {path}: {key!r} must be given as text")
        strings[key] = value
        for name in _PLACEHOLDER.findall(value):
            if name not in _VARIABLES.get(key, ()):
                raise TemplateError(f"template {path}: unknown placeholder {name!r} in {key!r}")
    return strings


def _read_lock(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        data = read_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise TemplateError(f"lock file {path} cannot be read: {error}") from error
    if not is_object(data):
        raise TemplateError(f"lock file {path} must be a JSON object")
    return {key: str(value) for key, value in data.items()}


def _fill(template: str, values: Mapping[str, str]) -> str:
    """Replace in one pass, so that a value is never searched for placeholders."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], ""), template)


def _boundary(texts: Sequence[str] | object) -> str:
    """Draw a random boundary that is in none of the texts: no passage can close its quotation."""
    import base64

    held = "\n".join(texts)  # type: ignore[arg-type]
    while True:
        boundary = f"#{base64.b32encode(os.urandom(5)).decode()}"
        if boundary not in held:
            return boundary
