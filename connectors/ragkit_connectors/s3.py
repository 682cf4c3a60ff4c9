"""Documents of an S3 bucket: `s3://BUCKET/PREFIX`.

Objects are listed by ListObjectsV2, and what has changed since it was stored is fetched by
GetObject, nothing else. A key is a name, never a path of this machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from functools import partial

from ragkit.errors import ConfigError, LoadError, RemoteError
from ragkit.loading.content import Content
from ragkit.loading.formats import MAX_FILE_BYTES
from ragkit.loading.remote import Fetched, Reading, RemoteFile
from ragkit.loading.walking import is_left_out
from ragkit.types import Failure, Json, SourceItem
from ragkit_connectors.support.aws import AwsCall, AwsClient
from ragkit_connectors.support.deadline import Deadline
from ragkit_connectors.support.json_values import Record, records, text
from ragkit_connectors.support.packed import GZIP, unpacked_gzip

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_OBJECT_SECONDS = 300.0
"""Longest time for an object of the largest size that is read."""

_FOLDER_MARK = "_$folder$"
"""How Hadoop's file system ends the key of what stands for a folder."""


class S3Source:
    """The objects below a prefix, in the order of their keys, or the one of exactly this key.

    A document's id and source are `s3://BUCKET/KEY`; the version of an object is its
    `metadata["version_id"]`, if the bucket keeps versions. An object has changed if its ETag, size
    or time has. As in a folder, what is hidden or made by programs is left out, and so are the
    objects that stand for folders.

    Args:
        name: `//BUCKET/PREFIX`.
        reading: How objects are read.
        base_url: Address of a service that speaks as S3 does; None takes what the AWS
            configuration says (`AWS_ENDPOINT_URL_S3`), or AWS's own.
        retry_seconds: Time after its start in which a request may be sent again.

    Raises:
        ConfigError: the name is none, or no region is known.
        MissingExtraError: boto3 is not installed.
    """

    def __init__(
        self,
        name: str,
        *,
        reading: Reading,
        base_url: str | None = None,
        retry_seconds: float = 20.0,
    ) -> None:
        bucket, _, prefix = name.removeprefix("//").partition("/")
        if not name.startswith("//") or not _BUCKET.fullmatch(bucket):
            raise ConfigError(f"source 's3:{name}'; allowed: s3://BUCKET/PREFIX")
        self._bucket, self._prefix = bucket, prefix.rstrip("/")
        self._reading = reading
        self._client = AwsClient(
            "s3", base_url=base_url, retry_seconds=retry_seconds, is_json=False
        )
        self._left_out: list[str] = []

    @property
    def roots(self) -> tuple[str, ...]:
        """The address of the prefix."""
        return (self._address(self._prefix).rstrip("/"),)

    def left_out(self) -> tuple[str, ...]:
        """Return the addresses of objects that were listed, but left out of the last call."""
        return tuple(self._left_out)

    def documents(self) -> Iterator[SourceItem]:
        """Yield the documents of the objects, and failures.

        Raises:
            ConfigError: there are no credentials.
        """
        self._left_out.clear()
        n_found = 0
        try:
            for found, is_named in self._objects():
                n_found += 1
                yield from self._items(found, named=is_named)
        except RemoteError as error:
            yield Failure(source=self.roots[0], code="unreadable", detail=str(error))
            return
        if not n_found:
            detail = "there is no object of this key, and none below it"
            yield Failure(source=self.roots[0], code="unreadable", detail=detail)

    def _items(self, found: Record, *, named: bool) -> Iterator[SourceItem]:
        key = text(found.get("Key"))
        name = key.rpartition("/")[2]
        if not name or name.endswith(_FOLDER_MARK):
            return
        path = "/".join(part for part in key.split("/") if part)
        file = RemoteFile(id=self._address(key), path=path, name=name, named=named)
        failure = self._reading.left_out(file)
        if failure is None and not named and is_left_out(key[len(self._prefix) :]):
            failure = Failure(source=file.id, code="ignored", detail="hidden", skipped=True)
        if failure is not None:
            if failure.code == "ignored":
                self._left_out.append(file.id)
            if failure.code == "rule" or self._reading.selection.tells:
                yield failure
            return
        fingerprint = self._reading.fingerprint(file)
        changed, size = found.get("LastModified"), found.get("Size")
        time = changed.isoformat() if isinstance(changed, datetime) else ""
        etag = text(found.get("ETag"))
        fingerprint.update(f"{etag} {size} {time}".encode())
        fetch = partial(self._fetch, key, etag, size if isinstance(size, int) else 0)
        yield from self._reading.documents(file, fingerprint.hexdigest(), fetch)

    def _address(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"

    def _objects(self) -> Iterator[tuple[Record, bool]]:
        """Yield what is listed, and whether it has exactly the key that was given."""
        if self._prefix:
            # Nothing comes before a key in the order of those that begin with it.
            page = self._list({"Prefix": self._prefix, "MaxKeys": 1})
            for found in records(page.get("Contents")):
                if text(found.get("Key")) == self._prefix:
                    yield found, True
        token, last = "", ""
        while True:
            prefix = {"Prefix": f"{self._prefix}/"} if self._prefix else {}
            page = self._list({**prefix, **({"ContinuationToken": token} if token else {})})
            for found in records(page.get("Contents")):
                yield found, False
            last, token = token, text(page.get("NextContinuationToken"))
            if not page.get("IsTruncated"):
                return
            if not token or token == last:
                raise RemoteError(f"the list of {self._address('')} does not go on")

    def _list(self, parameters: Record) -> Record:
        call = AwsCall(
            method="list_objects_v2", action="s3:ListBucket", about=f"bucket {self._bucket!r}"
        )
        return self._client.call(call, {"Bucket": self._bucket, **parameters})

    def _fetch(self, key: str, etag: str, size: int) -> Fetched:
        if size > MAX_FILE_BYTES:
            raise LoadError("limit", f"{size:,} bytes; allowed: {MAX_FILE_BYTES:,}")
        call = AwsCall(
            method="get_object",
            action="s3:GetObject",
            about=self._address(key),
            most_bytes=MAX_FILE_BYTES,
        )
        # What is stored under a fingerprint must be what has it.
        same = {"IfMatch": etag} if etag else {}
        try:
            answer = self._client.call(
                call, {"Bucket": self._bucket, "Key": key, **same}, Deadline(_OBJECT_SECONDS)
            )
        except (RemoteError, ConfigError) as error:
            raise LoadError("unreadable", str(error), may_pass=True) from error
        body, version = answer.get("Body"), text(answer.get("VersionId"))
        metadata: dict[str, Json] = {"version_id": version} if version not in {"", "null"} else {}
        data = body if isinstance(body, bytes) else b""
        if text(answer.get("ContentEncoding")).lower() == "gzip" and data.startswith(GZIP):
            data = b"".join(unpacked_gzip(iter((data,)), MAX_FILE_BYTES))
        return Content.of(data), metadata
