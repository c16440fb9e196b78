"""The view of a log: rows printed once they are final, or kept up to date at the end of a terminal.

Nothing a script wrote reaches the terminal but text and colours; the few sequences that go out
(up, erase below) are ours.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial

from labrun.cli import show
from labrun.cli.log_source import Source
from labrun.cli.output import Output
from labrun.cli.table import cells
from labrun.client.api import Piece
from labrun.core.log_view import LogView, Row
from labrun.core.units import show_size

_LIMIT_BYTES = 64 * 1024
"""Of each stream and look; rows take several times the room of their bytes."""
_END_BYTES = 1024 * 1024
"""So much of a log is shown on a terminal unless more is asked for; and `--tail` looks at least at so much."""
_WAIT_S = 20.0


def view_logs(
    output: Output, source: Source, *, follow: bool, tail: int | None, since: float | None, has_times: bool
) -> None:
    """Show streams as they would look on a terminal.

    Args:
        output: Ours.
        source: What to show.
        follow: Go on until it ends.
        tail: Only the last so many rows of each stream, as they look now.
        since: Only from then on, in Unix seconds.
        has_times: Begin rows with when they were written.
    """
    is_lively = follow and output.is_terminal and os.isatty(2)
    page = Screen(output, has_times=has_times) if is_lively else Page(output, source, has_times=has_times)
    inside = _begin(source, tail, since, is_whole=not output.is_terminal)
    for name in sorted(inside) if tail is None else ():
        size = show_size(source.offsets[name])
        output.say(f"lab: {size} of {name} come before this: --tail, --since or --raw show more")
    reader = Reader(list(source.offsets), inside, has_colours=output.has_colour)
    look = partial(source.look, limit_bytes=_LIMIT_BYTES, has_times=has_times)
    if tail is not None:
        _show_last(reader, page, tail, look)
    while True:
        piece = look(wait_s=_WAIT_S if follow else 0.0)
        for stream, changed, final in reader.take(piece):
            page.show(stream, changed, final)
        if piece.is_over or not (follow or piece.segments):
            break
        if follow:
            page.catch_up(reader.views)
    page.finish(reader.views)


def _begin(source: Source, tail: int | None, since: float | None, *, is_whole: bool) -> set[str]:
    """Go to where the view begins; returns the streams in which that is inside a row."""
    if tail is None and (since is not None or is_whole):
        if since is not None:
            source.begin(since=since)
        return set()
    row_begins = [dict.fromkeys(source.offsets, 0)]
    if since is not None:
        row_begins.append(source.begin(since=since))
    if tail is not None:
        row_begins.append(source.begin(tail_lines=tail, since=since))
    ends = source.begin(tail_bytes=_END_BYTES, since=since)
    if tail is not None:  # a row of the view may be made of many lines: nested bars move down and up
        source.offsets = {name: min(at, row_begins[-1][name]) for name, at in ends.items()}
    return {name for name, at in source.offsets.items() if all(at != one[name] for one in row_begins)}


def _show_last(reader: "Reader", page: "Page | Screen", count: int, look: Callable[..., Piece]) -> None:
    """Read what there is and show the last rows of each stream."""
    last: dict[str, deque[Row]] = {name: deque(maxlen=count) for name in reader.views}
    piece = None
    while piece is None or piece.segments:
        piece = look(wait_s=0.0)
        for stream, _, final in reader.take(piece):
            last[stream] += final
    for stream, rows in last.items():
        view = reader.views[stream]
        rows += view.rows if view.rows[-1].text else view.rows[:-1]
        wanted = set(rows)
        for row in view.rows:
            row.is_told = row not in wanted  # further up than was asked for
        page.show(stream, rows, [row for row in rows if row.is_final])


class Reader:
    """Turns pieces into rows.

    Args:
        names: Of the streams.
        inside: Streams that begin inside a row; its rest is passed over.
        has_colours: Keep them.
    """

    def __init__(self, names: list[str], inside: set[str], *, has_colours: bool) -> None:
        self._has_colours = has_colours
        self._inside = inside
        self.views = {name: LogView(has_colours=has_colours) for name in names}

    def take(self, piece: Piece) -> Iterator[tuple[str, list[Row], list[Row]]]:
        """Give stream, rows that are new or changed, and rows that became final."""
        for gap in piece.gaps:
            stream = gap["stream"]
            rest = self.views[stream].finish()
            yield stream, rest, rest
            self.views[stream] = LogView(has_colours=self._has_colours)
            yield self._feed(stream, f"[… {show.missing(gap)} …]\n".encode(), None)
        for stream, offset, content in piece.segments:
            begin = _row_begin(content) if stream in self._inside else 0
            self._inside.discard(stream)
            for end, written in [
                *((end - offset, written) for name, end, written in piece.times if name == stream),
                (len(content), None),
            ]:
                if end > begin:
                    yield self._feed(stream, content[begin:end], written)
                    begin = end

    def _feed(self, stream: str, content: bytes, written: float | None) -> tuple[str, list[Row], list[Row]]:
        view = self.views[stream]
        view.feed(content, written)
        return stream, view.changed, view.final


def _row_begin(content: bytes) -> int:
    r"""Where the first whole row begins; 0 when there is none.

    >>> _row_begin(b"st\nnext"), _row_begin(b"90%\r91%"), _row_begin(b"xxx")
    (3, 4, 0)
    """
    found = [at for at in (content.find(b"\n"), content.find(b"\r")) if at >= 0]
    return min(found, default=-1) + 1


class Page:
    """Rows on paper: each is printed once, when nothing can change it any more."""

    def __init__(self, output: Output, source: Source, *, has_times: bool) -> None:
        self._output, self._source, self._has_times = output, source, has_times

    def show(self, stream: str, changed: Iterable[Row], final: Iterable[Row]) -> None:
        """Print what became final."""
        self._print(stream, [row for row in final if not row.is_told])

    def catch_up(self, views: dict[str, LogView]) -> None:
        """Nothing more for now: print what the program will most likely leave as it is."""
        for stream, view in views.items():
            self._print(stream, view.settled())

    def finish(self, views: dict[str, LogView]) -> None:
        """It is over: print the rest."""
        for stream, view in views.items():
            self._print(stream, view.finish())

    def _print(self, stream: str, rows: list[Row]) -> None:
        lines = [line_of(row, has_times=self._has_times) for row in rows]
        for row in rows:
            row.is_told = True
        text = "".join(f"{line}\n" for line in lines)
        self._output.raw(self._source.descriptor(stream), self._output.encode(text))


class Screen:
    """Rows at the end of a terminal: what changes is printed again in its place as long as that can be reached."""

    def __init__(self, output: Output, *, has_times: bool) -> None:
        self._output, self._has_times = output, has_times
        self._entries: list[_Entry] = []
        """Rows on the screen from some row down to the cursor, which stands below the last one."""
        self._left: dict[Row, str] = {}
        """What was shown of rows that cannot be reached any more and may still grow."""
        self._columns = 0

    def show(self, stream: str, changed: Iterable[Row], final: Iterable[Row]) -> None:
        """Print new rows at the end and changed ones where they stand."""
        size = os.get_terminal_size(1)
        columns, lines = size.columns or 80, size.lines or 24
        if columns != self._columns:  # what was printed may have been broken anew: leave it alone
            self._leave(self._entries)
            self._entries, self._columns = [], columns
        places = {entry.row: number for number, entry in enumerate(self._entries)}
        first = len(self._entries)
        for row in dict.fromkeys(changed):
            row.is_told = True
            if row in places:
                first = min(first, places[row])
            else:
                before = self._left.pop(row, "")
                is_longer = before and row.text.startswith(before)
                places[row] = len(self._entries)
                self._entries.append(_Entry(row, len(before) if is_longer else 0))
        self._repaint(first, columns)
        while self._entries and sum(entry.height for entry in self._entries) > lines - 1:
            self._leave([self._entries.pop(0)])

    def catch_up(self, views: dict[str, LogView]) -> None:
        """Everything is shown already."""

    def finish(self, views: dict[str, LogView]) -> None:
        """It is over: rows that were never written to are no rows."""
        for stream, view in views.items():
            self.show(stream, view.finish(), [])

    def _repaint(self, first: int, columns: int) -> None:
        up = sum(entry.height for entry in self._entries[first:])
        parts = [f"\x1b[{up}A\r\x1b[J" if up else ""]
        for entry in self._entries[first:]:
            line = line_of(entry.row, has_times=self._has_times, begin=entry.begin)
            plain = line_of(entry.row, has_times=self._has_times, begin=entry.begin, is_plain=True)
            entry.text = entry.row.text
            entry.height = max(1, -(-cells(plain.expandtabs()) // columns))
            parts.append(f"{line}\n")
        self._output.raw(1, self._output.encode("".join(parts)))

    def _leave(self, entries: list["_Entry"]) -> None:
        self._left = {row: text for row, text in self._left.items() if not row.is_final}
        self._left |= {entry.row: entry.text for entry in entries if not entry.row.is_final}


class _Entry:
    """A row, or the rest of one, as it stands on the screen."""

    def __init__(self, row: Row, begin: int) -> None:
        self.row, self.begin = row, begin
        self.text = ""
        self.height = 0
        """Lines of the screen it takes; 0 before it is printed."""


def line_of(row: Row, *, has_times: bool, begin: int = 0, is_plain: bool = False) -> str:
    """Write a row as a line.

    Args:
        row: Of a view.
        has_times: Begin with when it was written.
        begin: Only from this column on, without styles.
        is_plain: Without styles, to be measured.
    """
    text = row.text[begin:].rstrip() if begin or is_plain else row.shown()
    if not has_times:
        return text
    moment = f"{datetime.fromtimestamp(row.at).astimezone():%Y-%m-%d %H:%M:%S}" if row.at is not None else " " * 19
    return f"{moment}  {text}"
