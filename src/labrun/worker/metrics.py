"""What attempts measure, live and afterwards: points from a cursor on, and summaries kept up to date."""

import asyncio
from collections import OrderedDict
from pathlib import Path

from msgspec import Struct, UnsetType

from labrun.core.errors import BadValue, StoreDamaged
from labrun.core.metrics import Point
from labrun.store.folder import Folder
from labrun.store.metric_summary import SHOWN_SERIES, Summary, recorded_summary, sum_up
from labrun.store.metrics import BLOCK_BYTES, Source, read, sources_of
from labrun.wire.metrics import MetricPage, MetricsView
from labrun.wire.responses import Experiment
from labrun.worker import lookup
from labrun.worker.floor import OpenExperiment
from labrun.worker.logs import FileWatch

_KEPT_SUMMARIES = 8
_BUDGET_BYTES = 64 * 2**20
"""Read for one summary: about a million points, half a second. Who asks again gets further."""
_BLIND_LOOK_S = 0.1
"""Pause between two looks at a file that is not there yet, or cannot be watched."""
_KEPT_REJECTED = 3


class MetricQuery(Struct, frozen=True):
    """Where a follower stands."""

    names: tuple[str, ...] = ()
    """Only these metrics; all when empty."""
    after: str | None = None
    attempt: int | None = None
    wait_s: float = 0.0
    limit_bytes: int = 2**20
    """Of the files, not of the answer."""


class _Kept:
    """A summary, and who may read on for it: one at a time."""

    def __init__(self, summary: Summary) -> None:
        self.summary = summary
        self.lock = asyncio.Lock()


class MetricBook:
    """Answers `GET …/metrics` and `…/metrics/summary`; remembers the last few summaries it was asked for."""

    def __init__(self, files: FileWatch) -> None:
        self._files = files
        self._kept: OrderedDict[tuple[str, int], _Kept] = OrderedDict()

    async def recorded(self, found: OpenExperiment | Experiment) -> MetricsView | None:
        """What the last attempt came to: from the manifest when it is sealed, else as far as it is now."""
        folder = _folder(found)
        if folder is None:
            return None
        if isinstance(found, Experiment):
            told = await asyncio.to_thread(recorded_summary, folder)
            if not isinstance(told, UnsetType):
                return told
        view = await self.summary(found, None, (), has_curve=False)
        return view if view.point_count or view.rejected_count else None

    async def summary(
        self, found: OpenExperiment | Experiment, attempt: int | None, names: tuple[str, ...], *, has_curve: bool
    ) -> MetricsView:
        """Sum up an attempt, reading only what is new since the last time.

        Raises:
            BadValue: There is no such attempt.
        """
        number = _attempt(found, attempt)
        folder = _folder(found)
        if folder is None:
            return MetricsView(attempt=number)
        key = (str(found.run_id), number)
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = _Kept(sum_up(folder.attempt(number), _metrics_from(found)))
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT_SUMMARIES:
            self._kept.popitem(last=False)
        is_final = _is_final(found, number)
        async with kept.lock:
            await asyncio.to_thread(kept.summary.read_on, is_final=is_final, budget_bytes=_BUDGET_BYTES)
            return kept.summary.show(names=names, limit=SHOWN_SERIES, has_curve=has_curve)

    async def page(self, found: OpenExperiment | Experiment, query: MetricQuery) -> MetricPage:
        """Give points in the order they were written; wait up to `wait_s` while there is none.

        Raises:
            BadValue: The cursor is not one of ours, or there is no such attempt.
        """
        attempt = _attempt(found, query.attempt)
        if isinstance(found, OpenExperiment) and found.folder is None:
            await found.bell.wait_for(lambda: found.folder is not None or found.is_over, query.wait_s)
        folder = _folder(found)
        if folder is None:
            is_over = _is_final(found, attempt)
            return MetricPage(points=(), next=query.after or "0", has_more=False, is_over=is_over, attempt=attempt)
        sources = sources_of(folder.attempt(attempt), _metrics_from(found))
        offsets = _offsets(query.after, len(sources))
        deadline = asyncio.get_running_loop().time() + query.wait_s
        while True:
            is_final = _is_final(found, attempt)  # asked before the bytes are read
            seen = {source.path: _size(source.path) for source in sources}
            page = await asyncio.to_thread(_read, sources, offsets, query, attempt, is_final=is_final)
            left_s = deadline - asyncio.get_running_loop().time()
            has_news = page.points or page.rejected_count or page.has_more
            if has_news or is_final or left_s <= 0 or isinstance(found, Experiment):
                return page
            offsets = _offsets(page.next, len(sources))
            await self._wait(found, attempt, seen, left_s)

    async def _wait(self, found: OpenExperiment, attempt: int, seen: dict[Path, int], wait_s: float) -> None:
        """Return when one of the files changed, or the attempt ended, or it was long enough."""

        def has_news() -> bool:
            return _is_final(found, attempt) or any(_size(path) != size for path, size in seen.items())

        deadline = asyncio.get_running_loop().time() + wait_s
        with self._files.ringing(found.log_bell, seen) as is_watched:
            if is_watched:
                await found.log_bell.wait_for(has_news, wait_s)
            while not has_news() and (left_s := deadline - asyncio.get_running_loop().time()) > 0:
                await found.log_bell.wait(min(left_s, _BLIND_LOOK_S))


def _read(
    sources: tuple[Source, ...], offsets: list[int], query: MetricQuery, attempt: int, *, is_final: bool
) -> MetricPage:
    """Read a page; blocks."""
    points: list[Point] = []
    rejected: list[str] = []
    rejected_count, budget_bytes, has_rest = 0, query.limit_bytes, False
    offsets, wanted = list(offsets), frozenset(query.names)
    for number, source in enumerate(sources):
        has_more = True
        while has_more and budget_bytes > 0:
            before = offsets[number]
            batch = read(source, before, is_final=is_final)
            offsets[number] = batch.next
            points += [point for point in batch.points if point.name in wanted] if wanted else batch.points
            rejected += map(str, batch.rejected[: _KEPT_REJECTED - len(rejected)])
            rejected_count += batch.rejected_count
            budget_bytes -= max(BLOCK_BYTES // 8, batch.next - before)
            has_more = batch.has_more
        has_rest = has_rest or has_more
    return MetricPage(
        points=tuple(points),
        next=".".join(map(str, offsets)),
        has_more=has_rest,
        is_over=is_final and not has_rest,
        attempt=attempt,
        rejected=tuple(rejected),
        rejected_count=rejected_count,
    )


def _offsets(after: str | None, count: int) -> list[int]:
    """Read a cursor: one byte of each file."""
    if after is None or after == "0":
        return [0] * count
    words = after.split(".")
    if len(words) != count or not all(word.isascii() and word.isdigit() and len(word) < 19 for word in words):
        raise BadValue("cursor", after, "`next` of an earlier page of this experiment")
    return [int(word) for word in words]


def _attempt(found: OpenExperiment | Experiment, asked: int | None) -> int:
    current = found.row.attempt if isinstance(found, OpenExperiment) else found.attempt
    if asked is not None and not 1 <= asked <= current:
        raise BadValue("attempt", asked, f"one of the {current} there are")
    return asked or current


def _is_final(found: OpenExperiment | Experiment, attempt: int) -> bool:
    """Whether this attempt measures no more."""
    return isinstance(found, Experiment) or found.is_over or attempt < found.row.attempt


def _metrics_from(found: OpenExperiment | Experiment) -> str | None:
    if isinstance(found, OpenExperiment):
        return found.row.spec.metrics_from
    try:
        return lookup.read_story(found).spec.metrics_from
    except StoreDamaged:
        return None  # `lab doctor` tells; what the script wrote itself can be read all the same


def _folder(found: OpenExperiment | Experiment) -> Folder | None:
    if isinstance(found, OpenExperiment):
        return found.folder
    return Folder(Path(found.folder)) if found.folder is not None else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
