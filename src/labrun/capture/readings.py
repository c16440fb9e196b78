"""What was read before and still holds: values kept as long as the files they came from look the same."""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple, TypeVar

_KEPT = 512

Value = TypeVar("Value")
Stamp = tuple[int, int, int, int, int] | None


class _Reading(NamedTuple):
    value: Any
    state: Hashable
    stamps: dict[str, Stamp]


class Readings:
    """Values by key, each with the stamps of its witnesses. Any thread may ask; losing it costs only time."""

    def __init__(self, settled_s: float = 2.0) -> None:
        """Start with nothing.

        Args:
            settled_s: What changed later than so long ago is read again: it may have changed twice
                within one tick of its clock.
        """
        self._settled_ns = int(settled_s * 10**9)
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, _Reading] = OrderedDict()

    def recall(self, key: Hashable, read: Callable[[], tuple[Value, Iterable[str]]], state: Hashable = None) -> Value:
        """Give the value kept under a key, or read it.

        Args:
            key: What is read; one value is kept under it.
            read: Reads it anew; gives the value and its witnesses: the paths (there or not, links
                followed) whose change makes the value old.
            state: What else the value depends on.
        """
        with self._lock:
            kept = self._kept.get(key)
        if (
            kept is not None
            and kept.state == state
            and all(_stamp(path) == stamp for path, stamp in kept.stamps.items())
        ):
            value: Value = kept.value
            return value
        settled = time.time_ns() - self._settled_ns
        value, witnesses = read()
        stamps = {path: _stamp(path) for path in witnesses}
        with self._lock:
            self._kept.pop(key, None)
            # Read first and stamped afterwards: what changed since then may not be what was read.
            if all(stamp is None or max(stamp[:2]) < settled for stamp in stamps.values()):
                self._kept[key] = _Reading(value, state, stamps)
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return value


def _stamp(path: str) -> Stamp:
    try:
        found = os.stat(path)  # noqa: PTH116  some hundred of them per submit
    except (OSError, ValueError):
        return None
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev)
