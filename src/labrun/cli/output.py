"""The only place that prints: data to stdout, talk to stderr; three faces, human, json and quiet."""

import errno
import json
import os
import select
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Literal

from labrun.cli.table import hang, visible

Face = Literal["human", "json", "quiet"]

_COLOURS = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "dim": "2", "bold": "1"}
_PIPE_BUF = 4096  # pipe(7): so many bytes never block once poll said writable


class OutputClosed(Exception):
    """Nobody reads our standard output any more."""


class OutputFailed(Exception):
    """Standard output does not take what we write: a full disk, a vanished terminal."""


class Output:
    """One command's voice."""

    def __init__(self, *, may_colour: bool = False) -> None:
        """Begin with the human face; options choose another one.

        Args:
            may_colour: The environment does not forbid it; whether stdout is a terminal is asked here.
        """
        self.face: Face = "human"
        self.line_end = "\n"
        """While the terminal is raw, a line needs its carriage return too."""
        self.is_terminal = os.isatty(1)
        self._has_colour = may_colour and self.is_terminal
        self._encoding = getattr(sys.stdout, "encoding", None) or "utf-8"

    @property
    def width(self) -> int | None:
        """Columns of the terminal; None when stdout is none, then nothing is shortened."""
        if not self.is_terminal:
            return None
        try:
            return os.get_terminal_size(1).columns or 80
        except OSError:
            return 80

    @property
    def height(self) -> int:
        """Lines of the terminal."""
        try:
            return os.get_terminal_size(1).lines or 24
        except OSError:
            return 24

    @property
    def is_human(self) -> bool:
        """Neither a program reads this nor was silence asked for."""
        return self.face == "human"

    def data(self, *lines: str) -> None:
        """Print lines to stdout.

        Raises:
            OutputClosed: Nobody reads any more.
        """
        self.raw(1, self.encode("".join(f"{line}\n" for line in lines)))

    def json(self, value: Any) -> None:
        """Print one JSON document in one line to stdout."""
        self.data(json.dumps(value, ensure_ascii=True, separators=(",", ":")))

    def say(self, *lines: str) -> None:
        """Talk to the person at the terminal, unless silence was asked for."""
        if self.face != "quiet":
            self.insist(*lines)

    def insist(self, *lines: str) -> None:
        """Talk even when silence was asked for: something went wrong."""
        self.insist_part("".join(f"{line}{self.line_end}" for line in lines))

    def insist_part(self, text: str) -> None:
        """Ask something: no line end, the answer follows."""
        with suppress(OSError):  # the terminal is gone: there is nobody to tell
            _write(2, text.encode(self._encoding, "backslashreplace"))

    def encode(self, text: str) -> bytes:
        """As bytes in the reader's encoding; what it lacks is escaped."""
        return text.encode(self._encoding, "backslashreplace")

    @property
    def has_colour(self) -> bool:
        """Whether colours are wanted: the environment allows them and stdout is a terminal."""
        return self._has_colour

    def raw(self, descriptor: int, content: bytes) -> None:
        """Write bytes as they are, all of them.

        Raises:
            OutputClosed: Nobody reads any more.
            OutputFailed: They cannot be written.
        """
        try:
            _write(descriptor, content)
        except BrokenPipeError as error:
            raise OutputClosed from error
        except OSError as error:
            if error.errno == errno.EBADF:
                raise OutputClosed from error
            raise OutputFailed(error.strerror) from error

    def problem(self, code: str, message: str, hint: str | None, details: object = None) -> None:
        """Tell what went wrong and what to do: for programs on stdout, for people on stderr."""
        if self.face == "json":
            self.json({"error": {"code": code, "message": message, "hint": hint, "details": details}})
            return
        lines = [f"lab: {visible(message)}"]
        # several errors at once, each with its place; other details are for programs
        several = [item for item in details if isinstance(item, dict)] if isinstance(details, list) else []
        lines += [f"  {visible(str(item['at']))}: {visible(str(item['message']))}" for item in several if "at" in item]
        if hint:
            lines.append(f"  {visible(hint)}")
        self.insist(*lines)

    def colour(self, text: str, name: str) -> str:
        """Colour text where colours are wanted; never the only way something is told."""
        return f"\x1b[{_COLOURS[name]}m{text}\x1b[0m" if self._has_colour and name in _COLOURS else text


def bold_heading(output: Output, text: str) -> str:
    """A section's title."""
    return output.colour(text, "bold")


def fields(rows: Iterable[tuple[str, str]], indent: int = 2, width: int | None = None) -> list[str]:
    """Lay out names and values; a value of several lines, or one wider than the terminal, stays under itself."""
    kept = [(name, value) for name, value in rows if value]
    room = max((len(name) for name, _ in kept), default=0)
    lines: list[str] = []
    for name, value in kept:
        first, *rest = value.split("\n")
        lines.append(f"{' ' * indent}{name:<{room}}  {first}")
        lines.extend(" " * (indent + room + 2) + line for line in rest)
    return [piece for line in lines for piece in hang(line, width, indent + room + 2)]


def wait_writable(descriptor: int) -> None:
    """Wait until a pipe or terminal takes bytes; regular files always do."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll()


def _write(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:  # somebody made our stdout non-blocking: wait as a blocking write would
            wait_writable(descriptor)


def write_piece(descriptor: int, content: memoryview) -> int:
    """Write as much as can be taken without blocking, after `wait_writable`; return how much."""
    try:
        return os.write(descriptor, content[:_PIPE_BUF])
    except BlockingIOError:
        return 0
