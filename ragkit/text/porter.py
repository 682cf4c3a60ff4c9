"""English stemming by M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980."""

from __future__ import annotations

_STEP_2 = (
    ("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize"),
    ("abli", "able"), ("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous"),
    ("ization", "ize"), ("ation", "ate"), ("ator", "ate"), ("alism", "al"), ("iveness", "ive"),
    ("fulness", "ful"), ("ousness", "ous"), ("aliti", "al"), ("iviti", "ive"), ("biliti", "ble"),
)  # fmt: skip
_STEP_3 = (
    ("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"),
    ("ful", ""), ("ness", ""),
)  # fmt: skip
_STEP_4 = (
    "ement", "ance", "ence", "able", "ible", "ment", "ant", "ent", "ism", "ate", "iti", "ous",
    "ive", "ize", "ion", "al", "er", "ic", "ou",
)  # fmt: skip


_ENDS_2 = tuple(suffix for suffix, _ in _STEP_2)
_ENDS_3 = tuple(suffix for suffix, _ in _STEP_3)
_SHAPES = {code: "v" if chr(code) in "aeiou" else "c" for code in range(128)} | {ord("y"): "y"}


def stem(word: str) -> str:
    """Return the stem of a lower-case English word; others are returned unchanged."""
    if len(word) <= 2 or not word.isascii() or not word.isalpha():
        return word
    word = _step_1(word)
    # Few words have any of these endings, and one look at all of them is cheap.
    if word.endswith(_ENDS_2):
        word = _replace_suffix(word, _STEP_2)
    if word.endswith(_ENDS_3):
        word = _replace_suffix(word, _STEP_3)
    if word.endswith(_STEP_4):
        word = _step_4(word)
    return _step_5(word)


def _shape(word: str) -> str:
    """Return one letter per character: `v` for vowels, `c` for consonants."""
    shape = word.translate(_SHAPES)
    # The letter y is a vowel after a consonant.
    while (y := shape.find("y")) >= 0:
        kind = "v" if shape[y - 1 : y] == "c" else "c"
        shape = f"{shape[:y]}{kind}{shape[y + 1 :]}"
    return shape


def _measure(word: str) -> int:
    """Return m, the number of vowel-consonant sequences."""
    return _shape(word).count("vc")


def _has_vowel(word: str) -> bool:
    return "v" in _shape(word)


def _double_consonant(word: str) -> bool:
    return len(word) > 1 and word[-1] == word[-2] and _shape(word)[-1] == "c"


def _short_end(word: str) -> bool:
    """*o: ends consonant, vowel, consonant, the last one not w, x or y."""
    return _shape(word)[-3:] == "cvc" and word[-1] not in "wxy"


def _step_1(word: str) -> str:
    if word.endswith(("sses", "ies")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    if word.endswith("eed"):
        word = word[:-1] if _measure(word[:-3]) > 0 else word
    else:
        word = _step_1b(word)
    if word.endswith("y") and _has_vowel(word[:-1]):
        word = word[:-1] + "i"
    return word


def _step_1b(word: str) -> str:
    for suffix in ("ed", "ing"):
        stem_ = word.removesuffix(suffix)
        if stem_ == word or not _has_vowel(stem_):
            continue
        if stem_.endswith(("at", "bl", "iz")):
            return stem_ + "e"
        if _double_consonant(stem_) and stem_[-1] not in "lsz":
            return stem_[:-1]
        if _measure(stem_) == 1 and _short_end(stem_):
            return stem_ + "e"
        return stem_
    return word


def _replace_suffix(word: str, rules: tuple[tuple[str, str], ...]) -> str:
    for suffix, replacement in rules:
        if word.endswith(suffix):
            stem_ = word[: -len(suffix)]
            return stem_ + replacement if _measure(stem_) > 0 else word
    return word


def _step_4(word: str) -> str:
    for suffix in _STEP_4:
        if word.endswith(suffix):
            stem_ = word[: -len(suffix)]
            kept = suffix == "ion" and not stem_.endswith(("s", "t"))
            return stem_ if _measure(stem_) > 1 and not kept else word
    return word


def _step_5(word: str) -> str:
    if word.endswith("e"):
        stem_ = word[:-1]
        m = _measure(stem_)
        if m > 1 or (m == 1 and not _short_end(stem_)):
            word = stem_
    if word.endswith("ll") and _measure(word) > 1:
        word = word[:-1]
    return word
