"""Which folders hold most of what is too much, so that a refusal can name them."""

from collections import Counter
from collections.abc import Iterable

_MOST = 0.8
"""A folder is gone into as long as one folder below it holds this share of it."""
_LEAST = 0.05
"""A folder with less than this share of all is not to blame."""


def fullest(weights: Iterable[tuple[str, int]], count: int = 3) -> list[tuple[str, int]]:
    """Name the folders that hold most, heaviest first.

    Below each top-level entry the folder is named in which most of its weight comes together.

    Args:
        weights: Folder (relative, `/` between names) and what lies directly in it; a folder may come often.
        count: So many folders at most.

    >>> fullest([("data/images/a", 900), ("data/images/b", 800), ("data", 1), ("logs", 300), ("src", 9), ("", 3)])
    [('data/images', 1700), ('logs', 300)]
    """
    below: dict[str, Counter[str]] = {}
    totals: Counter[str] = Counter()
    everything = 0
    for folder, weight in weights:
        everything += weight
        while folder:
            totals[folder] += weight
            parent = folder.rpartition("/")[0]
            below.setdefault(parent, Counter())[folder] += weight
            folder = parent
    found = []
    for top, weight in below.get("", Counter()).most_common(count):
        if weight < _LEAST * everything:
            break
        folder = top
        while folder in below:
            deeper, weight = below[folder].most_common(1)[0]
            if weight < _MOST * totals[folder]:
                break
            folder = deeper
        found.append((folder, totals[folder]))
    return found
