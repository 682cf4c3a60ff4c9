"""A search tool for agents: a typed function that needs no package.

    agent = Agent(model, tools=[search_tool(rag)])

Frameworks (pydantic-ai, openai-agents, Strands, LangChain's `create_agent`) read a tool's name,
arguments and purpose off a function: its name, its annotations and its docstring.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar, Unpack

from ragkit_connectors.support.pieces import Given, found_by

if TYPE_CHECKING:
    from ragkit import RAG
    from ragkit.pipeline.options import RetrievalOptions

_F = TypeVar("_F", bound="Callable[..., object]")

NAME = "search_documents"
DESCRIPTION = (
    "Search the documents for what answers a question. Returns numbered excerpts with their "
    "sources; says so where the documents do not answer it."
)
NOTHING = "The documents do not answer this."


def search_tool(
    rag: RAG,
    *,
    name: str = NAME,
    description: str = DESCRIPTION,
    trimmed: bool = True,
    **options: Unpack[RetrievalOptions],
) -> Callable[[str], str]:
    """Return a function that an agent can call: a question in, numbered excerpts out.

    Args:
        rag: An open pipeline; its owner closes it.
        name: The function's name, as the agent sees it.
        description: What the agent is told that it does.
        trimmed: Give what `rag.ask` would send to a model, and nothing where it refuses; false
            gives whole hits.
        options: See `RetrievalOptions`.
    """

    def search_documents(question: str) -> str:
        return _shown(found_by(rag, question, trimmed=trimmed, **options))

    return _described(search_documents, name, description)


def asearch_tool(
    rag: RAG,
    *,
    name: str = NAME,
    description: str = DESCRIPTION,
    trimmed: bool = True,
    **options: Unpack[RetrievalOptions],
) -> Callable[[str], Awaitable[str]]:
    """Return the same as a coroutine function, which searches in a thread.

    Args:
        rag: An open pipeline; its owner closes it.
        name: The function's name, as the agent sees it.
        description: What the agent is told that it does.
        trimmed: As of `search_tool`.
        options: See `RetrievalOptions`.
    """
    search = search_tool(rag, name=name, trimmed=trimmed, **options)

    async def search_documents(question: str) -> str:
        return await asyncio.to_thread(search, question)

    return _described(search_documents, name, description)


def _described(tool: _F, name: str, description: str) -> _F:
    tool.__name__ = tool.__qualname__ = name
    tool.__doc__ = f"{description}\n\nArgs:\n    question: A whole question, in plain words.\n"
    # Frameworks resolve annotations as they stand, not as text.
    tool.__annotations__ = {"question": str, "return": str}
    return tool


def _shown(found: Sequence[Given]) -> str:
    return "\n\n".join(f"[{i}] {_cited(one)}\n{one.text}" for i, one in enumerate(found, 1)) or (
        NOTHING
    )


def _cited(one: Given) -> str:
    """Return where an excerpt stands: its source and the characters of its document."""
    return f"{one.metadata['source']}, characters {one.start} to {one.metadata['end']}"
