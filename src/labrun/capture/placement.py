"""Which folder is the code, and where in it the command runs.

The rules, in the order they are tried (design 8):

1. Root is the nearest ancestor of the script with `.git`, `lab.toml` or `pyproject.toml`, else the
   script's folder. A module or a program has no script: its search begins at the caller's directory
   (a program given by its path: at that file's folder when the caller stands in the same project).
2. `$HOME`, `/`, `/tmp`, `/var/tmp` and the lab's own home are never a root. A script that lies there
   is frozen alone; a module or program is not frozen at all and runs live. Both are said.
3. A bare program outside any project (`lab run -- sleep 5`) freezes nothing: a folder without a mark
   of a project may hold anything, and nothing in it is known to be code.
4. A caller inside the root gets the same place in the frozen copy. One outside keeps his directory,
   recorded as live; then the script's path stays absolute and the worker maps it into the copy.
"""

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from labrun.capture.target import Target

MARKS = (".git", "lab.toml", "pyproject.toml")
ENVIRONMENT_MARKS = ("pyvenv.cfg", "conda-meta")
"""What a virtual or conda environment is known by."""


class Placement(NamedTuple):
    """Where code comes from and where the command runs."""

    root: Path | None
    only: tuple[str, ...]
    """When not empty, only these paths below the root are frozen."""
    cwd: str
    """Relative to the root, or absolute when live."""
    is_live: bool
    word: str
    """The target's first word as it is executed from there."""
    notices: tuple[str, ...]


def find_root(start: Path, forbidden: Collection[Path], exists: Callable[[Path], bool]) -> Path | None:
    """The nearest ancestor (or `start` itself) with a mark of a project; None without one.

    Args:
        start: Absolute, without links.
        forbidden: Folders that are never a root, whatever lies in them.
        exists: Whether a path exists.
    """
    for folder in (start, *start.parents):
        if folder not in forbidden and any(exists(folder / mark) for mark in MARKS):
            return folder
    return None


def never_roots(user_home: Path, lab_home: Path) -> frozenset[Path]:
    """Folders that are too wide to be anybody's source."""
    named = (user_home, lab_home, Path("/"), Path("/tmp"), Path("/var/tmp"))
    return frozenset(path for each in named for path in (each, each.resolve()))


def place(target: Target, cwd: Path, forbidden: Collection[Path]) -> Placement:
    """Decide root, working directory and the word to execute.

    Args:
        target: What is to be run.
        cwd: The caller's directory, absolute, without links.
        forbidden: From `never_roots`.
    """
    if target.kind == "script" and target.file is not None:
        return _place_script(target, target.file, cwd, forbidden)
    root = find_root(cwd, forbidden, Path.exists)
    if root is None and target.kind == "module" and cwd not in forbidden:
        root = cwd
    if root is None and target.file is not None:
        folder = _settle(target.file).parent
        root = find_root(folder, forbidden, Path.exists) or (folder if folder not in forbidden else None)
        root = root if root is not None and cwd.is_relative_to(root) else None
    word = _program_word(target, cwd, root) if target.kind == "program" else target.word
    if root is None:
        why = "no project here (.git, lab.toml or pyproject.toml)" if cwd not in forbidden else f"{cwd} is no project"
        notice = f"nothing is frozen: {why}; it runs live in {cwd}"
        return Placement(None, (), str(cwd), True, word, (notice,))
    notices: tuple[str, ...] = ()
    if target.file is not None and not _settle(target.file).is_relative_to(root):
        notices = (f"not frozen: {target.file} lies outside {root}",)
    return Placement(root, (), str(cwd.relative_to(root)), False, word, notices)


def _place_script(target: Target, file: Path, cwd: Path, forbidden: Collection[Path]) -> Placement:
    script = _settle(file)
    root = find_root(script.parent, forbidden, Path.exists)
    only: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    if root is None:
        root = script.parent
        if root in forbidden:
            only = (script.name,)
            notices = (f"only {script.name} is frozen: {root} is too wide to be a source folder",)
    if not cwd.is_relative_to(root):
        notices = (*notices, f"not frozen: the working directory {cwd} lies outside {root}")
        return Placement(root, only, str(cwd), True, str(script), notices)
    word = target.word if not Path(target.word).is_absolute() else os.path.relpath(script, cwd)
    return Placement(root, only, str(cwd.relative_to(root)), False, word, notices)


def _program_word(target: Target, cwd: Path, root: Path | None) -> str:
    """A program's path as it is executed from the copy: relative inside the root, absolute outside.

    An environment below the root is never copied; its programs are run where they are, as its interpreter would be.
    """
    if target.file is None:
        return target.word
    file = _settle(target.file)
    if root is None or not file.is_relative_to(root):
        return str(file)
    inside = [folder for folder in file.parents if folder.is_relative_to(root) and folder != root]
    if any((folder / mark).exists() for folder in inside for mark in ENVIRONMENT_MARKS):
        return str(file)
    if not Path(target.word).is_absolute():
        return target.word
    relative = os.path.relpath(file, cwd)
    return relative if "/" in relative else f"./{relative}"


def _settle(file: Path) -> Path:
    """Resolve the folders on the way, not the file itself: a linked script belongs where its link lies."""
    return file.parent.resolve() / file.name
