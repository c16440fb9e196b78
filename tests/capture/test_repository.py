import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from labrun.capture.listing import list_code
from labrun.capture.readings import Readings
from labrun.capture.repository import RepositoryReading, read_head, read_repository
from labrun.core.environment import Repository
from tests.capture.installed import git, project
from tests.capture.test_listing import without_git

Read = Callable[[Path], RepositoryReading]


@pytest.fixture(params=["with git", "without git"])
def read(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Read:
    def with_git(root: Path) -> RepositoryReading:
        return read_repository(root, list_code(root).files, None, Readings())

    def or_without(root: Path) -> RepositoryReading:
        with without_git(tmp_path_factory):
            return with_git(root)

    return with_git if request.param == "with git" else or_without


def described(found: RepositoryReading) -> Repository:
    assert found.repository is not None
    return found.repository


def restored(tmp_path: Path, root: Path, found: RepositoryReading) -> Path:
    """Commit plus difference, laid out anew."""
    copy = tmp_path / "restored"
    git(tmp_path, "clone", "-q", str(root), str(copy))
    git(copy, "checkout", "-q", str(described(found).commit))
    if found.diff is not None:
        (tmp_path / "code.diff").write_bytes(found.diff)
        git(copy, "apply", "--whitespace=nowarn", str(tmp_path / "code.diff"))
    return copy


def contents(root: Path) -> dict[str, tuple[bytes | str, bool]]:
    return {
        name: (str((root / name).readlink()), False)
        if (root / name).is_symlink()
        else ((root / name).read_bytes(), os.access(root / name, os.X_OK))
        for name in list_code(root).files
    }


def test_a_clean_work_tree(tmp_path: Path, read: Read) -> None:
    root = project(tmp_path / "root", {"a.py": "1\n", ".gitignore": "ignored\n", "ignored": ""})
    git(root, "rm", "-q", "--cached", "ignored")
    git(root, "commit", "-qm", "clean")
    git(root, "remote", "add", "origin", "https://ada:pw@example.org/a.git")
    found = read(root)
    commit = git(root, "rev-parse", "HEAD").strip()
    assert found.repository == Repository(commit, "main", is_dirty=False, remote="https://example.org/a.git")
    assert (found.diff, found.notices) == (None, ())


def test_the_difference_turns_the_commit_into_the_frozen_code(tmp_path: Path, read: Read) -> None:
    root = project(
        tmp_path / "root",
        {
            "changed": "1\n2\n",
            "staged": "1\n",
            "gone": "x\n",
            "mode": "x\n",
            "kind": "x\n",
            "kept": "x\n",
            "deep/a": "x\n",
        },
    )
    (root / "link").symlink_to("kept")
    git(root, "add", "link")
    git(root, "commit", "-qm", "link")
    (root / "changed").write_text("1\nzwei\n3")
    (root / "staged").write_text("2\n")
    git(root, "add", "staged")
    (root / "gone").unlink()
    (root / "mode").chmod(0o755)
    (root / "kind").unlink()
    (root / "kind").symlink_to("kept")
    (root / "link").unlink()
    (root / "link").symlink_to("changed")
    (root / "deep/new file").write_text("new\n")
    (root / "empty").touch()
    (root / "ü\n").write_bytes(b"\xff")
    (root / "run").write_text("#!/bin/sh\n")
    (root / "run").chmod(0o755)
    found = read(root)
    assert described(found).is_dirty
    assert described(found).diff == "submitted/code.diff"
    assert contents(restored(tmp_path, root, found)) == contents(root)


def test_what_is_not_text_or_too_large_is_named_on_top(tmp_path: Path, read: Read) -> None:
    root = project(tmp_path / "root", {"text": "1\n", "was_binary": "\0", "grows": "x\n"})
    (root / "text").write_text("2\n")
    (root / "was_binary").write_bytes(b"\0\1")
    (root / "new.npy").write_bytes(b"\0" * 100)
    (root / "grows").write_text("x\n" * 600_000)
    (root / "large.csv").write_text("1,2,3\n" * 200_000)
    found = read(root)
    assert found.diff is not None
    head, _, rest = found.diff.partition(b"diff --git")
    assert head.decode().splitlines() == [
        "# These files differ too, but are not shown here; the frozen code has them.",
        *(f"# not text, or larger than 1.0 MiB: {name!r}" for name in ("grows", "large.csv", "new.npy", "was_binary")),
    ]
    assert b"+2\n" in rest
    assert (restored(tmp_path, root, found) / "text").read_text() == "2\n"


def test_a_huge_difference_ends_at_a_whole_file_and_names_the_rest(tmp_path: Path, read: Read) -> None:
    files = {f"tracked{i}": "x\n" for i in range(6)}
    root = project(tmp_path / "root", {**files})
    for i in range(6):
        (root / f"tracked{i}").write_text("changed line\n" * 70_000)
        (root / f"new{i}").write_text("new line\n" * 100_000)
    found = read(root)
    assert found.diff is not None
    assert len(found.diff) < 4.1 * 2**20
    shown = found.diff.count(b"diff --git ")
    named = found.diff.count(b"# beyond the first 4.0 MiB: ")
    assert (shown, named) == (4, 8)
    restored(tmp_path, root, found)


def test_credentials_and_what_is_not_frozen_stay_out_of_the_difference(tmp_path: Path, read: Read) -> None:
    root = project(
        tmp_path / "root", {".env": "A=1", "kept/id_rsa": "old", "secret.txt": "1", ".labignore": "secret.txt\n"}
    )
    (root / ".env").write_text("KEY=hunter2")
    (root / "kept/id_rsa").unlink()
    (root / "secret.txt").write_text("hunter2")
    (root / "new.pem").write_text("hunter2")
    found = read(root)
    assert not described(found).is_dirty
    assert found.diff is None


def test_a_branch_without_a_commit(tmp_path: Path, read: Read) -> None:
    git(tmp_path, "init", "-q")
    assert read(tmp_path).repository == Repository(None, "main", is_dirty=False)
    (tmp_path / "a.py").write_text("1")
    found = read(tmp_path)
    assert found.repository == Repository(None, "main", is_dirty=True)
    assert found.diff is None


def test_a_detached_head_has_no_branch(tmp_path: Path, read: Read) -> None:
    root = project(tmp_path / "root", {"a": "1"})
    git(root, "checkout", "-q", "--detach")
    assert described(read(root)).branch is None


def test_a_linked_work_tree_and_packed_refs(tmp_path: Path, read: Read) -> None:
    root = project(tmp_path / "root", {"a": "1"})
    git(root, "remote", "add", "origin", "git@example.org:a.git")
    git(root, "pack-refs", "--all")
    git(root, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    (tmp_path / "side/a").write_text("2")
    found = described(read(tmp_path / "side"))
    assert (found.branch, found.remote, found.is_dirty) == ("side", "git@example.org:a.git", True)
    assert found.commit == git(root, "rev-parse", "HEAD").strip()


def test_a_root_below_the_top_sees_only_its_own_changes(tmp_path: Path, read: Read) -> None:
    top = project(tmp_path / "top", {"mine/a": "1\n", "other/b": "1\n"})
    (top / "other/b").write_text("2\n")
    assert not described(read(top / "mine")).is_dirty
    (top / "mine/a").write_text("2\n")
    found = read(top / "mine")
    assert found.diff is not None
    assert b"b/mine/a" in found.diff
    assert b"other" not in found.diff


def test_a_root_that_an_outer_repository_ignores_is_in_none(tmp_path: Path) -> None:
    top = project(tmp_path / "top", {".gitignore": "*\n", "profile": "x"})
    (top / "mine").mkdir()
    (top / "mine/a.py").write_text("1")
    assert read_repository(top / "mine", ["a.py"], None, Readings()).repository is None


def test_a_folder_in_no_repository(tmp_path: Path) -> None:
    assert read_head(tmp_path) is None
    assert read_repository(tmp_path, [], None, Readings()) == RepositoryReading()


def test_changes_in_a_submodule_and_a_nested_repository_make_it_dirty(tmp_path: Path) -> None:
    module = project(tmp_path / "module", {"inner": "1\n"})
    root = project(tmp_path / "root", {"a": "1\n"})
    git(root, "submodule", "--quiet", "add", str(module), "sub")
    git(root, "commit", "-qm", "sub")
    assert not described(read_repository(root, list_code(root).files, None, Readings())).is_dirty
    (root / "sub/inner").write_text("2\n")
    assert described(read_repository(root, list_code(root).files, None, Readings())).is_dirty
    git(root / "sub", "checkout", "-q", "inner")
    project(root / "nested", {"b": "1\n"})
    found = read_repository(root, list_code(root).files, None, Readings())
    assert described(found).is_dirty
    assert found.diff is not None
    assert "# a repository of its own: 'nested/'" in found.diff.decode()


def test_line_ends_that_git_converts_are_no_difference(tmp_path: Path) -> None:
    root = project(tmp_path / "root", {".gitattributes": "* text=auto\n", "a": "1\n2\n"})
    git(root, "config", "core.autocrlf", "true")
    (root / "a").write_bytes(b"1\r\n2\r\n")
    assert not described(read_repository(root, list_code(root).files, None, Readings())).is_dirty


def test_git_that_fails_is_no_evidence_of_a_clean_tree(tmp_path: Path) -> None:
    root = project(tmp_path / "root", {"a": "1\n"})
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin/git"
    fake.write_text("#!/bin/sh\necho 'fatal: detected dubious ownership' >&2\nexit 128\n")
    fake.chmod(0o755)
    path, os.environ["PATH"] = os.environ["PATH"], f"{tmp_path}/bin:{os.environ['PATH']}"
    try:
        found = read_repository(root, ["a"], None, Readings())
    finally:
        os.environ["PATH"] = path
    assert described(found).is_dirty
    assert found.notices == (
        "whether the code differs from its commit is not known, and recorded as if it did: "
        "git says: fatal: detected dubious ownership",
    )


def test_a_repository_that_is_damaged_is_told_too(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = project(tmp_path / "root", {"a": "1\n"})
    subprocess.run(["rm", "-r", str(root / ".git/objects")], check=True)
    (root / ".git/objects").mkdir()
    with without_git(tmp_path_factory):
        found = read_repository(root, ["a"], None, Readings())
    assert described(found).is_dirty
    assert "the repository is damaged" in found.notices[0]


def test_nothing_is_asked_again_while_commit_and_tree_are_the_same(tmp_path: Path) -> None:
    root = project(tmp_path / "root", {"a": "1\n"})
    readings = Readings()
    assert not described(read_repository(root, ["a"], "tree1", readings)).is_dirty
    (root / "a").write_text("2\n")
    assert not described(read_repository(root, ["a"], "tree1", readings)).is_dirty
    assert described(read_repository(root, ["a"], "tree2", readings)).is_dirty
    git(root, "commit", "-qam", "two")
    assert not described(read_repository(root, ["a"], "tree2", readings)).is_dirty


def test_the_users_repository_is_not_written_to(tmp_path: Path) -> None:
    root = project(tmp_path / "root", {"a": "1\n", "b": "1\n"})
    os.utime(root / "b")
    (root / "a").write_text("2\n")
    before = {path: path.stat().st_mtime_ns for path in (root / ".git").rglob("*")}
    read_repository(root, ["a", "b"], None, Readings())
    assert {path: path.stat().st_mtime_ns for path in (root / ".git").rglob("*")} == before
