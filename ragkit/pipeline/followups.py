"""What a question asks in a conversation: by itself, after what was said, or about what was said.

A question that stands alone is searched for, trimmed and refused as if nothing had been said
before. One that does not ("And the yearly service?", "How long does it take?") is searched for with
the words of the turns that it goes on from. That it does not is told by cues of its language;
in a language without cues, and without any of them, a question stands alone. What is said about
the conversation itself ("Thanks!", "Shorter, please") needs no documents.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ragkit.text.sentences import sentence_spans
from ragkit.text.words import detect_language, index_terms, query_terms
from ragkit.types import Json, Turn

if TYPE_CHECKING:
    from ragkit.pipeline.cues import Cues

MOST_CARRIED_CHARACTERS = 400
"""Of earlier turns, the newest that are searched for with a question."""

_LONGEST_READ = 1000
"""Characters of a message that are looked through for cues."""

_LONGEST_REMARK = 10
"""Words of a message about the conversation."""

_LONGEST_FRAGMENT = 5
"""Words of a question without a verb, such as "For children?"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What a question is taken to ask.

    `question` is what is searched for: the question itself where it is `standalone`, else with the
    `topic` of earlier turns before it, whose words that it lacks are `carried`. `own` is what it
    asks itself, without the words that point back. `by` says who found that out. `is_remark` is a
    message about the conversation.
    """

    standalone: bool
    question: str
    carried: tuple[str, ...] = ()
    topic: str = ""
    own: str = ""
    by: Literal["rule", "generator"] | None = None
    is_remark: bool = False

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit ask`."""
        return {
            "standalone": self.standalone,
            "question": self.question,
            "carried": list(self.carried),
            "by": self.by,
        }


def resolve(question: str, history: Sequence[Turn]) -> Resolved:
    """Return what a question asks after earlier turns."""
    if not history:
        return Resolved(standalone=True, question=question)
    if is_remark(question):
        return Resolved(standalone=True, question=question, by="rule", is_remark=True)
    topic = _topic(history)
    if not topic or not goes_on(question, after=topic):
        return Resolved(standalone=True, question=question, by="rule")
    whole = substituted(topic, question) or _named_in_order(topic, question)
    language = detect_language(f"{topic}\n{question}")
    missing = set(query_terms(whole or topic, language=language)) - set(
        query_terms(question, language=language)
    )
    carried = [
        word
        for word in dict.fromkeys(_words(topic))
        if missing.intersection(index_terms(word, language=language))
    ]
    return Resolved(
        standalone=False,
        question=whole or f"{topic}\n{question}",
        carried=tuple(carried),
        topic=topic,
        own=_own(question),
        by="rule",
    )


def _topic(history: Sequence[Turn]) -> str:
    """Return what the user's turns have come to speak of: the last that stands alone, and on."""
    topic = ""
    for turn in history:
        if turn.role == "user" and not is_remark(turn.content):
            said = " ".join(turn.content[-4 * MOST_CARRIED_CHARACTERS :].split())
            if topic and goes_on(said, after=topic):
                topic = substituted(topic, said) or f"{topic} {said}"
            else:
                topic = said
    if len(topic) <= MOST_CARRIED_CHARACTERS:
        return topic
    return topic[-MOST_CARRIED_CHARACTERS:].partition(" ")[2]


def substituted(topic: str, fragment: str) -> str | None:
    """Return an English question with what a fragment puts in the place of something in it.

    "And the yearly service?" replaces the tyre change of "How much is a tyre change for the van?",
    "And for the truck?" its van. None for what has a verb of its own, or replaces nothing known.
    """
    said, asked = _INSTEAD.match(fragment), _ASKS_FOR.match(topic)
    if said is None or asked is None:
        return None
    first, *rest = _BEFORE_PREPOSITION.split(asked["rest"].rstrip("?!. "))
    if said["preposition"]:
        same = f"{said['preposition'].lower()} "
        places = [i for i, part in enumerate(rest) if part.lower().startswith(same)]
        if not places:
            return None
        # Of "does the ferry to Saint Bride take" the verb stays.
        helped = asked["frame"].lower().endswith(_HELPING)
        kept = _LAST_VERB.search(rest[places[0]]) if helped else None
        rest[places[0]] = f"{said['preposition']} {said['name']}{kept[0] if kept else ''}"
        return _joined(asked["frame"], first, *rest)
    head, parts = said["name"].lower().split()[-1], [first, *rest]
    for i, part in enumerate(parts):
        words = part.split()
        bare = [word.lower().strip(",;:") for word in words]
        if head in bare:
            # "And a day pass?" replaces the annual pass, wherever that stands.
            before = words[:1] if i else []
            parts[i] = " ".join([*before, said["name"], *words[bare.index(head) + 1 :]])
            return _joined(asked["frame"], *parts)
    # Of "does the locker cost" the verb stays.
    verb = first.split()[-1:] if asked["frame"].lower().endswith(_HELPING) else []
    return _joined(asked["frame"], said["name"], *verb, *rest)


def _named_in_order(topic: str, question: str) -> str | None:
    """Return an English question in which "the former" and "the latter" are the two by name.

    None unless it has such words, and the topic names exactly two things side by side.
    """
    if not _FORMER_OR_LATTER.search(question):
        return None
    pairs = _PAIR.findall(topic)
    if len(pairs) != 1:
        return None
    former, latter = map(str, pairs[0])

    def name(words: re.Match[str]) -> str:
        return former if (words[1] or words[2]).lower() in {"former", "first"} else latter

    return _FORMER_OR_LATTER.sub(name, question)


def _joined(*parts: str) -> str:
    return f"{' '.join(parts)}?"


_HELPING = ("does", "do", "did", "will", "can")
_LAST_VERB = re.compile(
    r" (?:cost|take|last|need|hold|carry|open|close|start|stop|leave|arrive|depart|run|work|weigh"
    r"|require|include|contain|mean|happen|look|end|begin)\Z",
    re.IGNORECASE,
)

_INSTEAD = re.compile(
    r"\W{0,3}(?:(?:and|or|but|what about|how about) )(?:(?P<preposition>for|in|on|at|to|from|with"
    r"|without|by|during|about|of) )?"
    r"(?P<name>(?:the |a |an |my |our |your )?[\w'-]{2,30}(?: [\w'-]{2,30}){0,3})\W{0,5}\Z",
    re.IGNORECASE,
)
_ASKS_FOR = re.compile(
    r"(?P<frame>(?:how (?:much|many|long|often|far|big|old|late)|what|when|where|who)"
    r"(?: (?:is|are|was|were|does|do|did|will|can))"
    r"|(?:how (?:many|much)|what|which)(?: [\w-]{2,20}){1,2} (?:does|do|did|will|can))"
    r" (?P<rest>.{1,300})\Z",
    re.IGNORECASE | re.DOTALL,
)
_FORMER_OR_LATTER = re.compile(
    r"\bthe (?:(former|latter)(?! (?!costs|is|has|does)[a-z]{2,20}s\b)|(first|second) one)\b",
    re.IGNORECASE,
)
_NAME = r"((?:the )?[A-Z][\w'-]{1,30}(?: [A-Z][\w'-]{1,30}){0,2})"
_PAIR = re.compile(rf"\b{_NAME} (?:and|or|from) {_NAME}")
_BEFORE_PREPOSITION = re.compile(
    r" (?=(?:for|in|on|at|to|from|with|without|by|during|about|of) )", re.IGNORECASE
)


def _words(text: str) -> list[str]:
    return [word.strip(".,:;?!()\"'“”„»«¿¡") for word in text.split()]


def is_remark(message: str) -> bool:
    """Whether a message is about the conversation and asks nothing of the documents."""
    if len(message) > 40 * _LONGEST_REMARK or len(message.split()) > _LONGEST_REMARK:
        return False
    from ragkit.pipeline.cues import STATEMENT, THANKS, WISH  # only conversations need them

    rest, is_thanks = message.strip(), False
    while rest and (thanks := THANKS.match(rest)):
        rest, is_thanks = rest[thanks.end() :], True
    if not rest:
        return is_thanks
    return bool(WISH.fullmatch(rest) or (is_thanks and STATEMENT.fullmatch(rest)))


def goes_on(message: str, *, after: str) -> bool:
    """Whether a message goes on from what was said before, and cannot be understood without."""
    from ragkit.pipeline.cues import ANNOUNCEMENT, COURTESY, CUES

    if ANNOUNCEMENT.match(after):
        return True
    first = COURTESY.sub("", message[:_LONGEST_READ], count=1)
    spans = sentence_spans(first)
    if spans:
        first = first[slice(*spans[0])]
    cues = CUES.get(detect_language(first) or detect_language(f"{after}\n{first}") or "en")
    if cues is None:
        return False
    bare = _drop(cues.expletive, first)
    cue = cues.anywhere.search(bare)
    if cues.opening.match(bare) or (cue and not _is_named(cues, bare[: cue.start()])):
        return True
    pronoun = cues.pronoun.search(bare)
    if pronoun is not None and not cues.named.search(bare, 0, pronoun.start()):
        return True
    n_words = len(bare.split())
    is_asked = bare.rstrip().endswith(("?", "？", "؟"))
    if n_words <= _LONGEST_FRAGMENT and cues.fragment.match(bare):
        return True
    return is_asked and n_words == 1 and not cues.is_unspaced


def _own(question: str) -> str:
    """Return a question without what points back, and without words that only ask for a figure."""
    from ragkit.pipeline.cues import CUES, MEASURE

    own = MEASURE.sub(" ", question[:_LONGEST_READ])
    cues = CUES.get(detect_language(question) or "en")
    if cues is None:
        return own
    for pattern in (cues.anywhere, cues.pronoun):
        own = _drop(pattern, own)
    return own


def _is_named(cues: Cues, before: str) -> bool:
    """Whether an earlier clause has what is meant: "The badge is lost, and what about that?"."""
    named = cues.named.search(before)
    return named is not None and cues.clause.search(f"{before} ", named.end()) is not None


def _drop(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(" x ", text)  # a word, so that what follows opens nothing
