import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import apsw
import pytest

from labrun.core.errors import (
    DiskFull,
    HomeBusy,
    HomeUnusable,
    LabError,
    QueueMissing,
    ServerStopping,
    StoreDamaged,
    WorldError,
)
from labrun.store.home import Home, LabelMark, init_home
from labrun.store.queue.committer import Committer
from labrun.store.queue.database import create
from labrun.store.queue.sqlite import SqliteQueue
from labrun.store.sql.calls import fetch
from labrun.testing.queue_contract import AT, QueueContract, claim_of, new_row
from tests.helpers import wait_until


def open_queue_at(path: Path) -> SqliteQueue:
    return SqliteQueue.open_file(path)


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def to_its_end() -> None:
        await story()

    asyncio.run(to_its_end())


class TestSqliteQueue(QueueContract):
    @pytest.fixture
    def open_queue(self, tmp_path: Path) -> Callable[[], SqliteQueue]:
        return lambda: open_queue_at(tmp_path / "queue.sqlite")


# --- durability


SETTINGS = {
    "synchronous": 2,  # FULL
    "journal_mode": "wal",
    "foreign_keys": 1,
    "secure_delete": 1,
    "wal_autocheckpoint": 1000,
    "journal_size_limit": 16 * 2**20,
}


def settings_of(queue: SqliteQueue) -> Awaitable[dict[str, object]]:
    return queue._committer.commit(lambda db: {name: fetch(db, f"PRAGMA {name}")[0][0] for name in SETTINGS})


def test_its_connection_has_the_settings_that_make_it_durable(tmp_path: Path) -> None:
    async def story() -> None:
        queue = open_queue_at(tmp_path / "queue.sqlite")
        assert await settings_of(queue) == SETTINGS
        await queue.aclose()
        broken = SqliteQueue.open_file(tmp_path / "queue.sqlite", synchronous="NORMAL")
        assert await settings_of(broken) == SETTINGS | {"synchronous": 1}
        await broken.aclose()

    run(story)


ACKNOWLEDGE = """
import asyncio, sys
from pathlib import Path
from labrun.store.queue.sqlite import SqliteQueue
from labrun.store.sql.calls import fetch
from labrun.testing.queue_contract import new_row

async def client(queue, start):
    for number in range(start, start + 100_000):
        row, _ = await queue.put(new_row(number, variables=b'{"N":"%d"}' % (number % 7)))
        print(row.run_id, row.label, flush=True)

async def main():
    queue = SqliteQueue.open_file(Path(sys.argv[1]))
    await asyncio.gather(*(client(queue, i * 100_000) for i in range(int(sys.argv[2]), int(sys.argv[2]) + 8)))

asyncio.run(main())
"""


def test_every_acknowledged_row_survives_sigkill_in_mid_load(tmp_path: Path) -> None:
    acknowledged: dict[str, str] = {}
    for kill in range(3):
        out = tmp_path / f"acknowledged-{kill}"
        with out.open("wb") as stream:
            arguments = [sys.executable, "-c", ACKNOWLEDGE, str(tmp_path / "queue.sqlite"), str(kill * 8)]
            child = subprocess.Popen(arguments, stdout=stream)
        wait_until(lambda out=out: out.stat().st_size > 20_000, 30, "hundreds are acknowledged")  # type: ignore[misc]
        child.send_signal(signal.SIGKILL)
        child.wait()
        lines = out.read_text().split("\n")[:-1]  # the last one may be torn
        acknowledged |= dict(line.split() for line in lines)

    async def look() -> None:
        queue = open_queue_at(tmp_path / "queue.sqlite")
        try:
            kept = {row.run_id: row.label for row in queue.rows()}
            assert len(set(kept.values())) == len(kept)
            assert {run_id: kept.get(run_id) for run_id in acknowledged} == acknowledged
            assert queue.epoch == 4
            assert all(queue.variables(hashlib.sha256(b'{"N":"%d"}' % n).hexdigest()) for n in range(7))
        finally:
            await queue.aclose()

    assert len(acknowledged) > 1000
    run(look)


def test_operations_that_arrive_together_share_commits(tmp_path: Path) -> None:
    async def story() -> None:
        queue = open_queue_at(tmp_path / "queue.sqlite")
        try:
            await queue.put(new_row(0))
            commits_before = _commits(tmp_path / "queue.sqlite")
            await asyncio.gather(*(queue.put(new_row(i)) for i in range(1, 501)))
            assert _commits(tmp_path / "queue.sqlite") - commits_before < 50
        finally:
            await queue.aclose()

    run(story)


def _commits(path: Path) -> int:
    """Commit marks in the write-ahead log: frames whose header holds a database size.

    Source:
        sqlite.org/fileformat2.html, section 4: 32 bytes of header, frames of 24 bytes and a page.
    """
    log = path.with_name(path.name + "-wal").read_bytes()
    page = int.from_bytes(log[8:12], "big")
    return sum(log[at + 4 : at + 8] != b"\0\0\0\0" for at in range(32, len(log) - 24 - page + 1, 24 + page))


def test_the_log_of_writes_stays_small(tmp_path: Path) -> None:
    async def story() -> None:
        queue = open_queue_at(tmp_path / "queue.sqlite")
        try:
            for batch in range(15):
                rows = await asyncio.gather(*(queue.put(new_row(batch * 1000 + i)) for i in range(300)))
                await queue.remove([row.run_id for row, _ in rows])
            log = tmp_path / "queue.sqlite-wal"
            assert log.stat().st_size < 20 * 2**20
        finally:
            await queue.aclose()
        assert not (tmp_path / "queue.sqlite-wal").exists(), "closing checkpoints"

    run(story)


# --- ownership


def test_an_owner_that_was_replaced_cannot_write_any_more(tmp_path: Path) -> None:
    async def story() -> None:
        old = open_queue_at(tmp_path / "queue.sqlite")
        row, _ = await old.put(new_row(1))
        new = open_queue_at(tmp_path / "queue.sqlite")
        try:
            assert new.epoch == old.epoch + 1
            for attempt in (old.put(new_row(2)), old.claim(claim_of(row)), old.remove([row.run_id])):
                with pytest.raises(HomeBusy):
                    await attempt
            await new.claim(claim_of(row))
            assert [found.run_id for found in new.rows()] == [row.run_id]
        finally:
            await old.aclose()
            await new.aclose()

    run(story)


# --- missing, strange and damaged files


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return init_home(tmp_path / "home")


def refused_and_left_alone(home: Home) -> type[Exception]:
    before = home.queue.read_bytes()
    with pytest.raises(LabError) as refusal:
        SqliteQueue.open(home)
    assert home.queue.read_bytes() == before
    return refusal.type


def test_a_missing_queue_of_an_initialised_home_is_refused_by_name(home: Home) -> None:
    home.queue.unlink()
    with pytest.raises(QueueMissing, match=r"queue\.sqlite"):
        SqliteQueue.open(home)
    assert not home.queue.exists()


def test_an_empty_file_is_not_taken_for_an_empty_queue(home: Home) -> None:
    home.queue.write_bytes(b"")
    assert refused_and_left_alone(home) is QueueMissing


def test_garbage_is_refused(home: Home) -> None:
    home.queue.write_bytes(b"not a database at all " * 1000)
    assert refused_and_left_alone(home) is StoreDamaged


def test_somebody_elses_database_is_refused(home: Home) -> None:
    home.queue.unlink()
    stranger = apsw.Connection(str(home.queue))
    stranger.execute("CREATE TABLE theirs (x)")
    stranger.close()
    assert refused_and_left_alone(home) is StoreDamaged


def test_a_newer_format_is_refused_with_both_versions(home: Home) -> None:
    newer = apsw.Connection(str(home.queue))
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(HomeUnusable, match=r"99.*1"):
        SqliteQueue.open(home)


@pytest.mark.parametrize("damage", ["missing", "garbage"])
def test_a_new_queue_begins_where_one_was_lost_and_gives_no_label_twice(home: Home, damage: str) -> None:
    numbers = []

    async def story() -> None:
        queue = SqliteQueue.open(home, allow_new=True)
        try:
            numbers.extend([(await queue.put(new_row(i)))[0].label_number for i in range(3)])
            assert len(queue.rows()) == 3, "the old rows are gone, or nothing was new"
        finally:
            await queue.aclose()

    run(story)
    if damage == "missing":
        home.queue.unlink()
    else:
        home.queue.write_bytes(b"garbage" * 1000)
    run(story)
    assert numbers == sorted(set(numbers))
    if damage == "garbage":
        assert home.queue.with_name("queue.sqlite.damaged").read_bytes() == b"garbage" * 1000


def test_an_allowed_new_queue_does_not_replace_a_whole_one(home: Home) -> None:
    async def story(count: int) -> None:
        queue = SqliteQueue.open(home, allow_new=True)
        await queue.put(new_row(count))
        assert len(queue.rows()) == count
        await queue.aclose()

    run(lambda: story(1))
    run(lambda: story(2))


@pytest.mark.parametrize("is_clean", [0, 1])
def test_a_damaged_page_is_found_after_an_unclean_end(tmp_path: Path, is_clean: int) -> None:
    path = tmp_path / "queue.sqlite"

    async def story() -> None:
        queue = open_queue_at(path)
        await asyncio.gather(*(queue.put(new_row(i)) for i in range(500)))
        await queue.aclose()

    run(story)
    owner = apsw.Connection(str(path))
    owner.execute("UPDATE counters SET value = ? WHERE name = 'is_clean'", (is_clean,))
    rows_page = owner.execute("SELECT max(pageno) FROM dbstat WHERE name = 'experiments'").get
    owner.close()
    with path.open("r+b") as file:
        file.seek((rows_page - 1) * 4096)
        file.write(b"\xaa" * 4096)
    if is_clean:  # closed in order, damaged since: found by the one who reads the page

        async def read() -> None:
            queue = open_queue_at(path)
            try:
                with pytest.raises(StoreDamaged):
                    queue.rows()
            finally:
                await queue.aclose()

        run(read)
    else:
        with pytest.raises(StoreDamaged):
            open_queue_at(path)


def delete_queue(folder: Path) -> None:
    for path in folder.glob("queue.sqlite*"):
        path.unlink()


def test_a_queue_deleted_under_a_running_server_acknowledges_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        queue = open_queue_at(tmp_path / "queue.sqlite")
        await queue.put(new_row(1))
        delete_queue(tmp_path)
        with pytest.raises(WorldError):
            await queue.put(new_row(2))
        await queue.aclose()

    run(story)


def test_secrets_do_not_stay_in_the_file(tmp_path: Path) -> None:
    secret = b"canary-" + os.urandom(8).hex().encode()
    variables = b'{"TOKEN":"' + secret * 1000 + b'"}'

    async def story() -> None:
        queue = open_queue_at(tmp_path / "queue.sqlite")
        row, _ = await queue.put(new_row(1, variables=variables))
        await queue.remove([row.run_id])
        await queue.aclose()

    run(story)
    assert secret not in (tmp_path / "queue.sqlite").read_bytes()
    assert (tmp_path / "queue.sqlite").stat().st_mode & 0o077 == 0


def test_labels_begin_above_the_floor(tmp_path: Path) -> None:
    async def story() -> None:
        for floor, label in ((41, "EXP-042"), (7, "EXP-043")):
            queue = SqliteQueue.open_file(tmp_path / "queue.sqlite", label_floor=floor)
            assert (await queue.put(new_row(floor)))[0].label == label
            await queue.aclose()

    run(story)


def test_the_home_notes_labels_before_they_are_given(home: Home) -> None:
    async def story() -> None:
        queue = SqliteQueue.open(home)
        for number in range(300):
            row, _ = await queue.put(new_row(number))
            assert LabelMark(home).number >= row.label_number
        await queue.aclose()

    run(story)


def test_a_closed_queue_takes_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        queue = open_queue_at(tmp_path / "queue.sqlite")
        await queue.aclose()
        await queue.aclose()
        with pytest.raises(ServerStopping):
            await queue.put(new_row(1))

    run(story)


# --- full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk_refuses_and_recovers_without_a_restart(small_disk: Path) -> None:
    async def story() -> None:
        queue = open_queue_at(small_disk / "queue.sqlite")
        try:
            first, _ = await queue.put(new_row(0))
            filler = small_disk / "filler"
            _fill(filler)
            accepted = [first.run_id]
            failures: list[BaseException] = []
            for number in range(1, 1000):
                try:
                    accepted.append((await queue.put(new_row(number, variables=os.urandom(20_000))))[0].run_id)
                except LabError as error:
                    failures.append(error)
                if len(failures) == 5:
                    break
            assert {type(error) for error in failures} == {DiskFull}
            assert [row.run_id for row in queue.rows()] == accepted, "what was refused is not there"
            filler.unlink()
            late, is_new = await queue.put(new_row(2000))
            assert is_new
            assert await queue.claim(claim_of(first)) > 0
            assert [row.run_id for row in queue.rows()] == [*accepted, late.run_id]
            assert late.queued_at == AT
        finally:
            await queue.aclose()

    run(story)


def test_the_reserve_is_used_for_what_was_accepted_and_not_for_what_is_new(small_disk: Path) -> None:
    path, reserve = small_disk / "queue.sqlite", small_disk / "reserve"

    def give_back() -> bool:
        is_there = reserve.exists()
        reserve.unlink(missing_ok=True)
        return is_there

    async def story() -> None:
        create(path)
        queue = SqliteQueue(Committer(path, "FULL", make_room=give_back))
        try:
            rows = [(await queue.put(new_row(i)))[0] for i in range(50)]
            reserve.write_bytes(bytes(300_000))
            _fill(small_disk / "filler")
            refused = 0
            while not refused:
                try:
                    rows.append((await queue.put(new_row(len(rows), variables=os.urandom(20_000))))[0])
                except DiskFull:
                    refused += 1
            for row in rows:
                assert await queue.claim(claim_of(row)) > 0
            assert not reserve.exists(), "claims of a full disk need it"
            await queue.remove([row.run_id for row in rows])
            assert list(queue.rows()) == []
        finally:
            await queue.aclose()

    run(story)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as stream:
        for size in (65536, 4096):
            try:
                while True:
                    stream.write(bytes(size))
            except OSError:
                continue
