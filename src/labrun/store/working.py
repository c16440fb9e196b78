"""A working copy: the files of a tree as `checkout` writes them, and how to tell that one was changed since."""

import errno
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from labrun.core.errors import StoreDamaged
from labrun.store.objects import BLOB, CHUNK_BYTES, PackReader, hash_bytes, object_hash

FILE, PROGRAM, LINK, FOLDER = 0o100644, 0o100755, 0o120000, 0o40000
"""Modes git knows; the rest of a file's mode is the reader's umask."""


class Entry(Struct, frozen=True):
    """One file of a tree."""

    mode: int
    blob: str
    """Git's hash of the content, 40 hexadecimal digits."""
    size: int
    """In bytes; of a link, the length of its target."""


class WorkingCopy:
    """One checkout in progress."""

    def __init__(self, top: str, *, keep_changed: bool) -> None:
        self._top = top
        self._keep_changed = keep_changed
        self._folders: dict[str, bool] = {}
        self.kept: list[str] = []
        Path(top).mkdir(parents=True, exist_ok=True)

    def put(self, name: str, entry: Entry, reader: PackReader) -> None:
        """Bring one file to what the tree says, or leave it, and note that it was kept."""
        if not self._ensure(name.rpartition("/")[0]):
            self.kept.append(name)
            return
        path = f"{self._top}/{name}"
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            pass
        else:
            # the content is hashed, not trusted by its time: a power cut may have left any of it behind
            is_good = is_as_stored(path, status, entry)
            if is_good and (status.st_nlink == 1 or entry.mode == LINK):
                return
            # one with several names is shared with other experiments: whoever runs here gets his own again
            if not is_good and self._keep_changed and not _is_torn(status, entry):
                self.kept.append(name)
                return
            _remove(path, status)
        self._write(path, entry, reader)

    def _ensure(self, folder: str) -> bool:
        """Make a folder; False when something else stands there, such as a link to where we must not write."""
        if not folder:
            return True
        known = self._folders.get(folder)
        if known is None:
            known = self._ensure(folder.rpartition("/")[0]) and self._make(f"{self._top}/{folder}")
            self._folders[folder] = known
        return known

    def _make(self, path: str) -> bool:
        try:
            os.mkdir(path)  # noqa: PTH102  once per folder of every checkout
        except FileExistsError:
            status = os.lstat(path)
            if stat.S_ISDIR(status.st_mode):
                return True
            if self._keep_changed:
                return False
            _remove(path, status)
            os.mkdir(path)  # noqa: PTH102  as above
        return True

    def _write(self, path: str, entry: Entry, reader: PackReader) -> None:
        name = bytes.fromhex(entry.blob)
        if entry.mode == LINK:
            target = reader.content(name)
            _check(hash_bytes(BLOB, target), name)
            os.symlink(target, os.fsencode(path))  # noqa: PTH211  the bytes matter
            return
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o777 if entry.mode == PROGRAM else 0o666)
        try:
            hashed = object_hash(BLOB, entry.size)
            for chunk in reader.chunks(name):
                hashed.update(chunk)
                _write_all(fd, chunk)
            _check(hashed.digest(), name)
            moment = (time.time_ns() // 10**9 - 1) * 10**9 + _fingerprint(entry)
            os.utime(fd, ns=(moment, moment))
        except BaseException:
            os.unlink(path)  # noqa: PTH108  whatever interrupted us, no half file stays
            raise
        finally:
            os.close(fd)


def _fingerprint(entry: Entry) -> int:
    """A number of nanoseconds that tells this content from others, 0 to 0.27 s."""
    return int(entry.blob[:7], 16)


def _is_torn(status: os.stat_result, entry: Entry) -> bool:
    """Whether a file that is not as stored was written by `checkout` and cut down by a power cut, not by a run.

    A checkout is not synced: its blocks may be lost while its size or its time of change is kept. A run that
    writes to the file changes that time; a run that empties the file cannot be told from a power cut.
    """
    if not stat.S_ISREG(status.st_mode) or entry.mode == LINK:
        return False
    if bool(status.st_mode & stat.S_IXUSR) != (entry.mode == PROGRAM):
        return False  # somebody's chmod, which leaves the time alone
    is_empty = status.st_size == 0 and entry.size > 0
    return is_empty or status.st_mtime_ns % 10**9 == _fingerprint(entry)


def is_untouched(status: os.stat_result, entry: Entry) -> bool:
    """Whether a file provably is as `checkout` wrote it, told by its status alone; False means: look inside.

    `checkout` gives each file a time of change whose fraction of a second is made from its content's
    hash. Whoever writes to the file, or copies another one over it with its times, changes that; whoever
    sets it back cannot set back the inode's own time of change. Where the file system keeps no
    nanoseconds the answer is False, and the content is compared.
    """
    return (
        stat.S_ISREG(status.st_mode)
        and status.st_size == entry.size
        and status.st_mtime_ns % 10**9 == _fingerprint(entry)
        and 0 <= status.st_ctime_ns - status.st_mtime_ns < 3 * 10**9
        and bool(status.st_mode & stat.S_IXUSR) == (entry.mode == PROGRAM)
    )


def is_as_stored(path: str, status: os.stat_result, entry: Entry) -> bool:
    """Whether a file has the entry's mode and content; reads it.

    Raises:
        OSError: It cannot be read.
    """
    if entry.mode == LINK:
        if not stat.S_ISLNK(status.st_mode):
            return False
        return hash_bytes(BLOB, os.fsencode(os.readlink(path))).hex() == entry.blob  # noqa: PTH115  the bytes matter
    is_program = bool(status.st_mode & stat.S_IXUSR)
    if not stat.S_ISREG(status.st_mode) or status.st_size != entry.size or is_program != (entry.mode == PROGRAM):
        return False
    hashed = object_hash(BLOB, entry.size)
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        for chunk in chunks_of(fd):
            hashed.update(chunk)
    finally:
        os.close(fd)
    return hashed.hexdigest() == entry.blob


def _write_all(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]


def _remove(path: str, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "a folder stands where a file of the code belongs", path)
    os.unlink(path)  # noqa: PTH108  names may be no UTF-8


def _check(found: bytes, name: bytes) -> None:
    if found != name:
        raise StoreDamaged(f"store/code.git object {name.hex()}", "its content is not what its hash says")


def chunks_of(fd: int) -> Iterator[bytes]:
    """Content of an open file in pieces of 1 MiB, from its beginning."""
    offset = 0
    while chunk := os.pread(fd, CHUNK_BYTES, offset):
        offset += len(chunk)
        yield chunk
