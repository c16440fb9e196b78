"""Speed of the ground: start-up, submit, dispatch, restart, logs, each against a limit of this machine.

Usage: python bench/speed.py [cli submit dispatch restart known logs] [--loop] [--dir DIR] [--rounds N]
"""

import http.client
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from known import ENDED
from measure import emit, pss_mib, quantile, run_cases, short, take_turns, timed
from msgspec import structs
from tests.scenarios.laboratory import LaboratoryUnderTest, UnixConnection

from labrun.store.index import Index

PYTHON = sys.executable
LAB = str(Path(PYTHON).with_name("lab"))
TRUE = shutil.which("true") or "/bin/true"


def run(*argv: str, home: Path | None = None, cwd: Path | None = None) -> Callable[[], float]:
    """A case: seconds of one whole command."""
    environment = os.environ | ({"LAB_HOME": str(home)} if home else {})

    def case() -> float:
        return timed(
            lambda: subprocess.run(
                argv,
                env=environment,
                cwd=cwd,
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    return case


def cli(folder: Path, rounds: int) -> None:
    """Start-up of the commands typed hourly, against `python -c pass`."""
    home = folder / "cli-home"
    project = folder / "project"
    project.mkdir()
    subprocess.run(["git", "init", "-q", str(project)], check=True)
    for i in range(20):
        (project / f"module_{i}.py").write_text(f"x = {i}\n" * 50)
    (project / "train.py").write_text("pass\n")
    run(LAB, "status", home=home)()
    put, wait = run(LAB, "queue", "train.py", home=home, cwd=project), run(LAB, "wait", "latest", home=home)

    def queue() -> float:
        seconds = put()
        wait()  # it must not run while the next case is measured
        return seconds

    try:
        cases = {
            "python -c pass": run(PYTHON, "-c", "pass"),
            "lab --help": run(LAB, "--help", home=home),
            "lab status": run(LAB, "status", home=home),
            "lab list": run(LAB, "list", home=home),
            "lab queue train.py": queue,
        }
        take_turns("start-up", cases, reference="python -c pass", rounds=rounds * 3, budget="<= 6, goal 4; queue <= 15")
    finally:
        run(LAB, "server", "stop", home=home)()


class OpenLine:
    """One kept connection that submits `true`."""

    def __init__(self, lab: LaboratoryUnderTest) -> None:
        self._connection = UnixConnection(lab.home / "server.sock", 30)
        self._spec = {
            "target": {"kind": "program", "name": "true", "argv": [TRUE]},
            "source": {"cwd": "/", "cwd_is_live": True},
            "resources": {"cpus": 1},
        }

    def submit(self, argv: list[str] | None = None) -> dict[str, str]:
        """Submit one; returns when it is durable."""
        spec = self._spec | ({"target": {"kind": "program", "name": argv[0], "argv": argv}} if argv else {})
        body = json.dumps({"spec": spec, "variables": {"PATH": "/usr/bin:/bin"}})
        headers = {"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}
        self._connection.request("POST", "/v1/labs/main/experiments", body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != http.client.CREATED:
            raise SystemExit(content.decode())
        return json.loads(content)["experiment"]


def held(lab: LaboratoryUnderTest, line: OpenLine, folder: Path) -> Callable[[], None]:
    """Fill every slot with experiments that wait for a fifo; the returned call lets them go."""
    fifo = folder.resolve() / f"gate-{uuid.uuid4().hex}"
    os.mkfifo(fifo)
    gate = os.open(fifo, os.O_RDWR)  # both ends, so that neither side ever waits for the other to open it
    blockers = [line.submit(["/bin/sh", "-c", f"read x < {fifo}"]) for _ in range(os.cpu_count() or 1)]
    for blocker in blockers:
        while lab.show(blocker["run_id"])["experiment"]["step"] != "running":
            time.sleep(0.01)

    def release() -> None:
        os.write(gate, b"\n" * len(blockers))

    return release


def submit(folder: Path, rounds: int) -> None:
    """Durable submit over an open socket, against append 4 KiB + fdatasync on the same disk."""
    lab = LaboratoryUnderTest(folder / "submit-home")
    lab.start()
    try:
        line = OpenLine(lab)
        release = held(lab, line, folder)
        log = os.open(folder / "append", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def append() -> float:
            def once() -> None:
                os.write(log, b"x" * 4096)
                os.fdatasync(log)

            return quantile([timed(once) for _ in range(200)], 0.5)

        seconds: list[float] = []

        def submits() -> float:
            taken = [timed(line.submit) for _ in range(200)]
            seconds.extend(taken)
            return quantile(taken, 0.5)

        take_turns(
            "submit", {"append + fdatasync": append, "submit": submits}, reference="append + fdatasync", rounds=rounds
        )
        emit(
            group="submit",
            case="all",
            p50_ms=short(quantile(seconds, 0.5) * 1e3),
            p99_ms=short(quantile(seconds, 0.99) * 1e3),
            n=len(seconds),
            budget="p50 <= 2 ms, p99 <= 10 ms",
        )
        release()
    finally:
        lab.stop()


def bare(argv: list[str], count: int) -> float:
    """Spawn and wait, two at a time, keeping nothing; seconds an experiment."""

    def work() -> None:
        live = started = done = 0
        while done < count:
            while live < 2 and started < count:
                os.posix_spawn(argv[0], argv, os.environ)
                live, started = live + 1, started + 1
            os.wait()
            live, done = live - 1, done + 1

    return timed(work) / count


def dispatch(folder: Path, rounds: int) -> None:
    """1,000 x true and 200 x python, two at a time, whole record sealed, against the bare spawn."""
    for name, argv, count in (("true", [TRUE], 1000), ("python -c pass", [PYTHON, "-c", "pass"], 200)):
        lab = LaboratoryUnderTest(folder / f"dispatch-{uuid.uuid4().hex[:6]}")
        lab.start()
        try:
            line = OpenLine(lab)

            def through(
                line: OpenLine = line, lab: LaboratoryUnderTest = lab, argv: list[str] = argv, count: int = count
            ) -> float:
                release = held(lab, line, folder)
                chain = lab.home / "labs/main/chain.jsonl"
                wanted = sealed(chain) + count + (os.cpu_count() or 1)  # those that held the slots are sealed too
                for _ in range(count):
                    line.submit(argv)
                return timed(lambda: (release(), wait_sealed(chain, wanted))) / count

            def spawn(argv: list[str] = argv, count: int = count) -> float:
                return bare(argv, count)

            take_turns(
                f"dispatch {name}",
                {"bare spawn": spawn, "labrun": through},
                reference="bare spawn",
                rounds=rounds,
                budget="<= 10, goal 6.5",
            )
            emit(group=f"dispatch {name}", case="server", pss_mib=short(pss_mib(lab.server.pid if lab.server else 0)))
        finally:
            lab.stop()


def sealed(chain: Path) -> int:
    """How many seals the lab's chain holds: each is durable, and so is the record it names."""
    return chain.read_bytes().count(b"\n") if chain.exists() else 0


def wait_sealed(chain: Path, wanted: int, timeout_s: float = 900.0) -> None:
    """Look at the chain's size twenty times a second: asking the server would slow it down."""
    deadline = time.monotonic() + timeout_s
    size = -1
    while True:
        now = chain.stat().st_size if chain.exists() else 0
        if now != size:
            size = now
            if sealed(chain) >= wanted:
                return
        if time.monotonic() > deadline:
            raise SystemExit(f"only {sealed(chain)} of {wanted} sealed")
        time.sleep(0.02)


def time_of(text: str) -> float:
    """Unix seconds of a moment in the API's form."""

    return datetime.fromisoformat(text).timestamp()


def restart(folder: Path, rounds: int, known: int = 10_000) -> None:
    """From SIGKILL to the first answer, with 10,000 experiments known, against `python -c pass`."""
    lab = LaboratoryUnderTest(folder / "restart-home")
    lab.start()
    try:
        line = OpenLine(lab)
        for _ in range(known):
            line.submit()
        wait_sealed(lab.home / "labs/main/chain.jsonl", known)

        def again() -> float:
            lab.kill()
            return timed(lab.start)

        cases = {"python -c pass": run(PYTHON, "-c", "pass"), f"restart, {known} known": again}
        take_turns("restart", cases, reference="python -c pass", rounds=rounds, budget="p99 < 1 s")
        emit(
            group="restart",
            case="server",
            pss_mib=short(pss_mib(lab.server.pid if lab.server else 0)),
            budget="<= 150 MiB",
        )
    finally:
        lab.stop()


def known(folder: Path, rounds: int) -> None:
    """Memory, start and a page of the list with many experiments known, from an index filled for the purpose."""
    for count in (100_000, 1_000_000):
        lab = LaboratoryUnderTest(folder / f"known-{count}")
        lab.start()
        lab.kill()
        fill_index(lab.home / "index.sqlite", count)

        def again(lab: LaboratoryUnderTest = lab) -> float:
            lab.kill()
            return timed(lab.start)

        lab.start()
        try:
            cases = {"python -c pass": run(PYTHON, "-c", "pass"), f"restart, {count} known": again}
            budget = "p99 < 1 s at 10,000, < 3 s at 1,000,000"
            take_turns("known", cases, reference="python -c pass", rounds=rounds, budget=budget)
            memory = short(pss_mib(lab.server.pid if lab.server else 0))
            emit(group="known", case=f"server, {count} known", pss_mib=memory, budget="<= 150 MiB")
        finally:
            lab.stop()


def fill_index(path: Path, count: int) -> None:
    """Write ended experiments as the index keeps them; there is no faster way to a million."""
    index = Index.open(path)
    for begin in range(1, count, 5000):
        numbers = range(begin, begin + 5000)
        index.apply(
            [structs.replace(ENDED, run_id=f"2026-11-20_{n:08x}", label=f"EXP-{n:03}") for n in numbers], consumed={}
        )
    index.close()


WRITER = """
import os, sys, time
piece, begun = b"x" * 65535 + b"\\n", time.perf_counter()
for _ in range(int(sys.argv[1])):
    os.write(1, piece)
os.write(2, b"%.6f" % (time.perf_counter() - begun))
"""
"""Writes so many pieces of 64 KiB and says, on standard error, how long that took."""

TICKER = """
import os, time
for _ in range(200):
    time.sleep(0.01)
    os.write(1, b"%.6f\\n" % time.clock_gettime(time.CLOCK_MONOTONIC))
"""


def logs(folder: Path, rounds: int) -> None:
    """A child that writes flat out, against writing the file itself; and how late a follower sees a line."""
    lab = LaboratoryUnderTest(folder / "logs-home")
    lab.start()
    pieces = 2048
    try:

        def direct() -> float:
            path = folder / "direct.log"
            with path.open("wb") as sink:
                command = [PYTHON, "-I", "-S", "-c", WRITER, str(pieces)]
                # a session of its own, as an experiment has: the kernel shares the processors among sessions
                done = subprocess.run(command, stdout=sink, stderr=subprocess.PIPE, check=True, start_new_session=True)
                os.fsync(sink.fileno())  # as the seal does: neither case leaves the other one its pages to write
            path.unlink()
            return float(done.stderr)

        def captured() -> float:
            shown = lab.submit(PYTHON, "-I", "-S", "-c", WRITER, str(pieces))
            ended = lab.wait_ended(shown["run_id"], 120)
            return float((Path(ended["folder"]) / "attempts/1/stderr.log").read_text())

        take_turns(
            "log throughput",
            {"own file": direct, "labrun": captured},
            reference="own file",
            rounds=rounds,
            budget="<= 1.1",
        )
        late = line_latency(lab)
        emit(
            group="log latency",
            case="line to subscriber",
            p50_ms=short(quantile(late, 0.5) * 1e3),
            p99_ms=short(quantile(late, 0.99) * 1e3),
            n=len(late),
            budget="p50 <= 5 ms",
        )
    finally:
        lab.stop()


def line_latency(lab: LaboratoryUnderTest) -> list[float]:
    """Seconds between a child's write and its arrival at a long-polling follower."""
    shown = lab.submit(PYTHON, "-I", "-S", "-c", TICKER)
    offset, late = 0, []
    while True:
        path = f"/v1/labs/main/experiments/{shown['run_id']}/logs?stdout={offset}&wait_s=20"
        content, header = lab.call("GET", path)
        now = time.clock_gettime(time.CLOCK_MONOTONIC)
        late += [now - float(word) for word in content.split()]
        offset = header["stdout"]
        if header["is_over"]:
            return late


CASES = {"cli": cli, "submit": submit, "dispatch": dispatch, "restart": restart, "known": known, "logs": logs}

if __name__ == "__main__":
    run_cases(CASES, __doc__)
