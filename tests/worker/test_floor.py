from collections import Counter
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from labrun.core import lifecycle, story
from labrun.core.endings import Exited
from labrun.core.events import CancelRequested, Cloned, Dispatched, Ended, Started
from labrun.core.ids import RunId, attempt_id, label_of
from labrun.core.spec import Spec, Surroundings, Target
from labrun.store.queue.protocol import Row
from labrun.worker.floor import Floor, OpenExperiment, accepted

AT = datetime(2026, 11, 1, tzinfo=UTC)


def opened(number: int, *, priority: int = 5, variables: str | None = None) -> OpenExperiment:
    spec = Spec(
        target=Target("program", "true", ("/bin/true",)),
        priority=priority,
        surroundings=Surroundings(variables=variables),
    )
    row = Row(
        run_id=RunId(f"2026-11-01_{number:08d}"),
        label=label_of(number),
        label_number=number,
        sequence=number,
        spec=spec,
        queued_at=AT,
        attempt=1,
        state="waiting",
    )
    return OpenExperiment(row, story.open_story(accepted(row)))


def run_to_the_end(floor: Floor, experiment: OpenExperiment) -> None:
    floor.hold(experiment)
    experiment.record(Dispatched(at=AT, attempt=1, worker="w"))
    floor.moved(experiment)
    experiment.record(Cloned(at=AT, attempt=1))
    experiment.record(Started(at=AT, attempt=1, pid=1, enforced={}))
    experiment.record(Ended(at=AT, attempt=1, ending=Exited(0), ended_at=AT))
    floor.moved(experiment)


def test_an_experiment_that_was_dropped_is_nowhere_any_more() -> None:
    floor, experiment = Floor(), opened(1, variables="v")
    floor.add(experiment)
    run_to_the_end(floor, experiment)
    assert floor.over() == [experiment]
    floor.drop(experiment.run_id)
    assert floor.over() == [], "it would be sealed again and again"
    assert (floor.live(), list(floor.waiting()), list(floor), len(floor)) == ([], [], [], 0)
    assert floor.get(experiment.run_id) is floor.by_label(1) is floor.by_attempt(experiment.attempt) is None
    assert list(floor.labels_below(None)) == []
    assert not floor.uses_variables("v")


def test_dropping_twice_changes_nothing() -> None:
    floor = Floor()
    floor.add(opened(1))
    floor.add(opened(2))
    floor.drop(opened(1).run_id)
    floor.drop(opened(1).run_id)
    assert [one.row.label for one in floor] == ["EXP-002"]


def test_positions_follow_priority_then_acceptance() -> None:
    floor = Floor()
    late, early, urgent = opened(3), opened(1), opened(2, priority=9)
    for experiment in (late, early, urgent):
        floor.add(experiment)
    assert [floor.position(one) for one in (urgent, early, late)] == [1, 2, 3]
    assert [pending.label for pending in floor.pending()] == ["EXP-002", "EXP-001", "EXP-003"]


def test_what_is_held_leaves_the_line_and_counts_as_taken_until_it_is_put_back() -> None:
    floor, first, second = Floor(), opened(1), opened(2)
    floor.add(first)
    floor.add(second)
    floor.hold(first)
    assert (floor.position(first), floor.position(second), floor.live_count) == (None, 1, 1)
    assert [held.label for held in floor.holding()] == ["EXP-001"]
    floor.put_back(first)
    floor.put_back(first)
    assert (floor.position(first), floor.position(second), floor.live_count) == (1, 2, 0)
    assert floor.waiting_count == 2


def test_putting_back_what_was_dropped_meanwhile_brings_nothing_back() -> None:
    floor, experiment = Floor(), opened(1)
    floor.add(experiment)
    floor.hold(experiment)
    floor.drop(experiment.run_id)
    floor.put_back(experiment)
    assert (floor.waiting_count, floor.live_count, len(floor)) == (0, 0, 0)


def test_a_report_of_an_older_attempt_finds_nothing() -> None:
    floor, experiment = Floor(), opened(1)
    floor.add(experiment)
    assert floor.by_attempt(attempt_id(experiment.run_id, 2)) is None
    assert floor.by_attempt(attempt_id(experiment.run_id, 1)) is experiment


def test_variables_are_needed_until_their_last_experiment_left() -> None:
    floor = Floor()
    floor.add(opened(1, variables="v"))
    floor.add(opened(2, variables="v"))
    floor.drop(opened(1).run_id)
    assert floor.uses_variables("v")
    floor.drop(opened(2).run_id)
    assert not floor.uses_variables("v")
    assert not floor._variables, "a server that runs for years would remember every set of variables"


def test_what_was_cancelled_while_it_waited_counts_as_that_until_it_is_dropped() -> None:
    floor, experiment = Floor(), opened(1)
    floor.add(experiment)
    assert floor.counts("main") == {"created": 1}
    experiment.record(CancelRequested(at=AT, by="ada"))
    floor.withdraw(experiment)
    assert (floor.waiting_in("main"), floor.counts("main")) == (0, {"cancelled": 1})
    floor.drop(experiment.run_id)
    assert floor.counts("main") == {}


@given(st.lists(st.tuples(st.sampled_from(["add", "hold", "back", "end", "drop"]), st.integers(1, 6))))
def test_each_experiment_is_in_one_place_whatever_happens(steps: list[tuple[str, int]]) -> None:
    floor = Floor()
    for what, number in steps:
        there = floor.by_label(number)
        if what == "add" and there is None:
            floor.add(opened(number))
        elif there is not None and what == "hold" and floor.position(there):
            floor.hold(there)
        elif there is not None and what == "back" and there.is_waiting:
            floor.put_back(there)
        elif there is not None and what == "end" and there.is_waiting:
            run_to_the_end(floor, there)
        elif there is not None and what == "drop":
            floor.drop(there.run_id)
    assert floor.waiting_in("main") == len(list(floor.waiting()))
    assert floor.counts("main") == Counter(lifecycle.status_of(one.story.state) for one in floor)
    assert floor.counts("other").total() == floor.waiting_in("other") == 0
    places = [*floor.waiting(), *floor.live(), *floor.over()]
    assert len(places) == len({one.run_id for one in places}) == len(floor)
    assert sorted(floor.labels_below(None)) == sorted(one.row.label_number for one in floor)
