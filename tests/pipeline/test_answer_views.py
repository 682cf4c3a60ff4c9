"""How results show themselves in a session of Python, and answers in a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragkit import RAG, Answer, Document, trim
from ragkit.types import Generation, GenerationOptions, Prompt, TokenCounter, Usage
from ragkit_eval import calibrate, load_dataset

HARBOUR_QUESTIONS = Path(__file__).parents[2] / "examples" / "harbor_questions.csv"
LONG = "The ferry leaves at nine. " + "The quay is closed at night, and nobody is there. " * 400
TAGS = {"div", "ul", "li", "b", "i", "a", "details", "summary", "table", "tr", "th", "td", "br"}
HOSTILE = """The ferry "leaves" <script>alert(1)</script><img src=x onerror=alert(2)>
</div></li></table><style>*{display:none}</style>' onmouseover='x &lt;b&gt; $\\href{javascript:x}{y}$ \x1b[2J \u202e at nine."""  # noqa: E501


class Parrot:
    """A language model that says what it is told to."""

    name = "parrot:model"
    calls_llm = True
    counter: TokenCounter | None = None

    def __init__(self, text: str) -> None:
        self._text = text

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Return the text."""
        del prompt, options
        return Generation(text=self._text, usage=Usage(), stop_reason="stop")

    def stream(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str | Generation]:
        """Yield the text, then all of it."""
        generation = self.generate(prompt, options)
        yield generation.text
        yield generation


class Seen(HTMLParser):
    """Collects the tags, attributes and text of a page, and checks that every tag is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self._open = "", list[str]()
        self.tags, self.attributes = set[str](), set[tuple[str, str]]()
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.add(tag)
        if tag == "br":
            return
        self.attributes |= {(name, value or "") for name, value in attrs}
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that it closes the last one."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data


def harmless(answer: Answer) -> Seen:
    """Check that what a notebook shows runs nothing, loads nothing, and sets no colour."""
    page = answer._repr_html_()  # pyright: ignore[reportPrivateUsage] - as notebooks do
    seen = Seen(page)
    assert seen.tags <= TAGS
    assert {name for name, _ in seen.attributes} <= {"class", "style", "href", "rel"}
    assert all(v.startswith(("https://", "http://")) for n, v in seen.attributes if n == "href")
    styles = [value for name, value in seen.attributes if name == "style"]
    assert not any("url(" in style or "color:" in style for style in styles)
    return seen


@pytest.fixture
def answer(tmp_path: Path) -> Answer:
    """Return the answer to a question about a long document."""
    with RAG(tmp_path / "kb", embedder="none") as rag:
        rag.ingest(Document(id="quay.md", text=LONG, metadata={"url": "https://example.org/quay"}))
        return rag.ask("When does the ferry leave?")


def test_results_are_a_line_each(tmp_path: Path, answer: Answer) -> None:
    """However long the documents are, what a session prints is short and names what it is."""
    assert repr(answer).startswith("<Answer 'The ferry leaves at nine.', 1 citation, ")
    assert str(answer.receipt) in repr(answer)
    with RAG(tmp_path / "kb") as rag:
        document = Document(id="other", text=LONG * 100)
        hits = list(rag.search("ferry"))
        refused = rag.ask("Who bakes the bread of Paris?")
    assert "<Hit 1, score " in repr(hits[0])
    assert "<Chunk 'quay.md' 0-" in repr(hits[0])
    assert repr(document).startswith("<Document 'other' 2,")
    assert "refused: " in repr(refused)
    kept = trim("When does the ferry leave?", [LONG], vectors=False)
    assert repr(kept).startswith("<TrimmedPassages 1 piece, ")
    places = [*answer.citations, *answer.context, *answer.messages, *refused.suggestions]
    for result in (answer, answer.receipt, refused, document, kept, *hits, *places):
        assert len(repr(result)) < 250, type(result)
        assert "\n" not in repr(result)


def test_reports_are_a_line_each(tmp_path: Path) -> None:
    """So are what an ingest did, questions with labels, and what was calibrated."""
    with RAG(tmp_path / "kb", embedder="none") as rag:
        first = rag.ingest(*(Document(id=f"d{i}", text="Words.") for i in range(200)))
        dataset = load_dataset(HARBOUR_QUESTIONS)
        found = calibrate(rag, dataset)
    assert repr(first).startswith("<IngestReport 200 added, 200 chunks, ")
    assert repr(dataset) == "<Dataset 'harbor_questions', split 'all', 18 questions>"
    assert repr(found).startswith("<Calibration ")
    assert all(len(repr(result)) < 250 for result in (first, found))


def test_a_notebook_shows_answer_citations_and_receipt(answer: Answer) -> None:
    """The answer, where it stands with a link, and its cost."""
    seen = harmless(answer)
    place = f"quay.md, {answer.citations[0].start}-{answer.citations[0].end}"
    for shown in (answer.question, str(answer.text), place, str(answer.receipt), "unknown"):
        assert shown in seen.text
    assert ("href", "https://example.org/quay") in seen.attributes


def test_a_notebook_shows_why_there_is_no_answer(tmp_path: Path) -> None:
    """A refusal says why; a dry run that nothing was generated; a follow-up what it asks."""
    with RAG(tmp_path / "kb", embedder="none") as rag:
        rag.ingest(Document(id="quay.md", text=LONG))
        refused = harmless(rag.ask("When do pigs fly to the bakery of Paris?"))
        turns = [{"role": "user", "content": "When does the Gannet <leave>?"}]
        goes_on = harmless(rag.ask("And the ferry?", history=turns))
        dry = harmless(rag.ask("When does the ferry leave?", dry_run=True))
    assert "No answer: " in refused.text
    assert "searched for: " in goes_on.text
    assert "dry run" in dry.text


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    """Markup of documents, questions and models is shown as it is written."""
    with RAG(tmp_path / "kb", embedder="none", generator=Parrot(HOSTILE + " [1]")) as rag:
        rag.ingest(Document(id="<script>a</script>\n", title=HOSTILE, text=HOSTILE))
        seen = harmless(rag.ask(HOSTILE, k=1))
    assert "<script>alert(1)</script>" in seen.text
    assert "\x1b" not in seen.text
    assert "\u202e" not in seen.text


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(said=st.text(max_size=80), asked=st.text(max_size=40))
def test_any_text_stays_text(tmp_path: Path, said: str, asked: str) -> None:
    """Whatever a model or a user says, the piece of a page is whole."""
    with RAG(tmp_path / "kb", embedder="none", generator=Parrot(f"nine {said}")) as rag:
        rag.ingest(Document(id="quay.md", text="The ferry leaves at nine."))
        harmless(rag.ask(f"When does the ferry leave? {asked}"))
