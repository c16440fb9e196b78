"""A source folder as it is read: what is there, what cannot be read, what is too much."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence

from labrun.core.errors import CodeUnreadable, TooBig
from labrun.core.fullest import fullest
from labrun.core.units import show_size
from labrun.store.working import chunks_of

_SHOWN = 5


def look(root: str, names: Iterable[str]) -> tuple[list[tuple[str, os.stat_result]], list[str], list[str]]:
    """Stat every file once: those to freeze, those that are neither file nor link, those that are gone."""
    found: list[tuple[str, os.stat_result]] = []
    special: list[str] = []
    gone: list[str] = []
    for name in names:
        try:
            status = os.lstat(f"{root}/{name}")
        except (FileNotFoundError, NotADirectoryError):
            gone.append(name)
            continue
        except OSError as error:
            raise CodeUnreadable(shown(f"{root}/{name}"), error.strerror or str(error)) from error
        if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
            found.append((name, status))
        else:
            special.append(name)
    return found, special, gone


def too_big(root: str, found: list[tuple[str, os.stat_result]], size: int, limit: int) -> TooBig:
    """Refuse a folder over its limit: name the largest files, or the fullest folders when no file is to blame."""
    largest = sorted(found, key=lambda item: item[1].st_size, reverse=True)[:5]
    listed = ", ".join(f"{shown(name)} ({show_size(status.st_size)})" for name, status in largest)
    line = f"/{shown(largest[0][0])}"
    hint = f"the largest are {listed}"
    if sum(status.st_size for _, status in largest) < size / 2:
        folders = fullest((name.rpartition("/")[0], status.st_size) for name, status in found)
        if folders:
            hint += "; the fullest folders are "
            hint += ", ".join(f"{shown(folder)} ({show_size(weight)})" for folder, weight in folders)
            line = f"/{shown(folders[0][0])}/"
    hint += f"; a line such as `{line}` in .labignore (or .gitignore, where git does not track it) leaves it out"
    details = [{"path": shown(name), "size_bytes": status.st_size} for name, status in largest]
    return TooBig(f"source folder `{shown(root)}`", size, limit, hint, details)


def left_out(why: str, names: Sequence[str]) -> Iterator[str]:
    """Say in one line what was not frozen; nothing when everything was."""
    if names:
        first = ", ".join(map(shown, names[:_SHOWN]))
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        yield f"not frozen, {why}: {first}{more}"


class reading:  # noqa: N801  reads as a statement: `with reading(path)`
    """Turns a failure to read a source file into `CodeUnreadable`; that it is gone passes."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise CodeUnreadable(shown(self._path), error.strerror or str(error)) from error


def read_whole(path: str, fd: int, size: int) -> bytes:
    """Content of a small file, and one byte more if it grew."""
    with reading(path):
        return os.pread(fd, size + 1, 0)


def chunks_at(path: str, fd: int) -> Iterator[bytes]:
    """Content of a large file in pieces."""
    with reading(path):
        yield from chunks_of(fd)


def shown(name: str) -> str:
    r"""Make a file name fit for JSON and people: bytes that are no UTF-8 become `\xNN`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
