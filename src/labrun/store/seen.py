"""How source files looked when they were hashed, so that an unchanged one is not read again.

Kept in memory for the roots used last, and in one file per root below `store/seen/`, so that a
restart of the server does not read every project anew. The files are never synced and losing one
costs only time: each begins with the boot it was written in, and one of another boot is thrown away
(a power cut may have kept a file's times and lost its content).

A file is a header line and blocks that are appended: length and CRC-32, then records of name length,
name, look and hash. The last record of a name counts; what follows a torn block is ignored.
"""

import contextlib
import hashlib
import os
import struct
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path

_LOOK = struct.Struct("<qqqQQ")
_BLOCK = struct.Struct("<II")
_NAME = struct.Struct("<H")
_LOOK_BYTES = _LOOK.size
_RECORD_BYTES = _LOOK_BYTES + 20
_MAGIC = "labrun seen 1"
_KEPT_FILES = 50_000
"""So many files are remembered in memory, but always those of the root used last."""
_SPARE_BYTES = 64 * 1024


def look_of(status: os.stat_result) -> bytes:
    """What tells that a file was touched: size, both times, inode and device, in 40 bytes."""
    return _LOOK.pack(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)


class SeenRoot:
    """Files of one source root. For one thread at a time."""

    def __init__(self, root: str, path: Path | None, boot_id: str) -> None:
        self.items: list[tuple[str, int, bytes]] = []
        """What was frozen last: name, mode, hash."""
        self.tree = b""
        """The tree made of `items`; empty when there is none."""
        self._path = path
        self._header = _header(boot_id)
        self._root = os.fsencode(root)
        self._written_bytes = 0
        self._fresh: set[str] = set()
        self._records: dict[str, bytes] = dict(self._load())

    def __len__(self) -> int:
        return max(len(self._records), len(self.items))

    def hash_of(self, name: str, look: bytes) -> bytes | None:
        """The hash of a file that looks as it did when it was read; None when it must be read again."""
        record = self._records.get(name)
        return record[_LOOK_BYTES:] if record is not None and record[:_LOOK_BYTES] == look else None

    def remember(self, name: str, look: bytes, blob: bytes) -> None:
        """Keep what was read."""
        self._records[name] = look + blob
        self._fresh.add(name)

    def forget(self, name: str) -> None:
        """Have a file read again next time: it was touched too short a time before it was read."""
        self._records.pop(name, None)
        self._fresh.discard(name)

    def save(self) -> None:
        """Write down what is new; costs nothing when nothing is. A disk that takes nothing is no error here.

        When most of what is remembered is not in `items` any more, only that stays.
        """
        if len(self._records) > 2 * len(self.items) + 1000:
            self._records = {name: self._records[name] for name, _, _ in self.items if name in self._records}
            self._written_bytes = 0
        elif not self._fresh:
            return
        if self._path is None:
            self._fresh.clear()
            return
        try:
            self._write(self._path)
        except OSError:  # only a cache: without its file the next start is slower
            self._written_bytes = 0
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
        self._fresh.clear()

    def _write(self, path: Path) -> None:
        live_bytes = sum(len(name) for name in self._records) + len(self._records) * (_RECORD_BYTES + _NAME.size)
        if self._written_bytes == 0 or self._written_bytes > 2 * live_bytes + _SPARE_BYTES:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            content = self._header + self._root_line() + _block(self._records.items())
            temporary = path.with_suffix(".tmp")
            temporary.touch(mode=0o600)
            temporary.write_bytes(content)
            temporary.rename(path)
            self._written_bytes = len(content)
            return
        content = _block((name, self._records[name]) for name in self._fresh)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            if os.fstat(fd).st_size != self._written_bytes or os.write(fd, content) != len(content):
                raise OSError("not as it was written")
        finally:
            os.close(fd)
        self._written_bytes += len(content)

    def _root_line(self) -> bytes:
        return self._root.hex().encode() + b"\n"

    def _load(self) -> Iterator[tuple[str, bytes]]:
        if self._path is None:
            return
        try:
            content = self._path.read_bytes()
        except OSError:
            return
        begin = self._header + self._root_line()
        if not content.startswith(begin):
            return
        at = len(begin)
        while at + _BLOCK.size <= len(content):
            length, check = _BLOCK.unpack_from(content, at)
            block = content[at + _BLOCK.size : at + _BLOCK.size + length]
            if len(block) != length or zlib.crc32(block) != check:
                return  # torn: nothing is appended to it, `_written_bytes` is still zero
            yield from _records(block)
            at += _BLOCK.size + length
        if at == len(content):
            self._written_bytes = at


def _block(records: Iterable[tuple[str, bytes]]) -> bytes:
    parts: list[bytes] = []
    for name, record in records:
        raw = os.fsencode(name)
        parts += (_NAME.pack(len(raw)), raw, record)
    body = b"".join(parts)
    return _BLOCK.pack(len(body), zlib.crc32(body)) + body


def _records(block: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(block):
        (length,) = _NAME.unpack_from(block, at)
        at += _NAME.size
        yield os.fsdecode(block[at : at + length]), block[at + length : at + length + _RECORD_BYTES]
        at += length + _RECORD_BYTES


def _header(boot_id: str) -> bytes:
    return f"{_MAGIC} {boot_id}\n".encode()


class SeenFiles:
    """Files of all roots. For one thread at a time."""

    def __init__(self, folder: Path | None, boot_id: str = "") -> None:
        """Remember where to look; nothing is read yet.

        Args:
            folder: Where it is kept beyond this process; None: nowhere.
            boot_id: The kernel's name for this boot.
        """
        self._folder = folder
        self._boot_id = boot_id
        self._roots: OrderedDict[str, SeenRoot] = OrderedDict()
        self._is_swept = False

    def of(self, root: str) -> SeenRoot:
        """What is known of one root."""
        if not self._is_swept:
            self._sweep()
            self._is_swept = True
        known = self._roots.get(root)
        if known is None:
            path = None
            if self._folder is not None:
                name = hashlib.sha1(os.fsencode(root), usedforsecurity=False).hexdigest()
                path = self._folder / name
            known = self._roots[root] = SeenRoot(root, path, self._boot_id)
        self._roots.move_to_end(root)
        return known

    def trim(self) -> None:
        """Forget the roots used longest ago when too much is in memory."""
        while len(self._roots) > 1 and sum(map(len, self._roots.values())) > _KEPT_FILES:
            self._roots.popitem(last=False)

    def _sweep(self) -> None:
        """Remove what was written in another boot: it is never read again."""
        if self._folder is None:
            return
        header = _header(self._boot_id)
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                with path.open("rb") as file:
                    is_ours = file.read(len(header)) == header
                if not is_ours or path.suffix == ".tmp":
                    path.unlink(missing_ok=True)
