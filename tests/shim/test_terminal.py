"""A terminal held by a supervisor: what the command sees, what the log keeps, who may type."""

import base64
import signal
import sys
from pathlib import Path

import pytest

from labrun.core.ids import AttemptId
from labrun.core.spec import TerminalSize
from labrun.wire.requests import Keys
from labrun.wire.responses import Typed
from tests.engines.workbench import Workbench
from tests.helpers import wait_until

SIZE = TerminalSize(30, 100)


class Session:
    """One person at the keyboard."""

    def __init__(self, bench: Workbench, attempt: AttemptId, name: str = "ada") -> None:
        self._bench, self._attempt, self.name, self.offset = bench, attempt, name, 0

    def type(self, text: str, *, size: TerminalSize | None = None, is_leaving: bool = False) -> Typed:
        """Type some bytes after those typed before."""
        return self.repeat(self.offset, text, size=size, is_leaving=is_leaving)

    def repeat(self, offset: int, text: str, *, size: TerminalSize | None = None, is_leaving: bool = False) -> Typed:
        """Type from an offset of our choice."""
        keys = Keys(self.name, offset, base64.b64encode(text.encode()).decode(), size, is_leaving)
        typed = self._bench.do(self._bench.engine.type(self._attempt, keys))
        assert typed is not None, "the terminal answers"
        self.offset = typed.received
        return typed


def start(bench: Workbench, *argv: str, word: str, **fields: object) -> tuple[AttemptId, Session]:
    attempt = bench.launch(*argv, terminal=SIZE, **fields)
    bench.wait_output(attempt, word)
    return attempt, Session(bench, attempt)


def test_it_is_a_terminal_of_the_given_size_on_all_three_descriptors(bench: Workbench) -> None:
    code = "import os; print([os.isatty(n) for n in (0, 1, 2)], os.get_terminal_size(), os.ttyname(0) == os.ttyname(2))"
    record = bench.run(sys.executable, "-c", code, terminal=SIZE)
    attempt = AttemptId(record.attempt_id)
    assert record.code == 0
    assert bench.output(attempt).strip() == "[True, True, True] os.terminal_size(columns=100, lines=30) True"


def test_input_reads_what_is_typed_and_the_log_keeps_the_conversation(bench: Workbench) -> None:
    attempt, ada = start(bench, sys.executable, "-c", "print('hello', input('name? '))", word="name? ")
    assert ada.type("Hubble\r") == Typed(is_writer=True, received=7, is_stopped=False)
    assert bench.wait_ended(attempt).code == 0
    assert bench.output(attempt).splitlines() == ["name? Hubble", "hello Hubble"]


def test_pdb_works(bench: Workbench, tmp_path: Path) -> None:
    script = tmp_path / "buggy.py"
    script.write_text("x = 40\nbreakpoint()\nx += 1\nprint('x is', x)\n")
    attempt, ada = start(bench, sys.executable, str(script), word="(Pdb)")
    ada.type("x = 41\r")
    ada.type("c\r")
    assert bench.wait_ended(attempt).code == 0
    assert "x is 42" in bench.output(attempt)


def test_ctrl_c_interrupts_the_foreground(bench: Workbench) -> None:
    code = "import time\nprint('up', flush=True)\ntime.sleep(1000)"
    attempt, ada = start(bench, sys.executable, "-c", code, word="up")
    ada.type("\x03")
    assert bench.wait_ended(attempt).signal == signal.SIGINT
    assert "KeyboardInterrupt" in bench.output(attempt)


def test_ctrl_z_stops_it_and_a_continue_wakes_it(bench: Workbench) -> None:
    attempt, ada = start(bench, sys.executable, "-c", "print('up', flush=True); print('got', input())", word="up")
    ada.type("\x1a")
    wait_until(lambda: ada.type("").is_stopped, 5, "it is stopped")
    assert bench.do(bench.engine.signal(attempt, signal.SIGCONT))
    wait_until(lambda: not ada.type("").is_stopped, 5, "it goes on")
    ada.type("on\r")
    assert bench.wait_ended(attempt).code == 0
    assert "got on" in bench.output(attempt)


def test_a_stopped_command_can_be_cancelled(bench: Workbench) -> None:
    attempt, ada = start(bench, "/bin/sh", "-c", "echo up; exec sleep 1000", word="up")
    ada.type("\x1a")
    wait_until(lambda: ada.type("").is_stopped, 5, "it is stopped")
    bench.do(bench.engine.stop(attempt, by="ada", grace_s=5.0))
    assert bench.wait_ended(attempt).stop_reason == "cancel"


def test_a_new_window_size_reaches_the_command(bench: Workbench) -> None:
    code = (
        "import os, signal\n"
        "signal.signal(signal.SIGWINCH, lambda *_: print('now', os.get_terminal_size(), flush=True))\n"
        "print('up', flush=True)\ninput()"
    )
    attempt, ada = start(bench, sys.executable, "-c", code, word="up")
    ada.type("", size=TerminalSize(50, 132))
    bench.wait_output(attempt, "now os.terminal_size(columns=132, lines=50)")
    ada.type("\r")
    assert bench.wait_ended(attempt).code == 0


def test_what_is_repeated_is_typed_once_and_a_gap_is_refused(bench: Workbench) -> None:
    attempt, ada = start(bench, sys.executable, "-c", "print('got', input('? '))", word="? ")
    ada.type("abc")
    assert ada.repeat(0, "abcdef").received == 6
    assert ada.repeat(3, "def").received == 6
    gap = Keys("ada", 99, base64.b64encode(b"x").decode())
    assert bench.do(bench.engine.type(attempt, gap)) is None
    ada.repeat(6, "\r")
    assert bench.wait_ended(attempt).code == 0
    assert "got abcdef" in bench.output(attempt)


def test_a_second_person_looks_on_until_the_first_leaves(bench: Workbench) -> None:
    attempt, ada = start(bench, sys.executable, "-c", "print('got', input('? '))", word="? ")
    bob = Session(bench, attempt, "bob")
    assert ada.type("a").is_writer
    assert bob.type("b") == Typed(is_writer=False, received=0, is_stopped=False)
    ada.type("", is_leaving=True)
    assert bob.type("b\r").is_writer
    assert bench.wait_ended(attempt).code == 0
    assert "got ab" in bench.output(attempt)


@pytest.mark.parametrize("size", [0, 1, 200_000])
def test_every_byte_printed_is_in_the_log(bench: Workbench, size: int) -> None:
    attempt = bench.launch(sys.executable, "-c", f"print('x' * {size}, end='')", terminal=SIZE)
    assert bench.wait_ended(attempt).code == 0
    assert len(bench.output(attempt)) == size


def test_a_command_that_reads_nothing_takes_only_so_much(bench: Workbench) -> None:
    code = "import time, tty; tty.setraw(0); print('up', flush=True); time.sleep(1000)"
    attempt, ada = start(bench, sys.executable, "-c", code, word="up")
    taken = [ada.type("x" * 30_000).received for _ in range(8)]
    assert taken[-1] == taken[-2] < 8 * 30_000, "what did not fit is left to be sent again"
    bench.do(bench.engine.stop(attempt, by="ada", grace_s=0.0))
    bench.wait_ended(attempt)


def test_nothing_can_be_typed_where_there_is_no_terminal(bench: Workbench) -> None:
    attempt = bench.launch("/bin/sh", "-c", "echo up; sleep 1000")
    bench.wait_output(attempt, "up")
    assert bench.do(bench.engine.type(attempt, Keys("ada", 0, ""))) is None
    bench.do(bench.engine.stop(attempt, by="ada", grace_s=0.0))
    bench.wait_ended(attempt)


def test_a_job_control_shell_has_job_control(bench: Workbench) -> None:
    attempt, ada = start(
        bench, "/bin/bash", "--norc", "--noprofile", word="$ ", variables={"PATH": "/usr/bin:/bin", "PS1": "$ "}
    )
    # The sum is printed by the job itself, so the terminal is the job's by then: before, Ctrl-Z is the shell's.
    ada.type("sh -c 'echo $((40+2)); exec sleep 100'\r")
    bench.wait_output(attempt, "42")
    ada.type("\x1a")
    bench.wait_output(attempt, "Stopped")
    ada.type("kill -9 %1; disown -a; exit 3\r")
    assert bench.wait_ended(attempt).code == 3
    assert "no job control" not in bench.output(attempt)


def test_stdin_from_a_file(bench: Workbench, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.write_text("3 4\n")
    attempt = bench.launch("/bin/cat", stdin=str(spool))
    assert bench.wait_ended(attempt).code == 0
    assert bench.output(attempt) == "3 4\n"
