"""Claim what the schedule says starts next, and take each claimed attempt to its engine."""

import asyncio
import errno
import logging

from msgspec import structs

from labrun.core import schedule
from labrun.core.endings import Cancelled, Ending, NeverStarted
from labrun.core.errors import HomeBusy, LabError
from labrun.core.events import Ended, Step
from labrun.core.lifecycle import current_step
from labrun.engines.protocol import Dead, Unstarted
from labrun.store.queue.protocol import Claim, Row
from labrun.worker.floor import OpenExperiment
from labrun.worker.parts import Parts
from labrun.worker.patience import patiently, spawn, told
from labrun.worker.prepare import build_order, claimed, folder_of, new_key, note_dispatch, prepare
from labrun.worker.rebuild import fill_in, read_back
from labrun.worker.watch import Watch

log = logging.getLogger(__name__)


class Dispatcher:
    """The loop that starts experiments. `reason` is why the head of the queue waits."""

    def __init__(self, parts: Parts, watch: Watch) -> None:
        self._parts = parts
        self._watch = watch
        self.reason: str | None = None

    async def run(self) -> None:
        """Start what fits, whenever something changed on the floor."""
        floor = self._parts.floor
        while True:
            bell = floor.bell
            plan = schedule.plan(floor.pending(), floor.holding(), self._parts.capacity)
            self.reason = plan.head_reason
            for start in plan.starts:
                experiment = floor.get(start.run_id)
                if experiment is not None:
                    experiment.trouble = None
                    floor.hold(experiment)
                    self._begin(experiment, start.gpus)
            await bell.wait(None)

    def _begin(self, experiment: OpenExperiment, gpus: tuple[int, ...]) -> None:
        async def begin() -> None:
            if has_run_before(self._parts, experiment.row):
                await self._take_up(experiment)
            else:
                await self._claim(experiment, gpus)

        spawn(self._parts, "begin", begin, experiment)

    async def _claim(self, experiment: OpenExperiment, gpus: tuple[int, ...]) -> None:
        """Reserve, make the claim durable, go on. The lease is locked before the intent, never after."""
        parts, row = self._parts, experiment.row
        folder, key = folder_of(row), new_key()
        claim = Claim(
            run_id=row.run_id,
            attempt=row.attempt,
            worker=parts.name,
            folder=folder,
            key=key,
            claimed_at=parts.clock.now(),
            gpus=gpus,
        )
        try:
            parts.engine.reserve(build_order(parts, row, folder, key, gpus))
        except FileExistsError:
            await self._take_up(experiment)  # this very attempt has started once: it must never start again
            return
        except (OSError, LabError) as error:
            await self._wait_out(experiment, error)
            return
        try:
            fence = await parts.queue.claim(claim)
        except HomeBusy:
            raise
        except LabError as error:
            parts.engine.unreserve(experiment.attempt)
            if still_waits(parts, experiment):  # else it was cancelled meanwhile; whoever cancelled drops it
                await self._wait_out(experiment, error)
            return
        experiment.row = claimed(row, folder, key, gpus, parts, fence)
        await self.take_through(experiment)

    async def take_through(self, experiment: OpenExperiment) -> None:
        """Prepare and launch a claimed attempt; called again after a crash for one that never started."""
        parts = self._parts

        async def launch() -> None:
            await parts.engine.launch(experiment.attempt)

        try:
            note_dispatch(parts, experiment)
            if await prepare(parts, experiment) and await patiently(parts, experiment, launch):
                experiment.is_launched = True
                log.info("attempt launched", extra={"run": experiment.attempt})
            else:
                self._never_ran(experiment, Cancelled(experiment.story.cancel_by or "unknown"))
        except HomeBusy:
            raise
        except LabError as error:
            self._never_ran(experiment, NeverStarted(self._step(experiment), error.message, error.code))
        except OSError as error:
            code = errno.errorcode.get(error.errno or 0, "os_error").lower()
            self._never_ran(experiment, NeverStarted(self._step(experiment), told(error), code))
        except Exception as error:  # root of one experiment's task: a bug of ours costs this one, never the others
            log.exception("attempt could not be started", extra={"run": experiment.attempt})
            why = f"{told(error)}; the traceback is in server.log"
            self._never_ran(experiment, NeverStarted(self._step(experiment), why, "internal"))

    async def _take_up(self, experiment: OpenExperiment) -> None:
        """A row that waits although its attempt has been begun: its queue is older than its folder.

        That is a queue restored from a backup. Nothing is started; what the folder and the control
        files prove is taken over.
        """
        parts = self._parts
        found = read_back(parts, structs.replace(experiment.row, folder=folder_of(experiment.row)))
        log.warning("attempt was begun before, not started again", extra={"run": experiment.attempt})
        experiment.take_place_of(found)
        note_dispatch(parts, experiment)
        experiment.is_launched = True
        parts.floor.moved(experiment)
        if experiment.is_live:
            seen = await parts.engine.observe([experiment.attempt])
            observation = seen.get(experiment.attempt)
            if isinstance(observation, Unstarted):
                observation = Dead(None, "its queue row and its folder disagree about whether it started")
            if observation is not None:
                fill_in(parts, experiment, observation)
                await self._watch.take_in(experiment, observation)

    def _never_ran(self, experiment: OpenExperiment, ending: Ending) -> None:
        at = self._parts.clock.now()
        log.warning("attempt did not run", extra={"run": experiment.attempt, "ending": str(ending)})
        experiment.record(Ended(at=at, attempt=experiment.row.attempt, ending=ending, ended_at=at))
        self._parts.floor.moved(experiment)

    async def _wait_out(self, experiment: OpenExperiment, error: LabError | OSError) -> None:
        experiment.trouble = f"{told(error)}; tried again by itself"
        log.warning("claim put off", extra={"run": experiment.attempt, "why": experiment.trouble})
        await asyncio.sleep(self._parts.policy.retry_s)
        self._parts.floor.put_back(experiment)

    @staticmethod
    def _step(experiment: OpenExperiment) -> Step:
        return current_step(experiment.story.state)


def has_run_before(parts: Parts, row: Row) -> bool:
    """Whether the attempt that waits has a folder already: none is made before its claim is durable."""
    return (parts.home.root / folder_of(row) / "attempts" / str(row.attempt)).exists()


def still_waits(parts: Parts, experiment: OpenExperiment) -> bool:
    """Whether the experiment is still the one that waits on the floor."""
    return parts.floor.get(experiment.run_id) is experiment and experiment.is_waiting
