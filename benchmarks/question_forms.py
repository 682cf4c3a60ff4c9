"""Measure what questions lose that come as people type them.

    python benchmarks/question_forms.py DATASET STORE [--split test] [-n 60] [--seed 18] [--verbose]

DATASET is a folder of questions with `needs`, STORE its documents. Of each drawn question five
forms are made: only its key words (`keywords`), one or two words mistyped (`typos`), a story before
it (`before`) and one after it (`after`), and another question with it (`two`, where the needs of
both count). Printed are, by form, the share of questions with all needs in the context of the
bundled policy, and the mean tokens.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Callable, Sequence

from ragkit import RAG, Settings
from ragkit_eval.data.datasets import load_dataset
from ragkit_eval.data.texts import holds_needs

OPENINGS = (
    "Hi all,", "Hello,", "Good morning everybody.", "Hi there, first post here.", "Hey folks,",
)  # fmt: skip
STORY = (
    "I took this project over from a colleague who left the company in March.",
    "He was very good, but he wrote next to nothing down.",
    "We are a team of three people in Lyon and none of us has done this before.",
    "Everything worked on my laptop until yesterday evening.",
    "My boss wants to see it running on Friday, and she does not like excuses.",
    "I have read the manual twice and searched the web for hours.",
    "The old machine was replaced last week, so it may have to do with that.",
    "A friend told me that it is easy, but he could not remember how he did it.",
    "At first I thought it was a mistake in my own code, but it looks fine to me.",
    "We have about two hundred users, most of them in the morning.",
    "I am not a native speaker, so please excuse my English.",
    "I tried a few things at random, which only made it worse.",
)
LEFT_OUT = frozenset(
    "what how does which when where the and with that from for can into not why who has have its "
    "are was they you is do i my a an to of in on it so me be or if as at by up".split()
)
ENDINGS = (
    "Any help is welcome.", "Thanks a lot in advance!", "Many thanks, Tom", "Cheers from Lyon.",
)  # fmt: skip
_WORD = re.compile(r"(?<![\w./_:@#-])[a-zA-Z]{5,}(?![\w./_:@#()-])")


def keywords(question: str, rng: random.Random, other: str) -> str:
    """Return the words of a question that are no stop words, as typed into a search box."""
    del rng, other
    words = (word.strip("?,.!:;") for word in question.split())
    return " ".join(word for word in words if word.lower() not in LEFT_OUT) or question


def typos(question: str, rng: random.Random, other: str) -> str:
    """Return a question with one or two words mistyped; names with signs in them stay."""
    del other
    places = list(_WORD.finditer(question))
    for place in sorted(rng.sample(places, min(2, len(places))), key=lambda m: -m.start()):
        typed = mistyped(place[0], rng)
        question = question[: place.start()] + typed + question[place.end() :]
    return question


def mistyped(word: str, rng: random.Random) -> str:
    """Return a word with two letters swapped, one left out, one doubled, or a wrong one."""
    k = rng.randrange(1, len(word) - 1)
    ways: Sequence[Callable[[], str]] = (
        lambda: word[:k] + word[k + 1] + word[k] + word[k + 2 :],
        lambda: word[:k] + word[k + 1 :],
        lambda: word[:k] + word[k] + word[k:],
        lambda: word[:k] + rng.choice("aeiorstln") + word[k + 1 :],
    )
    return rng.choice(ways)()


def before(question: str, rng: random.Random, other: str) -> str:
    """Return a question at the end of a story."""
    del other
    story = rng.sample(STORY, rng.randrange(4, 7))
    return " ".join([rng.choice(OPENINGS), *story, ended(question), rng.choice(ENDINGS)])


def after(question: str, rng: random.Random, other: str) -> str:
    """Return a question with its story behind it."""
    del other
    story = rng.sample(STORY, rng.randrange(4, 7))
    return " ".join([rng.choice(OPENINGS), ended(question), *story, rng.choice(ENDINGS)])


def two(question: str, rng: random.Random, other: str) -> str:
    """Return two questions in one."""
    link = rng.choice(("And", "Also:", "Another question:", "Besides,"))
    return f"{ended(question)} {link} {ended(other)}"


def ended(question: str) -> str:
    """Return a question with a sign at its end, so that a sentence can follow."""
    return question if question[-1] in "?.!" else f"{question}?"


FORMS = {"keywords": keywords, "typos": typos, "before": before, "after": after, "two": two}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("store")
    parser.add_argument("--split", default="test")
    parser.add_argument("-n", type=int, default=60)
    parser.add_argument("--seed", type=int, default=18)
    parser.add_argument("--forms", default=",".join(FORMS))
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    questions = [
        q
        for q in load_dataset(args.dataset, split=args.split).questions
        if q.needs and not q.history
    ]
    questions.sort(key=lambda q: q.id)
    drawn = random.Random(args.seed).sample(questions, min(args.n, len(questions)))
    with RAG(args.store, ledger="off", config=Settings(refuse_below="off")) as rag:

        def asked(text: str) -> tuple[str, int]:
            answer = rag.ask(text, dry_run=True)
            n_tokens = answer.receipt.context_tokens or 0
            return "\n".join(item.text for item in answer.context), n_tokens

        clean = [asked(q.text) for q in drawn]
        held = [
            holds_needs([context], q.needs) for q, (context, _) in zip(drawn, clean, strict=True)
        ]
        report("clean", held, [n for _, n in clean])
        for name in args.forms.split(","):
            rng = random.Random(args.seed)
            found: list[bool] = []
            wanted: list[bool] = []
            tokens: list[int] = []
            for k, question in enumerate(drawn):
                other = (k + 1) % len(drawn)
                text = FORMS[name](question.text, rng, drawn[other].text)
                context, n_tokens = asked(text)
                both = [question, drawn[other]] if name == "two" else [question]
                here = [holds_needs([context], q.needs) for q in both]
                found += here
                wanted += [held[k], held[other]] if name == "two" else [held[k]]
                tokens.append(n_tokens)
                if args.verbose and not all(here) and held[k]:
                    print(f"  {name} {question.id}: {text}")
            report(name, found, tokens, wanted)


def report(
    name: str, held: Sequence[bool], tokens: Sequence[int], clean: Sequence[bool] = ()
) -> None:
    """Print the line of a form, with its distance from the clean questions in points."""
    share = sum(held) / len(held)
    lost = f" {100 * (share - sum(clean) / len(clean)):+6.1f} points" if clean else ""
    print(f"{name:10} {share:.3f} {sum(tokens) / len(tokens):7.0f} tokens{lost}", flush=True)


if __name__ == "__main__":
    main()
