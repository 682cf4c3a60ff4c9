"""The cheapest certified context: a cut or the first k chunks, at every price; and sections."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ragkit import RAG, Document, Settings
from ragkit.cli.calibration_output import explanation
from ragkit_eval.calibration.calibrate import calibrate
from ragkit_eval.calibration.certify import UNTRIMMED_RISK, Cut, Goal
from ragkit_eval.calibration.choice import GRID, Choice, Kept
from ragkit_eval.calibration.needs import CUTS, Needs
from ragkit_eval.calibration.sections import with_sections
from ragkit_eval.calibration.untrimmed import Whole
from ragkit_eval.data.datasets import Dataset, Question, load_dataset
from ragkit_eval.data.spans import GoldSpan

from .made import write_lines

WORDS = Settings(embedder="none")


def goal(mode: str = "strict", retain: float = 0.95, confidence: float = 0.95) -> Goal:
    """Return a goal without refusals."""
    return Goal(
        metric="NeedsHeld", mode=mode, retain=retain, confidence=confidence, refuse_target=None  # type: ignore[arg-type]
    )  # fmt: skip


def needs_of(lowest: Sequence[float], *, tokens: int = 300, chunk: int = 100) -> list[Needs]:
    """Return questions of one document each: a cut sends `tokens`, k chunks k times `chunk`."""
    return [
        Needs(
            question=Question(id=str(i), text="?"),
            cluster=str(i),
            kept_tokens=tuple(tokens for _ in CUTS),
            quality=tuple(float(value >= cut) for cut in CUTS),
            lowest=value,
            full=1.0,
            whole_tokens=tuple(chunk * k for k in range(1, 6)),
            support=1.0,
            lexical=False,
        )
        for i, value in enumerate(lowest)
    ]


class Measured:
    """Whole chunks of which the first `enough` hold everything; remembers what was asked for."""

    def __init__(self, needs: Sequence[Needs], enough: int) -> None:
        self.asked: list[int] = []
        self._needs, self._enough = needs, enough

    def __call__(self, depths: Sequence[int]) -> list[Whole]:
        """Return them, the most first."""
        self.asked += depths
        return [
            Whole(
                k=k,
                tokens=tuple(need.whole_tokens[k - 1] for need in self._needs),
                quality=tuple(float(k >= self._enough) for _ in self._needs),
                support=tuple(1.0 for _ in self._needs),
            )
            for k in sorted(depths, reverse=True)
        ]


def chosen(needs: Sequence[Needs], measured: Measured, wanted: Goal | None = None) -> Kept | Cut:
    """Return what is chosen."""
    return Choice(needs, measured, seed=0).cheapest(wanted or goal())


@pytest.mark.parametrize("mode", ["strict", "ratio", "absolute"])
def test_untrimmed_chunks_win_where_they_are_cheaper(mode: str) -> None:
    """Two chunks of 100 tokens are enough and any cut sends 300; one chunk is not enough."""
    needs = needs_of([0.0] * 400)
    found = chosen(needs, Measured(needs, 2), goal(mode, retain=0.8))
    assert isinstance(found, Kept)
    assert (found.k, found.above, found.mean_tokens) == (2, None, 200.0)


def test_a_cheaper_cut_wins_and_dear_chunks_are_not_measured() -> None:
    """Five chunks of 900 tokens cannot beat 300."""
    needs = needs_of([0.0] * 400, chunk=900)
    measured = Measured(needs, 1)
    found = chosen(needs, measured)
    assert isinstance(found, Kept)
    assert (found.k, found.above) == (None, 0.0)
    assert measured.asked == []


def test_where_no_cut_keeps_enough_the_baseline_stays() -> None:
    """A tenth of the questions is lost at every cut: the top 5 keeps what it holds."""
    needs = needs_of([-math.inf] * 40 + [0.0] * 360)
    found = chosen(needs, Measured(needs, 5))
    assert isinstance(found, Kept)
    assert (found.k, found.cut.failures) == (5, 0)
    assert isinstance(chosen(needs, Measured(needs, 5), goal("absolute")), Kept)
    assert isinstance(chosen(needs, Measured(needs, 6), goal("absolute")), Cut)


@pytest.mark.parametrize("hopeless", [0, 5])
def test_few_labels_choose_nothing(hopeless: int) -> None:
    """Twenty questions show nothing, whatever they need."""
    needs = needs_of([-math.inf] * hopeless + [0.0] * (20 - hopeless))
    found = chosen(needs, Measured(needs, 1))
    assert isinstance(found, Cut)
    assert found.n_needed == (None if hopeless else 59)


def test_labels_that_cannot_certify_are_needed_all_the_same() -> None:
    """Half are not served, and half of all were used to choose: it takes four times 59."""
    served = needs_of([0.0] * 10)
    needs = [*served, *(replace(need, full=0.0) for need in served)]
    measured = Measured(needs, 1)
    found = Choice(needs, measured, seed=0).cheapest(goal())
    assert isinstance(found, Cut)
    assert (found.n, found.n_needed) == (10, 118)
    found = Choice(needs, measured, seed=0, n_labels=40).cheapest(goal())
    assert isinstance(found, Cut)
    assert found.n_needed == 236


def test_the_fewest_labels_certify_a_cut_and_leave_no_risk_for_chunks() -> None:
    """59 questions suffice as ever: then fewer chunks than the top 5 have no part of the risk."""
    few, more = needs_of([0.0] * 59), needs_of([0.0] * 200)
    found = chosen(few, Measured(few, 1))
    assert isinstance(found, Kept)
    assert (found.k, found.above) == (None, 0.0)
    assert goal().confidences(59) == (0.95, None)
    of_cut, of_chunks = goal().confidences(200)
    assert of_chunks is not None
    assert (1.0 - of_cut) + (1.0 - of_chunks) == pytest.approx(0.05)
    assert 1.0 - of_chunks == pytest.approx(UNTRIMMED_RISK * 0.05)
    found = chosen(more, Measured(more, 1))
    assert isinstance(found, Kept)
    assert found.k == 1


def test_the_grid_tells_prices_or_labels() -> None:
    """A stronger goal never costs less; what 40 questions cannot show says how many could."""
    rng = random.Random(1)
    needs = needs_of([rng.gauss(0.0, 2.0) for _ in range(400)])
    for i, cut in enumerate(CUTS):
        assert {need.kept_tokens[i] for need in needs} == {300}, cut
    cells = Choice(needs, Measured(needs, 3), seed=0).grid(goal())
    assert [(c["retain"], c["confidence"]) for c in cells] == [(r, c) for r in GRID for c in GRID]
    assert all(cell["n_needed"] is None for cell in cells)
    few = Choice(needs[:40], Measured(needs[:40], 3), seed=0).grid(goal())
    short = {(c["retain"], c["confidence"]): c["n_needed"] for c in few if c["tokens"] is None}
    assert short[0.95, 0.95] == 59
    assert (0.8, 0.8) not in short


HANDBOOK = 30


def handbook(folder: Path) -> tuple[Path, Dataset]:
    """Return one handbook of 30 sections, each with four questions, and these as a dataset."""
    parts = [
        f"## Machine {i}\n\nThe switch of machine{i} is at height {100 + i}. "
        f"It weighs {500 + i} kilos.\n"
        for i in range(HANDBOOK)
    ]
    text = "# The handbook\n\n" + "\n".join(parts)
    rows: list[dict[str, object]] = [
        {"_id": f"{i}-{form}", "text": f"{form} switch of machine{i}?", "docs": ["handbook.md"],
         "needs": [[f"at height {100 + i}"]]}
        for i in range(HANDBOOK) for form in ("Where is the", "At what height is the",
                                              "Height of the", "Which height has the")
    ]  # fmt: skip
    write_lines(folder / "asked.jsonl", rows)
    (folder / "handbook.md").write_text(text)
    return folder / "handbook.md", load_dataset(folder / "asked.jsonl")


def test_sections_of_a_handbook_certify_what_its_one_document_cannot(tmp_path: Path) -> None:
    """Documents are too few, and the reason names sections; with these it says what is weaker."""
    document, dataset = handbook(tmp_path)
    with RAG(tmp_path / "kb", config=WORDS, ledger="off") as rag:
        rag.ingest(document, root=tmp_path)
        named = with_sections(rag, dataset)
        refused = calibrate(rag, dataset, retain=0.9)
        found = calibrate(rag, dataset, retain=0.9, cluster="section")
    sections = {question.cluster("section") for question in named.questions}
    assert len(sections) == HANDBOOK
    assert "section handbook.md > The handbook > Machine 7" in sections
    assert not refused.certified
    assert "--cluster section" in str(refused.reason)
    assert found.certified
    assert found.policy is not None
    assert found.policy.certificate is not None
    assert (found.policy.certificate.cluster, found.policy.certificate.documents) == (
        "section",
        HANDBOOK,
    )
    told = explanation({**found.to_dict(), "out": "trim.json"})
    assert "the weaker assumption" in told
    assert f"{HANDBOOK} sections" in told


def test_a_place_decides_the_section_and_a_field_of_ones_own_stays(tmp_path: Path) -> None:
    """Spans say where the evidence is; without a place it is the document."""
    document, _ = handbook(tmp_path)
    start = document.read_text().index("machine9")
    span = GoldSpan(document_id="handbook.md", start=start, end=start + 8, text="machine9")
    spanned = Question(id="a", text="?", evidence=((span,),))
    placeless = Question(id="b", text="?", relevance={"handbook.md": 1})
    unknown = Question(id="c", text="?", relevance={"gone.md": 1})
    nowhere = Question(id="d", text="?")
    asked = (spanned, placeless, unknown, nowhere)
    data = Dataset(name="x", split="all", questions=asked, sha256="")
    own = Question(id="e", text="?", metadata={"section": "mine"}, relevance={"handbook.md": 1})
    with RAG(tmp_path / "kb", config=WORDS, ledger="off") as rag:
        rag.ingest(document, root=tmp_path)
        clusters = [q.cluster("section") for q in with_sections(rag, data).questions]
        kept = with_sections(rag, Dataset(name="x", split="all", questions=(own,), sha256=""))
    assert clusters == [
        "section handbook.md > The handbook > Machine 9",
        "section handbook.md",
        "section gone.md",
        "question d",
    ]
    assert kept.questions == (own,)


def test_whole_chunks_are_a_policy_that_ask_obeys(tmp_path: Path) -> None:
    """Each answer needs the whole of its short page: the first chunk is cheaper than a cut.

    The explanation says so, and what the context holds in itself.
    """
    pages = {
        f"p{i}": f"Lamp{i} has a red switch. Oil is poor for brass. Fuses of {i + 40} are sold. "
        f"Rust comes in winter. A bell of type {i + 70} rings."
        for i in range(25)
    }
    rows: list[dict[str, object]] = [
        {"_id": f"{name}-{n}", "text": f"{form} lamp{name[1:]} switch?", "docs": [name],
         "needs": [[text]]}
        for name, text in pages.items()
        for n, form in enumerate(("Where", "What", "Which", "When", "Why"))
    ]  # fmt: skip
    write_lines(tmp_path / "asked.jsonl", rows)
    dataset = load_dataset(tmp_path / "asked.jsonl")
    with RAG(tmp_path / "kb", config=WORDS, ledger="off") as rag:
        rag.ingest(*(Document(id=name, text=text) for name, text in pages.items()))
        found = calibrate(rag, dataset, retain=0.9, cluster="none")
    assert found.untrimmed_k == 1
    assert found.policy is not None
    assert (found.policy.pool, found.policy.keep_above) == (1, None)
    told = explanation({**found.to_dict(), "out": "trim.json"})
    assert "the first chunk, untrimmed (no certified cut is cheaper)" in told
    assert "this context: 1.000 (95 % interval" in told
    with RAG(tmp_path / "kb", config=WORDS, trim=found.policy, ledger="off") as rag:
        answer = rag.ask("Where is the lamp7 switch?", dry_run=True)
    assert answer.trim is not None
    assert answer.trim.certified
    assert [item.text for item in answer.context] == [pages["p7"]]
