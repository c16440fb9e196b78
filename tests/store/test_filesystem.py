import os
import subprocess
from pathlib import Path

import pytest

from labrun.store.filesystem import file_system, kind_in, remote_name, write_durably

TABLE = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /home rw - nfs4 server:/home rw
31 30 0:41 / /home/ada/local\\040disk rw - xfs /dev/sdb rw
32 22 0:42 / /mnt rw - xfs /dev/sdc rw
33 22 0:43 / /mnt rw - fuse.sshfs ada@box: rw
34 22 0:44 / /homes rw - btrfs /dev/sdd rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/var/lib", "ext4"),
        ("/home/ada/lab", "nfs4"),
        ("/home/ada/local disk/lab", "xfs"),
        ("/homes/ada", "btrfs"),
        ("/mnt/lab", "fuse.sshfs"),
    ],
)
def test_the_deepest_and_topmost_mount_counts(path: str, kind: str) -> None:
    assert kind_in(TABLE, Path(path)) == kind


def test_a_line_nobody_understands_is_left_out() -> None:
    assert kind_in("garbage\n - \n22 1 8:1\n" + TABLE, Path("/home")) == "nfs4"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tmpfs needs root")
def test_the_kernel_is_asked_about_a_real_mount(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        assert file_system(tmp_path) == "tmpfs"
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "lustre", "ceph", "9p", "fuse.sshfs", "beegfs"])
def test_remote_file_systems_are_known(kind: str) -> None:
    assert remote_name(kind) == kind


@pytest.mark.parametrize(
    "kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "fuseblk", "fuse.gocryptfs", "virtiofs", ""]
)
def test_local_file_systems_are_not_taken_for_remote_ones(kind: str) -> None:
    assert remote_name(kind) is None


def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "child").touch()
    with pytest.raises(OSError, match="directory"):
        write_durably(tmp_path / "target", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["target"], "nothing temporary is left"
