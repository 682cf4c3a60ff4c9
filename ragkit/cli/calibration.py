"""What `ragkit calibrate` does."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from ragkit.cli import output
from ragkit.cli.commands import names
from ragkit.cli.evaluation import numbers, open_rag, read_dataset
from ragkit.types import Json

if TYPE_CHECKING:
    from ragkit.config import Settings
    from ragkit_eval.calibration.certify import CalibrationMode

DONE, TOO_FEW_LABELS = 0, 5
_Shown: TypeAlias = Mapping[str, Any]
_PLOT_WIDTH = 40


def calibrate(
    options: argparse.Namespace, read_settings: Callable[[argparse.Namespace], Settings]
) -> int:
    """Run `ragkit calibrate`."""
    from ragkit.cli.progress import Bar
    from ragkit_eval.calibration.calibrate import calibrate as find
    from ragkit_eval.calibration.fit import write_scorer
    from ragkit_eval.calibration.task import write_policy
    from ragkit_eval.running.folder import write_text
    from ragkit_eval.running.stores import missing_documents

    dataset = read_dataset(options)
    mode = cast("CalibrationMode", options.mode)
    pools = numbers("pool", options.pool)
    # --mode is the promise's here; --search-mode is the retrieval's.
    options.mode = options.search_mode
    settings = read_settings(options)
    out = Path(options.out or "trim.json")
    with open_rag(options, dataset, settings) as opened:
        missing_documents(opened.rag, dataset)
        with Bar(options.progress, unit="questions") as bar:
            found = find(
                opened.rag,
                dataset,
                retain=options.retain,
                confidence=options.confidence,
                mode=mode,
                metric=options.metric,
                refuse_target=options.refuse_target,
                pools=pools,
                scorers=names(options.scorer) or (),
                second_hop=options.second_hop,
                cluster=options.cluster,
                name=out.stem,
                seed=settings.seed or 0,
                on_progress=lambda done, total: bar.note({"question": done}, "measured", total),
            )
    if found.certified:
        out.parent.mkdir(parents=True, exist_ok=True)
        if found.scorer is not None:
            write_text(out.with_name(found.scorer.name), write_scorer(found.scorer), for_all=True)
        write_text(out, write_policy(found), for_all=True)
    data: dict[str, Json] = {**found.to_dict(), "out": str(out) if found.certified else None}
    as_text = explanation if options.explain else _short
    output.show(data, as_text, as_json=options.json)
    return DONE if found.certified else TOO_FEW_LABELS


def _short(data: _Shown) -> str:
    if not data["certified"]:
        return _refused(data)
    policy = data["policy"]
    c = policy["certificate"]
    nothing = ""
    if c["expected_tokens"] >= c["untrimmed_tokens"]:
        nothing = "\nthis saves nothing: the untrimmed top 5 is no larger; ask with --trim off"
    return (
        f"certified: the sentences of a pool of {policy['pool']} that rank {policy['keep_above']} "
        f"or better{_by(policy['scorer'])} keep {_promise(c)}\n"
        f"n {c['n']} ({c['n_effective']:.0f} effective, {c['documents']} documents), "
        f"{c['failures']} failures, achieved {c['achieved']:.3f}\n"
        f"mean context {c['expected_tokens']:.0f} tokens instead of {c['untrimmed_tokens']:.0f}\n"
        f"wrote {data['out']}; use it with: ragkit ask --trim {shlex.quote(data['out'])}{nothing}"
    )


def _by(scorer: _Shown | None) -> str:
    return " without training" if scorer is None else f" by {scorer['name']}"


def _refused(data: _Shown) -> str:
    needed = data["n_needed"]
    more = (
        "no number of such questions would do"
        if needed is None
        else (f"about {needed:,} questions like these are needed")
    )
    return f"not certified: {data['reason']}\n{more}; nothing was written"


def _promise(target: _Shown) -> str:
    share, sure = f"{target['retain']:.1%}", f"{target['confidence']:.0%} confidence"
    metric = target["metric"]
    return {
        "strict": f"{metric} for at least {share} of the questions that the untrimmed top 5 serves,"
        f" with {sure}",
        "ratio": f"at least {share} of the untrimmed top 5's mean {metric}, with {sure}",
        "absolute": f"a mean {metric} of at least {target['retain']:.3f}, with {sure}",
    }[str(target["mode"])]


def explanation(data: _Shown) -> str:
    """Return what is and what is not promised, in words, with the curve."""
    lines: list[str] = []
    if data["certified"]:
        policy = data["policy"]
        c = policy["certificate"]
        saved = 1.0 - c["expected_tokens"] / c["untrimmed_tokens"]
        change = f"{saved:.0%} less than" if saved >= 0.0 else f"{-saved:.0%} more than"
        lines += [
            _short(data), "",
            "What this says",
            f"  Send the model the sentences that rank {policy['keep_above']} or better: on "
            f"average {c['expected_tokens']:.0f} tokens a question, {change} the untrimmed top 5, "
            f"at most {c['largest_tokens']} for the labelled ones.",
            f"  If questions keep coming as they did, that keeps {_promise(c)}.",
            f"  It was checked on {c['n']} questions about {c['documents']} documents; "
            f"{c['failures']} of them lost something.",
        ]  # fmt: skip
        refusal = c["refusal"]
        if refusal is not None:
            lines.append(
                f"  Below an evidence score of {refusal['threshold']:.3f} there is no answer: at "
                f"most {c['refuse_target']:.1%} of answerable questions, with the same confidence; "
                f"{refusal['unanswerable_refused']} of {refusal['n_unanswerable']} unanswerable "
                "ones were refused."
            )
        window = data["advice"]
        if window is not None and window["n_ctx"] is not None:
            lines.append(
                f"  A context window of {window['n_ctx']} tokens suffices: template "
                f"{window['template_tokens']}, context {window['largest_context_tokens']}, "
                f"question {window['largest_question_tokens']}, history "
                f"{window['history_tokens']}, answer {window['max_tokens']} (the longest "
                "reference). Advice only, nothing is capped."
            )
        lines += [
            "", "What this does not say",
            f"  It is about {c['metric']}, not about how good the model's answers are.",
            "  It is about questions like the labelled ones, on documents like theirs; one question"
            " in particular may lose its evidence.",
            "  It ends when the chunker, the embedder, the template, the token counter or the score"
            " changes, or when more than a tenth of the chunks has changed; ragkit ask then says"
            " so.",
        ]  # fmt: skip
    else:
        lines += [_refused(data), "", f"Asked was {_promise(data['target'])}."]
    lines += ["", "Tokens of context, and the share of the untrimmed top 5's quality kept"]
    return "\n".join([*lines, *_plot(data["curve"])])


def _plot(curve: list[_Shown]) -> list[str]:
    points = [point for point in curve if point["retained"] is not None]
    best = max((point["retained"] for point in points), default=1.0)
    lines: list[str] = []
    for point in points[::3]:
        bar = "█" * round(_PLOT_WIDTH * point["retained"] / max(best, 1.0))
        lines.append(f"{point['tokens']:7.0f}  {point['retained']:6.1%}  {bar}")
    return lines
