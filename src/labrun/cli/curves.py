"""Metrics as people read them: a table with a small curve of each."""

import itertools
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from labrun.cli.output import Output
from labrun.cli.table import table, visible
from labrun.client.api import Client

_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = "_.-~=+*#"
_MOST_LOOKS = 1000
"""A summary is read in pieces of 64 MiB."""
_NARROW, _WIDE = 60, 90
"""Columns of a terminal below which extremes, and the curve, give way."""


def curve(values: Sequence[float], width: int) -> str:
    """Draw a curve in one line, highest value highest.

    >>> curve([1, 2, 3, 4, 4, 1], 3), curve([5, 5], 8), curve([], 8)
    ('▁█▅', '▄▄', '')
    """
    if not values:
        return ""
    count = min(width, len(values))
    edges = [round(at * len(values) / count) for at in range(count + 1)]
    means = [math.fsum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    least, most = min(means), max(means)
    bars = _BARS if _can_draw() else _PLAIN_BARS
    if not most - least > 0 or not math.isfinite(most - least):
        return bars[3] * count
    return "".join(bars[round((mean - least) / (most - least) * (len(bars) - 1))] for mean in means)


def _can_draw() -> bool:
    try:
        _BARS.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def number(value: float | str | None) -> str:
    """Write a value: five digits, whole numbers whole.

    >>> number(0.123456789), number(1000000), number("NaN"), number(None), number(2.0), number(1e-7)
    ('0.12346', '1000000', 'NaN', '-', '2', '1e-07')
    """
    if value is None:
        return "-"
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else f"{value:.5g}"


def summary(
    client: Client, reference: str, label: str, names: Sequence[str] = (), attempt: int | None = None
) -> dict[str, Any]:
    """Ask for a summary until all of it was read.

    Raises:
        NoSuchMetric: One of the names is not there.
    """
    told = client.metric_summary(reference, names=names, attempt=attempt)
    for _ in range(_MOST_LOOKS):
        if told["is_complete"]:
            break
        told = client.metric_summary(reference, names=names, attempt=attempt)
    by_name = {one["name"]: one for one in told["series"]}
    for name in names:
        if name not in by_name:
            from labrun.core.errors import NoSuchMetric  # start-up time: only when it is refused

            known = client.metric_summary(reference, attempt=attempt)["series"]
            raise NoSuchMetric(name, label, [one["name"] for one in known])
    if names:
        told["series"] = [by_name[name] for name in dict.fromkeys(names)]
    return told


def set_goals(series: Sequence[dict[str, Any]], goals: Mapping[str, Literal["min", "max"]]) -> None:
    """Let these metrics be best where they are smallest or largest, whatever their names say."""
    for one in series:
        if goal := goals.get(one["name"]):
            one.update(goal=goal, best=one[goal], best_step=one[f"{goal}_step"])


def summary_table(output: Output, series: Sequence[dict[str, Any]], *, indent: int = 0) -> list[str]:
    """Lay out one line per metric; on a narrow terminal columns give way, on none nothing does."""
    room = output.width if output.width is not None else 1000
    rows = [["metric", "last", "best", "curve", "min", "max", "points"]]
    for one in series:
        best, step = one["best"], one["best_step"]
        at = f" @ {number(step)}" if best is not None and step is not None else ""
        rows.append(
            [
                visible(one["name"]),
                number(one["last"]),
                number(best) + at,
                curve(one["curve"], 24 if room >= _WIDE else 12),
                number(one["min"]),
                number(one["max"]),
                _count(one),
            ]
        )
    hidden = (3, 4, 5, 6) if room < _NARROW else (4, 5) if room < _WIDE else ()
    kept = [[cell for at, cell in enumerate(row) if at not in hidden] for row in rows]

    def paint(row: int, _: int, cell: str) -> str:
        return output.colour(cell, "dim") if row == 0 else cell

    return table(kept, output.width, paint, indent=indent)


def _count(one: dict[str, Any]) -> str:
    odd = [
        f"{one['nan_count']} NaN" if one["nan_count"] else "",
        f"{one['infinite_count']} infinite" if one["infinite_count"] else "",
        f"steps back: {one['steps_back']}" if one["steps_back"] else "",
    ]
    return ", ".join([f"{one['count']}", *filter(None, odd)])


def remarks(told: dict[str, Any], shown: int) -> list[str]:
    """What must be known to read a summary right."""
    lines = []
    if told["name_count"] > shown:
        lines.append(f"lab: {told['name_count'] - shown} more metrics: name them, or `--csv` has every point")
    if told["unnamed_count"]:
        lines.append(f"lab: {told['unnamed_count']} points of further names are not told apart")
    if told["left_out_bytes"]:
        lines.append(f"lab: {told['left_out_bytes']:,} bytes in the middle are left out of counts and extremes")
    return lines + rejections(told["rejected_count"], told["rejected"])


def rejections(count: int, examples: Sequence[str]) -> list[str]:
    """Name lines that are no measurement; nothing when all are."""
    if not count:
        return []
    head = "1 line is no measurement" if count == 1 else f"{count} lines are no measurements, such as"
    return [f"lab: {head}", *(f"  {visible(text)}" for text in examples)]


def brief(told: dict[str, Any]) -> str:
    """The first few metrics in half a line."""
    shown = [f"{visible(one['name'])} {number(one['last'])}" for one in told["series"][:4]]
    rest = told["name_count"] - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")
