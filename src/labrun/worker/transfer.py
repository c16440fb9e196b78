"""What an experiment left behind, for another machine: a list of its files, and their bytes piece by piece."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from labrun.core.errors import BadValue, NotAllowedNow, StoreDamaged
from labrun.store.artifacts import located, written
from labrun.store.evidence import read_seal
from labrun.store.folder import Folder
from labrun.wire.responses import Experiment
from labrun.wire.transfer import FileListing, FileView

_NEWEST_S = 2.0**33
"""Times beyond the year 2242 are shown as that: somebody set one no calendar knows."""


def list_files(shown: Experiment, place: Path | None) -> FileListing:
    """Every file in an experiment's folder. Blocks; links are named and never followed.

    Raises:
        NotAllowedNow: It has no folder.
    """
    if place is None:
        raise NotAllowedNow("copy files of", shown.label, "without a folder", "after its first attempt was begun")
    sealed = _sealed(Folder(place), shown.attempt)
    top, files, links = os.fspath(place), list[FileView](), list[str]()
    for entry in _entries(top):
        name = written(entry.path[len(top) + 1 :])
        with suppress(OSError):  # it vanished
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                links.append(name)
            elif stat.S_ISREG(status.st_mode):
                modified = datetime.fromtimestamp(max(0.0, min(status.st_mtime, _NEWEST_S)), UTC)
                files.append(FileView(name, status.st_size, modified, sealed.get(name)))
    files.sort(key=lambda file: file.path)
    return FileListing(shown.label, top, tuple(files), tuple(sorted(links)))


def _sealed(folder: Folder, attempts: int) -> dict[str, str]:
    """SHA-256 by path, as the last seal that names a file has it."""
    found: dict[str, str] = {}
    for number in range(1, attempts + 1):
        try:
            seal = read_seal(folder.attempt(number).seal)
        except (OSError, StoreDamaged):
            continue  # not sealed yet; `lab doctor` finds one that is damaged
        pieces = {**seal.evidence, **seal.artifacts}
        found |= {path: piece.sha256 for path, piece in pieces.items() if piece.sha256 is not None}
    return found


def _entries(top: str) -> Iterator[os.DirEntry[str]]:
    pending = [top]
    while pending:
        with suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    yield entry


def read_file(place: Path | None, path: str, offset: int, limit_bytes: int) -> bytes:
    """A piece of one file of an experiment's folder; empty at its end. Blocks.

    Raises:
        BadValue: There is no such file in the folder; a link is none.
    """
    top = os.fspath(place) if place is not None else ""
    names = located(top, path)[len(top) + 1 :].split("/")
    if not top or not all(name not in ("", ".", "..") and "\0" not in name for name in names):
        raise BadValue("file", path, "a file in the experiment's folder")
    here = -1
    try:
        here = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for position, name in enumerate(names, start=1):
            # one name at a time, none of them a link: a script may have put links anywhere
            kind = os.O_DIRECTORY if position < len(names) else os.O_NONBLOCK
            found = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | kind, dir_fd=here)
            os.close(here)
            here = found
        if not stat.S_ISREG(os.fstat(here).st_mode):
            raise BadValue("file", path, "a regular file")
        return os.pread(here, limit_bytes, offset)
    except OSError as error:
        raise BadValue("file", path, f"a file in the experiment's folder ({error.strerror})") from error
    finally:
        if here >= 0:
            os.close(here)
