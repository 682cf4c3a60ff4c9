"""Identifiers: what counts as one, and what does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.text.identifiers import (
    MAX_IDENTIFIERS,
    asked_identifiers,
    holds,
    identifiers,
    without_numbers,
)
from ragkit.text.words import index_lines, index_terms, query_terms

from ..cpu import assert_linear


def _read(terms: list[str]) -> list[str]:
    """Return terms with their signs as they are written."""
    return ["".join(chr(ord(c) % 0xE000) for c in term) for term in terms]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Since v1.2.3, not 1.3.2.", ["1.2.3", "1.3.2"]),
        ("2.0.0-rc1 and 2.0.0rc1", ["2.0.0-rc1", "2.0.0rc1"]),
        ("v1.2 (not v2.1)", ["v1.2", "v2.1"]),
        ("ping 10.0.0.12, 10.0.12.0/24", ["10.0.0.12", "10.0.12.0"]),
        ("fe80::1:2:3:4", ["1:2:3:4", "fe80::1:2:3:4"]),
        ("On 2024-05-06 or 06.05.2024 or 5/6/2024", ["2024-05-06", "06.05.2024", "5/6/2024"]),
        ("see § 4.2.1", ["4.2.1"]),
        ("ORA-00600, UTF-8, CVE-2024-1234", ["ora-00600", "utf-8", "cve-2024-1234"]),
        ("An HTTP 404. Error 17!", ["http 404", "error 17"]),
        ("`max_connections`=9 MAX_CONNECTIONS", ["max_connections"] * 2),
        ("server.port: 8080", ["server.port"]),
        ("do_thing() foo.bar(); foo()", ["do_thing", "foo.bar", "foo()"]),
        ("edit config.yaml. README.MD", ["config.yaml", "readme.md"]),
        ("nginx-1.25.3.tar.gz", ["1.25.3", "nginx-1.25.3.tar.gz"]),
        ("java.util.List", ["java.util.list"]),
        ("C#, C++, F# and C", ["c#", "c++", "f#"]),
        (".NET or ASP.NET, .gitignore", [".net", "asp.net", ".gitignore"]),
        ("`--dry-run`, -v (--max-x=3)", ["--dry-run", "-v", "--max-x"]),
        ("https://example.com/docs/page.html?x=1#top", ["example.com", "page.html"]),
        ("版本v1.2.3的，“max_size”", ["1.2.3", "max_size"]),
    ],
)
def test_what_is_an_identifier(text: str, found: list[str]) -> None:
    """A whole, whatever punctuation stands around it."""
    assert _read(identifiers(text)) == found


@pytest.mark.parametrize(
    "text",
    [
        "A well-known, state-of-the-art and WELL-KNOWN fact.",
        "It rose by 3.5 % to 1,200 (12.5 before) in 1990, 5-3 and 20-year-old.",
        "It ended.Then it began. e.g. this, i.e. that, at 5 a.m. in the U.S. with a Ph.D.",
        "He -- or she - said and/or wrote: 'no'... and _so_ on, __truly__.",
        "# Title\n\n- item\n* item #\n1. step\n| a | b |\n|---|---|",
        "",
    ],
)
def test_prose_has_no_identifiers(text: str) -> None:
    """Ordinary text has the terms that it always had."""
    assert identifiers(text) == []


def test_an_identifier_has_the_same_term_on_both_sides() -> None:
    """Whatever its case, and with its words beside it."""
    for written, asked in (("ORA-00600", "ora-00600"), ("`Max_Size`", "max_size"), ("C#", "c#")):
        held = index_terms(f"Mind {written}.", language="en")
        wanted = query_terms(f"what is {asked}?", language="en")
        assert set(wanted) <= set(held)
        assert len(wanted) > 1
    text = "Version 1.2.3.\nUse max_size."
    spans = [(0, 14), (15, len(text))]
    lines = [" ".join(index_terms(text[a:b], language="en")) for a, b in spans]
    assert index_lines(text, spans, language="en") == lines


def test_the_number_of_identifiers_of_a_question_is_bounded() -> None:
    """Words are left out for them, not the other way round."""
    question = " ".join([*(f"word{i}" for i in range(100)), *(f"max_{i}" for i in range(100))])
    terms = query_terms(question, language="en")
    assert len(terms) == 64
    assert terms[-MAX_IDENTIFIERS:] == asked_identifiers(question)


def test_numbers_are_taken_out_of_a_question() -> None:
    """Those that are part of an identifier."""
    assert without_numbers("Is 3 in v1.2.3 or 10.0.0.12?").split() == ["Is", "3", "in", "or", "?"]


@given(text=st.text(alphabet="aAbvV19.-_:/+#()` \n字", max_size=60))
def test_a_text_holds_its_own_identifiers(text: str) -> None:
    """What is found is held, and is one term for the index."""
    for term in identifiers(text):
        assert holds(text, term)
        assert term.split() == [term]
        assert 1 < len(term) <= 64


@pytest.mark.parametrize("unit", ["1.", "a_", "a.", "A-1", "(", ":a", "-", "1:", ".a", "+", "字"])
def test_time_grows_with_the_length_only(unit: str) -> None:
    """With and without spaces."""
    assert_linear(identifiers, lambda n: unit * n, 200_000)
    assert_linear(identifiers, lambda n: f"{unit * 50} " * (n // 50), 100_000)
