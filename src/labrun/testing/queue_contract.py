"""What every queue back end must do, as a class of tests for pytest.

Subclass it in a test module, name the class `Test…`, and give it a fixture `open_queue`: a function
that opens the queue, and opens the same one again after it was closed.

    class TestMyQueue(QueueContract):
        @pytest.fixture
        def open_queue(self, tmp_path):
            return lambda: MyQueue(tmp_path)
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from labrun.core.errors import KeyReused, NotAllowedNow
from labrun.core.ids import RunId, label_of
from labrun.core.spec import Spec, Surroundings, Target
from labrun.store.queue.protocol import Claim, NewRow, Queue, Row

OpenQueue = Callable[[], Queue]
AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def new_row(
    number: int,
    *,
    variables: bytes | None = None,
    request_key: str | None = None,
    request_hash: str | None = None,
    queued_at: datetime = AT,
) -> NewRow:
    """Make an experiment on its way in; equal numbers make equal ones."""
    digest = hashlib.sha256(variables).hexdigest() if variables is not None else None
    spec = Spec(
        Target("program", "true", ("true", "--number", str(number))),
        name=f"néw {number}",
        surroundings=Surroundings(variables=digest),
    )
    return NewRow(
        run_id=RunId(f"2026-11-20_{number:08d}"),
        spec=spec,
        queued_at=queued_at,
        variables=variables,
        request_key=request_key,
        request_hash=request_hash,
    )


def claim_of(row: Row, *, attempt: int | None = None) -> Claim:
    """Claim a row the way a worker does."""
    return Claim(
        run_id=row.run_id,
        attempt=row.attempt if attempt is None else attempt,
        worker="box:1",
        folder=f"labs/main/2026-11/{row.label}-new",
        key="0123456789abcdef",
        claimed_at=AT + timedelta(seconds=1),
        gpus=(0, 3),
    )


def in_loop(open_queue: OpenQueue, story: Callable[[Queue], Awaitable[None]]) -> None:
    """Open the queue, run a story with it in a fresh event loop, close it."""

    async def run() -> None:
        queue = open_queue()
        try:
            await story(queue)
        finally:
            await queue.aclose()

    asyncio.run(run())


class QueueContract:
    """The tests; each opens the queue through the fixture."""

    def test_what_was_put_is_there_after_reopening(self, open_queue: OpenQueue) -> None:
        """Accepted means kept."""
        taken: list[Row] = []

        async def put(queue: Queue) -> None:
            for number in range(3):
                row, is_new = await queue.put(new_row(number))
                assert is_new
                taken.append(row)
            assert list(queue.rows()) == taken

        async def look(queue: Queue) -> None:
            assert list(queue.rows()) == taken
            assert queue.high_water() == taken[-1].label_number

        in_loop(open_queue, put)
        in_loop(open_queue, look)
        assert [row.state for row in taken] == ["waiting"] * 3
        assert [row.attempt for row in taken] == [1] * 3
        assert taken[0].spec == new_row(0).spec
        assert taken[0].queued_at == AT

    def test_concurrent_puts_get_distinct_growing_labels(self, open_queue: OpenQueue) -> None:
        """No label is given twice, and a place in the queue is one place."""

        async def story(queue: Queue) -> None:
            taken = [row for row, _ in await asyncio.gather(*(queue.put(new_row(i)) for i in range(100)))]
            assert len({row.label_number for row in taken}) == 100
            in_order = sorted(taken, key=lambda row: row.sequence)
            numbers = [row.label_number for row in in_order]
            assert numbers == sorted(numbers)
            assert all(row.label == label_of(row.label_number) for row in taken)
            assert list(queue.rows()) == in_order
            assert queue.high_water() == max(numbers)

        in_loop(open_queue, story)

    def test_labels_are_not_given_again_after_removing_and_reopening(self, open_queue: OpenQueue) -> None:
        """A label names one experiment for ever."""
        numbers: list[int] = []

        async def story(queue: Queue) -> None:
            row, _ = await queue.put(new_row(len(numbers)))
            numbers.append(row.label_number)
            await queue.remove([row.run_id])

        for _ in range(3):
            in_loop(open_queue, story)
        assert numbers == sorted(set(numbers))

    def test_the_same_key_and_request_are_one_experiment(self, open_queue: OpenQueue) -> None:
        """Asking again after a lost answer makes no second one, even in one commit or after reopening."""
        first: list[Row] = []

        async def story(queue: Queue) -> None:
            requests = [new_row(i, request_key="key", request_hash="a") for i in range(4)]
            answers = await asyncio.gather(*(queue.put(request) for request in requests))
            assert len({row.run_id for row, _ in answers}) == 1
            assert sum(is_new for _, is_new in answers) == (0 if first else 1)
            first.append(answers[0][0])
            assert len(queue.rows()) == 1

        in_loop(open_queue, story)
        in_loop(open_queue, story)
        assert first[0] == first[1]

    def test_a_key_with_another_request_is_refused(self, open_queue: OpenQueue) -> None:
        """A reused key is a mistake of the client, not a second name for the first experiment."""

        async def story(queue: Queue) -> None:
            row, _ = await queue.put(new_row(1, request_key="key", request_hash="a"))
            with pytest.raises(KeyReused, match=row.label):
                await queue.put(new_row(2, request_key="key", request_hash="b"))
            assert [found.run_id for found in queue.rows()] == [row.run_id]

        in_loop(open_queue, story)

    def test_a_key_still_names_its_experiment_after_it_was_removed(self, open_queue: OpenQueue) -> None:
        """A client that asks again late learns what became of its request."""

        async def story(queue: Queue) -> None:
            row, _ = await queue.put(new_row(1, request_key="key", request_hash="a"))
            await queue.remove([row.run_id])
            again, is_new = await queue.put(new_row(2, request_key="key", request_hash="a"))
            assert not is_new
            assert (again.run_id, again.label, again.spec) == (row.run_id, row.label, row.spec)
            assert list(queue.rows()) == []

        in_loop(open_queue, story)

    def test_keys_are_forgotten_after_seven_days(self, open_queue: OpenQueue) -> None:
        """What a key made is remembered for a week, and not for ever."""

        async def story(queue: Queue) -> None:
            await queue.put(new_row(1, request_key="key", request_hash="a"))
            late = AT + timedelta(days=6, hours=23)
            assert not (await queue.put(new_row(2, request_key="key", request_hash="a", queued_at=late)))[1]
            await queue.put(new_row(3, request_key="other", request_hash="a", queued_at=AT + timedelta(days=8)))
            again = new_row(4, request_key="key", request_hash="a", queued_at=AT + timedelta(days=8))
            assert (await queue.put(again))[1]

        in_loop(open_queue, story)

    def test_one_refused_request_leaves_the_others_alone(self, open_queue: OpenQueue) -> None:
        """Those that share a commit do not share a refusal."""

        async def story(queue: Queue) -> None:
            await queue.put(new_row(0, request_key="key", request_hash="a"))
            requests = [new_row(i, request_key="key" if i == 5 else None, request_hash="b") for i in range(1, 10)]
            answers = await asyncio.gather(*(queue.put(r) for r in requests), return_exceptions=True)
            assert [i for i, answer in enumerate(answers, start=1) if isinstance(answer, BaseException)] == [5]
            assert isinstance(answers[4], KeyReused)
            assert len(queue.rows()) == 9

        in_loop(open_queue, story)

    def test_a_claim_is_exclusive(self, open_queue: OpenQueue) -> None:
        """Of many who want the same attempt one gets it."""

        async def story(queue: Queue) -> None:
            row, _ = await queue.put(new_row(1))
            answers = await asyncio.gather(*(queue.claim(claim_of(row)) for _ in range(10)), return_exceptions=True)
            assert sum(isinstance(answer, int) for answer in answers) == 1
            assert sum(isinstance(answer, NotAllowedNow) for answer in answers) == 9

        in_loop(open_queue, story)

    def test_a_claim_is_kept_whole(self, open_queue: OpenQueue) -> None:
        """A restart finds everything it needs to go on."""
        claims: list[tuple[Row, int]] = []

        async def claim(queue: Queue) -> None:
            row, _ = await queue.put(new_row(1))
            claims.append((row, await queue.claim(claim_of(row))))

        async def look(queue: Queue) -> None:
            row, fence = claims[0]
            wanted = claim_of(row)
            assert list(queue.rows()) == [
                structs.replace(
                    row,
                    state="claimed",
                    worker=wanted.worker,
                    folder=wanted.folder,
                    key=wanted.key,
                    gpus=wanted.gpus,
                    claimed_at=wanted.claimed_at,
                    fence=fence,
                )
            ]

        in_loop(open_queue, claim)
        in_loop(open_queue, look)

    def test_a_claim_needs_the_attempt_that_waits(self, open_queue: OpenQueue) -> None:
        """A late claim of another attempt, or of what is gone, changes nothing."""

        async def story(queue: Queue) -> None:
            row, _ = await queue.put(new_row(1))
            with pytest.raises(NotAllowedNow):
                await queue.claim(claim_of(row, attempt=2))
            assert list(queue.rows()) == [row]
            await queue.remove([row.run_id])
            with pytest.raises(NotAllowedNow):
                await queue.claim(claim_of(row))

        in_loop(open_queue, story)

    def test_fences_grow_with_every_claim(self, open_queue: OpenQueue) -> None:
        """Whoever holds a smaller number was overtaken, also across owners."""
        fences: list[int] = []

        async def story(queue: Queue) -> None:
            for number in range(2):
                row, _ = await queue.put(new_row(len(fences) * 10 + number))
                fences.append(await queue.claim(claim_of(row)))

        in_loop(open_queue, story)
        in_loop(open_queue, story)
        assert fences == sorted(set(fences))

    def test_an_attempt_put_back_waits_again(self, open_queue: OpenQueue) -> None:
        """It keeps its place and its folder, and can be claimed anew."""

        async def story(queue: Queue) -> None:
            row, _ = await queue.put(new_row(1))
            await queue.put(new_row(2))
            first = await queue.claim(claim_of(row))
            await queue.unclaim(row.run_id, 1)
            waiting = queue.rows()[0]
            assert (waiting.run_id, waiting.state, waiting.attempt) == (row.run_id, "waiting", 1)
            assert (waiting.worker, waiting.key, waiting.gpus, waiting.claimed_at) == (None, None, (), None)
            assert await queue.claim(claim_of(row)) > first
            await queue.unclaim(row.run_id, 2)
            assert queue.rows()[0].state == "claimed"

        in_loop(open_queue, story)

    def test_one_that_waits_and_is_cancelled_cannot_be_claimed(self, open_queue: OpenQueue) -> None:
        """A cancel that was acknowledged is never overtaken by a start."""

        async def story(queue: Queue) -> None:
            row, _ = await queue.put(new_row(1))
            noted = await queue.request_cancel(row.run_id, "ada")
            assert noted == structs.replace(row, cancelled_by="ada")
            with pytest.raises(NotAllowedNow):
                await queue.claim(claim_of(row))

        in_loop(open_queue, story)

    def test_a_claimed_one_can_be_cancelled_and_the_first_name_stays(self, open_queue: OpenQueue) -> None:
        """The request survives reopening; asking twice is asking once."""

        async def cancel(queue: Queue) -> None:
            row, _ = await queue.put(new_row(1))
            await queue.claim(claim_of(row))
            await queue.request_cancel(row.run_id, "ada")
            noted = await queue.request_cancel(row.run_id, "bob")
            assert noted is not None
            assert (noted.state, noted.cancelled_by) == ("claimed", "ada")

        async def look(queue: Queue) -> None:
            assert [row.cancelled_by for row in queue.rows()] == ["ada"]

        in_loop(open_queue, cancel)
        in_loop(open_queue, look)

    def test_cancelling_what_is_not_open_says_so(self, open_queue: OpenQueue) -> None:
        """None, not an error: it may just have ended."""

        async def story(queue: Queue) -> None:
            assert await queue.request_cancel(RunId("2026-11-20_00000001"), "ada") is None

        in_loop(open_queue, story)

    def test_removing_twice_is_removing_once(self, open_queue: OpenQueue) -> None:
        """A crash between the commit and what follows it makes the worker ask again."""

        async def story(queue: Queue) -> None:
            rows = [(await queue.put(new_row(i)))[0] for i in range(3)]
            for _ in range(2):
                await queue.remove([rows[0].run_id, rows[2].run_id, RunId("2026-11-20_unknown0")])
            await queue.remove([])
            assert list(queue.rows()) == [rows[1]]

        in_loop(open_queue, story)

    def test_variables_live_as_long_as_the_last_row_that_uses_them(self, open_queue: OpenQueue) -> None:
        """They are secrets: kept once per content, and not an instant longer than needed."""
        shared, lone = b'{"TOKEN":"a"}', b'{"TOKEN":"b"}'
        digests = [hashlib.sha256(content).hexdigest() for content in (shared, lone)]

        async def story(queue: Queue) -> None:
            first, _ = await queue.put(new_row(1, variables=shared))
            second, _ = await queue.put(new_row(2, variables=shared))
            third, _ = await queue.put(new_row(3, variables=lone))
            assert [queue.variables(digest) for digest in digests] == [shared, lone]
            await queue.remove([first.run_id, third.run_id])
            assert [queue.variables(digest) for digest in digests] == [shared, None]
            await queue.remove([second.run_id])
            assert [queue.variables(digest) for digest in digests] == [None, None]

        in_loop(open_queue, story)

    def test_a_resumed_experiment_keeps_its_name_and_gets_a_new_place(self, open_queue: OpenQueue) -> None:
        """Same id, label and folder; the next attempt; behind whatever waits already."""
        variables = b'{"A":"1"}'

        async def story(queue: Queue) -> None:
            row, _ = await queue.put(new_row(1, request_key="key", request_hash="a"))
            await queue.claim(claim_of(row))
            await queue.remove([row.run_id])
            other, _ = await queue.put(new_row(2))
            folder = claim_of(row).folder
            opened = await queue.reopen(structs.replace(row, attempt=2, folder=folder), variables)
            assert (opened.run_id, opened.label, opened.attempt) == (row.run_id, row.label, 2)
            assert (opened.state, opened.folder) == ("waiting", folder)
            assert [found.run_id for found in queue.rows()] == [other.run_id, row.run_id]
            assert queue.rows()[1] == opened
            assert queue.variables(hashlib.sha256(variables).hexdigest()) == variables
            again, is_new = await queue.put(new_row(3, request_key="key", request_hash="a"))
            assert (again, is_new) == (opened, False)
            assert await queue.claim(claim_of(opened)) > 0

        in_loop(open_queue, story)

    def test_what_is_open_cannot_be_resumed(self, open_queue: OpenQueue) -> None:
        """Two resumes at once make one next attempt."""

        async def story(queue: Queue) -> None:
            row, _ = await queue.put(new_row(1))
            with pytest.raises(NotAllowedNow):
                await queue.reopen(structs.replace(row, attempt=2), None)
            assert list(queue.rows()) == [row]

        in_loop(open_queue, story)

    def test_closing_finishes_what_was_asked(self, open_queue: OpenQueue) -> None:
        """Nothing on its way in is dropped."""

        async def story(queue: Queue) -> None:
            asked = [asyncio.ensure_future(queue.put(new_row(i))) for i in range(20)]
            await asyncio.sleep(0)
            await queue.aclose()
            assert all(is_new for _, is_new in await asyncio.gather(*asked))

        async def look(queue: Queue) -> None:
            assert len(queue.rows()) == 20

        async def run() -> None:
            await story(open_queue())

        asyncio.run(run())
        in_loop(open_queue, look)
