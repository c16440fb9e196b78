"""Attempts on this machine, seen through their control files; needs no PID, clock or heartbeat."""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from labrun.core.errors import EngineFailed
from labrun.core.ids import AttemptId
from labrun.engines.local import clearing
from labrun.engines.local.changes import changes
from labrun.engines.local.control import EVIDENCE, ControlFiles
from labrun.engines.local.conversation import ask
from labrun.engines.local.launcher import Launcher
from labrun.engines.protocol import (
    Alive,
    Capabilities,
    Cleared,
    Dead,
    Ended,
    LaunchOrder,
    Observation,
    ShimStatus,
    Unstarted,
)
from labrun.shim import kernel, supervise
from labrun.wire.requests import Keys
from labrun.wire.responses import Typed

log = logging.getLogger(__name__)


class LocalEngine:
    """The engine `local`. One at a time per control directory: the holder of the server lock owns it.

    Args:
        control: The control directory; must exist.
        interpreter: Python that runs the supervisors; this one when not given.
        shim: Directory of `supervise.py` and `zygote.py`; the installed one when not given.
    """

    name = "local"

    def __init__(self, control: Path, *, interpreter: str = sys.executable, shim: Path | None = None) -> None:
        self._control = ControlFiles(control)
        self._launcher = Launcher(control.absolute(), interpreter, shim or Path(supervise.__file__).parent)
        self._leases: dict[AttemptId, int] = {}
        """Leases held here: reserved and not launched, or won from a dead supervisor."""
        self.capabilities = Capabilities(survives_worker=True, enforces_memory=_can_limit_memory())

    def warm_up(self) -> None:
        """Start the zygote now, so that the first launch need not wait for it."""
        with suppress(OSError):  # the launch that needs it says what is wrong
            self._launcher.warm_up()

    def reserve(self, order: LaunchOrder) -> None:
        """Take the lease and write the order, unsynced.

        Raises:
            EngineFailed: The control directory does not accept the files, or somebody else holds the lease.
            FileExistsError: The attempt has a start marker.
        """
        attempt = order.attempt_id
        if self._control.exists(attempt, "started"):
            raise FileExistsError(str(self._control.path(attempt, "started")))
        try:
            if attempt not in self._leases:
                self._leases[attempt] = self._control.take_lease(attempt, is_new=True)
            self._control.write_order(order)
        except BlockingIOError as error:
            raise EngineFailed(self.name, "reserve", f"the lease of {attempt} is held already") from error
        except OSError as error:
            self.unreserve(attempt)
            raise EngineFailed(self.name, "reserve", f"{error.strerror}: {error.filename or attempt}") from error

    def unreserve(self, attempt: AttemptId) -> None:
        """Drop what `reserve` made; does nothing for an attempt that is not reserved here, or has started."""
        if attempt in self._leases and not self._control.exists(attempt, "started"):
            self._control.remove(attempt)
            self._let_go(attempt)

    async def launch(self, attempt: AttemptId) -> None:
        """Hand the attempt and its lease to the zygote.

        Raises:
            EngineFailed: It is not reserved, or nothing could be started; it will not start.
        """
        if attempt not in self._leases:
            raise EngineFailed(self.name, "launch", f"{attempt} is not reserved")
        await self._launcher.hand_over(attempt, self._leases[attempt])
        self._let_go(attempt)

    async def observe(self, attempts: Collection[AttemptId]) -> Mapping[AttemptId, Observation]:
        """Look at each attempt by the decision table; a lease that is won is kept until launch or forget.

        An attempt whose files cannot be read just now is left out: what cannot be seen is no end.
        """
        found: dict[AttemptId, Observation] = {}
        for attempt in attempts:
            try:
                found[attempt] = self._look(attempt)
            except OSError as error:  # EIO, EMFILE; whoever asks, asks again
                log.warning("attempt cannot be observed", extra={"run": attempt, "why": str(error)})
        return found

    def _look(self, attempt: AttemptId) -> Observation:
        started = self._control.started(attempt)
        if (record := self._control.exit(attempt)) is not None:
            return Ended(record, started)
        if attempt not in self._leases:
            try:
                self._leases[attempt] = self._control.take_lease(attempt)
            except BlockingIOError:
                return Alive(started)
            except FileNotFoundError as error:
                # Nothing proves that nobody runs: a live supervisor may hold the lease under no name at all.
                return Dead(started, f"its lease cannot be read: {error.strerror}")
            # It may have ended between the two looks; now that the lease is ours, it cannot any more.
            started = self._control.started(attempt)
            if (record := self._control.exit(attempt)) is not None:
                return Ended(record, started)
        if self._control.exists(attempt, "started"):
            if self._control.exists(attempt, "exit"):
                return Dead(started, "its exit record is damaged")
            return Dead(started, "its supervisor died without an exit record")
        if self._control.is_order_intact(attempt):
            return Unstarted()
        return Dead(None, "its control files are missing or damaged")

    def changes(self) -> AsyncIterator[AttemptId]:
        """Yield an attempt whenever its start marker or exit record appeared."""
        return changes(self._control)

    async def status(self, attempt: AttemptId) -> ShimStatus | None:
        """Ask a live supervisor; None when it does not answer."""
        answer = await ask(self._control, attempt, {"do": "status"})
        try:
            return msgspec.convert(answer, ShimStatus) if answer is not None else None
        except msgspec.ValidationError:
            return None

    async def signal(self, attempt: AttemptId, signal: int) -> bool:
        """Pass a signal to the command's process group."""
        answer = await ask(self._control, attempt, {"do": "signal", "signal": signal})
        return answer is not None and answer.get("ok") is True

    async def type(self, attempt: AttemptId, keys: Keys) -> Typed | None:
        """Type into a live attempt's terminal."""
        answer = await ask(self._control, attempt, {"do": "type", **msgspec.to_builtins(keys)})
        try:
            return msgspec.convert(answer, Typed) if answer is not None else None
        except msgspec.ValidationError:
            return None

    async def stop(self, attempt: AttemptId, *, by: str, grace_s: float) -> bool:
        """Ask the supervisor to stop its command; repeating can only shorten the grace."""
        answer = await ask(self._control, attempt, {"do": "stop", "by": by, "grace_s": grace_s})
        return answer is not None and answer.get("ok") is True

    async def clear(self, attempt: AttemptId, key: str) -> Cleared:
        """Kill what a dead attempt left behind; the one place here where work waits in a thread."""
        return await asyncio.to_thread(clearing.clear, self._control, attempt, key)

    def evidence(self, attempt: AttemptId) -> Mapping[str, str]:
        """Paths of the control files that belong into the record, those that exist."""
        return {
            kind: str(self._control.path(attempt, kind)) for kind in EVIDENCE if self._control.exists(attempt, kind)
        }

    def attempts(self) -> Collection[AttemptId]:
        """Attempts that have control files here, whoever knows them."""
        return self._control.attempts()

    def forget(self, attempt: AttemptId) -> None:
        """Remove control files and whatever cgroup is left, drop the lease."""
        clearing.remove(clearing.groups_of(self._control, attempt))
        self._control.remove(attempt)
        self._let_go(attempt)

    async def aclose(self) -> None:
        """Hang up on the zygote, let go of every lease; live attempts run on."""
        self._launcher.close()
        for attempt in list(self._leases):
            self._let_go(attempt)

    def _let_go(self, attempt: AttemptId) -> None:
        lease = self._leases.pop(attempt, None)
        if lease is not None:
            os.close(lease)  # closed, never unlocked: others may hold a copy


def _can_limit_memory() -> bool:
    for version, root in kernel.CGROUP_ROOTS:
        if os.access(root + "/cgroup.procs", os.W_OK) and os.access(root, os.W_OK):
            controllers = kernel.read_text(root + "/cgroup.controllers").split()
            if version == "v1" or "memory" in controllers:
                return True
    return False
