"""Hashes of declared data: SHA-256 of a file, of a folder the hash over its files.

A folder's hash is SHA-256 over what `sha256sum -z` says of each file, `<sha256>  ./<path>` and a NUL,
sorted by path; links inside are hashed by their target's text. Without links anybody can check it, whatever
the files are called (a plain `sha256sum` takes `-` for its input and quotes a newline):
`find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum -z | sha256sum`.
Unchanged files cost a stat.
"""

import hashlib
import os
import stat
import threading
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from labrun.core.errors import CodeUnreadable
from labrun.core.spec import Input

_CACHED_FILES = 500_000
_SETTLED_NS = 2 * 10**9
_POOL = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="hash")


class DataHashes:
    """Hashes files, and remembers them by what `stat` says. Used from any thread."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, int, int, int, int], str] = OrderedDict()
        self._lock = threading.Lock()

    def hash(self, name: str, path: Path) -> Input:
        """Describe one declared input. Blocks as long as reading it takes.

        Raises:
            CodeUnreadable: It vanished, cannot be read, or changed while it was read.
        """
        try:
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                return self._folder(name, path)
            if not stat.S_ISREG(status.st_mode):
                raise CodeUnreadable(str(path), "it is neither file nor folder")
            return Input(name, str(path), self._file(path, status), status.st_size, 1, _time(status.st_mtime_ns))
        except OSError as error:
            raise CodeUnreadable(str(path), error.strerror or str(error)) from error

    def _folder(self, name: str, path: Path) -> Input:
        files = sorted(_below(path), key=lambda found: os.fsencode(found[0]))
        hashes = _POOL.map(lambda found: self._entry(path / found[0], found[1]), files)
        total = hashlib.sha256()
        for (place, _), digest in zip(files, hashes, strict=True):
            total.update(f"{digest}  ./".encode() + os.fsencode(place) + b"\0")
        size = sum(status.st_size for _, status in files)
        newest = max((status.st_mtime_ns for _, status in files), default=path.stat().st_mtime_ns)
        return Input(name, str(path), total.hexdigest(), size, len(files), _time(newest))

    def _entry(self, path: Path, status: os.stat_result) -> str:
        if stat.S_ISLNK(status.st_mode):
            return hashlib.sha256(os.fsencode(path.readlink())).hexdigest()
        return self._file(path, status)

    def _file(self, path: Path, status: os.stat_result) -> str:
        key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        with self._lock:
            if (known := self._known.get(key)) is not None:
                return known
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            after = os.fstat(stream.fileno())
        if (after.st_size, after.st_mtime_ns, after.st_ino) != (status.st_size, status.st_mtime_ns, status.st_ino):
            raise CodeUnreadable(str(path), "it changed while it was read")
        if after.st_mtime_ns < _now_ns(after) - _SETTLED_NS:
            with self._lock:
                self._known[key] = digest
                while len(self._known) > _CACHED_FILES:
                    self._known.popitem(last=False)
        return digest


def _now_ns(status: os.stat_result) -> int:
    """The later of now and the file's own times: a file of the future is never settled."""
    return max(time.time_ns(), status.st_ctime_ns)


def _below(top: Path) -> list[tuple[str, os.stat_result]]:
    found: list[tuple[str, os.stat_result]] = []
    pending = [""]
    while pending:
        here = pending.pop()
        with os.scandir(top / here) as entries:
            for entry in entries:
                place = f"{here}/{entry.name}" if here else entry.name
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    pending.append(place)
                elif stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
                    found.append((place, status))
    return found


def _time(mtime_ns: int) -> datetime:
    return datetime.fromtimestamp(mtime_ns // 10**9, UTC)
