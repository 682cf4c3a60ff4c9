"""Words of the lexical index, by themselves and through SQLite FTS5."""

from __future__ import annotations

import json
import random
import sqlite3
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.text.words import (
    MAX_QUERY_TERMS,
    MAX_WORD_CHARACTERS,
    detect_language,
    fts5_match,
    index_terms,
    query_terms,
)

from ..cpu import LINEAR, growth

_SENTENCES = {
    "en": "Where did the engineers of the railway live when it was built?",
    "de": "Wo haben die Ingenieure gelebt, als die Bahn gebaut wurde?",
    "fr": "Où vivaient les ingénieurs quand le chemin de fer a été construit ?",
    "es": "¿Dónde vivían los ingenieros cuando se construyó el ferrocarril?",
    "it": "Dove vivevano gli ingegneri quando la ferrovia è stata costruita?",
    "pt": "Onde moravam os engenheiros quando a ferrovia foi construída?",
    "nl": "Waar woonden de ingenieurs toen het spoor werd aangelegd en wie waren zij?",
    "sv": "Var bodde ingenjörerna när järnvägen byggdes och vad gjorde de?",
    "pl": "Gdzie mieszkali inżynierowie, kiedy budowano kolej i co się z nimi stało?",
    "tr": "Demiryolu için çalışan mühendisler nerede yaşadı ve ne yaptı?",
    "ro": "Unde au locuit inginerii care au construit calea ferată și din ce trăiau?",
    "vi": "Các kỹ sư đã sống ở đâu khi đường sắt được xây dựng?",
    "ru": "Где жили инженеры, когда строили железную дорогу, и что они делали?",
    "el": "Πού ζούσαν οι μηχανικοί όταν χτίστηκε ο σιδηρόδρομος;",
    "ar": "أين كان يعيش المهندسون عند بناء السكة الحديدية؟",
    "hi": "रेलवे बनने के समय इंजीनियर कहाँ रहते थे?",
    "th": "วิศวกรอาศัยอยู่ที่ไหนเมื่อสร้างทางรถไฟ",
    "zh": "修建铁路时工程师住在哪里？",
    "ja": "鉄道が建設されたとき技術者はどこに住んでいましたか。",
    "ko": "철도가 건설될 때 기술자들은 어디에 살았습니까?",
}

_HOSTILE = [
    "",
    " ",
    "\0",
    "a\0b",
    '"',
    '""" OR """',
    "NEAR(a b, 5)",
    "NOT",
    "a AND NOT b",
    "tokens : x",
    "{tokens} : x",
    "- tokens : x",
    "^a",
    "a*",
    "a + b",
    "(((",
    "'; DROP TABLE words; --",
    "\ud800",
    "x\udfffy",
    "😀👩‍👩‍👧",
    "1️⃣",
    "\U00016f00\U0001e900\U0001fbf0\U00011f02\U00031350",
    "\u0300\u0316",
    "\u200d\u200c",
    "\ufdfa" * 200,
    "ﾞ\u0316" * 500,
    "x" * 100_000,
    "国" * 100_000,
    "a " * 50_000,
    '"' * 100_000,
    "\uffff\ufffe\x01\x7f",
]


class _Index:
    """An FTS5 table declared as the store declares its own."""

    def __init__(self, texts: list[str], language: str | None) -> None:
        self.connection = sqlite3.connect(":memory:")
        self.connection.execute("CREATE TABLE chunk (row INTEGER PRIMARY KEY, tokens TEXT)")
        self.connection.execute(
            "CREATE VIRTUAL TABLE words USING fts5(tokens, content='chunk', content_rowid='row', "
            "tokenize=\"unicode61 remove_diacritics 0 categories 'L* M* N* Co'\")"
        )
        for row, text in enumerate(texts):
            self.add(row, text, language)

    def add(self, row: int, text: str, language: str | None) -> None:
        tokens = " ".join(index_terms(text, language=language))
        self.connection.execute("INSERT INTO chunk VALUES (?, ?)", (row, tokens))
        self.connection.execute("INSERT INTO words (rowid, tokens) VALUES (?, ?)", (row, tokens))

    def search(self, question: str, language: str | None, k: int = 10) -> list[int]:
        match = fts5_match(query_terms(question, language=language))
        if not match:
            return []
        found = self.connection.execute(
            "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?", (match, k)
        )
        return [row for (row,) in found]


@pytest.fixture
def index() -> Iterator[_Index]:
    """Return an index of one English text."""
    made = _Index(["the railway engineers lived in villages"], "en")
    yield made
    made.connection.close()


def _finds(text: str, question: str, language: str | None) -> bool:
    index = _Index([text], language)
    found = index.search(question, language)
    index.connection.close()
    return found == [0]


@pytest.mark.parametrize(("language", "sentence"), _SENTENCES.items())
def test_language_of_a_sentence(language: str, sentence: str) -> None:
    """A whole sentence of every supported language is told apart."""
    assert detect_language(sentence) == language


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12 34",
        "?!",
        "\ud800",
        "Angela Merkel",
        "Haus und Hof",
        "John A. Adams, E. Smith, Y. Lee, O. Brown",
        "XK-2000 reset",
    ],
)
def test_language_stays_undecided(text: str) -> None:
    """Text without function words of a language has no known language."""
    assert detect_language(text) is None


def test_names_do_not_decide_the_language() -> None:
    """A Spanish name, however often repeated, does not make an English text Spanish."""
    names = (
        "the Los Angeles Rams, the Los Angeles Lakers, the Los Angeles Clippers, "
        + "Los Angeles " * 20
    )
    assert detect_language(f"Sports teams in the south include {names} and others.") == "en"


def test_ideographs_outweigh_latin_names() -> None:
    """A Chinese text stays Chinese though its names have more letters than it has characters."""
    assert detect_language("它与 Qwest Communications 合作建立了网络 Abilene") == "zh"


@pytest.mark.parametrize(
    ("text", "language", "tokens"),
    [
        ("The Trains, the train", "en", ["the", "train", "the", "train"]),
        ("Model 3.5 costs 1,000", "en", ["model", "3", "5", "cost", "1", "000"]),
        ("Über Straßen", "de", ["uber", "strass"]),
        ("ŁÓDŹ İZMİR ILIK ısı", "tr", ["lodz", "izmir", "ilik", "isi"]),
        ("Đường phố", "vi", ["đường", "phố"]),
        ("ﬁne ＡＢＣ", "de", ["fine", "abc"]),
        ("Ёлка ёлки", "ru", ["елка", "елки"]),
        ("Νέας ΝΈΑΣ", "el", ["νεασ", "νεασ"]),
        ("اَلْكِتَابُ والكتاب كتـــاب", "ar", ["كتاب", "كتاب", "كتاب"]),
        ("مدرسة إلى ٢٠٢٠", "ar", ["مدرسه", "الي", "2020"]),
        ("हिन्दी में", "hi", ["हिन्दी", "में"]),
        ("中文字", "zh", ["中文", "文字", "字"]),
        ("字", "zh", ["字"]),
        ("佐々木さん", "ja", ["佐々", "々木", "木さ", "さん", "ん"]),
        ("カメラ・レンズ", "ja", ["カメ", "メラ", "ラ", "レン", "ンズ", "ズ"]),
        ("ｶﾞﾗｽ", "ja", ["ガラ", "ラス", "ス"]),
        ("한국어", "ko", ["한국", "국어", "어"]),
        ("รถไฟ", "th", ["รถไ", "ถไฟ", "ไฟ"]),
        ("ปี ๒๕๖๓", "th", ["ปี", "2563"]),
        ("GPT4模型", "zh", ["gpt4", "模型", "型"]),
        ("in\u00adfor\u00admation", "en", ["inform"]),
        ("snake_case-name", "en", ["snake", "case", "name", "snake\ue05fcase\ue02dname"]),
        ("Internationale XJ900123", "de", ["intern", "xj900123"]),
        ("железнодорожная and Londoners", "en", ["железн", "and", "london"]),
    ],
)
def test_index_tokens(text: str, language: str, tokens: list[str]) -> None:
    """Every script becomes words by its own rule."""
    assert index_terms(text, language=language) == tokens


@pytest.mark.parametrize(
    ("word", "stem"),
    [
        ("caresses", "caress"),
        ("ponies", "poni"),
        ("feed", "feed"),
        ("agreed", "agre"),
        ("plastered", "plaster"),
        ("sing", "sing"),
        ("conflated", "conflat"),
        ("hopping", "hop"),
        ("falling", "fall"),
        ("filing", "file"),
        ("happy", "happi"),
        ("sky", "sky"),
        ("relational", "relat"),
        ("vietnamization", "vietnam"),
        ("hopefulness", "hope"),
        ("electrical", "electr"),
        ("adoption", "adopt"),
        ("replacement", "replac"),
        ("probate", "probat"),
        ("rate", "rate"),
        ("controlling", "control"),
        ("as", "as"),
    ],
)
def test_english_stems(word: str, stem: str) -> None:
    """English words get the stems that Porter's rules give them."""
    assert index_terms(word, language="en") == [stem]


@pytest.mark.parametrize(
    ("question", "language", "tokens"),
    [
        ("What is the capital of the country?", "en", ["capit", "countri"]),
        ("Please tell me about the oil.", "en", ["oil"]),
        ("Tell me!", "en", ["tell"]),
        ("Who was William Tell?", "en", ["william", "tell"]),
        ("to be or not to be", "en", ["to", "be", "or", "not"]),
        ("railway railways RAILWAY", "en", ["railwai"]),
        ("Ποια είναι η πρωτεύουσα της χώρας;", "el", ["πρωτευ", "χωρασ"]),
        ("Какая столица у страны?", "ru", ["столиц", "страны"]),
        ("字", "zh", ["字"]),
        ("", "en", []),
        ("?!… 😀", None, []),
    ],
)
def test_query_tokens(question: str, language: str | None, tokens: list[str]) -> None:
    """Questions lose repetitions and stop words, unless nothing else is in them."""
    assert query_terms(question, language=language) == tokens


def test_the_number_of_query_tokens_is_bounded() -> None:
    """A long question is cut to the documented number of words."""
    question = " ".join(f"word{n}" for n in range(1000))
    assert len(query_terms(question, language="en")) == MAX_QUERY_TERMS


@pytest.mark.parametrize(
    ("text", "question", "language"),
    [
        ("我住在北京", "京", "zh"),
        ("我住在北京", "北", "zh"),
        ("我住在北京", "北京", "zh"),
        ("東京タワーに行く", "タワー", "ja"),
        ("서울에 삽니다", "서울", "ko"),
        ("ซื้อปูที่ตลาด", "ปู", "th"),
        ("กินไข่ปู", "ปู", "th"),
        ("ភាសាខ្មែរ", "ខ្មែរ", "km"),
        ("Die Straßenbahnen fuhren", "STRASSENBAHN", "de"),
        ("Müllers Bücher", "Bücher", "de"),
        ("İstanbul'da", "istanbul", "tr"),
        ("в железнодорожных", "железнодорожная", "ru"),
        ("المدارس القديمة", "قديمه", "ar"),
        ("क़लम", "क़लम", "hi"),
        ("Các kỹ sư", "kỹ sư", "vi"),
        ("countries", "country", "en"),
        ("naïve café", "naive cafe", None),
        ("\U00016f00\U00016f01", "\U00016f00\U00016f01", None),
        ("ⵣⵓⵍ ދިވެހި", "ދިވެހި", None),
        ("ꦏ" * 100 + "ꦲꦤꦕ", "ꦲꦤꦕ", None),
    ],
)
def test_question_finds_text(text: str, question: str, language: str | None) -> None:
    """A question finds the text that holds its word, in whatever script and form it stands."""
    assert _finds(text, question, language)


@pytest.mark.parametrize(
    ("text", "question", "language"),
    [
        ("我住在北京", "南", "zh"),
        ("ma", "mã", "vi"),
        ("order XJ900123", "XJ900124", "de"),
        ("दिल", "दाल", "hi"),
    ],
)
def test_question_does_not_find_another_word(text: str, question: str, language: str) -> None:
    """Folding does not make different words the same."""
    assert not _finds(text, question, language)


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["\u0300\u0316", "ﾞ\u0316", "x", "字", "\ufdfa", "ا", "x "])
def test_indexing_time_grows_with_the_length_only(unit: str) -> None:
    """Four times the text of anything costs about four times as much, not sixteen times."""
    size = 3_000 if unit == "\ufdfa" else 30_000
    cost = growth(lambda n: index_terms("a" + (unit * n)[:n], language=None), size)
    assert cost < LINEAR


@pytest.mark.parametrize("main", ["de", "en", None])
def test_a_store_of_two_languages_answers_in_both(main: str | None) -> None:
    """A question finds documents of its own language, whatever the store's main language is."""
    index = _Index([], None)
    index.add(0, "Many countries were discussing the agreements.", "en")
    index.add(1, "Viele Länder haben die Vereinbarungen besprochen.", "de")
    english = index.search("Which country was in the discussion of an agreement?", main)
    german = index.search("Welche Vereinbarung haben die Länder besprochen?", main)
    index.connection.close()
    assert english[:1] == [0]
    assert german[:1] == [1]


@pytest.mark.parametrize("question", _HOSTILE, ids=range(len(_HOSTILE)))
def test_hostile_questions(index: _Index, question: str) -> None:
    """No question is a syntax error, and it stays within its bound."""
    tokens = query_terms(question, language="en")
    assert len(tokens) <= MAX_QUERY_TERMS
    assert set(index.search(question, "en")) <= {0}


def test_ten_thousand_random_questions(index: _Index) -> None:
    """Random strings of operators, signs, scripts and surrogates never raise."""
    choose = random.Random(7)
    pieces = ['"', "*", "^", "NEAR", "OR", "NOT", "(", ")", "{", ":", "+", "-", "\0", "a", "字"]
    for _ in range(10_000):
        question = "".join(
            choose.choice(pieces) if choose.random() < 0.6 else chr(choose.randrange(0x110000))
            for _ in range(choose.randrange(12))
        )
        assert set(index.search(question, choose.choice(["en", "zh", None]))) <= {0}


@pytest.mark.parametrize("tokens", [["a\0b"], ['"'], ['x" OR "y'], ["\ud800"], ["", "a"]])
def test_match_is_quoted_whatever_the_tokens(index: _Index, tokens: list[str]) -> None:
    """Even words that did not come from `query_terms` cannot leave their quotation marks."""
    match = fts5_match(tokens)
    assert match.count('"') == 2 * (bool(match) + match.count('" OR "'))
    if match:
        assert index.connection.execute(
            "SELECT count(*) FROM words WHERE words MATCH ?", (match,)
        ).fetchone() == (0,)


def test_match_of_nothing_is_empty() -> None:
    """Without words there is no query."""
    assert fts5_match([]) == ""
    assert fts5_match(['"']) == ""


def _unassigned(character: str) -> bool:
    return unicodedata.category(character) == "Cn"


@given(text=st.text(max_size=200), language=st.sampled_from(["en", "de", "vi", "zh", None]))
def test_tokens_hold_token_characters_only(text: str, language: str | None) -> None:
    """Tokens are letters, marks, digits and an identifier's signs, or not known to this Python."""
    tokens = index_terms(text, language=language) + query_terms(text, language=language)
    for token in tokens:
        assert token
        assert all(
            unicodedata.category(c)[0] in "LMN" or "\ue000" <= c <= "\ue07f" or _unassigned(c)
            for c in token
        )
        assert len(token) <= MAX_WORD_CHARACTERS


@given(text=st.text(max_size=200), language=st.sampled_from(["en", "de", "vi", "zh", None]))
def test_every_word_of_a_text_finds_it(text: str, language: str | None) -> None:
    """Whatever a question takes from a text is in the text's index, exactly or as a prefix."""
    held = index_terms(text, language=language)
    wanted = query_terms(text, language=language)
    assert bool(held) == bool(wanted)
    assert not wanted or any(t.startswith(w) for w in wanted for t in held)


def test_long_words_stay_searchable() -> None:
    """A word beyond the limit is found by itself, in ASCII by its beginning, elsewhere in parts."""
    for word in ("x1" * 500, "ꦲ" * 500):
        assert all(len(t) <= MAX_WORD_CHARACTERS for t in index_terms(word, language=None))
        assert _finds(word, word, None)


def _records(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_bytes().splitlines()]


@pytest.mark.parametrize(
    ("language", "least"),
    [("en", 0.985), ("de", 0.98), ("ar", 0.97), ("zh", 0.985), ("th", 0.99), ("ru", 0.975)],
)
def test_recall_on_xquad(test_data: Path, language: str, least: float) -> None:
    """The right passage is among the first ten for nearly all of 400 questions of XQuAD."""
    folder = test_data / "xquad" / language
    passages = _records(folder / "corpus.jsonl")
    index = _Index([passage["text"] for passage in passages], language)
    questions = _records(folder / "queries.jsonl")[:400]
    judged = (folder / "qrels" / "all.tsv").read_text(encoding="utf-8").splitlines()[1:]
    right = dict(line.split("\t")[:2] for line in judged)
    hits = sum(
        right[question["_id"]]
        in {passages[row]["_id"] for row in index.search(question["text"], language)}
        for question in questions
    )
    index.connection.close()
    assert hits / len(questions) >= least
