"""Settings, policies, scorers, gates, templates: read as meant, or refused by `ConfigError`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.config import Settings, load_settings
from ragkit.errors import ConfigError, TemplateError
from ragkit.prompts import load_template, lock_template
from ragkit.trimming import BUILTIN_POLICY, TrimPolicy, load_policy, load_scorer
from ragkit.trimming.scorer import Forest, Scorer, Tree
from ragkit.types import Chunk, ContextItem, Hit, Json, Turn
from ragkit_eval.reporting.gate import Gate

from .lane import FUZZ, no_hang
from .mutating import altered, as_json, mutated

FOUND = Path(__file__).parent / "found"
SETTINGS = (
    b'store = "./kb"\nk = 20\nmode = "hybrid"\ntrim_level = 0.1\nrefuse_below = "0.5"\nstop = ["\\n\\n"]\n'
    b'embed_title = false\nseed = 7\ngrid_g_per_kwh = [250.0, 300, 380.0]\n[generator]\ntype = "openai"\n'
    b'model = "m"\nbase_url = "http://localhost:8080/v1"\ntimeout = 60.0\ntop_k = 4\n[store]\ntype = "opensearch"\n',
    b'[embedder]\ntype = "bedrock"\nmodel = "titan"\ndimensions = 256\n[reranker]\ntype = "bedrock"\nname = "r"\n',
    b'ledger = "off"\nmodel_billions = 8\nmax_history_tokens = 0\ntemplate = "guarded"\nrefuse_below = 0.5\n',
)
TOML_WORDS = (
    b" = 1", b" = true", b" = []", b" = {}", b" = [[]]", b" = nan", b" = inf", b" = -inf", b" = 1e999", b' = ""',
    b" = 1979-05-27", b" = -1", b" = 99999999999999999999999999", b" = 0x7fffffffffffffff", b"[generator]", b"\n[[x]]\n",
    b"[" * 200, b"a." * 300, b"= {a=" * 200, b"'''", b'"""', b"\\u0000", b"\\ud800", b"store_options", b"_options = 3",
)  # fmt: skip
GATE = (
    b'[policy]\nalpha = 0.05\ninconclusive = "report"\nmin_questions = 3\nseed = 1\nresamples = 200\n[measure.F1]\n'
    b'margin = "5%"\nfloor = 0.2\n[measure."nDCG@10"]\nstatistic = "p95"\nceiling = 1.0\n[slice."lang=de".measure.F1]\n'
    b"margin = 0.1\n"
)
TEMPLATES = tuple(
    (Path(__file__).parents[2] / "ragkit" / "data" / "templates" / f"{name}.toml").read_bytes()
    for name in ("default", "guarded")
)
TEMPLATE_WORDS = (
    b"{{n}}", b"{{text}}", b"{{title}}", b"{{context}}", b"{{question}}", b"{{history}}", b"{{boundary}}", b"{{",
    b"}}", b"{{{{text}}}}", b"{{ text }}", b"item = ", b"'''", b"\\1", b"%s", b"{0}", b"${x}", b"\\g<1>",
)  # fmt: skip
TREE = Tree(feature=(0, -1, -1), threshold=(0.5, 0.1, 0.2), left=(1, 0, 0), right=(2, 0, 0))
SCORER = Scorer(
    name="s",
    with_vectors=None,
    by_words=Forest(0.0, 1.0, (TREE,)),
    fused_weight=1.0,
    length_weight=0.0,
)
POLICIES: tuple[Json, ...] = (
    BUILTIN_POLICY.to_dict(),
    {"name": "mine", "pool": 12, "keep_above": -0.5, "certificate": {"metric": "x", "n": 3}},
    {
        "budget_tokens": 100,
        "neighbours": 1,
        "headings": True,
        "weights": {"cosine": 1.0, "best": 0},
    },
)


def held(value: object) -> bool:
    """Whether all numbers in a value are finite."""
    if isinstance(value, Mapping):
        return all(map(held, cast("Mapping[str, object]", value).values()))
    if isinstance(value, list | tuple):
        return all(map(held, cast("list[object]", value)))
    return not isinstance(value, float) or math.isfinite(value)


def check_settings(data: bytes) -> None:
    """Read a settings file."""
    path = Path("settings.toml")
    path.write_bytes(data)
    with no_hang():
        try:
            settings = load_settings(file=path)
        except ConfigError:
            return
    for field in fields(Settings):
        assert held(getattr(settings, field.name)), field.name
    assert settings.k is None or settings.k >= 1
    assert all(isinstance(piece, str) for piece in settings.stop)
    assert all(isinstance(number, int | float) for number in settings.grid_g_per_kwh)


def check_policy(data: bytes) -> None:
    """Read a trim policy, and read it again as ragkit writes it."""
    path = Path("policy.json")
    path.write_bytes(data)
    with no_hang():
        try:
            policy, _ = load_policy(str(path))
        except ConfigError:
            return
    numbers = {key: value for key, value in policy.to_dict().items() if key != "certificate"}
    assert held(numbers), numbers
    assert policy.scorer is None
    path.write_text(json.dumps(policy.to_dict()))
    again, _ = load_policy(str(path))
    assert again.to_dict() == policy.to_dict() or not held(policy.to_dict().get("certificate"))
    assert again.sha256() == policy.sha256()


def check_scorer(data: bytes) -> None:
    """Read a scorer, and read it again as ragkit writes it."""
    path = Path("scorer.json")
    path.write_bytes(data)
    with no_hang():
        try:
            scorer = load_scorer(path)
        except ConfigError:
            return
        numbers = {key: value for key, value in scorer.to_dict().items() if key != "card"}
        assert held(numbers)
        assert all(map(math.isfinite, scorer.by_words.log_odds([[0.0] * 40, [1e300] * 40])))


def check_gate(data: bytes) -> None:
    """Read a gate."""
    path = Path("gate.toml")
    path.write_bytes(data)
    with no_hang():
        try:
            Gate.load(path)
        except ConfigError:
            return


def check_template(data: bytes) -> None:
    """Read a template and fill it with texts that look like placeholders."""
    path = Path("template.toml")
    path.write_bytes(data)
    try:
        template = load_template(str(path))
    except TemplateError:
        return
    texts = ["{{question}}", "\\1 {{context}} [1]", "\0 {n} %s", "x{{boundary}}\ud800"]
    context = [_item(text) for text in texts]
    history = [
        Turn(role="user", content="{{context}}\\g<0>"),
        Turn(role="assistant", content="{{n}}"),
    ]
    with no_hang():
        prompt = template.render("What {{history}}\\2?", context, history).text
    assert "What {{history}}\\2?" in prompt
    if "{{text}}" in template.item:
        at = 0
        for text in texts:
            at = prompt.index(text, at) + len(text)
    if "{{history}}" in template.text and "{{content}}" in template.turn:
        assert "{{context}}\\g<0>" in prompt
    if "{{boundary}}" not in template.text:
        assert prompt == template.render("What {{history}}\\2?", context, history).text


def _item(text: str) -> ContextItem:
    chunk = Chunk(
        id="c", document_id="d", start=0, end=len(text), text=text, n_tokens=1, sentences=()
    )
    hit = Hit(rank=1, score=1.0, chunk=chunk, title="A {{title}}")
    return ContextItem(hit=hit, start=0, end=len(text), text=text, n_tokens=1)


@FUZZ
@given(mutated(SETTINGS, TOML_WORDS))
def test_damaged_settings(data: bytes) -> None:
    """A damaged settings file is settings of the documented kinds, or a `ConfigError`."""
    check_settings(data)


@FUZZ
@given(
    st.sampled_from([field.name for field in fields(Settings)]),
    st.one_of(
        st.sampled_from(
            ["", "nan", "inf", "-1", "1e400", "1_0", "0", "off", "true", "[1]", "{}", "[" * 5000]
        ),
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
    ),
)
def test_any_environment(name: str, text: str) -> None:
    """Any text in a variable is a setting of the documented kind, or a `ConfigError`."""
    with no_hang():
        try:
            settings = load_settings(environment={f"RAGKIT_{name.upper()}": text})
        except ConfigError:
            return
    assert held(getattr(settings, name))


@FUZZ
@given(
    st.one_of(
        altered(POLICIES).map(as_json).map(str.encode),
        mutated([as_json(p).encode() for p in POLICIES]),
    )
)
def test_damaged_policies(data: bytes) -> None:
    """A damaged trim policy is numbers in range that write and read the same, or a `ConfigError`."""
    check_policy(data)


@FUZZ
@given(
    st.one_of(
        altered([SCORER.to_dict()]).map(as_json).map(str.encode),
        mutated([as_json(SCORER.to_dict()).encode()], [b"[1,1]", b"-1", b"NaN", b"1e999"]),
    )
)
def test_damaged_scorers(data: bytes) -> None:
    """A damaged scorer gives finite scores, or is refused by a `ConfigError`."""
    check_scorer(data)


@FUZZ
@given(mutated([GATE], TOML_WORDS))
def test_damaged_gates(data: bytes) -> None:
    """A damaged gate is rules, or a `ConfigError`."""
    check_gate(data)


@FUZZ
@given(mutated(TEMPLATES, TEMPLATE_WORDS))
def test_damaged_templates(data: bytes) -> None:
    """A damaged template renders every text as it is, or is refused by a `TemplateError`."""
    check_template(data)


@FUZZ
@given(
    mutated(
        [b'{"default@1.0.0": "abc", "x@2": "def"}\n', b"[]", b"3"], [b"[" * 3000, b"{", b"null"]
    )
)
def test_damaged_template_locks(data: bytes) -> None:
    """A damaged lock beside a template is read, or refused by a `TemplateError`."""
    Path("t.toml").write_bytes(TEMPLATES[0])
    Path("prompts.lock").write_bytes(data)
    with suppress(TemplateError):
        load_template("t.toml")
    with suppress(TemplateError):
        lock_template(Path("t.toml"))


CHECKS: Mapping[str, Callable[[bytes], None]] = {
    "settings": check_settings,
    "policies": check_policy,
    "scorers": check_scorer,
    "gates": check_gate,
    "templates": check_template,
}


@pytest.mark.parametrize(
    "path",
    [path for name in CHECKS for path in sorted((FOUND / name).glob("*"))],
    ids=lambda path: path.name,
)
def test_found(path: Path) -> None:
    """What was found stays mended."""
    CHECKS[path.parent.name](path.read_bytes())


def test_a_policy_of_each_kind_is_read() -> None:
    """The seeds are what they should be: all of them can be read."""
    for policy in POLICIES:
        Path("p.json").write_text(as_json(policy))
        assert isinstance(load_policy("p.json")[0], TrimPolicy)
