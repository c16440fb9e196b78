from pathlib import Path
from typing import Any

import pytest

from labrun.cli.fork import read_changes
from labrun.core.errors import BadDescription
from tests.cli.conftest import Shell

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("name=wide", {"name": "wide"}),
        ("name=2024", {"name": "2024"}),
        ("name=true", {"name": "true"}),
        ("note=a=b, c", {"note": "a=b, c"}),
        ("priority=high", {"priority": "high"}),
        ("priority=7", {"priority": 7}),
        ("timeout=90", {"timeout": 90}),
        ("timeout=1h30m", {"timeout": "1h30m"}),
        ("resources.gpus=2", {"resources": {"gpus": 2}}),
        ("resources.memory=8G", {"resources": {"memory": "8G"}}),
        ("env.A=1e-3", {"env": {"A": "1e-3"}}),
        ("env.A=", {"env": {"A": ""}}),
        ("tags=a,b", {"tags": ["a", "b"]}),
        ('tags=["a,b"]', {"tags": ["a,b"]}),
        ("seed=7", {"seed": 7}),
        ("config=c.yaml", {"config": ["/here/c.yaml"]}),
        ('config=["a.yaml","/b.yaml"]', {"config": ["/here/a.yaml", "/b.yaml"]}),
        ("inputs.stars=../s.csv", {"inputs": {"stars": "/here/../s.csv"}}),
        ("python=bin/python", {"python": "/here/bin/python"}),
    ],
)
def test_values_are_read_as_their_field_wants_them(text: str, value: dict[str, Any]) -> None:
    assert read_changes((text,), Path("/here")) == value


def test_members_of_a_table_come_together_and_the_last_word_holds() -> None:
    given = ("resources.gpus=2", "resources.cpus=4", "name=a", "name=b")
    assert read_changes(given, Path("/")) == {"resources": {"gpus": 2, "cpus": 4}, "name": "b"}


def test_everything_that_is_wrong_is_told_at_once() -> None:
    given = ("nam=x", "resources.gpus=-1", "script=t.py", "gpus", "name.x=1", "seed=x", "gpus=2", "args=a")
    with pytest.raises(BadDescription) as refused:
        read_changes(given, Path("/"))
    assert isinstance(refused.value.details, list)
    told = {each["at"]: each["message"] for each in refused.value.details}
    assert list(told) == [
        *("--set nam", "--set resources.gpus", "--set script", "gpus", "name.x=1", "--set seed", "--set gpus"),
        "--set args",
    ]
    assert "did you mean `resources.gpus`" in told["--set gpus"]
    assert "lab clone" in told["--set script"]


def test_a_copy_with_other_values_runs_on_the_code_as_it_is(shared: Shell) -> None:
    label = shared.queue("--name", "narrow", shared.write("forked.py", "import sys\nprint(1, sys.argv[1:])\n"), "a")
    shared.lab("wait", label)
    shared.write("forked.py", "import sys\nprint(2, sys.argv[1:])\n")
    said = shared.lab("fork", label, "--set", "name=wide", "--set", "resources.cpus=1", "--", "-b").stdout
    new = said.split()[0]
    assert f"queued from {label}, code as it is now" in said
    shared.lab("wait", new)
    one = shared.experiment(new)
    assert (one["name"], one["resources"], one["parent"]) == ("wide", {"cpus": 1}, shared.experiment(label)["run_id"])
    assert shared.lab("logs", new).stdout == "2 ['a', '-b']\n"
    same = shared.lab("fork", "--quiet", "--code", "same", label).stdout.strip()
    shared.lab("wait", same)
    assert shared.lab("logs", same).stdout == "1 ['a']\n"


def test_a_dry_run_and_a_refusal_submit_nothing(shared: Shell) -> None:
    label = shared.queue("--", "true")
    shared.lab("wait", label)
    before = shared.json("server", "status")["known"]
    assert shared.json("fork", "--dry-run", label, "--", "x")["accepted"] is None
    refused = shared.lab("fork", label, "--set", "pod=none", status=2)
    assert "pod" in refused.stderr
    assert shared.json("server", "status")["known"] == before
