"""What a calibration loses, and the page that shows it."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ragkit import RAG
from ragkit.types import Document
from ragkit_eval import Calibration, Dataset, calibrate, load_dataset
from ragkit_eval.reporting.calibration_page import html
from ragkit_eval.reporting.selfcontained import document

from ..cli.command import run, valid

HOSTILE = "<script>alert(1)</script>\u202e&\x1b[31m"
N = 40
MISSING = "The door that nobody has seen & found."


class _Reader(HTMLParser):
    """Reads a page; what is left open, what would be loaded, and what is shown by class."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[tuple[str, str]] = []
        self.tags: set[str] = set()
        self.loaded: list[str] = []
        self.policy = ""
        self.shown: list[tuple[frozenset[str], str]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        self.loaded += [name for name in ("src", "href", "srcset", "style") if name in values]
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"] or ""
        if tag not in {"meta", "line", "circle", "polyline", "path", "rect"}:
            self.open.append((tag, values.get("class") or tag))

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"line", "circle", "polyline", "path", "rect"}:
            assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        self.shown.append((frozenset(name for _, name in self.open), data))


def _doors(folder: Path) -> tuple[list[Document], Dataset]:
    """Return documents and questions, of which a few need a sentence that no word points to."""
    lines, documents = ["question,answer,needs"], list[Document]()
    for i in range(N):
        hidden = i < 3
        code = f"It opens with {HOSTILE} number {i * 7}." if hidden else f"Code {i * 7}."
        text = f"Door {i} is green. Nothing else is known of the weather. {code} Bye."
        documents.append(Document(id=f"door{i}.txt", text=text))
        need = code if hidden else f"Door {i} is green."
        lines.append(f'Which door is door {i}?,,"{need}"')
    lines.append(f'Which door is nowhere?,,"Door 1 is green.\n{MISSING}"')
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return documents, load_dataset(folder / "labels.csv")


def _certified(retriever: object, dataset: Dataset, **options: Any) -> Calibration:  # noqa: ANN401
    return calibrate(
        retriever, dataset, retain=0.8, confidence=0.8, with_losses=True, units=(False,), **options
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    """Return a calibration of a store that loses some questions."""
    folder = tmp_path_factory.mktemp("losses")
    documents, dataset = _doors(folder)
    with RAG(folder / "kb", embedder="none") as rag:
        rag.ingest(*documents)
        return _certified(rag, dataset)


def _lost(found: Calibration) -> list[str]:
    """Return what the page of a certified calibration shows as needed and cut."""
    assert found.certified
    assert found.losses is not None
    lost = found.losses.lost
    assert {one.question.text for one in lost} <= {f"Which door is door {i}?" for i in range(3)}
    assert lost
    page = _Reader(html(found, ["What this says", "  much"], "labels"))
    kept = [text for classes, text in page.shown if "text" in classes and "cut" not in classes]
    assert any("is green." in text for text in kept)
    return [text for classes, text in page.shown if {"cut", "mark"} <= classes]


def test_another_retriever_loses_what_is_shown(tmp_path: Path) -> None:
    """Its passages have numbers for names, and what is needed is found by its letters."""
    documents, dataset = _doors(tmp_path)

    def search(question: str) -> list[str]:
        own = 1 if "nowhere" in question else int(question.rstrip("?").rpartition(" ")[2])
        return [documents[(own + i) % N].text for i in range(5)]

    names = {"fingerprint": "doors/1", "corpus_version": "May"}
    found = _certified(search, dataset, **names, vectors=False)
    assert any(text.startswith("It opens with") for text in _lost(found))
    assert found.losses is not None
    shown = [passage.document_id for passage in found.losses.lost[0].passages]
    assert shown == [f"passage {i}" for i in range(1, 6)]


def test_each_lost_question_shows_what_was_cut(found: Calibration) -> None:
    """What is needed and cut is marked as both, in the text of the document."""
    assert any(text.startswith("It opens with") for text in _lost(found))


def test_what_retrieval_does_not_find_is_a_part_of_its_own(found: Calibration) -> None:
    """No cut has lost it: the page says so, and which of its needs the top 5 holds."""
    assert found.losses is not None
    (one,) = found.losses.unfound
    assert one.question.text == "Which door is nowhere?"
    assert [text for text, _ in one.needs] == ["Door 1 is green.", MISSING]
    assert one.needs[1] == (MISSING, False)
    assert one.question not in [lost.question for lost in found.losses.lost]
    before, _, after = html(found, [], "labels").partition("Retrieval does not find these: 1 of 41")
    assert "not found: The door that nobody has seen &amp; found." in after
    assert "nowhere" not in before
    without = replace(found, losses=replace(found.losses, unfound=()))
    assert "Retrieval does not find" not in html(without, [], "labels")


def test_a_marginal_policy_is_not_called_certified(found: Calibration) -> None:
    """The page says on what terms it holds, and shows the same questions."""
    assert found.policy is not None
    assert found.policy.certificate is not None
    assert found.losses is not None
    marginal = replace(
        found,
        policy=replace(
            found.policy,
            certificate=replace(
                found.policy.certificate, mode="conformal", confidence=None, promise="marginal: so"
            ),
        ),
        target={**found.target, "mode": "conformal", "confidence": None},
        losses=replace(found.losses, shown_is="marginal"),
        grid=(),
    )
    page = html(marginal, [], "labels")
    assert "Not certified" in page
    assert "marginal: so" in page
    assert "Lost by the marginal context" in page
    assert "Certified:" not in page


def test_untrimmed_chunks_are_beside_it_on_the_same_labels(found: Calibration) -> None:
    """Shares grow with k, and so do tokens; the curve ends where nothing is cut."""
    assert found.losses is not None
    untrimmed = found.losses.untrimmed
    assert [k for k, _, _ in untrimmed] == [1, 2, 3, 4, 5]
    assert [t for _, t, _ in untrimmed] == sorted(t for _, t, _ in untrimmed)
    assert untrimmed[-1][2] == found.losses.curve[-1][2] == 1.0
    assert found.losses.n == found.losses.n_clusters == N


def test_the_page_loads_nothing_and_shows_hostile_text_as_text(found: Calibration) -> None:
    """A policy forbids what an escape might miss; names and documents are text, whatever is in."""
    text = html(found, [f"What {HOSTILE}", f"  {HOSTILE}"], HOSTILE)
    page = _Reader(text)
    assert not page.open
    assert not page.loaded
    assert "script" not in page.tags
    assert page.policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "script-src" not in page.policy
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert "http" not in text.replace("http-equiv", "")


def test_a_script_is_allowed_by_its_digest() -> None:
    """The digest is of what stands between the tags."""
    import base64
    import hashlib

    page = document("x", ["<p>y</p>"], script="let a = 1;")
    digest = base64.b64encode(hashlib.sha256(b"let a = 1;").digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert "<script>let a = 1;</script>" in page


def test_without_a_certificate_the_page_shows_the_cut_that_just_keeps_the_share(
    tmp_path: Path,
) -> None:
    """By command: exit 5, no policy, and a page that says why."""
    (tmp_path / "doors").mkdir()
    rows = ["question,answer"]
    for i in range(6):
        (tmp_path / "doors" / f"{i}.txt").write_text(f"Door {i} opens with code {i * 7}.")
        rows.append(f"What is the code of door {i}?,code {i * 7}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    store, page = str(tmp_path / "kb"), tmp_path / "out" / "page.html"
    run("ingest", str(tmp_path / "doors"), "--store", store, "--embedder", "none")
    done = run("calibrate", str(tmp_path / "labels.csv"), "--store", store, "--html", str(page),
               "--out", str(tmp_path / "trim.json"), "--cache", str(tmp_path / "cache"), "--json",
               code=5)  # fmt: skip
    data = valid(done.stdout, "calibrate")
    assert len(data["losses"]["untrimmed"]) == 5
    assert "just keeps the share" in page.read_text()
    assert "Not certified" in page.read_text()
    assert not (tmp_path / "trim.json").exists()
    refused = run("calibrate", str(tmp_path / "labels.csv"), "--store", store, "--html", str(page),
                  "--metric", "agreement", "--mode", "absolute", code=2)  # fmt: skip
    assert "Agreement" in refused.stderr
