"""JSON with the place of everything in it.

The standard library says whether a text is JSON; it keeps no places. So a text that passed is walked a
second time, which needs no error handling of its own.
"""

import json
import re

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

_SPACE = re.compile(r"[ \t\n\r]*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_WORDS = {"true": True, "false": False, "null": None}
_NO_NUMBERS = ("NaN", "Infinity", "-Infinity")  # Python's reader takes them, JSON has none


def read_json(text: str) -> Document:
    """Read a JSON text.

    Raises:
        Unreadable: It is none; the first error is told.

    Source:
        RFC 8259. `NaN` and `Infinity` are refused, and so is a name given twice.
    """
    try:
        json.loads(text, parse_int=str, parse_float=str)
    except json.JSONDecodeError as error:
        message = error.msg[:1].lower() + error.msg[1:]
        raise Unreadable(Place(error.lineno, error.colno), f"not JSON: {message}") from error
    except RecursionError as error:
        raise Unreadable(Place(1, 1), f"nested more than {DEPTH_LIMIT} levels deep") from error
    flaws: list[tuple[Place, str]] = []
    return unfold(_Walk(text, flaws).value(_skip(text, 0), 0)[0], flaws)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


class _Walk:
    """Walks a text known to be JSON."""

    def __init__(self, text: str, flaws: list[tuple[Place, str]]) -> None:
        self._text = text
        self._flaws = flaws
        self._count = 0

    def value(self, at: int, depth: int) -> tuple[Node, int]:
        """Read the value that begins here; return it and where it ends."""
        self._count += 1
        text, place = self._text, place_at(self._text, at)
        if self._count > NODE_LIMIT:
            raise Unreadable(place, f"more than {NODE_LIMIT:,} values")
        if depth > DEPTH_LIMIT:
            raise Unreadable(place, f"nested more than {DEPTH_LIMIT} levels deep")
        if text[at] == "{":
            return self._table(at, place, depth)
        if text[at] == "[":
            return self._list(at, place, depth)
        if text[at] == '"':
            word, end = self._string(at)
            return Node(word, place), end
        number = _NUMBER.match(text, at)
        if number is None:
            word = next(word for word in (*_WORDS, *_NO_NUMBERS) if text.startswith(word, at))
            if word in _NO_NUMBERS:
                raise Unreadable(place, f"not JSON: `{word}` is no number of JSON")
            return Node(_WORDS[word], place), at + len(word)
        try:
            value = float(number[0]) if number[1] or number[2] else int(number[0])
        except ValueError as error:  # more digits than Python converts
            raise Unreadable(place, "a number of thousands of digits") from error
        return Node(value, place, number[0]), number.end()

    def _string(self, at: int) -> tuple[str, int]:
        found = _STRING.match(self._text, at)
        assert found is not None, "a text that was read has a string here"
        return json.loads(found[0]), found.end()

    def _table(self, at: int, place: Place, depth: int) -> tuple[Node, int]:
        table: Table = {}
        at = _skip(self._text, at + 1)
        while self._text[at] != "}":
            at = _skip(self._text, at + (self._text[at] == ","))
            name_place = place_at(self._text, at)
            name, at = self._string(at)
            at = _skip(self._text, _skip(self._text, at) + 1)
            node, at = self.value(at, depth + 1)
            add_member(table, name, name_place, node, self._flaws)
            at = _skip(self._text, at)
        return Node(table, place), at + 1

    def _list(self, at: int, place: Place, depth: int) -> tuple[Node, int]:
        items: list[Node] = []
        at = _skip(self._text, at + 1)
        while self._text[at] != "]":
            at = _skip(self._text, at + (self._text[at] == ","))
            node, at = self.value(at, depth + 1)
            items.append(node)
            at = _skip(self._text, at)
        return Node(items, place), at + 1
