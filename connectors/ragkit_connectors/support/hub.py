"""Models of the Hugging Face Hub or of a folder: what a name means, and who may use the network."""

from __future__ import annotations

import os
from pathlib import Path

from ragkit.errors import ConfigError

_TRUE = frozenset({"1", "on", "true", "yes"})


def model_folder(what: str, name_or_path: str) -> Path | None:
    """Return the folder that is meant, None for a name on the Hub.

    Raises:
        ConfigError: a path was meant that leads nowhere; `what` says what wanted it.
    """
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    # A name on the Hub is `name` or `owner/name`, so anything else was meant as a path.
    if path.is_absolute() or name_or_path.startswith((".", "~")) or "\\" in name_or_path:
        raise ConfigError(f"{what} folder {name_or_path} does not exist")
    return None


def is_offline() -> bool:
    """Whether the environment keeps the Hub's libraries off the network (`HF_HUB_OFFLINE`)."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE
