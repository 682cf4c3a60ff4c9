"""In the lane, a test runs again and again until its share of the time is used up."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import cast

import pytest

from .lane import SECONDS


def _draws(item: pytest.Item) -> bool:
    """Whether a test draws examples."""
    return isinstance(item, pytest.Function) and hasattr(
        cast("Callable[..., object]", item.obj), "hypothesis"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Give each round of a test new examples; the first that fails ends it."""
    if not SECONDS or not _draws(pyfuncitem):
        return None
    share = SECONDS / sum(map(_draws, pyfuncitem.session.items))
    ends = time.monotonic() + share
    wanted = inspect.signature(pyfuncitem.obj).parameters
    given = {name: pyfuncitem.funcargs[name] for name in wanted}
    while True:
        pyfuncitem.obj(**given)
        if time.monotonic() >= ends:
            return True
