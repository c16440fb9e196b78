"""Repositories that make snapshots go wrong: what is submitted, executed and restored is one tree.

Each is submitted through the real command and server, with git on their PATH and without. The tree is
counted three times: by labrun at submit, by the experiment's own script in its working copy, and here
in what `lab restore` brought back. The last two do it with the standard library alone.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.capture.test_listing import git, write
from tests.cli.conftest import Shell

pytestmark = pytest.mark.timeout(180)

TREE = """\
import hashlib, os, stat

def tree(folder):
    lines = []
    for entry in os.scandir(folder):
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            kind, name = b"40000", tree(entry.path)
        elif stat.S_ISLNK(mode):
            kind, name = b"120000", blob(os.readlink(entry.path))
        else:
            kind = b"100755" if mode & stat.S_IXUSR else b"100644"
            with open(entry.path, "rb") as file:
                name = blob(file.read())
        if name is not None:
            key = entry.name + b"/" if kind == b"40000" else entry.name
            lines.append((key, kind + b" " + entry.name + b"\\0" + name))
    content = b"".join(line for _, line in sorted(lines))
    return named(b"tree", content) if lines else None

def blob(content):
    return named(b"blob", content)

def named(kind, content):
    return hashlib.sha1(b"%s %d\\0" % (kind, len(content)) + content).digest()

print(tree(os.fsencode(os.getcwd())).hex())
"""
"""The script of every repository: git's hash of the folder it stands in, folders without files left out."""


def names(root: Path) -> set[str]:
    """Every file and link below a folder."""
    found = set()
    for folder, folders, files in os.walk(root):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        found |= {os.path.relpath(f"{folder}/{name}", root) for name in (*files, *links)}
    return found


def repository(root: Path) -> Path:
    root.mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    return root


def committed(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-qm", "state")


def submodules(root: Path) -> set[str]:
    library = repository(root.parent / "library")
    write(library, "lib.py", "ignored.o", "deep/x.py")
    write(library, ".gitignore", text="*.o\n")
    committed(library)
    repository(root)
    git(root, "submodule", "--quiet", "add", str(library), "vendor/used")
    git(root, "submodule", "--quiet", "add", str(library), "vendor/unused")
    committed(root)
    git(root, "submodule", "--quiet", "deinit", "-f", "vendor/unused")
    write(root, "vendor/used/edited.py", "vendor/used/junk.o")
    used = {".gitignore", "lib.py", "deep/x.py", "edited.py"}
    return {".gitmodules", *(f"vendor/used/{name}" for name in used)}


def links_out(root: Path) -> set[str]:
    repository(root)
    write(root, "real/a.py", "../outside/data.csv")
    targets = {
        "absolute": str(root.parent / "outside/data.csv"),
        "up": "../outside",
        "deep/up": "../../outside/data.csv",
        "nowhere": "not/there",
        "itself": "itself",
        "round/a": "../round",
        "inside": "real/a.py",
    }
    for name, target in targets.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).symlink_to(target)
    committed(root)
    (root / "inside").unlink()
    (root / "inside").symlink_to("real")
    return {"real/a.py", *targets}


def case_renames(root: Path) -> set[str]:
    repository(root)
    write(root, "Model.py", "Data/One.csv", "readme", "README")
    committed(root)
    git(root, "config", "core.ignorecase", "true")
    (root / "Model.py").rename(root / "model.py")
    (root / "Data").rename(root / "data")
    return {"model.py", "data/One.csv", "readme", "README"}


def executable_bits(root: Path) -> set[str]:
    repository(root)
    write(root, "was.sh", "becomes.sh", "group.sh", "closed.py")
    (root / "was.sh").chmod(0o755)
    committed(root)
    git(root, "config", "core.fileMode", "false")
    (root / "was.sh").chmod(0o644)
    (root / "becomes.sh").chmod(0o711)
    (root / "group.sh").chmod(0o654)
    (root / "closed.py").chmod(0o400)
    return {"was.sh", "becomes.sh", "group.sh", "closed.py"}


def line_ends(root: Path) -> set[str]:
    repository(root)
    git(root, "config", "core.autocrlf", "true")
    git(root, "config", "core.safecrlf", "false")
    write(root, ".gitattributes", text="* text=auto eol=lf\n*.txt ident working-tree-encoding=UTF-16\n")
    (root / "dos.py").write_bytes(b"one\r\ntwo\r\n")
    (root / "mixed.py").write_bytes(b"one\r\ntwo\nthree\r")
    (root / "wide.txt").write_bytes("$Id$ ü\n".encode("utf-16"))
    committed(root)
    (root / "new.py").write_bytes(b"\r\n\r\n")
    return {".gitattributes", "dos.py", "mixed.py", "wide.txt", "new.py"}


def lfs_pointers(root: Path) -> set[str]:
    repository(root)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"
    write(root, "weights.bin", "fetched.bin", text=pointer)
    committed(root)
    write(root, ".gitattributes", text="*.bin filter=lfs diff=lfs merge=lfs -text\n")
    git(root, "config", "filter.lfs.clean", "tr a-z x")  # whoever stored what it makes of a file would be found out
    git(root, "config", "filter.lfs.smudge", "false")
    git(root, "config", "filter.lfs.required", "true")
    (root / "fetched.bin").write_bytes(bytes(range(256)) * 48)
    return {".gitattributes", "weights.bin", "fetched.bin"}


def odd_names(root: Path) -> set[str]:
    repository(root)
    found = {"new\nline.py", "tab\t.py", "-rf", "--", "caf\u00e9.py", "cafe\u0301.py", "caf\udce9.py", "漢/字.py", "😀"}
    found |= {
        "with space ",
        " ",
        "quote'\"`$x",
        "back\\slash",
        "*.py",
        "[a]",
        "#hash",
        "!bang",
        "~",
        "a/-/b",
        "con",
        "x" * 255,
    }
    write(root, *found)
    git(root, "add", "-A")
    (root / "*.py").write_text("edited\n")
    return found


def ten_thousand_files(root: Path) -> set[str]:
    repository(root)
    found = {f"d{i % 100}/e{i % 7}/f{i}.py" for i in range(10_000)}
    write(root, *found)
    return found


def empty_folders(root: Path) -> set[str]:
    """Git has no word for them, so they are not frozen; a script that needs one makes it."""
    repository(root)
    write(root, "logs/.gitkeep", "a.py")
    (root / "results/deep").mkdir(parents=True)
    write(root, ".gitignore", text="only-ignored/*\n")
    write(root, "only-ignored/x")
    return {"logs/.gitkeep", "a.py", ".gitignore"}


def nested_repositories(root: Path) -> set[str]:
    repository(root)
    write(root, "outer.py")
    for place in ("linked", "loose", "ignored"):
        inner = repository(root / place)
        write(inner, "in.py", "out.o")
        write(inner, ".gitignore", text="*.o\n")
        committed(inner)
        write(inner, "new.py")
    write(root, ".gitignore", text="/ignored\n*.py[co]\n")
    git(root, "-c", "advice.addEmbeddedRepo=false", "add", "linked", "outer.py")
    git(root, "commit", "-qm", "a link to a commit, and no .gitmodules")
    repository(root / "loose/deeper")
    write(root, "loose/deeper/bottom.py")
    inner_names = {".gitignore", "in.py", "new.py"}
    found = {f"{place}/{name}" for place in ("linked", "loose") for name in inner_names}
    return {".gitignore", "outer.py", "loose/deeper/bottom.py", *found}


def sparse_checkout(root: Path) -> set[str]:
    repository(root)
    write(root, "top.py", "kept/a.py", "kept/deep/b.py", "left/c.py", "left/deep/d.py")
    committed(root)
    git(root, "sparse-checkout", "set", "--cone", "--sparse-index", "kept")
    assert not (root / "left").exists()
    write(root, ".gitignore", text="kept/deep/\n")
    write(root, "left/new.py")
    return {".gitignore", "top.py", "kept/a.py", "kept/deep/b.py", "left/new.py"}


def detached_head(root: Path) -> set[str]:
    repository(root)
    write(root, "a.py", "gone.py", "staged-gone.py")
    committed(root)
    git(root, "checkout", "-q", "--detach")
    write(root, "a.py", text="staged\n")
    write(root, "staged.py", "half.py")
    git(root, "add", "-A")
    write(root, "a.py", text="and edited again\n")
    (root / "half.py").unlink()
    (root / "gone.py").unlink()
    git(root, "rm", "-q", "--cached", "staged-gone.py")
    write(root, "untracked.py")
    return {"a.py", "staged.py", "staged-gone.py", "untracked.py"}


def unborn_branch(root: Path) -> set[str]:
    repository(root)
    write(root, "staged.py", "loose.py")
    git(root, "add", "staged.py")
    return {"staged.py", "loose.py"}


def dotfiles_home(root: Path) -> set[str]:
    """The project lies in a home directory that is a repository which ignores everything."""
    home = repository(root.parent)
    write(home, ".bashrc", "notes.txt")
    write(home, ".gitignore", text="*\n")
    git(home, "add", "-f", ".bashrc", ".gitignore")
    git(home, "commit", "-qm", "dotfiles")
    write(root, "pyproject.toml", "pkg/a.py")
    return {"pyproject.toml", "pkg/a.py"}


def hostile_settings(root: Path) -> set[str]:
    """Nothing that a repository may name as a program is run when it is listed."""
    repository(root)
    write(root, "a.py")
    committed(root)
    ran, hooks = root.parent / "ran", root.parent / "hooks"
    for hook in ("post-index-change", "fsmonitor-watchman", "pre-commit"):
        write(hooks, hook, text=f"#!/bin/sh\ntouch {ran}\n")
        (hooks / hook).chmod(0o755)
    for setting in ("core.fsmonitor", "core.pager", "core.sshCommand", "diff.external", "core.editor"):
        git(root, "config", setting, f"touch {ran}")
    git(root, "config", "core.hooksPath", str(hooks))
    (root / "a.py").touch()
    return {"a.py"}


REPOSITORIES: tuple[Callable[[Path], set[str]], ...] = (
    submodules,
    links_out,
    case_renames,
    executable_bits,
    line_ends,
    lfs_pointers,
    odd_names,
    ten_thousand_files,
    empty_folders,
    nested_repositories,
    sparse_checkout,
    detached_head,
    unborn_branch,
    dotfiles_home,
    hostile_settings,
)


class Labs:
    """Two homes: one whose server finds git, one whose server does not."""

    def __init__(self, folder: Path) -> None:
        self.shells: list[Shell] = []
        bare = folder / "bin"
        bare.mkdir()
        for program in ("env", "sh"):
            (bare / program).symlink_to(str(shutil.which(program)))
        for name, path in (("with", os.environ["PATH"]), ("without", str(bare))):
            (folder / name).mkdir()
            shell = Shell(folder / name)
            shell.variables |= {"PATH": path, "VIRTUAL_ENV": sys.prefix}
            self.shells.append(shell)
            shell.lab("serve", "--detach")
        assert shutil.which("git", path=path) is None

    def end(self) -> None:
        for shell in self.shells:
            shell.end()


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labs]:
    found = Labs(tmp_path_factory.mktemp("labs"))
    yield found
    found.end()


def counted(script: Path, folder: Path) -> str:
    """What the script says of a folder."""
    done = subprocess.run([sys.executable, str(script)], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.parametrize("build", REPOSITORIES, ids=lambda build: build.__name__)
def test_submitted_executed_and_restored_are_one_tree_with_and_without_git(
    labs: Labs, tmp_path: Path, build: Callable[[Path], set[str]]
) -> None:
    root = tmp_path / "user/project"
    expected = build(root) | {"tree.py"}
    write(root, "tree.py", text=TREE)
    trees = set()
    for number, shell in enumerate(labs.shells):
        label = shell.lab("queue", "--quiet", "tree.py", cwd=root, HOME=str(root.parent)).stdout.strip()
        shell.lab("wait", label)
        restored = tmp_path / f"restored-{number}"
        shell.lab("restore", label, str(restored))
        assert names(restored) == expected
        trees |= {
            shell.json("info", label)["tree"],
            shell.lab("logs", label).stdout.strip(),
            counted(root / "tree.py", restored),
        }
    assert len(trees) == 1, trees
    assert not (root.parent / "ran").exists(), "a program of the repository's choosing was run"
