import pytest

from tests.cli.conftest import Shell

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
