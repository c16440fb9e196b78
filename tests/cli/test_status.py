import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from labrun.cli import show
from labrun.cli.output import Output
from labrun.cli.status_screen import gpus, redrawn
from labrun.cli.table import cells
from tests.cli.conftest import LAB, Shell
from tests.cli.window import Window
from tests.helpers import wait_until

pytestmark = pytest.mark.timeout(120)


def test_one_screen_shows_what_runs_what_waits_and_why_and_what_ended(served: Shell) -> None:
    assert "nothing here yet" in served.lab("status").stdout
    served.lab("run", "--quiet", "--name", "broken", "--", "false", status=1)
    running = served.queue("--name", "long\nfit", "--", "sleep", "1000")
    served.wait_step(running, "running")
    waiting = served.queue("--priority", "2", "--", "true")
    lines = served.lab("status").stdout.splitlines()
    assert [line for line in lines if line in ("running", "waiting", "ended")] == ["running", "waiting", "ended"]
    row = {line.split()[0]: line for line in lines if line.startswith("  EXP-")}
    assert r"long\nfit" in row[running]
    assert "sleep 1000" in row[running]
    assert "prio 2" in row[waiting]
    assert f"running: {running}" in row[waiting]
    assert "exited with 1" in row["EXP-001"]
    assert lines[-1] == "1 running, 1 waiting, 1 failed"
    assert lines[-2].startswith("taken: slots 1/1, CPUs 0/")


def test_json_is_the_servers_answer_and_quiet_one_line(shared: Shell) -> None:
    seen = shared.json("status")
    assert set(seen) >= {"running", "waiting", "ended", "counts", "capacity", "server"}
    assert shared.lab("status", "--quiet").stdout.count("\n") == 1


BAR = """\
import os, sys, time
from tqdm import tqdm
for step in tqdm(range(50), desc="fit", mininterval=0):
    while step == 20 and not os.path.exists(sys.argv[1]):
        time.sleep(0.01)
"""


def test_a_progress_bar_is_shown_as_percent_and_time_left(shared: Shell) -> None:
    label = shared.queue(shared.write("bar.py", BAR), str(shared.project / "go_on"))
    wait_until(lambda: (shared.experiment(label)["progress"] or {}).get("percent") == 40.0, 30, "40 percent")
    (row,) = [line for line in shared.lab("status").stdout.splitlines() if line.startswith(f"  {label}")]
    assert "40 %, " in row
    assert " left" in row
    for shown in (*shared.json("status")["running"], *shared.json("list")["experiments"]):
        if shown["label"] == label:
            assert shown["progress"]["text"].startswith("fit: 40%|")
            assert shown["progress"]["left_s"] is not None
            assert shown["progress"]["written_at"] > shown["started_at"]
    (shared.project / "go_on").touch()
    shared.lab("wait", label)
    assert shared.experiment(label)["progress"] is None, "what is over has no progress"


def test_old_news_of_a_bar_are_called_so() -> None:
    now = datetime.now(UTC)
    seen = {"percent": 40.0, "left_s": 90.0, "text": "", "written_at": now.isoformat()}
    assert show.progress({"progress": seen}) == "40 %, 90 s left"
    assert show.progress({"progress": seen | {"left_s": None}}) == "40 %"
    old = (now - timedelta(minutes=11)).isoformat()
    assert show.progress({"progress": seen | {"written_at": old}}) == "40 %, 90 s left, said 11 min ago"
    assert show.progress({"progress": None}) == show.progress({}) == ""


def test_what_ended_since_the_last_look_is_news(shell: Shell) -> None:
    first = shell.queue("--", "true")
    shell.lab("wait", first)
    assert "new:" not in shell.lab("status").stdout, "nobody ever looked: then all of it would be news"
    second = shell.queue("--", "true")
    shell.lab("wait", second)
    rows = {line.split()[0]: line for line in shell.lab("status").stdout.splitlines() if line.startswith("  EXP")}
    assert "new: succeeded" in rows[second]
    assert "new:" not in rows[first]
    assert "new:" not in shell.lab("status").stdout


def test_what_ended_last_is_shown_whatever_its_label(shell: Shell) -> None:
    slow = shell.queue("--cpus", "1", "--", "sh", "-c", "while [ ! -e go_on ]; do sleep 0.05; done")
    quick = [shell.queue("--cpus", "1", "--", "true") for _ in range(7)]
    shell.lab("wait", *quick)
    shell.lab("status")
    folder = shell.wait_step(slow, "running")["folder"]
    Path(folder, "work/go_on").touch()
    shell.lab("wait", slow)
    seen = shell.json("status")
    assert seen["ended"][0]["label"] == slow
    assert (len(seen["ended"]), seen["news_count"]) == (5, 1)
    assert "new: succeeded" in shell.lab("status").stdout, "a program that asks is nobody who looks"


def test_more_news_than_fit_are_counted(shell: Shell) -> None:
    shell.lab("status")
    labels = [shell.queue("--cpus", "1", "--", "true") for _ in range(22)]
    shell.lab("wait", *labels)
    lines = shell.lab("status").stdout.splitlines()
    assert sum("new: succeeded" in line for line in lines) == 20
    assert "  and 2 since you last looked: `lab list`" in lines
    assert "new:" not in shell.lab("status").stdout


def test_a_watch_fits_into_a_small_window_and_what_it_showed_is_no_news(shell: Shell) -> None:
    label = shell.queue("--name", "n" * 50, "--", "sleep", "1000")
    shell.wait_step(label, "running")
    for _ in range(5):
        shell.queue("--", "true")
    window = Window([*LAB, "status", "--watch"], shell.project, shell.variables)
    try:
        window.wait("1 running", times=1)
        window.resize(6, 40)
        window.wait("1 running", times=3)
        drawn = re.sub("\x1b\\[[0-9]*m", "", window.text.split("\x1b[H")[-1])
        frame = [line.partition("\x1b[K")[0] for line in drawn.split("\r\n")]
        assert len(frame) <= 6
        assert all(cells(line) <= 40 for line in frame)
        assert any(line.startswith(f"  {label}") for line in frame), "what runs is not cut off"
        assert "\x1b[2J" not in window.text, "no frame begins with an empty screen"
        shell.lab("cancel", label)
        window.wait("0 running")
        window.type("\x03")
        assert window.wait_exit() == 0
    finally:
        window.close()
    assert "new:" not in shell.lab("status").stdout


def test_watching_looks_again_until_ctrl_c(shell: Shell) -> None:
    label = shell.queue("--", "sleep", "1000")
    window = Window([*LAB, "status", "--watch"], shell.project, shell.variables)
    try:
        window.wait("1 running", times=3)
        window.type("\x03")
        assert window.wait_exit() == 0
    finally:
        window.close()
        shell.lab("cancel", label)


def test_peak_memory_of_what_runs_is_shown(shell: Shell) -> None:
    label = shell.queue("-m", "timeit", "-n", "1", "-r", "1", "x = bytearray(2**26); import time; time.sleep(100)")
    wait_until(lambda: (shell.json("status")["running"][0]["peak_memory_bytes"] or 0) > 2**26, 30, "64 MiB are seen")
    assert "MiB" in shell.lab("status").stdout
    shell.lab("cancel", label)


def test_each_gpu_has_its_line() -> None:
    one = {"label": "EXP-007", "name": "fit", "gpus": [1], "status": "processing", "step": "running", "progress": None}
    seen = {"capacity": {"gpus": [0, 1, 2], "gpus_taken": [1, 2]}, "running": [one]}
    lines = gpus(Output(), seen)
    assert [line.split() for line in lines[1:]] == [
        ["GPU", "0", "idle"],
        ["GPU", "1", "EXP-007", "fit", "running"],
        ["GPU", "2", "taken", "in", "another", "lab"],
    ]


def test_in_a_narrow_window_a_reason_and_a_command_are_told_whole(served: Shell) -> None:
    running = served.queue("--name", "first-real-training", "--", "sleep", "1000", "--", "2000")
    served.wait_step(running, "running")
    served.queue("--name", "second", "--", "true")
    in_window = ["sh", "-c", 'stty cols 40 rows 60; exec "$@"', "sh", *LAB, "status"]
    window = Window(in_window, served.project, served.variables)
    try:
        assert window.wait_exit() == 0
        lines = re.sub("\x1b\\[[0-9]*m", "", window.text).replace("\r", "").splitlines()
    finally:
        window.close()
        served.lab("cancel", running)
    lines = [line for line in lines if not line.startswith("lab: ")]
    assert "    #1, the exclusive slot is taken;" in lines
    assert f"    running: {running}" in lines
    assert "    sleep 1000 -- 2000" in lines


def test_a_frame_that_is_too_high_ends_with_the_counts() -> None:
    frame = redrawn(
        ["running", "  EXP-001", "    sleep", "", "taken: slots", "1 running, 0 waiting"], 4, "1 running, …"
    )
    assert [line.partition("\x1b[K")[0] for line in frame.splitlines()][-2:] == ["1 running, …", "\x1b[J"]
    assert frame.count("\n") == 3
