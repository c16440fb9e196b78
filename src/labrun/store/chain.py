"""The chain of a lab: one checksummed line per seal, each naming the hash of the line before.

`prev` is the SHA-256 of the previous line as it stands in the file, newline included, so that
`tail -n 1 chain.jsonl | sha256sum` is what the next line will say; 64 zeros in the first one.
"""

import hashlib
import logging
import mmap
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from labrun.core.errors import StoreDamaged
from labrun.core.line import decode_line, encode_line
from labrun.core.spec import Spec
from labrun.store.objects import sync
from labrun.wire.responses import Experiment

log = logging.getLogger(__name__)

T = TypeVar("T")

CHAIN = "chain.jsonl"
CANCELLED = "cancelled.jsonl"
FIRST = "0" * 64
_BLOCK_BYTES = 1 << 16


class ChainLine(Struct, frozen=True, kw_only=True):
    """One seal."""

    run_id: str
    label: str
    attempt: int
    folder: str
    """Relative to the home."""
    seal: str
    """SHA-256 of the attempt's `seal.json`."""
    prev: str
    at: datetime


class CancelledWaiting(Struct, frozen=True):
    """One line of `cancelled.jsonl`: an experiment that was cancelled while it waited."""

    run_id: str
    experiment: Experiment
    spec: Spec | None = None
    """What it was told to run, so that it can be queued again; lines of older versions lack it."""


class Link(Struct, frozen=True):
    """What is to be added to a chain; the chain itself adds `prev`."""

    run_id: str
    label: str
    attempt: int
    folder: str
    seal: str
    at: datetime


def digest_of(line: bytes) -> str:
    """What the next line calls this one."""
    return hashlib.sha256(line).hexdigest()


def open_chain(lab: Path) -> Path:
    """Make a lab's chain when it is not there, empty and unsynced: whoever adds to it syncs the lab's folder."""
    path = lab / CHAIN
    if not path.exists():
        lab.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))
    return path


def append_links(path: Path, links: Sequence[Link]) -> int:
    """Add seals in one write, synced once; return the chain's new length in bytes.

    Raises:
        OSError: Nothing was added.
    """
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        last = _cut_torn_tail(fd, path)
        prev = digest_of(last) if last else FIRST
        lines = []
        for link in links:
            line = encode_line(
                ChainLine(
                    run_id=link.run_id,
                    label=link.label,
                    attempt=link.attempt,
                    folder=link.folder,
                    seal=link.seal,
                    prev=prev,
                    at=link.at,
                )
            )
            prev = digest_of(line)
            lines.append(line)
        return _append(fd, b"".join(lines))
    finally:
        os.close(fd)


def append_cancelled(lab: Path, line: CancelledWaiting) -> tuple[Path, int]:
    """Note an experiment that was cancelled while it waited; durable when this returns.

    Returns:
        The file and its new length in bytes.

    Raises:
        OSError: Nothing was noted.
    """
    path = lab / CANCELLED
    is_new = not path.exists()
    lab.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        _cut_torn_tail(fd, path)
        end = _append(fd, encode_line(line))
    finally:
        os.close(fd)
    if is_new:
        sync(lab)
        sync(lab.parent)
    return path, end


def _append(fd: int, text: bytes) -> int:
    before = os.fstat(fd).st_size
    try:
        written = 0
        while written < len(text):
            written += os.write(fd, text[written:])
        os.fsync(fd)
    except OSError:
        os.ftruncate(fd, before)
        raise
    return before + len(text)


def _cut_torn_tail(fd: int, path: Path) -> bytes:
    """Cut an incomplete last line, which nobody was told of yet; return the last whole line."""
    size = os.fstat(fd).st_size
    tail, at = b"", size
    while at > 0 and tail.count(b"\n") < 2:
        step = min(at, _BLOCK_BYTES)
        at -= step
        tail = os.pread(fd, step, at) + tail
    end = tail.rfind(b"\n") + 1
    if end < len(tail):
        log.warning("torn last line cut", extra={"path": str(path), "cut_bytes": len(tail) - end})
        os.ftruncate(fd, at + end)
        # more may have to be read now to find where the last whole line begins
        return _cut_torn_tail(fd, path)
    return tail[tail.rfind(b"\n", 0, end - 1) + 1 : end] if end else b""


def lines_of(path: Path) -> Iterator[tuple[bytes, ChainLine | None]]:
    """Give every line of a chain as it stands, and what it says; None when it is torn or altered."""
    try:
        with path.open("rb") as chain:
            for line in chain:
                yield line, _read(line, path, ChainLine)
    except FileNotFoundError:
        return


def find_links(path: Path, run_id: str) -> dict[int, ChainLine]:
    """Find the seals of one experiment by attempt, the newest line of each; looks from the end."""
    found: dict[int, ChainLine] = {}
    for line in _naming(path, run_id, ChainLine):
        if line.run_id == run_id:
            found.setdefault(line.attempt, line)
            if line.attempt == 1:
                break
    return found


def find_cancelled(lab: Path, run_id: str) -> CancelledWaiting | None:
    """Find the newest line about an experiment that was cancelled while it waited; looks from the end."""
    lines = _naming(lab / CANCELLED, run_id, CancelledWaiting)
    return next((line for line in lines if line.run_id == run_id), None)


def _naming(path: Path, run_id: str, kind: type[T]) -> Iterator[T]:
    """Give the sound lines of a journal that hold a run id, the last one first."""
    try:
        with path.open("rb") as journal, mmap.mmap(journal.fileno(), 0, access=mmap.ACCESS_READ) as text:
            mark = b'"run_id":"%s"' % run_id.encode()
            at = text.rfind(mark)
            while at >= 0:
                begin, end = text.rfind(b"\n", 0, at) + 1, text.find(b"\n", at) + 1
                line = _read(text[begin:end], path, kind) if end else None
                if line is not None:
                    yield line
                at = text.rfind(mark, 0, begin)
    except (FileNotFoundError, ValueError):  # an empty file cannot be mapped
        return


def _read(line: bytes, path: Path, kind: type[T]) -> T | None:
    try:
        return decode_line(line, kind, str(path)) if line.endswith(b"\n") else None
    except StoreDamaged:
        return None
