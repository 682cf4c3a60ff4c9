"""From labelled questions to a certified trim policy to production.

Price notices play the part of your documents, and 600 questions with answers that of your labels.
The policy with its certificate is written to trim.json and used by the next answer.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from ragkit import RAG, Document, Settings
from ragkit_eval import calibrate, load_dataset, write_policy

WARES = "lamp kettle ladder drill rope saw chair mirror basket blanket clock stove".split()
TOWNS = "Alby Borg Dale Elm Fisk Garn Holm Iver Juel Kirk Lund Moss Nes Odda Ris".split()


def notice(i: int, town: str) -> Document:
    """Return a town's notice; every other price is in the sentence after its ware."""
    forms = ("In {0} the {1} costs {2} kroner.", "A {1} is sold in {0} too. It is yours for {2} "
             "kroner.")  # fmt: skip
    text = " ".join(forms[j % 2].format(town, ware, 7 * i + 11 * j + 3)
                    for j, ware in enumerate(WARES))  # fmt: skip
    return Document(id=town, text=text)


def labels(path: Path) -> Path:
    """Write 600 questions with their answers, as a spreadsheet would be exported."""
    forms = ("What does the {} cost in {}?", "Price of the {} in {}?", "How many kroner is the {} "
             "in {}?", "In {1}, what does the {0} cost?")  # fmt: skip
    rows = [f'"{form.format(ware, town)}",{7 * i + 11 * j + 3} kroner'
            for i, town in enumerate(TOWNS) for j, ware in enumerate(WARES)
            for form in forms]  # fmt: skip
    path.write_text("\n".join(["question,answer", *rows[:600]]) + "\n")
    return path


with tempfile.TemporaryDirectory() as name:
    folder, settings = Path(name), Settings(chunk_tokens=60)
    with RAG(folder / "kb", config=settings) as rag:
        rag.ingest(*(notice(i, town) for i, town in enumerate(TOWNS)))
        found = calibrate(rag, load_dataset(labels(folder / "labels.csv")), retain=0.95)
    for point in found.curve[::4]:
        print(f"{point['tokens']:6.0f} tokens keep {point['retained']:6.1%}")
    (folder / "trim.json").write_text(write_policy(found))
    with RAG(folder / "kb", config=settings, trim=folder / "trim.json") as rag:
        answer = rag.ask("What does the kettle cost in Holm?")
        print(answer.text, answer.trim, answer.receipt.saved_tokens, "tokens saved", sep="\n")
