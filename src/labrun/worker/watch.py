"""See attempts start and end, and stop those somebody wants stopped.

Ends are seen by the engine's change feed; leases are probed once a second, only for a death without
an exit record. An attempt out of reach is never failed for its silence.
"""

import asyncio
import logging

from labrun.core.endings import Cancelled, Lost
from labrun.core.errors import EngineFailed
from labrun.core.events import Ended as EndedEvent
from labrun.core.events import Started
from labrun.core.ids import AttemptId
from labrun.core.lifecycle import Running, Submitting
from labrun.engines.protocol import Alive, Dead, Ended, Observation, StartedRecord, Unstarted
from labrun.worker.clock import moment
from labrun.worker.floor import OpenExperiment
from labrun.worker.parts import Parts
from labrun.worker.patience import spawn
from labrun.worker.verdict import ending_of

log = logging.getLogger(__name__)


class Watch:
    """Turns what the engine observes into events."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._burying: set[AttemptId] = set()

    async def follow_changes(self) -> None:
        """Look at an attempt whenever its control files changed."""
        async for attempt in self._parts.engine.changes():
            experiment = self._parts.floor.by_attempt(attempt)
            if experiment is not None and experiment.is_live and experiment.is_launched:
                await self.look([experiment])

    async def probe_leases(self) -> None:
        """Look at every live attempt, again and again."""
        while True:
            await asyncio.sleep(self._parts.policy.poll_s)
            live = [experiment for experiment in self._parts.floor.live() if experiment.is_launched]
            if live:
                await self.look(live)

    async def look(self, experiments: list[OpenExperiment]) -> None:
        """Observe these attempts once and act on what is seen."""
        seen = await self._parts.engine.observe([experiment.attempt for experiment in experiments])
        for experiment in experiments:
            observation = seen.get(experiment.attempt)
            if observation is not None and experiment.is_live:
                await self.take_in(experiment, observation)

    async def take_in(self, experiment: OpenExperiment, observation: Observation) -> None:
        """Act on one observation; seeing the same thing twice changes nothing."""
        match observation:
            case Alive(started=started):
                self._note_start(experiment, started)
            case Ended(started=started):
                self._note_start(experiment, started)
                if experiment.attempt not in self._burying:  # given up: what its supervisor still says comes too late
                    self._note_end(experiment, observation)
            case Dead(started=started, why=why):
                self._note_start(experiment, started)
                if experiment.attempt not in self._burying:
                    self._burying.add(experiment.attempt)
                    self._bury(experiment, why)
            case Unstarted() if isinstance(experiment.story.state, Running):
                await self.take_in(experiment, Dead(None, "its start marker vanished"))
            case Unstarted():
                await self._launch_again(experiment)

    async def _launch_again(self, experiment: OpenExperiment) -> None:
        """The message was lost with the zygote; the order is intact and the lease is ours again."""
        log.warning("attempt never reached its supervisor", extra={"run": experiment.attempt})
        if experiment.story.cancel_by:
            now, ending = self._parts.clock.now(), Cancelled(experiment.story.cancel_by)
            experiment.record(EndedEvent(at=now, attempt=experiment.row.attempt, ending=ending, ended_at=now))
            self._over(experiment)
            return
        try:
            await self._parts.engine.launch(experiment.attempt)
        except EngineFailed as error:  # no process to be had just now: the next probe tries again
            experiment.trouble = error.message
            experiment.bell.ring()

    def _note_start(self, experiment: OpenExperiment, started: StartedRecord | None) -> None:
        if started is None or not isinstance(experiment.story.state, Submitting):
            return
        experiment.record(
            Started(at=moment(started.at), attempt=experiment.row.attempt, pid=started.pid, enforced=started.enforced)
        )
        if experiment.story.cancel_by:
            self.stop(experiment)

    def _note_end(self, experiment: OpenExperiment, observation: Ended) -> None:
        record, spec = observation.record, experiment.row.spec
        experiment.exit_record = record
        ending = ending_of(record, timeout_s=spec.timeout_s, memory_bytes=spec.resources.memory_bytes)
        experiment.record(
            EndedEvent(
                at=self._parts.clock.now(),
                attempt=experiment.row.attempt,
                ending=ending,
                started_at=moment(record.started_at),
                ended_at=moment(record.ended_at),
                leftover_processes=record.leftover_processes,
                cleared_by=record.cleared_by,
            )
        )
        self._over(experiment)

    def _bury(self, experiment: OpenExperiment, why: str) -> None:
        async def bury() -> None:
            killed, rung = 0, None
            while True:
                cleared = await self._parts.engine.clear(experiment.attempt, experiment.row.key or "")
                killed, rung = killed + cleared.killed, cleared.rung or rung
                if not cleared.unkillable:
                    break
                pids = ", ".join(map(str, cleared.unkillable))
                experiment.trouble = f"process {pids} cannot be killed (state D); its slot stays taken"
                experiment.bell.ring()
                await asyncio.sleep(self._parts.policy.poll_s)
            experiment.trouble = None
            self._burying.discard(experiment.attempt)
            if not experiment.is_live:
                return
            now = self._parts.clock.now()
            experiment.record(
                EndedEvent(
                    at=now,
                    attempt=experiment.row.attempt,
                    ending=Lost(why),
                    ended_at=now,
                    leftover_processes=killed,
                    cleared_by=rung,
                )
            )
            self._over(experiment)

        spawn(self._parts, "bury", bury, experiment)

    def _over(self, experiment: OpenExperiment) -> None:
        ending = type(experiment.story.ending).__name__
        log.info("attempt ended", extra={"run": experiment.attempt, "ending": ending})
        self._parts.floor.moved(experiment)

    def stop(self, experiment: OpenExperiment) -> None:
        """Carry out a cancel that is durable already: ask again and again until nothing is left."""
        if experiment.is_stopping:
            return
        experiment.is_stopping = True

        async def insist() -> None:
            while experiment.is_live:
                grace_s = 0.0 if experiment.is_urgent else experiment.row.spec.grace_s
                if experiment.is_launched:
                    by = experiment.story.cancel_by or "unknown"
                    await self._parts.engine.stop(experiment.attempt, by=by, grace_s=grace_s)
                    await self._note_unkillable(experiment)
                await experiment.bell.wait(self._parts.policy.poll_s)
            experiment.is_stopping = False

        spawn(self._parts, "stop", insist, experiment)

    async def _note_unkillable(self, experiment: OpenExperiment) -> None:
        status = await self._parts.engine.status(experiment.attempt)
        trouble = None
        if status is not None and status.unkillable:
            pids = ", ".join(map(str, status.unkillable))
            trouble = f"process {pids} cannot be killed (state D); its slot stays taken"
        if trouble != experiment.trouble:
            experiment.trouble = trouble
            experiment.bell.ring()
