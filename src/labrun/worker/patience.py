"""Waiting out what the machine, not the experiment, stands in the way with; and roots that outlive a bug."""

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable

from labrun.core.errors import EngineFailed, HomeBusy, LabError
from labrun.worker.floor import OpenExperiment
from labrun.worker.parts import Parts

log = logging.getLogger(__name__)

PASSING = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EAGAIN,
    errno.ESTALE,
    errno.ETIMEDOUT,
}
"""Troubles that are never an experiment's own."""


def is_passing(error: Exception) -> bool:
    """Whether trying again later may help."""
    return isinstance(error, EngineFailed) or (isinstance(error, OSError) and error.errno in PASSING)


def is_any(error: Exception) -> bool:
    """For work on our own folders: whatever the disk says, it is not the experiment's fault."""
    return isinstance(error, OSError | EngineFailed)


def told(error: Exception) -> str:
    """Say in half a sentence what an error is about."""
    if isinstance(error, LabError):
        return error.message
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}"


async def patiently(
    parts: Parts,
    experiment: OpenExperiment,
    work: Callable[[], Awaitable[object]],
    is_waited_out: Callable[[Exception], bool] = is_passing,
) -> bool:
    """Repeat work until it succeeds; the experiment keeps its place and says why it stands still.

    Returns:
        False when somebody cancelled the experiment before the work succeeded.

    Raises:
        Exception: What the work raised, when waiting would not help.
    """
    while not experiment.story.cancel_by:
        try:
            await work()
        except (OSError, EngineFailed) as error:
            if not is_waited_out(error):
                raise
            experiment.trouble = f"{told(error)}; tried again by itself"
            log.warning("put off", extra={"run": experiment.attempt, "why": told(error)})
            experiment.bell.ring()
            await experiment.bell.wait(parts.policy.retry_s)
        else:
            experiment.trouble = None
            return True
    return False


def spawn(parts: Parts, name: str, work: Callable[[], Awaitable[None]], experiment: OpenExperiment) -> None:
    """Run one experiment's work as a task: a bug in it costs this experiment's progress, never the server."""

    async def root() -> None:
        try:
            await work()
        except HomeBusy:
            raise  # another server owns the home: this one must not go on at all
        except Exception as error:  # the root of one experiment's task
            log.exception("task failed", extra={"task": name, "run": experiment.attempt})
            experiment.trouble = f"{told(error)}; the traceback is in server.log"
            experiment.bell.ring()

    parts.tasks.create_task(root(), name=f"{name} {experiment.row.label}")


def keep_going(parts: Parts, name: str, loop: Callable[[], Awaitable[None]]) -> None:
    """Run a loop as a task; after a failure it begins again, a moment later."""

    async def root() -> None:
        while True:
            try:
                await loop()
            except HomeBusy:
                raise
            except Exception:  # the root of a loop
                log.exception("loop failed, begun again", extra={"loop": name})
                await asyncio.sleep(parts.policy.retry_s)
            else:
                return

    parts.tasks.create_task(root(), name=name)
