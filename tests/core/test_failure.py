# ruff: noqa: E501  what programs print is as long as it is
"""Sixty failures and what they are: Python ones run for real, what needs a GPU or a broken machine as printed."""

import subprocess
import sys
import textwrap
from typing import Any, NamedTuple

import pytest

from labrun.core.endings import Cancelled, Ending, Exited, Lost, NeverStarted, OutOfMemory, Signalled, TimedOut
from labrun.core.failure import Failure, Traces, classify

GIB = 2**30
KNOWN_MISSES = 0


class Case(NamedTuple):
    name: str
    mode: str
    traces: Traces
    error: str = ""
    """What the first error must contain."""


def recorded(name: str, mode: str, ending: Ending, stderr: str = "", error: str = "", **facts: Any) -> Case:
    return Case(name, mode, Traces(ending=ending, stderr=textwrap.dedent(stderr), **facts), error)


def exited(name: str, mode: str, stderr: str = "", error: str = "", code: int = 1, **facts: Any) -> Case:
    return recorded(name, mode, Exited(code), stderr, error, **facts)


RECORDED = [
    # what supervisor and kernel know
    recorded("cgroup oom", "oom", OutOfMemory("memory.events oom_kill +1", 8 * GIB)),
    recorded("time limit", "timeout", TimedOut(60.0, signal=15)),
    recorded("cancelled by user", "cancelled", Cancelled("ada", signal=15)),
    recorded("killed supervisor", "lost", Lost("its supervisor died without an exit record")),
    recorded("program not found", "setup_error", NeverStarted("submitting", "No such file: sim", "2")),
    recorded("code store damaged", "setup_error", NeverStarted("cloning", "tree is not what its hash says")),
    recorded("segmentation fault", "code_error", Signalled(11, is_core_dumped=True)),
    recorded(
        "abort of an assertion in C",
        "code_error",
        Signalled(6),
        "sim: grid.c:88: step: Assertion `n > 0' failed.\n",
        "n > 0",
    ),
    recorded("bus error", "code_error", Signalled(7)),
    recorded("division by zero in C", "code_error", Signalled(8)),
    recorded("illegal instruction", "code_error", Signalled(4)),
    recorded("TERM by somebody", "cancelled", Signalled(15)),
    recorded("INT by somebody", "cancelled", Signalled(2)),
    recorded("KILL with memory full", "oom", Signalled(9), peak_memory_bytes=15 * GIB, host_memory_bytes=16 * GIB),
    recorded("KILL near its limit", "oom", Signalled(9), peak_memory_bytes=8 * GIB, memory_limit_bytes=8 * GIB),
    recorded("KILL with memory free", "cancelled", Signalled(9), peak_memory_bytes=GIB, host_memory_bytes=16 * GIB),
    recorded("file size limit", "setup_error", Signalled(25)),
    recorded("processor time limit", "setup_error", Signalled(24)),
    recorded("USR1 of a scheduler", "preempted", Signalled(10)),
    recorded(
        "std::bad_alloc",
        "oom",
        Signalled(6),
        "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n",
        "bad_alloc",
    ),
    # statuses of shells and wrappers
    exited(
        "a shell's child out of memory", "oom", "", code=137, peak_memory_bytes=15 * GIB, host_memory_bytes=16 * GIB
    ),
    exited("a shell's child got TERM", "cancelled", code=143),
    exited("a shell's child crashed", "code_error", "Segmentation fault (core dumped)\n", code=139),
    exited("the program timeout", "timeout", code=124),
    exited("command not found", "setup_error", "sh: 1: ffmpeg: not found\n", code=127),
    exited("not executable", "setup_error", "bash: ./sim: Permission denied\n", code=126),
    exited(
        "arguments refused",
        "code_error",
        "usage: train.py [-h] [--lr LR]\ntrain.py: error: unrecognized arguments: --lrr 1\n",
        code=2,
    ),
    exited("nothing said", "code_error"),
    # GPUs
    exited(
        "CUDA out of memory",
        "oom",
        """\
        Traceback (most recent call last):
          File "/h/labs/main/2026-11/EXP-001-train/work/train.py", line 88, in step
            loss.backward()
          File "/v/lib/python3.11/site-packages/torch/_tensor.py", line 521, in backward
            torch.autograd.backward(
        torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.1 GiB
        """,
        "CUDA out of memory",
    ),
    exited(
        "CUDA out of memory, older torch",
        "oom",
        """\
        Traceback (most recent call last):
          File "train.py", line 88, in <module>
        RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 10.76 GiB total capacity)
        """,
        "CUDA out of memory",
    ),
    exited(
        "JAX out of memory",
        "oom",
        """\
        Traceback (most recent call last):
          File "fit.py", line 3, in <module>
        jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 42949672960 bytes.
        """,
        "RESOURCE_EXHAUSTED",
    ),
    exited(
        "TensorFlow out of memory",
        "oom",
        """\
        Traceback (most recent call last):
          File "fit.py", line 3, in <module>
        tensorflow.python.framework.errors_impl.ResourceExhaustedError: {{function_node __wrapped__Mul}} failed to allocate memory on device: OOM when allocating tensor; OutOfMemoryError
        """,
        "OOM",
    ),
    exited(
        "no driver",
        "setup_error",
        """\
        Traceback (most recent call last):
          File "train.py", line 2, in <module>
        RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU
        """,
        "no NVIDIA driver",
    ),
    exited(
        "driver too old",
        "setup_error",
        """\
        Traceback (most recent call last):
          File "train.py", line 2, in <module>
        RuntimeError: CUDA driver version is insufficient for CUDA runtime version
        """,
        "insufficient",
    ),
    exited(
        "NCCL watchdog",
        "timeout",
        """\
        [rank1]:[E1120 10:00:00.000 ProcessGroupNCCL.cpp:607] [Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=22, OpType=ALLREDUCE, Timeout(ms)=600000) ran for 600029 milliseconds before timing out.
        """,
    ),
    exited(
        "NCCL error",
        "setup_error",
        """\
        Traceback (most recent call last):
          File "train.py", line 20, in main
        torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:1333, unhandled system error; ncclSystemError: System call failed
        """,
        "NCCL error",
    ),
    exited(
        "one rank of several",
        "data_error",
        """\
        [rank0]: Traceback (most recent call last):
        [rank0]:   File "/h/EXP-001-t/work/train.py", line 9, in main
        [rank0]:     open("shard-7")
        [rank0]: FileNotFoundError: [Errno 2] No such file or directory: 'shard-7'
        Traceback (most recent call last):
          File "/v/bin/torchrun", line 8, in <module>
          File "/v/lib/python3.11/site-packages/torch/distributed/run.py", line 879, in main
        torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
        ============================================================
        train.py FAILED
        """,
        "shard-7",
    ),
    # the machine
    exited(
        "disk full",
        "setup_error",
        """\
        Traceback (most recent call last):
          File "train.py", line 5, in save
        OSError: [Errno 28] No space left on device: 'model.pt'
        """,
        "No space left",
    ),
    exited("disk quota", "setup_error", "cp: error writing 'x': Disk quota exceeded\n"),
    exited(
        "too many open files",
        "setup_error",
        """\
        Traceback (most recent call last):
          File "train.py", line 5, in <module>
        OSError: [Errno 24] Too many open files: 'x'
        """,
        "Too many open files",
    ),
    exited(
        "shared library",
        "setup_error",
        "./sim: error while loading shared libraries: libgsl.so.27: cannot open shared object file: No such file or directory\n",
        code=127,
    ),
    exited(
        "glibc",
        "setup_error",
        "./sim: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by ./sim)\n",
    ),
    exited(
        "wrong interpreter",
        "setup_error",
        "sh: ./fit: /usr/bin/python2: bad interpreter: No such file or directory\n",
        code=126,
    ),
    exited(
        "no network",
        "setup_error",
        """\
        Traceback (most recent call last):
          File "get.py", line 2, in <module>
        urllib.error.URLError: <urlopen error [Errno -3] Temporary failure in name resolution>
        """,
        "URLError",
    ),
    exited("cannot fork", "setup_error", "bash: fork: retry: Resource temporarily unavailable\n"),
    # other languages
    exited("R", "code_error", "Error in fit(x) : object 'x' not found\nExecution halted\n", "object 'x' not found"),
    exited("Julia", "code_error", "ERROR: LoadError: UndefVarError: `x` not defined\nStacktrace:\n", "UndefVarError"),
    exited(
        "a compiler",
        "code_error",
        "grid.c:12:5: error: unknown type name 'flot'\nmake: *** [grid.o] Error 1\n",
        "flot",
        code=2,
    ),
    exited(
        "Rust", "code_error", "thread 'main' panicked at src/main.rs:4:5:\nindex out of bounds\n", "panicked", code=101
    ),
    exited(
        "exists in the source and was not frozen",
        "setup_error",
        """\
        Traceback (most recent call last):
          File "/h/EXP-001-t/work/t.py", line 1, in <module>
        FileNotFoundError: [Errno 2] No such file or directory: 'data/x.csv'
        """,
        "data/x.csv",
        unfrozen=frozenset({"data/x.csv"}),
    ),
]

PROGRAMS = {
    "an exception": ("code_error", "raise ValueError('no')", "ValueError: no"),
    "an assertion": ("code_error", "assert 1 == 2, 'unequal'", "AssertionError: unequal"),
    "loss is NaN": (
        "code_error",
        "loss = float('nan')\nif loss != loss: raise RuntimeError('loss is NaN at step 3')",
        "NaN",
    ),
    "MemoryError": ("oom", "bytearray(2**62)", "MemoryError"),
    "missing file": ("data_error", "open('nowhere/data.csv')", "nowhere/data.csv"),
    "missing package": ("setup_error", "import no_such_package_here", "no_such_package_here"),
    "broken JSON": ("data_error", "import json; json.loads('{')", "JSONDecodeError"),
    "broken pickle": ("data_error", "import pickle; pickle.loads(b'x')", "UnpicklingError"),
    "broken zip": ("data_error", "import io, zipfile; zipfile.ZipFile(io.BytesIO(b'x'))", "BadZipFile"),
    "wrong encoding": ("data_error", r"b'\xff'.decode()", "UnicodeDecodeError"),
    "syntax error": ("code_error", "def f(:\n  pass", "SyntaxError"),
    "a chain": (
        "data_error",
        "try:\n    open('gone.csv')\nexcept OSError as e:\n    raise RuntimeError('cannot load') from e",
        "gone.csv",
    ),
    "a failing handler": (
        "code_error",
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    undefined_name",
        "ZeroDivisionError",
    ),
    "a pool's worker": (
        "code_error",
        "from concurrent.futures import ProcessPoolExecutor as P\nimport operator\n"
        "if __name__ == '__main__':\n    list(P(1).map(operator.truediv, [1], [0]))",
        "ZeroDivisionError",
    ),
    "sys.exit with words": ("code_error", "import sys; sys.exit('no data for this year')", ""),
    "connection refused": (
        "setup_error",
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "ConnectionRefusedError",
    ),
    "stack overflow of the program": ("code_error", "def f(): f()\nf()", "RecursionError"),
}


def run(code: str) -> Traces:
    """Run a failing program for real."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    ending: Ending = Exited(done.returncode) if done.returncode >= 0 else Signalled(-done.returncode)
    return Traces(ending=ending, stderr=done.stderr, stdout=done.stdout)


def real() -> list[Case]:
    return [Case(name, mode, run(code), error) for name, (mode, code, error) in PROGRAMS.items()]


def test_of_sixty_failures_at_most_three_are_put_into_the_wrong_class() -> None:
    corpus = [*RECORDED, *real()]
    assert len(corpus) >= 60
    wrong = []
    for case in corpus:
        found = classify(case.traces)
        if found is None or found.mode != case.mode:
            wrong.append(f"{case.name}: {found.mode if found else None}, not {case.mode}: {found}")
    assert len(wrong) <= 3, "\n".join(wrong)
    assert wrong == [], "none is known to be wrong: " + "\n".join(wrong)


@pytest.mark.parametrize("case", [case for case in RECORDED if case.error], ids=lambda case: case.name)
def test_the_first_error_is_named(case: Case) -> None:
    found = classify(case.traces)
    assert found is not None
    said = found.error.text if found.error is not None else " ".join(found.evidence)
    assert case.error in said


@pytest.mark.parametrize("name", [name for name, program in PROGRAMS.items() if program[2]])
def test_the_first_error_of_a_real_program_is_named(name: str) -> None:
    _, code, error = PROGRAMS[name]
    found = classify(run(code))
    assert found is not None
    assert found.error is not None
    assert error in found.error.text


def test_a_guess_says_what_was_looked_at() -> None:
    for case in RECORDED:
        found = classify(case.traces)
        assert found is not None
        assert found.evidence
        assert bool(found.checked) >= (found.is_guess and found.mode != "preempted"), case.name


def test_success_is_no_failure() -> None:
    assert classify(Traces(ending=Exited(0), stderr="Traceback (most recent call last):\nValueError: caught\n")) is None


def test_garbage_is_read_in_time_and_called_a_guess() -> None:
    noise = "\x1b[31m| [x] rank 0: (a pid=1) Traceback (most recent call last):\n" * 3000
    found = classify(Traces(ending=Exited(1), stderr=noise, stdout="\0\ud800" * 5000))
    assert isinstance(found, Failure)
    assert found.is_guess
