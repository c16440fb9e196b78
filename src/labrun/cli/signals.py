"""Signals while attached: they interrupt waiting, and never the moment between writing and counting."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupted(Exception):
    """A signal came while we were only waiting."""


class Signals:
    """Collects SIGINT, SIGTERM and SIGHUP between `__enter__` and `__exit__`."""

    def __init__(self) -> None:
        self._pending: list[int] = []
        self._is_waiting = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, `&` in a script: stays ignored
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._pending.append(number)
        if self._is_waiting:
            self._is_waiting = False
            raise Interrupted

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Let a signal break off what happens inside, which must bear being broken off anywhere.

        Raises:
            Interrupted: One came, or had come before.
        """
        try:
            self._is_waiting = True
            if self._pending:
                raise Interrupted
            yield
        finally:
            self._is_waiting = False

    @property
    def has_pending(self) -> bool:
        """Whether one came that nobody looked at."""
        return bool(self._pending)

    def next(self) -> int | None:
        """The oldest signal not looked at yet."""
        return self._pending.pop(0) if self._pending else None
