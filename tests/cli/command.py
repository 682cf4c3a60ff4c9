"""Running the installed command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema

from ragkit.schemas import load_schema

RAGKIT = str(Path(sys.executable).with_name("ragkit"))


def run(
    *arguments: str, code: int = 0, stdin: str | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command and check its exit code."""
    result = subprocess.run(
        [RAGKIT, *arguments],
        check=False,
        capture_output=True,
        text=True,
        input=stdin,
        encoding="utf-8",
        env={**os.environ, **(env or {})},
        timeout=120,
    )
    assert result.returncode == code, result.stderr or result.stdout
    assert "Traceback" not in result.stderr
    return result


def valid(text: str, schema: str) -> dict[str, Any]:
    """Parse one JSON object and check it against its schema."""
    data: dict[str, Any] = json.loads(text)
    jsonschema.validate(data, load_schema(schema))
    return data
