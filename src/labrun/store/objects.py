"""Git objects of raw bytes in a bare repository: `store/code.git`, readable with plain `git --git-dir`.

New objects go into one pack at a time, whole (never as deltas), compressed lightly and streamed, so
memory stays flat for files of any size. Durable means: pack synced, index synced, both renamed into
place, their folder synced: three syncs, whatever the number of objects.

Source:
    gitformat-pack(5), pack-*.pack files have the following format; gitrepository-layout(5).
"""

# Long because what a pack is, how it is read and how it is written belong together.

import contextlib
import hashlib
import os
import struct
import threading
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import IO

from dulwich.errors import ChecksumMismatch
from dulwich.object_format import SHA1
from dulwich.pack import (
    Pack,
    load_pack_index,
    pack_header_chunks,
    pack_object_header,
    write_pack_index_v2,
)

from labrun.core.errors import StoreDamaged

TREE, BLOB = 2, 3
"""Object types as packs number them."""
CHUNK_BYTES = 1 << 20
_SAMPLE_BYTES = 1 << 15

_NAMES = {TREE: b"tree", BLOB: b"blob"}
_CONFIG = """[core]
\trepositoryformatversion = 1
\tfilemode = true
\tbare = true
[extensions]
\tpreciousObjects = true
"""
# Nothing refers to these trees by a branch: without preciousObjects the first `git gc` would throw them away.


def object_hash(kind: int, size_bytes: int) -> "hashlib._Hash":
    """Begin the hash of an object; feed it the content."""
    return hashlib.sha1(b"%s %d\0" % (_NAMES[kind], size_bytes), usedforsecurity=False)


def hash_bytes(kind: int, content: bytes) -> bytes:
    """Name an object that is in memory.

    >>> hash_bytes(BLOB, b"").hex()
    'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'
    """
    hashed = object_hash(kind, len(content))
    hashed.update(content)
    return hashed.digest()


class Objects:
    """All objects of one repository. Any thread may read; one at a time writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._packs = path / "objects/pack"
        self._lock = threading.Lock()
        self._places: dict[bytes, tuple[str, int]] = {}
        """Where each known object lies: pack (path without suffix) and offset."""
        self._loaded: set[str] = set()
        self._damaged: dict[str, str] = {}
        """Packs whose index cannot be read, with the reason: what only they hold counts as missing, and a freeze of
        the same files stores it again."""
        self._left_alone: set[str] = set()
        """Packs that cannot be merged."""
        self._listed_ns = -1
        """When the folder of packs had changed last, as it was listed."""

    def prepare(self) -> None:
        """Make the repository when it is not there, durably; remove what a crash left of a write."""
        if not (self.path / "HEAD").exists():
            for folder in (self._packs, self.path / "refs"):
                folder.mkdir(parents=True, exist_ok=True)
            (self.path / "config").write_text(_CONFIG)
            for place in ("config", "objects/pack", "objects", "refs", ".", ".."):
                sync(self.path / place)
            (self.path / "HEAD").write_text("ref: refs/heads/main\n")  # last: it says that the rest is durable
            sync(self.path / "HEAD")
            sync(self.path)
        else:
            # a process that was killed between renaming its pack and syncing the folder left one that can be read
            # and would be taken for stored
            sync(self._packs)
        for leftover in self._packs.glob("tmp_*"):
            leftover.unlink(missing_ok=True)

    def __contains__(self, name: object) -> bool:
        """Whether an object is there. What another process stored in the same instant may be missed, and is then
        stored again."""
        return name in self._places or (self._load() and name in self._places)

    def has_all(self, names: Iterable[bytes]) -> bool:
        """Whether every object is there."""
        return all(name in self for name in names)

    def _load(self, *, anew: bool = False) -> bool:
        """Learn of packs that appeared since; whether there were any. An unchanged folder is listed only anew."""
        with self._lock:
            try:
                changed_ns = self._changed_ns()
                if changed_ns == self._listed_ns and not anew:
                    return False
                self._listed_ns = changed_ns
                found = {os.fspath(path)[:-4] for path in self._packs.glob("pack-*.idx")} - self._loaded
            except OSError as error:
                raise StoreDamaged(str(self._packs), error.strerror or str(error)) from error
            for pack in sorted(found):
                self._loaded.add(pack)
                try:
                    with contextlib.closing(load_pack_index(f"{pack}.idx", SHA1)) as index:
                        index.check()
                        for name, offset, _ in index.iterentries():
                            self._places[bytes(name)] = (pack, offset)
                except (OSError, ValueError, AssertionError, KeyError, struct.error, ChecksumMismatch) as error:
                    self._damaged[f"{pack}.idx"] = str(error)
            return bool(found)

    def _changed_ns(self) -> int:
        try:
            return self._packs.stat().st_mtime_ns
        except FileNotFoundError:
            return -1

    def place(self, name: bytes) -> tuple[str, int]:
        """Where an object lies; sort by it to read a pack from front to back.

        Raises:
            StoreDamaged: It is not there.
        """
        if name not in self and not (self._load(anew=True) and name in self._places):
            unread = "".join(f"; {index} cannot be read: {why}" for index, why in list(self._damaged.items())[:1])
            raise StoreDamaged(str(self.path), f"object {name.hex()} is missing{unread}")
        return self._places[name]

    def writing(self) -> "PackWriter":
        """Begin a pack; nothing touches the disk before the first object."""
        return PackWriter(self._packs, self._keep)

    def _keep(self, pack: str, entries: dict[bytes, int]) -> None:
        with self._lock:
            self._places.update({name: (pack, offset) for name, offset in entries.items()})
            self._loaded.add(pack)
            self._listed_ns = self._changed_ns()  # by us; with very many packs, listing them after each costs

    @property
    def pack_count(self) -> int:
        """How many packs are known."""
        return len(self._loaded)

    def mergeable(self) -> set[str]:
        """Packs that can be read and may become one with others, as paths without suffix."""
        self._load()
        with self._lock:
            return {pack for pack in self._loaded if f"{pack}.idx" not in self._damaged} - self._left_alone

    def leave_alone(self, pack: str) -> None:
        """Never merge a pack."""
        self._left_alone.add(pack)

    def dropped(self, packs: Collection[str]) -> None:
        """Forget packs that are gone; whatever else lies in them lies elsewhere, or is looked for anew."""
        gone = frozenset(packs)
        with self._lock:
            self._loaded -= gone
            for name in [name for name, (pack, _) in self._places.items() if pack in gone]:
                del self._places[name]
            self._listed_ns = -1

    def reading(self) -> "PackReader":
        """Begin to read; keeps one pack open."""
        return PackReader(self)


class PackReader:
    """Reads objects one after the other; verifies nothing, whoever reads hashes."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._pack = ""
        self._file: IO[bytes] | None = None

    def __enter__(self) -> "PackReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _fd(self, pack: str) -> int:
        if self._file is None or pack != self._pack:
            self._close()
            self._file = Path(f"{pack}.pack").open("rb", buffering=0)  # noqa: SIM115  closed by `_close`
            self._pack = pack
        return self._file.fileno()

    def _find(self, name: bytes) -> tuple[str, int, int]:
        """Pack, file and offset of an object; looks twice, for its pack may just have been merged into another.

        Raises:
            StoreDamaged: It is not there, or its pack cannot be opened.
        """
        pack, offset = self._objects.place(name)
        try:
            return pack, self._fd(pack), offset
        except FileNotFoundError:
            self._objects.dropped([pack])
        except OSError as error:
            raise StoreDamaged(f"{pack}.pack", error.strerror or str(error)) from error
        pack, offset = self._objects.place(name)
        try:
            return pack, self._fd(pack), offset
        except OSError as error:
            raise StoreDamaged(f"{pack}.pack", error.strerror or str(error)) from error

    def size(self, name: bytes) -> int:
        """Size of an object's content in bytes."""
        pack, fd, offset = self._find(name)
        kind, size, _ = _header(os.pread(fd, 32, offset), pack)
        return size if kind in _NAMES else sum(map(len, self._by_dulwich(pack, name)))

    def kind(self, name: bytes) -> int:
        """Whether it is a file or a tree."""
        pack, offset = self._objects.place(name)
        kind, _, _ = _header(os.pread(self._fd(pack), 32, offset), pack)
        return kind

    def content(self, name: bytes) -> bytes:
        """Content of a small object."""
        return b"".join(self.chunks(name))

    def chunks(self, name: bytes) -> Iterator[bytes]:
        """Content of an object in pieces of at most 1 MiB.

        Raises:
            StoreDamaged: The pack is cut short or altered.
        """
        pack, fd, offset = self._find(name)
        kind, size, length = _header(os.pread(fd, 32, offset), pack)
        if kind not in _NAMES:  # a delta: somebody repacked this repository with git
            yield from self._by_dulwich(pack, name)
            return
        offset += length
        inflate = zlib.decompressobj()
        step = min(CHUNK_BYTES, size + size // 1000 + 64)
        pending = b""
        while not inflate.eof:
            if not pending:
                pending = os.pread(fd, step, offset)
                offset += len(pending)
                if not pending:
                    raise StoreDamaged(f"{pack}.pack", f"object {name.hex()} is cut short")
            try:
                piece = inflate.decompress(pending, CHUNK_BYTES)
            except zlib.error as error:
                raise StoreDamaged(f"{pack}.pack", f"object {name.hex()}: {error}") from error
            pending = inflate.unconsumed_tail
            if piece:
                yield piece

    def _by_dulwich(self, pack: str, name: bytes) -> list[bytes]:
        try:
            with Pack(pack, object_format=SHA1) as found:
                return [found.get_raw(name)[1]]  # type: ignore[arg-type]  # dulwich gives 20 bytes a type of their own
        except (OSError, ValueError, AssertionError, KeyError, zlib.error) as error:
            raise StoreDamaged(f"{pack}.pack", f"object {name.hex()}: {error}") from error


def _header(raw: bytes, pack: str) -> tuple[int, int, int]:
    """Read an object's header: type, size of its content, length of the header."""
    kind, size = (raw[0] >> 4) & 7 if raw else 0, raw[0] & 15 if raw else 0
    for length, byte in enumerate(raw, start=1):
        if length > 1:
            size |= (byte & 127) << (4 + 7 * (length - 2))
        if not byte & 128:
            return kind, size, length
    raise StoreDamaged(f"{pack}.pack", "an object's header makes no sense")


class PackWriter:
    """One pack in the making: temporary until `finish`, gone after `abandon`."""

    def __init__(self, folder: Path, keep: Callable[[str, dict[bytes, int]], None]) -> None:
        self._folder = folder
        self._keep = keep
        self._file: IO[bytes] | None = None
        self._entries: dict[bytes, tuple[int, int]] = {}
        """Offset and CRC-32 by name."""
        self._offset = 0

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def add(self, kind: int, name: bytes, size_bytes: int, chunks: Iterable[bytes]) -> bool:
        """Append an object, hashing it on the way.

        Returns:
            False when the content is not what the name says (it changed meanwhile); nothing was added.
        """
        file = self._open()
        hashed, check = object_hash(kind, size_bytes), 0
        deflate = None
        offset = self._offset

        def put(piece: bytes) -> None:
            nonlocal check
            file.write(piece)
            check = zlib.crc32(piece, check)
            self._offset += len(piece)

        put(bytes(pack_object_header(kind, None, size_bytes, SHA1)))
        seen = 0
        for chunk in chunks:
            seen += len(chunk)
            if seen > size_bytes:
                break
            hashed.update(chunk)
            deflate = deflate or zlib.compressobj(_level(chunk))
            put(deflate.compress(chunk))
        put((deflate or zlib.compressobj()).flush())
        if seen != size_bytes or hashed.digest() != name:
            file.seek(offset)
            file.truncate()
            self._offset = offset
            return False
        self._entries[name] = (offset, check)
        return True

    def copy(self, name: bytes, pieces: Iterable[bytes], crc: int | None) -> bool:
        """Append an object as another pack stores it.

        Returns:
            False when it is not what its checksum says; nothing was added.
        """
        file, offset, check = self._open(), self._offset, 0
        for piece in pieces:
            file.write(piece)
            check = zlib.crc32(piece, check)
            self._offset += len(piece)
        if crc is not None and check != crc:
            file.seek(offset)
            file.truncate()
            self._offset = offset
            return False
        self._entries[name] = (offset, check)
        return True

    def _open(self) -> IO[bytes]:
        if self._file is None:
            self._file = Path(self._folder, f"tmp_pack_{os.getpid()}_{threading.get_ident()}").open("wb+")  # noqa: SIM115  closed by `abandon`
            for chunk in pack_header_chunks(0):
                self._file.write(chunk)
                self._offset += len(chunk)
        return self._file

    def finish(self) -> str | None:
        """Make every object durable; the pack's path without suffix, None when there is nothing."""
        if self._file is None or not self._entries:
            self.abandon()
            return None
        names = sorted(self._entries)
        temporary = Path(self._file.name)
        total = self._seal(self._file)
        index = _index_of(temporary)
        with index.open("wb") as file:
            write_pack_index_v2(file, [(name, *self._entries[name]) for name in names], total)
            file.flush()
            os.fsync(file.fileno())
        # Of its bytes, so that a pack of the same objects in another order never takes the place of one in use.
        pack = self._folder / f"pack-{total.hex()}"
        for file_path, suffix in ((temporary, ".pack"), (index, ".idx")):
            file_path.chmod(0o444)
            file_path.rename(f"{pack}{suffix}")
        self._file.close()
        self._file = None
        sync(self._folder)
        self._keep(os.fspath(pack), {name: offset for name, (offset, _) in self._entries.items()})
        return os.fspath(pack)

    def _seal(self, file: IO[bytes]) -> bytes:
        """Write the number of objects into the header and the hash of everything at the end; sync."""
        header = b"".join(pack_header_chunks(len(self._entries)))
        file.seek(0)
        file.write(header)
        file.seek(len(header))
        total = hashlib.sha1(header, usedforsecurity=False)
        while chunk := file.read(CHUNK_BYTES):
            total.update(chunk)
        file.write(total.digest())
        file.flush()
        os.fsync(file.fileno())
        return total.digest()

    def abandon(self) -> None:
        """Drop what was not finished."""
        if self._file is not None:
            temporary = Path(self._file.name)
            for path in (temporary, _index_of(temporary)):
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # what is still in memory does not fit on a full disk either
                self._file.close()
            self._file = None


def _index_of(temporary: Path) -> Path:
    return temporary.with_name(temporary.name.replace("pack", "idx", 1))


def _level(beginning: bytes) -> int:
    """Choose how hard to compress: not at all what is compressed already, lightly everything else."""
    sample = beginning[:_SAMPLE_BYTES]
    is_dense = len(sample) >= 4096 and len(zlib.compress(sample, 1)) > 0.97 * len(sample)
    return 0 if is_dense else 1


def sync(path: Path) -> None:
    """Make a file or a folder durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
