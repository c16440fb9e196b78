"""Read logs from an offset and wait for more: inotify, so a line is seen when it is written."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from inotify_simple import INotify, flags
from msgspec import Struct

from labrun.core.errors import BadValue
from labrun.store.folder import Folder
from labrun.wire.responses import Experiment, LogHeader, LogSegment
from labrun.worker.bell import Bell
from labrun.worker.floor import OpenExperiment

log = logging.getLogger(__name__)

_BLIND_LOOK_S = 0.1
"""Pause between two looks when the files cannot be watched (limit of watches reached)."""


class LogQuery(Struct, frozen=True):
    """Where a follower stands; None leaves a stream out."""

    stdout: int | None
    stderr: int | None
    attempt: int | None = None
    wait_s: float = 0.0
    limit_bytes: int = 65536
    tail_bytes: int | None = None
    """Start this far before the end instead of at the offsets."""


class FileWatch:
    """Rings a bell when a file grows. One inotify descriptor for all followers of a process."""

    def __init__(self) -> None:
        self._inotify: INotify | None = None
        self._bells: dict[int, list[Bell]] = {}

    def open(self) -> None:
        """Start listening on the running loop; without inotify, logs are looked at again and again."""
        try:
            self._inotify = INotify(nonblocking=True)
        except OSError as error:  # this user's inotify instances are used up
            log.warning("no inotify, logs are followed by looking", extra={"why": str(error)})
            return
        asyncio.get_running_loop().add_reader(self._inotify.fileno(), self._drain)

    def close(self) -> None:
        """Stop listening."""
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None

    @contextmanager
    def ringing(self, bell: Bell, paths: Iterable[Path]) -> Iterator[bool]:
        """Ring the bell whenever one of the files changes; yields whether all of them are watched."""
        watches: list[int] = []
        inotify = self._inotify
        is_complete = inotify is not None
        for path in paths:
            try:
                if inotify is not None:
                    watches.append(inotify.add_watch(str(path), flags.MODIFY))
            except OSError:
                is_complete = False
        for watch in watches:
            self._bells.setdefault(watch, []).append(bell)
        try:
            yield is_complete
        finally:
            for watch in watches:
                self._leave(watch, bell)

    def _leave(self, watch: int, bell: Bell) -> None:
        self._bells[watch].remove(bell)
        if not self._bells[watch] and self._inotify is not None:
            del self._bells[watch]
            with suppress(OSError):  # the file is gone, and the watch with it
                self._inotify.rm_watch(watch)

    def _drain(self) -> None:
        if self._inotify is not None:
            for watch in {event.wd for event in self._inotify.read(timeout=0)}:
                for bell in self._bells.get(watch, ()):
                    bell.ring()


class LogReader:
    """Answers `GET …/logs`: bytes straight from the files the command writes."""

    def __init__(self, files: FileWatch) -> None:
        self._files = files

    async def read(self, found: OpenExperiment | Experiment, query: LogQuery) -> tuple[bytes, LogHeader]:
        """Give a piece of each wanted stream; wait up to `wait_s` while there is nothing new."""
        current = found.row.attempt if isinstance(found, OpenExperiment) else found.attempt
        attempt = query.attempt or current
        if attempt > current:
            raise BadValue("attempt", attempt, f"one of the {current} there are")
        if isinstance(found, OpenExperiment) and found.folder is None:
            await found.bell.wait_for(lambda: found.folder is not None or found.is_over, query.wait_s)
        folder = _folder(found)
        if folder is None:
            is_over = not isinstance(found, OpenExperiment) or found.is_over
            return b"", LogHeader((), query.stdout or 0, query.stderr or 0, is_over, attempt)
        here = folder.attempt(attempt)
        paths = {"stdout": here.stdout, "stderr": here.stderr}
        offsets = {"stdout": query.stdout, "stderr": query.stderr}
        wanted = {name: offset for name, offset in offsets.items() if offset is not None}
        if query.tail_bytes is not None:
            wanted = {name: max(0, size_of(paths[name]) - query.tail_bytes) for name in wanted}
        is_final = _is_final(found, attempt)
        if isinstance(found, OpenExperiment) and not is_final and query.wait_s > 0:
            is_final = await self._wait(found, attempt, {paths[name]: at for name, at in wanted.items()}, query.wait_s)
        return _pieces(paths, wanted, query.limit_bytes, attempt, is_final=is_final)

    @staticmethod
    async def _look_blindly(found: OpenExperiment, has_news: Callable[[], bool], wait_s: float) -> None:
        """Look again and again at files that cannot be watched, or are not there yet."""
        deadline = asyncio.get_running_loop().time() + wait_s
        while not has_news() and (left_s := deadline - asyncio.get_running_loop().time()) > 0:
            await found.log_bell.wait(min(left_s, _BLIND_LOOK_S))

    async def _wait(self, found: OpenExperiment, attempt: int, offsets: dict[Path, int], wait_s: float) -> bool:
        def has_news() -> bool:
            return _is_final(found, attempt) or any(size_of(path) > at for path, at in offsets.items())

        with self._files.ringing(found.log_bell, offsets) as is_watched:
            if is_watched:
                await found.log_bell.wait_for(has_news, wait_s)
            else:
                await self._look_blindly(found, has_news, wait_s)
        return _is_final(found, attempt)


def _is_final(found: OpenExperiment | Experiment, attempt: int) -> bool:
    """Whether this attempt can write no more; asked *before* its bytes are read."""
    return isinstance(found, Experiment) or found.is_over or attempt < found.row.attempt


def _folder(found: OpenExperiment | Experiment) -> Folder | None:
    if isinstance(found, OpenExperiment):
        return found.folder
    return Folder(Path(found.folder)) if found.folder is not None else None


def _pieces(
    paths: dict[str, Path], wanted: dict[str, int], limit_bytes: int, attempt: int, *, is_final: bool
) -> tuple[bytes, LogHeader]:
    pieces: list[bytes] = []
    segments: list[LogSegment] = []
    ends = {"stdout": 0, "stderr": 0} | wanted
    has_rest = False
    for name, offset in wanted.items():
        piece = read_piece(paths[name], offset, limit_bytes)
        ends[name] = offset + len(piece)
        has_rest = has_rest or ends[name] < size_of(paths[name])
        if piece:
            pieces.append(piece)
            segments.append(LogSegment(name, offset, len(piece)))
    header = LogHeader(tuple(segments), ends["stdout"], ends["stderr"], is_final and not has_rest, attempt)
    return b"".join(pieces), header


def read_piece(path: Path, offset: int, limit_bytes: int) -> bytes:
    """Read at most so many bytes from an offset; nothing when the file is not there."""
    try:
        with path.open("rb", buffering=0) as stream:
            stream.seek(offset)
            return stream.read(limit_bytes)
    except FileNotFoundError:
        return b""


def size_of(path: Path) -> int:
    """Size in bytes, 0 when the file is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
