"""Frozen code: a source folder becomes one git tree of raw bytes, and a tree becomes files again.

No filter, no line-end conversion; modes and links are kept. The hash of a tree names the same bytes
when they are submitted, executed and restored.
"""

import contextlib
import errno
import os
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from dulwich.errors import ObjectFormatException
from dulwich.objects import parse_tree
from msgspec import Struct

from labrun.core.errors import CodeUnreadable, DiskFull, StoreDamaged
from labrun.store.merging import merge
from labrun.store.objects import BLOB, TREE, Objects, PackReader, PackWriter, hash_bytes, object_hash
from labrun.store.seen import SeenFiles, SeenRoot, look_of
from labrun.store.source_folder import chunks_at, left_out, look, read_whole, reading, shown, too_big
from labrun.store.working import FILE, FOLDER, LINK, PROGRAM, Entry, WorkingCopy

LIMIT_BYTES = 200 * 2**20

_TRIES = 3
_IN_MEMORY_BYTES = 4 * 2**20
"""Files up to here are read once; larger ones are read twice, to be hashed and to be stored."""
_SETTLED_NS = 2 * 10**9
_RETURN_S = 0.1
"""How long a file that just vanished may take to come back: editors and atomic writers swap files."""
_CACHED_ENTRIES = 20_000
_LOOK_EVERY = 16
"""After so many new packs it is looked whether there are enough to merge."""


class FileList(Protocol):
    """What to freeze."""

    @property
    def files(self) -> Sequence[str]:
        """Files and links relative to the root."""
        ...


class Frozen(Struct, frozen=True):
    """What `freeze` made durable."""

    tree: str
    file_count: int
    size_bytes: int
    notices: tuple[str, ...] = ()


class CheckedOut(Struct, frozen=True):
    """What `checkout` wrote."""

    file_count: int
    """Files of the tree, whether written or found as they should be."""
    kept: tuple[str, ...] = ()
    """Files that differ from the tree and were left as they are."""


_Item = tuple[str, int, bytes]
"""Name, mode, hash."""


class CodeStore:
    """Frozen code of a home. One freeze at a time, any number of checkouts; every method blocks."""

    def __init__(self, path: Path, seen: SeenFiles | None = None) -> None:
        """Remember where it lies; nothing is opened yet.

        Args:
            path: The bare repository; made by the first freeze.
            seen: What is known of source files, so that an unchanged folder costs a stat per file.
        """
        self.objects = Objects(path)
        """What is stored, by hash; written only within `writing`."""
        self._lock = threading.Lock()
        self._seen = seen if seen is not None else SeenFiles(None)
        self._entries: OrderedDict[str, Mapping[str, Entry]] = OrderedDict()
        self._lock_entries = threading.Lock()
        self._lock_merge = threading.Lock()
        self._merged_at: int | None = None
        """How many packs there were after the last look."""
        self._is_prepared = False

    def freeze(self, root: Path, listing: FileList, limit_bytes: int = LIMIT_BYTES) -> Frozen:
        """Store a source folder as a git tree; durable when this returns.

        Raises:
            TooBig: The folder is over the limit; the largest files are named.
            CodeUnreadable: A file cannot be read, or changed during each of three attempts to read it. One that
                vanished is left out, and said.
            DiskFull: Nothing was stored.
        """
        with self.writing("freezing code"):
            return self._freeze(os.fspath(root), listing, limit_bytes)

    def store_files(self, files: Mapping[str, bytes]) -> str:
        """Store files that are in memory as a git tree; durable when this returns, nothing when all is there.

        Args:
            files: Content by path; `/` between folders, neither absolute nor with `.` or `..`.

        Returns:
            The hash of the tree.

        Raises:
            ValueError: A path is not one of a tree.
            DiskFull: Nothing was stored.
        """
        for name in files:
            if not all(map(_is_entry_name, name.split("/"))):
                raise ValueError(f"no path of a tree: {name!r}")
        with self.writing("storing what was submitted"):
            writer = self.objects.writing()
            try:
                items = []
                for name, content in files.items():
                    blob = hash_bytes(BLOB, content)
                    if blob not in writer and blob not in self.objects:
                        writer.add(BLOB, blob, len(content), [content])
                    items.append((name, FILE, blob))
                tree = self._write_tree(_nested("", items), writer)
                writer.finish()
            finally:
                writer.abandon()
            return tree.hex()

    @contextlib.contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """One writer at a time, in a repository that is there; a full disk is said as one."""
        with self._lock:
            try:
                self._prepare()
                yield
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise DiskFull(str(self.objects.path), what) from error
                raise

    def _prepare(self) -> None:
        if not self._is_prepared:
            self.objects.prepare()
            self._is_prepared = True

    def _freeze(self, root: str, listing: FileList, limit_bytes: int) -> Frozen:
        found, special, gone = look(root, listing.files)
        size = sum(status.st_size for _, status in found)
        if size > limit_bytes:
            raise too_big(root, found, size, limit_bytes)
        seen = self._seen.of(root)
        writer = self.objects.writing()
        try:
            items, late = self._store_all(root, found, seen, writer)
            if gone := [*gone, *late]:
                # listed a moment ago: a temporary file that is over, or one that is being replaced
                time.sleep(_RETURN_S)
                back, _, gone = look(root, gone)
                more, late = self._store_all(root, back, seen, writer)
                items, gone = sorted(items + more), [*gone, *late]
            if seen.items != items or seen.tree not in self.objects:
                seen.tree = self._write_tree(_nested(root, items), writer)
            writer.finish()
        finally:
            writer.abandon()
        seen.items = items
        seen.save()
        self._seen.trim()
        notices = (*left_out("neither file nor link", special), *left_out("it vanished just now", gone))
        return Frozen(seen.tree.hex(), len(items), size, notices)

    def _store_all(
        self, root: str, found: list[tuple[str, os.stat_result]], seen: SeenRoot, writer: PackWriter
    ) -> tuple[list[_Item], list[str]]:
        """Store what is new; give all items, and the names of files that are gone meanwhile."""
        items, gone = [], []
        for name, status in found:
            try:
                items.append(self._store(root, name, status, seen, writer))
            except (FileNotFoundError, NotADirectoryError):
                gone.append(name)
        return items, gone

    def _store(self, root: str, name: str, status: os.stat_result, seen: SeenRoot, writer: PackWriter) -> _Item:
        path = f"{root}/{name}"
        if stat.S_ISLNK(status.st_mode):
            with reading(path):
                target = os.fsencode(os.readlink(path))  # noqa: PTH115  the bytes matter
            blob = hash_bytes(BLOB, target)
            if blob not in writer and blob not in self.objects:
                writer.add(BLOB, blob, len(target), [target])
            return name, LINK, blob
        known = seen.hash_of(name, look_of(status))
        if known is not None and (known in self.objects or known in writer):
            return name, PROGRAM if status.st_mode & stat.S_IXUSR else FILE, known
        for _ in range(_TRIES):
            if (stored := self._store_file(path, name, seen, writer)) is not None:
                return name, *stored
        raise CodeUnreadable(shown(path), "it changes while it is read")

    def _store_file(self, path: str, name: str, seen: SeenRoot, writer: PackWriter) -> tuple[int, bytes] | None:
        """Hash a file and store it when it is new; its mode and hash, or None when it changed meanwhile."""
        with reading(path):
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                return None
            started_ns = time.time_ns()
            content = read_whole(path, fd, before.st_size) if before.st_size <= _IN_MEMORY_BYTES else None
            if content is not None and len(content) != before.st_size:
                return None
            hashed = object_hash(BLOB, before.st_size)
            for chunk in chunks_at(path, fd) if content is None else (content,):
                hashed.update(chunk)
            blob = hashed.digest()
            if blob not in writer and blob not in self.objects:
                again = chunks_at(path, fd) if content is None else (content,)
                if not writer.add(BLOB, blob, before.st_size, again):
                    return None
            after = os.fstat(fd)
        finally:
            os.close(fd)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            return None
        # A file touched just before it was read may be touched again without a new time of change: the
        # clock of a file system ticks in milliseconds, on some in seconds.
        if max(after.st_mtime_ns, after.st_ctime_ns) > started_ns - _SETTLED_NS:
            seen.forget(name)
        else:
            seen.remember(name, look_of(after), blob)
        return PROGRAM if after.st_mode & stat.S_IXUSR else FILE, blob

    def _write_tree(self, folder: "_Folder", writer: PackWriter) -> bytes:
        """Store a folder and all below it.

        Source:
            gitformat-pack(5) names the object type; git's tree.c orders entries as if folders ended in `/`.
        """
        lines = [(name, FOLDER, self._write_tree(below, writer)) for name, below in folder.folders.items()]
        lines += [(name, mode, blob) for name, (mode, blob) in folder.files.items()]
        lines.sort(key=lambda line: line[0] + b"/" if line[1] == FOLDER else line[0])
        content = b"".join(b"%o %s\0%s" % (mode, name, blob) for name, mode, blob in lines)
        tree = hash_bytes(TREE, content)
        if tree not in writer and tree not in self.objects:
            writer.add(TREE, tree, len(content), [content])
        return tree

    def merge(self) -> int:
        """Merge small packs when there are many; returns how many that saved. Beside it one may freeze and read.

        Raises:
            OSError: The disk is full, say; what was there is untouched.
        """
        if self._merged_at is not None and self.objects.pack_count < self._merged_at + _LOOK_EVERY:
            return 0
        with self._lock:
            self._prepare()  # it would remove, as a leftover, the pack that is in the making
        with self._lock_merge:
            saved = merge(self.objects)
        self._merged_at = self.objects.pack_count
        return saved

    def entries(self, tree: str) -> Mapping[str, Entry]:
        """Every file of a tree by its path.

        Raises:
            StoreDamaged: The tree is not there, or not what its hash says.
        """
        known = self._entries.get(tree)
        if known is None:
            with self.objects.reading() as reader:
                known = dict(self._read_tree(reader, tree))
            with self._lock_entries:
                self._entries[tree] = known
                while len(self._entries) > 1 and sum(map(len, self._entries.values())) > _CACHED_ENTRIES:
                    self._entries.popitem(last=False)
        return known

    def _read_tree(self, reader: PackReader, tree: str, folder: str = "") -> Iterator[tuple[str, Entry]]:
        content = reader.content(bytes.fromhex(tree))
        if hash_bytes(TREE, content).hex() != tree:
            raise StoreDamaged(str(self.objects.path), f"tree {tree} is not what its hash says")
        try:
            lines = list(parse_tree(content, 20))
        except (ObjectFormatException, ValueError) as error:
            raise StoreDamaged(str(self.objects.path), f"tree {tree}: {error}") from error
        for raw, mode, child in lines:
            name = os.fsdecode(raw)
            if not _is_entry_name(name):
                raise StoreDamaged(str(self.objects.path), f"tree {tree} has an entry named {name!r}")
            if mode == FOLDER:
                yield from self._read_tree(reader, child.decode(), f"{folder}{name}/")
            else:
                blob = child.decode()
                yield f"{folder}{name}", Entry(mode, blob, reader.size(bytes.fromhex(blob)))

    def blob(self, blob: str) -> bytes:
        """The content of one file.

        Raises:
            StoreDamaged: It is not there, or not what its hash says.
        """
        with self.objects.reading() as reader:
            content = reader.content(bytes.fromhex(blob))
        if hash_bytes(BLOB, content).hex() != blob:
            raise StoreDamaged(str(self.objects.path), f"file {blob} is not what its hash says")
        return content

    def checkout(self, tree: str, destination: Path, *, keep_changed: bool = False) -> CheckedOut:
        """Write a tree's files, each verified against its hash; unsynced, may be repeated.

        Args:
            tree: Hash of the tree.
            destination: Made when it is not there. Files that do not belong to the tree are left alone.
            keep_changed: Leave files that differ from the tree as they are; else they are replaced.

        Raises:
            StoreDamaged: An object is missing or altered; the file it belongs to was not written.
        """
        entries = self.entries(tree)
        writing = WorkingCopy(os.fspath(destination), keep_changed=keep_changed)
        ordered = sorted(entries.items(), key=lambda item: self.objects.place(bytes.fromhex(item[1].blob)))
        with self.objects.reading() as reader:
            for name, entry in ordered:
                writing.put(name, entry, reader)
        return CheckedOut(len(entries), tuple(sorted(map(shown, writing.kept))))


def _is_entry_name(name: str) -> bool:
    return name not in ("", ".", "..", ".git") and "/" not in name and "\0" not in name


class _Folder:
    """One folder of a tree in the making."""

    __slots__ = ("files", "folders")

    def __init__(self) -> None:
        self.files: dict[bytes, tuple[int, bytes]] = {}
        self.folders: dict[bytes, _Folder] = {}


def _nested(root: str, items: list[_Item]) -> _Folder:
    top = _Folder()
    known: dict[str, _Folder] = {"": top}

    def folder_of(path: str) -> _Folder:
        if path not in known:
            parent, _, last = path.rpartition("/")
            known[path] = folder_of(parent).folders.setdefault(os.fsencode(last), _Folder())
        return known[path]

    for name, mode, blob in items:
        parent, _, last = name.rpartition("/")
        folder_of(parent).files[os.fsencode(last)] = mode, blob
    for path, folder in known.items():
        if not folder.files.keys().isdisjoint(folder.folders):
            raise CodeUnreadable(shown(f"{root}/{path}"), "a file became a folder while it was read")
    return top
