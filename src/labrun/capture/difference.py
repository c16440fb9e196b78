"""What frozen code adds to its git commit: a patch for `git apply`, of bounded size.

The frozen tree is the truth, the patch is for people. It holds text only; whatever is not in it
(binary files, files over the limit) is named on top of it. Credential files and other files that
were not frozen are never in it.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from labrun.capture.git import Changed, Git
from labrun.capture.listing import is_credential, shown
from labrun.capture.patch import is_binary, section
from labrun.capture.raw_difference import RawComparison, read_version
from labrun.core.units import show_size

FILE_LIMIT_BYTES = 2**20
"""A larger file is named, not shown."""
DIFF_LIMIT_BYTES = 4 * 2**20
"""After so much the remaining files are named."""
_NAMED = 200


class Difference(Struct, frozen=True):
    """What was found."""

    is_dirty: bool
    patch: bytes | None = None
    """None when nothing differs, or there is no commit to differ from."""


def differ(top: Path, root: Path, files: Sequence[str], commit: str | None) -> Difference | None:
    """Find what frozen files differ from a commit in. Blocks; a few `git` processes, where there is git.

    Args:
        top: The work tree.
        root: Source root, `top` or a folder below it.
        files: What was frozen, relative to `root`.
        commit: The head; None on a branch without a commit.

    Returns:
        None when the repository has nothing to do with the root, which it ignores as a whole.

    Raises:
        GitSilent: Git refuses (a foreign owner, a broken repository) or does not answer.
    """
    prefix = "" if root == top else f"{root.relative_to(top).as_posix()}/"
    frozen = {prefix + name for name in files}
    git = Git.at(top)
    if git is not None and prefix and not git.knows(prefix):
        return None
    if commit is None:
        return Difference(is_dirty=bool(frozen))
    if git is not None:
        changed, untracked = git.status(prefix)
        return _assemble(top, git, changed, untracked, frozen)
    comparison = RawComparison(top, commit)
    try:
        changed, untracked = comparison.status(frozen, prefix)
        return _assemble(top, comparison, changed, untracked, frozen)
    finally:
        comparison.close()


def _assemble(
    top: Path, asked: Git | RawComparison, changed: Sequence[str], untracked: Sequence[str], frozen: set[str]
) -> Difference:
    changed = sorted(name for name in changed if _is_ours(name, frozen, top))
    nested = [name for name in untracked if name.endswith("/") and any(each.startswith(name) for each in frozen)]
    untracked = sorted(name for name in untracked if name in frozen)
    if not changed and not untracked and not nested:
        return Difference(is_dirty=False)
    patch, omitted = _Patch(), _Omitted(nested)
    for found in asked.changes(changed, FILE_LIMIT_BYTES, DIFF_LIMIT_BYTES):
        patch.add(found, omitted)
    for name in untracked:
        patch.add(_created(top, name, has_room=patch.has_room), omitted)
    # `git status` also names files whose line ends alone differ and would be converted; `git diff` does not.
    content = omitted.told() + b"".join(patch.sections)
    return Difference(is_dirty=bool(content), patch=content or None)


def _is_ours(name: str, frozen: set[str], top: Path) -> bool:
    """Whether a tracked file that changed belongs in the patch: it was frozen, is a submodule, or was deleted.

    What exists but was not frozen (credentials, what `.labignore` names) must not come in through this door.
    """
    if name in frozen:
        return True
    path = top / name
    return not is_credential(name) and (not os.path.lexists(path) or (path.is_dir() and not path.is_symlink()))


def _created(top: Path, name: str, *, has_room: bool) -> Changed:
    if not has_room:
        return Changed(name, None, is_whole=False)
    new = read_version(top / name, FILE_LIMIT_BYTES)
    return Changed(name, None if new is None or is_binary(new.content) else section(os.fsencode(name), None, new))


class _Patch:
    """Sections, up to the limit."""

    def __init__(self) -> None:
        self.sections: list[bytes] = []
        self._left_bytes = DIFF_LIMIT_BYTES

    @property
    def has_room(self) -> bool:
        return self._left_bytes > 0

    def add(self, found: Changed, omitted: "_Omitted") -> None:
        """Take a section, or note why not."""
        if found.patch is None:
            (omitted.not_shown if found.is_whole else omitted.cut).append(found.name)
        elif len(found.patch) > self._left_bytes:
            self._left_bytes = 0  # nothing after the first that does not fit: one place where it ends
            omitted.cut.append(found.name)
        else:
            self._left_bytes -= len(found.patch)
            self.sections.append(found.patch)


class _Omitted:
    """Files that differ and are not in the patch, by reason."""

    def __init__(self, nested: list[str]) -> None:
        self.nested = nested
        self.not_shown: list[str] = []
        self.cut: list[str] = []

    def told(self) -> bytes:
        """Write the lines on top of a patch; nothing when all is in it."""
        lines = [
            *_named(self.nested, "a repository of its own"),
            *_named(self.not_shown, f"not text, or larger than {show_size(FILE_LIMIT_BYTES)}"),
            *_named(self.cut, f"beyond the first {show_size(DIFF_LIMIT_BYTES)}"),
        ]
        head = "# These files differ too, but are not shown here; the frozen code has them.\n"
        return "".join([head, *lines]).encode() if lines else b""


def _named(names: Sequence[str], why: str) -> Iterable[str]:
    for name in sorted(names)[:_NAMED]:
        yield f"# {why}: {shown(name)!r}\n"
    if len(names) > _NAMED:
        yield f"# {why}: {len(names) - _NAMED} more\n"
