"""Scenes played as an ordinary user without cgroups, in a process of their own.

`python -m tests.engines.ordinary_user SCENE DIRECTORY INTERPRETER`; prints `good`. Everything is imported
before root's rights are dropped: root's own Python may lie where nobody else can read it.
"""

import concurrent.futures.thread  # noqa: F401 - asyncio would import it too late
import ctypes
import os
import sys
import time
from pathlib import Path

from labrun.engines.protocol import Dead
from labrun.shim import kernel
from tests.engines.workbench import NOBODY, Workbench, is_alive, kill
from tests.helpers import wait_until
from tests.hostile import HOSTILE

PR_SET_DUMPABLE = 4


def hostile_tree(bench: Workbench, interpreter: str) -> None:
    attempt = bench.launch(interpreter, "-I", "-S", "-c", HOSTILE)
    bench.wait_output(attempt, "grown")
    assert len(bench.processes(attempt)) == 15
    bench.do(bench.engine.stop(attempt, by="ada", grace_s=0.2))
    record = bench.wait_ended(attempt)
    assert (record.signal, record.leftover_processes, record.cleared_by) == (9, 14, "subreaper")
    assert bench.processes(attempt) == []


def killed_supervisor(bench: Workbench, interpreter: str) -> None:
    attempt = bench.launch(interpreter, "-I", "-S", "-c", HOSTILE)
    bench.wait_output(attempt, "grown")
    kill(bench.supervisor(attempt))
    killed_at = time.monotonic()
    bench.wait_dead(attempt)
    wait_until(lambda: bench.processes(attempt) == [], 2, "the zygote killed the rest")
    cleared = bench.do(bench.engine.clear(attempt, bench.keys[attempt]))
    assert cleared.unkillable == ()
    assert time.monotonic() - killed_at < 2


def killed_zygote_too(bench: Workbench, interpreter: str) -> None:
    attempt = bench.launch(interpreter, "-I", "-S", "-c", HOSTILE)
    bench.wait_output(attempt, "grown")
    supervisor = bench.supervisor(attempt)
    for pid in bench.zygotes():
        kill(pid)
    kill(supervisor)
    bench.wait_dead(attempt)
    cleared = bench.do(bench.engine.clear(attempt, bench.keys[attempt]))
    assert (cleared.rung, cleared.unkillable) == ("key", ())
    assert bench.processes(attempt) == []


def vanished_files(bench: Workbench, interpreter: str) -> None:
    attempt = bench.launch(interpreter, "-I", "-S", "-c", HOSTILE)
    bench.wait_output(attempt, "grown")
    supervisor = bench.supervisor(attempt)
    for path in bench.control.glob(f"{attempt}.*"):
        path.unlink()
    assert isinstance(bench.observe(attempt), Dead)
    bench.do(bench.engine.clear(attempt, bench.keys[attempt]))
    assert bench.processes(attempt) == []
    assert not is_alive(supervisor)
    assert not (bench.control / f"{attempt}.exit").exists()


def leftovers(bench: Workbench, interpreter: str) -> None:
    record = bench.run("/bin/sh", "-c", f"setsid {interpreter} -c 'import time; time.sleep(1000)' & exit 3")
    assert (record.code, record.leftover_processes, record.cleared_by) == (3, 1, "subreaper")


def become_ordinary() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # without an exec our own /proc entries stay root's


def main() -> None:
    scene, directory, interpreter = sys.argv[1:]
    play = {
        act.__name__: act for act in (hostile_tree, killed_supervisor, killed_zygote_too, vanished_files, leftovers)
    }
    become_ordinary()
    assert kernel.make_groups("test-probe", None)[0] == {}, "this user can make cgroups"
    bench = Workbench(Path(directory), interpreter=interpreter, shim=Path(directory, "labrun", "shim"))
    try:
        play[scene.replace(" ", "_")](bench, interpreter)
    finally:
        bench.close()
    sys.stdout.write("good\n")


if __name__ == "__main__":
    main()
