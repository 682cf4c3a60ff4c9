"""A chat service: answers as server-sent events, to each user from the documents of their groups.

    pip install 'ragkit-lean[local]' fastapi uvicorn
    RAGKIT_STORE=kb python examples/05_fastapi_chat.py

    curl -N localhost:8000/chat -H 'Authorization: Bearer anna-secret' \
      -H 'Content-Type: application/json' -d '{"question": "What does an annual pass cost?"}'

The store, the model and its deadlines are settings (`RAGKIT_GENERATOR`, `RAGKIT_TOTAL_TIMEOUT`).
"""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse

from ragkit import RAG, Answer, AsyncAnswerStream
from ragkit.config import load_settings
from ragkit.errors import BusyError, ConfigError, RagkitError

DEADLINE_SECONDS = float(os.environ.get("DEADLINE", "60"))
GROUPS = {"Bearer anna-secret": ["staff", "public"], "Bearer ben-secret": ["public"]}
"""Of each user. Yours come from your sign-in; never from what the user sends."""


@dataclass
class Asked:
    """What a page sends: a question, and the turns before it, as it has shown them."""

    question: str
    history: list[dict[str, str]] = field(default_factory=list)


def groups_of(authorization: Annotated[str, Header()] = "") -> list[str]:
    """Return the groups of the user who asks."""
    if authorization not in GROUPS:
        raise HTTPException(401, "unknown user")
    return GROUPS[authorization]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load everything once, before the first question."""
    settings = load_settings(environment=os.environ)
    threads, waiting = int(os.environ.get("THREADS", "64")), int(os.environ.get("WAITING", "200"))
    with RAG(settings.store, config=settings, async_threads=threads, max_waiting=waiting) as rag:
        rag.warm()
        app.state.rag = rag
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/chat")
async def chat(
    asked: Asked, request: Request, groups: Annotated[list[str], Depends(groups_of)]
) -> StreamingResponse:
    """Answer a question in pieces. If the user leaves, the model is stopped."""
    rag: RAG = request.app.state.rag
    stream = rag.astream(asked.question, history=asked.history, groups=groups)
    await stream.start()  # what stands in the way is raised here, and becomes the status
    return StreamingResponse(events(stream), media_type="text/event-stream")


@app.exception_handler(BusyError)
async def busy(_request: Request, _error: Exception) -> JSONResponse:
    """Tell a client to come back: enough others are waiting."""
    return JSONResponse({"detail": "busy"}, 503, {"Retry-After": "2"})


@app.exception_handler(ConfigError)
async def wrong(_request: Request, _error: Exception) -> JSONResponse:
    """Tell a client that what it sent cannot be asked."""
    return JSONResponse({"detail": "not allowed"}, 400)


async def events(stream: AsyncAnswerStream) -> AsyncIterator[str]:
    """Yield the pieces as they come, and at the end what a page shows beneath them."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS), stream:
            async for piece in stream:
                yield event("piece", piece)
        yield event("answer", shown(stream.answer))
    except (RagkitError, TimeoutError) as error:  # the log's; a user need not know the server
        yield event("failed", "out of time" if isinstance(error, TimeoutError) else "try again")


def shown(answer: Answer) -> dict[str, object]:
    """Return of an answer what users may see."""
    data = answer.to_dict(with_prompt=False)
    return {name: data[name] for name in ("text", "refused", "reason", "citations", "suggestions")}


def event(name: str, data: object) -> str:
    """Return a server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
