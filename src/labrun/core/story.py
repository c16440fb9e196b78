"""What a journal tells, ready to be shown: the state plus the times, attempts and notes around it.

`lifecycle.step` decides; this only remembers what passed, for the manifest, the README and the API.
"""

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct, structs

from labrun.core import lifecycle
from labrun.core.commands import Command
from labrun.core.endings import Cancelled, Ending
from labrun.core.errors import IllegalTransition
from labrun.core.events import (
    Accepted,
    CancelRequested,
    Checked,
    Cloned,
    Damaged,
    Dispatched,
    Ended,
    Event,
    ResumeRequested,
    Started,
    Step,
)
from labrun.core.failure import Failure
from labrun.core.ids import Label, RunId
from labrun.core.lifecycle import State
from labrun.core.spec import Spec


class StepTimes(Struct, frozen=True):
    """When a step of the current attempt began and ended."""

    started_at: datetime
    ended_at: datetime | None = None
    note: str | None = None


class AttemptStory(Struct, frozen=True):
    """One execution so far."""

    attempt: int
    dispatched_at: datetime
    gpus: tuple[int, ...] = ()
    started_at: datetime | None = None
    ended_at: datetime | None = None
    ending: Ending | None = None
    enforced: dict[str, str] = {}
    leftover_processes: int = 0
    cleared_by: str | None = None
    artifact_count: int = 0
    artifact_bytes: int = 0
    missing_outputs: tuple[str, ...] = ()
    failure: Failure | None = None
    hint: str | None = None


class Story(Struct, frozen=True):
    """One experiment as its journal tells it."""

    run_id: RunId
    label: Label
    spec: Spec
    queued_at: datetime
    state: State
    steps: dict[Step, StepTimes]
    """Of the current attempt."""
    attempts: tuple[AttemptStory, ...] = ()
    tree: str | None = None
    file_count: int = 0
    cancel_by: str | None = None
    damages: tuple[str, ...] = ()

    @property
    def current(self) -> AttemptStory | None:
        """The newest attempt, None before the first was dispatched."""
        return self.attempts[-1] if self.attempts else None

    @property
    def ending(self) -> Ending | None:
        """Why the last attempt ended; None while it has not."""
        match self.state:
            case lifecycle.Checking(ending=ending) | lifecycle.Completed(ending=ending):
                return ending
            case _:
                return None


def open_story(event: Event) -> Story:
    """Begin with `Accepted`.

    Raises:
        IllegalTransition: The first event is another one.
    """
    if not isinstance(event, Accepted):
        raise IllegalTransition(None, event)
    return Story(
        event.run_id,
        event.label,
        event.spec,
        event.at,
        lifecycle.begin(event),
        {"waiting": StepTimes(event.at)},
        tree=event.spec.source.tree,
    )


def advance(story: Story, event: Event) -> tuple[Story, tuple[Command, ...]]:
    """Add one event and return what is to be done about it.

    Raises:
        IllegalTransition: The event cannot follow.
    """
    state, commands = lifecycle.step(story.state, event)
    if isinstance(event, Damaged):
        return structs.replace(story, damages=(*story.damages, f"{event.what}: {event.kept}")), commands
    if state is story.state:
        return story, commands
    steps = _close_step(story.steps, event.at)
    attempts = story.attempts
    changes: dict[str, object] = {}
    match event:
        case Dispatched(attempt=n, at=at, gpus=gpus):
            attempts = (*attempts, AttemptStory(n, at, gpus))
        case Cloned(skipped=skipped, file_count=count):
            if count and steps.get("cloning"):
                steps["cloning"] = structs.replace(steps["cloning"], note=f"{count} file" + ("" if count == 1 else "s"))
            for name, why in skipped.items():
                steps[name] = StepTimes(event.at, event.at, why)  # type: ignore[index]
            changes = {"file_count": count}
        case Started(enforced=enforced):
            attempts = _amend(attempts, started_at=event.at, enforced=enforced)
        case CancelRequested(by=by):
            changes = {"cancel_by": story.cancel_by or by}
            if not isinstance(state, lifecycle.Completed):
                steps = story.steps
        case Ended():
            attempts = _amend(
                attempts,
                started_at=event.started_at or (attempts[-1].started_at if attempts else None),
                ended_at=event.ended_at or event.at,
                ending=event.ending,
                leftover_processes=event.leftover_processes,
                cleared_by=event.cleared_by,
            )
        case Checked():
            attempts = _amend(
                attempts,
                artifact_count=event.artifact_count,
                artifact_bytes=event.artifact_bytes,
                missing_outputs=event.missing_outputs,
                failure=event.failure,
                hint=event.hint,
            )
        case ResumeRequested():
            steps = {}
            changes = {"cancel_by": None}
    step = lifecycle.current_step(state)
    if step not in steps or steps[step].ended_at is not None:
        steps[step] = StepTimes(event.at, event.at if step == "completed" else None)
    return structs.replace(story, state=state, steps=steps, attempts=attempts, **changes), commands


def tell(events: Iterable[Event]) -> Story:
    """Read a whole journal.

    Raises:
        IllegalTransition: It is empty or contradicts itself.
    """
    story: Story | None = None
    for event in events:
        story = open_story(event) if story is None else advance(story, event)[0]
    if story is None:
        raise IllegalTransition(None, None)
    return story


def ended_at(story: Story) -> datetime | None:
    """When the last attempt ended; for one cancelled while it waited, when that was asked."""
    match story.state:
        case lifecycle.Completed(since=since, ending=Cancelled(), failed_in="waiting"):
            return since
        case lifecycle.Checking() | lifecycle.Completed():
            return story.attempts[-1].ended_at if story.attempts else None
        case _:
            return None


def _close_step(steps: dict[Step, StepTimes], at: datetime) -> dict[Step, StepTimes]:
    return {
        name: times if times.ended_at is not None else structs.replace(times, ended_at=at)
        for name, times in steps.items()
    }


def _amend(attempts: tuple[AttemptStory, ...], **changes: object) -> tuple[AttemptStory, ...]:
    if not attempts:
        return attempts
    return (*attempts[:-1], structs.replace(attempts[-1], **changes))
