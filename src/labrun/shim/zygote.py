"""Fork a supervisor for every message: `python -I -S zygote.py SOCKET_FD`, a small warm process.

A message is `CONTROL_DIR\\0ATTEMPT_ID` on a SOCK_SEQPACKET socket, with the attempt's locked lease as its one
descriptor. It outlives the server: when the other end is gone it stays while it has children. Whatever comes
here as a child and was not forked here was left behind by a dead supervisor, and is killed.
"""

from __future__ import annotations

import array
import gc
import os
import select
import signal
import socket
import sys
from contextlib import suppress

if __name__ == "__main__":  # nothing of labrun is installed for `-I -S`
    sys.path.append(os.path.abspath(__file__).rpartition("/labrun/")[0])
from labrun.shim import kernel
from labrun.shim.supervise import supervise

MAX_MESSAGE_BYTES = 65536
MAX_DESCRIPTORS = 8
STRAYS_MS = 20  # pause between two rounds of killing; each death of a child begins one too


class Zygote:
    """The loop: messages in, supervisors out, strays killed."""

    def __init__(self, channel: socket.socket) -> None:
        kernel.close_descriptors(channel.fileno())
        kernel.shrug_off_signals()
        self.channel = channel
        self.supervisors: set[int] = set()
        self.wake: int = kernel.watch_children()
        self.poll = select.poll()
        self.poll.register(self.wake, select.POLLIN)
        self.poll.register(channel, select.POLLIN)

    def run(self) -> None:
        """Serve until the other end is gone and no child is left."""
        self.channel.send(b"ready")
        gc.collect()
        gc.disable()  # no cycles are made here
        gc.freeze()  # forks share what is here already: a collection would copy its pages
        is_open, has_children = True, False
        while is_open or has_children:
            pause_ms = STRAYS_MS if has_children and self._kill_strays() else None
            for descriptor, event in self.poll.poll(pause_ms):
                if descriptor == self.wake:
                    with suppress(BlockingIOError):
                        os.read(self.wake, 4096)
                elif event & select.POLLIN and self._take_message():
                    has_children = True
                elif event & select.POLLHUP:
                    is_open = False
                    self.poll.unregister(self.channel)
            has_children = self._reap()

    def _take_message(self) -> bool:
        """Fork a supervisor; False for what is no message, which is dropped with its descriptors."""
        room = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
        try:
            message, parts, _, _ = self.channel.recvmsg(MAX_MESSAGE_BYTES, room, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            return False
        leases = array.array("i")
        for level, kind, content in parts:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                leases.frombytes(content[: len(content) // leases.itemsize * leases.itemsize])
        control_dir, mark, attempt = message.partition(b"\0")
        is_whole = bool(mark and control_dir and attempt and b"/" not in attempt and len(leases) == 1)
        if is_whole:
            self._fork(os.fsdecode(control_dir), os.fsdecode(attempt), leases[0])
        for lease in leases:
            os.close(lease)
        return is_whole

    def _fork(self, control_dir: str, attempt: str, lease: int) -> None:
        try:
            pid = os.fork()
        except OSError:
            sys.excepthook(*sys.exc_info())
            return  # no process to be had: the lease falls, and whoever looks launches it again
        if pid:
            self.supervisors.add(pid)
            return
        try:
            signal.set_wakeup_fd(-1)
            supervise(control_dir, attempt, lease)
        except BaseException:  # noqa: BLE001 - the fork must end here, and say why
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(0)

    def _reap(self) -> bool:
        """Take the dead off the process table; whether any child is left."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self.supervisors.discard(pid)

    def _kill_strays(self) -> bool:
        """Kill what dead supervisors left to us; their own children come here next. Whether there was any."""
        strays = set(kernel.children(os.getpid())) - self.supervisors
        for pid in strays:
            kernel.kill(pid)
        return bool(strays)


if __name__ == "__main__":
    with suppress(PermissionError):
        os.setsid()
    Zygote(socket.socket(fileno=int(sys.argv[1]))).run()
