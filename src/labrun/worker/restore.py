"""Bring an experiment's frozen code back, into a folder of somebody's choosing."""

import errno
import os
from pathlib import Path

from labrun.core.errors import BadValue, DiskFull, NothingFrozen
from labrun.core.spec import Source
from labrun.store.code import CodeStore
from labrun.wire.responses import Restored

_SHOWN = 5


def check_destination(destination: str) -> Path:
    """Refuse what code cannot be restored to: nothing that is there is ever written over.

    Raises:
        BadValue: It is no absolute path, is no folder, holds something, or cannot be looked into.
    """
    path = Path(destination)
    if not path.is_absolute() or "\0" in destination:
        raise BadValue("folder", destination, "an absolute path")
    try:
        if any(path.iterdir()):
            raise BadValue("folder", destination, "empty or new; nothing in it was touched")
    except FileNotFoundError:
        pass
    except (OSError, UnicodeEncodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "a name that cannot be written"
        raise BadValue("folder", destination, f"a folder that can be written to ({why})") from error
    return path


def restore(code: CodeStore, label: str, tree: str | None, source: Source | None, destination: Path) -> Restored:
    """Write the frozen files, each checked against its hash. Blocks.

    Args:
        code: Where frozen code is kept.
        label: The experiment's.
        tree: What was frozen.
        source: What was submitted, to say what is not in the tree.
        destination: Empty or not there; see `check_destination`.

    Raises:
        NothingFrozen: It was submitted without a source folder.
        StoreDamaged: The store lost or altered an object; what could be restored before it is there.
        BadValue: The folder cannot be written.
        DiskFull: There is no room for it.
    """
    if tree is None:
        raise NothingFrozen(label)
    try:
        # whoever writes there meanwhile keeps what he wrote: it is named, not replaced
        done = code.checkout(tree, destination, keep_changed=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(os.fspath(destination), f"restoring {label}") from error
        raise BadValue("folder", str(destination), f"a folder that can be written to ({error.strerror})") from error
    notices = [f"left as it was, for somebody wrote there meanwhile: {_some(done.kept)}"] if done.kept else []
    if source is not None and source.links:
        links = [f"{link.place} -> {link.target}" for link in source.links]
        notices.append(f"live when it was submitted, so not restored: {_some(links)}")
    return Restored(label, tree, os.fspath(destination), done.file_count - len(done.kept), tuple(notices))


def _some(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
