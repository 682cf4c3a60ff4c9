"""Batch jobs of Bedrock: submitted once, waited for, joined by record, never paid for twice."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest

from ragkit import RAG
from ragkit.errors import ConfigError, RemoteError
from ragkit.schemas import load_schema
from ragkit.types import Generation, GenerationOptions, Message, Prompt
from ragkit_connectors.bedrock import BedrockGenerator
from ragkit_connectors.bedrock.batch import BatchedGenerator

from .aws_server import AwsFault, AwsServer
from .batch_service import ROLE, BatchService, Bucket

MODEL = "eu.amazon.nova-lite-v1:0"
RAGKIT = str(Path(sys.executable).with_name("ragkit"))
SETTINGS: Mapping[str, object] = {
    "batch_s3": "s3://my-bucket/ragkit", "batch_role": ROLE, "batch_poll_seconds": 0.01,
    "count_tokens": False,
}  # fmt: skip


@pytest.fixture
def bucket(aws: AwsServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """Return a bucket of the fake AWS."""
    with Bucket() as server:
        for name, url in (("BEDROCK", aws.url), ("BEDROCK_RUNTIME", aws.url), ("S3", server.url)):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{name}", url)
        yield server


def echo(request: Mapping[str, object]) -> Mapping[str, object]:
    """Answer with the last word of what was asked; fail where it asks for that."""
    messages = cast("Sequence[Mapping[str, Any]]", request["messages"])
    asked = str(messages[-1]["content"][0]["text"]).split()
    if "fail" in asked:
        return {"error": {"errorCode": 400, "errorMessage": "Input is refused"}}
    return said(f"You asked {asked[-1]}")


def said(text: str) -> Mapping[str, object]:
    """Return an answer as Converse gives it."""
    return {
        "modelOutput": {
            "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
            "stopReason": "end_turn", "metrics": {"latencyMs": 10},
            "usage": {"inputTokens": 20, "outputTokens": 5, "totalTokens": 25},
        }
    }  # fmt: skip


def prompts(n: int, *, start: int = 0, word: str = "question") -> list[Prompt]:
    """Return different prompts."""
    texts = [f"{word} number {i}" for i in range(start, start + n)]
    return [Prompt(messages=(Message(role="user", content=t),), question=t) for t in texts]


def opened(folder: Path, told: list[str] | None = None, /, **settings: object) -> BatchedGenerator:
    """Return a generator for jobs."""
    inner = BedrockGenerator(MODEL, **{**SETTINGS, **settings})  # type: ignore[arg-type]
    return inner.batched(folder, notify=([] if told is None else told).append)


def answered(folder: Path, asked: Sequence[Prompt]) -> list[str | RemoteError]:
    """Ask everything twice, as the commands do; return texts or errors in order."""
    generator = opened(folder)
    options = GenerationOptions(max_tokens=50)
    for prompt in asked:
        generator.generate(prompt, options)
    generator.answer_all()
    found: list[str | RemoteError] = []
    for prompt in asked:
        try:
            found.append(generator.generate(prompt, options).text)
        except RemoteError as error:
            found.append(error)
    return found


def test_answers_are_joined_by_record(aws: AwsServer, bucket: Bucket, tmp_path: Path) -> None:
    """A job answers in another order; each prompt gets its own answer, with what it cost."""
    service = BatchService(aws, bucket, echo)
    asked = prompts(120)
    told: list[str] = []
    generator = opened(tmp_path, told)
    for prompt in [*asked, asked[0]]:
        generator.generate(prompt, GenerationOptions())
    generator.answer_all()
    found = [generator.generate(prompt, GenerationOptions()) for prompt in asked]
    assert [g.text for g in found] == [f"You asked {i}" for i in range(120)]
    assert isinstance(found[0], Generation)
    assert (found[0].usage.input_tokens, found[0].served_tier) == (20, "batch")
    assert service.n_records == 120, "what is asked twice is sent once"
    (job,) = service.jobs.values()
    assert job["modelInvocationType"] == "Converse"
    assert job["modelId"] == MODEL
    sent = json.loads(next(d for k, d in bucket.objects.items() if "/in/" in k).splitlines()[0])
    assert sent["recordId"] == "R0000000000"
    assert set(sent["modelInput"]) == {"messages", "inferenceConfig"}
    assert any("50 of 100 records" in line for line in told)
    private = [path.stat().st_mode & 0o77 for path in tmp_path.rglob("*")]
    assert set(private) == {0}


def test_the_same_again_costs_nothing(aws: AwsServer, bucket: Bucket, tmp_path: Path) -> None:
    """Answers are kept; more questions send only those that have none yet."""
    service = BatchService(aws, bucket, echo)
    first = answered(tmp_path, prompts(100))
    n_requests = len(aws.requests)
    assert answered(tmp_path, prompts(100)) == first
    assert (service.n_records, len(aws.requests)) == (100, n_requests)
    assert answered(tmp_path, prompts(250))[:100] == first
    assert service.n_records == 250
    assert len(service.jobs) == 2


@pytest.mark.parametrize("place", ["before the upload", "after the job was made", "while it runs"])
def test_an_interruption_pays_for_nothing_twice(
    aws: AwsServer, bucket: Bucket, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever a run ends early, the next one waits for the same job."""
    service = BatchService(aws, bucket, echo)
    if place == "before the upload":
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    elif place == "after the job was made":

        def lost(asked: Mapping[str, object]) -> AwsFault:
            service.create(asked)
            return AwsFault("ConflictException", message="lost on the way")

        aws.answer("CreateModelInvocationJob", lost)
    else:
        aws.answer("GetModelInvocationJob", AwsFault("AccessDeniedException"))
    with pytest.raises(RemoteError):
        answered(tmp_path, prompts(100))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", bucket.url)
    aws.answer("CreateModelInvocationJob", service.create)
    aws.answer("GetModelInvocationJob", service.look)
    assert answered(tmp_path, prompts(100))[7] == "You asked 7"
    assert len(service.jobs) == 1
    assert service.n_records == 100


def test_a_crash_while_answers_are_kept_loses_none(
    aws: AwsServer, bucket: Bucket, tmp_path: Path
) -> None:
    """A line cut short is no answer, and the job that was not noted as ended is read again."""
    service = BatchService(aws, bucket, echo)
    answered(tmp_path, prompts(100))
    (answers,) = tmp_path.rglob("answers.jsonl")
    data = answers.read_bytes()
    answers.write_bytes(data[: len(data) // 2])
    (note,) = tmp_path.rglob("job-*.json")
    note.write_text(json.dumps({**json.loads(note.read_text()), "status": None}))
    assert answered(tmp_path, prompts(100)) == [f"You asked {i}" for i in range(100)]
    assert service.n_records == 100


def test_too_few_for_a_job_are_refused_before_anything_is_sent(
    aws: AwsServer, bucket: Bucket, tmp_path: Path
) -> None:
    """Bedrock wants 100 records; fewer are told how they can be asked."""
    BatchService(aws, bucket, echo)
    with pytest.raises(ConfigError, match=r"99 questions.*--profile flex"):
        answered(tmp_path, prompts(99))
    assert (aws.requests, bucket.objects) == ([], {})


def test_failed_records_are_reported_and_the_others_answered(
    aws: AwsServer, bucket: Bucket, tmp_path: Path
) -> None:
    """A record's error is its own; a few more questions beside answered ones stay open."""
    service = BatchService(aws, bucket, echo)
    asked = [*prompts(100), *prompts(3, word="please fail")]
    found = answered(tmp_path, asked)
    assert found[:100] == [f"You asked {i}" for i in range(100)]
    assert all("400 Input is refused" in str(error) for error in found[100:])
    again = answered(tmp_path, [*asked, *prompts(2, start=500)])
    assert again[:100] == found[:100]
    assert all("Input is refused" in str(error) for error in again[100:103])
    assert all("no batch job has answered" in str(error) for error in again[103:])
    assert service.n_records == 103


@pytest.mark.parametrize("ends", ["PartiallyCompleted", "Failed", "Expired", "Stopped"])
def test_what_a_job_left_open_is_sent_by_the_next(
    aws: AwsServer, bucket: Bucket, tmp_path: Path, ends: str
) -> None:
    """Answers that are there are kept, whatever the job's end; only the rest is sent again."""
    service = BatchService(aws, bucket, echo)
    service.ends = ends
    n_first = {"PartiallyCompleted": 110, "Failed": 0}.get(ends, 220)
    found = answered(tmp_path, prompts(220))
    assert sum(isinstance(text, str) for text in found) == n_first
    service.ends = "Completed"
    assert answered(tmp_path, prompts(220)) == [f"You asked {i}" for i in range(220)]
    assert service.n_records == 220


def test_a_job_that_is_refused_is_not_waited_for(
    aws: AwsServer, bucket: Bucket, tmp_path: Path
) -> None:
    """Where Bedrock says that it made no job, the next run makes one."""
    service = BatchService(aws, bucket, echo)
    aws.answer("CreateModelInvocationJob", AwsFault("AccessDeniedException", message="no role"))
    with pytest.raises(RemoteError, match="bedrock:CreateModelInvocationJob"):
        answered(tmp_path, prompts(100))
    assert not list(tmp_path.rglob("job-*.json"))
    aws.answer("CreateModelInvocationJob", service.create)
    assert answered(tmp_path, prompts(100))[0] == "You asked 0"


@pytest.mark.parametrize(
    "settings",
    [{"batch_s3": None}, {"batch_role": None}, {"batch_s3": "https://my-bucket/x"},
     {"batch_s3": "s3://UPPER/x"}, {"batch_role": "me"}, {"batch_poll_seconds": 0.0}],
    ids=["no bucket", "no role", "a URL", "no bucket's name", "no ARN", "no time"],
)  # fmt: skip
def test_settings_of_jobs_are_checked(
    aws: AwsServer, tmp_path: Path, settings: Mapping[str, object]
) -> None:
    """What is missing or malformed is told before anything is asked."""
    with pytest.raises(ConfigError, match="batch_"):
        opened(tmp_path, **settings)
    assert not aws.requests


# --- the commands -----------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, aws: AwsServer, bucket: Bucket) -> Path:
    """Return a folder with a store, settings and questions."""
    del aws, bucket
    documents = tmp_path / "docs"
    documents.mkdir()
    for i in range(5):
        text = f"The badge of door {i} is reset at desk {i}. The desk opens at {i + 6} o'clock."
        (documents / f"door{i}.txt").write_text(text)
    with RAG(tmp_path / "kb", embedder="none") as rag:
        rag.ingest(documents)
    (tmp_path / "ragkit.toml").write_text(
        f'store = "{tmp_path / "kb"}"\nprofile = "batch"\nrefuse_below = "off"\n'
        f'[generator]\ntype = "bedrock"\nmodel = "{MODEL}"\nbatch_s3 = "s3://my-bucket/ragkit"\n'
        f'batch_role = "{ROLE}"\nbatch_poll_seconds = 0.01\ncount_tokens = false\n'
    )
    lines = [
        {"_id": f"q{i}", "text": f"Where is badge {i % 5} reset, case {i}?"} for i in range(100)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "questions.jsonl").write_text(text + '{"_id": "bad"}\n')
    return tmp_path


def command(place: Path, *arguments: str, code: int) -> subprocess.CompletedProcess[str]:
    """Run the installed command with the settings of a folder."""
    found = subprocess.run(
        [RAGKIT, *arguments, "--config", str(place / "ragkit.toml")],
        check=False, capture_output=True, text=True, cwd=place, env=os.environ, timeout=300,
    )  # fmt: skip
    assert found.returncode == code, found.stderr
    assert "Traceback" not in found.stderr
    return found


@pytest.mark.slow
def test_bulk_questions_go_through_a_job(aws: AwsServer, bucket: Bucket, place: Path) -> None:
    """A line a question, in order; one ledger line each; the second time nothing is sent."""
    service = BatchService(aws, bucket, lambda _: said("At the desk."))
    asked = ["ask", "--questions", "questions.jsonl"]
    found = command(place, *asked, code=1)
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    assert [line["id"] for line in lines] == [*(f"q{i}" for i in range(100)), "bad"]
    for line in lines[:100]:
        jsonschema.validate(line, load_schema("ask"))
        assert line["text"] == "At the desk."
        assert line["receipt"]["served_tier"] == "batch"
        assert line["usage"]["input_tokens"] == 20
    assert lines[100]["error"]["code"] == "broken"
    assert "batch job Completed" in found.stderr
    ledger = (place / "kb" / "ledger.jsonl").read_text().splitlines()
    assert len([line for line in ledger if '"kind": "ask"' in line]) == 100
    again = command(place, *asked, code=1)
    assert [json.loads(line)["text"] for line in again.stdout.splitlines()[:100]] == [
        "At the desk."
    ] * 100  # fmt: skip
    assert (service.n_records, len(service.jobs)) == (100, 1)
    assert (place / "kb" / ".ragkit-batch").is_dir()


@pytest.mark.slow
def test_an_evaluation_goes_through_a_job(aws: AwsServer, bucket: Bucket, place: Path) -> None:
    """`eval run` under the profile sends its questions as one job, and pays once."""
    service = BatchService(aws, bucket, lambda _: said("At desk 1."))
    dataset = place / "labels"
    (dataset / "qrels").mkdir(parents=True)
    rows = [json.loads(line) for line in (place / "questions.jsonl").read_text().splitlines()[:100]]
    (dataset / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    qrels = "".join(f"{row['_id']}\tdoor{i % 5}.txt\t1\n" for i, row in enumerate(rows))
    (dataset / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{qrels}")
    corpus = "".join(
        json.dumps({"_id": path.name, "text": path.read_text()}) + "\n"
        for path in sorted((place / "docs").iterdir())
    )
    (dataset / "corpus.jsonl").write_text(corpus)
    run = ["eval", "run", str(dataset), "--out", "run", "--embedder", "none", "--cache", "cache"]
    command(place, *run, code=0)
    rows = [json.loads(line) for line in (place / "run" / "rows.jsonl").read_text().splitlines()]
    assert [(row["status"], row["text"]) for row in rows] == [("ok", "At desk 1.")] * 100
    assert service.n_records == 100
    shutil.rmtree(place / "run")
    command(place, *run, code=0)
    assert (service.n_records, len(service.jobs)) == (100, 1)


@pytest.mark.slow
def test_a_single_question_does_not_wait_for_a_job(aws: AwsServer, place: Path) -> None:
    """It is asked at once, in the flex tier."""
    aws.answer("Converse", cast("Mapping[str, object]", said("At the desk.")["modelOutput"]))
    found = command(place, "ask", "Where is badge 1 reset?", "--json", code=0)
    assert json.loads(found.stdout)["text"] == "At the desk."
    (request,) = aws.requests
    assert request.parameters["serviceTier"] == {"type": "flex"}
    told = command(place, "ask", "--questions", "questions.jsonl", "--rewrite", "generator", code=2)
    assert "profile batch" in told.stderr
