"""`log_metric`: a script says a number, its experiment keeps it.

Standard library only, and nothing else of this house: scripts import it, so it must cost nothing, and this
one file may be copied beside a script whose environment has no labrun. What it writes is read by `store.metrics`.
"""

from __future__ import annotations

import os
import sys
from os import lseek, write
from time import time as now

try:
    from _json import encode_basestring_ascii as quote  # the whole of `json` takes 6 ms, it loads `re`
except ImportError:  # not CPython
    from json.encoder import encode_basestring_ascii as quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, SupportsFloat  # not imported when it runs: the import has a budget of 3 ms

_LONGEST_NAME = 600
"""Names are cut here; the reader refuses anything over 500 characters, and says so."""
_LONGEST_TEXT = 80
_REMEMBERED_NAMES = 10_000


class _Sink:
    """Where this process writes its points; one per process, and a forked child goes on with it.

    Every point is one `write` to a file opened for appending: nothing waits in memory that a crash, a kill
    or a fork could lose or double, and the kernel keeps writes of threads and processes apart.
    """

    __slots__ = ("descriptor", "device", "heads", "inode", "is_torn", "path", "position", "told")

    def __init__(self, path: str) -> None:
        self.path = path
        self.descriptor = self.device = self.inode = self.position = -1
        self.is_torn = False
        self.heads: dict[str, str] = {}
        self.told: set[str] = set()

    def write(self, line: bytes) -> None:
        """Append a line; one that a full disk cut short is closed off before the next."""
        try:
            # a daemon that closed all descriptors may have given our number to a file of its own. One that stands
            # where our last write ended is ours; else look properly, which makes the next write cost 1 us more: the
            # kernel then owes its file a new time of change
            at = lseek(self.descriptor, 0, 1)
            is_ours = at == self.position or self._is_ours()
        except OSError:
            is_ours = False
        if not is_ours:
            at = self._open()
        if self.is_torn:
            line = b"\n" + line
        written = write(self.descriptor, line)
        self.position = at + written
        self.is_torn = written != len(line)
        if self.is_torn:
            raise OSError(28, os.strerror(28))  # ENOSPC: a regular file takes less for no other reason

    def _is_ours(self) -> bool:
        found = os.fstat(self.descriptor)
        return found.st_ino == self.inode and found.st_dev == self.device

    def _open(self) -> int:
        """Open the file; return its end, where it will be written."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        self.descriptor = os.open(self.path, flags, 0o644)
        found = os.fstat(self.descriptor)
        self.device, self.inode = found.st_dev, found.st_ino
        return found.st_size

    def head(self, name: Any) -> str:
        """Begin a line: the name as JSON, worked out once."""
        name = name if type(name) is str else str(name)
        head = self.heads.get(name)
        if head is None:
            head = f'{{"name":{quote(name[:_LONGEST_NAME])},"value":'
            if len(self.heads) < _REMEMBERED_NAMES:
                self.heads[name] = head
        return head

    def tell(self, what: str) -> None:
        """Say once on standard error what could not be kept."""
        if what not in self.told and len(self.told) < 10:
            self.told.add(what)
            try:  # noqa: SIM105  `contextlib` would have to be imported
                sys.stderr.write(f"labrun: {what}; the script goes on\n")
            except (OSError, ValueError, AttributeError):
                pass  # closed or replaced: there is nobody to tell


_sink: _Sink | None = None
_is_outside = False


def log_metric(
    name: str,
    value: SupportsFloat,
    step: SupportsFloat | None = None,
    time: float | None = None,
) -> None:
    """Keep one number of this experiment. Outside labrun it does nothing.

    It never raises: a measurement that cannot be kept must not end hours of work. What is no number is
    written as text, told once on standard error, and counted as rejected by the reader.

    Args:
        name: Anything up to 500 characters, such as `loss` or `val/accuracy`.
        value: A number, or what `float` makes one of (NumPy scalars, tensors of one element). NaN and
            infinities are kept.
        step: Where in the run: a number; it may repeat, go back or be left out.
        time: Unix seconds; now unless given.
    """
    sink = _sink
    if sink is None:
        if _is_outside:
            return
        sink = _begin()
        if sink is None:
            return
    try:
        is_plain = type(value) is float and value - value == 0.0  # neither NaN nor infinite
        number = repr(value) if is_plain else _number(value, sink)
        place = "" if step is None else f',"step":{step}' if type(step) is int else _step(step, sink)
        head = sink.heads.get(name) or sink.head(name)
        sink.write(f'{head}{number}{place},"time":{now() if time is None else time:.6f}}}\n'.encode())
    except Exception as error:  # noqa: BLE001  whatever it is, the script's own work matters more than this number
        sink.tell(f"a metric is not kept: {type(error).__name__}: {error}"[:300])


def _begin() -> _Sink | None:
    """Look once whether this process is part of an experiment."""
    global _sink, _is_outside
    path = os.environ.get("LAB_METRICS")  # noqa: TID251  a script's side of the order, see docs/howto/log-metrics.md
    if not path:
        _is_outside = True
        return None
    _sink = _sink or _Sink(path)
    return _sink


def _number(value: Any, sink: _Sink) -> str:
    """Write a value as JSON: a number, one of three words, or text that says what it was."""
    if type(value) is int and -(2**63) <= value < 2**63:
        return str(value)
    try:
        number = float("?" if isinstance(value, (str, bytes)) else value)  # "0.5" is no number either
    except Exception:  # noqa: BLE001  arrays, tensors and strings each refuse in their own way
        sink.tell(f"a value of type {type(value).__name__} is not a number and counts as rejected")
        return quote(str(value)[:_LONGEST_TEXT])
    if number - number == 0.0:
        return float.__repr__(number)
    return '"NaN"' if number != number else '"Infinity"' if number > 0 else '"-Infinity"'


def _step(step: Any, sink: _Sink) -> str:
    """Write a step that is no plain int; what is no finite number is left out."""
    try:
        number = float(step)
        if number - number == 0.0:
            return f',"step":{int(number) if number.is_integer() else number}'
    except Exception:  # noqa: BLE001  arrays, tensors and strings each refuse in their own way
        pass
    sink.tell("a step that is not a finite number is left out")
    return ""
