"""Model invocation jobs of Amazon Bedrock: prompts go to S3, answers come from there.

Nothing is paid for twice. A job is noted in the folder before it is created, with the token by
which Bedrock knows it again; whoever runs the same afterwards waits for that job, and sends only
what has no answer yet. Answers are kept in the folder.

Formats: Amazon Bedrock user guide, "Process multiple prompts with batch inference".
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ragkit import private
from ragkit.errors import ConfigError, RagkitError, RemoteError
from ragkit.text.jsontext import read_json
from ragkit_connectors.support.aws import AwsCall, AwsClient
from ragkit_connectors.support.json_values import Record, is_record, items, record, text

LEAST_RECORDS = 100
"""Records that a job must have, by Bedrock's default quota for most models."""

MOST_RECORDS = 10_000
"""Records of one job here, so that its files fit into memory; Bedrock takes more."""

POLL_SECONDS = 30.0
_TIMEOUT_SECONDS = 600.0
_ENDED = frozenset({"Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"})
_REFUSED = re.compile(
    r": (?:ValidationException|AccessDeniedException|ResourceNotFoundException|"
    r"ServiceQuotaExceededException) \(HTTP 4"
)
"""How the error begins that says for certain that no job was made."""

_S3 = re.compile(r"s3://([a-z0-9][-.a-z0-9]{1,61}[a-z0-9])(/[-!_*'().a-zA-Z0-9/]*)?")
_UNSAFE = re.compile(r"[^\w.-]+", re.ASCII)
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+")


class Jobs:
    """The jobs of one folder, and the answers that came of them.

    Args:
        model: Id of the model or of an inference profile.
        region: AWS region.
        s3: Where jobs read and write, `s3://BUCKET/PREFIX`.
        role: ARN of the role that Bedrock takes.
        folder: Where state and answers are kept.
        notify: Told how far a job is.
        poll_seconds: Time between two looks at a job; more than 0.

    Raises:
        ConfigError: `s3` or `role` is missing or malformed.
        MissingExtraError: boto3 is not installed.
    """

    def __init__(
        self,
        model: str,
        *,
        region: str,
        s3: str | None,
        role: str | None,
        folder: Path,
        notify: Callable[[str], None],
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        place = _S3.fullmatch(s3 or "")
        if place is None or not _ROLE.fullmatch(role or ""):
            raise ConfigError(
                f"batch jobs need batch_s3 {s3!r} and batch_role {role!r} of the generator; "
                "allowed: s3://BUCKET/PREFIX, and the ARN of a role that Bedrock may take"
            )
        self._bucket, self._prefix = place[1], (place[2] or "").strip("/")
        self._model, self._role = model, role
        # A job that was begun goes on with the model that it was begun for.
        self._folder = folder / _UNSAFE.sub("-", model)
        self._notify = notify
        if not 0.0 < poll_seconds < float("inf"):
            raise ConfigError(f"batch_poll_seconds {poll_seconds}; allowed: more than 0")
        self._poll_seconds = poll_seconds
        limits = {"region": region, "timeout_seconds": _TIMEOUT_SECONDS, "retry_seconds": 120.0}
        self._bedrock = AwsClient("bedrock", **limits)  # type: ignore[arg-type]
        self._s3 = AwsClient("s3", is_json=False, **limits)  # type: ignore[arg-type]
        self._places: dict[str, int] = {}
        self._answered: set[str] = set()
        self._read_answers()

    def answer(self, key: str) -> Record | None:
        """Return the output or the error of a record; None where there is neither."""
        place = self._places.get(key)
        if place is None:
            return None
        with (self._folder / "answers.jsonl").open("rb") as file:
            file.seek(place)
            return record(read_json(file.readline()))

    def run(self, wanted: Mapping[str, Record]) -> None:
        """Get answers: wait for jobs that were begun before, then send what is still open.

        Records that failed before are sent again. Where fewer are open than a job needs, they stay
        open, unless nothing has an answer at all.

        Args:
            wanted: The requests by key.

        Raises:
            ConfigError: there are too few for a job.
            RemoteError: AWS failed or refused. The same call goes on later.
        """
        private.make_folder(self._folder)
        for job in self._begun():
            self._finish(job)
        still_open = [key for key in wanted if key not in self._answered]
        if 0 < len(still_open) < LEAST_RECORDS:
            if not self._places.keys() & wanted.keys():
                raise ConfigError(
                    f"{len(still_open)} questions; a batch job needs at least {LEAST_RECORDS}: ask "
                    "more at once, or ask them with: --profile flex"
                )
            return
        n_jobs = -(-len(still_open) // MOST_RECORDS)
        for i in range(n_jobs):  # of nearly the same size, so that none is too small
            self._finish(self._begin(still_open[i::n_jobs], wanted))

    # --- one job ------------------------------------------------------------------------------

    def _begin(self, keys: Sequence[str], wanted: Mapping[str, Record]) -> dict[str, object]:
        """Note a job with all that it takes to create it, before anything is sent."""
        n_before = len(list(self._folder.glob("job-*.json")))
        digest = hashlib.sha256("\n".join([self._model, str(n_before), *keys]).encode())
        token = f"ragkit-{digest.hexdigest()[:40]}"
        lines = (
            json.dumps({"recordId": _record_id(i), "modelInput": wanted[key]}) + "\n"
            for i, key in enumerate(keys)
        )
        private.replace_file(self._folder / f"{token}.jsonl", "".join(lines).encode())
        job: dict[str, object] = {"token": token, "arn": None, "status": None, "keys": list(keys)}
        self._note(job)
        return job

    def _finish(self, job: dict[str, object]) -> None:
        """Create a job, unless it was before, wait for its end and keep its answers."""
        if job["arn"] is None:
            self._create(job)
        job["status"] = self._wait(str(job["arn"]))
        self._keep(job)
        self._note(job)
        (self._folder / f"{job['token']}.jsonl").unlink(missing_ok=True)

    def _create(self, job: dict[str, object]) -> None:
        token = str(job["token"])
        name = f"{token}.jsonl"
        data = (self._folder / name).read_bytes()
        put = {"Bucket": self._bucket, "Key": self._key("in", name), "Body": data}
        self._s3.call(self._call("put_object", "s3:PutObject"), put)
        parameters = {
            "jobName": token,
            "roleArn": self._role,
            "clientRequestToken": token,
            "modelId": self._model,
            "modelInvocationType": "Converse",
            "inputDataConfig": {"s3InputDataConfig": {"s3Uri": self._uri("in", name)}},
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": self._uri("out") + "/"}},
        }
        action = "bedrock:CreateModelInvocationJob"
        try:
            made = self._bedrock.call(self._call("create_model_invocation_job", action), parameters)
        except RagkitError as error:
            if _REFUSED.search(str(error)):  # there is no such job, and none will be waited for
                self._job_file(token).unlink()
                (self._folder / name).unlink()
            raise
        job["arn"] = text(made.get("jobArn"))
        self._note(job)
        self._notify(f"batch job {job['arn']} is submitted; the same command resumes it")

    def _wait(self, arn: str) -> str:
        call = self._call("get_model_invocation_job", "bedrock:GetModelInvocationJob")
        told = ""
        while True:
            found = self._bedrock.call(call, {"jobIdentifier": arn})
            status = text(found.get("status"))
            done, n = found.get("processedRecordCount"), found.get("totalRecordCount")
            line = f"batch job {status}" + (f", {done} of {n} records" if n else "")
            if line != told:
                self._notify(told := line)
            if status in _ENDED:
                if status != "Completed":
                    self._notify(f"batch job {arn}: {status} {text(found.get('message'))}".strip())
                return status
            time.sleep(self._poll_seconds)

    def _keep(self, job: Mapping[str, object]) -> None:
        """Append the answers of a job that has ended, joined by the ids of its records."""
        name, job_id = f"{job['token']}.jsonl.out", str(job["arn"]).rpartition("/")[2]
        parameters = {"Bucket": self._bucket, "Key": self._key("out", job_id, name)}
        try:
            got = self._s3.call(self._call("get_object", "s3:GetObject"), parameters)
        except RemoteError as error:
            if "NoSuchKey" not in str(error):
                raise
            return  # a job that failed early has written nothing
        body = got.get("Body")
        keys = _keys_by_id(job)
        lines: list[str] = []
        for line in (body if isinstance(body, bytes) else b"").splitlines():
            kept = _kept(line, keys)
            if kept is not None:
                lines.append(json.dumps(kept) + "\n")
        with open(self._folder / "answers.jsonl", "ab", opener=private.opener) as file:
            file.write("".join(lines).encode())
            file.flush()
            os.fsync(file.fileno())
        self._read_answers()

    # --- the folder -----------------------------------------------------------------------------

    def _begun(self) -> list[dict[str, object]]:
        """Return the jobs that were noted and have not ended."""
        found: list[dict[str, object]] = []
        for path in sorted(self._folder.glob("job-*.json")):
            job = read_json(path.read_bytes())
            if is_record(job) and job.get("status") is None:
                found.append(dict(job))
        return found

    def _job_file(self, token: str) -> Path:
        return self._folder / f"job-{token}.json"

    def _note(self, job: Mapping[str, object]) -> None:
        private.replace_file(self._job_file(str(job["token"])), json.dumps(job).encode())

    def _read_answers(self) -> None:
        """Note where the answer of each key stands: the first that succeeded, or the last error."""
        path = self._folder / "answers.jsonl"
        for place, entry in _entries(path) if path.exists() else ():
            key = text(entry.get("key"))
            if key and key not in self._answered:
                self._places[key] = place
            if "modelOutput" in entry:
                self._answered.add(key)

    def _key(self, *parts: str) -> str:
        return "/".join(part for part in (self._prefix, *parts) if part)

    def _uri(self, *parts: str) -> str:
        return f"s3://{self._bucket}/{self._key(*parts)}"

    def _call(self, method: str, action: str) -> AwsCall:
        return AwsCall(method=method, action=action, about=f"batch of bedrock:{self._model}")


def _record_id(number: int) -> str:
    return f"R{number:010d}"  # 11 letters and digits, as Bedrock wants


def _keys_by_id(job: Mapping[str, object]) -> dict[str, str]:
    """Return the keys of a job by the ids of its records."""
    return {_record_id(i): text(key) for i, key in enumerate(items(job.get("keys")))}


def _kept(line: bytes, keys: Mapping[str, str]) -> dict[str, object] | None:
    """Return what is kept of a line of output; None for one of no record of the job."""
    found = _read_line(line)
    key = keys.get(text(found.get("recordId")))
    if key is None:
        return None
    if is_record(found.get("modelOutput")):
        return {"key": key, "modelOutput": found["modelOutput"]}
    return {"key": key, "error": record(found.get("error"))}


def _entries(path: Path) -> Iterator[tuple[int, Record]]:
    """Yield place and content of each line; one that was cut short by a crash is empty."""
    with path.open("rb") as file:
        place = 0
        for line in file:
            yield place, _read_line(line)
            place += len(line)


def _read_line(line: bytes) -> Record:
    try:
        return record(read_json(line))
    except ValueError:
        return {}
