"""Results of `ragkit calibrate` as text for people."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from ragkit.cli.output import Shown
from ragkit.trimming import BASELINE_HITS

_PLOT_WIDTH = 40


def calibration_text(data: Shown) -> str:
    """Return what was certified, or what more it would take."""
    if data["policy"] is None:
        return _refused(data)
    if data["policy"].get("certificate") is None:
        return _uncertified(data)
    c = data["policy"]["certificate"]
    nothing = ""
    if data["untrimmed_k"] == BASELINE_HITS or c["expected_tokens"] >= c["untrimmed_tokens"]:
        nothing = "\nthis saves nothing against the untrimmed top 5: ask with --trim off"
    return (
        f"{'certified' if data['certified'] else 'not certified, marginal'}: {_kept(data)} keep "
        f"{_guarantee(c)}\n"
        f"n {c['n']} ({c['n_effective']:.0f} effective, {c['documents']} {_clusters(c)}), "
        f"{c['failures']} failures, achieved {c['achieved']:.3f}\n"
        f"mean context {c['expected_tokens']:.0f} tokens instead of {c['untrimmed_tokens']:.0f}\n"
        f"{_labels(data['labels'])}{_located(data['located'])}"
        f"wrote {data['out']}; use it with: {_use(data)}{nothing}{_refuses(data)}"
    )


def _labels(labels: Shown | None) -> str:
    """Return what became of the labelled questions."""
    if labels is None:
        return ""
    parts = [
        (labels["unanswerable"], "answered by nothing"),
        (labels["unmeasurable"], "without the labels for this metric"),
        (labels["choosing"], "used to fit or choose a policy"),
        (labels["left_out"], "left out, since one document may count for so many only"),
        (labels["measured"], "measured"),
    ]
    counted = ", ".join(f"{n:,} {what}" for n, what in parts if n)
    return (
        f"of {labels['given']:,} questions: {counted}; the untrimmed top 5 serves "
        f"{labels['served']:,} of these\n"
    )


def _refuses(data: Shown) -> str:
    """Return that a policy answers whatever is asked, where it does."""
    if data["policy"]["refuse_below"] > 0.0:
        return ""
    if data["target"]["mode"] == "conformal":
        return "\nit refuses nothing, whatever the evidence: that takes a certificate"
    return "\nit refuses nothing, whatever the evidence; --refuse-target X calibrates that too"


def _use(data: Shown) -> str:
    """Return how a policy is used: in a store, or behind another retriever."""
    known = data["policy"]["certificate"]["fingerprints"]
    if "retriever" not in known:
        return f"ragkit ask --trim {shlex.quote(data['out'])}"
    version = data["policy"]["certificate"]["corpus"]["version"]
    return (
        f"ragkit.trim(question, passages, policy={data['out']!r}, "
        f"fingerprint={known['retriever']!r}, corpus_version={version!r})"
    )


def _uncertified(data: Shown) -> str:
    out = data["out"]
    return (
        f"not certified: {data['reason']}\n{_labels(data['labels'])}{_located(data['located'])}"
        f"wrote {out}: a policy that promises nothing; use it with: "
        f"ragkit.trim(question, passages, policy={out!r}){_refuses(data)}"
    )


def _located(located: Shown | None) -> str:
    """Return which passages have no place, or no certain one, in the dataset's documents."""
    if located is None or not (located["missing"] or located["ambiguous"]):
        return ""
    return (
        f"of {located['passages']} passages {located['missing']} do not stand word for word in the "
        f"documents, so that they hold no evidence, and {located['ambiguous']} stand in several "
        "places\n"
    )


def _kept(data: Shown) -> str:
    policy = data["policy"]
    if data["untrimmed_k"] is not None:
        chunks = "chunk" if data["untrimmed_k"] == 1 else f"{data['untrimmed_k']} chunks"
        return f"the first {chunks}, untrimmed (no certified cut is cheaper),"
    return (
        f"the sentences of a pool of {policy['pool']} that rank {policy['keep_above']} or better"
        f"{_by(policy['scorer'])}"
    )


def _clusters(certificate: Shown) -> str:
    return "sections" if certificate["cluster"] == "section" else "documents"


def _by(scorer: Shown | None) -> str:
    return " without training" if scorer is None else f" by {scorer['name']}"


def _refused(data: Shown) -> str:
    needed = data["n_needed"]
    more = (
        "no number of such questions would do"
        if needed is None
        else (f"about {needed:,} labelled questions like these are needed")
    )
    known = _labels(data["labels"]) + _located(data["located"])
    return f"not certified: {data['reason']}\n{known}{more}; nothing was written"


def _guarantee(target: Shown) -> str:
    share, metric = f"{target['retain']:.1%}", target["metric"]
    if target["mode"] == "conformal":
        return (
            f"{metric} for {share} of the questions that the untrimmed top 5 serves, on average "
            "over calibration sets, not with confidence for this one"
        )
    sure = f"{target['confidence']:.0%} confidence"
    return {
        "strict": f"{metric} for at least {share} of the questions that the untrimmed top 5 serves,"
        f" with {sure}",
        "ratio": f"at least {share} of the untrimmed top 5's mean {metric}, with {sure}",
        "absolute": f"a mean {metric} of at least {target['retain']:.3f}, with {sure}",
    }[str(target["mode"])]


def explanation(data: Shown) -> str:
    """Return what is guaranteed and what is not, and the curve."""
    lines = [calibration_text(data), "", *meaning(data), *_grid(data["grid"])]
    lines += ["", "Tokens of context, and the share of the untrimmed top 5's quality kept"]
    return "\n".join([*lines, *_plot(data["curve"])])


def meaning(data: Shown) -> list[str]:
    """Return what is guaranteed and what is not, line by line."""
    lines: list[str] = []
    c = None if data["policy"] is None else data["policy"].get("certificate")
    if c is not None:
        saved = 1.0 - c["expected_tokens"] / c["untrimmed_tokens"]
        change = f"{saved:.0%} less than" if saved >= 0.0 else f"{-saved:.0%} more than"
        lines += [
            "What this says",
            f"  Send the model {_kept(data).rstrip(',')}: on average {c['expected_tokens']:.0f} "
            f"tokens a question, {change} the untrimmed top 5, at most {c['largest_tokens']} for "
            "the labelled ones.",
            f"  If questions keep coming as they did, that keeps {_guarantee(c)}.",
            f"  It was checked on {c['n']} questions about {c['documents']} {_clusters(c)}; "
            f"{c['failures']} of them lost something.",
            *_absolute(data["evidence"], c["metric"]),
            *_price(c["expected_tokens"], data["uncertified_tokens"]),
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
            *_weaker(c),
            _end(c),
        ]  # fmt: skip
    else:
        lines += [f"Asked was {_guarantee(data['target'])}."]
        lines += _absolute(data["evidence"], data["target"]["metric"])
    return lines


def _end(certificate: Shown) -> str:
    if "retriever" in certificate["fingerprints"]:
        return (
            "  It ends when the retriever's fingerprint, the corpus version, the way sentences are "
            "compared, the token counter or the score changes; ragkit.trim then says so."
        )
    return (
        "  It ends when the chunker, the embedder, the template, the token counter or the score"
        " changes, or when more than a tenth of the chunks has changed; ragkit ask then says so."
    )


def _weaker(certificate: Shown) -> list[str]:
    """Return what a marginal promise, and sections as clusters, leave open."""
    lines: list[str] = []
    if certificate["mode"] == "conformal":
        lines.append(
            "  It is no certificate: other labels like these would give another cut, and the share "
            "holds on average over them. This cut may keep less. Each document counts alike."
        )
    if certificate["cluster"] != "section":
        return lines
    return [
        *lines,
        "  It counts sections as independent, the weaker assumption: sections of one document are "
        "more alike than documents, and nothing is said about other documents.",
    ]


def _absolute(evidence: Shown | None, metric: str) -> list[str]:
    """Return what the contexts hold in themselves, beside the promise, which is relative."""
    if evidence is None:
        return []

    def share(name: str) -> str:
        of = evidence[name]
        if of is None or of["mean"] is None:
            return "unknown"
        bounds = [f"{of[end]:.3f}" if of[end] is not None else "?" for end in ("low", "high")]
        return f"{of['mean']:.3f} (95 % interval {bounds[0]} to {bounds[1]})"

    of_certified = "" if evidence["certified"] is None else f"; this context: {share('certified')}"
    return [
        f"  In themselves, over the {evidence['n']} questions measured, mean {metric}: the "
        f"untrimmed top 5 {share('untrimmed')}{of_certified}."
    ]


def _price(certified: float, uncertified: float | None) -> list[str]:
    """Return what the certificate costs beside a cut that just keeps the share on these labels."""
    if uncertified is None:
        return []
    return [
        f"  A cut that just keeps that share of these very questions sends {uncertified:.0f} "
        f"tokens and promises nothing: the certificate costs a factor of "
        f"{certified / uncertified:.2f}."
    ]


def _grid(grid: Sequence[Shown]) -> list[str]:
    """Return what other shares and confidences cost."""
    if not grid:
        return []
    lines = ["", "Mean tokens for other goals (retain down, confidence across)"]
    confidences = sorted({cell["confidence"] for cell in grid})
    lines.append(f"{'':8}" + "".join(f"{c:>18.0%}" for c in confidences))
    for retain in sorted({cell["retain"] for cell in grid}):
        row = (_cell(cell) for cell in grid if cell["retain"] == retain)
        lines.append(f"{retain:8.0%}" + "".join(f"{text:>18}" for text in row))
    return lines


def _cell(cell: Shown) -> str:
    if cell["tokens"] is not None:
        whole = "" if cell["untrimmed_k"] is None else f" (top {cell['untrimmed_k']})"
        return f"{cell['tokens']:,.0f}{whole}"
    return "never" if cell["n_needed"] is None else f"{cell['n_needed']:,} labels"


def _plot(curve: Sequence[Shown]) -> list[str]:
    points = [point for point in curve if point["retained"] is not None]
    best = max((point["retained"] for point in points), default=1.0)
    lines: list[str] = []
    for point in points[::3]:
        bar = "█" * round(_PLOT_WIDTH * point["retained"] / max(best, 1.0))
        lines.append(f"{point['tokens']:7.0f}  {point['retained']:6.1%}  {bar}")
    return lines
