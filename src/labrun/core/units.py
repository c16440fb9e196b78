"""Sizes and durations as people write them. Imports nothing heavy: commands use it at every start."""

import re

from labrun.core.errors import BadValue

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)(b?)", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)?", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def parse_size(text: str) -> int:
    """Read a size in bytes; K, M, G, T, P are powers of 1024, with or without `i` and `B`.

    >>> parse_size("8G"), parse_size("512MiB"), parse_size("1.5k"), parse_size("100")
    (8589934592, 536870912, 1536, 100)

    Raises:
        BadValue: Not a size, or zero.
    """
    match = _SIZE.fullmatch(text.strip())
    size = float(match.group(1)) * 1024 ** " kmgtp".index(match.group(2).lower() or " ") if match else 0
    if not 1 <= size <= 2**60:
        raise BadValue("size", text, "a size such as 512M or 8G")
    return int(size)


def parse_duration(text: str) -> float:
    """Read a duration in seconds: `90`, `90s`, `15m`, `4h`, `1h30m`, `2d`.

    >>> parse_duration("90"), parse_duration("1h30m"), parse_duration("250ms")
    (90.0, 5400.0, 0.25)

    Raises:
        BadValue: Not a duration, or longer than ten years.
    """
    rest, total, parts = text.strip(), 0.0, 0
    while rest:
        match = _DURATION.match(rest)
        if match is None or (match.group(2) is None and (parts or match.end() != len(rest))):
            parts = 0
            break
        total += float(match.group(1)) * _SECONDS[(match.group(2) or "s").lower()]
        rest, parts = rest[match.end() :].lstrip(), parts + 1
    if not parts or not 0 <= total <= 10 * 366 * 86400:
        raise BadValue("duration", text, "a duration such as 90s, 15m, 4h or 1h30m")
    return total


def show_size(size_bytes: int) -> str:
    """Write a size for people.

    >>> show_size(1536), show_size(100)
    ('1.5 KiB', '100 B')
    """
    value, unit = float(size_bytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if value < 1024 or unit == "PiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if value >= 100 or unit == "B" else f"{value:.1f} {unit}"
