"""Many small packs become one: every submit adds one or two, and looking at thousands of files takes time.

Packs of about the same size are merged once there are `TOGETHER` of them, so each object is copied a
few times at most, however many packs there will be. Objects are copied as they are stored, and checked
against their index on the way. A crash leaves the old packs, the new one, or both; all three are whole.
"""

import contextlib
import logging
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from dulwich.errors import ChecksumMismatch
from dulwich.object_format import SHA1
from dulwich.pack import PackIndex, load_pack_index

from labrun.core.errors import StoreDamaged
from labrun.store.objects import BLOB, CHUNK_BYTES, TREE, Objects, PackWriter, sync

log = logging.getLogger(__name__)

TOGETHER = 32
"""So many packs of one size class become one."""
LIMIT_BYTES = 128 * 2**20
"""Larger packs stay as they are: they are few."""
_TRAILER_BYTES = 20


def merge(objects: Objects, together: int = TOGETHER) -> int:
    """Merge packs of one size where there are enough; returns how many files of packs that saved. Blocks.

    Readers need not be stopped: who looks for a pack that is gone looks again where its objects are now.
    """
    saved = 0
    for packs in _classes(objects).values():
        if len(packs) >= together:
            saved += _merge(objects, packs)
    return saved


def _classes(objects: Objects) -> dict[int, list[str]]:
    """Packs that may be merged, by size class: each is sixteen times as wide as the one before."""
    found = defaultdict[int, list[str]](list)
    for pack in sorted(objects.mergeable()):
        with contextlib.suppress(OSError):
            size = os.stat(f"{pack}.pack").st_size  # noqa: PTH116  a text, not a Path
            if size < LIMIT_BYTES:
                found[max(0, size.bit_length() - 13) // 4].append(pack)
    return found


def _merge(objects: Objects, packs: list[str]) -> int:
    writer = objects.writing()
    copied = list[str]()
    try:
        for pack in packs:
            why = _copy_all(objects, pack, writer)
            if why is None:
                copied.append(pack)
            else:
                objects.leave_alone(pack)
                log.warning("pack is not merged", extra={"pack": pack, "why": why})
        new = writer.finish()  # durable, and what readers use from here on
    finally:
        writer.abandon()
    gone = [pack for pack in copied if pack != new]
    for suffix in (".idx", ".pack"):  # git looks for the index first
        for pack in gone:
            Path(f"{pack}{suffix}").unlink(missing_ok=True)
    sync(Path(packs[0]).parent)
    objects.dropped(gone)
    return len(gone) - (1 if new is not None and new not in packs else 0)


def _copy_all(objects: Objects, pack: str, writer: PackWriter) -> str | None:
    """Copy what only this pack has; why it must stay, or None."""
    try:
        with contextlib.closing(load_pack_index(f"{pack}.idx", SHA1)) as index, Path(f"{pack}.pack").open("rb") as file:
            index.check()
            ends = list(_extents(index, os.fstat(file.fileno()).st_size - _TRAILER_BYTES))
            if any((os.pread(file.fileno(), 1, begin)[0] >> 4) & 7 not in (TREE, BLOB) for _, begin, _, _ in ends):
                return "git packed it with deltas"
            for name, begin, end, crc in ends:
                if name in writer or objects.place(name)[0] != pack:
                    continue
                if not writer.copy(name, _chunks(file.fileno(), begin, end), crc):
                    return f"object {name.hex()} is damaged"
    except (OSError, ValueError, IndexError, AssertionError, ChecksumMismatch, StoreDamaged) as error:
        if isinstance(error, OSError) and error.filename is None:
            raise  # the disk that is written to
        return str(error)
    return None


def _extents(index: PackIndex, end: int) -> Iterator[tuple[bytes, int, int, int | None]]:
    """Name, begin, end and checksum of every object, front to back."""
    entries = sorted((offset, bytes(name), crc) for name, offset, crc in index.iterentries())
    ends = [offset for offset, _, _ in entries[1:]] + [end]
    for (offset, name, crc), after in zip(entries, ends, strict=True):
        yield name, offset, after, crc


def _chunks(fd: int, begin: int, end: int) -> Iterator[bytes]:
    while begin < end and (piece := os.pread(fd, min(CHUNK_BYTES, end - begin), begin)):
        begin += len(piece)
        yield piece
