"""A laboratory for tests of the worker, seen from outside."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.laboratory import LaboratoryUnderTest


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[LaboratoryUnderTest]:
    """One experiment runs at a time."""
    found = LaboratoryUnderTest(tmp_path / "home", settings="slots = 1\n")
    found.start()
    yield found
    found.stop()
