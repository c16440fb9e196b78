import json

import pytest

from tests.cli.conftest import Shell

pytestmark = pytest.mark.timeout(120)


DEAF = """\
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(999)
"""


def test_a_waiting_one_is_cancelled_at_once_and_a_running_one_too(served: Shell) -> None:
    running = served.queue("--", "sleep", "1000")
    served.wait_step(running, "running")
    waiting = served.queue("--", "true")
    done = served.lab("cancel", waiting, running).stdout.splitlines()
    assert done[0].startswith(f"{waiting} cancelled by ")
    assert done[1].strip() == "no files: it had not started"
    assert done[2].startswith(f"{running} cancelled by ")
    assert done[3].strip().startswith("files: /")


def test_one_that_does_not_listen_is_told_to_be_cancelling_and_now_kills_it(shared: Shell) -> None:
    label = shared.queue("--grace", "1h", shared.write("deaf.py", DEAF))
    shared.wait_step(label, "running")
    while "deaf" not in shared.lab("logs", label).stdout:
        pass
    assert shared.lab("cancel", label).stdout.startswith(f"{label} cancelling: ")
    assert shared.lab("cancel", "--now", label).stdout.startswith(f"{label} cancelled by ")


def test_what_is_over_cannot_be_cancelled(shared: Shell) -> None:
    label = shared.queue("--", "true")
    shared.lab("wait", label)
    refusal = json.loads(shared.lab("cancel", "--json", label, status=1).stdout)
    assert refusal["error"]["code"] == "not_allowed_now"
    assert "EXP-999" in shared.lab("cancel", "EXP-999", "EXP-998", status=1).stderr
