"""What a log looks like once it has been written: progress bars as their last state, escape sequences inert.

A log is the bytes a program sent to what it took for a terminal. This follows them with a cursor, as
a terminal does, but keeps rows instead of a screen: carriage returns, erasing and moving up rewrite
rows, everything else a sequence could do to a terminal is left out. Rows more than 64 above the last
one are final, so memory is flat however long the log or one of its lines is.

A column is a character here, wide and combining ones too: exact where rows are rewritten whole, which
is what progress bars do.
"""

import codecs
import re

WINDOW = 64
"""So many rows at the end can still be rewritten; programs that move up further are rare."""
ROW_LIMIT = 65_536
"""A longer line goes on in the next row."""
_MARKS_LIMIT = 1_000
_STYLE_LIMIT = 64

_TOKEN = re.compile(
    r"""
      (?P<text>[^\x00-\x08\x0a-\x1f\x7f-\x9f]+)
    | (?P<end>[\n\x0b\x0c])
    | (?P<sequence>(?:\x1b\[|\x9b)(?P<words>[0-?]{0,64})[ -/]{0,4}(?P<verb>[@-~]))
    | (?P<string>\x1b[PX^_\]]|[\x90\x98\x9d-\x9f])
    | (?P<escape>\x1b[ -/]{0,4}[0-~])
    | (?P<control>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_STRING_END = re.compile(r"\x1b\\|[\x07\x18\x1a\x9c]|(?=[\x1b\r\n])")  # a title that never ends costs one line
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]{0,64})?[ -/]{0,4}\Z|\x9b[0-?]{0,64}[ -/]{0,4}\Z")
_UNFINISHED_LIMIT = 80
_STEERING = re.compile("[\u202a-\u202e\u2066-\u2069\u2028\u2029]")  # reorder or break what stands beside them


class Row:
    """One line of the view."""

    __slots__ = ("at", "is_final", "is_rewritten", "is_told", "marks", "text")

    def __init__(self) -> None:
        self.text = ""
        self.marks: list[tuple[int, str]] = []
        """From this column on, this style; kept only when colours are wanted."""
        self.at: float | None = None
        """When it was last written to, in Unix seconds, if whoever fed the view knew."""
        self.is_rewritten = False
        """Something that stood there was written over or erased."""
        self.is_final = False
        """Nothing can change it any more."""
        self.is_told = False
        """Whoever shows it did so, and it has not changed since; kept by them."""

    def write(self, column: int, part: str, style: str) -> None:
        """Put text at a column, over what stands there."""
        end, size = column + len(part), len(self.text)
        if column < size:
            self.is_rewritten = True
            self.text = self.text[:column] + part + self.text[end:]
        else:
            self.text = f"{self.text}{' ' * (column - size)}{part}"
        if style or self.marks:
            self._mark(column, end, style)

    def cut(self, column: int) -> None:
        """Erase from a column to the end."""
        if column < len(self.text):
            self.is_rewritten = True
            self.text = self.text[:column]
            self.marks = [mark for mark in self.marks if mark[0] < column]

    def _mark(self, begin: int, end: int, style: str) -> None:
        if len(self.marks) > _MARKS_LIMIT:  # a picture made of colours: the text stays
            self.marks = []
            return
        if end < len(self.text) or (self.marks and self.marks[-1][0] >= begin):
            after = next((old for at, old in reversed(self.marks) if at <= end), "")
            later = [(end, after), *(mark for mark in self.marks if mark[0] > end)] if end < len(self.text) else []
            self.marks = [mark for mark in self.marks if mark[0] < begin] + [(begin, style), *later]
        elif not self.marks or self.marks[-1][1] != style:
            self.marks.append((begin, style))

    def shown(self) -> str:
        """The text without trailing blanks; styles as SGR sequences, none left open at the end."""
        if not self.marks:
            return self.text.rstrip()
        kept = max(len(self.text.rstrip()), self.marks[-1][0])
        parts, at, style = [], 0, ""
        for column, new in [*self.marks, (kept, "")]:
            parts.append(self.text[at:column])
            if new != style:
                parts.append(f"\x1b[0;{new}m" if new else "\x1b[0m")
            at, style = column, new
        return "".join(parts)


class LogView:
    r"""Follows one stream.

    >>> view = LogView()
    >>> view.feed(b"loading\n 10%|#   |\r100%|####|\ndone")
    >>> [row.shown() for row in view.rows]
    ['loading', '100%|####|', 'done']

    Args:
        has_colours: Keep colours (SGR); everything else a sequence asks for is left out anyway.
    """

    def __init__(self, *, has_colours: bool = False) -> None:
        self._has_colours = has_colours
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self.rows: list[Row] = [Row()]
        """The last rows, the only ones that can change."""
        self.changed: list[Row] = []
        """Rows that are new or were written to in the last feed, in the order of the first touch."""
        self.final: list[Row] = []
        """Rows that became final in the last feed, in order."""
        self._touched: set[Row] = set()
        self._row, self._column, self._style = 0, 0, ""
        self._screen = 0
        """First row of what a full-screen program takes for its screen."""
        self._is_cleared = False
        self._reach = 0
        """How far above the last row the program ever moved."""
        self._held = ""
        self._is_in_string = False
        self._at: float | None = None

    def feed(self, content: bytes, at: float | None = None) -> None:
        """Take the next bytes of the stream, cut anywhere.

        Args:
            content: Any bytes; what is not UTF-8 becomes U+FFFD.
            at: When they were written, if that is known.
        """
        self.changed, self.final, self._touched, self._at = [], [], set(), at
        text = self._held + self._decode(content)
        begin = max(text.rfind("\x1b"), text.rfind("\x9b"))
        is_cut = begin >= max(0, len(text) - _UNFINISHED_LIMIT) and _UNFINISHED.match(text, begin) is not None
        text, self._held = (text[:begin], text[begin:]) if is_cut else (text, "")
        at_char, size = 0, len(text)
        while at_char < size:
            if self._is_in_string:
                end = _STRING_END.search(text, at_char)
                self._is_in_string = end is None
                at_char = end.end() if end is not None else size
                continue
            token = _TOKEN.match(text, at_char)
            assert token is not None  # the last alternative takes anything
            at_char = token.end()
            self._take(token)

    def settled(self) -> list[Row]:
        """Rows nobody showed yet and, by what the program did so far, nothing will change."""
        last = min(self._row, len(self.rows) - 1 - self._reach)
        return [row for row in self.rows[: max(0, last)] if not row.is_told]

    def finish(self) -> list[Row]:
        """The stream is over: every row nobody showed yet. A last one that was never written to is none."""
        self.feed(self._decode(b"", final=True).encode())
        end = self.rows[-1]
        rows = self.rows if end.text or end.is_rewritten else self.rows[:-1]
        return [row for row in (*self.final, *rows) if not row.is_told]

    def _take(self, token: re.Match[str]) -> None:
        match token.lastgroup:
            case "text":
                self._put(token[0])
            case "end":
                self._line_feed()
            case "sequence":
                self._obey(token["verb"], token["words"])
            case "string":
                self._is_in_string = True
            case "escape" if token[0] == "\x1bM":
                self._go(self._row - 1)
            case "escape" if token[0] == "\x1bc":
                self._clear_screen()
            case "control" if token[0] == "\r":
                self._column = 0
            case "control" if token[0] == "\b":
                self._column = max(0, self._column - 1)

    def _touch(self, row: Row) -> None:
        row.is_told = False
        row.at = self._at
        if row not in self._touched:
            self._touched.add(row)
            self.changed.append(row)

    def _put(self, text: str) -> None:
        if not text.isascii():
            text = _STEERING.sub("", text)
        while text:
            if self._column >= ROW_LIMIT:
                self._line_feed()
            part, text = text[: ROW_LIMIT - self._column], text[ROW_LIMIT - self._column :]
            row = self.rows[self._row]
            row.write(self._column, part, self._style)
            self._touch(row)
            self._column += len(part)

    def _line_feed(self) -> None:
        row = self.rows[self._row]
        if row.at is None and not row.text:
            self._touch(row)  # an empty line is a line
        self._column = 0
        if self._row + 1 == len(self.rows):
            self.rows.append(Row())
            self._trim()
        self._row = min(self._row + 1, len(self.rows) - 1)

    def _trim(self) -> None:
        while len(self.rows) > WINDOW:
            row = self.rows.pop(0)
            row.is_final = True
            self.final.append(row)
            self._row = max(0, self._row - 1)
            self._screen = max(0, self._screen - 1)

    def _go(self, row: int) -> None:
        self._row = min(max(0, row), len(self.rows) - 1)
        self._reach = max(self._reach, len(self.rows) - 1 - self._row)

    def _obey(self, verb: str, words: str) -> None:
        """Do what a control sequence asks, as far as it only rewrites rows.

        Source:
            ECMA-48, 8.3: CUU, CUD, CUF, CUB, CNL, CPL, CHA, CUP, ED, EL, SGR.
        """
        if words[:1] in ("<", "=", ">", "?"):
            return  # private: cursor hidden, mouse reports, other screens
        number = int(words) if words.isdecimal() and len(words) < 6 else 0
        match verb:
            case "A" | "F":
                self._go(self._row - max(1, number))
            case "B" | "E":
                self._go(self._row + max(1, number))
            case "C":
                self._column = min(self._column + max(1, number), ROW_LIMIT - 1)
            case "D":
                self._column = max(0, self._column - max(1, number))
            case "G":
                self._column = min(max(1, number), ROW_LIMIT) - 1
            case "H" | "f":
                self._place(words)
            case "J" if number == 0:
                self._erase_below()
            case "J" if number == 2:
                self._clear_screen()
            case "K":
                self._erase_in_row(number)
            case "m" if self._has_colours:
                self._style = style_after(self._style, words)
        if verb in "EF":
            self._column = 0

    def _erase_in_row(self, number: int) -> None:
        row = self.rows[self._row]
        if not row.text:
            return
        if number == 1:
            row.write(0, " " * min(self._column + 1, len(row.text)), "")
        else:
            row.cut(0 if number == 2 else self._column)
        self._touch(row)

    def _erase_below(self) -> None:
        self._erase_in_row(0)
        for row in self.rows[self._row + 1 :]:
            row.cut(0)
            self._touch(row)

    def _clear_screen(self) -> None:
        """Begin a screen below what was printed; a screen that is cleared again and again is one screen."""
        if not self._is_cleared:
            self._is_cleared = True
            self._row = len(self.rows) - 1
            if self.rows[-1].text:
                self._line_feed()
            self._screen = len(self.rows) - 1
        self._go(self._screen)
        self._column = 0
        self._erase_below()

    def _place(self, words: str) -> None:
        row, _, column = words.partition(";")
        numbers = [int(word) if word.isdecimal() and len(word) < 6 else 1 for word in (row, column)]
        wanted = self._screen + min(max(1, numbers[0]), WINDOW) - 1
        self._column = min(max(1, numbers[1]), ROW_LIMIT) - 1
        while len(self.rows) <= wanted and len(self.rows) < WINDOW:
            self._touch(self.rows[-1])
            self.rows.append(Row())
        self._go(wanted)


def style_after(style: str, words: str) -> str:
    """Add a colour sequence to a style; blinking and hidden text are not taken over.

    >>> style_after("1", "31"), style_after("1;31", "0"), style_after("", "38;5;8"), style_after("", "8;4")
    ('1;31', '', '38;5;8', '4')
    """
    kept = style.split(";") if style else []
    rest = words.replace(":", ";").split(";")
    while rest:
        word = rest.pop(0)
        if not word.strip("0"):
            kept = []
        elif word in ("38", "48", "58"):
            taken = 2 if rest[:1] == ["5"] else 4
            kept += [word, *(each for each in rest[:taken] if each.isdecimal())]
            rest = rest[taken:]
        elif word.isdecimal() and word not in ("5", "6", "8"):
            kept.append(word)
    text = ";".join(kept)
    return text if len(text) <= _STYLE_LIMIT else ""
