import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Shell

pytestmark = pytest.mark.timeout(120)

BAD_UTF8 = b"caf\xe9"


@pytest.fixture(scope="module")
def frozen(shared: Shell) -> str:
    (shared.project / "pkg").mkdir()
    (shared.project / "pkg/model.py").write_bytes(b"one\r\n")
    (shared.project / "tool.sh").write_text("#!/bin/sh\n")
    (shared.project / "tool.sh").chmod(0o755)
    (shared.project / "link").symlink_to("pkg/model.py")
    label = shared.queue(shared.write("fit.py", "print('old')\n"))
    shared.lab("wait", label)
    shared.write("fit.py", "print('new')\n")
    return label


def test_the_code_comes_back_as_it_was_submitted(shared: Shell, frozen: str, tmp_path: Path) -> None:
    done = shared.lab("restore", frozen, str(tmp_path / "deep/there"))
    tree = shared.json("info", frozen)["tree"]
    assert done.stdout == f"{frozen}: 5 files restored to {tmp_path}/deep/there, tree {tree[:12]}\n"
    there = tmp_path / "deep/there"
    assert sorted(path.name for path in there.iterdir()) == ["fit.py", "link", "pkg", "pyproject.toml", "tool.sh"]
    assert (there / "fit.py").read_text() == "print('old')\n"
    assert (there / "pkg/model.py").read_bytes() == b"one\r\n"
    assert os.access(there / "tool.sh", os.X_OK)
    assert (there / "link").readlink() == Path("pkg/model.py")


def test_a_folder_named_from_where_one_stands_and_the_other_faces(shared: Shell, frozen: str, tmp_path: Path) -> None:
    told = json.loads(shared.lab("restore", "--json", frozen, "here", cwd=tmp_path).stdout)
    assert told["destination"] == str(tmp_path / "here")
    assert (told["label"], told["file_count"], told["notices"]) == (frozen, 5, [])
    (tmp_path / "empty").mkdir()
    assert shared.lab("restore", "--quiet", frozen, ".", cwd=tmp_path / "empty").stdout == told["tree"] + "\n"
    assert (tmp_path / "empty/fit.py").exists()


def test_nothing_that_is_there_is_written_over(shared: Shell, frozen: str, tmp_path: Path) -> None:
    (tmp_path / "fit.py").write_text("mine")
    refused = shared.lab("restore", frozen, str(tmp_path), status=2).stderr
    assert refused.startswith(f"lab: folder '{tmp_path}' is not empty or new; nothing in it was touched\n")
    assert [path.name for path in tmp_path.iterdir()] == ["fit.py"]
    assert "is not a folder" in shared.lab("restore", frozen, str(tmp_path / "fit.py"), status=2).stderr
    (tmp_path / "gone").symlink_to("nowhere")
    assert "is not a folder" in shared.lab("restore", frozen, str(tmp_path / "gone"), status=2).stderr


def test_what_cannot_name_a_folder_is_refused(shared: Shell, frozen: str, tmp_path: Path) -> None:
    assert "UTF-8" in shared.lab("restore", frozen, os.fsencode(tmp_path) + b"/" + BAD_UTF8, status=2).stderr
    assert "absolute path" in shared.lab("restore", frozen, "", status=2).stderr
    assert "not a folder" in shared.lab("restore", frozen, str(tmp_path / ("x" * 300)), status=2).stderr


def test_a_command_without_a_source_folder_has_nothing_to_restore(shared: Shell, tmp_path: Path) -> None:
    label = json.loads(shared.lab("queue", "--json", "--", "true", cwd=tmp_path).stdout)["experiment"]["label"]
    shared.lab("wait", label)
    refused = shared.lab("restore", label, str(tmp_path / "there"), status=1).stderr
    assert refused.startswith(f"lab: {label} has no frozen code")
    assert not (tmp_path / "there").exists()


def test_one_that_waits_or_was_cancelled_before_it_ran_can_be_restored(shell: Shell, tmp_path: Path) -> None:
    blocker = shell.queue("--", "sleep", "60")
    waiting = shell.queue(shell.write("fit.py", "print(1)\n"))
    shell.lab("restore", waiting, str(tmp_path / "there"))
    assert (tmp_path / "there/fit.py").read_text() == "print(1)\n"
    shell.lab("cancel", waiting)
    shell.lab("restore", waiting, str(tmp_path / "again"))
    assert (tmp_path / "again/fit.py").read_text() == "print(1)\n"
    shell.lab("cancel", "--now", blocker)


def test_a_damaged_store_restores_what_is_whole_and_says_so(shell: Shell, tmp_path: Path) -> None:
    (shell.project / "big.bin").write_bytes(os.urandom(100_000))
    label = shell.queue(shell.write("fit.py", "pass\n"))
    shell.lab("wait", label)
    packs = (shell.home / "store/code.git/objects/pack").glob("*.pack")
    pack = max(packs, key=lambda path: path.stat().st_size)
    whole = pack.read_bytes()
    pack.chmod(0o644)
    pack.write_bytes(whole[: len(whole) // 2] + bytes(64) + whole[len(whole) // 2 + 64 :])
    assert "is damaged" in shell.lab("restore", label, str(tmp_path / "there"), status=3).stderr
    assert not (tmp_path / "there/big.bin").exists()
