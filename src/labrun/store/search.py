"""What experiments are found by and in which order, and the query for it: every condition is one look into an index."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from typing import NamedTuple

import msgspec
from msgspec import Struct

from labrun.core.ids import label_number
from labrun.core.spec import Spec
from labrun.store.folder import Folder
from labrun.wire.requests import MetricRange, Order, Search
from labrun.wire.responses import Experiment

_WORD = re.compile(r"\w+")
_METRIC_LIMIT = 50
_WORD_LIMIT = 64
"""Different words kept of one experiment."""
_COMPARE = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "=": lambda a, b: a == b,
}


def facets_of(shown: Experiment) -> Iterator[str]:
    """Everything an experiment is found by."""
    yield from (f"tag:{tag}" for tag in shown.tags)
    if shown.group is not None:
        yield f"group:{shown.group}"
    if shown.parent is not None:
        yield f"parent:{shown.parent}"
    yield f"user:{shown.user}"
    yield from (f"word:{word}" for word in words_of(shown))


def words_of(shown: Experiment) -> set[str]:
    """The words people would look for, in lower case."""
    texts = (shown.name, shown.note, shown.hypothesis, shown.remarks, shown.group, *shown.tags, *shown.command[1:])
    found: dict[str, None] = {}
    for text in texts:
        for word in _WORD.findall((text or "").lower()):
            found[word] = None
            if len(found) >= _WORD_LIMIT:
                return set(found)
    return set(found)


Key = tuple[str | float, int]
"""Where an experiment stands in an order: what it is ordered by, then its label number."""

_RARE = 2000
"""Of what fewer experiments have, all are looked at; else the order is walked until the page is full."""
_COLUMNS = {"name": "e.folded", "took": "e.took", "metric": "s.last"}


def seconds_of(shown: Experiment) -> float | None:
    """How long an ended experiment's last attempt ran; None when it never started."""
    if shown.started_at is None or shown.ended_at is None:
        return None
    return max(0.0, (shown.ended_at - shown.started_at).total_seconds())


def key_of(shown: Experiment, order: Order) -> Key | None:
    """Where an ended experiment stands in an order; None when it lacks what it is ordered by."""
    number = label_number(shown.label) or 0
    value: str | float | None
    match order.by:
        case "label":
            value = 0.0
        case "name":
            value = shown.name.lower() if shown.name is not None else None
        case "took":
            value = seconds_of(shown)
        case "metric":
            value = shown.metrics.get(order.metric)
    return (value, number) if value is not None else None


class _Condition(NamedTuple):
    """Something that must hold: as a look at one experiment `e`, and as the list of all label numbers."""

    one: str
    all: str
    values: tuple[object, ...]
    lab: tuple[str, ...] = ()
    """Of `all` the first value, where it looks into one lab only."""


def build_search(
    lab: str, search: Search, order: Order, after: Key | None, ask: Callable[..., int]
) -> tuple[str, list[object]]:
    """Write the query, for the limit as its last value.

    Where one condition is rare, it begins with all that fulfil it; else it walks along the order.

    Args:
        lab: Where to look.
        search: What must hold.
        order: In which order.
        after: Where the page before ended.
        ask: Answers a query that gives one number.
    """
    conditions = list(_conditions(lab, search))
    counted = [
        (ask(f"SELECT count(*) FROM ({one.all} LIMIT {_RARE})", *one.lab, *one.values), place)
        for place, one in enumerate(conditions)
    ]
    least, place = min(counted, default=(_RARE, 0))
    source, where, values = "experiments e", list[str](), list[object]()
    if least < _RARE:
        first = conditions.pop(place)
        source = f"({first.all}) first CROSS JOIN experiments e ON e.label_number = first.label_number"
        values += (*first.lab, *first.values)
    elif order.by == "label" and (facet := next((c for c in conditions if " facets " in c.all), None)) is not None:
        # in the order of labels too, and already fewer than the lab has
        source = "facets first CROSS JOIN experiments e ON e.label_number = first.label_number"
        where.append("first.facet = ?")
        values += facet.values
        conditions.remove(facet)
    if order.by == "metric":
        walk = "metrics s CROSS JOIN experiments e ON e.label_number = s.label_number"
        source = f"{source} JOIN metrics s ON s.label_number = e.label_number" if " first " in source else walk
        where.append("s.name = ?")
        values.append(order.metric)
    where.append("e.lab = ?")
    values.append(lab)
    for one in conditions:
        where.append(one.one)
        values += one.values
    if search.name is not None:
        where.append("instr(e.folded, ?) > 0")
        values.append(search.name.lower())
    tail = _in_order(order, "first" if source.startswith("facets ") else "e", after, where, values)
    return f"SELECT e.shown FROM {source} WHERE {' AND '.join(where)} {tail} LIMIT ?", values


def _in_order(order: Order, of: str, after: Key | None, where: list[str], values: list[object]) -> str:
    """Add where the page begins; return the order. `of` is the table that is walked by label."""
    way, beyond = ("DESC", "<") if order.is_descending else ("ASC", ">")
    if order.by == "label":
        if after is not None:
            where.append(f"{of}.label_number {beyond} ?")
            values.append(after[1])
        return f"ORDER BY {of}.label_number {way}"
    column = _COLUMNS[order.by]
    number = f"{column[0]}.label_number"
    where.append(f"{column} IS NOT NULL")
    if after is not None:
        where.append(f"({column}, {number}) {beyond} (?, ?)")
        values += after
    return f"ORDER BY {column} {way}, {number} {way}"


def _conditions(lab: str, search: Search) -> Iterator[_Condition]:
    facets = [f"tag:{tag}" for tag in search.tags] + [f"word:{word}" for word in _wanted(search)]
    facets += [f"group:{search.group}"] if search.group is not None else []
    facets += [f"parent:{search.parent}"] if search.parent is not None else []
    facets += [f"user:{search.user}"] if search.user is not None else []
    for facet in facets:
        listed = "SELECT label_number FROM facets WHERE facet = ?"
        yield _Condition(f"EXISTS ({listed} AND label_number = e.label_number)", listed, (facet,))
    for bound in search.metrics:
        listed = f"SELECT label_number FROM metrics WHERE name = ? AND last {bound.comparison} ?"
        yield _Condition(
            # the plus keeps SQLite from walking all values: it is one look by name and label
            f"EXISTS (SELECT 1 FROM metrics m WHERE m.name = ? AND +m.last {bound.comparison} ?"
            " AND m.label_number = e.label_number)",
            listed,
            (bound.name, bound.value),
        )
    listed = "SELECT label_number FROM experiments WHERE lab = ? AND"
    if search.status is not None:
        yield _Condition("e.status = ?", f"{listed} status = ?", (search.status,), (lab,))
    if search.since is not None:
        yield _Condition("+e.queued >= ?", f"{listed} queued >= ?", (search.since.timestamp(),), (lab,))


def _wanted(search: Search) -> list[str]:
    return [word for text in search.words for word in _WORD.findall(text.lower())]


def matches(shown: Experiment, search: Search) -> bool:
    """The same for one experiment that is not in the index: it is still open."""
    wanted = _wanted(search)
    return (
        search.status in (None, shown.status)
        and (search.name is None or search.name.lower() in (shown.name or "").lower())
        and set(search.tags) <= set(shown.tags)
        and search.group in (None, shown.group)
        and search.user in (None, shown.user)
        and search.parent in (None, shown.parent)
        and (search.since is None or shown.queued_at >= search.since)
        and (not wanted or set(wanted) <= words_of(shown))
        and all(_holds(shown, bound) for bound in search.metrics)
    )


def may_match(spec: Spec, queued_at: datetime, search: Search) -> bool:
    """Whether an open experiment is worth showing to `matches`: much cheaper, for a queue may be long."""
    told = spec.narrative
    return (
        not search.metrics  # they are listed once it is sealed
        and set(search.tags) <= set(told.tags)
        and search.group in (None, told.experiment_group)
        and search.user in (None, spec.user)
        and search.parent in (None, told.parent_run)
        and (search.since is None or queued_at >= search.since)
        and (search.name is None or search.name.lower() in (spec.name or "").lower())
    )


def _holds(shown: Experiment, bound: MetricRange) -> bool:
    last = shown.metrics.get(bound.name)
    return last is not None and _COMPARE[bound.comparison](last, bound.value)


def last_values(folder: Folder) -> dict[str, float]:
    """The last finite values of a sealed experiment's first metrics, from its manifest; empty when it has none."""
    try:
        found = msgspec.json.decode(folder.manifest.read_bytes(), type=_Manifest).metrics
    except (OSError, msgspec.DecodeError):
        return {}
    finite = {name: float(last) for name, last in found.items() if isinstance(last, int | float)}
    return dict(islice(finite.items(), _METRIC_LIMIT))


class _Manifest(Struct, frozen=True):
    metrics: dict[str, float | str | None] = {}
