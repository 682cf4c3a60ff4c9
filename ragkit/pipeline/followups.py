"""What a question asks in a conversation: by itself, after what was said, or about what was said.

A question that stands alone is searched for, trimmed and refused as if nothing had been said
before. One that does not ("And the yearly service?", "How long does it take?") is searched for with
the words of the turns that it goes on from. That it does not is told by cues of its language;
in a language without cues, and without any of them, a question stands alone. What is said about
the conversation itself ("Thanks!", "Shorter, please") needs no documents.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ragkit.text.sentences import sentence_spans
from ragkit.text.words import detect_language, index_terms, query_terms
from ragkit.types import Json, Turn

if TYPE_CHECKING:
    from ragkit.pipeline.cues import Cues

MOST_CARRIED_CHARACTERS = 400
"""Of earlier turns, the newest that are searched for with a question."""

_MOST_ANSWERED = 200
"""Characters of the last answer that are searched for with a question."""

_MOST_TURNS = 4
"""Of the user, that are searched for with a question for which the last topic finds too little."""

_LONGEST_READ = 1000
"""Characters of a message that are looked through for cues."""

_LONGEST_REMARK = 16
"""Words of a message about the conversation."""

_MOST_MEANT = 12
"""Things that a question may point at, each of which is tried."""

_ALIKE = 5
"""Letters with which a noun and its plural begin."""

_MOST_SENTENCES = 4
"""Of a message that are looked through for cues."""

_OF_ONE = frozenset({"it", "its", "itself"})

_LONGEST_FRAGMENT = 5
"""Words of a question without a verb, such as "For children?"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What a question is taken to ask.

    `question` is what is searched for: the question itself where it is `standalone`, else with the
    `topic` of earlier turns before it, whose words that it lacks are `carried`. `own` is what such
    a question asks itself, without the words that point back, and `meant` what these may mean,
    where that is not known. `also` is searched for besides. `by` says who found that out.
    `is_remark` is a message about the conversation.
    """

    standalone: bool
    question: str
    carried: tuple[str, ...] = ()
    topic: str = ""
    own: str = ""
    meant: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
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
    return _resolved(question, topic, history)


def taken_on(question: str, history: Sequence[Turn]) -> Resolved | None:
    """Return what a question without a cue asks if it goes on all the same."""
    topic = _topic(history)
    return _resolved(question, topic, history) if topic else None


def last_turns(history: Sequence[Turn]) -> tuple[str, str]:
    """Return how the last answer and the user's last message begin."""
    said = {turn.role: turn.content for turn in history}
    begin = (said.get(role, "")[: 4 * MOST_CARRIED_CHARACTERS] for role in ("assistant", "user"))
    answered, asked = (" ".join(text.split())[:MOST_CARRIED_CHARACTERS] for text in begin)
    return answered, asked


def tells(message: str) -> bool:
    """Whether an English message opens by telling something of people and things, and no name.

    "I hit the page but nothing shows up" does, "postgres connection refused" does not.
    """
    from ragkit.pipeline.substituting import NAMED, NO_NAME
    from ragkit.pipeline.wording import ASKING, TELLING

    said = _uncourteous(message[:_LONGEST_READ])
    is_named = any(not NO_NAME.fullmatch(name[0]) for name in NAMED.finditer(said))
    return bool(TELLING.search(said)) and not (ASKING.match(said) or is_named)


def _resolved(question: str, topic: str, history: Sequence[Turn]) -> Resolved:
    from ragkit.pipeline.substituting import named_in_order, substituted

    question = _uncourteous(question)
    whole = substituted(topic, question) or named_in_order(topic, question)
    answered = "" if whole or _MORE.search(question) else _answered(history)
    return _after(topic, answered, question, whole=whole)


def otherwise(question: str, history: Sequence[Turn], first: Resolved) -> Iterator[Resolved]:
    """Yield what a question that goes on may ask besides: from all turns, and the whole answer."""
    question = _uncourteous(question)
    said = [turn.content for turn in history if turn.role == "user"]
    before = _newest(" ".join(" ".join(said[-_MOST_TURNS:]).split()))
    if len(said) > 1 and before not in first.topic:
        yield _after(before, "", question)
    answer = " ".join(history[-1].content.split())[:MOST_CARRIED_CHARACTERS]
    if history[-1].role == "assistant" and answer not in first.topic:
        yield _after(_newest(said[-1]) if said else "", answer, question)


def _after(topic: str, answered: str, question: str, *, whole: str | None = None) -> Resolved:
    """Return a question as it is searched for after what was said, or as a `whole` question."""
    language = detect_language(f"{topic}\n{question}")
    also = question, f"{topic}\n{question}"
    own = ""
    meant: tuple[str, ...] = ()
    if not whole:
        own, told = _own_and_told(question, language)
        # Where a question has no words of its own, what was answered is what it asks about.
        spoken = "" if query_terms(own, language=language) else answered
        meant = _meant(f"{topic} {told} {spoken}", answered, language)
    topic = f"{topic}\n{answered}".strip()
    missing = set(query_terms(whole or topic, language=language)) - set(
        query_terms(question, language=language)
    )
    carried = [
        word
        for word in dict.fromkeys(_words(topic))
        if missing.intersection(index_terms(word, language=language))
    ]
    searched = whole or f"{topic}\n{question}"
    return Resolved(
        standalone=False,
        question=searched,
        carried=tuple(carried),
        topic=topic,
        own=own,
        meant=meant,
        also=tuple(text for text in dict.fromkeys(also) if text != searched),
        by="rule",
    )


def _topic(history: Sequence[Turn]) -> str:
    """Return what the user's turns have come to speak of: the last that stands alone, and on."""
    from ragkit.pipeline.substituting import substituted

    topic = ""
    for turn in history:
        if turn.role == "user" and not is_remark(turn.content):
            said = " ".join(turn.content[-4 * MOST_CARRIED_CHARACTERS :].split())
            said = _uncourteous(said)
            if topic and goes_on(said, after=topic):
                topic = substituted(topic, said) or f"{topic} {said}"
            else:
                topic = said
    return _newest(topic)


def _newest(said: str) -> str:
    if len(said) <= MOST_CARRIED_CHARACTERS:
        return said
    return said[-MOST_CARRIED_CHARACTERS:].partition(" ")[2]


def _answered(history: Sequence[Turn]) -> str:
    """Return how the last answer begins, of which "it" or "the second one" may speak."""
    last = history[-1]
    if last.role != "assistant":
        return ""
    begins = " ".join(last.content[:_LONGEST_READ].split())
    spans = sentence_spans(begins)
    first = begins[slice(*spans[0])] if spans else begins
    if _NO_ANSWER.match(first) or not any(map(str.isalnum, first)):
        return ""
    if len(first) <= _MOST_ANSWERED:
        return first
    return first[:_MOST_ANSWERED].rpartition(" ")[0]


_MORE = re.compile(
    r"\b(?:more(?! than\b)|else|mehr|sonst|encore|autre chose|más|otra cosa)\b", re.IGNORECASE
)
"""Asks for what the answer has not said."""

_NO_ANSWER = re.compile(
    r"\W{0,3}(?:i\b|sorry|unfortunately|there is no|no information|ich\b|leider|je\b|désolé"
    r"|lo siento)",
    re.IGNORECASE,
)


def _words(text: str) -> list[str]:
    return [_bare(word) for word in text.split()]


def _bare(word: str) -> str:
    return word.strip(".,:;?!()\"'“”„»«¿¡")


def is_remark(message: str) -> bool:
    """Whether a message is about the conversation and asks nothing of the documents."""
    if len(message) > 40 * _LONGEST_REMARK or len(message.split()) > _LONGEST_REMARK:
        return False
    from ragkit.pipeline import remarks  # only conversations need them

    rest, is_thanks = remarks.REASON.sub("", message.strip()), False
    if (
        remarks.OF_THE_ANSWER.match(rest)
        and remarks.SPEAKS_OF_IT.search(rest)
        and not remarks.ASKS_HOW.search(rest)
    ):
        return True
    while rest and (thanks := remarks.THANKS.match(rest)):
        rest, is_thanks = rest[thanks.end() :], True
    if not rest:
        return is_thanks
    return bool(remarks.WISH.fullmatch(rest) or (is_thanks and remarks.STATEMENT.fullmatch(rest)))


def goes_on(message: str, *, after: str) -> bool:
    """Whether a message goes on from what was said before, and cannot be understood without."""
    from ragkit.pipeline.cues import CUES
    from ragkit.pipeline.wording import ANNOUNCEMENT

    if ANNOUNCEMENT.match(after):
        return True
    said = _uncourteous(message[:_LONGEST_READ])
    sentences = [said[slice(*span)] for span in sentence_spans(said)[:_MOST_SENTENCES]] or [said]
    language = detect_language(sentences[0]) or detect_language(f"{after}\n{sentences[0]}")
    cues = CUES.get(language or "en")
    if cues is None:
        return False
    bare = _drop(cues.expletive, sentences[0])
    n_words = len(bare.split())
    is_asked = bare.rstrip().endswith(("?", "？", "؟"))
    return bool(
        cues.opening.match(bare)
        or _points_back(cues, bare)
        or (cues is CUES["en"] and _speaks_of_that(message[:_LONGEST_READ]))
        or (n_words <= _LONGEST_FRAGMENT and cues.fragment.match(bare))
        or (is_asked and n_words == 1 and not cues.is_unspaced)
        or (cues is CUES["en"] and _points_back_later(cues, sentences))
    )


def _points_back(cues: Cues, sentence: str) -> bool:
    """Whether a word of a sentence means what no noun before it in the sentence can stand for."""
    from ragkit.pipeline.wording import MANY

    cue = cues.anywhere.search(sentence)
    if cue and not _is_named(cues, sentence[: cue.start()]):
        return True
    pronoun = cues.pronoun.search(sentence)
    if pronoun is None:
        return False
    before = sentence[: pronoun.start()]
    if pronoun[0].lower() in _OF_ONE:
        before = MANY.sub(" x ", before)
    return not cues.named.search(before)


def _points_back_later(cues: Cues, sentences: Sequence[str]) -> bool:
    """Whether a later English sentence does, and none before it names anything."""
    from ragkit.pipeline.substituting import NAMED
    from ragkit.pipeline.wording import MANY

    for before, sentence in itertools.pairwise(sentences):
        if cues.named.search(before) or NAMED.search(before) or MANY.search(before):
            return False
        if _points_back(cues, _drop(cues.expletive, sentence)):
            return True
    return False


def _speaks_of_that(message: str) -> bool:
    """Whether "that error" stands in a message which has not spoken of an error before."""
    from ragkit.pipeline.cues import THAT_NOUN
    from ragkit.pipeline.substituting import NAMED

    said = THAT_NOUN.search(message)
    if said is None:
        return False
    before, noun = message[: said.start()], (said["many"] or said["one"]).lower()
    return noun[:_ALIKE] not in before.lower() and not NAMED.search(before)


def _uncourteous(message: str) -> str:
    """Return a message without the thanks, or how an answer is taken, before its question."""
    from ragkit.pipeline.remarks import COURTESY, MOST_COURTESIES, REACTION

    for _ in range(MOST_COURTESIES):
        said = COURTESY.match(message) or REACTION.match(message)
        if said is None:
            break
        message = message[said.end() :]
    return message


def _own_and_told(message: str, language: str | None) -> tuple[str, str]:
    """Return what a message asks itself, and what it tells beside."""
    from ragkit.pipeline.wording import ASKING

    told, asked = "", ""
    for start, end in sentence_spans(message):
        sentence = message[start:end]
        if sentence.rstrip().endswith(("?", "？", "؟")) or ASKING.match(sentence):
            asked += f" {sentence}"
        else:
            told += f" {sentence}"
    own = _own(asked)
    # "What does that tell me?" asks about what the message tells.
    return (own, told) if query_terms(own, language=language) else (_own(message), "")


def _own(question: str) -> str:
    """Return a question without what points back, and without words that only ask for a figure."""
    from ragkit.pipeline.cues import CUES
    from ragkit.pipeline.wording import MEASURE

    own = MEASURE.sub(" ", question[:_LONGEST_READ])
    cues = CUES.get(detect_language(question) or "en")
    if cues is None:
        return own
    for pattern in (cues.anywhere, cues.pronoun):
        own = pattern.sub(" ", own)
    return own


def _meant(topic: str, answered: str, language: str | None) -> tuple[str, ...]:
    """Return what a later question may point at: runs of words without stop words, and each word.

    "How many passengers does the Gannet carry?" speaks of passengers and of the Gannet. Of the
    answer it is the names, as its other words stand in the documents anyway.
    """
    from ragkit.pipeline.substituting import NAMED

    telling = set(query_terms(topic, language=language))
    runs: list[list[str]] = [[]]
    for piece in topic.split():
        if telling.intersection(index_terms(word := _bare(piece), language=language)):
            runs[-1].append(word)
        else:
            runs.append([])
        if piece[-1] in ".,:;?!":
            runs.append([])
    whole = [" ".join(run) for run in runs if run]
    named = [name[0] for name in NAMED.finditer(answered)]
    words = [word for run in runs for word in run]
    together = " ".join(dict.fromkeys(name[0] for name in NAMED.finditer(f"{topic} {answered}")))
    meant = dict.fromkeys(filter(None, [together, *named, *whole, *words]))
    return tuple(meant)[:_MOST_MEANT]


def _is_named(cues: Cues, before: str) -> bool:
    """Whether an earlier clause has what is meant: "The badge is lost, and what about that?"."""
    named = cues.named.search(before)
    return named is not None and cues.clause.search(f"{before} ", named.start() + 1) is not None


def _drop(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(" x ", text)  # a word, so that what follows opens nothing
