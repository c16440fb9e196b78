"""Read `log.idx`: when how much of each stream had been written, and what the quota cut out.

The supervisor adds a line a second while a log grows, so a month of output has millions of lines:
everything here looks them up by halves, or from the end, and reads none it does not need.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from labrun.core.errors import StoreDamaged
from labrun.core.line import decode_line

_LINE_BYTES = 1024
"""More than the longest line there is."""
_BLOCK_BYTES = 64 * 1024
_NAMES = ("stdout", "stderr")


class Gap(Struct, frozen=True):
    """What the quota cut out of the middle of a log."""

    stream: str
    offset: int
    size: int

    @property
    def end(self) -> int:
        """First byte that is there again."""
        return self.offset + self.size


class Mark(Struct, frozen=True):
    """One line: at this moment the streams were so long."""

    t: float
    stdout: int = 0
    stderr: int = 0
    gaps: tuple[Gap, ...] = ()

    def size(self, stream: str) -> int:
        """Length of a stream then, in bytes."""
        return self.stdout if stream == "stdout" else self.stderr


class LogIndex:
    """One attempt's index; damaged or torn lines are passed over, a missing file is an empty one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def sizes_at(self, moment: float) -> dict[str, int]:
        """Length of each stream at a moment (Unix seconds), at most a second's worth of output too short."""
        with self._opened() as lines:
            if lines is None:
                return dict.fromkeys(_NAMES, 0)
            before = lines.last_before(lines.find(lambda mark: mark.t > moment))
        return {name: before.size(name) if before is not None else 0 for name in _NAMES}

    def marks(self, stream: str, begin: int, end: int, limit: int) -> list[tuple[int, float]]:
        """When the bytes from `begin` to `end` of a stream were written.

        Returns:
            At most `limit` pairs (end of a part, Unix seconds at which the part was there), in order;
            they may stop short of `end`.
        """
        with self._opened() as lines:
            if lines is None:
                return []
            found: list[tuple[int, float]] = []
            for mark in lines.onwards(lines.find(lambda one: one.size(stream) > begin)):
                size = mark.size(stream)
                if size > (found[-1][0] if found else begin):
                    found.append((size, mark.t))
                if size >= end or len(found) == limit:
                    break
            return found

    def gap(self, stream: str) -> Gap | None:
        """What is missing in a stream, as it was cut last."""
        with self._opened() as lines:
            for line in lines.backwards() if lines is not None else ():
                if b'"gaps"' in line and (mark := _mark_of(line)) is not None:
                    for found in mark.gaps:
                        if found.stream == stream:
                            return found
        return None

    def _opened(self) -> "_Lines":
        return _Lines(self._path)


class _Lines:
    """The open file, as lines at byte positions."""

    def __init__(self, path: Path) -> None:
        self._descriptor = -1
        self._path, self._size = path, 0

    def __enter__(self) -> "_Lines | None":
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        self._size = os.fstat(self._descriptor).st_size
        return self

    def __exit__(self, *exc: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def find(self, is_after: Callable[[Mark], bool]) -> int:
        """Position from which on the first line lies that is after; marks are in order."""
        low, high = 0, self._size
        while high - low > _LINE_BYTES:
            middle = (low + high) // 2
            mark = next(self.onwards(self._begin_after(middle), high), None)
            if mark is None or is_after(mark):
                high = middle
            else:
                low = middle
        begin = self._begin_after(low) if low else 0
        for at, line in self._lines(begin, self._size):
            mark = _mark_of(line)
            if mark is not None and is_after(mark):
                return at
        return self._size

    def onwards(self, position: int, end: int | None = None) -> Iterator[Mark]:
        """Whole lines from the beginning of a line on."""
        for _, line in self._lines(position, self._size if end is None else end):
            if (mark := _mark_of(line)) is not None:
                yield mark

    def last_before(self, position: int) -> Mark | None:
        """The last whole line before the beginning of a line."""
        block = os.pread(self._descriptor, min(position, 4 * _LINE_BYTES), max(0, position - 4 * _LINE_BYTES))
        marks = (_mark_of(line) for line in reversed(block.splitlines()))
        return next((mark for mark in marks if mark is not None), None)

    def backwards(self) -> Iterator[bytes]:
        """Lines from the last to the first."""
        end, rest = self._size, b""
        while end > 0:
            begin = max(0, end - _BLOCK_BYTES)
            first, *lines = (os.pread(self._descriptor, end - begin, begin) + rest).split(b"\n")
            yield from reversed(lines)
            rest, end = first[:_LINE_BYTES], begin
        yield rest

    def _begin_after(self, position: int) -> int:
        block = os.pread(self._descriptor, _LINE_BYTES, position)
        at = block.find(b"\n")
        return position + at + 1 if at >= 0 else self._size

    def _lines(self, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
        rest = b""
        at = begin
        while at - len(rest) < end and (block := os.pread(self._descriptor, _BLOCK_BYTES, at)):
            at += len(block)
            *lines, rest = (rest + block).split(b"\n")
            position = at - len(rest) - sum(map(len, lines)) - len(lines)
            for line in lines:
                if position >= end:
                    return
                yield position, line
                position += len(line) + 1


def _mark_of(line: bytes) -> Mark | None:
    try:
        return decode_line(line, Mark)
    except StoreDamaged:
        return None
