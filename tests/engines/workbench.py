"""An engine over a control directory of its own, driven from plain tests; real processes throughout."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from labrun.core.ids import AttemptId
from labrun.engines.local.engine import LocalEngine
from labrun.engines.protocol import Dead, Ended, ExitRecord, LaunchOrder, Observation, ShimStatus
from labrun.shim import kernel, supervise
from tests.helpers import wait_until
from tests.other_user import NOBODY

T = TypeVar("T")

SHIM = Path(supervise.__file__).parent


class Workbench:
    """Launches, watches and, at the end, removes attempts."""

    def __init__(self, root: Path, *, control: Path | None = None, **options: Any) -> None:
        self.root = root
        self.control = control or root / "control"
        self.control.mkdir(mode=0o700, exist_ok=True)
        self.options = options
        self.engine = LocalEngine(self.control, **options)
        self.keys: dict[AttemptId, str] = {}
        self._runner = asyncio.Runner()

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Carry out one of the engine's coroutines."""
        return self._runner.run(coroutine)

    def order(self, *argv: str, **fields: Any) -> LaunchOrder:
        """An order with fresh names and sensible values."""
        attempt = AttemptId(f"2026-11-20_{os.urandom(4).hex()}.{len(self.keys) + 1}")
        self.keys[attempt] = key = os.urandom(12).hex()
        here = self.root / attempt
        here.mkdir(exist_ok=True)
        given: dict[str, Any] = {"cwd": str(here), "variables": {"PATH": os.defpath}} | fields
        files = {"stdout": "stdout.log", "stderr": "stderr.log", "log_index": "log.idx", "usage": "usage.jsonl"}
        paths = {name: str(here / file) for name, file in files.items()}
        return LaunchOrder(attempt_id=attempt, argv=argv, key=key, **(paths | given))

    def launch(self, *argv: str, **fields: Any) -> AttemptId:
        """Reserve and launch, as the worker does."""
        order = self.order(*argv, **fields)
        self.engine.reserve(order)
        self.do(self.engine.launch(order.attempt_id))
        return order.attempt_id

    def run(self, *argv: str, **fields: Any) -> ExitRecord:
        """Launch and wait for the end."""
        return self.wait_ended(self.launch(*argv, **fields))

    def observe(self, attempt: AttemptId) -> Observation:
        """One look."""
        return self.do(self.engine.observe([attempt]))[attempt]

    def wait_ended(self, attempt: AttemptId, timeout_s: float = 20.0) -> ExitRecord:
        """Look until it has ended; being dead without a record is a failure."""
        found: list[Observation] = []

        def has_ended() -> bool:
            found.append(self.observe(attempt))
            assert not isinstance(found[-1], Dead), f"{found[-1]}\n{self.complaints()}"
            return isinstance(found[-1], Ended)

        wait_until(has_ended, timeout_s, f"{attempt} ends")
        last = found[-1]
        assert isinstance(last, Ended)
        return last.record

    def wait_dead(self, attempt: AttemptId, timeout_s: float = 5.0) -> Dead:
        """Look until it is proven dead."""
        wait_until(lambda: isinstance(self.observe(attempt), Dead), timeout_s, f"{attempt} is dead")
        last = self.observe(attempt)
        assert isinstance(last, Dead)
        return last

    def wait_output(self, attempt: AttemptId, word: str, timeout_s: float = 20.0) -> None:
        """Wait until the command has printed something."""
        wait_until(lambda: word in self.output(attempt), timeout_s, f"{attempt} prints {word}")

    def output(self, attempt: AttemptId) -> str:
        """What it printed so far."""
        path = self.root / attempt / "stdout.log"
        return path.read_text() if path.exists() else ""

    def status(self, attempt: AttemptId) -> ShimStatus | None:
        """Its supervisor's own words."""
        return self.do(self.engine.status(attempt))

    def supervisor(self, attempt: AttemptId) -> int:
        """Pid of its supervisor, once its start marker is whole."""
        wait_until(lambda: getattr(self.observe(attempt), "started", None), 20, "it started")
        started = getattr(self.observe(attempt), "started", None)
        assert started is not None
        return int(started.pid)

    def processes(self, attempt: AttemptId) -> list[int]:
        """Living processes whose environment carries the attempt's key."""
        return processes_with(f"LAB_ATTEMPT_KEY={self.keys[attempt]}")

    def zygotes(self) -> list[int]:
        """Zygotes of this workbench, dead ones left out."""
        here = str(self.control / "supervisors.log").encode()
        return [pid for pid in kernel.children(os.getpid()) if is_zygote(pid) and here == target(pid, 2)]

    def complaints(self) -> str:
        """What failing supervisors printed."""
        path = self.control / "supervisors.log"
        return path.read_text() if path.exists() else ""

    def restart(self) -> None:
        """Forget everything in memory, as a killed server does, and look at the same directory anew."""
        self.do(self.engine.aclose())
        self.engine = LocalEngine(self.control, **self.options)

    def close(self) -> None:
        """Leave no process and no cgroup behind."""
        for attempt, key in self.keys.items():
            self.do(self.engine.clear(attempt, key))
            self.engine.forget(attempt)
        self.do(self.engine.aclose())
        self._runner.close()


def processes_with(variable: str) -> list[int]:
    """Living processes with this in their environment; a dead one has none."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and variable.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


def is_zygote(pid: int) -> bool:
    with suppress(OSError):
        return b"zygote.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def target(pid: int, descriptor: int) -> bytes:
    with suppress(OSError):
        return bytes(Path(f"/proc/{pid}/fd/{descriptor}").readlink())
    return b""


def kill(pid: int) -> None:
    """SIGKILL, and wait until it is gone or only waits to be reaped."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), 5, f"{pid} is gone")


def is_alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


@cache
def public_interpreter() -> str | None:
    """A Python that an ordinary user can run; None where only root's own is installed."""
    for path in (sys.executable, shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin") or sys.executable):
        words = [path, "-I", "-S", "-c", "import ctypes, json, resource, socket"]
        with suppress(OSError):
            user = NOBODY if os.geteuid() == 0 else None
            if subprocess.run(words, user=user, capture_output=True, check=False).returncode == 0:
                return path
    return None


@contextmanager
def open_directory() -> Iterator[Path]:
    """A directory below `/tmp` every user can enter: pytest's own are root's alone."""
    with tempfile.TemporaryDirectory(prefix="labrun-test-") as name:
        if os.geteuid() == 0:
            os.chown(name, NOBODY, NOBODY)
        try:
            yield Path(name)
        finally:
            for pid in processes_with(f"PWD={name}/"):
                kill(pid)


def copy_shim(root: Path) -> Path:
    """A copy of the shim, in a package of its own as it would travel."""
    copy = root / "labrun" / "shim"
    shutil.copytree(SHIM, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(SHIM.parent / "__init__.py", copy.parent)
    return copy


def breaks(tmp_path: Path, name: str, pattern: str, replacement: str) -> Path:
    """A copy of the shim with one thing broken, for negative controls."""
    copy = copy_shim(tmp_path / "broken")
    text = (copy / name).read_text()
    assert pattern in text, f"{pattern} is not in {name}: the broken build would be whole"
    (copy / name).write_text(text.replace(pattern, replacement))
    return copy
