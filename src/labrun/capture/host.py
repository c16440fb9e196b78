"""What this machine has to give, and whether a server started here would outlive its login."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import psutil
import pynvml

from labrun.core.resources import Capacity


def capacity(slots: int) -> Capacity:
    """Count the processors this process may use, the memory of the host and its GPUs."""
    gpus = gpu_memory()
    return Capacity(
        cpus=len(os.sched_getaffinity(0)),
        memory_bytes=psutil.virtual_memory().total,
        gpu_indices=tuple(range(len(gpus))),
        gpu_memory_bytes=gpus,
        slots=slots,
    )


def gpu_memory() -> tuple[int, ...]:
    """Memory of each NVIDIA GPU the driver shows, by index; nothing without a driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return tuple(int(pynvml.nvmlDeviceGetMemoryInfo(handle).total) for handle in handles)
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()


def boot_id() -> str:
    """The kernel's name for this boot.

    Source:
        random(4), /proc/sys/kernel/random/boot_id.
    """
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def ends_with(variables: Mapping[str, str], root: Path = Path("/")) -> str | None:
    """Say in one line what would end a server started from here, or None.

    Args:
        variables: `settings.login_variables()`.
        root: Where `etc`, `proc` and `var` lie; another one in tests.

    Source:
        logind.conf(5), KillUserProcesses; loginctl(1), enable-linger.
    """
    if "SLURM_JOB_ID" in variables:
        return f"this server lives inside Slurm job {variables['SLURM_JOB_ID']} and ends with it"
    if (root / ".dockerenv").exists() or (root / "run/.containerenv").exists() or "container" in variables:
        return "this server lives inside a container and ends with it"
    if "XDG_SESSION_ID" in variables and _kills_user_processes(root) and not _lingers(root):
        return "this server ends when you log out (logind's KillUserProcesses); `loginctl enable-linger` prevents it"
    return None


def _kills_user_processes(root: Path) -> bool:
    files = [root / "etc/systemd/logind.conf", *sorted((root / "etc/systemd/logind.conf.d").glob("*.conf"))]
    answer = False
    for path in files:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        for value in re.findall(r"(?m)^\s*KillUserProcesses\s*=\s*(\w+)", text):
            answer = value.lower() in ("yes", "true", "1", "on")
    return answer


def _lingers(root: Path) -> bool:
    try:
        user = psutil.Process().username()
    except (psutil.Error, KeyError):
        return False
    return bool((root / "var/lib/systemd/linger" / str(user)).exists())
