"""After any restart: look at every open row, needing no PID, no clock and no heartbeat.

Open rows are the whole list of what must be looked at. What is half-made is rebuilt from the row
and the control files; what is alive is adopted; what is proven dead is called lost, never rerun.
"""

import asyncio
import logging

from labrun.core.errors import LabError
from labrun.core.events import CancelRequested
from labrun.core.lifecycle import Running
from labrun.engines.protocol import Alive, Dead, Ended, Observation, Unstarted
from labrun.worker import cancel
from labrun.worker.dispatch import Dispatcher
from labrun.worker.floor import OpenExperiment
from labrun.worker.parts import Parts
from labrun.worker.patience import spawn, told
from labrun.worker.prepare import note_dispatch
from labrun.worker.rebuild import fill_in, read_back
from labrun.worker.watch import Watch

log = logging.getLogger(__name__)


async def recover(parts: Parts, watch: Watch, dispatcher: Dispatcher) -> None:
    """Take every open row back onto the floor and go on where it stood."""
    claimed: list[OpenExperiment] = []
    cancelled: list[OpenExperiment] = []
    for row in parts.queue.rows():
        experiment = read_back(parts, row)
        parts.floor.add(experiment)
        if experiment.row.attempt > 1:
            parts.index.remove(row.run_id)  # it holds what is over; a crash may have kept that from being done
        if row.state == "claimed":
            parts.floor.hold(experiment)
            claimed.append(experiment)
        elif row.cancelled_by is not None:
            cancelled.append(experiment)
    _sweep(parts)
    seen = await parts.engine.observe([experiment.attempt for experiment in claimed])
    for experiment in claimed:
        await _guarded(parts, watch, dispatcher, experiment, seen.get(experiment.attempt))
    for experiment in cancelled:  # after all rows are known: what one of them leaves behind may be another's
        await _cancel_waiting(parts, watch, experiment)
    if claimed:
        alive = sum(isinstance(observation, Alive) for observation in seen.values())
        text = f"found {len(claimed)} claimed attempts after a restart: {alive} alive and adopted"
        parts.notices.append(text)
        log.info("recovered", extra={"claimed": len(claimed), "alive": alive})


def _sweep(parts: Parts) -> None:
    """Remove control files and variables a crash left behind after their row was gone.

    Control files of an attempt whose record is not known to be complete stay: they are evidence.
    """
    for attempt in parts.engine.attempts():
        run_id, _, number = attempt.rpartition(".")
        opened, ended = parts.floor.get(run_id), parts.index.get(run_id)
        current = opened.row.attempt if opened is not None else ended.attempt + 1 if ended is not None else 0
        if number.isdecimal() and int(number) < current:
            parts.engine.forget(attempt)
    for path in parts.home.env.iterdir():
        if not parts.floor.uses_variables(path.name.partition(".")[0]):
            path.unlink(missing_ok=True)


async def _guarded(
    parts: Parts, watch: Watch, dispatcher: Dispatcher, experiment: OpenExperiment, observation: Observation | None
) -> None:
    """One experiment that cannot be looked at must not keep the home from starting: it is looked at again."""
    if observation is not None:
        try:
            await _go_on(parts, watch, dispatcher, experiment, observation)
        except (OSError, LabError) as error:
            log.exception("could not take up", extra={"run": experiment.attempt})
            experiment.trouble = f"{told(error)}; looked at again by itself"
        else:
            return

    async def look_again() -> None:
        await asyncio.sleep(parts.policy.poll_s)
        seen = await parts.engine.observe([experiment.attempt])
        await _guarded(parts, watch, dispatcher, experiment, seen.get(experiment.attempt))

    spawn(parts, "look again", look_again, experiment)


async def _cancel_waiting(parts: Parts, watch: Watch, experiment: OpenExperiment) -> None:
    async def apply() -> None:
        await cancel.apply(parts, watch, experiment, by=experiment.row.cancelled_by or "unknown")

    parts.floor.withdraw(experiment)
    spawn(parts, "cancel", apply, experiment)


async def _go_on(
    parts: Parts, watch: Watch, dispatcher: Dispatcher, experiment: OpenExperiment, observation: Observation
) -> None:
    experiment.trouble = None
    if experiment.is_over:
        if isinstance(observation, Ended):
            experiment.exit_record = observation.record
            fill_in(parts, experiment, observation)
        parts.floor.moved(experiment)
        return
    if isinstance(observation, Unstarted):
        if not isinstance(experiment.story.state, Running):
            await _start_again(parts, dispatcher, experiment)
            return
        observation = Dead(None, "its start marker vanished")
    fill_in(parts, experiment, observation)
    experiment.is_launched = True
    parts.floor.moved(experiment)
    await watch.take_in(experiment, observation)
    if experiment.row.cancelled_by is not None and experiment.is_live:
        await cancel.apply(parts, watch, experiment, by=experiment.row.cancelled_by)


async def _start_again(parts: Parts, dispatcher: Dispatcher, experiment: OpenExperiment) -> None:
    """Same attempt: it provably never started. Its steps are repeated from the row."""
    log.info("attempt had not started, going on with it", extra={"run": experiment.attempt})
    note_dispatch(parts, experiment)
    if experiment.row.cancelled_by is not None and experiment.story.cancel_by is None:
        experiment.record(CancelRequested(at=parts.clock.now(), by=experiment.row.cancelled_by))

    async def go() -> None:
        await dispatcher.take_through(experiment)

    spawn(parts, "start again", go, experiment)
