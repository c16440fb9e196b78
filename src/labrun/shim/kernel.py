"""What a supervisor asks of the kernel: control groups, its descendants, a child born in a group."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import time
from contextlib import suppress

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PUNCH_HOLE_KEEP_SIZE = 1, 36, 3  # prctl(2), fallocate(2)
CLONE3, CLONE_INTO_CGROUP = 435, 0x200000000  # clone3(2); one number on every common machine

DEAF_TO = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT}  # meant for the command, or for the server
libc, libc_with_gil = ctypes.CDLL(None), ctypes.PyDLL(None)


def shrug_off_signals() -> None:
    """Let signals meant for others pass without effect, and those ignored here not be ignored by the command.

    A handler that does nothing, because exec resets it to the default; what is ignored stays ignored.
    """
    ignored = {number for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN}
    for number in DEAF_TO | ignored | {signal.SIGCHLD}:
        signal.signal(number, lambda _number, _frame: None)


def read_text(path: str) -> str:
    """A small file; empty when it is not there (any more)."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # no stream object: this is asked often
        try:
            content = b""
            while piece := os.read(handle, 65536):
                content += piece
            return content.decode("utf-8", "replace")
        finally:
            os.close(handle)
    return ""


def write_text(path: str, text: str) -> bool:
    """Write a file of the kernel, never make one; False when it is not there or refuses."""
    with suppress(OSError), open(os.open(path, os.O_WRONLY | os.O_CLOEXEC), "wb", buffering=0) as stream:
        return stream.write(text.encode()) > 0
    return False


def now() -> float:
    """Seconds of the boot clock: nobody sets it, and it goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """The kernel's name for this boot."""
    return read_text("/proc/sys/kernel/random/boot_id").strip()


def cgroup_roots() -> list[tuple[str, str]]:
    """Where groups may be made, best place first: in `v2` to kill whole trees, in `v1` for memory only.

    Source:
        proc_pid_mountinfo(5), cgroups(7).
    """
    mounts: dict[str, str] = {}
    for line in read_text("/proc/self/mountinfo").splitlines():
        mount, _, rest = line.partition(" - ")
        kind, _, options = rest.split()[:3]
        if kind == "cgroup2" or (kind == "cgroup" and "memory" in options.split(",")):
            mounts.setdefault("v2" if kind == "cgroup2" else "v1", mount.split()[4])
    own = read_text("/proc/self/cgroup").rpartition("0::")[2].strip()
    roots = [("v2", mounts.get("v2")), ("v1", mounts.get("v1"))]
    if "v2" in mounts and own.strip("/"):
        roots.insert(1, ("v2", mounts["v2"] + own))  # an ordinary user may own the group he is in
    return [(version, root) for version, root in roots if root is not None]


CGROUP_ROOTS = cgroup_roots()


def make_groups(attempt: str, memory_bytes: int | None) -> tuple[dict[str, str], dict[str, str]]:
    """Make the attempt's groups: their paths by version, and what they enforce in words."""
    groups: dict[str, str] = {}
    enforced: dict[str, str] = {}
    for version, root in CGROUP_ROOTS:
        path = f"{root}/labrun-{attempt}"
        if version in groups or (version == "v1" and (memory_bytes is None or enforced)):
            continue
        if not os.access(root + "/cgroup.procs", os.W_OK):
            continue  # a group made there could not be joined: cgroups(7), delegation containment rules
        with suppress(OSError):
            os.mkdir(path)
            groups[version] = path
            if memory_bytes is not None and limit_memory(root, path, str(memory_bytes)):
                enforced["memory"] = f"cgroup {version}, {memory_bytes / 2**20:g} MiB"
    return groups, enforced


def limit_memory(root: str, path: str, limit: str) -> bool:
    """Cap a group, swap included where it is counted; False where the hierarchy has no memory controller."""
    write_text(root + "/cgroup.subtree_control", "+memory")
    if write_text(path + "/memory.max", limit):
        write_text(path + "/memory.swap.max", "0")
        return True
    is_capped = write_text(path + "/memory.limit_in_bytes", limit)
    write_text(path + "/memory.memsw.limit_in_bytes", limit)
    return is_capped


def memory_facts(path: str) -> tuple[int, int, str | None]:
    """Peak in bytes (0: not counted), how many processes the kernel killed for memory, and what counted them."""
    peak = read_text(path + "/memory.peak") or read_text(path + "/memory.max_usage_in_bytes")
    for name in ("memory.events", "memory.oom_control"):
        for line in read_text(path + "/" + name).splitlines():
            if line.startswith("oom_kill ") and int(line[9:]):
                return int(peak or 0), int(line[9:]), f"{path}/{name} oom_kill"
    return int(peak or 0), 0, None


def group_members(path: str) -> list[int]:
    """Processes in a group and in groups somebody made inside it."""
    return [int(pid) for inner, _, _ in os.walk(path) for pid in read_text(inner + "/cgroup.procs").split()]


def kill_group(path: str) -> None:
    """SIGKILL everything in a group; to be repeated where `cgroup.kill` is missing (v1, Linux < 5.14)."""
    if not write_text(path + "/cgroup.kill", "1"):
        for pid in group_members(path):
            kill(pid)


def remove_group(path: str) -> bool:
    """Remove an empty group and those inside it; True when it is gone."""
    with suppress(OSError):
        os.rmdir(path)
        return True
    for inner, _, _ in os.walk(path, topdown=False):
        with suppress(OSError):
            os.rmdir(inner)
    return not os.path.exists(path)


def kill(pid: int) -> None:
    """SIGKILL a process that may be gone, or somebody else's."""
    with suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def watch_children() -> int:
    """Adopt orphans below us and let every death of a child wake a poll; returns the descriptor to poll."""
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def children(pid: int) -> list[int]:
    """Direct children of a process, dead ones that wait to be reaped included."""
    task = f"/proc/{pid}/task/"
    with suppress(OSError):
        return [int(child) for tid in os.listdir(task) for child in read_text(task + tid + "/children").split()]
    return []


def descendants(pid: int) -> dict[int, list[str]]:
    """Everything alive below a process, with the fields of `/proc/PID/stat` from the state (0) on."""
    found: dict[int, list[str]] = {}
    pending = children(pid)
    while pending:
        child = pending.pop()
        pending += children(child)
        fields = read_text(f"/proc/{child}/stat").rpartition(")")[2].split()
        if fields and (fields[0] != "Z" or int(fields[17]) > 1):  # a dead leader's threads may live on
            found[child] = fields
    return found


def close_descriptors(kept: int) -> None:
    """Close everything from 3 on but one."""
    os.closerange(3, kept)
    os.closerange(kept + 1, 65536)  # one system call each since Linux 5.9 and Python 3.10


def fork_into(group: str | None) -> tuple[int, bool]:
    """Fork; returns the child's pid, and whether it was born inside the cgroup.

    Moving it there afterwards waits for the kernel: 17 ms seen. What surrounds the call is what `os.fork` does.
    """
    if group is not None:
        handle = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        request = struct.pack("11Q", CLONE_INTO_CGROUP, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, handle)
        ctypes.pythonapi.PyOS_BeforeFork()
        pid = int(libc_with_gil.syscall(ctypes.c_long(CLONE3), request, ctypes.c_size_t(len(request))))
        if pid == 0:
            ctypes.pythonapi.PyOS_AfterFork_Child()
            return 0, True
        ctypes.pythonapi.PyOS_AfterFork_Parent()
        os.close(handle)
        if pid > 0:
            return pid, True
    return os.fork(), False
