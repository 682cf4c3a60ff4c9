"""From a question's chunks to its answer: select, render, generate, and account for the cost."""

from __future__ import annotations

import collections.abc
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from ragkit.costs.receipt import Outcome, Receipt
from ragkit.pipeline.answers import Answer, Evidence, TrimUse, sound_usage, stop_reason
from ragkit.pipeline.citing import cite
from ragkit.pipeline.drafts import Draft, remark
from ragkit.pipeline.followups import resolve
from ragkit.pipeline.history import newest_turns, read_turns
from ragkit.pipeline.links import linked, suggestions
from ragkit.pipeline.model_limits import tell_limits
from ragkit.pipeline.readings import read, reader_threshold
from ragkit.pipeline.receipts import Attempt, receipt
from ragkit.pipeline.retrieval import Request, depth
from ragkit.pipeline.rewriting import added, rewritten
from ragkit.pipeline.saying import Said, as_said, said
from ragkit.pipeline.searching import hits_of
from ragkit.text.passages import context_tokens, n_orphans
from ragkit.trimming import (
    BASELINE_HITS,
    untrimmed,
)
from ragkit.trimming.certificate import has_refusal
from ragkit.types import (
    Citation,
    Generation,
    PromptCounter,
    RefusalReason,
    TokenCount,
    Usage,
)

if TYPE_CHECKING:
    from ragkit.pipeline.certification import Certification
    from ragkit.pipeline.options import StreamOptions
    from ragkit.pipeline.parts import Parts

_NO_CONVERSATION = Generation(
    text="This answers with sentences of the documents and cannot speak about the conversation.",
    usage=Usage(),
    citations=(),
    stop_reason="end",
)
"""What is said to "Thanks!" or "Shorter, please" where no language model answers."""

BASELINE_CHUNK_TOKENS = 400
"""Savings are compared with the top 5 chunks of at most 400 tokens, untrimmed."""


def draft(
    parts: Parts,
    certification: Certification,
    question: str,
    options: StreamOptions,
    *,
    dry_run: bool = False,
) -> Draft:
    """Retrieve, trim and render: everything but the generation.

    Raises:
        ConfigError: a value is not allowed, or the store needs `groups`.
    """
    attempt = Attempt(options.get("id"), dry_run=dry_run)
    with attempt.losses(parts), attempt.working():
        return _drafted(parts, certification, question, options, attempt)


def _drafted(
    parts: Parts,
    certification: Certification,
    question: str,
    options: StreamOptions,
    attempt: Attempt,
) -> Draft:
    watch = attempt.watch
    history = read_turns(options.get("history", ()))
    policy = parts.policy
    k = depth(options.get("k"), parts.settings.k, policy.pool if policy else BASELINE_HITS)
    resolved = resolve(question, history)
    if resolved.is_remark:
        return remark(parts, resolved, history, options, attempt)
    if not resolved.standalone and parts.settings.rewrite == "generator":
        with watch.stage("rewrite"):
            resolved, attempt.rewriting = rewritten(parts.generator(), resolved, question, history)
    request = Request.of(
        parts,
        question,
        options,
        k=max(k, BASELINE_HITS),
        n_candidates=k,
        drops_repeats=policy is not None,
    )
    reading = read(parts, request, resolved, history, watch)
    resolved, founds, trimmed = reading.resolved, reading.founds, reading.trimmed
    found, hits = founds[0], hits_of(founds)
    counter = parts.counter
    trim_use = certification.trim_use(found.revision, found.mode, k)
    evidence = Evidence(
        score=reading.support,
        threshold=reader_threshold(parts, question, found),
        calibrated=_is_calibrated(parts, trim_use),
    )
    refusal = trimmed.refusal or _low(evidence)
    if refusal == "no_hits" and any(found.is_blocked for found in founds):
        refusal = "guardrail"
    context = trimmed.context if refusal is None else ()
    if trim_use is not None:
        trim_use = replace(trim_use, orphans=n_orphans(context))
    with watch.stage("render"):
        cap, template = parts.settings.max_history_tokens, parts.template
        turns = newest_turns(history, cap, counter, template.render_turns)
        first = hits[:BASELINE_HITS]
        # The baseline is compared with as it stands, without marks where text is left out.
        plain = [replace(i, gap_before=False) for i in untrimmed(first, counter=counter).context]
        baseline = template.render(question, plain, turns)
        baseline_tokens = counter.count(baseline.text) if first else None
        prompt = template.render(question, trimmed.context, turns)
        input_tokens = counter.count(prompt.text)
        n_context_tokens = context_tokens(trimmed.context, counter.count)
        sent = [question, *(turn.content for turn in turns)]
        template_tokens = input_tokens - n_context_tokens - sum(map(counter.count, sent))
    if refusal is None:
        tell_limits(parts, question, input_tokens)
    return Draft(
        id=options.get("id"),
        question=question,
        trimmed=replace(trimmed, context=prompt.context if refusal is None else ()),
        context_tokens=n_context_tokens if refusal is None else 0,
        prompt=prompt if refusal is None else None,
        refusal=refusal,
        hits=hits,
        near=trimmed.context,
        resolved=resolved,
        evidence=evidence,
        trim=trim_use,
        baseline_tokens=baseline_tokens,
        baseline_comparable=bool(first)
        and all(hit.chunk.n_tokens <= BASELINE_CHUNK_TOKENS for hit in first),
        template_tokens=template_tokens if refusal is None else None,
        input_tokens=input_tokens if refusal is None else None,
        attempt=attempt,
    )


def _is_calibrated(parts: Parts, trim_use: TrimUse | None) -> bool:
    """Whether the refusal threshold is the certified one."""
    if trim_use is None or not trim_use.certified or parts.settings.refuse_below is not None:
        return False
    return has_refusal(None if parts.policy is None else parts.policy.certificate)


def _low(evidence: Evidence) -> RefusalReason | None:
    if evidence.score is None or evidence.threshold is None:
        return None
    return "low_evidence" if evidence.score < evidence.threshold else None


def generate(parts: Parts, draft: Draft) -> Generation | None:
    """Generate the answer; None for a refusal."""
    if draft.prompt is None:
        return None
    generator = parts.generator()
    if draft.resolved.is_remark and not generator.calls_llm:
        return _NO_CONVERSATION
    attempt, draft.is_sent = draft.attempt, True
    with (
        attempt.losses(parts, draft),
        attempt.generating(parts),
        attempt.working(),
        attempt.watch.stage("generate"),
    ):
        return generator.generate(draft.prompt, parts.generation_options)


def pieces(parts: Parts, draft: Draft) -> collections.abc.Generator[str | Generation]:
    """Generate the answer in pieces; the whole generation comes last.

    The first piece is empty and comes at once: from then on, closing the generator, at whatever
    point, writes an abandoned attempt to the ledger.
    """
    attempt = draft.attempt
    with attempt.losses(parts, draft):
        yield ""
        if draft.prompt is None:
            return
        generator = parts.generator()
        if draft.resolved.is_remark and not generator.calls_llm:
            yield from (_NO_CONVERSATION.text, _NO_CONVERSATION)
            return
        draft.is_sent = True
        stream = generator.stream(draft.prompt, parts.generation_options)
        if generator.calls_llm:
            stream = as_said(stream, asked_to_abstain=_asks_to_abstain(parts, draft))
        whole: Generation | None = None
        with attempt.generating(parts), closing(_measured(attempt, stream)) as steps:
            for piece in steps:
                if isinstance(piece, str):
                    yield piece
                else:
                    whole = piece
        if whole is not None:
            with attempt.losses(parts, draft, whole):
                yield whole


def _measured(
    attempt: Attempt, stream: Iterator[str | Generation]
) -> collections.abc.Generator[str | Generation]:
    """Yield what a stream yields; what happens in between, in whatever thread, is not measured."""
    try:
        while True:
            with attempt.working(), attempt.watch.stage("generate"):
                piece = next(stream, None)
            if piece is None:
                return
            yield piece
    finally:
        close = getattr(stream, "close", None)
        if callable(close):
            close()


def finish(
    parts: Parts, draft: Draft, generation: Generation | None, *, dry_run: bool = False
) -> Answer:
    """Return the answer with its citations and receipt, and write the ledger.

    Raises:
        NoAnswerError: the model used up its tokens without an answer.
    """
    with draft.attempt.losses(parts, draft, generation), draft.attempt.working():
        return _finished(parts, draft, generation, dry_run=dry_run)


def _finished(
    parts: Parts, draft: Draft, generation: Generation | None, *, dry_run: bool
) -> Answer:
    attempt, usage, words = draft.attempt, Usage(), None
    citations: tuple[Citation, ...] = ()
    if generation is not None:
        usage = sound_usage(generation.usage)
        words = _said(parts, draft, generation)
        if not words.abstained:
            citations = _cite(parts, replace(generation, text=words.text), draft)
    if draft.input_tokens is not None and usage.input_tokens is None:
        usage = _counted(parts, draft, draft.input_tokens, usage, dry_run=dry_run)
    refusal = "model_abstained" if words is not None and words.abstained else draft.refusal
    outcome: Outcome | None = "refused"
    if refusal is None:
        outcome = None if dry_run else "answered"
    if attempt.rewriting is not None:
        usage = added(usage, attempt.rewriting)
    cost = receipt(parts, attempt, draft, usage, generation, outcome=outcome)
    answer = _answer(
        draft, usage, cost, generation=generation, refusal=refusal, words=words,
        citations=citations,
    )  # fmt: skip
    attempt.record(
        parts, draft, usage, cost, generation=generation, refused=answer.refused,
        reason=answer.reason,
    )  # fmt: skip
    return answer


def _asks_to_abstain(parts: Parts, draft: Draft) -> bool:
    return parts.template.asks_to_abstain and not draft.resolved.is_remark


def _said(parts: Parts, draft: Draft, generation: Generation) -> Said:
    """Return what a generator said; only language models think or abstain."""
    if not parts.generator().calls_llm:
        return Said(text=generation.text, reasoning=generation.reasoning)
    return said(generation, asked_to_abstain=_asks_to_abstain(parts, draft))


def _answer(
    draft: Draft,
    usage: Usage,
    receipt: Receipt,
    *,
    generation: Generation | None,
    refusal: RefusalReason | None = None,
    words: Said | None = None,
    citations: tuple[Citation, ...] = (),
) -> Answer:
    prompt, context = draft.prompt, draft.trimmed.context
    return Answer(
        id=draft.id,
        question=draft.question,
        text=None if words is None or words.abstained else words.text,
        reasoning=None if words is None else words.reasoning,
        refused=refusal is not None,
        reason="conversation" if draft.resolved.is_remark and refusal is None else refusal,
        evidence=draft.evidence,
        citations=citations,
        suggestions=() if refusal is None else suggestions(draft.near, draft.hits),
        context=context,
        usage=usage,
        prompt=None if prompt is None else prompt.text,
        messages=() if prompt is None else prompt.messages,
        resolved=draft.resolved,
        trim=draft.trim,
        receipt=receipt,
        stop_reason=stop_reason(generation),
    )


def _cite(parts: Parts, generation: Generation, draft: Draft) -> tuple[Citation, ...]:
    """Return the answer's citations; none, with a notice, if finding them fails."""
    try:
        context = draft.trimmed.context
        return tuple(linked(citation, context) for citation in cite(generation, context))
    except Exception as error:
        # Whatever the error: the answer has been paid for and must be returned.
        parts.notice(f"an answer has no citations: {type(error).__name__} while citing")
        return ()


def _counted(
    parts: Parts, draft: Draft, input_tokens: int, usage: Usage, *, dry_run: bool
) -> Usage:
    """Return the usage with the prompt's tokens as counted here, since the server gave none."""
    generator = parts.generator()
    counted: TokenCount | None = None
    if dry_run and draft.prompt is not None and isinstance(generator, PromptCounter):
        counted = generator.count_prompt(draft.prompt)
    if counted is None or not counted.exact:
        # The generator's own estimate may only be a lower bound.
        counted = TokenCount(
            n_tokens=input_tokens,
            exact=generator.counter is not None,
            counter=parts.counter.name,
        )
    return replace(
        usage,
        input_tokens=counted.n_tokens,
        exact=counted.exact,
        counter=counted.counter,
    )
