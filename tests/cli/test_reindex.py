import pytest

from tests.cli.conftest import Shell

pytestmark = pytest.mark.timeout(120)


def test_the_index_is_rebuilt_from_the_folders(shared: Shell) -> None:
    label = shared.queue("--", "true")
    shared.lab("wait", label)
    before = shared.lab("list", "--quiet").stdout
    assert shared.lab("reindex").stdout == "1 experiments indexed\n"
    assert shared.json("reindex") == {"experiments": 1}
    assert shared.lab("list", "--quiet").stdout == before
