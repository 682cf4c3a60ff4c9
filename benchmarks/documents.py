"""Compare what readers of documents find in the same files: phrases, CPU time, memory, disk.

    python benchmarks/documents.py FOLDER ragkit=PYTHON markitdown=PYTHON ... [--json]

FOLDER holds `manifest.jsonl`: an object for each file with `path`, `expect` and, where `expect` is
`text`, `must_contain`. PYTHON is the interpreter of an environment of its own in which only that
reader is installed (`ragkit-lean[documents]`, `markitdown[pdf,docx,pptx,xlsx,xls,outlook]`,
`unstructured[...]`, `kreuzberg`).

Each reader reads all files in one process, as its documentation shows first; a file that takes
longer than 180 s ends it, and it starts again behind that one. Phrases are compared by letters and
digits, so that marks of Markdown and cells do not count. CPU seconds and the largest memory are
those of the reader's processes, imports included; MiB are those of all that is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SECONDS_PER_FILE = 180.0

_READERS = {
    "ragkit": """
from pathlib import Path
from ragkit.loading import find_loader
from ragkit.loading.content import Content
from ragkit.loading.isolation import Worker
worker = Worker()
def read(path):
    name = Path(path).name
    content = Content.of(Path(path).read_bytes())
    return worker.load(content, name=name, loader=find_loader(name)).text
def end(): worker.close()
""",
    "markitdown": """
from markitdown import MarkItDown
converter = MarkItDown(enable_plugins=False)
def read(path): return converter.convert(path).text_content
def end(): pass
""",
    "unstructured": """
from unstructured.partition.auto import partition
def read(path): return "\\n".join(map(str, partition(filename=path)))
def end(): pass
""",
    "kreuzberg": """
from kreuzberg import extract_file_sync
def read(path): return extract_file_sync(path).content
def end(): pass
""",
}
_LOOP = """
import json, os, resource, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
{reader}
for line in sys.stdin:
    try:
        answer = {{"text": read(line.rstrip("\\n"))}}
    except BaseException as error:
        answer = {{"error": f"{{type(error).__name__}}: {{error}}"[:200]}}
    print(json.dumps(answer), file=answers, flush=True)
end()
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
cpu = sum(u.ru_utime + u.ru_stime for u in used)
print(json.dumps({{"cpu": cpu, "kib": max(u.ru_maxrss for u in used)}}), file=answers, flush=True)
"""
_INSTALLED = """
import importlib.metadata, os
total = 0
for found in importlib.metadata.distributions():
    if found.metadata["Name"] in {"pip", "setuptools", "wheel"}: continue
    for file in found.files or ():
        try: total += os.lstat(found.locate_file(file)).st_size
        except OSError: pass
print(total)
"""


@dataclass(slots=True)
class Result:
    """What a reader has made of the files; `lost` are the files of which a phrase is missing."""

    reader: str
    version: str
    files: int = 0
    files_read: int = 0
    files_with_all: int = 0
    phrases: int = 0
    phrases_found: int = 0
    text_of_others: int = 0
    hangs: int = 0
    cpu_seconds: float = 0.0
    peak_mib: float = 0.0
    installed_mib: float = 0.0
    lost: list[str] | None = None


class Reading:
    """The process of a reader."""

    def __init__(self, reader: str, python: str) -> None:
        self._command = [python, "-c", _LOOP.format(reader=_READERS[reader])]
        self.cpu_seconds, self.peak_kib = 0.0, 0
        self._start()

    def _start(self) -> None:
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )

    def read(self, path: Path) -> dict[str, Any] | None:
        """Return the answer to a file; None if it takes too long, or ends the process."""
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(os.fsencode(path) + b"\n")
        stdin.flush()
        answer = self._answer(SECONDS_PER_FILE)
        if answer is None:
            self._process.kill()
            _, _, used = os.wait4(self._process.pid, 0)
            self._process.returncode = -9
            self.cpu_seconds += used.ru_utime + used.ru_stime
            self.peak_kib = max(self.peak_kib, used.ru_maxrss)
            self._start()
        return answer

    def _answer(self, seconds: float | None) -> dict[str, Any] | None:
        stream = self._process.stdout
        assert stream is not None
        if seconds is not None and not select.select([stream], [], [], seconds)[0]:
            return None
        line = stream.readline()
        return json.loads(line) if line else None

    def end(self) -> None:
        """End it, and note what it has used."""
        stdin = self._process.stdin
        assert stdin is not None
        stdin.close()
        used = self._answer(None) or {"cpu": 0.0, "kib": 0}
        self.cpu_seconds += used["cpu"]
        self.peak_kib = max(self.peak_kib, used["kib"])
        self._process.wait()


def letters(text: str) -> str:
    """Return the letters and digits of a text."""
    return "".join(character for character in text.casefold() if character.isalnum())


def measure(folder: Path, reader: str, python: str) -> Result:
    """Return what a reader makes of all files."""
    name = "ragkit-lean" if reader == "ragkit" else reader
    version = f"import importlib.metadata as m; print(m.version({name!r}))"
    result = Result(reader, _said(python, version), lost=[])
    result.installed_mib = int(_said(python, _INSTALLED)) / 2**20
    reading = Reading(reader, python)
    for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        answer = reading.read((folder / entry["path"]).resolve())
        result.hangs += answer is None
        text = str((answer or {}).get("text") or "")
        if entry["expect"] != "text":
            result.text_of_others += bool(letters(text))
            continue
        found = letters(text)
        missing = [x for x in entry["must_contain"] if letters(x) not in found]
        result.files += 1
        result.files_read += bool(found)
        result.files_with_all += not missing
        result.phrases += len(entry["must_contain"])
        result.phrases_found += len(entry["must_contain"]) - len(missing)
        if missing and result.lost is not None:
            result.lost.append(f"{entry['path']}: {missing}")
    reading.end()
    result.cpu_seconds, result.peak_mib = reading.cpu_seconds, reading.peak_kib / 1024
    return result


def _said(python: str, program: str) -> str:
    with tempfile.TemporaryDirectory() as here:
        found = subprocess.run(
            [python, "-c", program], capture_output=True, text=True, check=True, cwd=here
        )
    return found.stdout.strip()


def row(result: Result) -> str:
    """Return a result as a row of a table."""
    return (
        f"| {result.reader} {result.version} | {result.files_with_all} | {result.files_read} "
        f"| {result.phrases_found} of {result.phrases} | {result.text_of_others} | {result.hangs} "
        f"| {result.cpu_seconds:.1f} | {result.peak_mib:.0f} | {result.installed_mib:.0f} |"
    )


def main() -> None:
    """Measure each reader, and print a row of a table for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("readers", nargs="+", metavar="READER=PYTHON")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    for given in args.readers:
        reader, _, python = given.partition("=")
        result = measure(args.folder, reader, python)
        print(json.dumps(asdict(result)) if args.json else row(result), flush=True)


if __name__ == "__main__":
    main()
