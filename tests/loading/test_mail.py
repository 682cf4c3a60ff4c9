"""Mails: what somebody wrote is the text, headers are metadata, attachments are files."""

from __future__ import annotations

import struct
from email.message import EmailMessage

import pytest

from ragkit.errors import LoadError
from ragkit.loading import LOADERS
from ragkit.loading.members import Member

from .test_formats import at, code_of, load


def members(name: str, data: bytes) -> list[Member]:
    """Return what is attached to a mail."""
    found = LOADERS[name].members
    assert found is not None
    return list(found(data))


def mail(text: str | None = "The ferry leaves at nine.", html: str | None = None) -> EmailMessage:
    """Return a mail."""
    message = EmailMessage()
    message["From"], message["To"] = "Kari Olsen <kari@example.org>", "crew@example.org"
    message["Subject"] = "Fähre am Montag — neue Zeiten"
    message["Date"] = "Mon, 3 Jun 2024 09:30:00 +0200"
    if text is not None:
        message.set_content(text)
    if html is not None:
        message.add_alternative(html, subtype="html")
    return message


def test_headers_are_metadata() -> None:
    """The subject is the title, who and when are metadata; none of it is in the text."""
    loaded = load("a.eml", bytes(mail()))
    assert loaded.text == "The ferry leaves at nine."
    assert loaded.title == "Fähre am Montag — neue Zeiten"
    assert loaded.metadata == {
        "from": "Kari Olsen <kari@example.org>",
        "to": "crew@example.org",
        "date": "2024-06-03T09:30:00+02:00",
    }


def test_of_two_forms_one_is_read() -> None:
    """The plain form, unless it says much less than the page; a page alone is read as one."""
    page = "<ul><li>boat one</li><li>boat two</li></ul>"
    assert (
        load("a.eml", bytes(mail("- boat one\n- boat two", page))).text == "- boat one\n- boat two"
    )
    stub = load("a.eml", bytes(mail("See the page.", page + "<p>" + "All about the boats. " * 9)))
    assert stub.text.startswith("- boat one")
    alone = EmailMessage()
    alone.set_content("<h1>Bay</h1><p>It is open.", subtype="html")
    assert at(load("a.eml", bytes(alone)), "It is open").location.heading == ("Bay",)


def test_a_page_among_its_pictures() -> None:
    """It is one of the forms, wherever it stands; what is attached beside any form is attached."""
    page = "<p>" + "All about the boats. " * 9
    message = mail("See the page.", page)
    form = message.get_payload(1)
    assert isinstance(form, EmailMessage)
    form.add_related(b"png", "image", "png", cid="<logo>", filename="logo.png")
    assert load("a.eml", bytes(message)).text == ("All about the boats. " * 9).strip()
    # As one program writes mails with a file between two texts.
    message = mail("Before. After.", "<p>Before.")
    form = message.get_payload(1)
    assert isinstance(form, EmailMessage)
    form.add_related(
        b"png", "image", "png", cid="<logo>", filename="logo.png", disposition="inline"
    )
    form.make_mixed()
    form.add_attachment(b"a,b", "text", "csv", filename="prices.csv")
    loaded = load("a.eml", bytes(message))
    assert (loaded.text, loaded.metadata["attachments"]) == ("Before. After.", ["prices.csv"])


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1"])
def test_headers_that_are_not_encoded(encoding: str) -> None:
    """They are read in the encoding of the mail, names of attachments too."""
    text = (
        "From: Jörg <j@example.org>\nSubject: Grüße =?utf-8?q?aus_K=C3=B6ln?=\n"
        f"Content-Type: multipart/mixed; boundary=b; charset={encoding}\n\n"
        "--b\nContent-Type: text/plain\n\nHallo.\n--b\n"
        'Content-Disposition: attachment; filename="Größe.txt"\n\nHallo.\n--b--\n'
    )
    loaded = load("a.eml", text.encode(encoding))
    assert loaded.title == "Grüße aus Köln"
    assert loaded.metadata["from"] == "Jörg <j@example.org>"
    if encoding == "utf-8":
        assert loaded.metadata["attachments"] == ["Größe.txt"]


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ("format=Flowed", "one two\nFrom me\n> three"),
        ("format=flowed; DelSp=Yes", "onetwo\nFrom me\n> three"),
    ],
)
def test_flowed_lines(parameters: str, text: str) -> None:
    """They are joined with or without the space, and lose the one before what looks special."""
    head = f"Subject: x\nContent-Type: text/plain; {parameters}\n\n"
    assert load("a.eml", f"{head}one \n two\n From me\n> three\n".encode()).text == text


def test_attachments() -> None:
    """Attachments are files with names of their own, and no part of the text."""
    message = mail("See below.")
    message.add_attachment(b"a,b\n1,2\n", maintype="text", subtype="csv", filename="../times.csv")
    message.add_attachment("more", filename="times.csv")
    message.add_attachment(mail("Inner words."))
    loaded = load("a.eml", bytes(message))
    assert loaded.text == "See below."
    names = ["times.csv", "times-2.csv", "Fähre am Montag — neue Zeiten.eml"]
    assert loaded.metadata["attachments"] == names
    attached = members(".eml", bytes(message))
    assert [member.name for member in attached] == names
    assert attached[0].data == b"a,b\n1,2\n"
    assert load("a.eml", attached[2].data).text == "Inner words."


def test_digest_and_flowed_text() -> None:
    """A digest's messages are its text; soft line ends of flowed text are no line ends."""
    digest = (
        b"Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: 1\n\nFirst.\n\n--b\n"
        b"Content-Type: message/rfc822\n\nSubject: 2\n\nSecond.\n--b--\n"
    )
    assert load("a.eml", digest).text == "First.\n\nSecond."
    flowed = (
        b"Content-Type: text/plain; format=flowed\n\nOne line \nthat goes on.\n> quoted \nnew\n"
    )
    assert load("a.eml", flowed).text == "One line that goes on.\n> quoted new"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (
            b"Content-Type: text/plain; charset=shift_jis\n\n" + "港です。".encode("shift_jis"),
            "港です。",
        ),
        (b"Content-Type: text/plain; charset=no-such\n\nplain", "plain"),
        (b"Content-Transfer-Encoding: base64\n\nUGxhaW4=", "Plain"),
        (b"Content-Transfer-Encoding: base64\nContent-Type: text/plain\n\n%%%UGxhaW4", "Plain"),
        ("Subject: a\n\nGrüße".encode("utf-16"), "Grüße"),
        (b"no header at all\n\nbut words", "no header at all\n\nbut words"),
    ],
)
def test_encodings_of_bodies(data: bytes, text: str) -> None:
    """What a part declares counts, and what is damaged does no harm."""
    assert load("a.eml", data).text == text


def test_mails_that_are_not_read() -> None:
    """A mail without a body, an encrypted one, and one with parts in parts without end."""
    empty = mail(None)
    empty.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="a.png")
    assert code_of("a.eml", bytes(empty)) == "no_text"
    assert [member.name for member in members(".eml", bytes(empty))] == ["a.png"]
    encrypted = (
        b"Content-Type: multipart/encrypted; boundary=b\n\n--b\nContent-Type: application/x\n\n"
        b"x\n--b--"
    )
    assert code_of("a.eml", encrypted) == "password"
    nested = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (i, i) for i in range(300)
    )
    assert code_of("a.eml", nested) == "limit"


MAILBOX = (
    b"From kari@example.org Mon Jun 03 09:30:00 2024\nSubject: One\n\nFirst.\n>From here on.\n"
    b"From nowhere near\n\n"
    b"From kari@example.org Tue Jun 04 09:30:00 2024\nSubject: Two\n\nSecond.\n\n"
    b"From kari@example.org Tue Jun 04 10:30:00 2024\n\n"
)


def test_mailbox() -> None:
    """A mailbox read as one text: its messages are numbered, those without text left out."""
    loaded = load("a.mbox", MAILBOX)
    assert loaded.text == "First.\nFrom here on.\nFrom nowhere near\n\nSecond."
    assert at(loaded, "First").location.message == 1
    assert at(loaded, "Second").location.message == 2
    assert at(loaded, "Second").location.heading == ("Two",)
    assert code_of("a.mbox", b"Subject: none\n\nwords") == "broken"
    assert code_of("a.mbox", b"From a Mon Jun 03 09:30:00 2024\n\n") == "no_text"


def compound(streams: dict[str, bytes]) -> bytes:
    """Return a compound file with one storage, all of whose streams have sectors of their own."""
    entries: list[tuple[str, int, int, int, int, int]] = []
    sectors, chains = list[bytes](), list[int]()

    def add(data: bytes) -> int:
        first = len(sectors)
        pieces = [data[i : i + 512].ljust(512, b"\0") for i in range(0, len(data), 512)]
        sectors.extend(pieces)
        chains.extend([*range(first + 1, first + len(pieces)), 0xFFFFFFFE])
        return first

    storages = sorted({name.partition("/")[0] for name in streams if "/" in name})
    tree = {"": [*storages, *(n for n in streams if "/" not in n)]}
    tree |= {s: [n for n in streams if n.startswith(f"{s}/")] for s in storages}
    names = ["Root Entry", *tree[""], *(n for s in storages for n in tree[s])]
    for name in names:
        inner = tree[""] if name == "Root Entry" else tree.get(name, [])
        siblings = next((group for group in tree.values() if name in group), list[str]())
        at_ = siblings.index(name) if name in siblings else -1
        right = names.index(siblings[at_ + 1]) if 0 <= at_ < len(siblings) - 1 else 0xFFFFFFFF
        child = names.index(inner[0]) if inner else 0xFFFFFFFF
        data = streams.get(name, b"")
        kind = 5 if name == "Root Entry" else 2 if name in streams else 1
        entries.append((name, kind, add(data) if data else 0xFFFFFFFE, len(data), right, child))
    directory = b""
    for name, kind, first, size, right, child in entries:
        raw = name.rpartition("/")[2].encode("utf-16-le") + b"\0\0"
        directory += raw.ljust(64, b"\0") + struct.pack(
            "<HBB3I", len(raw), kind, 1, 0xFFFFFFFF, right, child
        )
        directory += bytes(36) + struct.pack("<IQ", first, size)
    start = add(directory)
    table = struct.pack(f"<{len(chains)}I", *chains).ljust(512, b"\xff")
    head = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH", 62, 3, 0xFFFE, 9, 6)
    )
    head += bytes(6) + struct.pack("<III", 0, 1, start) + bytes(4)
    head += struct.pack("<IIIII", 0, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0)
    numbers = struct.pack("<I", len(sectors)).ljust(436, b"\xff")
    return head + numbers + b"".join(sectors) + table


OUTLOOK = {
    "__substg1.0_0037001F": "Quay 4".encode("utf-16-le"),
    "__substg1.0_1000001F": "The quay is closed.\r\n".encode("utf-16-le"),
    "__substg1.0_0C1A001E": "Kari Ólsen".encode(),
    "__properties_version1.0": bytes(32)
    + struct.pack("<IIQ", 0x00390040, 6, 133_618_734_000_000_000),
    "__attach_version1.0_#00000000/__substg1.0_3707001F": "plan.txt".encode("utf-16-le"),
    "__attach_version1.0_#00000000/__substg1.0_37010102": b"The plan." * 100,
}


def test_outlook() -> None:
    """A mail saved by Outlook, with what is attached to it."""
    data = compound(OUTLOOK)
    loaded = load("a.msg", data)
    assert (loaded.text, loaded.title) == ("The quay is closed.", "Quay 4")
    assert loaded.metadata == {
        "from": "Kari Ólsen", "date": "2024-06-03T07:30:00+00:00", "attachments": ["plan.txt"],
    }  # fmt: skip
    assert members(".msg", data) == [Member("plan.txt", b"The plan." * 100)]
    page = {**OUTLOOK, "__substg1.0_10130102": b"<p>Only a page."}
    del page["__substg1.0_1000001F"]
    assert load("a.msg", compound(page)).text == "Only a page."


def test_outlook_files_that_are_not_read() -> None:
    """What is no such file, has no body, or chains that go round."""
    data = compound(OUTLOOK)
    assert code_of("a.msg", b"words") == "broken"
    assert code_of("a.msg", data[:512]) in {"broken", "no_text"}
    assert code_of("a.msg", compound({"__substg1.0_0037001F": b"a\0"})) == "no_text"
    round_ = data[:-512] + struct.pack("<I", 0) * 128
    try:
        load("a.msg", round_)
    except LoadError as error:
        assert error.code in {"broken", "no_text"}  # noqa: PT017 (either is right)
