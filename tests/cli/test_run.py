import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import LAB, Shell
from tests.helpers import wait_until

pytestmark = pytest.mark.timeout(120)

TALK = """\
import os, sys
os.write(1, b"out \\xff\\x00 " + repr(sys.argv[1:]).encode() + b"\\n")
os.write(2, b"err\\n")
sys.exit(3)
"""
SLOW = """\
import sys, time
for i in range(int(sys.argv[1])):
    print("line", i, flush=True)
    time.sleep(0.01)
"""
POLITE = """\
import signal, sys, time
def leave(*_):
    print("got it", flush=True); sys.exit(5)
signal.signal(signal.SIGINT, leave)
print("ready", flush=True)
time.sleep(100)
"""
DEAF = """\
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(100)
"""


def read_until(process: subprocess.Popen[bytes], word: bytes) -> bytes:
    """Read stdout of a running command until a word was seen."""
    assert process.stdout is not None
    seen = b""
    while word not in seen:
        piece = os.read(process.stdout.fileno(), 65536)
        assert piece, f"ended without {word!r}: {seen!r}\n{process.stderr.read() if process.stderr else b''!r}"
        seen += piece
    return seen


def latest(shell: Shell) -> str:
    return str(shell.experiment("latest")["label"])


def test_streams_arguments_and_status_are_the_scripts_own(shared: Shell) -> None:
    shared.write("talk.py", TALK)
    done = subprocess.run(
        [*LAB, "run", "talk.py", "--lr", "1e-3", "--", "", "a b\n", "-m", "é"],
        cwd=shared.project,
        env=shared.variables,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert done.stdout == b"out \xff\x00 ['--lr', '1e-3', '--', '', 'a b\\n', '-m', '\xc3\xa9']\n"
    lines = done.stderr.decode().splitlines()
    assert lines[0].startswith("lab: EXP-")
    assert str(Path(sys.executable).parent) in lines[0], "the interpreter is named"
    assert "err" in lines
    assert lines[-2].endswith("failed: exited with 3, 0.0 s") or "failed: exited with 3" in lines[-2]
    folder = Path(lines[-1].removeprefix("lab: files: "))
    assert (folder / "attempts/1/stdout.log").read_bytes() == done.stdout


def test_quiet_says_nothing_and_json_says_all_at_the_end(shared: Shell) -> None:
    shared.write("hello.py", "print('hello')\n")
    done = shared.lab("run", "--quiet", "hello.py")
    assert (done.stdout, done.stderr) == ("hello\n", "")
    done = shared.lab("run", "--json", "--name", "a\nb", "hello.py")
    detail = json.loads(done.stdout)
    assert (detail["experiment"]["name"], detail["experiment"]["status"]) == ("a\nb", "succeeded")
    assert "hello\n" in done.stderr


def test_a_module_runs_and_a_program_runs(shared: Shell) -> None:
    shared.write("tool.py", "import sys; print('tool', sys.argv[1:])\n")
    assert shared.lab("run", "--quiet", "-m", "tool", "--name", "x").stdout == "tool ['--name', 'x']\n"
    assert shared.lab("run", "--quiet", "--", "sh", "-c", "echo $0 $#", "-m", "x").stdout == "-m 1\n"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--", "sh", "-c", "kill -9 $$"], 137),
        (["--", "sh", "-c", "kill -TERM $$"], 143),
        (["--timeout", "300ms", "--grace", "1s", "--", "sleep", "100"], 124),
        (["--", "./bad-interpreter"], 127),
    ],
)
def test_other_endings_have_the_documented_status(shared: Shell, words: list[str], status: int) -> None:
    shared.write("bad-interpreter", "#!/no/such/interpreter\n")
    (shared.project / "bad-interpreter").chmod(0o755)
    done = shared.lab("run", *words, status=status)
    assert "lab: files: /" in done.stderr.splitlines()[-1]


def test_a_lab_option_after_the_script_is_hinted_at(shared: Shell) -> None:
    shared.write("hello.py", "print('hello')\n")
    done = shared.lab("run", "hello.py", "--priority", "3")
    assert "`--priority 3` went to the script; put lab options before it" in done.stderr


def test_the_frozen_copy_runs_and_not_the_live_file(served: Shell) -> None:
    served.write("code.py", "print('old', __file__)\n")
    holder = served.queue("--", "sleep", "1000")
    label = served.queue(str(served.project / "code.py"))
    served.write("code.py", "print('new')\n")
    served.lab("cancel", holder)
    served.lab("wait", label)
    out = served.lab("logs", label).stdout
    assert out.startswith("old ")
    assert "/work/code.py" in out


def test_a_caller_outside_the_root_still_runs_the_frozen_copy(shared: Shell) -> None:
    shared.write("outside.py", "print(__file__)\n")
    done = shared.lab("run", "--quiet", "project/outside.py", cwd=shared.project.parent)
    assert done.stdout.endswith("/work/outside.py\n")


def test_the_callers_place_and_variables_are_the_scripts(shared: Shell) -> None:
    (shared.project / "sub").mkdir(exist_ok=True)
    shared.write("sub/where.py", "import os; print(os.getcwd(), os.environ['A'], 'B' in os.environ)\n")
    done = shared.lab("run", "--quiet", "--env", "A=1 2", "where.py", cwd=shared.project / "sub")
    assert done.stdout.endswith("/work/sub 1 2 False\n")


def test_ctrl_c_goes_to_the_script(shared: Shell) -> None:
    process = shared.start("run", shared.write("polite.py", POLITE))
    read_until(process, b"ready\n")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (5, b"got it\n")
    assert b"Ctrl-C went to EXP-" in err


def test_a_second_ctrl_c_cancels(shared: Shell) -> None:
    process = shared.start("run", "--grace", "500ms", shared.write("deaf.py", DEAF))
    read_until(process, b"ready\n")
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while b"again within" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"cancelling EXP-" in err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGHUP, 129), (signal.SIGTERM, 143)])
def test_hang_up_and_term_detach(shared: Shell, number: signal.Signals, status: int) -> None:
    process = shared.start("run", shared.write("slow.py", SLOW), "100")
    read_until(process, b"line 3\n")
    label = latest(shared)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert f"{label} goes on: `lab logs -f {label}`".encode() in err
    shared.lab("wait", label)
    assert shared.lab("logs", label).stdout.splitlines()[-1] == "line 99"


def test_a_reader_who_leaves_does_not_end_the_experiment(shared: Shell) -> None:
    process = shared.start("run", shared.write("slow.py", SLOW), "100")
    read_until(process, b"line 3\n")
    label = latest(shared)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr is not None
    assert b"nobody reads our output any more" in process.stderr.read()
    process.stderr.close()
    shared.lab("wait", label)
    assert shared.experiment(label)["status"] == "succeeded"


def test_killed_servers_in_between_lose_and_double_no_byte(served: Shell) -> None:
    process = served.start("run", "--quiet", served.write("slow.py", SLOW), "800")
    seen = read_until(process, b"line 20\n")
    killed: list[int] = []

    def next_server() -> int | None:
        # `server status` starts none: the attached command itself has to bring the next one up
        answer = subprocess.run(
            [*LAB, "server", "status", "--json"], env=served.variables, capture_output=True, check=False
        )
        found = json.loads(answer.stdout)
        return found["pid"] if found is not None and found["pid"] not in killed else None

    for _ in range(3):
        wait_until(next_server, 30, "the attached command started another server")
        killed.append(next_server() or 0)
        assert served.experiment("latest")["step"] == "running", "too late a kill would prove nothing"
        os.kill(killed[-1], signal.SIGKILL)
    rest, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert seen + rest == b"".join(b"line %d\n" % i for i in range(800))


def blocked(shell: Shell) -> str:
    """Take the one slot for long."""
    label = shell.queue("--", "sleep", "1000")
    shell.wait_step(label, "running")
    return label


def test_ctrl_c_while_waiting_leaves_it_and_a_script_does_not_take_that_for_success(served: Shell) -> None:
    holder = blocked(served)
    process = served.start("run", "--", "true")
    assert process.stderr is not None
    while b"waits" not in (line := process.stderr.readline()):
        assert line, "ended without waiting"
    assert holder.encode() in line, "the reason names what it waits for"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"stays in the queue" in err
    assert served.experiment("latest")["step"] == "waiting"


@pytest.mark.parametrize(("answer", "status", "step"), [("l\n", 0, "waiting"), ("c\n", 130, "completed")])
def test_ctrl_c_while_waiting_asks_on_a_terminal(served: Shell, answer: str, status: int, step: str) -> None:
    blocked(served)
    ours, theirs = pty.openpty()
    process = served.start("run", "--", "true", stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    seen = b""

    def has(word: bytes) -> bool:
        nonlocal seen
        seen += os.read(ours, 65536)
        return word in seen

    wait_until(lambda: has(b"waits"), 30, "it says that it waits")
    process.send_signal(signal.SIGINT)
    wait_until(lambda: has(b"[c/L]"), 30, "it asks")
    os.write(ours, answer.encode())
    assert process.wait(60) == status
    os.close(ours)
    assert served.experiment("latest")["step"] == step


def test_cancelled_by_somebody_else_is_130(shared: Shell) -> None:
    process = shared.start("run", "--", "sh", "-c", "echo ready; exec sleep 100")
    read_until(process, b"ready\n")
    shared.lab("cancel", "latest")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"cancelled by" in err
