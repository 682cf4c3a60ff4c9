"""What an attempt to answer has cost, and its one line in the ledger, whatever became of it."""

from __future__ import annotations

import collections.abc
import os
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ragkit.costs.carbon import emitted
from ragkit.costs.counters import AcceleratorMeter, ProcessorMeter
from ragkit.costs.feedback import readable
from ragkit.costs.machine import MACHINE, Since
from ragkit.costs.metering import Meter
from ragkit.costs.receipt import Outcome, Receipt
from ragkit.costs.stopwatch import Stopwatch, Worker, peak_rss_bytes
from ragkit.errors import RagkitError, RemoteError
from ragkit.hanging_up import has_hung_up
from ragkit.pipeline.answer_costs import costs_of, runs_on
from ragkit.pipeline.answers import sound_usage, stop_reason
from ragkit.pipeline.rewriting import added
from ragkit.types import Generation, Generator, Json, Prompt, Reason, TokenCounter, Usage

if TYPE_CHECKING:
    from ragkit.pipeline.drafts import Draft
    from ragkit.pipeline.parts import Parts

_ID_BYTES = 8
"""Of an answer's id: too many for anybody to guess one."""

_OWN_PACKAGES = frozenset({"ragkit", "ragkit_connectors", "ragkit_eval"})


class Attempt:
    """One attempt to answer a question: what it uses, measured from now on.

    Args:
        question_id: As given with the question.
        dry_run: Whether nothing is to be generated.
    """

    def __init__(self, question_id: str | None = None, *, dry_run: bool = False) -> None:
        self.question_id = question_id
        self.dry_run = dry_run
        self.worker = Worker()
        self.watch = Stopwatch(self.worker.cpu_seconds)
        self.meter = Meter()
        self.rewriting: Usage | None = None
        """What it cost to have the question rewritten by the model."""
        self.is_recorded = False
        self._since = Since.now()
        self.processors = ProcessorMeter()
        self.accelerator_joules: float | None = None
        """What the accelerators of this machine took while the answer was generated, if known."""

    @contextmanager
    def working(self) -> collections.abc.Generator[None]:
        """Work on the answer in the body of the `with` statement: all that it uses is counted."""
        with self.worker.working(), self.meter.active():
            yield

    def idle_share(self) -> float | None:
        """Return the share of the processors' time that was not used since the start."""
        return self._since.idle_share()

    @contextmanager
    def generating(self, parts: Parts) -> collections.abc.Generator[None]:
        """Generate in the body of the `with` statement; what counters there are measure it."""
        if runs_on(parts) not in ("gpu", "machine"):
            yield
            return
        meter = AcceleratorMeter()
        meter.start()
        try:
            yield
        finally:
            self.accelerator_joules = meter.stop()

    @contextmanager
    def losses(
        self,
        parts: Parts,
        draft: Draft | None = None,
        generation: Generation | None = None,
    ) -> collections.abc.Generator[None]:
        """Write the attempt to the ledger if the body of the `with` statement fails.

        It may have been billed, unless a draft fails before anything was sent.
        """
        try:
            yield
        except BaseException as error:
            if draft is not None or _may_be_billed(error, self.meter):
                known = error.generation if isinstance(error, RemoteError) else None
                # What no error is, is the end of a stream that nobody reads on, or Ctrl-C.
                is_failure = isinstance(error, Exception) and not has_hung_up()
                outcome: Outcome = "failed" if is_failure else "abandoned"
                self.lose(parts, draft, known or generation, outcome=outcome)
            raise

    def lose(
        self,
        parts: Parts,
        draft: Draft | None,
        generation: Generation | None,
        *,
        outcome: Outcome,
    ) -> None:
        """Write an attempt without an answer to the ledger, unless it has its line already."""
        usage = Usage() if generation is None else sound_usage(generation.usage)
        if self.rewriting is not None:
            usage = self.rewriting if draft is None else added(usage, self.rewriting)
        lost = receipt(parts, self, draft, usage, generation, outcome=outcome)
        self.record(parts, draft, usage, lost, generation=generation)

    def record(
        self,
        parts: Parts,
        draft: Draft | None,
        usage: Usage,
        receipt: Receipt,
        *,
        generation: Generation | None,
        refused: bool = False,
        reason: Reason | None = None,
    ) -> None:
        """Write the attempt to the ledger, once."""
        if self.is_recorded:
            return
        self.is_recorded = True
        template = parts.template
        line: Mapping[str, Json] = {
            "kind": "ask",
            "id": self.question_id,
            "dry_run": self.dry_run,
            "refused": refused,
            "reason": reason,
            "stop_reason": stop_reason(generation),
            "evidence": None if draft is None else draft.evidence.to_dict(),
            "generator": parts.generator_name,
            "profile": parts.settings.profile,
            "template": f"{template.id}@{template.version}",
            "template_sha256": template.sha256,
            "usage": usage.to_dict(),
            "trim": None if draft is None or draft.trim is None else draft.trim.to_dict(),
            "receipt": receipt.to_dict(),
        }
        parts.record(line, _kept(parts, draft))


def _kept(parts: Parts, draft: Draft | None) -> Mapping[str, Json] | None:
    """Return the content that the ledger is to keep: nothing, unless the user asked for it.

    A question that goes on from others is kept with what it was taken to ask about.
    """
    if draft is None or not parts.settings.keep_question:
        return None
    return {"question": readable(" ".join(draft.resolved.question.split()))}


def _may_be_billed(error: BaseException, meter: Meter) -> bool:
    """Whether a draft that fails with this error may have cost something elsewhere."""
    ours = isinstance(error, RagkitError) and not isinstance(error, RemoteError)
    return meter.bytes_sent > 0 or not ours


def receipt(
    parts: Parts,
    attempt: Attempt,
    draft: Draft | None,
    usage: Usage,
    generation: Generation | None,
    *,
    outcome: Outcome | None,
) -> Receipt:
    """Return what an attempt has cost so far; without a draft, it failed while it was drafted."""
    watch, meter, generator = attempt.watch, attempt.meter, parts.opened_generator
    calls = int(attempt.rewriting is not None)
    if draft is not None and draft.is_sent and generator is not None:
        calls += generator.calls_llm
    prompt = draft.prompt if draft is not None and calls else None
    prefix_tokens = None if prompt is None else _prefix_tokens(prompt, parts.counter)
    seconds, cpu_seconds = watch.seconds, attempt.worker.cpu_seconds()
    costs = costs_of(
        parts,
        attempt,
        draft,
        usage,
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        calls_llm=calls > 0,
        served_model=None if generation is None else generation.served_model,
        reading_share=None if generation is None else generation.reading_share,
    )
    joules, energy = costs.energy.joules, costs.energy
    place = parts.place(calls_model=calls > 0)
    counts_bytes = all(map(is_own, _parts_used(parts, meter, calls)))
    moves_bytes = meter.bytes_sent > 0 or not counts_bytes
    return Receipt(
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        stages=watch.stages,
        baseline_tokens=None if draft is None else draft.baseline_tokens,
        baseline_comparable=draft is not None and draft.baseline_comparable,
        context_tokens=None if draft is None else draft.context_tokens,
        template_tokens=None if draft is None else draft.template_tokens,
        input_tokens=None if draft is None else draft.input_tokens,
        output_tokens=usage.output_tokens,
        llm_calls=calls,
        attempts=meter.attempts if is_own(generator) or not calls else None,
        embed_tokens=meter.embed_tokens,
        rerank_units=meter.rerank_units,
        bytes_sent=meter.bytes_sent if counts_bytes else None,
        bytes_received=meter.bytes_received if counts_bytes else None,
        idle_share=attempt.idle_share(),
        peak_rss_bytes=peak_rss_bytes(),
        group_peak_bytes=MACHINE.peak_bytes(),
        joules=joules,
        baseline_joules=energy.baseline,
        prefill_joules=energy.prefill,
        decode_joules=energy.decode,
        hosting_joules=costs.hosting,
        measured_joules=costs.measured,
        not_counted=_not_counted(parts, meter, moves_bytes=moves_bytes, calls_llm=calls > 0),
        outcome=outcome,
        prefix_tokens=prefix_tokens,
        prefix_cacheable=_is_cacheable(prefix_tokens, generator),
        served_model=None if generation is None else generation.served_model,
        served_tier=None if generation is None else generation.served_tier,
        server_seconds=None if generation is None else generation.server_seconds,
        server_stop_reason=None if generation is None else generation.stop_reason,
        answer_id=None if outcome is None else os.urandom(_ID_BYTES).hex(),
        region=None if place is None else place.name,
        carbon_g=emitted(joules, place, parts.settings.grid_g_per_kwh),
    )


def _parts_used(parts: Parts, meter: Meter, n_llm_calls: int) -> collections.abc.Iterator[object]:
    """Yield the parts of a pipeline that may have sent something elsewhere."""
    yield parts.opened_store
    if meter.embed_tokens != 0:
        yield parts.question_embedder
    if meter.rerank_units != 0:
        yield parts.reranker
    if n_llm_calls:
        yield parts.opened_generator


def is_own(part: object) -> bool:
    """Whether a part is one of ragkit's own, all of which count what they send."""
    return part is None or type(part).__module__.partition(".")[0] in _OWN_PACKAGES


def _not_counted(
    parts: Parts, meter: Meter, *, moves_bytes: bool, calls_llm: bool
) -> tuple[str, ...]:
    """Return what the answer has used and its joules leave out."""
    left_out = {
        "embodied": True,
        "idle": True,
        "memory": True,
        "network": moves_bytes,
        "storage": True,
        "hosted_index": not parts.is_local and not parts.settings.hosting_watts,
        "remote_embedding": meter.embeds_remotely,
        "remote_reranking": meter.reranks_remotely,
        "training": calls_llm,
    }
    return tuple(name for name, is_so in left_out.items() if is_so)


def _prefix_tokens(prompt: Prompt, counter: TokenCounter) -> int:
    """Return the tokens of the system message, with which every prompt of a template begins."""
    first = prompt.messages[0]
    return counter.count(first.content) if first.role == "system" else 0


def _is_cacheable(prefix_tokens: int | None, generator: Generator | None) -> bool | None:
    """Whether the provider caches a prefix of this length; None where that is unknown."""
    least: object = getattr(generator, "least_cached_tokens", None)
    if prefix_tokens is None or not isinstance(least, int):
        return None
    return prefix_tokens >= least
