"""What an experiment left behind: files below `outputs/`, and what differs from the frozen code below `work/`."""

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from labrun.store.folder import Folder
from labrun.store.working import Entry, is_as_stored, is_untouched
from labrun.wire.responses import Artifact

_SKIPPED = frozenset({"__pycache__"})
_ENVIRONMENT_MARKS = ("pyvenv.cfg", "conda-meta")
"""`uv run` and `pixi run` make an environment in the working copy: tens of thousands of files that a lock file pins."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def scan(folder: Folder, code: Mapping[str, Entry], links: Collection[str] = ()) -> list[Artifact]:
    """List artifacts, sorted by path. Blocks; links are listed as links and never followed.

    Args:
        folder: The experiment's folder.
        code: The frozen tree `work/` was made from; a code file counts once it was changed.
        links: Places below `work/` that were made links at the start.

    Files that vanish meanwhile are left out. Sockets, pipes and devices are no artifacts.
    """
    top = os.fspath(folder.path)
    found = [_artifact(path[len(top) + 1 :], status) for path, status in _files(f"{top}/outputs")]
    work = f"{top}/work"
    for path, status in _files(work, with_environments=False):
        place = path[len(work) + 1 :]
        if place in links and stat.S_ISLNK(status.st_mode):
            continue
        entry = code.get(place)
        if entry is None or not (is_untouched(status, entry) or _is_unchanged(path, status, entry)):
            found.append(_artifact(path[len(top) + 1 :], status))
    found.sort(key=lambda artifact: artifact.path)
    return found


def _files(top: str, *, with_environments: bool = True) -> Iterator[tuple[str, os.stat_result]]:
    pending = [top]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            if entry.name not in _SKIPPED and (with_environments or not _is_environment(entry.path)):
                                pending.append(entry.path)
                            continue
                        status = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue  # it vanished
                    if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
                        yield entry.path, status
        except OSError:
            continue  # the folder vanished, or is closed to us


def _is_environment(folder: str) -> bool:
    return any(os.path.lexists(f"{folder}/{mark}") for mark in _ENVIRONMENT_MARKS)


def _is_unchanged(path: str, status: os.stat_result, entry: Entry) -> bool:
    try:
        return is_as_stored(path, status, entry)
    except OSError:
        return False  # changed in a way that cannot even be read


def _artifact(name: str, status: os.stat_result) -> Artifact:
    try:
        modified = _EPOCH + timedelta(microseconds=status.st_mtime_ns // 1000)
    except OverflowError:
        modified = _EPOCH  # somebody set a time no calendar knows
    return Artifact(written(name), status.st_size, modified)


def written(name: str) -> str:
    r"""Write a file name as records do: as it is, bytes that are no UTF-8 as `\xNN`.

    >>> written("caf\udce9.txt")
    'caf\\xe9.txt'
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def located(top: str, name: str) -> str:
    """Find the file a record means: the name as written, or else the one with the bytes it stands for.

    Args:
        top: The experiment's folder.
        name: As `written` gave it.
    """
    path = f"{top}/{name}"
    if "\\x" not in name or os.path.lexists(path):
        return path
    raw = bytearray()
    rest = name
    while rest:
        before, mark, rest = rest.partition("\\x")
        raw += before.encode("utf-8", "surrogateescape")
        if mark:
            try:
                raw += bytes.fromhex(rest[:2])
            except ValueError:
                return path
            rest = rest[2:]
    return f"{top}/{os.fsdecode(bytes(raw))}"
