import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import LAB, Shell


def complete(shell: Shell, *words: str) -> list[str]:
    """What the shell would offer for the last word."""
    variables = shell.variables | {
        "_LAB_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("lab", *words)),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        LAB, cwd=shell.project, env=variables, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_commands_options_labels_and_names_complete(shell: Shell) -> None:
    label = shell.queue("--name", "wide", "--", "true")
    shell.lab("wait", label)
    assert set(complete(shell, "res")) >= {"resume", "restore"}
    assert complete(shell, "info", "") == [label, "wide"]
    assert complete(shell, "logs", "exp") == [label]
    assert complete(shell, "cancel", "w") == ["wide"]
    assert "--priority" in complete(shell, "queue", "--pri")


def test_what_was_deleted_completes_where_it_is_brought_back(shell: Shell) -> None:
    gone, kept = (shell.queue("--name", name, "--", "true") for name in ("gone", "kept"))
    shell.lab("wait", gone, kept)
    shell.lab("delete", gone)
    assert complete(shell, "undelete", "") == [gone, "gone"]
    assert complete(shell, "info", "") == [kept, "kept"]


@pytest.mark.parametrize("name", ["two words", "bell\x1b]0;t\x07", "$(reboot)", "a;b", "x:y", "-f"])
def test_a_name_that_a_shell_would_take_apart_is_not_offered(shared: Shell, name: str) -> None:
    label = shared.queue(f"--name={name}", "--", "true")
    assert complete(shared, "info", name[:1]) == ([] if name != "-f" else complete(shared, "info", "-"))
    assert label in complete(shared, "info", label)
    assert name not in complete(shared, "info", "")


def test_a_script_completes_as_a_file(shell: Shell) -> None:
    variables = shell.variables | {"_LAB_COMPLETE": "bash_complete", "COMP_WORDS": "lab run tr", "COMP_CWORD": "2"}
    done = subprocess.run(LAB, cwd=shell.project, env=variables, capture_output=True, text=True, check=False)
    assert done.stdout == "file,tr\n"


def test_without_a_server_nothing_is_offered_and_none_is_started(shell: Shell) -> None:
    assert complete(shell, "info", "") == []
    assert not shell.home.exists()


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_lines(shell: Shell, name: str) -> None:
    assert "_LAB_COMPLETE" in shell.lab("completion", name).stdout


def test_another_shell_is_refused(shell: Shell) -> None:
    assert "bash" in shell.lab("completion", "tcsh", status=2).stderr


def in_shell(shell: Shell, *words: str) -> str:
    """What a shell of the user's prints, with `lab` in its PATH."""
    variables = shell.variables | {"PATH": f"{Path(LAB[0]).parent}:{os.environ['PATH']}"}
    done = subprocess.run(words, cwd=shell.project, env=variables, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_bash_takes_the_lines(shell: Shell) -> None:
    assert "_lab_completion" in in_shell(shell, "bash", "-c", 'eval "$(lab completion bash)"; complete -p lab')


def test_zsh_takes_the_lines(shell: Shell) -> None:
    lines = 'autoload -Uz compinit && compinit -D; eval "$(lab completion zsh)"; print -r -- $_comps[lab]'
    assert in_shell(shell, "zsh", "-fc", lines) == "_lab_completion\n"


def test_fish_completes_commands_labels_and_names(shell: Shell) -> None:
    label = shell.queue("--name", "wide", "--", "true")
    shell.lab("wait", label)
    lines = "lab completion fish | source; complete -C 'lab info w'; complete -C 'lab info exp'; complete -C 'lab unde'"
    printed = in_shell(shell, "fish", "--no-config", "-c", lines).splitlines()
    assert [line.split("\t")[0] for line in printed] == ["wide", label, "undelete"]
