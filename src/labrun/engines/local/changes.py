"""See start markers and exit records appear, by inotify."""

import asyncio
import logging
from collections.abc import AsyncIterator

from inotify_simple import INotify, flags

from labrun.core.ids import AttemptId
from labrun.engines.local.control import ControlFiles

log = logging.getLogger(__name__)

_WATCHED = {"started": flags.CLOSE_WRITE, "exit": flags.MOVED_TO}
"""The event that means: this file is whole now."""


async def changes(control: ControlFiles) -> AsyncIterator[AttemptId]:
    """Yield an attempt whenever its start marker or exit record became whole; never ends.

    When the kernel drops events, every known attempt is yielded. Without inotify nothing is: the
    once-a-second look at the leases sees the same a little later.
    """
    seen: asyncio.Queue[AttemptId] = asyncio.Queue()
    inotify = _watch(control)
    if inotify is None:
        await asyncio.Event().wait()
        return

    def read() -> None:
        # Read here, not where it is consumed: the loop calls again while something is left to read.
        for event in inotify.read(timeout=0):
            if event.mask & flags.Q_OVERFLOW:
                for attempt in control.attempts():
                    seen.put_nowait(attempt)
            else:
                attempt, _, kind = event.name.rpartition(".")
                if attempt and event.mask & _WATCHED.get(kind, 0):
                    seen.put_nowait(AttemptId(attempt))

    with inotify:
        loop = asyncio.get_running_loop()
        loop.add_reader(inotify.fileno(), read)
        try:
            while True:
                yield await seen.get()
        finally:
            loop.remove_reader(inotify.fileno())


def _watch(control: ControlFiles) -> INotify | None:
    try:
        inotify = INotify(nonblocking=True)
    except OSError as error:
        log.warning("no inotify, ends are seen a second later", extra={"why": str(error)})
        return None
    try:
        inotify.add_watch(str(control.directory), flags.CLOSE_WRITE | flags.MOVED_TO)
    except OSError as error:
        inotify.close()
        log.warning("control files cannot be watched, ends are seen a second later", extra={"why": str(error)})
        return None
    return inotify
