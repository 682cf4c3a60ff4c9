"""Formulas of pages and articles: written in a line, so that 10² is not 102."""

from __future__ import annotations

import pytest

from ragkit.loading import load_bytes


def text_of(formula: str) -> str:
    """Return a paragraph with a formula as it is read."""
    page = f"<html><body><p>It is <math>{formula}</math> here.</p></body></html>"
    return load_bytes(page.encode(), name="a.html").text.strip()


@pytest.mark.parametrize(
    ("formula", "shown"),
    [
        ("<mn>10</mn>", "10"),
        ("<msup><mn>10</mn><mn>2</mn></msup>", "10^2"),
        ("<msub><mi>x</mi><mrow><mi>i</mi><mo>+</mo><mn>1</mn></mrow></msub>", "x_(i+1)"),
        ("<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup>", "x_i^2"),
        ("<mfrac><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><mn>2</mn></mfrac>", "(a+b)/2"),
        ("<mo>(</mo><mfrac linethickness='0'><mi>n</mi><mi>k</mi></mfrac><mo>)</mo>",
         "(n choose k)"),
        ("<msqrt><mi>x</mi></msqrt>", "√x"),
        ("<mroot><mi>x</mi><mn>3</mn></mroot>", "3√x"),
        ("<munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover>",
         "∑_(i=1)^n"),
        ("<mover><mi>x</mi><mo>¯</mo></mover>", "x"),
        ("<mtable><mtr><mtd><mn>1</mn></mtd><mtd><mn>2</mn></mtd></mtr>"
         "<mtr><mtd><mn>3</mn></mtd><mtd><mn>4</mn></mtd></mtr></mtable>", "1 2; 3 4"),
        ("<mfenced><mi>a</mi><mi>b</mi></mfenced>", "(a, b)"),
        ("<mi>a</mi><mo>&#8290;</mo><mi>b</mi>", "ab"),
        ("<mi>x</mi><mtext> if </mtext><mi>y</mi>", "x if y"),
        ("<semantics><mrow><mi>E</mi></mrow><annotation>\\TeX</annotation></semantics>", "E"),
        ("<mphantom><mn>9</mn></mphantom><mn>1</mn>", "1"),
    ],
)  # fmt: skip
def test_a_formula_stands_in_its_line(formula: str, shown: str) -> None:
    """What is above, below or beside is told by signs."""
    assert text_of(formula) == f"It is {shown} here."


def test_a_page_with_both_forms_gives_one() -> None:
    """Of a formula for the eye and one for programs, the latter has the meaning."""
    page = (
        "<p>It is <span class=katex><span class=katex-mathml><math><semantics><msup><mn>10</mn>"
        "<mn>2</mn></msup><annotation>10^2</annotation></semantics></math></span>"
        "<span class=katex-html aria-hidden=true><span>10</span><span>2</span></span></span>.</p>"
    )
    assert load_bytes(page.encode(), name="a.html").text.strip() == "It is 10^2."


@pytest.mark.parametrize(
    "hidden",
    [
        "<math style='display:none'><mtext>evil</mtext></math>",
        "<math><mtext style='display:none'>evil</mtext></math>",
        "<math><mtext hidden>evil</mtext></math>",
        "<div style='display:none'><math><mtext>evil</mtext></math></div>",
        "<math><annotation>evil</annotation></math>",
    ],
)
def test_what_nobody_sees_is_not_read(hidden: str) -> None:
    """A formula is no place to hide text in."""
    assert "evil" not in load_bytes(f"<p>Seen.</p>{hidden}".encode(), name="a.html").text


@pytest.mark.parametrize("end", ["", "<mrow>" * 5_000, "</mrow></msup>"])
def test_a_broken_formula_takes_no_text_with_it(end: str) -> None:
    """It ends where a paragraph begins."""
    page = f"<p>Before <math><mn>1</mn>{end}<p>After.</p>"
    text = load_bytes(page.encode(), name="a.html").text
    assert "Before 1" in text
    assert text.rstrip().endswith("After.")


def test_an_article_keeps_its_formulas() -> None:
    """JATS has them as MathML, TeX and pictures beside one another."""
    article = (
        '<article xmlns:mml="http://www.w3.org/1998/Math/MathML"><body><sec><title>Results</title>'
        "<p>The rate is <inline-formula><alternatives><tex-math>10^{12}</tex-math><mml:math>"
        "<mml:msup><mml:mn>10</mml:mn><mml:mn>12</mml:mn></mml:msup></mml:math></alternatives>"
        "</inline-formula> per second.</p></sec></body></article>"
    )
    text = load_bytes(article.encode(), name="a.nxml").text
    assert "The rate is 10^12 per second." in text
