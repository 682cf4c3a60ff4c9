"""What each command does."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

from ragkit.cli import output
from ragkit.config import FILE_NAME, Settings, load_settings
from ragkit.errors import ConfigError
from ragkit.groups import group_names, narrowed
from ragkit.types import Json, Mode

if TYPE_CHECKING:
    from ragkit.pipeline import RAG, Answer
    from ragkit.types import Hit

DONE, SOME_FAILED, REFUSED, UNSOUND = 0, 1, 3, 6


class _Scope(TypedDict):
    k: int | None
    mode: Mode | None
    filters: Mapping[str, Json] | None
    groups: Sequence[str] | None


_FLAGS = (
    "store", "embedder", "chunker", "chunk_tokens", "chunk_overlap", "embed_title",
    "sentence_vectors", "k", "mode", "fusion", "trim", "trim_level", "refuse_below",
    "max_context_tokens", "generator", "base_url", "api_key_env", "timeout", "template",
    "max_tokens", "temperature", "top_p", "top_k", "stop", "seed", "ledger", "model_billions",
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
            on_progress=bar.advance,
        )
    output.show(report.to_dict(), output.ingest_text, as_json=options.json)
    return SOME_FAILED if report.documents["failed"] else DONE


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

        for line in _questions(options):
            output.show(one(line), output.search_text, as_json=options.json or _batch(options))
    return DONE


def ask(options: argparse.Namespace) -> int:
    """Run `ragkit ask`."""
    history = _history(options.history)
    answer = None
    with _open(options) as rag:
        for line in _questions(options):
            answer = _answer(rag, line, history, options)
    refused = answer is not None and answer.refused and not _batch(options)
    return REFUSED if refused else DONE


def _answer(
    rag: RAG,
    line: Mapping[str, Json],
    history: Sequence[Mapping[str, str]],
    options: argparse.Namespace,
) -> Answer:
    as_json = options.json or _batch(options)
    identity = line.get("_id")
    question, scope = str(line["text"]), _scope(line, options)
    name = None if identity is None else str(identity)
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
        removed = rag.rm(*options.ids)
    missing: list[Json] = [name for name in options.ids if name not in set(removed)]
    data: dict[str, Json] = {"schema": 1, "removed": list(removed), "missing": missing}
    output.show(data, output.removed_text, as_json=options.json)
    return SOME_FAILED if missing else DONE


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
    from ragkit.ledger import read_ledger, summarise

    settings = _settings(options)
    path = Path(settings.ledger or Path(settings.store) / "ledger.jsonl")
    if not path.exists():
        raise ConfigError(f"there is no ledger at {path}; ask a question first, or use --ledger")
    summary = summarise(read_ledger(path))
    output.show(summary.to_dict(), lambda _: summary.to_text(), as_json=options.json)
    return DONE


def template(options: argparse.Namespace) -> int:
    """Run `ragkit template`."""
    from ragkit.pipeline.components import open_counter
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
    return DONE


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
    from ragkit.cli.evaluating import ACTIONS, ASKING

    if options.action in ASKING:
        return ASKING[options.action](options, _settings)
    return ACTIONS[options.action](options)


def calibrate(options: argparse.Namespace) -> int:
    """Run `ragkit calibrate`."""
    from ragkit.cli.calibrating import calibrate as run

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
    "calibrate": calibrate,
    "eval": evaluate,
    "ledger": ledger,
    "template": template,
    "init": init,
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
        notify=lambda message: print(f"ragkit: {message}", file=sys.stderr),
    )


def _batch(options: argparse.Namespace) -> bool:
    return options.questions is not None


def _questions(options: argparse.Namespace) -> Iterator[Mapping[str, Json]]:
    """Yield question lines: the one on the command line, or those of a file."""
    if (options.question is None) == (options.questions is None):
        raise ConfigError("give one question, or --questions FILE.jsonl")
    if options.question is not None:
        yield {"text": options.question}
        return
    if options.questions == "-":
        yield from _parsed("standard input", sys.stdin)
        return
    path = Path(options.questions)
    try:
        with path.open(encoding="utf-8-sig") as lines:
            yield from _parsed(str(path), lines)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"questions {path} cannot be read: {error}") from error


def _parsed(name: str, lines: Iterator[str] | object) -> Iterator[Mapping[str, Json]]:
    for number, line in enumerate(cast("Iterator[str]", lines), start=1):
        if not line.strip():
            continue
        try:
            data: object = json.loads(line)
        except ValueError as error:
            raise ConfigError(f"questions {name}, line {number}: {error}") from error
        if not isinstance(data, dict) or not isinstance(
            cast("dict[str, object]", data).get("text"), str
        ):
            raise ConfigError(f"questions {name}, line {number}: needs an object with text")
        yield cast("dict[str, Json]", data)


def _scope(line: Mapping[str, Json], options: argparse.Namespace) -> _Scope:
    """Return k, mode, filters and groups: a line's own win, but its groups only narrow --groups."""
    k = line.get("k", options.k)
    if k is not None and (isinstance(k, bool) or not isinstance(k, int)):
        raise ConfigError(f"k {k!r}; allowed: a whole number")
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
    identity = line.get("_id")
    return {
        "schema": 1,
        "id": None if identity is None else str(identity),
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
        data: object = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--{name} {text!r} is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"--{name} {text!r}; allowed: a JSON object")
    return cast("dict[str, Json]", data)


def _history(path: str | None) -> list[Mapping[str, str]]:
    if path is None:
        return []
    try:
        data: object = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"history {path} cannot be read: {error}") from error
    if not isinstance(data, list) or not all(
        isinstance(turn, dict) for turn in cast("list[object]", data)
    ):
        raise ConfigError(f"history {path} must be a JSON list of objects with role and content")
    return cast("list[Mapping[str, str]]", data)


def _password(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"password file {path} cannot be read: {error}") from error
