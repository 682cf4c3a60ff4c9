"""Counting prompts with the servers that can: vLLM, llama.cpp and llama-cpp-python.

Their interfaces: vLLM `entrypoints/serve/tokenize/protocol.py`; llama.cpp `tools/server/README.md`;
llama-cpp-python `server/app.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from ragkit.errors import RemoteError
from ragkit.types import Json, Message, Prompt, TokenCount
from ragkit_connectors.support.json_values import Record, count, is_list, record
from ragkit_connectors.support.messages import SystemRole, as_records
from ragkit_connectors.support.web import WebServer
from ragkit_connectors.support.windows import at_least

CountWith: TypeAlias = Literal["vllm", "llamacpp", "llamacpp-python"]
"""Servers that count tokens, each in its own way."""

_COUNTED_FIELDS = frozenset({"chat_template", "chat_template_kwargs"})
"""Fields of requests that change the prompt."""


class ServerCounter:
    """Counts prompts and asks for the window in the way of one kind of server.

    Args:
        server: Where the model is, at `/v1`.
        model: Name of the model.
        count_with: Software of the server; None: nothing is asked, and words are counted.
        system_role: How the system message is sent.
        request_fields: Those of the generation; some of them change the prompt.
    """

    def __init__(
        self,
        server: WebServer,
        model: str,
        count_with: CountWith | None,
        *,
        system_role: SystemRole,
        request_fields: Mapping[str, Json],
    ) -> None:
        # The endpoints that count are siblings of `/v1`, not below it.
        self._root = server.at(server.base_url.removesuffix("/v1"))
        self._model = model
        self._count_with = count_with
        self._system_role: SystemRole = system_role
        self._fields = {k: v for k, v in request_fields.items() if k in _COUNTED_FIELDS}
        self._window: int | None = None
        self._last: tuple[tuple[Message, ...], TokenCount] | None = None

    def count(self, prompt: Prompt) -> TokenCount:
        """Return the server's count of a prompt, or the number of its words."""
        # A pipeline that has just counted a prompt sends it next.
        if self._last is not None and self._last[0] == prompt.messages:
            return self._last[1]
        if self._count_with is None:
            counted = at_least(prompt)
        else:
            counted = TokenCount(
                n_tokens=self._ask(prompt),
                exact=self._count_with != "llamacpp-python",
                counter=self._count_with,
            )
        self._last = prompt.messages, counted
        return counted

    def window(self) -> int | None:
        """Return the tokens of prompt and answer together; None where the server does not say."""
        if self._window is None and self._count_with == "llamacpp":
            props = self._root.get("/props").read_record()
            self._window = count(record(props.get("default_generation_settings")).get("n_ctx"))
        elif self._window is None and self._count_with == "vllm":
            self._ask(Prompt(question="?", text="?"))
        return self._window

    def _ask(self, prompt: Prompt) -> int:
        if self._count_with == "llamacpp-python":
            answer = self._post("/extras/tokenize/count", {"input": prompt.text}, prompt)
            return _known(count(answer.get("count")), "/extras/tokenize/count")
        messages = as_records(prompt.messages, self._system_role)
        asked: dict[str, Json] = {"messages": messages, **self._fields}
        if self._count_with == "vllm":
            answer = self._post("/tokenize", {"model": self._model, **asked}, prompt)
            self._window = count(answer.get("max_model_len"))
            return _known(count(answer.get("count")), "/tokenize")
        content = self._post("/apply-template", asked, prompt).get("prompt")
        if not isinstance(content, str):
            raise RemoteError("the server's answer to /apply-template has no prompt")
        body: dict[str, Json] = {"content": content, "add_special": True, "parse_special": True}
        tokens = self._post("/tokenize", body, prompt).get("tokens")
        return _known(len(tokens) if is_list(tokens) else None, "/tokenize")

    def _post(self, path: str, body: dict[str, Json], prompt: Prompt) -> Record:
        return self._root.post(path, body, sent=(prompt.text,)).read_record()


def _known(n_tokens: int | None, path: str) -> int:
    if n_tokens is None:
        raise RemoteError(f"the server's answer to {path} has no count: is count_with right?")
    return n_tokens
