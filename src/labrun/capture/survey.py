"""What a snapshot of a source root would leave out, or not take: asked before the first submit of a project.

Only top-level entries, for those are what a link brings back. What is nobody's data is left out:
caches, environments, credentials, what a build left behind.
"""

import fnmatch
import os
import re
import stat
import time
from collections import Counter
from pathlib import Path
from typing import Literal

from labrun.capture.listing import FILE_LIMIT, NEVER, Listing, is_credential, list_code, shown
from labrun.core.errors import TooManyFiles
from labrun.wire.responses import Unfrozen

Why = Literal["ignored", "too big"]

_NO_DATA = re.compile("|".join(map(fnmatch.translate, (".*", "*.egg-info", "*.py[cod]", "*~", "*.sw[op]"))))
_CACHE_TAG = "CACHEDIR.TAG"
_COUNTING_S = 0.5


def survey(
    root: Path, limit_bytes: int, limit_files: int = FILE_LIMIT, counting_s: float = _COUNTING_S
) -> tuple[Unfrozen, ...]:
    """List top-level entries that are ignored, and those that make the rest too big; heaviest first. Blocks.

    Args:
        root: Absolute path of the source root.
        limit_bytes: Largest source folder that is frozen.
        limit_files: Most files it may have.
        counting_s: How long sizes are counted, all entries together; what is not counted by then is at least so big.

    Raises:
        CodeUnreadable: A folder cannot be read.
    """
    deadline_s = time.monotonic() + counting_s
    top = os.fspath(root)
    try:
        listing = list_code(root, limit_files=limit_files, counting_s=counting_s)
    except TooManyFiles as error:
        crowded = {folder.partition("/")[0] for folder, _ in error.fullest}
        found = [_weigh(top, name, "too big", deadline_s) for name in sorted(crowded)]
    else:
        found = [_weigh(top, name, "ignored", deadline_s) for name in _ignored(top, listing)]
        found += [_weigh(top, name, "too big", deadline_s) for name in _oversized(top, listing, limit_bytes)]
    there = [entry for entry in found if entry is not None]
    return tuple(sorted(there, key=lambda entry: (-entry.size_bytes, entry.place)))


def _ignored(top: str, listing: Listing) -> list[str]:
    taken = {name.partition("/")[0] for name in listing.files}
    names = sorted(os.listdir(top))  # noqa: PTH208  names only
    return [name for name in names if name not in taken and _may_be_data(f"{top}/{name}", name)]


def _may_be_data(path: str, name: str) -> bool:
    if name in NEVER or _NO_DATA.match(name) or is_credential(name):
        return False
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116  a link to data is data
    except OSError:
        return False
    if not stat.S_ISDIR(mode):
        return stat.S_ISREG(mode)
    marks = (_CACHE_TAG, "pyvenv.cfg", "conda-meta", "home.json")
    return not any(os.path.lexists(f"{path}/{mark}") for mark in marks)


def _oversized(top: str, listing: Listing, limit_bytes: int) -> list[str]:
    """The heaviest entries that have to go until the rest is below the limit."""
    sizes: Counter[str] = Counter()
    for name in listing.files:
        try:
            sizes[name.partition("/")[0]] += os.lstat(f"{top}/{name}").st_size
        except OSError:
            continue  # it vanished; freezing will say so
    found = []
    rest = sizes.total()
    for name, size in sizes.most_common():
        if rest <= limit_bytes:
            break
        found.append(name)
        rest -= size
    return found


def _weigh(top: str, name: str, why: Why, deadline_s: float) -> Unfrozen | None:
    """Add up an entry's files as long as there is time; None when there is none at all."""
    path = f"{top}/{name}"
    try:
        status = os.stat(path)  # noqa: PTH116  a link to data is data
    except OSError:
        return None
    if not stat.S_ISDIR(status.st_mode):
        return Unfrozen(shown(name), False, status.st_size, why)
    size, count, is_whole = 0, 0, True
    pending = [path]
    while pending and is_whole:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                        continue
                    size += entry.stat(follow_symlinks=False).st_size
                    count += 1
                    if count % 64 == 0 and time.monotonic() > deadline_s:
                        is_whole = False
                        break
        except OSError:
            continue  # closed to us, or gone
        if time.monotonic() > deadline_s and pending:
            is_whole = False
    return Unfrozen(shown(name), True, size, why, is_whole) if count or not is_whole else None
