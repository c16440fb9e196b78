from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import LAB, Shell
from tests.cli.window import Window

pytestmark = pytest.mark.timeout(120)


def ended(shell: Shell, *words: str) -> str:
    label = shell.queue("--", *(words or ("true",)))
    shell.lab("wait", label)
    return label


def test_a_deleted_experiment_leaves_the_lists_and_says_where_it_went(shared: Shell) -> None:
    one, two = ended(shared), ended(shared)
    folder = Path(shared.experiment(one)["folder"])
    assert shared.lab("delete", one).stdout == f"{one} deleted; `lab undelete {one}` brings it back\n"
    assert not folder.exists()
    labels = shared.lab("list", "--quiet").stdout.split()
    assert two in labels
    assert one not in labels
    assert f"`lab undelete {one}` brings it back" in shared.lab("info", one).stdout
    assert "chain of lab main: whole" in shared.lab("doctor").stdout
    for action in (("resume", one), ("resubmit", one), ("clone", one), ("delete", one)):
        assert "deleted" in shared.lab(*action, status=1).stderr


def test_several_go_at_once_and_one_that_cannot_is_named(shared: Shell) -> None:
    one, two = ended(shared), ended(shared)
    running = shared.queue("--", "sleep", "1000")
    shared.wait_step(running, "running")
    done = shared.lab("delete", one, running, two, status=1)
    assert done.stdout.count("deleted;") == 2
    assert f"cannot delete {running}: it is processing" in done.stderr
    assert "lab cancel" in shared.lab("delete", running, status=1).stderr
    shared.lab("cancel", "--now", running)
    assert [each["label"] for each in shared.json("delete", running)] == [running]


def test_a_purge_asks_and_without_a_terminal_it_wants_a_yes(shell: Shell) -> None:
    label = ended(shell, "sh", "-c", 'head -c 100000 /dev/zero > "$LAB_OUTPUT_PATH/zeros"')
    shell.lab("delete", label)
    assert shell.lab("delete", "--purge").stdout == "0 experiments removed for good\n", "it was deleted just now"
    assert "add --yes" in shell.lab("delete", "--purge", "--older-than", "0s", status=2).stderr
    gone = shell.json("delete", "--purge", "--older-than", "0s", "--yes")
    assert [each["label"] for each in gone["experiments"]] == [label]
    assert gone["size_bytes"] > 100_000
    assert list((shell.home / "trash").glob("*/*/*")) == []
    assert "removed for good" in shell.lab("info", label).stdout
    assert "purged" in shell.lab("undelete", label, status=1).stderr
    assert "chain of lab main: whole" in shell.lab("doctor").stdout


@pytest.mark.parametrize("words", [[], ["--yes", "EXP-1"], ["--purge", "EXP-1"], ["--older-than", "1d", "EXP-1"]])
def test_half_a_request_is_refused(shared: Shell, words: list[str]) -> None:
    assert "lab delete EXPERIMENT" in shared.lab("delete", *words, status=2).stderr


def test_a_no_at_the_question_removes_nothing_and_a_yes_does(shell: Shell) -> None:
    label = ended(shell)
    shell.lab("delete", label)
    for answer, status in (("n", 1), ("y", 0)):
        with closing(
            Window([*LAB, "delete", "--purge", "--older-than", "0s"], shell.project, shell.variables)
        ) as window:
            window.wait("for good")
            assert label in window.text
            window.type(f"{answer}\r")
            assert window.wait_exit() == status
        assert bool(shell.json("undelete")) == (answer == "n")
