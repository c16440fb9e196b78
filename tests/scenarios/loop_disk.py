"""A small journalled ext4 on a loop device that can lose its power, for tests run by root."""

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import struct
import subprocess
from pathlib import Path

import pytest

from tests.helpers import wait_until

_SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN = _IOR('X', 125, __u32).

Source:
    linux/fs/ext4/ext4.h; flag 2 is EXT4_GOING_FLAGS_NOLOGFLUSH: drop what is not in the journal.
"""

needs_loop_disk = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("mkfs.ext4") is None or not Path("/dev/loop-control").exists(),
    reason="mounting a loop device needs root, mkfs.ext4 and loop devices",
)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


class LoopDisk:
    """An ext4 image, mounted below a folder."""

    def __init__(self, folder: Path, size_mib: int = 256) -> None:
        self.image = folder / "disk.img"
        self.path = folder / "disk"
        self.path.mkdir()
        with self.image.open("wb") as image:
            image.truncate(size_mib * 2**20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self.image)], check=True)
        self.mount()

    def mount(self) -> None:
        """Mount the image; the journal is replayed."""
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.path)], check=True)

    def unmount(self) -> None:
        """Let it go; lazily when something still stands in it."""
        self.kill_users()
        subprocess.run(["umount", str(self.path)], check=True)

    def cut_power(self) -> None:
        """From this instant nothing reaches the disk any more, and what only lay in memory is gone."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", 2))
        finally:
            os.close(descriptor)

    def users(self) -> list[int]:
        """Processes that have something of it open, or stand in it."""
        found = []
        for process in Path("/proc").iterdir():
            if not process.name.isdigit() or int(process.name) == os.getpid():
                continue
            try:
                links = [*(process / "fd").iterdir(), process / "cwd"]
            except OSError:
                continue
            if any(_target(link).startswith(f"{self.path}/") for link in links):
                found.append(int(process.name))
        return found

    def kill_users(self) -> None:
        """What a power cut does to every process on it."""

        def is_alone() -> bool:
            for pid in self.users():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not self.users()

        wait_until(is_alone, 20, "nothing stands on the dead disk")

    def sync(self) -> None:
        """Write everything out: what came before is not what the test is about."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            ctypes.CDLL(None, use_errno=True).syncfs(descriptor)
        finally:
            os.close(descriptor)
