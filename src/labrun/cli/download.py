"""One file of an experiment, copied to here: whole or not at all, checked, and never out of its folder."""

import errno
import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

from labrun.client.api import Client
from labrun.core.errors import BadValue, DiskFull, StoreDamaged

_PIECE_BYTES = 4 * 2**20


def target_of(top: Path, path: str) -> Path:
    """Where a file goes; nothing that comes from elsewhere leads out of the folder.

    Raises:
        BadValue: It would, by its name or by a link that lies here.
    """
    names = path.split("/")
    if any(name in ("", ".", "..") or "\0" in name for name in names):
        raise BadValue("file", path, "a path below the experiment's folder")
    target = top.joinpath(*names)
    for parent in target.parents:
        if parent == top:
            break
        if parent.is_symlink():
            raise BadValue("folder", str(parent), "a folder of its own: a link would lead the files elsewhere")
    return target


def compare(target: Path, file: dict[str, Any]) -> str:
    """`new`, `same` or `other`: how what lies here compares with what is there."""
    try:
        if target.is_symlink() or not target.is_file():
            return "other" if os.path.lexists(target) else "new"
        if target.stat().st_size != file["size_bytes"]:
            return "other"
    except OSError as error:
        raise BadValue("folder", str(target.parent), f"a folder that can be read ({error.strerror})") from error
    if file["sha256"] is None:
        return "other"
    with target.open("rb") as stream:
        return "same" if hashlib.file_digest(stream, "sha256").hexdigest() == file["sha256"] else "other"


def fetch(client: Client, label: str, file: dict[str, Any], target: Path) -> int:
    """Copy one file, whole or not at all; returns its size.

    Raises:
        StoreDamaged: It is not what its seal says; nothing was written.
        BadValue: It cannot be written here.
    """
    hashed, offset = hashlib.sha256(), 0
    temporary = target.with_name(f".pull-{secrets.token_hex(8)}")  # of any name's length
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            # no further than it was long when it was listed: what still grows might never end
            while (left := file["size_bytes"] - offset) > 0:
                piece = client.file(label, file["path"], offset=offset, limit_bytes=min(left, _PIECE_BYTES))[:left]
                if not piece:
                    break
                stream.write(piece)
                hashed.update(piece)
                offset += len(piece)
        if file["sha256"] not in (None, hashed.hexdigest()):
            raise StoreDamaged(file["path"], "it is not what its seal says; it was not copied")
        temporary.replace(target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(str(target.parent), f"copying {file['path']}") from error
        raise BadValue("folder", str(target.parent), f"a folder that can be written to ({error.strerror})") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return offset
