"""Every pair of state and event, compared with the tables of docs/explanation/lifecycle.md."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labrun.core import lifecycle
from labrun.core.commands import Launch
from labrun.core.endings import Cancelled, Ending, Exited, Lost, NeverStarted, OutOfMemory, Signalled, TimedOut
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
    Step,
)
from labrun.core.ids import Label, RunId
from labrun.core.lifecycle import Checking, Cloning, Completed, Running, State, Submitting, Waiting
from labrun.core.spec import Spec, Target

DOCUMENT = Path(__file__).parents[2] / "docs/explanation/lifecycle.md"
THEN = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
NOW = THEN + timedelta(minutes=1)
SPEC = Spec(Target("program", "true", ("true",)))
NEVER_BEGAN = "resume_requested, no attempt ever began"
CANCEL_BEFORE = "started, a cancel was asked before"


def table(name: str) -> tuple[list[str], dict[str, list[str]]]:
    """Read the table after `<!-- table: name -->`: its header and its rows by first cell."""
    text = DOCUMENT.read_text(encoding="utf-8").split(f"<!-- table: {name} -->\n", 1)[1].split("\n\n", 1)[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    rows = {cells[0]: cells[1:] for cells in lines[2:]}
    assert len(rows) == len(lines) - 2, "two rows have the same name"
    return lines[0][1:], rows


def states(attempt: int, *, is_cancelled: bool = False, never_began: bool = False) -> dict[str, list[State]]:
    """Give states of each kind that the row of the table speaks about."""
    by = "ada" if is_cancelled else None
    live: dict[str, list[State]] = {
        "Cloning": [Cloning(attempt, THEN, by)],
        "Submitting": [Submitting(attempt, THEN, by)],
        "Running": [Running(attempt, THEN, by)],
    }
    if is_cancelled:
        return live
    if never_began:
        return {"Completed": [Completed(1, THEN, Cancelled("ada"), "waiting")]}
    over: list[tuple[Ending, Step]] = [
        (Exited(0), "running"),
        (Exited(3), "running"),
        (Signalled(9), "submitting"),
        (NeverStarted("cloning", "no space"), "cloning"),
        (Cancelled("ada"), "running"),
    ]
    waiting: dict[str, list[State]] = {"Waiting": [Waiting(attempt, THEN)]}
    ended: dict[str, list[State]] = {
        "Checking": [Checking(attempt, THEN, ending, where) for ending, where in over],
        "Completed": [Completed(attempt, THEN, ending, where) for ending, where in over],
    }
    return waiting | live | ended


def event(name: str, attempt: int) -> Event:
    """Make an event with this attempt number where it carries one."""
    made: dict[str, Event] = {
        "accepted": Accepted(at=NOW, run_id=RunId("2026-11-20_00000000"), label=Label("EXP-001"), spec=SPEC),
        "dispatched": Dispatched(at=NOW, attempt=attempt, worker="w"),
        "cloned": Cloned(at=NOW, attempt=attempt),
        "started": Started(at=NOW, attempt=attempt, pid=1),
        "cancel_requested": CancelRequested(at=NOW, by="ada"),
        "ended": Ended(at=NOW, attempt=attempt, ending=Exited(0)),
        "checked": Checked(at=NOW, attempt=attempt, artifact_count=0, artifact_bytes=0),
        "resume_requested": ResumeRequested(at=NOW, attempt=attempt, by="ada"),
        "damaged": Damaged(at=NOW, what="journal", kept="all but the last line"),
    }
    return made[name]


NUMBERED = ("dispatched", "cloned", "started", "ended", "checked", "resume_requested")
EVENTS = (*NUMBERED, "accepted", "cancel_requested", "damaged")


def outcome(state: State, happened: Event) -> str:
    """Describe one fold the way the table does."""
    try:
        after, commands = lifecycle.step(state, happened)
    except IllegalTransition:
        return "✗"
    if after == state and not commands:
        return "="
    names = ", ".join(type(command).__name__ for command in commands)
    assert all(command.attempt == after.attempt for command in commands)
    return type(after).__name__ + (f": {names}" if names else "")


def pairs() -> Iterator[tuple[str, str, State, Event]]:
    """Walk row, column, state and event of the whole table, for first and later attempts."""
    for row in (*EVENTS, CANCEL_BEFORE, NEVER_BEGAN):
        name = row.split(",")[0]
        for attempt in (1, 2, 7):
            kinds = states(attempt, is_cancelled=row == CANCEL_BEFORE, never_began=row == NEVER_BEGAN)
            for column, found in kinds.items():
                for state in found:
                    yield row, column, state, event(name, state.attempt + (name == "resume_requested"))


def test_every_pair_of_state_and_event_does_what_the_document_says() -> None:
    columns, rows = table("transitions")
    assert columns == [kind.__name__ for kind in get_args(State)]
    seen: dict[tuple[str, str], set[str]] = {}
    for row, column, state, happened in pairs():
        seen.setdefault((row, column), set()).add(outcome(state, happened))
    written = {
        (row, column): {cell}
        for row, cells in rows.items()
        for column, cell in zip(columns, cells, strict=True)
        if cell != "·"
    }
    assert seen == written


def test_every_event_has_a_row() -> None:
    tags = {kind.__struct_config__.tag for kind in get_args(Event)}
    assert tags == set(EVENTS) == {row for row in table("transitions")[1] if "," not in row}


@pytest.mark.parametrize("name", NUMBERED)
def test_late_report_of_an_abandoned_attempt_changes_nothing(name: str) -> None:
    for found in states(3).values():
        for state in found:
            assert lifecycle.step(state, event(name, 2)) == (state, ())


@pytest.mark.parametrize("name", NUMBERED)
def test_report_of_an_attempt_that_cannot_exist_yet_is_refused(name: str) -> None:
    for found in states(3).values():
        for state in found:
            with pytest.raises(IllegalTransition):
                lifecycle.step(state, event(name, 5))


def test_first_cancel_request_keeps_its_name_and_the_second_stops_again() -> None:
    first, _ = lifecycle.step(Running(1, THEN, None), CancelRequested(at=NOW, by="ada"))
    second, commands = lifecycle.step(first, CancelRequested(at=NOW, by="bob"))
    assert isinstance(second, Running)
    assert second.cancelled_by == "ada"
    assert len(commands) == 1


def test_cancel_request_survives_the_steps_that_follow_it() -> None:
    state: State = Cloning(1, THEN, None)
    for happened in (CancelRequested(at=NOW, by="ada"), Cloned(at=NOW, attempt=1), Started(at=NOW, attempt=1, pid=1)):
        state, _ = lifecycle.step(state, happened)
    assert state == Running(1, NOW, "ada")


def test_cancelled_while_waiting_for_a_later_attempt_can_be_resumed() -> None:
    state, _ = lifecycle.step(Waiting(2, THEN), CancelRequested(at=NOW, by="ada"))
    assert lifecycle.step(state, ResumeRequested(at=NOW, attempt=3, by="ada"))[0] == Waiting(3, NOW)


def test_journal_must_begin_with_accepted() -> None:
    assert lifecycle.fold([event("accepted", 1)]) == Waiting(1, NOW)
    with pytest.raises(IllegalTransition):
        lifecycle.fold([])
    with pytest.raises(IllegalTransition):
        lifecycle.fold([event("started", 1)])


# --- the tables of steps and statuses

SITUATIONS: dict[str, list[State]] = {
    "waiting for its first attempt": [Waiting(1, THEN)],
    "waiting for another attempt": [Waiting(2, THEN), Waiting(9, THEN)],
    "code on its way into `work/`": [Cloning(1, THEN, None), Cloning(2, THEN, "ada")],
    "handed to the engine": [Submitting(1, THEN, None), Submitting(2, THEN, "ada")],
    "running": [Running(1, THEN, None), Running(2, THEN, "ada")],
    "over with exit status 0, outputs being listed": [Checking(1, THEN, Exited(0), "running")],
    "over with another exit status, outputs being listed": [Checking(1, THEN, Exited(3), "running")],
    "completed after exit status 0": [Completed(1, THEN, Exited(0), "running")],
    "completed after another exit status, a signal, out of memory or its time limit": [
        Completed(1, THEN, ending, where)
        for ending in (Exited(3), Signalled(11), OutOfMemory("oom_kill 1"), TimedOut(60.0, code=0))
        for where in ("running", "submitting")
    ],
    "completed, lost": [Completed(1, THEN, Lost("supervisor died"), "running")],
    "completed, never started": [Completed(1, THEN, NeverStarted("cloning", "no space"), "cloning")],
    "cancelled while it waited": [Completed(n, THEN, Cancelled("ada"), "waiting") for n in (1, 2)],
    "cancelled later": [Completed(1, THEN, Cancelled("ada"), "running")],
}


def test_step_step_status_and_status_are_those_of_the_document() -> None:
    _, rows = table("statuses")
    assert set(rows) == set(SITUATIONS)
    for situation, found in SITUATIONS.items():
        for state in found:
            step = lifecycle.current_step(state)
            told = [step, lifecycle.step_statuses(state)[step], lifecycle.status_of(state)]
            assert told == rows[situation], situation


def test_the_eight_step_statuses_are_those_of_the_document() -> None:
    columns, rows = table("steps")
    assert tuple(columns) == STEPS
    for situation, cells in rows.items():
        for state in SITUATIONS[situation]:
            assert list(lifecycle.step_statuses(state).values()) == cells, situation
            assert tuple(lifecycle.step_statuses(state)) == STEPS


def test_a_command_that_could_not_be_executed_fails_in_submitting() -> None:
    state = Completed(1, THEN, NeverStarted("submitting", "no such file"), "running")
    found = lifecycle.step_statuses(state)
    assert (found["submitting"], found["running"]) == ("failed", "initialize")


ENDINGS: list[Ending] = [
    Exited(0),
    Exited(1),
    Signalled(9),
    Cancelled("ada"),
    Lost("gone"),
    NeverStarted("cloning", "x"),
]


@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(1, 3)), max_size=30))
def test_no_sequence_of_events_launches_what_was_started_or_goes_back_after_an_ending(
    happened: list[tuple[str, int]],
) -> None:
    state = lifecycle.begin(event("accepted", 1))
    started: set[int] = set()
    ended: set[int] = set()
    for name, attempt in happened:
        try:
            state, commands = lifecycle.step(state, event(name, attempt))
        except IllegalTransition:
            continue
        if isinstance(state, Running):
            started.add(state.attempt)
        if lifecycle.is_over(state):
            ended.add(state.attempt)
        else:
            assert state.attempt not in ended
        assert not any(isinstance(command, Launch) and command.attempt in started | ended for command in commands)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("where", ["cloning", "submitting", "running"])
def test_exactly_one_step_of_a_failed_attempt_is_broken(ending: Ending, where: Step) -> None:
    found = lifecycle.step_statuses(Completed(1, THEN, ending, where))
    broken = [name for name, how in found.items() if how in ("failed", "cancelled") and name != "completed"]
    assert len(broken) == (0 if ending == Exited(0) else 1)
