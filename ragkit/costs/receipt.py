"""What one answer cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ragkit.costs.energy import Range
from ragkit.costs.stopwatch import StageCost
from ragkit.types import Json

Outcome: TypeAlias = Literal["answered", "refused", "failed", "abandoned"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What one answer cost.

    `baseline_tokens` counts the whole prompt with the top 5 hits untrimmed, `input_tokens` the
    whole prompt as sent, `context_tokens` the kept text in it, and `template_tokens` what is
    neither context, question nor history. `baseline_joules` is the energy of the same answer from
    the baseline's prompt. `outcome` is None for a dry run. `prefix_tokens` counts the system
    message, with which every prompt of the template begins, and `prefix_cacheable` says whether the
    provider caches a prefix of that length (None: unknown). `served_model`, `served_tier` and
    `server_seconds` are what the model's server says, and `server_stop_reason` is its own word for
    why the text ends.

    `prefill_joules` and `decode_joules` are the parts of `joules` in which the model read the
    prompt and wrote the answer; `hosting_joules` is what the settings book for hosting, and part of
    `joules`. `measured_joules` is what counters of whole devices tell, without a data centre's
    overhead; `joules` rests on it where nobody else used them.

    `attempts` counts the requests to generate, those that were refused and sent again included;
    `embed_tokens` the tokens that embedding models read, `rerank_units` the texts that a reranker
    compared with the question, `bytes_sent` and `bytes_received` the bodies of all requests and
    their answers. `idle_share` is the share of this machine's processor time, or of its control
    group's, that nobody used meanwhile, and `group_peak_bytes` the most memory that the group has
    held. `not_counted` names what the joules leave out. Whatever is unknown is None.

    `region` is where the model ran: an AWS Region, or the prefix of the inference profile (`eu`,
    `global`) that chose among several. `answer_id` is what feedback names the answer by: random,
    None for a dry run.
    """

    seconds: float
    cpu_seconds: float
    stages: tuple[StageCost, ...]
    baseline_tokens: int | None
    baseline_comparable: bool
    context_tokens: int | None
    template_tokens: int | None
    input_tokens: int | None
    llm_calls: int
    peak_rss_bytes: int | None
    joules: Range | None
    baseline_joules: Range | None
    carbon_g: Range | None
    prefill_joules: Range | None = None
    decode_joules: Range | None = None
    hosting_joules: Range | None = None
    measured_joules: Range | None = None
    output_tokens: int | None = None
    attempts: int | None = None
    embed_tokens: int | None = None
    rerank_units: int | None = None
    bytes_sent: int | None = None
    bytes_received: int | None = None
    idle_share: float | None = None
    group_peak_bytes: int | None = None
    not_counted: tuple[str, ...] = ()
    outcome: Outcome | None = None
    prefix_tokens: int | None = None
    prefix_cacheable: bool | None = None
    served_model: str | None = None
    served_tier: str | None = None
    server_seconds: float | None = None
    server_stop_reason: str | None = None
    answer_id: str | None = None
    region: str | None = None

    @property
    def saved_tokens(self) -> int | None:
        """Prompt tokens that trimming saved; None where either count is unknown."""
        if self.baseline_tokens is None or self.input_tokens is None:
            return None
        return self.baseline_tokens - self.input_tokens

    def __repr__(self) -> str:
        """Return the receipt on one line; `to_dict` has all of it."""
        return f"<Receipt {self}>"

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit ask`."""
        return {
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "stages": [stage.to_dict() for stage in self.stages],
            "baseline_tokens": self.baseline_tokens,
            "baseline_comparable": self.baseline_comparable,
            "context_tokens": self.context_tokens,
            "template_tokens": self.template_tokens,
            "input_tokens": self.input_tokens,
            "saved_tokens": self.saved_tokens,
            "output_tokens": self.output_tokens,
            "llm_calls": self.llm_calls,
            "attempts": self.attempts,
            "embed_tokens": self.embed_tokens,
            "rerank_units": self.rerank_units,
            "bytes_sent": self.bytes_sent,
            "bytes_received": self.bytes_received,
            "idle_share": self.idle_share,
            "peak_rss_bytes": self.peak_rss_bytes,
            "group_peak_bytes": self.group_peak_bytes,
            "joules": _json(self.joules),
            "baseline_joules": _json(self.baseline_joules),
            "prefill_joules": _json(self.prefill_joules),
            "decode_joules": _json(self.decode_joules),
            "hosting_joules": _json(self.hosting_joules),
            "measured_joules": _json(self.measured_joules),
            "carbon_g": _json(self.carbon_g),
            "not_counted": list(self.not_counted),
            "outcome": self.outcome,
            "prefix_tokens": self.prefix_tokens,
            "prefix_cacheable": self.prefix_cacheable,
            "served_model": self.served_model,
            "served_tier": self.served_tier,
            "server_seconds": self.server_seconds,
            "server_stop_reason": self.server_stop_reason,
            "answer_id": self.answer_id,
            "region": self.region,
        }

    def __str__(self) -> str:
        """Return the receipt on one line."""
        joules = "unknown" if self.joules is None else f"about {self.joules.mid:.2g} J"
        return (
            f"{count_text(self.input_tokens)} prompt tokens "
            f"(untrimmed {count_text(self.baseline_tokens)}), {self.llm_calls} LLM calls, "
            f"{self.seconds:.3f} s, {joules}"
        )


def _json(value: Range | None) -> Json:
    return None if value is None else value.to_dict()


def count_text(value: int | None) -> str:
    """Return a count for people; one that is unknown says so."""
    return "unknown" if value is None else f"{value:,}"
