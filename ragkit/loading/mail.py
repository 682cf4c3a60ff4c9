"""Mails (RFC 5322, MIME): what somebody wrote, without what computers add.

Headers are the title and the metadata, never the text. Of the same text in several forms, the plain
one is read, unless that is a stub. What is attached is a document of its own (`members`).
"""

from __future__ import annotations

import email.errors
import email.header
import email.message
import email.parser
import email.policy
import email.utils
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import cast

from ragkit.errors import LoadError
from ragkit.loading.encodings import decode_text
from ragkit.loading.html import load_html
from ragkit.loading.joining import joined
from ragkit.loading.loaded import LoadedText, decoded
from ragkit.loading.members import Member, member_name
from ragkit.text.plain_lists import plain_list_parts
from ragkit.types import Json, Location

MAX_BORDERS = 200
"""Borders of parts that a mail may declare: each line is compared with those that are open."""

_MAX_HEADER_CHARACTERS = 10_000
_STUB = 0.4
"""Share of a plain text in the length of the HTML beside it below which it only points to that."""

_BORDER = re.compile(rb"boundary\s*=", re.IGNORECASE)
_FLOWED = re.compile(r"(?<=[^\s\-]) \n(?!>)")
_STUFFED = re.compile(r"(?<![^\n]) ")
"""A space that was put at the start of a flowed line, so that it looks like nothing else."""
_QUOTED_FROM = re.compile(rb"(?<![^\n])>(>{0,50}From )")
_METADATA = {"from": "From", "to": "To", "cc": "Cc", "date": "Date", "message_id": "Message-ID"}


@dataclass(slots=True)
class _Mail:
    bodies: list[LoadedText] = field(default_factory=list[LoadedText])
    attached: list[Member] = field(default_factory=list[Member])
    names: dict[str, int] = field(default_factory=dict[str, int])
    is_encrypted: bool = False


def load_mail(data: bytes) -> LoadedText:
    """Load a mail: its text, its subject as title, and who wrote it to whom and when.

    Raises:
        LoadError: `no_text` when it has no body, `password` when that is encrypted, `limit` when it
            has very many parts inside each other.
    """
    message = _parsed(data)
    mail = _read(message)
    metadata = _described(message)
    if mail.attached:
        metadata["attachments"] = [member.name for member in mail.attached]
    loaded = joined(
        ((body, Location()) for body in mail.bodies),
        title=_header(message, "Subject"),
        metadata=metadata,
    )
    if not loaded.text.strip():
        if mail.is_encrypted:
            raise LoadError("password", "the mail is encrypted")
        raise LoadError("no_text", "the mail has no text of its own")
    return loaded


def mail_members(data: bytes) -> Iterator[Member]:
    """Yield what is attached to a mail."""
    yield from _read(_parsed(data)).attached


def may_have_members(data: bytes) -> bool:
    """Whether a mail may have attachments; quick, so that most mails are read only once."""
    return bool(_BORDER.search(data)) or b"attachment" in data


def load_message(data: bytes) -> LoadedText:
    """Load a message of a mailbox, in which lines that begin with `From ` are quoted."""
    return load_mail(without_quotes(data))


def without_quotes(data: bytes) -> bytes:
    """Return a message as it was before it was put into a mailbox."""
    return _QUOTED_FROM.sub(rb"\1", data)


def _parsed(data: bytes) -> email.message.Message:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        data = decode_text(data)[0].encode("utf-8")
    data = data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    if len(_BORDER.findall(data)) > MAX_BORDERS:
        raise LoadError("limit", f"a mail with more than {MAX_BORDERS} parts that hold others")
    return email.parser.BytesParser(policy=_AsTheyStand()).parsebytes(data)


class _AsTheyStand(email.policy.Compat32):
    """Headers as they stand in the mail: the bytes of raw ones are escaped, not lost."""

    def header_fetch_parse(self, name: str, value: str) -> str:
        del name
        return value


def _described(message: email.message.Message) -> dict[str, Json]:
    metadata: dict[str, Json] = {
        name: text for name, header in _METADATA.items() if (text := _header(message, header))
    }
    try:
        # Written the same way by all, dates can be compared.
        date = email.utils.parsedate_to_datetime(str(metadata.get("date", "")))
        metadata["date"] = date.isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        pass
    return metadata


def _header(message: email.message.Message, name: str) -> str:
    """Return a header as people read it; empty if there is none."""
    value = message.get(name)
    return "" if value is None else _words(str(value), message.get_content_charset())


def _words(raw: str, declared: str | None = None) -> str:
    """Return the text of a header; `declared` is the encoding of the mail around it."""
    raw = raw[:_MAX_HEADER_CHARACTERS]
    if not raw.isascii():
        raw = _decoded(raw.encode("utf-8", "surrogateescape"), declared)
    pieces: list[str] = []
    try:
        found = email.header.decode_header(raw)
    except (ValueError, email.errors.MessageError):
        found = [(raw, None)]
    for piece, charset in found:
        if isinstance(piece, str):
            pieces.append(piece)
        elif charset is None:  # what stands between encoded words, as that function writes it
            pieces.append(piece.decode("raw-unicode-escape", "replace"))
        else:
            pieces.append(_decoded(piece, charset))
    return " ".join("".join(pieces).split())


def _decoded(data: bytes, declared: str | None) -> str:
    try:
        return decode_text(data, declared=declared)[0]
    except LoadError:
        return data.decode("utf-8", "replace")


def _read(message: email.message.Message) -> _Mail:
    """Sort the parts of a mail into what is its text and what is attached to it."""
    mail = _Mail()
    waiting: list[tuple[email.message.Message, bool, bool]] = [(message, False, True)]
    while waiting:
        part, in_digest, is_shown = waiting.pop()
        kind = part.get_content_type()
        mail.is_encrypted |= kind in {"multipart/encrypted", "application/pkcs7-mime"}
        if kind == "message/rfc822" and in_digest:
            waiting += [(inner, False, is_shown) for inner in reversed(_parts(part))]
        elif not _holds_parts(part):
            _take(part, mail, is_shown=is_shown)
        elif kind == "multipart/alternative":
            forms = _parts(part)
            best = _best(forms)
            # What is attached may stand beside any of the forms.
            waiting += [(form, False, is_shown and form is best) for form in reversed(forms)]
        else:
            inner = _parts(part)
            is_digest = kind == "multipart/digest"
            waiting += [(each, is_digest, is_shown) for each in reversed(inner)]
    return mail


def _holds_parts(part: email.message.Message) -> bool:
    return part.get_content_maintype() == "multipart" and part.is_multipart()


def _parts(part: email.message.Message) -> list[email.message.Message]:
    payload: object = part.get_payload()
    inner = cast("list[object]", payload) if isinstance(payload, list) else []
    return [each for each in inner if isinstance(each, email.message.Message)]


def _best(forms: list[email.message.Message]) -> email.message.Message:
    """Return the plain form of a text, or its last one where the plain one says much less."""
    plain = next((form for form in forms if form.get_content_type() == "text/plain"), None)
    if plain is None:
        return forms[-1]
    length = len(_text(plain).text)
    pages = [(form, _n_characters(form)) for form in forms if form is not plain]
    page, n_characters = max(pages, key=lambda page: page[1], default=(plain, 0))
    if length < _STUB * n_characters:
        return page
    return plain if length or n_characters else forms[-1]


def _n_characters(form: email.message.Message) -> int:
    """Return how long the HTML of a form is, which may stand among pictures and files."""
    waiting, n_characters = [form], 0
    while waiting:
        part = waiting.pop()
        if _holds_parts(part):
            waiting += _parts(part)
        elif part.get_content_type() == "text/html" and not _is_attached(part):
            n_characters += len(_text(part).text)
    return n_characters


def _is_attached(part: email.message.Message) -> bool:
    return part.get_filename() is not None or part.get_content_disposition() == "attachment"


def _take(part: email.message.Message, mail: _Mail, *, is_shown: bool) -> None:
    name = part.get_filename()
    kind = part.get_content_type()
    is_attached = _is_attached(part)
    if kind in {"text/plain", "text/html"} and not is_attached:
        if is_shown:
            mail.bodies.append(_text(part))
    elif not is_shown and part.get("Content-ID") and part.get_content_disposition() != "attachment":
        return  # a picture of a page that is not read
    elif kind == "message/rfc822":
        inner = _parts(part)
        if inner:
            name = f"{_header(inner[0], 'Subject') or 'message'}.eml"
            _attach(mail, name, inner[0].as_bytes())
    elif kind not in {"application/pgp-signature", "application/pkcs7-signature"} and is_attached:
        data = part.get_payload(decode=True)
        _attach(mail, _words(name or "attachment"), data if isinstance(data, bytes) else b"")


def _attach(mail: _Mail, name: str, data: bytes) -> None:
    mail.attached.append(
        Member(member_name(name.replace("\\", "/").rpartition("/")[2], mail.names), data)
    )


def _text(part: email.message.Message) -> LoadedText:
    """Return what a part says; in none of its encodings, nothing."""
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    charset = part.get_content_charset()
    text, guessed = decode_text(data, declared=charset)
    if part.get_content_type() == "text/html":
        # The mail says what the page is written in, which the page need not.
        return load_html(b"\xef\xbb\xbf" + text.encode("utf-8", "replace"))
    if str(part.get_param("format")).lower() == "flowed":
        space = "" if str(part.get_param("delsp")).lower() == "yes" else " "
        text = _FLOWED.sub(space, _STUFFED.sub("", text.replace("\r\n", "\n")))
    text, _, dropped = decoded(text.encode("utf-8", "replace"))
    text = text.strip("\n")
    loaded = LoadedText(text=text, parts=plain_list_parts(text), dropped=dropped)
    return loaded if guessed is None else replace(loaded, metadata={"encoding": guessed})
