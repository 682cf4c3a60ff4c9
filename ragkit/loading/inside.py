"""Documents inside of files: messages of mailboxes, what is attached to mails or in archives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from ragkit.errors import LoadError
from ragkit.loading.content import Content
from ragkit.loading.formats import (
    ARCHIVES,
    LOADERS_VERSION,
    MAIL,
    Loader,
    archive_loader,
    find_loader,
)
from ragkit.loading.isolation import Parser
from ragkit.loading.joining import placed
from ragkit.loading.mail import may_have_members, without_quotes
from ragkit.loading.mbox import MAX_MESSAGE_BYTES, messages
from ragkit.loading.members import Member
from ragkit.loading.payloads import why_for_programs
from ragkit.loading.records import Labels, digest
from ragkit.loading.walking import shown
from ragkit.types import Document, Failure, Location, PendingDocument, SourceItem

MAX_DEPTH = 3
"""Of files in files."""


@dataclass(frozen=True, slots=True)
class Place:
    """A file that may hold documents: its own id, its source, and what is common to them."""

    id: str
    source: str
    labels: Labels
    parser: Parser
    depth: int = 0
    archives: bool = False
    message: int | None = None


def mailbox_documents(
    path: str, identity: str, labels: Labels, parser: Parser, *, archives: bool = False
) -> Iterator[SourceItem]:
    """Yield the messages of a mailbox, and what is attached to them."""
    source = shown(path)
    try:
        with open(path, "rb") as stream:
            for number, raw in enumerate(messages(stream), start=1):
                place = Place(
                    f"{identity}#{number}",
                    source,
                    labels,
                    parser,
                    archives=archives,
                    message=number,
                )
                if raw is None:
                    detail = f"message {number}: over {MAX_MESSAGE_BYTES >> 20} MiB"
                    yield Failure(source=source, code="limit", detail=detail)
                    continue
                message = Member("message.eml", without_quotes(raw))
                yield from _documents(place, message, MAIL, n_bytes=len(raw))
    except OSError as error:
        yield Failure(source=source, code="unreadable", detail=str(error.strerror or error))
    except LoadError as error:
        yield Failure(source=source, code=error.code, detail=error.detail)


def member_documents(place: Place, content: Content, loader: Loader) -> Iterator[SourceItem]:
    """Yield what is attached to a file, and what is attached to that."""
    if place.depth >= MAX_DEPTH:
        return
    is_archive = loader in ARCHIVES.values()
    try:
        if loader is MAIL and not may_have_members(b"".join(content.blocks())):
            return
        members = place.parser.members(content, loader=loader)
    except LoadError as error:
        # What is wrong with another file, its own document says.
        if is_archive or error.code == "limit":
            detail = f"{place.id}: {error.detail}" if place.depth else error.detail
            yield Failure(source=place.source, code=error.code, detail=detail)
        return
    except OSError:
        return
    for member in members:
        inner = replace(place, id=f"{place.id}#{member.name}", depth=place.depth + 1)
        if place.archives and (archive := archive_loader(member.name)):
            yield from member_documents(inner, Content.of(member.data), archive)
            continue
        try:
            if why := why_for_programs(member.name.rpartition("/")[2]):
                raise LoadError("payload", why)
            found = find_loader(member.name)
        except LoadError as error:
            where = "in it" if is_archive else "attached"
            detail = f"{where}, {member.name}: {error.detail}"
            yield Failure(source=place.source, code=error.code, detail=detail, skipped=True)
            continue
        yield from _documents(inner, member, found)


def _documents(
    place: Place, member: Member, loader: Loader, n_bytes: int | None = None
) -> Iterator[SourceItem]:
    found = digest([loader.name, LOADERS_VERSION, member.name, place.message], place.labels)
    found.update(member.data)
    content = Content.of(member.data)
    yield PendingDocument(
        id=place.id,
        source=place.source,
        fingerprint=found.hexdigest(),
        load=partial(_load, place, member.name, content, loader),
        groups=place.labels.groups,
        n_bytes=n_bytes,
    )
    if loader.members is not None:
        yield from member_documents(place, content, loader)


def _load(place: Place, name: str, content: Content, loader: Loader) -> Document:
    try:
        loaded = place.parser.load(content, name=name, loader=loader)
    except LoadError as error:
        if place.message is None:
            where = f"in it, {name}: "  # its source is the file around it
        else:
            where = f"message {place.message}: "
            where += f"attached, {name}: " if place.depth else ""
        raise LoadError(error.code, f"{where}{error.detail}", may_pass=error.may_pass) from error
    if place.message is not None:
        loaded = placed(loaded, Location(message=place.message))
    return place.labels.document(place.id, place.source, loaded)
