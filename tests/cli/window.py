"""A terminal window with a person in front of it: a process on a pseudo terminal, keys typed, text read."""

import fcntl
import os
import signal
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.helpers import wait_until


class Window:
    """Runs one program; what it prints is collected whenever somebody looks."""

    def __init__(self, argv: Sequence[str], cwd: Path, variables: Mapping[str, str]) -> None:
        self._master, slave = os.openpty()
        self._seen = b""
        self.resize(24, 80)
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", "env", "--default-signal=HUP", *argv],
            cwd=cwd,
            env={"TERM": "xterm"} | dict(variables),
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        os.set_blocking(self._master, False)

    @property
    def text(self) -> str:
        """Everything printed so far."""
        with suppress(BlockingIOError, OSError):
            while piece := os.read(self._master, 65536):
                self._seen += piece
        return self._seen.decode(errors="replace")

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def wait(self, word: str, times: int = 1) -> None:
        """Look until a word was printed so often."""
        wait_until(lambda: self.text.count(word) >= times, 30, f"{word!r} x {times} in {self._seen[-600:]!r}")

    def resize(self, rows: int, columns: int) -> None:
        """Drag the corner."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def has_echo(self) -> bool:
        """Whether it is an ordinary terminal, not a raw one."""
        return bool(termios.tcgetattr(self._master)[3] & termios.ECHO)

    def wait_exit(self) -> int:
        """Exit status of the program; what it printed is kept."""

        def is_over() -> bool:
            return bool(self.text is not None and self.process.poll() is not None)

        wait_until(is_over, 30, f"the program leaves; it said {self._seen[-600:]!r}")
        return int(self.process.returncode)

    def hang_up(self) -> None:
        """Close the window with whoever is in it."""
        os.close(self._master)
        self._master = -1

    def close(self) -> None:
        """Close the window, if it is still open, and see that nobody is left in it."""
        if self._master >= 0:
            self.hang_up()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
