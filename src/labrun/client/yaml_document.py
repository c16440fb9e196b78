"""YAML 1.2 with the place of everything in it: plain data only, no tags, no merge keys, bounded.

A library reads the text as events; what a scalar means is decided here by the core schema alone: `on` is
a word, `1e-3` a number, `0777` seven hundred and seventy-seven.
"""

import re
import sys
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from labrun.client.document import (
    DEPTH_LIMIT,
    NODE_LIMIT,
    Document,
    Node,
    Place,
    Table,
    Unreadable,
    add_member,
    place_at,
    unfold,
)

ALIAS_LIMIT = 100
"""Most aliases (`*name`) of a document."""

_STR = "tag:yaml.org,2002:str"
_NULL = frozenset({"", "null", "Null", "NULL", "~"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_LONG_ESCAPE = re.compile(r"\\U([0-9a-fA-F]{8})")
_INFINITE = re.compile(r"(?P<sign>[-+]?)\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def read_yaml(text: str) -> Document:
    """Read a YAML text of one document.

    Raises:
        Unreadable: It is none, or uses what plain data has no need of; the first error is told.

    Source:
        yaml.org, version 1.2.2, section 10.3, core schema.
    """
    flaws: list[tuple[Place, str]] = []
    try:
        return unfold(_Build(_events(text), flaws).document(), flaws)
    except ReaderError as error:
        raise Unreadable(place_at(text, error.position), "not YAML: a character that is not allowed") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark is not None else Place(1, 1)
        told = "; ".join(str(part).strip() for part in (error.context, error.problem) if part)
        raise Unreadable(place, f"not YAML: {' '.join(told.split())}") from error
    except (ValueError, OverflowError) as error:  # the library asks Python for a character that cannot be
        raise Unreadable(_impossible_escape(text), "not YAML: an escape that stands for no character") from error
    except YAMLError as error:
        raise Unreadable(Place(1, 1), f"not YAML: {' '.join(str(error).split())}") from error


def _impossible_escape(text: str) -> Place:
    found = next((found for found in _LONG_ESCAPE.finditer(text) if int(found[1], 16) > sys.maxunicode), None)
    return place_at(text, found.start() if found is not None else 0)


def _joined(text: str) -> str:
    """Make one character of each surrogate pair: JSON writes those beyond U+FFFF as two escapes."""
    if not any("\ud800" <= char <= "\udfff" for char in text):
        return text
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        return text


def _events(text: str) -> Iterator[Event]:
    events: Iterator[Event] = YAML(typ="safe", pure=True).parse(text)
    return events


def _place(event: Event) -> Place:
    return Place(event.start_mark.line + 1, event.start_mark.column + 1)


def scalar(text: str) -> Any:
    """What a plain scalar means.

    >>> scalar("1e-3"), scalar("on"), scalar("0o17"), scalar("~"), scalar("1_000")
    (0.001, 'on', 15, None, '1_000')

    Raises:
        ValueError: A number of more digits than Python converts.
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text, 10) if text[1:2] not in ("o", "x") else int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    infinite = _INFINITE.fullmatch(text)
    if infinite is not None:
        return float(f"{infinite['sign']}inf") if "inf" in text.lower() else float("nan")
    return text


class _Build:
    """Builds nodes of events, and refuses before anything grows."""

    def __init__(self, events: Iterator[Event], flaws: list[tuple[Place, str]]) -> None:
        self._events = events
        self._flaws = flaws
        self._anchors: dict[str, Node | None] = {}
        """None while the anchored value is still being read."""
        self._weights: dict[int, int] = {}
        """Values behind an anchored node, by its id; nodes live as long as this."""
        self._aliases = 0
        self._count = 0

    def document(self) -> Node:
        """Read the one document."""
        node: Node | None = None
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                if node is not None:
                    raise Unreadable(_place(event), "a second document begins here; one experiment a file")
                if event.version is not None and tuple(event.version) != (1, 2):
                    version = ".".join(str(number) for number in event.version)
                    raise Unreadable(_place(event), f"this says YAML {version}; it would be read as 1.2")
            elif isinstance(event, NodeEvent):
                node = self._node(event, 0)
        if node is None:
            raise Unreadable(Place(1, 1), "there is nothing in it")
        return node

    def _node(self, event: NodeEvent, depth: int) -> Node:
        place = _place(event)
        if isinstance(event, AliasEvent):
            return self._alias(event, place)
        self._grow(1, place)
        if depth > DEPTH_LIMIT:
            raise Unreadable(place, f"nested more than {DEPTH_LIMIT} levels deep")
        tag = getattr(event, "tag", None)
        if tag not in (None, "!", _STR) or (tag == _STR and not isinstance(event, ScalarEvent)):
            raise Unreadable(place, f"tags such as `{tag}` are not read; write plain values")
        before = self._count
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if isinstance(event, ScalarEvent):
            node = self._scalar(event, place, is_text=tag is not None)
        elif isinstance(event, SequenceStartEvent):
            node = Node([self._node(item, depth + 1) for item in self._members()], place)
        else:
            node = Node(self._table(depth), place)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
            self._weights[id(node)] = 1 + self._count - before
        return node

    def _members(self) -> Iterator[NodeEvent]:
        for event in self._events:
            if not isinstance(event, NodeEvent):
                return  # the end of this list or table
            yield event

    def _table(self, depth: int) -> Table:
        table: Table = {}
        members = self._members()
        for name in members:
            place = _place(name)
            if not isinstance(name, ScalarEvent) or name.anchor is not None or name.tag is not None:
                raise Unreadable(place, "a name must be a plain word")
            node = self._node(next(members), depth + 1)
            if node.value is None:
                node = Node(None, place)  # nothing has no place of its own
            if name.value == "<<" and name.style is None:
                self._flaws.append((place, "merge keys (`<<`) are not part of YAML 1.2; write the fields out"))
            else:
                add_member(table, _joined(name.value), place, node, self._flaws)
        return table

    def _scalar(self, event: ScalarEvent, place: Place, *, is_text: bool) -> Node:
        if is_text or event.style is not None:
            return Node(_joined(event.value), place)
        try:
            value = scalar(event.value)
        except ValueError as error:
            raise Unreadable(place, "a number of thousands of digits") from error
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return Node(value, place, event.value if is_number else None)

    def _alias(self, event: AliasEvent, place: Place) -> Node:
        self._aliases += 1
        if self._aliases > ALIAS_LIMIT:
            raise Unreadable(place, f"more than {ALIAS_LIMIT} aliases")
        if event.anchor not in self._anchors:
            raise Unreadable(place, f"there is no anchor `&{event.anchor}` before this alias")
        node = self._anchors[event.anchor]
        if node is None:
            raise Unreadable(place, f"`*{event.anchor}` stands inside what it stands for")
        self._grow(self._weights[id(node)], place)
        return Node(node.value, place, node.text)

    def _grow(self, count: int, place: Place) -> None:
        self._count += count
        if self._count > NODE_LIMIT:
            raise Unreadable(place, f"more than {NODE_LIMIT:,} values")
