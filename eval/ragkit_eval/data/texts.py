"""Answers against reference answers, and against the context: word overlap, without a model."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


def normalised(text: str) -> list[str]:
    """Return words as SQuAD's scorer compares them (`evaluate-v2.0.py`, `normalize_answer`)."""
    bare = text.lower().translate(_PUNCTUATION)
    return _ARTICLES.sub(" ", bare).split()


def exact_match(answer: str, gold: Sequence[str]) -> float:
    """Return 1 when the answer equals a reference, normalised; no reference means "no answer"."""
    words = normalised(answer)
    return float(any(words == normalised(text) for text in gold or ("",)))


def token_f1(answer: str, gold: Sequence[str]) -> float:
    """Return the best F1 of words over the references (`evaluate-v2.0.py`, `compute_f1`)."""
    words = normalised(answer)
    return max(_f1(words, normalised(text)) for text in gold or ("",))


def content_f1(answer: str, gold: Sequence[str]) -> float:
    """Return the best F1 of distinct stems without stop words over the references."""
    language = _language([answer, *gold])
    words = sorted(_content_words(answer, language))
    return max(_f1(words, sorted(_content_words(text, language))) for text in gold or ("",))


def _language(texts: Iterable[str]) -> str:
    from ragkit.text.words import detect_language

    return detect_language(" ".join(texts)) or "en"


def _content_words(text: str, language: str) -> set[str]:
    from ragkit.text.sentences import sentence_spans
    from ragkit.text.words import query_terms

    # Sentence by sentence: the words of a question are truncated after some dozens.
    return {
        word
        for start, end in sentence_spans(text)
        for word in query_terms(text[start:end], language=language)
    }


def _f1(found: Sequence[str], wanted: Sequence[str]) -> float:
    if not found or not wanted:
        return float(found == wanted)
    common = sum((Counter(found) & Counter(wanted)).values())
    return _harmonic(common / len(found), common / len(wanted))


def _harmonic(precision: float, recall: float) -> float:
    return 2.0 * precision * recall / (precision + recall) if precision + recall else 0.0


def rouge_l(answer: str, gold: Sequence[str]) -> float:
    """Return the best F1 of the longest common subsequence of words (Lin 2004, section 3)."""

    def score(reference: str) -> float:
        a, b = normalised(answer), normalised(reference)
        if not a or not b:
            return float(a == b)
        common = _longest_common(a, b)
        return _harmonic(common / len(a), common / len(b))

    return max(map(score, gold or ("",)))


def _longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    row = [0] * (len(b) + 1)
    for word in a:
        diagonal = 0
        for j, other in enumerate(b, start=1):
            kept = row[j]
            row[j] = diagonal + 1 if word == other else max(row[j], row[j - 1])
            diagonal = kept
    return row[-1]


def holds_answer(text: str, gold: Iterable[str]) -> bool:
    """Whether the text holds a reference's words in a row: "1945" does not hold "4"."""
    words = f" {' '.join(_tokens(text))} "
    return any(f" {' '.join(wanted)} " in words for wanted in map(_tokens, gold) if wanted)


def _tokens(text: str) -> list[str]:
    """Return words cut at punctuation, except inside numbers; without articles.

    In scripts that put no space between words each character is a word.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return [word for word in _WORDS.findall(folded) if word not in {"a", "an", "the"}]


# Thai, Lao, Burmese and Khmer with their vowel signs, Chinese and Japanese; without digits.
_UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ecd\u0edc-\u0edf\u1000-\u103f\u1050-\u108f\u109a-\u109d"
    "\u1780-\u17d3\u17d7\u17dc\u17dd\u3005-\u3007\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
)
_WORDS = re.compile(rf"\d+(?:[.,]\d+)+|[{_UNSPACED}]|[^\W{_UNSPACED}]+")


def squeezed(text: str) -> str:
    """Return a text as needs are compared: each run of white space and column bars is one space.

    Characters without a width are dropped; case is kept. A table's cells are told apart by bars in
    one rendering and by spaces in another.
    """
    return " ".join(_INVISIBLE.sub("", text).replace("|", " ").split())


_INVISIBLE = re.compile("[\u200b\u200c\u200d\u2060\ufeff\u00ad]")


def holds_needs(texts: Iterable[str], needs: Iterable[Sequence[str]]) -> bool:
    """Whether each need has an alternative that stands in one of the texts, never across two."""
    held = [squeezed(text) for text in texts]
    return all(
        any(wanted in text for wanted in map(squeezed, alternatives) for text in held)
        for alternatives in needs
    )


def groundedness(answer: str, context: Sequence[str]) -> float | None:
    """Return the share of the answer's content words and numbers that the context holds.

    Words compare by their stems. None when the answer has no such word.
    """
    language = _language([answer, *context])
    wanted = _content_words(answer, language) | set(_NUMBER.findall(answer))
    if not any(map(str.isalnum, answer)) or not wanted:
        return None
    held: set[str] = set()
    for text in context:
        held |= _content_words(text, language) | set(_NUMBER.findall(text))
    return len(wanted & held) / len(wanted)
