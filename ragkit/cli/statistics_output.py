"""Results of `ragkit eval audit`, `aa` and `ppi` as text for people."""

from __future__ import annotations

from ragkit.cli.output import Shown


def audit_text(data: Shown) -> str:
    """Return what a share can mean, in words."""
    lines = [_count("value", data["value"], data["n"])]
    if data["base"] is not None:
        lines.append(_count("base", data["base"], data["n"]))
    for reading in data["readings"]:
        lines += ["", _assumed(data, reading), *_reading(data, reading)]
    lines += [
        "",
        "least: the one run gains questions and loses none; independent: the outcomes of the two",
        "have nothing to do with each other; most: as many questions change as the shares allow.",
    ]
    return "\n".join(lines)


def _count(what: str, count: Shown, n: int) -> str:
    share, low, high = f"{what} {count['share']:.6g}", count["k_low"], count["k_high"]
    if count["k"] is None:
        return (
            f"{share} is no share of {n:,}: {low:,} of them are {low / n:.6g}, {high:,} are "
            f"{high / n:.6g}. It is a mean of something else, or of another number of questions"
        )
    also = "" if low == high else f" (as it is rounded, {low:,} to {high:,} are possible)"
    return f"{share}: {count['k']:,} of {n:,} questions{also}"


def _assumed(data: Shown, reading: Shown) -> str:
    if reading["icc"] is None:
        return "If the questions are independent"
    return (
        f"If they are about {data['clusters']:,} documents and those of one document are "
        f"correlated by {reading['icc']:.2g}, they count as {reading['n_effective']:,.0f}"
    )


def _reading(data: Shown, reading: Shown) -> list[str]:
    lines = [
        f"  true share: {reading['low']:.3f} to {reading['high']:.3f} (95 % interval); at least "
        f"{reading['at_least']:.3f} with 95 % confidence"
    ]
    of = "value" if data["base"] is None else "base"
    lines.append(
        f"  smallest difference from the {of} that is found with 80 % power: "
        f"{_cases(reading['detectable'], '.3f')}"
    )
    compared = reading["compared"]
    if compared is not None:
        lines.append(f"  value against base: {_compared(compared, data['n'])}")
    lines.append(
        f"  questions that find a difference of {abs(data['difference']):.3g} with 80 % power: "
        f"{_cases(reading['n_needed'], ',.0f')}"
    )
    return lines


def _cases(cases: Shown, form: str) -> str:
    names = ("least", "independent", "most")
    return ", ".join(f"{name} {_or_none(cases[name], form)}" for name in names)


def _or_none(value: float | None, form: str) -> str:
    return "none" if value is None else format(value, form)


def _compared(compared: Shown, n: int) -> str:
    least, most = compared["least_discordance"], compared["most_discordance"]
    if compared["distinguishable"] == "no":
        return "not distinguishable, however few questions changed"
    if compared["distinguishable"] == "yes":
        return "distinguishable, however many questions changed"
    return (
        f"depends: distinguishable only if at most {compared['largest_discordance']:,.0f} of {n:,} "
        f"questions changed (possible: {least:,.0f} to {most:,.0f})"
    )


def aa_text(data: Shown) -> str:
    """Return how often verdicts flip, and what it would take."""
    how = {
        "runs": "each with the outcomes of the two runs, exchanged at random",
        "questions": "each on documents of the run drawn anew, with replacement",
    }[data["source"]]
    shares = ", ".join(f"{name} {share:.1%}" for name, share in data["verdicts"].items())
    lines = [
        f"{data['verdict']}: the verdicts of two identical runs differ in {data['rate']:.1%} of "
        f"{data['n_pairs']:,} pairs (95 % interval {data['low']:.1%} to {data['high']:.1%})",
        f"pairs: {how}",
        f"verdicts: {shares}",
    ]
    if data["n_needed"] is None:
        lines.append("no number of such questions would bring it to 5 %: the truth is at a limit")
    elif data["n_needed"] > data["n"]:
        lines.append(
            f"about {data['n_needed']:,} questions like these {data['n']:,} would bring it to 5 %"
        )
    return "\n".join(lines)
