"""Through the real server: ten experiments of one folder, and one of them resumed."""

from pathlib import Path

from tests.cli.conftest import Shell
from tests.cli.conftest import shell as shell
from tests.helpers import wait_until


def links(folder: str) -> int:
    return Path(folder, "work/fit.py").lstat().st_nlink


SCRIPT = """\
import os, sys
if os.environ["LAB_ATTEMPT"] == "2":
    open(sys.argv[0], "a").write("# changed by the second attempt")
sys.exit(int(sys.argv[1]))
"""


def test_experiments_of_one_tree_share_their_code_after_the_seal_and_a_resume_has_its_own(shell: Shell) -> None:
    script = shell.write("fit.py", SCRIPT)
    labels = [shell.queue(script, "0") for _ in range(4)] + [shell.queue(script, "3")]
    shell.lab("wait", *labels, status=1)
    folders = [shell.experiment(label)["folder"] for label in labels]
    wait_until(lambda: all(links(folder) == 6 for folder in folders), 20, "five folders and the tree share a file")
    shell.lab("doctor")
    shell.lab("resume", labels[-1])
    shell.lab("wait", labels[-1], status=1)
    assert Path(folders[-1], "work/fit.py").read_text().endswith("second attempt")
    assert all(Path(folder, "work/fit.py").read_text() == SCRIPT for folder in folders[:-1])
    shell.lab("doctor")


def test_what_a_crash_left_half_laid_out_is_removed_by_the_next_server(shell: Shell) -> None:
    shell.lab("status")
    shell.lab("server", "stop")
    left = [shell.home / "store" / place for place in ("trees/.abcdef.0123/sub/fit.py", "submitted/.gone-0123/a.toml")]
    for path in left:
        path.parent.mkdir(parents=True)
        path.write_text("torn")
    shell.lab("status")
    wait_until(lambda: not any(path.exists() for path in left), 20, "the leftovers are removed")
    assert list((shell.home / "store/submitted").iterdir()) == []
