"""After the end: list what was left behind, seal the evidence, forget the row. In batches.

Order of the outside effects: folder and chain durable, index told, row removed, control files
removed. Each can be repeated by run id; a crash anywhere only makes the next start do it again.
"""

import asyncio
import logging
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from labrun.core.errors import HomeBusy, StoreDamaged
from labrun.core.events import Checked
from labrun.core.failure import Failure
from labrun.core.ids import RunId
from labrun.core.lifecycle import Checking, Completed
from labrun.core.spec import Spec
from labrun.engines.protocol import ExitRecord
from labrun.store.artifacts import scan
from labrun.store.folder import Folder
from labrun.store.seal import Sealed, SealJob, seal_batch
from labrun.wire.responses import Artifact, Experiment
from labrun.worker.changes import last_success
from labrun.worker.failing import failure_card, has_failed, judge_end
from labrun.worker.floor import OpenExperiment
from labrun.worker.narrate import catch_up, is_behind, listed
from labrun.worker.parts import Parts
from labrun.worker.patience import is_passing, told
from labrun.worker.prepare import ensure_folder, variables_path
from labrun.worker.present import present
from labrun.worker.sharing import Sharing

log = logging.getLogger(__name__)

_LONGEST_PAUSE_S = 60.0
"""Between two tries to seal an experiment whose folder cannot be written."""


class Closing:
    """The loop that seals. While one batch is written the next one gathers."""

    def __init__(self, parts: Parts, sharing: Sharing) -> None:
        self._parts = parts
        self._sharing = sharing
        self._not_before: dict[RunId, float] = {}
        """When to try again those whose folder could not be written."""
        self._pauses_s: dict[RunId, float] = {}
        """How long the last pause of each of them was; it doubles."""

    async def run(self) -> None:
        """Seal whatever ended, until cancelled."""
        parts = self._parts
        while True:
            bell = parts.floor.bell
            ended = self._ended()
            if not ended:
                await bell.wait(parts.policy.retry_s if self._not_before else None)
                continue
            await self._gather()
            ended = self._ended()
            try:
                await self._close(ended)
            except HomeBusy:
                raise
            except Exception:  # root of a batch: whatever one of them made fail must not hold up the others
                log.warning("batch not sealed, one by one now", extra={"count": len(ended)}, exc_info=True)
                for experiment in ended:
                    await self._close_one(experiment)

    async def _gather(self) -> None:
        """Let a batch grow, for syncs, chain and commit cost the same for many; at once when nothing else can end."""
        floor, policy = self._parts.floor, self._parts.policy

        def is_full() -> bool:
            return floor.over_count >= policy.seal_batch or floor.live_count == 0

        await floor.bell.wait_for(is_full, policy.gather_s)

    def _ended(self) -> list[OpenExperiment]:
        now = self._parts.clock.monotonic_s()
        self._not_before = {run_id: at for run_id, at in self._not_before.items() if at > now}
        found = [one for one in self._parts.floor.over() if one.run_id not in self._not_before]
        return found[: self._parts.policy.seal_batch]

    async def _close_one(self, experiment: OpenExperiment) -> None:
        try:
            await self._close([experiment])
        except HomeBusy:
            raise
        except Exception as error:  # root of one experiment's seal
            why = told(error)
            log.exception("seal put off", extra={"run": experiment.attempt, "why": why})
            retry_s = self._parts.policy.retry_s
            last_s = retry_s / 2 if is_passing(error) else self._pauses_s.get(experiment.run_id, retry_s / 2)
            pause_s = min(_LONGEST_PAUSE_S, 2 * last_s)
            self._pauses_s[experiment.run_id] = pause_s
            self._not_before[experiment.run_id] = self._parts.clock.monotonic_s() + pause_s
            experiment.trouble = f"not sealed yet: {why}; tried again by itself"
            experiment.bell.ring()

    async def _close(self, ended: list[OpenExperiment]) -> None:
        parts = self._parts
        for experiment in ended:
            ensure_folder(parts, experiment)
        unlisted = [experiment for experiment in ended if experiment.artifacts is None]
        found = await asyncio.to_thread(self._look, unlisted)
        for experiment, left in zip(unlisted, found, strict=True):
            experiment.artifacts = artifacts = left.artifacts
            if not isinstance(experiment.story.state, Checking):
                continue  # the event was written before a crash, the list was not kept
            size = sum(artifact.size_bytes for artifact in artifacts)
            experiment.record(
                Checked(
                    at=parts.clock.now(),
                    attempt=experiment.row.attempt,
                    artifact_count=len(artifacts),
                    artifact_bytes=size,
                    missing_outputs=left.missing_outputs,
                    failure=left.failure,
                    hint=left.hint,
                )
            )
        for experiment in ended:
            experiment.write_down()
        jobs = [seal_job(parts, experiment) for experiment in ended if isinstance(experiment.story.state, Completed)]
        successes = [last_success(parts, job.story) if has_failed(job.story) else None for job in jobs]
        sealed = await asyncio.to_thread(lambda: seal_batch(list(map(self._with_card, jobs, successes))))
        await self._forget(ended, sealed)

    def _with_card(self, job: SealJob, success: Experiment | None) -> SealJob:
        return replace(job, card=failure_card(self._parts.code, job.story, job.folder, success))

    def _look(self, experiments: list[OpenExperiment]) -> list["_Left"]:
        """See what each of them left behind; blocks."""
        return [self._look_at(experiment) for experiment in experiments]

    def _look_at(self, experiment: OpenExperiment) -> "_Left":
        folder, spec = experiment.folder, experiment.row.spec
        ending = experiment.story.ending
        if folder is None or ending is None:
            return _Left()
        try:
            code = self._parts.code.entries(spec.source.tree) if spec.source.tree is not None else {}
        except StoreDamaged as error:  # then all of `work/` is listed and sealed: more than it wrote, and nothing lost
            log.warning("frozen code is damaged", extra={"run": experiment.attempt, "why": str(error)})
            code = {}
        artifacts = tuple(scan(folder, code, {link.place for link in spec.source.links}))
        memory_bytes = self._parts.capacity.memory_bytes
        failure, hint = judge_end(folder, experiment.row.attempt, spec, ending, experiment.exit_record, memory_bytes)
        return _Left(artifacts, _missing(folder, spec), failure, hint)

    async def _forget(self, ended: list[OpenExperiment], sealed: list[Sealed]) -> None:
        parts = self._parts
        shown = [present(parts, experiment, is_sealed=True) for experiment in ended]
        parts.index.apply(
            await asyncio.to_thread(lambda: list(map(_as_listed, ended, shown))),
            consumed={str(mark.chain): mark.chain_end for mark in sealed},
        )
        await parts.queue.remove([experiment.run_id for experiment in ended])
        for experiment in ended:
            parts.engine.forget(experiment.attempt)
            drop(parts, experiment.run_id)
            self._sharing.note(experiment)
            self._pauses_s.pop(experiment.run_id, None)
            log.info("experiment sealed", extra={"run": experiment.attempt})
        for experiment in ended:
            if experiment.folder is not None and is_behind(experiment.folder):
                await catch_up(parts, experiment.run_id)


def _as_listed(experiment: OpenExperiment, shown: Experiment) -> Experiment:
    """With what it measured and what people said of it, as lists find it."""
    return listed(shown, experiment.folder) if experiment.folder is not None else shown


class _Left(NamedTuple):
    """What an attempt left behind."""

    artifacts: tuple[Artifact, ...] = ()
    missing_outputs: tuple[str, ...] = ()
    failure: Failure | None = None
    hint: str | None = None


def _missing(folder: Folder, spec: Spec) -> tuple[str, ...]:
    """Expected outputs that nothing matches, neither where it ran nor in `outputs/`."""
    cwd = Path(spec.source.cwd) if spec.source.cwd_is_live else folder.work / spec.source.cwd
    return tuple(glob for glob in spec.expected_outputs if not any(_has(top, glob) for top in (cwd, folder.outputs)))


def _has(top: Path, glob: str) -> bool:
    try:
        return next(top.glob(glob), None) is not None
    except (OSError, ValueError, IndexError):
        return False  # no pattern Python knows: nothing can match it


def seal_job(parts: Parts, experiment: OpenExperiment) -> SealJob:
    """Gather what one seal needs."""
    folder = experiment.folder
    assert isinstance(folder, Folder)
    record: ExitRecord | None = experiment.exit_record
    return SealJob(
        folder=folder,
        attempt=experiment.row.attempt,
        story=experiment.story,
        control=parts.engine.evidence(experiment.attempt),
        exit_record=record,
        artifacts=experiment.artifacts or (),
        at=parts.clock.now(),
    )


def drop(parts: Parts, run_id: RunId) -> None:
    """Let an experiment leave the floor, and its variables the disk when nobody else needs them."""
    experiment = parts.floor.get(run_id)
    if experiment is None:
        return
    parts.floor.drop(run_id)
    digest = experiment.row.spec.surroundings.variables
    if digest is not None and not parts.floor.uses_variables(digest):
        variables_path(parts, digest).unlink(missing_ok=True)
