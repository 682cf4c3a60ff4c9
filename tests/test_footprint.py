"""The footprint is a contract: what importing and installing ragkit costs."""

from __future__ import annotations

import ast
import compileall
import json
import os
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from .eval.made import make_dataset

ROOT = Path(__file__).parents[1]
PACKAGES = [
    ROOT / place for place in ("ragkit", "connectors/ragkit_connectors", "eval/ragkit_eval")
]

_PROBE = """
import json, sys
before = set(sys.modules)
{code}
import resource
new = sorted(set(sys.modules) - before)
stdlib = sys.stdlib_module_names
foreign = sorted({{m.split('.')[0] for m in new}} - set(stdlib) - {{'ragkit', 'ragkit_eval'}})
status = open('/proc/self/status').read() if sys.platform == 'linux' else ''
rss = next((int(l.split()[1]) for l in status.splitlines() if l.startswith('VmHWM')), None)
print(json.dumps({{'n': len(sys.modules), 'foreign': foreign, 'rss_kib': rss}}))
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the built wheel."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="session")
def core_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of a fresh environment that holds the wheel and nothing else."""
    place = tmp_path_factory.mktemp("core") / "venv"
    venv.create(place, with_pip=False, symlinks=True)
    python = place / "bin" / "python"
    site = next(place.glob("lib/python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # As an installer does: compiling takes memory too, in whichever test comes first.
    compileall.compile_dir(site, quiet=2)
    return python


def probe(python: Path, code: str) -> dict[str, object]:
    """Run code in a fresh process and return what it loaded."""
    result = subprocess.run(
        [str(python), "-I", "-c", _PROBE.format(code=code)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    data: dict[str, object] = json.loads(result.stdout)
    return data


@pytest.mark.parametrize("code", ["import ragkit", "from ragkit import RAG", "import ragkit_eval"])
def test_importing_is_light(core_python: Path, code: str) -> None:
    """Importing loads the standard library only: at most 150 modules and 20 MiB."""
    loaded = probe(core_python, code)
    assert loaded["foreign"] == []
    assert int(str(loaded["n"])) <= 150
    if loaded["rss_kib"] is not None:
        assert int(str(loaded["rss_kib"])) <= 20 * 1024


def test_the_core_alone_answers(core_python: Path, tmp_path: Path) -> None:
    """With nothing else installed documents are read, found by words, and answered from."""
    run_core = [str(core_python), "-I", "-m", "ragkit.cli"]
    harbor = ROOT / "examples" / "harbor"
    report = json.loads(
        subprocess.run(
            [*run_core, "ingest", str(harbor), "--store", str(tmp_path / "kb"), "--json"],
            check=True, capture_output=True, text=True,
        ).stdout
    )  # fmt: skip
    assert report["documents"]["failed"] == 0
    assert report["documents"]["added"] == 23 - report["documents"]["skipped"]
    skipped = report["skipped"]
    assert {Path(s["source"]).suffix for s in skipped} == {".pdf"}
    assert all("pip install 'ragkit-lean[documents]'" in s["detail"] for s in skipped)
    answer = json.loads(
        subprocess.run(
            [*run_core, "ask", "How do I reset my badge?", "--store", str(tmp_path / "kb"),
             "--json"],
            check=True, capture_output=True, text=True,
        ).stdout
    )  # fmt: skip
    assert "blue reader" in answer["text"]
    assert answer["citations"][0]["document_id"] == "handbook.md"


def test_the_core_alone_evaluates(core_python: Path, tmp_path: Path) -> None:
    """With nothing else installed a dataset is run, compared and reported, and no numpy loads."""
    loaded = probe(core_python, "from ragkit_eval import *")
    assert loaded["foreign"] == []
    (tmp_path / "town").mkdir()
    dataset = make_dataset(tmp_path / "town")
    run_core = [str(core_python), "-I", "-m", "ragkit.cli", "eval"]
    out = str(tmp_path / "run")
    for arguments in (
        ["run", str(dataset), "--out", out, "--cache", str(tmp_path / "cache")],
        ["compare", out, out],
        ["report", out, "--html", str(tmp_path / "report.html")],
    ):
        subprocess.run([*run_core, *arguments], check=True, capture_output=True)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["measures"]["EvidenceFound"]["mean"] > 0.8
    assert summary["manifest"]["versions"] == {}


def test_the_core_says_what_vectors_need(core_python: Path, tmp_path: Path) -> None:
    """Asking the core for vectors prints the exact line that installs them."""
    (tmp_path / "a.txt").write_text("Words.")
    result = subprocess.run(
        [str(core_python), "-I", "-m", "ragkit.cli", "ingest", str(tmp_path / "a.txt"),
         "--embedder", "builtin"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 2
    assert "pip install 'ragkit-lean[local]'" in result.stderr


def test_a_store_with_vectors_is_answered_by_words_without_numpy(
    core_python: Path, tmp_path: Path
) -> None:
    """Without numpy such a store answers by words with one notice, and refuses to ingest."""
    from ragkit import RAG, Document

    store = str(tmp_path / "kb")
    with RAG(store) as rag:
        rag.ingest(Document(id="a", text="The ferry leaves at nine."))

    def core(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(core_python), "-I", "-m", "ragkit.cli", *arguments, "--store", store]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    found = core("search", "ferry", "--json")
    assert (found.returncode, found.stderr.count("\n")) == (0, 1)
    assert "ragkit-lean[local]" in found.stderr
    assert json.loads(found.stdout)["hits"]
    assert core("search", "ferry", "--mode", "hybrid").returncode == 2
    (tmp_path / "b.txt").write_text("More.")
    assert core("ingest", str(tmp_path / "b.txt")).returncode == 2


def test_the_wheel_holds_the_weights_and_embeds(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere, the wheel embeds with its own data files."""
    import numpy as np

    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
        names = archive.namelist()
    assert not any(name.startswith(("tests/", "examples/", "benchmarks/")) for name in names)
    for marker in ("ragkit/py.typed", "ragkit_connectors/py.typed", "ragkit_eval/py.typed"):
        assert marker in names
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import ragkit.embedding.builtin as b\n"
        "assert b.__file__.startswith(sys.argv[1])\n"
        "e = b.BuiltinEmbedder(runtime='numpy')\n"
        "q = e.embed_query('When does the ferry leave?')\n"
        "d = e.embed_documents(['The ferry leaves at nine.', 'Soup is served on Fridays.'])\n"
        "print(*(d @ q).tolist())"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "site")],
        check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""},
    ).stdout  # fmt: skip
    near, far = map(float, out.split())
    assert near > 0.5 > far
    assert np.isfinite([near, far]).all()


FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "jinja2", "yaml", "dill", "joblib"}


def test_no_code_path_executes_data() -> None:
    """No module imports pickle and its kin, or calls eval or exec."""
    checked = 0
    for package in PACKAGES:
        for path in package.rglob("*.py"):
            checked += 1
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    found = {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    found = {(node.module or "").split(".")[0]}
                elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    found = {node.func.id} & FORBIDDEN_CALLS
                    assert not found, f"{path}: {found}"
                    continue
                else:
                    continue
                assert not found & FORBIDDEN_MODULES, f"{path}: {found}"
    assert checked > 30


def test_nothing_names_a_machine() -> None:
    """No tracked text file holds a path of the machine that it was written on."""
    suffixes = {".py", ".md", ".toml", ".json", ".jsonl", ".txt", ".html", ".rst", ".csv"}
    for folder in (*PACKAGES, ROOT / "tests", ROOT / "examples", ROOT / "docs", ROOT / "tools"):
        for path in folder.rglob("*"):
            # Texts that the embedder was made by: among them a command line with a common path.
            sample = path.name in {"vocab.txt", "minilm_calibration.txt"}
            if path.suffix in suffixes and not sample and path.name != Path(__file__).name:
                text = path.read_text(encoding="utf-8", errors="replace")
                assert "/work/" not in text, path
                assert "/tmp/" not in text, path  # noqa: S108 (a search, not a file)


MIB = 1024 * 1024


def installed_bytes(extras: str, wheel: Path) -> tuple[int, int]:
    """Return the size of ragkit and all that these extras bring, without and with compiled files.

    Sizes are those of the files that each distribution has recorded in this environment.
    """
    needed: set[str] = set()
    waiting = [Requirement(f"ragkit-lean[{extras}]")]
    while waiting:
        requirement = waiting.pop()
        name = requirement.name.lower().replace("_", "-")
        wanted = sorted(requirement.extras) or [""]
        needed.add(name)
        for line in metadata.distribution(name).requires or []:
            more = Requirement(line)
            holds = more.marker is None or any(more.marker.evaluate({"extra": e}) for e in wanted)
            if holds and more.name.lower().replace("_", "-") not in needed:
                waiting.append(more)
    needed.discard("ragkit-lean")
    with zipfile.ZipFile(wheel) as archive:
        plain = sum(info.file_size for info in archive.infolist())
    compiled = 0
    for name in needed:
        for file in metadata.distribution(name).files or []:
            place = Path(str(file.locate()))
            size = place.stat().st_size if place.is_file() else 0
            if "__pycache__" in file.parts:
                compiled += size
            else:
                plain += size
    return plain, plain + compiled


@pytest.mark.parametrize(
    ("extras", "largest_mib"), [("opensearch", 75), ("aws", 75), ("local,aws,opensearch", 200)]
)
def test_what_connectors_install_is_bounded(extras: str, largest_mib: int, wheel: Path) -> None:
    """Without compiled files within the limit, and with them within a Lambda package's 250 MiB."""
    plain, everything = installed_bytes(extras, wheel)
    assert 20 * MIB < plain < largest_mib * MIB
    assert everything < 250 * MIB
