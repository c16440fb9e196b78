import pytest

from tests.cli.conftest import Shell

pytestmark = pytest.mark.timeout(120)


def test_status_starts_no_server(shell: Shell) -> None:
    done = shell.lab("server", "status", status=1)
    assert "no server runs" in done.stderr
    assert shell.lab("server", "status", "--json", status=1).stdout == "null\n"
    assert not shell.home.exists()
    assert "no server runs" in shell.lab("server", "stop").stderr


def test_a_restart_touches_nothing_that_runs(served: Shell) -> None:
    label = served.queue("--", "sh", "-c", "echo before; sleep 3; echo after")
    served.wait_step(label, "running")
    before = served.server_pid()
    told = served.lab("server", "restart").stderr
    assert "1 running and 0 waiting experiments are untouched" in told
    assert served.server_pid() != before
    assert f"process  {served.server_pid()}, version" in served.lab("server", "status").stdout
    served.lab("wait", label)
    assert served.lab("logs", label).stdout == "before\nafter\n"


def test_stop_leaves_what_runs_and_the_next_command_finds_it(served: Shell) -> None:
    label = served.queue("--", "sh", "-c", "sleep 2; exit 7")
    served.wait_step(label, "running")
    assert "left; 1 running" in served.lab("server", "stop").stderr
    served.lab("server", "status", status=1)
    served.lab("wait", label, status=1)
    assert served.experiment(label)["exit_code"] == 7
