"""What is wrong with a dataset, fault by fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ragkit.errors import ConfigError
from ragkit.text.jsontext import as_object, read_json
from ragkit.types import Json
from ragkit_eval.data.datasets import (
    Dataset,
    SpanRow,
    load_dataset,
    questions_name,
    read_spans,
    splits,
)
from ragkit_eval.data.trec import read_qrels


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong, and where.

    `code` is one of `unreadable` (not UTF-8, not JSON, a field is missing), `bom`, `crlf`,
    `duplicate_id`, `duplicate_question`, `unstripped_question`, `unknown_question`,
    `missing_document` (judged, but not in the corpus), `wrong_offsets`, `unlabelled_question`
    (no judgement, span, need or answer), `split_overlap` (a question in two splits that should be
    disjoint).
    """

    code: str
    where: str
    detail: str

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit eval validate`."""
        return dict(asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Counts and faults of a dataset."""

    dataset: str
    split: str | None
    counts: Mapping[str, int]
    faults: tuple[Fault, ...]

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit eval validate`."""
        return {
            "schema": 1,
            "dataset": self.dataset,
            "split": self.split,
            "sound": not self.faults,
            **self.counts,
            "faults": [fault.to_dict() for fault in self.faults],
        }


def validate(path: str | Path, *, split: str | None = None) -> Validation:
    """Look for every fault in a dataset; reads line by line and holds the corpus' ids only.

    Args:
        path: As in `load_dataset`.
        split: The split whose questions are counted; faults are looked for in all of them.

    Raises:
        ConfigError: there is no dataset, or no such split.
    """
    place = Path(path)
    if not place.exists():
        raise ConfigError(f"there is no dataset at {place}")
    known = splits(place)
    if known and split is not None and split not in known:
        raise ConfigError(f"split {split!r}; allowed: {' '.join(known)}")
    found = _Faults()
    if place.is_dir():
        found.folder(place)
    elif place.suffix not in {".csv", ".tsv"}:
        # Spreadsheets write byte order marks and carriage returns, and sheets are read with them.
        found.encoding(place)
    counts = {"n_questions": 0, "n_judgements": 0, "n_spans": 0, "n_unanswerable": 0}
    try:
        dataset = load_dataset(place, split=split)
    except ConfigError as error:
        if not any(fault.code == "unreadable" for fault in found.faults):
            found.add("unreadable", place, str(error))
    else:
        split = dataset.split
        found.unlabelled(dataset)
        counts = {
            "n_questions": len(dataset.questions),
            "n_judgements": sum(len(question.relevance) for question in dataset.questions),
            "n_spans": sum(len(spans) for q in dataset.questions for spans in q.evidence),
            "n_unanswerable": sum(question.unanswerable for question in dataset.questions),
        }
    return Validation(
        dataset=place.resolve().stem, split=split, counts=counts, faults=tuple(found.faults)
    )


class _Faults:
    """Collects faults, file by file."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def add(self, code: str, where: str | Path, detail: str) -> None:
        self.faults.append(Fault(code=code, where=str(where), detail=detail))

    def folder(self, folder: Path) -> None:
        files = [folder / f"{name}.jsonl" for name in ("corpus", questions_name(folder), "spans")]
        tables = [folder / "qrels" / f"{name}.tsv" for name in splits(folder)]
        for path in (*files, *tables):
            if path.exists():
                self.encoding(path)
        questions = self.questions(files[1])
        spans = self.spans(folder, questions)
        corpus = self.corpus(files[0], spans) if files[0].exists() else None
        for path in tables:
            self.judgements(path, questions, corpus)
        self.overlaps(tables)

    def encoding(self, path: Path) -> None:
        with path.open("rb") as file:
            if file.read(3) == b"\xef\xbb\xbf":
                self.add("bom", path, "it begins with a byte order mark")
            file.seek(0)
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\r\n"):
                    self.add("crlf", f"{path}, line {number}", "lines end with carriage returns")
                    return

    def questions(self, path: Path) -> set[str]:
        texts: dict[str, str] = {}
        ids: set[str] = set()
        for where, row in self.rows(path):
            identity, text = str(row["_id"]), row.get("text")
            if identity in ids:
                self.add("duplicate_id", where, f"question {identity!r}")
            ids.add(identity)
            if not isinstance(text, str) or not text.strip():
                self.add("unreadable", where, "a question needs text")
                continue
            if text != text.strip():
                self.add("unstripped_question", where, f"question {identity!r}")
            # After other turns the same words ask something else.
            asked = f"{text.strip()}{row.get('history', '')}"
            other = texts.setdefault(asked, identity)
            if other != identity:
                self.add("duplicate_question", where, f"question {identity!r} repeats {other!r}")
        return ids

    def spans(self, folder: Path, questions: set[str]) -> dict[str, list[SpanRow]]:
        found: dict[str, list[SpanRow]] = {}
        try:
            for line in read_spans(folder):
                found.setdefault(line.span.document_id, []).append(line)
                if line.query_id not in questions:
                    self.add("unknown_question", line.where, f"question {line.query_id!r}")
        except ConfigError as error:
            self.add("unreadable", "spans.jsonl", str(error))
        return found

    def corpus(self, path: Path, spans: dict[str, list[SpanRow]]) -> set[str]:
        ids: set[str] = set()
        for where, row in self.rows(path):
            identity, text = str(row["_id"]), str(row.get("text", ""))
            if identity in ids:
                self.add("duplicate_id", where, f"document {identity!r}")
            ids.add(identity)
            for line in spans.pop(identity, ()):
                span = line.span
                if text[span.start : span.end] != span.text:
                    stands = text[span.start : span.end][:60]
                    detail = f"[{span.start}:{span.end}] is {stands!r}, not {span.text[:60]!r}"
                    self.add("wrong_offsets", line.where, detail)
        for identity, lines in spans.items():
            for line in lines:
                self.add("missing_document", line.where, f"document {identity!r}")
        return ids

    def judgements(self, path: Path, questions: set[str], corpus: set[str] | None) -> None:
        try:
            judged = read_qrels(path)
        except ConfigError as error:
            self.add("unreadable", path, str(error))
            return
        for query, relevance in judged.items():
            if query not in questions:
                self.add("unknown_question", path, f"question {query!r}")
            for document in relevance if corpus is not None else ():
                if document not in (corpus or ()):
                    self.add(
                        "missing_document", path, f"document {document!r} of question {query!r}"
                    )

    def overlaps(self, tables: list[Path]) -> None:
        """Splits other than `all` should share no question."""
        seen: dict[str, str] = {}
        for path in tables:
            if path.stem == "all":
                continue
            try:
                judged = read_qrels(path)
            except ConfigError:
                continue  # said already
            for query in judged:
                if seen.setdefault(query, path.stem) != path.stem:
                    detail = f"question {query!r} is in {seen[query]} too"
                    self.add("split_overlap", path, detail)

    def unlabelled(self, dataset: Dataset) -> None:
        for question in dataset.questions:
            labels = (question.relevance, question.evidence, question.answers, question.needs)
            if not any(labels) and not question.unanswerable:
                self.add(
                    "unlabelled_question",
                    f"question {question.id}",
                    "it has no judgement, no span, no need and no answer",
                )

    def rows(self, path: Path) -> Iterator[tuple[str, Mapping[str, Json]]]:
        """Yield each line's object; a line that is none is a fault."""
        try:
            with path.open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    if not line.strip():
                        continue
                    where = f"{path}, line {number}"
                    try:
                        row = read_json(line)
                    except ValueError as error:
                        self.add("unreadable", where, str(error))
                        continue
                    try:
                        found = as_object(row)
                    except ValueError:
                        found = {}
                    if "_id" in found:
                        yield where, found
                    else:
                        self.add("unreadable", where, "an object with _id is needed")
        except OSError as error:
            self.add("unreadable", path, str(error))
