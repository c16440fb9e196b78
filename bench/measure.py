"""What the benchmarks share: cases that take turns, ratios round by round, one JSON line a figure.

Absolute numbers of a shared machine mean little; the ratio to a reference measured in the same
round does. `--dir` chooses where files lie: use a journalled ext4, xfs or tmpfs, and say which (an
ext4 without journal creates files ten times slower after many deletions).
"""

import argparse
import compileall
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))


def options(cases: Iterable[str], doc: str | None) -> argparse.ArgumentParser:
    """What every benchmark takes on its command line."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("cases", nargs="*", choices=[*cases, []], help="all unless given")
    parser.add_argument("--dir", type=Path, default=None, help="where files lie")
    parser.add_argument("--loop", action="store_true", help="make a journalled ext4 on a loop device there (root)")
    parser.add_argument("--rounds", type=int, default=5)
    return parser


def run_cases(cases: Mapping[str, Callable[[Path, int], None]], doc: str | None) -> None:
    """Run the cases the command line names, in an empty folder of their own.

    Args:
        cases: Each takes that folder, and how many rounds count.
        doc: Of the benchmark, for `--help`.
    """
    chosen = options(cases, doc).parse_args()
    os.chdir(REPOSITORY)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and the mount are cleaned up
    compileall.compile_dir("src", quiet=2)  # an installed package is compiled; a changed tree may not be
    with workplace(chosen.dir, is_loop=chosen.loop) as folder:
        machine(folder)
        for name in chosen.cases or cases:
            cases[name](folder, chosen.rounds)


def emit(**fields: object) -> None:
    """Print one figure."""
    print(json.dumps({"bench": Path(sys.argv[0]).stem, **fields}), flush=True)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def short(value: float) -> float:
    """Keep four digits."""
    return float(f"{value:.4g}")


def take_turns(
    group: str, cases: Mapping[str, Callable[[], float]], *, reference: str, rounds: int = 5, budget: str = ""
) -> dict[str, float]:
    """Run each case once a round, after one round to warm up; emit medians and ratios.

    Args:
        group: Name of the figure.
        cases: Each gives one number, seconds or a rate.
        reference: The case the others are divided by, round by round.
        rounds: How many rounds count.
        budget: What `docs/reference/performance.md` promises, for the reader of the line.

    Returns:
        The median ratio of each case.
    """
    samples: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(-1, rounds):
        for name, case in cases.items():
            value = case()
            if turn >= 0:
                samples[name].append(value)
    ratios = {}
    for name, values in samples.items():
        pairs = zip(values, samples[reference], strict=True)
        ratios[name] = statistics.median(one / other for one, other in pairs)
        emit(
            group=group,
            case=name,
            median=short(statistics.median(values)),
            least=short(min(values)),
            most=short(max(values)),
            ratio=short(ratios[name]),
            reference=reference,
            rounds=rounds,
            budget=budget if name != reference else "",
        )
    return ratios


@contextlib.contextmanager
def workplace(parent: Path | None, *, is_loop: bool, size_mib: int = 4096) -> Iterator[Path]:
    """Give an empty folder and remove it afterwards.

    Args:
        parent: Where it is made; the system's temporary directory when None.
        is_loop: Mount a journalled ext4 in it, from an image on a loop device; needs root.
        size_mib: Size of that image.
    """
    folder = Path(tempfile.mkdtemp(prefix="labrun-bench-", dir=parent))
    inside = folder / "disk"
    inside.mkdir()
    try:
        if is_loop:
            image = folder / "disk.img"
            with image.open("wb") as file:
                file.truncate(size_mib * 2**20)
            # many small files: four times the inodes of the default; nothing left to be done behind our back
            options = ["-i", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0"]
            subprocess.run(["mkfs.ext4", "-q", "-F", *options, str(image)], check=True)
            subprocess.run(["mount", "-o", "loop", str(image), str(inside)], check=True)
        yield inside
    finally:
        if is_loop and inside.is_mount():
            _unmount(inside)
        shutil.rmtree(folder, ignore_errors=True)


def _unmount(place: Path, patience_s: float = 10.0) -> None:
    """Let go of a file system; lazily when a supervisor that is about to leave still stands in it."""
    deadline = time.monotonic() + patience_s
    while subprocess.run(["umount", str(place)], check=False, capture_output=True).returncode:
        if time.monotonic() > deadline:
            subprocess.run(["umount", "--lazy", str(place)], check=True)
            return
        time.sleep(0.1)


def machine(folder: Path) -> None:
    """Say where this runs."""
    kind, longest = "?", ""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        device, where, name = line.split()[:3]
        if folder.resolve().is_relative_to(where) and len(where) >= len(longest):
            kind, longest = f"{name} on {'a loop device' if device.startswith('/dev/loop') else 'the host'}", where
    emit(
        group="machine",
        processors=len(os.sched_getaffinity(0)),
        python=sys.version.split()[0],
        kernel=os.uname().release,
        load=short(os.getloadavg()[0]),
        files_on=kind,
    )


def timed(work: Callable[[], object]) -> float:
    """Seconds a call takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def pss_mib(pid: int) -> float:
    """Proportional set size of a process, MiB: shared pages are divided among their users."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024
