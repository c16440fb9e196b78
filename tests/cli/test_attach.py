"""`lab run -i` and `lab attach`, by a person at a real terminal."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import LAB, Shell
from tests.cli.window import Window
from tests.helpers import wait_until

Open = Callable[..., Window]

NAME = "name = input('name? ')\nprint('hello', name)\n"
FOREVER = "import time\nprint('up', flush=True)\nwhile True:\n    time.sleep(0.05)\n"


@pytest.fixture
def open_window(shell: Shell) -> Iterator[Open]:
    opened: list[Window] = []

    def open_one(*args: str) -> Window:
        opened.append(Window([*LAB, *args], shell.project, shell.variables))
        return opened[-1]

    yield open_one
    for window in opened:
        window.close()


def test_a_script_asks_and_is_answered_and_its_status_is_ours(shell: Shell, open_window: Open) -> None:
    window = open_window("run", "-i", shell.write("ask.py", NAME + "raise SystemExit(7)\n"))
    window.wait("name? ")
    window.type("Henrietta\r")
    assert window.wait_exit() == 7
    assert "hello Henrietta" in window.text
    folder = shell.experiment("latest")["folder"]
    log = Path(folder, "attempts/1/stdout.log").read_bytes()
    assert log == b"name? Henrietta\r\nhello Henrietta\r\n"


def test_a_traceback_and_pdb_show_the_script_alone(shell: Shell, open_window: Open) -> None:
    script = shell.write("bug.py", "def f(x):\n    breakpoint()\n    return 1 / x\nf(0)\n")
    window = open_window("run", "-i", script)
    window.wait("(Pdb) ")
    window.type("w\r")
    window.wait("(Pdb) ", 2)
    window.type("c\r")
    assert window.wait_exit() == 1
    said = window.text[window.text.index("(Pdb)") :]
    assert "ZeroDivisionError" in said
    frames = [line for line in said.splitlines() if "labrun/" in line and "/work/bug.py" not in line]
    assert frames == []


def test_ctrl_c_goes_to_the_script_alone(shell: Shell, open_window: Open) -> None:
    window = open_window("run", "-i", shell.write("loop.py", FOREVER))
    window.wait("up")
    window.type("\x03")
    assert window.wait_exit() == 128 + signal.SIGINT
    assert "KeyboardInterrupt" in window.text


def test_ctrl_z_gives_the_shell_back_and_fg_goes_on(shell: Shell, open_window: Open) -> None:
    script = shell.write("ask.py", NAME)
    window = Window(["/bin/bash", "--norc", "--noprofile"], shell.project, shell.variables | {"PS1": "me> "})
    try:
        window.wait("me> ")
        window.type(f"{sys.executable} -m labrun.cli.main run -i {script}\r")
        window.wait("name? ")
        window.type("\x1a")
        window.wait("Stopped")
        window.type("echo in the $((40 + 2)) shell\r")
        window.wait("in the 42 shell")
        assert shell.experiment("latest")["status"] == "processing"
        window.type("fg\r")
        wait_until(lambda: not window.has_echo(), 10, "the terminal is lent again")
        window.type("Vera\r")
        window.wait("hello Vera")
        window.wait("succeeded")
        window.type("exit\r")
        window.wait_exit()
    finally:
        window.close()


def test_a_detached_experiment_goes_on_and_can_be_attached_to(shell: Shell, open_window: Open) -> None:
    window = open_window("run", "-i", shell.write("ask.py", NAME))
    window.wait("name? ")
    window.type("\x1dd")
    assert window.wait_exit() == 0
    assert "lab attach EXP-001" in window.text
    assert window.has_echo()
    again = open_window("attach")
    again.wait("name? ")
    again.type("Cecilia\r")
    assert again.wait_exit() == 0
    assert "hello Cecilia" in again.text


def test_the_second_looks_on_until_the_first_leaves(shell: Shell, open_window: Open) -> None:
    first = open_window("run", "-i", shell.write("ask.py", NAME))
    first.wait("name? ")
    first.type("x\x7f")  # who has typed holds the keyboard
    first.wait("x\b \b")
    second = open_window("attach", "EXP-001")
    second.wait("you look on")
    second.type("not me\r")
    first.type("\x1dd")
    assert first.wait_exit() == 0
    second.wait("you may type now")
    second.type("me\r")
    assert second.wait_exit() == 0
    assert "hello me" in second.text


def test_read_only_never_types(shell: Shell, open_window: Open) -> None:
    first = open_window("run", "-i", shell.write("ask.py", NAME))
    first.wait("name? ")
    second = open_window("attach", "--read-only")
    second.wait("name? ")
    second.type("nobody\r")
    first.type("Annie\r")
    assert (first.wait_exit(), second.wait_exit()) == (0, 0)
    assert "hello Annie" in second.text


def test_a_closed_window_and_a_killed_server_end_nothing(shell: Shell, open_window: Open) -> None:
    window = open_window("run", "-i", shell.write("ask.py", NAME))
    window.wait("name? ")
    os.kill(shell.json("server", "status")["pid"], signal.SIGKILL)
    window.type("Cosmos\x7f")
    window.wait("Cosmos\b \b")
    window.hang_up()
    again = open_window("attach")
    again.wait("Cosmos")
    again.type("a\r")
    assert again.wait_exit() == 0
    assert "hello Cosmoa" in again.text


def test_a_new_window_size_reaches_the_script(shell: Shell, open_window: Open) -> None:
    text = "import os, signal\nprint('at first', *os.get_terminal_size(), flush=True)\n"
    text += "signal.signal(signal.SIGWINCH, lambda *_: print('now', *os.get_terminal_size(), flush=True))\ninput()\n"
    window = open_window("run", "-i", shell.write("size.py", text))
    window.wait("at first 80 24")
    window.resize(50, 132)
    window.wait("now 132 50")
    window.type("\r")
    assert window.wait_exit() == 0


def test_without_a_terminal_it_is_refused_and_nothing_is_queued(shell: Shell) -> None:
    told = shell.lab("run", "-i", shell.write("ask.py", NAME), status=2).stderr
    assert "standard input" in told
    assert "`-i`" in told
    assert shell.json("list")["experiments"] == []


def test_attaching_to_what_has_no_terminal_is_refused(shell: Shell, open_window: Open) -> None:
    label = shell.queue(shell.write("loop.py", FOREVER))
    window = open_window("attach", label)
    assert window.wait_exit() == 1
    assert "lab run -i" in window.text
    shell.lab("cancel", label)


def test_attaching_to_what_is_over_shows_its_end(shell: Shell, open_window: Open) -> None:
    window = open_window("run", "-i", shell.write("ask.py", NAME))
    window.wait("name? ")
    window.type("Jocelyn\r")
    assert window.wait_exit() == 0
    again = open_window("attach")
    assert again.wait_exit() == 0
    assert "hello Jocelyn" in again.text
