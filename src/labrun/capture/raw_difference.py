"""What differs from a git commit, found without `git`: by raw bytes, knowing no filter and no line-end conversion."""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from dulwich.errors import ChecksumMismatch, NotGitRepository
from dulwich.index import Index, IndexEntry, UnsupportedIndexFormat
from dulwich.object_store import iter_tree_contents
from dulwich.objects import Blob, Commit
from dulwich.repo import Repo, UnsupportedExtension, UnsupportedVersion

from labrun.capture.git import Changed, GitSilent
from labrun.capture.patch import Version, is_binary, section

_SUBMODULE = 0o160000


def read_version(path: Path, limit_bytes: int | None) -> Version | None:
    """Read a file or a link as git would store it; None when it is neither, is gone, or larger than the limit."""
    try:
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            return Version(_git_mode(found.st_mode), os.fsencode(os.readlink(path)))  # noqa: PTH115  names may be no UTF-8
        if not stat.S_ISREG(found.st_mode) or (limit_bytes is not None and found.st_size > limit_bytes):
            return None
        return Version(_git_mode(found.st_mode), path.read_bytes())
    except OSError:
        return None


def _git_mode(mode: int) -> int:
    if stat.S_ISLNK(mode):
        return 0o120000
    return 0o100755 if mode & stat.S_IXUSR else 0o100644


class RawComparison:
    """One commit against the files of its work tree; the same questions as to `Git`."""

    def __init__(self, top: Path, commit: str) -> None:
        """Read the commit's list of files and the index.

        Raises:
            GitSilent: The repository cannot be read.
        """
        self._top = top
        try:
            self._repo = Repo(os.fspath(top))
            found = self._repo[commit.encode()]
            if not isinstance(found, Commit):
                raise GitSilent(f"{commit} is no commit")
            entries = iter_tree_contents(self._repo.object_store, found.tree)
            self._committed = {os.fsdecode(e.path): (e.mode, e.sha) for e in entries if e.mode != _SUBMODULE}
            self._seen = self._read_index()
        except (NotGitRepository, UnsupportedExtension, UnsupportedVersion) as error:
            raise GitSilent(f"the repository cannot be read: {error}") from error
        except (OSError, ValueError, KeyError, AssertionError) as error:
            raise GitSilent(f"the repository is damaged: {error}") from error

    def close(self) -> None:
        """Close the files of the repository."""
        self._repo.close()

    def status(self, frozen: set[str], prefix: str) -> tuple[list[str], list[str]]:
        """Give the names of what differs below a folder: tracked files, and frozen ones the commit does not have."""
        changed = [name for name in self._committed if name.startswith(prefix) and self._differs(name)]
        return sorted(changed), sorted(frozen - self._committed.keys())

    def changes(self, names: Sequence[str], file_limit_bytes: int, limit_bytes: int) -> Iterator[Changed]:
        """Compare files with the commit."""
        for name in names:
            mode, sha = self._committed[name]
            old = Version(mode, self._repo[sha].as_raw_string())
            new = read_version(self._top / name, file_limit_bytes)
            if limit_bytes <= 0:
                yield Changed(name, None, is_whole=False)
            elif (
                (new is None and os.path.lexists(self._top / name))
                or len(old.content) > file_limit_bytes
                or is_binary(old.content)
                or is_binary(new.content if new else b"")
            ):
                yield Changed(name, None)
            else:
                patch = section(os.fsencode(name), old, new)
                limit_bytes -= len(patch)
                yield Changed(name, patch)

    def _differs(self, name: str) -> bool:
        mode, sha = self._committed[name]
        try:
            found = os.lstat(self._top / name)
        except OSError:
            return True
        if self._seen.get(name) == (sha, mode, found.st_mtime_ns, found.st_size) and mode == _git_mode(found.st_mode):
            return False
        new = read_version(self._top / name, None)
        return new is None or new.mode != mode or Blob.from_string(new.content).id != sha

    def _read_index(self) -> dict[str, tuple[bytes, int, int, int]]:
        """Files as git saw them when it last looked; those it may have looked at too early are left out.

        Source:
            git, `Documentation/technical/racy-git.txt`.
        """
        path = Path(self._repo.index_path())
        if not path.exists():
            return {}
        written_ns = path.stat().st_mtime_ns
        found: dict[str, tuple[bytes, int, int, int]] = {}
        try:
            entries = dict(Index(path).items())
        except (OSError, ValueError, AssertionError, ChecksumMismatch, UnsupportedIndexFormat):
            return {}  # a sparse or split index, say; it only saves reading the files
        for name, entry in entries.items():
            if isinstance(entry, IndexEntry) and isinstance(entry.mtime, tuple) and entry.size:
                mtime_ns = entry.mtime[0] * 10**9 + entry.mtime[1]
                if mtime_ns < written_ns:
                    found[os.fsdecode(name)] = (entry.sha, entry.mode, mtime_ns, entry.size)
        return found
