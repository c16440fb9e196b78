"""Things that stay live: what is recorded of a file or folder that is used and not copied."""

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

from labrun.capture.git import Git, GitSilent
from labrun.capture.listing import shown
from labrun.capture.repository import read_head
from labrun.core.spec import NotFrozen, NotFrozenKind

_OUR_CLONE = str(Path(__file__).resolve().parents[3])
"""The folder an editable labrun was installed from; elsewhere some folder that nothing is installed from."""


def describe_live(kind: NotFrozenKind, path: Path, *, with_repository: bool = False) -> NotFrozen:
    """Describe a path as it is now: size of a file, modification time, and on request where its repository stands.

    Args:
        kind: What the command has to do with it.
        path: Absolute; need not exist.
        with_repository: Read commit and dirty flag too: one `git` process.
    """
    size, modified = None, None
    try:
        found = path.stat()
        size = found.st_size if stat.S_ISREG(found.st_mode) else None
        modified = datetime.fromtimestamp(found.st_mtime, UTC)
    except (OSError, ValueError, OverflowError):
        pass  # recorded as a name alone
    commit, is_dirty = _repository(path) if with_repository else (None, None)
    return NotFrozen(kind, shown(str(path)), size, modified, commit, is_dirty)


def _repository(path: Path) -> tuple[str | None, bool | None]:
    """Commit and dirty flag of the repository around a path; the flag is None when nobody can tell."""
    try:
        head = read_head(Path(os.path.realpath(path)))
    except ValueError:
        return None, None  # a NUL in the name
    if head is None:
        return None, None
    git = Git.at(Path(head.top))
    try:
        return head.commit, git.is_dirty() if git is not None else None
    except GitSilent:
        return head.commit, None


def is_labrun(live: NotFrozen) -> bool:
    """Whether it is labrun itself, installed from a clone: recorded like the rest; to say it each time is noise."""
    return (live.kind, live.path) == ("editable", _OUR_CLONE)
