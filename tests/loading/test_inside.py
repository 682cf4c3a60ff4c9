"""Documents inside of files: messages of mailboxes, and what is attached to mails."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from ragkit import RAG, Settings
from ragkit.loading import FileSource
from ragkit.loading.content import Content
from ragkit.loading.frames import FrameError, unpacked_members
from ragkit.loading.isolation import InProcess, Worker
from ragkit.types import Document, Failure, Json, PendingDocument

from .structure import taken_from

HOURS = "The new opening hours of the workshop are from nine to five, every day but Monday."
WORDS_ONLY = Settings(embedder="none", ledger="off")


def mail(subject: str, text: str) -> EmailMessage:
    """Return a mail."""
    message = EmailMessage()
    message["Subject"] = subject
    message.set_content(text)
    return message


def with_attachments() -> EmailMessage:
    """Return a mail with a table, a picture, and a mail that has an attachment itself."""
    message, inner = mail("Fares", "The fares are attached."), mail("Old fares", "As before.")
    inner.add_attachment("The old plan.", filename="plan.txt")
    message.add_attachment(
        b"ticket,euros\nday,5\n", maintype="text", subtype="csv", filename="fares.csv"
    )
    message.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="logo.png")
    message.add_attachment(inner)
    return message


def mailbox(*messages: EmailMessage) -> bytes:
    """Return a mailbox."""
    return b"".join(
        b"From a@example.org Mon Jun 03 09:30:00 2024\n" + bytes(each) + b"\n" for each in messages
    )


def loaded(source: FileSource) -> tuple[dict[str, Document], list[Failure]]:
    """Return the documents by id, and the failures."""
    items = list(source.documents())
    documents = [item.load() for item in items if isinstance(item, PendingDocument)]
    return {d.id: d for d in documents}, [item for item in items if isinstance(item, Failure)]


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """Return a process that parses."""
    worker = Worker()
    yield worker
    worker.close()


def test_attachments_are_documents(tmp_path: Path, worker: Worker) -> None:
    """Each has an id behind its mail's, and its own loader; one that none reads is skipped."""
    (tmp_path / "a.eml").write_bytes(bytes(with_attachments()))
    documents, failures = loaded(FileSource([tmp_path], parser=worker))
    assert {name: document.text for name, document in documents.items()} == {
        "a.eml": "The fares are attached.",
        "a.eml#fares.csv": "ticket: day; euros: 5",
        "a.eml#Old fares.eml": "As before.",
        "a.eml#Old fares.eml#plan.txt": "The old plan.\n",
    }
    assert {document.source for document in documents.values()} == {str(tmp_path / "a.eml")}
    assert [(f.code, f.skipped, f.detail[:36]) for f in failures] == [
        ("unsupported", True, "attached, logo.png: no loader reads ")
    ]
    assert loaded(FileSource([tmp_path], parser=InProcess()))[0] == documents


def test_messages_are_documents(tmp_path: Path, worker: Worker) -> None:
    """The messages of a mailbox are numbered, wherever the mailbox is met."""
    box = mailbox(mail("One", "First.\nFrom here on."), mail("Two", " "), with_attachments())
    (tmp_path / "in.mbox").write_bytes(box)
    source = FileSource([tmp_path], parser=worker)
    items = [item for item in source.documents() if isinstance(item, PendingDocument)]
    assert [item.id for item in items] == [
        "in.mbox#1", "in.mbox#2", "in.mbox#3", "in.mbox#3#fares.csv", "in.mbox#3#Old fares.eml",
        "in.mbox#3#Old fares.eml#plan.txt",
    ]  # fmt: skip
    first = items[0].load()
    assert (first.title, first.text) == ("One", "First.\nFrom here on.")
    assert first.marks[0].location.message == 1
    ids, unread = source.listed()
    assert ids == {item.id for item in items}
    assert unread == {str(tmp_path / "in.mbox")}
    sizes = {size.source: size.n_bytes for size in source.sizes()}
    assert sizes == {str(tmp_path / "in.mbox"): len(box)}


def test_an_ingest_of_a_mailbox(tmp_path: Path) -> None:
    """Only new messages are read again; one without text fails alone, with its number."""
    box = tmp_path / "in.mbox"
    box.write_bytes(mailbox(mail("One", "The crane is red."), mail("Two", " ")))
    with RAG(tmp_path / "kb", config=WORDS_ONLY) as rag:
        report = rag.ingest(box)
        assert report.documents["added"] == 1
        assert [(f.code, f.detail) for f in report.failures] == [
            ("no_text", "message 2: the mail has no text of its own")
        ]
        with box.open("ab") as file:
            file.write(mailbox(mail("Three", HOURS)))
        again = rag.ingest(box)
        assert (again.documents["added"], again.documents["unchanged"]) == (1, 1)
        hit = rag.search("opening hours of the workshop", k=1)[0]
        assert hit.to_dict()["location"] == {"message": 3}
        answer = rag.ask("What are the opening hours of the workshop?")
        assert answer.citations[0].to_dict()["document_id"] == "in.mbox#3"
        assert answer.citations[0].to_dict()["location"] == {"message": 3}
        box.write_bytes(mailbox(mail("One", "The crane is red.")))
        pruned = rag.ingest(box, prune=True)
        assert pruned.documents["removed"] == 1


def test_mailboxes_that_are_not_read(tmp_path: Path) -> None:
    """What is no mailbox fails as a whole."""
    (tmp_path / "a.mbox").write_bytes(b"Subject: a\n\nb")
    documents, failures = loaded(FileSource([tmp_path / "a.mbox"]))
    assert (documents, [failure.code for failure in failures]) == ({}, ["broken"])


@pytest.mark.parametrize(
    "members", [None, [["a", 5]], [["a", -1]], [[1, 1]], ["a"], [["a", True]], [["a", 1, 1]]]
)
def test_answers_with_files_are_checked(members: list[object] | None) -> None:
    """A process that a hostile file has taken over cannot make files of nothing."""
    with pytest.raises(FrameError):
        unpacked_members({"members": members}, 4, taken_from(b"1234"))  # type: ignore[dict-item]
    assert unpacked_members({"members": []}, 0, taken_from(b"")) == []
    two: list[Json] = [["../a", 1], ["a", 1]]
    names = [m.name for m in unpacked_members({"members": two}, 2, taken_from(b"12"))]
    assert names == ["a", "a-2"]


def test_a_mail_that_is_broken_has_nothing_attached(worker: Worker) -> None:
    """What is wrong with it is said once, by its own document."""
    from ragkit.loading.formats import find_loader

    assert worker.members(Content.of(b"no mail"), loader=find_loader("a.eml")) == []
