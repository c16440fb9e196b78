"""Text in columns: widths as a terminal counts them, everything unprintable made visible."""

from collections.abc import Callable, Sequence
from unicodedata import combining, east_asian_width

Paint = Callable[[int, int, str], str]
"""Row, column, padded cell to the same cell with colour."""

_LEAST = 8
"""What a column gets before others are left out for it."""
_NARROWEST = 3
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


def table(
    rows: Sequence[Sequence[str]],
    width: int | None,
    paint: Paint | None = None,
    *,
    indent: int = 0,
    spare: Sequence[int] = (),
) -> list[str]:
    """Lay rows out in columns; the last column takes what is left and is shortened to fit.

    Where they do not fit, spare columns are left out, then the widest are shortened; never the first one.

    Args:
        rows: Equally many cells each, already `visible`.
        width: Of the terminal; None when nobody looks at it (a pipe), then nothing is shortened.
        paint: Adds colour after the widths are known.
        indent: Spaces before every line.
        spare: Columns that are left out where the terminal is too narrow, the first of them first.
    """
    if not rows:
        return []
    columns = list(range(len(rows[0])))
    widths = [max(cells(row[column]) for row in rows) for column in columns]
    if width is not None:
        columns, widths = _fit(widths, width - indent, spare)
    lines: list[str] = []
    for number, row in enumerate(rows):
        parts = []
        for column in columns:
            text = row[column] if width is None else shorten(row[column], widths[column])
            if column != columns[-1]:
                text += " " * (widths[column] - cells(text))
            parts.append(paint(number, column, text) if paint is not None else text)
        lines.append((" " * indent + "  ".join(parts)).rstrip())
    return lines


def _fit(widths: list[int], width: int, spare: Sequence[int]) -> tuple[list[int], list[int]]:
    """Choose columns and their widths so that a line has at most `width` cells.

    Args:
        widths: What each column would take.
        width: Of the terminal, without the indent.
        spare: As for `table`.
    """
    columns = list(range(len(widths)))
    # no single column may push the others out: names can have 200 characters
    kept = [min(each, max(_LEAST, width // 3)) for each in widths]
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
    kept[columns[-1]] = min(widths[columns[-1]], max(_NARROWEST, kept[columns[-1]], kept[columns[-1]] - excess()))
    return columns, kept
