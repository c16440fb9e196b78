import json
import os
import signal
import socket

import pytest

from tests.cli.conftest import Shell
from tests.helpers import wait_until

pytestmark = pytest.mark.timeout(120)


def test_it_serves_in_the_foreground_until_ctrl_c(served: Shell) -> None:
    process = served.start("serve")
    assert process.stderr is not None
    while b"serving" not in (line := process.stderr.readline()) or b"Ctrl-C ends it" not in line:
        assert line, "ended without serving"
    assert served.server_pid() == process.pid
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 0
    served.lab("server", "status", status=1)


def test_a_second_one_names_the_owner(served: Shell) -> None:
    served.lab("serve", "--detach")
    done = served.lab("serve", status=3)
    assert "owned by another server" in done.stderr
    assert str(served.server_pid()) in done.stderr


def test_detached_it_is_nobodys_child_and_has_no_terminal(served: Shell) -> None:
    served.lab("serve", "--detach")
    pid = served.server_pid()
    fields = (served.home.parent / f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    assert int(fields[3]) != pid, "not a session leader: it can never get a terminal"
    assert fields[4] == "0", "no controlling terminal"


def test_a_stale_socket_and_a_killed_server_are_replaced(served: Shell) -> None:
    served.lab("serve", "--detach")
    os.kill(served.server_pid(), signal.SIGKILL)
    assert (served.home / "server.sock").exists()
    served.lab("status")
    wait_until(lambda: served.json("server", "status")["pid"], 10)


def test_a_lost_queue_is_refused_and_can_be_accepted(served: Shell) -> None:
    served.lab("serve", "--detach")
    served.lab("server", "stop")
    for path in served.home.glob("queue.sqlite*"):
        path.unlink()
    refusal = json.loads(served.lab("status", "--json", status=3).stdout)
    assert refusal["error"]["code"] == "queue_missing"
    process = served.start("serve", "--new-queue")
    assert process.stderr is not None
    while b"Ctrl-C ends it" not in (line := process.stderr.readline()):
        assert line, "ended without serving"
    served.lab("server", "stop")
    process.communicate(timeout=30)


def test_a_client_that_only_connects_disturbs_nobody(served: Shell) -> None:
    served.lab("serve", "--detach")
    for _ in range(3):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(served.home / "server.sock"))
        connection.close()
    served.lab("status")
