"""Links of citations, and where a refusal suggests to look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ragkit import RAG, Document, Settings
from ragkit.ingest_rules import IngestRule
from ragkit.pipeline.links import MOST_SUGGESTIONS, link_to
from ragkit.schemas import load_schema
from ragkit.types import Chunk, Hit, Json, Location, Mark

WORDS_ONLY = Settings(embedder="none", ledger="off", refuse_below="off")
REFUSING = Settings(embedder="none", ledger="off", refuse_below="1.0")
FERRY = "# Ferries\n\n## The night ferry\n\nThe night ferry to Selje leaves at nine.\n"


def hit(
    *, source: str = "/x/a.md", metadata: dict[str, Json] | None = None, **place: object
) -> Hit:
    """Return a hit whose text has one location."""
    location = Location(**place)  # type: ignore[arg-type]
    chunk = Chunk(
        id="c", document_id="guide/a.md", start=0, end=4, text="text", n_tokens=1,
        sentences=((0, 4),), marks=(Mark(start=0, location=location),),
    )  # fmt: skip
    return Hit(rank=1, score=1.0, chunk=chunk, source=source, metadata=metadata or {})


SITE = "https://e.org/guide/a/"


@pytest.mark.parametrize(
    ("source", "metadata", "link"),
    [
        ("/x/a.md", {}, None),
        ("https://e.org/a b", {}, None),
        ("https://e.org/a?b=c", {"url": "https://other.org/"}, "https://e.org/a?b=c#sec"),
        ("/x/a.md", {"url": SITE}, f"{SITE}#sec"),
        ("/x/a.md", {"url": f"{SITE}#own"}, f"{SITE}#own"),
        ("/x/a.md", {"url": "javascript:alert(1)"}, None),
        ("/x/a.md", {"url": "/a"}, None),
        ("/x/a.md", {"url": ["https://e.org/"]}, None),
        ("/x/a.md", {"permalink": "https://e.org/p"}, "https://e.org/p#sec"),
        ("/x/a.md", {"permalink": "/p/"}, None),
        ("/x/a.md", {"url": SITE, "permalink": "/p/"}, "https://e.org/p/#sec"),
        ("/x/a.md", {"url": SITE, "permalink": "//evil.org/p"}, "https://e.org/evil.org/p#sec"),
        ("/x/a.md", {"url": SITE, "slug": "b"}, "https://e.org/guide/b/#sec"),
        ("/x/a.md", {"url": SITE, "slug": "/b"}, "https://e.org/b/#sec"),
        ("/x/a.md", {"url": "https://e.org/guide/a.html", "slug": "b"}, "https://e.org/guide/b#sec"),
        ("/x/a.md", {"url": SITE, "slug": "javascript:x"}, "https://e.org/guide/javascript:x/#sec"),
        ("/x/a.md", {"url": "https://e.org/\u202ea\u00fc"}, "https://e.org/%E2%80%AEa%C3%BC#sec"),
    ],
)  # fmt: skip
def test_a_page_is_known_from_source_metadata_or_not_at_all(
    source: str, metadata: dict[str, Json], link: str | None
) -> None:
    """Only addresses of pages become links, as they can be shown anywhere."""
    assert link_to(hit(source=source, metadata=metadata, anchor="sec"), 0) == link


def test_an_anchor_is_encoded_and_a_pdf_opens_at_its_page() -> None:
    """Where there is neither, the page is linked."""
    site: dict[str, Json] = {"url": "https://e.org/a.pdf"}
    assert link_to(hit(metadata=site, anchor="a b/ü"), 0) == "https://e.org/a.pdf#a%20b/%C3%BC"
    assert link_to(hit(metadata=site, page=3), 0) == "https://e.org/a.pdf#page=3"
    assert link_to(hit(metadata={"url": SITE}, page=3), 0) == SITE
    assert link_to(hit(metadata={"url": SITE}), 0) == SITE


@pytest.mark.parametrize(
    ("url", "name", "link"),
    [
        ("https://e.org/", "guide/a.md", "https://e.org/guide/a.md"),
        ("https://e.org/{path}?v=1", "guide/a.md", "https://e.org/guide/a.md?v=1"),
        ("https://e.org/{stem}.html", "guide/a b.md", "https://e.org/guide/a%20b.html"),
        ("https://e.org/{stem}.html", "guide/index.md", "https://e.org/guide/index.html"),
        ("https://e.org/{page}/", "guide/README.md", "https://e.org/guide/"),
        ("https://e.org/{page}/", "guide/a.md", "https://e.org/guide/a/"),
        ("https://e.org/{page}/", "index.md", "https://e.org/"),
    ],
)
def test_a_rule_makes_links_of_paths(tmp_path: Path, url: str, name: str, link: str) -> None:
    """The answer cites the page that the file is published as, at the nearest heading."""
    file = tmp_path / "docs" / name
    file.parent.mkdir(parents=True)
    file.write_text(FERRY)
    settings = Settings(
        embedder="none", ledger="off", refuse_below="off",
        ingest_rules=(IngestRule(glob="**", url=url),),
    )  # fmt: skip
    with RAG(tmp_path / "kb", config=settings) as rag:
        rag.ingest(tmp_path / "docs")
        (citation,) = rag.ask("when does the night ferry leave").citations
    assert citation.url == f"{link}#the-night-ferry"
    assert citation.to_dict()["location"] == {
        "heading": ["Ferries", "The night ferry"], "anchor": "the-night-ferry",
    }  # fmt: skip


def test_front_matter_names_the_page(tmp_path: Path) -> None:
    """Its own address needs no rule; without any, url is null and nothing else changes."""
    (tmp_path / "a.md").write_text(f"---\nurl: https://e.org/ferries\n---\n\n{FERRY}")
    (tmp_path / "b.md").write_text("# Tickets\n\nTickets for trains are sold on board.\n")
    with RAG(tmp_path / "kb", config=WORDS_ONLY) as rag:
        rag.ingest(tmp_path / "a.md", tmp_path / "b.md")
        answer = rag.ask("when does the night ferry leave")
        assert [c.url for c in answer.citations] == ["https://e.org/ferries#the-night-ferry"]
        answer = rag.ask("where are tickets for trains sold")
        assert [c.url for c in answer.citations] == [None]
    cited = answer.citations[0]
    assert (cited.supported, cited.label) == (True, None)
    assert answer.text is not None
    assert answer.text[cited.answer_start : cited.answer_end] == cited.text
    written: Any = answer.to_dict()["citations"]
    assert [c["answer_end"] for c in written] == [cited.answer_end]


def test_a_refusal_suggests_where_to_look(tmp_path: Path) -> None:
    """Title, heading and link of the nearest sections, each once, and none of their text."""
    text = "# Ferries\n\n" + "".join(
        f"## Line {n}\n\nThe ferry of line {n} leaves at {n}. It is a ferry.\n\n" for n in range(9)
    )
    (tmp_path / "a.md").write_text(f"---\nurl: https://e.org/f\n---\n\n{text}")
    with RAG(tmp_path / "kb", config=REFUSING) as rag:
        rag.ingest(tmp_path / "a.md")
        answer = rag.ask("when does the ferry of line 4 leave")
        assert answer.refused
        assert not rag.ask("zeppelin").suggestions
    data = json.loads(json.dumps(answer.to_dict()))
    jsonschema.validate(data, load_schema("ask"))
    first, *others = data["suggestions"]
    assert first["url"] == "https://e.org/f#line-4"
    assert first["title"] == "Ferries"
    whole = (tmp_path / "a.md").read_text()
    assert whole[first["start"] : first["end"]] == "The ferry of line 4 leaves at 4."
    assert first["location"]["heading"] == ["Ferries", "Line 4"]
    assert len(others) == MOST_SUGGESTIONS - 1
    assert len({s["url"] for s in data["suggestions"]}) == MOST_SUGGESTIONS
    assert not any("text" in s for s in data["suggestions"])
    assert "leaves at" not in json.dumps(data["suggestions"])


def test_suggestions_are_of_the_readers_groups(tmp_path: Path) -> None:
    """Not even the title of a document that a reader may not see is shown."""
    with RAG(tmp_path / "kb", config=REFUSING) as rag:
        rag.ingest(
            Document(id="a", text="The ferry leaves at nine.", title="Ferry", groups=("staff",)),
            Document(id="b", text="The ferry is sold.", title="Secret", groups=("board",)),
        )
        answer = rag.ask("when does the ferry leave", groups=("staff",))
        assert [s.hit.title for s in answer.suggestions] == ["Ferry"]
        assert rag.ask("when does the ferry leave", groups=("nobody",)).suggestions == ()


def test_a_cap_that_is_too_small_has_suggestions_too(tmp_path: Path) -> None:
    """There is no context then, but there are hits."""
    settings = Settings(embedder="none", ledger="off", refuse_below="off", max_context_tokens=1)
    with RAG(tmp_path / "kb", config=settings) as rag:
        rag.ingest(Document(id="a", text="The ferry leaves at nine.", source="https://e.org/a"))
        answer = rag.ask("when does the ferry leave")
        assert answer.reason == "cap_too_small"
        assert [s.url for s in answer.suggestions] == ["https://e.org/a"]
        assert rag.ask("nothing of that kind").suggestions == ()
