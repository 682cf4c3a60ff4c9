"""What each command does."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

from ragkit.cli import output
from ragkit.cli.questions import failed_line, identity, question_lines, read_question
from ragkit.config import FILE_NAME, Settings, load_settings, read_sensitive
from ragkit.errors import ConfigError, RagkitError, RemoteError, StoreDamagedError
from ragkit.groups import group_names, narrowed
from ragkit.text.jsontext import read_json
from ragkit.trust import record_trust
from ragkit.types import MOST_HITS, Json, Mode

if TYPE_CHECKING:
    from ragkit.pipeline import RAG, Answer
    from ragkit.storage.backup import BackupReport
    from ragkit.types import Hit

DONE, SOME_FAILED, REFUSED, UNSOUND = 0, 1, 3, 6
_SHOWN_CHARACTERS = 200


class _Scope(TypedDict):
    k: int | None
    mode: Mode | None
    filters: Mapping[str, Json] | None
    groups: Sequence[str] | None


_FLAGS = (
    "store", "embedder", "chunker", "chunk_tokens", "chunk_overlap", "embed_title",
    "sentence_vectors", "k", "mode", "fusion", "trim", "trim_level", "refuse_below",
    "max_context_tokens", "generator", "base_url", "api_key_env", "timeout", "total_timeout",
    "template", "max_tokens", "temperature", "top_p", "top_k", "stop", "seed", "ledger",
    "model_billions",
)  # fmt: skip


def ingest(options: argparse.Namespace) -> int:
    """Run `ragkit ingest`."""
    from ragkit.cli.progress import Bar

    with _open(options) as rag, Bar(options.progress) as bar:
        report = rag.ingest(
            *options.paths,
            root=options.root,
            prune=options.prune,
            groups=_readers(options.groups),
            metadata=_object("metadata", options.metadata),
            password=_password(options.password_file),
            require_groups=options.require_groups,
            dry_run=options.dry_run,
            confirm=_confirm(yes=options.yes),
            secure=options.secure,
            on_progress=bar.advance,
        )
    output.show(report.to_dict(), output.ingest_text, as_json=options.json)
    return SOME_FAILED if report.documents["failed"] else DONE


def _confirm(*, yes: bool) -> Callable[[str], bool]:
    """Return what agrees where the command line did, or a person at a terminal does."""

    def confirm(what: str) -> bool:
        if yes:
            return True
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        output.tell(f"{what}. Go on? [y/N]")
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    return confirm


def rebuild(options: argparse.Namespace) -> int:
    """Run `ragkit rebuild`."""
    from ragkit.cli.progress import Bar

    with _open(options) as rag, Bar(options.progress) as bar:
        report = rag.rebuild(on_progress=bar.advance)
    output.show(report.to_dict(), output.ingest_text, as_json=options.json)
    return DONE


def search(options: argparse.Namespace) -> int:
    """Run `ragkit search`."""
    with _open(options) as rag:

        def one(line: Mapping[str, Json]) -> dict[str, Json]:
            hits = rag.search(
                str(line["text"]),
                dedupe=options.dedupe,
                mmr=options.mmr,
                unit=options.unit,
                **_scope(line, options),
            )
            return _searched(line, hits)

        def show(line: Mapping[str, Json]) -> None:
            output.show(one(line), output.search_text, as_json=options.json or _batch(options))

        return _each(options, show)


def ask(options: argparse.Namespace) -> int:
    """Run `ragkit ask`."""
    history = _history(options.history)
    refused = False
    with _open(options) as rag:

        def answer(line: Mapping[str, Json]) -> None:
            nonlocal refused
            refused = _answer(rag, line, history, options).refused

        code = _each(options, answer)
    return REFUSED if refused and not _batch(options) else code


def _answer(
    rag: RAG,
    line: Mapping[str, Json],
    history: Sequence[Mapping[str, str]],
    options: argparse.Namespace,
) -> Answer:
    as_json = options.json or _batch(options)
    question, scope, name = str(line["text"]), _scope(line, options), identity(line)
    if options.stream and not as_json and not options.dry_run:
        stream = rag.stream(question, id=name, history=history, **scope)
        for piece in stream:
            output.write(piece)
        answer = stream.answer
        output.write("\n" if answer.text else "")
        as_text = output.ask_text_without_answer if answer.text else output.ask_text
    else:
        answer = rag.ask(question, id=name, history=history, dry_run=options.dry_run, **scope)
        as_text = output.ask_text
    data = answer.to_dict(with_prompt=options.show_prompt or options.dry_run)
    output.show(data, as_text, as_json=as_json)
    if answer.stop_reason == "timeout":
        print("ragkit: the answer was cut where its time-out ended", file=sys.stderr)
    return answer


def list_documents(options: argparse.Namespace) -> int:
    """Run `ragkit list`."""
    with _open(options) as rag:
        for row in rag.list(groups=names(options.groups)):
            output.show(row.to_dict(), output.list_text, as_json=options.json)
    return DONE


def show(options: argparse.Namespace) -> int:
    """Run `ragkit show`."""
    groups = names(options.groups)
    with _open(options) as rag:
        if options.all:
            for row in rag.list(groups=groups):
                output.show(
                    rag.show(row.document_id, groups=groups) or {},
                    output.document_text,
                    as_json=options.json,
                )
        elif options.document_id is None:
            output.show(rag.describe(), output.store_text, as_json=options.json)
        else:
            found = rag.show(options.document_id, groups=groups)
            if found is None:
                raise ConfigError(
                    f"there is no document {options.document_id!r}; ragkit list names them"
                )
            output.show(found, output.document_text, as_json=options.json)
    return DONE


def rm(options: argparse.Namespace) -> int:
    """Run `ragkit rm`."""
    with _open(options) as rag:
        removed = rag.rm(*options.ids, secure=options.secure)
        copies = _copies(rag) if removed else []
    missing: list[Json] = [name for name in options.ids if name not in set(removed)]
    data: dict[str, Json] = {
        "schema": 1,
        "removed": list(removed),
        "missing": missing,
        "copies": [{"kind": kind, "path": path} for kind, path in copies],
    }
    output.show(data, output.removed_text, as_json=options.json)
    for kind, path in copies:
        output.tell(f"not reached: {_KEPT[kind]}: {path}")
    return SOME_FAILED if missing else DONE


_KEPT = {
    "backup": "a backup may hold what was removed",
    "evaluation_cache": "a cache of evaluations may hold answers and vectors made from it",
    "ledger": "the ledger holds ids of questions, counts and costs, no text",
}


def _copies(rag: RAG) -> list[tuple[str, str]]:
    """Return kind and place of what removing does not reach, as far as it is known."""
    found = [("backup", place) for place in rag.copies()]
    caches = sorted({Path(".ragkit-eval"), Path(rag.settings.store) / ".ragkit-eval"})
    found += [("evaluation_cache", str(place)) for place in caches if place.is_dir()]
    ledger = Path(rag.settings.ledger or Path(rag.settings.store) / "ledger.jsonl")
    return [*found, *([("ledger", str(ledger))] if ledger.is_file() else [])]


def backup(options: argparse.Namespace) -> int:
    """Run `ragkit backup`."""
    return _copied(options, lambda rag: rag.backup(options.destination, replace=options.force))


def restore(options: argparse.Namespace) -> int:
    """Run `ragkit restore`."""
    return _copied(options, lambda rag: rag.restore(options.source))


def _copied(options: argparse.Namespace, copy: Callable[[RAG], BackupReport]) -> int:
    try:
        with _open(options) as rag:
            report = copy(rag).to_dict()
    except StoreDamagedError:
        unsound: dict[str, Json] = {
            "schema": 1, "bytes": None, "documents": None, "verified": False
        }  # fmt: skip
        output.show(unsound, output.copied_text, as_json=options.json)
        raise
    output.show(report, output.copied_text, as_json=options.json)
    return DONE


def doctor(options: argparse.Namespace) -> int:
    """Run `ragkit doctor`."""
    with _open(options) as rag:
        findings = rag.doctor(repair=options.repair)
        sound = all(finding.repaired for finding in findings)
        saved = rag.compact() if options.compact and sound else None
    data: dict[str, Json] = {
        "schema": 1,
        "sound": sound,
        "findings": [finding.to_dict() for finding in findings],
        "bytes_saved": saved,
    }
    output.show(data, output.doctor_text, as_json=options.json)
    return DONE if sound else UNSOUND


def ledger(options: argparse.Namespace) -> int:
    """Run `ragkit ledger report`."""
    from ragkit.costs.ledger import read_ledger, summarise

    settings = _settings(options)
    path = Path(settings.ledger or Path(settings.store) / "ledger.jsonl")
    if not path.exists():
        raise ConfigError(f"there is no ledger at {path}; ask a question first, or use --ledger")
    summary = summarise(read_ledger(path))
    output.show(summary.to_dict(), lambda _: summary.to_text(), as_json=options.json)
    return DONE


def template(options: argparse.Namespace) -> int:
    """Run `ragkit template`."""
    from ragkit.pipeline.opening import open_counter
    from ragkit.prompts import load_template, lock_template

    loaded = lock_template(Path(options.file)) if options.lock else load_template(options.file)
    data: dict[str, Json] = {
        "schema": 1,
        "id": loaded.id,
        "version": loaded.version,
        "sha256": loaded.sha256,
        "overhead_tokens": loaded.overhead_tokens(open_counter()),
        "text": loaded.text,
    }
    output.show(data, output.template_text, as_json=options.json)
    return DONE


def init(options: argparse.Namespace) -> int:
    """Run `ragkit init`."""
    from ragkit.cli.settings_file import COMMENTED

    path = Path(FILE_NAME)
    if path.exists() and not options.force:
        raise ConfigError(f"{path} exists; replace it with: ragkit init --force")
    path.write_text(COMMENTED, encoding="utf-8")
    output.write(f"wrote {path}\n")
    try:
        record_trust(path, read_sensitive(path))
    except ConfigError as error:
        output.tell(error)
    return DONE


def trust(options: argparse.Namespace) -> int:
    """Run `ragkit trust`."""
    from ragkit.cli.trusting import trust as run

    return run(options)


def schema(options: argparse.Namespace) -> int:
    """Run `ragkit schema`."""
    from ragkit.schemas import load_schema, schema_names

    if options.name is None:
        everything: dict[str, Json] = {name: load_schema(name) for name in schema_names()}
        output.write(json.dumps(everything, indent=2) + "\n")
    else:
        output.write(json.dumps(load_schema(options.name), indent=2) + "\n")
    return DONE


def completion(options: argparse.Namespace) -> int:
    """Run `ragkit completion`."""
    from ragkit.cli.completion import script
    from ragkit.cli.parser import make_parsers

    output.write(script(options.shell, make_parsers()[1]))
    return DONE


def evaluate(options: argparse.Namespace) -> int:
    """Run `ragkit eval`."""
    from ragkit.cli.evaluation import ACTIONS, ASKING

    if options.action in ASKING:
        return ASKING[options.action](options, _settings)
    return ACTIONS[options.action](options)


def calibrate(options: argparse.Namespace) -> int:
    """Run `ragkit calibrate`."""
    from ragkit.cli.calibration import calibrate as run

    return run(options, _settings)


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "ingest": ingest,
    "rebuild": rebuild,
    "search": search,
    "ask": ask,
    "list": list_documents,
    "show": show,
    "rm": rm,
    "doctor": doctor,
    "backup": backup,
    "restore": restore,
    "calibrate": calibrate,
    "eval": evaluate,
    "ledger": ledger,
    "template": template,
    "init": init,
    "trust": trust,
    "schema": schema,
    "completion": completion,
}


def _settings(options: argparse.Namespace) -> Settings:
    flags = {name: getattr(options, name, None) for name in _FLAGS}
    return load_settings(
        file=None if options.config is None else Path(options.config),
        environment=os.environ,
        flags=flags,
    )


def _open(options: argparse.Namespace) -> RAG:
    from ragkit.pipeline import RAG

    settings = _settings(options)
    return RAG(
        settings.store,
        config=settings,
        n_jobs=getattr(options, "jobs", None) or 1,
        notify=output.tell,
    )


def _batch(options: argparse.Namespace) -> bool:
    return options.questions is not None


def _each(options: argparse.Namespace, answer: Callable[[Mapping[str, Json]], None]) -> int:
    """Answer the question of the command line, or each of a file; a bad line costs itself alone."""
    if (options.question is None) == (options.questions is None):
        raise ConfigError("give one question, or --questions FILE.jsonl")
    if options.question is not None:
        answer({"text": options.question})
        return DONE
    code = DONE
    for number, line in question_lines(options.questions):
        problem: RagkitError | None
        question, problem = read_question(line)
        if problem is None:
            try:
                answer(question)
            except (ConfigError, RemoteError) as error:
                problem = error
        if problem is not None:
            data = failed_line(number, question, problem)
            output.show(data, str, as_json=True)
            code = SOME_FAILED
    return code


def _scope(line: Mapping[str, Json], options: argparse.Namespace) -> _Scope:
    """Return k, mode, filters and groups: a line's own win, but its groups only narrow --groups."""
    k = line.get("k", options.k)
    if k is not None and (isinstance(k, bool) or not isinstance(k, int)):
        raise ConfigError(f"k {k!r}; allowed: a whole number, 1 to {MOST_HITS:,}")
    filters = line.get("filter")
    if filters is not None and not isinstance(filters, Mapping):
        raise ConfigError(f"filter {filters!r}; allowed: an object")
    own, given = line.get("groups"), names(options.groups)
    groups = None if own is None else group_names(own)
    return {
        "k": k,
        "mode": cast("Mode | None", options.mode),
        "filters": filters if filters is not None else _object("filter", options.filter),
        "groups": narrowed(None if given is None else tuple(given), groups),
    }


def _searched(line: Mapping[str, Json], hits: Sequence[Hit]) -> dict[str, Json]:
    return {
        "schema": 1,
        "id": identity(line),
        "question": line["text"],
        "hits": [hit.to_dict() for hit in hits],
    }


def names(text: str | None) -> list[str] | None:
    """Return the parts of `A,B`; None stays None."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _readers(text: str | None) -> list[str]:
    """Return the groups of an ingest; `--groups ""` would open the documents to everyone."""
    given = names(text)
    if given == []:
        raise ConfigError(f"--groups {text!r} names no group; leave it out, or name public")
    return given or []


def _object(name: str, text: str | None) -> dict[str, Json] | None:
    if text is None:
        return None
    try:
        data = read_json(text)
    except ValueError as error:
        raise ConfigError(f"--{name} {_short(text)} is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"--{name} {_short(text)}; allowed: a JSON object")
    return cast("dict[str, Json]", data)


def _history(path: str | None) -> list[Mapping[str, str]]:
    if path is None:
        return []
    try:
        data = read_json(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"history {path} cannot be read: {error}") from error
    if not isinstance(data, list) or not all(
        isinstance(turn, dict) for turn in cast("list[object]", data)
    ):
        raise ConfigError(f"history {path} must be a JSON list of objects with role and content")
    return cast("list[Mapping[str, str]]", data)


def _short(text: str) -> str:
    return repr(text) if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]!r}…"


def _password(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"password file {path} cannot be read: {error}") from error
