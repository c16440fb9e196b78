"""Frozen code: a source folder becomes one git tree of raw bytes, and a tree becomes files again.

No filter, no line-end conversion; modes and links are kept. The hash of a tree names the same bytes
when they are submitted, executed and restored.
"""

import errno
import os
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

from dulwich.errors import ObjectFormatException
from dulwich.objects import parse_tree
from msgspec import Struct

from labrun.core.errors import CodeUnreadable, DiskFull, StoreDamaged, TooBig
from labrun.core.units import show_size
from labrun.store.objects import BLOB, TREE, Objects, PackReader, PackWriter, hash_bytes, object_hash
from labrun.store.working import FILE, FOLDER, LINK, PROGRAM, Entry, WorkingCopy, chunks_of

LIMIT_BYTES = 200 * 2**20

_TRIES = 3
_IN_MEMORY_BYTES = 4 * 2**20
"""Files up to here are read once; larger ones are read twice, to be hashed and to be stored."""
_SETTLED_NS = 2 * 10**9
_CACHED_FILES = 50_000
_CACHED_ENTRIES = 20_000


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


class _Seen(Struct, frozen=True):
    """A file as it was when it was hashed."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int
    blob: bytes


_Item = tuple[str, int, bytes]
"""Name, mode, hash."""


class CodeStore:
    """Frozen code of a home. One freeze at a time, any number of checkouts; every method blocks."""

    def __init__(self, path: Path) -> None:
        self._objects = Objects(path)
        self._lock = threading.Lock()
        self._seen: dict[str, _Seen] = {}
        self._last: OrderedDict[str, tuple[list[_Item], bytes]] = OrderedDict()
        """By root: what was frozen last, so that an unchanged folder costs a stat per file."""
        self._entries: OrderedDict[str, Mapping[str, Entry]] = OrderedDict()
        self._lock_entries = threading.Lock()
        self._is_prepared = False

    def freeze(self, root: Path, listing: FileList, limit_bytes: int = LIMIT_BYTES) -> Frozen:
        """Store a source folder as a git tree; durable when this returns.

        Raises:
            TooBig: The folder is over the limit; the largest files are named.
            CodeUnreadable: A file vanished, cannot be read, or changed during each of three attempts to read it.
            DiskFull: Nothing was stored.
        """
        with self._lock:
            try:
                if not self._is_prepared:
                    self._objects.prepare()
                    self._is_prepared = True
                return self._freeze(os.fspath(root), listing, limit_bytes)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise DiskFull(str(self._objects.path), "freezing code") from error
                raise

    def _freeze(self, root: str, listing: FileList, limit_bytes: int) -> Frozen:
        found, notices = _look(root, listing.files)
        size = sum(status.st_size for _, status in found)
        if size > limit_bytes:
            raise _too_big(root, found, size, limit_bytes)
        writer = self._objects.writing()
        try:
            items = [self._store(root, name, status, writer) for name, status in found]
            tree = self._tree(root, items, writer)
            writer.finish()
        finally:
            writer.abandon()
        self._last[root] = items, tree
        self._last.move_to_end(root)
        while len(self._last) > 1 and sum(len(items) for items, _ in self._last.values()) > _CACHED_FILES:
            self._last.popitem(last=False)
        return Frozen(tree.hex(), len(items), size, notices)

    def _store(self, root: str, name: str, status: os.stat_result, writer: PackWriter) -> _Item:
        path = f"{root}/{name}"
        if stat.S_ISLNK(status.st_mode):
            with _reading(path):
                target = os.fsencode(os.readlink(path))  # noqa: PTH115  the bytes matter
            blob = hash_bytes(BLOB, target)
            if blob not in writer and blob not in self._objects:
                writer.add(BLOB, blob, len(target), [target])
            return name, LINK, blob
        mode = PROGRAM if status.st_mode & stat.S_IXUSR else FILE
        seen = self._seen.get(path)
        if seen is not None and _is_same(seen, status) and (seen.blob in self._objects or seen.blob in writer):
            return name, mode, seen.blob
        for _ in range(_TRIES):
            if (stored := self._store_file(path, writer)) is not None:
                return name, mode, stored
        raise CodeUnreadable(_shown(path), "it changes while it is read")

    def _store_file(self, path: str, writer: PackWriter) -> bytes | None:
        """Hash a file and store it when it is new; None when it changed meanwhile."""
        with _reading(path):
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                return None
            started_ns = time.time_ns()
            content = _read_whole(path, fd, before.st_size) if before.st_size <= _IN_MEMORY_BYTES else None
            if content is not None and len(content) != before.st_size:
                return None
            hashed = object_hash(BLOB, before.st_size)
            for chunk in _chunks(path, fd) if content is None else (content,):
                hashed.update(chunk)
            blob = hashed.digest()
            if blob not in writer and blob not in self._objects:
                again = _chunks(path, fd) if content is None else (content,)
                if not writer.add(BLOB, blob, before.st_size, again):
                    return None
            after = os.fstat(fd)
        finally:
            os.close(fd)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            return None
        self._remember(path, after, blob, started_ns)
        return blob

    def _remember(self, path: str, status: os.stat_result, blob: bytes, read_ns: int) -> None:
        # A file touched just before it was read may be touched again without a new time of change: the
        # clock of a file system ticks in milliseconds, on some in seconds.
        if max(status.st_mtime_ns, status.st_ctime_ns) > read_ns - _SETTLED_NS:
            self._seen.pop(path, None)
            return
        if len(self._seen) >= _CACHED_FILES:
            for old in list(islice(self._seen, _CACHED_FILES // 2)):
                del self._seen[old]
        self._seen[path] = _Seen(
            status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev, blob
        )

    def _tree(self, root: str, items: list[_Item], writer: PackWriter) -> bytes:
        last = self._last.get(root)
        if last is not None and last[0] == items and last[1] in self._objects:
            return last[1]
        return self._write_tree(_nested(root, items), writer)

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
        if tree not in writer and tree not in self._objects:
            writer.add(TREE, tree, len(content), [content])
        return tree

    def entries(self, tree: str) -> Mapping[str, Entry]:
        """Every file of a tree by its path.

        Raises:
            StoreDamaged: The tree is not there, or not what its hash says.
        """
        known = self._entries.get(tree)
        if known is None:
            with self._objects.reading() as reader:
                known = dict(self._read_tree(reader, tree))
            with self._lock_entries:
                self._entries[tree] = known
                while len(self._entries) > 1 and sum(map(len, self._entries.values())) > _CACHED_ENTRIES:
                    self._entries.popitem(last=False)
        return known

    def _read_tree(self, reader: PackReader, tree: str, folder: str = "") -> Iterator[tuple[str, Entry]]:
        content = reader.content(bytes.fromhex(tree))
        if hash_bytes(TREE, content).hex() != tree:
            raise StoreDamaged(str(self._objects.path), f"tree {tree} is not what its hash says")
        try:
            lines = list(parse_tree(content, 20))
        except (ObjectFormatException, ValueError) as error:
            raise StoreDamaged(str(self._objects.path), f"tree {tree}: {error}") from error
        for raw, mode, child in lines:
            name = os.fsdecode(raw)
            if name in ("", ".", "..", ".git") or "/" in name:
                raise StoreDamaged(str(self._objects.path), f"tree {tree} has an entry named {name!r}")
            if mode == FOLDER:
                yield from self._read_tree(reader, child.decode(), f"{folder}{name}/")
            else:
                blob = child.decode()
                yield f"{folder}{name}", Entry(mode, blob, reader.size(bytes.fromhex(blob)))

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
        ordered = sorted(entries.items(), key=lambda item: self._objects.place(bytes.fromhex(item[1].blob)))
        with self._objects.reading() as reader:
            for name, entry in ordered:
                writing.put(name, entry, reader)
        return CheckedOut(len(entries), tuple(sorted(map(_shown, writing.kept))))


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
            raise CodeUnreadable(_shown(f"{root}/{path}"), "a file became a folder while it was read")
    return top


def _look(root: str, names: Sequence[str]) -> tuple[list[tuple[str, os.stat_result]], tuple[str, ...]]:
    """Stat every file once; what is neither file nor link is left out, and said."""
    found, special = [], []
    for name in names:
        with _reading(f"{root}/{name}"):
            status = os.lstat(f"{root}/{name}")
        if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
            found.append((name, status))
        else:
            special.append(f"not frozen, neither file nor link: {_shown(name)}")
    return found, tuple(special)


def _too_big(root: str, found: list[tuple[str, os.stat_result]], size: int, limit: int) -> TooBig:
    largest = sorted(found, key=lambda item: item[1].st_size, reverse=True)[:5]
    listed = ", ".join(f"{_shown(name)} ({show_size(status.st_size)})" for name, status in largest)
    line = f"/{_shown(largest[0][0])}"
    hint = f"the largest are {listed}; a line such as `{line}` in .gitignore or .labignore leaves a file out"
    details = [{"path": _shown(name), "size_bytes": status.st_size} for name, status in largest]
    return TooBig(f"source folder `{_shown(root)}`", size, limit, hint, details)


def _is_same(seen: _Seen, status: os.stat_result) -> bool:
    return (seen.mtime_ns, seen.ctime_ns, seen.size, seen.inode, seen.device) == (
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_size,
        status.st_ino,
        status.st_dev,
    )


class _reading:  # noqa: N801  reads as a statement: `with _reading(path)`
    """Turns a failure to read a source file into `CodeUnreadable`."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise CodeUnreadable(_shown(self._path), error.strerror or str(error)) from error


def _read_whole(path: str, fd: int, size: int) -> bytes:
    with _reading(path):
        return os.pread(fd, size + 1, 0)


def _chunks(path: str, fd: int) -> Iterator[bytes]:
    with _reading(path):
        yield from chunks_of(fd)


def _shown(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
