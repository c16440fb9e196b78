"""An acknowledged note survives a power cut, wherever it was written.

The negative control is a build that does not sync notes; it must lose them.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.helpers import wait_until
from tests.scenarios.laboratory import LaboratoryUnderTest, broken_build
from tests.scenarios.loop_disk import LoopDisk, needs_loop_disk

pytestmark = [needs_loop_disk, pytest.mark.timeout(120)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LoopDisk]:
    found = LoopDisk(tmp_path)
    yield found
    found.unmount()


def is_running(lab: LaboratoryUnderTest, run_id: str) -> bool:
    return bool(lab.show(run_id)["experiment"]["step"] == "running")


def notes_after_a_cut(tmp_path: Path, disk: LoopDisk, source: Path | None) -> dict[str, list[str]]:
    """Say something of one that ended and of one that waits, cut the power at once; what is known afterwards."""
    build = {} if source is None else {"source": source}
    lab = LaboratoryUnderTest(disk.path / "home", settings="slots = 1\n", log=tmp_path / "server.err", **build)
    lab.start()
    try:
        runs = {"ended": lab.wait_ended(lab.submit("/bin/true")["run_id"])["run_id"]}
        blocker = lab.submit("/bin/sleep", "1000")["run_id"]
        wait_until(partial(is_running, lab, blocker), 20, "the slot is taken")
        runs["waiting"] = lab.submit("/bin/sleep", "1000")["run_id"]
        disk.sync()
        for run in runs.values():
            for text in ("one", "two"):
                body = {"author": "ada", "remarks": [{"text": text}]}
                lab.call("POST", f"/v1/labs/main/experiments/{run}/notes", body)
        disk.cut_power()
        lab.kill()
        lab.kill_processes()
        disk.unmount()
        disk.mount()
        lab.start()
        notes = {name: lab.show(run)["told"].get("annotations", []) for name, run in runs.items()}
        return {name: [note["text"] for note in told] for name, told in notes.items()}
    finally:
        lab.stop()


def test_a_power_cut_right_after_the_answer_loses_no_note(tmp_path: Path, disk: LoopDisk) -> None:
    assert notes_after_a_cut(tmp_path, disk, None) == {"ended": ["one", "two"], "waiting": ["one", "two"]}


def test_negative_control_a_build_that_does_not_sync_notes_loses_them(tmp_path: Path, disk: LoopDisk) -> None:
    broken = broken_build(
        tmp_path, ("store/notes.py", "sync=True", "sync=False"), ("store/journal.py", "os.fdatasync", "id")
    )
    found = notes_after_a_cut(tmp_path, disk, broken)
    assert [] in found.values()
