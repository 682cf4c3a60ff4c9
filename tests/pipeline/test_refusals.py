"""Refusals: fair in every language where it is known what a threshold does, none elsewhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ragkit import RAG, Document, Settings
from ragkit.trimming import BUILTIN_POLICY, TrimPolicy
from ragkit_connectors.testing import WordEmbedder
from ragkit_eval.data.datasets import load_dataset

WORDS = Settings(embedder="none", ledger="off")

HARBOURS = {
    "en": (
        "The harbour was built in 1892. The ferry leaves at nine in the morning. A day pass costs "
        "fourteen euros. Dogs travel free of charge.",
        "How much does a day pass cost?",
        "What is the temperature of the surface of the sun?",
    ),
    "de": (
        "Der Hafen wurde 1892 gebaut. Die Fähre fährt um neun Uhr ab. Eine Tageskarte kostet "
        "vierzehn Euro. Hunde fahren kostenlos mit.",
        "Wie viel kostet eine Tageskarte?",
        "Welche Temperatur hat die Oberfläche der Sonne?",
    ),
    "ru": (
        "Гавань была построена в 1892 году. Паром отправляется в девять часов. Дневной билет стоит "
        "четырнадцать евро. Собаки ездят бесплатно.",
        "Сколько стоит дневной билет?",
        "Какова температура поверхности Солнца?",
    ),
    "ar": (
        "بني الميناء في عام 1892. تغادر العبارة في الساعة التاسعة. ثمن التذكرة اليومية أربعة عشر "
        "يورو. تسافر الكلاب مجانا.",
        "كم ثمن التذكرة اليومية؟",
        "ما درجة حرارة سطح الشمس؟",
    ),
    "zh": (
        "港口建于1892年。渡轮九点出发。一日票的价格是十四欧元。狗可以免费乘船。",
        "一日票的价格是多少？",
        "太阳表面的温度是多少？",
    ),
    "th": (
        "ท่าเรือสร้างขึ้นในปี 1892 เรือข้ามฟากออกเวลาเก้าโมง ตั๋วรายวันราคาสิบสี่ยูโร สุนัขเดินทางฟรี",
        "ตั๋วรายวันราคาเท่าไร",
        "อุณหภูมิพื้นผิวของดวงอาทิตย์คือเท่าไร",
    ),
    "hi": (
        "बंदरगाह 1892 में बना था। नाव नौ बजे निकलती है। दिन के टिकट का दाम चौदह यूरो है। "
        "कुत्ते मुफ्त यात्रा करते हैं।",
        "दिन के टिकट का दाम क्या है?",
        "सूर्य की सतह का तापमान कितना है?",
    ),
}

UNMEASURED = {
    "fr": (
        "Le port a été construit en 1892. Le ferry part à neuf heures du matin. Un billet pour la "
        "journée coûte quatorze euros et les chiens ne paient pas.",
        "Quelle est la température de la surface du soleil dans le ferry ?",
    ),
    "ja": (
        "港は1892年に建てられました。フェリーは九時に出発します。一日券は十四ユーロです。",
        "フェリーから見える太陽の表面の温度は何度ですか。",
    ),
}


def store_of(tmp_path: Path, *texts: str, settings: Settings = WORDS) -> RAG:
    """Return a pipeline over texts."""
    rag = RAG(tmp_path / "kb", config=settings)
    rag.ingest(*(Document(id=f"d{i}.txt", text=text) for i, text in enumerate(texts)))
    return rag


@pytest.mark.parametrize("language", HARBOURS)
def test_by_words_an_unrelated_question_is_refused_and_an_answerable_one_is_not(
    tmp_path: Path, language: str
) -> None:
    """So it is in each language that was measured, whatever its script."""
    text, answerable, unrelated = HARBOURS[language]
    with store_of(tmp_path, text) as rag:
        answered = rag.ask(answerable)
        assert not answered.refused
        assert answered.evidence.threshold is not None
        other = rag.ask(unrelated)
        # Nothing found is refused, too.
        assert other.refused
        assert other.evidence.score is None or other.evidence.score < answered.evidence.score  # type: ignore[operator]


@pytest.mark.parametrize("language", UNMEASURED)
def test_a_language_without_measurements_has_no_threshold(tmp_path: Path, language: str) -> None:
    """There the bundled threshold does not apply; one of the user's own does."""
    text, question = UNMEASURED[language]
    with store_of(tmp_path, text) as rag:
        answer = rag.ask(question)
        assert (answer.refused, answer.evidence.threshold) == (False, None)
        assert answer.evidence.score is not None
    settings = dataclasses.replace(WORDS, refuse_below="1")
    with RAG(tmp_path / "kb", config=settings) as rag:
        answer = rag.ask(question)
        assert (answer.refused, answer.evidence.threshold) == (True, 1.0)


def test_a_question_in_another_language_than_the_documents_has_no_threshold(tmp_path: Path) -> None:
    """It shares few words with what answers it, a name at most."""
    with store_of(tmp_path, HARBOURS["en"][0] + " Captain Ohlsen steers it.") as rag:
        answer = rag.ask("Wer ist denn dieser Ohlsen und was macht er auf dem Schiff?")
        assert (answer.refused, answer.evidence.threshold) == (False, None)


def test_cosines_of_other_embedders_have_no_threshold(tmp_path: Path) -> None:
    """They are on a scale of which nothing is known."""
    with RAG(tmp_path / "kb", embedder=WordEmbedder(), config=Settings(ledger="off")) as rag:
        rag.ingest(Document(id="d.txt", text=HARBOURS["en"][0]))
        assert rag.ask(HARBOURS["en"][1]).evidence.threshold is None


def test_a_policy_of_before_keeps_its_threshold_everywhere(tmp_path: Path) -> None:
    """Its file lacks the switch."""
    text, question = UNMEASURED["fr"]
    policy = TrimPolicy.from_dict({"name": "of before"}, path="p.json")
    assert not policy.fitted_support
    assert "fitted_support" not in policy.to_dict()
    store_of(tmp_path, text).close()
    with RAG(tmp_path / "kb", trim=policy, config=WORDS) as rag:
        assert rag.ask(question).evidence.threshold == 0.15


def test_typing_errors_are_no_reason_to_refuse(tmp_path: Path) -> None:
    """A word resembles what it was meant to be."""
    with store_of(tmp_path, HARBOURS["en"][0]) as rag:
        assert not rag.ask("How much does a day pass costt on the fery?").refused


@pytest.mark.parametrize("language", ["zh", "ar", "de"])
def test_few_answerable_and_many_unrelated_questions_are_refused(
    tmp_path: Path, test_data: Path, language: str
) -> None:
    """Every fourth test question on Wikipedia's articles, with and without its own article."""
    folder = test_data / "xquad" / language
    with RAG(tmp_path / "kb", config=WORDS) as rag:
        rag.ingest(str(folder / "corpus.jsonl"))
        questions = load_dataset(folder, split="test").questions[::4]
        refused = unrelated = 0
        for question in questions:
            refused += rag.ask(question.text).refused
            others = {"article": {"$ne": question.metadata["article"]}}
            unrelated += rag.ask(question.text, filters=others).refused
        assert refused <= 0.04 * len(questions)
        assert unrelated >= 0.35 * len(questions)


def notes(n: int) -> list[Document]:
    """Notes that have nothing to do with harbours."""
    return [
        Document(id=f"{i}.txt", text=f"Page {i} says how the lamp in room {i} is switched on.")
        for i in range(n)
    ]


def test_the_threshold_is_lower_in_small_collections(tmp_path: Path) -> None:
    """Fewer chunks hold fewer words of a question on something else."""
    question = HARBOURS["en"][1]
    with store_of(tmp_path, HARBOURS["en"][0]) as rag:
        thresholds: list[float] = []
        for n in (0, 40, 400):
            rag.ingest(*notes(n))
            thresholds.append(rag.ask(question).evidence.threshold or 0.0)
    assert 0.0 < thresholds[0] < thresholds[1] < thresholds[2] == BUILTIN_POLICY.refuse_below


def test_a_threshold_that_a_user_gives_holds_in_small_collections(tmp_path: Path) -> None:
    """It is taken as it is."""
    store_of(tmp_path, HARBOURS["en"][0]).close()
    with RAG(tmp_path / "kb", config=dataclasses.replace(WORDS, refuse_below="0.4")) as rag:
        assert rag.ask(HARBOURS["en"][1]).evidence.threshold == 0.4


def test_the_threshold_says_nothing_of_documents_that_a_reader_may_not_see(tmp_path: Path) -> None:
    """It follows the number of chunks that the reader's groups may see."""
    text, question, _ = HARBOURS["en"]
    with RAG(tmp_path / "kb", config=WORDS) as rag:
        rag.ingest(Document(id="harbour.txt", text=text, groups=("crew",)))
        before = rag.ask(question, groups=("crew",)).evidence
        rag.ingest(*(dataclasses.replace(note, groups=("office",)) for note in notes(400)))
        assert rag.ask(question, groups=("crew",)).evidence == before
        both = rag.ask(question, groups=("crew", "office")).evidence
    assert before.threshold is not None
    assert both.threshold == BUILTIN_POLICY.refuse_below > before.threshold
