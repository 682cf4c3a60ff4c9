"""Batch jobs of the fake AWS: a bucket, and jobs that answer what lies in it.

The control plane is `AwsServer`, checked by AWS' own description. The bucket knows PUT and GET of
whole objects, which is what jobs need.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import cast
from urllib.parse import unquote, urlsplit

from ragkit_connectors.testing import Request
from ragkit_connectors.testing.serving import Answering, LoopbackServer

from .aws_model import Members
from .aws_server import AwsFault, AwsServer

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/ragkit-batch"

Said = Callable[[Mapping[str, object]], Mapping[str, object]]
"""From a record's `modelInput` to `{"modelOutput": …}` or `{"error": …}`."""


class Bucket(LoopbackServer):
    """One bucket of S3; `objects` are by `/BUCKET/KEY`."""

    protocol_version = "HTTP/1.1"

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, bytes] = {}
        self.n_put = 0

    def respond(self, request: Request, answer: Answering) -> None:
        """Keep an object, or give it back; every request must be signed."""
        path = unquote(urlsplit(request.path).path)
        if not request.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256"):
            answer.whole(403, "application/xml", _fault("AccessDenied"))
        elif request.method == "PUT":
            self.objects[path] = request.data
            self.n_put += 1
            answer.whole(200, "application/xml", b"", {"ETag": '"0"'})
        elif path in self.objects:
            answer.whole(200, "binary/octet-stream", self.objects[path])
        else:
            answer.whole(404, "application/xml", _fault("NoSuchKey"))


def _fault(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()


class BatchService:
    """Jobs: each looks busy `n_looks` times, then has answered every record of its input.

    Attributes:
        jobs: What each was created with, by its ARN; a token makes one job only.
        n_records: Records that were answered, all jobs together: what was paid for.
        ends: The status of jobs when they end.
    """

    def __init__(self, aws: AwsServer, bucket: Bucket, say: Said, *, n_looks: int = 1) -> None:
        self.jobs: dict[str, Mapping[str, object]] = {}
        self.n_records = 0
        self.ends = "Completed"
        self._bucket, self._say, self._n_looks = bucket, say, n_looks
        self._looks: dict[str, int] = {}
        self._lock = threading.Lock()
        aws.answer("CreateModelInvocationJob", self.create)
        aws.answer("GetModelInvocationJob", self.look)

    def create(self, asked: Mapping[str, object]) -> Members | AwsFault:
        """Make a job, or name the one that this token has made."""
        token = asked["clientRequestToken"]
        with self._lock:
            for arn, job in self.jobs.items():
                if job["clientRequestToken"] == token:
                    return {"jobArn": arn}
            source = _place(asked["inputDataConfig"], "s3InputDataConfig")
            if source not in self._bucket.objects:
                return AwsFault("ValidationException", message=f"no object {source}")
            number = f"{len(self.jobs):012d}"
            arn = f"arn:aws:bedrock:eu-west-1:{ACCOUNT}:model-invocation-job/{number}"
            self.jobs[arn] = asked
            return {"jobArn": arn}

    def look(self, asked: Mapping[str, object]) -> Members:
        """Say how far a job is; at its end the output is there."""
        arn = str(asked["jobIdentifier"])
        with self._lock:
            job = self.jobs[arn]
            looks = self._looks[arn] = self._looks.get(arn, 0) + 1
            if looks == self._n_looks + 1 and self.ends != "Failed":
                self._answer(arn, job)
            status = self.ends if looks > self._n_looks else "InProgress"
            return {
                "jobArn": arn, "status": status, "submitTime": 1_795_000_000.0,
                "totalRecordCount": 100, "processedRecordCount": 50,
                **{name: job[name] for name in
                   ("modelId", "roleArn", "inputDataConfig", "outputDataConfig")},
            }  # fmt: skip

    def _answer(self, arn: str, job: Mapping[str, object]) -> None:
        source = _place(job["inputDataConfig"], "s3InputDataConfig")
        target = _place(job["outputDataConfig"], "s3OutputDataConfig").rstrip("/")
        records = [json.loads(line) for line in self._bucket.objects[source].splitlines()]
        if self.ends == "PartiallyCompleted":
            records = records[: len(records) // 2]
        self.n_records += len(records)
        # The order of the output is not that of the input.
        lines = [json.dumps({**r, **self._say(r["modelInput"])}) for r in reversed(records)]
        name = f"{target}/{arn.rpartition('/')[2]}/{source.rpartition('/')[2]}.out"
        self._bucket.objects[name] = "\n".join(lines).encode()


def _place(config: object, kind: str) -> str:
    uri = cast("Mapping[str, Mapping[str, str]]", config)[kind]["s3Uri"]
    return uri.removeprefix("s3:/")
