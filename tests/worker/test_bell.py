import asyncio

from labrun.worker.bell import Bell


def test_a_ring_wakes_everybody_who_waits() -> None:
    async def scene() -> int:
        bell = Bell()
        async with asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(bell.wait(5)) for _ in range(3)]
            await asyncio.sleep(0)  # lets them begin to wait
            bell.ring()
        return sum(task.done() for task in waiting)

    assert asyncio.run(scene()) == 3


def test_a_wait_without_ring_ends_silently_at_its_timeout() -> None:
    asyncio.run(Bell().wait(0.01))


def test_a_change_between_two_looks_is_never_missed() -> None:
    async def scene() -> list[int]:
        bell, seen, box, last = Bell(), [], [0], [0]

        async def look() -> None:
            while box[0] < 100:
                assert await bell.wait_for(lambda: box[0] > last[0], 5)
                last[0] = box[0]
                seen.append(box[0])

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(look())
            for i in range(100):
                box[0] = i + 1
                bell.ring()
                if i % 7 == 0:
                    await asyncio.sleep(0)  # sometimes the looker gets its turn, sometimes several rings pass
        return seen

    seen = asyncio.run(scene())
    assert seen[-1] == 100
    assert seen == sorted(set(seen))


def test_waiting_for_what_is_true_already_returns_at_once() -> None:
    assert asyncio.run(Bell().wait_for(lambda: True, 0.0))


def test_waiting_for_what_never_comes_says_so() -> None:
    assert not asyncio.run(Bell().wait_for(lambda: False, 0.01))
