"""Metrics through the API: while an experiment runs, afterwards, across restarts and attempts."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.helpers import wait_until
from tests.scenarios.laboratory import LaboratoryUnderTest, Refused

pytestmark = pytest.mark.timeout(120)

MEASURE = """\
import os, sys, time
from labrun import log_metric
for i in range(3):
    log_metric("loss", 1 / (i + 1), i)
log_metric("a b&c=d,e/\\x1b", float("nan"))
while len(sys.argv) > 1 and not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
log_metric("loss", 0.125, 3)
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaboratoryUnderTest]:
    found = LaboratoryUnderTest(tmp_path_factory.mktemp("metrics") / "home", settings="slots = 4\n")
    found.start()
    yield found
    found.stop()


def ask(lab: LaboratoryUnderTest, run_id: str, what: str = "", **query: object) -> Any:
    names: tuple[str, ...] = query.pop("names", ())  # type: ignore[assignment]  # several of one name
    words = [f"{name}={quote(str(value))}" for name, value in query.items()] + [f"names={quote(n)}" for n in names]
    return lab.call("GET", f"/v1/labs/main/experiments/{run_id}/metrics{what}?{'&'.join(words)}")


def measure(lab: LaboratoryUnderTest, *args: str, code: str = MEASURE, **fields: object) -> str:
    return str(lab.submit(sys.executable, "-c", code, *args, **fields)["run_id"])


def values(page: dict[str, Any]) -> list[object]:
    return [point["value"] for point in page["points"]]


def test_a_running_experiment_is_followed_and_summed_up(lab: LaboratoryUnderTest, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run_id = measure(lab, str(gate))
    page = ask(lab, run_id, wait_s=20)
    first = values(page)
    while len(first) < 4:
        page = ask(lab, run_id, wait_s=20, after=page["next"])
        first += values(page)
    assert first == [1.0, 0.5, 1 / 3, "NaN"]
    assert not page["is_over"]
    (loss, odd) = ask(lab, run_id, "/summary")["series"]
    assert (loss["name"], loss["count"], loss["last"], loss["goal"], loss["curve"][0]) == ("loss", 3, 1 / 3, "min", 1.0)
    assert (odd["name"], odd["nan_count"]) == ("a b&c=d,e/\x1b", 1)
    assert lab.show(run_id)["metrics"]["series"][0]["count"] == 3
    answers: list[Any] = []
    follower = threading.Thread(target=lambda: answers.append(ask(lab, run_id, wait_s=60, after=page["next"])))
    follower.start()
    begun = time.monotonic()
    gate.touch()
    follower.join(30)
    assert values(answers[0]) == [0.125]
    assert time.monotonic() - begun < 20, "it waited for its time-out, not for the point"
    lab.wait_ended(run_id)
    last = ask(lab, run_id, after=answers[0]["next"])
    assert (last["points"], last["is_over"], last["has_more"]) == ([], True, False)
    assert [one["count"] for one in ask(lab, run_id, "/summary")["series"]] == [4, 1]


def test_the_record_holds_the_summary_and_the_seal_the_points(lab: LaboratoryUnderTest) -> None:
    run_id = measure(lab)
    folder = Path(lab.wait_ended(run_id)["folder"])
    manifest = json.loads((folder / "run_manifest.json").read_text())
    assert manifest["metrics"] == {"loss": 0.125, "a b&c=d,e/\x1b": "NaN"}
    assert "attempts/1/metrics.jsonl" in json.loads((folder / "attempts/1/seal.json").read_text())["evidence"]
    shown = lab.show(run_id)["metrics"]
    assert shown == manifest["metric_summaries"]
    (folder / "run_manifest.json").unlink()
    assert lab.show(run_id)["metrics"] == shown, "the points themselves are asked when the manifest is gone"


def test_names_choose_points_and_summaries(lab: LaboratoryUnderTest) -> None:
    run_id = measure(lab)
    lab.wait_ended(run_id)
    assert values(ask(lab, run_id, names=("a b&c=d,e/\x1b",))) == ["NaN"]
    assert len(ask(lab, run_id, names=("loss", "a b&c=d,e/\x1b"))["points"]) == 5
    none = ask(lab, run_id, names=("nothing",))
    assert (none["points"], none["is_over"]) == ([], True)
    summary = ask(lab, run_id, "/summary", names=("nothing", "loss"))
    assert ([one["name"] for one in summary["series"]], summary["name_count"]) == (["loss"], 2)


def test_pages_are_bounded_and_a_cursor_outlives_the_server(tmp_path: Path) -> None:
    lab = LaboratoryUnderTest(tmp_path / "home")
    lab.start()
    try:
        code = "from labrun import log_metric\nfor i in range(20_000): log_metric('x', i, i)"
        run_id = measure(lab, code=code)
        lab.wait_ended(run_id)
        page = ask(lab, run_id, limit_bytes=65536)
        assert page["has_more"]
        assert not page["is_over"]
        found = values(page)
        assert 0 < len(found) < 10_000
        lab.kill()
        lab.start()
        while not page["is_over"]:
            page = ask(lab, run_id, limit_bytes=65536, after=page["next"])
            found += values(page)
        assert found == list(range(20_000)), "none twice, none missing, in order"
    finally:
        lab.stop()


def test_an_experiment_that_measures_nothing_has_no_metrics(lab: LaboratoryUnderTest) -> None:
    run_id = str(lab.submit("true")["run_id"])
    lab.wait_ended(run_id)
    assert lab.show(run_id)["metrics"] is None
    assert ask(lab, run_id)["is_over"]
    assert ask(lab, run_id, "/summary")["series"] == []


def test_one_that_waits_is_waited_for(tmp_path: Path) -> None:
    lab = LaboratoryUnderTest(tmp_path / "home", settings="slots = 1\n")
    lab.start()
    try:
        lab.submit("sleep", "1")
        run_id = measure(lab)
        assert ask(lab, run_id)["points"] == []
        assert ask(lab, run_id, "/summary")["series"] == []
        assert values(ask(lab, run_id, wait_s=30))[:1] == [1.0]
        waiting = str(lab.submit("sleep", "100")["run_id"])
        cancelled = measure(lab)
        lab.call("POST", f"/v1/labs/main/experiments/{cancelled}/cancel", {"by": "ada"})
        lab.wait_ended(cancelled)
        assert ask(lab, cancelled, wait_s=30)["is_over"]
        lab.call("POST", f"/v1/labs/main/experiments/{waiting}/cancel", {"by": "ada", "is_urgent": True})
    finally:
        lab.stop()


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"after": "x"}, 400),
        ({"after": "-1"}, 400),
        ({"after": "1.2"}, 400),
        ({"after": "9" * 30}, 400),
        ({"after": "9" * 200}, 400),
        ({"attempt": 2}, 400),
        ({"attempt": 0}, 400),
        ({"limit_bytes": 10}, 400),
        ({"wait_s": 1e9}, 400),
    ],
)
def test_a_bad_question_is_refused(lab: LaboratoryUnderTest, query: dict[str, object], status: int) -> None:
    run_id = measure(lab)
    lab.wait_ended(run_id)
    with pytest.raises(Refused) as refused:
        ask(lab, run_id, **query)
    assert refused.value.status == status


def test_a_position_behind_the_end_begins_anew(lab: LaboratoryUnderTest) -> None:
    run_id = measure(lab)
    lab.wait_ended(run_id)
    assert len(ask(lab, run_id, after="99999999")["points"]) == 5


def test_each_attempt_has_its_own_metrics(lab: LaboratoryUnderTest) -> None:
    code = "import os, sys\nfrom labrun import log_metric\nlog_metric('n', int(os.environ['LAB_ATTEMPT']))\nsys.exit(1)"
    run_id = measure(lab, code=code)
    lab.wait_ended(run_id)
    lab.call(
        "POST", f"/v1/labs/main/experiments/{run_id}/resume", {"by": "ada", "variables": {"PATH": "/usr/bin:/bin"}}
    )
    wait_until(lambda: lab.show(run_id)["experiment"]["attempt"] == 2, 30)
    folder = Path(lab.wait_ended(run_id)["folder"])
    assert [values(ask(lab, run_id, attempt=number)) for number in (1, 2)] == [[1], [2]]
    assert ask(lab, run_id, "/summary", attempt=1)["series"][0]["last"] == 1
    assert json.loads((folder / "run_manifest.json").read_text())["metrics"] == {"n": 2}


def test_a_script_needs_no_labrun_to_be_measured(lab: LaboratoryUnderTest) -> None:
    line = '{"name": "loss", "value": 0.5}'
    run_id = str(
        lab.submit("sh", "-c", f"echo '{line}' >> \"$LAB_METRICS\"; printf '%s' '{line}' >> $LAB_METRICS")["run_id"]
    )
    lab.wait_ended(run_id)
    assert values(ask(lab, run_id)) == [0.5, 0.5], "the last line lacks its end, and nobody will write it any more"


ANYTHING = (
    "mkfifo $LAB_METRICS",
    "mkdir $LAB_METRICS",
    "ln -s /dev/zero $LAB_METRICS",
    "head -c 300000 /dev/zero > $LAB_METRICS",
)


def test_anything_in_the_place_of_the_file_harms_nobody(lab: LaboratoryUnderTest) -> None:
    for made in ANYTHING:
        run_id = str(lab.submit("sh", "-c", made)["run_id"])
        assert lab.wait_ended(run_id)["status"] == "succeeded", made
        assert ask(lab, run_id)["points"] == [], made
        assert ask(lab, run_id, "/summary")["series"] == [], made


def test_metrics_are_read_from_the_output_when_the_spec_says_so(lab: LaboratoryUnderTest) -> None:
    code = "import sys\nfrom labrun import log_metric\nlog_metric('own', 1)\nprint('epoch 3: loss 0.5')\n"
    code += "print('epoch 4: loss nan', file=sys.stderr)"
    run_id = measure(lab, code=code, metrics_from="epoch {step}: loss {loss}")
    folder = Path(lab.wait_ended(run_id)["folder"])
    page = ask(lab, run_id)
    assert [(p["name"], p["value"], p.get("step")) for p in page["points"]] == [
        ("own", 1, None),
        ("loss", 0.5, 3),
        ("loss", "NaN", 4),
    ]
    begun, now = folder.stat().st_mtime - 60, time.time()
    assert all(begun < p["time"] < now for p in page["points"]), "the log says when a line was printed"
    assert ask(lab, run_id, after=page["next"])["points"] == []
    assert json.loads((folder / "run_manifest.json").read_text())["metrics"] == {"own": 1, "loss": "NaN"}


def test_a_pattern_nobody_understands_is_refused_at_the_door(lab: LaboratoryUnderTest) -> None:
    with pytest.raises(Refused, match="metrics_from"):
        measure(lab, metrics_from="no numbers here")
