"""Read logs that others write: pieces, sizes, and where the last lines begin."""

from pathlib import Path

_BLOCK_BYTES = 1024 * 1024
TAIL_LIMIT_BYTES = 64 * 1024 * 1024
"""So far back lines are counted; who wants more reads from the beginning."""
_LINE_LIMIT_BYTES = 64 * 1024


def read_piece(path: Path, offset: int, limit_bytes: int) -> bytes:
    """Read at most so many bytes from an offset; nothing when the file is not there."""
    try:
        with path.open("rb", buffering=0) as stream:
            stream.seek(offset)
            return stream.read(limit_bytes)
    except FileNotFoundError:
        return b""


def size_of(path: Path) -> int:
    """Size in bytes, 0 when the file is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def has_holes(path: Path) -> bool:
    """Whether it takes less room than its length: something may have been cut out."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return found.st_blocks * 512 < found.st_size  # stat(2): blocks of 512 bytes


def written_at(path: Path) -> float:
    """When it was written to last, in Unix seconds; 0 when it is not there."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def tail_begin(path: Path, lines: int) -> int:
    """Find where the last lines begin; a last line without its newline counts.

    Args:
        path: A log.
        lines: How many; at most the last 64 MiB are counted.
    """
    end = size_of(path)
    if lines == 0:
        return end
    least = max(0, end - TAIL_LIMIT_BYTES)
    left = lines
    if end and read_piece(path, end - 1, 1) == b"\n":
        left += 1
    while end > least:
        begin = max(least, end - _BLOCK_BYTES)
        block = read_piece(path, begin, end - begin)
        found = block.count(b"\n")
        if found >= left:
            at = len(block)
            for _ in range(left):
                at = block.rfind(b"\n", 0, at)
            return begin + at + 1
        left, end = left - found, begin
    return least


def line_begin(path: Path, offset: int) -> int:
    """Where the line begins that this byte belongs to; itself when that is more than 64 KiB back."""
    begin = max(0, offset - _LINE_LIMIT_BYTES)
    at = read_piece(path, begin, offset - begin).rfind(b"\n")
    return begin + at + 1 if at >= 0 else 0 if begin == 0 else offset


def read_end(path: Path, limit_bytes: int) -> bytes:
    """Read the last bytes, beginning with a whole row where the log has any."""
    size = size_of(path)
    content = read_piece(path, max(0, size - limit_bytes), limit_bytes)
    if size <= limit_bytes:
        return content
    ends = [at for at in (content.find(b"\n"), content.find(b"\r")) if at >= 0]
    return content[min(ends) + 1 :] if ends else content
