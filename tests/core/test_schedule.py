import pytest
from hypothesis import given
from hypothesis import strategies as st

from labrun.core.errors import ImpossibleRequest
from labrun.core.ids import RunId
from labrun.core.resources import Capacity, Request
from labrun.core.schedule import Holding, Pending, check_possible, order_key, plan

HOST = Capacity(cpus=8, memory_bytes=16 << 30, gpu_indices=(0, 1, 2, 3))
NOTHING = Request()


def pending(name: str, request: Request = NOTHING, *, priority: int = 5, sequence: int = 0) -> Pending:
    return Pending(RunId(name), name, priority, sequence, request)


def holding(name: str, request: Request = NOTHING, *gpus: int) -> Holding:
    return Holding(RunId(name), name, request, gpus)


def test_higher_priority_first_then_first_come_first_served() -> None:
    items = [pending("a", sequence=1), pending("b", priority=9, sequence=2), pending("c", sequence=0)]
    assert [item.label for item in sorted(items, key=order_key)] == ["b", "c", "a"]


def test_without_a_request_one_runs_at_a_time() -> None:
    made = plan([pending("a"), pending("b")], [], HOST)
    assert [start.run_id for start in made.starts] == ["a"]
    assert made.head_reason == "the exclusive slot is taken"


def test_the_reason_names_who_is_running() -> None:
    assert (
        plan([pending("b")], [holding("EXP-001")], HOST).head_reason == "the exclusive slot is taken; running: EXP-001"
    )


def test_nobody_overtakes_the_head_of_the_queue() -> None:
    made = plan(
        [pending("big", Request(cpus=8)), pending("small", Request(cpus=1))], [holding("x", Request(cpus=1))], HOST
    )
    assert made.starts == ()
    assert made.head_reason == "needs 8 CPUs, 7 free; running: x"


def test_gpus_are_given_by_index_and_never_twice() -> None:
    two = Request(gpu_count=2)
    made = plan([pending("a", two), pending("b", two)], [holding("x", Request(gpu_count=1), 1)], HOST)
    assert [start.gpus for start in made.starts] == [(0, 2)]
    assert made.head_reason == "needs 2 GPUs, 1 free; running: x"


def test_an_empty_queue_has_no_reason() -> None:
    made = plan([], [holding("x")], HOST)
    assert (made.starts, made.head_reason) == ((), None)


def test_a_long_queue_is_read_only_as_far_as_needed() -> None:
    read = 0

    def queue() -> object:
        nonlocal read
        for number in range(100_000):
            read += 1
            yield pending(str(number))

    plan(queue(), [], HOST)  # type: ignore[arg-type]
    assert read == 2


requests = st.builds(
    Request,
    cpus=st.none() | st.integers(1, 8),
    memory_bytes=st.none() | st.integers(1, 16 << 30),
    gpu_count=st.none() | st.integers(0, 4),
)


@given(st.lists(requests, max_size=20), st.integers(1, 3))
def test_no_plan_exceeds_the_capacity(asked: list[Request], slots: int) -> None:
    host = Capacity(HOST.cpus, HOST.memory_bytes, HOST.gpu_indices, slots)
    made = plan([pending(str(i), request) for i, request in enumerate(asked)], [], host)
    started = [(asked[int(start.run_id)], start.gpus) for start in made.starts]
    assert sum(request.cpus or 0 for request, _ in started) <= host.cpus
    assert sum(request.memory_bytes or 0 for request, _ in started) <= host.memory_bytes
    assert sum(request.is_empty for request, _ in started) <= slots
    gpus = [index for _, given in started for index in given]
    assert len(gpus) == len(set(gpus))
    assert set(gpus) <= set(host.gpu_indices)
    assert all(len(given) == (request.gpu_count or 0) for request, given in started)
    assert (len(started) == len(asked)) == (made.head_reason is None)


@given(st.lists(requests, max_size=12))
def test_planning_again_with_what_was_started_starts_nothing_more(asked: list[Request]) -> None:
    queue = [pending(str(i), request) for i, request in enumerate(asked)]
    first = plan(queue, [], HOST)
    held = [holding(start.run_id, asked[int(start.run_id)], *start.gpus) for start in first.starts]
    assert plan(queue[len(held) :], held, HOST).starts == ()


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request(cpus=9), "asked for 9 CPUs, this host has 8"),
        (Request(memory_bytes=17 << 30), "asked for 17.0 GiB of memory, this host has 16.0 GiB"),
        (Request(gpu_count=5), "asked for 5 GPUs, this host has 4"),
        (Request(gpu_memory_bytes=2**40), "asked for 1 GPU of 1.0 TiB, this host has none"),
    ],
)
def test_what_could_never_start_here_is_refused_at_the_door(request_: Request, said: str) -> None:
    with pytest.raises(ImpossibleRequest, match=said):
        check_possible(request_, HOST)


def test_all_of_the_host_may_be_asked_for() -> None:
    check_possible(Request(cpus=8, memory_bytes=16 << 30, gpu_count=4), HOST)


def test_gpus_with_too_little_memory_are_not_assigned() -> None:
    capacity = Capacity(8, 2**34, gpu_indices=(0, 1, 2), gpu_memory_bytes=(8 * 2**30, 80 * 2**30, 80 * 2**30))
    asked = Request(gpu_count=1, gpu_memory_bytes=40 * 2**30)
    check_possible(asked, capacity)
    made = plan([pending("a", asked), pending("b", asked), pending("c", asked)], [], capacity)
    assert [start.gpus for start in made.starts] == [(1,), (2,)]
    assert "GPUs of 40.0 GiB, 0 free" in (made.head_reason or "")
    with pytest.raises(ImpossibleRequest):
        check_possible(Request(gpu_count=3, gpu_memory_bytes=40 * 2**30), capacity)
    with pytest.raises(ImpossibleRequest):
        check_possible(Request(gpu_memory_bytes=2**40), capacity)


def test_memory_of_a_gpu_alone_means_one_gpu_and_where_it_is_unknown_none() -> None:
    known = Capacity(8, 2**34, gpu_indices=(0,), gpu_memory_bytes=(2**36,))
    assert plan([pending("a", Request(gpu_memory_bytes=2**30))], [], known).starts[0].gpus == (0,)
    with pytest.raises(ImpossibleRequest):
        check_possible(Request(gpu_memory_bytes=1), Capacity(8, 2**34, gpu_indices=(0,)))
