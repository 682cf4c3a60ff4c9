"""Prompt templates: plain data files with literal `{{name}}` placeholders.

A template file is TOML with `id`, `version`, `text`, and optionally `system` (the instructions,
which are the same for every question, so that a provider can cache them), `item` (one passage: what
is kept of a document) and `separator` (between items). Earlier turns are messages in their roles; a
template whose `text` holds `{{history}}` has them there instead, each rendered by `turn`. Nothing
in a file is ever executed, and nothing in a document, a question or a turn is ever taken for a
placeholder. A `prompts.lock` beside the file pins the SHA-256 of each `id@version`.
"""

from __future__ import annotations

import functools
import itertools
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ragkit.errors import TemplateError
from ragkit.narrowing import is_object
from ragkit.text.jsontext import read_json, read_toml
from ragkit.text.passages import passage_text, passages
from ragkit.types import ContextItem, Message, Prompt, TokenCounter, Turn

LOCK_NAME = "prompts.lock"
BUNDLED = Path(__file__).parent / "data" / "templates"

ABSTENTION = "NO_ANSWER"
"""What a model is asked to write, in any language, where the text does not answer a question."""

_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
_VARIABLES = {
    "text": {"context", "question", "history", "boundary", "abstention"},
    "system": {"boundary", "abstention"},
    "item": {"n", "text", "title"},
    "separator": set[str](),
    "turn": {"role", "content"},
}
_DEFAULTS = {
    "system": "",
    "item": "{{text}}",
    "separator": "\n\n",
    "turn": "{{role}}: {{content}}\n",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A prompt template. `sha256` is that of the file's bytes."""

    id: str
    version: str
    sha256: str
    text: str
    system: str = ""
    item: str = field(default=_DEFAULTS["item"])
    separator: str = field(default=_DEFAULTS["separator"])
    turn: str = field(default=_DEFAULTS["turn"])

    @property
    def numbers_items(self) -> bool:
        """Whether items carry a label that an answer can cite."""
        return "{{n}}" in self.item

    @property
    def asks_to_abstain(self) -> bool:
        """Whether the model is told what to write where the text does not answer."""
        return self._uses("abstention")

    def _uses(self, placeholder: str) -> bool:
        return f"{{{{{placeholder}}}}}" in f"{self.system}{self.text}"

    def render(
        self,
        question: str,
        context: Sequence[ContextItem],
        history: Sequence[Turn] = (),
    ) -> Prompt:
        """Return the exact messages to send; a passage is one item, its items carry its label.

        Raises:
            ConfigError: the template has a boundary, and the key to it cannot be used.
        """
        if self.numbers_items:
            labels = item_labels(context, history)
            context = [replace(i, label=n) for i, n in zip(context, labels, strict=True)]
        fixed, clean = {"abstention": ABSTENTION}, _as_it_is
        if self._uses("boundary"):
            from ragkit.boundary import boundary, without

            fixed["boundary"] = line = boundary(self.id)
            clean = functools.partial(without, line)
        pieces = [
            _fill(
                self.item,
                {
                    "n": str(items[0].label),
                    "text": clean(passage_text(items)),
                    "title": clean(items[0].hit.title),
                },
            )
            for items in passages(context)
        ]
        turns = [replace(turn, content=clean(turn.content)) for turn in history]
        values = {
            **fixed,
            "question": clean(question),
            "context": self.separator.join(pieces),
            "history": self._inline(turns),
        }
        messages: list[Message] = []
        if self.system:
            system = _fill(self.system, fixed)
            messages.append(Message(role="system", content=system, trusted=True))
        if not self._has_inline_turns:
            messages += [Message(role=turn.role, content=turn.content) for turn in turns]
        messages.append(Message(role="user", content=_fill(self.text, values)))
        return Prompt(
            messages=tuple(messages),
            question=question,
            context=tuple(context),
            history=tuple(history),
        )

    @property
    def _has_inline_turns(self) -> bool:
        return "{{history}}" in self.text

    def _inline(self, history: Sequence[Turn]) -> str:
        """Return earlier turns as text, where a new line of a turn cannot pass for a turn."""
        return "".join(
            _fill(self.turn, {"role": turn.role, "content": turn.content.replace("\n", "\n  ")})
            for turn in history
        )

    def render_turns(self, history: Sequence[Turn]) -> str:
        """Return earlier turns with their roles and separators, as they are counted."""
        if self._has_inline_turns:
            return self._inline(history)
        return turns_text(history)

    def overhead_tokens(self, counter: TokenCounter) -> int:
        """Return the tokens of the prompt without context, question and history."""
        return counter.count(self.render("", ()).text)


def turns_text(history: Sequence[Turn]) -> str:
    """Return turns that are sent as messages with their roles and separators, to be counted."""
    return "".join(f"{turn.role}\n{turn.content}\n\n" for turn in history)


def is_abstention(text: str) -> bool:
    """Whether an answer says that the text does not answer the question.

    It is the marker, however it is marked up, or begins with it and goes on to explain.
    """
    bare = text.strip(_MARKUP)
    if bare.upper().replace(" ", "_") == ABSTENTION:
        return True
    after = bare[len(ABSTENTION) :]
    return bare.startswith(ABSTENTION) and after.lstrip(" *_`")[:1] in set("\n.,:;-–—(")


def may_become_abstention(text: str) -> bool:
    """Whether an answer that begins like this may still turn out to be an abstention."""
    begun = text.lstrip(_MARKUP)[: len(ABSTENTION)]
    return ABSTENTION.startswith(begun.upper().replace(" ", "_"))


_MARKUP = " \t\r\n*_\"'`.!()[]<>#"

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
        system=strings["system"].strip(),
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
        if key == "system" and is_object(value):
            value = value.get("text")  # [system] as a table
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


def _as_it_is(text: str) -> str:
    return text
