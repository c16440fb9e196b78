"""Write a description as YAML 1.2 that every reader takes the same way: what might be misread is quoted."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_PLAIN = re.compile(r"(?:[A-Za-z_/]|\.{0,2}/)[\w./@%+=,~-]*(?: [\w./@%+=,~-]+)*", re.ASCII)
_TAKEN = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
"""Words that YAML 1.1 or 1.2 reads as something else, in any case."""


def write_yaml(description: Mapping[str, Any], comments: Iterable[str] = ()) -> str:
    """Write a table of texts, numbers, flags, lists of them, and tables of them.

    Args:
        description: Plain values; tables and lists hold no further ones.
        comments: Put on top, one line each.
    """
    lines = [f"# {_one_line(comment)}" for comment in comments]
    for name, value in description.items():
        if isinstance(value, Mapping):
            lines.append(f"{name}:" if value else f"{name}: {{}}")
            lines += [f"  {_scalar(key)}: {_scalar(item)}" for key, item in value.items()]
        elif isinstance(value, Sequence) and not isinstance(value, str):
            lines.append(f"{name}:" if value else f"{name}: []")
            lines += [f"  - {_scalar(item)}" for item in value]
        else:
            lines.append(f"{name}: {_scalar(value)}")
    return "\n".join(lines) + "\n"


def _scalar(value: Any) -> str:
    r"""Write one value.

    >>> _scalar("train.py"), _scalar("--lr"), _scalar("1e-3"), _scalar("on"), _scalar("a\nb"), _scalar(2)
    ('train.py', '"--lr"', '"1e-3"', '"on"', '"a\\nb"', '2')
    """
    if not isinstance(value, str):
        return json.dumps(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _TAKEN:
        return value
    return "".join(map(_escaped, json.dumps(value, ensure_ascii=False)))


def _escaped(char: str) -> str:
    if char.isprintable():
        return char
    number = ord(char)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
