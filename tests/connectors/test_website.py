"""Documents of a web site: what is read of it, and where nobody is led to."""

from __future__ import annotations

import gzip
import itertools
import json
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from ragkit import RAG
from ragkit.errors import ConfigError, LoadError
from ragkit.loading.isolation import InProcess
from ragkit.loading.remote import Reading
from ragkit.pipeline.options import IngestOptions
from ragkit.pipeline.report import IngestReport
from ragkit.types import Document, Failure
from ragkit_connectors import is_source, open_source
from ragkit_connectors.support.packed import unpacked_gzip
from ragkit_connectors.website.addresses import is_public
from ragkit_connectors.website.fetching import Fetcher
from ragkit_connectors.website.robots import Robots
from ragkit_connectors.website.urls import check_same_site, normalised

from ..cli.command import run
from . import reading
from .site import Answer, Network, Site, page, sitemap


@pytest.fixture
def site() -> Iterator[Site]:
    """Return a running site without pages."""
    with Site() as server:
        yield server


def read(name: str, *, allow_private: bool = True) -> tuple[dict[str, Document], list[Failure]]:
    """Return the documents of a source by their ids, and its failures; servers here are private."""
    return reading.read(name, allow_private=allow_private)


def ingest(store: Path, *what: str, prune: bool = False, agrees: bool = False) -> IngestReport:
    """Return the report of an ingest without vectors."""
    options: IngestOptions = {"allow_private": True, "prune": prune, "isolate": False}
    options["confirm"] = lambda _: agrees
    with RAG(store, embedder="none") as rag:
        return rag.ingest(*what, **options)


def fail(name: str) -> str:
    """Return the detail of the only failure of a source that gives no document."""
    documents, failures = read(name)
    assert not documents
    (failure,) = failures
    return f"{failure.code}: {failure.detail}"


def test_a_page_is_a_document(site: Site) -> None:
    """Its id and its source are its address, in one spelling."""
    site.pages["/Caf%C3%A9/a"] = page("The crane lifts nine tonnes.")
    documents, failures = read(f"{site.url}/x/../Café/./a#top")
    assert not failures
    (document,) = documents.values()
    assert document.id == document.source == f"{site.url}/Caf%C3%A9/a"
    assert document.text == "The crane lifts nine tonnes."
    assert document.title == "A page"


@pytest.mark.parametrize(
    ("path", "kind", "body", "text"),
    [
        ("/a", "application/json; charset=utf-8", '{"tide": "low"}', "tide: low"),
        ("/a.md", "text/plain", "# Tides\n\nLow.", "# Tides"),
        ("/a.md", "application/octet-stream", "# Tides\n\nLow.", "# Tides"),
        ("/a.php", "text/html", "<h1>Tides</h1>", "Tides"),
        ("/a", "text/plain", "Low <tide>", "Low <tide>"),
        ("/a", "text/x-unheard-of", "Low", "Low"),
        ("/a.md", "text/markdown", "# Tides\n\n    <urlset>", "<urlset>"),
        ("/a.csv", "text/csv", "tide,at\nlow,6", "tide: low; at: 6"),
        ("/a", "text/xml", "<a><b>Low</b></a>", "Low"),
    ],
)
def test_the_kind_of_content_decides(
    site: Site, path: str, kind: str, body: str, text: str
) -> None:
    """What a server says of a page, else its address, decides how it is read."""
    site.pages[path] = Answer(body=body.encode(), kind=kind)
    documents, _ = read(site.url + path)
    assert text in documents[site.url + path].text


def test_what_nothing_reads(site: Site) -> None:
    """A picture that was named is a failure; one that is listed is skipped."""
    site.pages["/a"] = Answer(body=b"\x89PNG", kind="image/png")
    assert fail(f"{site.url}/a").startswith("unsupported: no loader reads .png")
    site.pages["/sitemap.xml"] = sitemap(f"{site.url}/a")
    _, (failure,) = read(f"{site.url}/sitemap.xml")
    assert (failure.code, failure.skipped) == ("unsupported", True)


def test_the_encoding_that_a_server_names(site: Site) -> None:
    """It comes before what the page says of itself, as in browsers; a wrong one is ignored."""
    body = "<meta charset=utf-8><p>Fähre – 5 €".encode("cp1252")
    site.pages["/a"] = Answer(body=body, kind="text/html; charset=ISO-8859-1")
    assert read(f"{site.url}/a")[0][f"{site.url}/a"].text == "Fähre – 5 €"
    for wrong in ("zlib", "punycode", "unicode_escape", "idna", "x", "utf-8", "../a"):
        kind = f"text/html; charset={wrong}"
        site.pages["/a"] = Answer(body="<p>F\u00e4hre \\u0041".encode(), kind=kind)
        assert read(f"{site.url}/a")[0][f"{site.url}/a"].text == "Fähre \\u0041"


def test_a_sitemap(site: Site) -> None:
    """Pages of its host are read, in order, each once; what is elsewhere is not asked for."""
    pages = [f"{site.url}/b?x=1&amp;y=2", f"{site.url}/a", f"{site.url}/a#part", "/relative"]
    foreign = ["http://example.org/a", "ftp://127.0.0.1/a", "http://127.0.0.1:1/a"]
    site.pages["/docs/sitemap.xml"] = sitemap(*pages, *foreign)
    site.pages["/b?x=1&y=2"], site.pages["/a"] = page("First."), page("Second.")
    documents, failures = read(f"{site.url}/docs/sitemap.xml")
    assert list(documents) == [f"{site.url}/b?x=1&y=2", f"{site.url}/a"]
    assert [failure.source for failure in failures] == ["/relative", *foreign]
    assert {(failure.code, failure.skipped) for failure in failures} == {("ignored", True)}
    assert site.asked == ["/docs/sitemap.xml", "/b?x=1&y=2", "/a"]


def test_an_index_of_sitemaps(site: Site) -> None:
    """Its sitemaps are read, packed ones too; one that fails is a failure, and no index inside."""
    inner = [f"{site.url}/{name}" for name in ("1.xml", "2.xml.gz", "3.xml", "4.xml")]
    site.pages["/index.xml"] = sitemap(*inner, root="sitemapindex", entry="sitemap")
    site.pages["/1.xml"] = sitemap(f"{site.url}/a")
    packed = gzip.compress(sitemap(f"{site.url}/b").body)
    site.pages["/2.xml.gz"] = Answer(body=packed, kind="application/x-gzip")
    site.pages["/3.xml"] = site.pages["/index.xml"]
    site.pages["/a"], site.pages["/b"] = page("A."), page("B.")
    documents, failures = read(f"{site.url}/index.xml")
    assert list(documents) == [f"{site.url}/a", f"{site.url}/b"]
    assert [failure.code for failure in failures] == ["limit", "unreadable"]


def test_a_list(site: Site, tmp_path: Path) -> None:
    """A list of addresses on a site, or in a file of one's own, which may name several hosts."""
    lines = f"# pages\n{site.url}/a\n\n{site.url}/b\n"
    site.pages["/list.txt"] = Answer(body=lines.encode(), kind="text/plain")
    site.pages["/a"], site.pages["/b"] = page("A."), page("B.")
    assert len(read(f"{site.url}/list.txt")[0]) == 2
    file = tmp_path / "list"
    file.write_text(f"{lines}nonsense\nhttp://user:secret@example.org/\n", encoding="utf-8")
    documents, failures = read(f"urls:{file}")
    assert len(documents) == 2
    assert [failure.code for failure in failures] == ["unreadable", "unreadable"]
    with pytest.raises(ConfigError, match="cannot be read"):
        read(f"urls:{tmp_path}/none")


def test_unchanged_pages_are_not_sent_again(site: Site, tmp_path: Path) -> None:
    """A version that the server knows costs a 304; without one, the content decides."""
    a, b, c = (f"{site.url}/{name}" for name in "abc")
    site.pages |= {"/sitemap.xml": sitemap(a, b, c), "/b": page("B.")}
    site.pages["/a"] = page("A.", ETag='"1"')
    site.pages["/c"] = page("C.", ETag='"1"')
    first = ingest(tmp_path / "kb", f"{site.url}/sitemap.xml")
    assert first.documents["added"] == 3
    site.requests.clear()
    again = ingest(tmp_path / "kb", f"{site.url}/sitemap.xml")
    assert again.documents["unchanged"] == 3
    sent = {r.path: r.headers.get("if-none-match") for r in site.requests}
    assert (sent["/a"], sent["/b"]) == ('"1"', None)
    # The same content by another name, and another content.
    site.pages["/a"], site.pages["/b"] = page("A.", ETag='"2"'), page("B changed.")
    last = ingest(tmp_path / "kb", f"{site.url}/sitemap.xml")
    assert (last.documents["unchanged"], last.documents["changed"]) == (2, 1)


def test_another_way_to_read_asks_for_the_page_again(site: Site, tmp_path: Path) -> None:
    """The version is not enough where groups or metadata have changed."""
    site.pages["/a"] = page("A.", ETag='"1"')
    ingest(tmp_path / "kb", f"{site.url}/a")
    options: IngestOptions = {"allow_private": True, "isolate": False, "metadata": {"x": 1}}
    with RAG(tmp_path / "kb", embedder="none") as rag:
        assert rag.ingest(f"{site.url}/a", **options).documents["changed"] == 1
        stored = rag.stored(f"{site.url}/a")
    assert stored is not None
    assert stored[0].metadata == {"x": 1}


def test_prune_removes_what_is_no_longer_listed(site: Site, tmp_path: Path) -> None:
    """Only below the folder of the sitemap, only if all of it could be read, and not by halves."""
    store, here = tmp_path / "kb", f"{site.url}/docs"
    names = [f"{here}/{name}" for name in "abcd"]
    site.pages |= {f"/docs/{name}": page(name) for name in "abcd"} | {"/other": page("Other.")}
    site.pages["/docs/sitemap.xml"] = sitemap(*names)
    ingest(store, f"{here}/sitemap.xml", f"{site.url}/other")
    site.pages["/docs/sitemap.xml"] = sitemap(*names[:3])
    assert ingest(store, f"{here}/sitemap.xml").documents["removed"] == 0
    assert ingest(store, f"{here}/sitemap.xml", prune=True).documents["removed"] == 1
    # A page that is listed but cannot be fetched stays.
    del site.pages["/docs/a"]
    report = ingest(store, f"{here}/sitemap.xml", prune=True)
    assert (report.documents["failed"], report.documents["removed"]) == (1, 0)
    site.pages["/docs/sitemap.xml"] = sitemap(names[0])
    with pytest.raises(ConfigError, match="prune would remove 2 of the 3"):
        ingest(store, f"{here}/sitemap.xml", prune=True)
    site.pages["/docs/sitemap.xml"] = Answer(status=500)
    report = ingest(store, f"{here}/sitemap.xml", prune=True, agrees=True)
    assert (report.documents["failed"], report.documents["removed"]) == (1, 0)


def test_robots(site: Site) -> None:
    """What is not allowed is not asked for; a list that cannot be read allows nothing."""
    site.pages["/robots.txt"] = Answer(
        body=b"User-agent: *\nDisallow: /private\n\nUser-agent: other\nDisallow: /",
        kind="text/plain",
    )
    site.pages["/sitemap.xml"] = sitemap(f"{site.url}/private/a", f"{site.url}/b", f"{site.url}/c")
    site.pages["/b"] = page("B.")
    site.pages["/c"] = Answer(status=302, headers={"Location": "/private/c"})
    documents, failures = read(f"{site.url}/sitemap.xml")
    assert list(documents) == [f"{site.url}/b"]
    assert [(f.code, f.skipped) for f in failures] == [("ignored", True)] * 2
    assert site.asked == ["/sitemap.xml", "/b", "/c"]
    assert "robots.txt does not allow it" in fail(f"{site.url}/private/a")
    site.pages["/robots.txt"] = Answer(status=500)
    assert "whether it may be fetched is not known" in fail(f"{site.url}/b")
    site.pages["/robots.txt"] = Answer(body=b"#" * 600_000)
    assert "whether it may be fetched is not known" in fail(f"{site.url}/b")
    site.pages["/robots.txt"] = Answer(status=403)
    assert "does not allow it" in fail(f"{site.url}/b")
    site.pages["/robots.txt"] = Answer(status=410)
    assert read(f"{site.url}/b")[0]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1",  # noqa: S104
        "169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.8",
        "198.18.0.1", "203.0.113.7", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.88.99.1",
        "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1",
        "64:ff9b:1::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1",
        "ff02::1", "2001:db8::1", "2001::1", "2002:7f00:1::", "nonsense", "",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    """None of them may be asked."""
    assert not is_public(address)


def test_addresses_that_are_public() -> None:
    """Those of the Internet may be."""
    assert all(map(is_public, ("8.8.8.8", "93.184.216.34", "2606:4700::1111", "172.32.0.1")))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.0.0.1", "[::1]", "0"]
)
def test_this_machine_is_not_asked(site: Site, host: str) -> None:
    """However it is spelt."""
    address = site.url.replace("127.0.0.1", host)
    documents, (failure,) = read(address, allow_private=False)
    assert not documents
    assert failure.code == "unreadable"
    assert site.n_connections == 0


def test_a_name_is_looked_up_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was checked is what is connected to, whatever the name stands for a moment later."""
    network = Network(site)
    network.names["rebinds.example"] = ["8.8.8.8", "8.8.8.8", "127.0.0.1"]
    network.install(monkeypatch)
    site.pages["/a"] = page("A.")
    site.pages["/sitemap.xml"] = sitemap("http://rebinds.example/a")
    documents, (failure,) = read("http://rebinds.example/sitemap.xml", allow_private=False)
    assert not documents
    assert "rebinds.example is 127.0.0.1" in failure.detail
    assert network.connected == ["8.8.8.8", "8.8.8.8"]  # robots.txt and the sitemap


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("http://169.254.169.254/latest/meta-data/", "another host"),
        ("http://localhost/a", "another host"),
        ("http://127.0.0.1:1/", "another port"),
        ("https://127.0.0.1/", "another port"),
        ("file:///etc/passwd", "neither with https"),
        ("http://user:x@127.0.0.1/", "a user or a password"),
        ("/loop", "more than 5 redirects"),
        ("", "redirected, but not to where"),
    ],
)
def test_redirects(site: Site, target: str, why: str) -> None:
    """They are followed on the host that was named, and not for ever."""
    site.pages["/loop"] = Answer(status=301, headers={"Location": target})
    assert why in fail(f"{site.url}/loop")
    site.pages["/there"] = page("There.")
    site.pages["/here"] = Answer(status=307, headers={"Location": "there"})
    documents, _ = read(f"{site.url}/here")
    assert documents[f"{site.url}/here"].text == "There."
    site.pages["/Caf%C3%A9"] = page("Café.")
    written = "/Café".encode().decode("latin-1")  # as bytes of UTF-8
    site.pages["/here"] = Answer(status=302, headers={"Location": written})
    documents, _ = read(f"{site.url}/here")
    assert documents[f"{site.url}/here"].text == "Café."


def test_a_redirect_to_a_name_of_a_private_address(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same name, which stands for something else after the redirect, is checked again."""
    network = Network(site)
    network.names["site.example"] = ["8.8.8.8", "8.8.8.8", "169.254.169.254"]
    network.install(monkeypatch)
    site.pages["/a"] = Answer(status=302, headers={"Location": "/b"})
    documents, (failure,) = read("http://site.example/a", allow_private=False)
    assert not documents
    assert "169.254.169.254" in failure.detail
    assert "169.254.169.254" not in network.connected


@pytest.mark.skipif(shutil.which("openssl") is None, reason="it makes the certificate")
def test_the_name_of_a_certificate(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes to what was checked, and must belong to the name that was asked."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = ["-subj", "/CN=site.example", "-addext", "subjectAltName=DNS:site.example"]
    files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "certificate")]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    site.encrypt(context)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate"))
    network = Network(site)
    network.names |= {"site.example": ["8.8.8.8"], "other.example": ["8.8.8.8"]}
    network.install(monkeypatch)
    site.pages["/a"] = page("A.")
    assert len(read("https://site.example/a", allow_private=False)[0]) == 1
    documents, (failure,) = read("https://other.example/a", allow_private=False)
    assert not documents
    assert "certificate verify failed" in failure.detail.lower().replace("_", " ")


def test_encryption_is_not_given_up() -> None:
    """What was named with https:// is asked for by nothing else."""
    with pytest.raises(LoadError, match="not encrypted"):
        check_same_site("http://a.example/", "https://a.example/")


def test_what_is_too_large(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body is given up at the limit, packed or not, whatever its head announces."""
    monkeypatch.setattr("ragkit_connectors.website.fetching.MAX_FILE_BYTES", 1)
    fetcher = Fetcher(allow_private=True)
    bomb = gzip.compress(bytes(20_000_000))
    site.pages["/bomb"] = Answer(body=bomb, headers={"Content-Encoding": "gzip"})
    site.pages["/large"] = Answer(body=bytes(2_000_000))
    for name in ("bomb", "large"):
        with pytest.raises(LoadError, match="limit: more than 1,000,000 bytes"):
            fetcher.get(f"{site.url}/{name}", most_bytes=1_000_000)
    site.pages["/cut"] = Answer(body=bomb[:-2_000], headers={"Content-Encoding": "gzip"})
    site.pages["/odd"] = Answer(body=b"no", headers={"Content-Encoding": "gzip"})
    site.pages["/other"] = Answer(body=b"no", headers={"Content-Encoding": "br"})
    for name, why in (("cut", "broke off"), ("odd", "cannot be unpacked"), ("other", "'br'")):
        with pytest.raises(LoadError, match=why):
            fetcher.get(f"{site.url}/{name}")


def test_a_packed_page(site: Site) -> None:
    """It is unpacked."""
    body = gzip.compress(b"<p>" + b"Tide. " * 100_000)
    site.pages["/a"] = Answer(body=body, headers={"Content-Encoding": "gzip"})
    assert len(read(f"{site.url}/a")[0][f"{site.url}/a"].text) == 599_999


def test_servers_that_are_slow(site: Site) -> None:
    """One that drips is given up in time; one that never answers is not asked for ever."""
    site.pages["/drip"] = Answer(body=b"x" * 1_000, seconds_per_byte=0.02)
    site.pages["/robots.txt"] = Answer(status=404)
    fetcher = Fetcher(allow_private=True, seconds=0.3, total_seconds=0.6)
    with pytest.raises(LoadError, match=r"no answer within 0\.6 s"):
        fetcher.get(f"{site.url}/drip")

    def sleep(_: object) -> Answer:
        time.sleep(0.2)
        return Answer()

    site.pages["/never"] = sleep
    fetcher = Fetcher(allow_private=True, seconds=0.05)
    for _ in range(3):
        with pytest.raises(LoadError, match="no answer within"):
            fetcher.get(f"{site.url}/never")
    with pytest.raises(LoadError, match="did not answer 3 times in a row"):
        fetcher.get(f"{site.url}/never")


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("Crawl-delay: 7 # s", 7.0), ("crawl-delay:4000", 30.0), ("Crawl-delay: ²", 0.0),
        ("Crawl-delay: " + "9" * 5_000, 0.0), ("Request-rate: 1/" + "9" * 5_000, 0.0),
    ],
    ids=["seconds", "hours", "raised", "long", "rate"],
)  # fmt: skip
def test_the_delay_that_a_site_asks_for(site: Site, line: str, seconds: float) -> None:
    """It is heeded within bounds, and no line of `robots.txt` breaks the ingest."""
    text = f"User-agent: *\n{line}\nDisallow: /no\n"
    site.pages["/robots.txt"] = Answer(body=text.encode(), kind="text/plain")
    site.pages["/a"] = page("A.")
    fetcher = Fetcher(allow_private=True, sleep=lambda _: None)
    robots = Robots(fetcher)
    robots.check(f"{site.url}/a")
    assert fetcher.delay_seconds == seconds
    with pytest.raises(LoadError, match="does not allow it"):
        robots.check(f"{site.url}/no")


@pytest.mark.parametrize(
    ("text", "allowed", "refused"),
    [
        ("User-agent: *\nDisallow: /\nAllow: /ok/", "/ok/a", "/other"),
        ("User-agent: *\nAllow: /\nDisallow: /private", "/a", "/private/a"),
        ("User-agent: *\nDisallow: /*.pdf$", "/a.pdf.html", "/docs/a.pdf"),
        ("User-agent: *\nDisallow: /a*b*c", "/acb", "/aXbYc/d"),
        ("User-agent: *\nDisallow: /*?print=", "/a?x=1", "/a?print=1"),
        ("User-agent: *\nDisallow: /a\nAllow: /a", "/a", None),
        ("User-agent: ragkit\n\nDisallow: /no", "/a", "/no"),
        ("User-agent: *\nDisallow: /\n\nUSER-AGENT: RagKit/2.0\nDisallow: /no", "/a", "/no"),
        ("User-agent: other\nUser-agent: ragkit\nDisallow: /no # none", "/a", "/no"),
        ("User-agent: ragkit\nDisallow: /b\n\nUser-agent: ragkit\nDisallow: /no", "/a", "/no"),
        ("User-agent: kit\nDisallow: /", "/a", None),
        ("User-agent: ragkit-news\nDisallow: /", "/a", None),
        ("User-agent: *\nDisallow:", "/a", None),
        ("User-agent: *\nCrawl-delay: 1\n\nUser-agent: x\nDisallow: /", "/a", None),
        ("Disallow: /\nUser-agent: *\nSitemap: /s\nDisallow: /no", "/a", "/no"),
        ("User-agent: *\nDisallow: /caf%c3%a9\nDisallow: /%7Ejoe", "/cafe", "/~joe/a"),
        ("User-agent: *\nDisallow: /caf\u00e9", "/cafe", "/caf%C3%A9/a"),
        ("User-agent: *\rDisallow: /no\r", "/a", "/no"),
    ],
    ids=itertools.count(),
)
def test_the_rules_of_robots(site: Site, text: str, allowed: str, refused: str | None) -> None:
    """The longest pattern of the groups that name this agent decides (RFC 9309)."""
    site.pages["/robots.txt"] = Answer(body=text.encode(), kind="text/plain")
    robots = Robots(Fetcher(allow_private=True, sleep=lambda _: None))
    robots.check(site.url + allowed)
    if refused is not None:
        with pytest.raises(LoadError, match="does not allow it"):
            robots.check(site.url + refused)


def test_what_is_packed_in_several_pieces(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are read, and zero bytes behind them are not; there are not ever so many."""
    packed = gzip.compress(b"<p>First ") + gzip.compress(b"and second.") + bytes(9)
    site.pages["/a"] = Answer(body=packed, headers={"Content-Encoding": "gzip"})
    assert read(f"{site.url}/a")[0][f"{site.url}/a"].text == "First and second."
    found = unpacked_gzip((packed[at : at + 1] for at in range(len(packed))), 100)
    assert b"".join(found) == b"<p>First and second."
    monkeypatch.setattr("ragkit_connectors.support.packed._MAX_GZIP_MEMBERS", 3)
    with pytest.raises(LoadError, match="limit: packed in more than 3"):
        list(unpacked_gzip(iter([gzip.compress(b"") * 4]), 100))


def test_what_servers_say_loosely(site: Site) -> None:
    """A page is read where its kind or its encoding is named wrongly, or not at all."""
    html = b"<!DOCTYPE html><p>Tides.</p>"
    chinese = Answer(body="<p>朱镕基".encode("gbk"), kind="text/html; charset=gb2312")
    site.pages["/a"] = chinese
    assert read(f"{site.url}/a")[0][f"{site.url}/a"].text == "朱镕基"
    for kind, headers in (
        ("", {}), ("html", {}), ("text/html, text/html; charset=utf-8", {}),
        ("text/html", {"Content-Encoding": "UTF-8"}), ("text/html", {"Content-Encoding": ""}),
        ("application/octet-stream", {}),
    ):  # fmt: skip
        site.pages["/a"] = Answer(body=html, kind=kind, headers=headers)
        assert read(f"{site.url}/a")[0][f"{site.url}/a"].text == "Tides."
    offered = {"Content-Disposition": 'attachment; filename="tides.csv"'}
    kind = "application/octet-stream"
    site.pages["/get?id=3"] = Answer(body=b"tide,at\nlow,6", kind=kind, headers=offered)
    assert read(f"{site.url}/get?id=3")[0][f"{site.url}/get?id=3"].text == "tide: low; at: 6"


def test_servers_that_ask_to_wait(site: Site) -> None:
    """They are asked again after that, twice at most; a delay lies between two requests."""
    waits: list[float] = []
    fetcher = Fetcher(allow_private=True, delay_seconds=7.0, sleep=waits.append)
    site.pages["/a"] = Answer(status=429, headers={"Retry-After": "5"})
    with pytest.raises(LoadError, match="HTTP 429"):
        fetcher.get(f"{site.url}/a")
    assert [round(seconds) for seconds in waits] == [0, 5, 7, 5, 7]
    waits.clear()
    fetcher = Fetcher(allow_private=True, sleep=waits.append)
    later = formatdate(time.time() + 50, usegmt=True)
    site.pages["/a"] = Answer(status=503, headers={"Retry-After": later})
    with pytest.raises(LoadError, match="HTTP 503"):
        fetcher.get(f"{site.url}/a")
    assert 30 < waits[1] <= 50
    site.pages["/a"] = Answer(status=503, headers={"Retry-After": "4000"})
    with pytest.raises(LoadError, match="HTTP 503"):
        Fetcher(allow_private=True, sleep=waits.append).get(f"{site.url}/a")


def test_hostile_sitemaps(site: Site) -> None:
    """Entities that grow, elements that never end, and what is no sitemap at all, are failures."""
    entities = "".join(f"<!ENTITY e{i} '{f'&e{i - 1};' * 9}'>" for i in range(1, 20))
    bomb = f"<!DOCTYPE urlset [<!ENTITY e0 'ha'>{entities}]><urlset><url><loc>&e19;</loc></url>"
    outside = "<!DOCTYPE urlset [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><urlset><url><loc>&e;"
    deep = "<urlset>" + "<url>" * 5_000
    for text in (bomb, f"{outside}</loc></url></urlset>", deep, "<urlset><url>"):
        site.pages["/sitemap.xml"] = Answer(body=text.encode(), kind="application/xml")
        assert fail(f"{site.url}/sitemap.xml").partition(":")[0] in {"limit", "broken", "no_text"}
    site.pages["/sitemap.xml"] = sitemap()
    assert fail(f"{site.url}/sitemap.xml").startswith("no_text")
    packed = gzip.compress(bytes(70_000_000))
    site.pages["/sitemap.xml.gz"] = Answer(body=packed, kind="application/gzip")
    assert fail(f"{site.url}/sitemap.xml.gz").startswith("limit")


def test_what_stands_for_pages_in_a_sitemap(site: Site) -> None:
    """Addresses of pictures in it are none of pages."""
    text = "<urlset><url><loc>{0}/a</loc><image><loc>{0}/i.png</loc></image></url></urlset>"
    site.pages["/sitemap.xml"] = Answer(body=text.format(site.url).encode(), kind="text/xml")
    site.pages["/a"] = page("A.")
    read(f"{site.url}/sitemap.xml")
    assert site.asked == ["/sitemap.xml", "/a"]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("HTTPS://Example.ORG:443", "https://example.org/"),
        ("http://example.org.:80/a b?q=ü&r=%20#x", "http://example.org/a%20b?q=%C3%BC&r=%20"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://a.example/../../b/./c/..", "https://a.example/b/"),
        ("https://a.example/a/../..//b", "https://a.example//b"),
        ("https://a.example/caf%c3%a9/%7e%41?q=%2f", "https://a.example/caf%C3%A9/~A?q=%2F"),
        ("http://[2606:4700::1111]:8080/", "http://[2606:4700::1111]:8080/"),
    ],
)
def test_one_spelling_of_an_address(given: str, wanted: str) -> None:
    """Spellings that mean the same page are one document."""
    assert normalised(given) == wanted
    assert normalised(wanted) == wanted


@pytest.mark.parametrize(
    "address", ["", "a", "https://", "https:///a", "mailto:a@b", "http://[::1", "http://a:x/",
                "http://" + "a" * 3_000, "http://\ud800.example/", "http://a..b/"],
    ids=["empty", "word", "no host", "path", "mail", "bracket", "port", "long", "half", "dots"],
)  # fmt: skip
def test_what_is_no_address(address: str) -> None:
    """Anything else is an error, never an exception of another kind."""
    with pytest.raises(LoadError, match="unreadable"):
        normalised(address)


def test_patterns_and_rules_hold_for_pages(site: Site, tmp_path: Path) -> None:
    """They are matched with the path of the address."""
    names = ["docs/a.html", "docs/drafts/b.html", "hr/c.html", "d.html"]
    site.pages |= {f"/{name}": page(name) for name in names}
    site.pages["/sitemap.xml"] = sitemap(*(f"{site.url}/{name}" for name in names))
    config = tmp_path / "ragkit.toml"
    config.write_text('[[ingest.rule]]\nglob = "hr/**"\ngroups = ["hr"]\n', encoding="utf-8")
    arguments = ["ingest", f"{site.url}/sitemap.xml", "--store", str(tmp_path / "kb"), "--json"]
    arguments += ["--embedder", "none", "--allow-private", "--config", str(config)]
    arguments += ["--exclude", "drafts/", "--exclude", "/d.html"]
    report = json.loads(run(*arguments).stdout)
    assert report["documents"]["added"] == 2
    with RAG(tmp_path / "kb", embedder="none") as rag:
        stored = rag.stored(f"{site.url}/hr/c.html", groups=["hr"])
        assert stored is not None
        assert stored[0].groups == ("hr",)
    assert site.asked == ["/sitemap.xml", "/docs/a.html", "/hr/c.html"]


def test_the_command_asks_nothing_private_by_itself(site: Site, tmp_path: Path) -> None:
    """Without the option this machine is refused, with it it is read; citations name the page."""
    site.pages["/a"] = page("The crane lifts nine tonnes.")
    store = ["--store", str(tmp_path / "kb"), "--embedder", "none"]
    refused = run("ingest", f"{site.url}/a", *store, code=1)
    assert "--allow-private" in refused.stdout
    assert site.n_connections == 0
    run("ingest", f"{site.url}/a", *store, "--allow-private")
    answer = json.loads(run("ask", "What does the crane lift?", *store[:2], "--json").stdout)
    assert answer["citations"][0]["url"] == f"{site.url}/a"
    watched = run("ingest", f"{site.url}/a", *store, "--watch", code=2)
    assert "--watch needs files" in watched.stderr


def test_names_of_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is one, whatever it looks like, if it is there."""
    monkeypatch.chdir(tmp_path)
    assert is_source("urls:list.txt")
    Path("urls:list.txt").touch()
    assert not is_source("urls:list.txt")
    assert is_source("https://a.example/")
    assert not any(map(is_source, ("docs", "C:\\docs", "-", "ftp://a.example/")))
    with pytest.raises(ConfigError, match="neither with https"):
        open_source("https:a", reading=Reading(parser=InProcess()))


def test_a_share_fetches_its_own_pages(site: Site, tmp_path: Path) -> None:
    """Each page is fetched by one share, which is the one that stores it."""
    names = [f"/p{n}.html" for n in range(60)]  # of any port, each share has some
    site.pages = {name: f"<p>This is the page {name}.</p>" for name in names}
    site.pages["/sitemap.xml"] = sitemap(*(f"{site.url}{name}" for name in names))
    asked: list[str] = []
    with RAG(tmp_path / "kb", embedder="none") as rag:
        for i in range(3):
            report = rag.ingest(
                f"{site.url}/sitemap.xml", allow_private=True, isolate=False, shard=(i, 3)
            )
            pages = [path for path in site.asked if path != "/sitemap.xml"]
            assert len(pages) == report.documents["added"] > 0
            asked += pages
        assert {row.document_id for row in rag.list()} == {f"{site.url}{name}" for name in names}
    assert sorted(asked) == sorted(names)
