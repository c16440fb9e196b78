"""Space kept for the day the disk is full: accepted work is brought to its end with it."""

import os

from labrun.core.errors import DiskFull
from labrun.store.filesystem import sync_directory
from labrun.store.home import Home

RESERVE_BYTES = 16 * 2**20
_ROOM_BYTES = 2**20
"""Least free space to open the databases with."""


def ensure_reserve(home: Home, size_bytes: int = RESERVE_BYTES) -> bool:
    """Keep space for the day the disk is full; True when it is there.

    A disk with less than four times that much free gets none: there it would be the thing that fills it.
    """
    try:
        if home.reserve.exists() and home.reserve.stat().st_size >= size_bytes:
            return True
        room = os.statvfs(home.state)
        if room.f_bavail * room.f_frsize < 4 * size_bytes:
            return False
        descriptor = os.open(home.reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size_bytes)
        finally:
            os.close(descriptor)
    except OSError:
        free_reserve(home)
        return False
    return True


def ensure_room(home: Home) -> None:
    """Give the reserve back when nothing else is left. Called before SQLite maps memory on this disk.

    Raises:
        DiskFull: There was no reserve either.

    Source:
        mmap(2), SIGBUS: a page of a hole that finds no block kills the process. SQLite writes one byte in
        each 4 KiB of its `-shm` beforehand; on a file system of 1 KiB blocks, as `mkfs.ext4` makes small ones,
        that leaves holes.
    """
    room = os.statvfs(home.state)
    if room.f_bavail * room.f_frsize >= _ROOM_BYTES or free_reserve(home):
        return
    kept_for_root = room.f_bfree * room.f_frsize if os.geteuid() == 0 else 0
    if kept_for_root < RESERVE_BYTES:  # ext4 counts some MiB as free that nobody ever gets
        raise DiskFull(str(home.state), "opening the queue")


def free_reserve(home: Home) -> bool:
    """Give the reserve back to the disk; True when there was one."""
    try:
        home.reserve.unlink()
        sync_directory(home.state)  # ext4 gives blocks away again only after the removal is in its journal
    except OSError:
        return False
    return True
