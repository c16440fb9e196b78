"""The git repository code lies in: where it stands, where it came from, what differs from its commit.

Head and remote are read from the files of the repository, so they are known without `git` too.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dulwich.errors import NotGitRepository
from dulwich.refs import HEADREF
from dulwich.repo import Repo, UnsupportedExtension, UnsupportedVersion
from msgspec import Struct

from labrun.capture.credentials import without_credentials
from labrun.capture.difference import Difference, differ
from labrun.capture.git import GitSilent
from labrun.capture.readings import Readings
from labrun.core.environment import Repository

DIFF_PLACE = "code.diff"
"""Below `submitted/`."""


class Head(NamedTuple):
    """Where a repository stands."""

    top: str
    """Its work tree."""
    commit: str | None
    """None on a branch without a commit."""
    branch: str | None
    """None when the head is detached."""
    remote: str | None
    """URL of `origin`, without credentials."""
    any_remote: str | None
    """That, or of the first remote there is."""


class RepositoryReading(Struct, frozen=True):
    """What is recorded of a repository."""

    repository: Repository | None = None
    diff: bytes | None = None
    notices: tuple[str, ...] = ()


def read_head(folder: Path) -> Head | None:
    """Find the repository a folder lies in and read where it stands; None without one.

    Source:
        gitrepository-layout(5): `HEAD`, `refs`, `packed-refs`, `config`; `.git` may be a file.
    """
    for top in (folder, *folder.parents):
        if os.path.lexists(top / ".git"):
            try:
                repo = Repo(os.fspath(top))
            except (NotGitRepository, UnsupportedExtension, UnsupportedVersion, OSError, ValueError):
                continue  # not one, or of a format nobody here knows
            try:
                return _head(top, repo)
            except (OSError, ValueError, KeyError):
                return None
            finally:
                repo.close()
    return None


def _head(top: Path, repo: Repo) -> Head:
    names, commit = repo.refs.follow(HEADREF)
    branch = names[-1].removeprefix(b"refs/heads/").decode(errors="replace") if len(names) > 1 else None
    config = repo.get_config()
    urls = {
        section[1]: without_credentials(config.get(section, b"url").decode(errors="replace"))
        for section in config.sections()
        if len(section) == 2 and section[0] == b"remote" and b"url" in dict(config.items(section))
    }
    origin = urls.get(b"origin")
    return Head(
        str(top), commit.decode() if commit else None, branch, origin, origin or next(iter(urls.values()), None)
    )


def read_repository(root: Path, files: Sequence[str], tree: str | None, readings: Readings) -> RepositoryReading:
    """Read what is recorded of the repository a source root lies in. Blocks; up to three `git` processes.

    Nothing is asked of git again while commit and frozen tree are what they were.

    Args:
        root: Source root.
        files: What was frozen, relative to the root.
        tree: Hash of that; None: it is not known, everything is read anew.
        readings: What was read before.
    """
    head = read_head(root)
    if head is None:
        return RepositoryReading()

    def read() -> tuple[Difference | str | None, tuple[str, ...]]:
        try:
            return differ(Path(head.top), root, files, head.commit), ()
        except GitSilent as silent:
            return str(silent), ()

    # Without a hash nothing says that the files are what they were: every state is a new one.
    state = (head.commit, tree) if tree is not None else object()
    found = readings.recall(("repository", root), read, state)
    if found is None:
        return RepositoryReading()
    if isinstance(found, str):
        # Not known to be clean is recorded as dirty: the claim that code equals a commit needs evidence.
        described = Repository(head.commit, head.branch, is_dirty=True, remote=head.remote)
        notice = f"whether the code differs from its commit is not known, and recorded as if it did: git says: {found}"
        return RepositoryReading(described, None, (notice,))
    place = f"submitted/{DIFF_PLACE}" if found.patch is not None else None
    described = Repository(head.commit, head.branch, is_dirty=found.is_dirty, remote=head.remote, diff=place)
    return RepositoryReading(described, found.patch)
