import json
from pathlib import Path

from labrun.wire.schema import description_schema
from tests.cli.conftest import Shell


def test_the_schema_is_printed_without_home_or_server(shell: Shell) -> None:
    printed = shell.lab("schema").stdout
    assert json.loads(printed) == description_schema()
    assert len(printed.splitlines()) > 100
    assert not Path(shell.home).exists()


def test_for_programs_it_is_one_line(shell: Shell) -> None:
    assert shell.json("schema") == description_schema()
    assert shell.lab("schema", "--json").stdout.count("\n") == 1
