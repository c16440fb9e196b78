"""What experiments are found by, and the query for it: every condition is one look into an index."""

import re
from collections.abc import Iterator
from itertools import islice

import msgspec
from msgspec import Struct

from labrun.store.folder import Folder
from labrun.wire.requests import MetricRange, Search
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


def build_search(search: Search) -> tuple[str, list[object]]:
    """The query: lab, upper bound of the label number, then the values given here, then the limit."""
    conditions, values = ["e.lab = ?", "e.label_number < ?"], list[object]()
    facets = [f"tag:{tag}" for tag in search.tags] + [
        f"word:{word}" for text in search.words for word in _WORD.findall(text.lower())
    ]
    facets += [f"group:{search.group}"] if search.group is not None else []
    facets += [f"parent:{search.parent}"] if search.parent is not None else []
    facets += [f"user:{search.user}"] if search.user is not None else []
    for facet in facets:
        conditions.append("EXISTS (SELECT 1 FROM facets f WHERE f.facet = ? AND f.label_number = e.label_number)")
        values.append(facet)
    for bound in search.metrics:
        conditions.append(
            "EXISTS (SELECT 1 FROM metrics m WHERE m.name = ? AND m.label_number = e.label_number"
            f" AND m.last {bound.comparison} ?)"
        )
        values += [bound.name, bound.value]
    for column, value in (("e.status = ?", search.status), ("e.queued >= ?", search.since)):
        if value is not None:
            conditions.append(column)
            values.append(value.timestamp() if search.since is value else value)
    if search.name is not None:
        conditions.append("instr(e.folded, ?) > 0")
        values.append(search.name.lower())
    source = "experiments e"
    if facets:  # begin with one of them: it may be rare, a lab is long
        source = "facets first CROSS JOIN experiments e ON e.label_number = first.label_number"
        conditions.append("first.facet = ?")
        values.append(facets[0])
    order = "first.label_number" if facets else "e.label_number"
    return f"SELECT e.shown FROM {source} WHERE {' AND '.join(conditions)} ORDER BY {order} DESC LIMIT ?", values


def matches(shown: Experiment, search: Search) -> bool:
    """The same for one experiment that is not in the index: it is still open."""
    wanted = [word for text in search.words for word in _WORD.findall(text.lower())]
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
