"""One attempt from start to end, seen from outside: its files, its processes, its socket."""

import ctypes
import json
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labrun.core.ids import AttemptId
from labrun.engines.local.control import ControlFiles
from labrun.engines.protocol import Alive, Dead, LaunchOrder, Unstarted
from labrun.shim import kernel
from tests.engines.workbench import SHIM, Workbench, breaks, is_alive, public_interpreter
from tests.helpers import examples, wait_until
from tests.hostile import HOSTILE

IS_ROOT = os.geteuid() == 0


def has_memory_cgroup() -> bool:
    groups, enforced = kernel.make_groups("test-probe", 2**26)
    for path in groups.values():
        kernel.remove_group(path)
    return "memory" in enforced


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().splitlines():
        body, _, tail = line.rpartition(b',"crc":')
        assert tail == b'"%08x"}' % zlib.crc32(body)
        yield json.loads(body + b"}")


# --- ends


def test_an_exit_status_is_kept(bench: Workbench) -> None:
    record = bench.run("/bin/sh", "-c", "exit 7")
    assert (record.code, record.signal, record.leftover_processes, record.stop_reason) == (7, None, 0, None)
    assert record.ended_at >= record.started_at > time.time() - 60
    assert 0 <= record.duration_s < 30


def test_kill_9_from_inside_is_a_signal_and_no_memory_kill(bench: Workbench) -> None:
    record = bench.run("/bin/sh", "-c", "kill -9 $$")
    assert (record.code, record.signal, record.oom_kills, record.oom_source) == (None, 9, 0, None)


def test_out_of_memory_is_told_by_the_kernels_own_counter(bench: Workbench) -> None:
    if not has_memory_cgroup():
        pytest.skip("no memory cgroup can be made here")
    attempt = bench.launch(sys.executable, "-c", "x = bytearray(400 * 2**20)", memory_bytes=64 * 2**20)
    record = bench.wait_ended(attempt)
    assert (record.signal, record.oom_kills >= 1) == (9, True)
    assert "oom_kill" in (record.oom_source or "")
    assert 2**24 < (record.peak_memory_bytes or 0) <= 64 * 2**20
    wait_until(lambda: not (bench.control / f"{attempt}.sock").exists(), 5, "the supervisor left")
    assert not [path for _, root in kernel.CGROUP_ROOTS for path in Path(root).glob(f"labrun-{attempt}")]


def test_a_memory_limit_that_is_enforced_is_said_to_be(bench: Workbench) -> None:
    if not has_memory_cgroup():
        pytest.skip("no memory cgroup can be made here")
    attempt = bench.launch("/bin/true", memory_bytes=512 * 2**20, timeout_s=60.0)
    bench.wait_ended(attempt)
    started = ControlFiles(bench.control).started(attempt)
    assert started is not None
    assert re.fullmatch(r"cgroup v[12], 512 MiB", started.enforced["memory"])
    assert started.enforced["timeout"] == "supervisor, 60 s"


def test_a_time_limit_ends_it_and_is_the_reason(bench: Workbench) -> None:
    record = bench.run("/bin/sleep", "100", timeout_s=0.2)
    assert (record.stop_reason, record.signal) == ("timeout", 15)
    assert 0.2 <= record.duration_s < 10


def test_a_command_that_cannot_be_executed_never_ran(bench: Workbench) -> None:
    record = bench.run("/no/such/program")
    assert (record.launch_errno, record.code, record.signal) == (2, None, None)
    assert record.launch_error == "No such file or directory: /no/such/program"
    plain = bench.root / "plain.txt"
    plain.write_text("no program")
    assert bench.run(str(plain)).launch_errno == 13
    assert (
        bench.run("/bin/true", cwd="/no/such/directory").launch_error == "No such file or directory: /no/such/directory"
    )
    assert "variables" in (bench.run("/bin/true", variables_file="/no/such/variables").launch_error or "")
    assert bench.run("/bin/true", "a" * 200_000).launch_errno == 7
    assert "null" in (bench.run("/bin/true", "a\0b").launch_error or "")
    gone = bench.order("/bin/true", stdout="/no/such/folder/stdout.log")
    bench.engine.reserve(gone)
    bench.do(bench.engine.launch(gone.attempt_id))
    assert bench.wait_ended(gone.attempt_id).launch_error == "No such file or directory: /no/such/folder/stdout.log"


@pytest.mark.parametrize("fields", [{"umask": 2**40}, {"nice": 2**40}, {"stdout": "a\0b"}, {"affinity": (-1,)}])
def test_an_order_no_kernel_understands_is_a_launch_error_and_no_exit_status(
    bench: Workbench, fields: dict[str, Any]
) -> None:
    record = bench.run("/bin/true", **fields)
    assert (record.code, record.signal) == (None, None)
    assert "Error" in (record.launch_error or "")


def test_a_fork_that_is_refused_is_a_launch_error(tmp_path: Path) -> None:
    refusal = "    if group != '':\n        raise BlockingIOError(11, 'no process')\n"
    shim = breaks(tmp_path, "kernel.py", "    return os.fork(), False\n", refusal)
    (shim / "kernel.py").write_text(
        (shim / "kernel.py").read_text().replace("    if group is not None:\n", "    if group == '':\n")
    )
    bench = Workbench(tmp_path, shim=shim)
    try:
        record = bench.run("/bin/true")
        assert (record.launch_errno, record.launch_error) == (11, "Resource temporarily unavailable: fork")
    finally:
        bench.close()


def test_a_long_launch_error_arrives_whole(bench: Workbench) -> None:
    record = bench.run("/" + "\U0001f600" * 1000)
    assert (record.launch_errno, record.code) == (36, None)
    assert (record.launch_error or "").startswith("File name too long: /")


def test_children_left_behind_are_killed_and_counted(bench: Workbench) -> None:
    attempt = bench.launch("/bin/sh", "-c", "setsid sleep 1000 & sleep 1000 & exit 3")
    record = bench.wait_ended(attempt)
    assert (record.code, record.leftover_processes) == (3, 2)
    assert record.cleared_by in ("cgroup", "subreaper")
    assert bench.processes(attempt) == []


def test_children_that_leave_by_themselves_in_a_moment_are_let(bench: Workbench) -> None:
    attempt = bench.launch("/bin/sh", "-c", "(trap 'echo bye; exit' USR1; echo ready; sleep 0.03; echo done) & exit 0")
    record = bench.wait_ended(attempt)
    assert (record.leftover_processes, record.cleared_by) == (0, None)
    assert bench.output(attempt) == "ready\ndone\n"


# --- stopping


def test_a_script_that_handles_the_signal_gets_its_grace(bench: Workbench) -> None:
    script = "trap 'sleep 0.3; echo saved; exit 5' TERM; echo up; while :; do sleep 0.05; done"
    attempt = bench.launch("/bin/sh", "-c", script)
    bench.wait_output(attempt, "up")
    assert bench.do(bench.engine.stop(attempt, by="ada", grace_s=20.0))
    record = bench.wait_ended(attempt)
    assert (record.code, record.stop_reason, record.stopped_by) == (5, "cancel", "ada")
    assert bench.output(attempt) == "up\nsaved\n"


def test_the_grace_holds_for_the_program_below_a_shell_that_ends_at_once(bench: Workbench) -> None:
    inner = "import signal, sys, time\n"
    inner += "def save(*_): time.sleep(0.5); print('saved', flush=True); sys.exit(0)\n"
    inner += "signal.signal(signal.SIGTERM, save); print('up', flush=True); time.sleep(100)"
    attempt = bench.launch("/bin/sh", "-c", f'{sys.executable} -I -S -c "$1"; exit 9', "sh", inner)
    bench.wait_output(attempt, "up")
    bench.do(bench.engine.stop(attempt, by="ada", grace_s=20.0))
    record = bench.wait_ended(attempt)
    assert (record.signal, record.leftover_processes) == (15, 0)
    assert "saved" in bench.output(attempt)


def test_stopping_leaves_nothing_of_a_hostile_tree(bench: Workbench) -> None:
    attempt = bench.launch(sys.executable, "-I", "-S", "-c", HOSTILE)
    bench.wait_output(attempt, "grown")
    wait_until(lambda: len(bench.processes(attempt)) == 15, 10, "the tree has grown")
    bench.do(bench.engine.stop(attempt, by="ada", grace_s=0.2))
    record = bench.wait_ended(attempt)
    assert (record.signal, record.leftover_processes, record.stop_reason) == (9, 14, "cancel")
    assert bench.processes(attempt) == []


def test_a_stopped_process_is_woken_to_hear_the_signal(bench: Workbench) -> None:
    attempt = bench.launch("/bin/sh", "-c", "trap 'echo heard; exit 4' TERM; echo up; kill -STOP $$; sleep 100 & wait")
    bench.wait_output(attempt, "up")
    status = bench.status(attempt)
    assert status is not None
    assert status.command_pid is not None
    state = Path(f"/proc/{status.command_pid}/stat")
    wait_until(lambda: state.read_text().rpartition(")")[2].split()[0] == "T", 10, "it stopped itself")
    bench.do(bench.engine.stop(attempt, by="ada", grace_s=20.0))
    assert bench.wait_ended(attempt).code == 4


def test_asking_again_can_shorten_the_grace_and_changes_no_reason(bench: Workbench) -> None:
    attempt = bench.launch("/bin/sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done")
    bench.wait_output(attempt, "up")
    bench.do(bench.engine.stop(attempt, by="ada", grace_s=600.0))
    assert bench.do(bench.engine.stop(attempt, by="grace", grace_s=0.0))
    record = bench.wait_ended(attempt)
    assert (record.signal, record.stopped_by) == (9, "ada")


def test_a_signal_reaches_the_whole_process_group(bench: Workbench) -> None:
    script = "(trap 'echo inner; exit' USR1; echo up; while :; do sleep 0.05; done) & trap : USR1; wait; wait; exit 6"
    attempt = bench.launch("/bin/sh", "-c", script)
    bench.wait_output(attempt, "up")
    assert bench.do(bench.engine.signal(attempt, 10**6)) is False
    assert bench.do(bench.engine.signal(attempt, signal.SIGUSR1)) is True
    assert bench.wait_ended(attempt).code == 6
    assert bench.output(attempt) == "up\ninner\n"


def test_a_process_that_cannot_be_killed_is_told_and_waited_for(bench: Workbench, tmp_path: Path) -> None:
    if not IS_ROOT or not Path("/dev/fuse").exists():
        pytest.skip("needs root and /dev/fuse")
    with hung_mount(tmp_path / "hung") as hung:
        attempt = bench.launch("/bin/cat", f"{hung.directory}/x")
        os.read(hung.fuse, 1 << 20)  # the lookup, never answered
        bench.do(bench.engine.stop(attempt, by="ada", grace_s=0.0))
        wait_until(lambda: getattr(bench.status(attempt), "unkillable", ()), 10, "it is called unkillable")
        status = bench.status(attempt)
        assert status is not None
        assert (status.phase, status.unkillable) == ("clearing", (status.command_pid,))
        assert isinstance(bench.observe(attempt), Alive)
        assert not (bench.control / f"{attempt}.exit").exists()
        hung.release()
        assert bench.wait_ended(attempt).signal in (9, 15)  # both were pending


class HungMount:
    """A FUSE file system whose server answers the first request and no other.

    Source:
        linux/fuse.h, fuse_init_in and fuse_init_out of protocol 7.31.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.fuse = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self.fuse},rootmode=40000,user_id=0,group_id=0".encode()
        assert ctypes.CDLL(None).mount(b"hang", os.fsencode(directory), b"fuse", 0, options) == 0
        unique = struct.unpack("<IIQ", os.read(self.fuse, 1 << 20)[:16])[2]
        body = struct.pack("<IIIIHHIIHHIIIIII", 7, 31, 0, 0, 12, 9, 65536, 1, *[0] * 8)
        os.write(self.fuse, struct.pack("<IiQ", 80, 0, unique) + body[:64].ljust(64, b"\0"))

    def release(self) -> None:
        """Let whoever hangs go on, with an error."""
        if self.fuse >= 0:
            os.close(self.fuse)
            self.fuse = -1


@contextmanager
def hung_mount(directory: Path) -> Iterator[HungMount]:
    hung = HungMount(directory)
    try:
        yield hung
    finally:
        hung.release()
        ctypes.CDLL(None).umount2(os.fsencode(directory), 2)


# --- start marker, lease, order


def starts_when_delivered_twice(bench: Workbench, shim: Path) -> int:
    """Start a second supervisor for a running attempt, as a doubled message would; count the starts."""
    ledger = bench.root / "ledger"
    attempt = bench.launch("/bin/sh", "-c", f"echo start >> {ledger}; sleep 0.3")
    wait_until(ledger.exists, 10, "it started")
    null = os.open("/dev/null", os.O_RDWR)
    argv = [sys.executable, "-I", "-S", str(shim / "supervise.py"), str(bench.control), attempt, str(null)]
    subprocess.run(argv, pass_fds=[null], timeout=30, check=False, capture_output=True)
    os.close(null)
    bench.wait_ended(attempt)
    return ledger.read_text().count("start\n")


def test_a_second_supervisor_of_the_same_attempt_does_nothing(bench: Workbench) -> None:
    assert starts_when_delivered_twice(bench, SHIM) == 1


def test_negative_control_without_an_exclusive_marker_it_would_start_twice(tmp_path: Path) -> None:
    shim = breaks(tmp_path, "supervise.py", "os.O_EXCL", "0")
    bench = Workbench(tmp_path, shim=shim)
    try:
        assert starts_when_delivered_twice(bench, shim) == 2
    finally:
        bench.close()


def test_a_supervisor_that_comes_after_everything_was_forgotten_does_nothing(bench: Workbench) -> None:
    attempt = bench.launch("/bin/true")
    bench.wait_ended(attempt)
    bench.engine.forget(attempt)
    null = os.open("/dev/null", os.O_RDWR)
    supervise_alone(bench.control, attempt, null)
    os.close(null)
    assert list(bench.control.glob(f"{attempt}.*")) == []


def supervise_alone(control: Path, attempt: str, lease: int) -> None:
    argv = [sys.executable, "-I", "-S", str(SHIM / "supervise.py"), str(control), attempt, str(lease)]
    subprocess.run(argv, pass_fds=[lease], timeout=30, check=True)


@pytest.mark.parametrize("position", [5, -30, -4])
def test_an_order_with_one_flipped_bit_never_runs(bench: Workbench, position: int) -> None:
    order = bench.order("/bin/touch", str(bench.root / "ran"))
    bench.engine.reserve(order)
    path = bench.control / f"{order.attempt_id}.order"
    damaged = bytearray(path.read_bytes())
    damaged[position] ^= 1
    path.write_bytes(damaged)
    bench.do(bench.engine.launch(order.attempt_id))
    found = bench.wait_dead(order.attempt_id)
    assert found.why == "its control files are missing or damaged"
    assert not (bench.root / "ran").exists()


def test_the_file_works_alone_started_by_exec(bench: Workbench) -> None:
    order = bench.order("/bin/sh", "-c", "exit 3")
    bench.engine.reserve(order)
    null = os.open("/dev/null", os.O_RDWR)
    supervise_alone(bench.control, order.attempt_id, null)
    os.close(null)
    assert bench.wait_ended(order.attempt_id).code == 3


def test_the_lease_is_held_while_the_supervisor_lives_and_free_right_after(bench: Workbench) -> None:
    attempt = bench.launch("/bin/sh", "-c", "echo up; sleep 0.3")
    bench.wait_output(attempt, "up")
    control = ControlFiles(bench.control)
    with pytest.raises(BlockingIOError):
        control.take_lease(attempt)
    supervisor = bench.supervisor(attempt)
    bench.wait_ended(attempt)
    wait_until(lambda: not is_alive(supervisor), 5, "the supervisor left")
    os.close(control.take_lease(attempt))


# --- what the command gets


def test_the_command_has_three_descriptors_and_not_the_lease(bench: Workbench) -> None:
    script = "import json, os\nfound = {}\nfor n in os.listdir('/proc/self/fd'):\n"
    script += " try: found[n] = os.readlink('/proc/self/fd/' + n)\n except OSError: pass\nprint(json.dumps(found))"
    attempt = bench.launch(sys.executable, "-I", "-S", "-c", script)
    bench.wait_ended(attempt)
    here = bench.root / attempt
    assert json.loads(bench.output(attempt)) == {
        "0": "/dev/null",
        "1": str(here / "stdout.log"),
        "2": str(here / "stderr.log"),
    }


def test_surroundings_arrive_as_ordered_and_nothing_else(bench: Workbench) -> None:
    variables = bench.root / "variables.json"
    variables.write_text(json.dumps({"A": "caller", "B": "caller", "C": "caller", "PWD": "/elsewhere"}))
    script = (
        "import json, os, resource, signal\n"
        "mask = os.umask(0); os.umask(mask)\n"
        "states = [str(signal.getsignal(n)) for n in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD)]\n"
        "print(json.dumps({'env': dict(os.environ), 'umask': mask, 'nice': os.nice(0), 'cwd': os.getcwd(),\n"
        " 'cpus': sorted(os.sched_getaffinity(0)), 'files': resource.getrlimit(resource.RLIMIT_NOFILE)[0],\n"
        " 'core': resource.getrlimit(resource.RLIMIT_CORE), 'states': states,\n"
        " 'status': [line for line in open('/proc/self/status') if line.startswith(('SigBlk', 'SigIgn'))],\n"
        " 'session': os.getsid(0) == os.getpid() == os.getpgrp()}))\n"
    )
    cpu = min(os.sched_getaffinity(0))
    attempt = bench.launch(
        sys.executable,
        *("-I", "-S", "-c", script),
        variables_file=str(variables),
        variable_defaults={"A": "default", "D": "default"},
        variables={"B": "ours", "PATH": "/bin"},
        umask=0o027,
        nice=7,
        affinity=(cpu,),
        limits={"NOFILE": 77, "CORE": -1, "NO_SUCH": 3},
    )
    assert bench.wait_ended(attempt).code == 0
    found = json.loads(bench.output(attempt))
    here = str(bench.root / attempt)
    own = {"PWD": here, "LAB_ATTEMPT_KEY": bench.keys[attempt], "LC_CTYPE": "C.UTF-8"}
    assert found["env"] | own == {"A": "caller", "B": "ours", "C": "caller", "D": "default", "PATH": "/bin"} | own
    assert (found["umask"], found["nice"], found["cpus"], found["files"]) == (0o027, 7, [cpu], 77)
    assert found["core"][0] == resource.getrlimit(resource.RLIMIT_CORE)[1]
    assert (found["cwd"], found["session"]) == (here, True)
    assert found["states"] == ["0"] * 4 or set(found["states"]) == {"Handlers.SIG_DFL"}
    ignored = {line.split()[0]: int(line.split()[1], 16) for line in found["status"]}
    pythons_own = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1) | 3 << 31  # and two of the C library's
    assert (ignored["SigBlk:"], ignored["SigIgn:"] & ~pythons_own) == (0, 0)
    assert (bench.root / attempt / "stdout.log").stat().st_mode & 0o777 == 0o640


def test_a_broken_pipe_and_an_interrupt_end_a_program_as_in_a_shell(bench: Workbench) -> None:
    # Python ignores SIGPIPE; a command that inherited that would see errors instead of an end.
    record = bench.run("/bin/sh", "-c", "kill -PIPE $$; exit 1")
    assert record.signal == signal.SIGPIPE
    assert bench.run("/bin/sh", "-c", "kill -INT $$; exit 1").signal == signal.SIGINT


def test_the_path_searched_is_that_of_the_command(bench: Workbench) -> None:
    tools = bench.root / "tools"
    tools.mkdir()
    (tools / "mine").write_text("#!/bin/sh\nexit 12\n")
    (tools / "mine").chmod(0o755)
    assert bench.run("mine", variables={"PATH": str(tools)}).code == 12
    assert bench.run("mine").launch_errno == 2


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
awkward = st.sampled_from(
    ["", " ", "a b", "'", '"', "\n", "\\", "$HOME", "-", "--", "-x", "*", "é☃\U0001f600", "\x1b[0m"]
)


@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(awkward | words, max_size=6))
def test_arguments_arrive_as_they_are(bench: Workbench, arguments: list[str]) -> None:
    # "x" before each, for `printf` with no argument at all prints its format once
    attempt = bench.launch("/bin/sh", "-c", 'for a in "$@"; do printf "%s\\0" "$a"; done', "sh", *arguments)
    assert bench.wait_ended(attempt).code == 0
    assert (bench.root / attempt / "stdout.log").read_bytes() == b"".join(a.encode() + b"\0" for a in arguments)
    bench.engine.forget(attempt)


# --- logs and samples


def test_the_log_index_grows_with_the_output(bench: Workbench) -> None:
    attempt = bench.launch("/bin/sh", "-c", "echo one; sleep 1.3; echo two >&2; exit 0")
    bench.wait_ended(attempt)
    lines = list(lines_of(bench.root / attempt / "log.idx"))
    assert [(line["stdout"], line["stderr"]) for line in lines] == [(4, 0), (4, 4)]
    assert lines[0]["t"] <= lines[1]["t"]


def test_over_its_quota_a_log_loses_its_middle_and_says_so(bench: Workbench) -> None:
    block = b"".join(b"%07d\n" % i for i in range(2**19))  # 4 MiB
    source = bench.root / "source"
    source.write_bytes(block)
    attempt = bench.launch("/bin/sh", "-c", f"cat {source}; sleep 1.2; cat {source}", log_quota_bytes=2**20)
    record = bench.wait_ended(attempt)
    (gap,) = record.gaps
    begin, size = int(str(gap["offset"])), int(str(gap["size"]))
    log = bench.root / attempt / "stdout.log"
    kept, whole = log.read_bytes(), block * 2
    assert (gap["stream"], begin, len(kept)) == ("stdout", 2**19, 2**23)
    assert kept[:begin] == whole[:begin]
    assert kept[begin + size :] == whole[begin + size :]
    assert 2**18 <= len(kept) - begin - size < 2**20
    assert kept[begin : begin + size].strip(b"\0") == b""
    assert log.stat().st_blocks * 512 < 2**21
    assert any(line.get("gaps") for line in lines_of(bench.root / attempt / "log.idx"))


def test_a_script_that_removes_its_own_folder_still_ends_as_it_did(bench: Workbench) -> None:
    attempt = bench.launch("/bin/sh", "-c", 'echo x; rm -rf "$PWD"; sleep 1.2; echo y; exit 4')
    assert bench.wait_ended(attempt).code == 4


# --- the control socket


def test_garbage_on_the_socket_disturbs_nothing(bench: Workbench) -> None:
    attempt = bench.launch("/bin/sh", "-c", "echo up; sleep 100")
    bench.wait_output(attempt, "up")
    for garbage in (
        b"",
        b"\n",
        b"\xff\x00\n",
        b"[]\n",
        b"{}\n",
        b'{"do":"stop"}\n',
        b'{"do":"fly"}\n',
        b"x" * 100_000,
        b"[" * 60_000,
    ):
        answer = talk(bench, attempt, garbage)
        assert b'"error"' in answer or answer == b"", garbage
    for request in (
        b'{"do":"signal","signal":99}',
        b'{"do":"signal","signal":"9"}',
        b'{"do":"stop","by":1,"grace_s":"x"}',
    ):
        assert b'"error"' in talk(bench, attempt, request + b"\n")
    silent = [connect(bench, attempt) for _ in range(40)]
    status = bench.status(attempt)
    assert status is not None
    assert status.command_pid is not None
    for connection in silent:
        connection.close()
    bench.do(bench.engine.stop(attempt, by="ada", grace_s=0.0))
    bench.wait_ended(attempt)


def connect(bench: Workbench, attempt: AttemptId) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(5)
    directory = os.open(bench.control, os.O_PATH)

    def has_room() -> bool:
        try:
            connection.connect(f"/proc/self/fd/{directory}/{attempt}.sock")
        except BlockingIOError:
            return False
        return True

    try:
        wait_until(has_room, 10, "there is room for another connection")
    except OSError:  # it has ended
        connection.close()
        raise
    finally:
        os.close(directory)
    return connection


def talk(bench: Workbench, attempt: AttemptId, request: bytes) -> bytes:
    with connect(bench, attempt) as connection:
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            return b""


def test_a_stop_that_comes_after_the_natural_end_changes_no_ending(bench: Workbench) -> None:
    attempt = bench.launch("/bin/sh", "-c", "echo up; while [ ! -e go ]; do sleep 0.02; done; exit 4")
    bench.wait_output(attempt, "up")
    status = bench.status(attempt)
    assert status is not None
    supervisor = bench.supervisor(attempt)
    with connect(bench, attempt) as connection:
        assert bench.status(attempt), "and before it our connection was accepted"
        os.kill(supervisor, signal.SIGSTOP)
        (bench.root / attempt / "go").touch()
        wait_until(lambda: not is_alive(status.command_pid or 0), 10, "the command ended, nobody has noticed")
        connection.sendall(b'{"do":"stop","by":"ada","grace_s":1}\n')
        os.kill(supervisor, signal.SIGCONT)
        record = bench.wait_ended(attempt)
    assert (record.code, record.stop_reason, record.stopped_by) == (4, None, None)


@pytest.mark.parametrize("grace", ["NaN", "-1", "Infinity", "1e999", "1" + "0" * 400])
def test_a_grace_that_is_no_time_is_refused(bench: Workbench, grace: str) -> None:
    attempt = bench.launch("/bin/sh", "-c", "echo up; while [ ! -e go ]; do sleep 0.02; done; exit 4")
    bench.wait_output(attempt, "up")
    wait_until((bench.control / f"{attempt}.sock").exists, 10, "it listens")
    assert b'"error"' in talk(bench, attempt, f'{{"do":"stop","by":"ada","grace_s":{grace}}}\n'.encode())
    (bench.root / attempt / "go").touch()
    assert (bench.wait_ended(attempt).code, bench.wait_ended(attempt).stop_reason) == (4, None)


def test_a_peer_that_drips_bytes_delays_no_time_limit(bench: Workbench) -> None:
    attempt = bench.launch("/bin/sh", "-c", "echo up; sleep 1000", timeout_s=1.0)
    bench.wait_output(attempt, "up")
    wait_until((bench.control / f"{attempt}.sock").exists, 10, "it listens")

    def drip() -> bool:
        with suppress(OSError), connect(bench, attempt) as connection:
            connection.sendall(b"{")
        return (bench.control / f"{attempt}.exit").exists()

    with connect(bench, attempt):  # and one that says nothing
        wait_until(drip, 20, "it ended")
    record = bench.wait_ended(attempt)
    assert (record.stop_reason, record.duration_s < 10) == ("timeout", True)


def test_signals_meant_for_others_do_not_end_a_supervisor(bench: Workbench) -> None:
    attempt = bench.launch("/bin/sh", "-c", "echo up; sleep 0.5; exit 2")
    bench.wait_output(attempt, "up")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        os.kill(bench.supervisor(attempt), number)
    assert bench.wait_ended(attempt).code == 2


def test_control_directories_with_long_names_work(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 100) / ("b" * 100)
    deep.mkdir(parents=True)
    bench = Workbench(tmp_path, control=deep)
    try:
        attempt = bench.launch("/bin/sleep", "100")
        wait_until(lambda: bench.status(attempt), 10, "it answers")
        bench.do(bench.engine.stop(attempt, by="ada", grace_s=1.0))
        assert bench.wait_ended(attempt).signal == 15
    finally:
        bench.close()


# --- disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if not IS_ROOT or shutil.which("mount") is None:
        pytest.skip("needs root to mount a small file system")
    directory = tmp_path / "small"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(directory)], check=True)
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


def fill(directory: Path) -> Path:
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"x" * 4096)
        except OSError:
            return ballast


def test_a_start_marker_that_does_not_fit_whole_starts_nothing(bench: Workbench) -> None:
    order = bench.order("/bin/touch", str(bench.root / "ran"))
    bench.engine.reserve(order)
    null = os.open("/dev/null", os.O_RDWR)
    argv = [sys.executable, "-I", "-S", str(SHIM / "supervise.py"), str(bench.control), order.attempt_id, str(null)]
    subprocess.run(["prlimit", "--fsize=100", *argv], pass_fds=[null], timeout=30, check=True)
    os.close(null)
    assert bench.observe(order.attempt_id) == Unstarted()
    assert not (bench.root / "ran").exists()


def test_an_end_on_a_full_disk_is_waited_out_with_the_lease_held(tmp_path: Path, small_disk: Path) -> None:
    bench = Workbench(tmp_path, control=small_disk)
    try:
        attempt = bench.launch("/bin/sh", "-c", "echo up; while [ ! -e go ]; do sleep 0.02; done; exit 8")
        bench.wait_output(attempt, "up")
        ballast = fill(small_disk)
        (bench.root / attempt / "go").touch()
        wait_until(lambda: getattr(bench.status(attempt), "phase", "") == "clearing", 10, "it cannot write")
        assert isinstance(bench.observe(attempt), Alive)
        assert b"cannot write the exit record" in talk(bench, attempt, b'{"do":"status"}\n')
        ballast.unlink()
        assert bench.wait_ended(attempt).code == 8
    finally:
        bench.close()


def test_a_start_on_a_full_disk_has_not_happened(tmp_path: Path, small_disk: Path) -> None:
    bench = Workbench(tmp_path, control=small_disk)
    try:
        bench.run("/bin/true")  # warms the zygote up, its log is there
        order = bench.order("/bin/sh", "-c", "exit 5")
        bench.engine.reserve(order)
        ballast = fill(small_disk)
        bench.do(bench.engine.launch(order.attempt_id))
        wait_until(lambda: isinstance(bench.observe(order.attempt_id), Unstarted), 10, "it did not start")
        ballast.unlink()
        bench.do(bench.engine.launch(order.attempt_id))
        assert bench.wait_ended(order.attempt_id).code == 5
    finally:
        bench.close()


def test_a_control_directory_that_vanishes_ends_supervisor_and_command(bench: Workbench) -> None:
    attempt = bench.launch("/bin/sh", "-c", "echo up; sleep 0.3; setsid sleep 1000 & exit 0")
    bench.wait_output(attempt, "up")
    supervisor = bench.supervisor(attempt)
    shutil.rmtree(bench.control)
    assert isinstance(bench.observe(attempt), Dead)
    wait_until(lambda: not is_alive(supervisor), 10, "the supervisor left")
    assert bench.processes(attempt) == []
    bench.control.mkdir()


def test_no_field_of_an_order_is_left_for_the_supervisor_to_guess(bench: Workbench) -> None:
    order = bench.order("/bin/true")
    bench.engine.reserve(order)
    written = json.loads((bench.control / f"{order.attempt_id}.order").read_bytes())
    assert set(written) == {*LaunchOrder.__struct_fields__, "crc"}
    bench.engine.unreserve(order.attempt_id)


def test_an_interpreter_for_everybody_is_a_fact_the_tests_rely_on() -> None:
    assert public_interpreter() is not None or not IS_ROOT
