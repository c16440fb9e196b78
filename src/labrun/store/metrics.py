"""Read what an attempt measured: `metrics.jsonl` and, where that was asked for, its output, from any byte on.

Scripts write these files, so anything may be in them. A position always is a byte; one in the middle of a
line stands for the next line. Nothing here writes, and nothing is in memory but one block.
"""

import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from labrun.core.errors import BadValue
from labrun.core.metrics import NAME_LIMIT, Point, points_of
from labrun.core.printed_metrics import Read, printed_points, reader_of
from labrun.store.folder import AttemptFolder
from labrun.store.log_index import LogIndex

BLOCK_BYTES = 256 * 1024
"""Read and decoded at once: 8 ms in which nobody else of this process comes to word."""
LINE_BYTES = 64 * 1024
"""A longer line is no measurement."""
_KEPT_REJECTED = 3
_PRINTED_ENDS = b"\r\n"
_SHOWN_CHARACTERS = 60
_DECODER = msgspec.json.Decoder(Point)

Decode = Callable[[bytes, int], tuple[list[Point], list["Rejected"]]]
"""From whole lines, the first at this byte of its file, to points and what is none."""


class Rejected(Struct, frozen=True):
    """A line that is no measurement."""

    offset: int
    text: str
    why: str

    def __str__(self) -> str:
        return f"byte {self.offset}: {self.why}: {self.text}"


class Batch(Struct, frozen=True):
    """What one block brought."""

    points: list[Point]
    next: int
    """Read on from here."""
    has_more: bool
    """The block was full: more can be read at once."""
    rejected: list[Rejected] = []
    """The first few."""
    rejected_count: int = 0


class Source(Struct, frozen=True):
    """One file with points in it."""

    path: Path
    decode: Decode
    line_ends: bytes = b"\n"


def sources_of(attempt: AttemptFolder, metrics_from: str | None = None) -> tuple[Source, ...]:
    """Name the files that hold an attempt's points, in the order they are read.

    A pattern this version does not understand is left out: it was checked when the experiment was accepted,
    and neither a seal nor a reader of the other points may fail for it.
    """
    own = Source(attempt.metrics, decode_lines)
    if metrics_from is None:
        return (own,)
    try:
        read_line = reader_of(metrics_from)
    except BadValue:
        return (own,)
    index = LogIndex(attempt.log_index)
    printed = {"stdout": attempt.stdout, "stderr": attempt.stderr}
    return (own, *(Source(path, _printed(read_line, index, name), _PRINTED_ENDS) for name, path in printed.items()))


def read(source: Source, offset: int, *, limit_bytes: int = BLOCK_BYTES, is_final: bool = False) -> Batch:
    """Read one block of whole lines. An unfinished last line waits for its end, however long that takes.

    Args:
        source: Which file; none there, or no regular file, is an empty one.
        offset: A byte. Behind the end of a file that was cut, reading begins anew.
        limit_bytes: At most so many are read; at least `LINE_BYTES`.
        is_final: Nobody writes any more: a last line without its end is read as it is.

    Raises:
        OSError: The disk failed.
    """
    block, start, is_end, is_inside = _block(source, offset, max(limit_bytes, LINE_BYTES))
    skipped = 0
    if is_inside:
        skipped = _after_first(block, source.line_ends)
        if skipped == 0:
            return Batch([], start + len(block), not is_end)
    whole = _after_last(block, source.line_ends)
    if is_end and is_final:
        whole = len(block)
    if whole <= skipped:
        if len(block) - skipped < LINE_BYTES:
            return Batch([], start + skipped, skipped > 0 and not is_end)
        text = shown(block[skipped : skipped + _SHOWN_CHARACTERS])
        too_long = Rejected(start + skipped, text, f"a line of more than {LINE_BYTES:,} bytes")
        return Batch([], start + len(block), not is_end, [too_long], 1)
    points, rejected = source.decode(block[skipped:whole], start + skipped)
    return Batch(points, start + whole, not is_end, rejected[:_KEPT_REJECTED], len(rejected))


def _block(source: Source, offset: int, limit_bytes: int) -> tuple[bytes, int, bool, bool]:
    """Give bytes, where they begin, whether they reach the end, and whether they begin inside a line."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(source.path, flags)
    except (FileNotFoundError, NotADirectoryError):
        return b"", 0, True, False
    except OSError:
        if source.path.is_symlink() or source.path.is_socket():
            return b"", 0, True, False
        raise
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return b"", 0, True, False
        start = offset if offset <= found.st_size else 0
        is_inside = start > 0 and os.pread(descriptor, 1, start - 1) not in (bytes((end,)) for end in source.line_ends)
        block = os.pread(descriptor, limit_bytes, start)
        return block, start, len(block) < limit_bytes, is_inside
    finally:
        os.close(descriptor)


def _after_first(block: bytes, ends: bytes) -> int:
    """Where the first line ends, its end included; 0 when it does not."""
    return min((at + 1 for end in ends if (at := block.find(end)) >= 0), default=0)


def _after_last(block: bytes, ends: bytes) -> int:
    return max(block.rfind(end) for end in ends) + 1


def decode_lines(lines: bytes, offset: int) -> tuple[list[Point], list[Rejected]]:
    """Decode lines of `metrics.jsonl`: all at once when all are as we write them, else one by one.

    Args:
        lines: Whole lines; the last one may lack its end.
        offset: Byte of the file where they begin.
    """
    try:
        return _DECODER.decode_lines(lines), []
    except (msgspec.DecodeError, UnicodeDecodeError):
        points: list[Point] = []
        rejected: list[Rejected] = []
    for line in lines.split(b"\n"):
        try:
            points.append(_DECODER.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError):
            if line and not line.isspace():
                found, why = _decode_loosely(line)
                points += found
                if why is not None:
                    rejected.append(Rejected(offset, shown(line), why))
        offset += len(line) + 1
    return points, rejected


def _decode_loosely(line: bytes) -> tuple[Sequence[Point], str | None]:
    """Decode a line people write: NaN as Python's `json` says it, names that are not UTF-8, several numbers."""
    if len(line) > LINE_BYTES:
        return (), f"a line of more than {LINE_BYTES:,} bytes"
    try:
        plain = json.loads(line.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return (), "not JSON"
    points = points_of(plain)
    if points:
        return points, None
    name = plain.get("name") if isinstance(plain, dict) else None
    if isinstance(name, str) and len(name) > NAME_LIMIT:
        return (), f"a name of more than {NAME_LIMIT} characters"
    return (), "not a number" if isinstance(name, str) and name else "no name and number"


def _printed(read_line: Read, index: LogIndex, stream: str) -> Decode:
    """Points of a log; a line was printed when the supervisor first saw its end, which it notes once a second."""

    def points_at(lines: bytes, time: float | None) -> Iterator[Point]:
        for point in printed_points(read_line, lines.decode("utf-8", "replace")):
            yield point if time is None or point.time is not None else structs.replace(point, time=time)

    def decode(lines: bytes, offset: int) -> tuple[list[Point], list[Rejected]]:
        points, begin = list[Point](), 0
        for end, time in index.marks(stream, offset, offset + len(lines), len(lines)):
            until = min(end - offset, len(lines))
            whole = until if until == len(lines) else begin + _after_last(lines[begin:until], _PRINTED_ENDS)
            points += points_at(lines[begin:whole], time)
            begin = whole
        return [*points, *points_at(lines[begin:], None)], []  # what is newer than a second is not noted yet

    return decode


def shown(line: bytes) -> str:
    """The beginning of a line, for people."""
    text = line[: 4 * _SHOWN_CHARACTERS].decode("utf-8", "backslashreplace")
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
