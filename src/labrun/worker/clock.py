"""The one place that asks what time it is."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Time as the worker sees it; tests hand in another one."""

    def now(self) -> datetime:
        """The moment, timezone-aware, in UTC. May jump when an administrator sets the clock."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never go backwards; for waits and durations."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """The moment in UTC."""
        return datetime.now(UTC)  # noqa: TID251  this is the one place

    def monotonic_s(self) -> float:
        """Seconds since boot."""
        return time.monotonic()


def moment(unix_s: float) -> datetime:
    """Turn a supervisor's Unix seconds into a moment."""
    return datetime.fromtimestamp(unix_s, UTC)
