"""Questions of a conversation: those that stand alone, those that go on, and remarks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit import RAG, Document, Settings, Turn
from ragkit.costs.ledger import read_ledger, summarise
from ragkit.pipeline.followups import resolve, tells
from ragkit.pipeline.substituting import substituted
from ragkit.types import Generation, GenerationOptions, Prompt, TokenCounter, Usage

TYRES = [
    {"role": "user", "content": "How much is a tyre change for the delivery van?"},
    {"role": "assistant", "content": "96 EUR."},
]
TURNS = [Turn(role="user", content=TYRES[0]["content"]), Turn(role="assistant", content="96 EUR.")]
GARAGE = (
    Document(id="canteen", text="Lunch in the canteen costs 6 EUR. It is closed on Fridays."),
    Document(id="parking", text="A parking permit costs 20 EUR a month. Visitors park in row F."),
    Document(id="truck", text="The yearly service of the truck costs 980 EUR. It takes 3 days."),
    Document(
        id="tyres",
        text="A tyre change for the delivery van costs 96 EUR. It takes one hour. The workshop "
        "keeps winter tyres in stock.",
    ),
    Document(id="van", text="The yearly service of the delivery van costs 410 EUR."),
)


class Echo:
    """A language model that says what it was asked to, and keeps what it was sent."""

    name = "echo:model"
    calls_llm = True
    counter: TokenCounter | None = None

    def __init__(self, *texts: str) -> None:
        self.prompts: list[Prompt] = []
        self._texts = list(texts)

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Return the next text."""
        del options
        self.prompts.append(prompt)
        usage = Usage(input_tokens=50, output_tokens=5, exact=True, counter="echo")
        return Generation(text=self._texts.pop(0), usage=usage, stop_reason="stop")

    def stream(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str | Generation]:
        """Yield it in one piece."""
        whole = self.generate(prompt, options)
        yield whole.text
        yield whole


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store of a garage, searched by words."""
    with RAG(tmp_path / "kb", embedder="none", ledger="off") as rag:
        rag.ingest(*GARAGE)
    return tmp_path / "kb"


@pytest.mark.parametrize(
    "question",
    [
        "Where do visitors park?",
        "Is there a bus to the harbour?",
        "How long does it take to charge the boat?",
        "My badge is lost, how do I replace it?",
        "What happens if it rains?",
        "Is it possible to swim in the harbour?",
        "What if I lose my badge?",
        "Thanks! Where do visitors park?",
        "Can those who have a pass enter early?",
        "If a value is set twice, which one wins?",
        "Gibt es einen Bus zum Hafen?",
        "Wie lange dauert es, das Boot zu laden?",
        "Où se garent les visiteurs ?",
        "访客在哪里停车？",
        "opening hours museum",
        "Where does this company get its power from?",
        "Which badge does one need, and is it free?",
        "If a badge is lost, can it be replaced?",
        "In what year was it suggested that the harbour be closed?",
        "Also, where do visitors park?",
        "Mikor zárva a kantin?",
        "Does the Gannet pay for its fuel?",
        "How do I tell the captain that it is raining?",
        "When do they turn the heating in the office on?",
        "The light is red, where do I report that light?",
        "What else does a member of the crew have to bring to the muster drill?",
        "How long is the trip?",
    ],
)
def test_a_question_that_stands_alone(store: Path, question: str) -> None:
    """It is searched for, trimmed, judged and cited as if nothing had been said before."""
    assert resolve(question, TURNS).standalone
    with RAG(store, ledger="off") as rag:
        alone, after = (
            rag.ask(question, history=turns).to_dict() for turns in ((), TYRES)
        )  # fmt: skip
        drafted = rag.ask(question, history=TYRES, dry_run=True)
    for key in ("text", "refused", "reason", "evidence", "citations", "context", "suggestions"):
        assert after[key] == alone[key]
    if drafted.prompt is not None:
        assert "tyre change" in drafted.prompt


@pytest.mark.parametrize(
    "question",
    [
        "And the yearly service?",
        "How long does it take?",
        "What about the truck?",
        "Is it cheaper on weekends?",
        "Does that include the tyres?",
        "for the truck?",
        "Why?",
        "How do I cancel it?",
        "Which one is cheaper?",
        "No, I meant the truck.",
        "Thanks. And the yearly service?",
        "What are their opening hours?",
        "do I have to restart the server afterwards?",
        "Which of them is the cheapest?",
        "what's the difference between the first two?",
        "which values can it have?",
        "how long will it wait until it gives up?",
        "can I take some of them over to next year?",
        "Should I leave that on in winter?",
        "how do I add one of my own?",
        "Also for the trip?",
        "how many places are left?",
        "Can you give me an example?",
        "Can scripts in the page read it?",
        "the load balancer cuts it off",
        "Mine has 27, what do they charge on top?",
        "I never see that error.",
        "how many should I take?",
        "does my wife have to pay too",
        "is there a cheaper option?",
        "What else could we use?",
        "so I have to pay twice?",
        "Which deck?",
        "rotated how often",
        "Do I lose the ones I have not taken by Christmas?",
        "Kann ich da mein Auto abstellen?",
        "Welche von beiden ist billiger?",
        "Lequel est le moins cher ?",
        "¿Cuál de los dos es más barato?",
        "Und für den LKW?",
        "Wie lange dauert das?",
        "Et pour le camion ?",
        "¿Y para el camión?",
        "那卡车呢？",
    ],
)
def test_a_question_that_goes_on(question: str) -> None:
    """It is searched for with the words of what was said before, which are named."""
    found = resolve(question, TURNS)
    assert not found.standalone
    assert "van" in found.carried or "tyre" in found.carried
    assert resolve(question, ()).question == question


def test_follow_ups_are_answered(store: Path) -> None:
    """A fragment puts something else in the place of what was asked, in every turn anew."""
    with RAG(store, ledger="off") as rag:
        van = rag.ask("And the yearly service?", history=TYRES)
        assert "410" in str(van.text)
        assert van.to_dict()["resolved"] == {
            "standalone": False,
            "question": "How much is the yearly service for the delivery van?",
            "carried": ["delivery", "van"],
            "by": "rule",
        }
        more = [*TYRES, {"role": "user", "content": "And the yearly service?"},
                {"role": "assistant", "content": "410 EUR."}]  # fmt: skip
        assert "980" in str(rag.ask("And for the truck?", history=more).text)
        longer = rag.ask("How long does it take?", history=TYRES)
        assert any("one hour" in item.text for item in longer.context)


@pytest.mark.parametrize(
    ("topic", "fragment", "asked"),
    [
        ("How much is a tyre change for the van?", "And the service?",
         "How much is the service for the van?"),
        ("How much is a tyre change for the van?", "And for the truck?",
         "How much is a tyre change for the truck?"),
        ("What does an annual pass cost?", "And a day pass?", "What does a day pass cost?"),
        ("What does the locker cost in summer?", "What about a pass?",
         "What does a pass cost in summer?"),
        ("How long does the ferry to Saint Bride take?", "And to Heron Rock?",
         "How long does the ferry to Heron Rock take?"),
        ("How much does parking cost for a van?", "And for a truck?",
         "How much does parking cost for a truck?"),
        ("How many passengers does the Gannet carry?", "And the Puffin?",
         "How many passengers does the Puffin carry?"),
        ("What does a pass cost?", "And how long is it valid?", None),
        ("Does listen with host ::1 take IPv4?", "and 0.0.0.0?", None),
        ("When is the museum open?", "And on Sundays?", None),
        ("When is the museum open in summer?", "and in winter",
         "When is the museum open in winter?"),
        ("When is the museum open in summer?", "What about christmas eve",
         "When is the museum open in christmas eve?"),
        ("Wann ist das Museum im Sommer offen?", "Und im Winter?",
         "Wann ist das Museum im Winter offen?"),
        ("When is the museum open?", "and the canteen?", "When is the canteen open?"),
        ("When is the first bus to town?", "And the last one?", "When is the last bus to town?"),
        ("What does bodyLimit do?", "and max_size?", "What does max_size do?"),
        ("A quoi sert max_size ici ?", "Et log_level ?", "A quoi sert log_level ici ?"),
        ("May I bring my dog on board?", "And my cat?", "May I bring my cat on board?"),
        ("What is the refund for a delay of 45 minutes?", "And for a stolen phone?",
         "What is the refund for a stolen phone?"),
        ("When was the Puffin built?", "And the other two?", None),
    ],
)  # fmt: skip
def test_what_a_fragment_replaces(topic: str, fragment: str, asked: str | None) -> None:
    """A fragment takes the place of its like; what cannot be placed replaces nothing."""
    assert substituted(topic, fragment) == asked


@pytest.mark.parametrize(
    ("topic", "question", "asked"),
    [
        ("How do the Puffin and the Tern differ?", "Is the former faster than the latter?",
         "Is the Puffin faster than the Tern?"),
        ("Which is older, Port Amble or Saint Bride?", "Who lives in the second one?",
         "Who lives in Saint Bride?"),
        ("How do the Puffin and the Tern differ?", "Where do the former captains live?", None),
        ("What about the Puffin?", "Is the former fast?", None),
    ],
)  # fmt: skip
def test_the_former_and_the_latter(topic: str, question: str, asked: str | None) -> None:
    """They are the two that were named side by side."""
    turns = [Turn(role="user", content=topic), Turn(role="assistant", content="So.")]
    found = resolve(question, turns).question
    assert found in ({asked} if asked else {question, f"{topic}\nSo.\n{question}"})


def test_earlier_words_do_not_lift_the_evidence(store: Path) -> None:
    """A follow-up on what no document knows is refused, however well they know the van."""
    with RAG(store, ledger="off", config=Settings(refuse_below="0.15")) as rag:
        known, unknown = (
            rag.ask(question, history=TYRES)
            for question in ("And the yearly service?", "And its presidential helicopter?")
        )
    assert not known.refused
    assert unknown.refused
    assert (unknown.evidence.score or 0) < (known.evidence.score or 0)


@pytest.mark.parametrize(
    "remark",
    ["Thanks!", "Thank you very much.", "Shorter, please", "In German please", "Danke!",
     "Can you translate that into French?", "Ok, great, thanks!", "What did you say?",
     "Kürzer bitte", "Summarize that in two sentences.", "Say it again in other words",
     "hmm, are you sure about that?", "Is that really correct?", "What do you mean by that?",
     "That's not what I asked.", "Where did you get that from?", "Bist du dir sicher?",
     "shorter pls", "hmm I think that's wrong", "great, works now, cheers!", "u sure??",
     "I don't get it, can you put that in simpler words?", "What did you say it was called?",
     "Would you mind putting that into one short sentence?", "tldr",
     "Hm, are you certain of that? I was told half past twelve."],
)  # fmt: skip
def test_a_remark_needs_no_documents(store: Path, remark: str) -> None:
    """It goes to the model with the turns alone, never refused; without a model, that is said."""
    model = Echo("Gern.")
    with RAG(store, generator=model) as rag:
        answer = rag.ask(remark, history=TYRES)
    assert (answer.text, answer.refused, answer.reason) == ("Gern.", False, "conversation")
    sent = [(m.role, m.content) for m in model.prompts[0].messages]
    assert sent == [*((t["role"], t["content"]) for t in TYRES), ("user", remark)]
    assert [(m.role, m.content) for m in answer.messages] == sent
    with RAG(store) as rag:
        plain = rag.ask(remark, history=TYRES)
        assert "cannot speak about the conversation" in str(plain.text)
        assert "".join(rag.stream(remark, history=TYRES)) == plain.text
        assert rag.ask(remark).reason != "conversation"
    assert (plain.refused, plain.reason, plain.receipt.llm_calls) == (False, "conversation", 0)


@pytest.mark.parametrize("question", ["Great Britain ferries?", "Hi, where do visitors park?",
                                      "Good tyres for vans", "in German waters"])  # fmt: skip
def test_what_is_no_remark(question: str) -> None:
    """A question is none, whatever it begins with."""
    assert not resolve(question, TURNS).is_remark


def test_the_model_may_rewrite(store: Path) -> None:
    """One more call, which is counted; what it says is searched for, unless it says nothing."""
    model = Echo(
        "How much is the yearly service of the truck?", "980 EUR.", "", "410 EUR.", "6 EUR."
    )
    with RAG(store, generator=model, config=Settings(rewrite="generator")) as rag:
        answer = rag.ask("And for the big one?", history=TYRES)
        empty = rag.ask("And the yearly service?", history=TYRES)
        alone = rag.ask("What does lunch in the canteen cost?", history=TYRES)
    assert answer.resolved is not None
    assert (answer.resolved.by, answer.resolved.question) == (
        "generator", "How much is the yearly service of the truck?")  # fmt: skip
    assert "980" in str(answer.context[0].text)
    assert (answer.receipt.llm_calls, answer.usage.input_tokens) == (2, 100)
    assert empty.resolved is not None
    assert (empty.resolved.by, empty.receipt.llm_calls) == ("rule", 2)
    assert alone.receipt.llm_calls == 1
    assert summarise(read_ledger(store / "ledger.jsonl")).llm_calls == 5


TEXTS = st.lists(
    st.sampled_from(
        ["And ", "it ", "for ", "the ", "truck", "?", " ", "thanks", ".", "，", "那", "e "]
    ),
    max_size=12,
).map("".join)


@given(st.one_of(st.text(max_size=60), TEXTS), st.lists(st.text(max_size=60), max_size=3))
def test_any_text_is_resolved(question: str, said: list[str]) -> None:
    """Whatever is said, the question stays whole, and without turns nothing is added."""
    turns = [Turn(role="user", content=text) for text in said]
    found = resolve(question, turns)
    assert found.question.endswith(question) or not found.standalone
    assert found.standalone == (not found.carried and found.question == question)


@pytest.mark.parametrize(
    ("message", "is_told"),
    [
        ("my sister is coming along on Thursday, and again in May", True),
        ("OK. Half the class is ill and we may have to call it off", True),
        ("my sister is coming along to Heron Rock", False),
        ("is my sister coming along?", False),
    ],
)
def test_what_is_told(message: str, is_told: bool) -> None:
    """Days and months are no names: a message with them may still tell what it does not name."""
    assert tells(message) is is_told
