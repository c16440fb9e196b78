"""Text in columns: widths as a terminal counts them, everything unprintable made visible."""

from collections.abc import Callable, Sequence
from unicodedata import combining, east_asian_width

Paint = Callable[[int, int, str], str]
"""Row, column, padded cell to the same cell with colour."""

_LEAST = 8
"""What a column gets before others are left out for it."""
_NARROWEST = 3
_READABLE = 24
"""A column of this width can be wrapped into; a narrower one is told below its row instead."""
_JOINERS = "\u200c\u200d"  # part of many emoji; they only join


def visible(text: str) -> str:
    r"""Make control characters and lone surrogates visible, so that no name can steer a terminal.

    >>> print(visible("a\nb\x1b[31m"), visible("é ✓"))
    a\nb\x1b[31m é ✓
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in _JOINERS else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def cells(text: str) -> int:
    """Columns a terminal gives this text.

    >>> cells("abc"), cells("日本"), cells("é")
    (3, 4, 1)

    Source:
        Unicode Standard Annex 11, East Asian Width.
    """
    if text.isascii():
        return len(text)
    return sum(
        0 if combining(char) or char in _JOINERS or char == "\ufe0f" else 2 if east_asian_width(char) in "WF" else 1
        for char in text
    )


def shorten(text: str, width: int) -> str:
    """Cut text to so many columns, with an ellipsis where something is missing.

    >>> shorten("python train.py", 9), shorten("short", 9)
    ('python t…', 'short')
    """
    if cells(text) <= width:
        return text
    kept, used = [], 0
    for char in text:
        used += cells(char)
        if used > width - 1:
            break
        kept.append(char)
    return "".join(kept) + "…" if width > 0 else ""


def wrap(text: str, width: int) -> list[str]:
    """Break text into lines of so many columns, at spaces; nothing is left out.

    A word that is longer than a line, a path mostly, is broken behind a `/` where it has one.

    >>> wrap("the GPU is taken", 11), wrap("/home/ada/lab", 8), wrap("", 8)
    (['the GPU is', 'taken'], ['/home/', 'ada/lab'], [''])
    """
    if cells(text) <= width:
        return [text]
    width = max(_NARROWEST, width)
    lines, line = list[str](), ""
    for word in text.split(" "):
        if line and cells(line) + 1 + cells(word) > width:
            lines.append(line)
            line = ""
        elif line:
            line += " "
        while cells(line) + cells(word) > width:
            taken = _fitting(word, width)
            lines.append(word[:taken])
            word = word[taken:]
        line += word
    return [*lines, line]


def _fitting(word: str, width: int) -> int:
    """How many characters of a long word stand on its first line; one at least."""
    taken, used = 0, 0
    for char in word:
        used += cells(char)
        if used > width:
            break
        taken += 1
    return word.rfind("/", 1, taken) + 1 or max(1, taken)


def hang(text: str, width: int | None, below: int) -> list[str]:
    """Wrap a line; what goes on stands so many columns in. Without a width it stays as it is.

    One long word, a path mostly, stays whole as well: the terminal goes on in its next line by itself, and
    what is copied from there has no gap.

    >>> hang("try: ask for less memory", 16, 5), hang("where  /home/ada/lab", 16, 7)
    (['try: ask for', '     less memory'], ['where  /home/ada/lab'])
    """
    head, rest = text[:below], text[below:]
    if width is None or cells(text) <= width or " " not in rest:
        return [text]
    first, *others = wrap(rest, max(_LEAST, width - below))
    return [head + first, *(" " * below + line for line in others)]


def table(
    rows: Sequence[Sequence[str]],
    width: int | None,
    paint: Paint | None = None,
    *,
    indent: int = 0,
    spare: Sequence[int] = (),
    last_lines: int = 1,
) -> list[str]:
    """Lay rows out in columns; the last column takes what is left and is shortened to fit.

    Where they do not fit, spare columns are left out, then the widest are shortened; never the first one.

    Args:
        rows: Equally many cells each, already `visible`.
        width: Of the terminal; None when nobody looks at it (a pipe), then nothing is shortened.
        paint: Adds colour after the widths are known.
        indent: Spaces before every line.
        spare: Columns that are left out where the terminal is too narrow, the first of them first.
        last_lines: So many lines the last column may take: it is wrapped, or told below its row where it
            would be too narrow to be read, take more lines, or have others shortened for it.
    """
    if not rows:
        return []
    columns = list(range(len(rows[0])))
    widths = [max(cells(row[column]) for row in rows) for column in columns]
    is_below = False
    if width is not None:
        wanted = widths
        columns, widths = _fit(wanted, width - indent, spare)
        if last_lines > 1 and len(wanted) > 1:
            below = _fit([*wanted[:-1], 0], width - indent + 2, spare, _READABLE)
            is_below = (
                widths[-1] < min(wanted[-1], _READABLE)
                or _height(rows, widths[-1]) > _height(rows, width - indent - 2) + len(rows)
                or (_cuts(wanted, columns[:-1], widths) and not _cuts(wanted, below[0][:-1], below[1]))
            )
            columns, widths = (below[0][:-1], below[1]) if is_below else (columns, widths)
    lines: list[str] = []
    for number, row in enumerate(rows):
        parts, told = [], [row[-1]]
        if width is not None:
            room = width - indent - 2 if is_below else widths[-1]
            told = _wrapped(row[-1], room, last_lines)
        for column in columns:
            text = row[column] if width is None else shorten(row[column], widths[column])
            if column == len(row) - 1:
                text = told[0]
            elif column != columns[-1]:
                text += " " * (widths[column] - cells(text))
            parts.append(paint(number, column, text) if paint is not None else text)
        lines.append((" " * indent + "  ".join(parts)).rstrip())
        before = indent + 2 if is_below else indent + sum(widths[column] + 2 for column in columns[:-1])
        lines += [" " * before + text for text in (told if is_below else told[1:]) if text]
    return lines


def _height(rows: Sequence[Sequence[str]], width: int) -> int:
    """Lines the last column takes in such a width."""
    return sum(len(wrap(row[-1], width)) for row in rows)


def _cuts(wanted: Sequence[int], columns: Sequence[int], widths: Sequence[int]) -> bool:
    """Whether a column has to be shortened."""
    return any(widths[column] < wanted[column] for column in columns)


def _wrapped(text: str, width: int, most: int) -> list[str]:
    """In so many lines at most; what is too long even so ends in an ellipsis."""
    lines = [text] if most == 1 else wrap(text, width)
    if len(lines) > most:
        lines[most - 1 :] = [" ".join(lines[most - 1 :])]
    return [shorten(line, width) for line in lines]


def _fit(widths: list[int], width: int, spare: Sequence[int], least: int = _LEAST) -> tuple[list[int], list[int]]:
    """Choose columns and their widths so that a line has at most `width` cells.

    Args:
        widths: What each column would take.
        width: Of the terminal, without the indent.
        spare: As for `table`.
        least: What each column may have before others are left out for it.
    """
    columns = list(range(len(widths)))
    # no single column may push the others out: names can have 200 characters
    kept = [min(each, max(least, width // 3)) for each in widths]
    kept[-1] = min(widths[-1], _LEAST)

    def excess() -> int:
        return sum(kept[column] for column in columns) + 2 * (len(columns) - 1) - width

    for column in spare:
        if excess() <= 0:
            break
        columns.remove(column)
    while excess() > 0:
        widest = max(columns[1:], key=kept.__getitem__, default=0)
        if kept[widest] <= _NARROWEST:
            break
        kept[widest] -= 1
    for column in (columns[-1], *columns[:-1]):  # what is left goes to the last one, then to names that were cut
        kept[column] = min(widths[column], max(kept[column], kept[column] - excess()))
    return columns, kept
