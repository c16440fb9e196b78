from typing import get_args

import msgspec
import pytest

from labrun.core.endings import (
    Cancelled,
    Ending,
    Exited,
    Lost,
    NeverStarted,
    OutOfMemory,
    Signalled,
    TimedOut,
    describe,
    exit_code_of,
    failure_mode_of,
    signal_name,
)

CASES: list[tuple[Ending, int | None, str | None, str]] = [
    (Exited(0), 0, None, "finished"),
    (Exited(3), 3, None, "exited with 3"),
    (Signalled(9), 137, None, "killed by signal SIGKILL"),
    (Signalled(11, is_core_dumped=True), 139, None, "killed by signal SIGSEGV (core dumped)"),
    (OutOfMemory("oom_kill 0 → 1"), 137, "oom", "out of memory (oom_kill 0 → 1)"),
    (TimedOut(60.0, signal=15), 143, "timeout", "stopped at its time limit of 60 s"),
    (TimedOut(0.5, code=0), 0, "timeout", "stopped at its time limit of 0.5 s"),
    (Cancelled("ada"), None, "cancelled", "cancelled by ada"),
    (Cancelled("ada", signal=15), 143, "cancelled", "cancelled by ada"),
    (Lost("supervisor died"), None, "lost", "lost: supervisor died"),
    (NeverStarted("cloning", "no space"), None, "setup_error", "never started, cloning failed: no space"),
]


@pytest.mark.parametrize(("ending", "code", "mode", "words"), CASES)
def test_an_ending_keeps_its_reason(ending: Ending, code: int | None, mode: str | None, words: str) -> None:
    assert exit_code_of(ending) == code
    assert failure_mode_of(ending) == mode
    assert describe(ending) == words


@pytest.mark.parametrize("ending", [case[0] for case in CASES])
def test_an_ending_survives_the_journal(ending: Ending) -> None:
    assert msgspec.json.decode(msgspec.json.encode(ending), type=Ending) == ending


def test_kill_9_alone_is_not_called_out_of_memory() -> None:
    assert failure_mode_of(Signalled(9)) is None


def test_every_kind_of_ending_is_tried_here() -> None:
    assert {type(case[0]) for case in CASES} == set(get_args(Ending))


def test_unknown_signals_are_shown_by_number() -> None:
    assert signal_name(64) == "64"
    assert signal_name(0) == "0"
