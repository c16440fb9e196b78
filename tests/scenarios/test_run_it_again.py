"""A requeue survives what a submit survives: a server that dies between the copy and the start."""

import os
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

from tests.helpers import wait_until
from tests.scenarios.laboratory import SOURCE, LaboratoryUnderTest, broken_build

EXPERIMENTS = "/v1/labs/main/experiments"
AFTER_COPY = (r"(\n +await asyncio\.to_thread\(staging\.lay_out.*\n)", r"\1        os._exit(9)\n")
HALF_COPY = (r"(\n +)(copy\.flush\(\)\n)", r"\1copy.write(b'torn')\1copy.flush()\1os._exit(9)\n")


def crash(tmp_path: Path, name: str, change: tuple[str, str]) -> None:
    """Requeue with a staged file on a server that dies in the midst of it; start a whole one."""
    lab = LaboratoryUnderTest(tmp_path / "home", settings="slots = 4\n")
    lab.start()
    try:
        line = 'echo weights > "$LAB_OUTPUT_PATH/model.pt"; echo start >> "$0"; cat "$1"'
        ledger = tmp_path / "ledger"
        first = lab.submit("/bin/sh", "-c", line, str(ledger), "/dev/null")
        old = lab.wait_ended(first["run_id"])
        lab.stop()
        lab.source = broken_build(tmp_path, (name, *change))
        lab.start()
        body = {
            "kind": "requeue",
            "mode": "replace",
            "arguments": ["-c", line, str(ledger), "{staged}"],
            "staged": ["outputs/model.pt"],
            "variables": {"PATH": os.environ["PATH"]},
        }
        answer = lab.call("POST", f"{EXPERIMENTS}/{old['label']}/rerun", body)
        server = lab.server
        assert server is not None
        wait_until(lambda: server.poll() == 9, 20, "the server died where it was told to")
        lab.source = SOURCE
        lab.start()
        new = lab.wait_ended(answer["accepted"]["experiment"]["run_id"])
        folder = lab.folder(new)
        assert (new["status"], new["attempt"]) == ("succeeded", 1)
        assert ledger.read_text() == "start\nstart\n", "it started once"
        assert (folder / "attempts/1/stdout.log").read_text() == "weights\n"
        assert [path.name for path in (folder / "staged").iterdir() if not path.name.startswith(".")] == ["model.pt"]
    finally:
        lab.stop()


def test_a_crash_between_the_copy_and_the_start_starts_it_once(tmp_path: Path) -> None:
    crash(tmp_path, "worker/prepare.py", AFTER_COPY)


def test_a_crash_in_the_midst_of_the_copy_copies_it_again(tmp_path: Path) -> None:
    crash(tmp_path, "worker/staging.py", HALF_COPY)


MOVED = (
    r"(    parts\.index\.bury\(\[line\], consumed.*\n    log\.info\(\"trash changed)",
    r"    __import__('os')._exit(9)\n\1",
)
FORGETFUL = (r"\n        _fold_deleted\(parts, lab\)\n", r"\n")
"""The negative control: a start that does not read what was deleted."""


def test_a_crash_after_the_move_and_before_the_index_is_finished(tmp_path: Path) -> None:
    lab = LaboratoryUnderTest(tmp_path / "home")
    lab.start()
    try:
        old = lab.wait_ended(lab.submit("/bin/true")["run_id"])
        for action in ("delete", "undelete"):
            lab.stop()
            lab.source = broken_build(tmp_path / action, ("worker/deleting.py", *MOVED))
            lab.start()
            with suppress(OSError, HTTPException):  # nobody answers any more
                lab.call("POST", f"{EXPERIMENTS}/{old['label']}/{action}", {"by": "ada"})
            assert lab.server is not None
            assert lab.server.wait(20) == 9
            is_deleted = action == "delete"
            lab.source = broken_build(tmp_path / f"{action}-control", ("worker/reindex.py", *FORGETFUL))
            lab.start()
            listed = lab.call("GET", EXPERIMENTS)["experiments"]
            assert len(listed) == is_deleted, "the index alone does not know it yet"
            lab.stop()
            lab.source = SOURCE
            lab.start()
            assert lab.folder(old).exists() != is_deleted
            assert (lab.show(old["label"])["experiment"]["deleted_by"] == "ada") == is_deleted
            assert len(lab.call("GET", EXPERIMENTS)["experiments"]) == (not is_deleted)
    finally:
        lab.stop()


def test_a_crash_in_the_midst_of_a_delete_is_finished(tmp_path: Path) -> None:
    lab = LaboratoryUnderTest(tmp_path / "home")
    lab.start()
    try:
        old = lab.wait_ended(lab.submit("/bin/true")["run_id"])
        lab.stop()
        change = (r"(    journal, end = write_down\(parts\.home, line\)\n)", r"\1    __import__('os')._exit(9)\n")
        lab.source = broken_build(tmp_path, ("worker/deleting.py", *change))
        lab.start()
        with suppress(OSError, HTTPException):  # nobody answers any more
            lab.call("POST", f"{EXPERIMENTS}/{old['label']}/delete", {"by": "ada"})
        assert lab.server is not None
        assert lab.server.wait(20) == 9
        assert lab.folder(old).is_dir(), "the line is written, the folder is where it was"
        lab.source = SOURCE
        lab.start()
        assert not lab.folder(old).exists()
        assert lab.show(old["label"])["experiment"]["deleted_by"] == "ada"
        assert lab.call("GET", EXPERIMENTS)["experiments"] == []
        chain = [each for each in lab.call("GET", "/v1/doctor")["findings"] if each["check"] == "chain of lab main"]
        assert [each["is_good"] for each in chain] == [True]
    finally:
        lab.stop()
