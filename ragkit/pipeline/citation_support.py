"""Support: whether passages say what a sentence says, as far as words can tell.

A sentence is supported if a sentence of the passage has at least 85 % of its content words and all
its numbers and names, and neither denies what the other affirms. It is not supported if it has a
number or an identifier that the passage lacks, if one denies what the other affirms, or if the
passage has next to none of its words. Everything else is unknown: a paraphrase, an answer in
another language than its passage, a language written without spaces.

The shares were chosen on SciFact's claims and on SQuAD's and XQuAD's questions, joined with the
right answer or with another one of the same paragraph; `docs/citations.md` has what they give.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from ragkit.text.identifiers import identifiers, words_of
from ragkit.text.languages import STOP_WORDS
from ragkit.text.numbers import number_words, numbers_in
from ragkit.text.words import index_terms, search_terms

SUPPORTED = 0.85
"""Share of a sentence's content words and numbers from which on it is supported."""

CONTRADICTED = 0.6
"""Share from which on a denial is about the same thing."""

UNRELATED = 0.1
"""Share of the whole passage below which it does not speak of what the sentence says."""

FEWEST_WORDS = 3
"""A sentence with fewer words is never unrelated: `Yes.`"""

MOST_SENTENCES = 3
"""So many of a passage's sentences may support one sentence together."""

NEW_WORDS = 4
"""A further sentence must add so many words: fewer are in some sentence by chance."""

NEW_WORDS_OF_ANOTHER = 2
"""The same where the answer names several passages for the sentence."""

_ONE = frozenset({"1"})
_MAX_COUNT_IN_WORDS = 20
"""Such numbers are often written as words, which are known in few languages only."""

_UNSPACED = frozenset({"zh", "ja", "ko", "th", "lo", "my", "km", "vi"})
"""Their terms are parts of words: measured, they tell right from wrong no better than chance."""

_CAPITALISE_NOUNS = frozenset({"de"})
_FEWEST_LETTERS = 4
_PRIVATE_USE = re.compile("[\ue000-\uf8ff]")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)?|[.,;:!?()\n—–]")
_AS_IT_IS = re.compile(r"`([^`\n]{1,200})`|[\w.+-]{1,64}@[\w.-]{1,200}")
"""Code and addresses: nobody says them in other words."""
_NUMBERED_ITEM = re.compile(r"\s*+(?:\d{1,3}[.)]|[-*•+])\s")
_SAYS_LITTLE = (
    "according also back consist each get give include mention must need note per please provide s "
    "say see since so still t take then thus use via within without yet"
)
"""Besides the stop words of questions; `s` and `t` are what an apostrophe leaves."""
_NO = {
    "en": "not no never without cannot neither nor nobody nothing",
    "de": "nicht kein keine keinen keinem keiner keines nie niemals ohne niemand nichts",
    "fr": "pas jamais sans aucun aucune rien",
    "es": "no nunca sin ningún ninguno ninguna nadie nada jamás ni",
    "it": "non mai senza nessun nessuno nessuna niente",
    "pt": "não nunca sem nenhum nenhuma ninguém nada",
    "nl": "niet geen nooit zonder niemand niets",
    "sv": "inte ingen inget inga aldrig utan",
    "pl": "nie nigdy bez nikt nic",
    "ro": "nu niciodată fără niciun nicio",
    "ru": "не нет без никогда нельзя",
    "uk": "не немає без ніколи",
}
_OPPOSITES = (
    "increase decrease, increase reduce, raise lower, higher lower, more less, more fewer, "
    "before after, above below, open close, on off, enable disable, allow forbid, allow prohibit, "
    "minimum maximum, always never, left right, up down, first last, start stop, add remove, "
    "north south, east west, upper lower, longest shortest, largest smallest, better worse, "
    "earlier later, possible impossible, effective ineffective, valid invalid, mandatory optional"
)
"""In English only: one in the sentence and the other in the passage is no support."""
_DENIES_NOTHING = frozenset("only later less just least".split())
_PART_OF_DENIAL = frozenset("longer yet even any anymore".split())
_REACH_WORDS = 3
"""A word of denial is about the next content word, at most so far behind it."""

_Key: TypeAlias = str | frozenset[str]
"""A content word, or the forms of a number."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a piece of text says, as far as its words tell."""

    words: frozenset[str]
    numbers: frozenset[str]
    identifiers: frozenset[str]
    affirmed: frozenset[str]
    denied: frozenset[str]
    letters: str

    def holds(self, key: _Key) -> bool:
        """Whether a content word or a number is in it."""
        return key in self.words if isinstance(key, str) else not key.isdisjoint(self.numbers)


@dataclass(frozen=True, slots=True)
class Source:
    """Sentences of passages, and the titles, headings and headers that belong to all of them.

    `language` is theirs, or None.
    """

    sentences: Sequence[Said]
    frame: Said
    language: str | None

    def holds(self, key: _Key) -> bool:
        """Whether a content word or a number is anywhere in it."""
        return self.frame.holds(key) or any(said.holds(key) for said in self.sentences)

    def holds_identifier(self, term: str) -> bool:
        """Whether an identifier is anywhere in it, as `identifiers` gives it."""
        return any(term in said.identifiers for said in (self.frame, *self.sentences))


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence of an answer, to be compared.

    `words` are its terms but stop words, `keys` its content words and the forms of its numbers,
    `needed` those keys that no other word can stand for, `exact` what is missing if it is not
    there: numbers in digits, and words of code and addresses. `language` is None if it cannot be
    told.
    """

    words: frozenset[str]
    keys: Sequence[_Key]
    needed: frozenset[_Key]
    exact: Sequence[_Key]
    said: Said
    language: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a source supports a statement, and the sentences of it that do, or come closest.

    `supported` is None where words cannot tell.
    """

    supported: bool | None
    best: Sequence[int]


def read(text: str, *, language: str | None, own: str | None) -> Said:
    """Return what a text says.

    Args:
        text: Any text.
        language: That of the answer: the ends of all words that are compared are treated alike.
        own: The text's own language, for its number words and denials.
    """
    terms = frozenset(index_terms(text, language=language))
    affirmed, denied = _affirmed_and_denied(text, language, own)
    return Said(
        words=frozenset(term for term in terms if not _PRIVATE_USE.search(term)),
        numbers=frozenset[str]().union(*(number.forms for number in numbers_in(text, own or "en"))),
        identifiers=frozenset(identifiers(text)),
        affirmed=affirmed,
        denied=denied,
        letters=_letters(text) if own in _UNSPACED else "",
    )


def statement(claim: str, *, language: str | None, own: str | None) -> Statement:
    """Return a sentence of an answer as it is compared.

    Args:
        claim: The sentence or clause.
        language: How its words are read: the answer's language, or else that of the context.
        own: The answer's language, None if it cannot be told.
    """
    if item := _NUMBERED_ITEM.match(claim):
        claim = claim[item.end() :]
    numbers = numbers_in(claim, language or "en")
    counts = _terms_of_counts(language)
    passed = _terms_that_say_little()
    terms = search_terms(claim, own=language, stored=language)
    words = [term for term in terms if not _PRIVATE_USE.search(term) and term not in passed]
    said = [term for term in words if not (term[0].isdigit() or term in counts)]
    as_it_is = _terms([m[1] or m[0] for m in _AS_IT_IS.finditer(claim)], language)
    exact: list[_Key] = [term for term in said if term in as_it_is]
    # `one` and `first` mostly do not count.
    counted = dict.fromkeys(number.forms for number in numbers if number.forms != _ONE)
    return Statement(
        words=frozenset(words),
        keys=[*said, *counted],
        needed=frozenset([*counted, *_names(claim, language)]),
        exact=[*exact, *(number.forms for number in numbers if number.in_digits)],
        said=read(claim, language=language, own=language),
        language=own,
    )


def _names(claim: str, language: str | None) -> frozenset[str]:
    """Return the words with a capital inside a sentence, where these are names."""
    if language in _CAPITALISE_NOUNS:
        return frozenset()
    words = [word for word in _WORD.findall(claim) if word[0].isalnum()]
    return _terms([word for word in words[1:] if word[0].isupper()], language)


def joined(sources: Sequence[Source]) -> Source:
    """Return sources as one, with the sentences of the first one first."""
    frames = [source.frame for source in sources]
    return Source(
        sentences=[sentence for source in sources for sentence in source.sentences],
        frame=Said(
            words=frozenset[str]().union(*(frame.words for frame in frames)),
            numbers=frozenset[str]().union(*(frame.numbers for frame in frames)),
            identifiers=frozenset[str]().union(*(frame.identifiers for frame in frames)),
            affirmed=frozenset(),
            denied=frozenset(),
            letters="",
        ),
        language=sources[0].language,
    )


def judge(
    what: Statement, source: Source, *, more: Sequence[Source] = (), new_words: int = NEW_WORDS
) -> Verdict:
    """Return whether a source supports a statement.

    Args:
        what: The statement.
        source: What it is compared with, read for the statement's language.
        more: What the answer cites for it besides: what stands there is not missing.
        new_words: How many words a further sentence of the source must add.
    """
    best, n_found, has_needed = _cover(what, source, new_words)
    n_keys = len(what.keys)
    lacks = _lacks(what, [source, *more])
    if lacks or lacks is None or not n_keys:
        return Verdict(False if lacks else None, best)
    if sum(map(source.holds, what.keys)) < UNRELATED * n_keys and n_keys >= FEWEST_WORDS:
        # Of another language's words none are there, whatever they say.
        is_same = what.language is not None and what.language == source.language
        can_tell = is_same and what.language not in _UNSPACED
        return Verdict(False if can_tell else None, best)
    if what.language in _UNSPACED or source.language in _UNSPACED:
        return Verdict(True if _is_verbatim(what, source) else None, best)
    if best and _contradict(what.said, source.sentences[best[0]]):
        return Verdict(False if n_found >= CONTRADICTED * n_keys else None, best)
    return Verdict(True if n_found >= SUPPORTED * n_keys and has_needed else None, best)


def _cover(what: Statement, source: Source, new_words: int) -> tuple[list[int], int, bool]:
    """Return the sentences that hold most, how many keys they hold, and whether all needed ones."""
    left: list[_Key] = [key for key in what.keys if not source.frame.holds(key)]
    best: list[int] = []
    while left and len(best) < MOST_SENTENCES and source.sentences:
        n_held = [sum(map(sentence.holds, left)) for sentence in source.sentences]
        most = max(n_held)
        if most < (new_words if best else 1):
            break
        best.append(n_held.index(most))
        left = [key for key in left if not source.sentences[best[-1]].holds(key)]
    return best, len(what.keys) - len(left), what.needed.isdisjoint(left)


def _lacks(what: Statement, sources: Sequence[Source]) -> bool | None:
    """Return whether a number or an identifier is nowhere in the sources; None if it may be."""
    found: bool | None = False
    for key in what.exact:
        if not any(source.holds(key) for source in sources):
            if isinstance(key, str) or not _may_be_a_word(key, what, sources):
                return True
            found = None
    for term in what.said.identifiers:
        if not any(source.holds_identifier(term) for source in sources):
            words = words_of(term)
            if not all(any(source.holds(word) for source in sources) for word in words):
                return True
            found = None
    return found


def _may_be_a_word(forms: frozenset[str], what: Statement, sources: Sequence[Source]) -> bool:
    """Whether a number may stand in the sources as a word that is not known."""
    is_small = any(form.isdigit() and int(form) <= _MAX_COUNT_IN_WORDS for form in forms)
    languages = {what.language, *(source.language for source in sources)}
    return is_small and not all(number_words(language or "en") for language in languages)


def _is_verbatim(what: Statement, source: Source) -> bool:
    letters = what.said.letters
    return len(letters) >= _FEWEST_LETTERS and any(letters in s.letters for s in source.sentences)


def _contradict(one: Said, other: Said) -> bool:
    """Whether one denies what the other affirms; what one does both with tells nothing."""
    said, held = one.affirmed - one.denied, other.affirmed - other.denied
    if one.denied & held or other.denied & said:
        return True
    only_said, only_held = said - held, held - said
    return any(
        (a in only_said and b in only_held) or (b in only_said and a in only_held)
        for a, b in _opposites()
    )


def _affirmed_and_denied(
    text: str, language: str | None, own: str | None
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the terms of the words that are denied, and of all others."""
    cues = _cues(own)
    tokens = [token.casefold() for token in _WORD.findall(text)] if cues else []
    places = [i for i, token in enumerate(tokens) if _is_cue(token, cues)]
    denied = {i for place in places if (i := _denied_by(tokens, place, own)) is not None}
    if not denied:
        return frozenset(index_terms(text, language=language)), frozenset()
    affirmed = {token for i, token in enumerate(tokens) if i not in denied}
    return _terms(affirmed, language), _terms({tokens[i] for i in denied}, language)


def _denied_by(tokens: Sequence[str], place: int, own: str | None) -> int | None:
    """Return the word that a denial is about: the next content word, else the one before."""
    if tokens[place + 1 : place + 2] and tokens[place + 1] in _DENIES_NOTHING:
        return None
    passed = STOP_WORDS.get(own or "en", frozenset[str]()) | _PART_OF_DENIAL
    last = min(len(tokens), place + 1 + _REACH_WORDS)
    for places in (range(place + 1, last), range(place - 1, max(-1, place - 1 - _REACH_WORDS), -1)):
        for i in places:
            if not tokens[i][0].isalnum():
                break
            if tokens[i] not in passed:
                return i
    return None


def _is_cue(token: str, cues: frozenset[str]) -> bool:
    return token in cues or token.endswith(("n't", "n’t"))


@lru_cache(maxsize=1)
def _opposites() -> list[list[str]]:
    return [index_terms(pair, language="en") for pair in _OPPOSITES.split(", ")]


@lru_cache(maxsize=16)
def _cues(language: str | None) -> frozenset[str]:
    return frozenset(_NO.get(language or "en", "").split())


@lru_cache(maxsize=16)
def _terms_of_counts(language: str | None) -> frozenset[str]:
    return _terms(number_words(language or "en"), language)


@lru_cache(maxsize=1)
def _terms_that_say_little() -> frozenset[str]:
    return _terms(_SAYS_LITTLE.split(), "en")


def _terms(words: Collection[str], language: str | None) -> frozenset[str]:
    return frozenset(index_terms(" ".join(words), language=language))


def _letters(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(str.isalnum, folded))
