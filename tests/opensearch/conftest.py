"""A server for the tests of the OpenSearch connector."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from .node import VARIABLE, Node, place

NodeMaker = Callable[..., Node]
_FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have one worker run all tests of this folder: a server takes more than a gigabyte."""
    for item in items:
        if item.path.is_relative_to(_FOLDER):
            item.add_marker(pytest.mark.xdist_group("opensearch"))


@pytest.fixture(scope="session")
def opensearch_url(tmp_path_factory: pytest.TempPathFactory) -> Generator[str, None, None]:
    """Yield the address of a real server, or skip where the environment names none."""
    named = place()
    if named is None:
        pytest.skip(f"{VARIABLE} names no server and no launcher")
    if named.startswith("http"):
        yield named
        return
    node = Node(named, tmp_path_factory.mktemp("opensearch"))
    node.start()
    try:
        yield node.url
    finally:
        node.kill()


@pytest.fixture
def make_node(tmp_path: Path) -> Generator[NodeMaker, None, None]:
    """Yield what starts a node of a test's own, or skip where there is no launcher."""
    named = place()
    if named is None or named.startswith("http"):
        pytest.skip(f"{VARIABLE} names no launcher")
    nodes: list[Node] = []

    def make(*settings: str) -> Node:
        node = Node(named, tmp_path / f"node{len(nodes)}", *settings)
        nodes.append(node)
        node.start()
        return node

    yield make
    for node in nodes:
        node.kill()
