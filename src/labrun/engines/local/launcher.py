"""Hand attempts to the zygote: one message each, never resent. Who doubts looks at the control files."""

import array
import asyncio
import os
import socket
from contextlib import suppress
from pathlib import Path

from labrun.core.errors import EngineFailed
from labrun.core.ids import AttemptId

_READY_S = 20.0
_FULL_S = 10.0
"""Longest wait for a zygote that does not take messages."""
_FULL_PAUSE_S = 0.005


class Launcher:
    """Starts the zygote when the first attempt comes and again when it died.

    Args:
        control: The control directory; what supervisors print when they fail goes to `supervisors.log` in it.
        interpreter: Runs zygote and supervisors; nothing but its standard library is used.
        shim: Directory of `zygote.py` and `supervise.py`.
    """

    def __init__(self, control: Path, interpreter: str, shim: Path) -> None:
        self._control = control
        self._interpreter = interpreter
        self._shim = shim
        self._channel: socket.socket | None = None
        self._is_ready = False
        self._starting = asyncio.Lock()
        self._children: set[int] = set()

    async def hand_over(self, attempt: AttemptId, lease: int) -> None:
        """Pass an attempt and a copy of its lease on; returns before it started.

        Raises:
            EngineFailed: Neither a zygote nor a supervisor of its own could be started.
        """
        self._reap()
        while (channel := await self._open()) is not None:
            try:
                await self._send(channel, attempt, lease)
            except (BrokenPipeError, ConnectionResetError):
                self._drop(channel)  # it died before it could take this message: another zygote gets it
            else:
                return
        # No zygote can be had. A supervisor started by exec costs an interpreter each, and works the same.
        try:
            self._spawn("supervise.py", lease, os.fspath(self._control), attempt)
        except OSError as error:
            raise EngineFailed("local", "launch", f"cannot start `{self._interpreter}`: {error.strerror}") from error

    def warm_up(self) -> None:
        """Start the zygote, if there is none, without waiting for it.

        Raises:
            OSError: The interpreter cannot be started.
        """
        if self._channel is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.setblocking(False)
            self._channel, self._is_ready = ours, False
            with theirs:
                self._spawn("zygote.py", theirs.fileno())

    async def _open(self) -> socket.socket | None:
        """A channel to a zygote that has said it is there; None when none can be had."""
        async with self._starting:
            try:
                self.warm_up()
                if self._channel is not None and not self._is_ready:
                    async with asyncio.timeout(_READY_S):
                        self._is_ready = bool(await asyncio.get_running_loop().sock_recv(self._channel, 64))
            except (OSError, TimeoutError):
                self._is_ready = False
            if self._channel is not None and not self._is_ready:
                self._drop(self._channel)
            return self._channel

    async def _send(self, channel: socket.socket, attempt: AttemptId, lease: int) -> None:
        message = os.fsencode(self._control) + b"\0" + attempt.encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [lease]))]
        for _ in range(round(_FULL_S / _FULL_PAUSE_S)):
            try:
                channel.sendmsg([message], rights)
            except BlockingIOError:
                await asyncio.sleep(_FULL_PAUSE_S)
            else:
                return
        raise EngineFailed("local", "launch", f"the zygote took no message for {_FULL_S:g} s")

    def _spawn(self, script: str, passed: int, *arguments: str) -> None:
        """Start a script of the shim with one descriptor, as number 3, and nothing else of ours."""
        log = self._control / "supervisors.log"
        files = [
            (os.POSIX_SPAWN_DUP2, passed, 3),
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, str(log), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600),
        ]
        argv = [self._interpreter, "-I", "-S", str(self._shim / script), *arguments, "3"]
        self._children.add(os.posix_spawn(self._interpreter, argv, {}, file_actions=files, setsigmask=()))

    def _drop(self, channel: socket.socket) -> None:
        channel.close()
        if self._channel is channel:
            self._channel = None

    def _reap(self) -> None:
        for pid in list(self._children):
            with suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG) == (0, 0):
                    continue
            self._children.discard(pid)

    def close(self) -> None:
        """Hang up; a zygote without children leaves, one with live supervisors stays."""
        if self._channel is not None:
            self._drop(self._channel)
        self._reap()
