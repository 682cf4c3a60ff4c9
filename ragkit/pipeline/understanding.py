"""What a message asks: its questions without the story around them, its mistyped words corrected.

Search, trimming and refusal see what is found here; the prompt carries the message as it was
written. A message of one sentence whose words are in the index is the question itself.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet

from ragkit.text.sentences import refers_back, sentence_spans
from ragkit.text.words import detect_language, index_terms, query_terms

MOST_QUESTIONS = 4
"""Of one message that are searched for separately."""

MOST_CORRECTED = 4
"""Unknown words of a question that is taken to be mistyped."""

MOST_CHARACTERS = 4000
"""A longer message is searched for as it is."""

_LONG_WORDS = 40
"""A message of fewer words is a question with what belongs to it."""

_LEAST_TERMS = 2
"""A question with fewer terms ("And why?") says what it asks only with the one before."""

_SIGN = re.compile(r"[?？؟;՞፧]\W{0,9}\Z")
_OPENING = re.compile(
    r"\W{0,9}(?:(?:and|also|but|so|now|please|my question is|question)\b[\s:,]{1,9})?"
    r"(?:how (?:do|can|to|should|does|would|is|are|many|much|long|often)|what|which|where|when|why"
    r"|who|is there|are there|(?:can|could) (?:i|we|you)|do i|does|(?:please )?(?:tell|show) me"
    r"|(?:please )?explain|(?:i|we) (?:want|need|would like|wonder)|i\'d like)\b",
    re.IGNORECASE,
)
_PLEA = re.compile(
    r"\W{0,9}(?:does )?(?:any|some|can any|can some|could any|could some)(?:one|body)?\b"
    r"(?: \S{1,20}){1,6}\W{0,9}\Z",
    re.IGNORECASE,
)
"""A call for help ("Any ideas?", "Can anybody help me?") asks nothing."""

_POINTS_BACK = re.compile(
    r"\b(?:it|this|that|them|these|those)\W{0,9}\Z"
    r"|\b(?:does|do|did|is|are|was|can|could|should|will|would) (?:it|this|they|these|those)\b",
    re.IGNORECASE,
)
_GREETING = re.compile(
    r"\A\s*+(?:hi|hello|hey|dear|good (?:morning|afternoon|evening|day))\b"
    r"(?: [A-Za-z]{1,20}){0,3}+[,!.]\s*+(?=\S)",
    re.IGNORECASE,
)
_COURTEOUS = re.compile(
    r"\A\s*+(?:(?:many )?thanks(?: a lot| so much| again)?|thank you(?: very much| so much)?|thx"
    r"|(?:vielen )?danke?(?: schön)?|merci(?: beaucoup)?|(?:muchas )?gracias|grazie|ok(?:ay)?"
    r"|great|perfect|cool|got it)[!.,]\s*+(?=\S)",
    re.IGNORECASE,
)
"""Thanks before a question say nothing of it, and would be words that no document holds."""

_CHANGE = re.compile(
    r"\A\s*+(?:(?:ok(?:ay)?|so|and|but|well|now|right)[,.]?\s++){0,3}(?:something (?:completely )?"
    r"(?:else|different)|(?:an?other|a new|new|a different|different|next|one more|a quick|quick)"
    r" (?:question|topic)|change of topic|on another note|by the way|btw"
    r"|(?:etwas|was) (?:ganz )?anderes|(?:eine )?(?:ganz )?(?:andere|neue) frage"
    r"|themenwechsel|übrigens"
    r"|(?:une )?autre (?:question|chose)|au fait|otra (?:pregunta|cosa)|por cierto)"
    r"\s*+[:,.!–—-]\s*+(?=\S)",
    re.IGNORECASE,
)
"""What announces that something else is asked is no part of it."""

_NEXT = re.compile(
    r"(?<=[a-z]{2}[.!])(?<!\bvs\.)(?<!\bcf\.)(?<!\bal\.)(?<!\betc\.)(?<!\bno\.)\s++(?=[a-z])"
    r"|(?<=[?])\s++(?=\S)"
)
"""People begin sentences with small letters, which elsewhere would be the rest of one."""

_TYPED = re.compile(
    r"(?<![^\s(\"'])(?:[A-Z](?=[a-z]{5})|[a-z])[a-z]{4,29}(?=[?!.,:;)\"']{0,9}(?:\s|\Z))"
)
_LEAST_LETTERS = 6

Known = Callable[[Iterable[str]], AbstractSet[str]]
"""Returns which of some terms the index holds."""


def questions_of(message: str) -> Sequence[str]:
    """Return the questions of a message, each to be searched for by itself.

    Of a long message that are the sentences that ask, each with the one before it where it could
    not be understood without; a shorter one is taken apart where it asks more than one thing, each
    with a question mark. Any other message is one question, as it is.
    """
    if len(message) > MOST_CHARACTERS or len(message.split()) < _LEAST_TERMS:
        return [message]
    asked = _CHANGE.sub("", _COURTEOUS.sub("", message, count=1), count=1)
    if asked != message and _has_words(asked):
        message = asked
    sentences = list(_sentences(message))
    if len(sentences) < 2:
        return [message]
    signed = [bool(_SIGN.search(s)) and not _PLEA.match(s) for s in sentences]
    if len(message.split()) < _LONG_WORDS:
        n_whole = sum(s and _has_words(q) for s, q in zip(signed, sentences, strict=True))
        if n_whole < 2:
            return [message]
        return _parted(sentences, signed)[:MOST_QUESTIONS]
    asking = signed
    if not any(asking):
        asking = [bool(_OPENING.match(sentence)) for sentence in sentences]
    if not any(asking):
        return [message]
    return list(_asked(sentences, asking))[:MOST_QUESTIONS]


def changes_topic(message: str) -> bool:
    """Whether a message opens by saying that it asks something else."""
    return _CHANGE.match(_COURTEOUS.sub("", message[:MOST_CHARACTERS], count=1)) is not None


def asks(message: str) -> bool:
    """Whether a message asks something: by a question mark, or how a sentence of it opens."""
    sentences = _sentences(message[:MOST_CHARACTERS])
    return any(_SIGN.search(s) or _OPENING.match(s) for s in sentences)


def _sentences(message: str) -> Iterator[str]:
    """Yield the sentences of a message, without the greeting of the first."""
    for start, end in sentence_spans(message):
        sentence = message[start:end]
        yield from _NEXT.split(sentence if start else _GREETING.sub("", sentence, count=1))


def _has_words(question: str) -> bool:
    """Whether a sentence has words enough to be searched for."""
    return len(query_terms(question, language=detect_language(question))) >= _LEAST_TERMS


def _stands_alone(question: str) -> bool:
    """Whether a sentence says what it asks without the one before."""
    return not (refers_back(question) or _POINTS_BACK.search(question))


def _parted(sentences: Sequence[str], signed: Sequence[bool]) -> Sequence[str]:
    """Return questions, each with the sentences before it that ask nothing by themselves."""
    parts: list[str] = []
    waiting: list[str] = []
    for sentence, is_signed in zip(sentences, signed, strict=True):
        if is_signed and _has_words(sentence) and not (parts and refers_back(sentence)):
            parts.append(" ".join([*waiting, sentence]))
            waiting = []
        elif is_signed and parts:
            parts[-1] += f" {sentence}"
        else:
            waiting.append(sentence)
    if waiting:
        parts[-1] = " ".join([parts[-1], *waiting])
    return parts


def _asked(sentences: Sequence[str], asking: Sequence[bool]) -> Iterator[str]:
    """Yield the sentences that ask, those that lean on the one before together with it."""
    found = ""
    for k, sentence in enumerate(sentences):
        if not asking[k]:
            continue
        if not k or (_has_words(sentence) and _stands_alone(sentence)):
            if found:
                yield found
            found = sentence
        elif asking[k - 1]:
            found = f"{found} {sentence}"
        else:
            if found:
                yield found
            found = f"{sentences[k - 1]} {sentence}"
    yield found


def corrected(question: str, *, language: str | None, known: Known) -> str:
    """Return a question whose mistyped words are replaced by words that the index holds.

    A word is mistyped if neither the index nor the vocabulary of the built-in model has it. What
    replaces it is one letter away, begins alike, and is in the index. Names with capitals, digits
    or signs in them are never replaced.

    Args:
        question: Any text; only Latin letters are looked at.
        language: The documents' main language, or None.
        known: Tells which terms the index holds.
    """
    terms = {found[0]: _term(found[0], language) for found in _TYPED.finditer(question)}
    held = known(terms.values()) if terms else frozenset[str]()
    unknown = [word for word, term in terms.items() if term not in held]
    # A question in another language than the documents' is not mistyped.
    if not 0 < len(unknown) <= MOST_CORRECTED:
        return question
    mistyped = [word for word in unknown if not _is_word(word.lower())]
    likely = {word: _likely(word, language, known) or word for word in mistyped}
    return _TYPED.sub(lambda found: likely.get(found[0], found[0]), question)


def _is_word(word: str) -> bool:
    """Whether the vocabulary of the built-in model has a word as a whole."""
    from ragkit.text.wordpiece import load_wordpiece  # few questions hold unknown words

    return load_wordpiece().count(word) == 1


def _term(word: str, language: str | None) -> str:
    return next(iter(index_terms(word, language=language)), "")


def _likely(typed: str, language: str | None, known: Known) -> str | None:
    """Return the likeliest word one letter away: a common one, else the likeliest slip.

    A short word and a name are one letter away from too many others: they need a single term.
    """
    word = typed.lower()
    near = list(dict.fromkeys(_one_letter_away(word)))
    terms = {other: _term(other, language) for other in near}
    held = known(set(terms.values()))
    found = [other for other in near if terms[other] in held]
    is_name = typed[0].isupper() or len(word) < _LEAST_LETTERS
    if is_name and len({terms[other] for other in found}) > 1:
        return None
    return next((other for other in found if _is_word(other)), next(iter(found), None))


def _one_letter_away(word: str) -> Iterator[str]:
    """Yield words with the same first letter, the likeliest first.

    Two letters were swapped, one was typed twice, left out, replaced or added.
    """
    for k in range(1, len(word) - 1):
        yield word[:k] + word[k + 1] + word[k] + word[k + 2 :]
    for k in range(1, len(word)):
        if word[k] == word[k - 1]:
            yield word[:k] + word[k + 1 :]
    for k in range(1, len(word) + 1):
        for letter in string.ascii_lowercase:
            yield word[:k] + letter + word[k:]
    for k in range(1, len(word)):
        for letter in string.ascii_lowercase:
            yield word[:k] + letter + word[k + 1 :]
    for k in range(1, len(word)):
        yield word[:k] + word[k + 1 :]
