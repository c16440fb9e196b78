"""A fresh laboratory for each scenario, gone without a trace afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.laboratory import LaboratoryUnderTest


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[LaboratoryUnderTest]:
    """A started laboratory with four slots."""
    found = LaboratoryUnderTest(tmp_path / "home", settings="slots = 4\n")
    found.start()
    yield found
    found.stop()
