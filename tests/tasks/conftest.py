from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from projects import Project


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A project of `KINDS`, made once."""
    made: dict[str, Project] = {}

    def make(name: str) -> Project:
        if name not in made:
            made[name] = Project(name, tmp_path_factory.mktemp(name))
        return made[name]

    return make


@pytest.fixture(autouse=True)
def _no_module_stays() -> Iterator[None]:
    """What users' files are called in this process ends with the test."""
    yield
    for name in [name for name in sys.modules if name.startswith("compressor_user_")]:
        del sys.modules[name]
