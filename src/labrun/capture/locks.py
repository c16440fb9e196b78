"""Files that pin an environment, copied into the record: lock files of a project, packages of a conda environment."""

import fnmatch
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from msgspec import Struct, field

from labrun.capture.credentials import without_credentials, without_credentials_in
from labrun.capture.listing import shown
from labrun.capture.readings import Readings
from labrun.core.environment import LockFile
from labrun.core.units import show_size

LOCK_NAMES = (
    *("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml", "pylock.*.toml"),
    *("pixi.lock", "conda-lock.yml", "conda-lock.yaml", "*.conda-lock.yml", "environment.yml", "environment.yaml"),
    *("requirements*.txt", "constraints*.txt", "flake.lock"),
)
"""Files looked for in the caller's folder, the source root, and between the root and the top of its repository."""
LOCK_LIMIT_BYTES = 16 * 2**20
"""A larger one is named in a notice, not copied."""
CONDA_PLACE = "locks/conda-explicit.txt"
_FOLDER = "locks"


class Locks(Struct, frozen=True):
    """What was found."""

    locks: tuple[LockFile, ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)
    """Content by place below `submitted/`."""
    notices: tuple[str, ...] = ()


class _Copy(Struct, frozen=True):
    """One file as it is copied, or why it is not."""

    content: bytes | None = None
    sha256: str = ""
    notice: str | None = None


def read_locks(root: Path | None, cwd: Path, top: Path | None, prefix: Path | None, readings: Readings) -> Locks:
    """Copy what pins the environment. Blocks; unchanged files are not read again.

    Args:
        root: Source root; without one only a conda environment is listed.
        cwd: The caller's directory.
        top: Work tree of the repository around the root: a workspace keeps its lock file there.
        prefix: Folder of the interpreter's environment.
        readings: What was read before.
    """
    locks, files, notices = [], {}, []
    for path in _candidates(root, cwd, top) if root is not None else ():
        copy = readings.recall(("lock", path), lambda path=path: (_copy(path), (str(path),)))  # type: ignore[misc]
        if copy.notice is not None:
            notices.append(copy.notice)
        if copy.content is not None:
            assert root is not None
            place = _place(path, root)
            files[place] = copy.content
            name = path.relative_to(root) if path.is_relative_to(root) else path
            locks.append(LockFile(shown(str(name)), f"submitted/{place}", copy.sha256))
    conda = prefix / "conda-meta" if prefix is not None else None
    if conda is not None and conda.is_dir():
        content = readings.recall(("conda", conda), lambda: (_explicit_list(conda), (str(conda),)))
        files[CONDA_PLACE] = content
        locks.append(LockFile(shown(str(conda)), f"submitted/{CONDA_PLACE}", hashlib.sha256(content).hexdigest()))
    return Locks(tuple(locks), files, tuple(notices))


def _candidates(root: Path, cwd: Path, top: Path | None) -> Iterator[Path]:
    folders = [folder for folder in (cwd, *cwd.parents) if folder.is_relative_to(root)]
    if top is not None and root.is_relative_to(top):
        folders += [folder for folder in root.parents if folder.is_relative_to(top)]
    for folder in dict.fromkeys((*folders, root)):
        try:
            names = sorted(os.listdir(folder))  # noqa: PTH208  names alone, on the path of every submit
        except OSError:
            continue
        for name in names:
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in LOCK_NAMES):
                yield folder / name


def _copy(path: Path) -> _Copy:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return _Copy()  # a folder or a pipe of that name pins nothing
        if found.st_size > LOCK_LIMIT_BYTES:
            return _Copy(notice=f"not copied, larger than {show_size(LOCK_LIMIT_BYTES)}: {shown(str(path))}")
        content = path.read_bytes()
    except OSError as error:
        return _Copy(notice=f"not copied, {error.strerror or error}: {shown(str(path))}")
    text = content.decode("utf-8", "surrogateescape")
    clean = without_credentials_in(text).encode("utf-8", "surrogateescape")
    notice = None
    if clean != content:
        notice = f"a URL in {shown(str(path))} holds credentials: its copy in the record is without them"
    return _Copy(clean, hashlib.sha256(clean).hexdigest(), notice)


def _place(path: Path, root: Path) -> str:
    """Where a copy lies: `locks/uv.lock`, `locks/sub/uv.lock`; from above the root `locks/above-1/uv.lock`."""
    if path.is_relative_to(root):
        inside = path.relative_to(root)
    else:
        depth = len(root.relative_to(path.parent).parts)
        inside = Path(f"above-{depth}", path.name)
    return str(PurePosixPath(_FOLDER, *map(shown, inside.parts)))


def _explicit_list(folder: Path) -> bytes:
    """List the packages of a conda environment so that `conda create --file` makes the same one.

    Source:
        conda documentation, "Building identical conda environments"; `conda-meta/*.json`: `url`, `md5`.
    """
    lines = []
    for path in sorted(folder.glob("*.json")):
        try:
            said = json.loads(path.read_bytes())
        except (OSError, ValueError):
            lines.append(f"# not readable: {shown(path.name)}")
            continue
        url, md5 = (said.get("url"), said.get("md5")) if isinstance(said, dict) else (None, None)
        if isinstance(url, str) and url:
            lines.append(without_credentials(url) + (f"#{md5}" if isinstance(md5, str) else ""))
        else:
            lines.append(f"# without an address: {shown(path.stem)}")
    return "\n".join(["@EXPLICIT", *lines, ""]).encode("utf-8", "replace")
