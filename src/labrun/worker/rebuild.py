"""Rebuild an open experiment from its row, its folder and its control files after a crash."""

from msgspec import structs

from labrun.core import lifecycle, story
from labrun.core.errors import IllegalTransition
from labrun.core.events import EVENT, Cloned, Damaged, Event, ResumeRequested, Started
from labrun.core.story import Story
from labrun.engines.protocol import Alive, Dead, Ended
from labrun.store.folder import Folder
from labrun.store.journal import Journal
from labrun.store.queue.protocol import Row
from labrun.worker.clock import moment
from labrun.worker.floor import OpenExperiment, accepted, claimed_folder
from labrun.worker.parts import Parts
from labrun.worker.prepare import SKIPPED, ensure_folder, note_dispatch


def read_back(parts: Parts, row: Row) -> OpenExperiment:
    """Rebuild an open experiment from its row and whatever its folder kept."""
    first = accepted(row)
    experiment = OpenExperiment(row, story.open_story(first))
    if row.folder is None or not (claimed_folder(row, parts.home.root) / "events.jsonl").exists():
        experiment.keep(first)
        return experiment
    experiment.folder = Folder(claimed_folder(row, parts.home.root))
    experiment.journal = Journal(experiment.folder.events)
    events, damage = experiment.journal.read(EVENT)
    told = _retell(events)
    if told is None:
        experiment.journal.restart()
        experiment.keep(first)
    else:
        experiment.take_over(told, events)
    if damage is not None:
        experiment.record(Damaged(at=parts.clock.now(), what=str(damage), kept=f"{len(events)} events"))
    _catch_up(parts, experiment)
    return experiment


def _retell(events: list[Event]) -> Story | None:
    try:
        return story.tell(events)
    except IllegalTransition:
        return None


def _catch_up(parts: Parts, experiment: OpenExperiment) -> None:
    """Reconcile a story with its row: which attempt are we talking about?"""
    row, state = experiment.row, experiment.story.state
    if isinstance(state, lifecycle.Completed) and row.attempt == state.attempt + 1:
        # the commit of a resume came through, its event did not
        experiment.record(ResumeRequested(at=parts.clock.now(), attempt=row.attempt, by=row.spec.user))
    elif state.attempt > row.attempt:
        experiment.row = structs.replace(row, attempt=state.attempt)  # a queue older than the folder: a backup
    elif state.attempt < row.attempt and experiment.journal is not None:
        experiment.journal.restart()
        experiment.start_over(accepted(row))
        what = f"the journal ended before attempt {row.attempt} was asked for"
        experiment.record(Damaged(at=parts.clock.now(), what=what, kept="the old one, beside it"))


def fill_in(parts: Parts, experiment: OpenExperiment, observation: Alive | Dead | Ended) -> None:
    """Write the events a crash kept from being written; the control files prove that they happened."""
    row, started = experiment.row, observation.started
    if experiment.folder is None or experiment.journal is None:
        ensure_folder(parts, experiment)
    note_dispatch(parts, experiment)
    at = moment(started.at) if started is not None else parts.clock.now()
    if isinstance(experiment.story.state, lifecycle.Cloning) and (
        started is not None or isinstance(observation, Ended)
    ):
        experiment.record(Cloned(at=at, attempt=row.attempt, tree=row.spec.source.tree, skipped=SKIPPED))
    if isinstance(experiment.story.state, lifecycle.Submitting) and started is not None:
        experiment.record(Started(at=at, attempt=row.attempt, pid=started.pid, enforced=started.enforced))
    if isinstance(observation, Ended) and started is not None and started.boot_id != parts.boot_id:
        what = "the host went down after it ended, before its evidence was known to be on disk"
        experiment.record(Damaged(at=parts.clock.now(), what=what, kept="what the disk had: outputs may be incomplete"))
