"""The commands, one function each; the actions of `ragkit eval` are in `evaluation`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.cli import output
from ragkit.cli.options import (
    ask_options,
    embed_command,
    ingest_options,
    n_at_once,
    names,
    open_rag,
    read_history,
    search_options,
    settings_of,
)
from ragkit.cli.questions import (
    Line,
    answered_ids,
    answered_lines,
    identity,
    question_lines,
    unanswered,
)
from ragkit.config import FILE_NAME, read_sensitive
from ragkit.errors import ConfigError, ExitCode, StoreDamagedError
from ragkit.trust import record_trust
from ragkit.types import Json

if TYPE_CHECKING:
    from ragkit.cli.batching import Batched
    from ragkit.pipeline import RAG, Answer
    from ragkit.pipeline.report import Status
    from ragkit.storage.backup import BackupReport


def ingest(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit ingest`."""
    if args.watch:
        from ragkit.cli.watching import watch

        return watch(args, lambda quiet: _ingest_once(args, quiet=quiet))
    return _ingest_once(args)


def _ingest_once(args: argparse.Namespace, *, quiet: bool = False) -> ExitCode:
    from ragkit.cli.ingest_output import ingest_text
    from ragkit.cli.ingest_progress import IngestBar
    from ragkit.pipeline.heap import share_heap

    share_heap()
    with IngestBar(args.progress) as bar, open_rag(args, bar.tell) as rag:
        report = rag.ingest(*args.paths, **ingest_options(args, bar))
    if quiet and not any(report.documents[status] for status in _WORTH_TELLING):
        return ExitCode.DONE
    output.show(report.to_dict(), ingest_text, as_json=args.json)
    _tell_waiting(args, report.chunks_without_vectors)
    return ExitCode.SOME_FAILED if report.documents["failed"] else ExitCode.DONE


_WORTH_TELLING: tuple[Status, ...] = ("added", "changed", "removed", "failed")


def _tell_waiting(args: argparse.Namespace, n_chunks: int | None) -> None:
    if n_chunks:
        output.tell(f"{n_chunks:,} chunks wait for vectors: {embed_command(args)}")


def embed(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit embed`."""
    from ragkit.cli.progress import Bar

    with open_rag(args) as rag, Bar(args.progress, unit="chunks") as bar:
        report = rag.embed(max_seconds=args.max_seconds, on_progress=bar.advance_chunks)
    output.show(report.to_dict(), output.embed_text, as_json=args.json)
    _tell_waiting(args, report.remaining)
    return ExitCode.DONE


def rebuild(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit rebuild`."""
    from ragkit.cli.ingest_output import ingest_text
    from ragkit.cli.progress import Bar

    with open_rag(args) as rag, Bar(args.progress) as bar:
        report = rag.rebuild(on_progress=bar.advance)
    output.show(report.to_dict(), ingest_text, as_json=args.json)
    return ExitCode.DONE


def search(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit search`."""
    with open_rag(args) as rag:

        def found(line: Mapping[str, Json]) -> dict[str, Json]:
            options = search_options(args, line)
            hits = rag.search(str(line["text"]), **options)
            return {
                "schema": 1,
                "id": identity(line),
                "question": line["text"],
                "vector_share": rag.vector_share(groups=options.get("groups")),
                "hits": [hit.to_dict() for hit in hits],
            }

        if _is_batch(args):
            return _show_each(answered_lines(question_lines(args.questions), found))
        output.show(found({"text": args.question}), output.search_text, as_json=args.json)
        return ExitCode.DONE


def ask(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit ask`."""
    history = read_history(args.history)
    lines: Iterable[Line] | None = None
    generator: Batched | None = None
    if _is_batch(args):
        lines = unanswered(question_lines(args.questions), answered_ids(args.answered))
        if not args.dry_run and settings_of(args).profile == "batch":
            lines = list(lines)
            generator = _answered_by_jobs(args, lines, history)
    elif args.at_once is not None or args.answered is not None:
        raise ConfigError("--jobs and --answered are for --questions FILE.jsonl, not for one")
    with open_rag(args, generator=generator) as rag:

        def answer(line: Mapping[str, Json]) -> dict[str, Json]:
            options = ask_options(args, line, history)
            answer = rag.ask(str(line["text"]), dry_run=args.dry_run, **options)
            if (ending := output.ending_text(answer)) is not None:
                output.tell(ending)
            return answer.to_dict(with_prompt=args.show_prompt or args.dry_run)

        if lines is not None:
            n_jobs = n_at_once(args.at_once, rag.settings)
            return _show_each(answered_lines(lines, answer, n_jobs=n_jobs))
        refused = _answer(rag, args, history).refused
    return ExitCode.REFUSED if refused else ExitCode.DONE


def _answered_by_jobs(
    args: argparse.Namespace, lines: Sequence[Line], history: Sequence[Mapping[str, str]]
) -> Batched | None:
    """Have all lines answered by batch jobs, if the profile and the generator know them."""
    from ragkit.cli.batching import note_all, open_batched

    generator = open_batched(settings_of(args))
    if generator is not None:
        with open_rag(args, generator=generator, ledger="off") as rag:
            note_all(
                lines, lambda line: rag.ask(str(line["text"]), **ask_options(args, line, history))
            )
        generator.answer_all()
    return generator


def _answer(rag: RAG, args: argparse.Namespace, history: Sequence[Mapping[str, str]]) -> Answer:
    question, options = args.question, ask_options(args, {}, history)
    if args.stream and not args.json and not args.dry_run:
        stream = rag.stream(question, **options)
        for piece in stream:
            output.write(piece)
        answer = stream.answer
        output.write("\n" if answer.text else "")
        as_text = output.ask_text_without_answer if answer.text else output.ask_text
    else:
        answer = rag.ask(question, dry_run=args.dry_run, **options)
        as_text = output.ask_text
    data = answer.to_dict(with_prompt=args.show_prompt or args.dry_run)
    output.show(data, as_text, as_json=args.json)
    if (ending := output.ending_text(answer)) is not None:
        output.tell(ending)
    return answer


def chat(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit chat`."""
    from ragkit.cli.chat import chat as run

    return run(args)


def list_documents(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit list`."""
    with open_rag(args) as rag:
        for row in rag.list(groups=names(args.groups)):
            output.show(row.to_dict(), output.list_text, as_json=args.json)
    return ExitCode.DONE


def show(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit show`."""
    groups = names(args.groups)
    with open_rag(args) as rag:
        if args.all:
            for row in rag.list(groups=groups):
                output.show(
                    rag.show(row.document_id, groups=groups) or {},
                    output.document_text,
                    as_json=args.json,
                )
        elif args.document_id is None:
            output.show(rag.describe(), output.store_text, as_json=args.json)
        else:
            found = rag.show(args.document_id, groups=groups)
            if found is None:
                raise ConfigError(
                    f"there is no document {args.document_id!r}; ragkit list names them"
                )
            output.show(found, output.document_text, as_json=args.json)
    return ExitCode.DONE


def rm(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit rm`."""
    with open_rag(args) as rag:
        removed = rag.rm(*args.ids, secure=args.secure)
        copies = _copies(rag) if removed else []
    missing: list[Json] = [name for name in args.ids if name not in set(removed)]
    data: dict[str, Json] = {
        "schema": 1,
        "removed": list(removed),
        "missing": missing,
        "copies": [{"kind": kind, "path": path} for kind, path in copies],
    }
    output.show(data, output.removed_text, as_json=args.json)
    for kind, path in copies:
        output.tell(f"not reached: {_KEPT[kind]}: {path}")
    return ExitCode.SOME_FAILED if missing else ExitCode.DONE


_KEPT = {
    "backup": "a backup may hold what was removed",
    "batch": "answers of batch jobs may be made from it; S3 may hold them, too",
    "evaluation_cache": "a cache of evaluations may hold answers and vectors made from it",
    "ledger": "the ledger holds ids, counts and costs, no text but notes and questions kept on "
    "request",
}


def _copies(rag: RAG) -> list[tuple[str, str]]:
    """Return kind and place of each known copy that removing does not reach."""
    found = [("backup", place) for place in rag.copies()]
    caches = sorted({Path(".ragkit-eval"), Path(rag.settings.store) / ".ragkit-eval"})
    found += [("evaluation_cache", str(place)) for place in caches if place.is_dir()]
    jobs = {Path(".ragkit-batch"), Path(rag.settings.store) / ".ragkit-batch"}
    found += [("batch", str(place)) for place in sorted(jobs) if place.is_dir()]
    ledger = Path(rag.settings.ledger or Path(rag.settings.store) / "ledger.jsonl")
    return [*found, *([("ledger", str(ledger))] if ledger.is_file() else [])]


def backup(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit backup`."""
    return _copied(args, lambda rag: rag.backup(args.destination, replace=args.force))


def restore(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit restore`."""
    return _copied(args, lambda rag: rag.restore(args.source))


def _copied(args: argparse.Namespace, copy: Callable[[RAG], BackupReport]) -> ExitCode:
    try:
        with open_rag(args) as rag:
            report = copy(rag).to_dict()
    except StoreDamagedError:
        unsound: dict[str, Json] = {
            "schema": 1, "bytes": None, "documents": None, "verified": False
        }  # fmt: skip
        output.show(unsound, output.copied_text, as_json=args.json)
        raise
    output.show(report, output.copied_text, as_json=args.json)
    return ExitCode.DONE


def doctor(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit doctor`."""
    with open_rag(args) as rag:
        findings = rag.doctor(repair=args.repair)
        sound = all(finding.repaired for finding in findings)
        saved = rag.compact() if args.compact and sound else None
    data: dict[str, Json] = {
        "schema": 1,
        "sound": sound,
        "findings": [finding.to_dict() for finding in findings],
        "bytes_saved": saved,
    }
    output.show(data, output.doctor_text, as_json=args.json)
    return ExitCode.DONE if sound else ExitCode.STORE


def ledger(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit ledger`."""
    from ragkit.cli.ledgers import ACTIONS

    return ACTIONS[args.action](args)


def monitor(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit monitor`."""
    from ragkit.cli.monitors import monitor as run

    return run(args)


def feedback(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit feedback`."""
    with open_rag(args) as rag:
        found = rag.feedback(args.answer_id, args.verdict == "good", note=args.note)
    output.show(found.to_dict(), output.feedback_text, as_json=args.json)
    return ExitCode.DONE


def template(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit template`."""
    from ragkit.pipeline.opening import open_counter
    from ragkit.prompts import ABSTENTION, load_template, lock_template

    loaded = lock_template(Path(args.file)) if args.lock else load_template(args.file)
    data: dict[str, Json] = {
        "schema": 1,
        "id": loaded.id,
        "version": loaded.version,
        "sha256": loaded.sha256,
        "overhead_tokens": loaded.overhead_tokens(open_counter()),
        "abstention": ABSTENTION if loaded.asks_to_abstain else None,
        "system": loaded.system,
        "text": loaded.text,
    }
    output.show(data, output.template_text, as_json=args.json)
    return ExitCode.DONE


def init(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit init`."""
    from ragkit.cli.settings_file import COMMENTED

    path = Path(FILE_NAME)
    if path.exists() and not args.force:
        raise ConfigError(f"{path} exists; replace it with: ragkit init --force")
    path.write_text(COMMENTED, encoding="utf-8")
    output.write(f"wrote {path}\n")
    try:
        record_trust(path, read_sensitive(path))
    except ConfigError as error:
        output.tell(error)
    return ExitCode.DONE


def trust(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit trust`."""
    from ragkit.cli.trusting import trust as run

    return run(args)


def schema(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit schema`."""
    from ragkit.schemas import load_schema, schema_names

    if args.name is None:
        everything: dict[str, Json] = {name: load_schema(name) for name in schema_names()}
        output.write(json.dumps(everything, indent=2) + "\n")
    else:
        output.write(json.dumps(load_schema(args.name), indent=2) + "\n")
    return ExitCode.DONE


def completion(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit completion`."""
    from ragkit.cli.completion import script
    from ragkit.cli.parser import make_parsers

    output.write(script(args.shell, make_parsers()[1]))
    return ExitCode.DONE


def evaluate(args: argparse.Namespace) -> int:
    """Run `ragkit eval`."""
    # Only this command and the next need what evaluates; the others start faster without it.
    from ragkit.cli import evaluation, statistics

    actions = {**evaluation.ACTIONS, **statistics.ACTIONS}
    return actions[args.action](args)


def calibrate(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit calibrate`."""
    from ragkit.cli.calibration import calibrate as run

    return run(args)


def advise(args: argparse.Namespace) -> int:
    """Run `ragkit advise`."""
    from ragkit.cli.advising import ACTIONS

    return ACTIONS[args.action](args)


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "ingest": ingest,
    "embed": embed,
    "rebuild": rebuild,
    "search": search,
    "ask": ask,
    "chat": chat,
    "list": list_documents,
    "show": show,
    "rm": rm,
    "doctor": doctor,
    "backup": backup,
    "restore": restore,
    "calibrate": calibrate,
    "eval": evaluate,
    "ledger": ledger,
    "feedback": feedback,
    "advise": advise,
    "monitor": monitor,
    "template": template,
    "init": init,
    "trust": trust,
    "schema": schema,
    "completion": completion,
}


def _is_batch(args: argparse.Namespace) -> bool:
    """Whether there is a file of questions; raises `ConfigError` unless there is that or one."""
    if (args.question is None) == (args.questions is None):
        raise ConfigError("give one question, or --questions FILE.jsonl")
    return args.questions is not None


def _show_each(records: Iterable[dict[str, Json]]) -> ExitCode:
    """Print a line per question; one that failed does not stop the others."""
    code = ExitCode.DONE
    for record in records:
        output.show(record, str, as_json=True)
        if "error" in record:
            code = ExitCode.SOME_FAILED
    return code
