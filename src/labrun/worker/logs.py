"""Read logs from an offset and wait for more: inotify, so a line is seen when it is written."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from inotify_simple import INotify, flags
from msgspec import Struct

from labrun.core.errors import BadValue
from labrun.store.folder import AttemptFolder, Folder
from labrun.store.log_file import has_holes, line_begin, read_piece, size_of, tail_begin, written_at
from labrun.store.log_index import LogIndex
from labrun.wire.responses import Experiment, LogGap, LogHeader, LogSegment, LogTime
from labrun.worker.bell import Bell
from labrun.worker.floor import OpenExperiment

log = logging.getLogger(__name__)

_BLIND_LOOK_S = 0.1
"""Pause between two looks when the files cannot be watched (limit of watches reached)."""
_TIMES_LIMIT = 200
"""Moments told of each stream and answer; a piece that has more is cut shorter, for they travel in a header."""


class LogQuery(Struct, frozen=True):
    """Where a follower stands; None leaves a stream out."""

    stdout: int | None
    stderr: int | None
    attempt: int | None = None
    wait_s: float = 0.0
    limit_bytes: int = 65536
    tail_bytes: int | None = None
    """Start this far before the end instead of at the offsets."""
    tail_lines: int | None = None
    """Start with the last lines."""
    since: float | None = None
    """Start with the line that was under way then, Unix seconds."""
    has_times: bool = False
    """Tell when what was written."""


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
        paths = _paths(here)
        offsets = {"stdout": query.stdout, "stderr": query.stderr}
        wanted = {name: offset for name, offset in offsets.items() if offset is not None}
        if query.tail_bytes is not None or query.tail_lines is not None or query.since is not None:
            wanted = await asyncio.to_thread(_begins, here, tuple(wanted), query)  # it may read 64 MiB
        is_final = _is_final(found, attempt)
        if isinstance(found, OpenExperiment) and not is_final and query.wait_s > 0:
            is_final = await self._wait(found, attempt, {paths[name]: at for name, at in wanted.items()}, query.wait_s)
        return _pieces(here, wanted, query, attempt, is_final=is_final)

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


def _paths(here: AttemptFolder) -> dict[str, Path]:
    return {"stdout": here.stdout, "stderr": here.stderr}


def _begins(here: AttemptFolder, names: tuple[str, ...], query: LogQuery) -> dict[str, int]:
    """Where each stream begins for somebody who does not know the offset: the latest place that was asked for."""
    paths, begins = _paths(here), dict.fromkeys(names, 0)
    sizes = LogIndex(here.log_index).sizes_at(query.since) if query.since is not None else {}
    for name in names:
        path = paths[name]
        if query.tail_bytes is not None:
            begins[name] = max(0, size_of(path) - query.tail_bytes)
        if query.tail_lines is not None:
            begins[name] = max(begins[name], tail_begin(path, query.tail_lines))
        if query.since is not None:
            is_older = written_at(path) <= query.since
            at = size_of(path) if is_older else line_begin(path, min(sizes[name], size_of(path)))
            begins[name] = max(begins[name], at)
    return begins


def _pieces(
    here: AttemptFolder, wanted: dict[str, int], query: LogQuery, attempt: int, *, is_final: bool
) -> tuple[bytes, LogHeader]:
    paths, index = _paths(here), LogIndex(here.log_index)
    pieces: list[bytes] = []
    segments: list[LogSegment] = []
    gaps: list[LogGap] = []
    times: list[LogTime] = []
    ends = {"stdout": 0, "stderr": 0} | wanted
    has_rest = False
    for name, offset in wanted.items():
        begin, piece = _piece(paths[name], name, index, offset, query.limit_bytes)
        if begin > offset:
            gaps.append(LogGap(name, offset, begin - offset))
        if query.has_times and piece:
            told = _times(paths[name], name, index, begin, begin + len(piece))
            piece = piece[: told[-1].end - begin]
            times += told
        ends[name] = begin + len(piece)
        has_rest = has_rest or ends[name] < size_of(paths[name])
        if piece:
            pieces.append(piece)
            segments.append(LogSegment(name, begin, len(piece)))
    is_over = is_final and not has_rest
    header = LogHeader(
        tuple(segments), ends["stdout"], ends["stderr"], is_over, attempt, gaps=tuple(gaps), times=tuple(times)
    )
    return b"".join(pieces), header


def _piece(path: Path, name: str, index: LogIndex, offset: int, limit_bytes: int) -> tuple[int, bytes]:
    """Read a piece and say where it begins: nothing of a gap is given, for what is read there are zeros."""
    piece = read_piece(path, offset, limit_bytes)
    # asked after reading: a gap that grew in between is known
    gap = index.gap(name) if piece and has_holes(path) else None
    if gap is None or offset >= gap.end or offset + len(piece) <= gap.offset:
        return offset, piece
    if offset < gap.offset:
        return offset, piece[: gap.offset - offset]
    return gap.end, read_piece(path, gap.end, limit_bytes)


def _times(path: Path, name: str, index: LogIndex, begin: int, end: int) -> list[LogTime]:
    """When the bytes of a piece were written; what the index does not know yet was written when the file was."""
    marks = [(min(size, end), written) for size, written in index.marks(name, begin, end, _TIMES_LIMIT)]
    if len(marks) < _TIMES_LIMIT and (not marks or marks[-1][0] < end):
        marks.append((end, written_at(path)))
    return [LogTime(name, size, written) for size, written in marks]
