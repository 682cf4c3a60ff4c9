"""Service profiles: one word sets tier, time limits, retries and questions at once."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest

from ragkit import RAG, Settings
from ragkit.config import load_settings
from ragkit.errors import ConfigError
from ragkit.pipeline.opening import open_generator
from ragkit.profiles import PROFILES
from ragkit.types import GenerationOptions, Message, Prompt
from ragkit_connectors import generator_settings

from .aws_server import AwsServer

PROMPT = Prompt(messages=(Message(role="user", content="Hello?"),), question="Hello?")
PARROT = """
class Parrot:
    def __init__(self, rest, *, timeout_seconds=1.0, retry_seconds=2.0, feathers=3):
        self.given = {"timeout_seconds": timeout_seconds, "retry_seconds": retry_seconds}
"""


@pytest.fixture
def parrot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a generator of a third party that remembers what it was opened with."""
    (tmp_path / "parrot_module.py").write_text(PARROT)
    info = tmp_path / "parrot-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parrot\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[ragkit.generators]\nparrot = parrot_module:Parrot\n")
    monkeypatch.syspath_prepend(str(tmp_path))


def given(settings: Settings) -> dict[str, float]:
    """Return what the parrot was opened with."""
    found: object = open_generator(settings)
    return cast("dict[str, float]", vars(found)["given"])


@pytest.mark.usefixtures("parrot")
@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_sets_what_a_generator_takes(name: str) -> None:
    """Of the table, a generator gets the settings that it knows, and no others."""
    profile = PROFILES[name]
    assert generator_settings("parrot:x") == {"timeout_seconds", "retry_seconds", "feathers"}
    assert given(Settings(profile=name, generator="parrot:x")) == {
        "timeout_seconds": profile.timeout_seconds, "retry_seconds": profile.retry_seconds,
    }  # fmt: skip


@pytest.mark.usefixtures("parrot")
def test_explicit_settings_win() -> None:
    """A setting of the user's own counts, in either form; without a profile nothing is set."""
    own = Settings(
        profile="realtime", generator="parrot:x", timeout=7.0,
        generator_options={"retry_seconds": 0.5},
    )  # fmt: skip
    assert given(own) == {"timeout_seconds": 7.0, "retry_seconds": 0.5}
    assert given(Settings(generator="parrot:x")) == {"timeout_seconds": 1.0, "retry_seconds": 2.0}


@pytest.mark.parametrize(
    ("profile", "own", "tier"),
    [("realtime", None, "priority"), ("standard", None, "default"), ("flex", None, "flex"),
     ("realtime", "default", "default"), (None, None, None)],
    ids=["realtime", "standard", "flex", "own", "none"],
)  # fmt: skip
def test_bedrock_is_asked_for_the_tier(
    aws: AwsServer, profile: str | None, own: str | None, tier: str | None
) -> None:
    """The profile's tier goes out with the request, unless another was set."""
    aws.answer("Converse", {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hi."}]}},
        "stopReason": "end_turn", "metrics": {"latencyMs": 5},
        "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
    })  # fmt: skip
    options = {"service_tier": own} if own else {}
    settings = Settings(
        profile=profile, generator="bedrock:eu.amazon.nova-lite-v1:0", base_url=aws.url,
        generator_options=dict(options),
    )  # fmt: skip
    open_generator(settings).generate(PROMPT, GenerationOptions())
    asked = aws.requests[-1].parameters.get("serviceTier")
    assert asked == (None if tier is None else {"type": tier})


def test_profiles_are_in_order_of_urgency() -> None:
    """The more urgent, the shorter each limit, and the more at once."""
    table = [PROFILES[name] for name in ("realtime", "standard", "flex", "batch")]
    for quicker, slower in pairwise(table):
        assert quicker.timeout_seconds <= slower.timeout_seconds <= slower.total_timeout_seconds
        assert quicker.retry_seconds <= slower.retry_seconds
        assert quicker.n_at_once >= slower.n_at_once


def test_a_profile_of_another_name_is_refused() -> None:
    """The error names what is allowed."""
    with pytest.raises(ConfigError, match="'fast'; allowed: realtime standard flex batch"):
        Settings(profile="fast")


def test_a_strangers_profile_needs_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tier has a price: a settings file that was merely found cannot choose one."""
    (tmp_path / "ragkit.toml").write_text('profile = "realtime"\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="profile"):
        load_settings()
    assert load_settings(flags={"profile": "flex"}).profile == "flex"


def test_a_pipeline_runs_under_each_profile(tmp_path: Path) -> None:
    """Generators without a server know no tiers; the profile does no harm."""
    for name in PROFILES:
        with RAG(tmp_path / "kb", embedder="none", config=Settings(profile=name)) as rag:
            assert rag.settings.profile == name
