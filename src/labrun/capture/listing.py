"""Which files below a source root are frozen.

Inside a git work tree `git` says it (tracked, and untracked but not ignored); elsewhere, or without
`git` on PATH, the folder is walked and the same ignore files are read. Submodules and nested
repositories are listed by content, by their own rules. A file `.labignore`, written like
`.gitignore`, leaves out more, also what git tracks. Folders without files are not listed: git has
no word for them.
"""

import fnmatch
import os
import re
import shutil
import stat
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import IO

from msgspec import Struct

from labrun.capture.ignore import GITIGNORE, LABIGNORE, Rules, WorkTree, work_tree_above
from labrun.capture.placement import ENVIRONMENT_MARKS
from labrun.core.errors import CodeUnreadable, TooManyFiles
from labrun.core.fullest import fullest

NEVER = frozenset({".git", "__pycache__", "node_modules", ".ipynb_checkpoints"})
"""Folders (and files) of these names are never frozen; nor is an environment or a lab's home."""

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

FILE_LIMIT = 200_000
"""More files are no code; a folder of data was meant to be ignored."""

_SHOWN = 5
_COUNTING_S = 3.0
_CHUNK_BYTES = 1 << 20


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


def list_code(
    root: Path,
    only: Sequence[str] = (),
    without: Collection[str] = (),
    limit_files: int = FILE_LIMIT,
    counting_s: float = _COUNTING_S,
) -> Listing:
    """List what is frozen of a source root. Blocks; one `git` process per repository.

    Args:
        root: Absolute path of the source root.
        only: When not empty, only these files or folders below it.
        without: Files or folders below it that stay live, so are not listed.
        limit_files: Most files a source root may have.
        counting_s: How long files over the limit are counted, to name the fullest folders.

    Raises:
        CodeUnreadable: A folder cannot be read, or one of `only` is not there.
        TooManyFiles: There are more than the limit; the fullest folders are named.
    """
    search = _Search(os.fspath(root), without, limit_files, counting_s)
    if only:
        search.take_only(only)
    else:
        search.take_repository("")
    search.refuse_crowds()
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

    def __init__(self, root: str, without: Collection[str], limit_files: int, counting_s: float) -> None:
        self.root = root
        self._without = frozenset(name.strip("/") for name in without)
        self._limit = limit_files
        self._crowds: Counter[str] = Counter()
        """Files over the limit, by folder; their names are not kept."""
        self._counted = 0
        self._counting_s = counting_s
        self._count_until_s = 0.0
        self.files: set[str] = set()
        self.links: set[str] = set()
        self.special: set[str] = set()
        self.left_out: set[str] = set()
        self.notices: list[str] = []
        self._git = shutil.which("git")
        self._folders: dict[str, bool] = {"": True, **dict.fromkeys(self._without, False)}

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
        top = here if os.path.lexists(f"{here}/.git") else None if folder else work_tree_above(here)
        if top is None or self._git is None or not self._take_listed(folder, here, top):
            self._take_walked(folder, here, top)

    def _take_listed(self, folder: str, here: str, top: str) -> bool:
        """Take what git lists; False when git does not, or ignores all of it."""
        listing = _GitListing(str(self._git), here)
        with listing:
            names = [_below(folder, name) for name in islice(listing.names, self._limit + 1)]
            is_whole = len(names) <= self._limit
            if is_whole and not listing.is_good():
                said = listing.said()[:1]
                self.notices.append(f"git does not list {here}, labrun read the ignore files itself: {' '.join(said)}")
                return False
            if not names and top != here:
                # A root that an outer repository ignores as a whole (`*` of a dotfiles repository) is its own top.
                return False
            is_labs = not is_whole or self._has_labignore(here, names)
            rules = Rules(here, (LABIGNORE,)) if is_labs else None
            self._take_all(chain(names, (_below(folder, name) for name in listing.names)), rules)
            if not listing.is_good():
                raise CodeUnreadable(here, f"git gave up listing it: {' '.join(listing.said()[:1])}")
            if said := listing.said():
                _refuse_closed(here)
                self.notices.append(f"git: {said[0]}")
        return True

    def _take_walked(self, folder: str, here: str, top: str | None) -> None:
        tree = WorkTree(top) if top is not None else None
        rules = Rules(top or here, (GITIGNORE, LABIGNORE), tree)
        tracked = [_below(folder, name) for name in tree.tracked(here)] if tree is not None else []
        if top not in (None, here) and not tracked and rules.excludes_above(here):
            rules = Rules(here, (GITIGNORE, LABIGNORE))
        self._take_all(self._walk(folder, rules), None)
        self._take_all(tracked, Rules(top or here, (LABIGNORE,)) if tracked else None)
        if tree is not None and not tree.is_readable:
            self.notices.append(f"the index of {tree.top} cannot be read: files it tracks and ignores are not frozen")

    def _take_all(self, names: Iterable[str], rules: Rules | None) -> None:
        for name in names:
            if rules is None or not rules.excludes_with_parents(self.path(name)):
                self._take(name)

    def _has_labignore(self, here: str, names: list[str]) -> bool:
        return os.path.lexists(f"{here}/{LABIGNORE}") or any(name.endswith(f"/{LABIGNORE}") for name in names)

    def _take(self, name: str) -> None:
        """Take one entry, if it is there and may be frozen."""
        folder, _, last = name.rpartition("/")
        if last in NEVER or not self._is_open(folder) or name in self._without:
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
        elif stat.S_ISREG(mode) or stat.S_ISLNK(mode):
            if len(self.files) >= self._limit and name not in self.files:
                self._count(folder)
                return
            self.files.add(name)
            if stat.S_ISLNK(mode):
                self.links.add(name)
        else:
            self.special.add(name)

    def _count(self, folder: str) -> None:
        """Count a file over the limit; look at the clock now and then."""
        if self._counted == 0:
            self._count_until_s = time.monotonic() + self._counting_s
        self._counted += 1
        self._crowds[folder] += 1
        if self._counted % 256 == 0 and time.monotonic() > self._count_until_s:
            self.refuse_crowds(is_whole=False)

    def refuse_crowds(self, *, is_whole: bool = True) -> None:
        """Say which folders are fullest, when there are more files than the limit.

        Raises:
            TooManyFiles: There are.
        """
        if self._crowds:
            for name in self.files:
                self._crowds[name.rpartition("/")[0]] += 1
            folders = [(shown(folder), count) for folder, count in fullest(self._crowds.items())]
            raise TooManyFiles(shown(self.root), self._crowds.total(), self._limit, folders, is_whole=is_whole)

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
        return not is_home and not any(os.path.lexists(f"{path}/{mark}") for mark in ENVIRONMENT_MARKS)

    def _walk(self, folder: str, rules: Rules) -> Iterator[str]:
        pending = [folder]
        while pending:
            here = pending.pop()
            try:
                with os.scandir(self.path(here)) as found:
                    for entry in found:  # one by one: a folder may hold millions
                        name = _below(here, entry.name)
                        is_folder = entry.is_dir(follow_symlinks=False)
                        if entry.name in NEVER or rules.excludes(entry.path, is_folder=is_folder):
                            continue
                        if not is_folder or os.path.lexists(f"{entry.path}/.git"):
                            yield name
                        elif self._is_open(name):
                            pending.append(name)
            except OSError as error:
                raise CodeUnreadable(self.path(shown(here)), error.strerror or str(error)) from error

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


def _refuse_closed(here: str) -> None:
    """Name the folder git could not open; it only warns, and lists the rest."""
    for folder, folders, _ in os.walk(here):
        folders[:] = [name for name in folders if name not in NEVER]
        for name in folders:
            path = f"{folder}/{name}"
            if not os.path.islink(path) and not os.access(path, os.R_OK | os.X_OK):  # noqa: PTH114  text only
                raise CodeUnreadable(shown(path), "the folder cannot be read")


class _GitListing:
    """One `git ls-files` at work: names as they come, so that millions are never held at once."""

    def __init__(self, git: str, here: str) -> None:
        # core.ignorecase: a repository that came from a Mac has it set, and git would overlook `model.py` beside a
        # tracked `Model.py` that is gone. core.fsmonitor: a program of the repository's choosing.
        settings = ("-c", "core.fsmonitor=false", "-c", "core.ignorecase=false")
        words = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
        self._command = (git, "--no-optional-locks", *settings, "-C", here, *words)
        self.names = self._read()
        """Names relative to the folder; whoever stops may go on later."""

    def __enter__(self) -> "_GitListing":
        self._said: IO[bytes] = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._said
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.__exit__(None, None, None)
        self._said.close()

    def _read(self) -> Iterator[str]:
        assert self._process.stdout is not None
        last = rest = b""
        while chunk := self._process.stdout.read(_CHUNK_BYTES):
            *whole, rest = (rest + chunk).split(b"\0")
            for name in whole:
                if name != last:  # the three stages of a conflict are three in a row
                    yield os.fsdecode(name).rstrip("/")
                last = name

    def is_good(self) -> bool:
        """Whether git listed everything it could."""
        return self._process.wait() == 0

    def said(self) -> list[str]:
        """What git complained about."""
        self._said.seek(0)
        return self._said.read(_CHUNK_BYTES).decode(errors="replace").strip().splitlines()
