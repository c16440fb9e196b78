"""A home that is full, closed, foreign or in another time: refused or waited out, never half-written."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import wait_until
from tests.scenarios.laboratory import SERVE, LaboratoryUnderTest, Refused, journal
from tests.scenarios.loop_disk import LoopDisk, needs_loop_disk

pytestmark = pytest.mark.timeout(180)

GATED = 'echo begin; while [ ! -e "$0" ]; do sleep 0.05; done; exit 3'
"""Runs until a file outside the home appears."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LoopDisk]:
    found = LoopDisk(tmp_path, size_mib=128)
    yield found
    found.unmount()


def fill(path: Path) -> None:
    """Take every block that is left."""
    with path.open("wb", buffering=0) as filler:
        for piece in (b"x" * 2**20, b"x" * 4096, b"x"):
            try:
                while filler.write(piece) == len(piece):
                    pass
            except OSError:
                continue


def lab_command(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """One `lab` command, as a person types it."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home.parent), "LAB_HOME": str(home), "LANG": "C.UTF-8"}
    command = [sys.executable, "-m", "labrun.cli.main", *words]
    return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=60, check=False)


def serve_refused(home: Path) -> str:
    """Start a server that must refuse; returns what it said."""
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(home)],
        env={"PATH": os.environ["PATH"], "HOME": str(home.parent)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    return done.stderr


@needs_loop_disk
def test_a_full_disk_refuses_what_is_new_and_loses_nothing_that_was_accepted(tmp_path: Path, disk: LoopDisk) -> None:
    lab = LaboratoryUnderTest(disk.path / "home", settings="slots = 2\n", log=tmp_path / "server.err")
    gate, filler = tmp_path / "gate", disk.path / "filler"
    lab.start()
    try:
        accepted = [lab.submit("/bin/sh", "-c", GATED, str(gate)) for _ in range(20)]
        wait_until(lambda: lab.live_attempts() == 2, 20, "two run")
        fill(filler)
        refusals = []
        for _ in range(30):
            try:
                accepted.append(lab.submit("/bin/sh", "-c", GATED, str(gate), note="n" * 100_000))
            except Refused as refusal:
                refusals.append((refusal.status, refusal.code))
        assert set(refusals) == {(507, "disk_full")}
        told = lab_command(lab.home, "queue", "--note", "n" * 100_000, "--", "/bin/true")
        assert told.returncode == 3, told
        assert "no space left" in told.stderr
        gate.touch()  # what runs ends while there is no space for its ending
        wait_until(lambda: lab.processes() == [], 20, "both scripts are over")
        status = lab.call("GET", "/v1/labs/main/status")
        assert [shown["step"] for shown in status["running"]] == ["running", "running"], (
            "no word of the end is kept yet"
        )
        assert status["waiting_count"] == len(accepted) - 2
        filler.unlink()
        for shown in accepted:
            ended = lab.wait_ended(shown["run_id"], timeout_s=90)
            assert (ended["ending"], ended["exit_code"]) == ("exited", 3), ended
            kinds = [event["event"] for event in journal(lab.folder(ended) / "events.jsonl")]
            assert kinds == ["accepted", "dispatched", "cloned", "started", "ended", "checked"]
        assert len({shown["label"] for shown in accepted}) == len(accepted)
        page = lab.call("GET", "/v1/labs/main/experiments?limit=100")["experiments"]
        assert {shown["run_id"] for shown in page} == {shown["run_id"] for shown in accepted}, "refused, yet there"
        assert half_written(lab.home) == []
    finally:
        lab.stop()


def half_written(home: Path) -> list[str]:
    """Temporary files and folders that nobody finished."""
    names = [str(path.relative_to(home)) for path in home.rglob(".*") if "code.git" not in path.parts]
    names += [path.name for path in (home / "control").iterdir() if path.name.count(".") > 1]
    return names + [path.name for path in (home / "store/env").iterdir()]


@needs_loop_disk
def test_a_restart_on_a_full_disk_looks_after_what_runs_from_the_reserve(tmp_path: Path, disk: LoopDisk) -> None:
    lab = LaboratoryUnderTest(disk.path / "home", settings="slots = 2\n", log=tmp_path / "server.err")
    gate, filler = tmp_path / "gate", disk.path / "filler"
    lab.start()
    try:
        accepted = [lab.submit("/bin/sh", "-c", GATED, str(gate)) for _ in range(4)]
        wait_until(lambda: lab.live_attempts() == 2, 20, "two run")
        fill(filler)
        lab.kill()
        gate.touch()
        lab.start()
        assert {lab.show(shown["run_id"])["experiment"]["label"] for shown in accepted}
        accepted.append(lab.submit("/bin/sh", "-c", GATED, str(gate)))
        filler.unlink()
        for shown in accepted:
            assert lab.wait_ended(shown["run_id"], timeout_s=60)["exit_code"] == 3
    finally:
        lab.stop()


@needs_loop_disk
def test_a_home_on_a_read_only_file_system_is_refused_and_says_so(disk: LoopDisk) -> None:
    home = disk.path / "home"
    finished_home(home)
    subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], check=True)
    assert "mounted read-only" in serve_refused(home)
    told = lab_command(home, "status")
    assert (told.returncode, "read-only" in told.stderr) == (3, True), told


def finished_home(home: Path) -> dict[str, Any]:
    """A home whose server left; returns its one experiment."""
    lab = LaboratoryUnderTest(home)
    lab.start()
    try:
        return lab.wait_ended(lab.submit("/bin/true")["run_id"])
    finally:
        lab.stop()


def contents(root: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_home_of_a_newer_format_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    home = tmp_path / "home"
    finished_home(home)
    facts = json.loads((home / "home.json").read_text())
    (home / "home.json").write_text(json.dumps(facts | {"format": 2, "shape": "round"}))
    before = contents(home)
    assert "format 2 is newer" in serve_refused(home)
    told = lab_command(home, "status")
    assert (told.returncode, "newer" in told.stderr) == (3, True), told
    assert contents(home) == before


def test_a_folder_that_is_not_ours_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    home = tmp_path / "photos"
    home.mkdir()
    (home / "cat.jpg").write_bytes(b"meow")
    assert "it holds other things (cat.jpg)" in serve_refused(home)
    told = lab_command(home, "queue", "--", "/bin/true")
    assert (told.returncode, "cat.jpg" in told.stderr) == (3, True), told
    assert contents(home) == {"cat.jpg": b"meow"}


def test_a_home_that_is_a_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    home = tmp_path / "lab"
    home.write_text("my notes")
    assert "as home" in serve_refused(home)
    assert lab_command(home, "status").returncode == 3
    assert home.read_text() == "my notes"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_home_of_somebody_else_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    finished_home(home)
    os.chown(home, 65534, 65534)
    assert "belongs to user id 65534" in serve_refused(home)
    assert lab_command(home, "status").returncode == 3


@pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed")
def test_with_the_clock_set_back_order_and_durations_stay_right(tmp_path: Path) -> None:
    lab = LaboratoryUnderTest(tmp_path / "home")
    lab.start()
    try:
        gate = tmp_path / "gate"
        running = lab.submit("/bin/sh", "-c", GATED, str(gate))
        earlier = lab.submit("/bin/true", name="earlier")
        wait_until(lambda: lab.live_attempts() == 1, 20, "it runs")
        lab.kill()
        lab.wrap = ["faketime", "-f", "-10d"]
        lab.start()
        later = lab.submit("/bin/true", name="later")
        assert later["queued_at"] < earlier["queued_at"], "the clock was not set back"
        assert [lab.show(one["run_id"])["experiment"]["position"] for one in (earlier, later)] == [1, 2]
        gate.touch()
        ended = [lab.wait_ended(one["run_id"]) for one in (running, earlier, later)]
        assert [one["label"] for one in ended] == ["EXP-001", "EXP-002", "EXP-003"]
        assert [one["exit_code"] for one in ended] == [3, 0, 0]
        for one in ended:
            record = json.loads((lab.folder(one) / "attempts/1/exit.json").read_text())
            assert record["duration_s"] >= 0
            told = json.loads((lab.folder(one) / "run_manifest.json").read_text())
            assert [key for key, value in durations(told) if value < 0] == []
        page = lab.call("GET", "/v1/labs/main/experiments")["experiments"]
        assert [one["label"] for one in page] == ["EXP-003", "EXP-002", "EXP-001"]
    finally:
        lab.stop()


def durations(value: object, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a document whose name says seconds."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from durations(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from durations(inner, name)
    elif isinstance(value, int | float) and not isinstance(value, bool) and ("duration" in name or name.endswith("_s")):
        yield name, value
