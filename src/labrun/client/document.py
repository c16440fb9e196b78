"""A document with the place of everything in it: what the readers of YAML, TOML and JSON have in common."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from labrun.core.faults import Path

DEPTH_LIMIT = 50
"""Deepest nesting that is read; an experiment needs two levels."""
NODE_LIMIT = 10_000
"""Most values of a document, aliases counted as often as they stand for something."""


class Place(NamedTuple):
    """A position in a text, as editors count: both begin at 1, columns are characters."""

    line: int
    column: int


@dataclass
class Node:
    """One value of a document."""

    value: Any
    """A scalar, a list of nodes, or a table: name to the name's place and the node."""
    place: Place
    text: str | None = None
    """A number as it was written: `1.10` is not `1.1` on a command line."""


Table = dict[str, tuple[Place, Node]]


class Unreadable(Exception):
    """The text is not what its name says, or more than anybody would write."""

    def __init__(self, place: Place, text: str) -> None:
        super().__init__(text)
        self.place = place
        self.text = text


@dataclass
class Document:
    """What a text says, and where."""

    value: Any = None
    names: dict[Path, Place] = field(default_factory=dict)
    """Where each member's name stands."""
    values: dict[Path, Place] = field(default_factory=dict)
    """Where each value begins."""
    texts: dict[Path, str] = field(default_factory=dict)
    """Numbers as they were written."""
    flaws: list[tuple[Place, str]] = field(default_factory=list)
    """What is wrong with the text itself, such as a name given twice."""


def place_at(text: str, offset: int) -> Place:
    """Line and column of a character.

    >>> place_at("ab\\ncd", 4)
    Place(line=2, column=2)
    """
    return Place(text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))


def unfold(root: Node, flaws: list[tuple[Place, str]]) -> Document:
    """Make plain values of nodes, and keep where each stood.

    Raises:
        Unreadable: Nested too deeply, or too many values.
    """
    document = Document(flaws=flaws)
    document.value = _unfold(root, (), document)
    return document


def _unfold(node: Node, path: Path, document: Document) -> Any:
    if len(path) > DEPTH_LIMIT:
        raise Unreadable(node.place, f"nested more than {DEPTH_LIMIT} levels deep")
    if len(document.values) >= NODE_LIMIT:
        raise Unreadable(node.place, f"more than {NODE_LIMIT:,} values")
    document.values[path] = node.place
    if node.text is not None:
        document.texts[path] = node.text
    if isinstance(node.value, dict):
        found = {}
        for name, (place, item) in node.value.items():
            document.names[(*path, name)] = place
            found[name] = _unfold(item, (*path, name), document)
        return found
    if isinstance(node.value, list):
        return [_unfold(item, (*path, position), document) for position, item in enumerate(node.value)]
    return node.value


def add_member(table: Table, name: str, place: Place, node: Node, flaws: list[tuple[Place, str]]) -> None:
    """Put a member into a table; one that is there already stays, and that is a flaw."""
    if name in table:
        first = table[name][0]
        flaws.append((place, f"`{name}` is given twice, first in line {first.line}"))
    else:
        table[name] = (place, node)


def paths(value: object, path: Path = ()) -> Iterator[Path]:
    """Every place in a plain value, itself first."""
    yield path
    if isinstance(value, dict):
        for name, item in value.items():
            yield from paths(item, (*path, name))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from paths(item, (*path, position))
