"""Fields of a server's own in requests."""

from __future__ import annotations

from collections.abc import Mapping

from ragkit.errors import ConfigError
from ragkit.types import Json


def with_fields(
    body: Mapping[str, Json], fields: Mapping[str, Json], *, about: str = "request_fields"
) -> dict[str, Json]:
    """Return a request with further fields; objects that both have are joined.

    Raises:
        ConfigError: a field is set already, by an option or by the generator itself.
    """
    joined = dict(body)
    for name, value in fields.items():
        here, there = joined.get(name), value
        if name not in joined:
            joined[name] = value
        elif isinstance(here, Mapping) and isinstance(there, Mapping):
            joined[name] = with_fields(here, there, about=f"{about}: {name}")
        else:
            raise ConfigError(f"{about} sets {name}, which is set already; leave one of them out")
    return joined
