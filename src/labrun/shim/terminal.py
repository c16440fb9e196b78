"""A terminal that a supervisor holds for its command: what is printed goes into the log, what is typed comes by socket.

People come and go; the terminal stays. One of them types, whoever else looks on only reads the log.

Source:
    pty(7), tty_ioctl(4), credentials(7): the supervisor leads the session and owns the terminal, the
    command is a process group of its own in the foreground. So Ctrl-Z can stop it: in a session without
    anybody to wake it again the kernel would ignore the key.
"""

from __future__ import annotations

import binascii
import fcntl
import os
import signal
import struct
import termios
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any  # not imported when it runs: each import costs every supervisor memory

PIECE_BYTES = 65536
TYPED_LIMIT_BYTES = 65536  # what a command does not read is not taken without end
WRITER_S = 15.0  # whoever types says so at least every few seconds; after this silence another may


class Terminal:
    """Both ends of a pseudo terminal. Raises OSError where none can be had."""

    def __init__(self, log: int, size: dict[str, int]) -> None:
        self.log = log
        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        self.resize(size["rows"], size["columns"])
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
        self.unwritten = b""
        self.typed = b""
        self.writer: str | None = None
        self.writer_until = 0.0
        self.received = 0

    def resize(self, rows: int, columns: int) -> None:
        """Set the window's size; the kernel tells the foreground with SIGWINCH when it changed."""
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def take_foreground(self) -> None:
        """Called by the command before exec: lead a process group, own the keyboard."""
        os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})  # we are in the background until it is done
        os.tcsetpgrp(self.slave, os.getpid())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTTOU})

    def pump(self) -> str | None:
        """Bring what was printed into the log; returns why that is not possible now."""
        with suppress(OSError):  # EAGAIN: nothing there
            if not self.unwritten:
                self.unwritten = os.read(self.master, PIECE_BYTES)
        return self._write()

    def drain(self) -> str | None:
        """Bring what is left into the log after the last process is gone; returns what kept it, to be repeated."""
        if self.slave >= 0:
            os.close(self.slave)
            self.slave = -1
            os.set_blocking(self.master, True)
        try:
            while (trouble := self._write()) is None and (piece := os.read(self.master, PIECE_BYTES)):
                self.unwritten = piece
        except OSError:
            return None  # EIO: nobody holds the other end any more, and nothing is left
        return trouble

    def _write(self) -> str | None:
        try:
            while self.unwritten:
                self.unwritten = self.unwritten[os.write(self.log, self.unwritten) :]
        except OSError as error:
            return error.strerror  # what was read is kept, and no more is read until it is written
        return None

    def type(self, asked: dict[str, Any], moment: float) -> dict[str, Any]:
        """Take input from the one who may type: bytes from an offset on, so that repeating types nothing twice.

        Raises:
            ValueError: The request makes no sense.
        """
        session = str(asked["session"])[:64]
        if session != self.writer:
            if self.writer is not None and moment < self.writer_until:
                return {"ok": True, "is_writer": False, "received": 0}
            self.writer, self.received = session, 0
        self.writer_until = moment + WRITER_S
        missing = int(asked["offset"]) - self.received
        if missing > 0:
            raise ValueError(f"{missing} bytes before these never came")
        room = max(0, TYPED_LIMIT_BYTES - len(self.typed))
        fresh = binascii.a2b_base64(asked["input"])[-missing:][:room]
        self.received += len(fresh)
        self.typed += fresh
        if size := asked.get("size"):
            self.resize(int(size["rows"]) & 0xFFFF, int(size["columns"]) & 0xFFFF)
        if asked.get("is_leaving"):
            self.writer = None
        self.send()
        return {"ok": True, "is_writer": True, "received": self.received}

    def send(self) -> None:
        """Hand typed bytes to the command, as many as it has room for."""
        with suppress(OSError):  # EAGAIN: the command does not read; the poll tells when it does
            while self.typed:
                self.typed = self.typed[os.write(self.master, self.typed) :]
