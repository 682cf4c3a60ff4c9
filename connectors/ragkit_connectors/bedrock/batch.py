"""A generator that answers many prompts at half the price, hours later, in two rounds.

In the first round it only notes what it is asked. Then jobs answer all of that, and in the second
round it says what they answered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ragkit.errors import RemoteError
from ragkit.types import Generation, GenerationOptions, Prompt, TokenCounter, Usage
from ragkit_connectors.support.json_values import Record, record, text

if TYPE_CHECKING:
    from ragkit_connectors.bedrock.generator import BedrockGenerator
    from ragkit_connectors.bedrock.jobs import Jobs

_NOTED = Generation(text="-", usage=Usage(), citations=())


class BatchedGenerator:
    """Answers prompts of a `BedrockGenerator` by model invocation jobs.

    Args:
        inner: Makes the requests and reads the answers.
        jobs: Gets them answered.
    """

    calls_llm = True
    counter: TokenCounter | None = None

    def __init__(self, inner: BedrockGenerator, jobs: Jobs) -> None:
        self.name = inner.name
        self.fingerprint = inner.fingerprint
        self.region = inner.region
        self.inference_profile = inner.inference_profile
        self.least_cached_tokens = None
        self._inner = inner
        self._jobs = jobs
        self._wanted: dict[str, Record] | None = {}

    def answer_all(self) -> None:
        """Get answers to all that was asked so far; afterwards `generate` gives them.

        Raises:
            ConfigError: there are too few prompts for a job.
            RemoteError: AWS failed or refused. The same goes on later.
        """
        wanted, self._wanted = self._wanted, None
        self._jobs.run(wanted or {})

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Note a prompt, or return its answer.

        Raises:
            ConfigError: an option cannot be sent to this model.
            RemoteError: there is no answer, or the job could not answer this prompt.
        """
        request = self._inner.batch_request(prompt, options)
        key = _key(self.name, request)
        if self._wanted is not None:
            self._wanted[key] = request
            return _NOTED
        found = self._jobs.answer(key)
        if found is None:
            raise RemoteError(
                f"{self.name}: no batch job has answered this. Ask it again with other open "
                "questions, 100 at least, or with: --profile flex"
            )
        if "modelOutput" in found:
            return self._inner.batch_answer(prompt, record(found["modelOutput"]))
        error = record(found.get("error"))
        raise RemoteError(
            f"{self.name}: the batch job could not answer this: {error.get('errorCode')} "
            f"{text(error.get('errorMessage'))[:200]}"
        )

    def stream(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str | Generation]:
        """Yield the answer in one piece, then the `Generation`."""
        generation = self.generate(prompt, options)
        yield generation.text
        yield generation


def _key(name: str, request: Record) -> str:
    """Return what a request is found by: the digest of all that decides its answer."""
    data = json.dumps([name, request], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(data.encode("utf-8", "surrogatepass")).hexdigest()[:32]
