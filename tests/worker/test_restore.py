import subprocess
from pathlib import Path

import pytest

from labrun.core.errors import BadValue, DiskFull, NothingFrozen
from labrun.core.spec import Link, Source
from labrun.store.code import CodeStore
from labrun.worker.restore import check_destination, restore


@pytest.fixture
def code(tmp_path: Path) -> CodeStore:
    return CodeStore(tmp_path / "code.git")


@pytest.fixture
def tree(code: CodeStore) -> str:
    return code.store_files({"train.py": b"one\n", "pkg/model.py": b"two\n", "big.bin": bytes(range(256)) * 12_000})


def test_files_come_back_and_what_was_live_is_named(tmp_path: Path, code: CodeStore, tree: str) -> None:
    source = Source(root="/p", tree=tree, links=(Link("data", "/nas/data"), Link("weights.bin", "/nas/w")))
    done = restore(code, "EXP-001", tree, source, tmp_path / "there")
    assert (done.file_count, done.tree) == (3, tree)
    assert done.notices == ("live when it was submitted, so not restored: data -> /nas/data, weights.bin -> /nas/w",)
    assert (tmp_path / "there/pkg/model.py").read_bytes() == b"two\n"


def test_what_somebody_writes_there_meanwhile_is_kept_and_named(tmp_path: Path, code: CodeStore, tree: str) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/train.py").write_text("mine\n")
    done = restore(code, "EXP-001", tree, None, tmp_path / "there")
    assert done.file_count == 2
    assert done.notices == ("left as it was, for somebody wrote there meanwhile: train.py",)
    assert (tmp_path / "there/train.py").read_text() == "mine\n"


def test_without_a_tree_there_is_nothing_to_restore(tmp_path: Path, code: CodeStore) -> None:
    with pytest.raises(NothingFrozen, match="EXP-001 has no frozen code"):
        restore(code, "EXP-001", None, Source(), tmp_path / "there")


@pytest.mark.parametrize("wrong", ["relative", "", "/tmp/a\0b", "/dev/null", "/proc/self/mem/x"])
def test_a_folder_that_cannot_be_one_is_refused(wrong: str) -> None:
    with pytest.raises(BadValue, match="folder"):
        check_destination(wrong)


def test_a_place_where_nobody_may_write_is_refused_as_a_bad_folder(code: CodeStore, tree: str) -> None:
    with pytest.raises(BadValue, match="can be written to"):
        restore(code, "EXP-001", tree, None, check_destination("/proc/self/there"))


def test_a_full_disk_is_said(tmp_path: Path, code: CodeStore, tree: str) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(mount)], check=False).returncode:
        pytest.skip("mounting needs root")
    try:
        with pytest.raises(DiskFull, match=r"no space left at .* while restoring EXP-001"):
            restore(code, "EXP-001", tree, None, check_destination(str(mount)))
        assert not (mount / "big.bin").exists(), "half a file stays nowhere"
    finally:
        subprocess.run(["umount", str(mount)], check=True)
