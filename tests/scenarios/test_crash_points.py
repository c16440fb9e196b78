"""Crash at every state-changing system call of one submit, start and end: nothing lost, nothing twice.

A first run under strace lists the calls of each of the server's threads that change something below
the home; then the server is killed as it enters each of them in turn, started again, and the same
request is repeated with its idempotency key, as a client does. `LABRUN_TEST_CRASH_STRIDE` takes only
every n-th point, from a random first one on. The negative controls are builds whose order of effects
is wrong; the points between the two effects must catch them.
"""

import http.client
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.helpers import wait_until
from tests.scenarios.laboratory import LaboratoryUnderTest, Refused, broken_build

CALLS = (
    "openat,write,writev,pwrite64,ftruncate,fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat,"
    "unlink,unlinkat,rmdir,link,linkat,symlink,symlinkat,flock,sendmsg,chmod,fchmod,copy_file_range,sendfile"
)
STRIDE = int(os.environ.get("LABRUN_TEST_CRASH_STRIDE", "1"))

SCRIPT = """\
import os, sys
ledger, name = sys.argv[1:]
def note(word):
    fd = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, f"{word} {name}\\n".encode())
    os.close(fd)
note("start")
print(name, flush=True)
note("end")
sys.exit(3)
"""

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]


class Point(NamedTuple):
    """The n-th call of one kind in one of the two lasting threads, or on one path in any other thread."""

    thread: int | None
    """0 is the event loop's, 1 the committer's; None: others come and go, there the path counts."""
    path: str
    """Below the home, with `{label}` for the label; empty when the thread counts."""
    call: str
    ordinal: int
    line: str


class Traced:
    """A server with strace attached; its children that were there before are left alone."""

    def __init__(self, log: Path, tids: list[int], *options: str) -> None:
        attach = [word for tid in tids for word in ("-p", str(tid))]
        command = ["strace", "-y", "-o", str(log), "-e", f"trace={CALLS}", *options, *attach]
        self._strace = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_until(lambda: all(_is_traced(tid) for tid in tids), 20, "strace is attached")

    def detach(self) -> None:
        """Let the server go on untraced."""
        self._strace.send_signal(signal.SIGINT)
        self._strace.wait(20)


def _is_traced(tid: int) -> bool:
    try:
        return "TracerPid:\t0" not in Path(f"/proc/{tid}/status").read_text()
    except OSError:
        return True


def threads(pid: int) -> list[int]:
    """The server's threads in the order they were made; numbers start again from the bottom after the highest one."""
    highest = int(Path("/proc/sys/kernel/pid_max").read_text())
    tids = [int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()]
    return sorted(tids, key=lambda tid: (tid - pid) % highest)


class CrashHome:
    """One home, one experiment per crash point."""

    def __init__(self, tmp_path: Path, source: Path | None = None) -> None:
        self.lab = LaboratoryUnderTest(tmp_path / "home", **({} if source is None else {"source": source}))
        self.tmp_path = tmp_path
        self.ledger = tmp_path / "ledger"
        self.ledger.touch()
        self.script = tmp_path / "script.py"
        self.script.write_text(SCRIPT)
        self.count = 0
        self.run_ids: set[str] = set()

    def run_one(self) -> str:
        """Submit one and see it through whatever happens to the server; returns what is wrong, or nothing."""
        self.count += 1
        name, key, shown = f"z{self.count}", uuid.uuid4().hex, None
        argv = [sys.executable, "-I", "-S", str(self.script), str(self.ledger), name]
        spec = {
            "target": {"kind": "program", "name": "python3", "argv": argv},
            "source": {"cwd": "/", "cwd_is_live": True},
        }
        body = {"spec": spec, "variables": {"PATH": os.environ["PATH"]}}
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if shown is None:
                    shown = self.lab.call("POST", "/v1/labs/main/experiments", body, key=key)["experiment"]
                found = self._look(shown["run_id"])
                if found is None:
                    return f"{name} is not known any more"
                if found["is_sealed"]:
                    self.run_ids.add(shown["run_id"])
                    return self._judge(name, found)
            except Refused as refusal:
                return f"{name}: {refusal}"
            except (OSError, http.client.HTTPException):
                self.revive()
            time.sleep(0.005)  # between two looks at an experiment that runs
        return f"{name} did not end: {shown}"

    def _look(self, run_id: str) -> Mapping[str, object] | None:
        """From the list, which opens no file: looking must not shift the counted calls."""
        page = self.lab.call("GET", "/v1/labs/main/experiments?limit=5")["experiments"]
        return next((found for found in page if found["run_id"] == run_id), None)

    def revive(self) -> None:
        """Start the server again when it is dead."""
        assert self.lab.server is not None
        if self.lab.server.poll() is not None:
            self.lab.start()

    def _judge(self, name: str, found: Mapping[str, object]) -> str:
        counts = Counter(line for line in self.ledger.read_text().splitlines() if line.split()[1] == name)
        if counts != {f"start {name}": 1, f"end {name}": 1}:
            return f"{name}: ledger says {dict(counts)}"
        if (found["ending"], found["exit_code"]) != ("exited", 3):
            return f"{name}: ended {found['ending']} {found['exit_code']}: {found['ending_text']}"
        output = (Path(str(found["folder"])) / "attempts/1/stdout.log").read_text()
        return "" if output == f"{name}\n" else f"{name}: printed {output!r}"

    def warm_up(self) -> None:
        """Make the threads that later work is done in."""
        if self.lab.server is None:
            self.lab.start()
        self.revive()
        while len(threads(self.lab.server.pid if self.lab.server else 0)) < 3:
            assert self.run_one() == ""

    def next_label(self) -> str:
        """What the next experiment will be called."""
        newest = self.lab.call("GET", "/v1/labs/main/experiments?limit=1")["experiments"][0]["label"]
        return f"EXP-{int(newest[4:]) + 1:03d}"

    def leftovers(self) -> list[str]:
        """What lies about after everything is sealed and a restart looked at it."""
        self.lab.kill()
        self.lab.start()
        control = [path.name for path in (self.lab.home / "control").iterdir()]
        variables = [path.name for path in (self.lab.home / "store/env").iterdir()]
        return [name for name in control if name.count(".") > 1] + variables


def list_points(home: CrashHome) -> list[Point]:
    """Trace one whole life and list the calls that change something of the home."""
    home.warm_up()
    pid = home.lab.server.pid if home.lab.server else 0
    tids, log = threads(pid), home.tmp_path / "trace"
    traced = Traced(log, [pid], "-f", "-ff")
    wrong = home.run_one()
    traced.detach()
    assert not wrong, wrong
    points: list[Point] = []
    for path in sorted(home.tmp_path.glob("trace.*"), key=lambda found: int(found.suffix[1:])):
        tid = int(path.suffix[1:])
        thread = tids.index(tid) if tid in tids[:2] else None
        points += _points_of(thread, path.read_text(errors="replace").splitlines(), str(home.lab.home))
    return points


def _points_of(thread: int | None, lines: Iterable[str], home: str) -> Iterable[Point]:
    seen: Counter[tuple[str, str]] = Counter()
    for line in lines:
        call = line.partition("(")[0].strip()
        paths = re.findall(rf'[<"]{home}(/[^">]*)', line)
        if not re.fullmatch(r"[a-z0-9_]+", call) or not (paths or thread is not None):
            continue
        path = ""
        if thread is None:  # strace filters renames by their first path; a link's first one has a name nobody foresees
            path = re.sub(r"EXP-\d+", "{label}", paths[0 if call == "rename" else -1])
        seen[call, path] += 1
        has_effect = (call != "openat" or "O_CREAT" in line) and "ENOENT" not in line and "EEXIST" not in line
        if has_effect and (paths or call == "sendmsg"):
            yield Point(thread, path, call, seen[call, path], line.replace(home, "")[:200])


def crash_at(home: CrashHome, point: Point) -> tuple[bool, str]:
    """Kill the server at one point; returns whether it died there, and what is wrong afterwards."""
    home.warm_up()
    assert home.lab.server is not None
    server, pid = home.lab.server, home.lab.server.pid
    inject = ["-e", f"inject={point.call}:signal=KILL:when={point.ordinal}"]
    log = home.tmp_path / "inject"
    if point.thread is None:
        path = f"{home.lab.home}{point.path.format(label=home.next_label())}"
        traced = Traced(log, [pid], "-f", "-P", path, *inject)
    else:
        traced = Traced(log, [threads(pid)[point.thread]], *inject)
    try:
        wrong = home.run_one()
    finally:
        traced.detach()
    has_died = home.lab.server is not server or server.poll() is not None
    return has_died, wrong


def crash_everywhere(home: CrashHome, stride: int) -> None:
    """Crash at every n-th point and compare."""
    first = random.randrange(stride)
    try:
        points = list_points(home)
        assert len(points) >= 50, f"the trace shows too little: {points}"
        taken = points[first::stride]
        outcomes = {point: crash_at(home, point) for point in taken}
        where = f"every {stride}th of {len(points)} points from {first} on"
        assert {point: wrong for point, (_, wrong) in outcomes.items() if wrong} == {}, where
        missed = [point for point, (has_died, _) in outcomes.items() if not has_died]
        assert len(missed) * 10 <= len(taken), f"{where}: points that were not reached: {missed}"
        assert home.leftovers() == [], where
    finally:
        home.lab.stop()


def test_a_crash_at_a_state_changing_call_loses_and_doubles_nothing(tmp_path: Path) -> None:
    crash_everywhere(CrashHome(tmp_path), STRIDE)


RESERVE = r"parts\.engine\.reserve\(build_order\(parts, row, folder, key, gpus\)\)"
BROKEN = {
    "the idempotency key is ignored": (
        [("server/routes.py", r'key: str \| None = request\.headers\.get\("idempotency-key"\)', "key = None")],
        r"fdatasync",
    ),
    "the claim is committed before order and lease are written": (
        [
            ("worker/dispatch.py", RESERVE, "pass"),
            (
                "worker/dispatch.py",
                r"(            fence = await parts\.queue\.claim\(claim\))",
                r"\1\n            parts.engine.reserve(build_order(parts, row, folder, key, gpus))",
            ),
        ],
        r"(openat|write|flock).*\.(order|lease)",
    ),
    "the row is removed before the seal": (
        [
            (
                "worker/closing.py",
                r"(        sealed = await asyncio\.to_thread\(lambda: seal_batch\()",
                r"        await parts.queue.remove([one.run_id for one in ended])\n\1",
            )
        ],
        r"rename.*README|write.*chain",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_negative_control_a_build_with_the_wrong_order_of_effects_is_caught(tmp_path: Path, what: str) -> None:
    changes, where = BROKEN[what]
    home = CrashHome(tmp_path, broken_build(tmp_path, *changes))
    try:
        points = [point for point in list_points(home) if re.search(where, point.line)]
        assert points, "the points between the two effects are not there"
        assert [wrong for point in points[:4] if (wrong := crash_at(home, point)[1])] != []
    finally:
        home.lab.stop()
