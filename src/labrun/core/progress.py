"""How far a program says it is: percent and time left, read from the progress bar at the end of its log.

Only what a bar says is repeated. A line that merely contains a percentage is no progress; one that
was rewritten in place, or draws a bar, is.
"""

import re
from collections.abc import Sequence

from msgspec import Struct

from labrun.core.log_view import LogView, Row

_LOOKED_AT = 24
"""Rows from the end in which a bar is looked for."""
_TEXT_LIMIT = 240
"""Characters of a row that are looked at, and shown."""

_BAR = re.compile(
    r"(?:(?<=%)|\s|^|[^\w\s])\|[ #=\u2580-\u259f\u2801-\u28ff0-9>._-]{4,}\|"  # tqdm, alive-progress, progressbar2
    r"|\[[ #=>.\u2580-\u259f-]{5,}\]"  # Keras 2, click, wget
    r"|[\u2500\u2501\u2578-\u257b]{5,}"  # rich, pip, Keras 3
)
_FULL_OR_EMPTY = re.compile(r"[-|\[\] ]*")
_PERCENT = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d{1,6})?) ?%")
_PERCENT_BEFORE = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d{1,6})?) ?%[ |]{0,3}\Z")
_FRACTION = re.compile(r"(?<![\d./:])(\d{1,12}(?:\.\d{1,6})?) ?/ ?(\d{1,12}(?:\.\d{1,6})?)(?![\d./:])")
_AFTER_LABEL = re.compile(r"[\d|\[\u2500-\u28ff]")
"""The first number, or the bar: what stands before is its label."""
_EPOCH = re.compile(r"Epoch (\d{1,9})/(\d{1,9})")
_CLOCK = r"(?:\d{1,6} days?, ?)?\d{1,6}:\d{2}(?::\d{2})?"
_TIME = rf"(?:{_CLOCK}|(?:\d{{1,9}}(?:\.\d{{1,6}})? ?(?:ms|us|[dhms])(?![A-Za-z]) ?)+)"
_LEFT = (
    re.compile(rf"<({_TIME})[,\]]"),  # tqdm: [00:12<00:15, 3.5it/s]
    re.compile(rf"\beta:? {{0,6}}({_TIME})", re.IGNORECASE),  # Keras 2, pip, wget, progressbar2
    re.compile(rf"({_TIME}) (?:left|remaining)\b", re.IGNORECASE),
    re.compile(rf"\(~({_TIME}),"),  # alive-progress: (~5s, 10.9/s)
    re.compile(rf"({_TIME}) {{1,6}}\d{{1,6}}(?:ms|us|s)/(?:step|epoch)"),  # Keras 3
    re.compile(rf"% {{1,6}}({_CLOCK})\Z"),  # rich, click
)
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?) ?(ms|us|[dhms])(?![A-Za-z])")
_UNIT_S = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 0.000001}


class Progress(Struct, frozen=True):
    """What a progress bar says."""

    percent: float
    """0 to 100."""
    left_s: float | None
    """Seconds left by the program's own estimate; null when it gives none."""
    text: str
    """The bar's line."""


def seconds_of(text: str) -> float:
    """Read a length of time as progress bars write it.

    >>> seconds_of("01:02"), seconds_of("1:00:02"), seconds_of("12s"), seconds_of("1m 5s"), seconds_of("1 day, 0:00:01")
    (62.0, 3602.0, 12.0, 65.0, 86401.0)
    """
    total = 0.0
    days, has_days, rest = text.partition(" day")
    if has_days:
        total, text = 86400.0 * int(days), rest.lstrip("s, ")
    if ":" in text:
        clock = 0.0
        for part in text.split(":"):
            clock = clock * 60 + int(part)
        return total + clock
    return total + sum(float(number) * _UNIT_S[unit] for number, unit in _AMOUNT.findall(text))


def read_bar(text: str, *, is_rewritten: bool) -> Progress | None:
    """Read one line as a progress bar.

    >>> read_bar("fit:  45%|####5     | 45/100 [00:12<00:15,  3.50it/s]", is_rewritten=False)
    Progress(percent=45.0, left_s=15.0, text='fit: 45%|####5 | 45/100 [00:12<00:15, 3.50it/s]')
    >>> read_bar("accuracy 45%", is_rewritten=False)

    Args:
        text: Of the row, without styles.
        is_rewritten: It was written more than once, in place.
    """
    text = text[:_TEXT_LIMIT].rstrip()
    bar = next((found for found in _BAR.finditer(text) if not _is_rule(found[0])), None)
    if bar is not None:
        percent = _percent_near(text, bar)
    elif is_rewritten:
        percent = _only_percent(text)
    else:
        return None
    if percent is None or not 0 <= percent <= 100:
        return None
    left = next((found for pattern in _LEFT if (found := pattern.search(text))), None)
    left_s = 0.0 if percent == 100 else seconds_of(left[1]) if left is not None else None
    return Progress(percent, left_s, " ".join(text.split()))


def _is_rule(bar: str) -> bool:
    """A line of dashes, as tables have, is no bar."""
    bar = bar.lstrip()
    return bar[0] in "|[" and "-" in bar and _FULL_OR_EMPTY.fullmatch(bar) is not None


def _percent_near(text: str, bar: re.Match[str]) -> float | None:
    """What a bar stands for: the percentage right before it, else one after it, else the fraction beside it.

    A percentage further on may be an accuracy, a fraction the number of a file. Of two that differ the
    one counts that the bar itself is nearer to.
    """
    before, after = text[: bar.start() + 1], text[bar.end() :]
    if found := _PERCENT_BEFORE.search(before.rstrip("[|")):
        return float(found[1])
    fractions = [*_FRACTION.finditer(before)][-1:] or [*_FRACTION.finditer(after)][:1]
    ratio = _ratio(fractions[0]) if fractions else None
    if (found := _PERCENT.search(after)) is None:
        return ratio if fractions else _only_percent(text)
    percent, drawn = float(found[1]), _drawn(bar[0])
    is_nearer = ratio is not None and drawn is not None and abs(ratio - drawn) < abs(percent - drawn)
    return ratio if is_nearer else percent


def _drawn(bar: str) -> float | None:
    """How full a bar is drawn, 0 to 100; None where only colours tell.

    >>> _drawn("[##........]"), _drawn("|=====>    |"), _drawn("━━━━━━")
    (20.0, 60.0, None)
    """
    cells = bar.strip()[1:-1] if bar.strip()[-1] in "|]" else ""
    return 100 * sum(cell not in " .-_" for cell in cells) / len(cells) if cells else None


def _only_percent(text: str) -> float | None:
    """The one percentage or fraction of a rewritten line; two would be a guess."""
    percents = _PERCENT.findall(text)
    fractions = [*_FRACTION.finditer(text)]
    if len(percents) == 1:
        return float(percents[0])
    return _ratio(fractions[0]) if not percents and len(fractions) == 1 else None


def _ratio(fraction: re.Match[str]) -> float | None:
    done, total = float(fraction[1]), float(fraction[2])
    return round(100 * done / total, 1) if 0 < total >= done else None


def find_progress(rows: Sequence[Row]) -> Progress | None:
    """Find what the last progress bar says.

    Of bars that stand together the first unfinished one counts: the outer loop of nested ones, the
    running one of several. A bar that is printed on a new line each time is one bar, and its last line
    counts. Bars that are all finished count only while nothing is printed below them.

    Args:
        rows: The end of a log as a view shows it.
    """
    shown = [row for row in rows if row.text.strip()][-_LOOKED_AT:]
    bars: list[tuple[int, Progress]] = []
    printed = set[str | None]()
    for number in reversed(range(len(shown))):
        row = shown[number]
        found = read_bar(row.text, is_rewritten=row.is_rewritten)
        if found is not None:
            label = None if row.is_rewritten else _AFTER_LABEL.split(row.text, 1)[0]
            if label is None or label not in printed:
                bars.append((number, found))
                printed.add(label)
        elif bars:
            break
    if not bars:
        return None
    unfinished = [bar for bar in bars if bar[1].percent < 100]
    if not unfinished:
        at, found = bars[0]
        return _of_epochs(shown, at, found) if at == len(shown) - 1 else None
    at, found = unfinished[-1]
    return _of_epochs(shown, at, found)


def _of_epochs(shown: Sequence[Row], at: int, bar: Progress) -> Progress:
    """Keras: `Epoch 3/10` stands above the bar of one epoch; what counts is the whole."""
    epoch = _EPOCH.fullmatch(shown[at - 1].text.strip()) if at else None
    if epoch is None or not 1 <= int(epoch[1]) <= int(epoch[2]):
        return bar
    number, count = int(epoch[1]), int(epoch[2])
    percent = (100 * (number - 1) + bar.percent) / count
    rest = 1 - bar.percent / 100
    left_s = None
    if bar.left_s is not None and rest > 0:
        left_s = round(bar.left_s * (1 + (count - number) / rest), 1)  # the other epochs last as long as this one
    elif percent == 100:
        left_s = 0.0
    return Progress(round(percent, 1), left_s, f"{epoch[0]} {bar.text}"[:_TEXT_LIMIT])


def progress_in(tail: bytes) -> Progress | None:
    r"""Read the progress from the last bytes of a log, cut anywhere.

    >>> progress_in(b"..9/30\rstep 10/30 30%\rstep 12/30 40%").percent
    40.0
    """
    view = LogView()
    view.feed(tail)
    return find_progress(view.rows)
