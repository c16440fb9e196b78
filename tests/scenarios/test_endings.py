"""Every ending is what happened, with its evidence."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.helpers import wait_until
from tests.hostile import HOSTILE
from tests.scenarios.laboratory import LaboratoryUnderTest, Refused, journal

pytestmark = pytest.mark.timeout(120)


def shim_pid(lab: LaboratoryUnderTest, run_id: str) -> int:
    """The supervisor's pid, from its start marker."""
    marker = lab.home / "control" / f"{run_id}.1.started"
    wait_until(lambda: marker.exists() and marker.read_bytes().endswith(b"\n"), 20, "the attempt started")
    return int(json.loads(marker.read_text())["pid"])


def wait_for_output(lab: LaboratoryUnderTest, run_id: str, word: str) -> None:
    """Wait until the script has printed a word."""

    def has_it() -> bool:
        folder = lab.show(run_id)["experiment"]["folder"]
        return folder is not None and word in (Path(folder) / "attempts/1/stdout.log").read_text()

    wait_until(has_it, 20, f"the script prints {word}")


def test_an_exit_status_is_kept_with_output_and_folder(lab: LaboratoryUnderTest) -> None:
    ended = lab.wait_ended(lab.submit("/bin/sh", "-c", "echo out; echo err >&2; exit 7", name="Näme ☃\n2")["run_id"])
    assert (ended["status"], ended["ending"], ended["exit_code"]) == ("failed", "exited", 7)
    folder = lab.folder(ended)
    assert (folder / "attempts/1/stdout.log").read_text() == "out\n"
    assert (folder / "attempts/1/stderr.log").read_text() == "err\n"
    for name in ("README.md", "run_manifest.json", "events.jsonl", "attempts/1/seal.json", "attempts/1/exit.json"):
        assert (folder / name).exists(), name
    kinds = [event["event"] for event in journal(folder / "events.jsonl")]
    assert kinds == ["accepted", "dispatched", "cloned", "started", "ended", "checked"]


def test_kill_9_from_inside_is_signalled_and_not_oom(lab: LaboratoryUnderTest) -> None:
    ended = lab.wait_ended(lab.submit("/bin/sh", "-c", "kill -9 $$")["run_id"])
    assert (ended["ending"], ended["exit_code"]) == ("signalled", 137)


def test_a_real_out_of_memory_is_oom_by_the_kernels_counter(lab: LaboratoryUnderTest) -> None:
    if not os.access("/sys/fs/cgroup", os.W_OK) or os.geteuid() != 0:
        pytest.skip("no memory cgroup can be made here")
    script = "x = bytearray(400 * 2**20); print(len(x))"
    shown = lab.submit(sys.executable, "-c", script, resources={"memory_bytes": 64 * 2**20})
    ended = lab.wait_ended(shown["run_id"])
    assert ended["ending"] == "oom", ended
    assert "rose by 1" in ended["ending_text"]


def test_a_time_limit_stops_the_script_and_says_so(lab: LaboratoryUnderTest) -> None:
    ended = lab.wait_ended(lab.submit("/bin/sleep", "100", timeout_s=0.3, grace_s=1.0)["run_id"])
    assert (ended["status"], ended["ending"]) == ("failed", "timeout")


def test_a_program_that_is_not_there_never_started(lab: LaboratoryUnderTest) -> None:
    ended = lab.wait_ended(lab.submit("/no/such/program")["run_id"])
    assert (ended["status"], ended["ending"], ended["exit_code"]) == ("failed", "never_started", None)
    assert "No such file" in ended["ending_text"]


def test_cancel_leaves_nothing_of_a_hostile_tree(lab: LaboratoryUnderTest) -> None:
    shown = lab.submit(sys.executable, "-c", HOSTILE, grace_s=0.5)
    wait_for_output(lab, shown["run_id"], "grown")
    wait_until(lambda: len(lab.processes()) > 5, 20, "the tree has grown")
    lab.call("POST", f"/v1/labs/main/experiments/{shown['run_id']}/cancel", {"by": "ada"})
    ended = lab.wait_ended(shown["run_id"])
    assert (ended["status"], ended["ending_text"]) == ("cancelled", "cancelled by ada")
    assert lab.processes() == []


def test_cancel_leaves_nothing_of_a_hostile_tree_of_an_ordinary_user(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("the test above is already that of an ordinary user")
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == 0 and parent != Path("/") and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    lab = LaboratoryUnderTest(tmp_path / "home", user=65534)
    lab.start()
    try:
        test_cancel_leaves_nothing_of_a_hostile_tree(lab)
    finally:
        lab.stop()


def test_a_cancelled_experiment_that_waits_never_starts(lab: LaboratoryUnderTest, tmp_path: Path) -> None:
    lab.stop()
    lab = LaboratoryUnderTest(tmp_path / "other", settings="slots = 1\n")
    lab.start()
    try:
        blocker = lab.submit("/bin/sleep", "100")
        waiting = lab.submit("/bin/touch", str(tmp_path / "ran"))
        shown = lab.call("GET", f"/v1/labs/main/experiments/{waiting['run_id']}")["experiment"]
        assert (shown["position"], shown["status"]) == (1, "created")
        assert blocker["label"] in shown["reason"]
        cancelled = lab.call("POST", f"/v1/labs/main/experiments/{waiting['run_id']}/cancel", {"by": "ada"})
        assert cancelled["status"] == "cancelled"
        lab.kill()
        lab.start()
        assert lab.show(waiting["run_id"])["experiment"]["status"] == "cancelled"
        with pytest.raises(Refused) as refusal:
            lab.call("POST", f"/v1/labs/main/experiments/{waiting['run_id']}/cancel", {"by": "ada"})
        assert refusal.value.code == "not_allowed_now"
        assert not (tmp_path / "ran").exists()
    finally:
        lab.stop()


def test_a_killed_supervisor_is_lost_within_two_seconds_and_nothing_is_left(lab: LaboratoryUnderTest) -> None:
    shown = lab.submit(sys.executable, "-c", HOSTILE)
    wait_for_output(lab, shown["run_id"], "grown")
    os.kill(shim_pid(lab, shown["run_id"]), signal.SIGKILL)
    killed_at = time.monotonic()
    ended = lab.wait_ended(shown["run_id"], sealed=False)
    assert (ended["status"], ended["ending"]) == ("failed", "lost")
    assert time.monotonic() - killed_at < 4, "two seconds, and two for a shared machine"
    wait_until(lambda: lab.processes() == [], 5, "nothing is left")
    lab.wait_ended(shown["run_id"])


def test_server_and_supervisor_killed_together_is_lost_and_cleared(lab: LaboratoryUnderTest) -> None:
    shown = lab.submit(sys.executable, "-c", HOSTILE)
    wait_for_output(lab, shown["run_id"], "grown")
    supervisor = shim_pid(lab, shown["run_id"])
    lab.kill()
    os.kill(supervisor, signal.SIGKILL)
    lab.start()
    ended = lab.wait_ended(shown["run_id"])
    assert ended["ending"] == "lost"
    wait_until(lambda: lab.processes() == [], 5, "nothing is left")


def test_a_script_that_deletes_its_own_folder_still_gets_an_honest_end(lab: LaboratoryUnderTest) -> None:
    shown = lab.submit("/bin/sh", "-c", 'rm -rf "$LAB_FOLDER"; exit 4')
    ended = lab.wait_ended(shown["run_id"])
    assert (ended["ending"], ended["exit_code"]) == ("exited", 4)
    assert (lab.folder(ended) / "attempts/1/seal.json").exists()


def test_control_files_that_vanish_are_lost_and_never_a_second_start(lab: LaboratoryUnderTest, tmp_path: Path) -> None:
    mark = tmp_path / "starts"
    shown = lab.submit("/bin/sh", "-c", f'echo x >> {mark}; rm -f "$LAB_HOME"/control/*; sleep 100')
    ended = lab.wait_ended(shown["run_id"])
    assert ended["ending"] == "lost", ended
    wait_until(lambda: lab.processes() == [], 5, "nothing is left")
    assert mark.read_text() == "x\n"


def test_leftover_processes_are_cleared_and_counted(lab: LaboratoryUnderTest) -> None:
    ended = lab.wait_ended(lab.submit("/bin/sh", "-c", "setsid sleep 1000 & exit 0")["run_id"])
    assert ended["status"] == "succeeded"
    assert lab.processes() == []
    record = json.loads((lab.folder(ended) / "attempts/1/exit.json").read_text())
    assert record["leftover_processes"] == 1


def test_resume_is_the_next_attempt_in_the_same_folder(lab: LaboratoryUnderTest) -> None:
    script = "if [ -f checkpoint ]; then echo again; exit 0; fi; touch checkpoint; echo first; exit 1"
    source = {"cwd": "."}
    shown = lab.submit("/bin/sh", "-c", script, source=source)
    first = lab.wait_ended(shown["run_id"])
    assert first["status"] == "failed"
    body = {"by": "ada", "variables": {"PATH": os.environ["PATH"]}}
    lab.call("POST", f"/v1/labs/main/experiments/{shown['label']}/resume", body)
    second = lab.wait_ended(shown["run_id"])
    assert (second["status"], second["attempt"], second["folder"]) == ("succeeded", 2, first["folder"])
    folder = lab.folder(second)
    assert (folder / "attempts/1/stdout.log").read_text() == "first\n"
    assert (folder / "attempts/2/stdout.log").read_text() == "again\n"
    chain = list(journal(lab.home / "labs/main/chain.jsonl"))
    assert [line["attempt"] for line in chain] == [1, 2]
    with pytest.raises(Refused) as refusal:
        lab.call("POST", f"/v1/labs/main/experiments/{shown['label']}/resume", body)
    assert refusal.value.code == "not_allowed_now"


def test_steps_are_seen_while_they_happen(lab: LaboratoryUnderTest, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    shown = lab.submit("/bin/sh", "-c", f"read x < {gate}; exit 0")
    wait_until(lambda: lab.show(shown["run_id"])["experiment"]["step"] == "running", 20, "it runs")
    seen = lab.show(shown["run_id"])
    statuses = {step["step"]: step["status"] for step in seen["steps"]}
    assert statuses["waiting"] == statuses["cloning"] == statuses["submitting"] == "succeeded"
    assert (statuses["running"], statuses["completed"]) == ("running", "initialize")
    gate.write_text("go\n")
    lab.wait_ended(shown["run_id"])


def test_artifacts_are_listed_also_after_a_failure(lab: LaboratoryUnderTest) -> None:
    script = 'echo 1 > "$LAB_OUTPUT_PATH/a.txt"; mkdir sub; echo 22 > sub/b.txt; exit 3'
    ended = lab.wait_ended(lab.submit("/bin/sh", "-c", script, source={"cwd": "."})["run_id"])
    artifacts = {one["path"]: one["size_bytes"] for one in lab.show(ended["run_id"])["artifacts"]}
    assert artifacts == {"outputs/a.txt": 2, "work/sub/b.txt": 3}
