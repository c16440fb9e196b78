"""Sum up an attempt's metrics block by block: last, best, extremes, counts and a small curve of each."""

import logging
import math
from collections import defaultdict
from collections.abc import Iterable
from operator import lt

import msgspec
from msgspec import UNSET, Struct, UnsetType

from labrun.core.metrics import Point, goal_of, to_float
from labrun.store.folder import AttemptFolder, Folder
from labrun.store.metrics import BLOCK_BYTES, Source, read, sources_of
from labrun.wire.metrics import MetricSummary, MetricsView

log = logging.getLogger(__name__)

NAMES_LIMIT = 10_000
"""So many names are told apart; points of further ones are counted together."""
SHOWN_SERIES = 1000
"""Of so many metrics the manifest and the answers tell everything; `metrics` in the manifest has the last of all."""
SEALED_BYTES = 2**30
"""Of a larger file the two ends are summed up, half of this each: sealing must come to an end."""
CURVE_POINTS = 64
_KEPT_REJECTED = 3


class _Curve:
    """Means of equally many values each; when there are twice as many as wanted, pairs become one."""

    __slots__ = ("filled", "means", "total", "width")

    def __init__(self) -> None:
        self.means: list[float] = []
        self.width, self.filled, self.total = 1, 0, 0.0

    def add(self, values: list[float]) -> None:
        at = 0
        while at < len(values):
            taken = values[at : at + self.width - self.filled]
            at += len(taken)
            self.total += sum(taken)
            self.filled += len(taken)
            if self.filled == self.width:
                self.means.append(self.total / self.width)
                self.filled, self.total = 0, 0.0
            if len(self.means) == 2 * CURVE_POINTS:
                self.means = [one / 2 + other / 2 for one, other in zip(*[iter(self.means)] * 2, strict=True)]
                self.width *= 2

    def points(self) -> tuple[float, ...]:
        rest = [self.total / self.filled] if self.filled else []
        return tuple(mean for mean in (*self.means, *rest) if math.isfinite(mean))


class _Series:
    """One metric so far."""

    __slots__ = ("count", "curve", "infinite_count", "last", "max", "min", "nan_count", "step", "steps_back")

    def __init__(self) -> None:
        self.count = self.nan_count = self.infinite_count = self.steps_back = 0
        self.last: Point | None = None
        self.step: float | None = None
        """The last step that was said; points without one may stand behind it."""
        self.min: Point | None = None
        self.max: Point | None = None
        self.curve = _Curve()

    def add(self, points: list[Point]) -> None:
        self.count += len(points)
        steps = [point.step for point in points if point.step is not None]
        if self.step is not None and steps:
            self.steps_back += steps[0] < self.step
        self.step = steps[-1] if steps else self.step
        self.steps_back += sum(map(lt, steps[1:], steps))
        self.last = points[-1]
        values = [point.value for point in points]
        if str in set(map(type, values)):
            self.nan_count += values.count("NaN")
            self.infinite_count += values.count("Infinity") + values.count("-Infinity")
            points = [point for point in points if not isinstance(point.value, str)]
            values = [point.value for point in points]
            if not values:
                return
        numbers: list[float] = values  # type: ignore[assignment]  # the words among them were taken out
        least, most = min(numbers), max(numbers)
        if self.min is None or least < to_float(self.min.value):
            self.min = points[numbers.index(least)]
        if self.max is None or most > to_float(self.max.value):
            self.max = points[numbers.index(most)]
        self.curve.add(numbers)

    def show(self, name: str, *, has_curve: bool) -> MetricSummary:
        assert self.last is not None, "a series begins with a point"
        goal = goal_of(name)
        least, most = self.min, self.max
        best = least if goal == "min" else most if goal == "max" else None
        return MetricSummary(
            name=name,
            count=self.count,
            nan_count=self.nan_count,
            infinite_count=self.infinite_count,
            steps_back=self.steps_back,
            last=self.last.value,
            last_step=self.last.step,
            last_time=self.last.time,
            min=_finite(least),
            min_step=least.step if least else None,
            max=_finite(most),
            max_step=most.step if most else None,
            goal=goal,
            best=_finite(best),
            best_step=best.step if best else None,
            curve=self.curve.points() if has_curve else (),
        )


def _finite(point: Point | None) -> int | float | None:
    return point.value if point is not None and not isinstance(point.value, str) else None


class Summary:
    """What an attempt measured, as far as it was read; reading on continues where it stopped."""

    def __init__(self, attempt: int, sources: tuple[Source, ...], *, limit_bytes: int = SEALED_BYTES) -> None:
        self._attempt = attempt
        self._sources = sources
        self._limit_bytes = limit_bytes
        self._begin_again()

    def _begin_again(self) -> None:
        self._offsets = [0] * len(self._sources)
        self._series: dict[str, _Series] = {}
        self._rejected: list[str] = []
        self._rejected_count = self._point_count = self._unnamed_count = 0
        self._left_out_bytes = [0] * len(self._sources)
        self._is_complete = False

    def read_on(self, *, is_final: bool, budget_bytes: int = SEALED_BYTES) -> None:
        """Read what is new, a bounded piece of it; blocks.

        Raises:
            OSError: The disk failed.
        """
        self._is_complete = True
        for number, source in enumerate(self._sources):
            if self._offsets[number] > _size(source):
                self._begin_again()  # somebody cut the file: what it said before is no longer there
                return self.read_on(is_final=is_final, budget_bytes=budget_bytes)
            has_more = True
            while has_more and budget_bytes > 0:
                self._leave_out_middle(number, source)
                before = self._offsets[number]
                batch = read(source, before, is_final=is_final)
                self._offsets[number] = batch.next
                self._rejected += map(str, batch.rejected[: _KEPT_REJECTED - len(self._rejected)])
                self._rejected_count += batch.rejected_count
                self._add(batch.points)
                budget_bytes -= max(BLOCK_BYTES // 8, batch.next - before)
                has_more = batch.has_more
            self._is_complete = self._is_complete and not has_more
        return None

    def _leave_out_middle(self, number: int, source: Source) -> None:
        at, half = self._offsets[number], self._limit_bytes // 2
        if at >= half and self._left_out_bytes[number] == 0:
            rest = _size(source) - at - half
            if rest > half:
                self._offsets[number] += rest
                self._left_out_bytes[number] = rest

    def _add(self, points: Iterable[Point]) -> None:
        by_name: defaultdict[str, list[Point]] = defaultdict(list)
        for point in points:
            by_name[point.name].append(point)
        for name, group in by_name.items():
            self._point_count += len(group)
            series = self._series.get(name)
            if series is None:
                if len(self._series) >= NAMES_LIMIT:
                    self._unnamed_count += len(group)
                    continue
                series = self._series[name] = _Series()
            series.add(group)

    def show(self, *, names: tuple[str, ...] = (), limit: int = NAMES_LIMIT, has_curve: bool = False) -> MetricsView:
        """Show the metrics of these names, or the first ones of all."""
        wanted = [name for name in names if name in self._series] if names else list(self._series)
        return MetricsView(
            attempt=self._attempt,
            series=tuple(self._series[name].show(name, has_curve=has_curve) for name in wanted[:limit]),
            name_count=len(self._series),
            point_count=self._point_count,
            rejected_count=self._rejected_count,
            rejected=tuple(self._rejected),
            unnamed_count=self._unnamed_count,
            left_out_bytes=sum(self._left_out_bytes),
            is_complete=self._is_complete,
        )


def _size(source: Source) -> int:
    try:
        return source.path.lstat().st_size
    except OSError:
        return 0


def sum_up(folder: AttemptFolder, metrics_from: str | None = None) -> Summary:
    """Begin the summary of an attempt; nothing is read yet."""
    return Summary(int(folder.path.name), sources_of(folder, metrics_from))


def summary_at_end(folder: AttemptFolder, metrics_from: str | None = None) -> MetricsView | None:
    """Sum up an attempt that is over, for its record; None when it measured nothing. Blocks, up to half a minute.

    A disk that fails is told, not raised: a record without its summary is worth more than none.
    """
    summary = sum_up(folder, metrics_from)
    try:
        summary.read_on(is_final=True)
    except OSError as error:
        log.warning("metrics not summed up", extra={"folder": str(folder.path), "why": str(error)})
    view = summary.show()
    return view if view.point_count or view.rejected_count else None


class _Manifest(Struct, frozen=True):
    metric_summaries: MetricsView | UnsetType | None = UNSET


def recorded_summary(folder: Folder) -> MetricsView | UnsetType | None:
    """Read from the manifest what the last attempt measured, None for nothing; UNSET when it does not say."""
    try:
        return msgspec.json.decode(folder.manifest.read_bytes(), type=_Manifest).metric_summaries
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return UNSET
