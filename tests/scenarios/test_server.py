"""The server may die, come twice, or find its home damaged: nothing that runs is touched."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from tests.helpers import wait_until
from tests.scenarios.laboratory import SERVE, LaboratoryUnderTest, Refused, journal
from tests.scenarios.test_endings import wait_for_output

pytestmark = pytest.mark.timeout(120)


def test_a_second_server_on_one_home_is_refused_and_names_the_owner(lab: LaboratoryUnderTest) -> None:
    second = subprocess.run(
        [sys.executable, "-c", SERVE, str(lab.home)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(lab.source)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert second.returncode != 0
    assert b"owned by another server" in second.stderr
    assert str(lab.server.pid if lab.server else "").encode() in second.stderr
    assert lab.call("GET", "/v1/server")["pid"] == (lab.server.pid if lab.server else 0)


def test_a_restart_adopts_what_runs_and_talks_to_it(lab: LaboratoryUnderTest) -> None:
    script = "import signal, sys, time\nsignal.signal(signal.SIGUSR1, lambda *a: (print('usr1', flush=True), sys.exit(5)))\nprint('up', flush=True)\ntime.sleep(100)"  # noqa: E501
    shown = lab.submit(sys.executable, "-c", script)
    wait_for_output(lab, shown["run_id"], "up")
    before = lab.processes()
    lab.kill()
    lab.start()
    assert set(before) <= set(lab.processes()), "a restart touched what ran"
    assert lab.show(shown["run_id"])["experiment"]["step"] == "running"
    lab.call("POST", f"/v1/labs/main/experiments/{shown['run_id']}/signal", {"signal": int(signal.SIGUSR1)})
    ended = lab.wait_ended(shown["run_id"])
    assert (ended["ending"], ended["exit_code"]) == ("exited", 5)


def test_sigterm_ends_the_server_within_two_seconds_and_nothing_else(lab: LaboratoryUnderTest) -> None:
    shown = lab.submit("/bin/sh", "-c", "echo up; sleep 2; exit 6")
    wait_for_output(lab, shown["run_id"], "up")
    assert lab.server is not None
    lab.server.terminate()
    assert lab.server.wait(10) == 0
    lab.start()
    assert lab.wait_ended(shown["run_id"])["exit_code"] == 6


@pytest.mark.parametrize("damage", ["torn", "flipped", "missing", "empty"])
def test_a_damaged_journal_of_a_live_experiment_is_rebuilt_and_reported(lab: LaboratoryUnderTest, damage: str) -> None:
    shown = lab.submit("/bin/sh", "-c", "echo up; sleep 2; exit 6")
    wait_for_output(lab, shown["run_id"], "up")
    path = Path(lab.show(shown["run_id"])["experiment"]["folder"]) / "events.jsonl"
    lab.kill()
    whole = path.read_bytes()
    if damage == "torn":
        path.write_bytes(whole[:-9])
    elif damage == "flipped":
        at = random.Random(5).randrange(20, len(whole) - 20)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
    lab.start()
    ended = lab.wait_ended(shown["run_id"])
    assert (ended["ending"], ended["exit_code"]) == ("exited", 6)
    kinds = [event["event"] for event in journal(path)]
    assert [kind for kind in kinds if kind != "damaged"] == [
        "accepted",
        "dispatched",
        "cloned",
        "started",
        "ended",
        "checked",
    ]
    if damage in ("torn", "flipped"):
        assert "damaged" in kinds, "silently mended"


def test_a_deleted_index_is_rebuilt_equal(lab: LaboratoryUnderTest) -> None:
    for i in range(5):
        lab.wait_ended(lab.submit("/bin/sh", "-c", f"exit {i % 2}", name=f"n{i}")["run_id"])
    before = lab.call("GET", "/v1/labs/main/experiments?limit=100")
    lab.server.terminate() if lab.server else None
    lab.server.wait(10) if lab.server else None
    for path in lab.home.glob("index.sqlite*"):
        path.unlink()
    lab.start()
    assert lab.call("GET", "/v1/labs/main/experiments?limit=100") == before
    assert lab.call("POST", "/v1/reindex", {})["experiments"] == 5
    assert lab.call("GET", "/v1/labs/main/experiments?limit=100") == before


def test_a_home_that_lost_its_queue_refuses_to_start_and_says_what_is_lost(lab: LaboratoryUnderTest) -> None:
    assert lab.server is not None
    lab.server.terminate()
    lab.server.wait(10)
    for path in lab.home.glob("queue.sqlite*"):
        path.unlink()
    lab.spawn()
    assert lab.server.wait(30) != 0
    assert "queue.sqlite` is gone" in lab.server_log()


def test_labels_are_never_given_twice_over_restarts(lab: LaboratoryUnderTest) -> None:
    labels = []
    for _ in range(4):
        shown = lab.submit("/bin/true")
        labels.append(shown["label"])
        lab.wait_ended(shown["run_id"])
        lab.kill()
        lab.start()
    assert labels == sorted(set(labels))


def test_the_same_key_twice_is_one_experiment_and_another_request_is_refused(lab: LaboratoryUnderTest) -> None:
    spec = {
        "target": {"kind": "program", "name": "true", "argv": ["/bin/true"]},
        "source": {"cwd": "/", "cwd_is_live": True},
    }
    first = lab.call("POST", "/v1/labs/main/experiments", {"spec": spec}, key="key-0001")
    lab.wait_ended(first["experiment"]["run_id"])
    again = lab.call("POST", "/v1/labs/main/experiments", {"spec": spec}, key="key-0001")
    assert again["experiment"]["run_id"] == first["experiment"]["run_id"]
    with pytest.raises(Refused) as refusal:
        lab.call("POST", "/v1/labs/main/experiments", {"spec": spec | {"note": "other"}}, key="key-0001")
    assert refusal.value.code == "key_reused"


def test_a_home_below_a_very_long_path_works(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    lab = LaboratoryUnderTest(deep / "home")
    lab.start()
    try:
        assert lab.wait_ended(lab.submit("/bin/true")["run_id"])["status"] == "succeeded"
        shown = lab.submit("/bin/sleep", "100", grace_s=0.2)
        wait_until(lambda: lab.show(shown["run_id"])["experiment"]["step"] == "running", 20, "it runs")
        lab.call("POST", f"/v1/labs/main/experiments/{shown['run_id']}/cancel", {"by": "ada"})
        assert lab.wait_ended(shown["run_id"])["status"] == "cancelled"
    finally:
        lab.stop()


def test_followers_of_a_long_log_cost_the_server_no_memory(lab: LaboratoryUnderTest) -> None:
    script = "import os\nb = b'x' * 2**20\nfor _ in range(2048): os.write(1, b)"
    shown = lab.submit(sys.executable, "-I", "-S", "-c", script)
    lab.wait_ended(shown["run_id"], timeout_s=90)
    before = _rss_mib(lab)
    offset = total = 0
    while True:
        path = f"/v1/labs/main/experiments/{shown['run_id']}/logs?stdout={offset}&limit_bytes=1048576"
        content, header = lab.call("GET", path)
        total += len(content)
        offset = header["stdout"]
        if header["is_over"]:
            break
    assert total == 2**31
    assert _rss_mib(lab) - before < 50


def _rss_mib(lab: LaboratoryUnderTest) -> int:
    text = Path(f"/proc/{lab.server.pid if lab.server else 'self'}/status").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmRSS"))) // 1024


def test_an_index_that_is_damaged_under_a_live_server_fills_again_by_itself(lab: LaboratoryUnderTest) -> None:
    ended = [lab.wait_ended(lab.submit("/bin/true")["run_id"])["label"] for _ in range(3)]
    other = apsw.Connection(str(lab.home / "index.sqlite"))
    other.set_busy_timeout(5000)
    other.execute("DROP TABLE experiments")
    other.close()

    def listed() -> list[str]:
        return [one["label"] for one in lab.call("GET", "/v1/labs/main/experiments")["experiments"]]

    listed()  # whoever asks first finds the damage
    wait_until(lambda: listed() == ended[::-1], 20, "all are in the list again")
    assert "index damaged" in lab.server_log()
