"""What a seal says: the hash and size of every piece of evidence of one attempt.

`seal.json` is plain JSON with sorted keys. Paths are relative to the experiment's folder.
"""

import hashlib
import os
import stat
from pathlib import Path

import msgspec
from msgspec import Struct

from labrun.core.errors import StoreDamaged

SEAL_FORMAT = 1
CHUNK_BYTES = 1 << 20


class Piece(Struct, frozen=True, omit_defaults=True):
    """One file as it was sealed."""

    bytes: int
    sha256: str | None = None
    """None when it could not be read."""
    link: bool = False
    """It is a symbolic link; the hash is that of its target's text."""
    unreadable: str | None = None
    """Why it could not be read."""


class Superseded(Struct, frozen=True):
    """A file that an earlier attempt sealed and this one changed or removed."""

    attempt: int
    path: str
    sha256: str | None
    """As the earlier attempt sealed it."""


class Code(Struct, frozen=True):
    """What was executed."""

    tree: str | None
    """Git's hash of the frozen tree in `store/code.git`; null when nothing was frozen."""


class Environment(Struct, frozen=True):
    """What it was executed in."""

    interpreter: str | None
    variables_sha256: str | None
    """Of the caller's variables as canonical JSON; the values are not kept."""


class Seal(Struct, frozen=True, kw_only=True):
    """One attempt's `seal.json`."""

    format: int = SEAL_FORMAT
    run_id: str
    label: str
    lab: str
    attempt: int
    folder: str
    """Relative to the home."""
    at: str
    code: Code
    environment: Environment
    events: Piece
    """The journal as far as it went; a resume appends behind it."""
    evidence: dict[str, Piece]
    artifacts: dict[str, Piece]
    superseded: tuple[Superseded, ...] = ()


def write_seal(seal: Seal) -> bytes:
    """Write a seal as it stands in the file."""
    return msgspec.json.format(msgspec.json.encode(seal, order="sorted"), indent=2) + b"\n"


def read_seal(path: Path) -> Seal:
    """Read a seal.

    Raises:
        StoreDamaged: It is not a seal, or of a newer format.
        OSError: It cannot be read.
    """
    try:
        seal = msgspec.json.decode(path.read_bytes(), type=Seal)
    except msgspec.DecodeError as error:
        raise StoreDamaged(str(path), str(error)) from error
    if seal.format > SEAL_FORMAT:
        raise StoreDamaged(str(path), f"it has format {seal.format}, this labrun knows {SEAL_FORMAT}")
    return seal


def weigh(path: str, limit_bytes: int | None = None) -> Piece | None:
    """Hash one file, a megabyte at a time; None when there is no file or link of that name.

    Args:
        path: Of a file or link; links are not followed.
        limit_bytes: Hash only so much of its beginning; a shorter file keeps its own length.
    """
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            target = os.fsencode(os.readlink(path))  # noqa: PTH115  the bytes matter
            return Piece(len(target), hashlib.sha256(target).hexdigest(), link=True)
        if not stat.S_ISREG(status.st_mode):
            return None
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return Piece(0, unreadable=error.strerror or str(error))
    try:
        hashed, size = hashlib.sha256(), 0
        while limit_bytes is None or size < limit_bytes:
            wanted = CHUNK_BYTES if limit_bytes is None else min(CHUNK_BYTES, limit_bytes - size)
            chunk = os.read(fd, wanted)
            if not chunk:
                break
            hashed.update(chunk)
            size += len(chunk)
        return Piece(size, hashed.hexdigest())
    except OSError as error:
        return Piece(status.st_size, unreadable=error.strerror or str(error))
    finally:
        os.close(fd)
