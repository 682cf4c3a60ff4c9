"""`ragkit trust`: whose settings take effect."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ragkit.cli import output
from ragkit.config import read_sensitive
from ragkit.errors import ConfigError, ExitCode
from ragkit.trust import Record, place_of, record_trust, records, withdraw_trust
from ragkit.types import Json


def trust(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit trust`."""
    if (args.file is None) != args.list or (args.list and args.remove):
        raise ConfigError("give one settings file, or --list")
    if args.list:
        for record in records():
            data = {"schema": 1, **record.to_dict(), "status": _status(record)}
            output.show(data, _listed_text, as_json=args.json)
        return ExitCode.DONE
    file = Path(args.file)
    if args.remove:
        if not withdraw_trust(file):
            raise ConfigError(f"{place_of(file)} is not trusted; see: ragkit trust --list")
        place: dict[str, Json] = {"schema": 1, "file": str(place_of(file)), "status": "removed"}
        output.show(place, _listed_text, as_json=args.json)
        return ExitCode.DONE
    found = read_sensitive(file)
    record = record_trust(file, found)
    # TOML values that JSON lacks (dates, for example) are shown as text.
    keys: Json = json.loads(json.dumps(found.keys, default=str))
    leads: dict[str, Json] = dict(found.targets)
    shown: dict[str, Json] = {"schema": 1, **record.to_dict(), "status": "trusted"}
    output.show({**shown, "keys": keys, "targets": leads}, _trusted_text, as_json=args.json)
    return ExitCode.DONE


def _status(record: Record) -> str:
    """Return `trusted`, `changed` or `missing`."""
    file = Path(record.file)
    try:
        return "trusted" if read_sensitive(file).sha256 == record.sha256 else "changed"
    except ConfigError:
        return "changed" if file.exists() else "missing"


def _listed_text(data: output.Shown) -> str:
    return f"{data['status']:8} {data['file']}"


def _trusted_text(data: output.Shown) -> str:
    if not data["keys"]:
        return f"{data['file']} is trusted; nothing in it needs that yet"
    lines = [f"{data['file']} is trusted, for as long as these stay as they are:"]
    for name, value in data["keys"].items():
        target = data["targets"].get(name)
        leads = "" if target is None else f" -> {target}"
        lines.append(f"  {name} = {_written(value)}{leads}")
    return "\n".join(lines)


def _written(value: object) -> str:
    """Return a value as it is written in a settings file."""
    return f'"{value}"' if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
