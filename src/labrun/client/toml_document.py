"""TOML with the place of everything in it.

The standard library reads TOML and keeps no places. So a text it has accepted is scanned a second time
for names and values alone; what they mean is asked of the library again.
"""

import re
import tomllib
from typing import Any

from labrun.client.document import DEPTH_LIMIT, NODE_LIMIT, Document, Place, Unreadable, paths, place_at
from labrun.core.faults import Path

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_NAME = re.compile(r"""(?:[ \t]*(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*')[ \t]*\.?)+""")
_DEEP_NAME = re.compile(
    r"""^[ \t]*\[{0,2}[ \t]*+(?:(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+)"""
    rf"{{{DEPTH_LIMIT}}}",
    re.MULTILINE,
)
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})' + r"|'''.*?'''(?:'{0,2})" + r"""|"(?:\\.|[^"\\])*"|'[^']*'""", re.DOTALL
)
_SCALAR = re.compile(r"[^,\]}#\n]+")
_AT = re.compile(r"^(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$", re.DOTALL)


def read_toml(text: str) -> Document:
    """Read a TOML text.

    Raises:
        Unreadable: It is none; the first error is told.

    Source:
        toml.io, version 1.0.
    """
    deep = _DEEP_NAME.search(text)
    if deep is not None:  # the library's time grows with the square of a name's length
        raise Unreadable(place_at(text, deep.start()), f"nested more than {DEPTH_LIMIT} levels deep")
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _told(text, str(error)) from error
    except RecursionError as error:
        raise Unreadable(Place(1, 1), f"nested more than {DEPTH_LIMIT} levels deep") from error
    except ValueError as error:  # an integer of more digits than Python converts
        raise Unreadable(Place(1, 1), "a number of thousands of digits") from error
    for count, path in enumerate(paths(value)):
        if len(path) > DEPTH_LIMIT:
            raise Unreadable(Place(1, 1), f"nested more than {DEPTH_LIMIT} levels deep")
        if count >= NODE_LIMIT:
            raise Unreadable(Place(1, 1), f"more than {NODE_LIMIT:,} values")
    document = Document(value)
    # the library counts a line's end as one character, as the language does
    _Scan(text.replace("\r\n", "\n"), document).all()
    return document


def _told(text: str, message: str) -> Unreadable:
    found = _AT.match(message)
    what = found["what"] if found else message
    has_place = found is not None and found["line"] is not None
    place = Place(int(found["line"]), int(found["column"])) if found and has_place else place_at(text, len(text))
    return Unreadable(place, f"not TOML: {what[:1].lower()}{what[1:]}")


class _Scan:
    """Finds names and values in a text known to be TOML."""

    def __init__(self, text: str, document: Document) -> None:
        self._text = text
        self._document = document
        self._counts: dict[Path, int] = {}
        """Tables in each array of tables so far."""

    def all(self) -> None:
        """Scan the whole text."""
        document = self._document
        document.values[()] = Place(1, 1)
        table: Path = ()
        at = self._skip(0)
        while at < len(self._text):
            if self._text[at] == "[":
                table, at = self._header(at)
            else:
                at = self._member(at, table)
            at = self._skip(at)

    def _skip(self, at: int) -> int:
        found = _BLANK.match(self._text, at)
        return found.end() if found else at

    def _header(self, at: int) -> tuple[Path, int]:
        is_list = self._text.startswith("[[", at)
        begin = at + 1 + is_list
        words, end = self._words(begin)
        path: Path = ()
        for position, word in enumerate(words):
            path = (*path, word)
            is_last = position == len(words) - 1
            self._keep_name(path, begin)
            if is_last and is_list:
                self._counts[path] = self._counts.get(path, 0) + 1
            if path in self._counts:
                self._document.values.setdefault(path, place_at(self._text, at))
                path = (*path, self._counts[path] - 1)
            self._document.values.setdefault(path, place_at(self._text, at))
        return path, end + 1 + is_list

    def _member(self, at: int, table: Path) -> int:
        words, end = self._words(at)
        path = table
        for word in words:
            path = (*path, word)
            self._keep_name(path, at)
            self._document.values.setdefault(path, place_at(self._text, at))
        return self._value(self._skip(end + 1), path)

    def _words(self, at: int) -> tuple[list[str], int]:
        """The words of a dotted name, and the offset of what ends it."""
        found = _NAME.match(self._text, at)
        assert found is not None, "a text that was read has a name here"
        inner: Any = tomllib.loads(f"{found[0]} = 0")
        words = []
        while isinstance(inner, dict):
            word, inner = next(iter(inner.items()))
            words.append(word)
        return words, found.end()

    def _keep_name(self, path: Path, at: int) -> None:
        while self._text[at] in " \t":
            at += 1
        self._document.names.setdefault(path, place_at(self._text, at))

    def _value(self, at: int, path: Path) -> int:
        text = self._text
        self._document.values[path] = place_at(text, at)
        if text[at] in "\"'":
            found = _STRING.match(text, at)
        elif text[at] == "[":
            return self._list(at, path)
        elif text[at] == "{":
            return self._table(at, path)
        else:
            found = _SCALAR.match(text, at)
            if found is not None and found[0][0] in "+-0123456789":
                self._document.texts[path] = found[0].rstrip()
        assert found is not None, "a text that was read has a value here"
        return found.end()

    def _list(self, at: int, path: Path) -> int:
        at, position = self._skip(at + 1), 0
        while self._text[at] != "]":
            at = self._skip(self._value(at, (*path, position)))
            at = self._skip(at + 1) if self._text[at] == "," else at
            position += 1
        return at + 1

    def _table(self, at: int, path: Path) -> int:
        at = self._skip(at + 1)
        while self._text[at] != "}":
            at = self._skip(self._member(at, path))
            at = self._skip(at + 1) if self._text[at] == "," else at
        return at + 1
