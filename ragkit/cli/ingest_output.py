"""The report of an ingest as text: what changed, in 20 lines at most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ragkit.cli.output import Shown

_WIDTH = 100
_MOST_FAILURES = 5
_MOST_REASONS = 4


def ingest_text(data: Shown) -> str:
    """Return an ingest report, after a dry run with what the rules make of each file."""
    counts = ", ".join(f"{n:,} {status}" for status, n in data["documents"].items() if n)
    moved = f" ({data['moved']:,} of them moved)" if data["moved"] else ""
    lines = [f"{counts or 'nothing to do'}{moved}", *_changes(data), *_work(data)]
    lines += [*_failures(data["failures"]), *_skips(data["skipped"])]
    if known := data["known_failures"]:
        lines.append(
            f"{known:,} failed before and have not changed: skipped, unless --retry-failed is given"
        )
    return "\n".join([*lines, *map(_rule_text, data["rules"]), *map(_file_text, data["files"])])


def _changes(data: Shown) -> Iterator[str]:
    """Yield a line for each kind of change with the first names; none for a first ingest."""
    counts = data["documents"]
    if not any(counts[status] for status in ("changed", "unchanged", "removed")):
        return
    for status in ("added", "changed", "removed"):
        names = [change["document_id"] for change in data["changes"] if change["status"] == status]
        if names:
            yield f"{status:<7} {_some(names, counts[status])}"


def _some(names: Sequence[str], n: int) -> str:
    """Return the first of n names that fit on a line, one at least, and how many more there are."""
    n_shown = n_characters = 0
    for name in names:
        n_characters += len(name) + 2
        if n_shown and n_characters > _WIDTH:
            break
        n_shown += 1
    more = f" and {n - n_shown:,} more" if n > n_shown else ""
    return ", ".join(names[:n_shown]) + more


def _work(data: Shown) -> Iterator[str]:
    yield f"{data['chunks']} chunks, {data['embedded']} embedded, {data['seconds']:.1f} s"
    sentences = data["sentence_vectors"]
    if sentences["bytes"] or sentences["reused"]:
        yield (
            f"sentence vectors: {sentences['embedded']} embedded, {sentences['reused']} reused, "
            f"{sentences['seconds']:.1f} s, {sentences['bytes'] / 1024:.0f} KiB"
        )
    if data["truncated"]:
        yield f"{data['truncated']} texts were longer than the embedder reads"
    if dropped := [f"{n:,} {why}" for why, n in data["dropped"].items() if n]:
        yield f"characters left out of texts: {', '.join(dropped)}"


def _failures(failures: Sequence[Shown]) -> Iterator[str]:
    for failure in failures[:_MOST_FAILURES]:
        yield f"failed  {failure['source']}: {failure['code']}: {failure['detail']}"
    if (n_more := len(failures) - _MOST_FAILURES) > 0:
        yield f"failed  {n_more:,} more: --json lists all"


def _skips(skips: Sequence[Shown]) -> Iterator[str]:
    """Yield a line for each reason to skip inputs; known failures are counted elsewhere."""
    by_reason: dict[str, list[str]] = {}
    for skip in skips:
        if not skip["known"]:
            by_reason.setdefault(skip["detail"], []).append(skip["source"])
    reasons = sorted(by_reason, key=lambda reason: -len(by_reason[reason]))
    for reason in reasons[:_MOST_REASONS]:
        sources = by_reason[reason]
        what = sources[0] if len(sources) == 1 else f"{len(sources):,} files"
        yield f"skipped {what}: {reason}"
    if n_more := sum(len(by_reason[reason]) for reason in reasons[_MOST_REASONS:]):
        yield f"skipped {n_more:,} more: --json lists all"


def _file_text(file: Shown) -> str:
    """Return the line of what a dry run found."""
    why = f": {file['detail']}" if file["detail"] else ""
    return f"{file['status']:<9} {file['document_id']}{why}"


def _rule_text(file: Shown) -> str:
    """Return the line of a file in the table of a dry run."""
    rule = "no rule" if file["rule"] is None else f"rule {file['rule']}"
    groups = "left out" if file["skip"] else f"groups {','.join(file['groups']) or '-'}"
    return f"{rule:<9}{groups}  {file['document_id']}"
