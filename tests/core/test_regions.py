"""The table of AWS Regions, and the grams that follow from it."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit import RAG, Document
from ragkit.config import Settings, load_settings
from ragkit.costs.carbon import emitted
from ragkit.costs.energy import Range
from ragkit.errors import ConfigError
from ragkit.regions import find_region, find_regions, place_of, region_names, sources

JOULES = Range(low=3.6e3, mid=7.2e3, high=3.6e4, grade="modelled-remote", source="tokens")


@pytest.mark.skipif(find_spec("botocore") is None, reason="botocore is not installed")
def test_every_commercial_region_is_in_the_table() -> None:
    """The table names the commercial Regions that AWS' own library knows; AWS may add some."""
    folder = Path(cast("str", import_module("botocore").__file__)).parent / "data"
    partitions = json.loads((folder / "partitions.json").read_text("utf-8"))["partitions"]
    known = next(p for p in partitions if p["id"] == "aws")["regions"]
    assert sorted(set(known) - {"aws-global"} - set(region_names())) == []


@pytest.mark.parametrize("name", region_names())
def test_each_cell_has_a_source_and_a_year(name: str) -> None:
    """At least two sources, each figure plausible and dated, and the bounds in order."""
    region = find_region(name)
    assert len(region.figures) >= 2
    for figure in region.figures:
        assert 2020 <= figure.year <= 2026
        assert figure.zone
        assert 0 < figure.g_per_kwh < 1500
    low, mid, high = region.bounds
    assert 0 < low <= mid <= high


def test_each_source_has_its_own_licence() -> None:
    """A share-alike source is a file of its own, which says so."""
    licences = {str(source["name"]): source["licence"] for source in sources()}
    assert licences == {
        "ember": "CC-BY-4.0", "electricity_maps": "ODbL-1.0", "google": "Apache-2.0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "offered"),
    [("eu-central1", "eu-central-1"), ("Frankfurt", "eu-central-1"), ("us-east1", "us-east-1"),
     ("EU-NORTH-1", "eu-north-1")],
)  # fmt: skip
def test_an_unknown_region_is_answered_with_close_names(name: str, offered: str) -> None:
    """What people mistype, or the name of the place, leads to the code; all codes are named."""
    with pytest.raises(
        ConfigError, match=f"did you mean .*{offered}.*allowed: af-south-1"
    ) as found:
        Settings(region=name)
    assert "us-west-2" in str(found.value)
    with pytest.raises(ConfigError, match="no-such-place"):
        find_regions(["eu-*", "no-such-place"])


@given(st.text(max_size=60))
def test_any_text_is_a_region_or_an_error(name: str) -> None:
    """No text breaks the look-up."""
    if name not in region_names():
        with pytest.raises(ConfigError, match="allowed: af-south-1"):
            find_region(name)
        assert place_of(name) is None


def test_grams_are_a_range_over_the_sources() -> None:
    """Low joules at the lowest figure, high joules at the highest."""
    place = place_of("eu-central-1")
    grams = emitted(JOULES, place)
    assert grams is not None
    assert (grams.low, grams.high) == pytest.approx((0.27581, 3.4206))
    assert grams.mid == pytest.approx(2 * 0.342)
    assert "location-based (ember 2024, electricity_maps 2025, google 2025)" in grams.source
    own = emitted(JOULES, place, (1.0, 2.0, 3.0))
    assert own is not None
    assert (own.low, own.mid, own.high) == pytest.approx((0.001, 0.004, 0.03))
    assert emitted(JOULES, None) is None
    assert emitted(None, place) is None


@pytest.mark.parametrize(
    ("profile", "low", "high", "n"),
    [("eu", "eu-west-3", "eu-central-1", 6), ("us", "us-west-2", "us-east-1", 3),
     ("apac", "ap-northeast-3", "ap-south-1", 9), ("ca", "ca-central-1", "ca-west-1", 2),
     ("in", "ap-south-2", "ap-south-1", 2),
     ("jp", "ap-northeast-3", "ap-northeast-1", 2), ("au", "ap-southeast-4", "ap-southeast-2", 2),
     ("global", "ca-central-1", "me-south-1", len(region_names()))],
)  # fmt: skip
def test_a_profile_has_the_range_of_its_regions(profile: str, low: str, high: str, n: int) -> None:
    """The caller of a profile does not choose the Region: all of them count."""
    place = place_of("eu-central-1", profile)
    assert place is not None
    assert len(place.regions) == n
    bounds = place.g_per_kwh
    assert (bounds[0], bounds[2]) == (find_region(low).bounds[0], find_region(high).bounds[2])


@pytest.mark.parametrize(
    ("region", "profile", "stays"),
    [("ca-central-1", "us", True), ("us-west-1", "us", True), ("eu-west-2", "eu", True),
     ("me-central-1", "apac", True), ("ap-southeast-6", "au", True), ("us-west-1", "eu", False),
     ("us-east-1", "us", False)],
)  # fmt: skip
def test_a_profile_may_also_use_the_region_that_calls_it(
    region: str, profile: str, stays: bool
) -> None:
    """Called from Canada, `us` may stay in Canada; called from the United States, it may not."""
    everywhere, here = place_of("", profile), place_of(region, profile)
    assert everywhere is not None
    assert here is not None
    added = {r.name for r in here.regions} - {r.name for r in everywhere.regions}
    assert added == ({region} if stays else set())


@pytest.mark.parametrize(
    ("region", "profile"),
    [(None, ""), ("eu-west-1", None), ("eu-west-1", "moon"), ("us-gov-west-1", "")],
)
def test_what_is_not_known_is_none(region: str | None, profile: str | None) -> None:
    """No Region, an unreadable profile, an unknown one, another partition: no figure."""
    assert place_of(region, profile) is None


def test_a_settings_file_of_a_stranger_may_name_a_region(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It changes a figure and nothing else, so it needs no trust."""
    (tmp_path / "ragkit.toml").write_text('region = "eu-north-1"\n')
    monkeypatch.chdir(tmp_path)
    assert load_settings().region == "eu-north-1"
    assert load_settings(environment={"RAGKIT_REGION": "eu-west-3"}).region == "eu-west-3"


def test_the_ledger_knows_the_grams_of_every_line(tmp_path: Path) -> None:
    """Under a Region, an ingest and a refusal have grams; without one, neither has."""
    for region in ("eu-north-1", None):
        place = tmp_path / str(region)
        with RAG(place, embedder="none", config=Settings(region=region)) as rag:
            rag.ingest(Document(id="a", text="The badge is reset at the front desk."))
            answer = rag.ask("Who is the president of France?")
        lines = [json.loads(line) for line in (place / "ledger.jsonl").read_text().splitlines()]
        assert [line["kind"] for line in lines] == ["ingest", "ask"]
        costs = [lines[0], lines[1]["receipt"]]
        for cost in costs:
            if region is None:
                assert cost.get("carbon_g") is None
            else:
                share = cost["carbon_g"]["high"] / cost["joules"]["high"] * 3.6e6
                assert share == pytest.approx(35.89)
        assert answer.receipt.region == region
