"""Which files below a source root are frozen.

Inside a git work tree `git` says it (tracked, and untracked but not ignored); elsewhere, or without
`git` on PATH, the folder is walked and the same ignore files are read. Only a user's global ignore
file is git's alone. Submodules and nested repositories are listed by content, by their own rules.
A file `.labignore`, written like `.gitignore`, leaves out more, also what git tracks.
"""

import fnmatch
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from dulwich.ignore import IgnoreFilter
from dulwich.index import Index
from msgspec import Struct

from labrun.core.errors import CodeUnreadable

NEVER = frozenset({".git", "__pycache__", "node_modules", ".ipynb_checkpoints"})
"""Folders (and files) of these names are never frozen; nor is a virtual environment or a lab's home."""

CREDENTIALS = (
    ".env",
    ".env.*",
    "*.pem",
    "*.p12",
    "*.pfx",
    "*.kdbx",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    ".netrc",
    "_netrc",
    ".pypirc",
    ".pgpass",
    ".git-credentials",
    "credentials.json",
    "client_secret*.json",
    ".aws/credentials",
    ".docker/config.json",
    ".kube/config",
)
"""Names that look like credentials: left out, and said so."""
NO_CREDENTIALS = (".env.example", ".env.sample", ".env.template", ".env.dist", ".env.defaults", "*.py")
"""Exceptions from `CREDENTIALS`."""

_SHOWN = 5


class Listing(Struct, frozen=True):
    """What to freeze."""

    files: tuple[str, ...]
    """Files and links, relative to the root, sorted; bytes that are no UTF-8 stand as lone surrogates."""
    left_out: tuple[str, ...] = ()
    """What looks like credentials, fit to be shown."""
    notices: tuple[str, ...] = ()
    """What else the user should know."""


def _either(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{fnmatch.translate(pattern)})" for pattern in patterns))


_SECRET, _PLAIN = _either(CREDENTIALS), _either(NO_CREDENTIALS)


def is_credential(path: str) -> bool:
    """Tell whether a path looks like credentials, by its last one or two names.

    >>> [is_credential(path) for path in ("a/.env", ".env.example", "home/.aws/credentials", "id_rsa_tools.py")]
    [True, False, True, False]
    """
    *_, folder, name = "", *path.split("/")
    looks_so = _SECRET.match(name) is not None or _SECRET.match(f"{folder}/{name}") is not None
    return looks_so and _PLAIN.match(name) is None


def list_code(root: Path, only: Sequence[str] = ()) -> Listing:
    """List what is frozen of a source root. Blocks; one `git` process per repository.

    Args:
        root: Absolute path of the source root.
        only: When not empty, only these files or folders below it.

    Raises:
        CodeUnreadable: A folder cannot be read, or one of `only` is not there.
    """
    search = _Search(os.fspath(root))
    if only:
        search.take_only(only)
    else:
        search.take_repository("")
    links = tuple(search.links_out())
    notices = (
        *_counted(search.special, "not frozen, neither file nor link"),
        *_counted(links, "link out of the source folder, its target is not frozen"),
        *search.notices,
    )
    return Listing(tuple(sorted(search.files)), tuple(sorted(map(shown, search.left_out))), notices)


def shown(name: str) -> str:
    r"""Make a file name fit for JSON and people: bytes that are no UTF-8 become `\xNN`.

    >>> shown("caf\udce9.txt")
    'caf\\xe9.txt'
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _counted(names: Collection[str], what: str) -> list[str]:
    if not names:
        return []
    first = ", ".join(map(shown, sorted(names)[:_SHOWN]))
    return [f"{what}: {first}" + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")]


class _Search:
    """One listing in the making; names are relative to the root, `/` between them, no leading `./`."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.files: set[str] = set()
        self.links: set[str] = set()
        self.special: set[str] = set()
        self.left_out: set[str] = set()
        self.notices: list[str] = []
        self._git = shutil.which("git")
        self._folders: dict[str, bool] = {"": True}

    def path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def take_only(self, only: Sequence[str]) -> None:
        for name in only:
            if not os.path.lexists(self.path(name)):
                raise CodeUnreadable(self.path(name), "it is not there")
            self._take(name)

    def take_repository(self, folder: str) -> None:
        """Take what the rules of one repository (or of a folder without one) let through."""
        here = self.path(folder)
        top = here if os.path.lexists(f"{here}/.git") else None if folder else _top_of(here)
        names = self._ask_git(here) if top is not None and self._git is not None else None
        if names is not None and (names or top == here):
            names = [_below(folder, name) for name in names]
            rules = _Rules(here, (".labignore",)) if self._has_labignore(here, names) else None
        else:
            # A root that an outer repository ignores as a whole (`*` of a dotfiles repository) is its own top.
            rules = _Rules(top or here, (".gitignore", ".labignore"))
            tracked = [_below(folder, name) for name in _tracked(top, here)] if top is not None else []
            if top is not None and top != here and not tracked and rules.excludes_above(here):
                rules = _Rules(here, (".gitignore", ".labignore"))
            names = [*self._walk(folder, rules), *tracked]
            rules = rules.only(".labignore") if tracked else None
        for name in names:
            if rules is None or not rules.excludes_with_parents(self.path(name)):
                self._take(name)

    def _has_labignore(self, here: str, names: list[str]) -> bool:
        return os.path.lexists(f"{here}/.labignore") or any(name.endswith("/.labignore") for name in names)

    def _take(self, name: str) -> None:
        """Take one entry, if it is there and may be frozen."""
        folder, _, last = name.rpartition("/")
        if last in NEVER or not self._is_open(folder):
            return
        try:
            mode = os.lstat(self.path(name)).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return  # tracked, and deleted
        except OSError as error:
            raise CodeUnreadable(self.path(shown(name)), error.strerror or str(error)) from error
        if stat.S_ISDIR(mode):
            if self._is_open(name):
                self.take_repository(name)
        elif is_credential(name):
            self.left_out.add(name)
        elif stat.S_ISREG(mode):
            self.files.add(name)
        elif stat.S_ISLNK(mode):
            self.files.add(name)
            self.links.add(name)
        else:
            self.special.add(name)

    def _is_open(self, folder: str) -> bool:
        """Whether files may be taken from a folder: a real one, no environment, no lab's home."""
        known = self._folders.get(folder)
        if known is None:
            parent, _, last = folder.rpartition("/")
            known = last not in NEVER and self._is_open(parent) and self._is_source(self.path(folder))
            self._folders[folder] = known
        return known

    @staticmethod
    def _is_source(path: str) -> bool:
        try:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                return False  # a link stands where git knows a folder
        except OSError:
            return False
        is_home = os.path.exists(f"{path}/home.json") and os.path.isdir(f"{path}/control")  # noqa: PTH110, PTH112  per folder
        return not is_home and not os.path.lexists(f"{path}/pyvenv.cfg")

    def _ask_git(self, here: str) -> list[str] | None:
        """Let git list a work tree; None when it will not (foreign owner, broken repository)."""
        command = [str(self._git), "--no-optional-locks", "-c", "core.fsmonitor=false", "-C", here]
        command += ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        said = done.stderr.decode(errors="replace").strip().splitlines()
        if done.returncode != 0:
            self.notices.append(f"git does not list {here}, labrun read the ignore files itself: {' '.join(said[:1])}")
            return None
        if said:
            _refuse_closed(here)
            self.notices.append(f"git: {said[0]}")
        return [os.fsdecode(name).rstrip("/") for name in dict.fromkeys(done.stdout.split(b"\0")) if name]

    def _walk(self, folder: str, rules: "_Rules") -> Iterator[str]:
        pending = [folder]
        while pending:
            here = pending.pop()
            try:
                with os.scandir(self.path(here)) as found:
                    entries = list(found)
            except OSError as error:
                raise CodeUnreadable(self.path(shown(here)), error.strerror or str(error)) from error
            for entry in entries:
                name = _below(here, entry.name)
                is_folder = entry.is_dir(follow_symlinks=False)
                if entry.name in NEVER or rules.excludes(entry.path, is_folder=is_folder):
                    continue
                if not is_folder or os.path.lexists(f"{entry.path}/.git"):
                    yield name
                elif self._is_open(name):
                    pending.append(name)

    def links_out(self) -> Iterator[str]:
        """Links whose target lies outside the root, or nowhere frozen."""
        for name in self.links:
            try:
                target = os.readlink(self.path(name))  # noqa: PTH115  names may be no UTF-8
            except OSError:
                continue  # it vanished just now; freezing will say so
            aim = os.path.normpath(os.path.join("/", os.path.dirname(name), target))  # noqa: PTH118, PTH120  text only
            if target.startswith("/") or _climbs(name, target) or not os.path.lexists(self.path(aim[1:])):
                yield f"{name} -> {target}"


def _climbs(name: str, target: str) -> bool:
    depth = name.count("/")
    for part in target.split("/"):
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            return True
    return False


def _below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _top_of(here: str) -> str | None:
    """The work tree a folder lies in."""
    for folder in Path(here).parents:
        if os.path.lexists(folder / ".git"):
            return os.fspath(folder)
    return None


def _refuse_closed(here: str) -> None:
    """Name the folder git could not open; it only warns, and lists the rest."""
    for folder, folders, _ in os.walk(here):
        folders[:] = [name for name in folders if name not in NEVER]
        for name in folders:
            path = f"{folder}/{name}"
            if not os.path.islink(path) and not os.access(path, os.R_OK | os.X_OK):  # noqa: PTH114  text only
                raise CodeUnreadable(shown(path), "the folder cannot be read")


def _git_folder(top: str) -> Path:
    """Where a work tree keeps its index: `.git`, or what the file of that name points at."""
    marker = Path(top, ".git")
    if marker.is_file():
        pointed = marker.read_text(errors="surrogateescape").removeprefix("gitdir:").strip()
        return Path(top, pointed)
    return marker


def _tracked(top: str, here: str) -> list[str]:
    """Names git tracks below a folder, read from the index; what cannot be read is not tracked.

    Source:
        gitrepository-layout(5), index; gitignore(5): files already tracked are not affected.
    """
    try:
        index = Index(os.fspath(_git_folder(top) / "index"))
    except (OSError, ValueError, AssertionError, KeyError):
        return []
    prefix = os.fsencode(os.path.relpath(here, top) + "/") if here != top else b""
    return [os.fsdecode(name[len(prefix) :]) for name in index if name.startswith(prefix)]


class _Rules:
    """Ignore files of a tree, read when their folder is looked at. All paths are absolute.

    Source:
        gitignore(5): the last matching pattern decides, deeper files before outer ones, and nothing
        below an excluded folder is looked at.
    """

    def __init__(self, top: str, names: tuple[str, ...]) -> None:
        self._top = top
        self._names = names
        self._filters: dict[str, tuple[tuple[int, IgnoreFilter], ...]] = {}
        self._excluded: dict[str, bool] = {}

    def only(self, name: str) -> "_Rules":
        """The same tree by one kind of ignore file."""
        return _Rules(self._top, (name,))

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
                known, files = (), [Path(self._common(), "info/exclude")] if ".gitignore" in self._names else []
            else:
                known, files = self._at(folder.rpartition("/")[0]), []
            files += [Path(folder, name) for name in self._names]
            # a link is not followed, like git does
            read = [IgnoreFilter.from_path(file) for file in files if file.is_file() and not file.is_symlink()]
            known += tuple((len(folder) + 1, rules) for rules in read)
            self._filters[folder] = known
        return known

    def _common(self) -> Path:
        """Where the repository keeps what its work trees share."""
        try:
            own = _git_folder(self._top)
            shared = own / "commondir"
            return own / shared.read_text().strip() if shared.is_file() else own
        except OSError:
            return Path(self._top, ".git")
