"""The lines and small files a supervisor reads and writes: order, `started`, `exit`, log index, usage."""

from __future__ import annotations

import json
import os
import time
import zlib
from contextlib import suppress

from labrun.shim.kernel import read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any  # not imported when it runs: each import costs every supervisor memory


def encode_line(record: dict[str, Any]) -> bytes:
    """One JSON object whose last member is the CRC-32 of everything before it, and a newline."""
    body = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")[:-1]
    return body + b',"crc":"%08x"}\n' % zlib.crc32(body)


def read_order(directory: int, attempt: str) -> dict[str, Any] | None:
    """The attempt's order; None when it is not there whole and unaltered: then nothing may run."""
    body, _, tail = read_text(f"/proc/self/fd/{directory}/{attempt}.order").rpartition(',"crc":')
    order: dict[str, Any] = json.loads(body + "}") if tail == '"%08x"}\n' % zlib.crc32(body.encode()) else {}
    return order if order.get("attempt_id") == attempt else None


def append(path: str, record: dict[str, Any]) -> None:
    """Add a line with its time where that is possible: a vanished folder or a full disk ends no attempt."""
    with suppress(OSError), open(path, "ab", buffering=0) as stream:
        stream.write(encode_line({"t": round(time.time(), 3), **record}))


def replace_file(directory: int, name: str, content: bytes) -> str | None:
    """Write a small file so that after a power cut it is there whole, or not at all; returns what went wrong."""
    try:
        handle = os.open(name + ".tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=directory)
        with open(handle, "wb", buffering=0) as stream:
            if stream.write(content) != len(content):
                return "no space left"
            os.fsync(handle)
        os.rename(name + ".tmp", name, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)
    except OSError as error:
        return None if isinstance(error, FileNotFoundError) else error.strerror  # nobody could read it there
    return None
