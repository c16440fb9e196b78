import os
from pathlib import Path

import pytest

from labrun.capture.git import Git, GitSilent
from tests.capture.installed import git, project


def fake(tmp_path: Path, text: str) -> Git:
    """Git replaced by a script of a few lines."""
    program = tmp_path / "fake-git"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return Git(tmp_path, str(program), answer_limit_s=0.3)


def real(root: Path) -> Git:
    found = Git.at(root)
    assert found is not None
    return found


def test_without_git_on_path_there_is_none(tmp_path: Path) -> None:
    path, os.environ["PATH"] = os.environ["PATH"], str(tmp_path)
    try:
        assert Git.at(tmp_path) is None
    finally:
        os.environ["PATH"] = path


def test_status_tells_tracked_from_untracked_names(tmp_path: Path) -> None:
    root = project(tmp_path / "root", {"a b": "1\n", "sub/new\nline": "1\n", "same": "1\n"})
    (root / "a b").write_text("2\n")
    (root / "sub/new\nline").unlink()
    (root / "sub/ü").write_text("x")
    assert real(root).status() == (["a b", "sub/new\nline"], ["sub/ü"])
    assert real(root).status("sub/") == (["sub/new\nline"], ["sub/ü"])
    assert real(root).is_dirty()


def test_a_file_in_conflict_is_a_change(tmp_path: Path) -> None:
    root = project(tmp_path / "root", {"a": "1\n"})
    git(root, "checkout", "-qb", "side")
    (root / "a").write_text("2\n")
    git(root, "commit", "-qam", "two")
    git(root, "checkout", "-q", "main")
    (root / "a").write_text("3\n")
    git(root, "commit", "-qam", "three")
    with pytest.raises(Exception, match="merge"):
        git(root, "merge", "side")
    assert real(root).status() == (["a"], [])
    (change,) = real(root).changes(["a"], 10**6, 10**6)
    assert change.patch is not None
    assert b"+<<<<<<<" in change.patch


def test_names_are_names_and_not_patterns(tmp_path: Path) -> None:
    root = project(tmp_path / "root", {"*": "1\n", "a": "1\n", ":(top)": "1\n"})
    for name in ("*", "a", ":(top)"):
        (root / name).write_text("2\n")
    assert [change.name for change in real(root).changes(["*", ":(top)"], 10**6, 10**6)] == ["*", ":(top)"]


def test_thousands_of_names_are_asked_in_pieces(tmp_path: Path) -> None:
    names = [f"{'long-' * 30}{i:04}" for i in range(1000)]
    root = project(tmp_path / "root", dict.fromkeys(names, "1\n"))
    for name in names:
        (root / name).write_text("2\n")
    found = list(real(root).changes(names, 10**6, 10**7))
    assert [change.name for change in found] == names
    assert all(change.patch is not None and change.patch.count(b"diff --git") == 1 for change in found)


def test_an_answer_over_the_limit_ends_at_a_whole_file(tmp_path: Path) -> None:
    names = [f"f{i}" for i in range(10)]
    root = project(tmp_path / "root", dict.fromkeys(names, ""))
    for name in names:
        (root / name).write_text("line\n" * 10_000)
    found = list(real(root).changes(names, 10**6, 150_000))
    shown = [change.name for change in found if change.patch is not None]
    assert shown == ["f0", "f1"]
    assert all(change.patch.endswith(b"+line\n") for change in found if change.patch is not None)
    assert [change.is_whole for change in found] == [True] * 2 + [False] * (len(found) - 2)
    assert len(found) == len(names)


@pytest.mark.parametrize("question", ["status", "is_dirty"])
def test_git_that_hangs_is_given_up(tmp_path: Path, question: str) -> None:
    with pytest.raises(GitSilent, match="no answer"):
        getattr(fake(tmp_path, "exec sleep 60"), question)()


def test_a_comparison_that_hangs_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(GitSilent, match="no answer"):
        list(fake(tmp_path, "exec sleep 60").changes(["a"], 1, 1))


def test_a_comparison_that_fails_says_why_however_much_it_says(tmp_path: Path) -> None:
    loop = "i=0; while [ $i -lt 3000 ]; do echo warning: line ends will be replaced >&2; i=$((i+1)); done"
    noisy = fake(tmp_path, f"{loop}; exit 128")
    with pytest.raises(GitSilent, match="warning: line ends"):
        list(noisy.changes(["a"], 1, 1))


def test_a_program_that_cannot_be_started_says_why(tmp_path: Path) -> None:
    for question in (lambda found: found.status(), lambda found: list(found.changes(["a"], 1, 1))):
        with pytest.raises(GitSilent, match="No such file"):
            question(Git(tmp_path, str(tmp_path / "no-git")))


def test_one_that_fails_without_a_word_is_quoted_by_its_status(tmp_path: Path) -> None:
    with pytest.raises(GitSilent, match="git ended with status 3"):
        fake(tmp_path, "exit 3").status()
