"""The syncs of one experiment are exactly those the design names, each file and folder once, and no more.

Counted by path under strace, over server, zygote and supervisor, after a first experiment has made
the month's folder, the chain and the threads. The negative controls are builds with one sync more
and one sync less; both must be told apart.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import wait_until
from tests.scenarios.laboratory import LaboratoryUnderTest, broken_build

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]

SYNCS = "fsync,fdatasync,sync,syncfs,sync_file_range,msync"
SCRIPT = 'echo out; echo err >&2; echo 1 > "$LAB_OUTPUT_PATH/result.txt"'


def children(pid: int) -> list[int]:
    """Processes a server started that are still there: its zygote."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(word) for word in (task / "children").read_text().split()]
    return found


def is_traced(pid: int) -> bool:
    """Whether somebody traces every thread of a process."""
    statuses = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return all("TracerPid:\t0" not in status for status in statuses)


def traced_life(tmp_path: Path, source: Path | None = None) -> tuple[dict[str, Any], Counter[str]]:
    """One experiment; returns it, and how often each path was synced meanwhile."""
    lab = LaboratoryUnderTest(tmp_path / "home", **({} if source is None else {"source": source}))
    lab.start()
    try:
        lab.wait_ended(lab.submit("/bin/sh", "-c", SCRIPT)["run_id"])
        pids = [lab.server.pid, *children(lab.server.pid)] if lab.server else []
        assert len(pids) == 2, "server and zygote"
        log = tmp_path / "syncs"
        attach = [word for pid in pids for word in ("-p", str(pid))]
        strace = subprocess.Popen(
            ["strace", "-f", "-y", "-e", f"trace={SYNCS}", "-o", str(log), *attach], stderr=subprocess.DEVNULL
        )
        try:
            wait_until(lambda: all(map(is_traced, pids)), 20, "strace is attached")
            ended = lab.wait_ended(lab.submit("/bin/sh", "-c", SCRIPT)["run_id"])
            time.sleep(0.2)  # a sync that comes too late to be asked for would come now
        finally:
            strace.send_signal(signal.SIGINT)
            strace.wait(20)
        return ended, _by_path(log.read_text(), lab.home)
    finally:
        lab.stop()


def _by_path(trace: str, home: Path) -> Counter[str]:
    counts: Counter[str] = Counter()
    for line in trace.splitlines():
        found = re.match(r"\d+\s+([a-z_]+)\((?:\d+<([^>]*)>)?", line)
        is_hint = (
            "sync_file_range" in line and "WAIT" not in line
        )  # begins to write, promises nothing, waits for nobody
        if found and not is_hint:
            counts[os.path.relpath(found[2], home) if found[2] else found[1]] += 1
    return counts


def design(ended: dict[str, Any], home: Path) -> Counter[str]:
    """The syncs of section 4 of the design for one experiment that left one output file."""
    attempt = f"{ended['run_id']}.{ended['attempt']}"
    folder = Path(ended["folder"])
    files = [folder / name for name in ("README.md", "run_manifest.json", "events.jsonl", "outputs/result.txt")]
    files += [path for path in (folder / "attempts/1").iterdir() if path.is_file()]
    inner = [folder / name for name in ("attempts/1", "attempts", "outputs", "submitted", "")]
    outer = [folder.parent, folder.parent.parent, folder.parent.parent.parent]
    chain = folder.parent.parent / "chain.jsonl"
    return Counter(
        {
            "queue.sqlite-wal": 3,  # submit; claim and intent; the rows of the sealed batch go
            f"control/{attempt}.started": 1,
            f"control/{attempt}.exit.tmp": 1,
            "control": 2,  # after `started`, after `exit`
            **{os.path.relpath(path, home): 1 for path in [*files, *inner, *outer, chain]},
        }
    )


def test_one_experiment_syncs_what_the_design_names_and_nothing_else(tmp_path: Path) -> None:
    ended, counts = traced_life(tmp_path)
    assert counts == design(ended, tmp_path / "home")


@pytest.mark.parametrize(
    "change",
    [
        ("store/journal.py", r"(                if sync:\n)", r"                if True:\n"),
        ("shim/supervise.py", r"(os\.fsync\(marker\)\n) +os\.fsync\(directory\)\n", r"\1"),
        ("store/queue/sqlite.py", r'"FULL"', '"NORMAL"'),
    ],
    ids=["each event is synced", "the start marker's folder is not synced", "commits are not synced"],
)
def test_negative_control_a_build_with_other_syncs_is_told_apart(tmp_path: Path, change: tuple[str, str, str]) -> None:
    ended, counts = traced_life(tmp_path, broken_build(tmp_path, change))
    assert counts != design(ended, tmp_path / "home")
