"""Supervise one attempt: start its command, hold its lease, wait, write `started` and `exit`.

Runs as `python -I -S supervise.py CONTROL_DIR ATTEMPT_ID LEASE_FD`, or forked by the zygote. Whoever
starts it hands over an open, locked lease; the lock falls when this process dies, however it dies.
"""
# Long because it is the one file that travels to hosts where nothing else of labrun is installed.

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
import zlib
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any  # not imported when it runs: each import costs every supervisor memory

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PUNCH_HOLE_KEEP_SIZE = 1, 36, 3  # prctl(2), fallocate(2)
CLONE3, CLONE_INTO_CGROUP = 435, 0x200000000  # clone3(2); one number on every common machine

LOG_TICK_S, USAGE_TICK_S = 1.0, 5.0
RETRY_S = 0.5  # between two attempts to write `exit` on a full disk
SETTLE_S = 0.1  # some children leave by themselves when the command ended: Python's resource tracker cleans up
STUBBORN_S = 1.0  # so long after its first SIGKILL a process is called unkillable
MAX_PEERS, MAX_REQUEST_BYTES = 16, 65536

DEAF_TO = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT}  # meant for the command, or for the server
IGNORED = DEAF_TO | {number for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN}
libc, libc_with_gil = ctypes.CDLL(None), ctypes.PyDLL(None)


def encode_line(record: dict[str, Any]) -> bytes:
    """One JSON object whose last member is the CRC-32 of everything before it, and a newline."""
    body = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")[:-1]
    return body + b',"crc":"%08x"}\n' % zlib.crc32(body)


def read_order(directory: int, attempt: str) -> dict[str, Any] | None:
    """The attempt's order; None when it is not there whole and unaltered: then nothing may run."""
    body, _, tail = read_text(f"/proc/self/fd/{directory}/{attempt}.order").encode().rpartition(b',"crc":')
    order: dict[str, Any] = json.loads(body + b"}") if tail == b'"%08x"}\n' % zlib.crc32(body) else {}
    return order if order.get("attempt_id") == attempt else None


def read_text(path: str) -> str:
    """A small file; empty when it is not there (any more)."""
    with suppress(OSError), open(path, "rb", buffering=0) as stream:
        return stream.read().decode("utf-8", "replace")
    return ""


def write_text(path: str, text: str) -> bool:
    """Write a file of the kernel, never make one; False when it is not there or refuses."""
    with suppress(OSError), open(os.open(path, os.O_WRONLY | os.O_CLOEXEC), "wb", buffering=0) as stream:
        return stream.write(text.encode()) > 0
    return False


def now() -> float:
    """Seconds of the boot clock: nobody sets it, and it goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


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
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
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


def become_command(order: dict[str, Any], parent: int, logs: list[int], groups: list[str], report: int) -> None:
    """Turn into the command. Never returns; what keeps it from starting is told through `report`."""
    try:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(127)
        os.setsid()
        for path in groups:
            with open(path + "/cgroup.procs", "wb", buffering=0) as stream:
                stream.write(b"0")
        variables = variables_of(order)
        for target, source in enumerate([os.open("/dev/null", os.O_RDONLY), *logs]):
            os.dup2(source, target)
        os.chdir(order["cwd"])
        with suppress(OSError):  # who was started less important than his order may not rise
            os.setpriority(os.PRIO_PROCESS, 0, order["nice"])
        with suppress(OSError):  # those processors may be gone
            os.sched_setaffinity(0, order["affinity"] or os.sched_getaffinity(0))
        for number in IGNORED:  # exec resets those that are handled
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        close_descriptors(report)  # the lease with them
        take_limits(order["limits"])
        os.execvpe(order["argv"][0], order["argv"], variables)
    except BaseException as error:  # noqa: BLE001 - a child must never run on into its parent's code
        os.write(report, json.dumps(explain(error, order["argv"][0])).encode())
    finally:
        os._exit(127)


def explain(error: BaseException, what: str) -> list[Any]:
    """What kept a command from starting: the error's number, and words that fit into a pipe at once."""
    code, what = getattr(error, "errno", None), getattr(error, "filename", None) or what
    return [code, (f"{os.strerror(code)}: {what}" if code else f"{type(error).__name__}: {error}")[:300]]


def variables_of(order: dict[str, Any]) -> dict[str, str]:
    """The command's whole environment; nothing of ours is inherited."""
    variables: dict[str, str] = {}
    if order["variables_file"] is not None:
        with open(order["variables_file"], encoding="utf-8") as stream:
            variables = json.load(stream)
    own = {"PWD": order["cwd"], "LAB_ATTEMPT_KEY": order["key"]}
    return {**order["variable_defaults"], **variables, **order["variables"], **own}


def take_limits(limits: dict[str, int]) -> None:
    """Set soft limits, -1 for none, as far as the hard ones allow."""
    for name, soft in limits.items():
        if (kind := getattr(resource, "RLIMIT_" + name, None)) is not None:
            hard = resource.getrlimit(kind)[1]
            resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY or 0 <= soft <= hard else hard, hard))


class Supervision:
    """One attempt from its start marker to its exit record: all the loop must remember."""

    phase, command, report, leftovers, next_kill, peak_bytes = "starting", 0, -1, 0, 0.0, 0
    status: int | None = None
    launch_error: list[Any] | None = None
    timeout_at: float | None = None
    kill_at: float | None = None
    first_kill: float | None = None
    stop_reason: str | None = None
    stopped_by: str | None = None
    cleared_by: str | None = None
    trouble: str | None = None

    def __init__(self, directory: int, attempt: str, order: dict[str, Any], groups: dict[str, str]) -> None:
        self.directory, self.attempt, self.order, self.groups = directory, attempt, order, groups
        self.started_at = self.ended_at = time.time()
        self.began = self.ended = now()
        self.next_log, self.next_usage = self.began + LOG_TICK_S, self.began + USAGE_TICK_S
        self.streams: dict[str, int] = {}
        self.sizes = {"stdout": 0, "stderr": 0}
        self.gaps: dict[str, dict[str, Any]] = {}
        self.used = {"user_s": 0.0, "system_s": 0.0, "read_bytes": 0, "written_bytes": 0}
        self.peers: dict[int, socket.socket] = {}
        self.poll, self.wake = select.poll(), watch_children()
        self.poll.register(self.wake, select.POLLIN)

    def _listen(self) -> socket.socket | None:
        umask = os.umask(0o177)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:  # a path through the directory's descriptor is short enough in any home: unix(7), 107 bytes
            listener.bind(f"/proc/self/fd/{self.directory}/{self.attempt}.sock")
            listener.listen(MAX_PEERS)
        except OSError:
            return None  # it runs all the same, and its record tells its end
        finally:
            os.umask(umask)
        self.poll.register(listener, select.POLLIN)
        return listener

    def start(self) -> None:
        """Fork the command. What keeps it from starting is remembered, not raised."""
        supervisor = os.getpid()
        try:
            os.umask(self.order["umask"])
            for name in self.sizes:
                self.streams[name] = os.open(self.order[name], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            self.report, report = os.pipe2(os.O_CLOEXEC)
            self.command, is_inside = fork_into(self.groups.get("v2"))
        except (OSError, ValueError, TypeError, OverflowError) as error:
            self.launch_error, self.status, self.report = explain(error, "fork"), 0, -1
            return  # and the pipe's two ends go with us
        if self.command == 0:
            to_join = [path for version, path in self.groups.items() if version == "v1" or not is_inside]
            become_command(self.order, supervisor, list(self.streams.values()), to_join, report)
        os.close(report)
        self.poll.register(self.report, select.POLLIN)
        if self.order["timeout_s"] is not None:
            self.timeout_at = self.began + self.order["timeout_s"]

    def _read_report(self) -> None:
        """The report's pipe closes at exec; something in it is the reason why there was none."""
        said = os.read(self.report, 4096)
        self.poll.unregister(self.report)
        os.close(self.report)
        self.report = -1
        self.launch_error = json.loads(said) if said else None
        self.phase = "running"
        if self.stop_reason is not None:
            self._ask_to_end()  # before exec the signal would have been lost

    def begin_stop(self, reason: str, by: str | None, grace_s: float) -> None:
        """Ask the command's process group to end; after the grace all is killed. Repeating can only shorten it."""
        if self.status is not None:
            return
        self.kill_at = min(now() + grace_s, self.kill_at or float("inf"))
        if self.stop_reason is None:
            self.stop_reason, self.stopped_by = reason, by
            if self.phase == "running":
                self._ask_to_end()

    def _ask_to_end(self) -> None:
        self.phase = "stopping"
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> bool:
        """Signal the command's process group; False when it is over: its number may be a stranger's by now."""
        with suppress(OSError):
            if self.status is None:
                os.killpg(self.command, number)
        return self.status is None

    def run(self) -> None:
        """Supervise until nothing of the attempt is left, then write the exit record."""
        self.listener = self._listen()  # after the fork: the command need not wait for it
        while self._reap() or self.status is None:
            moment = now()
            if self.timeout_at is not None and moment >= self.timeout_at and self.stop_reason is None:
                self.begin_stop("timeout", None, self.order["grace_s"])
            if moment >= self.next_kill and self._is_kill_due(moment):
                self._kill_all(moment)
            self._measure(moment)
            self._wait(self._pause_s(moment))
        if self.report >= 0:
            self._read_report()
        self._measure_logs()
        self._write_exit()
        deadline = now() + STUBBORN_S  # a dead process may count as inside for an instant
        for path in self.groups.values():
            while not remove_group(path) and now() < deadline:
                kill_group(path)
        with suppress(OSError):
            os.unlink(self.attempt + ".sock", dir_fd=self.directory)

    def _reap(self) -> bool:
        """Take the dead off the process table. False: no child, so no descendant, for orphans come to us."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self.used["user_s"] += used.ru_utime
            self.used["system_s"] += used.ru_stime
            self.used["read_bytes"] += used.ru_inblock * 512
            self.used["written_bytes"] += used.ru_oublock * 512
            self.peak_bytes = max(self.peak_bytes, used.ru_maxrss * 1024)
            if pid == self.command:
                self.status, self.ended_at, self.ended = status, time.time(), now()

    def _is_kill_due(self, moment: float) -> bool:
        is_over_time = self.kill_at is not None and moment >= self.kill_at
        if is_over_time or self.status is None:
            return is_over_time
        if self.kill_at is not None and any(f[2] == str(self.command) for f in descendants(os.getpid()).values()):
            return False  # the grace is for all who got the signal: the Python below a shell that just ended
        return moment >= self.ended + SETTLE_S

    def _kill_all(self, moment: float) -> None:
        if self.first_kill is None:
            self.first_kill, self.phase = moment, "clearing"
            self.leftovers = len(descendants(os.getpid()).keys() - {self.command})
            self.cleared_by = "cgroup" if "v2" in self.groups else "subreaper"
        self.next_kill = moment + min(1.0, 0.01 + (moment - self.first_kill) / 4)
        if "v2" in self.groups:
            kill_group(self.groups["v2"])
        for pid in children(os.getpid()):  # only own children: their numbers cannot have passed to strangers
            kill(pid)

    def _pause_s(self, moment: float) -> float:
        if self.status is not None or self.first_kill is not None:
            return max(0.02, self.next_kill - moment)
        deadlines = (self.next_log, self.timeout_at if self.stop_reason is None else None, self.kill_at)
        return min(at for at in deadlines if at is not None) - moment

    def _wait(self, pause_s: float) -> None:
        for descriptor, _ in self.poll.poll(max(0.0, pause_s) * 1000 + 1):
            if descriptor == self.wake:
                os.read(self.wake, 4096)
            elif descriptor == self.report:
                self._read_report()
            elif descriptor in self.peers:
                self._hear(descriptor)
            elif self.listener is not None:
                self._accept(self.listener)

    def _measure(self, moment: float) -> None:
        if moment >= self.next_log:
            self.next_log = moment + LOG_TICK_S
            self._measure_logs()
        if moment >= self.next_usage:
            self.next_usage = moment + USAGE_TICK_S
            found = list(descendants(os.getpid()).values())
            memory_bytes = sum(int(fields[21]) for fields in found) * os.sysconf("SC_PAGE_SIZE")
            ticks = sum(int(fields[11]) + int(fields[12]) for fields in found)
            cpu_s = round(ticks / os.sysconf("SC_CLK_TCK") + self.used["user_s"] + self.used["system_s"], 2)
            self.peak_bytes = max(self.peak_bytes, memory_bytes)
            append(self.order["usage"], {"processes": len(found), "memory_bytes": memory_bytes, "cpu_s": cpu_s})

    def _measure_logs(self) -> None:
        sizes = {name: os.fstat(handle).st_size for name, handle in self.streams.items()}
        if sizes and sizes != self.sizes:
            self.sizes = sizes
            cut = [self.gaps[name] for name in sizes if self._cut(name, sizes[name])]
            append(self.order["log_index"], {**sizes, "gaps": cut} if cut else sizes)

    def _cut(self, name: str, size: int) -> bool:
        """Over its quota a log keeps its first half and its newest quarter; the gap between them grows."""
        quota = self.order["log_quota_bytes"]
        first, last = quota // 2, size - quota // 4
        begin = first + (self.gaps[name]["size"] if name in self.gaps else 0)
        if size - (begin - first) <= quota:
            return False
        hole = (ctypes.c_int64(begin), ctypes.c_int64(last - begin))
        if libc.fallocate(self.streams[name], PUNCH_HOLE_KEEP_SIZE, *hole) != 0:
            return False  # a file system without holes: nothing was cut, and nothing is claimed
        self.gaps[name] = {"stream": name, "offset": first, "size": last - first}
        return True

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            peer, _ = listener.accept()
            peer.setblocking(False)  # it is ours, or root: nobody else may write to a socket of mode 0600
            self.peers[peer.fileno()] = peer
            self.poll.register(peer, select.POLLIN)
            if len(self.peers) > MAX_PEERS:
                self._hang_up(next(iter(self.peers)))

    def _hear(self, descriptor: int) -> None:
        # A request is one short line, so it comes in one piece; who sends anything else gets an error.
        with suppress(OSError):
            request = self.peers[descriptor].recv(MAX_REQUEST_BYTES)
            self.peers[descriptor].send(json.dumps(self._answer(request)).encode() + b"\n")
        self._hang_up(descriptor)

    def _hang_up(self, descriptor: int) -> None:
        self.poll.unregister(descriptor)
        self.peers.pop(descriptor).close()

    def _answer(self, request: bytes) -> dict[str, Any]:
        self._reap()  # it may have ended just now, by itself
        try:
            asked = json.loads(request)
            if asked["do"] == "status":
                is_stubborn = self.first_kill is not None and now() > self.first_kill + STUBBORN_S
                stuck = sorted({*children(os.getpid()), *descendants(os.getpid())}) if is_stubborn else []
                facts = {"phase": self.phase, "command_pid": self.command or None, "trouble": self.trouble}
                return {**facts, "unkillable": stuck}
            if asked["do"] == "signal":
                return {"ok": self._signal(signal.Signals(asked["signal"]))}
            if asked["do"] == "stop":
                if not 0 <= float(asked["grace_s"]) < float("inf"):
                    return {"error": "grace_s is no time"}
                self.begin_stop("cancel", str(asked["by"])[:256], float(asked["grace_s"]))
                return {"ok": True}
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            return {"error": f"{type(error).__name__}: {error}"[:256]}
        return {"error": "nobody here knows that request"}

    def _record(self) -> dict[str, Any]:
        peak, kills, source = memory_facts(self.groups.get("v1") or self.groups.get("v2") or "")
        record: dict[str, Any] = {"attempt_id": self.attempt, "started_at": self.started_at}
        record |= {"ended_at": max(self.ended_at, self.started_at), "duration_s": round(self.ended - self.began, 6)}
        status = self.status or 0
        if self.launch_error is not None:
            record["launch_errno"], record["launch_error"] = self.launch_error
        elif os.WIFSIGNALED(status):
            record |= {"signal": os.WTERMSIG(status), "is_core_dumped": os.WCOREDUMP(status)}
        else:
            record["code"] = os.WEXITSTATUS(status)
        record |= {"stop_reason": self.stop_reason, "stopped_by": self.stopped_by, **self.used}
        record |= {"oom_kills": kills, "oom_source": source, "peak_memory_bytes": peak or self.peak_bytes or None}
        record |= {"leftover_processes": self.leftovers, "cleared_by": self.cleared_by}
        return {**record, "gaps": list(self.gaps.values())}

    def _write_exit(self) -> None:
        """Make the record durable. A full disk is waited out with the lease held; a vanished directory is not."""
        line = encode_line(self._record())
        while (trouble := replace_file(self.directory, self.attempt + ".exit", line)) is not None:
            self.phase, self.trouble = "clearing", f"cannot write the exit record: {trouble}"
            self._wait(RETRY_S)


def append(path: str, record: dict[str, Any]) -> None:
    """Add a line with its time where that is possible: a vanished folder or a full disk ends no attempt."""
    with suppress(OSError), open(path, "ab", buffering=0) as stream:
        stream.write(encode_line({"t": round(time.time(), 3), **record}))


def replace_file(directory: int, name: str, content: bytes) -> str | None:
    """Write a small file so that after a power cut it is there whole, or not at all; returns what went wrong."""
    try:
        handle = os.open(name + ".tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=directory)
        with open(handle, "wb", buffering=0) as stream:
            if stream.write(content) != len(content):
                return "no space left"
            os.fsync(handle)
        os.rename(name + ".tmp", name, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)
    except OSError as error:
        return None if isinstance(error, FileNotFoundError) else error.strerror  # nobody could read it there
    return None


def mark_started(directory: int, attempt: str, marker: int) -> tuple[dict[str, Any], dict[str, str]] | None:
    """Make the attempt's groups and its start marker, whole and durable; returns the order and the groups.

    None: nothing ran and nothing may, so the marker goes again. The order is damaged or forgotten, or the disk full.
    """
    groups: dict[str, str] = {}
    order = read_order(directory, attempt)
    with suppress(OSError), open(marker, "wb", buffering=0) as stream:
        if order is not None:
            groups, enforced = make_groups(attempt, order["memory_bytes"])
            if order["timeout_s"] is not None:
                enforced["timeout"] = f"supervisor, {order['timeout_s']:g} s"
            facts: dict[str, Any] = {"attempt_id": attempt, "pid": os.getpid(), "at": time.time(), "enforced": enforced}
            facts |= {"boot_id": read_text("/proc/sys/kernel/random/boot_id").strip(), "cgroups": list(groups.values())}
            if stream.write(line := encode_line(facts)) == len(line):
                os.fsync(marker)
                os.fsync(directory)
                return order, groups
    os.unlink(attempt + ".started", dir_fd=directory)
    for path in groups.values():
        remove_group(path)
    return None


def supervise(control_dir: str, attempt: str, lease: int) -> None:
    """Run one attempt, unless it has started before or its order is not whole. `lease` stays open until we exit."""
    close_descriptors(lease)
    directory = os.open(control_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        marker = os.open(attempt + ".started", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory)
    except OSError:
        return  # it has started before; or the disk is full, and whoever looks sees that it has not
    if (found := mark_started(directory, attempt, marker)) is not None:
        with suppress(PermissionError):
            os.setsid()
        for number in DEAF_TO:
            signal.signal(number, signal.SIG_IGN)
        supervision = Supervision(directory, attempt, *found)
        supervision.start()
        supervision.run()


if __name__ == "__main__":
    supervise(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    os._exit(0)
