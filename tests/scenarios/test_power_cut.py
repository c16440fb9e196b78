"""Promise 1: a power cut loses no acknowledged experiment, starts none twice, calls none falsely done.

The home lies on an ext4 whose power is cut with the shutdown ioctl: everything not synced is gone.
The negative control is a build that commits with `synchronous=NORMAL`; it must lose acknowledged work.
"""

import os
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.helpers import wait_until
from tests.scenarios.laboratory import LEDGER_SCRIPT, LaboratoryUnderTest, Refused, broken_build
from tests.scenarios.loop_disk import LoopDisk, needs_loop_disk

CUTS = int(os.environ.get("LABRUN_TEST_CUTS", "1"))
pytestmark = [needs_loop_disk, pytest.mark.timeout(120 + 15 * CUTS)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LoopDisk]:
    found = LoopDisk(tmp_path)
    yield found
    found.unmount()


class CutRound:
    """Submit until the power goes; the ledger lies on another file system."""

    def __init__(self, lab: LaboratoryUnderTest, tmp_path: Path) -> None:
        self.lab = lab
        self.ledger = tmp_path / "ledger"
        self.ledger.touch()
        self.script = tmp_path / "script.py"
        self.script.write_text(LEDGER_SCRIPT)
        self.acknowledged: dict[str, str] = {}
        self.is_over = False

    def submit_until_cut(self) -> None:
        i = 0
        while not self.is_over:
            argv = [sys.executable, "-I", "-S", str(self.script), str(self.ledger), f"y{i}", "0.05", "0", "2"]
            try:
                shown = self.lab.submit(*argv)
            except (OSError, Refused, Exception):  # noqa: BLE001  whatever a dying disk makes of a request: not acknowledged
                if self.is_over:
                    return
                time.sleep(0.01)  # a dying disk answers at once, again and again
            else:
                if not self.is_over:
                    self.acknowledged[shown["run_id"]] = f"y{i}"
            i += 1


def is_running(lab: LaboratoryUnderTest, run_id: str) -> bool:
    """Whether an experiment has got to its running step."""
    return bool(lab.show(run_id)["experiment"]["step"] == "running")


def one_cut(
    tmp_path: Path, disk: LoopDisk, source: Path | None, *, is_held: bool = False
) -> tuple[CutRound, list[str]]:
    """Run a round; returns it and the acknowledged experiments the home does not know afterwards.

    Held, every slot is taken beforehand: nothing starts or ends, so no other sync of the file system
    happens to carry a commit along, and only the commit's own sync stands between it and the cut.
    """
    home = disk.path / "home"
    build = {} if source is None else {"source": source}
    lab = LaboratoryUnderTest(home, settings="slots = 3\n", log=tmp_path / "server.err", **build)
    lab.start()
    for _ in range(3 if is_held else 0):
        blocker = lab.submit("/bin/sleep", "1000")
        wait_until(partial(is_running, lab, blocker["run_id"]), 20, "a slot is taken")
    disk.sync()
    cut = CutRound(lab, tmp_path)
    thread = threading.Thread(target=cut.submit_until_cut)
    thread.start()
    try:
        wait_until(lambda: len(cut.acknowledged) >= 40, 60, "enough experiments are acknowledged")
        cut.is_over = True  # from here on an answer may be a lie of memory: not counted
        disk.cut_power()
        thread.join(60)
        lab.kill()
        lab.kill_processes()
        disk.unmount()
        disk.mount()
        lab.start()
        missing = []
        for run_id in cut.acknowledged:
            try:
                lab.show(run_id)
            except Refused:
                missing.append(run_id)
    finally:
        cut.is_over = True
        thread.join(60)
        if source is not None:
            lab.stop()
    return cut, missing


def test_a_power_cut_loses_and_doubles_nothing_acknowledged(tmp_path: Path, disk: LoopDisk) -> None:
    for round_number in range(CUTS):
        folder = tmp_path / f"round-{round_number}"
        folder.mkdir()
        cut, missing = one_cut(folder, disk, None)
        try:
            assert missing == []
            ended = [cut.lab.wait_ended(run_id, timeout_s=90) for run_id in cut.acknowledged]
            starts = Counter(
                line.split()[1] for line in cut.ledger.read_text().splitlines() if line.startswith("start")
            )
            ends = {line.split()[1] for line in cut.ledger.read_text().splitlines() if line.startswith("end")}
            assert [name for name, count in starts.items() if count > 1] == [], "started twice"
            succeeded = {cut.acknowledged[shown["run_id"]] for shown in ended if shown["status"] == "succeeded"}
            assert succeeded <= ends, "called done without an end"
            lost = [shown for shown in ended if shown["status"] != "succeeded"]
            assert all(shown["ending"] == "lost" and shown["ending_text"] for shown in lost), "silently lost"
        finally:
            cut.lab.stop()


def test_a_power_cut_loses_nothing_that_only_waits(tmp_path: Path, disk: LoopDisk) -> None:
    cut, missing = one_cut(tmp_path, disk, None, is_held=True)
    cut.lab.stop()
    assert missing == []


def test_negative_control_a_build_that_commits_without_sync_is_caught(tmp_path: Path, disk: LoopDisk) -> None:
    broken = broken_build(tmp_path, ("store/queue/sqlite.py", r'"FULL"', '"NORMAL"'))
    _, missing = one_cut(tmp_path, disk, broken, is_held=True)
    assert missing != []


def code_cut(tmp_path: Path, disk: LoopDisk, source: Path | None) -> list[str]:
    """Cut the power right after the last of a few edits was submitted; what each experiment printed of its code.

    The slots are taken until the cut, so that no sync but the submit's own stands between them.
    """
    build = {} if source is None else {"source": source}
    lab = LaboratoryUnderTest(disk.path / "home", settings="slots = 1\n", log=tmp_path / "server.err", **build)
    lab.start()
    try:
        blocker = lab.submit("/bin/sleep", "1000")
        wait_until(partial(is_running, lab, blocker["run_id"]), 20, "the slot is taken")
        root = tmp_path / "project"
        root.mkdir()
        (root / "model.py").write_text("version = -1\n")
        submit = partial(lab.submit, sys.executable, "-c", "import model; print(model.version)")
        submit(source={"root": str(root)})  # the store itself is made
        disk.sync()
        acknowledged = []
        for version in range(5):
            (root / "model.py").write_text(f"version = {version}\n")
            acknowledged.append(submit(source={"root": str(root)})["run_id"])
        disk.cut_power()
        lab.kill()
        lab.kill_processes()
        disk.unmount()
        disk.mount()
        shutil.rmtree(root)
        lab.start()
        ended = [lab.wait_ended(run_id, timeout_s=60, sealed=False) for run_id in acknowledged]
        return [(lab.folder(shown) / "attempts/1/stdout.log").read_text().strip() for shown in ended]
    finally:
        lab.stop()


def test_a_power_cut_right_after_the_answer_loses_no_code(tmp_path: Path, disk: LoopDisk) -> None:
    assert code_cut(tmp_path, disk, None) == ["0", "1", "2", "3", "4"]


def test_negative_control_a_build_that_does_not_sync_its_packs_loses_code(tmp_path: Path, disk: LoopDisk) -> None:
    broken = broken_build(tmp_path, ("store/objects.py", r"os\.fsync\((file\.fileno\(\)|fd)\)", "pass"))
    assert code_cut(tmp_path, disk, broken) != ["0", "1", "2", "3", "4"]
