from pathlib import Path

import pytest

from tests.cli.conftest import Shell

pytestmark = pytest.mark.timeout(120)


def test_deleted_experiments_are_listed_and_come_back(shell: Shell) -> None:
    assert shell.lab("undelete").stderr.endswith("the trash is empty\n")
    labels = [shell.queue("--name", name, "--", "true") for name in ("first", "second")]
    shell.lab("wait", *labels)
    before = shell.experiment(labels[0])
    shell.lab("delete", *labels)
    assert shell.lab("undelete", "--quiet").stdout.split() == labels[::-1], "last deleted first"
    assert "first" in shell.lab("undelete").stdout
    assert [each["label"] for each in shell.json("undelete")] == labels[::-1]
    assert shell.lab("undelete", labels[0]).stdout == f"{labels[0]} is back: {before['folder']}\n"
    assert shell.experiment(labels[0]) == before
    assert Path(before["folder"]).is_dir()
    assert shell.lab("logs", labels[0]).stdout == ""
    assert shell.lab("list", "--quiet").stdout.split() == [labels[0]]


def test_what_is_not_in_the_trash_is_refused(shared: Shell) -> None:
    label = shared.queue("--", "true")
    shared.lab("wait", label)
    assert f"cannot undelete {label}: it is succeeded" in shared.lab("undelete", label, status=1).stderr
    done = shared.lab("undelete", label, "EXP-998", status=1)
    assert "no experiment `EXP-998`" in done.stderr
