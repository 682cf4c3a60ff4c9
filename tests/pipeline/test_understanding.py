"""Questions as people type them: with a story around them, several in one, and mistyped."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit import RAG, Document, Settings
from ragkit.pipeline.understanding import MOST_QUESTIONS, corrected, questions_of
from ragkit.text.words import index_terms
from ragkit.trimming import BUILTIN_POLICY, rank
from ragkit.trimming.merging import merged
from tests.core.test_passages import document_of, pool_of

WORDS_ONLY = Settings(embedder="none", ledger="off", refuse_below="off")
STORY = (
    "I took the boat over from my uncle, who sailed it for thirty years. He wrote nothing down. "
    "Last week we were out with the children and everything went well. On the way home it began "
    "to rain, and the wind came from the north."
)
HARBOUR = (
    Document(id="lock", text="The lock is opened by the keeper at seven in the morning."),
    Document(id="bilge", text="The bilge pump is started with the red lever below the bench."),
    Document(
        id="uncle", text="An uncle and his children sailed home in the rain for thirty years."
    ),
    Document(id="north", text="The wind came from the north last week. Everything went well."),
)


def words_of(*texts: str) -> object:
    """Return what tells which terms an index of these texts holds."""
    held = {term for text in texts for term in index_terms(text, language="en")}

    def known(terms: Iterable[str]) -> set[str]:
        return held.intersection(terms)

    return known


@pytest.mark.parametrize(
    "question",
    [
        "", "pump", "how is the bilge pump started", "What is v1.2 vs. v1.3?",
        "I registered a command on a blueprint. How do I get rid of the name in front of it?",
        "The pump is loud. Why, and how do I stop it?", "bilge pump: how to start it, e.g. in rain",
        "Waitress: does it run on Windows and can it stream request bodies?", "泵怎么启动？",
        STORY, "x" * 5000 + "? Who? " * 300,
    ],
)  # fmt: skip
def test_a_plain_question_is_itself(question: str) -> None:
    """One question, and a message in which none is found, is searched for as it is."""
    assert list(questions_of(question)) == [question]


QUESTION = "how is the bilge pump started?"


@pytest.mark.parametrize(
    ("message", "asked"),
    [
        (f"{STORY} {QUESTION}", [QUESTION]),
        (f"Hi all, {QUESTION} {STORY}", [QUESTION]),
        (f"Hello,\n\n{STORY}\n\n{QUESTION}\n\nAny ideas? Many thanks, Tom", [QUESTION]),
        (f"{STORY} {QUESTION} Can anybody help me?", [QUESTION]),
        (f"{STORY} I want to know how the pump starts. Thanks.",
         ["I want to know how the pump starts."]),
        (f"{STORY} There is a bilge pump. How do I start it? Thanks.",
         ["There is a bilge pump. How do I start it?"]),
        (f"{STORY} {QUESTION} And when does the lock open?",
         [QUESTION, "And when does the lock open?"]),
        (f"{QUESTION} And when does the lock open?", [QUESTION, "And when does the lock open?"]),
        (f"There is a pump. {QUESTION} Besides, we need the lock. when does the lock open? Why?",
         [f"There is a pump. {QUESTION}",
          "Besides, we need the lock. when does the lock open? Why?"]),
        ("Wie startet die Pumpe am Bug? Wann öffnet die große Schleuse?",
         ["Wie startet die Pumpe am Bug?", "Wann öffnet die große Schleuse?"]),
    ],
)  # fmt: skip
def test_the_questions_of_a_message(message: str, asked: list[str]) -> None:
    """The story goes, and what a question leans on stays."""
    assert list(questions_of(message)) == asked


@settings(max_examples=200)
@given(st.text(max_size=600) | st.text(alphabet="ab i?.! \nHowit", max_size=600))
def test_any_message_asks_something(message: str) -> None:
    """At least one question, not too many, in the message's own words."""
    asked = questions_of(message)
    assert 1 <= len(asked) <= MOST_QUESTIONS
    for question in asked:
        assert set(question.split()) <= set(message.split())


VOCABULARY = words_of(
    "The packages are installed automatically. The settings of PostgreSQL. A flask. Shared, sharp."
)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("are pakcages installed", "are packages installed"),
        ("are packagess installed", "are packages installed"),
        ("automaticaly installed?", "automatically installed?"),
        ("are pbckages installed", "are packages installed"),
        ("are paeckages installed", "are packages installed"),
        ("Pakcages", "packages"),
        ("fnask", "flask"),
        ("what is a shard", "what is a shard"),
        ("packages installed", "packages installed"),
        ("pakcages_x PAKCAGES pakcages.py pakCages pak-cages", None),
        ("opackages", None),
        ("yesterday the governments decided about chocolate", None),
        ("zzzzzz packages", None),
        ("pakcages der instaliert werrden sollten und vorrher niicht warren", None),
        ("", None),
    ],
)
def test_mistyped_words_become_those_of_the_index(typed: str, meant: str | None) -> None:
    """One slip in a word that neither index nor language knows; names and numbers stay."""
    found = corrected(typed, language="en", known=VOCABULARY)  # type: ignore[arg-type]
    assert found == (typed if meant is None else meant)


@settings(max_examples=100)
@given(st.text(max_size=200))
def test_a_question_of_known_words_is_not_touched(text: str) -> None:
    """Whatever it is."""
    assert corrected(text, language=None, known=set) == text


def test_what_is_asked_is_found_and_the_prompt_has_what_was_said(tmp_path: Path) -> None:
    """Search, trimming and the pool see the question; the model sees the message."""
    message = f"{STORY} How is the blige pump started? Any ideas?"
    with RAG(tmp_path / "kb", config=WORDS_ONLY) as rag:
        rag.ingest(*HARBOUR)
        plain = rag.ask("How is the bilge pump started?", dry_run=True)
        answer = rag.ask(message, dry_run=True)
        assert [i.text for i in answer.context] == [i.text for i in plain.context]
        assert answer.evidence == plain.evidence
        assert answer.prompt is not None
        assert message in answer.prompt
        assert [h.chunk.id for h in rag.search(message)] == [
            h.chunk.id for h in rag.search("How is the bilge pump started?")
        ]
        assert rag.pool(message, k=3)[0] == rag.pool("How is the bilge pump started?", k=3)[0]


@pytest.mark.parametrize("trim", [None, "off"])
def test_the_context_answers_each_question(tmp_path: Path, trim: str | None) -> None:
    """What each of them needs is there, once, and the hits come by turns."""
    asked = "How is the bilge pump started? And when is the lock opened? When is the lock opened?"
    with RAG(tmp_path / "kb", config=WORDS_ONLY, trim=trim) as rag:
        rag.ingest(*HARBOUR)
        answer = rag.ask(asked)
        names = [item.hit.chunk.document_id for item in answer.context]
        assert {"lock", "bilge"} <= set(names)
        assert len(set(names)) == len(names)
        hits = rag.search(asked, k=2)
        assert [hit.chunk.document_id for hit in hits] == ["bilge", "lock"]
        assert [hit.rank for hit in hits] == [1, 2]
        terms, pool = rag.pool(asked, k=2)
        assert {"bilg", "lock"} <= set(terms)
        assert [chunk.hit.chunk.document_id for chunk in pool] == ["bilge", "lock"]


def test_no_word_of_a_hidden_document_corrects_a_question(tmp_path: Path) -> None:
    """What others write is unknown to a reader, and corrected by what the reader may see."""
    with RAG(tmp_path / "kb", config=WORDS_ONLY) as rag:
        rag.ingest(
            Document(id="a", text="The zorgelt is planned for spring.", groups=("board",)),
            Document(id="b", text="The zorgalt of the field is mown.", groups=("all",)),
        )
        for typed in ("zorgelt", "zorgxlt"):
            found = rag.search(typed, groups=("all",))
            assert [hit.chunk.document_id for hit in found] == ["b"]
        found = rag.search("zorgalt", groups=("board",))
        assert [hit.chunk.document_id for hit in found] == ["a"]


@settings(max_examples=40)
@given(st.integers(0, 1000), st.integers(0, 1000))
def test_merged_rankings_keep_their_order_and_repeat_nothing(first: int, second: int) -> None:
    """One ranking is itself; of two each unit is there once, best first, atoms whole."""
    pools = [pool_of(document_of(first)), pool_of(document_of(first), document_of(second))]
    words = [index_terms(text, language="en") for text in ("which valve is red", "blue lamp")]
    rankings = [rank(w, pool, BUILTIN_POLICY) for w, pool in zip(words, pools, strict=True)]
    assert merged(rankings[:1]) is rankings[0]
    both = merged(rankings)
    scores = [piece.relative_score for piece in both.sentences]
    assert scores == sorted(scores, reverse=True)
    atoms = [piece.atom for piece in both.sentences]
    assert atoms == sorted(atoms)
    spans = [(s.hit.chunk.document_id, s.place.span) for s in both.sentences]
    assert len(set(spans)) == len(spans)
    wanted = {(s.hit.chunk.document_id, s.place.span) for r in rankings for s in r.sentences}
    assert set(spans) == wanted
    for piece in both.sentences:
        assert both.pool[piece.place.chunk].hit.chunk.id == piece.hit.chunk.id


@pytest.mark.parametrize("thanks", ["Thanks. ", "Thank you very much! ", "Ok, ", "Danke! "])
def test_thanks_before_a_question_are_no_part_of_it(thanks: str) -> None:
    """They are not searched for; a message that is nothing else stays as it is."""
    assert list(questions_of(f"{thanks}What does a day pass cost?")) == [
        "What does a day pass cost?"
    ]
    assert list(questions_of(f"{thanks}Bye.")) == [f"{thanks}Bye."]
