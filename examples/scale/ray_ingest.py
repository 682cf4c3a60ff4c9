"""Ingest a source into one remote store with a Ray cluster: python ray_ingest.py docs/ STORE."""

# pyright: basic, reportMissingImports=false
import argparse
import json
import os
import sys
from typing import Any

import ray

from ragkit import RAG
from ragkit.config import load_settings


@ray.remote(max_retries=3)  # type: ignore[untyped-decorator]
def ingest(source: str, store: str, shard: int, n_shards: int) -> dict[str, Any]:
    """Ingest one share: a worker that is lost leaves it to another, which goes on or repeats."""
    with RAG(store, config=load_settings(environment=os.environ)) as rag:
        return rag.ingest(source, shard=(shard, n_shards)).to_dict()


def main() -> int:
    """Deal out the shares, show progress, and print one summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="what every worker can read")
    parser.add_argument("store", help="a store that takes many writers: opensearch:https://…")
    parser.add_argument("--address", help="address of a cluster; without it, one is made here")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes of that one")
    parser.add_argument("--shards", type=int, default=16, help="about four to a worker")
    args = parser.parse_args()
    ray.init(address=args.address or "local", num_cpus=None if args.address else args.workers)
    total: dict[str, Any] = {"documents": {}, "chunks": 0, "cpu_seconds": 0.0, "failures": []}
    left = [ingest.remote(args.source, args.store, i, args.shards) for i in range(args.shards)]
    while left:
        done, left = ray.wait(left)
        for report in ray.get(done):
            for status, n_documents in report["documents"].items():
                total["documents"][status] = total["documents"].get(status, 0) + n_documents
            for name in ("chunks", "cpu_seconds", "failures"):
                total[name] += report[name]
        print(f"{args.shards - len(left)} of {args.shards} shares", file=sys.stderr)
    print(json.dumps(total))
    return 1 if total["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
