import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labrun.core.events import Status
from labrun.core.ids import label_of
from labrun.core.resources import Request
from labrun.store.index import Index
from labrun.store.sql.calls import fetch
from labrun.wire.responses import Experiment
from tests.helpers import examples

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
CHAIN = "/lab/labs/main/chain.jsonl"


def ended(
    number: int, *, lab: str = "main", name: str | None = None, status: Status = "succeeded", folder: bool = True
) -> Experiment:
    return Experiment(
        run_id=f"2026-11-20_{number:08d}",
        label=label_of(number),
        lab=lab,
        name=name,
        status=status,
        step="completed",
        step_status="succeeded",
        attempt=1,
        priority=5,
        command=("python", "train.py"),
        note=None,
        user="ada",
        resources=Request(cpus=2),
        queued_at=AT + timedelta(seconds=number),
        started_at=AT,
        ended_at=AT,
        exit_code=0,
        ending="exited",
        ending_text="finished",
        reason=None,
        position=None,
        is_sealed=True,
        folder=f"/lab/labs/{lab}/2026-11/{label_of(number)}" if folder else None,
    )


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    found = Index.open(tmp_path / "index.sqlite")
    yield found
    found.close()


def numbers(found: list[Experiment]) -> list[int]:
    return [int(one.label.removeprefix("EXP-")) for one in found]


# --- finding


def test_an_experiment_is_found_by_everything_it_is_called(index: Index) -> None:
    one = ended(54, name="planck")
    index.apply([one, ended(55)], consumed={})
    assert index.get(one.run_id) == one
    assert index.by_label(54) == one
    assert index.by_folder(one.folder or "") == one
    assert index.by_name("planck", "main", 10) == [one]
    assert index.by_prefix("2026-11-20_00000054", 10) == [one]
    assert index.newest("main", 2) == [55, 54]
    assert index.high_water() == 55


def test_what_is_not_there_is_not_found(index: Index) -> None:
    index.apply([ended(1, name="planck", folder=False)], consumed={})
    assert index.get("2026-11-20_00000002") is None
    assert index.by_label(2) is None
    assert index.by_folder("/lab") is None
    assert index.by_name("planc", "main", 10) == []
    assert index.by_name("planck", "other", 10) == []
    assert index.by_prefix("2027", 10) == []
    assert index.newest("other", 1) == []


def test_what_was_removed_is_neither_found_nor_counted(index: Index) -> None:
    index.apply([ended(1, status="failed"), ended(2)], consumed={})
    for _ in range(2):
        index.remove(ended(1).run_id)
        assert index.get(ended(1).run_id) is None
        assert index.counts("main") == {"succeeded": 1}
        assert numbers(index.page("main", limit=2)) == [2]


def test_several_that_fit_come_up_to_the_limit(index: Index) -> None:
    index.apply([ended(i, name="same") for i in range(1, 11)], consumed={})
    assert numbers(index.by_name("same", "main", 3)) == [10, 9, 8]
    assert numbers(index.by_prefix("2026-11", 3)) == [1, 2, 3]


def test_a_later_view_replaces_an_earlier_one(index: Index) -> None:
    index.apply([ended(1, status="failed", name="old")], consumed={})
    index.apply([ended(1, status="succeeded", name="new")], consumed={})
    assert index.by_name("old", "main", 10) == []
    assert index.counts("main") == {"succeeded": 1}
    assert index.count() == 1


# --- pages


@settings(max_examples=examples(30), deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["main", "other"]), st.sampled_from(["failed", "succeeded"]),
                       st.sampled_from([None, "Äpfel", "äpfelmus", "birne"])), max_size=40),
    st.integers(1, 7),
    st.sampled_from([None, "failed"]),
    st.sampled_from([None, "ÄPFEL", "e"]),
)  # fmt: skip
def test_pages_put_together_are_the_whole_list(
    tmp_path_factory: pytest.TempPathFactory,
    kinds: list[tuple[str, Status, str | None]],
    limit: int,
    status: str | None,
    words: str | None,
) -> None:
    index = Index.open(tmp_path_factory.mktemp("pages") / "index.sqlite")
    everything = [ended(i, lab=lab, status=s, name=name) for i, (lab, s, name) in enumerate(kinds, start=1)]
    index.apply(everything, consumed={})
    found: list[Experiment] = []
    while True:
        before = numbers(found[-1:])[0] if found else None
        page = index.page("main", before_label_number=before, limit=limit, status=status, name_contains=words)
        found += page
        if len(page) < limit:
            break
    index.close()
    assert found == [
        one
        for one in reversed(everything)
        if one.lab == "main"
        and status in (None, one.status)
        and (words is None or words.lower() in (one.name or "").lower())
    ]


def test_counts_follow_every_change(index: Index) -> None:
    index.apply([ended(i, status="failed") for i in range(1, 6)], consumed={})
    index.apply([ended(i, lab="other") for i in range(6, 9)], consumed={})
    index.apply([ended(1, status="succeeded"), ended(2, lab="other", status="failed")], consumed={})
    assert index.counts("main") == {"failed": 3, "succeeded": 1}
    assert index.counts("other") == {"succeeded": 3, "failed": 1}
    assert index.counts("nobody") == {}
    assert index.count() == 8
    index.clear()
    assert (index.counts("main"), index.count(), index.high_water()) == ({}, 0, 0)


def test_pages_of_ten_thousand_come_at_once(index: Index) -> None:
    index.apply([ended(i, name=f"run {i}" if i % 100 == 0 else None) for i in range(1, 10_001)], consumed={})
    for query in ({}, {"before_label_number": 5000}, {"status": "failed"}, {"name_contains": "run 10000"}):
        begin = time.perf_counter()
        index.page("main", limit=50, **query)  # type: ignore[arg-type]
        assert time.perf_counter() - begin < 0.1  # a few ms; generous, for machines that are shared and slow


# --- what is consumed


def test_what_is_consumed_is_kept_with_what_was_folded_in(tmp_path: Path) -> None:
    index = Index.open(tmp_path / "index.sqlite")
    assert index.is_fresh
    assert index.consumed(CHAIN) == 0
    index.apply([ended(1)], consumed={CHAIN: 300, "/other": 20})
    index.close()
    index = Index.open(tmp_path / "index.sqlite")
    assert not index.is_fresh
    assert (index.consumed(CHAIN), index.consumed("/other")) == (300, 20)
    assert index.by_label(1) == ended(1)
    index.close()


def test_it_is_a_cache_and_does_not_wait_for_the_disk(index: Index) -> None:
    assert fetch(index._db, "PRAGMA synchronous") == [(1,)]  # NORMAL
    assert fetch(index._db, "PRAGMA journal_mode") == [("wal",)]


def test_clearing_begins_every_journal_anew(index: Index) -> None:
    index.apply([ended(1)], consumed={CHAIN: 300})
    index.clear()
    assert index.consumed(CHAIN) == 0
    index.apply([ended(1)], consumed={CHAIN: 300})
    assert index.consumed(CHAIN) == 300


# --- damage


def make(path: Path) -> bytes:
    index = Index.open(path)
    index.apply([ended(i) for i in range(1, 2001)], consumed={CHAIN: 300})
    index.close()
    return path.read_bytes()


@pytest.mark.parametrize("damage", ["empty", "garbage", "torn", "header", "version", "stranger"])
def test_a_useless_file_is_reported_and_made_anew(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "index.sqlite"
    content = make(path)
    match damage:
        case "empty":
            path.write_bytes(b"")
        case "garbage":
            path.write_bytes(b"garbage " * 10_000)
        case "torn":
            path.write_bytes(content[: len(content) // 8192 * 4096 + 77])
        case "header":
            path.write_bytes(b"\xff" * 100 + content[100:])
        case "version":
            _pragma(path, "user_version = 99")
        case "stranger":
            _pragma(path, "application_id = 7")
    index = Index.open(path)
    found = index.page("main", limit=3000)
    assert found == [] or damage == "torn"
    assert index.is_fresh or index.is_partial
    assert "made anew" in caplog.text
    index.apply([ended(7)], consumed={})
    assert index.by_label(7) == ended(7)
    index.close()


def _pragma(path: Path, text: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA {text}")
    connection.close()


def test_damage_found_while_in_use_is_healed_and_a_restart_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    content = make(path)
    path.write_bytes(content[:8192] + b"\xaa" * (len(content) - 8192))
    index = Index.open(path)
    index.page("main", limit=3000)
    index.apply([ended(7)], consumed={CHAIN: 900})
    assert index.is_fresh or index.is_partial
    assert index.by_label(7) == ended(7)
    if index.is_partial:
        assert index.consumed(CHAIN) == 0, "a restart must read the chain from its beginning"
    index.close()


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4096))
def test_no_damage_whatever_is_a_failure(tmp_path_factory: pytest.TempPathFactory, where: int, size: int) -> None:
    path = tmp_path_factory.mktemp("damage") / "index.sqlite"
    index = Index.open(path)
    index.apply([ended(i, name=f"n{i}") for i in range(1, 50)], consumed={CHAIN: 300})
    index.close()
    content = path.read_bytes()
    at = where % len(content)
    path.write_bytes(content[:at] + b"\xa5" * min(size, len(content) - at) + content[at + size :])
    index = Index.open(path)
    for number in range(1, 50):
        index.by_label(number)
    index.page("main", limit=100, name_contains="n")
    index.counts("main")
    index.apply([ended(100)], consumed={CHAIN: 500})
    assert index.by_label(100) == ended(100)
    index.close()


def test_it_is_used_from_the_thread_of_the_event_loop(index: Index) -> None:
    async def story() -> None:
        index.apply([ended(1)], consumed={})
        assert index.count() == 1

    asyncio.run(story())
