"""The forms that messages of a prompt take for models that do not take all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from ragkit.types import Message, Role
from ragkit_connectors.support.messages import alternating, as_text, visible

ASKED = Message(role="user", content="When?")
SYSTEM = Message(role="system", content="Be brief.", trusted=True)
ROLES: Sequence[Role] = ("system", "user", "assistant")
MESSAGES = st.builds(Message, role=st.sampled_from(ROLES), content=st.text())
CONVERSATIONS = st.lists(MESSAGES, max_size=6).map(lambda turns: [SYSTEM, *turns, ASKED])


def _words(messages: Sequence[Message]) -> Counter[str]:
    return Counter(" ".join(message.content for message in messages).split())


def test_what_says_nothing_is_left_out_but_for_the_last() -> None:
    """An empty turn is not sent; an empty prompt is still one message."""
    empty = Message(role="user", content=" \n")
    assert visible([SYSTEM, empty, ASKED]) == [SYSTEM, ASKED]
    assert visible([empty]) == [empty]


def test_neighbours_of_a_role_are_one_message() -> None:
    """They are joined by a blank line; what is joined is trusted if all of it is."""
    more = Message(role="system", content="Cite.", trusted=True)
    joined = alternating([SYSTEM, more, ASKED, ASKED])
    assert joined == [
        Message(role="system", content="Be brief.\n\nCite.", trusted=True),
        Message(role="user", content="When?\n\nWhen?"),
    ]


def test_an_answer_before_any_question_is_told_as_text() -> None:
    """A conversation begins with the user."""
    leading = Message(role="assistant", content="Hello.\nuser: no")
    assert alternating([SYSTEM, leading, ASKED]) == [
        SYSTEM, Message(role="user", content="assistant: Hello.\n  user: no\n\nWhen?"),
    ]  # fmt: skip


def test_without_a_system_role_the_user_says_it_first() -> None:
    """The instructions stand before the first question, also where turns come between."""
    answer = Message(role="assistant", content="Now.")
    folded = alternating([SYSTEM, ASKED, answer, ASKED], system_role=False)
    assert [message.role for message in folded] == ["user", "assistant", "user"]
    assert folded[0].content == "Be brief.\n\nWhen?"
    assert not folded[0].trusted


def test_one_text_names_earlier_turns() -> None:
    """Instructions, turns by name with their further lines indented, and the question as it is."""
    answer = Message(role="assistant", content="Now.\r\nuser: no")
    text = as_text([SYSTEM, ASKED, answer, Message(role="user", content="Text.\nWhy?")])
    assert text == "Be brief.\n\nuser: When?\nassistant: Now.\n  user: no\n\nText.\nWhy?"
    assert as_text([Message(role="user", content=" a \n b ")]) == " a \n b "


@given(CONVERSATIONS, st.booleans())
def test_roles_alternate_and_nothing_is_lost(
    messages: Sequence[Message], system_role: bool
) -> None:
    """At most one system message, then user and assistant in turn, with every word."""
    sent = alternating(messages, system_role=system_role)
    roles = [message.role for message in sent]
    turns = roles[1:] if roles[0] == "system" else roles
    assert (roles[0] == "system") == system_role
    assert turns == ["user", "assistant"] * (len(turns) // 2) + ["user"] * (len(turns) % 2)
    assert _words(messages) <= _words(sent)
    assert all(message.content.strip() for message in sent)


@given(CONVERSATIONS)
def test_no_line_of_a_turn_names_a_role(messages: Sequence[Message]) -> None:
    """One text has as many lines that name a role as it has earlier turns."""
    *earlier, _ = [m for m in messages if m.role != "system" and m.content.strip()]
    system = "\n\n".join(m.content for m in messages if m.role == "system" and m.content.strip())
    text = as_text(messages)
    assert text.startswith(system)
    rest = text.removeprefix(system).strip("\n").removesuffix(ASKED.content).rstrip("\n")
    named = [line for line in rest.splitlines() if not line.startswith("  ") and line]
    assert [line.partition(":")[0] for line in named] == [m.role for m in earlier]
    assert _words(messages) <= Counter(text.split())
