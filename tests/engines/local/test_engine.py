"""The decision table, and what happens around it when servers, supervisors and zygotes die."""

import asyncio
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from labrun.core.errors import EngineFailed
from labrun.core.ids import AttemptId
from labrun.engines.local.control import ControlFiles
from labrun.engines.protocol import Alive, Dead, Ended, Engine, Unstarted
from labrun.shim import kernel
from tests.engines.workbench import (
    SHIM,
    Workbench,
    breaks,
    copy_shim,
    is_alive,
    kill,
    open_directory,
    public_interpreter,
)
from tests.helpers import wait_until
from tests.hostile import HOSTILE

ROOT = Path(__file__).parents[3]


@pytest.fixture(params=["with cgroups", "without"])
def any_bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workbench]:
    """A workbench, and one whose supervisors believe that there are no cgroups."""
    shim = SHIM
    if request.param == "without":
        shim = breaks(tmp_path, "kernel.py", "CGROUP_ROOTS = cgroup_roots()", "CGROUP_ROOTS = []")
    bench = Workbench(tmp_path, shim=shim)
    yield bench
    bench.close()


def test_it_is_an_engine(bench: Workbench) -> None:
    engine: Engine = bench.engine
    assert (engine.name, engine.capabilities.survives_worker) == ("local", True)


# --- reserving


def test_a_reserved_attempt_has_not_started(bench: Workbench) -> None:
    order = bench.order("/bin/true")
    bench.engine.reserve(order)
    assert bench.observe(order.attempt_id) == Unstarted()
    bench.engine.reserve(order)  # repeated after a crash
    assert set(bench.engine.evidence(order.attempt_id)) == {"order"}


def test_whatever_has_control_files_is_listed(bench: Workbench) -> None:
    bench.engine.warm_up()
    attempt = bench.launch("/bin/true")
    bench.wait_ended(attempt)
    (bench.control / "2026-11-19_deadbeef.3.exit.tmp").touch()
    (bench.control / "stranger.txt").touch()
    assert set(bench.engine.attempts()) == {attempt, "2026-11-19_deadbeef.3"}


def test_unreserving_leaves_nothing(bench: Workbench) -> None:
    order = bench.order("/bin/true")
    bench.engine.reserve(order)
    bench.engine.unreserve(order.attempt_id)
    assert list(bench.control.glob(f"{order.attempt_id}.*")) == []
    bench.engine.unreserve(order.attempt_id)


def test_an_attempt_with_a_start_marker_is_never_reserved_again(bench: Workbench) -> None:
    order = bench.order("/bin/true")
    bench.engine.reserve(order)
    bench.do(bench.engine.launch(order.attempt_id))
    bench.wait_ended(order.attempt_id)
    with pytest.raises(FileExistsError):
        bench.engine.reserve(order)
    bench.engine.unreserve(order.attempt_id)
    assert set(bench.engine.evidence(order.attempt_id)) == {"order", "started", "exit"}


def test_reserving_what_somebody_else_holds_is_refused(bench: Workbench) -> None:
    order = bench.order("/bin/true")
    lease = ControlFiles(bench.control).take_lease(order.attempt_id, is_new=True)
    with pytest.raises(EngineFailed, match="held already"):
        bench.engine.reserve(order)
    os.close(lease)


def test_without_a_control_directory_nothing_can_be_reserved(bench: Workbench) -> None:
    shutil.rmtree(bench.control)
    with pytest.raises(EngineFailed, match="No such file"):
        bench.engine.reserve(bench.order("/bin/true"))
    bench.control.mkdir()


def test_launching_what_was_not_reserved_is_refused(bench: Workbench) -> None:
    with pytest.raises(EngineFailed, match="not reserved"):
        bench.do(bench.engine.launch(bench.order("/bin/true").attempt_id))


def test_forgetting_leaves_no_file_no_lease_and_no_cgroup(bench: Workbench) -> None:
    attempt = bench.launch("/bin/true")
    bench.wait_ended(attempt)
    bench.engine.forget(attempt)
    assert list(bench.control.glob(f"{attempt}.*")) == []
    assert isinstance(bench.observe(attempt), Dead)
    wait_until(lambda: groups_of(attempt) == [], 5, "its cgroups are gone")


def groups_of(attempt: AttemptId) -> list[Path]:
    return [path for _, root in kernel.CGROUP_ROOTS for path in Path(root).glob(f"labrun-{attempt}")]


# --- a server that died


def test_a_new_server_adopts_what_runs_and_talks_to_it(bench: Workbench) -> None:
    attempt = bench.launch("/bin/sh", "-c", "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done")
    bench.wait_output(attempt, "up")
    bench.restart()
    found = bench.observe(attempt)
    assert isinstance(found, Alive)
    assert found.started is not None
    assert found.started.attempt_id == attempt
    status = bench.status(attempt)
    assert status is not None
    assert status.phase == "running"
    assert bench.do(bench.engine.stop(attempt, by="ada", grace_s=10.0))
    record = bench.wait_ended(attempt)
    assert (record.code, record.stopped_by) == (9, "ada")


def test_an_attempt_that_ended_while_no_server_ran_ended_as_it_says(bench: Workbench) -> None:
    attempt = bench.launch("/bin/sh", "-c", "while [ ! -e go ]; do sleep 0.02; done; exit 4")
    bench.do(bench.engine.aclose())
    (bench.root / attempt / "go").touch()
    wait_until((bench.control / f"{attempt}.exit").exists, 10, "it ended")
    bench.restart()
    found = bench.observe(attempt)
    assert isinstance(found, Ended)
    assert found.record.code == 4
    assert found.started is not None


def test_a_reserved_attempt_of_a_dead_server_can_be_launched_by_the_next(bench: Workbench) -> None:
    order = bench.order("/bin/sh", "-c", "exit 2")
    bench.engine.reserve(order)
    bench.restart()
    assert bench.observe(order.attempt_id) == Unstarted()
    bench.do(bench.engine.launch(order.attempt_id))
    assert bench.wait_ended(order.attempt_id).code == 2


def test_a_time_limit_holds_while_no_server_runs(bench: Workbench) -> None:
    attempt = bench.launch("/bin/sleep", "1000", timeout_s=0.3)
    bench.do(bench.engine.aclose())
    wait_until((bench.control / f"{attempt}.exit").exists, 10, "it ended")
    bench.restart()
    assert bench.wait_ended(attempt).stop_reason == "timeout"


# --- a supervisor that died


def test_a_killed_supervisor_is_dead_and_nothing_is_left_within_two_seconds(any_bench: Workbench) -> None:
    bench = any_bench
    attempt = bench.launch(sys.executable, "-I", "-S", "-c", HOSTILE)
    bench.wait_output(attempt, "grown")
    kill(bench.supervisor(attempt))
    killed_at = time.monotonic()
    found = bench.wait_dead(attempt, 2)
    assert (found.started is not None, found.why) == (True, "its supervisor died without an exit record")
    cleared = bench.do(bench.engine.clear(attempt, bench.keys[attempt]))
    assert cleared.unkillable == ()
    assert bench.processes(attempt) == []
    assert time.monotonic() - killed_at < 2
    assert groups_of(attempt) == []
    assert isinstance(bench.observe(attempt), Dead), "and it stays so"


@pytest.mark.parametrize("rung", ["cgroup", "key"])
def test_with_zygote_and_supervisor_dead_the_rest_is_found_all_the_same(bench: Workbench, rung: str) -> None:
    attempt = bench.launch(sys.executable, "-I", "-S", "-c", HOSTILE)
    bench.wait_output(attempt, "grown")
    if rung == "cgroup" and not groups_of(attempt):
        pytest.skip("no cgroups here")
    for group in groups_of(attempt) if rung == "key" else ():
        for pid in kernel.group_members(str(group)):
            kernel.write_text(f"{group.parent}/cgroup.procs", str(pid))
    for pid in bench.zygotes():
        kill(pid)
    kill(bench.supervisor(attempt))
    bench.wait_dead(attempt)
    cleared = bench.do(bench.engine.clear(attempt, bench.keys[attempt]))
    assert (cleared.rung, cleared.unkillable) == (rung, ())
    assert 13 <= cleared.killed <= 15
    assert bench.processes(attempt) == []
    assert groups_of(attempt) == []


def test_clearing_where_nothing_is_left_finds_nothing(bench: Workbench) -> None:
    attempt = bench.launch("/bin/true")
    bench.wait_ended(attempt)
    cleared = bench.do(bench.engine.clear(attempt, bench.keys[attempt]))
    assert (cleared.killed, cleared.rung, cleared.unkillable) == (0, None, ())
    assert bench.do(bench.engine.clear(attempt, "")).killed == 0


def test_a_damaged_exit_record_is_no_end(bench: Workbench) -> None:
    attempt = bench.launch("/bin/true")
    supervisor = bench.supervisor(attempt)
    bench.wait_ended(attempt)
    wait_until(lambda: not is_alive(supervisor), 5, "the supervisor left")
    path = bench.control / f"{attempt}.exit"
    path.write_bytes(path.read_bytes().replace(b'"code":0', b'"code":1'))
    found = bench.observe(attempt)
    assert isinstance(found, Dead)
    assert found.why == "its exit record is damaged"


def test_what_cannot_be_read_just_now_is_left_out_and_no_end(bench: Workbench) -> None:
    attempt = bench.launch("/bin/sh", "-c", "echo up; sleep 1000")
    bench.wait_output(attempt, "up")
    wait_until(lambda: bench.observe(attempt) != Alive(None), 10, "its marker is whole")
    with few_files():
        assert bench.do(bench.engine.observe([attempt])) == {}
    (bench.control / f"{attempt}.exit").mkdir()  # reading it fails with neither "not there" nor "damaged"
    assert bench.do(bench.engine.observe([attempt])) == {}
    (bench.control / f"{attempt}.exit").rmdir()
    assert isinstance(bench.observe(attempt), Alive)


@contextmanager
def few_files() -> Iterator[None]:
    """No further descriptor can be opened here."""
    with limited(resource.RLIMIT_NOFILE, 3):
        yield


@contextmanager
def limited(kind: int, soft: int) -> Iterator[None]:
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def test_an_order_that_does_not_fit_is_refused_and_leaves_nothing(bench: Workbench) -> None:
    order = bench.order("/bin/true")
    with limited(resource.RLIMIT_FSIZE, 100), pytest.raises(EngineFailed, match="reserve"):
        bench.engine.reserve(order)
    assert list(bench.control.glob(f"{order.attempt_id}.*")) == []


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\n",
        b"[1]\n",
        b"{\n",
        b"\xff\n",
        b"null\n",
        b"[" * 60_000 + b"\n",
        b'{"a":' * 10_000 + b"\n",
        b"x" * 200_000,
    ],
    ids=["nothing", "empty", "list", "torn", "no text", "null", "deep list", "deep object", "endless"],
)
def test_whoever_took_the_sockets_name_and_talks_nonsense_is_nobody(bench: Workbench, answer: bytes) -> None:
    order = bench.order("/bin/true")
    with socket.socket(socket.AF_UNIX) as impostor:
        impostor.bind(str(bench.control / f"{order.attempt_id}.sock"))
        impostor.listen()

        def say() -> None:
            for _ in range(3):
                peer, _ = impostor.accept()
                with peer, suppress(OSError):
                    peer.recv(65536)
                    peer.sendall(answer)

        talking = threading.Thread(target=say, daemon=True)
        talking.start()
        assert bench.status(order.attempt_id) is None
        assert bench.do(bench.engine.signal(order.attempt_id, 15)) is False
        assert bench.do(bench.engine.stop(order.attempt_id, by="ada", grace_s=1.0)) is False
        talking.join(10)


def test_without_inotify_the_change_feed_is_silent_and_does_not_fail(bench: Workbench) -> None:
    async def look() -> bool:
        with few_files():
            first = asyncio.ensure_future(anext(bench.engine.changes()))
            await asyncio.sleep(0)  # lets the feed begin while descriptors are few
        done, _ = await asyncio.wait([first], timeout=0.1)
        first.cancel()
        return bool(done)

    assert bench.do(look()) is False


@pytest.mark.parametrize("moment", ["while it runs", "after its end"])
def test_no_cgroup_of_a_killed_supervisor_is_left(bench: Workbench, moment: str) -> None:
    attempt = bench.launch("/bin/sh", "-c", "echo up; while [ ! -e go ]; do sleep 0.02; done")
    bench.wait_output(attempt, "up")
    supervisor = bench.supervisor(attempt)
    if not groups_of(attempt):
        pytest.skip("no cgroups here")
    (groups_of(attempt)[0] / "inner").mkdir()
    if moment == "after its end":
        os.kill(supervisor, signal.SIGSTOP)
        (bench.root / attempt / "go").touch()
    kill(supervisor)
    bench.wait_dead(attempt)
    if moment == "while it runs":
        assert bench.do(bench.engine.clear(attempt, bench.keys[attempt])).unkillable == ()
        assert groups_of(attempt) == []
    else:
        wait_until(lambda: bench.processes(attempt) == [], 5, "nothing runs")
        bench.engine.forget(attempt)
        wait_until(lambda: groups_of(attempt) == [], 5, "its cgroups are gone")


def test_a_process_whose_first_thread_ended_is_found_by_its_key(bench: Workbench) -> None:
    order = bench.order("/bin/true")
    variables = {"LAB_ATTEMPT_KEY": bench.keys[order.attempt_id]}
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", HEADLESS], env=variables)
    try:
        wait_until(lambda: not is_alive(process.pid), 10, "its first thread ended")
        assert process.poll() is None
        assert process.pid in kernel.descendants(os.getpid()), "what has threads is alive"
        cleared = bench.do(bench.engine.clear(order.attempt_id, bench.keys[order.attempt_id]))
        assert (cleared.killed, cleared.rung, cleared.unkillable) == (1, "key", ())
        assert process.wait(10) == -signal.SIGKILL
    finally:
        process.kill()
        process.wait(10)


HEADLESS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=[1000]).start()
ctypes.CDLL(None).pthread_exit(None)
"""
"""The first thread ends, the process lives on: `ps` calls it a zombie."""


# --- control files that vanish


@pytest.mark.parametrize("kinds", ["*", "lease", "order", "started", "sock"])
def test_vanished_control_files_never_lead_to_a_second_start(bench: Workbench, kinds: str) -> None:
    ledger = bench.root / "ledger"
    attempt = bench.launch("/bin/sh", "-c", f"echo start >> {ledger}; echo up; sleep 1000")
    bench.wait_output(attempt, "up")
    supervisor = bench.supervisor(attempt)
    for path in bench.control.glob(f"{attempt}.{kinds}"):
        path.unlink()
    found = bench.observe(attempt)
    if kinds in ("*", "lease"):
        assert isinstance(found, Dead)
        assert "lease" in found.why
        assert bench.do(bench.engine.clear(attempt, bench.keys[attempt])).unkillable == ()
        wait_until(lambda: not is_alive(supervisor), 2, "its supervisor is gone too")
        assert bench.processes(attempt) == []
        assert not (bench.control / f"{attempt}.exit").exists(), "an end we brought about is not reported as one"
    else:
        assert isinstance(found, Alive)
        kill(supervisor)
        # Without its marker it would look unstarted, were its order not bound to be there as well.
        assert isinstance(bench.observe(attempt), Dead if kinds != "started" else Dead | Unstarted)
        bench.do(bench.engine.clear(attempt, bench.keys[attempt]))
    assert ledger.read_text() == "start\n"


# --- a zygote that died


def test_a_message_that_died_with_the_zygote_is_unstarted_and_can_be_launched_again(bench: Workbench) -> None:
    bench.run("/bin/true")
    (zygote,) = bench.zygotes()
    os.kill(zygote, signal.SIGSTOP)
    attempt = bench.launch("/bin/sh", "-c", "exit 4")
    assert bench.observe(attempt) == Alive(None), "in flight: neither dead nor unstarted"
    kill(zygote)
    wait_until(lambda: bench.observe(attempt) == Unstarted(), 5, "it did not start")
    bench.do(bench.engine.launch(attempt))
    assert bench.wait_ended(attempt).code == 4


def test_zygotes_killed_at_any_moment_lose_and_double_no_start(bench: Workbench) -> None:
    ledger = bench.root / "ledger"
    attempts = []
    for i in range(12):
        attempts.append(bench.launch("/bin/sh", "-c", f"echo {i} >> {ledger}; sleep 0.05"))
        time.sleep(random.uniform(0, 0.01))  # a random moment, nothing to wait for
        for pid in bench.zygotes():
            kill(pid)

    def is_over(attempt: AttemptId) -> bool:
        found = bench.observe(attempt)
        if isinstance(found, Unstarted):
            bench.do(bench.engine.launch(attempt))
        return isinstance(found, Ended)

    wait_until(lambda: all([is_over(attempt) for attempt in attempts]), 30, "all of them end")
    assert sorted(map(int, ledger.read_text().split())) == list(range(12))


def test_supervisors_outlive_their_zygote(bench: Workbench) -> None:
    attempt = bench.launch("/bin/sh", "-c", "echo up; while [ ! -e go ]; do sleep 0.02; done; exit 3")
    bench.wait_output(attempt, "up")
    for pid in bench.zygotes():
        kill(pid)
    assert isinstance(bench.observe(attempt), Alive)
    (bench.root / attempt / "go").touch()
    assert bench.wait_ended(attempt).code == 3


def test_without_a_zygote_supervisors_are_started_by_exec(tmp_path: Path) -> None:
    shim = breaks(tmp_path, "zygote.py", "import array\n", "raise SystemExit(1)\n")
    bench = Workbench(tmp_path, shim=shim)
    try:
        assert bench.run("/bin/sh", "-c", "exit 6").code == 6
        attempt = bench.launch("/bin/sleep", "1000")
        wait_until(lambda: bench.status(attempt), 10, "it answers")
        with pytest.raises(BlockingIOError):
            ControlFiles(bench.control).take_lease(attempt)
        bench.do(bench.engine.stop(attempt, by="ada", grace_s=1.0))
        assert bench.wait_ended(attempt).signal == 15
    finally:
        bench.close()


def test_an_interpreter_that_is_not_there_is_said_to_be(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, interpreter="/no/such/python")
    try:
        order = bench.order("/bin/true")
        bench.engine.reserve(order)
        with pytest.raises(EngineFailed, match="/no/such/python"):
            bench.do(bench.engine.launch(order.attempt_id))
        assert bench.observe(order.attempt_id) == Unstarted(), "the lease is still held here"
    finally:
        bench.close()


# --- many at once, and the change feed


def test_a_hundred_launched_at_once_all_end_as_they_did(bench: Workbench) -> None:
    attempts = {bench.launch("/bin/sh", "-c", f"exit {i % 7}"): i % 7 for i in range(100)}
    assert [bench.wait_ended(attempt, 60).code for attempt in attempts] == list(attempts.values())
    assert bench.complaints() == ""


def test_starts_and_ends_are_seen_as_they_happen(bench: Workbench) -> None:
    order = bench.order("/bin/sh", "-c", "sleep 0.1")

    async def see() -> list[str]:
        seen: list[str] = []
        changes = bench.engine.changes()
        first = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)  # lets it begin to watch
        bench.engine.reserve(order)
        (bench.control / "stranger.txt").write_text("x")
        await bench.engine.launch(order.attempt_id)
        async with asyncio.timeout(20):
            seen.append(await first)
            seen.append(await anext(changes))
        await changes.aclose()  # type: ignore[attr-defined]
        return seen

    assert bench.do(see()) == [order.attempt_id] * 2
    assert isinstance(bench.observe(order.attempt_id), Ended)


# --- an ordinary user


ORDINARY = ["hostile tree", "killed supervisor", "killed zygote too", "vanished files", "leftovers"]


@pytest.mark.parametrize("scene", ORDINARY)
def test_an_ordinary_user_without_cgroups_gets_the_same(scene: str) -> None:
    interpreter = public_interpreter()
    if interpreter is None:
        pytest.skip("no interpreter that an ordinary user can run")
    with open_directory() as directory:
        copy_shim(directory)
        argv = [sys.executable, "-m", "tests.engines.ordinary_user", scene, str(directory), interpreter]
        environment = {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(argv, cwd=ROOT, env=environment, timeout=60, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.strip()) == (0, "good"), done.stderr
