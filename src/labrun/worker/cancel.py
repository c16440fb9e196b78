"""Cancel: durable first, then applied until nothing is left."""

from labrun.core.events import CancelRequested
from labrun.store.seal import CancelledWaiting, append_cancelled
from labrun.worker.closing import drop
from labrun.worker.floor import OpenExperiment
from labrun.worker.narrate import recalled
from labrun.worker.parts import Parts
from labrun.worker.prepare import note_dispatch
from labrun.worker.present import present
from labrun.worker.watch import Watch


async def cancel(parts: Parts, watch: Watch, experiment: OpenExperiment, *, by: str, is_urgent: bool) -> None:
    """Ask an open experiment to stop; returns after the request is durable.

    One that waits is over at once. A cancel that arrives after the end changes nothing.
    """
    if experiment.is_over:
        return
    row = await parts.queue.request_cancel(experiment.run_id, by)
    if row is None or experiment.is_over:
        return
    if row.state == "claimed" and experiment.is_waiting:
        experiment.row = row  # the claim was committed an instant ago; its coroutine has not gone on yet
        note_dispatch(parts, experiment)
    await apply(parts, watch, experiment, by=row.cancelled_by or by, is_urgent=is_urgent)


async def apply(parts: Parts, watch: Watch, experiment: OpenExperiment, *, by: str, is_urgent: bool = False) -> None:
    """Carry out a durable request; called again after a restart."""
    experiment.is_urgent = experiment.is_urgent or is_urgent
    if experiment.story.cancel_by is None:
        experiment.record(CancelRequested(at=parts.clock.now(), by=by))
    if experiment.is_over:
        parts.floor.withdraw(experiment)
        finish_waiting(parts, experiment)
        await parts.queue.remove([experiment.run_id])
        drop(parts, experiment.run_id)
    else:
        watch.stop(experiment)
        experiment.bell.ring()


def finish_waiting(parts: Parts, experiment: OpenExperiment) -> None:
    """Leave the trace of an experiment that never got its turn: a synced line with its spec, and the index.

    One that has a folder, for it was resumed, needs the line too: by its length the index knows what it lacks.
    """
    shown = recalled(parts, present(parts, experiment, is_sealed=False))
    if experiment.journal is not None:
        experiment.write_down()
        experiment.journal.sync()
    spec = experiment.row.spec
    path, end = append_cancelled(parts.home.labs / spec.lab, CancelledWaiting(shown.run_id, shown, spec))
    parts.index.apply([shown], consumed={str(path): end})
