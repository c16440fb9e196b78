r"""Metrics read from what a script prints: opt-in, by `json`, `key=value` or a pattern.

A pattern is the line as it is printed, with `{names}` where its numbers stand: `epoch {step}: loss {loss}`.
`{name}` and `{value}` take the metric's name from the line too, `{}` is any word. It is no regular expression:
whatever somebody writes, a line costs at most milliseconds, for the server reads it.
"""

import json
import re
from collections.abc import Callable, Iterator

from labrun.core.errors import BadValue
from labrun.core.metrics import NAME_LIMIT, STEP_NAMES, Point, points_of, to_number, writable

LINE_LIMIT = 4096
"""Characters of a line that are looked at."""
_NUMBER = r"[-+]?(?:(?>\d++(?:_\d{3})*+)(?:\.\d*+)?|\.\d++)(?:[eE][-+]?\d++)?+|[-+]?(?:nan|NaN|inf|Infinity)\b"
_PAIR = re.compile(rf"(?<![\w./-])([A-Za-z_][\w./-]{{0,99}})[ \t]?[=:][ \t]?({_NUMBER})(?![\w:/]|\.\w)")
_QUOTED = re.compile(r"""['"]([^'"]{1,100})['"](?=[ \t]?:)""")
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[@-Z\\-_]|\][^\x07\x1b]*(?:\x07|\x1b\\))")
_PLACE = re.compile(r"\{([^{}]*)\}")
_MOST_PLACES = 20

Read = Callable[[str], list[Point]]
"""From one printed line to the points in it."""


def reader_of(source: str) -> Read:
    """Understand what `metrics_from` says.

    Args:
        source: `json`, `key=value`, or a pattern with at least one `{name}`.

    >>> [(p.name, p.value, p.step) for p in reader_of("epoch {step}: loss {loss}")("[12:01] epoch 3:  loss 2.5e-1")]
    [('loss', 0.25, 3)]

    Raises:
        BadValue: It is none of these.
    """
    if source == "json":
        return _read_json
    if source in ("key=value", "keyvalue"):
        return _read_pairs
    return _pattern(source)


def printed_points(read: Read, text: str) -> Iterator[Point]:
    r"""Give the points of printed text; a carriage return ends a line too, as progress bars use it.

    >>> [p.value for p in printed_points(reader_of("key=value"), "a=1\r\x1b[32ma=2\x1b[0m\nb\n")]
    [1, 2]
    """
    for line in re.split(r"[\r\n]", text):
        if line:
            yield from read(_ESCAPES.sub("", line[:LINE_LIMIT]))


def _read_json(line: str) -> list[Point]:
    begin = line.find("{")
    if begin < 0:
        return []
    try:
        return points_of(json.JSONDecoder().raw_decode(line, begin)[0])  # after a log's time and level, say
    except (ValueError, RecursionError):
        return []


def _read_pairs(line: str) -> list[Point]:
    pairs = {name: _number(text) for name, text in _PAIR.findall(_QUOTED.sub(r"\1", line))}
    return _with_step({name: value for name, value in pairs.items() if value is not None})


def _pattern(source: str) -> Read:
    places = _PLACE.findall(source)
    names = [place for place in places if place]
    is_named = "value" in names
    measured = [name for name in names if name not in ("name", *STEP_NAMES)]
    bad = len(places) > _MOST_PLACES or len(set(names)) < len(names) or any(len(n) > NAME_LIMIT for n in names)
    if bad or not measured or ("name" in names) != is_named or (is_named and len(measured) > 1):
        expected = "`json`, `key=value`, or a line as it is printed, such as `epoch {step}: loss {loss}`"
        raise BadValue("metrics_from", source, expected)
    expression = _compile(source)

    def read(line: str) -> list[Point]:
        found = expression.search(line)
        if found is None:
            return []
        texts = dict(zip(names, found.groups(), strict=True))
        if is_named:
            texts[texts.pop("name")] = texts.pop("value")
        return _with_step({name: value for name, text in texts.items() if (value := _number(text)) is not None})

    return read


def _compile(source: str) -> re.Pattern[str]:
    """Turn a pattern into an expression that never goes back over what it has read."""
    parts: list[str] = []
    pieces = _PLACE.split(source.strip())
    for at, piece in enumerate(pieces):
        if at % 2 == 0:
            parts.append(r"\s++".join(re.escape(word) for word in re.split(r"\s+", piece)))
            continue
        following = pieces[at + 1][:1]
        stop = re.escape(following) if following.strip() else ""
        word = rf"[^\s{stop}]++"
        parts.append({"": word, "name": f"({word})"}.get(piece, f"((?>{_NUMBER}))"))
    return re.compile("".join(parts))


def _number(text: str) -> float | int | str | None:
    plain = text.replace("_", "")
    try:
        return to_number(int(plain) if re.fullmatch(r"[-+]?\d{1,20}", plain) else float(plain))
    except ValueError:
        return None


def _with_step(values: dict[str, float | int | str]) -> list[Point]:
    """As for an object of names and numbers; its points have no time of their own."""
    return [Point(name, point.value, point.step) for point in points_of(dict(values)) if (name := writable(point.name))]
