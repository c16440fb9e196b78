from pathlib import Path

from tests.cli.conftest import LAB, Shell
from tests.cli.window import Window


def test_without_a_terminal_the_path_is_printed(shell: Shell) -> None:
    label = shell.queue("--", "true")
    shell.lab("wait", label)
    folder = shell.experiment(label)["folder"]
    assert shell.lab("open").stdout.strip() == folder
    assert shell.lab("open", "--quiet", "--outputs", label).stdout.strip() == f"{folder}/outputs"
    assert shell.json("open", label) == {"label": label, "path": folder}


def test_on_a_terminal_a_shell_begins_in_the_folder(shell: Shell) -> None:
    label = shell.queue("--", "true")
    shell.lab("wait", label)
    window = Window([*LAB, "open", "--work"], shell.project, shell.variables | {"SHELL": "/bin/sh", "PS1": "me> "})
    try:
        window.wait("me> ")
        window.type("basename $PWD; exit 3\r")
        assert window.wait_exit() == 3
        assert "work\r\n" in window.text
    finally:
        window.close()


def test_what_has_no_folder_yet_is_refused(shell: Shell) -> None:
    blocker, waiting = shell.queue("--", "sleep", "1000"), shell.queue("--", "true")
    told = shell.lab("open", waiting, status=1).stderr
    assert waiting in told
    shell.lab("cancel", waiting, blocker)


def test_a_folder_somebody_removed_is_told(shell: Shell) -> None:
    label = shell.queue("--", "true")
    shell.lab("wait", label)
    folder = Path(shell.experiment(label)["folder"])
    folder.rename(folder.with_name("elsewhere"))
    assert str(folder) in shell.lab("open", label, status=3).stderr
