"""What is open now: every experiment that waits or runs, in memory, in the order it will start.

The queue back end is the truth for what is open, the folder for what happened; this is their
picture in one process, owned by one event loop. Sealed experiments leave it.
"""

import asyncio
import bisect
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TypeVar

from labrun.core import lifecycle, story
from labrun.core.commands import Command
from labrun.core.events import Accepted, Damaged, Event, Status
from labrun.core.ids import AttemptId, RunId, attempt_id
from labrun.core.narrative import Told
from labrun.core.schedule import Holding, Pending, order_key
from labrun.core.story import Story
from labrun.engines.protocol import ExitRecord
from labrun.store.folder import Folder
from labrun.store.journal import Journal
from labrun.store.queue.protocol import Row
from labrun.wire.responses import Artifact
from labrun.worker.bell import Bell

K = TypeVar("K")


class OpenExperiment:
    """One experiment that waits or runs, or whose seal is not on disk yet."""

    def __init__(self, row: Row, told: Story) -> None:
        self.row = row
        self.story = told
        self.folder: Folder | None = None
        self.journal: Journal | None = None
        self.exit_record: ExitRecord | None = None
        self.artifacts: tuple[Artifact, ...] | None = None
        """What the last attempt left behind; None until it was listed."""
        self.trouble: str | None = None
        """Why it cannot go on just now: a process SIGKILL does not remove, a disk that is full."""
        self.said = Told()
        """What people said of it."""
        self.is_stopping = False
        self.is_urgent = False
        """Cancel without grace."""
        self.is_launched = False
        """It was handed to the engine: its control files may be looked at."""
        self.bell = Bell()
        """Rings at every event."""
        self.log_bell = Bell()
        """Rings at every event too, and when a followed log grows: a chatty script wakes only its followers."""
        self.history: list[Event] = []
        """Every event, in the order of the journal's lines."""
        self._unwritten: list[Event] = []

    @property
    def run_id(self) -> RunId:
        """Identity."""
        return self.row.run_id

    @property
    def attempt(self) -> AttemptId:
        """The attempt that waits or is held."""
        return attempt_id(self.row.run_id, self.row.attempt)

    @property
    def is_waiting(self) -> bool:
        """Nobody holds it."""
        return isinstance(self.story.state, lifecycle.Waiting)

    @property
    def is_live(self) -> bool:
        """It is claimed and its processes may exist: it holds resources."""
        return isinstance(self.story.state, lifecycle.Cloning | lifecycle.Submitting | lifecycle.Running)

    @property
    def is_over(self) -> bool:
        """Its last attempt ended."""
        return lifecycle.is_over(self.story.state)

    def ring(self) -> None:
        """Wake everybody who waits for a change of this experiment."""
        self.bell.ring()
        self.log_bell.ring()

    def record(self, *events: Event) -> list[Command]:
        """Append events to the journal, then fold them; return what is to be done. In that order, always.

        Before the folder exists, and while the disk is full, events are kept here: each can be derived
        again from the row and the control files, so nothing is lost with this process.
        """
        self._unwritten.extend(events)
        self.history.extend(events)
        if self.journal is not None:
            try:
                self.write_down()
            except OSError as error:
                self.trouble = f"cannot write {self.journal.path}: {error.strerror}"
        commands: list[Command] = []
        for event in events:
            self.story, more = story.advance(self.story, event)
            commands.extend(more)
        self.ring()
        return commands

    def start_over(self, first: Accepted) -> None:
        """Begin the story anew from its row: what the journal told could not be used."""
        self.story = story.open_story(first)
        self.history, self._unwritten = [first], [first]

    def take_place_of(self, other: "OpenExperiment") -> None:
        """Become what was read back from disk, for everybody who holds this object."""
        self.row, self.story, self.history = other.row, other.story, other.history
        self.folder, self.journal, self._unwritten = other.folder, other.journal, other._unwritten
        self.ring()

    def keep(self, event: Event) -> None:
        """Hold an event that is folded already until there is a journal for it."""
        self._unwritten.append(event)
        self.history.append(event)

    def write_down(self) -> None:
        """Append what is not in the journal yet.

        Raises:
            OSError: The journal does not take it; nothing was forgotten.
        """
        if self.journal is None:
            return
        if not self.journal.path.exists() and self.folder is not None and len(self.history) > len(self._unwritten):
            self._restore_files()
        elif self._unwritten:
            self.journal.append(*self._unwritten)
        self._unwritten.clear()

    def _restore_files(self) -> None:
        """Make the folder and the journal again: somebody, most likely the script, removed them."""
        assert self.folder is not None and self.journal is not None  # noqa: PT018  asked by the caller
        self.folder.create()
        self.folder.attempt(self.row.attempt).create()
        what = "the experiment's folder or journal was removed while it was open"
        told = Damaged(at=self.history[-1].at, what=what, kept="its history; files the script had written are gone")
        self.history.append(told)
        self.journal.append(*self.history)
        self.story, _ = story.advance(self.story, told)

    def take_over(self, told: Story, events: list[Event]) -> None:
        """Take over a story that was read from disk."""
        self.story = told
        self.history = events
        self.ring()


def accepted(row: Row) -> Accepted:
    """The first event of every journal, derived from the row: it can be written again at any time."""
    return Accepted(at=row.queued_at, run_id=row.run_id, label=row.label, spec=row.spec, attempt=row.attempt)


class Floor:
    """All open experiments of a home."""

    def __init__(self) -> None:
        self._open: dict[RunId, OpenExperiment] = {}
        self._line: list[tuple[tuple[int, int], RunId]] = []
        """Waiting ones, sorted by the queue's order."""
        self._live: dict[RunId, OpenExperiment] = {}
        self._over: dict[RunId, OpenExperiment] = {}
        self._withdrawn: dict[RunId, OpenExperiment] = {}
        """Cancelled while they waited, and not recorded as that yet."""
        self._by_label: dict[int, RunId] = {}
        self._labels: list[int] = []
        """Label numbers of open experiments, sorted."""
        self._waiting: Counter[tuple[str, Status]] = Counter()
        """Those in the line by lab and status; their status cannot change while they are."""
        self._variables: Counter[str] = Counter()
        self._defined: dict[str, set[int]] = {}
        """Label numbers by definition."""
        self.sharing_lock = asyncio.Lock()
        """Held while files of a sealed experiment become links: it must not be resumed in the middle of that."""
        self.notes_lock = asyncio.Lock()
        """One note after the other: a file has one writer."""
        self.bell = Bell()
        """Rings when anything was added, ended or dropped."""

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[OpenExperiment]:
        return iter(self._open.values())

    def get(self, run_id: str) -> OpenExperiment | None:
        """One open experiment."""
        return self._open.get(RunId(run_id))

    def by_attempt(self, attempt: AttemptId) -> OpenExperiment | None:
        """The experiment whose current attempt this is; late reports of older attempts find nothing."""
        found = self._open.get(RunId(attempt.rpartition(".")[0]))
        return found if found is not None and found.attempt == attempt else None

    def by_label(self, number: int) -> OpenExperiment | None:
        """One open experiment by its label number."""
        run_id = self._by_label.get(number)
        return self._open[run_id] if run_id is not None else None

    def labels_below(self, number: int | None) -> Iterator[int]:
        """Label numbers of open experiments, newest first, below the one given."""
        end = len(self._labels) if number is None else bisect.bisect_left(self._labels, number)
        return (self._labels[i] for i in range(end - 1, -1, -1))

    def add(self, experiment: OpenExperiment) -> None:
        """Take an experiment in, waiting or live."""
        self._open[experiment.run_id] = experiment
        self._by_label[experiment.row.label_number] = experiment.run_id
        bisect.insort(self._labels, experiment.row.label_number)
        self._variables[experiment.row.spec.surroundings.variables or ""] += 1
        if (definition := experiment.row.spec.definition) is not None:
            self._defined.setdefault(definition, set()).add(experiment.row.label_number)
        if experiment.is_waiting:
            self._join_line(experiment)
        elif experiment.is_live:
            self._live[experiment.run_id] = experiment
        else:
            self._over[experiment.run_id] = experiment
        self.bell.ring()

    def defined(self, definition: str) -> Collection[int]:
        """Label numbers of open experiments of one definition."""
        return self._defined.get(definition, ())

    def drop(self, run_id: RunId) -> None:
        """Forget an experiment whose record is sealed, or which was cancelled while it waited."""
        experiment = self._open.pop(run_id, None)
        if experiment is not None:
            del self._by_label[experiment.row.label_number]
            del self._labels[bisect.bisect_left(self._labels, experiment.row.label_number)]
            _take_one(self._variables, experiment.row.spec.surroundings.variables or "")
            definition = experiment.row.spec.definition or ""
            if (same := self._defined.get(definition)) is not None:
                same.discard(experiment.row.label_number)
                if not same:
                    del self._defined[definition]
            self._leave_line(experiment)
            self._live.pop(run_id, None)
            self._over.pop(run_id, None)
            self._withdrawn.pop(run_id, None)
            experiment.ring()
            self.bell.ring()

    def hold(self, experiment: OpenExperiment) -> None:
        """Let an experiment that is about to be claimed hold its resources already."""
        self._leave_line(experiment)
        self._live[experiment.run_id] = experiment

    def withdraw(self, experiment: OpenExperiment) -> None:
        """Take an experiment out of the line at once: it was cancelled while it waited."""
        self._leave_line(experiment)
        if experiment.run_id in self._open:
            self._withdrawn[experiment.run_id] = experiment

    def put_back(self, experiment: OpenExperiment) -> None:
        """Undo `hold`: the claim did not come about."""
        if self._live.get(experiment.run_id) is experiment:
            del self._live[experiment.run_id]
        if self._open.get(experiment.run_id) is experiment and experiment.is_waiting:
            self._leave_line(experiment)
            self._join_line(experiment)
        self.bell.ring()

    def moved(self, experiment: OpenExperiment) -> None:
        """Note that an experiment left the line, or stopped holding resources."""
        if not experiment.is_waiting:
            self._leave_line(experiment)
        if experiment.is_live:
            self._live[experiment.run_id] = experiment
        else:
            self._live.pop(experiment.run_id, None)
        if experiment.is_over:
            self._over[experiment.run_id] = experiment
        self.bell.ring()

    def waiting(self) -> Iterator[OpenExperiment]:
        """Waiting experiments in the order they will start."""
        for _, run_id in self._line:
            yield self._open[run_id]

    @property
    def waiting_count(self) -> int:
        """How many wait."""
        return len(self._line)

    def waiting_in(self, lab: str) -> int:
        """How many of a lab wait."""
        return sum(number for (of, _), number in self._waiting.items() if of == lab)

    def counts(self, lab: str) -> Counter[Status]:
        """Open experiments of a lab by status."""
        counts = Counter({status: number for (of, status), number in self._waiting.items() if of == lab})
        for experiment in (self._live | self._over | self._withdrawn).values():
            if experiment.row.spec.lab == lab:
                counts[lifecycle.status_of(experiment.story.state)] += 1
        return counts

    @property
    def live_count(self) -> int:
        """How many hold resources."""
        return len(self._live)

    def position(self, experiment: OpenExperiment) -> int | None:
        """Place in the queue, 1 is next; None when it does not wait."""
        entry = (self._key(experiment), experiment.run_id)
        at = bisect.bisect_left(self._line, entry)
        return at + 1 if at < len(self._line) and self._line[at] == entry else None

    @property
    def over_count(self) -> int:
        """How many ended and are not sealed yet."""
        return len(self._over)

    def live(self) -> list[OpenExperiment]:
        """Experiments that hold resources, oldest claim first."""
        return list(self._live.values())

    def over(self) -> list[OpenExperiment]:
        """Experiments that ended and are not sealed yet."""
        return list(self._over.values())

    def pending(self) -> Iterator[Pending]:
        """What the schedule decides about, lazily: only the head is usually looked at."""
        for experiment in self.waiting():
            row = experiment.row
            yield Pending(row.run_id, row.label, row.spec.priority, row.sequence, row.spec.resources)

    def holding(self) -> list[Holding]:
        """What live attempts hold."""
        return [
            Holding(held.run_id, held.row.label, held.row.spec.resources, held.row.gpus) for held in self._live.values()
        ]

    def uses_variables(self, digest: str) -> bool:
        """Whether an open experiment still needs these variables."""
        return self._variables[digest] > 0

    def _key(self, experiment: OpenExperiment) -> tuple[int, int]:
        row = experiment.row
        return order_key(Pending(row.run_id, row.label, row.spec.priority, row.sequence, row.spec.resources))

    def _join_line(self, experiment: OpenExperiment) -> None:
        self._withdrawn.pop(experiment.run_id, None)
        bisect.insort(self._line, (self._key(experiment), experiment.run_id))
        self._waiting[_line_of(experiment)] += 1

    def _leave_line(self, experiment: OpenExperiment) -> None:
        entry = (self._key(experiment), experiment.run_id)
        at = bisect.bisect_left(self._line, entry)
        if at < len(self._line) and self._line[at] == entry:
            del self._line[at]
            _take_one(self._waiting, _line_of(experiment))


def _line_of(experiment: OpenExperiment) -> tuple[str, Status]:
    """Lab and status of one that waits, or waited until just now."""
    row = experiment.row
    return row.spec.lab, "created" if row.attempt == 1 else "processing"


def _take_one(counter: Counter[K], key: K) -> None:
    """Count one less; what nothing is left of leaves the counter, which would else grow for ever."""
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]


def claimed_folder(row: Row, root: Path) -> Path:
    """Absolute path of a row's folder.

    Raises:
        ValueError: The row was never claimed.
    """
    if row.folder is None:
        raise ValueError(row.run_id)
    return root / row.folder
