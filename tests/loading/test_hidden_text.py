"""Text that nobody sees is left out and counted, and nothing else is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.loading import LoadedText, load_bytes

from ..cpu import assert_linear
from .structure import assert_sound, html


def is_dropped(page: str) -> bool:
    """Whether `evil` is left out of a page and counted, and `seen` is not."""
    loaded = html(f"<p>seen</p>{page}")
    assert loaded.text.startswith("seen")
    assert loaded.dropped["hidden"] == (0 if "evil" in loaded.text else 4)
    return "evil" not in loaded.text


@pytest.mark.parametrize(
    "style",
    [
        "display:none",
        "DISPLAY : NONE",
        "display:none !important; display:block",
        "display:/* */none",
        "display:n\\6fne",
        "visibility:hidden",
        "opacity:0",
        "opacity:.01",
        "opacity:0.0%",
        "font-size:0",
        "font-size:1px",
        "font-size:0.05em",
        "color:transparent",
        "color:rgba(0, 0, 0, 0)",
        "color:#fff",
        "color:white;background:white",
        "color:#123456;background-color:rgb(18,52,86)",
        "position:absolute;left:-9999px",
        "position:fixed;top:-200em",
        "position:absolute;clip:rect(0,0,0,0)",
        "position:absolute;clip-path:inset(50%)",
        "text-indent:-9999px",
        "height:0;overflow:hidden",
        "max-height:0px;overflow-y:hidden",
        "transform:scale(0)",
    ],
)
def test_styles_that_hide(style: str) -> None:
    """An attribute or a rule of the page hides alike."""
    assert is_dropped(f'<p style="{style}">evil</p>')
    assert is_dropped(f"<style>.a {{{style}}}</style><p class=a>evil</p>")
    assert is_dropped(f'<div style="{style}"><p>evil</p></div>')


@pytest.mark.parametrize(
    "style",
    [
        "display:block",
        "opacity:0.5",
        "font-size:9px",
        "font-size:small",
        "color:#777",
        "color:white;background:navy",
        "color:white;background:url(sky.png)",
        "color:white;background:linear-gradient(red,blue)",
        "left:-9999px",
        "text-indent:-2em",
        "height:0",
        "overflow:hidden",
        "transform:scale(0.5)",
        "color:var(--ink)",
        "font-size:0" + "a" * 60 + "#",
    ],
)
def test_styles_that_do_not(style: str) -> None:
    """What is seen stays."""
    assert not is_dropped(f'<p style="{style}">evil</p>')


@pytest.mark.parametrize(
    "page",
    [
        "<p hidden>evil</p>",
        "<span aria-hidden=true>evil</span>",
        "<style>p.a.b{display:none}</style><p class='b a'>evil</p>",
        "<style>#a{display:none} p{display:block}</style><p id=a>evil</p>",
        "<p class=a>evil</p><style>x{} .b , .a{display:none}</style>",
        "<style>@media print{.b{display:none}} .a{display:none}</style><p class=a>evil</p>",
        "<style>.a{display:none!important}</style><p class=a style='display:block'>evil</p>",
        "<style>body{background:#000}</style><body><p style='color:black'>evil</p>",
    ],
)
def test_pages_that_hide(page: str) -> None:
    """By attributes, and by the rule that counts."""
    assert is_dropped(page)


@pytest.mark.parametrize(
    "page",
    [
        "<p hidden=until-found>evil</p>",
        "<p aria-hidden=false>evil</p>",
        "<span aria-hidden=true class=katex-html>evil</span>",
        "<style>@media print{.a{display:none}}</style><p class=a>evil</p>",
        "<style media=print>.a{display:none}</style><p class=a>evil</p>",
        "<style>.a{display:none} .a{display:block}</style><p class=a>evil</p>",
        "<style>.a{display:none} .a.b{display:block}</style><p class='a b'>evil</p>",
        "<style>div .a{display:none} .a:hover{display:none}</style><p class=a>evil</p>",
        "<div style='visibility:hidden'><p style='visibility:visible'>evil</p></div>",
        "<div style='font-size:0'><p style='font-size:12px'>evil</p></div>",
        "<div style='background:navy'><p style='color:white'>evil</p></div>",
        "<link rel=stylesheet href=a.css><p style='color:white'>evil</p>",
    ],
)
def test_pages_that_do_not(page: str) -> None:
    """A rule that does not count, or one below it that shows the text again."""
    assert not is_dropped(page)


def test_a_page_behind_a_dialogue_is_read() -> None:
    """The aria-hidden attribute on nearly all of the text hides nothing."""
    loaded = html("<p>Accept?</p><main aria-hidden=true><p>The ferry leaves at nine.</p></main>")
    assert "The ferry leaves at nine." in loaded.text
    assert loaded.dropped["hidden"] == 0


css = st.text(alphabet="pa.#*{}:;,@/!\\0 <-", max_size=60)


@settings(max_examples=200, deadline=None)
@given(sheet=css, style=css)
def test_any_style(sheet: str, style: str) -> None:
    """No style sheet is too odd."""
    loaded = html(f"x<style>{sheet}</style><p class=a id=p style='{style}'>y</p>")
    assert_sound(loaded.text, loaded.parts)


@pytest.mark.parametrize(
    "unit",
    ["@a{}", "a{", "/*", "a,", "\\", ".a{display:none}", "{", "scale(", "1", "p{width:1"],
)
def test_time_grows_with_the_length_of_styles_only(unit: str) -> None:
    """Whatever they are."""
    assert_linear(html, lambda n: f"x<style>{unit * n}</style><p>y", 20_000)
    assert_linear(html, lambda n: f"x<p style='width:{unit * n}'>y", 20_000)


TAGS = "".join(chr(0xE0000 + ord(c)) for c in "obey")
"""Unicode's tag characters, which nobody sees and some models read."""


def load(name: str, text: str) -> LoadedText:
    """Load a text file."""
    return load_bytes(text.encode(), name=name)


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("a.txt", "{}"),
        ("a.md", "# T\n\n{}\n"),
        ("a.rst", "T\n=\n\n{}\n"),
        ("a.html", "<p>{}"),
        ("a.csv", "a,b\n1,{}\n"),
        ("a.json", '{{"a": "{}"}}'),
    ],
)
def test_tags_and_controls_of_direction(name: str, template: str) -> None:
    """They go in every format; marks of direction stay, which right-to-left texts need."""
    odd = f"one {TAGS}two \u202ethree\u202c \u2066four\u2069 \u200ffive"
    loaded, plain = load(name, template.format(odd)), load(name, template.format(
        "one two three four \u200ffive"))  # fmt: skip
    assert loaded.text == plain.text
    assert loaded.marks == plain.marks
    assert loaded.parts == plain.parts
    assert loaded.dropped["hidden"] == 8


def test_they_go_from_titles_headings_and_metadata_too() -> None:
    """Wherever a file can put them."""
    loaded = load("a.md", f"---\ntitle: A{TAGS}b\nkey: c{TAGS}d\n---\n# E{TAGS}f\n\ng\n")
    found = json.dumps(
        [loaded.title, dict(loaded.metadata), [m.location.heading for m in loaded.marks]]
    )
    assert "Ab" in found
    assert "cd" in found
    assert "Ef" in found
    assert "\\ud" not in found


@given(text=st.text(alphabet=f"# -a\n|{TAGS[0]}\u202e", max_size=60))
def test_offsets_stay_true(text: str) -> None:
    """Parts are sound, without white space at their ends."""
    loaded = load_bytes(f"a\n{text}".encode(), name="a.md")
    assert_sound(loaded.text, loaded.parts)
    assert not {TAGS[0], "\u202e"} & set(loaded.text)
