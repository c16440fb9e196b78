"""Files of sealed experiments that are unchanged code take no place of their own."""

import shutil
import stat
from pathlib import Path

import pytest

from labrun.core.errors import StoreDamaged
from labrun.store.code import CodeStore
from labrun.store.sharing import drop_unused, lay_out, leftovers, share_code
from tests.store.test_code import contents, freeze, write


@pytest.fixture
def store(tmp_path: Path) -> CodeStore:
    return CodeStore(tmp_path / "code.git")


@pytest.fixture
def tree(tmp_path: Path, store: CodeStore) -> str:
    root = tmp_path / "source"
    write(root, "fit.py", b"print(1)\n")
    write(root, "sub/tool.sh", b"#!/bin/sh\n").chmod(0o755)
    write(root, "caf\udce9.txt")
    (root / "link").symlink_to("fit.py")
    return freeze(store, root)


def inode(path: Path) -> int:
    return path.lstat().st_ino


def test_unchanged_code_is_one_file_for_all_who_have_it(tmp_path: Path, store: CodeStore, tree: str) -> None:
    works = [tmp_path / name for name in ("a", "b")]
    for work in works:
        store.checkout(tree, work)
    before = contents(works[0])
    saved = [share_code(store, tree, work, tmp_path / "trees") for work in works]
    assert saved[0] == saved[1] > 0
    assert inode(works[0] / "fit.py") == inode(works[1] / "fit.py") == inode(tmp_path / "trees" / tree / "fit.py")
    assert [content for _, content in contents(works[1]).values()] == [content for _, content in before.values()]
    assert stat.S_IMODE((works[0] / "fit.py").stat().st_mode) == 0o444
    assert stat.S_IMODE((works[0] / "sub/tool.sh").stat().st_mode) == 0o555
    assert share_code(store, tree, works[0], tmp_path / "trees") == 0, "it may be repeated"


def test_what_the_run_changed_removed_or_added_is_left_alone(tmp_path: Path, store: CodeStore, tree: str) -> None:
    work = tmp_path / "work"
    store.checkout(tree, work)
    (work / "fit.py").write_text("print(2)\n")
    (work / "sub/tool.sh").unlink()
    (work / "new.txt").write_text("result\n")
    share_code(store, tree, work, tmp_path / "trees")
    assert (work / "fit.py").read_text() == "print(2)\n"
    assert (work / "fit.py").lstat().st_nlink == (work / "new.txt").lstat().st_nlink == 1
    assert not (work / "sub/tool.sh").exists()


def test_a_resume_gets_files_of_its_own_again(tmp_path: Path, store: CodeStore, tree: str) -> None:
    works = [tmp_path / name for name in ("a", "b")]
    for work in works:
        store.checkout(tree, work)
        share_code(store, tree, work, tmp_path / "trees")
    store.checkout(tree, works[0], keep_changed=True)
    assert (works[0] / "fit.py").lstat().st_nlink == 1
    (works[0] / "fit.py").write_text("changed by the next attempt\n")
    assert (works[1] / "fit.py").read_text() == "print(1)\n"
    assert (tmp_path / "trees" / tree / "fit.py").read_text() == "print(1)\n"


def test_what_a_crash_left_half_made_harms_nothing(tmp_path: Path, store: CodeStore, tree: str) -> None:
    work = tmp_path / "work"
    store.checkout(tree, work)
    (work / ".labrun-link").write_text("left over")
    write(tmp_path, f"trees/.{tree}.deadbeef/fit.py", b"torn")
    assert share_code(store, tree, work, tmp_path / "trees") > 0
    assert not (work / ".labrun-link").exists()
    assert (work / "fit.py").read_bytes() == b"print(1)\n"


def test_a_tree_goes_when_nobody_has_a_file_of_it_any_more_and_comes_back_when_needed(
    tmp_path: Path, store: CodeStore, tree: str
) -> None:
    works, trees = [tmp_path / name for name in ("a", "b")], tmp_path / "trees"
    for work in works:
        store.checkout(tree, work)
        share_code(store, tree, work, trees)
    assert drop_unused(trees) == 0
    shutil.rmtree(works[0])
    assert drop_unused(trees) == 0
    assert (trees / tree / "fit.py").exists()
    shutil.rmtree(works[1])
    assert drop_unused(trees) > 0
    assert list(trees.iterdir()) == []
    store.checkout(tree, works[0])
    assert share_code(store, tree, works[0], trees) > 0
    assert (works[0] / "fit.py").read_bytes() == b"print(1)\n"


def test_what_is_half_made_is_not_taken_for_a_tree(tmp_path: Path) -> None:
    trees = tmp_path / "trees"
    write(trees, ".gone-0123/fit.py")
    write(trees, ".abcdef.0123/fit.py")
    assert drop_unused(trees) == 0
    assert leftovers(trees) == [trees / ".abcdef.0123", trees / ".gone-0123"]
    assert drop_unused(tmp_path / "none") == 0
    assert leftovers(tmp_path / "none") == []


def test_a_tree_that_cannot_be_laid_out_leaves_nothing(tmp_path: Path, store: CodeStore, tree: str) -> None:
    for pack in (tmp_path / "code.git/objects/pack").glob("*.pack"):
        pack.chmod(0o644)
        pack.write_bytes(b"\0" * pack.stat().st_size)
    with pytest.raises(StoreDamaged):
        lay_out(CodeStore(tmp_path / "code.git"), tree, tmp_path / "trees")
    assert list((tmp_path / "trees").iterdir()) == []
