"""Compare what readers of PDF make of the same files: words, word pairs, table rows, CPU time.

    pip install 'ragkit-lean[documents]' pypdf pdf_oxide pymupdf
    python benchmarks/pdf.py FILE.pdf... [--json]

All readers read each file in this one process, one after the other; `pdftotext` of poppler is run
beside them if it is found. What is not installed is left out, and said.

Words and pairs are compared page by page with the median of what the other readers count, in lower
case, compatibility forms resolved and hyphens between letters taken out. A paragraph of ragkit that
goes on on the next page counts where it stands; the lines that ragkit drops as page furniture are
left out of all. Rows are the lines of `pdftotext -layout` that have a label and at least two
numbers; a row is whole if it stands on one line of the reader's text.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import io
import itertools
import json
import re
import shutil
import statistics
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ragkit.loading import pdf
from ragkit.loading.pdf import load_pdf
from ragkit.loading.pdf_furniture import without_furniture

Pages = list[str]
Reader = Callable[[Path], Pages]

_HYPHEN = re.compile("(?<=[^\\W\\d_])[-\u2010\u00ad\x02\ufffe]\\s*(?=[^\\W\\d_])")
_BROKEN = re.compile("[^\\W\\d_][-\u2010\u00ad]\n[^\\W\\d_]|[^\\W\\d_]\u00ad\\s")
_LIGATURE = re.compile("[\ufb00-\ufb06]")
_NUMBER = re.compile(r"[-(\[$€£]*\d[\d.,]*[)%\]]*|[-–—]")
_NOISE = re.compile(r"[\s$€£]+")
_LONG = 12
"""Characters: a shorter part of a line, such as a page's number, may be anything."""


def ragkit(path: Path) -> Pages:
    """Return the text of ragkit's spans by page."""
    loaded = load_pdf(path.read_bytes())
    pages: dict[int, list[str]] = {}
    ends = [*(mark.start for mark in loaded.marks[1:]), len(loaded.text)]
    for mark, end in zip(loaded.marks, ends, strict=True):
        pages.setdefault(mark.location.page or 0, []).append(loaded.text[mark.start : end])
    return ["".join(pages.get(number, [])) for number in range(1, max(pages) + 1)]


def pypdf(path: Path) -> Pages:
    """Return pypdf's text."""
    reader: Any = importlib.import_module("pypdf").PdfReader(io.BytesIO(path.read_bytes()))
    return [page.extract_text() for page in reader.pages]


def pdfium(path: Path) -> Pages:
    """Return PDFium's text as it is."""
    document: Any = importlib.import_module("pypdfium2").PdfDocument(path.read_bytes())
    return [page.get_textpage().get_text_range().replace("\r\n", "\n") for page in document]


def pdf_oxide(path: Path) -> Pages:
    """Return the text of pdf_oxide."""
    document: Any = importlib.import_module("pdf_oxide").PdfDocument(str(path))
    return [document.extract_text(i) for i in range(document.page_count())]


def pymupdf(path: Path) -> Pages:
    """Return the text of MuPDF."""
    document: Any = importlib.import_module("pymupdf").open(path)
    return [page.get_text() for page in document]


def pdftotext(path: Path, *options: str) -> Pages:
    """Return the text of poppler."""
    command = ["pdftotext", *options, str(path), "-"]
    text = subprocess.run(command, check=True, capture_output=True).stdout
    return text.decode("utf-8", "replace").split("\f")[:-1]


READERS: dict[str, Reader] = {
    "pypdf": pypdf,
    "pdfium": pdfium,
    "pdf_oxide": pdf_oxide,
    "pymupdf": pymupdf,
    "pdftotext": pdftotext,
    "ragkit": ragkit,
}
_MODULES = {"pdfium": "pypdfium2", "ragkit": "pypdfium2"}


@dataclass(slots=True)
class Result:
    """Sums over files of one reader."""

    pages: int = 0
    cpu_seconds: float = 0.0
    words: int = 0
    words_found: int = 0
    words_given: int = 0
    pairs: int = 0
    pairs_found: int = 0
    pairs_given: int = 0
    rows: int = 0
    rows_whole: int = 0
    ligatures: int = 0
    broken_hyphens: int = 0

    def line(self, name: str) -> str:
        """Return a row of the printed table."""
        shares = (
            self.words_found / max(1, self.words),
            self.words_found / max(1, self.words_given),
            self.pairs_found / max(1, self.pairs),
            self.pairs_found / max(1, self.pairs_given),
        )
        return (
            f"{name:10} {self.pages:5} "
            + " ".join(f"{100 * share:8.2f}" for share in shares)
            + f" {self.rows_whole:6}/{self.rows:<6} {self.ligatures:9} {self.broken_hyphens:7}"
            f" {1000 * self.cpu_seconds / max(1, self.pages):11.1f}"
        )


HEAD = (
    "reader     pages   recall  precis.  pairs r  pairs p    rows whole ligatures hyphens "
    "CPU ms/page"
)


def main() -> int:
    """Read the files with each reader and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    readers = {name: READERS[name] for name in READERS if _is_there(name)}
    for name in READERS.keys() - readers.keys():
        print(f"{name} is not installed", file=sys.stderr)
    results = {name: Result() for name in readers}
    for read in readers.values():
        read(arguments.files[0])  # so that no import counts
    for path in arguments.files:
        measure(path, readers, results)
    if arguments.json:
        print(json.dumps({name: asdict(result) for name, result in results.items()}))
    else:
        print(HEAD, *(result.line(name) for name, result in results.items()), sep="\n")
    return 0


def _is_there(name: str) -> bool:
    if name == "pdftotext":
        return shutil.which(name) is not None
    return importlib.util.find_spec(_MODULES.get(name, name)) is not None


def measure(path: Path, readers: dict[str, Reader], results: dict[str, Result]) -> None:
    """Add a file to the results."""
    texts: dict[str, Pages] = {}
    for name, read in readers.items():
        before = time.process_time()
        texts[name] = read(path)
        results[name].cpu_seconds += time.process_time() - before
    layout = pdftotext(path, "-layout") if "pdftotext" in readers else []
    dropped = furniture(path)
    others = [name for name in readers if name != "ragkit"]
    for number in range(max(map(len, texts.values()))):
        page = {name: _at(pages, number) for name, pages in texts.items()}
        without = {name: _without(text, dropped.get(number + 1, [])) for name, text in page.items()}
        words = {name: _words(text) for name, text in without.items()}
        for count, kind in ((Counter[str], "words"), (_pairs, "pairs")):
            counts: dict[str, Counter[str]] = {name: count(w) for name, w in words.items()}
            expected = _median([counts[name] for name in others])
            for name, result in results.items():
                _add(result, kind, counts[name], expected)
        for name, result in results.items():
            result.pages += 1
            result.ligatures += len(_LIGATURE.findall(page[name]))
            result.broken_hyphens += len(_BROKEN.findall(page[name]))
            lines = {_NOISE.sub("", line) for line in page[name].split("\n")}
            wanted = _rows(_at(layout, number))
            result.rows += len(wanted)
            result.rows_whole += sum(any(row in line for line in lines) for row in wanted)


def furniture(path: Path) -> dict[int, list[str]]:
    """Return the lines that ragkit drops of each page as furniture."""
    lines = pdf.read_lines(path.read_bytes()).lines
    kept = {id(line) for page in without_furniture(lines)[0] for line in page}
    dropped: dict[int, list[str]] = {}
    for line in (line for page in lines for line in page if id(line) not in kept):
        dropped.setdefault(line.page, []).append(_bare(line.text))
    return dropped


def _without(text: str, dropped: Sequence[str]) -> str:
    """Return a page without the lines that are furniture, whatever their spaces and hyphens.

    Some readers give a line in parts, as the title and the number of a page.
    """
    left, lines = list(dropped), list[str]()
    for line in text.split("\n"):
        bare = _bare(line)
        found = next((i for i, other in enumerate(left) if _is_part(bare, other)), None)
        if found is None:
            lines.append(line)
        else:
            left[found] = left[found].replace(bare, "", 1)
    return "\n".join(lines)


def _is_part(bare: str, other: str) -> bool:
    return bare == other != "" or (len(bare) >= _LONG and bare in other)


def _bare(line: str) -> str:
    """Return a line's letters and digits, or the line where it has none: hyphens differ."""
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", line)) or "".join(line.split())


def _at(pages: Sequence[str], number: int) -> str:
    return pages[number] if number < len(pages) else ""


def _words(text: str) -> list[str]:
    text = _HYPHEN.sub("", unicodedata.normalize("NFKC", text)).casefold()
    return re.findall(r"\w+", text)


def _pairs(words: Sequence[str]) -> Counter[str]:
    return Counter(map(" ".join, itertools.pairwise(words)))


def _median(counts: Sequence[Counter[str]]) -> Counter[str]:
    keys = {key for counter in counts for key in counter}
    medians = {key: statistics.median_low([counter[key] for counter in counts]) for key in keys}
    return Counter({key: n for key, n in medians.items() if n})


def _add(result: Result, kind: str, given: Counter[str], expected: Counter[str]) -> None:
    for name, value in (
        (kind, expected.total()),
        (f"{kind}_given", given.total()),
        (f"{kind}_found", (given & expected).total()),
    ):
        setattr(result, name, getattr(result, name) + value)


def _rows(page: str) -> list[str]:
    """Return the rows of a page's layout, without white space and signs of currencies."""
    found = list[str]()
    for line in page.split("\n"):
        cells = [cell for cell in re.split(r"\s{2,}|\s+\$\s*|\$\s+", line.strip()) if cell]
        numbers = [cell for cell in cells[1:] if _NUMBER.fullmatch(cell)]
        if len(numbers) > 1 and re.search(r"[^\W\d_]", cells[0]):
            found.append(_NOISE.sub("", line))
    return found


if __name__ == "__main__":
    sys.exit(main())
