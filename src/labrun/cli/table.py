"""Text in columns: widths as a terminal counts them, everything unprintable made visible."""

from collections.abc import Callable, Sequence
from unicodedata import combining, east_asian_width

Paint = Callable[[int, int, str], str]
"""Row, column, padded cell to the same cell with colour."""

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
    rows: Sequence[Sequence[str]], width: int | None, paint: Paint | None = None, *, indent: int = 0
) -> list[str]:
    """Lay rows out in columns; the last column takes what is left and is shortened to fit.

    Args:
        rows: Equally many cells each, already `visible`.
        width: Of the terminal; None when nobody looks at it (a pipe), then nothing is shortened.
        paint: Adds colour after the widths are known.
        indent: Spaces before every line.
    """
    if not rows:
        return []
    last = len(rows[0]) - 1
    widths = [max(cells(row[column]) for row in rows) for column in range(last)]
    if width is not None:
        # no single column may push the others out: names can have 200 characters
        widths = [min(each, max(8, width // 3)) for each in widths]
    lines: list[str] = []
    for number, row in enumerate(rows):
        parts = []
        for column, text in enumerate(row):
            if column < last:
                text = shorten(text, widths[column])
                text += " " * (widths[column] - cells(text))
            elif width is not None:
                text = shorten(text, max(8, width - indent - sum(widths) - 2 * last))
            parts.append(paint(number, column, text) if paint is not None else text)
        lines.append((" " * indent + "  ".join(parts)).rstrip())
    return lines
