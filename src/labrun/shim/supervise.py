"""Supervise one attempt: start its command, hold its lease, wait, write `started` and `exit`.

Runs as `python -I -S supervise.py CONTROL_DIR ATTEMPT_ID LEASE_FD`, or forked by the zygote. Whoever
starts it hands over an open, locked lease; the lock falls when this process dies, however it dies.
"""
# Long because one loop watches the command, the clock, the logs and the socket, and each can end it.

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress

if __name__ == "__main__":  # nothing of labrun is installed for `-I -S`
    sys.path.append(os.path.abspath(__file__).rpartition("/labrun/")[0])
from labrun.shim import kernel
from labrun.shim.command import become_command, explain, variables_of
from labrun.shim.kernel import children, descendants, now
from labrun.shim.records import append, encode_line, read_order, replace_file
from labrun.shim.terminal import Terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any  # not imported when it runs: each import costs every supervisor memory

LOG_TICK_S, USAGE_TICK_S = 1.0, 5.0
RETRY_S = 0.5  # between two attempts to write `exit` on a full disk
SETTLE_S = 0.1  # some children leave by themselves when the command ended: Python's resource tracker cleans up
STUBBORN_S = 1.0  # so long after its first SIGKILL a process is called unkillable
MAX_PEERS, MAX_REQUEST_BYTES = 16, 65536


class Supervision:
    """One attempt from its start marker to its exit record: all the loop must remember."""

    phase, command, report, leftovers, next_kill, peak_bytes = "starting", 0, -1, 0, 0.0, 0
    status: int | None = None
    is_stopped = False
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
        self.terminal: Terminal | None = None
        self.poll, self.wake = select.poll(), kernel.watch_children()
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
            if self.order.get("terminal") is not None:
                self.terminal = Terminal(self.streams["stdout"], self.order["terminal"])
                self.poll.register(self.terminal.master, select.POLLIN)
            variables = variables_of(self.order)
            self.report, report = os.pipe2(os.O_CLOEXEC)
            self.command, is_inside = kernel.fork_into(self.groups.get("v2"))
        except (OSError, ValueError, TypeError, KeyError, OverflowError, struct.error) as error:
            self.launch_error, self.status, self.report = explain(error, "fork"), 0, -1
            return  # and the pipe's two ends go with us
        if self.command == 0:
            to_join = [path for version, path in self.groups.items() if version == "v1" or not is_inside]
            logs = list(self.streams.values())
            become_command(self.order, variables, supervisor, logs, self.terminal, to_join, report)
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
        self._drain_terminal()
        self._measure_logs()
        self._write_exit()
        deadline = now() + STUBBORN_S  # a dead process may count as inside for an instant
        for path in self.groups.values():
            while not kernel.remove_group(path) and now() < deadline:
                kernel.kill_group(path)
        with suppress(OSError):
            os.unlink(self.attempt + ".sock", dir_fd=self.directory)

    def _reap(self) -> bool:
        """Take the dead off the process table. False: no child, so no descendant, for orphans come to us."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if os.WIFSTOPPED(status) or os.WIFCONTINUED(status):
                if pid == self.command:
                    self.is_stopped = os.WIFSTOPPED(status)
                continue
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
            kernel.kill_group(self.groups["v2"])
        for pid in children(os.getpid()):  # only own children: their numbers cannot have passed to strangers
            kernel.kill(pid)

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
            elif self.terminal is not None and descriptor == self.terminal.master:
                self._serve_terminal(self.terminal)
            elif self.listener is not None:
                self._accept(self.listener)

    def _serve_terminal(self, terminal: Terminal) -> None:
        terminal.send()
        if (trouble := terminal.pump()) is not None:
            self.trouble = f"cannot write the log: {trouble}; the command waits"
            self.poll.unregister(terminal.master)  # until the next tick of the log: the poll would not wait at all
            return
        self._listen_to_terminal(terminal)

    def _listen_to_terminal(self, terminal: Terminal) -> None:
        if not terminal.unwritten:
            self.poll.register(terminal.master, select.POLLIN | (select.POLLOUT if terminal.typed else 0))

    def _drain_terminal(self) -> None:
        while self.terminal is not None and (trouble := self.terminal.drain()) is not None:
            self.phase, self.trouble = "clearing", f"cannot write the log: {trouble}"
            with suppress(KeyError):
                self.poll.unregister(self.terminal.master)
            self._wait(RETRY_S)

    def _measure(self, moment: float) -> None:
        if moment >= self.next_log:
            self.next_log = moment + LOG_TICK_S
            self._measure_logs()
            if self.terminal is not None and self.terminal.unwritten:
                self._serve_terminal(self.terminal)
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
        if kernel.libc.fallocate(self.streams[name], kernel.PUNCH_HOLE_KEEP_SIZE, *hole) != 0:
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
                return {**facts, "unkillable": stuck, "is_stopped": self.is_stopped}
            if asked["do"] == "signal":
                return {"ok": self._signal(signal.Signals(asked["signal"]))}
            if asked["do"] == "type" and self.terminal is not None and self.status is None:
                answer = self.terminal.type(asked, now())
                self._listen_to_terminal(self.terminal)
                return {**answer, "is_stopped": self.is_stopped}
            if asked["do"] == "stop":
                if not 0 <= float(asked["grace_s"]) < float("inf"):
                    return {"error": "grace_s is no time"}
                self.begin_stop("cancel", str(asked["by"])[:256], float(asked["grace_s"]))
                return {"ok": True}
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            return {"error": f"{type(error).__name__}: {error}"[:256]}
        return {"error": "nobody here knows that request"}

    def _record(self) -> dict[str, Any]:
        peak, kills, source = kernel.memory_facts(self.groups.get("v1") or self.groups.get("v2") or "")
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


def mark_started(directory: int, attempt: str, marker: int) -> tuple[dict[str, Any], dict[str, str]] | None:
    """Make the attempt's groups and its start marker, whole and durable; returns the order and the groups.

    None: nothing ran and nothing may, so the marker goes again. The order is damaged or forgotten, or the disk full.
    """
    groups: dict[str, str] = {}
    order = read_order(directory, attempt)
    with suppress(OSError), open(marker, "wb", buffering=0) as stream:
        if order is not None:
            groups, enforced = kernel.make_groups(attempt, order["memory_bytes"])
            if order["timeout_s"] is not None:
                enforced["timeout"] = f"supervisor, {order['timeout_s']:g} s"
            facts: dict[str, Any] = {"attempt_id": attempt, "pid": os.getpid(), "at": time.time(), "enforced": enforced}
            facts |= {"boot_id": kernel.boot_id(), "cgroups": list(groups.values())}
            if stream.write(line := encode_line(facts)) == len(line):
                os.fsync(marker)
                os.fsync(directory)
                return order, groups
    os.unlink(attempt + ".started", dir_fd=directory)
    for path in groups.values():
        kernel.remove_group(path)
    return None


def supervise(control_dir: str, attempt: str, lease: int) -> None:
    """Run one attempt, unless it has started before or its order is not whole. `lease` stays open until we exit."""
    kernel.close_descriptors(lease)
    directory = os.open(control_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        marker = os.open(attempt + ".started", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory)
    except OSError:
        return  # it has started before; or the disk is full, and whoever looks sees that it has not
    if (found := mark_started(directory, attempt, marker)) is not None:
        with suppress(PermissionError):
            os.setsid()
        supervision = Supervision(directory, attempt, *found)
        supervision.start()
        supervision.run()


if __name__ == "__main__":
    kernel.shrug_off_signals()
    supervise(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    os._exit(0)
