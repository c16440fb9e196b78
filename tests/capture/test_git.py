import os
import subprocess
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


def traps(root: Path, traces: Path) -> None:
    """Let a repository's own configuration name a program wherever git would start one to answer."""
    traces.mkdir(exist_ok=True)

    def trap(name: str, then: str) -> str:
        program = traces.parent / f"trap-{name}"
        program.write_text(f'#!/bin/sh\ntouch "{traces}/{name}"\n{then}\n')
        program.chmod(0o755)
        return str(program)

    for key, name, then in (
        ("filter.clean.clean", "clean", "cat"),
        ("filter.process.process", "process", "exit 1"),
        ("core.fsmonitor", "fsmonitor", "exit 1"),
        ("diff.external", "external", "exit 0"),
        ("diff.shown.command", "command", "exit 0"),
        ("diff.shown.textconv", "textconv", 'cat "$1"'),
        ("core.pager", "pager", "cat"),
        ("core.sshCommand", "ssh", "exit 1"),
    ):
        git(root, "config", key, trap(name, then))
    git(root, "config", "filter.clean.required", "true")
    hooks = traces.parent / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("post-index-change", "pre-commit", "post-checkout", "reference-transaction"):
        trap(hook, "exit 0")
        (hooks / hook).unlink(missing_ok=True)
        (hooks / hook).symlink_to(traces.parent / f"trap-{hook}")
    git(root, "config", "core.hooksPath", str(hooks))


def hostile(root: Path) -> Path:
    """A repository whose attributes send every file through something, and whose files all changed."""
    attributes = "*.a filter=clean diff=shown\n*.b filter=process\n*.c diff=shown\n"
    project(root, {".gitattributes": attributes, "x.a": "1\n", "x.b": "1\n", "x.c": "1\n"})
    for name in ("x.a", "x.b", "x.c"):
        (root / name).write_text("2\n")
    return root


def asked(root: Path) -> list[str]:
    """Everything that is asked of a repository, and the names of what changed."""
    found = real(root)
    assert found.is_dirty()
    assert found.knows("x.a")
    names, _ = found.status()
    assert all(change.patch is not None for change in found.changes(names, 10**6, 10**6))
    return names


def test_nothing_that_a_repository_names_is_started(tmp_path: Path) -> None:
    root, traces = hostile(tmp_path / "root"), tmp_path / "traces"
    traps(root, traces)
    assert asked(root) == ["x.a", "x.b", "x.c"]
    assert list(traces.iterdir()) == []


def test_git_itself_would_start_it(tmp_path: Path) -> None:
    """The trap works: what the test above finds empty is not empty for whoever asks git without care."""
    root, traces = hostile(tmp_path / "root"), tmp_path / "traces"
    traps(root, traces)
    for question in (["status"], ["diff", "HEAD"]):
        subprocess.run(["git", *question], cwd=root, check=False, capture_output=True)
    assert {each.name for each in traces.iterdir()} >= {"clean", "process", "fsmonitor"}


def test_nothing_that_a_submodule_names_is_started(tmp_path: Path) -> None:
    outer, traces = project(tmp_path / "outer", {"a": "1\n"}), tmp_path / "traces"
    inner = project(tmp_path / "inner", {".gitattributes": "*.a filter=clean\n*.b filter=process\n", "x.a": "1\n"})
    git(outer, "submodule", "add", "-q", str(inner), "below")
    git(outer, "commit", "-qm", "with a submodule")
    (outer / "below/x.a").write_text("2\n")
    traps(outer / "below", traces)
    assert real(outer).status() == (["below"], [])
    assert real(outer).is_dirty()
    assert list(traces.iterdir()) == []


def test_nothing_that_the_settings_of_one_work_tree_name_is_started(tmp_path: Path) -> None:
    root, traces = hostile(tmp_path / "root"), tmp_path / "traces"
    git(root, "config", "extensions.worktreeConfig", "true")
    traps(root, traces)
    (root / ".git/config.worktree").write_bytes((root / ".git/config").read_bytes())
    assert asked(root) == ["x.a", "x.b", "x.c"]
    assert list(traces.iterdir()) == []


def test_a_work_tree_beside_another_is_asked_like_any(tmp_path: Path) -> None:
    root = project(tmp_path / "root", {"a": "1\n"})
    git(root, "worktree", "add", "-q", str(tmp_path / "second"))
    (tmp_path / "second/a").write_text("2\n")
    assert real(tmp_path / "second").status() == (["a"], [])


def test_a_filter_whose_name_cannot_be_turned_off_ends_the_question(tmp_path: Path) -> None:
    root = hostile(tmp_path / "root")
    git(root, "config", "filter.a=b.clean", "cat")
    with pytest.raises(GitSilent, match="a filter named 'a=b'"):
        real(root).status()


def test_a_persons_own_filters_are_his_and_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git LFS is one of these: without it every pointer would differ from the file it stands for."""
    root = project(tmp_path / "root", {".gitattributes": "*.big filter=own\n", "x.big": "pointer\n"})
    (tmp_path / "config").write_text('[filter "own"]\n\tclean = echo pointer\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    (root / "x.big").write_text("many megabytes\n")
    names, _ = real(root).status()
    assert list(real(root).changes(names, 10**6, 10**6)) == []


def test_a_missing_object_is_not_fetched(tmp_path: Path) -> None:
    whole = project(tmp_path / "whole", {"x.a": "1\n"})
    git(whole, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--no-local", "--filter=blob:none", "--no-checkout", whole.as_uri(), "part")
    part = tmp_path / "part"
    (part / "x.a").write_text("2\n")
    git(part, "reset", "-q")
    names, _ = real(part).status()
    with pytest.raises(GitSilent):
        list(real(part).changes(names, 10**6, 10**6))
