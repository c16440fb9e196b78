"""Speed of metrics: the call, the import, reading and summing up, each against a limit of this machine.

Usage: python bench/metrics.py [call import read] [--dir DIR] [--rounds N]
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from measure import emit, run_cases, short, take_turns, timed

from labrun.store.folder import AttemptFolder
from labrun.store.metric_summary import sum_up

POINTS = 200_000
MILLION = 1_000_000

WRITES = """
import os, sys, time
descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
line, count = b'{"name":"loss","value":0.25123123,"step":31234,"time":1768480000.123456}\\n', int(sys.argv[2])
begun = time.perf_counter()
for _ in range(count):
    os.write(descriptor, line)
print((time.perf_counter() - begun) / count)
"""
CALLS = """
import sys, time
from labrun import log_metric
count = int(sys.argv[2])
begun = time.perf_counter()
for i in range(count):
    log_metric("loss", i / 7, i)
print((time.perf_counter() - begun) / count)
"""
IMPORT = "import time; begun = time.perf_counter(); from labrun import log_metric; print(time.perf_counter() - begun)"
READ_JSON = """
import json, sys, time
begun = time.perf_counter()
for line in open(sys.argv[1]): json.loads(line)
print(time.perf_counter() - begun)
"""


def figure(code: str, *args: object, metrics: Path | None = None) -> Callable[[], float]:
    """A case: the number a script of its own prints."""
    variables = {"PATH": os.environ["PATH"]} | ({"LAB_METRICS": str(metrics)} if metrics is not None else {})
    command = [sys.executable, "-c", code, *map(str, args)]

    def case() -> float:
        if metrics is not None:
            metrics.unlink(missing_ok=True)
        return float(subprocess.run(command, env=variables, check=True, capture_output=True, text=True).stdout)

    return case


def call(folder: Path, rounds: int) -> None:
    """Seconds of one call, against one bare write of such a line; and of a call outside labrun."""
    path = folder / "metrics.jsonl"
    cases = {
        "os.write": figure(WRITES, folder / "plain", POINTS),
        "log_metric": figure(CALLS, path, POINTS, metrics=path),
        "log_metric outside labrun": figure(CALLS, path, POINTS),
    }
    take_turns("call", cases, reference="os.write", rounds=rounds, budget="<= 5 us")


def imported(folder: Path, rounds: int) -> None:
    """Seconds of `from labrun import log_metric` in an interpreter that has just started, against `import json`."""
    cases = {"import json": figure(IMPORT.replace("from labrun import log_metric", "import json"))}
    cases["log_metric"] = figure(IMPORT)
    take_turns("import", cases, reference="import json", rounds=3 * rounds, budget="<= 3 ms")


def read(folder: Path, rounds: int) -> None:
    """A million points of three metrics decoded and summed up, against `json.loads` of each line."""
    attempt = AttemptFolder(folder / "attempts/1")
    attempt.path.mkdir(parents=True)
    with attempt.metrics.open("w") as stream:
        for i in range(MILLION):
            name = ("loss", "val/acc", "lr")[i % 3]
            stream.write(
                f'{{"name":"{name}","value":{1 / (i + 1)!r},"step":{i // 3},"time":{1768480000 + i / 100:.6f}}}\n'
            )

    def whole() -> None:
        summary = sum_up(attempt)
        summary.read_on(is_final=True)
        assert summary.show(has_curve=True).point_count == MILLION

    cases = {"json.loads": figure(READ_JSON, attempt.metrics), "decode and sum up": lambda: timed(whole)}
    ratios = take_turns("read", cases, reference="json.loads", rounds=rounds, budget="<= 2 s a million")
    emit(
        group="read",
        case="points per second",
        rate=short(MILLION / timed(whole)),
        ratio=short(ratios["decode and sum up"]),
    )


CASES = {"call": call, "import": imported, "read": read}

if __name__ == "__main__":
    run_cases(CASES, __doc__)
