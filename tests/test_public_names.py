"""Every public name is the object of the module that defines it, and no module shadows it."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

import pytest

import ragkit
import ragkit_connectors
import ragkit_eval

PACKAGES = (ragkit, ragkit_connectors, ragkit_eval)
NAMES = [
    (package, name) for package in PACKAGES for name in package.__all__ if name != "__version__"
]


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_a_public_name_is_its_homes_object(package: ModuleType, name: str) -> None:
    """The package gives the very object; importing a module never puts another in its place."""
    assert importlib.util.find_spec(f"{package.__name__}.{name}") is None
    found = getattr(package, name)
    assert not isinstance(found, ModuleType)
    home = importlib.import_module(found.__module__)
    assert home.__name__.startswith(package.__name__)
    assert getattr(home, found.__qualname__) is found


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_offers_what_it_lists(package: ModuleType) -> None:
    """Each name is listed once, and one that is not listed is an `AttributeError`."""
    assert len(set(package.__all__)) == len(package.__all__)
    with pytest.raises(AttributeError):
        package.no_such_name  # noqa: B018 (reading it is the test)
