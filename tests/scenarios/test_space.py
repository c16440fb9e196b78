"""What the store takes, and what comes back: through the real command and the real server."""

from pathlib import Path

from tests.cli.conftest import Shell
from tests.cli.conftest import shell as shell
from tests.helpers import wait_until


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_a_purge_gives_back_what_only_the_purged_had(shell: Shell) -> None:
    script = shell.write("fit.py", "# " + "x" * 100_000)
    labels = [shell.queue(script, str(n)) for n in range(3)]
    shell.lab("wait", *labels)
    trees, submitted = shell.home / "store/trees", shell.home / "store/submitted"
    wait_until(lambda: trees.exists() and len(names(trees)) == 1, 20, "the three share their code")
    folders = [Path(shell.experiment(label)["folder"]) for label in labels]
    wait_until(lambda: all((each / "work/fit.py").stat().st_nlink == 4 for each in folders), 20, "all three do")
    shell.lab("delete", *labels[:2])
    shell.lab("delete", "--purge", "--older-than", "0s", "--yes")
    assert len(names(trees)) == 1
    assert (folders[2] / "work/fit.py").stat().st_nlink == 2
    shell.lab("delete", labels[2])
    shell.lab("delete", "--purge", "--older-than", "0s", "--yes")
    assert names(trees) == names(submitted) == []
    again = shell.queue(script, "0")
    shell.lab("wait", again)
    assert Path(shell.experiment(again)["folder"], "submitted/environment.json").is_file()


def test_the_server_merges_packs_while_it_works(shell: Shell) -> None:
    packs = shell.home / "store/code.git/objects/pack"
    for n in range(36):
        shell.lab("queue", "--quiet", shell.write("fit.py", f"print({n})\n"))
    shell.lab("wait", "latest")
    wait_until(lambda: len(list(packs.glob("*.pack"))) < 10, 20, "very many packs are a few")
    assert "frozen code" in shell.lab("doctor", status=shell_status(shell)).stdout
    folder = shell.project.parent / "first"
    shell.lab("restore", "EXP-001", str(folder))
    assert (folder / "fit.py").read_text() == "print(0)\n"


def shell_status(shell: Shell) -> int:
    """What the doctor ends with here: not every machine has all it looks for."""
    return 0 if all(finding["is_good"] for finding in shell.json("doctor")["findings"]) else 1
