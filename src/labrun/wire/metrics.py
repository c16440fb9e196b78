"""What the API says about metrics: points by a cursor, and what they come to."""

from msgspec import Struct

from labrun.core.metrics import Goal, Number, Point


class MetricSummary(Struct, frozen=True, kw_only=True):
    """One metric of one attempt in a few numbers. Of NaN and infinities only `last` may be one."""

    name: str
    count: int
    """Points, NaN and infinite ones included."""
    nan_count: int
    infinite_count: int
    steps_back: int
    """How often a point's step was below that of the point before it."""
    last: Number
    """Of the newest line, whatever its step."""
    last_step: int | float | None
    last_time: float | None
    min: int | float | None
    """Null when no point is finite."""
    min_step: int | float | None
    max: int | float | None
    max_step: int | float | None
    goal: Goal | None
    """Which way is better, when the name says so."""
    best: int | float | None
    """`min` or `max` by the goal; null when there is no goal."""
    best_step: int | float | None
    curve: tuple[float, ...] = ()
    """Means of equally many points each, oldest first, at most 128: for a small picture. Only where it is asked for."""


class MetricsView(Struct, frozen=True, kw_only=True):
    """`GET …/{id}/metrics/summary`, and `metrics` of `GET …/{id}`: all metrics of one attempt."""

    attempt: int
    series: tuple[MetricSummary, ...] = ()
    """In the order of their first points; at most as many as asked for."""
    name_count: int = 0
    """Different names, those left out of `series` included, as far as names are told apart."""
    point_count: int = 0
    rejected_count: int = 0
    """Lines that are no measurement."""
    rejected: tuple[str, ...] = ()
    """The first of them, with place and reason."""
    unnamed_count: int = 0
    """Points of names beyond the first 10,000: counted together, not one by one."""
    left_out_bytes: int = 0
    """Cut out of the middle of a very large file: counts and extremes leave it out, `last` does not."""
    is_complete: bool = True
    """False: there is more than was read for this answer; ask again."""


class MetricPage(Struct, frozen=True, kw_only=True):
    """`GET …/{id}/metrics`: points in the order they were written, from a cursor on."""

    points: tuple[Point, ...]
    next: str
    """Pass as `after`; it survives a restart of the server."""
    has_more: bool
    """More can be read at once."""
    is_over: bool
    """The attempt ended and all of it has been sent."""
    attempt: int
    rejected: tuple[str, ...] = ()
    """Lines of this page that are no measurement, the first few, with place and reason."""
    rejected_count: int = 0
