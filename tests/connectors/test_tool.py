"""A function that agents can call; frameworks that are not installed say so."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
from pathlib import Path
from typing import get_type_hints

import pytest

from ragkit.errors import MissingExtraError
from ragkit_connectors.tool import NOTHING, asearch_tool, search_tool

from .framework_passages import ANSWER, FERRY, QUESTION, UNKNOWN, harbour


def test_an_agent_reads_it_off(tmp_path: Path) -> None:
    """Name, purpose and types are those of a plain function."""
    with harbour(tmp_path) as rag:
        tool = search_tool(rag, name="search_harbour", description="Search the harbour's notices.")
        assert tool.__name__ == "search_harbour"
        assert (inspect.getdoc(tool) or "").startswith("Search the harbour's notices.")
        assert get_type_hints(tool) == {"question": str, "return": str}
        assert list(inspect.signature(tool).parameters) == ["question"]


def test_what_it_says(tmp_path: Path) -> None:
    """Excerpts with their places, or that there is no answer; whole hits on request."""
    with harbour(tmp_path) as rag:
        said = search_tool(rag)(QUESTION)
        assert said.startswith("[1] ferry, characters ")
        assert ANSWER in said
        assert search_tool(rag)(UNKNOWN) == NOTHING
        assert FERRY in search_tool(rag, trimmed=False, k=1)(QUESTION)
        tool = asearch_tool(rag)
        assert inspect.iscoroutinefunction(tool)

        async def asked() -> str:
            return await tool(QUESTION)

        assert asyncio.run(asked()) == said


@pytest.mark.parametrize(
    ("name", "package"),
    [("langchain", "langchain_core"), ("llama_index", "llama_index"), ("haystack", "haystack")],
)
def test_a_missing_framework_is_named(name: str, package: str) -> None:
    """The error holds the command that installs it."""
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(MissingExtraError, match=f"\\[{name.replace('_', '-')}\\]"):
        importlib.import_module(f"ragkit_connectors.{name}")
