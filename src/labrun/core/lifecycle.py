"""Fold events into a state. Nothing else ever sets a state.

An attempt's ending is final; an experiment's status is that of its last attempt. A late report of
an abandoned attempt changes nothing: the attempt number is the fence. In prose and as a table:
`docs/explanation/lifecycle.md`; a test walks every pair of state and event against that table.
"""

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from labrun.core.commands import Check, Clone, Command, Launch, Seal, Stop
from labrun.core.endings import Cancelled, Ending, Exited, NeverStarted
from labrun.core.errors import IllegalTransition
from labrun.core.events import (
    STEPS,
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
    Status,
    Step,
    StepStatus,
)


class _State(Struct, frozen=True, tag=True):
    pass


class Waiting(_State, frozen=True):
    """Accepted and durable; nobody works on it."""

    attempt: int
    """The number its next attempt will have."""
    since: datetime


class Cloning(_State, frozen=True):
    """Claimed; its code is on the way into `work/`."""

    attempt: int
    since: datetime
    cancelled_by: str | None


class Submitting(_State, frozen=True):
    """Code and environment are there; handed to the engine, start not yet seen."""

    attempt: int
    since: datetime
    cancelled_by: str | None


class Running(_State, frozen=True):
    """User code may be running."""

    attempt: int
    since: datetime
    cancelled_by: str | None


class Checking(_State, frozen=True):
    """Ended; outputs are being listed."""

    attempt: int
    since: datetime
    ending: Ending
    failed_in: Step
    """The step the ending belongs to."""


class Completed(_State, frozen=True):
    """Finished, whatever the ending."""

    attempt: int
    since: datetime
    ending: Ending
    failed_in: Step


State = Waiting | Cloning | Submitting | Running | Checking | Completed
_Live = Cloning | Submitting | Running


def begin(event: Event) -> State:
    """Open a story; only `Accepted` can.

    Raises:
        IllegalTransition: The first event is another one.
    """
    if not isinstance(event, Accepted):
        raise IllegalTransition(None, event)
    return Waiting(event.attempt, event.at)


def step(state: State, event: Event) -> tuple[State, tuple[Command, ...]]:
    """Fold one event; time arrives inside the event.

    Raises:
        IllegalTransition: The event cannot follow this state.
    """
    match state, event:
        case _, Damaged():
            return state, ()
        case _, (Dispatched() | Cloned() | Started() | Ended() | Checked() | ResumeRequested()) if (
            event.attempt < state.attempt
        ):
            return state, ()  # late report from an attempt we already gave up
        case Waiting(attempt=n), Dispatched(attempt=m, at=at) if m == n:
            return Cloning(n, at, None), (Clone(n),)
        case Waiting(attempt=n), CancelRequested(at=at, by=by):
            return Completed(n, at, Cancelled(by), "waiting"), ()
        case Cloning(attempt=n, cancelled_by=by), Cloned(attempt=m, at=at) if m == n:
            return Submitting(n, at, by), (Launch(n),)
        case Submitting(attempt=n), Cloned(attempt=m) if m == n:
            return state, (Launch(n),)  # repeated after a crash: it had not started
        case Submitting(attempt=n, cancelled_by=by), Started(attempt=m, at=at) if m == n:
            return Running(n, at, by), (Stop(n),) if by else ()
        case Running(attempt=n), Started(attempt=m) if m == n:
            return state, ()  # seen twice: by the watch and after a restart
        case Cloning() | Submitting() | Running(), CancelRequested(by=by):
            return _cancelling(state, by), (Stop(state.attempt),)
        case Cloning() | Submitting() | Running(), Ended(attempt=m, at=at, ending=ending) if m == state.attempt:
            return Checking(m, at, ending, _step_of(state)), (Check(m),)
        case Checking(attempt=n, ending=ending, failed_in=where), Checked(attempt=m, at=at) if m == n:
            return Completed(n, at, ending, where), (Seal(n),)
        case Completed(attempt=n, failed_in=where), ResumeRequested(attempt=m, at=at) if m == n + 1 and (
            where != "waiting" or n > 1
        ):
            return Waiting(m, at), ()
        case Checking() | Completed(), CancelRequested():
            return state, ()  # a cancel that lost the race finds nothing to stop
        case Checking(attempt=n) | Completed(attempt=n), (
            Ended(attempt=m) | Started(attempt=m) | Cloned(attempt=m)
        ) if m == n:
            return state, ()  # an ending is final
        case Completed(attempt=n), Checked(attempt=m) if m == n:
            return state, ()
        case _:
            raise IllegalTransition(state, event)


def fold(events: Iterable[Event]) -> State:
    """Fold a whole journal.

    Raises:
        IllegalTransition: The journal is empty or contradicts itself.
    """
    state: State | None = None
    for event in events:
        state = begin(event) if state is None else step(state, event)[0]
    if state is None:
        raise IllegalTransition(None, None)
    return state


def _cancelling(state: _Live, by: str) -> State:
    match state:
        case Cloning(attempt=n, since=since):
            return Cloning(n, since, state.cancelled_by or by)
        case Submitting(attempt=n, since=since):
            return Submitting(n, since, state.cancelled_by or by)
        case Running(attempt=n, since=since):
            return Running(n, since, state.cancelled_by or by)


def _step_of(state: State) -> Step:
    match state:
        case Waiting():
            return "waiting"
        case Cloning():
            return "cloning"
        case Submitting():
            return "submitting"
        case Running():
            return "running"
        case Checking():
            return "checking"
        case Completed():
            return "completed"


def current_step(state: State) -> Step:
    """Where the experiment is."""
    return _step_of(state)


def status_of(state: State) -> Status:
    """How it stands overall."""
    match state:
        case Waiting(attempt=1):
            return "created"
        case Waiting() | Cloning() | Submitting() | Running():
            return "processing"
        case Checking(ending=ending) | Completed(ending=ending):
            if isinstance(ending, Cancelled):
                return "cancelled"
            return "succeeded" if ending == Exited(0) else "failed"


def is_over(state: State) -> bool:
    """The last attempt has its ending."""
    return isinstance(state, Checking | Completed)


def step_statuses(state: State) -> dict[Step, StepStatus]:
    """How each of the eight steps is doing; the steps after the current one are not begun (`initialize`)."""
    match state:
        case Waiting():
            return {name: "running" if name == "waiting" else "initialize" for name in STEPS}
        case Cloning() | Submitting() | Running():
            here = STEPS.index(_step_of(state))
            return {
                name: "succeeded" if i < here else "running" if i == here else "initialize"
                for i, name in enumerate(STEPS)
            }
        case Checking(ending=ending, failed_in=where) | Completed(ending=ending, failed_in=where):
            is_good = ending == Exited(0)
            broke_at = STEPS.index(_failed_step(ending, where))
            found: dict[Step, StepStatus] = {}
            for i, name in enumerate(STEPS):
                if name == "checking":
                    found[name] = _closing_status(state, where, is_checking=True)
                elif name == "completed":
                    found[name] = _closing_status(state, where, is_checking=False)
                elif i < broke_at or (is_good and i == broke_at):
                    found[name] = "succeeded"
                elif i == broke_at:
                    found[name] = "cancelled" if isinstance(ending, Cancelled) else "failed"
                else:
                    found[name] = "initialize"
            return found


def _failed_step(ending: Ending, where: Step) -> Step:
    if isinstance(ending, NeverStarted) and ending.step in STEPS:
        return ending.step
    return "running" if where in ("running", "submitting") and not isinstance(ending, NeverStarted) else where


def _closing_status(state: Checking | Completed, where: Step, *, is_checking: bool) -> StepStatus:
    if isinstance(state, Checking):
        return "running" if is_checking else "initialize"
    if is_checking:
        return "initialize" if where == "waiting" else "succeeded"
    return "cancelled" if isinstance(state.ending, Cancelled) else "succeeded"
