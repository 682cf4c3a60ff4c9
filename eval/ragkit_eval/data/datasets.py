"""Labelled questions: the places of their answers, and which documents are relevant.

A dataset is a folder in BEIR's layout with spans (`corpus.jsonl`, `queries.jsonl`,
`qrels/SPLIT.tsv`, `spans.jsonl`), a folder with `questions.jsonl` and the documents' files in
`docs/`, a SQuAD JSON file, or a CSV or JSON Lines file of questions.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from ragkit.brief import brief, counted
from ragkit.errors import ConfigError
from ragkit.pipeline.followups import resolve
from ragkit.text.jsontext import as_object, as_objects, read_json
from ragkit.types import Document, Json, Turn
from ragkit_eval.data.labels import Needs, documents_of, history_of, metadata_of, needs_of
from ragkit_eval.data.spans import GoldSpan
from ragkit_eval.data.trec import read_qrels

Needed: TypeAlias = Literal["auto", "any", "all"]
NEEDED: tuple[Needed, ...] = ("auto", "any", "all")
_Row: TypeAlias = Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question with what is known about its answer.

    `relevance` grades documents (0 means not relevant). `evidence` contains alternatives, any one
    of which is enough; each is a group of spans that are needed together. `needs` are texts that
    must all be there, each in one of its alternatives. `answers` are reference answers. `history`
    are the earlier turns of the conversation.
    """

    id: str
    text: str
    answers: tuple[str, ...] = ()
    relevance: Mapping[str, int] = field(default_factory=dict[str, int])
    evidence: tuple[tuple[GoldSpan, ...], ...] = ()
    unanswerable: bool = False
    metadata: Mapping[str, Json] = field(default_factory=dict[str, Json])
    needs: Needs = ()
    history: tuple[Turn, ...] = ()

    @property
    def searched(self) -> str:
        """What is searched for: after earlier turns, what `RAG.ask` takes it to ask."""
        return resolve(self.text, self.history).question

    def cluster(self, by: str = "document") -> str:
        """Return the name of the cluster that the question belongs to: of several documents, one.

        Questions without a known document, and all with `by="none"`, are independent.
        """
        if by == "document":
            documents = [span.document_id for spans in self.evidence for span in spans]
            documents += [name for name, grade in self.relevance.items() if grade > 0]
            return f"document {min(documents)}" if documents else f"question {self.id}"
        value = None if by == "none" else self.metadata.get(by)
        return f"question {self.id}" if value is None else f"{by} {value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """The questions of one split, and where to find the documents.

    `sha256` covers the questions and their labels, not the documents. `corpus` is a file or folder
    that `ragkit ingest` can read, or None if the documents are already in a store. The documents of
    a SQuAD file are in `documents`.
    """

    name: str
    split: str
    questions: tuple[Question, ...]
    sha256: str
    corpus: Path | None = None
    documents: tuple[Document, ...] = ()

    def __repr__(self) -> str:
        """Return the dataset in short."""
        n_questions = counted(len(self.questions), "question")
        return f"<Dataset {brief(self.name)}, split {self.split!r}, {n_questions}>"

    def merged(self) -> Dataset:
        """Return the dataset with questions of the same text merged, as in retrieval benchmarks."""
        found: dict[str, Question] = {}
        for question in self.questions:
            other = found.setdefault(question.text, question)
            if other is not question:
                found[question.text] = replace(
                    other,
                    answers=tuple(dict.fromkeys((*other.answers, *question.answers))),
                    relevance={**question.relevance, **other.relevance},
                    evidence=tuple(dict.fromkeys((*other.evidence, *question.evidence))),
                )
        return replace(self, questions=tuple(found.values()))

    def limited(self, n: int | None) -> Dataset:
        """Return the dataset with only its first n questions; its digest then differs."""
        if n is None or n >= len(self.questions):
            return self
        if n < 1:
            raise ConfigError(f"limit {n}; allowed: 1 or more")
        return _made(self, self.questions[:n])


def load_dataset(path: str | Path, *, split: str | None = None, needed: Needed = "auto") -> Dataset:
    """Read a dataset.

    Args:
        path: A folder in BEIR's layout, a folder with `questions.jsonl` and `docs/`, a SQuAD
            `.json`, a `.csv` or a `.jsonl` of questions.
        split: Name of the split: a file `qrels/SPLIT.tsv`, or the `split` in a question's metadata.
            None means `test` if there is one, otherwise the only split.
        needed: Whether `any` span of a question is enough or `all` are needed. With `auto`, spans
            that share a `set` are needed together, and sets are alternatives. Without sets, any
            span is enough if each is one of the question's answers; otherwise all are needed.

    Raises:
        ConfigError: a file is missing or malformed, or there is no such split.
    """
    place = Path(path)
    if needed not in NEEDED:
        raise ConfigError(f"evidence {needed!r}; allowed: {' '.join(NEEDED)}")
    if place.is_dir():
        read = _folder if questions_name(place) == "queries" else _with_files
        return read(place, split, needed)
    if not place.exists():
        raise ConfigError(f"there is no dataset at {place}")
    if place.suffix == ".json":
        return _squad(place, split)
    if place.suffix in {".csv", ".tsv"}:
        return _table(place, split, needed, list(_csv_rows(place)))
    return _table(place, split, needed, [row for _, row in json_lines(place)])


def questions_name(folder: Path) -> str:
    """Return how the file of a folder's questions is called: `queries`, or else `questions`."""
    has_queries = (folder / "queries.jsonl").exists()
    return "questions" if not has_queries and (folder / "questions.jsonl").exists() else "queries"


def _with_files(folder: Path, split: str | None, needed: Needed) -> Dataset:
    """Return the dataset of `questions.jsonl`, and of the files in `docs/` if there are any."""
    path, documents = folder / "questions.jsonl", folder / "docs"
    found = _table(path, split, needed, [row for _, row in json_lines(path)])
    corpus = documents if documents.is_dir() else None
    return replace(found, name=folder.resolve().name, corpus=corpus)


def splits(folder: Path) -> list[str]:
    """Return the names of a folder's splits."""
    return sorted(path.stem for path in (folder / "qrels").glob("*.tsv"))


def _folder(folder: Path, split: str | None, needed: Needed) -> Dataset:
    name = _split(folder, split)
    path = folder / "qrels" / f"{name}.tsv"
    relevance = read_qrels(path) if path.exists() else {}
    spans: dict[str, list[tuple[GoldSpan, object]]] = {}
    for line in read_spans(folder):
        spans.setdefault(line.query_id, []).append((line.span, line.group))
    questions: list[Question] = []
    for where, row in json_lines(folder / "queries.jsonl"):
        question = question_of(where, row)
        judged = relevance.get(question.id)
        if judged is None and not _belongs(question, name, has_judgements=bool(relevance)):
            continue
        questions.append(
            replace(
                question,
                relevance={**question.relevance, **(judged or {})},
                evidence=_evidence(spans.get(question.id, ()), question.answers, needed),
            )
        )
    corpus = folder / "corpus.jsonl"
    return _made(
        Dataset(
            name=folder.resolve().name,
            split=name,
            questions=(),
            sha256="",
            corpus=corpus if corpus.exists() else None,
        ),
        questions,
    )


def _belongs(question: Question, split: str, *, has_judgements: bool) -> bool:
    """Whether an unjudged question is part of a split, by the split that it names, if any.

    Where others are judged only those belong that need no judgement: unanswerable ones, which have
    no document, and those that name their documents or needs themselves.
    """
    if has_judgements and not (question.unanswerable or question.relevance or question.needs):
        return False
    return split == "all" or question.metadata.get("split") in {split, None}


def _split(folder: Path, split: str | None) -> str:
    found = splits(folder)
    if split is not None:
        if found and split not in found:
            raise ConfigError(f"split {split!r}; allowed: {' '.join(found)}")
        return split
    if not found or "test" in found:
        return "test" if found else "all"
    if len(found) > 1:
        raise ConfigError(
            f"{folder} has several splits; choose one with --split: {' '.join(found)}"
        )
    return found[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanRow:
    """A line of spans.jsonl."""

    where: str
    query_id: str
    span: GoldSpan
    group: object


def read_spans(folder: Path) -> Iterator[SpanRow]:
    """Yield the lines of spans.jsonl, where there is one; raises `ConfigError`."""
    path = folder / "spans.jsonl"
    if not path.exists():
        return
    for where, row in json_lines(path):
        yield SpanRow(
            where=where,
            query_id=str(_needed(where, row, "query-id")),
            span=_span(where, row),
            group=row.get("set"),
        )


def _span(where: str, row: _Row) -> GoldSpan:
    start, end, text = (row.get(name) for name in ("start", "end", "text"))
    document = row.get("corpus-id", row.get("document_id"))
    if document is None or not (
        isinstance(start, int) and isinstance(end, int) and 0 <= start <= end
    ):
        raise ConfigError(f"{where}: a span needs a document, 0 <= start <= end, and text")
    if not isinstance(text, str):
        raise ConfigError(f"{where}: a span needs its text, so that offsets can be checked")
    return GoldSpan(document_id=str(document), start=start, end=end, text=text)


def _evidence(
    spans: Iterable[tuple[GoldSpan, object]], answers: Sequence[str], needed: Needed
) -> tuple[tuple[GoldSpan, ...], ...]:
    found = list(dict.fromkeys(spans))
    if not found:
        return ()
    if needed == "auto" and any(group is not None for _, group in found):
        groups: dict[object, list[GoldSpan]] = {}
        for span, group in found:
            groups.setdefault(group, []).append(span)
        return tuple(map(tuple, groups.values()))
    only = [span for span, _ in found]
    if needed == "auto":
        needed = "any" if all(span.text in answers for span in only) else "all"
    return tuple((span,) for span in only) if needed == "any" else (tuple(only),)


def question_of(where: str, row: _Row) -> Question:
    """Return the question of a row, without its spans; raises `ConfigError`."""
    text = row.get("text", row.get("question"))
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"{where}: a question needs text")
    answers = row.get("answers", row.get("answer", ()))
    if isinstance(answers, str):
        answers = [answers] if answers else []
    if not isinstance(answers, list | tuple):
        raise ConfigError(f"{where}: answers {answers!r}; allowed: a list of texts")
    metadata, history = metadata_of(where, row), history_of(where, row)
    unanswerable = _is_true(metadata.get("unanswerable", row.get("unanswerable")))
    identity = row.get("_id", row.get("id"))
    return Question(
        id=_made_id(text.strip(), history) if identity is None else str(identity),
        text=text.strip(),
        answers=tuple(str(answer) for answer in answers),
        # Of an unanswerable question they are the nearest documents, not relevant ones.
        relevance={} if unanswerable else dict.fromkeys(documents_of(where, row), 1),
        unanswerable=unanswerable,
        metadata=metadata,
        needs=needs_of(where, row),
        history=history,
    )


def _made_id(text: str, history: Iterable[Turn]) -> str:
    said = "\0".join([text, *(turn.content for turn in history)])
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _is_true(value: object) -> bool:
    """Whether a JSON value, or the text of a cell, says yes."""
    return str(value).strip().lower() in {"true", "yes", "1"}


def _needed(where: str, row: _Row, name: str) -> object:
    if name not in row:
        raise ConfigError(f"{where}: {name} is missing")
    return row[name]


def json_lines(path: Path) -> Iterator[tuple[str, _Row]]:
    """Yield (place, object) of each line that is not blank; raises `ConfigError`."""
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                where = f"{path}, line {number}"
                try:
                    row = read_json(line)
                except ValueError as error:
                    raise ConfigError(f"{where}: {error}") from error
                yield where, _object(where, row)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def _object(where: str, value: object) -> _Row:
    try:
        return as_object(value)
    except ValueError:
        raise ConfigError(f"{where}: an object is needed") from None


def _csv_rows(path: Path) -> Iterator[_Row]:
    """Yield rows of question, answer, and maybe other labels, such as needs, or document_id."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            names = [name.strip().lower() for name in rows.fieldnames or ()]
            if "question" not in names:
                raise ConfigError(f"{path}: a column named question is needed, found {names}")
            rows.fieldnames = names
            for number, row in enumerate(rows, start=2):
                yield _csv_row(f"{path}, line {number}", row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def _csv_row(where: str, row: Mapping[str, str | None]) -> _Row:
    data: dict[str, Json] = {key: value for key, value in row.items() if value}
    if "document_id" in data and "start" in data:
        try:
            span = {
                "document_id": data["document_id"],
                "start": int(str(data["start"])),
                "end": int(str(data["end"])),
                "text": data.get("text", data.get("answer", "")),
            }
        except (KeyError, ValueError):
            raise ConfigError(f"{where}: start and end must be whole numbers") from None
        data["spans"] = [span]
    data.pop("text", None)
    return data


def _table(path: Path, split: str | None, needed: Needed, rows: Sequence[_Row]) -> Dataset:
    """Return the dataset of question rows; rows of one question are joined."""
    found: dict[str, tuple[Question, list[tuple[GoldSpan, object]]]] = {}
    for number, row in enumerate(rows, start=1):
        where = f"{path}, question {number}"
        question = question_of(where, row)
        old, spans = found.get(question.id, (question, []))
        if old.text != question.text:
            raise ConfigError(f"{where}: the id {question.id!r} stands for two questions")
        for span in _listed(where, row.get("spans")):
            spans.append((_span(where, span), span.get("set")))
        joined = replace(
            old,
            answers=tuple(dict.fromkeys((*old.answers, *question.answers))),
            needs=tuple(dict.fromkeys((*old.needs, *question.needs))),
            relevance={**old.relevance, **question.relevance},
        )
        found[question.id] = (joined, spans)
    questions = [
        replace(
            question,
            evidence=_evidence(spans, question.answers, needed),
            relevance={**question.relevance, **{span.document_id: 1 for span, _ in spans}},
        )
        for question, spans in found.values()
        if split in {None, "all"} or question.metadata.get("split") in {None, split}
    ]
    empty = Dataset(name=path.stem, split=split or "all", questions=(), sha256="")
    return _made(empty, questions)


def _listed(where: str, given: object) -> list[_Row]:
    try:
        return [] if given is None else as_objects(given)
    except ValueError:
        raise ConfigError(f"{where}: spans must be a list of objects") from None


def _squad(path: Path, split: str | None) -> Dataset:
    """Return the dataset of a SQuAD file: each paragraph is a document, `TITLE#N`."""
    try:
        data = as_object(read_json(path.read_bytes()))
        documents, questions = _squad_articles(path, as_objects(data["data"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is not SQuAD JSON: {error}") from error
    dataset = Dataset(
        name=path.stem, split=split or "all", questions=(), sha256="", documents=tuple(documents)
    )
    return _made(dataset, questions)


def _squad_articles(path: Path, articles: Iterable[_Row]) -> tuple[list[Document], list[Question]]:
    documents: list[Document] = []
    questions: list[Question] = []
    for article in articles:
        title = str(article.get("title", ""))
        for number, paragraph in enumerate(as_objects(article["paragraphs"])):
            document = Document(
                id=f"{title}#{number}",
                text=str(paragraph["context"]),
                title=title,
                source=str(path),
            )
            documents.append(document)
            questions += [
                _squad_question(document, entry) for entry in as_objects(paragraph["qas"])
            ]
    return documents, questions


def _squad_question(document: Document, entry: _Row) -> Question:
    answers = [
        (int(str(a["answer_start"])), str(a["text"])) for a in as_objects(entry.get("answers", ()))
    ]
    if any(start < 0 for start, _ in answers):
        raise ValueError(f"an answer of question {entry['id']!r} begins before the text")
    spans = {
        GoldSpan(document_id=document.id, start=start, end=start + len(text), text=text): None
        for start, text in answers
    }
    unanswerable = bool(entry.get("is_impossible", False))
    return Question(
        id=str(entry["id"]),
        text=str(entry["question"]).strip(),
        answers=tuple(dict.fromkeys(text for _, text in answers)),
        relevance={} if unanswerable else {document.id: 1},
        evidence=tuple((span,) for span in spans),
        unanswerable=unanswerable,
        metadata={"article": document.title},
    )


def _made(dataset: Dataset, questions: Sequence[Question]) -> Dataset:
    """Return the dataset with these questions and their digest."""
    if not questions:
        raise ConfigError(f"dataset {dataset.name!r}, split {dataset.split!r}, holds no question")
    digest = hashlib.sha256()
    for question in questions:
        row = [
            question.id,
            question.text,
            question.answers,
            sorted(question.relevance.items()),
            [[(s.document_id, s.start, s.end) for s in spans] for spans in question.evidence],
            question.unanswerable,
            dict(question.metadata),
        ]
        if question.needs or question.history:
            row += [question.needs, [[turn.role, turn.content] for turn in question.history]]
        digest.update(json.dumps(row, ensure_ascii=False, sort_keys=True).encode() + b"\n")
    return replace(dataset, questions=tuple(questions), sha256=digest.hexdigest())
