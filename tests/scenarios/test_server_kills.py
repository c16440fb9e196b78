"""Promise 1: no kill of the server loses an accepted experiment, runs it twice, or invents its ending.

200 SIGKILLs of the server over 200 experiments (`LABRUN_TEST_KILLS`; more by night). Evidence is read
outside: a ledger that every script syncs at start and end, `/proc`, and the folders. The negative control
delivers the same duplicated start orders to a build whose supervisor lacks the exclusive start marker; it
must be caught.
"""

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from tests.helpers import wait_until
from tests.scenarios.laboratory import LEDGER_SCRIPT, LaboratoryUnderTest, broken_build, journal

KILLS = int(os.environ.get("LABRUN_TEST_KILLS", "200"))
EXPERIMENTS = KILLS
LINES = 20
SLOTS = 4


class Chaos:
    """Submits, kills and duplicates at once; counts what it did."""

    def __init__(self, lab: LaboratoryUnderTest, ledger: Path, script: Path, seed: int) -> None:
        self.lab = lab
        self.ledger = ledger
        self.script = script
        self.random = random.Random(seed)
        self.accepted: dict[str, tuple[str, int]] = {}
        self.kills_while_live = 0
        self.duplicates = 0

    def submit_all(self, count: int, seconds: float) -> None:
        """Hand in `count` experiments, retrying each with its own key until it is acknowledged."""
        for i in range(count):
            code = i % 5
            argv = [sys.executable, "-I", "-S", str(self.script), str(self.ledger), f"x{i}"]
            shown = self.lab.submit(*argv, str(seconds), str(code), str(LINES), stubborn=True)
            self.accepted[shown["run_id"]] = (f"x{i}", code)

    def kill_once(self) -> None:
        """Kill the server at a random moment and start it again."""
        time.sleep(self.random.uniform(0, 0.15))  # the moment of the kill is the point
        if self.random.random() < 0.5:  # a busy machine starts attempts late: half of the kills wait for one
            with suppress(AssertionError):
                wait_until(self.lab.live_attempts, 1.0, "an attempt is live")
        if self.lab.live_attempts():
            self.kills_while_live += 1
        self.lab.kill()
        self.lab.spawn()
        if self.random.random() < 0.8:  # one in five dies while it is still coming up
            self.lab.wait_ready()

    def deliver_twice(self) -> None:
        """Start a second supervisor for a live attempt, as a doubled message would."""
        control = self.lab.home / "control"
        for marker in control.glob("*.started"):
            if marker.with_suffix(".exit").exists():
                continue
            null = os.open("/dev/null", os.O_RDWR)
            supervise = self.lab.source / "labrun/shim/supervise.py"
            argv = [sys.executable, "-I", "-S", str(supervise), str(control), marker.stem, str(null)]
            subprocess.run(argv, pass_fds=[null], timeout=60, check=False, capture_output=True)
            os.close(null)
            self.duplicates += 1
            return


def starts_by_name(ledger: Path) -> Counter[str]:
    """How often each script wrote that it started."""
    return Counter(line.split()[1] for line in ledger.read_text().splitlines() if line.startswith("start "))


def violations(chaos: Chaos) -> list[str]:
    """Compare what was acknowledged with what the outside shows."""
    lab, found = chaos.lab, []
    ended = {run_id: lab.wait_ended(run_id, timeout_s=180) for run_id in chaos.accepted}
    starts = starts_by_name(chaos.ledger)
    ends = Counter(line.split()[1] for line in chaos.ledger.read_text().splitlines() if line.startswith("end "))
    for run_id, (name, code) in chaos.accepted.items():
        shown = ended[run_id]
        if starts[name] != 1 or ends[name] != 1:
            found.append(f"{name} started {starts[name]} times and ended {ends[name]} times")
        if shown["exit_code"] != code or shown["ending"] != "exited":
            found.append(f"{name} ended {shown['ending']} {shown['exit_code']}, not exited {code}")
        output = (lab.folder(shown) / "attempts/1/stdout.log").read_text()
        if output != "".join(f"{name} line {i}\n" for i in range(LINES)):
            found.append(f"{name} lost log bytes: {len(output)}")
        list(journal(lab.folder(shown) / "events.jsonl"))
    if len(chaos.accepted) != sum(1 for _ in starts):
        found.append(f"{len(chaos.accepted)} acknowledged, {len(starts)} started")
    return found


@pytest.mark.timeout(3600)
def test_two_hundred_server_kills_lose_double_and_invent_nothing(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    lab = LaboratoryUnderTest(tmp_path / "home", settings=f"slots = {SLOTS}\n")
    ledger, script = tmp_path / "ledger", tmp_path / "script.py"
    ledger.touch()
    script.write_text(LEDGER_SCRIPT)
    chaos = Chaos(lab, ledger, script, seed)
    lab.start()
    try:
        submitter = threading.Thread(target=chaos.submit_all, args=(EXPERIMENTS, 2.0))
        submitter.start()
        for _ in range(KILLS):
            chaos.kill_once()
        submitter.join(1500)
        assert not submitter.is_alive(), f"seed {seed}: submits hang"
        lab.wait_ready()
        assert violations(chaos) == [], f"seed {seed}"
        wait_until(lambda: not lab.processes(), 10, f"seed {seed}: no process is left")
        assert chaos.kills_while_live * 3 >= KILLS, (
            f"seed {seed}: only {chaos.kills_while_live} kills met a live attempt"
        )
        assert not list((lab.home / "control").glob("*.exit")), "control files are left behind"
    finally:
        lab.stop()


def doubled_starts(tmp_path: Path, source: Path | None) -> list[str]:
    """Run a few experiments while every start order is delivered twice and the server is killed."""
    lab = LaboratoryUnderTest(
        tmp_path / "home", settings=f"slots = {SLOTS}\n", **({} if source is None else {"source": source})
    )
    ledger, script = tmp_path / "ledger", tmp_path / "script.py"
    ledger.touch()
    script.write_text(LEDGER_SCRIPT)
    chaos = Chaos(lab, ledger, script, seed=1)
    lab.start()
    try:
        chaos.submit_all(SLOTS, 3.0)
        wait_until(lambda: lab.live_attempts() == SLOTS, 20, "all attempts are live")
        lab.kill()
        chaos.deliver_twice()
        lab.start()
        for run_id in chaos.accepted:
            lab.wait_ended(run_id, timeout_s=60)
        assert chaos.duplicates
        return [name for name, count in starts_by_name(ledger).items() if count != 1]
    finally:
        lab.stop()


@pytest.mark.timeout(120)
def test_a_start_order_delivered_twice_starts_once(tmp_path: Path) -> None:
    assert doubled_starts(tmp_path, None) == []


@pytest.mark.timeout(120)
def test_negative_control_a_supervisor_without_exclusive_marker_is_caught(tmp_path: Path) -> None:
    broken = broken_build(tmp_path, ("shim/supervise.py", r"os\.O_EXCL", "0"))
    assert doubled_starts(tmp_path, broken) != []
