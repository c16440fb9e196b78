"""What the store needs of a file system: which kind it is, and how a change is made durable."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

Probe = Callable[[Path], str]
"""Names the type of the file system a path lies on, as the kernel does: `ext4`, `nfs4`, `fuse.sshfs` …"""

_REMOTE = frozenset(
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "ncpfs",
        "afs",
        "coda",
        "lustre",
        "ceph",
        "gpfs",
        "beegfs",
        "pvfs2",
        "glusterfs",
        "ocfs2",
        "gfs2",
        "9p",
        "fuse.sshfs",
        "fuse.glusterfs",
        "fuse.ceph",
        "fuse.ceph-fuse",
        "fuse.moosefs",
        "fuse.mfs",
        "fuse.lizardfs",
        "fuse.juicefs",
        "fuse.s3fs",
        "fuse.rclone",
        "fuse.gcsfuse",
        "fuse.goofys",
        "fuse.blobfuse",
        "fuse.blobfuse2",
        "fuse.davfs",
        "fuse.curlftpfs",
        "fuse.hdfs",
        "fuse.orangefs",
        "fuse.quobyte",
        "fuse.objectivefs",
        "fuse.seaweedfs",
        "fuse.onedrive",
        "fuse.google-drive-ocamlfuse",
    ]
)
"""Where a lock may not hold on another host, or where SQLite's shared memory is not shared.

9p is among them: it passes locks and mappings on or not as its server likes, and WSL mounts Windows drives by it.
FUSE in general is not: encrypted and pooled local disks (gocryptfs, mergerfs, ntfs-3g) come that way. Nor is
virtiofs, the root of many virtual machines, whose one guest kernel does the locking.

Source:
    sqlite.org/wal.html, "WAL does not work over a network filesystem"; flock(2), NFS and CIFS details.
"""


def remote_name(kind: str) -> str | None:
    """Name a remote file system for people; None for one on this host.

    >>> remote_name("nfs4"), remote_name("fuse.sshfs"), remote_name("ext4")
    ('nfs4', 'fuse.sshfs', None)
    """
    return kind if kind in _REMOTE else None


def file_system(path: Path) -> str:
    """Look up the type of the file system an existing path lies on; empty when `/proc` does not tell."""
    try:
        table = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
    return kind_in(table, path.resolve())


def kind_in(table: str, path: Path) -> str:
    r"""Find the type of a path's file system in a mount table.

    >>> kind_in("25 1 8:1 / / rw - ext4 /dev/sda rw\n30 25 0:40 / /n\\040x rw - nfs4 srv:/ rw\n", Path("/n x/home"))
    'nfs4'

    Args:
        table: Content of `/proc/self/mountinfo`.
        path: Absolute, without links.

    Source:
        proc_pid_mountinfo(5): field 5 is the mount point with octal escapes; the type follows a lone hyphen.
        The deepest mount point counts; of several at one place the last is on top.
    """
    deepest, kind = -1, ""
    for line in table.splitlines():
        before, mark, after = line.partition(" - ")
        fields = before.split(" ")
        if not mark or len(fields) < 5:
            continue
        point = Path(_unescape(fields[4]))
        depth = len(point.parts)
        if path.is_relative_to(point) and depth >= deepest:
            deepest, kind = depth, after.split(" ")[0]
    return kind


def _unescape(text: str) -> str:
    for octal, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(octal, plain)
    return text


def write_durably(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file so that after any crash it is the old one or the new one, whole.

    Raises:
        OSError: The old one is still there.

    Source:
        All four steps are needed on ext4: temporary file, fsync, rename, fsync of the directory.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
