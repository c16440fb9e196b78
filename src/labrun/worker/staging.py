"""Files of an earlier experiment for a new one: looked at when it is queued, copied before it starts."""

import hashlib
import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from labrun.core.errors import BadStaging, NotFound, nearest
from labrun.core.spec import Spec, Staged
from labrun.store.artifacts import located, written
from labrun.store.folder import Folder
from labrun.worker import lookup
from labrun.worker.floor import OpenExperiment
from labrun.worker.parts import Parts

_CHUNK_BYTES = 1 << 20
_GUESSED_FILES = 5000


def look(parts: Parts, run_id: str, label: str, folder: Path, given: str) -> Staged:
    """Describe one file of an experiment. Blocks as long as hashing it takes.

    Args:
        parts: The worker's world.
        run_id: Of the experiment.
        label: The same, for errors.
        folder: The experiment's folder.
        given: Path in it, as records write it; an absolute one must lie in it.

    Raises:
        BadStaging: It is not there, no file, or outside the folder.
        CodeUnreadable: It changed while it was read.
    """
    if not given or "\0" in given:
        raise BadStaging(f"{given!r} is no path", "name a file of the experiment, such as `outputs/model.pt`")
    top = os.fspath(folder)
    absolute = given if given.startswith("/") else located(top, given)
    path = Path(os.path.normpath(absolute))
    if not path.is_relative_to(folder) or path == folder:
        raise BadStaging(f"`{given}` lies outside {label}", "declare it as data: `--set inputs.NAME=PATH`")
    try:
        status = path.stat()
    except OSError as error:
        raise BadStaging(f"there is no `{given}` in {label}", _advice(folder, path, label)) from error
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise BadStaging(f"`{given}` of {label} is a link to a place outside it", "name what it points at as data")
    if stat.S_ISDIR(status.st_mode):
        raise BadStaging(f"`{given}` of {label} is a folder", "name the files in it, one `--stage` each")
    if not stat.S_ISREG(status.st_mode):
        raise BadStaging(f"`{given}` of {label} is no regular file", "stage what was written to a file")
    place = written(os.fspath(path.relative_to(folder)))
    found = parts.data.hash("staged", path)
    return Staged(place.rpartition("/")[2], run_id, place, found.sha256, found.size_bytes)


def check_names(staged: tuple[Staged, ...]) -> None:
    """Refuse two files of one name: they would lie in the same place.

    Raises:
        BadStaging: There are two.
    """
    names = [file.name for file in staged]
    for name in names:
        if names.count(name) > 1:
            places = " and ".join(f"`{file.path}`" for file in staged if file.name == name)
            raise BadStaging(f"{places} are both called `{name}`", "stage one of them, or copy one under another name")


def _advice(folder: Path, path: Path, label: str) -> str:
    """Name the file that was probably meant: the same name elsewhere, or a similar one."""
    below: list[str] = []
    for top in (folder / "outputs", folder / "work"):
        for here, _, names in os.walk(top):
            below += [written(os.path.relpath(Path(here, name), folder)) for name in names]
            if len(below) > _GUESSED_FILES:
                break
    same = [place for place in below if place.rpartition("/")[2] == path.name]
    guess = same[0] if same else nearest(os.fspath(path.relative_to(folder)), below)
    return f"did you mean `{guess}`?" if guess else f"`lab info {label}` lists what it left behind"


def originals(parts: Parts, spec: Spec) -> dict[str, Path | None]:
    """Where the original of each staged file lies, by name; None when its experiment was purged."""
    return {file.name: _original(parts, file) for file in spec.staged}


def _original(parts: Parts, file: Staged) -> Path | None:
    try:
        found = lookup.find(parts, file.run_id, "")
    except NotFound:
        return None
    if isinstance(found, OpenExperiment):
        folder = found.folder.path if found.folder is not None else None
    else:
        folder = lookup.folder_of(parts, found)
    return Path(located(os.fspath(folder), file.path)) if folder is not None else None


def lay_out(sources: Mapping[str, Path | None], spec: Spec, folder: Folder, attempt: int) -> None:
    """Copy every staged file into the experiment's folder. Blocks; bears repetition.

    A later attempt finds the file as the one before left it.

    Args:
        sources: From `originals`.
        spec: Of the experiment.
        folder: Its folder.
        attempt: The one that is about to start.

    Raises:
        BadStaging: An original is gone, or is not what it was when the experiment was queued.
        OSError: The disk does not take it.
    """
    for file in spec.staged:
        place = folder.staged / file.name
        if place.is_file() and (attempt > 1 or _digest(place) == file.sha256):
            continue
        source = sources[file.name]
        if source is None:
            raise BadStaging(f"the experiment that `{file.path}` comes from is gone ({file.run_id})", "stage another")
        folder.staged.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            place.unlink()
        _copy(source, place, file)


def _copy(original: Path, place: Path, file: Staged) -> None:
    """Copy under a temporary name, check what was read, then give it its name: whole or not at all."""
    temporary = place.with_name(f".{secrets.token_hex(8)}")
    hashed = hashlib.sha256()
    try:
        try:
            source = original.open("rb")
        except OSError as error:
            why = f"`{original}` cannot be read any more: {error.strerror}"
            raise BadStaging(why, "stage a file that is there") from error
        with source, temporary.open("wb") as copy:
            while chunk := source.read(_CHUNK_BYTES):
                hashed.update(chunk)
                copy.write(chunk)
            copy.flush()
            os.fsync(copy.fileno())
        if hashed.hexdigest() != file.sha256:
            raise BadStaging(f"`{original}` changed after it was staged", "requeue once nothing writes it any more")
        temporary.rename(place)
    finally:
        with suppress(OSError):
            temporary.unlink()


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
