"""How long prompts and answers really are, and what window and limits that calls for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from ragkit.advice.answers import Advice
from ragkit.advice.quantiles import Asked, least_lines, quantile, upper_bound
from ragkit.types import Json

MOST_CUT = 0.01
"""Share of cut answers from which their lengths say too little about how long answers would be."""

_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_ROUNDED_TO = 16


def advise_window(asked: Asked, *, ledger: str) -> Advice:
    """Return `max_tokens`, `n_ctx` and the model window that the ledger's own answers call for.

    `max_tokens` holds 99 % of answers where the lines suffice for that, else 95 %; `n_ctx` 99 % or
    95 % of prompts and answers together. Both are upper confidence bounds of these quantiles,
    rounded up to a multiple of 16.

    Args:
        asked: What the ledger says.
        ledger: Its name.
    """
    n = len(asked.total_tokens)
    least = least_lines(0.95)
    sources: list[dict[str, Json]] = [
        {"source": f"ledger {ledger}", "answers": n, "cut": asked.n_cut}
    ]
    if n < least:
        reason = (
            f"The ledger has {n} answers of a model with counted tokens; the 95th percentile needs "
            f"{least}, the 99th {least_lines(0.99)}."
        )
        return Advice(advice=None, reason=reason, sources=sources)
    considered = [
        _row(name, values)
        for name, values in (
            ("input_tokens", asked.input_tokens),
            ("output_tokens", asked.output_tokens),
            ("total_tokens", asked.total_tokens),
        )
    ]
    share = 0.99 if n >= least_lines(0.99) else 0.95
    max_tokens = _rounded(_bound(asked.output_tokens, share))
    n_ctx = max(_rounded(_bound(asked.total_tokens, share)), max_tokens)
    window = 1 << (n_ctx - 1).bit_length()
    if asked.n_cut > MOST_CUT * n:
        reason = (
            f"{asked.n_cut} of {n} answers were cut at their largest number of tokens, so the "
            "ledger does not show how long they would be: raise max_tokens, or ask for shorter "
            "answers, and look again."
        )
        return Advice(advice=None, reason=reason, sources=sources, considered=considered)
    reason = (
        f"Of {n} answers, {share:.0%} stay within these limits (upper 95 % confidence bounds): "
        f"answers up to {max_tokens} tokens, prompt and answer up to {n_ctx}, so a model with a "
        f"window of {window:,} is enough."
    )
    return Advice(
        advice={"max_tokens": max_tokens, "n_ctx": n_ctx, "model_window": window, "share": share},
        reason=reason,
        sources=sources,
        considered=considered,
    )


def _bound(values: Sequence[float], share: float) -> float:
    return cast("float", upper_bound(values, share))  # there are enough values


def _row(name: str, values: Sequence[float]) -> dict[str, Json]:
    found: dict[str, Json] = {"name": name, "max": max(values)}
    for label, share in _SHARES.items():
        found[label] = quantile(values, share)
        found[f"{label}_upper"] = upper_bound(values, share)
    return found


def _rounded(tokens: float) -> int:
    return max(1, -(-int(tokens) // _ROUNDED_TO)) * _ROUNDED_TO
