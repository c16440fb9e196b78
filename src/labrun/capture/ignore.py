"""What ignore files leave out, read as git reads them where git itself is not asked.

Source:
    gitignore(5); gitrepository-layout(5); gitformat-index(5).
"""

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dulwich.config import ConfigFile, StackedConfig
from dulwich.ignore import IgnoreFilter, default_user_ignore_filter_path
from dulwich.index import UnsupportedIndexFormat, read_cache_entry, read_index_header
from dulwich.object_format import SHA1, SHA256

GITIGNORE, LABIGNORE = ".gitignore", ".labignore"


class WorkTree:
    """A folder that git looks after, told from its files alone. Reads only."""

    def __init__(self, top: str) -> None:
        self.top = top
        self._git = _git_folder(top)
        self._common = _common_folder(self._git)
        self.is_readable = True
        """False once the index could not be read: what git tracks is not known then."""

    @property
    def excludes(self) -> list[Path]:
        """Ignore files beside those in the tree, weakest first: the user's own, the repository's."""
        config = self._config()
        try:
            own = [Path(default_user_ignore_filter_path(config)).expanduser()]
        except (RuntimeError, UnicodeDecodeError):  # a `~` of nobody, a name that is no UTF-8
            own = []
        return [*own, self._common / "info/exclude"]

    def _config(self) -> StackedConfig:
        backends: list[ConfigFile] = []
        with suppress(OSError, ValueError):
            backends += StackedConfig.default_backends()
        with suppress(OSError, ValueError):  # without a readable configuration it has no rules of its own
            backends.insert(0, ConfigFile.from_path(os.fspath(self._common / "config")))
        return StackedConfig(backends)

    def tracked(self, here: str) -> list[str]:
        """Names git tracks below a folder of the work tree, relative to it."""
        prefix = os.fsencode(os.path.relpath(here, self.top) + "/") if here != self.top else b""
        try:
            names = dict.fromkeys(self._names(self._git / "index"))
        except (OSError, ValueError, AssertionError, UnsupportedIndexFormat, struct.error):
            self.is_readable = False
            return []
        return [os.fsdecode(name[len(prefix) :]) for name in names if name.startswith(prefix)]

    def _names(self, index: Path) -> Iterator[bytes]:
        """Names in an index, and in the one it is split from; folders left out by a sparse checkout are skipped."""
        if not index.exists():
            return
        kind = SHA1
        with suppress(KeyError):
            kind = SHA256 if self._config().get((b"extensions",), b"objectformat") == b"sha256" else SHA1
        with index.open("rb") as file:
            version, count = read_index_header(file)
            name = b""
            for _ in range(count):
                name = read_cache_entry(file, version, name, kind).name
                if name and not name.endswith(b"/"):
                    yield name
            while len(head := file.read(8)) == 8 and head[:4].isalpha():
                content = file.read(int.from_bytes(head[4:], "big"))
                if head[:4] == b"link":  # what the other one names and this one removed only counts as tracked
                    base = content[: kind.oid_length]
                    if any(base):
                        yield from self._names(index.with_name(f"sharedindex.{base.hex()}"))


def work_tree_above(folder: str) -> str | None:
    """The work tree a folder lies in."""
    for parent in Path(folder).parents:
        if os.path.lexists(parent / ".git"):
            return os.fspath(parent)
    return None


def _git_folder(top: str) -> Path:
    """Where a work tree keeps its index: `.git`, or what the file of that name points at."""
    marker = Path(top, ".git")
    with suppress(OSError, ValueError):
        if marker.is_file():
            return Path(top, marker.read_text(errors="surrogateescape").removeprefix("gitdir:").strip())
    return marker


def _common_folder(git: Path) -> Path:
    """Where a repository keeps what its work trees share."""
    with suppress(OSError, ValueError):
        shared = git / "commondir"
        if shared.is_file():
            return git / shared.read_text().strip()
    return git


class Rules:
    """Ignore files of a tree, read when their folder is looked at. All paths are absolute.

    Source:
        gitignore(5): the last matching pattern decides, deeper files before outer ones, and nothing
        below an excluded folder is looked at.
    """

    def __init__(self, top: str, names: tuple[str, ...], tree: WorkTree | None = None) -> None:
        """Begin at the top.

        Args:
            top: Rules above this folder do not count.
            names: Ignore files looked for in each folder, weakest first.
            tree: The repository whose further ignore files count.
        """
        self._top = top
        self._names = names
        self._tree = tree
        self._filters: dict[str, tuple[tuple[int, IgnoreFilter], ...]] = {}
        self._excluded: dict[str, bool] = {}

    def excludes(self, path: str, *, is_folder: bool) -> bool:
        """Whether an entry is ignored, its parents being not."""
        folder = path.rpartition("/")[0]
        for skip, rules in reversed(self._at(folder)):
            name = os.fsencode(path[skip:])
            for pattern in reversed(rules.patterns):
                if pattern.matches(name, is_folder):
                    return pattern.is_exclude
        return False

    def excludes_above(self, folder: str) -> bool:
        """Whether a folder, or one above it up to the top, is ignored."""
        if len(folder) <= len(self._top):
            return False
        known = self._excluded.get(folder)
        if known is None:
            known = self.excludes_above(folder.rpartition("/")[0]) or self.excludes(folder, is_folder=True)
            self._excluded[folder] = known
        return known

    def excludes_with_parents(self, path: str) -> bool:
        """Whether a file, or a folder it lies in, is ignored."""
        return self.excludes_above(path.rpartition("/")[0]) or self.excludes(path, is_folder=False)

    def _at(self, folder: str) -> tuple[tuple[int, IgnoreFilter], ...]:
        known = self._filters.get(folder)
        if known is None:
            if len(folder) <= len(self._top):
                known, files = (), list(self._tree.excludes) if self._tree is not None else []
            else:
                known, files = self._at(folder.rpartition("/")[0]), []
            # a link in the tree is not followed, as git does not
            files += [path for name in self._names if not (path := Path(folder, name)).is_symlink()]
            read = [IgnoreFilter.from_path(file) for file in files if file.is_file()]
            known += tuple((len(folder) + 1, rules) for rules in read)
            self._filters[folder] = known
        return known
