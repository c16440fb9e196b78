"""The zygote alone, by its socket; together with the engine it is tested in `tests/engines`."""

import array
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labrun.core.ids import AttemptId
from labrun.engines.local.control import ControlFiles
from labrun.engines.protocol import Unstarted
from labrun.shim import kernel
from tests.engines.workbench import SHIM, Workbench, breaks, is_alive, kill, target
from tests.helpers import wait_until


class Channel:
    """A zygote of our own, and our end of its socket."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            argv = [sys.executable, "-I", "-S", str(SHIM / "zygote.py"), str(theirs.fileno())]
            self.process = subprocess.Popen(argv, pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL)
        assert self.socket.recv(64) == b"ready"

    def send(self, message: bytes, *descriptors: int) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self.socket.sendmsg([message], rights)

    def close(self) -> None:
        self.socket.close()
        self.process.wait(20)


@pytest.fixture
def zygote() -> Iterator[Channel]:
    channel = Channel()
    yield channel
    channel.socket.close()
    channel.process.kill()
    channel.process.wait(20)


def reserve(bench: Workbench, *argv: str) -> tuple[AttemptId, int]:
    """An order and a locked lease, as the engine makes them."""
    order = bench.order(*argv)
    control = ControlFiles(bench.control)
    control.write_order(order)
    return order.attempt_id, control.take_lease(order.attempt_id, is_new=True)


def test_messages_that_are_none_are_dropped_with_their_descriptors(bench: Workbench, zygote: Channel) -> None:
    readers = []
    for message in (
        b"",
        b"\0",
        b"nothing",
        b"\xff\xfe",
        b"/no/such\0../../etc/passwd",
        b"x" * 60_000,
        b"/no/such\0a.1",
    ):
        reader, writer = os.pipe()
        zygote.send(message, writer, writer)
        zygote.send(message or b"\0\0")
        os.close(writer)
        readers.append(reader)
    attempt, lease = reserve(bench, "/bin/sh", "-c", "exit 3")
    zygote.send(f"{bench.control}\0{attempt}".encode(), lease)
    os.close(lease)
    assert bench.wait_ended(attempt).code == 3
    for reader in readers:
        assert os.read(reader, 1) == b"", "a descriptor was kept open"
        os.close(reader)
    assert zygote.process.poll() is None


def test_it_leaves_when_the_other_end_is_gone_and_no_child_is_left(bench: Workbench, zygote: Channel) -> None:
    attempt, lease = reserve(bench, "/bin/sh", "-c", "while [ ! -e go ]; do sleep 0.02; done; exit 6")
    zygote.send(f"{bench.control}\0{attempt}".encode(), lease)
    os.close(lease)
    wait_until((bench.control / f"{attempt}.sock").exists, 10, "it started")
    zygote.socket.close()
    assert zygote.process.poll() is None, "it stays while it has a child"
    (bench.root / attempt / "go").touch()
    assert bench.wait_ended(attempt).code == 6
    zygote.process.wait(20)


def test_it_is_deaf_to_signals_meant_for_the_server(zygote: Channel) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        zygote.process.send_signal(number)
    zygote.send(b"still there?")
    assert zygote.process.poll() is None


def test_a_supervisor_holds_its_lease_and_no_socket_of_the_zygote(bench: Workbench, zygote: Channel) -> None:
    attempt, lease = reserve(bench, "/bin/sleep", "1000")
    zygote.send(f"{bench.control}\0{attempt}".encode(), lease)
    os.close(lease)
    supervisor = bench.supervisor(attempt)
    held = [target(supervisor, int(entry.name)) for entry in Path(f"/proc/{supervisor}/fd").iterdir()]
    assert os.fsencode(bench.control / f"{attempt}.lease") in held
    process = zygote.process.pid
    channel = {target(process, int(entry.name)) for entry in Path(f"/proc/{process}/fd").iterdir()}
    assert {name for name in held if name.startswith(b"socket:")} & channel == set()
    assert not any(b".lease" in name for name in channel)


def test_what_a_dead_supervisor_left_is_killed_down_to_the_last(bench: Workbench, zygote: Channel) -> None:
    script = "for i in 1 2 3; do setsid sh -c 'setsid sleep 1000 & sleep 1000' & done; echo grown; wait"
    attempt, lease = reserve(bench, "/bin/sh", "-c", script)
    zygote.send(f"{bench.control}\0{attempt}".encode(), lease)
    os.close(lease)
    wait_until(lambda: len(bench.processes(attempt)) >= 10, 10, "the tree has grown")
    kill(bench.supervisor(attempt))
    wait_until(lambda: bench.processes(attempt) == [], 2, "nothing is left within two seconds")
    wait_until(lambda: kernel.children(zygote.process.pid) == [], 2, "nobody is left unreaped")


def test_where_no_process_can_be_had_the_lease_falls_and_the_zygote_goes_on(tmp_path: Path) -> None:
    flag = tmp_path / "there are processes again"
    refusal = f"if not os.path.exists({str(flag)!r}): raise BlockingIOError(11, 'no process')"
    shim = breaks(tmp_path, "zygote.py", "pid = os.fork()", f"{refusal}\n            pid = os.fork()")
    bench = Workbench(tmp_path, shim=shim)
    try:
        attempt = bench.launch("/bin/sh", "-c", "exit 3")
        wait_until(lambda: bench.observe(attempt) == Unstarted(), 10, "it did not start")
        before = bench.zygotes()
        flag.touch()
        bench.do(bench.engine.launch(attempt))
        assert bench.wait_ended(attempt).code == 3
        assert bench.zygotes() == before
    finally:
        bench.close()


def test_a_lease_in_flight_is_held_and_falls_with_the_zygote(bench: Workbench, zygote: Channel) -> None:
    attempt, lease = reserve(bench, "/bin/true")
    zygote.process.send_signal(signal.SIGSTOP)
    zygote.send(f"{bench.control}\0{attempt}".encode(), lease)
    os.close(lease)
    path = bench.control / f"{attempt}.lease"
    assert is_locked(path)
    zygote.process.kill()
    wait_until(lambda: not is_locked(path), 5, "the lease fell")
    assert not is_alive(zygote.process.pid) or zygote.process.wait(5)
    assert not (bench.control / f"{attempt}.started").exists()


def is_locked(path: Path) -> bool:
    with path.open("rb+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
