"""Space: after the seal, files of `work/` that are unchanged code become hard links to one read-only tree.

They stay plain files and cost no bytes of their own. Only what provably was not touched is replaced, by an
atomic rename; a resume writes its own copies again before anything runs.
"""

import errno
import logging
import os
import secrets
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from labrun.store.code import CodeStore
from labrun.store.objects import sync
from labrun.store.working import LINK, is_untouched

log = logging.getLogger(__name__)

_TEMPORARY = ".labrun-link"


def share_code(code: CodeStore, tree: str, work: Path, trees: Path) -> int:
    """Replace unchanged code below `work` by links; returns the bytes that need no place of their own any more. Blocks.

    A crash in between leaves every file whole: its own, or the shared one.

    Args:
        code: Where the tree is.
        tree: What was frozen.
        work: The working copy of a sealed experiment.
        trees: Where the read-only trees lie, on the same file system.
    """
    shared, saved = lay_out(code, tree, trees), 0
    temporary = os.fspath(work / _TEMPORARY)
    for name, entry in code.entries(tree).items():
        path = f"{work}/{name}"
        try:
            status = os.lstat(path)
            if entry.mode == LINK or status.st_nlink > 1 or not is_untouched(status, entry):
                continue
            with suppress(FileNotFoundError):
                os.unlink(temporary)  # noqa: PTH108  names may be no UTF-8
            os.link(f"{shared}/{name}", temporary)
            os.rename(temporary, path)  # noqa: PTH104  as above
            saved += entry.size
        except (FileNotFoundError, NotADirectoryError):
            continue  # the run removed it
        except OSError as error:
            if error.errno in (errno.EMLINK, errno.EXDEV, errno.EPERM):
                break  # as many names as the file system allows, or links it does not allow at all
            log.warning("code is not shared", extra={"path": path, "why": error.strerror})
    return saved


def drop_unused(trees: Path) -> int:
    """Remove read-only trees no experiment has a file of any more; returns the bytes that gives back. Blocks.

    Each can be laid out again from the code store. A tree goes under another name first and is looked at
    again: who took a file of it meanwhile keeps that file, and who finds it gone lays it out anew.
    """
    freed = 0
    for place in sorted(trees.iterdir()) if trees.is_dir() else ():
        if place.name.startswith(".") or _used_bytes(place) is None:
            continue
        gone = place.with_name(f".gone-{secrets.token_hex(4)}")
        with suppress(OSError):
            place.rename(gone)
            freed += _used_bytes(gone) or 0
            shutil.rmtree(gone)
    return freed


def leftovers(trees: Path) -> list[Path]:
    """What a crash left half laid out or half removed. Only while nothing is laid out."""
    return sorted(trees.glob(".*"))


def _used_bytes(tree: Path) -> int | None:
    """The size of a tree nobody else has a file of; None when somebody has."""
    total = 0
    for here, _, names in os.walk(tree):
        for name in names:
            status = os.lstat(f"{here}/{name}")
            if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
                return None
            total += status.st_size
    return total


def lay_out(code: CodeStore, tree: str, trees: Path) -> Path:
    """Lay out a tree once for all who want a file of it: read-only, whole or not at all. Blocks.

    It is synced: what many experiments hold must not be lost to a power cut.

    Raises:
        StoreDamaged: An object of it is missing or altered.
    """
    place = trees / tree
    if place.is_dir():
        return place
    trees.mkdir(parents=True, exist_ok=True)
    temporary = trees / f".{tree}.{secrets.token_hex(4)}"
    try:
        code.checkout(tree, temporary)
        for here, _, names in os.walk(temporary, topdown=False):
            for name in names:
                path = Path(here, name)
                mode = path.lstat().st_mode
                if stat.S_ISREG(mode):
                    path.chmod(0o555 if mode & stat.S_IXUSR else 0o444)
                    sync(path)
            sync(Path(here))
        with suppress(OSError):  # somebody else was faster
            temporary.rename(place)
            sync(trees)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary)
    return place
