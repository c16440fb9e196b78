from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from labrun.core import lifecycle, story
from labrun.core.endings import Cancelled, Exited, Lost
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
)
from labrun.core.ids import Label, RunId
from labrun.core.spec import Spec, Target

THEN = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SPEC = Spec(Target("program", "true", ("true",)))
SKIPPED = {"building": "the caller's environment", "fetching": "nothing declared"}


def at(seconds: float) -> datetime:
    return THEN + timedelta(seconds=seconds)


def whole_life() -> list[Event]:
    return [
        Accepted(at=at(0), run_id=RunId("2026-11-20_00000000"), label=Label("EXP-001"), spec=SPEC),
        Dispatched(at=at(1), attempt=1, worker="w", gpus=(1,)),
        Cloned(at=at(2), attempt=1, file_count=3, skipped=SKIPPED),
        Started(at=at(3), attempt=1, pid=7, enforced={"memory": "cgroup v2"}),
        Ended(at=at(9), attempt=1, ending=Exited(0), started_at=at(3), ended_at=at(8), leftover_processes=2),
        Checked(at=at(10), attempt=1, artifact_count=4, artifact_bytes=100),
    ]


def test_a_whole_life_tells_times_attempt_and_artifacts() -> None:
    told = story.tell(whole_life())
    assert told.label == "EXP-001"
    assert told.ending == Exited(0)
    assert story.ended_at(told) == at(8)
    attempt = told.current
    assert attempt is not None
    assert (attempt.dispatched_at, attempt.started_at, attempt.ended_at) == (at(1), at(3), at(8))
    assert (attempt.gpus, attempt.enforced) == ((1,), {"memory": "cgroup v2"})
    assert (attempt.artifact_count, attempt.artifact_bytes, attempt.leftover_processes) == (4, 100, 2)


def test_every_step_begins_where_the_one_before_ended() -> None:
    told = story.tell(whole_life())
    spans = {name: (times.started_at, times.ended_at) for name, times in told.steps.items()}
    assert spans == {
        "waiting": (at(0), at(1)),
        "cloning": (at(1), at(2)),
        "building": (at(2), at(2)),
        "fetching": (at(2), at(2)),
        "submitting": (at(2), at(3)),
        "running": (at(3), at(9)),
        "checking": (at(9), at(10)),
        "completed": (at(10), at(10)),
    }
    assert told.steps["building"].note == "the caller's environment"
    assert told.steps["cloning"].note == "3 files"


def test_a_request_to_cancel_does_not_end_the_step() -> None:
    told = story.tell([*whole_life()[:4], CancelRequested(at=at(5), by="ada"), CancelRequested(at=at(6), by="bob")])
    assert told.cancel_by == "ada"
    assert told.steps["running"].ended_at is None
    assert told.ending is None
    assert story.ended_at(told) is None


def test_cancelled_while_it_waited_ended_when_that_was_asked() -> None:
    told = story.tell([whole_life()[0], CancelRequested(at=at(5), by="ada")])
    assert told.ending == Cancelled("ada")
    assert told.current is None
    assert story.ended_at(told) == at(5)
    assert told.steps["waiting"].ended_at == at(5)


def test_a_resume_begins_new_steps_and_keeps_the_first_attempt() -> None:
    told = story.tell(
        [
            *whole_life()[:4],
            CancelRequested(at=at(5), by="ada"),
            Ended(at=at(6), attempt=1, ending=Cancelled("ada")),
            Checked(at=at(7), attempt=1, artifact_count=0, artifact_bytes=0),
            ResumeRequested(at=at(20), attempt=2, by="bob"),
            Dispatched(at=at(21), attempt=2, worker="w"),
        ]
    )
    assert [attempt.ending for attempt in told.attempts] == [Cancelled("ada"), None]
    assert set(told.steps) == {"waiting", "cloning"}
    assert told.steps["waiting"].started_at == at(20)
    assert told.cancel_by is None


def test_an_attempt_that_was_lost_keeps_the_start_that_was_seen() -> None:
    told = story.tell([*whole_life()[:4], Ended(at=at(9), attempt=1, ending=Lost("supervisor died"))])
    assert told.current is not None
    assert told.current.started_at == at(3)
    assert story.ended_at(told) == at(9)


def test_a_late_report_changes_nothing() -> None:
    told = story.tell(whole_life())
    again, commands = story.advance(told, Ended(at=at(99), attempt=1, ending=Exited(5)))
    assert (again, commands) == (told, ())


def test_damage_is_remembered_and_changes_no_state() -> None:
    told = story.tell([*whole_life()[:3], Damaged(at=at(4), what="journal", kept="2 lines")])
    assert told.damages == ("journal: 2 lines",)
    assert isinstance(told.state, lifecycle.Submitting)


def test_reading_a_journal_in_two_parts_tells_the_same() -> None:
    events = whole_life()
    for cut in range(1, len(events)):
        told = story.tell(events[:cut])
        for event in events[cut:]:
            told, _ = story.advance(told, event)
        assert structs.asdict(told) == structs.asdict(story.tell(events))


def test_story_and_lifecycle_never_disagree() -> None:
    assert story.tell(whole_life()).state == lifecycle.fold(whole_life())


def test_an_empty_journal_tells_nothing() -> None:
    with pytest.raises(IllegalTransition):
        story.tell([])
