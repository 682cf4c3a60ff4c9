"""`ragkit calibrate`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit.cli import output
from ragkit.cli.calibration_output import calibration_text, explanation, meaning
from ragkit.cli.datasets import open_over, read_dataset
from ragkit.cli.options import names, numbers, settings_of
from ragkit.errors import ConfigError, ExitCode
from ragkit.private import make_folder
from ragkit.types import MOST_HITS, Json

if TYPE_CHECKING:
    from ragkit.config import Settings
    from ragkit_eval.calibration.task import Calibration
    from ragkit_eval.data.datasets import Dataset


def calibrate(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit calibrate`."""
    if args.html is not None and (args.metric or "").lower() == "agreement":
        raise ConfigError("--html shows what labels say is lost; metric Agreement has no labels")
    dataset = read_dataset(args)
    # Here `--mode` is that of the guarantee; that of retrieval is `--search-mode`.
    settings = settings_of(args, mode=args.search_mode)
    out = Path(args.out or "trim.json")
    found = _find(args, dataset, settings, name=out.stem)
    is_written = found.policy is not None
    if is_written:
        _write(found, out)
    data: dict[str, Json] = {**found.to_dict(), "out": str(out) if is_written else None}
    if args.html is not None:
        _write_page(found, meaning(data), dataset.name, Path(args.html))
    as_text = explanation if args.explain else calibration_text
    output.show(data, as_text, as_json=args.json)
    return ExitCode.DONE if is_written else ExitCode.INCONCLUSIVE


def _find(
    args: argparse.Namespace, dataset: Dataset, settings: Settings, *, name: str
) -> Calibration:
    from ragkit.cli.progress import Bar
    from ragkit_eval.calibration.calibrate import calibrate as find
    from ragkit_eval.running.stores import missing_documents

    choices: dict[str, Any] = {
        "pools": numbers("pool", args.pool),
        "scorers": names(args.scorer) or (),
        "neighbours": _neighbours(args.neighbours),
        "headings": _switches("headings", args.headings),
        "units": _switches("units", args.units),
    }
    with open_over(dataset, args, settings) as opened:
        missing_documents(opened.rag, dataset)
        with Bar(args.progress, unit="questions") as bar:
            return find(
                opened.rag,
                dataset,
                retain=args.retain,
                confidence=args.confidence,
                mode=args.mode,
                metric=args.metric,
                refuse_target=args.refuse_target,
                **choices,
                second_hop=args.second_hop,
                cluster=args.cluster,
                name=name,
                seed=settings.seed or 0,
                with_losses=args.html is not None,
                on_progress=lambda done, total: bar.note({"question": done}, "measured", total),
            )


def _neighbours(given: str) -> tuple[int, ...]:
    """Read a comma-separated list of numbers, 0 or more; raises `ConfigError`."""
    values = names(given) or ()
    for value in values:
        if not (value.isascii() and value.isdigit()) or int(value) > MOST_HITS:
            raise ConfigError(f"--neighbours {value!r}; allowed: 0 to {MOST_HITS:,}")
    return tuple(map(int, values))


def _switches(name: str, given: str) -> tuple[bool, ...]:
    """Read a comma-separated list of `on` and `off`; raises `ConfigError`."""
    values = names(given) or ()
    for value in values:
        if value not in {"on", "off"}:
            raise ConfigError(f"--{name} {value!r}; allowed: on off")
    return tuple(value == "on" for value in values)


def _write(found: Calibration, out: Path) -> None:
    """Write the policy, and beside it the scorer that was fitted for it, if any."""
    from ragkit_eval.calibration.fit import write_scorer
    from ragkit_eval.calibration.task import write_policy
    from ragkit_eval.running.folder import write_text

    out.parent.mkdir(parents=True, exist_ok=True)
    if found.scorer is not None:
        write_text(out.with_name(found.scorer.name), write_scorer(found.scorer), for_all=True)
    write_text(out, write_policy(found), for_all=True)


def _write_page(found: Calibration, said: Sequence[str], name: str, path: Path) -> None:
    """Write what is lost as a page; it holds questions and text, and is for its owner alone."""
    from ragkit_eval.reporting.calibration_page import html
    from ragkit_eval.running.folder import write_text

    make_folder(path.parent)
    write_text(path, html(found, said, name))
    output.tell(f"wrote {path}")
