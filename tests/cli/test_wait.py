import pytest

from tests.cli.conftest import Shell

pytestmark = pytest.mark.timeout(120)


def test_it_returns_when_all_are_over_and_says_whether_all_succeeded(shared: Shell) -> None:
    good, bad = shared.queue("--", "true"), shared.queue("--", "false")
    done = shared.lab("wait", good, bad, status=1)
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{good} succeeded")
    assert lines[1].strip().startswith("files: /")
    assert lines[2].startswith(f"{bad} failed: exited with 1")
    assert shared.lab("wait", "--quiet", good).stdout == ""
    assert [one["status"] for one in shared.json("wait", bad, good, status=1)] == ["failed", "succeeded"]


def test_a_time_limit_ends_the_waiting_with_status_1(shared: Shell) -> None:
    label = shared.queue("--", "sleep", "1000")
    done = shared.lab("wait", "--timeout", "300ms", label, status=1)
    assert done.stdout.startswith(f"{label} not over: ")
    shared.lab("cancel", label)


def test_a_bad_time_limit_is_refused(shared: Shell) -> None:
    assert "soon" in shared.lab("wait", "--timeout", "soon", "EXP-001", status=2).stderr
