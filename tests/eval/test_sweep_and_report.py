"""Sweeps draw honest curves, and reports say what people need in forms that open anywhere."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ragkit import Settings
from ragkit.errors import ConfigError
from ragkit_eval.calibration.calibrate import calibrate
from ragkit_eval.calibration.curves import Point, Series, Sweep
from ragkit_eval.calibration.sweep import Grid, sweep
from ragkit_eval.data.datasets import Dataset, load_dataset
from ragkit_eval.measuring.measures import default_measures
from ragkit_eval.measuring.quality import default_quality
from ragkit_eval.reporting.gate import Gate, Rule
from ragkit_eval.reporting.page import html
from ragkit_eval.reporting.report import junit, make_report, markdown
from ragkit_eval.running.cache import Cache
from ragkit_eval.running.finished import Run
from ragkit_eval.running.pipelines import RagPipeline
from ragkit_eval.running.runs import evaluate
from ragkit_eval.running.stores import OpenedRag

from .made import make_dataset, write_lines

WORDS = Settings(embedder="none")
GRID = Grid(chunk_tokens=(20, 400), depths=tuple(range(1, 6)), pools=(5,), budgets=(10, 20, 40, 80))


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return the small dataset."""
    return load_dataset(make_dataset(tmp_path_factory.mktemp("data") / "town"))


@pytest.fixture(scope="module")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for stores."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def swept(town: Dataset, cache_folder: Path) -> Sweep:
    """Return a sweep by words."""
    with Cache(cache_folder) as cache:
        return sweep(town, WORDS, cache, GRID)


@pytest.fixture(scope="module")
def runs(
    town: Dataset, cache_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, Run]:
    """Return an untrimmed and a trimmed run."""
    found: list[Run] = []
    measures = default_measures(town.questions)
    for name, asked in (
        ("untrimmed", dataclasses.replace(WORDS, trim="off")),
        ("trimmed", dataclasses.replace(WORDS, max_context_tokens=10)),
    ):
        with Cache(cache_folder) as cache, OpenedRag(town, asked, cache) as opened:
            pipeline = RagPipeline(opened.rag, measures, caches=opened.caches)
            out = tmp_path_factory.mktemp("runs") / name
            found.append(evaluate(pipeline, town, measures=measures, out=out,
                                  command=["ragkit", "eval", "run", "town <x>"]))  # fmt: skip
    return found[0], found[1]


def test_curves_are_nested(swept: Sweep) -> None:
    """More chunks, a lower rank or a larger budget never cost fewer tokens nor hold less."""
    assert [s.name for s in swept.series] == [
        "untrimmed, chunks of at most 20, lexical",
        "untrimmed, chunks of at most 400, lexical",
        "trimmed, pool of 5, lexical",
        "trimmed, pool of 5, by budget, lexical",
        "trim policy bundled/7, lexical",
    ]
    for series in swept.series:
        tokens = [point.tokens for point in series.points]
        quality = [point.quality for point in series.points]
        assert tokens == sorted(tokens)
        assert quality == sorted(quality)
        for p in series.points:
            assert p.low is not None
            assert p.high is not None
            assert p.low <= p.quality <= p.high


def test_untrimmed_points_are_what_search_returns(
    swept: Sweep, town: Dataset, cache_folder: Path
) -> None:
    """Tokens and quality of each k equal those of the first k hits, found by searching."""
    series = swept.series[0]
    with Cache(cache_folder) as cache:
        asked = dataclasses.replace(WORDS, chunk_tokens=20, sentence_vectors=False)
        with OpenedRag(town, asked, cache) as opened:
            questions = [q for q in town.questions if q.evidence]
            for k, point in enumerate(series.points, start=1):
                found = tokens = 0
                for question in questions:
                    hits = opened.rag.search(question.text, k=k)
                    tokens += sum(hit.chunk.n_tokens for hit in hits)
                    span = question.evidence[0][0]
                    found += any(
                        hit.chunk.document_id == span.document_id
                        and hit.chunk.start <= span.start
                        and span.end <= hit.chunk.end
                        for hit in hits
                    )
                assert point.tokens == tokens / len(questions)
                assert point.quality == pytest.approx(found / len(questions))


def test_one_chunk_holds_one_of_two_documents(tmp_path: Path) -> None:
    """Of two relevant documents k = 1 finds half, k = 2 both: each point counts its own k."""
    texts = {"a": "Herring is sold on the quay.", "b": "Herring is smoked in the yard."}
    write_lines(
        tmp_path / "two" / "corpus.jsonl", [{"_id": i, "text": t} for i, t in texts.items()]
    )
    write_lines(tmp_path / "two" / "queries.jsonl", [{"_id": "q", "text": "Where is herring?"}])
    (tmp_path / "two" / "qrels").mkdir()
    (tmp_path / "two" / "qrels" / "test.tsv").write_text("q\ta\t1\nq\tb\t1\n")
    grid = Grid(chunk_tokens=(400,), depths=(1, 2, 5), policies=())
    with Cache(tmp_path / "cache") as cache:
        found = sweep(load_dataset(tmp_path / "two"), WORDS, cache, grid, target=0.5)
    assert [point.quality for point in found.series[0].points] == [0.5, 1.0, 1.0]


def test_the_fewest_tokens_that_suffice(swept: Sweep) -> None:
    """Each question's own least is between the oracle and the whole; trimming needs fewer."""
    data: Any = swept.to_dict()
    by_name = {series["name"]: series["minimum_tokens"] for series in data["series"]}
    trimmed = by_name["trimmed, pool of 5, lexical"]
    whole = by_name["untrimmed, chunks of at most 400, lexical"]
    assert 0.8 <= trimmed["reached"] <= 1.0
    assert data["oracle_tokens"] <= trimmed["mean"] < whole["mean"]
    assert trimmed["p50"] <= trimmed["p95"]


def test_the_baseline_is_the_untrimmed_top_five(swept: Sweep) -> None:
    """The target is its share; words alone are not the hybrid baseline of published figures."""
    assert swept.baseline is not None
    assert swept.baseline.setting["k"] == 5
    assert swept.baseline.setting["chunk_tokens"] == 400
    assert swept.target == pytest.approx(0.95 * swept.baseline.quality)
    data: Any = swept.to_dict()
    assert data["baseline"]["comparable"] is False
    assert data["certified"] is False
    assert swept.n == 15


def test_the_marked_setting_is_the_cheapest_that_passes(swept: Sweep) -> None:
    """No passing point has fewer tokens, and it lies on the Pareto front."""
    chosen = swept.chosen()
    assert chosen is not None
    passing = [p for p in swept.points() if p.quality >= swept.target]
    assert chosen.tokens == min(p.tokens for p in passing)
    front = swept.front()
    assert chosen.tokens in {p.tokens for p in front}
    for point in swept.points():
        assert any(f.tokens <= point.tokens and f.quality >= point.quality for f in front)
    data: Any = swept.to_dict()
    assert data["best_trimmed_tokens"] < data["best_untrimmed_tokens"]


def test_one_measure_is_the_default(
    swept: Sweep, runs: tuple[Run, Run], town: Dataset, cache_folder: Path
) -> None:
    """A sweep, a report and a calibration go by the same measure where none is named."""
    assert swept.measure == make_report(runs[1]).primary == "EvidenceFound"
    with Cache(cache_folder) as cache, OpenedRag(town, WORDS, cache) as opened:
        assert calibrate(opened.rag, town).target["metric"] == "EvidenceFound"
    ferry, museum = (question.evidence[0][0] for question in town.questions[2:4])
    both = dataclasses.replace(town.questions[0], evidence=((ferry, museum),))
    assert default_quality([both]) == "EvidenceFound"
    assert default_quality([dataclasses.replace(both, evidence=())]) == "AnswerInContext"


def test_tokens_for_a_target_are_read_between_points() -> None:
    """Half way between two points in quality is half way in tokens; never reached is None."""

    def point(tokens: float, quality: float) -> Point:
        return Point(setting={}, tokens=tokens, quality=quality, low=0.0, high=1.0)

    series = Series(name="s", trimmed=True, points=(point(100, 0.5), point(200, 0.7)))
    assert series.needed(0.6) == pytest.approx(150.0)
    assert series.needed(0.4) == 100
    assert series.needed(0.8) is None


@pytest.mark.parametrize(
    ("measure", "n"), [("AnswerInContext", 15), ("DocumentRecall", 15), ("EvidenceRecall", 15)]
)
def test_other_measures_of_a_context(
    town: Dataset, cache_folder: Path, measure: str, n: int
) -> None:
    """Answers in the context and documents found draw curves too."""
    with Cache(cache_folder) as cache:
        found = sweep(town, WORDS, cache, GRID, measure=measure, target=0.5)
    assert (found.measure, found.n, found.target) == (measure, n, 0.5)
    assert found.chosen() is not None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"measure": "F1"}, "'F1'"),
        ({"retain": 0.0}, r"retain 0\.0"),
        ({"grid": dataclasses.replace(GRID, depths=(1, 2))}, "no baseline"),
    ],
)
def test_what_cannot_be_swept_is_refused(
    town: Dataset, cache_folder: Path, change: dict[str, Any], named: str
) -> None:
    """The message names the value."""
    grid = change.pop("grid", GRID)
    with Cache(cache_folder) as cache, pytest.raises(ConfigError, match=named):
        sweep(town, WORDS, cache, grid, **change)
    with pytest.raises(ConfigError, match="chunk_tokens 0"):
        Grid(chunk_tokens=(0,))


def test_markdown_fits_a_comment(runs: tuple[Run, Run], swept: Sweep) -> None:
    """It begins with the verdict and holds every table, the curves and the worst questions."""
    gate = Gate(rules=(Rule(measure="ContextTokens", margin=0.0),))
    result = gate.check(runs[1], baseline=runs[0])
    report = make_report(runs[1], base=runs[0], gate=result, sweep=swept.to_dict(), slice_by="kind")
    text = markdown(report)
    assert text.startswith("## ragkit eval: untrimmed → trimmed\n\n**PASS: all 1 checks hold")
    for part in ("| EvidenceRecall |", "### Gate", "### Quality against tokens", "### Cost",
                 "kind=when", "### Worst",
                 "<code>ragkit eval run 'town &lt;x>'</code>"):  # fmt: skip
        assert part in text
    assert len(text) < 65_536
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in table)


def test_markdown_never_outgrows_a_comment(runs: tuple[Run, Run]) -> None:
    """A report that is too long is cut, and says so."""
    report = make_report(runs[1], base=runs[0])
    long = dataclasses.replace(report, worst=report.worst * 3000)
    assert len(markdown(long)) < 65_536
    assert "… cut" in markdown(long)


class _Reader(HTMLParser):
    """Notes what a page refers to, what is open, and what it marks."""

    VOID = frozenset({"meta", "line", "rect", "circle", "path", "polyline"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []
        self.marked: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.references += [v or "" for k, v in attrs if k in {"src", "href", "xlink:href"}]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert attrs
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "mark":
            self.marked.append(data)


def test_the_page_needs_nothing_else(runs: tuple[Run, Run], swept: Sweep) -> None:
    """One well-formed file, no reference to outside, a drawing, and gold text marked in place."""
    report = make_report(runs[1], base=runs[0], sweep=swept.to_dict(), slice_by="kind")
    page = html(report)
    reader = _Reader()
    reader.feed(page)
    assert reader.open == []
    assert reader.references == []
    assert "@import" not in page
    assert "url(" not in page
    assert "script" not in reader.tags
    assert "svg" in reader.tags
    gold = {answer for score in runs[1].scores for answer in score.answers}
    assert gold >= set(reader.marked) != set()
    assert "town &lt;x&gt;" in page


def test_hostile_text_is_escaped(runs: tuple[Run, Run]) -> None:
    """A question that holds markup stays text, on the page and in Markdown."""
    report = make_report(runs[1], base=runs[0])
    hostile = "<script>alert(1)</script>|x"
    worst = dataclasses.replace(
        report.worst[0], new=dataclasses.replace(report.worst[0].new, question=hostile)
    )
    changed = dataclasses.replace(report, worst=(worst,))
    assert "<script>" not in html(changed)
    assert "<script>" not in markdown(changed)


def test_a_single_run_is_reported_too(runs: tuple[Run, Run]) -> None:
    """Without a base there are means with intervals, and the questions that fared worst."""
    report = make_report(runs[1])
    assert "| EvidenceRecall |" in markdown(report)
    assert report.worst[0].after <= report.worst[-1].after
    assert "One run" in html(report)
    with pytest.raises(ConfigError, match="'Quality'"):
        make_report(runs[1], primary="Quality")


def test_equal_configurations_are_pointed_out(runs: tuple[Run, Run]) -> None:
    """Comparing a pipeline with itself says so."""
    assert "A/A" in markdown(make_report(runs[0], base=runs[0]))
    assert "A/A" not in markdown(make_report(runs[1], base=runs[0]))


def test_junit_is_what_ci_servers_read(runs: tuple[Run, Run]) -> None:
    """Well-formed XML with a case a check, failures as such."""
    gate = Gate(
        rules=(
            Rule(measure="ContextTokens", ceiling=1),
            Rule(measure="Groundedness", floor=0.5),
        )
    )
    tree = ET.fromstring(junit(gate.check(runs[1])))  # noqa: S314 (made by ourselves)
    assert tree.attrib["tests"] == "2"
    assert tree.attrib["failures"] == "1"
    failed, passed = tree.findall("testcase")
    assert failed.find("failure") is not None
    assert passed.find("failure") is None
