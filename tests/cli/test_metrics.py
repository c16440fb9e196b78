import csv
import io
import json
import subprocess

import pytest

from tests.cli.conftest import LAB, Shell
from tests.helpers import wait_until

pytestmark = pytest.mark.timeout(120)

TRAIN = """\
from labrun import log_metric
for i in range(100):
    log_metric("loss", 1 / (i + 1), i, 1000.0 + i)
    log_metric("lr", 0.1, i, 1000.0 + i)
log_metric('odd "name", \\x1b[2J', float("inf"), time=2000.0)
log_metric("lr", "many")
"""


@pytest.fixture(scope="module")
def trained(shared: Shell) -> str:
    label = shared.queue(shared.write("train.py", TRAIN))
    shared.lab("wait", label)
    return label


def test_the_table_tells_last_best_extremes_and_shape(shared: Shell, trained: str) -> None:
    done = shared.lab("metrics", trained)
    head, loss, lr, odd = done.stdout.splitlines()
    assert head.split() == ["metric", "last", "best", "curve", "min", "max", "points"]
    assert loss.split()[:5] == ["loss", "0.01", "0.01", "@", "99"]
    assert "  █▃▂▂▂▁" in loss
    assert lr.split() == ["lr", "0.1", "-", "▄" * 24, "0.1", "0.1", "100"]
    assert odd.startswith('odd "name", \\x1b[2J  Infinity')
    assert odd.endswith("1, 1 infinite")
    assert "\x1b" not in done.stdout
    assert done.stderr.splitlines()[0] == "lab: 1 line is no measurement"
    assert "not a number" in done.stderr


def test_names_choose_and_options_say_which_way_is_better(shared: Shell, trained: str) -> None:
    lines = shared.lab("metrics", trained, "lr", "loss", "--maximize", "loss", "--minimize", "lr").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["lr", "loss"]
    assert lines[1].split()[2:5] == ["0.1", "@", "0"]
    assert lines[2].split()[2:5] == ["1", "@", "0"]


def test_an_unknown_name_is_refused_with_the_nearest_one(shared: Shell, trained: str) -> None:
    done = shared.lab("metrics", trained, "los", status=1)
    assert done.stderr == f"lab: {trained} has no metric `los`\n  did you mean `loss`?\n"
    error = json.loads(shared.lab("metrics", "--json", trained, "x y z", status=1).stdout)["error"]
    assert (error["code"], error["hint"][:6]) == ("no_such_metric", "it has")


def test_csv_has_every_point_and_reads_back(shared: Shell, trained: str) -> None:
    done = shared.lab("metrics", trained, "--csv")
    rows = list(csv.reader(io.StringIO(done.stdout)))
    assert rows[0] == ["name", "step", "value", "time"]
    assert rows[1:3] == [["loss", "0", "1.0", "1000.0"], ["lr", "0", "0.1", "1000.0"]]
    assert rows[-1] == ['odd "name", \\x1b[2J', "", "Infinity", "2000.0"]
    assert len(rows) == 202
    alone = shared.lab("metrics", trained, "loss", "--csv", "--quiet")
    assert (len(alone.stdout.splitlines()), alone.stderr) == (101, "")


def test_programs_and_scripts_get_their_faces(shared: Shell, trained: str) -> None:
    told = shared.json("metrics", trained)
    assert [one["name"] for one in told["series"]] == ["loss", "lr", 'odd "name", \x1b[2J']
    assert told["rejected_count"] == 1
    points = [json.loads(line) for line in shared.lab("metrics", "--json", "--points", trained).stdout.splitlines()]
    assert points[-1] == {"name": 'odd "name", \x1b[2J', "value": "Infinity", "time": 2000.0}
    assert shared.lab("metrics", "--quiet", trained, "loss").stdout == "0.01\n"
    assert shared.lab("metrics", "--quiet", trained, "loss", "lr").stdout == "loss\t0.01\nlr\t0.1\n"


def test_a_follower_sees_every_point_and_leaves_at_the_end(shared: Shell) -> None:
    script = "import os, time\nfrom labrun import log_metric\nlog_metric('a', 1, 1)\n"
    script += "while not os.path.exists(os.environ['GATE']): time.sleep(0.01)\nlog_metric('b', 2, 2)\n"
    gate = shared.project / "gate"
    shared.variables["GATE"] = str(gate)
    label = shared.queue(shared.write("slow.py", script))
    out = shared.project / "points"
    with out.open("wb") as sink:
        follower = subprocess.Popen(
            [*LAB, "metrics", "-f", label], env=shared.variables, stdout=sink, cwd=shared.project
        )
        wait_until(lambda: b"a" in out.read_bytes(), 30, "the first point")
        assert follower.poll() is None
        gate.touch()
        assert follower.wait(30) == 0
    assert out.read_text().splitlines() == ["       1  a  1", "       2  b  2"]


def test_one_that_measured_nothing_says_so(shared: Shell) -> None:
    label = shared.queue("--", "true")
    shared.lab("wait", label)
    done = shared.lab("metrics", label)
    assert (done.stdout, done.stderr) == ("", f"lab: attempt 1 of {label} measured nothing\n")
    assert shared.json("metrics", label)["series"] == []
    assert shared.lab("metrics", "--csv", label).stdout == "name,step,value,time\n"
    assert "metrics" not in shared.lab("info", label).stdout
    assert shared.lab("info", "--metrics", label).stdout.endswith("\nmetrics: none\n")


def test_info_tells_the_last_values_and_with_either_option_the_table(shared: Shell, trained: str) -> None:
    assert f": `lab metrics {trained}`" in shared.lab("info", trained).stdout
    for option in ("--metrics", "--show-metrics"):
        tail = shared.lab("info", option, trained).stdout.splitlines()[-5:]
        assert tail[0] == "metrics"
        assert tail[2].split()[:2] == ["loss", "0.01"]
    detail = shared.json("info", trained)
    assert detail["metrics"]["series"][0]["curve"] == []
    assert shared.json("info", "--metrics", trained)["metrics"]["series"][0]["curve"]


def test_a_wrong_attempt_is_refused(shared: Shell, trained: str) -> None:
    assert (
        "attempt 7 is not one of the 1 there are"
        in shared.lab("metrics", "--attempt", "7", trained, status=1 + 1).stderr
    )
