"""Tokens of a prompt as Bedrock counts them, or an estimate where it cannot."""

from __future__ import annotations

from ragkit.errors import PromptTooLongError, RemoteError
from ragkit.types import Prompt, TokenCount, Usage
from ragkit_connectors.bedrock.conversation import conversation
from ragkit_connectors.support.aws import AwsCall, AwsClient
from ragkit_connectors.support.json_values import required_count

_TOKENS_PER_BYTE = 1 / 3
"""Tokens per byte of UTF-8 before anything was learned: more than English or German text has."""


class PromptTokens:
    """Counts prompts for one model; safe to share between threads.

    Args:
        client: A client of `bedrock-runtime`.
        model: Id of the base model to count for; None: only estimate.
    """

    def __init__(self, client: AwsClient, model: str | None) -> None:
        self._client = client
        self._model = model
        self._tokens_per_byte: float | None = None

    def count(self, prompt: Prompt) -> TokenCount:
        """Return Bedrock's count, else an estimate by the densest prompt that was billed so far.

        Raises:
            ConfigError: the prompt is empty, or credentials are missing.
            RemoteError: Bedrock failed or refused.
        """
        model = self._model
        if model is not None:
            counted = self._ask(model, prompt)
            if counted is not None:
                return TokenCount(n_tokens=counted, exact=True, counter="bedrock:CountTokens")
            # It will not learn to; asking each time would double the requests.
            self._model = None
        ratio = self._tokens_per_byte or _TOKENS_PER_BYTE
        n_tokens = round(len(prompt.text.encode()) * ratio)
        return TokenCount(n_tokens=max(1, n_tokens), exact=False, counter="estimate:bytes")

    def learn(self, usage: Usage, prompt: Prompt) -> None:
        """Note how many tokens a prompt was billed as."""
        n_bytes = len(prompt.text.encode())
        if usage.input_tokens and n_bytes:
            ratio = usage.input_tokens / n_bytes
            self._tokens_per_byte = max(self._tokens_per_byte or 0.0, ratio)

    def _ask(self, model: str, prompt: Prompt) -> int | None:
        call = AwsCall(
            method="count_tokens", action="bedrock:CountTokens", about=f"model {model!r}",
            texts=(prompt.text,),
        )  # fmt: skip
        parameters = {"modelId": model, "input": {"converse": conversation(prompt)}}
        try:
            return required_count(self._client.call(call, parameters), "inputTokens")
        except PromptTooLongError:
            raise
        except RemoteError as error:
            # So Bedrock answers for models that it cannot count for.
            if "ValidationException" not in str(error):
                raise
            return None
