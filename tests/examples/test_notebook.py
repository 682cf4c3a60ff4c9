"""The notebook's code runs, and shows what a reader is to see."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest

from .services import EXAMPLES

pytestmark = pytest.mark.slow

NOTEBOOK = EXAMPLES / "07_notebook.ipynb"


def code_cells() -> list[str]:
    """Return the code of the notebook, cell by cell; no output is stored in it."""
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    return ["".join(cell["source"]) for cell in cells]


def test_the_code_runs() -> None:
    """All cells run, one after the other."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(code_cells())],
        cwd=EXAMPLES, check=False, capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "<Citation 'handbook.md' " in result.stdout
    assert "What does each further hour cost?" in result.stdout


@pytest.mark.skipif(
    find_spec("nbclient") is None or find_spec("ipykernel") is None,
    reason="needs nbclient and ipykernel: make test-examples",
)
@pytest.mark.filterwarnings("default")
def test_a_notebook_shows_answers() -> None:
    """A real kernel shows the answers as HTML, the follow-up and the refusal among them."""
    nbformat: Any = importlib.import_module("nbformat")
    nbclient: Any = importlib.import_module("nbclient")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(EXAMPLES)}}
    executed = nbclient.NotebookClient(notebook, resources=resources).execute()
    shown = [
        output["data"]["text/html"]
        for cell in executed["cells"]
        for output in cell.get("outputs", ())
        if "text/html" in output.get("data", {})
    ]
    assert len(shown) == 3
    assert "handbook.md" in shown[0]
    assert "No answer:" in shown[2]
