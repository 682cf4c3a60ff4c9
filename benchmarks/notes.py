"""Measure what an ingest of short notes costs without an embedder: CPU time per note and stage.

    python benchmarks/notes.py [--notes 5000]

The notes are made up of the words of the built-in vocabulary, by chance, alike in every run: about
200 words each, with headings, lists, hard-wrapped lines, abbreviations and numbers.
"""

from __future__ import annotations

import argparse
import itertools
import random
import tempfile
import textwrap
import time
from pathlib import Path

from ragkit import RAG
from ragkit.text.wordpiece import VOCABULARY

N_WORDS = 12_000
ODD = ("e.g.", "approx.", "Dr. Weber", "No. 12", "etc.", "U.S.", "3.5 kg", "14:30", "Fig. 3",
       "1,250", "v2.4.1", "p. 44", "2026-03-14")  # fmt: skip


class Notes:
    """Makes notes."""

    def __init__(self) -> None:
        pieces = VOCABULARY.read_text(encoding="utf-8").split("\n")[1996:]
        words = [piece for piece in pieces if piece.isascii() and piece.isalpha() and piece[1:]]
        self._words = words[:N_WORDS]
        # The vocabulary is sorted by frequency: Zipf's law.
        self._weights = list(itertools.accumulate(1 / (i + 3) for i in range(N_WORDS)))
        self._random = random.Random(16)

    def note(self, *, wrapped: bool) -> str:
        """Return one note."""
        chance = self._random
        lines = [f"# {self._sentence()[:50]}", ""]
        n_words = 0
        while n_words < 180:
            kind = chance.choices(("paragraph", "list", "heading"), (3, 1, 1))[0]
            if kind == "paragraph":
                text = " ".join(self._sentence() for _ in range(chance.randint(2, 5)))
                lines += [textwrap.fill(text, 78) if wrapped else text, ""]
            elif kind == "list":
                text = "\n".join(f"- {self._some(3, 9)}" for _ in range(chance.randint(2, 5)))
                lines += [text, ""]
            else:
                text = f"## {self._some(3, 3).capitalize()}"
                lines += [text, ""]
            n_words += len(text.split())
        return "\n".join(lines)

    def _sentence(self) -> str:
        text = self._some(6, 22)
        return text[0].upper() + text[1:] + self._random.choices(".?!", (20, 1, 1))[0]

    def _some(self, least: int, most: int) -> str:
        return " ".join(self._word() for _ in range(self._random.randint(least, most)))

    def _word(self) -> str:
        one, other = self._random.choices(self._words, cum_weights=self._weights, k=2)
        code = f"{one[0].upper()}{self._random.randrange(10, 9999)}"
        odd = self._random.choice(ODD)
        kinds = (one, one.title(), f"{one},", f"{one}-{other}", one + other, odd, code)
        return self._random.choices(kinds, (820, 60, 60, 15, 5, 30, 10))[0]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--notes", type=int, default=5000, metavar="N")
    n = parser.parse_args().notes
    with tempfile.TemporaryDirectory() as folder:
        notes, made = Path(folder) / "notes", Notes()
        for i in range(n):
            place = notes / f"{i // 100:03d}"
            place.mkdir(parents=True, exist_ok=True)
            suffix = "txt" if i % 3 == 0 else "md"
            text = made.note(wrapped=i % 2 == 0)
            (place / f"{i:05d}.{suffix}").write_text(text, encoding="utf-8")
        began = time.process_time()
        with RAG(Path(folder) / "kb", embedder="none") as rag:
            report = rag.ingest(notes)
        total = time.process_time() - began
    print(
        f"{n} notes, {report.chunks} chunks: {total:.2f} CPU s, {total / n * 1e3:.3f} ms per note"
    )
    for stage in report.stages:
        print(f"  {stage.name:6} {stage.cpu_seconds / n * 1e3:.3f} ms per note")


if __name__ == "__main__":
    main()
