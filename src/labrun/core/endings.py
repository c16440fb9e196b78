"""Why an attempt ended, with evidence. An ending is final."""

from typing import Literal

from msgspec import Struct

FailureMode = Literal["oom", "timeout", "code_error", "data_error", "setup_error", "cancelled", "preempted", "lost"]


class _Ending(Struct, frozen=True, omit_defaults=True, tag_field="kind"):
    pass


class Exited(_Ending, frozen=True, tag="exited"):
    """The main process returned a status of its own."""

    code: int


class Signalled(_Ending, frozen=True, tag="signalled"):
    """A signal we did not send ended the main process; who sent it is not known."""

    signal: int
    is_core_dumped: bool = False


class OutOfMemory(_Ending, frozen=True, tag="oom"):
    """The kernel's own counter says it killed this attempt for memory."""

    evidence: str
    """Which counter rose, and by how much."""
    limit_bytes: int | None = None
    signal: int = 9


class TimedOut(_Ending, frozen=True, tag="timeout"):
    """The time limit fired; the supervisor stopped it."""

    limit_s: float
    code: int | None = None
    signal: int | None = None


class Cancelled(_Ending, frozen=True, tag="cancelled"):
    """Somebody asked for it; everything it had started is gone."""

    by: str
    code: int | None = None
    signal: int | None = None


class Lost(_Ending, frozen=True, tag="lost"):
    """It is proven dead, and how it ended cannot be known."""

    why: str


class NeverStarted(_Ending, frozen=True, tag="never_started"):
    """No instruction of the command ran."""

    step: str
    """The step that failed: cloning, submitting …"""
    why: str
    error_code: str | None = None


Ending = Exited | Signalled | OutOfMemory | TimedOut | Cancelled | Lost | NeverStarted


def exit_code_of(ending: Ending) -> int | None:
    """The main process's exit status as a shell would show it (128 + n for a signal), or None."""
    match ending:
        case Exited(code=code):
            return code
        case Signalled(signal=number) | OutOfMemory(signal=number):
            return 128 + number
        case TimedOut(code=code, signal=number) | Cancelled(code=code, signal=number):
            return code if code is not None else 128 + number if number is not None else None
        case Lost() | NeverStarted():
            return None


def failure_mode_of(ending: Ending) -> FailureMode | None:
    """Classify by evidence alone; None for success, and where only a guess could be made."""
    match ending:
        case Exited(code=0):
            return None
        case Exited() | Signalled():
            return None
        case OutOfMemory():
            return "oom"
        case TimedOut():
            return "timeout"
        case Cancelled():
            return "cancelled"
        case Lost():
            return "lost"
        case NeverStarted():
            return "setup_error"


def describe(ending: Ending) -> str:
    """Say in half a sentence how it ended."""
    match ending:
        case Exited(code=0):
            return "finished"
        case Exited(code=code):
            return f"exited with {code}"
        case Signalled(signal=number, is_core_dumped=dumped):
            return f"killed by signal {signal_name(number)}" + (" (core dumped)" if dumped else "")
        case OutOfMemory(evidence=evidence):
            return f"out of memory ({evidence})"
        case TimedOut(limit_s=limit):
            return f"stopped at its time limit of {limit:g} s"
        case Cancelled(by=by):
            return f"cancelled by {by}"
        case Lost(why=why):
            return f"lost: {why}"
        case NeverStarted(step=step, why=why):
            return f"never started, {step} failed: {why}"


_SIGNALS = [
    "0",
    "HUP",
    "INT",
    "QUIT",
    "ILL",
    "TRAP",
    "ABRT",
    "BUS",
    "FPE",
    "KILL",
    "USR1",
    "SEGV",
    "USR2",
    "PIPE",
    "ALRM",
    "TERM",
    "STKFLT",
    "CHLD",
    "CONT",
    "STOP",
    "TSTP",
    "TTIN",
    "TTOU",
    "URG",
    "XCPU",
    "XFSZ",
    "VTALRM",
    "PROF",
    "WINCH",
    "IO",
    "PWR",
    "SYS",
]


def signal_name(number: int) -> str:
    """Name a Linux signal.

    >>> signal_name(9), signal_name(40)
    ('SIGKILL', '40')

    Source:
        signal(7), Linux on x86 and ARM.
    """
    return f"SIG{_SIGNALS[number]}" if 0 < number < len(_SIGNALS) else str(number)
