"""Kill what a dead attempt left behind, in rungs: its cgroups, then whoever carries its random key.

The rungs before these need no help: a dead supervisor takes its command along, and the zygote kills
what it inherits from it.
"""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from labrun.core.ids import AttemptId
from labrun.engines.local.control import ControlFiles
from labrun.engines.protocol import Cleared
from labrun.shim import kernel

_PATIENCE_S = 1.5
_PAUSE_S = 0.01
_LOOKS = 2
"""So many looks in a row must find nothing: a process that forks and leaves can slip through one."""


def groups_of(control: ControlFiles, attempt: AttemptId) -> list[str]:
    """The attempt's cgroups that exist: those its marker names, and those its name says."""
    named = control.groups(attempt)
    by_name = [f"{root}/labrun-{attempt}" for _, root in kernel.CGROUP_ROOTS]
    return [path for path in dict.fromkeys((*named, *by_name)) if Path(path).is_dir()]


def clear(control: ControlFiles, attempt: AttemptId, key: str) -> Cleared:
    """Kill until nothing is left, for two seconds at most; blocking.

    A supervisor that still holds the lease file, though it can no longer be found by name, goes first:
    it must not report the end we bring about as one that happened.
    """
    for pid in _holders(control.path(attempt, "lease")):
        _kill(pid)
    groups = groups_of(control, attempt)
    killed: set[int] = set()
    rung, empty_looks, deadline = None, 0, time.monotonic() + _PATIENCE_S
    while True:
        inside = {pid for path in groups for pid in kernel.group_members(path)}
        carriers = set(_carriers(key)) if key else set()
        left = inside | carriers
        empty_looks = 0 if left else empty_looks + 1
        if empty_looks == _LOOKS or (left and time.monotonic() > deadline):
            break
        if left:
            rung = rung or ("cgroup" if inside else "key")
            killed |= left
            for path in groups:
                kernel.kill_group(path)
            for pid in carriers - inside:
                _kill(pid, key)
        time.sleep(_PAUSE_S)
    while not left and not remove(groups) and time.monotonic() < deadline:
        time.sleep(_PAUSE_S)  # a dead process may count as inside for an instant
    return Cleared(len(killed), rung, tuple(sorted(left)))


def remove(groups: Iterable[str]) -> bool:
    """Remove empty cgroups; one that is not empty stays for the next time. True when all are gone."""
    return all([kernel.remove_group(path) for path in groups])


def _carriers(key: str) -> Iterator[int]:
    """Processes whose environment has the key; only those whose environment we may read can be seen."""
    return (pid for pid in _others() if _carries(pid, key))


def _others() -> Iterator[int]:
    names = (entry.name for entry in Path("/proc").iterdir())
    return (int(name) for name in names if name.isdigit() and int(name) != os.getpid())


def _carries(pid: int, key: str) -> bool:
    variable = f"LAB_ATTEMPT_KEY={key}".encode()
    environment = _environment(Path(f"/proc/{pid}"))
    if not environment:  # a process whose first thread ended has none; the threads that live on have it
        with suppress(OSError):
            environment = next(filter(None, map(_environment, Path(f"/proc/{pid}/task").iterdir())), b"")
    return variable in environment and variable in environment.split(b"\0")


def _environment(place: Path) -> bytes:
    with suppress(OSError):
        return (place / "environ").read_bytes()
    return b""


def _kill(pid: int, key: str | None = None) -> None:
    """SIGKILL this very process, not one that got its number meanwhile."""
    with suppress(OSError):
        handle = os.pidfd_open(pid)
        try:
            if key is None or _carries(pid, key):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)


def _holders(lease: Path) -> list[int]:
    """Supervisors that have this very lease open, be the file there or deleted."""
    wanted = {str(lease.resolve()), f"{lease.resolve()} (deleted)"}
    found = []
    for pid in _others():
        with suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"zygote.py" in command or b"supervise.py" in command:
                open_files = {_target(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
                found += [pid] if open_files & wanted else []
    return found


def _target(link: Path) -> str:
    with suppress(OSError):
        return str(link.readlink())
    return ""
