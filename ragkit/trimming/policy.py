"""How to trim: the numbers of a trim policy, and its file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ragkit.errors import ConfigError
from ragkit.trimming.certificate import Certificate
from ragkit.trimming.scorer import (
    BEST_WEIGHT,
    FUSION_WEIGHTS,
    LENGTH_WEIGHT,
    Scorer,
    load_scorer,
    read_object,
)
from ragkit.types import MOST_HITS, Json

BASELINE_HITS = 5
"""The baseline that trimming is compared with: so many chunks, untrimmed."""

REFUSE_BELOW = 0.15
"""Bundled refusal threshold: few answerable questions lie below it (`tools/fit_support.py`)."""

_LIMITS = ("keep_above", "budget_tokens", "budget_share")
_LATER_SWITCHES = ("units", "fitted_support", "keeps_first")
_SWITCHES = ("headings", *_LATER_SWITCHES)
_OFF = dict.fromkeys(_LATER_SWITCHES, False)
"""As policies were before there were these: their files lack them, and their digests stay."""
_PLAIN = ("name", "pool", *_LIMITS, "second_hop", "neighbours", *_SWITCHES, "refuse_below")
_WEIGHTS = (*FUSION_WEIGHTS, "length", "best")
"""Keys of the policy file, in its order; a weight's field is called `KEY_weight`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrimPolicy:
    """How to trim.

    `pool` chunks are retrieved. Their sentences are kept, starting with the best one, as long as
    all limits are met; at least one sentence is kept. The limits are: the relative score is at
    least `keep_above`, the tokens stay within `budget_tokens`, and they stay within the share
    `budget_share` of the tokens of the pool's first five chunks. None means no such limit.

    A sentence's score is the weighted sum of its z-scores over the pool, or the score of a fitted
    `scorer`. Its priority is the score minus `length_weight` (the scorer's own, if there is one)
    times the logarithm of its length, because a long sentence takes the place of several short
    ones. Its relative score is the priority minus `best_weight` times the best priority in the
    pool, so that a clear winner leaves less room for others.

    `second_hop` is the weight of what a sentence gains because others lead to it, for questions
    that need two documents. A weight of 1 is that of the training-free score. If `keeps_first` is
    true, the unit that is best without that stays first, and scores are shown without it.

    Each sentence is kept together with what it needs, with `neighbours` sentences on either side in
    its chunk and, if `headings` is true, with the heading above it.

    If `units` is true and there is no `scorer`, a pool from documents with structure (code, lists,
    tables) is scored by the scorer of units instead (`ragkit.trimming.unit_scorer`), whose scores
    are on another scale: `structured_above` then takes the place of `keep_above`, if it is given.

    If the support, from 0 to 1, is below `refuse_below`, there is no answer. If `fitted_support` is
    true it is the support of `ragkit.trimming.support`; otherwise the formula of before, which
    refuses many answerable questions in languages other than English. `certificate` is what
    `ragkit calibrate` has shown about the policy.
    """

    name: str
    pool: int = 10
    keep_above: float | None = None
    structured_above: float | None = None
    budget_tokens: int | None = None
    budget_share: float | None = None
    second_hop: float = 0.0
    neighbours: int = 0
    headings: bool = False
    units: bool = True
    fitted_support: bool = True
    keeps_first: bool = False
    refuse_below: float = 0.0
    scorer: Scorer | None = None
    cosine_weight: float = FUSION_WEIGHTS["cosine"]
    words_weight: float = FUSION_WEIGHTS["words"]
    window_cosine_weight: float = FUSION_WEIGHTS["window_cosine"]
    window_words_weight: float = FUSION_WEIGHTS["window_words"]
    chunk_weight: float = FUSION_WEIGHTS["chunk"]
    length_weight: float = LENGTH_WEIGHT
    best_weight: float = BEST_WEIGHT
    certificate: Certificate | None = None

    def __post_init__(self) -> None:
        """Check the ranges; raises `ConfigError`."""
        tokens, share = self.budget_tokens, self.budget_share
        finite = {
            "keep_above": self.keep_above, "structured_above": self.structured_above,
            "second_hop": self.second_hop,
        }  # fmt: skip
        finite |= self._weights(_WEIGHTS)
        checks: list[tuple[str, float | None, bool, str]] = [
            ("pool", self.pool, 1 <= self.pool <= MOST_HITS, f"1 to {MOST_HITS:,}"),
            ("budget_tokens", tokens, tokens is None or tokens >= 1, "1 or more"),
            ("budget_share", share, share is None or 0.0 < share <= 1.0, "more than 0, up to 1"),
            *((n, x, x is None or math.isfinite(x), "a finite number") for n, x in finite.items()),
            ("second_hop", self.second_hop, self.second_hop >= 0, "0 or more"),
            ("neighbours", self.neighbours, self.neighbours >= 0, "0 or more"),
            ("refuse_below", self.refuse_below, 0.0 <= self.refuse_below <= 1.0, "0 to 1"),
        ]
        for name, value, holds, allowed in checks:
            if not holds:
                raise ConfigError(f"trim policy {self.name!r}: {name} {value}; allowed: {allowed}")

    @property
    def weights(self) -> dict[str, float]:
        """Return the weight of each signal in the training-free score."""
        return self._weights(FUSION_WEIGHTS)

    def _weights(self, names: Iterable[str]) -> dict[str, float]:
        return {name: getattr(self, f"{name}_weight") for name in names}

    @classmethod
    def from_dict(cls, data: Mapping[str, Json], *, path: str) -> TrimPolicy:
        """Read the JSON form; keys that it leaves out have the values of the first version.

        These are a pool of 10, a cut of -4, a share of 1, a refusal threshold of 0.15, and the
        weights of this class.

        Args:
            data: The object of a trim policy file.
            path: Path of the file. It is the policy's name if the file gives none, a scorer file is
                looked for next to it, and errors mention it.

        Raises:
            ConfigError: an unknown key, a value out of range, or a scorer that cannot be read.
        """
        given: dict[str, Json] = {**_LEFT_OUT.to_dict(), **_OFF, "certificate": None,
                                  "structured_above": None}  # fmt: skip
        _check_keys(path, data, allowed=tuple(given))
        if set(_LIMITS) & set(data):
            # A file that gives one limit means that one alone.
            given |= dict.fromkeys(_LIMITS)
        given |= data

        def number(name: str) -> float:
            return _number(path, name, given[name])

        def limit(name: str) -> float | None:
            return None if given[name] is None else number(name)

        weights = _weights(path, data.get("weights", {}))
        tokens = limit("budget_tokens")
        switches: dict[str, bool] = {}
        for name in _SWITCHES:
            value = given[name]
            if not isinstance(value, bool):
                raise ConfigError(f"trim policy {path}: {name} {value!r}; allowed: true false")
            switches[name] = value
        certificate = given["certificate"]
        if certificate is not None and not isinstance(certificate, Mapping):
            raise ConfigError(f"trim policy {path}: certificate must be an object")
        return cls(
            name=str(data.get("name", Path(path).stem)),
            pool=int(number("pool")),
            keep_above=limit("keep_above"),
            structured_above=limit("structured_above"),
            budget_tokens=None if tokens is None else int(tokens),
            budget_share=limit("budget_share"),
            second_hop=number("second_hop"),
            neighbours=int(number("neighbours")),
            refuse_below=number("refuse_below"),
            scorer=_named_scorer(path, given["scorer"]),
            certificate=None if certificate is None else Certificate.from_dict(certificate),
            headings=switches["headings"],
            units=switches["units"],
            fitted_support=switches["fitted_support"],
            keeps_first=switches["keeps_first"],
            **weights,
        )

    def sha256(self) -> str:
        """Return a digest of the numbers that decide what is kept and refused."""
        import hashlib  # heavy: it loads OpenSSL

        scorer = None if self.scorer is None else self.scorer.sha256()
        numbers = {**self.to_dict(), "name": None, "certificate": None, "scorer": scorer}
        return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of a trim policy file."""
        scorer = self.scorer
        data: dict[str, Json] = {
            "schema": 1,
            **{name: getattr(self, name) for name in _PLAIN},
            "scorer": None if scorer is None else {"name": scorer.name, "sha256": scorer.sha256()},
            "weights": self._weights(_WEIGHTS),
        }
        for name in _LATER_SWITCHES:
            if not data[name]:
                del data[name]
        if self.structured_above is not None:
            data["structured_above"] = self.structured_above
        if self.certificate is not None:
            data["certificate"] = self.certificate.to_dict()
        return data


BUILTIN_POLICY = TrimPolicy(
    name="bundled/7",
    keep_above=-3.5,
    structured_above=-4.5,
    budget_share=1.0,
    second_hop=1.0,
    keeps_first=True,
    chunk_weight=1.0,
    refuse_below=REFUSE_BELOW,
)
"""The trim policy where none is given; uncertified.

With this weight of the chunk and the second hop, -3.5 is the highest cut, in steps of 0.5, that
kept 95 % of the untrimmed top 5's evidence on each of squad11, SciFact (train: 94.8 %),
hotpotqa_100 and chunking_eval (calibration questions, sentence vectors of the kind `short`,
sentences as units). The scores of units are on another scale, on which -4.5 keeps that share on
howto. No context is larger than the untrimmed top 5.
"""

TIGHT_POLICY = replace(
    BUILTIN_POLICY,
    name="tight/1",
    keep_above=0.0,
    structured_above=None,
    second_hop=0.0,
    keeps_first=False,
)
"""For small language models, which answer best from few tokens: about 100 to 150 on prose.

It gives up evidence for that (docs/units.md has the shares by collection and kind), so it is for
models that are known to answer better from less.
"""

BUNDLED = {"bundled": BUILTIN_POLICY, "tight": TIGHT_POLICY}
"""Policies that need no file, by the names that `--trim` takes."""

_LEFT_OUT = TrimPolicy(
    name="bundled/3",
    keep_above=-4.0,
    budget_share=1.0,
    units=False,
    fitted_support=False,
    refuse_below=REFUSE_BELOW,
)
"""What a policy file means by the keys that it leaves out, whatever is bundled today."""


def open_policy(given: str) -> tuple[TrimPolicy | None, str | None]:
    """Return the policy that `--trim` names, None for `off`, and the SHA-256 of its file.

    Raises:
        ConfigError: as `load_policy`.
    """
    if given == "off":
        return None, None
    return (BUNDLED[given], None) if given in BUNDLED else load_policy(given)


def load_policy(path: str) -> tuple[TrimPolicy, str]:
    """Read a trim policy file and return it with the SHA-256 of its bytes.

    Raises:
        ConfigError: the file cannot be read, holds an unknown key, or a value out of range.
    """
    data, raw = read_object("trim policy", path)
    import hashlib  # heavy: it loads OpenSSL

    return TrimPolicy.from_dict(data, path=path), hashlib.sha256(raw).hexdigest()


def _check_keys(path: str, data: Mapping[str, Json], *, allowed: Sequence[str]) -> None:
    unknown = sorted(set(data) - set(allowed))
    if unknown:
        raise ConfigError(
            f"trim policy {path}: unknown key {unknown[0]!r}; allowed: {' '.join(allowed)}"
        )
    schema = data.get("schema", 1)
    if schema != 1 or isinstance(schema, bool):
        raise ConfigError(f"trim policy {path}: schema {schema!r}; allowed: 1")


def _weights(path: str, given: Json) -> dict[str, float]:
    if not isinstance(given, Mapping) or set(given) - set(_WEIGHTS):
        raise ConfigError(f"trim policy {path}: weights must be an object of {' '.join(_WEIGHTS)}")
    return {f"{name}_weight": _number(path, name, value) for name, value in given.items()}


def _named_scorer(path: str, given: Json) -> Scorer | None:
    """Return the scorer that a policy names: a file beside the policy's."""
    if given is None:
        return None
    named = given if isinstance(given, Mapping) else {"name": given}
    name = named.get("name")
    if not isinstance(name, str) or set(named) - {"name", "sha256"}:
        raise ConfigError(f"trim policy {path}: scorer {given!r}; allowed: a file's name, or null")
    # A policy may come from a stranger: it reaches a file beside it, and no other on this machine.
    file = Path(path).parent / name
    is_device = file.exists() and not file.is_file()
    if Path(name).is_absolute() or ".." in Path(name).parts or is_device:
        raise ConfigError(f"trim policy {path}: scorer {name!r}; allowed: a file beside the policy")
    return load_scorer(file)


def _number(path: str, name: str, value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"trim policy {path}: {name} {value!r}; allowed: a number")
    try:
        return float(value)
    except OverflowError:
        digits = f"a whole number of {len(str(value)):,} digits"
        raise ConfigError(f"trim policy {path}: {name} is {digits}; allowed: a number") from None
