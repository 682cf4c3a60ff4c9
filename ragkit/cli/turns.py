"""The turns of a conversation, and the file that keeps them where the user wants one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ragkit.cli import output
from ragkit.cli.options import read_history
from ragkit.errors import ConfigError
from ragkit.pipeline.history import read_turns
from ragkit.private import make_file, replace_file


class Turns:
    """What was said, oldest first.

    Args:
        path: File that holds a conversation to go on with, or is to be made; it is written after
            each answer. None keeps nothing.

    Raises:
        ConfigError: the file cannot be read or made, or holds no conversation.
    """

    def __init__(self, path: str | None) -> None:
        self._path = None if path is None else Path(path)
        self.said: list[Mapping[str, str]] = []
        if self._path is None:
            return
        if self._path.exists() and self._path.stat().st_size:
            turns = read_turns(read_history(path))
            self.said = [{"role": turn.role, "content": turn.content} for turn in turns]
        else:
            try:
                make_file(self._path)
            except OSError as error:
                raise ConfigError(f"history {path} cannot be written: {error}") from error

    def add(self, question: str, answer: str) -> None:
        """Add a question and its answer, as far as it came; nothing where none came."""
        if not answer:
            return
        self.said.append({"role": "user", "content": question})
        self.said.append({"role": "assistant", "content": answer})
        if self._path is not None:
            # A model may say half of a surrogate pair, which no file can hold.
            text = json.dumps(self.said, ensure_ascii=False, indent=1) + "\n"
            try:
                replace_file(self._path, text.encode(errors="replace"))
            except OSError as error:
                output.tell(f"history {self._path} could not be written: {error}")

    def forget(self) -> None:
        """Begin anew; the file is replaced by the next answer."""
        self.said = []
