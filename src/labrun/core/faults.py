"""Everything that is wrong with a description of an experiment, told at once.

The rules behind `wire.description`, over plain values: what an experiment file, a table of settings or
the body of a POST holds. Pure, and without the types of the wire, so that a submit can afford it.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from labrun.core.errors import BadValue, nearest
from labrun.core.units import parse_duration, parse_size

FORMAT = 1
"""The newest form of a description we can read."""
NAME_LIMIT = 200
PRIORITIES = ("low", "normal", "high", "critical")
TARGETS = ("script", "module", "command")

Path = tuple[str | int, ...]
"""Where in a description: names of members, numbers of list items."""


class Fault(NamedTuple):
    """One thing that is wrong."""

    path: Path
    text: str
    """What, with the offending value, and what to write instead; a clause without a full stop."""
    is_about_name: bool = False
    """The member's name is wrong, not its value."""


Rule = Callable[[object, Path], Iterator[Fault]]


def faults(plain: object, *, is_whole: bool = True) -> list[Fault]:
    """Check a description against everything that can be said without looking at the disk.

    Args:
        plain: Decoded YAML, TOML or JSON.
        is_whole: False for one layer of several: it need not say what to run.

    Returns:
        What is wrong, in the order of the members; empty when nothing is.
    """
    if not isinstance(plain, Mapping):
        return [Fault((), f"a description is a table of fields such as `script`, not {_show(plain)}")]
    version = plain.get("format")
    if isinstance(version, int) and not isinstance(version, bool) and version > FORMAT:
        # what a newer form calls wrong or right is not known here: nothing else can be said about it
        return [Fault(("format",), f"`format` is {_show(version)}, this labrun reads up to {FORMAT}: use a newer one")]
    return [*_table(_FIELDS)(plain, ()), *_contradictions(plain, is_whole=is_whole)]


def show_path(path: Path) -> str:
    """Write a place in a description as people do.

    >>> show_path(("resources", "gpus")), show_path(("args", 2))
    ('resources.gpus', 'args[2]')
    """
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def unknown(name: str, known: Iterable[str], where: Path = ()) -> Fault:
    """Say that nobody knows a member, and which one was probably meant."""
    known = tuple(known)
    word = name.replace("-", "_")
    guess = nearest(word, known)
    if not where:
        guess = f"resources.{word}" if word in _RESOURCES else _OTHER_WORDS.get(word, guess)
    place = f" of `{show_path(where)}`" if where else ""
    advice = f"; did you mean `{guess}`?" if guess else f"; known are {', '.join(known)}" if len(known) < 10 else ""
    return Fault((*where, name), f"unknown field {_show_name(name)}{place}{advice}", is_about_name=True)


def _contradictions(plain: Mapping[str, Any], *, is_whole: bool) -> Iterator[Fault]:
    given = [name for name in plain if name in TARGETS]
    for name in given[1:]:
        yield Fault((name,), f"`{given[0]}` says what to run already; leave `{name}` out", is_about_name=True)
    is_misspelt = any(nearest(str(name), TARGETS) for name in plain if name not in _FIELDS)
    if is_whole and not given and not is_misspelt:
        yield Fault((), "nothing to run: give one of `script`, `module`, `command`")
    if "args" in plain and given == ["command"]:
        yield Fault(("args",), "`args` go with `script` or `module`; write them into `command`", is_about_name=True)
    if "pod" in plain and "pod_type" in plain:
        yield Fault(("pod_type",), "`pod_type` is another name for `pod`; give one of them", is_about_name=True)


def _show(value: object) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return "true" if value else "false"
        case int() if value.bit_length() > 400:
            return "a number of more than a hundred digits"  # Python refuses to write out the longest ones
        case int() | float():
            return str(value)
        case str():
            shown = repr(value)
            return shown if len(shown) <= 80 else shown[:77] + "..."
        case Mapping():
            return "a table"
        case list() | tuple():
            return "a list"
        case _:
            return f"a {type(value).__name__}"


def _show_name(name: str) -> str:
    return f"`{name}`" if name.isprintable() and 0 < len(name) <= 80 else _show(name)


def _wrong(value: object, path: Path, expected: str) -> Fault:
    name = show_path(path)
    if value is None:
        return Fault(path, f"`{name}` has no value: give {expected}, or leave it out")
    is_quotable = expected.startswith("text") and not isinstance(value, str | Mapping | list | tuple)
    return Fault(path, f"`{name}` is {_show(value)}, not {expected}" + ("; put it in quotes" if is_quotable else ""))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_plain(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _text(value: object, path: Path, *, may_be_empty: bool = False, limit: int | None = None) -> Iterator[Fault]:
    if not isinstance(value, str):
        yield _wrong(value, path, "text")
    elif not _is_plain(value):
        yield _wrong(value, path, "text in UTF-8 without NUL")
    elif not (value or may_be_empty):
        yield _wrong(value, path, "text of at least one character")
    elif limit is not None and len(value) > limit:
        yield Fault(path, f"`{show_path(path)}` has {len(value):,} characters, at most {limit} are allowed")


def _name(value: object, path: Path) -> Iterator[Fault]:
    return _text(value, path, limit=NAME_LIMIT)


def _lab(value: object, path: Path) -> Iterator[Fault]:
    found = list(_text(value, path))
    if not found and isinstance(value, str):
        is_plain = value.isprintable() and not any(char in value for char in "/\\") and not value.startswith(".")
        if not is_plain or len(value.encode()) > 64:
            found = [_wrong(value, path, "a plain folder name of at most 64 bytes")]
    yield from found


def _below(value: object, path: Path) -> Iterator[Fault]:
    found = list(_text(value, path))
    if not found and isinstance(value, str) and (value.startswith("/") or ".." in value.split("/")):
        found = [_wrong(value, path, "a pattern below the working folder or `outputs/`")]
    yield from found


def _word(value: object, path: Path) -> Iterator[Fault]:
    """One word of a command line: text, or a number that is written as it stands."""
    if _is_number(value):
        if isinstance(value, float) and not math.isfinite(value):
            yield _wrong(value, path, "text or a finite number")
    elif isinstance(value, str):
        yield from _text(value, path, may_be_empty=True)
    else:
        yield _wrong(value, path, "text or a number")


def _whole(least: int, most: int | None = None) -> Rule:
    expected = f"a whole number from {least}" + (f" to {most}" if most is not None else "")

    def rule(value: object, path: Path) -> Iterator[Fault]:
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not (is_whole and isinstance(value, int) and least <= value and (most is None or value <= most)):
            yield _wrong(value, path, expected)

    return rule


def _one_of(*words: str) -> Rule:
    def rule(value: object, path: Path) -> Iterator[Fault]:
        if not (isinstance(value, str) and value in words):
            guess = nearest(value, words) if isinstance(value, str) else None
            expected = f"one of {', '.join(words)}"
            yield _wrong(value, path, f"{expected}; did you mean `{guess}`?" if guess else expected)

    return rule


def _flag(value: object, path: Path) -> Iterator[Fault]:
    if not isinstance(value, bool):
        yield _wrong(value, path, "true or false")


def _priority(value: object, path: Path) -> Iterator[Fault]:
    if value in PRIORITIES if isinstance(value, str) else not list(_whole(1, 10)(value, path)):
        return
    yield _wrong(value, path, f"1 to 10, or one of {', '.join(PRIORITIES)}")


def _amount(parse: Callable[[str], float], expected: str, *, least: float, is_whole: bool) -> Rule:
    def rule(value: object, path: Path) -> Iterator[Fault]:
        try:
            if isinstance(value, str):
                found = parse(value)
            elif _is_number(value) and isinstance(value, int | float) and math.isfinite(value):
                found = value if is_whole and value != int(value) else parse(format(value, ".15f"))
            else:
                found = None
        except (BadValue, OverflowError):
            found = None
        if found is None or found < least or (is_whole and found != int(found)):
            yield _wrong(value, path, expected)

    return rule


def _list_of(rule: Rule, *, least: int = 0) -> Rule:
    def check(value: object, path: Path) -> Iterator[Fault]:
        if not isinstance(value, list | tuple):
            yield _wrong(value, path, "a list")
            return
        if len(value) < least:
            yield Fault(path, f"`{show_path(path)}` is empty; give at least one word")
        for position, item in enumerate(value):
            yield from rule(item, (*path, position))

    return check


def _one_or_list(rule: Rule) -> Rule:
    several = _list_of(rule)

    def check(value: object, path: Path) -> Iterator[Fault]:
        if isinstance(value, list | tuple):
            yield from several(value, path)
        elif isinstance(value, Mapping):
            yield _wrong(value, path, "text or a list")
        else:
            yield from rule(value, path)

    return check


def _command(value: object, path: Path) -> Iterator[Fault]:
    if isinstance(value, list | tuple):
        found = list(_list_of(_word, least=1)(value, path))
        if not found and value[0] == "":
            found = [_wrong("", (*path, 0), "the name of a program")]
        yield from found
        return
    found = list(_text(value, path))
    if not found and isinstance(value, str):
        import shlex  # start-up time: only where a command is given as one text

        try:
            is_empty = not any(shlex.split(value)[:1])
        except ValueError as error:
            found = [Fault(path, f"`{show_path(path)}` {_show(value)} cannot be split into words: {_lower(error)}")]
        else:
            found = [_wrong(value, path, "a program with its arguments")] if is_empty else []
    yield from found


def _lower(error: ValueError) -> str:
    text = str(error)
    return text[:1].lower() + text[1:]


def _by_name(rule: Rule, is_name: Callable[[str], bool], expected: str) -> Rule:
    def check(value: object, path: Path) -> Iterator[Fault]:
        if not isinstance(value, Mapping):
            yield _wrong(value, path, "a table of names and values")
            return
        for name, item in value.items():
            here = (*path, name)
            if not (isinstance(name, str) and _is_plain(name) and is_name(name)):
                yield Fault(here, f"{_show(name)} in `{show_path(path)}` is not {expected}", is_about_name=True)
            else:
                yield from rule(item, here)

    return check


def _table(rules: Mapping[str, Rule]) -> Rule:
    def check(value: object, path: Path) -> Iterator[Fault]:
        if not isinstance(value, Mapping):
            yield _wrong(value, path, f"a table of {', '.join(rules)}")
            return
        for name, item in value.items():
            if name in rules:
                yield from rules[name](item, (*path, name))
            else:
                yield unknown(str(name), rules, path)

    return check


def _is_variable(name: str) -> bool:
    return bool(name) and "=" not in name


INPUT_NAME = "a name of letters, digits and `_`, other than `path`: it becomes LAB_INPUT_<NAME>"


def is_input_name(name: str) -> bool:
    """Whether declared data may be called so; `LAB_INPUT_PATH` is the folder of all of them."""
    return name.isascii() and name.isidentifier() and name.lower() != "path"


def doubled_input(names: Iterable[str]) -> tuple[str, str] | None:
    """Two inputs that would share a variable, for they differ by case alone; None when there are none.

    >>> doubled_input(["sky", "stars", "Sky"])
    ('sky', 'Sky')
    """
    seen: dict[str, str] = {}
    for name in names:
        if (first := seen.setdefault(name.upper(), name)) != name:
            return first, name
    return None


_size = _amount(parse_size, "a size such as 512M or 8G, or whole bytes", least=1, is_whole=True)
_grace = _amount(parse_duration, "a duration such as 90s, 15m, 4h or 1h30m, or seconds", least=0, is_whole=False)
_timeout = _amount(parse_duration, "a duration above zero such as 90s, 15m or 4h", least=1e-9, is_whole=False)


def _inputs(value: object, path: Path) -> Iterator[Fault]:
    yield from _by_name(_text, is_input_name, INPUT_NAME)(value, path)
    if isinstance(value, Mapping) and (twins := doubled_input(name for name in value if isinstance(name, str))):
        first, second = twins
        text = f"`{second}` in `{show_path(path)}` differs from `{first}` by case alone: both become one variable"
        yield Fault((*path, second), text, is_about_name=True)


_RESOURCES: dict[str, Rule] = {
    "cpus": _whole(1, 999_999),
    "memory": _size,
    "gpus": _whole(0, 999_999),
    "gpu_memory": _size,
    "disk": _size,
}
_FIELDS: dict[str, Rule] = {
    "format": _whole(1),
    "script": _text,
    "module": _text,
    "command": _command,
    "args": _list_of(_word),
    "cwd": _text,
    "python": _text,
    "name": _name,
    "lab": _lab,
    "note": _text,
    "priority": _priority,
    "timeout": _timeout,
    "grace": _grace,
    "env": _by_name(_word, _is_variable, "the name of a variable"),
    "resources": _table(_RESOURCES),
    "pod": _text,
    "pod_type": _text,
    "config": _one_or_list(_text),
    "inputs": _inputs,
    "outputs": _one_or_list(_below),
    "metrics_from": _text,
    "seed": _whole(0, 2**63 - 1),
    "links": _list_of(_text),
    "live": _flag,
    "stdin": _one_of("none", "spooled"),
    "hypothesis": _text,
    "context": _text,
    "intent": _text,
    "expect": _text,
    "parent": _text,
    "group": _text,
    "tags": _list_of(_text),
}
FIELDS = tuple(_FIELDS)
RESOURCES = tuple(_RESOURCES)

_OTHER_WORDS = {
    **{"argv": "command", "cmd": "command", "run": "command", "program": "command", "arguments": "args"},
    **{"environment": "env", "variables": "env", "interpreter": "python", "directory": "cwd", "workdir": "cwd"},
    **{"title": "name", "description": "note", "message": "note", "comment": "note", "version": "format"},
    **{"cpu": "resources.cpus", "gpu": "resources.gpus", "ram": "resources.memory", "gpu_count": "resources.gpus"},
    **{"data": "inputs", "expected_outcome": "expect", "expected_outputs": "outputs", "configs": "config"},
    **{"parent_run": "parent", "experiment_group": "group", "random_seed": "seed", "time_limit": "timeout"},
}
"""What other tools, and our own records, call these fields."""
