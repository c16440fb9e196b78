"""Deleted experiments: a line in the lab's `deleted.jsonl`, and the folder moved to `<home>/trash/`.

The line comes first and is durable; moving the folder only makes the disk agree with it, so whatever a
crash left half-done is finished by the next start. The line stays when the trash is emptied: a parent
that was deleted can still be named, and the chain of seals has no unexplained hole.
"""

import os
import shutil
import stat
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Literal

from msgspec import Struct, structs

from labrun.store.filesystem import sync_directory
from labrun.store.home import Home
from labrun.store.journal import Journal
from labrun.wire.responses import Experiment

DELETED = "deleted.jsonl"


class Tombstone(Struct, frozen=True, kw_only=True):
    """One line of `deleted.jsonl`; the last one about an experiment holds."""

    did: Literal["deleted", "undeleted", "purged"]
    run_id: str
    at: datetime
    by: str
    folder: str | None
    """Where its folder lies when it is not deleted, relative to the home; None when it never had one."""
    experiment: Experiment
    """As it was when it was deleted."""

    @property
    def shown(self) -> Experiment:
        """The experiment as one that is gone."""
        return structs.replace(
            self.experiment,
            folder=None,
            deleted_at=self.at,
            deleted_by=self.by,
            is_purged=self.did == "purged",
            reason=None,
            position=None,
        )


def place_in_trash(home: Path, folder: str) -> Path:
    """Where a folder lies while it is deleted.

    Args:
        home: The home's root.
        folder: Where it lies else, relative to the home: `labs/<lab>/<month>/<name>`.
    """
    return home / "trash" / folder.removeprefix("labs/")


def in_trash(home: Home, tombstone: Tombstone) -> Path | None:
    """The folder of a deleted experiment; None when it is not there."""
    if tombstone.did != "deleted" or tombstone.folder is None:
        return None
    return place_in_trash(home.root, tombstone.folder)


def write_down(home: Home, tombstone: Tombstone) -> tuple[Path, int]:
    """Append a line; durable when this returns.

    Returns:
        The file and its new length in bytes.

    Raises:
        OSError: Nothing was noted.
    """
    path = home.labs / tombstone.experiment.lab / DELETED
    path.parent.mkdir(parents=True, exist_ok=True)
    return path, Journal(path).append(tombstone, sync=True)


def last_words(lab: Path) -> Mapping[str, Tombstone]:
    """What holds of every experiment of a lab that was ever deleted, by run id."""
    lines, _ = Journal(lab / DELETED).read(Tombstone)
    return {line.run_id: line for line in lines}


def carry_out(home: Home, tombstone: Tombstone) -> None:
    """Let the disk agree with a line. Blocks as long as removing files takes; bears repetition.

    Raises:
        OSError: The folder cannot be moved or removed.
    """
    if tombstone.folder is None:
        return
    place, trashed = home.root / tombstone.folder, place_in_trash(home.root, tombstone.folder)
    if tombstone.did == "deleted":
        _move(place, trashed, home)
    elif tombstone.did == "undeleted":
        _move(trashed, place, home)
    elif trashed.exists():
        _remove(trashed)


def _move(source: Path, target: Path, home: Home) -> None:
    if not source.is_dir() or target.exists():
        return  # done already
    for folder in (target.parent.parent.parent, target.parent.parent, target.parent):
        if not folder.exists():
            folder.mkdir(mode=0o700 if folder == home.trash else 0o777, exist_ok=True)
            sync_directory(folder.parent)
    source.rename(target)
    sync_directory(target.parent)
    sync_directory(source.parent)


def _remove(folder: Path) -> None:
    """Remove a folder, also where its script forbade us to."""
    for here, names, _ in os.walk(folder):
        for name in (here, *(os.path.join(here, name) for name in names)):  # noqa: PTH118  text only
            with suppress(OSError):
                status = os.lstat(name)
                if stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_IRWXU != stat.S_IRWXU:
                    os.chmod(name, status.st_mode | stat.S_IRWXU)  # noqa: PTH101  text only
    shutil.rmtree(folder)
    sync_directory(folder.parent)


def freed_bytes(folder: Path) -> int:
    """Space that removing a folder gives back: files that are nowhere else under another name."""
    total = 0
    for here, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                status = os.lstat(f"{here}/{name}")
                if status.st_nlink == 1:
                    total += status.st_size
    return total
