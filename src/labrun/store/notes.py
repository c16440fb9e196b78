"""`notes.jsonl`: what people said of an experiment, in its folder, or in the home while it has none.

Unlike in a journal, every line stands for itself: one that was altered hides no other, and only a last line
that is torn is cut off, when the next one is added.
"""

import os
import threading
from pathlib import Path

from labrun.core.errors import StoreDamaged
from labrun.core.line import decode_line
from labrun.core.narrative import ENTRY, Entry, Told, fold
from labrun.store.filesystem import sync_directory
from labrun.store.folder import Folder
from labrun.store.home import Home
from labrun.store.journal import Journal

_READ_LIMIT_BYTES = 64 << 20
"""More than this nobody wrote by hand: a script may put anything into its folder under this name."""
_GATE = threading.Lock()
"""Held while notes are added or moved: a file has one writer, and to move it is to write it."""


def add_notes(home: Home, run_id: str, folder: Folder | None, entries: tuple[Entry, ...]) -> None:
    """Add entries; durable when this returns. Blocks.

    Args:
        home: Of the experiment.
        run_id: Of the experiment.
        folder: Its folder; None while it has none.
        entries: At least one.

    Raises:
        FileNotFoundError: The folder is gone. Nothing was added.
        OSError: Nothing was added.
    """
    with _GATE:
        if folder is not None:
            path = folder.notes
        else:
            path = waiting_notes(home, run_id)
            if not path.parent.exists():
                path.parent.mkdir(mode=0o700, exist_ok=True)
                sync_directory(path.parent.parent)
        Journal(path).append(*entries, sync=True)


def read_told(*paths: Path) -> Told:
    """What the entries of these files come to, in this order; a file that is not there holds none. Blocks."""
    found: list[Entry] = []
    unreadable = 0
    # one line in both is a move that a crash cut short
    for line in dict.fromkeys(line for path in paths for line in _lines(path)):
        entry = _entry(line)
        if entry is not None:
            found.append(entry)
        else:
            unreadable += 1
    return fold(found, unreadable)


def waiting_notes(home: Home, run_id: str) -> Path:
    """Where notes lie while an experiment has no folder."""
    return home.store / "notes" / f"{run_id}.jsonl"


def places(home: Home, run_id: str, folder: Folder | None) -> tuple[Path, ...]:
    """Where notes of an experiment may lie; those in its folder come first, as after they were moved there."""
    waiting = waiting_notes(home, run_id)
    return (folder.notes, waiting) if folder is not None else (waiting,)


def move_into(home: Home, run_id: str, folder: Folder) -> None:
    """Bring notes written while it waited into its folder. Bears repetition; nothing to do is nearly free.

    Raises:
        OSError: They stay where they are.
    """
    waiting = waiting_notes(home, run_id)
    if not waiting.exists():
        return
    with _GATE:
        if not waiting.exists():
            return
        if not folder.notes.exists():
            os.rename(waiting, folder.notes)  # noqa: PTH104  says what it does
            return
        there = set(_lines(folder.notes))
        missing = [line for line in dict.fromkeys(_lines(waiting)) if line not in there]
        entries = [entry for entry in map(_entry, missing) if entry is not None]
        if entries:
            Journal(folder.notes).append(*entries, sync=True)
        waiting.unlink()


def _entry(line: bytes) -> Entry | None:
    try:
        return decode_line(line, ENTRY)
    except StoreDamaged:
        return None


def _lines(path: Path) -> list[bytes]:
    try:
        with open(path, "rb", opener=_without_waiting) as source:
            content = source.read(_READ_LIMIT_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        return [str(error).encode()]  # no entry; it is counted as one that cannot be read
    return [line for line in content.split(b"\n") if line]


def _without_waiting(path: str, flags: int) -> int:
    """Open a file that may be a pipe nobody writes to."""
    return os.open(path, flags | os.O_NONBLOCK)
