"""Why an experiment failed: the class, what shows it, the first error, and what would mend it where one is sure.

Evidence is weighed strongest first: what supervisor and kernel recorded, then what the program said
itself, then its exit status. A class that rests on less than that is marked as a guess, and what was looked at is said.

Source:
    Exit statuses 124 to 143: coreutils `timeout`, POSIX.1-2017 Shell 2.8.2, bash manual 3.7.5.
"""

import re
from collections.abc import Iterator

from msgspec import Struct

from labrun.core.endings import (
    Cancelled,
    Ending,
    Exited,
    FailureMode,
    Lost,
    NeverStarted,
    OutOfMemory,
    Signalled,
    TimedOut,
    describe,
    signal_name,
)
from labrun.core.traceback import RaisedError, root_error

_HIGH_MEMORY = 0.85
"""From this share of the limit, or of the machine, a SIGKILL without a counter may have been for memory."""
_CRASHES = frozenset({4, 5, 6, 7, 8, 11, 31})
"""ILL, TRAP, ABRT, BUS, FPE, SEGV, SYS: sent by the kernel for what the program did, or by itself."""


class Failure(Struct, frozen=True, omit_defaults=True):
    """What the failure card says."""

    mode: FailureMode
    is_guess: bool
    evidence: tuple[str, ...]
    """What shows it, strongest first."""
    error: RaisedError | None = None
    """The error the program said, the first of a chain."""
    checked: tuple[str, ...] = ()
    """For a guess: what was looked at and told nothing."""
    peak_memory_bytes: int | None = None
    """Most it had at once, to be held against what it asked for."""


class Traces(Struct, frozen=True, kw_only=True):
    """What an attempt left behind that tells of its end."""

    ending: Ending
    stderr: str = ""
    """The end of the log, decoded; enough to hold the last errors."""
    stdout: str = ""
    peak_memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    host_memory_bytes: int | None = None
    unfrozen: frozenset[str] = frozenset()
    """Paths the text names that exist in the source folder and were not frozen."""


class _Sign(Struct, frozen=True):
    """A class of failure, recognised in text."""

    mode: FailureMode
    pattern: re.Pattern[str]
    means: str


def _sign(mode: FailureMode, pattern: str, means: str) -> _Sign:
    return _Sign(mode, re.compile(pattern, re.MULTILINE), means)


_SIGNS = (
    _sign(
        "oom",
        r"CUDA out of memory|CUDA error: out of memory|OutOfMemoryError|CUDA_ERROR_OUT_OF_MEMORY",
        "a GPU or heap had no memory left",
    ),
    _sign("oom", r"RESOURCE_EXHAUSTED: .*(memory|OOM)|failed to allocate .* on device", "the GPU had no memory left"),
    _sign(
        "oom",
        r"^\s*\S*MemoryError\b|ArrayMemoryError|std::bad_alloc|Cannot allocate memory|cannot allocate vector"
        r"|\boom-kill",
        "it was refused memory",
    ),
    _sign("setup_error", r"No space left on device|Disk quota exceeded", "a disk was full"),
    _sign(
        "timeout",
        r"Watchdog caught collective operation timeout|NCCL.{0,80}[Tt]imeout"
        r"|Timed out waiting for (clients|rendezvous)",
        "processes waited for each other too long",
    ),
    _sign("setup_error", r"NCCL error|ncclSystemError|ncclUnhandledCudaError", "GPUs could not talk to each other"),
    _sign(
        "setup_error",
        r"CUDA driver version is insufficient|no CUDA-capable device|No CUDA GPUs are available"
        r"|Found no NVIDIA driver|forward compatibility was attempted",
        "no usable GPU or driver",
    ),
    _sign(
        "setup_error",
        r"error while loading shared libraries|cannot open shared object file|version `GLIBC\S*' not found"
        r"|undefined symbol",
        "a library is missing or another version",
    ),
    _sign(
        "setup_error",
        r"command not found$|: not found$|bad interpreter|Exec format error",
        "a program is missing or cannot run here",
    ),
    _sign(
        "setup_error",
        r"Too many open files|Resource temporarily unavailable|can't start new thread",
        "a limit of this machine was reached",
    ),
)
"""Read in this order in the error's own lines, then in the end of both logs."""

_ERRORS: tuple[tuple[FailureMode, frozenset[str]], ...] = (
    ("setup_error", frozenset({"ModuleNotFoundError", "PermissionError", "ConnectionError", "ConnectionRefusedError"})),
    (
        "setup_error",
        frozenset({"ConnectionResetError", "URLError", "HTTPError", "SSLError", "gaierror", "MaxRetryError"}),
    ),
    ("setup_error", frozenset({"PackageNotFoundError", "DistributionNotFound", "VersionConflict", "NotWritableError"})),
    ("timeout", frozenset({"TimeoutError", "TimeoutExpired", "ReadTimeout", "ConnectTimeout"})),
    ("data_error", frozenset({"FileNotFoundError", "IsADirectoryError", "NotADirectoryError", "FileExistsError"})),
    ("data_error", frozenset({"JSONDecodeError", "UnicodeDecodeError", "ParserError", "EmptyDataError", "BadZipFile"})),
    ("data_error", frozenset({"UnpicklingError", "EOFError", "BadGzipFile", "LZMAError", "UnidentifiedImageError"})),
    (
        "data_error",
        frozenset({"ParseError", "ScannerError", "TOMLDecodeError", "ReadError", "ArrowInvalid", "SafetensorError"}),
    ),
    ("cancelled", frozenset({"KeyboardInterrupt"})),
)
"""Classes of exceptions that are not the code's own fault; every other one is."""

_IMPORT_OF_A_NAME = "ImportError"


def classify(traces: Traces) -> Failure | None:
    """Say why it failed; None for success."""
    ending = traces.ending
    match ending:
        case Exited(code=0):
            return None
        case OutOfMemory():
            return Failure("oom", False, (describe(ending), *_memory(traces)), _error(traces))
        case TimedOut():
            return Failure("timeout", False, (describe(ending),), _error(traces))
        case Cancelled():
            return Failure("cancelled", False, (describe(ending),))
        case Lost():
            return Failure("lost", False, (describe(ending),))
        case NeverStarted():
            return Failure("setup_error", False, (describe(ending),))
        case Signalled(signal=number):
            return _killed(traces, number, describe(ending))
        case Exited(code=code):
            return _exited(traces, code, describe(ending))


def _exited(traces: Traces, code: int, said: str) -> Failure:
    error = _error(traces)
    found = _by_text(traces, error) or _by_error(traces, error)
    if found is not None:
        mode, why = found
        return Failure(mode, False, (why, said), error)
    if code in (126, 127):
        return Failure(
            "setup_error", False, (f"{said}: a shell found no program to run, or one it may not run",), error
        )
    if error is not None:
        return Failure("code_error", False, (error.text, said), error)
    if code == 124:
        return Failure("timeout", True, (f"{said}, as the program `timeout` does",), checked=_LOOKED)
    if code > 128 and signal_name(code - 128).startswith("SIG"):
        number = code - 128
        return _killed(traces, number, f"{said}, as a shell does when {signal_name(number)} killed what it ran")
    usage = re.search(r"^(\S*: )?error: .*", traces.stderr, re.MULTILINE)
    if code == 2 and usage is not None and "usage:" in traces.stderr.lower():
        return Failure("code_error", False, (f"it refused its arguments: {usage.group().strip()}", said))
    return Failure("code_error", True, (said,), checked=_LOOKED)


_LOOKED = (
    "the kernel's memory counter did not rise",
    "no time limit fired, nobody cancelled it",
    "no traceback and no known error in the end of both logs",
)


def _killed(traces: Traces, number: int, said: str) -> Failure:
    error = _error(traces)
    found = _by_text(traces, error)
    if found is not None and (number in _CRASHES or found[0] == "oom"):
        return Failure(found[0], False, (found[1], said), error)
    if number in _CRASHES:
        return Failure("code_error", False, (f"{said}: the program crashed",), error)
    if number == 9 and (memory := _memory(traces)):
        return Failure("oom", True, (said, *memory), error, checked=("no counter of the kernel tells who was killed",))
    if number in (24, 25):  # XCPU, XFSZ
        return Failure("setup_error", False, (f"{said}: a limit of this login was reached",), error)
    if number == 10 or number == 12:
        return Failure("preempted", True, (f"{said}, which schedulers send before they take a machine away",), error)
    why = (said, "labrun did not send it")
    return Failure("cancelled", True, why, error, checked=_LOOKED[:2])


def _memory(traces: Traces) -> tuple[str, ...]:
    """Whether memory was nearly used up, in words."""
    peak, limit = traces.peak_memory_bytes, traces.memory_limit_bytes
    bound = limit if limit is not None else traces.host_memory_bytes
    if peak is None or not bound or peak < _HIGH_MEMORY * bound:
        return ()
    what = "asked for" if limit is not None else "of this machine"
    return (f"memory peak {peak / 2**20:,.0f} MiB of {bound / 2**20:,.0f} MiB {what}",)


def _error(traces: Traces) -> RaisedError | None:
    return root_error(traces.stderr) or root_error(traces.stdout)


def _by_text(traces: Traces, error: RaisedError | None) -> tuple[FailureMode, str] | None:
    for text in _texts(traces, error):
        for sign in _SIGNS:
            found = sign.pattern.search(text)
            if found is not None:
                line = text[text.rfind("\n", 0, found.start()) + 1 :].partition("\n")[0].strip()
                return sign.mode, f"{sign.means}: {line[:200]}"
    return None


def _texts(traces: Traces, error: RaisedError | None) -> Iterator[str]:
    """The error itself first; the logs only where no exception tells more."""
    if error is not None:
        yield error.text
    else:
        yield _last_lines(traces.stderr)
        yield _last_lines(traces.stdout)


def _last_lines(text: str, count: int = 40) -> str:
    return "\n".join(text.splitlines()[-count:])


def _by_error(traces: Traces, error: RaisedError | None) -> tuple[FailureMode, str] | None:
    if error is None:
        return None
    missing = next((path for path in sorted(traces.unfrozen) if path in error.text), None)
    if missing is not None:
        return "setup_error", f"{error.text}; `{missing}` is in the source folder but was not frozen"
    if error.name == _IMPORT_OF_A_NAME and not error.is_own_module:
        return "setup_error", error.text
    for mode, names in _ERRORS:
        if error.name in names:
            return mode, error.text
    return None
